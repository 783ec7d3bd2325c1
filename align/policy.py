"""The policy: a frozen base and what is trained on top of it, as one module.

`forward(block)` returns the per-token log-probabilities of the responses, so a Trainer, DDP or FSDP
can wrap the module and nothing reaches around it. The reference is the same module with the adapter
off, or with the adapter of an earlier run that this one goes on from. LoRA weights stay in fp32 (an
update of 1e-4 would vanish in bf16); the base is bf16, fp32 or NF4.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    DynamicCache,
    GenerationConfig,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from align import attention, few_rows
from align.batches import Block, Fork, layout, pack, ride, segments
from align.logprobs import token_logprobs
from align.tuning import TRAINED, head_of, unwarned, with_copies, with_lora
from storage.errors import Unsupported

REFERENCE = "reference"  # the name of the adapter that a run is held to, if it is one
FLEX_TRIES = 3  # the first compiles
FLEX_LEAST = (
    2048  # tokens of a row. Choice: of 700 tokens attention takes 7 % of a step (H200, 8B),
)
# so what flex can save there is less than the 15 s that compiling takes
HEAD = {"fp32": 2e-3, "bf16": 0.1, "nf4": 0.1}
"""Root mean square difference per token (nats) that two orders of the same sums may make of what
comes out of the head. Choice: SmolLM2 in bf16 differs from itself by 0.03 to 0.05 between batch
shapes, in fp32 by 1e-5."""
# What some architectures do with logits or scores beyond the head, and the value that does nothing.
CHANGES = {
    "final_logit_softcapping": None,
    "attn_logit_softcapping": None,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
}


class Policy(nn.Module):
    """A base model with an adapter that scores responses.

    Args:
        model: a causal LM wrapped by PEFT; everything but the adapter is frozen.
        mixed: compute in bf16 (autocast), whatever the adapter is stored in.
    """

    def __init__(self, model: PeftModel, *, mixed: bool) -> None:
        super().__init__()
        self.model = model
        self.mixed = mixed
        self.recomputed: list[nn.Module] = []  # layers whose activations are made twice
        self.flex = False  # masks as blocks; see `flex_is_faster`
        module: Any
        for module in model.modules():
            if mixed and hasattr(module, "lora_A"):
                module.cast_input_dtype_enabled = False  # autocast does it, once
            if hasattr(module, "support_avx512bf16_for_cpu"):
                # bitsandbytes would repack a layer in eval mode and then lose its gradient
                module.support_avx512bf16_for_cpu = False
        self.train()

    def train(self, mode: bool = True) -> Policy:
        """Keep the base in eval mode, also while it trains: a dropout of its own would be noise."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, block: Block) -> Tensor:
        """Return log-probabilities of the responses' tokens, zeros in the padding; (M, R) fp32."""
        positions, seen = self._layout(block)
        hidden = self._hidden(block.ids, positions, seen)
        return block.place(self._logprobs(_flat(hidden)[block.source], block))

    def with_riders(self, block: Block, riders: Block) -> tuple[Tensor, Tensor]:
        """Return `forward(block)`, and the same of a block with the same prompts, which is no
        gradient's business: its responses see the keys and values that the first pass has made of
        the prompts, so that only their own tokens are computed.

        Args:
            riders: its rows' prompts are those of `block`, in the same order.
        """
        positions, seen = self._layout(block)
        past = DynamicCache(config=self._base().config)
        hidden = self._hidden(block.ids, positions, seen, past)
        values = block.place(self._logprobs(_flat(hidden)[block.source], block))
        with torch.no_grad():
            plan = ride(riders, block.ids.shape[1])
            for layer in past.layers:
                layer.keys, layer.values = layer.keys.detach(), layer.values.detach()
            mask = attention.additive(plan.seen, self._base().dtype)
            ridden = self._hidden(plan.ids, plan.positions, mask, past)
            own, ends = _flat(ridden)[plan.source], _flat(hidden)[plan.prompt_ends]
            scored = ends.where(plan.first[:, None], own)
            return values, riders.place(self._logprobs(scored, riders))

    def _base(self) -> Any:
        return self.model.get_base_model()

    def _layout(self, block: Block) -> tuple[Tensor | None, Any]:
        """Return positions and mask of a block's rows, the mask in the form that is faster here."""
        positions, seen = layout(block)
        if seen is None:
            return positions, None
        if self.flex:
            return positions, attention.block_mask(segments(block))
        return positions, attention.additive(seen, self._base().dtype)

    def _hidden(self, ids: Tensor, positions: Tensor | None, mask: Any, past: Any = None) -> Tensor:
        """Return the last hidden states (N, T, H); keys and values are kept in `past`, if given."""
        base = self._base()
        self._recompute(torch.is_grad_enabled())
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.mixed):
            hidden: Tensor = getattr(base, base.base_model_prefix)(
                input_ids=ids,
                position_ids=positions,
                attention_mask=mask,
                past_key_values=past,
                use_cache=past is not None,
            ).last_hidden_state
        return hidden

    def _logprobs(self, hidden: Tensor, block: Block) -> Tensor:
        """Return the log-probabilities (S,) of a block's tokens from what predicts them (S, H)."""
        weight, bias = head_of(self._base())
        weight = weight.to(torch.bfloat16) if self.mixed else weight
        return token_logprobs(hidden, weight, block.target, bias)

    def keep_only_layer_inputs(self) -> None:
        """From now on keep what goes into each layer, and make the rest again in the backward pass.

        The gradients stay the same; memory falls to about a layer's, time grows by a forward pass.

        Raises:
            Unsupported: transformers cannot do it for this model.
        """
        base = self._base()
        try:
            base.activation_checkpointing_enable(
                {"use_reentrant": False, "preserve_rng_state": False}
            )
        except ValueError as error:
            raise Unsupported(
                f"{type(base).__name__} cannot make its activations twice, which this run needs to "
                "fit: set a smaller max_tokens, or take another base"
            ) from error
        base.disable_input_require_grads()  # only reentrant checkpointing needs them
        layer: Any
        for layer in base.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                self.recomputed.append(layer)
                for name, value in vars(layer).items():
                    if "dropout" in name and isinstance(value, float):
                        setattr(layer, name, 0.0)  # of its own, as OPT's layers have

    def _recompute(self, wanted: bool) -> None:
        """Let the layers be recomputed, or not: transformers goes by each layer's own mode, while
        everything inside it stays in eval mode."""
        for layer in self.recomputed:
            layer.training = wanted

    @torch.no_grad()
    def generate(self, **arguments: Any) -> Tensor:
        """Return what the model's own `generate` does, computing as `forward` does."""
        self._recompute(False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            tokens: Tensor = self.model.generate(**arguments)
        return tokens

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        """Be the reference, without gradients, for the time of a `with` block."""
        with torch.no_grad():
            if REFERENCE not in self.model.peft_config:
                with self.model.disable_adapter():
                    yield
                return
            self.model.set_adapter(REFERENCE)
            try:
                yield
            finally:
                self.model.set_adapter(TRAINED)

    def go_on_from(self, adapter: Path, *, as_reference: bool) -> None:
        """Take the weights of an earlier adapter of the same rank.

        Args:
            as_reference: a frozen copy of it is the reference from now on, instead of the base.
        """
        weights = load_file(adapter / "adapter_model.safetensors")
        set_peft_model_state_dict(self.model, weights)
        if as_reference:
            with unwarned():
                self.model.add_adapter(REFERENCE, self.model.peft_config[TRAINED])
            set_peft_model_state_dict(self.model, weights, adapter_name=REFERENCE)
            self.model.set_adapter(TRAINED)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def context(self) -> int:
        """Return the longest input (tokens) that the base was made for; 0 if it does not say."""
        return int(getattr(self._base().config, "max_position_embeddings", 0) or 0)

    def trainable(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]


def device_here() -> torch.device:
    """Return where this process computes: on its GPU if it has one."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def load_policy(
    path: str,
    *,
    precision: str,
    rank: int,
    alpha: int,
    seed: int,
    tune: str = "lora",
    device: torch.device | None = None,
) -> Policy:
    """Return the policy on this machine's device: base from `path`, a fresh adapter that does
    nothing.

    Args:
        precision: "bf16", "fp32" or "nf4" (with double quantisation, computing in bf16).
        rank, alpha: of LoRA; the adapter is scaled by alpha / rank.
        seed: for the adapter's first weights.
        tune: "lora", or "full" for a trainable copy of every weight; the weights are fp32 then,
            for an update of 5e-7 is lost in bf16.
        device: where to put it, if not where this process computes.

    Raises:
        Unsupported: the model's log-probabilities cannot be computed from its head alone.
    """
    device = device or device_here()
    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    base = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=torch.float32 if precision == "fp32" or tune == "full" else torch.bfloat16,
        quantization_config=quantised if precision == "nf4" else None,
        device_map={"": device},
        attn_implementation=attention.register(),
        use_safetensors=True,
        trust_remote_code=False,
    )
    base.config.use_cache = False
    torch.manual_seed(seed)
    if tune == "full":
        model = with_copies(base)
    else:
        model = with_lora(few_rows.use_in(base), rank=rank, alpha=alpha)
    policy = Policy(model, mixed=precision != "fp32")
    check_head(policy, HEAD[precision])
    return policy


def stop_ids(path: str) -> set[int]:
    """Return the tokens at which a model's own generation stops, as its files say."""
    try:
        ids = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # a model without the file
        return set()
    return set(ids if isinstance(ids, list) else [ids]) - {None}


@torch.no_grad()
def check_head(policy: Policy, tolerance: float) -> None:
    """Raise unless head and hidden states alone give the model's own log-probabilities.

    Some models scale or cap their logits after the head; their gradient would be wrong here. A cap
    changes small logits by little, so what the configuration says counts before what shows.
    """
    config = policy.model.get_base_model().config
    for name, nothing in CHANGES.items():
        if (value := getattr(config, name, nothing)) not in (None, nothing):
            raise Unsupported(
                f"this model ({config.model_type}) has {name} {value}, which training here cannot "
                "do; choose another base model"
            )
    words = tuple(range(3, 11))
    block = pack([Fork(words[:4], (words[4:],))], shared=True).to(policy.device)
    with torch.autocast(block.ids.device.type, torch.bfloat16, enabled=policy.mixed):
        logits = policy.model(input_ids=block.ids, use_cache=False).logits[0, 3:-1].float()
    own = logits.log_softmax(-1).gather(-1, block.target[:, None]).squeeze(-1)
    difference = (policy(block)[0] - own).square().mean().sqrt().item()
    if not difference <= tolerance:
        raise Unsupported(
            "this model changes its logits after the head (its log-probabilities differ by "
            f"{difference:.2g} nats), which training here cannot do; choose another base model"
        )


def flex_is_faster(policy: Policy, forks: list[Fork]) -> bool:
    """Say whether flex attention trains these forks faster than a dense mask does; on a GPU alone,
    and only tried where rows are long.

    It is compiled, so where compiling fails the answer is no.
    """
    longest = max(fork.tokens(shared=True) for fork in forks)
    if policy.device.type != "cuda" or longest < FLEX_LEAST:
        return False
    from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

    block, seconds = pack(forks, shared=True).to(policy.device), {}
    for flex in (True, False):
        policy.flex = flex
        try:
            seconds[flex] = min(_step_seconds(policy, block) for _ in range(FLEX_TRIES))
        except (RuntimeError, TorchDynamoException) as error:
            print(f"flex attention cannot be used: {str(error).splitlines()[0]}", flush=True)
            seconds[flex] = math.inf
    policy.flex = False
    return seconds[True] < seconds[False]


def _step_seconds(policy: Policy, block: Block) -> float:
    """Return how long a forward and a backward pass take."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    policy(block).sum().backward()
    torch.cuda.synchronize()
    policy.zero_grad()
    return time.perf_counter() - started


def _flat(hidden: Tensor) -> Tensor:
    return hidden.reshape(-1, hidden.shape[-1])
