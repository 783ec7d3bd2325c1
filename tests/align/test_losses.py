"""The losses against arithmetic by hand, against the chapter's loop, and against TRL's own code."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from align.losses import (
    LOSSES,
    LabelBatch,
    PairBatch,
    Scores,
    balanced_weights,
    dpo,
    ipo,
    kl_estimate,
    kto,
    ld,
    log_odds,
    log_sigmoid,
    sft,
)


def scores(policy: list[float], reference: list[float]) -> Scores:
    """One token per response."""
    one, other = torch.tensor(policy)[:, None], torch.tensor(reference)[:, None]
    return Scores(one, other, torch.ones_like(one))


def pairs(chosen: Scores, rejected: Scores, p: float = 1.0, weight: float = 1.0) -> PairBatch:
    rows = len(chosen.policy)
    return PairBatch(chosen, rejected, torch.full((rows,), p), torch.full((rows,), weight))


def random_scores(rows: int, width: int, seed: int) -> Scores:
    make = torch.Generator().manual_seed(seed)
    policy, reference = (-torch.rand(rows, width, generator=make) * 3 for _ in range(2))
    lengths = torch.randint(1, width + 1, (rows, 1), generator=make)
    mask = (torch.arange(width) < lengths).float()
    return Scores(policy * mask, reference * mask, mask)


def test_dpo_of_a_pair_worked_by_hand() -> None:
    """Log-ratios: chosen -1 - (-2) = 1, rejected -3 - (-2.5) = -0.5. Margin 0.1 · 1.5 = 0.15.

    Loss -log σ(0.15) = log(1 + e^-0.15) = log(1.860708) = 0.620957.
    """
    outcome = dpo(pairs(scores([-1.0], [-2.0]), scores([-3.0], [-2.5])), beta=0.1)
    assert outcome.losses.item() == pytest.approx(0.620957, abs=1e-6)
    assert outcome.chosen_rewards.item() == pytest.approx(0.1)
    assert outcome.rejected_rewards.item() == pytest.approx(-0.05)


def test_dpo_of_an_untrained_policy_is_ln_2_with_any_votes() -> None:
    same = random_scores(5, 7, 0)
    same = Scores(same.policy, same.policy, same.mask)
    for p in (1.0, 2 / 3, 0.5):
        outcome = dpo(pairs(same, same, p), label_smoothing=0.1)
        assert torch.allclose(outcome.losses, torch.full((5,), math.log(2)), atol=1e-6)


def test_smoothing_and_split_votes_are_one_and_the_same_soft_label() -> None:
    """p_chosen 0.8 says what ε = 0.2 says; together: 0.8 · 0.9 + 0.2 · 0.1 = 0.74."""
    one, other = random_scores(4, 6, 1), random_scores(4, 6, 2)
    votes = dpo(pairs(one, other, 0.8)).losses
    assert torch.allclose(votes, dpo(pairs(one, other), label_smoothing=0.2).losses)
    both = dpo(pairs(one, other, 0.8), label_smoothing=0.1).losses
    assert torch.allclose(both, dpo(pairs(one, other, 0.74)).losses, atol=1e-6)


def test_conservative_dpo_settles_where_sigma_of_the_margin_is_one_minus_epsilon() -> None:
    """Two answers of one token: π = softmax(w), uniform reference, chosen = answer 0, ε = 0.1.

    The optimum is σ(βΔ) = 0.9, so Δ = ln(9) / β = 2.19722 / 0.5 = 4.39445.
    """
    weights = torch.zeros(2, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.1)
    uniform = torch.full((1, 1), math.log(0.5))
    for _ in range(600):
        policy = weights.log_softmax(0)
        one, other = (Scores(policy[i].view(1, 1), uniform, torch.ones(1, 1)) for i in (0, 1))
        optimiser.zero_grad()
        dpo(pairs(one, other), beta=0.5, label_smoothing=0.1).losses.sum().backward()
        optimiser.step()
    margin = 0.5 * (weights[0] - weights[1]).item()
    assert margin == pytest.approx(math.log(9), abs=1e-3)


def test_kto_of_a_good_and_a_bad_label_worked_by_hand() -> None:
    """β = 0.1, z = 2. Good: log-ratio 5, r - βz = 0.3, loss 1 - σ(0.3) = 0.425557.

    Bad: log-ratio 4, βz - r = -0.2, loss 1.5 · (1 - σ(-0.2)) = 1.5 · 0.549834 = 0.824751.
    """
    batch = LabelBatch(
        scores([-1.0, -3.0], [-6.0, -7.0]),
        good=torch.tensor([True, False]),
        weight=torch.ones(2),
        z=torch.tensor(2.0),
    )
    outcome = kto(batch, beta=0.1, undesirable_weight=1.5)
    assert outcome.losses.tolist() == pytest.approx([0.425557, 0.824751], abs=1e-6)
    assert outcome.rewards.tolist() == pytest.approx([0.5, 0.4])


def test_the_sft_term_of_labels_is_of_the_good_ones_alone() -> None:
    """Per token: the good one's is 1.5 nats, so 0.5 · 1.5 are added to its loss alone."""
    values = torch.tensor([[-1.0, -2.0], [-1.0, -2.0]])
    both = Scores(values, values - 0.5, torch.ones(2, 2))
    batch = LabelBatch(both, torch.tensor([True, False]), torch.ones(2), torch.tensor(0.0))
    without, with_term = (LOSSES["kto"](batch, sft_weight=w).losses for w in (0.0, 0.5))
    assert (with_term - without).tolist() == pytest.approx([0.75, 0.0])


def test_ipo_of_a_pair_worked_by_hand() -> None:
    """Log-ratios 1 and -0.5: h = 1.5. Target 1/(2 · 0.25) = 2. Loss (1.5 - 2)² = 0.25."""
    batch = pairs(scores([-1.0], [-2.0]), scores([-3.0], [-2.5]))
    outcome = ipo(batch, beta=0.25)
    assert outcome.losses.item() == pytest.approx(0.25)
    assert outcome.chosen_rewards.item() == pytest.approx(0.25)  # β · 1


def test_orpo_of_a_pair_worked_by_hand() -> None:
    """p = e^-0.5 = .606531 and e^-1 = .367879. Odds 1.541494 and .581977, gap of logs .974078.

    -log σ(.974078) = log(1 + .377540) = .320300. Loss .5 + 0.1 · .320300 = .532030.
    """
    batch = pairs(scores([-0.5], [0.0]), scores([-1.0], [0.0]))
    outcome = LOSSES["orpo"](batch, odds_weight=0.1)
    assert outcome.losses.item() == pytest.approx(0.532030, abs=1e-6)


def test_orpo_imitates_the_prompt_too_where_asked_worked_by_hand() -> None:
    """Prompt -1 and -2, chosen -0.5: the mean of three tokens is -3.5 / 3. The odds stay.

    Loss 1.166667 + 0.1 · .320300 = 1.198697, of which without a prompt nothing is known.
    """
    batch = pairs(scores([-0.5], [0.0]), scores([-1.0], [0.0]))
    with pytest.raises(ValueError, match="prompt"):
        LOSSES["orpo"](batch, odds_weight=0.1, prompt_weight=1.0)
    prompt = torch.tensor([[-1.0, -2.0]])
    batch = replace(batch, prompt=Scores(prompt, prompt, torch.ones_like(prompt)))
    outcome = LOSSES["orpo"](batch, odds_weight=0.1, prompt_weight=1.0)
    assert outcome.losses.item() == pytest.approx(1.198697, abs=1e-6)
    assert LOSSES["orpo"](batch, odds_weight=0.1).losses.item() == pytest.approx(0.532030, abs=1e-6)


@pytest.mark.parametrize("x", [-1e-6, -1e-3, -0.5, -math.log(2), -0.7, -5.0, -80.0])
def test_log_odds_are_exact_and_have_a_gradient(x: float) -> None:
    """Against double precision; the gradient of log(p / (1 - p)) by x = log p is 1 / (1 - p)."""
    mean = torch.tensor(x, requires_grad=True)
    found = log_odds(mean)
    found.backward()
    assert found.item() == pytest.approx(x - math.log(-math.expm1(x)), rel=1e-4)
    assert mean.grad.item() == pytest.approx(1 / -math.expm1(x), rel=1e-3)


def test_a_certain_response_has_large_odds_but_numbers() -> None:
    mean = torch.tensor([0.0], requires_grad=True)
    log_odds(mean).sum().backward()
    assert mean.grad.isfinite().all()


def test_ld_counts_what_is_longer_less_and_is_dpo_at_alpha_1() -> None:
    """Chosen of one token, rejected of three: of these the second and third count by α."""
    chosen = Scores(torch.tensor([[-1.0, 0, 0]]), torch.zeros(1, 3), torch.tensor([[1.0, 0, 0]]))
    rejected = Scores(torch.tensor([[-1.0, -2, -3]]), torch.zeros(1, 3), torch.ones(1, 3))
    outcome = ld(pairs(chosen, rejected), beta=0.1, ld_alpha=0.5)
    assert outcome.chosen_rewards.item() == pytest.approx(-0.1)
    assert outcome.rejected_rewards.item() == pytest.approx(-0.1 * (1 + 0.5 * 5))
    one, other = random_scores(4, 6, 1), random_scores(4, 6, 2)
    assert torch.allclose(
        ld(pairs(one, other), ld_alpha=1.0).losses, dpo(pairs(one, other)).losses, atol=1e-6
    )


def test_sft_is_the_nll_per_token_of_good_answers_alone() -> None:
    rows = random_scores(4, 5, 3)
    good = torch.tensor([True, False, True, True])
    losses = sft(LabelBatch(rows, good, torch.ones(4), torch.tensor(0.0))).losses
    for row in range(4):
        kept = rows.policy[row][rows.mask[row] == 1]
        assert losses[row].item() == pytest.approx(-kept.mean().item() * good[row].item(), abs=1e-6)


@pytest.mark.parametrize("method", [m for m, loss in LOSSES.items() if loss.needs == "pairs"])
def test_votes_of_a_split_pair_count_from_their_own_sides(method: str) -> None:
    """Three of four for the first is three votes for it and one for the other, ORPO's imitation
    aside."""
    one, other = random_scores(3, 5, 14), random_scores(3, 5, 15)
    loss = LOSSES[method]
    split = loss(pairs(one, other, 0.75)).losses
    for_it, against = loss(pairs(one, other)).losses, loss(pairs(other, one)).losses
    if method == "orpo":
        against = against + other.mean_logp() - one.mean_logp()
    assert torch.allclose(split, 0.75 * for_it + 0.25 * against, atol=1e-5)


def test_z_is_the_mean_of_mismatched_log_ratios_but_never_below_0() -> None:
    ratios = torch.tensor([3.0, -1.0], requires_grad=True)
    assert kl_estimate(ratios).item() == 1.0
    assert not kl_estimate(ratios).requires_grad
    assert kl_estimate(-ratios).item() == 0.0
    assert kl_estimate(torch.zeros(0)).item() == 0.0


@given(good=st.integers(1, 10_000), bad=st.integers(1, 10_000))
def test_automatic_label_weights_keep_the_balance_between_1_and_4_thirds(
    good: int, bad: int
) -> None:
    desirable, undesirable = balanced_weights(good, bad)
    assert 1 - 1e-9 <= desirable * good / (undesirable * bad) <= 4 / 3 + 1e-9
    assert min(desirable, undesirable) == 1.0


@given(x=st.floats(-500, 500))
def test_log_sigmoid_is_stable_far_from_0(x: float) -> None:
    ours = log_sigmoid(torch.tensor(x))
    assert torch.allclose(ours, functional.logsigmoid(torch.tensor(x)), atol=1e-6)


@pytest.mark.parametrize("method", LOSSES)
def test_padding_changes_nothing(method: str) -> None:
    """Columns behind the mask, with whatever in them, give the same losses and rewards."""
    one, other = random_scores(6, 9, 3), random_scores(6, 9, 4)

    def padded(s: Scores) -> Scores:
        junk = torch.full((6, 4), -7.0)
        policy, reference = torch.cat([s.policy, junk], 1), torch.cat([s.reference, 2 * junk], 1)
        return Scores(policy, reference, torch.cat([s.mask, torch.zeros(6, 4)], 1))

    def losses(change: Any) -> torch.Tensor:
        if LOSSES[method].needs == "pairs":
            batch: Any = pairs(change(one), change(other))
        else:
            good = torch.arange(6) % 2 == 0
            batch = LabelBatch(change(one), good, torch.ones(6), torch.tensor(0.5))
        return LOSSES[method].function(batch).losses

    assert torch.allclose(losses(padded), losses(lambda s: s), atol=1e-6)


@pytest.mark.parametrize("method", LOSSES)
def test_weights_scale_a_rows_loss_and_settings_have_numbers_as_defaults(method: str) -> None:
    same = random_scores(3, 4, 5)
    weight = torch.tensor([1.0, 2.0, 0.0])
    if LOSSES[method].needs == "pairs":
        batch: Any = PairBatch(same, same, torch.ones(3), weight)
    else:
        batch = LabelBatch(same, torch.tensor([True] * 3), weight, torch.tensor(0.0))
    losses = LOSSES[method](batch).losses
    assert losses[2] == 0
    assert losses[1] > 0
    assert all(isinstance(value, float) for value in LOSSES[method].settings().values())


def test_dpo_equals_the_chapters_naive_loop() -> None:
    one, other = random_scores(5, 8, 6), random_scores(5, 8, 7)
    ours = dpo(pairs(one, other), beta=0.3).losses
    for row in range(5):
        sums = [
            sum(t[row, i] for i in range(8) if s.mask[row, i])
            for s in (one, other)
            for t in (s.policy, s.reference)
        ]
        chosen_reward, rejected_reward = 0.3 * (sums[0] - sums[1]), 0.3 * (sums[2] - sums[3])
        naive = -functional.logsigmoid(chosen_reward - rejected_reward)
        assert ours[row].item() == pytest.approx(naive.item(), abs=1e-6)


def stand_in(**facts: Any) -> SimpleNamespace:
    """What TRL's loss code asks of its trainer, and nothing else."""

    def same(value: torch.Tensor) -> torch.Tensor:
        return value

    accelerator = SimpleNamespace(device=torch.device("cpu"), gather=same, gather_for_metrics=same)
    metrics: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    return SimpleNamespace(
        model=torch.nn.Identity(),
        accelerator=accelerator,
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics=metrics,
        _total_train_tokens=0,
        _tp_size=1,
        **facts,
    )


def answering(policy: torch.Tensor) -> Any:
    """A model for TRL whose per-token log-probabilities are given; column 0 predicts column 1."""
    outputs = SimpleNamespace(
        log_probs=policy,
        entropy=torch.zeros_like(policy),
        mean_logits=torch.zeros_like(policy),
        is_top1=torch.zeros_like(policy, dtype=torch.bool),
    )
    return lambda **inputs: outputs


def trl_inputs(mask: torch.Tensor) -> dict[str, torch.Tensor]:
    rows = len(mask)
    completion = torch.cat([torch.zeros(rows, 1), mask], 1).long()
    ids = torch.zeros_like(completion)
    return {"input_ids": ids, "attention_mask": ids + 1, "completion_mask": completion}


@pytest.mark.parametrize("beta", [0.01, 0.1, 0.5])
def test_dpo_equals_trl_on_the_same_log_probabilities(beta: float) -> None:
    trainer = pytest.importorskip("trl.trainer.dpo_trainer", reason="TRL is not installed")
    one, other = random_scores(8, 12, 8), random_scores(8, 12, 9)
    inputs = trl_inputs(torch.cat([one.mask, other.mask]))
    inputs["ref_chosen_logps"] = one.reference.sum(1)
    inputs["ref_rejected_logps"] = other.reference.sum(1)
    stub = stand_in(
        beta=beta,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        label_smoothing=0.0,
        use_weighting=False,
    )
    model = answering(torch.cat([one.policy, other.policy]))
    theirs = trainer.DPOTrainer._compute_loss(stub, model, inputs, False)
    outcome = dpo(pairs(one, other), beta=beta)
    assert outcome.losses.mean().item() == pytest.approx(theirs.item(), abs=1e-5)
    logged = stub._metrics["train"]
    assert outcome.chosen_rewards.mean().item() == pytest.approx(
        logged["rewards/chosen"][0], abs=1e-5
    )


def test_conservative_dpo_equals_trls_aot_on_single_pairs() -> None:
    """Of one pair TRL's sorted loss sorts nothing, and its formula is conservative DPO."""
    trainer = pytest.importorskip("trl.trainer.dpo_trainer", reason="TRL is not installed")
    one, other = random_scores(1, 12, 10), random_scores(1, 12, 11)
    inputs = trl_inputs(torch.cat([one.mask, other.mask]))
    inputs["ref_chosen_logps"] = one.reference.sum(1)
    inputs["ref_rejected_logps"] = other.reference.sum(1)
    stub = stand_in(
        beta=0.2,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        loss_types=["aot"],
        loss_weights=[1.0],
        label_smoothing=0.15,
        use_weighting=False,
    )
    model = answering(torch.cat([one.policy, other.policy]))
    theirs = trainer.DPOTrainer._compute_loss(stub, model, inputs, False)
    ours = dpo(pairs(one, other), beta=0.2, label_smoothing=0.15).losses
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


TRLS = {
    "ipo_norm": {"loss_types": ["ipo"]},
    "dpo_norm": {"loss_types": ["sigmoid_norm"]},
    "hinge": {"loss_types": ["hinge"]},
    "robust": {"loss_types": ["robust"], "label_smoothing": 0.1},
}


@pytest.mark.parametrize("method", TRLS)
def test_the_variants_equal_trls_on_the_same_log_probabilities(method: str) -> None:
    trainer = pytest.importorskip("trl.trainer.dpo_trainer", reason="TRL is not installed")
    one, other = random_scores(8, 12, 20), random_scores(8, 12, 21)
    inputs = trl_inputs(torch.cat([one.mask, other.mask]))
    inputs["ref_chosen_logps"] = one.reference.sum(1)
    inputs["ref_rejected_logps"] = other.reference.sum(1)
    facts = {"ld_alpha": None, "label_smoothing": 0.0, "loss_weights": [1.0], **TRLS[method]}
    stub = stand_in(beta=0.3, f_divergence_type="reverse_kl", use_weighting=False, **facts)
    model = answering(torch.cat([one.policy, other.policy]))
    theirs = trainer.DPOTrainer._compute_loss(stub, model, inputs, False)
    ours = LOSSES[method](pairs(one, other), beta=0.3).losses.mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_ld_equals_trls_ld_alpha() -> None:
    """TRL takes the reference's sums as they come, so they are weighted here, token by token."""
    trainer = pytest.importorskip("trl.trainer.dpo_trainer", reason="TRL is not installed")
    one, other = random_scores(6, 9, 22), random_scores(6, 9, 23)
    shorter = torch.minimum(one.mask.sum(1), other.mask.sum(1))
    sums = [
        torch.stack(
            [
                sum(s.reference[row, t] * (1.0 if t < shorter[row] else 0.4) for t in range(9))
                for row in range(6)
            ]
        )
        for s in (one, other)
    ]
    inputs = trl_inputs(torch.cat([one.mask, other.mask]))
    inputs |= {"ref_chosen_logps": sums[0], "ref_rejected_logps": sums[1]}
    stub = stand_in(
        beta=0.2, ld_alpha=0.4, f_divergence_type="reverse_kl", loss_types=["sigmoid"],
        loss_weights=[1.0], label_smoothing=0.0, use_weighting=False,
    )  # fmt: skip
    model = answering(torch.cat([one.policy, other.policy]))
    theirs = trainer.DPOTrainer._compute_loss(stub, model, inputs, False)
    ours = ld(pairs(one, other), beta=0.2, ld_alpha=0.4).losses.mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_the_sft_term_equals_trls_on_a_single_pair() -> None:
    """TRL averages over all tokens of a batch, we over each response: of one pair, the same."""
    trainer = pytest.importorskip("trl.trainer.dpo_trainer", reason="TRL is not installed")
    one, other = random_scores(1, 12, 24), random_scores(1, 12, 25)
    inputs = trl_inputs(torch.cat([one.mask, other.mask]))
    inputs["ref_chosen_logps"] = one.reference.sum(1)
    inputs["ref_rejected_logps"] = other.reference.sum(1)
    stub = stand_in(
        beta=0.1, ld_alpha=None, f_divergence_type="reverse_kl", loss_types=["sigmoid", "sft"],
        loss_weights=[1.0, 0.7], label_smoothing=0.0, use_weighting=False,
    )  # fmt: skip
    model = answering(torch.cat([one.policy, other.policy]))
    theirs = trainer.DPOTrainer._compute_loss(stub, model, inputs, False)
    ours = LOSSES["dpo"](pairs(one, other), beta=0.1, sft_weight=0.7).losses
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_orpo_equals_trls_odds_ratio_loss() -> None:
    trainer = pytest.importorskip(
        "trl.experimental.orpo.orpo_trainer", reason="TRL is not installed"
    )
    one, other = random_scores(8, 12, 26), random_scores(8, 12, 27)
    stub = stand_in(beta=0.25)
    theirs = trainer.ORPOTrainer.odds_ratio_loss(stub, one.mean_logp(), other.mean_logp())
    outcome = LOSSES["orpo"](pairs(one, other), odds_weight=0.25)
    assert torch.allclose(outcome.losses, -one.mean_logp() - theirs[0], atol=1e-5)
    assert torch.allclose(outcome.chosen_rewards, theirs[1], atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_orpos_whole_loss_equals_trls_on_a_single_pair() -> None:
    """With the prompt imitated, as TRL has it, through TRL's own forward pass. The model knows one
    token back; of several pairs TRL averages over all tokens, where long answers count more."""
    trainer = pytest.importorskip(
        "trl.experimental.orpo.orpo_trainer", reason="TRL is not installed"
    ).ORPOTrainer
    table = torch.randn(20, 20, generator=torch.Generator().manual_seed(5))
    prompt, chosen, rejected = [3, 4, 5, 6], [7, 8, 9], [10, 11, 12, 13, 14]
    inputs = {}
    for name, response in (("chosen", chosen), ("rejected", rejected)):
        ids = torch.tensor([[*prompt, *response]])
        inputs[f"{name}_input_ids"], inputs[f"{name}_attention_mask"] = ids, torch.ones_like(ids)
        inputs[f"{name}_labels"] = torch.tensor([[-100] * len(prompt) + response])
    stub = stand_in(beta=0.25, is_encoder_decoder=False, padding_value=0)
    stub.concatenated_inputs = trainer.concatenated_inputs
    stub.get_batch_logps = trainer.get_batch_logps

    def model(ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=table[ids])

    logps, other_logps, _, _, nll = trainer.concatenated_forward(stub, model, inputs)
    odds = trainer.odds_ratio_loss(stub, logps, other_logps)[0]
    theirs = nll - odds.mean()

    def scored(tokens: list[int]) -> Scores:
        values = table.log_softmax(-1)[tokens[:-1], tokens[1:]][None]
        return Scores(values, torch.zeros_like(values), torch.ones_like(values))

    batch = replace(
        pairs(scored([prompt[-1], *chosen]), scored([prompt[-1], *rejected])), prompt=scored(prompt)
    )
    ours = LOSSES["orpo"](batch, odds_weight=0.25, prompt_weight=1.0).losses
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_simpo_equals_trls() -> None:
    trainer = pytest.importorskip("trl.experimental.cpo.cpo_trainer", reason="TRL is not installed")
    one, other = random_scores(8, 12, 28), random_scores(8, 12, 29)
    stub = stand_in(beta=2.5, alpha=0.0, loss_type="simpo", simpo_gamma=0.8, label_smoothing=0.0)
    theirs = trainer.CPOTrainer.cpo_loss(stub, one.mean_logp(), other.mean_logp())
    outcome = LOSSES["simpo"](pairs(one, other), beta=2.5, gamma=0.8)
    assert torch.allclose(outcome.losses, theirs[0], atol=1e-5)
    assert torch.allclose(outcome.chosen_rewards, theirs[1], atol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.4, -0.4])
def test_kto_equals_trl_on_the_same_log_probabilities(shift: float) -> None:
    """Also where the mismatched responses lost probability, so that z is clamped at 0."""
    trainer = pytest.importorskip("trl.trainer.kto_trainer", reason="TRL is not installed")
    rows, other = random_scores(8, 12, 12), random_scores(8, 12, 13)
    other = Scores(other.policy + shift * other.mask, other.reference, other.mask)
    good = torch.tensor([True, False, True, True, False, True, False, True])
    inputs = trl_inputs(rows.mask)
    inputs |= {"label": good, "ref_logps": rows.reference.sum(1)}
    inputs |= {f"KL_{name}": value for name, value in trl_inputs(other.mask).items()}
    inputs["ref_KL_logps"] = other.reference.sum(1)
    stub = stand_in(
        beta=0.1,
        loss_type="kto",
        calculate_KL=True,
        desirable_weight=1.0,
        undesirable_weight=1.3,
    )
    stub._compute_kl_logps = lambda model, batch: other.policy.sum(1)
    theirs = trainer.KTOTrainer._compute_loss(stub, answering(rows.policy), inputs, False)
    z = kl_estimate(other.log_ratio())
    batch = LabelBatch(rows, good, torch.ones(8), z)
    ours = kto(batch, beta=0.1, desirable_weight=1.0, undesirable_weight=1.3).losses.mean()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert z.item() == pytest.approx(stub._metrics["train"]["kl"][0], abs=1e-5)


def test_the_methods_and_their_settings_can_be_read_without_torch() -> None:
    code = "import sys, align.losses, align.recipes, align.estimate; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
