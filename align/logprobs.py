"""Log-probabilities of response tokens straight from hidden states, a few tokens at a time.

A language model's head is wide (49,152 words for SmolLM2), so logits of all positions of a batch
are the largest thing in a training step. Here only the positions that predict a response token are
scored, in chunks, and the gradient towards the hidden states is formed at once, while a chunk's
logits are still there: two matrix products per token instead of three, and nothing V wide is kept.

Shapes: S scored positions, H hidden, V vocabulary. Knows nothing of rows, prompts or models.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = {"cpu": 128, "cuda": 512}
"""Positions by kind of device. Choice: 128 · 49,152 fp32 logits are 25 MB, and more were not faster
on 2 cores. A GPU reads the head once per chunk: with 512 a step took a fifth less than with 128
(H200, 8B, 128,256 words)."""


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    *,
    chunk: int = 0,
) -> Tensor:
    """Return log softmax(hidden · weightᵀ + bias)[target] of each position, in fp32; (S,).

    Args:
        hidden: (S, H) hidden states, each predicting one token; the gradient flows into these.
        weight: (V, H) the head; bf16 or fp32. Where it is trained, a chunk's logits are computed
            once more for its gradient.
        targets: (S,) the tokens that came.
        bias: (V,) of the head, where it has one.
        chunk: positions at a time; 0: as many as are fast on the device.
    """
    chunk = chunk or CHUNK[hidden.device.type]
    result: Tensor = _TokenLogprobs.apply(hidden, weight, targets, bias, chunk)
    return result


class _TokenLogprobs(torch.autograd.Function):
    """∂ log p(target) / ∂ hidden = weight[target] - softmax(logits) · weight."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, bias, chunk):  # type: ignore[no-untyped-def]
        wanted = ctx.needs_input_grad[0]
        result = hidden.new_empty(len(targets), dtype=torch.float32)
        gradient = torch.empty_like(hidden) if wanted else None
        logits = _Logits(weight, bias, min(chunk, len(targets)))
        for start in range(0, len(targets), chunk):
            part = slice(start, start + chunk)
            result[part] = logits.logprobs(hidden[part], targets[part])
            if gradient is not None:
                gradient[part] = weight[targets[part]] - logits.expected_weight()
        ctx.chunk, ctx.head = chunk, ctx.needs_input_grad[1]
        ctx.save_for_backward(gradient, *((hidden, weight, targets, bias) if ctx.head else ()))
        return result

    @staticmethod
    def backward(ctx, upstream):  # type: ignore[no-untyped-def]
        gradient, *head = ctx.saved_tensors
        towards_hidden = upstream[:, None].to(gradient.dtype) * gradient
        towards_weight, towards_bias = (
            _head_gradient(upstream, *head, ctx.chunk) if head else (None,) * 2
        )
        return towards_hidden, towards_weight, None, towards_bias, None


def _head_gradient(
    upstream: Tensor,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None,
    chunk: int,
) -> tuple[Tensor, Tensor | None]:
    """Return the gradient towards a trained head: Σ upstream · (1[target] - softmax) ⊗ hidden."""
    logits = _Logits(weight, bias, min(chunk, len(targets)))
    towards_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
    towards_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        logits.logprobs(hidden[part], targets[part])
        wide = logits.towards_logits(upstream[part], targets[part])
        towards_weight += wide.to(weight.dtype).T @ hidden[part].to(weight.dtype)
        if towards_bias is not None:
            towards_bias += wide.sum(0)
    return towards_weight.to(weight.dtype), None if bias is None else towards_bias.to(bias.dtype)


class _Logits:
    """Logits of one chunk after another, in the same memory: fresh memory of this size is slow.

    In bf16 a logit of 16 is rounded by up to 0.03, which would go straight into the target's
    log-probability. Its logit is therefore computed apart in fp32 (one dot product per token); the
    others only meet in the sum over V, where their roundings weigh as little as their
    probabilities.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, chunk: int) -> None:
        self.weight, self.bias = weight, bias
        self.raw = weight.new_empty(chunk, len(weight))
        self.wide = self.raw if weight.dtype == torch.float32 else self.raw.float()

    def logprobs(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return log p(target) of s positions; (s,). Leaves exp(logit - top) behind in `wide`."""
        self.rows = len(targets)
        raw, wide = self.raw[: self.rows], self.wide[: self.rows]
        torch.mm(hidden.to(raw.dtype), self.weight.T, out=raw)
        wide.copy_(raw)
        exact = (hidden.float() * self.weight[targets].float()).sum(-1, keepdim=True)
        wide.scatter_(-1, targets[:, None], exact)
        if self.bias is not None:
            wide.add_(self.bias.float())
        own, top = wide.gather(-1, targets[:, None]), wide.amax(-1, keepdim=True)
        wide.sub_(top).exp_()  # by hand: torch.logsumexp takes ten times as long
        self.total = wide.sum(-1, keepdim=True)
        return (own - top - self.total.log()).squeeze(-1)

    def expected_weight(self) -> Tensor:
        """Return softmax(logits) · weight of the last positions; (s, H) fp32."""
        powers = self.raw[: self.rows]
        powers.copy_(self.wide[: self.rows])
        return (powers @ self.weight).float() / self.total

    def towards_logits(self, upstream: Tensor, targets: Tensor) -> Tensor:
        """Return the gradient towards the last positions' logits; (s, V) fp32, in `wide`."""
        wide = self.wide[: self.rows]
        wide.mul_(-upstream[:, None] / self.total)
        return wide.scatter_add_(-1, targets[:, None], upstream[:, None])
