"""Reward against KL(π ‖ π_ref) over β: how far the leash lets a policy go, and what that brings.

Expected (Rafailov et al. 2023, section 6.1 and figure 2): reward rises with KL, and a smaller β
ends further out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from align.reference import ReferenceScores
from benchmarks.evidence.figures import panels, save, words
from benchmarks.evidence.learning import Lesson, drawn_answers, learn
from benchmarks.evidence.material import World, best_and_worst

BETAS = (0.05, 0.1, 1.0, 5.0)  # the paper's
EPOCHS = 3


def run(world: World) -> dict[str, Any]:
    """Return for each β reward, KL and length of sampled answers to held-out prompts by step."""
    pairs, references = best_and_worst(world.train), ReferenceScores()
    found: dict[str, Any] = {"pairs": len(pairs), "betas": {}}
    for beta in BETAS:
        lesson = Lesson("dpo", pairs, {"beta": beta}, EPOCHS)
        before = (0,) if beta == BETAS[0] else ()  # before the first step all are the same
        lesson = replace(lesson, looks=(*before, lesson.epoch, lesson.last))
        learnt = learn(world, lesson, references, lambda _, *one: drawn_answers(world, *one))
        found["betas"][str(beta)] = learnt["looks"]
    return found


def table(found: dict[str, Any]) -> str:
    lines = [
        "| β | step | KL, nats | reward | tokens | came to an end |",
        "|---|---|---|---|---|---|",
    ]
    for beta, looks in found["betas"].items():
        for look in looks:
            name = beta if look["step"] else "before"
            lines.append(
                f"| {name} | {look['step']} | {words(look['kl'])} | {words(look['reward'], 3)} | "
                f"{look['tokens']['mean']:.1f} | {look['finished']:.0%} |"
            )
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Any) -> None:
    figure, (axes,) = panels(1)
    start = found["betas"][str(BETAS[0])][:1]
    for beta, own in found["betas"].items():
        looks = own if own[0]["step"] == 0 else start + own
        x, y = ([look[name]["mean"] for look in looks] for name in ("kl", "reward"))
        bars = [
            [[look[name]["mean"] - look[name]["low"] for look in looks],
             [look[name]["high"] - look[name]["mean"] for look in looks]]
            for name in ("kl", "reward")
        ]  # fmt: skip
        axes.errorbar(x, y, xerr=bars[0], yerr=bars[1], marker="o", capsize=2, label=f"β {beta}")
    axes.set_xlabel("KL(π ‖ π_ref) of an answer, nats")
    axes.set_ylabel("true reward, held-out prompts")
    axes.legend()
    save(figure, path)
