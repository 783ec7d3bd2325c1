"""The preference losses: per-token log-probabilities in, one loss and its implicit rewards per row
out.

Pure: no model, no tokenizer, no clock, no random source. The functions use methods of tensors
alone, so a page or a command line can read which methods and settings there are without loading
torch. The keyword-only parameters of a loss are its settings; `LOSSES` at the foot is the whole
family.

Shapes: B rows in the batch, T tokens of the longest response. Log-probabilities are natural (nats).
The implicit reward of a response y to a prompt x is r(x, y) = β · log(π(y|x) / π_ref(y|x)).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-probabilities of one response per row, by token, under policy and reference."""

    policy: Tensor  # (B, T) log π(y_t | x, y_<t); carries the gradient
    reference: Tensor  # (B, T) the same under the frozen reference
    mask: Tensor  # (B, T) 1 where a token of the response stands, 0 in the padding

    def log_ratio(self) -> Tensor:
        """Return log(π(y|x) / π_ref(y|x)), summed over the response's tokens; (B,)."""
        return ((self.policy - self.reference) * self.mask).sum(-1)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B pairs: two responses to one prompt, one of them preferred."""

    chosen: Scores
    rejected: Scores
    p_chosen: Tensor  # (B,) share of the votes for the chosen response, in 0..1
    weight: Tensor  # (B,) how much the row counts; 1 is ordinary


@dataclass(frozen=True, slots=True)
class LabelBatch:
    """B responses, each judged alone as good or bad."""

    completion: Scores
    good: Tensor  # (B,) bool
    weight: Tensor  # (B,)
    z: Tensor  # () KL(π ‖ π_ref) in nats as `kl_estimate` sees it; a constant to the gradient


@dataclass(frozen=True, slots=True)
class PairOutcome:
    losses: Tensor  # (B,) with the row's weight in it
    chosen_rewards: Tensor  # (B,) β · log-ratio, detached
    rejected_rewards: Tensor  # (B,) detached


@dataclass(frozen=True, slots=True)
class LabelOutcome:
    losses: Tensor  # (B,) with the row's weight in it
    rewards: Tensor  # (B,) β · log-ratio, detached


def log_sigmoid(x: Tensor) -> Tensor:
    """Return log σ(x) without overflow: -log(e^0 + e^-x)."""
    return -(-x).logaddexp(x.new_zeros(()))


def dpo(batch: PairBatch, *, beta: float = 0.1, label_smoothing: float = 0.0) -> PairOutcome:
    """Return the DPO loss of each pair: the chosen response shall gain more than the rejected one.

    With m = r(x, y_w) - r(x, y_l) and q the probability that the preference is right,

        loss = -q · log σ(m) - (1 - q) · log σ(-m),    q = p_chosen · (1 - ε) + (1 - p_chosen) · ε

    Unanimous votes and ε = 0 give the paper's -log σ(m). Anything less gives conservative DPO,
    whose optimum is finite: σ(m) = q. Where votes disagree, p_chosen does that for the one pair.

    Args:
        beta: the leash, > 0. Small (0.01) lets the policy drift far, large (0.5) keeps it close.
        label_smoothing: ε, the share of wrong votes to expect, in [0, 0.5).

    Source: Rafailov et al. 2023 (arXiv 2305.18290), equation 7; the smoothed form: Mitchell 2023,
        "A note on DPO with noisy preferences and relationship to IPO".
    """
    chosen = beta * batch.chosen.log_ratio()
    rejected = beta * batch.rejected.log_ratio()
    margin = chosen - rejected
    right = batch.p_chosen * (1 - label_smoothing) + (1 - batch.p_chosen) * label_smoothing
    losses = -right * log_sigmoid(margin) - (1 - right) * log_sigmoid(-margin)
    return PairOutcome(batch.weight * losses, chosen.detach(), rejected.detach())


def kto(
    batch: LabelBatch,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> LabelOutcome:
    """Return the KTO loss of each labeled response: good ones shall rise above z, bad ones sink
    below.

        good: λ_D · (1 - σ(r - β·z))        bad: λ_U · (1 - σ(β·z - r))

    z is where a person's feeling of gain or loss starts: how far the policy has moved on the whole.

    Args:
        beta: the leash, > 0, as for DPO.
        desirable_weight: λ_D, > 0.
        undesirable_weight: λ_U, > 0; `balanced_weights` chooses both from the counts.

    Source: Ethayarajh et al. 2024 (arXiv 2402.01306), equations 7 and 8.
    """
    rewards = beta * batch.completion.log_ratio()
    start = beta * batch.z
    gain = desirable_weight * (1 - (rewards - start).sigmoid())
    pain = undesirable_weight * (1 - (start - rewards).sigmoid())
    return LabelOutcome(batch.weight * gain.where(batch.good, pain), rewards.detach())


def kl_estimate(log_ratios: Tensor) -> Tensor:
    """Return KTO's z from log-ratios of mismatched responses (N,): their mean, never below 0; ().

    A mismatched response answers another prompt, so no row's own label is in it. Without any (N =
    0) z is 0. No gradient flows through z.

    Source: Ethayarajh et al. 2024 (arXiv 2402.01306), section 4.1.
    """
    if log_ratios.numel() == 0:
        return log_ratios.new_zeros(())
    return log_ratios.detach().mean().clamp(min=0)


def balanced_weights(good: int, bad: int) -> tuple[float, float]:
    """Return (λ_D, λ_U) such that λ_D · good / (λ_U · bad) lies in [1, 4/3] and neither is below 1.

    Example:
        >>> balanced_weights(100, 80)  # 1.25 already
        (1.0, 1.0)
        >>> balanced_weights(50, 100)  # 2.0 · 50 / 100 = 1
        (2.0, 1.0)
        >>> balanced_weights(200, 100)  # 200 / (1.5 · 100) = 4/3
        (1.0, 1.5)

    Source: Ethayarajh et al. 2024 (arXiv 2402.01306), equation 8.
    """
    ratio = good / bad
    if ratio < 1:
        return 1 / ratio, 1.0
    return 1.0, max(1.0, ratio * 3 / 4)


@dataclass(frozen=True, slots=True)
class Loss:
    """One method: its function and what it learns from, "pairs" or "labels"."""

    function: Callable[..., Any]
    needs: str

    def settings(self) -> dict[str, float]:
        """Return the settings with their defaults: the function's keyword-only parameters."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


LOSSES = {
    "dpo": Loss(dpo, needs="pairs"),
    "kto": Loss(kto, needs="labels"),
}
