"""When a run is judged, when it stops early, and the weights of which step it publishes (pure).

Everything is decided from the rows of metrics.jsonl, so a resumed run decides as the first one did.
Knows no torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.recipes import AUTO

Row = Mapping[str, Any]

JUDGED_TIMES = 4  # per run at least. Choice: fewer show no turning point
ENOUGH = 20  # held-out pairs. Choice: below it `auto` keeps the last step, since a mean loss over
# fewer moves by chance (with a spread of 0.5 a pair by 0.1 and more) as far as training moves it


@dataclass(frozen=True, slots=True)
class Published:
    """Whose weights a run publishes, and why."""

    step: int
    done: int  # steps that were trained
    steps: int  # steps that were planned
    words: str

    @property
    def stopped(self) -> bool:
        return self.done < self.steps

    def as_json(self) -> dict[str, Any]:
        return {"step": self.step, "done": self.done, "steps": self.steps, "why": self.words}


def judged_steps(steps: int, per_epoch: int, every: int = 0) -> tuple[int, ...]:
    """Return after which steps a run is judged; 0 is before the first one, the last is among them.

    Args:
        every: steps between two judgements; 0: at every epoch's end, and within the epochs as
            often as it takes for four times per run.

    Example:
        >>> judged_steps(40, 40), judged_steps(40, 10), judged_steps(9, 9, every=4)
        ((0, 10, 20, 30, 40), (0, 10, 20, 30, 40), (0, 4, 8, 9))
    """
    if every:
        return tuple(sorted({*range(0, steps, every), steps}))
    parts = -(-JUDGED_TIMES * per_epoch // steps)
    within = [round(per_epoch * part / parts) for part in range(1, parts + 1)]
    found = {start + step for start in range(0, steps, per_epoch) for step in within}
    return tuple(sorted({0, *(step for step in found if step), steps}))


def thinned(judged: Sequence[int], most: int) -> tuple[int, ...]:
    """Return at most `most` of the judged steps, evenly taken: the first and the last always.

    Example:
        >>> thinned((0, 10, 20, 30, 40), 3), thinned((0, 3, 6), 1)
        ((0, 20, 40), (0, 6))
    """
    count = max(2, min(most, len(judged)))
    places = {round(k * (len(judged) - 1) / (count - 1)) for k in range(count)}
    return tuple(judged[place] for place in sorted(places))


def losses_of(rows: Sequence[Row]) -> list[tuple[int, float]]:
    """Return (step, held-out loss) of every judgement; what is no number counts as infinite."""
    found = [(row["step"], row["eval_loss"]) for row in rows if row.get("eval_loss") is not None]
    return [(step, loss if math.isfinite(loss) else math.inf) for step, loss in found]


def best_step(losses: Sequence[tuple[int, float]]) -> int | None:
    """Return the step after the start whose held-out loss is lowest, the latest of equals.

    None where nothing was judged, or no loss is a number.

    Example:
        >>> best_step([(0, 0.69), (5, 0.6), (10, 0.5), (15, 0.5), (20, 0.7)])
        15
    """
    trained = [(loss, -step) for step, loss in losses if step and loss < math.inf]
    return -min(trained)[1] if trained else None


def gives_up(losses: Sequence[tuple[int, float]], patience: int) -> bool:
    """Say whether the last `patience` judgements were all no better than the best before them.

    Args:
        patience: judgements; 0 never gives up.

    Example:
        >>> gives_up([(0, 0.69), (5, 0.5), (10, 0.6), (15, 0.5)], 2)
        True
        >>> gives_up([(0, 0.69), (5, 0.5), (10, 0.6), (15, 0.4)], 2)
        False
    """
    if not patience or len(losses) <= patience:
        return False
    before = min(loss for _, loss in losses[:-patience])
    return all(loss >= before for _, loss in losses[-patience:])


def keeps_best(keep: str, pairs: int) -> bool:
    """Say whether a run publishes its best step instead of its last.

    Args:
        keep: "best", "last", or "auto": the best where there are held-out pairs enough to tell.
        pairs: held-out pairs that judge it.
    """
    return pairs > 0 and (keep == "best" or keep == AUTO and pairs >= ENOUGH)


def published(
    rows: Sequence[Row], *, done: int, steps: int, patience: int, kept: Collection[int]
) -> Published:
    """Return whose weights to publish after `done` of `steps` steps.

    Args:
        patience: the setting `early_stop`.
        kept: the steps whose weights are there, besides the last; none if the last is wanted.
    """
    losses = losses_of(rows)
    trained = [pair for pair in losses if pair[0] in {*kept, done}] if kept else []
    step = best_step(trained) or done
    words = f"the adapter is that of step {step}"
    if done < steps and gives_up(losses, patience):
        since = min(losses[:-patience], key=lambda pair: (pair[1], -pair[0]))
        words = (
            f"stopped early at step {done} of {steps}: held-out loss was not below the "
            f"{since[1]:.3f} {_place(since[0])} in {times(patience)} after it; {words}"
        )
    elif step < done:
        known = dict(losses)
        words += (
            f" of {steps}: held-out loss was lowest there ({known[step]:.3f}; "
            f"{known[done]:.3f} at the end)"
        )
    else:
        words += ", the last"
    return Published(step, done, steps, words)


def times(count: int) -> str:
    """Return a number of judgements in words.

    Example:
        >>> times(1), times(3)
        ('the one judgement', 'the 3 judgements')
    """
    return "the one judgement" if count == 1 else f"the {count} judgements"


def _place(step: int) -> str:
    return f"of step {step}" if step else "before the first step"
