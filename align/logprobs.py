"""Log-probabilities of response tokens straight from hidden states, a few tokens at a time.

A language model's head is wide (49,152 words for SmolLM2), so logits of all positions of a batch
are the largest thing in a training step. Here only the positions that predict a response token are
scored, in chunks, and for a frozen head the gradient towards the hidden states is formed at once,
while a chunk's logits are still there: two matrix products per token instead of three, and nothing
V wide is kept.

Shapes: S scored positions, H hidden, V vocabulary. Knows nothing of rows, prompts or models.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = (
    128  # positions. Choice: 128 · 49,152 fp32 logits are 25 MB; larger was not faster on 2 cores
)


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """Return log softmax(hidden · weightᵀ + bias)[target] of each position, in fp32; (S,).

    Args:
        hidden: (S, H) hidden states, each predicting one token; the gradient flows into these.
        weight: (V, H) the frozen head; bf16 or fp32.
        targets: (S,) the tokens that came.
        bias: (V,) of the head, where it has one.
    """
    if weight.requires_grad:
        raise ValueError("the head is trainable, but its gradient is not formed here: freeze it")
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
        ctx.save_for_backward(gradient)
        return result

    @staticmethod
    def backward(ctx, upstream):  # type: ignore[no-untyped-def]
        (gradient,) = ctx.saved_tensors
        return upstream[:, None].to(gradient.dtype) * gradient, None, None, None, None


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
