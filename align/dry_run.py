"""What a run on several devices would take, without a device: sizes of shares, and the commands.

The model is built without memory (on torch's meta device) and gets its adapter; what each process
would hold is counted from the shapes, by the rule that FSDP2 cuts by.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from align import recipes
from align.sharding import decoder_layers, is_sharded, largest_share
from align.tuning import with_lora
from storage.errors import BadInput

BYTES = {"fp32": 4.0, "bf16": 2.0, "nf4": 0.516}
"""Per weight. nf4: 4 bits, and per 64 weights 8 bits, and per 256 of those 32. Source: Dettmers et
al. 2023 (QLoRA, arXiv 2305.14314), section 3."""
TRAINED_BYTES = 4 * 4  # a trained number in fp32 with its gradient and Adam's two averages
PORT = 29500


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers that a model has."""

    layers: int  # frozen, in the decoder layers
    share: int  # of them, what the first process holds
    largest_layer: int
    whole: int  # frozen, outside of them: embeddings, norms, head
    trained: int  # the adapter, or a copy of every weight
    copied: bool = False  # it is that copy


@dataclass(frozen=True, slots=True)
class Machines:
    """Where a run would go."""

    nodes: int
    per_node: int

    @property
    def processes(self) -> int:
        return self.nodes * self.per_node


def report(config: Mapping[str, Any], folder: str, machines: Machines) -> str:
    """Return what a run takes on each of N devices and how it is started there, for a person.

    Raises:
        BadInput: no processes, or no nodes.
    """
    if min(machines.nodes, machines.per_node) < 1:
        raise BadInput("--nodes and --processes (of one node) start at 1")
    settings = recipes.from_json(config["method"], config["settings"])
    found = sizes(config["model"], settings, machines.processes)
    precision = "bf16" if settings.train.precision == recipes.AUTO else settings.train.precision
    precision = "fp32" if found.copied else precision
    name, total = config.get("model_name", config["model"]), found.layers + found.whole
    what = "all trained" if found.copied else f"an adapter of {found.trained:,}"
    lines = [
        f"{name}: {total:,} parameters, {what}",
        f"{machines.nodes} × {machines.per_node} processes, one device each",
        "",
        *table(memory(found, precision), precision),
        "",
        *commands(folder, machines),
    ]
    return "\n".join(lines)


def sizes(path: str, settings: recipes.Settings, processes: int) -> Sizes:
    """Return how many numbers each part of the base and its adapter has."""
    train = settings.train
    copied = train.tune == recipes.FULL
    with torch.device("meta"):
        base: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
        if copied:
            base.requires_grad_(False)
        else:
            with_lora(base, rank=train.lora_rank, alpha=train.lora_alpha)
    layers = list(decoder_layers(getattr(base, base.base_model_prefix)))
    shapes = [tuple(p.shape) for layer in layers for p in frozen(layer)]
    inside = {p for layer in layers for p in layer.parameters()}
    return Sizes(
        layers=sum(p.numel() for layer in layers for p in frozen(layer)),
        share=largest_share(shapes, processes),
        largest_layer=max(sum(p.numel() for p in frozen(layer)) for layer in layers),
        whole=sum(p.numel() for p in base.parameters() if p not in inside and not p.requires_grad),
        trained=sum(p.numel() for p in base.parameters() if p.requires_grad != copied),
        copied=copied,
    )


def frozen(layer: nn.Module) -> list[nn.Parameter]:
    """Return a layer's parameters that belong to the base."""
    return [p for name, p in layer.named_parameters() if is_sharded(name)]


def memory(found: Sizes, precision: str) -> list[tuple[str, float, float]]:
    """Return what lies on a device, in bytes: with the base whole on each, and sharded over all.

    While one layer computes, the next one is brought together already. A base with a trained copy
    is not sharded: all zeros.
    """
    trained = found.trained * TRAINED_BYTES
    dense = BYTES["bf16"] if precision == "nf4" else BYTES[precision]  # outside the layers
    outside = found.whole * dense
    whole = [found.layers * BYTES[precision], 0.0, outside, trained]
    shared = [found.share * dense, 2 * found.largest_layer * dense, outside, trained]
    names = ("decoder layers", "two layers brought together", "embeddings, norms, head",
             "adapter, gradients, Adam")  # fmt: skip
    if found.copied:
        shared = [0.0] * len(names)
    return [*zip(names, whole, shared, strict=True), ("together", sum(whole), sum(shared))]


def table(rows: Sequence[tuple[str, float, float]], precision: str) -> list[str]:
    """Return the rows of `memory` as lines."""
    sharded = "bf16" if precision == "nf4" else precision
    lines = [f"{'per device':<28}{precision + ', whole':>16}{sharded + ', sharded':>16}"]
    lines += [f"{name:<28}{size_of(a):>16}{size_of(b):>16}" for name, a, b in rows]
    return [*lines, "Activations come on top; they grow with the tokens of a forward pass."]


def size_of(bytes: float) -> str:
    """Return a size as a person reads it.

    Example:
        >>> size_of(16.06e9), size_of(420_000)
        ('16.06 GB', '0.42 MB')
    """
    if not bytes:
        return "-"
    return f"{bytes / 1e9:.2f} GB" if bytes >= 1e8 else f"{bytes / 1e6:.2f} MB"


def commands(folder: str, machines: Machines) -> list[str]:
    """Return the command lines that start the run: on one machine, or on several."""
    train = ["-m", "align.train", folder]
    if machines.nodes == 1:
        return [
            "On one machine:",
            f"  python -m align.train {shlex.quote(folder)} --processes {machines.per_node}",
            "or, the same:",
            "  " + shlex.join(["torchrun", "--standalone", "--nproc-per-node",
                               str(machines.per_node), *train]),
        ]  # fmt: skip
    return [
        f"On each of {machines.nodes} machines (HOST is one of them; all see the same folder):",
        "  " + torchrun(folder, machines, f"HOST:{PORT}"),
        "With SLURM, in a batch script:",
        f"  #SBATCH --nodes={machines.nodes} --ntasks-per-node=1 "
        f"--gpus-per-node={machines.per_node}",
        '  HOST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "  srun " + torchrun(folder, machines, f"$HOST:{PORT}"),
        "With Kubernetes (an indexed Job and a headless service; pod 0 is the host):",
        f"  completions: {machines.nodes}, parallelism: {machines.nodes}, "
        f"nvidia.com/gpu: {machines.per_node}, command:",
        "  " + torchrun(folder, machines, f"$(JOB)-0.$(SERVICE):{PORT}"),
    ]


def torchrun(folder: str, machines: Machines, endpoint: str) -> str:
    """Return the command that every machine runs; whoever comes first waits for the others."""
    return (
        f"torchrun --nnodes {machines.nodes} --nproc-per-node {machines.per_node} "
        f"--rdzv-backend c10d --rdzv-endpoint {endpoint} "
        f"--rdzv-id {shlex.quote(Path(folder).name)} -m align.train {shlex.quote(folder)}"
    )
