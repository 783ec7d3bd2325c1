"""What a run trains on top of a frozen base: low-rank adapters, or a copy of every weight.

Both are PEFT adapters, so that switching them off gives the reference, and saving, going on,
resuming and serving know no difference. Low-rank (LoRA) is the usual way. A full copy is the
chapter's loop, with a frozen reference beside it: PEFT has a layer that calls a trained copy of
whatever layer it stands for (made for layer norms), and here it stands for all of them.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from peft import (
    LNTuningConfig,
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
)
from peft.tuners.ln_tuning.layer import LNTuningLayer
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn

from align.lora import use_in
from storage.errors import Unsupported

TRAINED = "default"  # the name of the adapter that is trained, PEFT's and ours
# What an adapter's configuration may have that a sum of low-rank products is not, and its absence.
BEYOND = {
    "use_dora": None,
    "use_qalora": None,
    "use_bdlora": None,
    "bias": "none",
    "lora_bias": None,
    "modules_to_save": None,
    "target_parameters": None,
    "trainable_token_indices": None,
    "alora_invocation_tokens": None,
    "layer_replication": None,
}


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Spare the log what PEFT says of copies: that some stand for other layers than norms, and that
    tied weights are not its business (they are kept tied here); and of GPT-2's layers, that their
    weights lie the other way round."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="peft")
        yield


def with_lora(base: Any, *, rank: int, alpha: int) -> PeftModel:
    """Return the base with a fresh adapter on all its linear layers that does nothing yet.

    Args:
        rank, alpha: of LoRA; the adapter is scaled by alpha / rank.

    Raises:
        Unsupported: PEFT has no adapter for one of the base's layers.
    """
    lora = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        with unwarned():
            return get_peft_model(base, use_in(lora))
    except ValueError as error:  # as of Mamba's layers
        kind = base.config.model_type
        raise Unsupported(
            f"adapters cannot be put on {kind} ({str(error).splitlines()[0]}); choose another base "
            "model"
        ) from error


def with_copies(base: Any) -> PeftModel:
    """Return the base with a trainable copy of every weight; ties between weights are kept."""
    weighted = [name for name, module in base.named_modules() if list(module.parameters(False))]
    config = LNTuningConfig(target_modules=weighted, task_type="CAUSAL_LM")
    with unwarned():
        model = get_peft_model(base, config)
    first: dict[int, nn.Parameter] = {}
    for layer in model.modules():
        if isinstance(layer, LNTuningLayer):
            copy = layer.ln_tuning_layers[TRAINED]
            for name, weight in layer.base_layer.named_parameters(recurse=False):
                own = getattr(copy, name)
                setattr(copy, name, first.setdefault(weight.data_ptr(), own))
    return model


def head_of(base: Any) -> tuple[Tensor, Tensor | None]:
    """Return weight (V, H) and bias (V,) of the head that is in force."""
    head = base.get_output_embeddings()
    if isinstance(head, LNTuningLayer):
        copies = [head.ln_tuning_layers[name] for name in head.active_adapters]
        head = head.base_layer if head.disable_adapters or not copies else copies[0]
    return head.weight, getattr(head, "bias", None)


def copies_weights(model: PeftModel) -> bool:
    """Say whether every weight is trained."""
    return isinstance(model.peft_config[TRAINED], LNTuningConfig)


def weights_of(model: PeftModel) -> dict[str, Tensor]:
    """Return what is trained, by name, each tensor in memory of its own, as files want them."""
    tensors = get_peft_model_state_dict(model, save_embedding_layers=copies_weights(model))
    return {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}


def folded(model: PeftModel, name: str) -> Any:
    """Return the base with an adapter's weights in its own, each summed in fp32 and rounded once.

    The sum is PEFT's own: its scaling (also rsLoRA's) and which way round a layer's weights lie.

    Raises:
        Unsupported: it is more than low-rank products or copies of weights.
    """
    config = model.peft_config[name]
    if isinstance(config, LNTuningConfig):
        base = model.merge_and_unload(adapter_names=[name])
        base.tie_weights()
        return base
    if beyond := [word for word, nothing in BEYOND.items() if _says(config, word) != nothing]:
        raise Unsupported(
            f"the adapter has {beyond[0]} {_says(config, beyond[0])}, which cannot be merged here: "
            "publish it with --no-merged"
        )
    layer: Any
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and name in layer.lora_A:
            weight = layer.get_base_layer().weight
            total = weight.data.float() + layer.get_delta_weight(name).float()
            weight.data = total.to(weight.dtype)
    return model.unload()


def _says(config: Any, word: str) -> Any:
    """Return a setting of an adapter's configuration; an empty one is None."""
    return getattr(config, word, None) or None
