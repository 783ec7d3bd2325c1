"""What the passes of a step add up to: the numbers of its line in metrics.jsonl."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from align.losses import LabelBatch, LabelOutcome, PairBatch, PairOutcome, Scores


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the rows of one step, as numbers. Kinds: chosen or rejected, good or bad."""

    losses: float
    wins: float  # a tie is half a one
    judged: float  # rows that could be won
    good_rows: float
    good_rewards: float
    good_logps: float
    good_tokens: float
    bad_rows: float
    bad_rewards: float
    bad_logps: float
    bad_tokens: float

    def as_json(self, size: int, start: float | None = None) -> dict[str, float | None]:
        """Return the step's means; log-probabilities per token, in nats.

        Accuracy: share of pairs with the larger reward for the chosen response; of labels, of those
        whose reward stands on the right side of β·z. Equal counts as a half.

        Args:
            size: rows of the step.
            start: β·z; None for a loss without a z.
        """
        good = _ratio(self.good_rewards, self.good_rows)
        bad = _ratio(self.bad_rewards, self.bad_rows)
        result = {
            "loss": self.losses / size,
            "margin": None if good is None or bad is None else good - bad,
            "accuracy": _ratio(self.wins, self.judged),
            "logp_chosen": _ratio(self.good_logps, self.good_tokens),
            "logp_rejected": _ratio(self.bad_logps, self.bad_tokens),
        }
        return result if start is None else {**result, "beta_z": start}


class Tally:
    """What the passes of one step add up to, for its line in metrics.jsonl.

    It stays on the device where it was computed: to read a number from a GPU is to wait until all
    before it is done. `read` brings everything over at once.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.passes = [torch.zeros(len(fields(Sums)), device=device)]  # in the order of `Sums`
        self.largest = [torch.zeros((), device=device)]  # of each pass's rewards or margins

    def add_pairs(self, outcome: PairOutcome, batch: PairBatch) -> None:
        good, bad = outcome.chosen_rewards, outcome.rejected_rewards
        kinds = _kind(good, batch.chosen), _kind(bad, batch.rejected)
        self._add(outcome.losses, good - bad, len(good), *kinds)
        self.largest.append((good - bad).abs().max())

    def add_labels(
        self, outcome: LabelOutcome, batch: LabelBatch, start: Tensor | None = None
    ) -> None:
        """Count labels; where there is no `start` (β·z) none of them is won or lost."""
        good, rewards = batch.good, outcome.rewards
        kinds = (_kind(rewards, batch.completion, which) for which in (good, ~good))
        gains = rewards if start is None else rewards - start
        judged = 0 if start is None else len(gains)
        self._add(outcome.losses, gains.where(good, -gains), judged, *kinds)
        self.largest.append(rewards.abs().max())

    def _add(self, losses: Tensor, gains: Tensor, judged: int, good: Tensor, bad: Tensor) -> None:
        wins = (gains.sign() + 1).sum() / 2
        first = torch.stack([losses.detach().sum(), wins, wins.new_full((), judged)])
        self.passes.append(torch.cat([first, good, bad]))

    def read(self, *more: Tensor) -> list[float]:
        """Return the sums, as many as `Sums` has fields, and then more numbers () behind them."""
        sums = torch.stack(self.passes).sum(0)
        found: list[float] = torch.cat([sums, *(number[None] for number in more)]).tolist()
        return found


def _kind(rewards: Tensor, scores: Scores, which: Tensor | None = None) -> Tensor:
    """Return rows, rewards, log-probabilities and tokens of the rows `which` (B,), or all; (4,)."""
    logps = (scores.policy.detach() * scores.mask).sum(-1)
    columns = torch.stack([torch.ones_like(rewards), rewards, logps, scores.mask.sum(-1)])
    return (columns if which is None else columns.masked_fill(~which, 0.0)).sum(-1)


def _ratio(total: float, count: float) -> float | None:
    return total / count if count else None
