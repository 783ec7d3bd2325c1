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

from align.rates import FULL, LORA
from align.recipes import AUTO, TrainSettings
from align.rendering import Ids, Row, fit
from storage.errors import Unsupported

BUDGET = {"cpu": 1536, "cuda": 16384}
"""Padded tokens per forward pass where memory allows. Choice: SmolLM2 then trains within 3.2 GB,
and larger passes were hardly faster on 2 cores (docs/log.md)."""
LONGEST_PLAIN = 1024  # keys up to which a bf16 CPU keeps its weights (`attention.LONGEST`)
QUERIES = 128  # queries at a time there, which see no later block's keys (`attention.BLOCK`)
HEAD_ROWS = {"cpu": 128, "cuda": 512}  # scored positions with logits at once (`logprobs.CHUNK`)
USABLE = 0.9  # of the free memory. Choice: a forecast may be 10 % off, and Linux kills at the end
ROOM_TO_SPARE = 4  # a base may take this share of the free memory before a CPU goes over to NF4
SMALLEST = {"precision": "nf4", "max_tokens": 64, "lora_rank": 4}  # no smaller run is proposed


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
    "copies": Kept(hidden=26, wide=8, query=8, key=0, rank=0, score=0),
    "fp32 copies": Kept(hidden=24, wide=16, query=16, key=0, rank=0, score=0),
}
"""By attention: in matrix products (bf16 on a CPU), in one kernel (bf16); all in fp32; and where
every weight is trained, in bf16 (without the mask that each layer keeps: 2 per key) and fp32."""
BOUNDARY = {"bf16": 2, "nf4": 2, "fp32": 4}  # per H: what checkpointing keeps of a token and layer
WEIGHT = {"bf16": 2.0, "fp32": 4.0, "nf4": 4.127 / 8}
"""Per weight of a linear layer. Source of NF4's: 4 bits, and 0.127 for scales quantised twice
(Dettmers et al. 2023, QLoRA, section 3). Embeddings and an untied head stay in bf16 there."""
TRAINED_WEIGHT = 16.0  # an fp32 weight, its gradient, and AdamW's two moments
CAST = 2.0  # of a trained copy of a weight: in bf16, as the passes compute with it
HEAD_GRADIENT = 10.0  # of a trained head's weight: in fp32, in bf16, and in fp32 once more


@dataclass(frozen=True, slots=True)
class Fixed:
    """What measurement adds to the count on a kind of device."""

    program: float  # bytes of Python and its libraries, or of a GPU's context
    activations: float  # times what is counted: copies in flight, and gaps between them
    layers: float  # more layers' worth of activations while the backward pass works on one


FIXED = {"cpu": Fixed(925e6, 1.21, 1.0), "cuda": Fixed(1350e6, 1.0, 1.0)}
"""Source: `benchmarks/preflight.py --fit` on a CPU, `--fit-gpu` on an H200 (docs/gpu.md), where the
factor was 0.99."""


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
    def label(self) -> str:
        return self.name or self.kind

    @property
    def bf16(self) -> bool:
        return self.kind == "cuda" or self.instructions in ("amx_bf16", "avx512_bf16", "bf16")


@dataclass(frozen=True, slots=True)
class Passes:
    """How a run computes: settled before its start, written into its config.json."""

    precision: str
    budget: int  # padded tokens per forward pass
    checkpointing: bool
    shares: int = 1  # processes on which the layers' weights lie (`align/sharding.py`)

    @staticmethod
    def of(config: Mapping[str, Any]) -> Passes | None:
        found = config.get("passes")
        return Passes(**found) if found else None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak of a run, by what takes them."""

    program: int
    weights: int
    adapter: int  # what is trained, with gradients and moments
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


def choose_precision(
    train: TrainSettings, parameters: int, device: Device, *, sharded: bool = False
) -> str:
    """Return "bf16", "fp32" or "nf4" for "auto" on a device, else what is wanted.

    On a GPU NF4 saves memory at little cost. A CPU gains nothing from it (about the same speed), so
    there the base stays as it is when it fits with room to spare, in bf16 where the CPU computes in
    it. Where every weight is trained there is nothing to quantise, and a sharded base is not.
    """
    if train.precision != AUTO:
        return train.precision
    quantise = train.tune != FULL and not sharded
    if device.kind == "cuda":
        return "nf4" if quantise else "bf16"
    if quantise and parameters * (2 if device.bf16 else 4) > device.free / ROOM_TO_SPARE:
        return "nf4"
    return "bf16" if device.bf16 else "fp32"


def choose(shape: Shape, rows: Rows, train: TrainSettings, device: Device, shares: int = 1) -> Fit:
    """Return how a run computes here: the fastest way that fits, or the smallest one.

    Passes are halved down to a single row before activations are made twice: half a pass costs a
    tenth of the time, checkpointing a third.

    Args:
        shares: processes on which the layers' weights lie.
    """
    precision = choose_precision(train, shape.parameters, device, sharded=shares > 1)
    rows, fit = rows.cut(train.max_tokens), None
    for passes in _ways(precision, rows.longest, device.kind, shares):
        memory = memory_of(shape, rows, train, passes, device.kind)
        fit = Fit(passes, memory, device.free, _together(rows.longest, 1, train, passes.budget))
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
    shares: int = 1,
) -> Fit:
    """Return how a run of a base computes here.

    A base whose config.json does not tell its shape goes without a forecast.

    Args:
        config: the base's config.json.
        shares: processes on which the layers' weights lie.

    Raises:
        Unsupported: it does not fit; the sentence says what would.
    """
    shape = Shape.of(config, parameters)
    if shape is None:
        precision = choose_precision(train, parameters, device, sharded=shares > 1)
        passes = Passes(precision, BUDGET[device.kind], False, shares)
        return Fit(passes, None, device.free, 0)
    found = choose(shape, rows, train, device, shares)
    if not found.fits:
        raise Unsupported(refusal(shape, rows, train, device, found, name))
    return found


def of_one(train: TrainSettings, device: Device, processes: int) -> tuple[TrainSettings, Device]:
    """Return settings and device as one of a machine's processes has them: its rows of a step, and
    its part of a CPU's memory; GPUs they have one each."""
    rows = -(-train.batch_size // processes)
    free = device.free // processes if device.kind == "cpu" else device.free
    return dataclasses.replace(train, batch_size=rows), dataclasses.replace(device, free=free)


def _ways(precision: str, longest: int, kind: str, shares: int) -> Iterator[Passes]:
    for checkpointing in (False, True):
        budget = BUDGET[kind]
        while True:
            yield Passes(precision, budget, checkpointing, shares)
            if budget <= longest:
                break
            budget = max(longest, budget // 2)


def memory_of(shape: Shape, rows: Rows, train: TrainSettings, passes: Passes, kind: str) -> Memory:
    """Return the memory at the peak of a run."""
    fixed, full = FIXED[kind], train.tune == FULL
    linear = shape.layers * shape.linear
    other = max(0, shape.parameters - linear)
    precision = "fp32" if full else passes.precision  # a copied base is held in fp32
    held = linear if passes.shares == 1 else linear / passes.shares + 2 * shape.linear  # at work
    weights = held * WEIGHT[precision] + other * max(2, int(WEIGHT[precision]))
    trained = shape.parameters if full else shape.adapter(train.lora_rank)
    each = TRAINED_WEIGHT + (CAST if full and passes.precision != "fp32" else 0)
    head = HEAD_ROWS[kind] * shape.vocabulary * 6  # logits in fp32 and bf16, in the same memory
    if full:
        head += round(HEAD_GRADIENT * shape.vocabulary * shape.hidden)
    kept = (_activations(shape, unit, rows.riding, train, passes, kind) for unit in set(rows.units))
    return Memory(
        program=round(fixed.program),
        weights=round(weights),
        adapter=round(trained * each),
        activations=round(max(kept, default=0.0) * fixed.activations),
        head=head,
    )


def _together(tokens: int, rows: int, train: TrainSettings, budget: int) -> int:
    """Return how many units of so many tokens and rows stand in one pass."""
    units = min(-(-train.batch_size // rows), max(1, budget // max(1, tokens)))
    return min(units, max(1, train.micro_batch // rows)) if train.micro_batch else units


def _activations(
    shape: Shape, unit: Unit, riding: bool, train: TrainSettings, passes: Passes, kind: str
) -> float:
    """Return bytes that a full pass of such units keeps for its backward pass."""
    tokens = min(unit.tokens, max(unit.largest, passes.budget))  # where longer it is taken apart
    name = _kept(tokens, train, passes.precision, kind)
    layer = per_token(shape, tokens, train.lora_rank, name)
    kept = layer * (shape.layers + FIXED[kind].layers)
    if passes.checkpointing:
        boundary = BOUNDARY[passes.precision] * shape.hidden
        kept = boundary * shape.layers + layer * (1 + FIXED[kind].layers)
    elif riding:
        kept += 2 * BOUNDARY[passes.precision] * shape.keys * shape.layers  # keys and values, once
    return _together(tokens, unit.rows, train, passes.budget) * tokens * kept


def _kept(tokens: int, train: TrainSettings, precision: str, kind: str) -> str:
    """Return which of `KEPT` a pass over rows of so many tokens is."""
    if train.tune == FULL:
        return "fp32 copies" if precision == "fp32" else "copies"
    if precision == "fp32":
        return "fp32"
    return "plain" if kind == "cpu" and tokens <= LONGEST_PLAIN else "fused"


def per_token(shape: Shape, tokens: int, rank: int, name: str) -> float:
    """Return bytes that a layer keeps of one token in a row of so many tokens.

    Args:
        name: in `KEPT`.
    """
    kept = KEPT[name]
    return (
        kept.hidden * shape.hidden
        + kept.wide * shape.wide
        + kept.query * shape.queries
        + kept.key * shape.keys
        + kept.rank * rank
        + kept.score * shape.heads * keys_seen(tokens)
    )


def keys_seen(tokens: int) -> float:
    """Return how many keys a token's weights are kept for, on the mean over its row.

    Example:
        >>> keys_seen(100), keys_seen(384)  # 384: 128 tokens see 128 keys, 128 see 256, 128 all
        (100.0, 256.0)
    """
    whole, rest = divmod(tokens, QUERIES)
    seen = QUERIES * QUERIES * whole * (whole + 1) / 2 + rest * tokens
    return seen / max(1, tokens)


TOKENS_TRIED = (4096, 2048, 1024, 768, 512, 384, 256, 128, 64)
RANKS_TRIED = (64, 32, 16, 8, 4)


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows of one prompt that a pass takes side by side, in tokens; each response once."""

    prompt: int
    responses: tuple[int, ...]
    rows: int = 1
    answers: int = 2  # responses of a row

    @property
    def tokens(self) -> int:
        return self.prompt + sum(self.responses)

    @property
    def largest(self) -> int:
        """Tokens of its largest row at most."""
        return self.prompt + sum(sorted(self.responses)[-self.answers :])

    def cut(self, max_tokens: int) -> Unit:
        """Return the unit where its prompt with any response has at most so many tokens."""
        lines = [tuple(range(length)) for length in self.responses]
        kept, cut = fit(tuple(range(self.prompt)), lines, max_tokens)
        return dataclasses.replace(self, prompt=len(kept), responses=tuple(map(len, cut)))


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows to train on, those of one prompt together as far as a step takes them."""

    units: Sequence[Unit]
    riding: bool = False  # mismatched responses see the prompts' keys and values

    @staticmethod
    def of(rows: Sequence[Row], train: TrainSettings, *, riding: bool = False) -> Rows:
        """Return rows as the plan of a run puts them together (`batches.plan`)."""
        most = max(1, train.batch_size // 2)
        most = min(most, train.micro_batch) if train.micro_batch else most
        by_prompt: dict[str, list[Row]] = {}
        for row in rows:
            by_prompt.setdefault(row.prompt_id, []).append(row)
        units: list[Unit] = []
        for found in by_prompt.values():
            for start in range(0, len(found), most):
                units += _units(found[start : start + most])
        return Rows(units, riding)

    @property
    def longest(self) -> int:
        """Tokens of the largest row."""
        return max((unit.largest for unit in self.units), default=1)

    def cut(self, max_tokens: int) -> Rows:
        """Return them where a prompt with any response has at most so many tokens."""
        return Rows([unit.cut(max_tokens) for unit in self.units], self.riding)


def _units(rows: Sequence[Row]) -> list[Unit]:
    """Return rows side by side where their prompts are the same tokens (they may be cut)."""
    prompts: dict[Ids, list[Row]] = {}
    for row in rows:
        prompts.setdefault(row.prompt, []).append(row)
    return [
        Unit(
            len(prompt),
            tuple(map(len, dict.fromkeys(one for row in found for one in row.responses))),
            len(found),
            max(len(row.responses) for row in found),
        )
        for prompt, found in prompts.items()
    ]


def refusal(
    shape: Shape, rows: Rows, train: TrainSettings, device: Device, found: Fit, name: str
) -> str:
    """Return why a run cannot fit and what would, in one sentence."""
    where = "of the GPU's memory" if device.kind == "cuda" else "of memory"
    needed = found.memory.total if found.memory else 0
    start = (
        f"{name} needs {gigabytes(needed)} {where} for this run, "
        f"and {gigabytes(device.free * USABLE)} can be used"
    )
    shares = found.passes.shares
    remedies = list(_remedies(shape, rows, train, device, shares))
    if remedies:
        return f"{start}: it would fit with {' or with '.join(remedies)}"
    if shares > 1:
        return f"{start}: take more processes, or a smaller base"
    least: dict[str, Any] = dict(SMALLEST)
    least |= {"tune": LORA} if train.tune == FULL else {}
    changed = dataclasses.replace(train, **least)
    smallest = memory_of(
        shape, rows.cut(changed.max_tokens), changed, Passes("nf4", 1, True), device.kind
    )
    grows = smallest.weights + smallest.adapter + smallest.activations  # with the base
    share = (device.free * USABLE - smallest.program - smallest.head) / grows
    if share >= 1:
        return f"{start}: it would fit with {_words(least)} together"
    if share <= 0:
        return f"{start}: no base fits beside the program itself; free some memory"
    return (
        f"{start}: take a base of at most about {millions(shape.parameters * share)} parameters "
        f"(this one has {millions(shape.parameters)}), or free some memory"
    )


def _remedies(
    shape: Shape, rows: Rows, train: TrainSettings, device: Device, shares: int
) -> Iterator[str]:
    """Yield single changes of a setting that make it fit, as the command line takes them."""
    longest, full = rows.cut(train.max_tokens).longest, train.tune == FULL
    quantised = full or choose_precision(train, shape.parameters, device) == "nf4" or shares > 1
    changes: list[list[dict[str, Any]]] = [
        [{"max_tokens": n} for n in TOKENS_TRIED if n < min(train.max_tokens, longest)],
        [{"tune": LORA}] if full else [],
        [] if quantised else [{"precision": "nf4"}],
        [] if full else [{"lora_rank": n} for n in RANKS_TRIED if n < train.lora_rank],
    ]
    for family in changes:
        for change in family:
            if choose(shape, rows, dataclasses.replace(train, **change), device, shares).fits:
                yield _words(change)
                break


def _words(change: Mapping[str, Any]) -> str:
    return " ".join(f"--set {name}={value}" for name, value in change.items())


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
    if count >= 1e9:
        return f"{count / 1e9:.1f} B"
    return f"{count / 1e6:.0f} M" if count >= 1e7 else f"{count / 1e6:.2g} M"
