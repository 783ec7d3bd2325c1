"""Probe answers: drawn from the model, scored against the reference, by hand and by counting."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from align.batches import Cutter, Fork, pack
from align.evaluate import Answer, _Draw, generated
from align.policy import Policy
from align.probes import Prober, kl_per_token, shares
from align.rendering import Ids
from tests.align.small import tiny_policy
from tests.browser.tiny import byte_tokenizer

END = {256}


@pytest.fixture(scope="module")
def adapted(tiny: Path) -> Policy:
    return tiny_policy(tiny, adapted=True)


def prompts(*texts: str) -> list[Ids]:
    return [tuple(byte_tokenizer().encode(text)) for text in texts]


def prober(*texts: str, seed: int = 0, budget: int = 2048) -> Prober:
    return Prober(byte_tokenizer(), prompts(*texts), END, Cutter(budget=budget), seed)


def test_draws_follow_the_models_distribution() -> None:
    """4,000 seeds on the logits ln(1, 2, 5): shares of 1/8, 2/8, 5/8 within three standard
    deviations, √(p(1-p)/4000) ≤ 0.0079."""
    count = 4000
    logits = torch.tensor([[1.0, 2.0, 5.0]]).log().expand(count, 3).clone()
    draw = _Draw(list(range(count)), width=2)
    taken = draw(torch.zeros(count, 2, dtype=torch.int64), logits).argmax(-1)
    found = torch.bincount(taken, minlength=3) / count
    assert torch.allclose(found, torch.tensor([1 / 8, 2 / 8, 5 / 8]), atol=3 * 0.0079)


def test_a_row_without_a_seed_stays_greedy_beside_one_that_draws() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    out = _Draw([None, 3], width=2)(torch.zeros(2, 2, dtype=torch.int64), logits.clone())
    assert torch.equal(out[0], logits[0])
    assert not torch.equal(out[1], logits[1])


def test_a_drawn_answer_depends_on_its_seed_and_not_on_its_neighbours(adapted: Policy) -> None:
    three = prompts("One", "A longer prompt", "Two?")
    settings = {"stops": END, "max_tokens": 12}
    together = generated(adapted, three, [5, 6, 7], **settings)
    for prompt, seed, answer in zip(three, (5, 6, 7), together, strict=True):
        assert generated(adapted, [prompt], [seed], **settings) == [answer]
    others = generated(adapted, three, [8, 9, 10], **settings)
    assert others != together
    assert generated(adapted, three, [None] * 3, **settings) != together


def test_kl_is_a_mean_over_drawn_tokens(adapted: Policy) -> None:
    """Two answers of 2 and 3 tokens: r - 1 - log r of each token, summed, over 5."""
    forks = [Fork((1, 2, 3), ((4, 5),)), Fork((6, 7), ((8, 9, 10),))]
    expected = 0.0
    for fork in forks:
        block = pack([fork], shared=True).to(adapted.device)
        with torch.no_grad():
            now = adapted(block)
        with adapted.reference(), torch.no_grad():
            ratio = (adapted(block) - now).exp()
        expected += (ratio - 1 - ratio.log()).sum().item() / 5
    assert expected > 0
    for budget in (4, 2048):  # one pass each, and both in one
        found = kl_per_token(adapted, forks, Cutter(budget=budget))
        assert found["eval_kl"] == pytest.approx(expected, abs=1e-5)
        assert found["eval_kl_tokens"] == 5


def test_kl_leaves_the_prompts_out_where_a_loss_scores_them(adapted: Policy) -> None:
    """ORPO that imitates prompts too: their log-probabilities have moved as well."""
    forks = [Fork((1, 2, 3), ((4, 5),))]
    found = kl_per_token(adapted, forks, Cutter(prompts=False))
    assert kl_per_token(adapted, forks, Cutter(prompts=True)) == found


def test_kl_of_a_model_that_is_its_reference_is_0(tiny: Path) -> None:
    row = prober("Hello", "And you?").probe(tiny_policy(tiny))
    assert row["eval_kl"] == 0.0
    assert row["probe_prompts"] == 2


def test_kl_estimates_the_divergence_of_drawn_answers(adapted: Policy) -> None:
    """One token after one prompt: 600 draws against Σ π (log π - log π_ref) over the vocabulary.

    The estimate's standard error comes from the draws themselves; three of them are allowed.
    """
    (prompt,) = prompts("Hello there")
    words = torch.arange(len(byte_tokenizer()))
    every = [Fork(prompt, ((int(word),),)) for word in words]
    cutter = Cutter(budget=4096)
    with torch.no_grad():
        now = torch.cat([adapted(m.block.to(adapted.device))[:, 0] for m in cutter.micros(every)])
    with adapted.reference():
        then = torch.cat([adapted(m.block.to(adapted.device))[:, 0] for m in cutter.micros(every)])
    exact = (now.exp() * (now - then)).sum().item()
    terms = (then - now).exp() - 1 - (then - now)
    assert now.exp().sum().item() == pytest.approx(1.0, abs=1e-3)
    answers = generated(adapted, [prompt] * 600, list(range(600)), stops=END, max_tokens=1)
    drawn = torch.stack([terms[answer[0]] for answer in answers])
    found = kl_per_token(adapted, [Fork(prompt, (a,)) for a in answers], cutter)["eval_kl"]
    assert found == pytest.approx(drawn.mean().item(), abs=1e-4)
    assert abs(found - exact) <= 3 * drawn.std().item() / math.sqrt(600)


def test_a_probe_is_the_same_again_and_in_smaller_batches(adapted: Policy) -> None:
    """The budget takes the answers one by one, and nothing of the figures changes."""
    one = prober("Hello", "And you?").probe(adapted)
    other = prober("Hello", "And you?", budget=20).probe(adapted)
    assert one == pytest.approx(other, abs=1e-4)
    assert one != prober("Hello", "And you?", seed=1).probe(adapted)


def test_shares_count_answers() -> None:
    """Lengths 30, 4: 17 on average; the first goes in circles, the second does not stop."""
    found = shares([Answer("no way " * 15, 30, True), Answer("Short and good.", 4, False)])
    assert found == {
        "probe_prompts": 2, "probe_length": 17.0, "probe_repeating": 0.5, "probe_unfinished": 0.5,
    }  # fmt: skip


def test_nothing_to_ask_gives_no_figures(adapted: Policy) -> None:
    assert prober().probe(adapted) == {}


def test_a_probe_can_be_stopped_between_two_tokens(adapted: Policy) -> None:
    class Stop(Exception):
        pass

    def pause() -> None:
        raise Stop

    with pytest.raises(Stop):
        prober("Hello").probe(adapted, pause=pause)
