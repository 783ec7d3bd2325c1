"""LoRA on a frozen linear layer in as few passes over memory as it takes.

PEFT's own layer adds `scaling · B(A(x))` to the base's output in steps of their own: two more
passes over the widest tensors of the model forward, three more backward. Here the low-rank product
is accumulated inside the matrix products themselves. PEFT builds, saves and loads the layer as it
does its own, so an adapter's files are the same. Whatever is not plain LoRA on a plain layer
(dropout, DoRA, several adapters at once, merged weights) goes PEFT's way.

Shapes: N rows of input (all but the last dimension), I and O the layer's input and output width, r
the adapter's rank.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn


def use_in(config: LoraConfig) -> LoraConfig:
    """Let PEFT put this layer onto every plain linear layer that the configuration targets."""
    config._register_custom_module({nn.Linear: LoraLinear})
    return config


class LoraLinear(Linear):  # type: ignore[misc]
    """PEFT's LoRA layer with a forward and a backward pass of its own for the plain case."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = self._plain_adapter()
        if name is None or args or kwargs:
            return super().forward(x, *args, **kwargs)
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        base = self.get_base_layer()
        bias = None if base.bias is None else base.bias.to(dtype)
        a, b = (m[name].weight.to(dtype) for m in (self.lora_A, self.lora_B))
        rows = x.reshape(-1, x.shape[-1]).to(dtype)
        out = lora_product(rows, base.weight.to(dtype), bias, a, b, self.scaling[name])
        return out.view(*x.shape[:-1], -1)

    def _plain_adapter(self) -> str | None:
        """Return the one active adapter, or None where PEFT has to do it."""
        names = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or len(names) != 1:
            return None
        name = names[0]
        plain = isinstance(self.lora_dropout[name], nn.Identity) and name not in self.lora_variant
        frozen = not self.get_base_layer().weight.requires_grad
        return name if plain and frozen and not self.lora_bias[name] else None


def lora_product(
    x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
) -> Tensor:
    """Return x · Wᵀ + bias + scaling · (x · Aᵀ) · Bᵀ, all of one dtype; (N, O).

    Args:
        x: (N, I).
        weight, bias: (O, I), (O,) of the frozen layer; no gradient is formed for them.
        a, b: (r, I), (O, r) the adapter.

    Source: Hu et al. 2021 (LoRA, arXiv 2106.09685), section 4.1.
    """
    result: Tensor = _LoraProduct.apply(x, weight, bias, a, b, scaling)
    return result


class _LoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, a, b, scaling):  # type: ignore[no-untyped-def]
        scaled, low = b * scaling, x @ a.T
        ctx.save_for_backward(x, low, weight, a, scaled)
        ctx.scaling = scaling
        return nn.functional.linear(x, weight, bias).addmm_(low, scaled.T)

    @staticmethod
    def backward(ctx, upstream):  # type: ignore[no-untyped-def]
        x, low, weight, a, scaled = ctx.saved_tensors
        towards_low = upstream @ scaled  # (N, r)
        towards_x = (upstream @ weight).addmm_(towards_low, a) if ctx.needs_input_grad[0] else None
        towards_b = (upstream.T @ low).mul_(ctx.scaling)
        return towards_x, None, None, towards_low.T @ x, towards_b, None
