"""Whether responses may share a row with their prompt here: by the base's architecture, then by
trying it out.

A shared row hands the layers a mask of its own and positions that begin anew behind the prompt. A
layer that does not go by them (a sliding window, a recurrent state, a bias by distance) would score
the second response wrong without a word, so only architectures that were tried share rows; all
others get one row per response, which is slower and always right.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from align.batches import Fork, pack
from align.policy import Policy

# `model_type` of transformers' architectures whose shared rows score as separate ones do, each in a
# test with random weights. Not among them: BLOOM (a bias by distance), Mamba, Qwen 3.5 and LFM2
# (recurrent or convolving layers), Cohere and Gemma 2 (their heads are refused anyway).
SHARING = frozenset({
    "ernie4_5", "exaone4", "gemma", "gemma3_text", "glm", "glm4", "gpt2", "gpt_neox", "granite",
    "helium", "hunyuan_v1_dense", "llama", "ministral", "ministral3", "mistral", "nemotron",
    "olmo", "olmo2", "olmo3", "opt", "phi", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3",
    "stablelm", "starcoder2",
})  # fmt: skip
FULL, SLIDING = "full_attention", "sliding_attention"
FP32 = 1e-4
"""Root mean square difference per token (nats) that two orders of the same sums may make in fp32.

Choice: SmolLM2 differs from itself by 1e-5 between batch shapes, the architectures above by 1e-6 in
shared rows; a second response that does not see its prompt differs by more than 0.5.
"""
LEAST, MOST = 0.05, 0.1
"""Bounds of the same in bf16 and NF4.

Choice: SmolLM2 in bf16 differs from itself by 0.03 to 0.05 between batch shapes and between kernels
with and without a mask; the few tokens of a sample may show less.
"""


def window_of(config: Any) -> float:
    """Return how many tokens back the base's narrowest layer sees; infinite where all see all.

    Raises:
        ValueError: some layers are neither of full attention nor of a sliding window.
    """
    kinds = set(getattr(config, "layer_types", None) or ())
    if other := kinds - {FULL, SLIDING}:
        raise ValueError(f"layers of {', '.join(sorted(other))}")
    window = getattr(config, "sliding_window", None)
    if window is None or (kinds and SLIDING not in kinds):
        return math.inf
    return float(window)


def why_apart(config: Any, longest: int) -> str:
    """Return why responses to one prompt get rows of their own, "" where they may share one.

    Args:
        config: of the base, as transformers reads it.
        longest: tokens of the longest prompt with one response.
    """
    kind = str(getattr(config, "model_type", ""))
    if kind not in SHARING:
        return f"{kind or 'this architecture'} was not tried with shared rows"
    try:
        window = window_of(config)
    except ValueError as error:
        return str(error)
    if window < longest:
        return f"its layers see {window:,.0f} tokens back, and rows have up to {longest:,}"
    return ""


@torch.no_grad()
def shared_prompts_agree(
    policy: Policy, forks: Sequence[Fork], precision: str
) -> tuple[bool, float]:
    """Say whether responses in one row with a shared prompt score as in rows of their own.

    Returns:
        The verdict and the root mean square difference per token in nats.
    """
    shared = _scores(policy, forks, shared=True)
    difference = _per_token(shared - _apart(policy, forks), forks)
    return difference <= tolerance(policy, forks, shared, precision), difference


@torch.no_grad()
def riders_agree(policy: Policy, forks: Sequence[Fork], precision: str) -> bool:
    """Say whether responses that ride on the prompts of another pass score as in one of their own.

    Models that keep more than keys and values, or only a window of them, fail.
    """
    base: Any = policy.model.get_base_model()
    kept_whole = set(getattr(base.config, "layer_types", None) or [FULL]) == {FULL}
    if not kept_whole or window_of(base.config) < math.inf or getattr(base, "_is_stateful", False):
        return False
    first = [Fork(fork.prompt, fork.responses[:1]) for fork in forks]
    block, riders = (pack(some, shared=True).to(policy.device) for some in (first, forks))
    with policy.reference():
        _, ridden = policy.with_riders(block, riders)
    difference = _per_token(ridden - _apart(policy, forks), forks)
    return difference <= tolerance(policy, forks, ridden, precision)


@torch.no_grad()
def tolerance(policy: Policy, forks: Sequence[Fork], found: Tensor, precision: str) -> float:
    """Return what rounding alone may make of a token (nats, root mean square).

    In bf16 and NF4 it is twice what rounding is seen to make, within `LEAST` and `MOST`: of
    separate rows between a batch of all and one of each prompt's, and of the first response of each
    row, which stands right behind its prompt in a shared row, too.

    Args:
        found: the log-probabilities (M, R) that are to be judged.
    """
    if precision == "fp32":
        return FP32
    apart = _apart(policy, forks)
    own = [_apart(policy, [fork]) for fork in forks]
    alone = torch.cat([pad(one, (0, apart.shape[1] - one.shape[1])) for one in own])
    first = [Fork(fork.prompt, fork.responses[:1]) for fork in forks]
    starts = itertools.accumulate((len(fork.responses) for fork in forks[:-1]), initial=0)
    noise = max(
        _per_token(apart - alone, forks),
        _per_token((found - apart)[list(starts)], first),
    )
    return min(max(2 * noise, LEAST), MOST)


def _apart(policy: Policy, forks: Sequence[Fork]) -> Tensor:
    return _scores(policy, forks, shared=False)


def _scores(policy: Policy, forks: Sequence[Fork], *, shared: bool) -> Tensor:
    with policy.reference():
        values: Tensor = policy(pack(forks, shared=shared).to(policy.device))
    return values


def _per_token(gap: Tensor, forks: Sequence[Fork]) -> float:
    """Return the root mean square of a difference (M, R) over the responses' tokens."""
    tokens = sum(len(r) for fork in forks for r in fork.responses)
    return (gap.square().sum() / tokens).sqrt().item()
