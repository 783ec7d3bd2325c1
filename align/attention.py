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
BLOCK = 128  # queries at a time. Choice: 421 tokens then take 0.64 of the products; see docs/log.md


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
    scaled, length = query * scaling, query.shape[2]
    causal = getattr(module, "is_causal", False) and length == key.shape[2]
    values = weighted_values(scaled, key, value, attention_mask, BLOCK if causal else length)
    return values.transpose(1, 2), None


def weighted_values(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, block: int
) -> Tensor:
    """Return softmax(query · keyᵀ + mask) · value for scaled queries; (B, A, T, D).

    Args:
        block: queries at a time. With fewer than all of them no key behind a block's last query is
            looked at, which is right where nobody sees what comes later, and saves up to half.
    """
    length, keys = query.shape[2], key.shape[2]
    if mask is None and length > 1:  # causal; the queries are the last of the keys
        seen = torch.ones(length, keys, dtype=torch.bool, device=query.device)
        mask = seen.tril(keys - length)
    if mask is not None and mask.dtype == torch.bool:
        mask = additive(mask, query.dtype)
    parts = []
    for start in range(0, length, block):
        stop = min(start + block, length)
        end = keys - length + stop
        added = None if mask is None else mask[..., start:stop, :end]
        parts.append(_block(query[:, :, start:stop], key[:, :, :end], value[:, :, :end], added))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _block(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return the values of some queries (B, A, T, D).

    The A / G query heads that share a key head are stacked into one product, so keys and values are
    never repeated. In bf16 torch's softmax computes in fp32 inside.
    """
    rows, heads, length, width = query.shape
    groups, keys = key.shape[1], key.shape[2]
    scores = query.reshape(rows, groups, -1, width) @ key.transpose(-1, -2)
    scores = scores.view(rows, heads, length, keys)
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return (weights.view(rows, groups, -1, keys) @ value).view(rows, heads, length, width)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what to add to the scores: 0 where a key is seen, the least number where not."""
    least = torch.finfo(dtype).min
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, least)
