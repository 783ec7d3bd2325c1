"""LoRA on a frozen linear layer in as few passes over memory as it takes.

PEFT's own layer adds `scaling · B(A(x))` to the base's output in steps of their own: two more
passes over the widest tensors of the model forward, three more backward. Here the low-rank product
is accumulated inside the matrix products themselves. PEFT builds, saves and loads the layer as it
does its own, so an adapter's files are the same. Whatever is not plain LoRA (dropout, DoRA, several
adapters at once, merged weights) goes PEFT's way.

A 4-bit layer is unpacked for each product and thrown away after it, forward and backward, as
bitsandbytes does it: kept, the weights would take four times their memory.

Shapes: N rows of input (all but the last dimension), I and O the layer's input and output width, r
the adapter's rank.
"""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes.functional import QuantState, dequantize_4bit
from bitsandbytes.nn import Linear4bit
from bitsandbytes.nn.modules import fix_4bit_weight_quant_state_from_module
from peft import LoraConfig
from peft.tuners.lora.bnb import Linear4bit as PeftLinear4bit
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn

from align import few_rows


def use_in(config: LoraConfig) -> LoraConfig:
    """Let PEFT put these layers onto every linear layer that the configuration targets."""
    config._register_custom_module({Linear4bit: Lora4bit, nn.Linear: LoraLinear})
    return config


class _OnePass:
    """A forward and a backward pass of its own for the plain case of PEFT's LoRA layers."""

    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = self._plain_adapter()
        if name is None or args or kwargs:
            return super().forward(x, *args, **kwargs)  # type: ignore[misc]
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        base = self.get_base_layer()
        bias = None if base.bias is None else base.bias.to(dtype)
        a, b = (m[name].weight.to(dtype) for m in (self.lora_A, self.lora_B))
        rows = x.reshape(-1, x.shape[-1]).to(dtype)
        weight, state = self._frozen(base, dtype)
        out = lora_product(rows, weight, bias, a, b, self.scaling[name], state)
        return out.view(*x.shape[:-1], -1)

    def _plain_adapter(self: Any) -> str | None:
        """Return the one active adapter, or None where PEFT has to do it."""
        names = [name for name in self.active_adapters if name in self.lora_A]
        if self.disable_adapters or self.merged or len(names) != 1:
            return None
        name = names[0]
        plain = isinstance(self.lora_dropout[name], nn.Identity) and name not in self.lora_variant
        frozen = not self.get_base_layer().weight.requires_grad
        return name if plain and frozen and not self.lora_bias[name] else None


class LoraLinear(_OnePass, Linear):  # type: ignore[misc]
    """LoRA on a layer whose weights lie there as they are."""

    def _frozen(self, base: nn.Module, dtype: torch.dtype) -> tuple[Tensor, None]:
        return base.weight.to(dtype), None  # type: ignore[operator]


class Lora4bit(_OnePass, PeftLinear4bit):  # type: ignore[misc]
    """LoRA on a layer of bitsandbytes' 4-bit weights."""

    def _frozen(self, base: nn.Module, dtype: torch.dtype) -> tuple[Tensor, QuantState]:
        fix_4bit_weight_quant_state_from_module(base)
        return base.weight, base.weight.quant_state  # type: ignore[union-attr]


def lora_product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    scaling: float,
    state: QuantState | None = None,
) -> Tensor:
    """Return x · Wᵀ + bias + scaling · (x · Aᵀ) · Bᵀ, all of one dtype; (N, O).

    Args:
        x: (N, I).
        weight, bias: (O, I), (O,) of the frozen layer; no gradient is formed for them.
        a, b: (r, I), (O, r) the adapter.
        state: how `weight` is packed, if in 4 bits.

    Source: Hu et al. 2021 (LoRA, arXiv 2106.09685), section 4.1.
    """
    result: Tensor = _LoraProduct.apply(x, weight, bias, a, b, scaling, state)
    return result


def _unpacked(weight: Tensor, state: QuantState | None, dtype: torch.dtype) -> Tensor:
    if state is None:
        return weight
    plain: Tensor = dequantize_4bit(weight.view(-1, 1), state).to(dtype)
    return plain


class _LoraProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, a, b, scaling, state):  # type: ignore[no-untyped-def]
        scaled, low = b * scaling, x @ a.T
        ctx.save_for_backward(x, low, weight, a, scaled)
        ctx.scaling, ctx.state = scaling, state
        plain = _unpacked(weight, state, x.dtype)
        return few_rows.linear(x, plain, bias).addmm_(low, scaled.T)

    @staticmethod
    def backward(ctx, upstream):  # type: ignore[no-untyped-def]
        x, low, weight, a, scaled = ctx.saved_tensors
        towards_low = upstream @ scaled  # (N, r)
        towards_x = None
        if ctx.needs_input_grad[0]:
            plain = _unpacked(weight, ctx.state, upstream.dtype)
            towards_x = (upstream @ plain).addmm_(towards_low, a)
        towards_b = (upstream.T @ low).mul_(ctx.scaling)
        return towards_x, None, None, towards_low.T @ x, towards_b, None, None
