"""DPO against IPO where the preferences have no exception.

Expected (Azar et al. 2023, section 5): DPO's margin grows without end, on three arms the policy
collapses onto the best one whatever β is; IPO settles near 1/(2β) nats, on three arms at the closed
form softmax(1/(3τ), 0, -1/(3τ)).
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import torch

from align.losses import LOSSES, PairBatch, Scores, ipo_target
from align.reference import ReferenceScores
from benchmarks.evidence.figures import panels, save, words
from benchmarks.evidence.learning import Lesson, drawn_answers, learn
from benchmarks.evidence.material import World, best_and_worst

ARMS = 3
ORDER = ((0, 1), (1, 2), (0, 2))  # every vote there is, without exception
BANDIT_STEPS = 18_000  # with Adam at 0.01, as in the paper
BANDITS = (("dpo", 0.1), ("dpo", 1.0), ("ipo", 0.1), ("ipo", 1.0))
PAIRS, BATCH = 8, 4
EPOCHS = 20  # 40 steps
LESSONS = (("dpo", 0.1), ("ipo", 0.1), ("ipo", 0.5))


def run(world: World) -> dict[str, Any]:
    """Return both curves by step: the bandit's arms, and the model's margins in nats."""
    pairs, references = best_and_worst(world.train)[:PAIRS], ReferenceScores()
    found: dict[str, Any] = {"pairs": PAIRS, "epochs": EPOCHS, "bandit": {}, "model": {}}
    for method, beta in BANDITS:
        found["bandit"][f"{method} {beta}"] = bandit(method, beta)
    for method, beta in LESSONS:
        last = EPOCHS * PAIRS // BATCH
        lesson = Lesson(method, pairs, {"beta": beta}, EPOCHS, BATCH, (last,), constant=True)
        learnt = learn(world, lesson, references, lambda _, *one: drawn_answers(world, *one))
        margins = [round(row["margin"] / beta, 3) for row in learnt["steps"]]
        found["model"][f"{method} {beta}"] = {"margins": margins, **learnt["looks"][-1]}
    return found


def bandit(method: str, beta: float) -> list[list[float]]:
    """Return [step, π(1), π(2), π(3)] at steps spaced evenly on a log scale."""
    weights = torch.zeros(ARMS, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.01)
    reference = torch.full((ARMS,), -math.log(ARMS))
    kept = {round(10 ** (i / 8)) for i in range(35)} | {BANDIT_STEPS}
    curve = []
    for step in range(1, BANDIT_STEPS + 1):
        optimiser.zero_grad()
        policy = weights.log_softmax(0)
        LOSSES[method](votes(policy, reference), beta=beta).losses.mean().backward()
        optimiser.step()
        if step in kept:
            arms = weights.detach().softmax(0).tolist()
            curve.append([step, *(round(p, 4) for p in arms)])
    return curve


def votes(policy: torch.Tensor, reference: torch.Tensor) -> PairBatch:
    """Return the three votes as a batch of answers of one token."""
    sides = []
    for side in (0, 1):
        arms = torch.tensor([pair[side] for pair in ORDER])
        sides.append(Scores(policy[arms, None], reference[arms, None], torch.ones(len(ORDER), 1)))
    return PairBatch(sides[0], sides[1], torch.ones(len(ORDER)), torch.ones(len(ORDER)))


def closed_form(tau: float) -> list[float]:
    """Return where IPO settles: the least squares of three margins that all shall be 1/(2τ).

    Example:
        >>> [round(p, 3) for p in closed_form(1.0)]
        [0.448, 0.321, 0.23]
    """
    powers = [math.exp(x / (3 * tau)) for x in (1, 0, -1)]
    return [p / sum(powers) for p in powers]


def table(found: dict[str, Any]) -> str:
    lines = [
        "| three arms | π after 1,000 steps | after 18,000 | closed form |",
        "|---|---|---|---|",
    ]
    for name, curve in found["bandit"].items():
        method, beta = name.split()
        early = next(point for point in curve if point[0] >= 1000)
        form = _arms(closed_form(float(beta))) if method == "ipo" else "1, 0, 0 (in the limit)"
        lines.append(
            f"| `{method}`, β {beta} | {_arms(early[1:])} | {_arms(curve[-1][1:])} | {form} |"
        )
    lines += [
        "",
        "| the model | margin, steps 16–20, nats | steps 36–40 | target | KL after, nats | "
        "reward after |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in found["model"].items():
        method, beta = name.split()
        target = f"{ipo_target(float(beta)):g}" if method == "ipo" else "none"
        middle, last = fmean(one["margins"][15:20]), fmean(one["margins"][-5:])
        lines.append(
            f"| `{method}`, β {beta} | {middle:.1f} | {last:.1f} | {target} | "
            f"{words(one['kl'])} | {words(one['reward'], 3)} |"
        )
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Any) -> None:
    figure, (left, right) = panels(2)
    for name, curve in found["bandit"].items():
        left.plot([p[0] for p in curve], [p[1] for p in curve], label=_label(name))
    left.set_xscale("log")
    left.set_xlabel("step (three arms)")
    left.set_ylabel("π(best arm)")
    left.legend()
    for name, one in found["model"].items():
        method, beta = name.split()
        (line,) = right.plot(range(1, len(one["margins"]) + 1), one["margins"], label=_label(name))
        if method == "ipo":
            right.axhline(ipo_target(float(beta)), color=line.get_color(), ls=":", lw=1)
    right.set_xlabel(f"step (SmolLM2, {PAIRS} pairs, batches of {BATCH})")
    right.set_ylabel("margin of the batch, nats")
    right.legend()
    save(figure, path)


def _arms(arms: Any) -> str:
    return ", ".join(f"{p:.3f}" for p in arms)


def _label(name: str) -> str:
    method, beta = name.split()
    return f"{method}, β {beta}"
