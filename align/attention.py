"""Attention in plain matrix products, for bf16 on a CPU, where torch's fused kernel is slow.

Forward and backward of rows of 320 tokens take a fifth less time than with torch's
`scaled_dot_product_attention` (SmolLM2, 2 cores, AVX512-BF16), as far from fp32 as that is (0.036
and 0.037 nats per token). Everywhere else, and for long rows, the fused kernel is used.

Shapes: B rows, A query heads, G key heads (A is a multiple), T queries, U keys, D per head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

NAME = "hone"
LONGEST = (
    1024  # keys. Choice: beyond it the T × U weights kept for the backward pass grow too large
)


def register() -> str:
    """Make this attention known to transformers and return the name to load a model with."""
    AttentionInterface.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    return NAME


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """Return attention's output (B, T, A, D), as transformers' attention functions do.

    Args:
        query, key, value: (B, A, T, D), (B, G, U, D), (B, G, U, D).
        attention_mask: (B, 1, T, U), bool (True: seen) or what is added to scores; None: causal.
    """
    plain = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if scaling is None or not plain or dropout or key.shape[2] > LONGEST:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return output, None
    return weighted_values(query * scaling, key, value, attention_mask).transpose(1, 2), None


def weighted_values(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(query · keyᵀ + mask) · value for scaled queries; (B, A, T, D).

    The A / G query heads that share a key head are stacked into one product, so keys and values are
    never repeated. In bf16 torch's softmax computes in fp32 inside.
    """
    rows, heads, length, width = query.shape
    groups, keys = key.shape[1], key.shape[2]
    scores = query.reshape(rows, groups, -1, width) @ key.transpose(-1, -2)
    scores = scores.view(rows, heads, length, keys) + _added(mask, length, keys, query)
    weights = scores.softmax(-1).view(rows, groups, -1, keys)
    return (weights @ value).view(rows, heads, length, width)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what to add to the scores: 0 where a key is seen, the least number where not."""
    least = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, least)


def _added(mask: Tensor | None, length: int, keys: int, like: Tensor) -> Tensor:
    if mask is None:  # causal; the queries are the last of the keys
        mask = torch.ones(length, keys, dtype=torch.bool, device=like.device).tril(keys - length)
    return additive(mask, like.dtype) if mask.dtype == torch.bool else mask
