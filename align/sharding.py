"""A frozen base that no device holds whole: its decoder layers lie in shares on all processes.

FSDP2 brings a layer's weights together while it computes, and drops them after. Embeddings, norms,
head and adapter stay whole everywhere, so gradients, clipping, optimiser, checkpoints and adapter
are those of an unsharded run, and a forward pass needs no other code. What changes: a layer can
only compute where all processes compute it, so all make the same number of passes (idle ones
where rows are short) and stop together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from align.batches import Fork, Micro, pack
from align.policy import Policy
from align.processes import Processes
from align.recipes import TrainSettings, refuse_sharded
from align.reference import ReferenceScores
from align.rendering import Ids, Row
from storage.errors import Unsupported


def decoder_layers(decoder: nn.Module) -> nn.ModuleList:
    """Return the decoder's layers: the outermost list of modules.

    Raises:
        Unsupported: there is none.
    """
    for module in decoder.modules():
        if isinstance(module, nn.ModuleList):
            return module
    raise Unsupported("this base has no list of layers to be sharded; train it without --shard")


def is_sharded(name: str) -> bool:
    """Say of a parameter within a decoder layer whether it is sharded: of the base, not of LoRA."""
    return "lora_" not in name


def load_in_turn(read: Callable[[], Policy], together: Processes, device: torch.device) -> Policy:
    """Return the policy with its layers shared out; the processes go in lockstep from here on.

    Those of one machine read the base one after the other, so that its memory holds one base.
    """
    together.lockstep = True
    for mine in together.turns():
        if mine:
            policy = read()
            held, total = shard(policy, device)
            print(f"sharded: {held:,} of the layers' {total:,} parameters here", flush=True)
    return policy


def shard(policy: Policy, device: torch.device) -> tuple[int, int]:
    """Share out the decoder layers' frozen weights; put the rest whole onto the device.

    Every layer is a group of its own, gathered for its forward and again for its backward pass.
    The decoder around them has a group without weights: it orders the layers' traffic.

    Returns:
        How many of the layers' frozen parameters this process holds, and how many there are.
    """
    base: Any = policy.model.get_base_model()
    decoder = getattr(base, base.base_model_prefix)
    layers = decoder_layers(decoder)
    from torch.distributed.fsdp import fully_shard  # here: loading them takes a second
    from torch.distributed.tensor import DTensor

    for layer in layers:
        whole = {p for name, p in layer.named_parameters() if not is_sharded(name)}
        fully_shard(layer, reshard_after_forward=True, ignored_params=whole)
    inside = {p for layer in layers for p in layer.parameters()}
    rest = {p for p in decoder.parameters() if p not in inside}
    adapter = {p for name, p in decoder.named_parameters() if not is_sharded(name)}
    fully_shard(decoder, ignored_params=rest | adapter)
    policy.to(device)
    parts: list[Any] = [p for p in decoder.parameters() if isinstance(p, DTensor)]
    return sum(p.to_local().numel() for p in parts), sum(p.numel() for p in parts)


def precision(chosen: str, train: TrainSettings) -> str:
    """Return the precision of a sharded base: bf16 unless fp32 is chosen.

    Raises:
        Unsupported: settings that a sharded base cannot have.
    """
    refuse_sharded(train)
    return "fp32" if chosen == "fp32" else "bf16"


def idle_micro(row: Row) -> Micro:
    """Return the shortest forward pass: a process makes it that has no row while another has."""
    short = Fork(row.prompt[-1:], (row.responses[0][:1],))
    return Micro(pack([short], shared=False), (short,))


def unknown(micros: Iterable[Micro], references: ReferenceScores) -> list[Micro]:
    """Return the passes that score something new, one after the other, as `score` makes them."""
    seen: set[tuple[Ids, Ids]] = set()
    found = []
    for micro in micros:
        keys = [(fork.prompt, r) for fork in micro.forks for r in fork.responses]
        if any(key not in seen and key not in references for key in keys):
            seen.update(keys)
            found.append(micro)
    return found


def largest_share(shapes: Sequence[tuple[int, ...]], processes: int) -> int:
    """Return how many numbers the first process holds of tensors that are cut along their first
    dimension, as FSDP2 cuts them.

    Example:
        >>> largest_share([(10, 3), (5,)], 4)
        11
    """
    total = 0
    for first, *others in shapes:
        size = -(-first // processes)
        for other in others:
            size *= other
        total += size
    return total
