"""The preference losses: per-token log-probabilities in, one loss and its implicit rewards per row
out.

Pure: no model, no tokenizer, no clock, no random source. The functions use methods of tensors
alone, so a page or a command line can read which methods and settings there are without loading
torch. The keyword-only parameters of a loss are its settings; `LOSSES` at the foot is the whole
family.

Shapes: B rows in the batch, T tokens of the longest response. Log-probabilities are natural (nats).
The implicit reward of a response y to a prompt x is r(x, y) = β · log(π(y|x) / π_ref(y|x)).

Where votes disagree, p_chosen of a pair is below 1: the share of the votes that preferred the
chosen response. Every loss of pairs then is the mean over the votes, each seen from its own side.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LN_2 = math.log(2)
SURE = -1e-6  # nats per token: the likeliest response whose odds are still a number in fp32


@dataclass(frozen=True, slots=True)
class Scores:
    """Log-probabilities of one response per row, by token, under policy and reference."""

    policy: Tensor  # (B, T) log π(y_t | x, y_<t); carries the gradient
    reference: Tensor  # (B, T) the same under the frozen reference; anything where a loss has none
    mask: Tensor  # (B, T) 1 where a token of the response stands, 0 in the padding

    def log_ratio(self) -> Tensor:
        """Return log(π(y|x) / π_ref(y|x)), summed over the response's tokens; (B,)."""
        return ((self.policy - self.reference) * self.mask).sum(-1)

    def length(self) -> Tensor:
        """Return how many tokens the response has, at least 1; (B,)."""
        return self.mask.sum(-1).clamp(min=1)

    def mean_log_ratio(self) -> Tensor:
        """Return the log-ratio per token of the response; (B,)."""
        return self.log_ratio() / self.length()

    def mean_logp(self) -> Tensor:
        """Return the policy's log-probability per token of the response; (B,)."""
        return (self.policy * self.mask).sum(-1) / self.length()


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B pairs: two responses to one prompt, one of them preferred."""

    chosen: Scores
    rejected: Scores
    p_chosen: Tensor  # (B,) share of the votes for the chosen response, in 0..1
    weight: Tensor  # (B,) how much the row counts; 1 is ordinary
    prompt: Scores | None = None  # the prompts' own tokens, where a loss asks for them


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
    chosen, rejected = (beta * s.log_ratio() for s in (batch.chosen, batch.rejected))
    return _logistic(batch, chosen, rejected, label_smoothing)


def dpo_norm(batch: PairBatch, *, beta: float = 5.0, label_smoothing: float = 0.0) -> PairOutcome:
    """Return the DPO loss with log-ratios per token, so that length alone earns nothing.

    Args:
        beta: the leash, > 0; larger than DPO's, for a mean is smaller than a sum.
        label_smoothing: as for `dpo`.

    Source: Lambert et al. 2024 (Tülu 3, arXiv 2411.15124), length-normalised DPO with its β of 5.
    """
    chosen, rejected = (beta * s.mean_log_ratio() for s in (batch.chosen, batch.rejected))
    return _logistic(batch, chosen, rejected, label_smoothing)


def ld(
    batch: PairBatch, *, beta: float = 0.1, ld_alpha: float = 0.5, label_smoothing: float = 0.0
) -> PairOutcome:
    """Return the length-desensitised DPO loss: what one response is longer than the other counts
    less.

    Tokens up to the shorter response's length count in full, those behind it by the factor α.
    α = 1 is DPO, α = 0 looks at the common length alone.

    Args:
        beta, label_smoothing: as for `dpo`.
        ld_alpha: α in [0, 1].

    Source: Liu et al. 2024 (LD-DPO, arXiv 2409.06411). Choice: α of 0.5, the middle of its range.
    """
    shorter = batch.chosen.length().minimum(batch.rejected.length())[:, None]

    def reward(scores: Scores) -> Tensor:
        place = scores.mask.cumsum(-1)
        factor = scores.mask.where(place <= shorter, ld_alpha * scores.mask)
        return beta * ((scores.policy - scores.reference) * factor).sum(-1)

    return _logistic(batch, reward(batch.chosen), reward(batch.rejected), label_smoothing)


def robust(batch: PairBatch, *, beta: float = 0.1, label_smoothing: float = 0.1) -> PairOutcome:
    """Return DPO's loss corrected for a known share of wrong votes: on average over the wrong votes
    it is the loss that right votes would give.

        loss = (-(1 - ε) · log σ(m) + ε · log σ(-m)) / (1 - 2ε)

    Args:
        beta: as for `dpo`.
        label_smoothing: ε, the share of wrong votes, in [0, 0.5).

    Source: Chowdhury, Kini and Natarajan 2024 (robust DPO, arXiv 2403.00409).
    """
    chosen, rejected = (beta * s.log_ratio() for s in (batch.chosen, batch.rejected))

    def loss(margin: Tensor) -> Tensor:
        right, wrong = -log_sigmoid(margin), -log_sigmoid(-margin)
        return ((1 - label_smoothing) * right - label_smoothing * wrong) / (1 - 2 * label_smoothing)

    return _outcome(batch, chosen, rejected, loss)


def hinge(batch: PairBatch, *, beta: float = 0.1) -> PairOutcome:
    """Return max(0, 1 - m) of each pair: once the margin is 1, the pair is left alone.

    Args:
        beta: as for `dpo`.

    Source: Zhao et al. 2023 (SLiC-HF, arXiv 2305.10425) in the form with a reference of Liu et al.
        2024 (RSO, arXiv 2309.06657).
    """
    chosen, rejected = (beta * s.log_ratio() for s in (batch.chosen, batch.rejected))
    return _outcome(batch, chosen, rejected, lambda margin: (1 - margin).clamp(min=0))


def ipo(batch: PairBatch, *, beta: float = 0.1) -> PairOutcome:
    """Return the IPO loss (h - 1/(2β))² of each pair, h the difference of the summed log-ratios.

    The margin has a target, `ipo_target(beta)` nats per pair, and is pulled back when it passes it:
    even one-sided votes do not drive the policy away from its reference.

    Args:
        beta: the paper's τ, > 0.

    Source: Azar et al. 2023 (arXiv 2310.12036), equation 17.
    """
    return _squared(batch, batch.chosen.log_ratio(), batch.rejected.log_ratio(), beta)


def ipo_norm(batch: PairBatch, *, beta: float = 1.0) -> PairOutcome:
    """Return the IPO loss on log-ratios per token; its target is in nats per token.

    The same β means something else here than in `ipo`, for a mean is smaller than a sum.

    Args:
        beta: τ, > 0. Choice: 1, a target of half a nat per token, which a few epochs can reach.

    Source: what TRL, HALOs and LLaMA-Factory call IPO; TRL issue 1677 for the reason.
    """
    return _squared(batch, batch.chosen.mean_log_ratio(), batch.rejected.mean_log_ratio(), beta)


def ipo_target(beta: float) -> float:
    """Return the margin in nats that IPO aims at: per pair for `ipo`, per token for `ipo_norm`.

    Example:
        >>> ipo_target(0.1)
        5.0
    """
    return 1 / (2 * beta)


def simpo(batch: PairBatch, *, beta: float = 2.0, gamma: float = 1.0) -> PairOutcome:
    """Return the SimPO loss of each pair: log-probabilities per token, a margin, no reference.

        loss = -log σ(β · (mean log π(y_w|x) - mean log π(y_l|x)) - γ)

    Nothing holds the policy back, so the learning rate has to.

    Args:
        beta: scale of the rewards, > 0.
        gamma: γ ≥ 0, by how much the chosen response shall be ahead.

    Source: Meng et al. 2024 (arXiv 2405.14734), equation 6; β 2 to 10 and γ/β 0.1 to 0.8 are what
        its authors advise.
    """
    chosen, rejected = (beta * s.mean_logp() for s in (batch.chosen, batch.rejected))
    return _outcome(batch, chosen, rejected, lambda margin: -log_sigmoid(margin - gamma))


def orpo(batch: PairBatch, *, odds_weight: float = 0.1, prompt_weight: float = 0.0) -> PairOutcome:
    """Return the ORPO loss of each pair: imitate the chosen response, and raise its odds over the
    rejected one's. One stage, no reference.

        loss = -mean log π(y_w|x) - λ · log σ(log odds(y_w|x) - log odds(y_l|x))

    with odds(y) = p / (1 - p) and p the geometric mean of the response's token probabilities. The
    rewards reported are λ · mean log-probability.

    Args:
        odds_weight: λ > 0.
        prompt_weight: how much a token of the prompt counts in what is imitated, in [0, 1]; 1 as in
            TRL. The odds are the responses' in any case.

    Source: Hong, Lee and Thorne 2024 (arXiv 2403.07691), equations 6 and 7; λ 0.1 from its
        Mistral-ORPO.
    """
    chosen, rejected = batch.chosen.mean_logp(), batch.rejected.mean_logp()
    gap = log_odds(chosen) - log_odds(rejected)
    # σ of the gap says which is ahead; the imitation is of the chosen response in any case
    right = batch.p_chosen
    odds = -right * log_sigmoid(gap) - (1 - right) * log_sigmoid(-gap)
    imitated = _with_prompt(batch, prompt_weight) if prompt_weight else chosen
    losses = batch.weight * (odds_weight * odds - imitated)
    return PairOutcome(losses, odds_weight * chosen.detach(), odds_weight * rejected.detach())


def _with_prompt(batch: PairBatch, weight: float) -> Tensor:
    """Return the mean log-probability of prompt and chosen response; (B,)."""
    if batch.prompt is None:
        raise ValueError("prompt_weight needs the prompts' log-probabilities in the batch")
    chosen, prompt = batch.chosen, batch.prompt
    logps = (chosen.policy * chosen.mask).sum(-1) + weight * (prompt.policy * prompt.mask).sum(-1)
    return logps / (chosen.mask.sum(-1) + weight * prompt.mask.sum(-1)).clamp(min=1)


def log_odds(mean_logp: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of p = exp(mean_logp), exact for likely and for unlikely responses.

    log(1 - e^x) loses all its digits to cancellation unless its two halves are computed apart.

    Source: Mächler 2012, "Accurately computing log(1 - exp(-|a|))": the border at -ln 2.
    """
    x = mean_logp.clamp(max=SURE)
    # where() passes gradients to both sides, and 0 · inf is no number: each gets a safe input
    likely, unlikely = x.clamp(min=-LN_2), x.clamp(max=-LN_2)
    rest = (-likely.expm1()).log().where(x > -LN_2, (-unlikely.exp()).log1p())
    return x - rest


def sft(batch: LabelBatch) -> LabelOutcome:
    """Return the negative log-probability per token of each good response: plain imitation.

    What the chapter calls making the reference. Bad labels give nothing; the trainer leaves them
    out.

    Source: Rafailov et al. 2023 (arXiv 2305.18290), section 4: preferred responses as the
        reference where there is none.
    """
    mean = batch.completion.mean_logp()
    losses = (-mean).where(batch.good, mean * 0)
    return LabelOutcome(batch.weight * losses, mean.detach())


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


def _logistic(batch: PairBatch, chosen: Tensor, rejected: Tensor, smoothing: float) -> PairOutcome:
    """Return -log σ of the margin, with soft labels; conservative DPO's form of them."""
    right = batch.p_chosen * (1 - smoothing) + (1 - batch.p_chosen) * smoothing
    margin = chosen - rejected
    losses = -right * log_sigmoid(margin) - (1 - right) * log_sigmoid(-margin)
    return PairOutcome(batch.weight * losses, chosen.detach(), rejected.detach())


def _outcome(
    batch: PairBatch, chosen: Tensor, rejected: Tensor, loss: Callable[[Tensor], Tensor]
) -> PairOutcome:
    """Return the mean over the votes of a loss of the margin, each vote seen from its side."""
    margin, right = chosen - rejected, batch.p_chosen
    losses = right * loss(margin) + (1 - right) * loss(-margin)
    return PairOutcome(batch.weight * losses, chosen.detach(), rejected.detach())


def _squared(batch: PairBatch, chosen: Tensor, rejected: Tensor, beta: float) -> PairOutcome:
    outcome = _outcome(batch, chosen, rejected, lambda h: (h - ipo_target(beta)).square())
    return replace(
        outcome,
        chosen_rewards=beta * outcome.chosen_rewards,
        rejected_rewards=beta * outcome.rejected_rewards,
    )


@dataclass(frozen=True, slots=True)
class Loss:
    """One method: its function, and what has to be there for it."""

    function: Callable[..., Any]
    needs: str = "pairs"  # what it learns from: "pairs" or "labels"
    reference: bool = True  # the frozen model's log-probabilities
    mismatched: bool = False  # responses to other prompts, for KTO's z
    only_good: bool = False  # of the labels, the good ones alone
    imitates: bool = False  # has an SFT term of its own already
    target_in: str = ""  # the unit of the margin that it aims at, for a loss with a target

    @property
    def takes_sft(self) -> bool:
        """Say whether an SFT term can be added: to any loss that has none."""
        return not self.imitates

    def settings(self) -> dict[str, float]:
        """Return the settings with their defaults: the function's keyword-only parameters, and
        `sft_weight` where an SFT term can be added."""
        parameters = inspect.signature(self.function).parameters.values()
        own = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        return {**own, "sft_weight": 0.0} if self.takes_sft else own

    def target(self, beta: float) -> str:
        """Return the margin that the loss aims at in words, or "" for one without a target.

        Example:
            >>> LOSSES["ipo"].target(0.1)
            '5 nats per pair'
        """
        return f"{ipo_target(beta):.3g} {self.target_in}" if self.target_in else ""

    def __call__(self, batch: Any, *, sft_weight: float = 0.0, **settings: float) -> Any:
        """Return the outcome, with `sft_weight` · NLL per token of the chosen response added; of
        labels, of each good one.

        Source of the SFT term: Pang et al. 2024 (RPO, arXiv 2404.19733; α is 1 there),
        against a falling likelihood of the chosen response.
        """
        outcome = self.function(batch, **settings)
        if not sft_weight:
            return outcome
        if self.needs == "pairs":
            liked = batch.chosen.mean_logp()
        else:
            mean = batch.completion.mean_logp()
            liked = mean.where(batch.good, mean * 0)
        return replace(outcome, losses=outcome.losses - sft_weight * batch.weight * liked)


LOSSES = {
    "dpo": Loss(dpo),
    "ipo": Loss(ipo, target_in="nats per pair"),
    "kto": Loss(kto, needs="labels", mismatched=True),
    "orpo": Loss(orpo, reference=False, imitates=True),
    "simpo": Loss(simpo, reference=False),
    "sft": Loss(sft, needs="labels", reference=False, only_good=True, imitates=True),
    "dpo_norm": Loss(dpo_norm),
    "ipo_norm": Loss(ipo_norm, target_in="nats per token"),
    "ld": Loss(ld),
    "robust": Loss(robust),
    "hinge": Loss(hinge),
}
