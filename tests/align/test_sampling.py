"""Drawing tokens: the right frequencies, and each row by its own seed."""

import torch

from align.sampling import LIKELIEST, gumbel, next_tokens


def draw(logits, seeds, *, temperature=1.0, top_p=1.0, step=0):
    rows = len(seeds)
    return next_tokens(
        logits.expand(rows, -1),
        seeds=torch.tensor(seeds),
        steps=torch.full((rows,), step),
        temperature=torch.full((rows,), temperature, dtype=torch.float64),
        top_p=torch.full((rows,), top_p, dtype=torch.float64),
    )


def shares(tokens, size):
    return torch.bincount(tokens, minlength=size) / len(tokens)


def test_tokens_come_as_often_as_the_softmax_says():
    """Probabilities 0.5, 0.3, 0.2 over 40,000 seeds: standard error at most 0.0025."""
    probabilities = torch.tensor([0.5, 0.3, 0.2])
    drawn = draw(probabilities.log()[None], list(range(40_000)))
    assert torch.allclose(shares(drawn, 3), probabilities, atol=0.01)


def test_the_nucleus_leaves_out_the_unlikely():
    """top_p 0.6: 0.5 is not enough, 0.5 + 0.3 is; these two then have 5/8 and 3/8."""
    probabilities = torch.tensor([0.2, 0.5, 0.3])
    drawn = draw(probabilities.log()[None], list(range(20_000)), top_p=0.6)
    assert torch.allclose(shares(drawn, 3), torch.tensor([0.0, 0.625, 0.375]), atol=0.015)


def test_a_nucleus_wider_than_the_likeliest_is_drawn_from_whole():
    """1,000 equally likely tokens, top_p 0.95: 950 of them are in it, not only 256."""
    logits = torch.zeros(1, 1000)
    drawn = draw(logits, list(range(20_000)), top_p=0.95)
    assert 940 <= len(drawn.unique()) <= 960
    assert len(drawn.unique()) > LIKELIEST


def test_temperature_zero_takes_the_likeliest():
    logits = torch.tensor([[0.1, 0.4, 0.3]])
    assert draw(logits, [1, 2, 3], temperature=0.0).tolist() == [1, 1, 1]


def test_low_temperature_sharpens():
    """At temperature 1/2 odds are squared: 0.6 to 0.4 becomes 0.36 to 0.16, so 9/13."""
    drawn = draw(torch.tensor([[0.6, 0.4]]).log(), list(range(40_000)), temperature=0.5)
    assert abs(float(shares(drawn, 2)[0]) - 9 / 13) < 0.01


def test_a_row_does_not_depend_on_the_rows_beside_it():
    logits = torch.randn(1, 5000, generator=torch.Generator().manual_seed(1))
    together = draw(logits, [5, 6, 7, 5], top_p=0.9, step=3).tolist()
    assert together == [draw(logits, [s], top_p=0.9, step=3).item() for s in (5, 6, 7, 5)]
    assert together[0] == together[3]


def test_greedy_and_sampled_rows_share_a_batch():
    logits = torch.tensor([[3.0, 1.0, 2.0]])
    drawn = next_tokens(
        logits.expand(2, -1),
        seeds=torch.tensor([1, 1]),
        steps=torch.zeros(2, dtype=torch.int64),
        temperature=torch.tensor([0.0, 1.0]),
        top_p=torch.tensor([1.0, 1.0]),
    )
    assert drawn[0] == 0
    assert drawn[1] == draw(logits, [1])[0]


def test_noise_is_standard_gumbel_and_changes_with_seed_step_and_token():
    """Its mean is Euler's constant 0.5772 and its variance π²/6 = 1.645."""
    seeds, tokens = torch.arange(300), torch.arange(300).expand(300, -1)
    noise = gumbel(seeds, torch.zeros_like(seeds), tokens)
    assert abs(float(noise.mean()) - 0.5772) < 0.02
    assert abs(float(noise.var()) - 1.645) < 0.03
    assert len(noise.flatten().unique()) == noise.numel()
    later = gumbel(seeds, torch.ones_like(seeds), tokens)
    correlation = torch.corrcoef(torch.stack([noise.flatten(), later.flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.02


def test_seeds_up_to_48_bits_and_negative_ones_work():
    logits = torch.zeros(1, 50)
    assert len(set(draw(logits, [2**48 - 1, -1, 0, 2**62]).tolist())) > 1
