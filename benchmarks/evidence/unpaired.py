"""DPO from pairs against KTO from the same votes as single thumbs, most thumbs-up dropped too.

Expected (Ethayarajh et al. 2024, sections 4 and 5): KTO is on a par with DPO, and holds with 90 %
of the good answers gone when λ makes up for the counts.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

from align.batches import Cutter
from align.policy import Policy
from align.recipes import AUTO
from align.reference import ReferenceScores
from align.rendering import LabelRow, PairRow
from benchmarks.evidence.figures import panels, save, words
from benchmarks.evidence.learning import Lesson, drawn_answers, interval, learn, log_ratios
from benchmarks.evidence.material import World, best_and_worst, reward

KEPT = 0.1
EVEN = {"desirable_weight": 1.0, "undesirable_weight": 1.0}
BALANCED = {"desirable_weight": AUTO, "undesirable_weight": AUTO}


def run(world: World) -> dict[str, Any]:
    """Return held-out accuracy, reward and KL of each way to learn from the same votes."""
    pairs, references = best_and_worst(world.train), ReferenceScores()
    labels = labels_of(pairs)
    fewer = drop_good(labels)
    lessons = {
        "dpo, pairs": Lesson("dpo", pairs, epochs=1),
        "kto, all thumbs": Lesson("kto", labels, BALANCED, epochs=1, batch_size=16),
        "kto, a tenth of the thumbs-up, λ from the counts": Lesson(
            "kto", fewer, BALANCED, epochs=2, batch_size=16
        ),
        "kto, a tenth of the thumbs-up, λ = 1": Lesson("kto", fewer, EVEN, epochs=2, batch_size=16),
    }
    found: dict[str, Any] = {"pairs": len(pairs), "lessons": {}}
    for name, lesson in lessons.items():
        looks = (lesson.last // 2, lesson.last)
        look = partial(judged, world, lesson.last)
        learnt = learn(world, replace(lesson, looks=looks), references, look)
        found["lessons"][name] = {"rows": len(lesson.rows), "looks": learnt["looks"]}
    return found


def judged(world: World, last: int, step: int, policy: Policy, cutter: Cutter) -> dict[str, Any]:
    """Return the share of held-out pairs with the larger reward for the better answer, and after
    the last step what the policy answers itself."""
    shares = []
    for question, ratios in zip(
        world.held_out, log_ratios(world.held_out, policy, cutter), strict=True
    ):
        answers = zip(map(reward, question.answers), ratios, strict=True)
        pairs = [
            (one[1], other[1])
            for one, other in itertools.permutations(answers, 2)
            if one[0] > other[0]
        ]
        if pairs:
            shares.append(fmean(0.5 if a == b else float(a > b) for a, b in pairs))
    found = {"accuracy": interval(shares)}
    return {**found, **drawn_answers(world, policy, cutter)} if step == last else found


def labels_of(pairs: list[PairRow]) -> list[LabelRow]:
    """Return every response of the pairs with a thumb of its own."""
    return [
        LabelRow(f"{p.id} {good}", p.prompt_id, p.prompt, (p.responses[1 - good],), good, 1.0)
        for p in pairs
        for good in (True, False)
    ]


def drop_good(labels: list[LabelRow]) -> list[LabelRow]:
    """Return the labels without 90 % of the thumbs-up."""
    good = [row for row in labels if row.good]
    kept = {row.id for row in random.Random(0).sample(good, round(KEPT * len(good)))}
    return [row for row in labels if not row.good or row.id in kept]


def table(found: dict[str, Any]) -> str:
    lines = [
        "| learnt from | rows | steps | accuracy half-way | accuracy | KL, nats | reward |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found["lessons"].items():
        half, last = one["looks"]
        lines.append(
            f"| {name} | {one['rows']} | {last['step']} | {words(half['accuracy'], 3)} | "
            f"{words(last['accuracy'], 3)} | {words(last['kl'])} | {words(last['reward'], 3)} |"
        )
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Any) -> None:
    figure, (axes,) = panels(1)
    names = list(found["lessons"])[::-1]
    for place, name in enumerate(names):
        for look, shift in zip(found["lessons"][name]["looks"], (-0.12, 0.12), strict=True):
            one = look["accuracy"]
            sides = [[one["mean"] - one["low"]], [one["high"] - one["mean"]]]
            axes.errorbar(
                [one["mean"]], [place - shift], xerr=sides, marker="o", capsize=2,
                color=f"C{int(shift > 0)}",
                label=("end", "half-way")[shift < 0] if not place else None,
            )  # fmt: skip
    axes.set_yticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
    axes.axvline(0.5, color="0.6", lw=1, ls=":")
    axes.set_xlabel("held-out pairs ranked right, share")
    axes.legend(loc="lower left")
    save(figure, path)
