"""Does the chosen response lose likelihood while the margin grows, and does an SFT term hold it?

Expected (Razin et al. 2024, arXiv 2410.08847; Pang et al. 2024, arXiv 2404.19733): with DPO alone
the chosen response may become less likely, above all where the rejected one is alike; with the SFT
term it does not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import torch

from align.batches import Cutter, Fork
from align.policy import Policy
from align.reference import ReferenceScores
from align.rendering import PairRow
from benchmarks.evidence.figures import panels, save
from benchmarks.evidence.learning import Lesson, interval, learn, pair_scores
from benchmarks.evidence.material import World, best_and_worst, conversation

PAIRS = 64
LOOKED_AT = 32  # trained pairs
EPOCHS = 2
WEIGHTS = (0.0, 1.0)
QUESTION = "Would you lie to a friend? Answer with one word."  # one pair: "No" over "Never"
WATCHED = ("No", "Never", "Yes")
ALIKE_STEPS = 30


def run(world: World) -> dict[str, Any]:
    """Return drift and margin by step for each weight of the SFT term, on pairs and on one pair."""
    pairs, references = best_and_worst(world.train)[:PAIRS], ReferenceScores()
    found: dict[str, Any] = {"pairs": len(pairs), "weights": {}, "alike": {}}
    for weight in WEIGHTS:
        lesson = Lesson("dpo", pairs, {"sft_weight": weight}, EPOCHS)
        lesson = replace(lesson, looks=(0, lesson.epoch // 3, lesson.epoch, lesson.last))
        look = partial(drifts, pairs[:LOOKED_AT], best_and_worst(world.held_out), references)
        found["weights"][str(weight)] = learn(world, lesson, references, look)["looks"]
    for weight in WEIGHTS:
        found["alike"][str(weight)] = alike(world, weight)
    return found


def drifts(
    trained: list[PairRow],
    held_out: list[PairRow],
    references: ReferenceScores,
    _: int,
    policy: Policy,
    cutter: Cutter,
) -> dict[str, Any]:
    """Return by how many nats per token pairs moved, and their margin in nats per pair."""
    found: dict[str, Any] = {}
    for side, pairs in (("train", trained), ("held_out", held_out)):
        scores = pair_scores(pairs, references, policy, cutter)
        found[side] = {
            "chosen": interval([s.after[0] - s.before[0] for s in scores]),
            "rejected": interval([s.after[1] - s.before[1] for s in scores]),
            "margin": interval([s.margin for s in scores]),
            "chosen_fell": round(fmean(s.after[0] < s.before[0] for s in scores), 4),
        }
    return found


def alike(world: World, weight: float) -> list[dict[str, float]]:
    """Train on one pair of two words that mean nearly the same; return their log-probabilities, and
    those of a third word that nobody voted on, by step."""
    prompt = world.template.prompt(conversation(QUESTION))
    words = [tuple(world.tokenizer.encode(word, add_special_tokens=False)) for word in WATCHED]
    pair = PairRow("alike", "alike", prompt, (words[0], words[1]), 1.0, 1.0)
    other = PairRow("copy", "copy", prompt, (words[0], words[1]), 1.0, 1.0)

    def look(_: int, policy: Policy, cutter: Cutter) -> dict[str, Any]:
        block = cutter.micros([Fork(prompt, tuple(words))])[0].block
        with torch.no_grad():
            values = policy(block).sum(-1).tolist()
        return {word: round(value, 4) for word, value in zip(WATCHED, values, strict=True)}

    lesson = Lesson(
        "dpo", [pair, other], {"sft_weight": weight}, epochs=ALIKE_STEPS, batch_size=2,
        looks=tuple(range(ALIKE_STEPS + 1)), constant=True,
    )  # fmt: skip
    return learn(world, lesson, ReferenceScores(), look)["looks"]


def table(found: dict[str, Any]) -> str:
    lines = [
        "| SFT term | step | margin, nats | chosen, nats per token | rejected | chosen fell | "
        "held-out chosen | held-out margin |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for weight, looks in found["weights"].items():
        for look in looks[1:]:
            one, other = look["train"], look["held_out"]
            lines.append(
                f"| {weight} | {look['step']} | {one['margin']['mean']:.1f} | "
                f"{one['chosen']['mean']:+.3f} | {one['rejected']['mean']:+.3f} | "
                f"{one['chosen_fell']:.0%} | {other['chosen']['mean']:+.3f} | "
                f"{other['margin']['mean']:.1f} |"
            )
    first, second, third = WATCHED
    lines += [
        "",
        f"| one pair, SFT term | step | log π({first}) | log π({second}) | log π({third}) |",
        "|---|---|---|---|---|",
    ]
    for weight, looks in found["alike"].items():
        for look in looks[:: ALIKE_STEPS // 3]:
            cells = " | ".join(f"{look[word]:.2f}" for word in WATCHED)
            lines.append(f"| {weight} | {look['step']} | {cells} |")
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Any) -> None:
    figure, (left, right) = panels(2)
    for i, (weight, looks) in enumerate(found["weights"].items()):
        for name, style in (("chosen", "-"), ("rejected", "--")):
            y = [look["train"][name]["mean"] for look in looks]
            label = f"{name}, SFT term {weight}"
            left.plot([look["step"] for look in looks], y, style, color=f"C{i}", label=label)
    left.axhline(0, color="0.6", lw=1)
    left.set_xlabel("step")
    left.set_ylabel("trained pairs: change of log π, nats per token")
    left.legend(fontsize=7)
    for i, (weight, looks) in enumerate(found["alike"].items()):
        for word, style in zip(WATCHED, ("-", "--", ":"), strict=True):
            y = [look[word] for look in looks]
            label = f"{word}, SFT term {weight}"
            right.plot([look["step"] for look in looks], y, style, color=f"C{i}", label=label)
    right.set_xlabel(f'step (one pair: "{WATCHED[0]}" over "{WATCHED[1]}")')
    right.set_ylabel("log π, nats")
    right.legend(fontsize=7)
    save(figure, path)
