"""Draw the next tokens of a batch so that each row depends on its own seed alone (pure).

The noise is a hash of (seed, position, token): a row's draw does not know which rows stand beside
it, and two rows with one seed see one noise, so that a before and an after differ only where the
models do.
"""

from __future__ import annotations

import torch

LIKELIEST = 256  # Choice: they nearly always hold the nucleus; where not, all tokens count
_MIX_1 = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9 as a signed number
_MIX_2 = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15


def gumbel(seeds: torch.Tensor, steps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return standard Gumbel noise, a pure function of seed, step and token.

    Args:
        seeds: (B,) int64. steps: (B,) int64, position in the answer. tokens: (B, K) int64.

    Returns:
        (B, K) fp64.

    Source: SplitMix64's finaliser (Steele, Lea and Flood 2014) as the hash.
    """
    row = _mix(_mix(seeds + _GOLDEN) + steps * _GOLDEN)
    bits = _mix(row[:, None] + (tokens + 1) * _GOLDEN)
    uniform = (((bits >> 11) & (2**53 - 1)).double() + 0.5) * 2.0**-53
    return -torch.log(-torch.log(uniform))


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ ((x >> 30) & (2**34 - 1))) * _MIX_1
    x = (x ^ ((x >> 27) & (2**37 - 1))) * _MIX_2
    return x ^ ((x >> 31) & (2**33 - 1))


def next_tokens(
    logits: torch.Tensor,
    *,
    seeds: torch.Tensor,
    steps: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> torch.Tensor:
    """Return one token for each row, drawn from its nucleus by the Gumbel trick.

    The nucleus is the smallest set of likeliest tokens that together hold `top_p`. The token with
    the largest log-probability + Gumbel noise is a draw from the softmax over it. Temperature 0 is
    greedy.

    Args:
        logits: (B, V). seeds, steps: (B,) int64. temperature, top_p: (B,) floating.

    Returns:
        (B,) int64.

    Source: Gumbel-max, Maddison et al. 2014; nucleus, Holtzman et al. 2020 (arXiv 1904.09751).
    """
    sampled = temperature > 0
    if not bool(sampled.any()):
        return logits.argmax(-1)
    scaled = logits.float() * (1 / temperature.clamp_min(1e-4)).float()[:, None]
    k = min(LIKELIEST, logits.shape[-1])
    drawn, covered = _draw(scaled, k, seeds, steps, top_p)
    if not bool(covered.all()):
        left = (~covered).nonzero().squeeze(-1)
        drawn[left], _ = _draw(
            scaled[left], logits.shape[-1], seeds[left], steps[left], top_p[left]
        )
    return drawn if bool(sampled.all()) else torch.where(sampled, drawn, logits.argmax(-1))


def _draw(
    scaled: torch.Tensor, k: int, seeds: torch.Tensor, steps: torch.Tensor, top_p: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a token for each row from its `k` likeliest, and whether these hold its nucleus."""
    best, tokens = scaled.topk(k, dim=-1)
    logprobs = (best - scaled.logsumexp(-1, keepdim=True)).double()  # (B, k), falling
    mass = logprobs.exp().cumsum(-1)
    outside = mass - logprobs.exp() >= top_p[:, None]
    outside[:, 0] = False
    noisy = (logprobs + gumbel(seeds, steps, tokens)).masked_fill(outside, -torch.inf)
    covered = (mass[:, -1] >= top_p) | (k == scaled.shape[-1])
    return tokens.gather(-1, noisy.argmax(-1, keepdim=True)).squeeze(-1), covered
