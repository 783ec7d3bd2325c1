"""Does a run fit this device, and how is it cut so that it does; what would fit instead. Pure.

Knows no torch, no clock and no disk: a model's shape, the rows' lengths in tokens, the settings and
the device's facts go in; a forecast of the peak of memory and the size of a forward pass come out.
The constants are measured by `python benchmarks/preflight.py --fit`.

Shapes as in a config.json of the Llama family: H hidden, W intermediate, Q query heads × their
width, K key heads × their width, T tokens of a row. Sizes are in bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.recipes import AUTO, TrainSettings
from align.rendering import fit
from storage.errors import Unsupported

BUDGET = {"cpu": 1536, "cuda": 16384}
"""Padded tokens per forward pass where memory allows. Choice: SmolLM2 then trains within 3.2 GB,
and larger passes were hardly faster on 2 cores (docs/log.md)."""
LONGEST_PLAIN = 1024  # keys up to which a bf16 CPU keeps T × T weights (`attention.LONGEST`)
HEAD_ROWS = 128  # scored positions whose logits are there at once (`logprobs.CHUNK`)
USABLE = 0.9  # of the free memory. Choice: a forecast may be 10 % off, and Linux kills at the end
ROOM_TO_SPARE = 4  # a base may take this share of the free memory before a CPU goes over to NF4
SMALLEST = (64, 4)  # tokens and rank below which no run is proposed


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes that the backward pass needs of a token in a layer: of each hidden number, and so on.

    Source: counted by `benchmarks/preflight.py --fit` over tensors that autograd saves.
    """

    hidden: float  # per H
    wide: float  # per W
    query: float  # per Q
    key: float  # per K
    rank: float  # per rank of LoRA
    score: float  # per query head and key: only where the attention weights are kept


KEPT = {
    "plain": Kept(hidden=12, wide=8, query=4, key=4, rank=14, score=2),
    "fused": Kept(hidden=12, wide=8, query=8, key=0, rank=14, score=0),
    "fp32": Kept(hidden=16, wide=16, query=16, key=0, rank=28, score=0),
}
"""By attention: in matrix products (bf16 on a CPU), in one kernel (bf16); and all in fp32."""
BOUNDARY = {"bf16": 2, "nf4": 2, "fp32": 4}  # per H: what checkpointing keeps of a token and layer
WEIGHT = {"bf16": 2.0, "fp32": 4.0, "nf4": 4.127 / 8}
"""Per weight of a linear layer. Source of NF4's: 4 bits, and 0.127 for scales quantised twice
(Dettmers et al. 2023, QLoRA, section 3). Embeddings and an untied head stay in bf16 there."""
TRAINED_WEIGHT = 16.0  # an fp32 weight, its gradient, and AdamW's two moments


@dataclass(frozen=True, slots=True)
class Fixed:
    """What measurement adds to the count on a kind of device."""

    program: float  # bytes of Python and its libraries, or of a GPU's context
    activations: float  # times what is counted: copies in flight, and gaps between them
    layers: float  # more layers' worth of activations while the backward pass works on one


FIXED = {"cpu": Fixed(925e6, 1.21, 1.0), "cuda": Fixed(700e6, 1.2, 1.0)}
"""Source: `benchmarks/preflight.py --fit` on a CPU. A GPU's are a choice: not measured yet."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A base model's sizes."""

    layers: int
    hidden: int
    wide: int
    vocabulary: int
    heads: int
    queries: int  # Q
    keys: int  # K
    parameters: int

    @staticmethod
    def of(config: Mapping[str, Any], parameters: int = 0) -> Shape | None:
        """Return the shape that a config.json describes; None where it does not say enough.

        Args:
            parameters: counted in the weight files; 0: by the formula for the Llama family.
        """
        config = {**config, **(config.get("text_config") or {})}
        hidden = _number(config, "hidden_size", "n_embd", "d_model")
        layers = _number(config, "num_hidden_layers", "n_layer", "n_layers")
        heads = _number(config, "num_attention_heads", "n_head", "n_heads")
        vocabulary = _number(config, "vocab_size")
        if not (hidden and layers and heads and vocabulary):
            return None
        wide = _number(config, "intermediate_size", "n_inner", "ffn_dim") or 4 * hidden
        width = _number(config, "head_dim") or hidden // heads
        keys = (_number(config, "num_key_value_heads") or heads) * width
        shape = Shape(layers, hidden, wide, vocabulary, heads, heads * width, keys, parameters)
        embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
        whole = parameters or layers * shape.linear + embeddings
        return dataclasses.replace(shape, parameters=whole)

    @property
    def linear(self) -> int:
        """Weights of a layer's linear maps: queries, keys, values, output; gate, up, down."""
        return 2 * self.hidden * (self.queries + self.keys) + 3 * self.hidden * self.wide

    def adapter(self, rank: int) -> int:
        """Weights of LoRA on all linear maps: rank · (inputs + outputs) of each."""
        attention = 4 * self.hidden + 2 * self.queries + 2 * self.keys
        return self.layers * rank * (attention + 3 * (self.hidden + self.wide))


def _number(config: Mapping[str, Any], *names: str) -> int:
    found = next((config[name] for name in names if isinstance(config.get(name), int)), 0)
    return int(found)


@dataclass(frozen=True, slots=True)
class Device:
    """What there is to compute on."""

    kind: str  # "cpu" or "cuda"
    free: int  # bytes that a run can have
    total: int
    cores: int = 1
    instructions: str = ""  # what a CPU multiplies with: amx_bf16, avx512_bf16, avx512f, avx2, …
    name: str = ""

    @property
    def bf16(self) -> bool:
        return self.kind == "cuda" or self.instructions in ("amx_bf16", "avx512_bf16", "bf16")


@dataclass(frozen=True, slots=True)
class Passes:
    """How a run computes: settled before its start, written into its config.json."""

    precision: str
    budget: int  # padded tokens per forward pass
    checkpointing: bool

    @staticmethod
    def of(config: Mapping[str, Any]) -> Passes | None:
        found = config.get("passes")
        return Passes(**found) if found else None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of a run, by what takes them."""

    program: int
    weights: int
    adapter: int  # LoRA with gradients and moments
    activations: int
    head: int

    @property
    def total(self) -> int:
        return self.program + self.weights + self.adapter + self.activations + self.head


@dataclass(frozen=True, slots=True)
class Fit:
    """What was chosen, what it needs, and whether that is there."""

    passes: Passes
    memory: Memory | None  # None: the model's shape is not known
    free: int
    rows: int  # of the longest, in one pass

    @property
    def fits(self) -> bool:
        return self.memory is None or self.memory.total <= USABLE * self.free


def choose_precision(wanted: str, parameters: int, device: Device) -> str:
    """Return "bf16", "fp32" or "nf4" for "auto" on a device, else what is wanted.

    On a GPU NF4 saves memory at little cost. A CPU gains nothing from it (about the same speed), so
    there the base stays as it is when it fits with room to spare, in bf16 where the CPU computes in
    it.
    """
    if wanted != AUTO:
        return wanted
    if device.kind == "cuda":
        return "nf4"
    if parameters * (2 if device.bf16 else 4) > device.free / ROOM_TO_SPARE:
        return "nf4"
    return "bf16" if device.bf16 else "fp32"


def choose(shape: Shape, lengths: Sequence[int], train: TrainSettings, device: Device) -> Fit:
    """Return how a run computes here: the fastest way that fits, or the smallest one.

    Passes are halved down to a single row before activations are made twice: half a pass costs a
    tenth of the time, checkpointing a third.

    Args:
        lengths: tokens of each row as a forward pass takes it, responses behind their prompt.
    """
    precision = choose_precision(train.precision, shape.parameters, device)
    fit = None
    for passes in _ways(precision, max(lengths, default=1), device.kind):
        memory = memory_of(shape, lengths, train, passes, device.kind)
        fit = Fit(passes, memory, device.free, _rows(max(lengths, default=1), train, passes.budget))
        if fit.fits:
            return fit
    assert fit is not None
    return fit


def settle(
    config: Mapping[str, Any],
    parameters: int,
    rows: Rows,
    train: TrainSettings,
    device: Device,
    name: str,
) -> Fit:
    """Return how a run of a base computes here.

    A base whose config.json does not tell its shape goes without a forecast.

    Args:
        config: the base's config.json.

    Raises:
        Unsupported: it does not fit; the sentence says what would.
    """
    shape = Shape.of(config, parameters)
    if shape is None:
        precision = choose_precision(train.precision, parameters, device)
        return Fit(Passes(precision, BUDGET[device.kind], False), None, device.free, 0)
    found = choose(shape, rows.lengths(train.max_tokens), train, device)
    if not found.fits:
        raise Unsupported(refusal(shape, rows, train, device, found, name))
    return found


def _ways(precision: str, longest: int, kind: str) -> Iterator[Passes]:
    for checkpointing in (False, True):
        budget = BUDGET[kind]
        while True:
            yield Passes(precision, budget, checkpointing)
            if budget <= longest:
                break
            budget = max(longest, budget // 2)


def memory_of(
    shape: Shape, lengths: Sequence[int], train: TrainSettings, passes: Passes, kind: str
) -> Memory:
    """Return the memory at the peak of a run."""
    fixed, adapter = FIXED[kind], shape.adapter(train.lora_rank)
    linear = shape.layers * shape.linear
    other = max(0, shape.parameters - linear)
    weights = linear * WEIGHT[passes.precision] + other * max(2, int(WEIGHT[passes.precision]))
    pass_ = max((_activations(shape, t, train, passes, kind) for t in set(lengths)), default=0.0)
    return Memory(
        program=round(fixed.program),
        weights=round(weights),
        adapter=round(adapter * TRAINED_WEIGHT),
        activations=round(pass_ * fixed.activations),
        head=round(HEAD_ROWS * shape.vocabulary * 12),  # fp32 logits, a copy, and a bf16 one twice
    )


def _rows(tokens: int, train: TrainSettings, budget: int) -> int:
    """Return how many rows of a length stand in one pass."""
    rows = min(train.batch_size, max(1, budget // max(1, tokens)))
    return min(rows, train.micro_batch) if train.micro_batch else rows


def _activations(
    shape: Shape, tokens: int, train: TrainSettings, passes: Passes, kind: str
) -> float:
    """Return bytes that a full pass of rows of one length keeps for its backward pass."""
    layer = per_token(shape, tokens, train.lora_rank, passes.precision, kind)
    kept = layer * (shape.layers + FIXED[kind].layers)
    if passes.checkpointing:
        boundary = BOUNDARY[passes.precision] * shape.hidden
        kept = boundary * shape.layers + layer * (1 + FIXED[kind].layers)
    return _rows(tokens, train, passes.budget) * tokens * kept


def per_token(shape: Shape, tokens: int, rank: int, precision: str, kind: str) -> float:
    """Return bytes that a layer keeps of one token in a row of so many tokens."""
    plain = kind == "cpu" and precision != "fp32" and tokens <= LONGEST_PLAIN
    kept = KEPT["fp32" if precision == "fp32" else "plain" if plain else "fused"]
    return (
        kept.hidden * shape.hidden
        + kept.wide * shape.wide
        + kept.query * shape.queries
        + kept.key * shape.keys
        + kept.rank * rank
        + kept.score * shape.heads * tokens
    )


TOKENS_TRIED = (4096, 2048, 1024, 768, 512, 384, 256, 128, 64)
RANKS_TRIED = (64, 32, 16, 8, 4)


@dataclass(frozen=True, slots=True)
class Rows:
    """Lengths in tokens of rows that are not cut: (prompt, responses…) of each."""

    parts: Sequence[tuple[int, ...]]

    def lengths(self, max_tokens: int) -> list[int]:
        """Return how long each row is where its prompt with any response has at most so many."""
        found = []
        for prompt, *responses in self.parts:
            kept, cut = fit(range(prompt), [range(r) for r in responses], max_tokens)  # type: ignore
            found.append(len(kept) + sum(map(len, cut)))
        return found


def refusal(
    shape: Shape, rows: Rows, train: TrainSettings, device: Device, found: Fit, name: str
) -> str:
    """Return why a run cannot fit and what would, in one sentence."""
    where = "of the GPU's memory" if device.kind == "cuda" else "of memory"
    start = (
        f"{name} needs {gigabytes(found.memory.total)} {where} for this run, "
        f"and {gigabytes(device.free * USABLE)} can be used"
    )
    remedies = list(_remedies(shape, rows, train, device))
    if remedies:
        return f"{start}: it would fit with {' or with '.join(remedies)}"
    least = dataclasses.replace(
        train, precision="nf4", max_tokens=SMALLEST[0], lora_rank=SMALLEST[1]
    )
    smallest = choose(shape, rows.lengths(least.max_tokens), least, device)
    over = smallest.memory.total - device.free * USABLE
    room = smallest.memory.weights - over
    words = f"--set precision=nf4 --set max_tokens={least.max_tokens} --set lora_rank=4"
    if over <= 0:
        return f"{start}: it would fit with {words} together"
    if room <= 0:
        return f"{start}: no base fits beside the program itself; free some memory"
    share = room / smallest.memory.weights
    return (
        f"{start}: take a base of at most about {millions(shape.parameters * share)} parameters "
        f"(this one has {millions(shape.parameters)}), or free some memory"
    )


def _remedies(shape: Shape, rows: Rows, train: TrainSettings, device: Device) -> Iterator[str]:
    """Yield single changes of a setting that make it fit, as the command line takes them."""
    longest = max(rows.lengths(train.max_tokens), default=0)
    changes: list[list[dict[str, Any]]] = [
        [{"max_tokens": n} for n in TOKENS_TRIED if n < min(train.max_tokens, longest)],
        [{"precision": "nf4"}] if found_precision(train, shape, device) != "nf4" else [],
        [{"lora_rank": n} for n in RANKS_TRIED if n < train.lora_rank],
    ]
    for family in changes:
        for change in family:
            changed = dataclasses.replace(train, **change)
            if choose(shape, rows.lengths(changed.max_tokens), changed, device).fits:
                yield "".join(f"--set {name}={value}" for name, value in change.items())
                break


def found_precision(train: TrainSettings, shape: Shape, device: Device) -> str:
    return choose_precision(train.precision, shape.parameters, device)


def gigabytes(size: float) -> str:
    """Return a size for people.

    Example:
        >>> gigabytes(3.21e9), gigabytes(4e7)
        ('3.2 GB', '0.04 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e9:.2g} GB"


def millions(count: float) -> str:
    """Return a number of parameters for people.

    Example:
        >>> millions(134_515_008), millions(8.03e9)
        ('135 M', '8.0 B')
    """
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"
