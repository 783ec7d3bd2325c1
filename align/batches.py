"""From rows in tokens to tensors: which rows a step takes, how they share a forward pass, what is
scored.

Pure: the order comes from a seed, nothing is read or written. A step's batch is cut into
micro-batches by length, so little is padded; the loss is a mean over the batch's rows, so the cut
changes nothing.

One row of a block is a prompt with its responses behind it. With `shared` all responses to a prompt
stand in one row, prompt | chosen | rejected | …: the prompt is computed once, and a response sees
the prompt and itself only. The block stores lengths; `layout` makes positions and mask of them on
the device.

Shapes: N rows, T tokens of the longest row, K responses behind a prompt, M responses in all, R
tokens of the longest response, S scored tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from align.losses import LabelBatch, PairBatch, Scores
from align.rendering import Ids, LabelRow, PairRow, Row


@dataclass(frozen=True, slots=True)
class Fork:
    """A prompt with the responses that are scored behind it."""

    prompt: Ids
    responses: tuple[Ids, ...]

    def tokens(self, shared: bool) -> int:
        """Return how many tokens a forward pass over this fork takes, with its own padding."""
        if shared:
            return len(self.prompt) + sum(map(len, self.responses))
        return len(self.responses) * (len(self.prompt) + max(map(len, self.responses)))


@dataclass(frozen=True, slots=True)
class Block:
    """The tensors of one forward pass, padded on the right."""

    ids: Tensor  # (N, T) long
    prompt_lengths: Tensor  # (N,) long
    response_lengths: Tensor  # (N, K) long; 0 where a prompt has fewer responses
    source: Tensor  # (S,) which of the N·T hidden states predicts the token
    target: Tensor  # (S,) the token
    into: Tensor  # (S,) its place in the (M, R) result
    shape: tuple[int, int]  # (M, R)

    def to(self, device: torch.device | str) -> Block:
        names = ("ids", "prompt_lengths", "response_lengths", "source", "target", "into")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def mask(self) -> Tensor:
        """Return 1.0 where a token of a response stands, else 0.0; (M, R)."""
        return self.place(torch.ones(len(self.into), device=self.into.device))

    def place(self, values: Tensor) -> Tensor:
        """Return per-token values (S,) as (M, R) with zeros in the padding; keeps the gradient."""
        rows, width = self.shape
        empty = torch.zeros(rows * width, dtype=values.dtype, device=values.device)
        return empty.index_put((self.into,), values).view(rows, width)


def pack(forks: Sequence[Fork], *, shared: bool, pad: int = 0, prompts: bool = False) -> Block:
    """Return the block of these forks: one row per fork if `shared`, else one per response.

    Args:
        prompts: score the prompts' own tokens too, all but each first one; they come after all
            responses in the (M, R) result, in the forks' order.
    """
    rows = forks if shared else [Fork(f.prompt, (r,)) for f in forks for r in f.responses]
    lines = [row.prompt + sum(row.responses, ()) for row in rows]
    width, most = max(map(len, lines)), max(len(row.responses) for row in rows)
    scored: list[tuple[Sequence[int], Ids]] = []  # the places that predict, and the tokens
    for n, row in enumerate(rows):
        end = n * width + len(row.prompt)
        start = end
        for response in row.responses:  # the prompt's last token predicts each one's first
            scored.append(((end - 1, *range(start, start + len(response) - 1)), response))
            start += len(response)
    if prompts:
        first = 0  # row of the fork
        for fork in forks:
            before = range(first * width, first * width + len(fork.prompt) - 1)
            scored.append((before, fork.prompt[1:]))
            first += 1 if shared else len(fork.responses)
    longest = max(len(tokens) for _, tokens in scored)
    return Block(
        ids=torch.tensor([line + (pad,) * (width - len(line)) for line in lines]),
        prompt_lengths=torch.tensor([len(row.prompt) for row in rows]),
        response_lengths=torch.tensor(
            [[*map(len, row.responses), *[0] * (most - len(row.responses))] for row in rows]
        ),
        source=torch.tensor([place for places, _ in scored for place in places]),
        target=torch.tensor([token for _, tokens in scored for token in tokens]),
        into=torch.tensor(
            [m * longest + t for m, (_, tokens) in enumerate(scored) for t in range(len(tokens))]
        ),
        shape=(len(scored), longest),
    )


def layout(block: Block) -> tuple[Tensor | None, Tensor | None]:
    """Return position ids (N, T) and who may see whom (N, 1, T, T), or two Nones.

    With one response per row plain causal attention is right, padding included, because padding
    stands last and nothing scored comes after it. With more, a response sees the prompt and itself,
    and its positions go on from the prompt's. The mask has to be explicit: from positions alone
    transformers would guess packed sequences and hide the prompt from the second response.
    """
    if block.response_lengths.shape[1] == 1:
        return None, None
    positions, seen = _places(block)
    return positions, seen[:, None]


def _places(block: Block) -> tuple[Tensor, Tensor]:
    """Return position ids (N, T) and who may see whom (N, T, T)."""
    width = block.ids.shape[1]
    step = torch.arange(width, device=block.ids.device)
    prompts = block.prompt_lengths[:, None]
    # where each segment ends, (N, K+1): the prompt, then the responses; behind the last: padding
    starts = torch.cat([prompts, block.response_lengths], 1).cumsum(1)
    segment = (step >= starts[:, :, None]).sum(1)  # (N, T) 0 prompt, 1..K responses, K+1 padding
    shift = torch.cat([torch.zeros_like(prompts), starts - prompts], 1).gather(1, segment)
    same = segment[:, :, None] == segment[:, None, :]
    seen = (same | (segment[:, None, :] == 0)) & (step[:, None] >= step)
    return step - shift, seen


@dataclass(frozen=True, slots=True)
class Ride:
    """What a second pass takes whose responses ride on prompts that a first pass has computed.

    Shapes: W tokens of the first pass's rows, U response tokens of the longest row here.
    """

    ids: Tensor  # (N, U) the responses of each row, one after the other
    positions: Tensor  # (N, U)
    seen: Tensor  # (N, 1, U, W + U) which of the first pass's tokens, then of these, each sees
    source: Tensor  # (S,) which of the N·U hidden states predicts the token
    prompt_ends: Tensor  # (S,) the first pass's hidden state that predicts it instead
    first: Tensor  # (S,) bool: the token is a response's first, so `prompt_ends` counts


def ride(block: Block, width: int) -> Ride:
    """Return how the responses of a block ride on the same prompts in another block.

    Args:
        block: the rows' prompts are those of the other block, in its order.
        width: W, tokens of the other block's rows.
    """
    positions, seen = _places(block)
    prompts = block.prompt_lengths[:, None]
    longest = int(block.response_lengths.sum(1).max())
    step = torch.arange(longest, device=block.ids.device)
    place = (prompts + step).clamp(max=block.ids.shape[1] - 1)  # (N, U) of these tokens in `block`
    rows = seen.gather(1, place[:, :, None].expand(-1, -1, seen.shape[2]))
    own = rows.gather(2, place[:, None, :].expand(-1, longest, -1)) & (step[:, None] >= step)
    before = torch.arange(width, device=block.ids.device) < prompts  # (N, W)
    past = before[:, None, :].expand(-1, longest, -1)
    row, column = block.source // block.ids.shape[1], block.source % block.ids.shape[1]
    behind = column - block.prompt_lengths[row]  # below 0: the prompt's last token
    return Ride(
        ids=block.ids.gather(1, place),
        positions=positions.gather(1, place),
        seen=torch.cat([past, own], 2)[:, None],
        source=row * longest + behind.clamp(min=0),
        prompt_ends=row * width + block.prompt_lengths[row] - 1,
        first=behind < 0,
    )


def plan(
    rows: Sequence[Row], *, epochs: int, batch_size: int, seed: int, keep_batches: bool = False
) -> list[tuple[int, ...]]:
    """Return which rows each step takes, for all epochs; every row once per epoch, in shuffled
    order.

    Rows of one prompt stay in one batch, as far as it holds them: their prompt is computed once,
    and no prompt is met several times an epoch. An epoch is cut into batches of about the same
    size, so none is tiny. Labels are dealt so that every batch holds good and bad ones, as long as
    there is one of each for every batch.

    Args:
        keep_batches: later epochs take the first one's batches in another order, so that KTO's
            mismatched responses stay the same and their reference is scored once.

    Source: Ouyang et al. 2022 (InstructGPT, arXiv 2203.02155), section 3.5: all comparisons of one
        prompt in one batch overfit less.
    """
    groups: dict[frozenset[bool], list[list[int]]] = {}
    for unit in _units(rows, max(1, batch_size // 2)):  # KTO's z needs a second prompt
        kinds = {_good(rows[i]) for i in unit}
        groups.setdefault(frozenset(kinds), []).append(unit)
    count = -(-len(rows) // batch_size)
    steps: list[tuple[int, ...]] = []
    for epoch in range(epochs):
        rng = random.Random(f"{seed}:{epoch}")
        if keep_batches and epoch:
            steps += rng.sample(steps[:count], count)
            continue
        batches: list[list[int]] = [[] for _ in range(count)]
        for units in groups.values():
            for unit in rng.sample(units, len(units)):
                min(batches, key=len).extend(unit)
        for batch in batches:
            rng.shuffle(batch)
        rng.shuffle(batches)
        steps += map(tuple, batches)
    return steps


def _good(row: Row) -> bool:
    return isinstance(row, LabelRow) and row.good


def _units(rows: Sequence[Row], most: int) -> list[list[int]]:
    """Return the rows by prompt, at most so many together, in their first one's order."""
    found: dict[str, list[list[int]]] = {}
    for index, row in enumerate(rows):
        parts = found.setdefault(row.prompt_id, [[]])
        if len(parts[-1]) == most:
            parts.append([])
        parts[-1].append(index)
    return [part for parts in found.values() for part in parts]


def partners(prompts: Sequence[str]) -> list[int | None]:
    """Return for each row of a batch the next row, cyclically, with another prompt; None if there
    is none.

    Args:
        prompts: ids of the rows' prompts, in the batch's shuffled order.

    Example:
        >>> partners(["p", "p", "q"])
        [2, 2, 0]
    """
    size = len(prompts)
    return [
        next(
            ((i + d) % size for d in range(1, size) if prompts[(i + d) % size] != prompts[i]), None
        )
        for i in range(size)
    ]


def by_length(
    lengths: Sequence[int], *, budget: int, limit: int = 0, sizes: Sequence[int] | None = None
) -> list[list[int]]:
    """Return groups of indices, longest first, whose padded size stays within a budget of tokens.

    Args:
        lengths: tokens of each item.
        budget: tokens per group, padding counted; a lone item may exceed it.
        limit: size of a group at most; 0 for no limit.
        sizes: what each item adds to a group's size; 1 without.

    Example:
        >>> by_length([10, 50, 40, 10], budget=100)
        [[1, 2], [0, 3]]
    """
    groups: list[list[int]] = []
    size = 0  # of the last group
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        own = 1 if sizes is None else sizes[index]
        full = not groups or (limit and size + own > limit)
        if full or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > budget:
            groups.append([])
            size = 0
        groups[-1].append(index)
        size += own
    return groups


class References(Protocol):
    """Reference log-probabilities (R,) by (prompt, response)."""

    def __getitem__(self, key: tuple[Ids, Ids]) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Micro:
    """The rows of one forward pass. `rows` is empty where only z is wanted."""

    block: Block
    forks: tuple[Fork, ...]
    rows: tuple[Row, ...] = ()
    places: tuple[tuple[int, ...], ...] = ()  # where in (M, R) each row's responses are
    riders: Micro | None = None  # mismatched responses to the same prompts, in the same order

    def reference(self, references: References) -> Tensor:
        """Return the reference log-probabilities of this pass, 0 for prompts; (M, R)."""
        found = [references[fork.prompt, r] for fork in self.forks for r in fork.responses]
        found.append(torch.zeros(len(self.block.into) - sum(map(len, found))))  # prompts have none
        return self.block.place(torch.cat(found).to(self.block.into.device))

    def of_rows(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return what a pass gave (M, R) by row: one tensor (B, R) for each of its responses."""
        places = torch.tensor(self.places, device=values.device)  # (B, responses of a row)
        return tuple(values[column] for column in places.unbind(1))


@dataclass(frozen=True, slots=True)
class Batch:
    """One optimiser step: its forward passes and, for KTO, those over mismatched responses."""

    micros: tuple[Micro, ...]
    mismatched: tuple[Micro, ...]  # none where they ride on the only pass
    size: int  # rows, those of other processes counted


@dataclass(slots=True)
class _Unit:
    """Rows of one prompt that share a forward pass."""

    fork: Fork
    rows: list[int]


@dataclass(frozen=True, slots=True)
class Cutter:
    """How rows are cut into forward passes."""

    shared: bool = True  # one row per prompt with all its responses
    riding: bool = False  # mismatched responses take the prompt's keys and values from the pass
    prompts: bool = False  # the prompts' own tokens are scored as well
    budget: int = 2048  # padded tokens per forward pass
    limit: int = 0  # rows per forward pass; 0: as many as the budget takes
    max_tokens: int = 1024  # of a prompt with one response
    pad: int = 0

    def batch(
        self, rows: Sequence[Row], *, mismatched: bool = False, mine: Sequence[int] | None = None
    ) -> Batch:
        """Return the rows as one step, if so wanted with mismatched forks, made in this order.

        Where the whole step is one forward pass, mismatched responses ride on its prompts.

        Args:
            mine: which of the rows this process computes; None: all. The others still count in
                `size`, and their responses serve as mismatched ones.
        """
        own = list(range(len(rows)) if mine is None else mine)
        others = self._mismatched(rows, own) if mismatched else []
        forks = [Fork(rows[i].prompt, rows[i].responses) for i in own]
        passes = self._passes(self._units(forks))
        micros = [self._micro(units, [rows[i] for i in own]) for units in passes]
        whole = [fork.prompt for fork in forks] == [other.prompt for other in others]
        if self.riding and len(passes) == 1 and whole:
            riders = [
                Fork(unit.fork.prompt, tuple(others[i].responses[0] for i in unit.rows))
                for unit in passes[0]
            ]
            return Batch((replace(micros[0], riders=self._whole(riders)),), (), len(rows))
        return Batch(tuple(micros), tuple(self.micros(others)), len(rows))

    def micros(self, forks: Sequence[Fork]) -> list[Micro]:
        """Return forks alone as forward passes, similar lengths together."""
        units = [_Unit(fork, [i]) for i, fork in enumerate(forks)]
        return [self._micro(part) for part in self._passes(units)]

    def _mismatched(self, rows: Sequence[Row], own: Sequence[int]) -> list[Fork]:
        """Return the mismatched fork of each own row that has a partner."""
        found = partners([row.prompt_id for row in rows])
        forks = []
        for row, other in ((rows[i], found[i]) for i in own):
            if other is not None:
                answer = rows[other].responses[0][: self.max_tokens - 1]
                forks.append(Fork(row.prompt[-(self.max_tokens - len(answer)) :], (answer,)))
        return forks

    def _units(self, forks: Sequence[Fork]) -> list[_Unit]:
        """Put the responses to one prompt together, as far as a pass takes them."""
        units: list[_Unit] = []
        last: dict[Ids, _Unit] = {}
        for index, fork in enumerate(forks):
            unit = last.get(fork.prompt)
            if unit is not None and (wider := self._wider(unit, fork)) is not None:
                unit.fork = wider
                unit.rows.append(index)
            else:
                units.append(_Unit(fork, [index]))
                last[fork.prompt] = units[-1]
        return units

    def _wider(self, unit: _Unit, fork: Fork) -> Fork | None:
        """Return the unit's fork with another row's responses; None where that is too much."""
        wider = Fork(fork.prompt, tuple(dict.fromkeys(unit.fork.responses + fork.responses)))
        too_many = self.limit and len(unit.rows) >= self.limit
        return None if too_many or wider.tokens(self.shared) > self.budget else wider

    def _passes(self, units: Sequence[_Unit]) -> list[list[_Unit]]:
        lengths = [unit.fork.tokens(self.shared) for unit in units]
        sizes = [len(unit.rows) for unit in units]
        parts = by_length(lengths, budget=self.budget, limit=self.limit, sizes=sizes)
        return [[units[i] for i in part] for part in parts]

    def _micro(self, units: Sequence[_Unit], rows: Sequence[Row] = ()) -> Micro:
        """Return one forward pass; with `rows`, those that the units name."""
        micro = self._whole([unit.fork for unit in units], self.prompts)
        if not rows:
            return micro
        prompt = sum(len(unit.fork.responses) for unit in units)  # place of the first
        found: list[Row] = []
        places: list[tuple[int, ...]] = []
        start = 0
        for unit in units:
            where = {response: start + k for k, response in enumerate(unit.fork.responses)}
            found += [rows[i] for i in unit.rows]
            own = (prompt,) if self.prompts else ()
            places += [(*(where[r] for r in rows[i].responses), *own) for i in unit.rows]
            start, prompt = start + len(unit.fork.responses), prompt + 1
        return replace(micro, rows=tuple(found), places=tuple(places))

    def _whole(self, forks: Sequence[Fork], prompts: bool = False) -> Micro:
        block = pack(forks, shared=self.shared, pad=self.pad, prompts=prompts)
        return Micro(block, tuple(forks))


def pair_batch(micro: Micro, policy: Tensor, reference: Tensor) -> PairBatch:
    """Return what a pair loss takes, of a pass's log-probabilities (M, R); B rows."""
    sides = (micro.of_rows(t) for t in (policy, reference, micro.block.mask().to(policy.device)))
    chosen, rejected, *prompt = (Scores(*parts) for parts in zip(*sides, strict=True))
    rows = micro.rows
    p = policy.new_tensor([row.p_chosen for row in rows if isinstance(row, PairRow)])
    weight = policy.new_tensor([row.weight for row in rows])
    return PairBatch(chosen, rejected, p, weight, *prompt)


def label_batch(micro: Micro, policy: Tensor, reference: Tensor, z: Tensor) -> LabelBatch:
    """Return what a label loss takes, of a pass's log-probabilities (M, R); B rows."""
    sides = (micro.of_rows(t) for t in (policy, reference, micro.block.mask().to(policy.device)))
    (scores,) = (Scores(*parts) for parts in zip(*sides, strict=True))
    good = torch.tensor([_good(row) for row in micro.rows])
    weight = policy.new_tensor([row.weight for row in micro.rows])
    return LabelBatch(scores, good.to(policy.device), weight, z)
