"""What β means for each method: three presets in words, and whether a target can be reached (pure).

The chapter's leash (0.01 drifts far, 0.1 is balanced, 0.5 stays close) is measured on log-ratios
summed over a response. A method that takes means per token, or compares nothing with a reference,
has a scale of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from align.losses import LOSSES, ipo_target

TOKENS = 50  # of a response. Choice: what takes the chapter's 0.1 to the 5 of Tülu 3, per token
MOST_BETA = 100.0  # that a run takes
REACH = 2_000.0  # nats per pair and unit of learning rate summed over the steps (docs/log.md)


@dataclass(frozen=True, slots=True)
class Preset:
    """One β to choose, and what it does in words."""

    beta: float
    words: str

    @property
    def line(self) -> str:
        return f"{self.beta:g} · {self.words}"


@dataclass(frozen=True, slots=True)
class Leash:
    """What β is for a method."""

    label: str
    presets: Sequence[Preset]


LONG, MIDDLE, SHORT = (
    "a long leash: drifts far, may degenerate",
    "balanced: the usual start",
    "a short leash: stays close",
)
SUMS = Leash(
    "β: how close it stays to the model it starts from",
    (Preset(0.01, LONG), Preset(0.1, MIDDLE), Preset(0.5, SHORT)),
)
OTHERS: Mapping[str, Leash] = {
    "dpo_norm": Leash(
        "β, per token: how close it stays to the model it starts from",
        (Preset(0.5, LONG), Preset(5.0, MIDDLE), Preset(25.0, SHORT)),
    ),
    "ipo": Leash(
        "β: how small a lead per pair it aims at, 1/(2β) nats",
        (
            Preset(0.01, "aims at 50 nats: drifts far, is seldom reached"),
            Preset(0.1, "aims at 5 nats: the usual start"),
            Preset(0.5, "aims at 1 nat: stays close"),
        ),
    ),
    "ipo_norm": Leash(
        "β: how small a lead per token it aims at, 1/(2β) nats",
        (
            Preset(0.5, "aims at 1 nat per token: drifts far, is seldom reached"),
            Preset(5.0, "aims at 0.1 nats per token: the usual start"),
            Preset(25.0, "aims at 0.02 nats per token: stays close"),
        ),
    ),
    "simpo": Leash(
        "β: how steeply a lead counts (no leash: nothing but the learning rate holds it)",
        (
            Preset(2.0, "gentle: its paper's start"),
            Preset(5.0, "steeper"),
            Preset(10.0, "steep: for models that answer well already"),
        ),
    ),
}


def leash_of(method: str) -> Leash | None:
    """Return what β means for a method; None for one that has no β.

    Sources: the chapter's table for sums; Lambert et al. 2024 (Tülu 3) for 5 per token; Meng et al.
        2024 (SimPO) and its README for 2 to 10. Choice: the outer presets per token stand as far
        from the middle as the chapter's.
    """
    if "beta" not in LOSSES[method].settings():
        return None
    return OTHERS.get(method, SUMS)


def reach(learning_rate: float, epochs: int, batch_size: int, rows: int) -> float:
    """Return about how many nats a run can move a pair's margin, if the loss pushes all the way.

    AdamW moves weights by about the learning rate a step, and the cosine leaves half of its peak on
    average.

    Choice: the factor, the largest of three runs of SmolLM2-135M with LoRA of rank 16 (900, 1,500
    and 2,100); other bases differ by more, so what is said of it is advice, no refusal.

    Example:
        >>> round(reach(2e-4, 2, 8, 200))
        10
    """
    steps = epochs * math.ceil(rows / batch_size)
    return REACH * learning_rate * steps / 2


def least_beta(method: str, nats: float) -> float:
    """Return the smallest β whose target is within reach; 0 for a method without a target.

    Args:
        nats: the `reach` of the run, per pair.

    Example:
        >>> least_beta("ipo", 10.0), least_beta("ipo_norm", 10.0), least_beta("dpo", 10.0)
        (0.05, 5.0, 0.0)
    """
    unit = LOSSES[method].target_in
    if not unit:
        return 0.0
    within = nats if unit == "nats per pair" else nats / TOKENS
    return min(upwards(1 / (2 * within)), MOST_BETA)


def unreachable(method: str, beta: float, nats: float) -> str:
    """Return what to do about a target that a run cannot reach; "" where it can or has none.

    A target out of reach is no target: the loss pushes every pair to the end, as DPO does.

    Args:
        nats: the `reach` of the run, per pair.
    """
    within = nats / TOKENS if LOSSES[method].target_in == "nats per token" else nats
    if beta >= least_beta(method, nats) or ipo_target(beta) <= within:
        return ""
    return (
        f"{method.upper()} aims at {LOSSES[method].target(beta)} with β {beta:g}, but a run of "
        f"this length moves a pair by about {within:.2g}: it ends before its target holds it back. "
        f"β {least_beta(method, nats):g} has a target within reach; or train longer"
    )


def upwards(value: float) -> float:
    """Return a number rounded up to 1, 2 or 5 times a power of ten.

    Example:
        >>> upwards(0.13), upwards(0.5), upwards(7.0)
        (0.2, 0.5, 10.0)
    """
    power = 10.0 ** math.floor(math.log10(value))
    step = next(step for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))
    return float(f"{step * power:.3g}")
