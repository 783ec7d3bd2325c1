"""Answers' length where the longer of two answers wins, whatever they say.

Expected (Park et al. 2024, arXiv 2403.19159; Liu et al. 2024, LD-DPO; Lambert et al. 2024): DPO on
sums learns to be long; the forms that take length out of the reward do so less.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

from align.batches import Cutter
from align.evaluate import greedy_answers
from align.policy import Policy
from align.reference import ReferenceScores
from benchmarks.evidence.figures import panels, save, words
from benchmarks.evidence.learning import Lesson, drawn_answers, interval, learn, pair_scores
from benchmarks.evidence.material import World, longer_and_shorter

METHODS = ("dpo", "dpo_norm", "ld", "ipo")  # each with its default settings
EPOCHS = 2
ROOM = 120  # tokens of a greedy answer


def run(world: World) -> dict[str, Any]:
    """Return the length of greedy and of sampled answers to held-out prompts, before and after."""
    pairs, references = longer_and_shorter(world.train), ReferenceScores()
    found: dict[str, Any] = {
        "pairs": len(pairs),
        "chosen_tokens": round(fmean(len(p.responses[0]) for p in pairs), 1),
        "rejected_tokens": round(fmean(len(p.responses[1]) for p in pairs), 1),
        "methods": {},
    }
    for method in METHODS:
        lesson = Lesson(method, pairs, epochs=EPOCHS)
        looks = (0, lesson.last) if method == METHODS[0] else (lesson.last,)
        lesson = replace(lesson, looks=looks)
        learnt = learn(world, lesson, references, partial(lengths, world, references))
        if method == METHODS[0]:
            found["methods"]["before"] = learnt["looks"][0]
        found["methods"][method] = learnt["looks"][-1]
    return found


def lengths(
    world: World, references: ReferenceScores, _: int, policy: Policy, cutter: Cutter
) -> dict[str, Any]:
    """Return how long answers are, how many stop, and whether held-out longer ones are ahead."""
    prompts = [q.prompt for q in world.held_out]
    answers = greedy_answers(policy, world.tokenizer, prompts, stops=world.stops, max_tokens=ROOM)
    held_out = longer_and_shorter(world.held_out)
    scores = pair_scores(held_out, references, policy, cutter)
    return {
        "greedy_tokens": interval([float(a.tokens) for a in answers]),
        "greedy_finished": round(fmean(a.finished for a in answers), 4),
        "accuracy": interval([0.5 if s.margin == 0 else float(s.margin > 0) for s in scores]),
        "sampled": drawn_answers(world, policy, cutter),
    }


def table(found: dict[str, Any]) -> str:
    lines = [
        "| method | greedy answer, tokens | came to an end | sampled, tokens (at most 48) | "
        "KL, nats | held-out longer one ahead |",
        "|---|---|---|---|---|---|",
    ]
    for method, one in found["methods"].items():
        name = method if method == "before" else f"`{method}`"
        lines.append(
            f"| {name} | {words(one['greedy_tokens'])} | {one['greedy_finished']:.0%} | "
            f"{words(one['sampled']['tokens'])} | {words(one['sampled']['kl'])} | "
            f"{words(one['accuracy'], 2)} |"
        )
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Any) -> None:
    figure, (axes,) = panels(1)
    kinds = {
        "greedy": [one["greedy_tokens"] for one in found["methods"].values()],
        "sampled, at most 48": [one["sampled"]["tokens"] for one in found["methods"].values()],
    }
    for shift, (label, rows) in zip((-0.18, 0.18), kinds.items(), strict=True):
        low, high = ([abs(row[side] - row["mean"]) for row in rows] for side in ("low", "high"))
        places = [i + shift for i in range(len(rows))]
        means = [row["mean"] for row in rows]
        axes.bar(places, means, 0.34, yerr=[low, high], capsize=2, label=label)
    axes.set_xticks(range(len(found["methods"])), list(found["methods"]))
    axes.set_ylabel("tokens of an answer")
    axes.legend()
    save(figure, path)
