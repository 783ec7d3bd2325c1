"""The losses against the theory: closed forms that their optimum has to be, on a few arms.

One prompt, answers of one token: the policy is a softmax over the arms, the reference given. What a
loss converges to there is known, so a wrong sign, scale or constant shows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from align.losses import (
    LOSSES,
    LabelBatch,
    PairBatch,
    Scores,
    balanced_weights,
    dpo,
    ipo,
    kto,
    robust,
)

Pair = tuple[int, int, float]  # (first arm, second arm, share of votes for the first)


def scores(policy: Tensor, reference: Tensor, arms: Sequence[int]) -> Scores:
    index = torch.tensor(arms)
    return Scores(policy[index, None], reference[index, None], torch.ones(len(index), 1))


def batch(policy: Tensor, reference: Tensor, votes: Sequence[Pair]) -> PairBatch:
    sides = (scores(policy, reference, [vote[side] for vote in votes]) for side in (0, 1))
    return PairBatch(*sides, torch.tensor([vote[2] for vote in votes]), torch.ones(len(votes)))


def learn(loss: Callable[[Tensor], Tensor], reference: Tensor, steps: int = 2000) -> Tensor:
    """Return the log-probabilities (arms,) that minimise a loss of them."""
    weights = reference.clone().requires_grad_()
    optimiser = torch.optim.Adam([weights], lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(weights.log_softmax(0)).backward()
        optimiser.step()
    return weights.detach().log_softmax(0)


UNIFORM = torch.full((3,), math.log(1 / 3))
ORDER = [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 1.0)]


def test_dpo_on_one_sided_votes_collapses_onto_the_best_arm_and_ipo_settles() -> None:
    """Arms 1 > 2 > 3 without exception. DPO has no finite optimum there.

    IPO's is the least-squares solution of f1 - f2 = f2 - f3 = f1 - f3 = 1/(2τ), f the log-ratios:
    with τ = 1 they are 1/3, 0, -1/3, so π = softmax(1/3, 0, -1/3) = .448, .321, .230.
    """
    collapsed = learn(lambda p: dpo(batch(p, UNIFORM, ORDER), beta=1.0).losses.sum(), UNIFORM)
    assert collapsed[0].exp() > 0.95
    settled = learn(lambda p: ipo(batch(p, UNIFORM, ORDER), beta=1.0).losses.sum(), UNIFORM)
    assert settled.exp().tolist() == pytest.approx([0.448, 0.321, 0.230], abs=1e-3)
    longer = learn(lambda p: dpo(batch(p, UNIFORM, ORDER), beta=1.0).losses.sum(), UNIFORM, 6000)
    assert longer[0] > collapsed[0]  # and on it goes


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_dpo_on_all_votes_finds_the_closed_form(beta: float) -> None:
    """π* ∝ π_ref · exp(r/β) where votes follow Bradley-Terry with rewards r (chapter; Rafailov et
    al., equation 4). The constant β · log Z cancels in every margin."""
    rewards = torch.tensor([1.0, 0.2, -0.4, -1.1, 0.6])
    reference = torch.tensor([0.4, 0.3, 0.1, 0.15, 0.05]).log()
    votes = [
        (i, j, torch.sigmoid(rewards[i] - rewards[j]).item())
        for i, j in itertools.combinations(range(5), 2)
    ]
    found = learn(lambda p: dpo(batch(p, reference, votes), beta=beta).losses.sum(), reference)
    closed = (reference + rewards / beta).log_softmax(0)
    assert torch.allclose(found.exp(), closed.exp(), atol=2e-3)
    implicit = beta * (found - reference)
    constant = rewards - implicit  # β · log Z, the same for every arm
    assert constant.std() < 5e-3
    assert constant.mean().item() == pytest.approx(
        beta * (reference + rewards / beta).logsumexp(0).item(), abs=5e-3
    )


def test_robust_dpo_of_noisy_votes_has_the_optimum_of_clean_ones() -> None:
    """A tenth of the votes flipped at random: with ε = 0.1 the loss is as if none were.

    Clean votes prefer arm 1 with σ(1) = .731, so the margin of β · log-ratios is 1.
    """
    reference, clean = torch.tensor([0.5, 0.5]).log(), torch.sigmoid(torch.tensor(1.0)).item()
    noisy = [(0, 1, 0.9 * clean + 0.1 * (1 - clean))]

    def loss(policy: Tensor) -> Tensor:
        return robust(batch(policy, reference, noisy), beta=0.5, label_smoothing=0.1).losses.sum()

    found = learn(loss, reference)
    assert 0.5 * (found[0] - found[1]).item() == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("kept", [1.0, 0.1])
def test_kto_recovers_the_order_from_unpaired_thumbs_even_when_most_thumbs_up_are_lost(
    kept: float,
) -> None:
    """Arms with 80, 50 and 20 thumbs-up in a hundred; weights by the counts make up for the loss.

    z is the exact KL(π ‖ π_ref), which mismatched answers estimate.
    """
    ups = [80 * kept, 50 * kept, 20 * kept]
    downs = [20, 50, 80]
    desirable, undesirable = balanced_weights(round(sum(ups)), sum(downs))

    def loss(policy: Tensor) -> Tensor:
        z = (policy.exp() * (policy - UNIFORM)).sum().detach().clamp(min=0)
        rows = LabelBatch(
            scores(policy, UNIFORM, [0, 1, 2, 0, 1, 2]),
            good=torch.tensor([True] * 3 + [False] * 3),
            weight=torch.tensor([*ups, *downs]),
            z=z,
        )
        settings = {"desirable_weight": desirable, "undesirable_weight": undesirable}
        return kto(rows, beta=0.5, **settings).losses.sum() / 100

    found = learn(loss, UNIFORM, 500)
    assert found[0] > UNIFORM[0] > found[2]
    assert found[0] > found[1] > found[2]


def test_orpo_and_sft_raise_the_likelihood_of_the_chosen_arm_from_nothing() -> None:
    """One stage: the odds gap opens and the chosen arm's NLL falls; DPO promises only the first."""
    votes = [(0, 1, 1.0), (0, 2, 1.0)]
    found = learn(
        lambda p: LOSSES["orpo"](batch(p, UNIFORM, votes), odds_weight=0.1).losses.sum(),
        UNIFORM,
        300,
    )
    assert found[0] > UNIFORM[0] + 0.5
    assert (found[0] - found[1]) > 1.0


def test_an_sft_term_keeps_the_chosen_arm_from_sinking() -> None:
    """Chosen and rejected share what they gain: DPO alone may lower both (likelihood displacement).

    Arms 1 and 2 share one weight nearly, arm 3 is apart: pushing 2 down takes 1 along, and the mass
    goes to 3, which nobody voted for. With the SFT term arm 1 rises.
    """
    mixing = torch.tensor([[1.0, 0.0, 0.0], [0.98, 0.2, 0.0], [0.0, 0.0, 1.0]])

    def trained(sft_weight: float) -> Tensor:
        weights = torch.zeros(3, requires_grad=True)
        optimiser = torch.optim.SGD([weights], lr=0.5)
        for _ in range(60):
            optimiser.zero_grad()
            policy = (mixing @ weights).log_softmax(0)
            pairs = batch(policy, UNIFORM, [(1, 0, 1.0)])
            LOSSES["dpo"](pairs, beta=1.0, sft_weight=sft_weight).losses.sum().backward()
            optimiser.step()
        return (mixing @ weights.detach()).log_softmax(0)

    assert trained(1.0)[1] > UNIFORM[1]
    assert trained(1.0)[1] > trained(0.0)[1]
