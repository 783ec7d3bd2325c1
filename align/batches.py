"""From rows in tokens to tensors: which rows a step takes, how they share a forward pass, what is
scored.

Pure: the order comes from a seed, nothing is read or written. A step's batch is cut into
micro-batches by length, so little is padded; the loss is a mean over the batch's rows, so the cut
changes nothing.

One row of a block is a prompt with its responses behind it. With `shared` both responses of a pair
stand in one row, prompt | chosen | rejected: the prompt is computed once, and a response sees the
prompt and itself only. The block stores lengths; `layout` makes positions and mask of them on the
device.

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
    response_lengths: Tensor  # (N, K) long
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


def pack(forks: Sequence[Fork], *, shared: bool, pad: int = 0) -> Block:
    """Return the block of these forks: one row per fork if `shared`, else one per response."""
    rows = forks if shared else [Fork(f.prompt, (r,)) for f in forks for r in f.responses]
    lines = [row.prompt + sum(row.responses, ()) for row in rows]
    width, longest = max(map(len, lines)), max(len(r) for f in forks for r in f.responses)
    sources: list[int] = []
    targets: list[int] = []
    into: list[int] = []
    m = 0
    for n, row in enumerate(rows):
        start = len(row.prompt)
        for response in row.responses:
            first = n * width + len(row.prompt) - 1  # the prompt's last token predicts the first
            rest = range(n * width + start, n * width + start + len(response) - 1)
            sources += [first, *rest]
            targets += response
            into += range(m * longest, m * longest + len(response))
            start, m = start + len(response), m + 1
    return Block(
        ids=torch.tensor([line + (pad,) * (width - len(line)) for line in lines]),
        prompt_lengths=torch.tensor([len(row.prompt) for row in rows]),
        response_lengths=torch.tensor([[len(r) for r in row.responses] for row in rows]),
        source=torch.tensor(sources),
        target=torch.tensor(targets),
        into=torch.tensor(into),
        shape=(m, longest),
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
    width = block.ids.shape[1]
    step = torch.arange(width, device=block.ids.device)
    prompts = block.prompt_lengths[:, None]
    starts = torch.cat([prompts, block.response_lengths], 1).cumsum(
        1
    )  # (N, K+1); the last: padding
    segment = (step >= starts[:, :, None]).sum(1)  # (N, T) 0 prompt, 1..K responses, K+1 padding
    shift = torch.cat([torch.zeros_like(prompts), starts - prompts], 1).gather(1, segment)
    same = segment[:, :, None] == segment[:, None, :]
    seen = (same | (segment[:, None, :] == 0)) & (step[:, None] >= step)
    return step - shift, seen[:, None]


def plan(
    rows: Sequence[Row], *, epochs: int, batch_size: int, seed: int, keep_batches: bool = False
) -> list[tuple[int, ...]]:
    """Return which rows each step takes, for all epochs; every row once per epoch, in shuffled
    order.

    An epoch is cut into batches whose sizes differ by one at most, so none is tiny. Labels are
    dealt so that every batch holds good and bad ones, as long as there is one of each for every
    batch.

    Args:
        keep_batches: later epochs take the first one's batches in another order, so that KTO's
            mismatched responses stay the same and their reference is scored once.
    """
    groups: dict[bool, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(isinstance(row, LabelRow) and row.good, []).append(index)
    count = -(-len(rows) // batch_size)
    steps: list[tuple[int, ...]] = []
    for epoch in range(epochs):
        rng = random.Random(f"{seed}:{epoch}")
        if keep_batches and epoch:
            steps += rng.sample(steps[:count], count)
            continue
        batches: list[list[int]] = [[] for _ in range(count)]
        place = 0
        for members in groups.values():
            for index in rng.sample(members, len(members)):
                batches[place % count].append(index)
                place += 1
        for batch in batches:
            rng.shuffle(batch)
        rng.shuffle(batches)
        steps += map(tuple, batches)
    return steps


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


def by_length(lengths: Sequence[int], *, budget: int, limit: int = 0) -> list[list[int]]:
    """Return groups of indices, longest first, whose padded size stays within a budget of tokens.

    Args:
        lengths: tokens of each item.
        budget: tokens per group, padding counted; a lone item may exceed it.
        limit: items per group at most; 0 for no limit.

    Example:
        >>> by_length([10, 50, 40, 10], budget=100)
        [[1, 2], [0, 3]]
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        full = not groups or (limit and len(groups[-1]) >= limit)
        if full or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > budget:
            groups.append([])
        groups[-1].append(index)
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

    def reference(self, references: References) -> Tensor:
        """Return the reference log-probabilities of this forward pass; (M, R)."""
        found = [references[fork.prompt, r] for fork in self.forks for r in fork.responses]
        return self.block.place(torch.cat(found).to(self.block.into.device))


@dataclass(frozen=True, slots=True)
class Batch:
    """One optimiser step: its forward passes and, for KTO, those over mismatched responses."""

    micros: tuple[Micro, ...]
    mismatched: tuple[Micro, ...]
    size: int  # rows, those of other processes counted


@dataclass(frozen=True, slots=True)
class Cutter:
    """How rows are cut into forward passes."""

    shared: bool = True  # one row per pair with a shared prompt
    budget: int = 2048  # padded tokens per forward pass
    limit: int = 0  # rows per forward pass; 0: as many as the budget takes
    max_tokens: int = 1024  # of a prompt with one response
    pad: int = 0

    def batch(
        self, rows: Sequence[Row], *, mismatched: bool = False, mine: Sequence[int] | None = None
    ) -> Batch:
        """Return the rows as one step, if so wanted with mismatched forks, made in this order.

        Args:
            mine: which of the rows this process computes; None: all. The others still count in
                `size`, and their responses serve as mismatched ones.
        """
        own = range(len(rows)) if mine is None else mine
        others: list[Fork] = []
        if mismatched:
            found = partners([row.prompt_id for row in rows])
            for row, other in ((rows[i], found[i]) for i in own):
                if other is not None:
                    answer = rows[other].responses[0][: self.max_tokens - 1]
                    others.append(Fork(row.prompt[-(self.max_tokens - len(answer)) :], (answer,)))
        forks = [Fork(rows[i].prompt, rows[i].responses) for i in own]
        cut = self._cut(forks)
        micros = [replace(m, rows=tuple(rows[own[i]] for i in part)) for m, part in cut]
        return Batch(tuple(micros), tuple(self.micros(others)), len(rows))

    def micros(self, forks: Sequence[Fork]) -> list[Micro]:
        """Return forks alone as forward passes, similar lengths together."""
        return [micro for micro, _ in self._cut(forks)]

    def _cut(self, forks: Sequence[Fork]) -> list[tuple[Micro, list[int]]]:
        lengths = [fork.tokens(self.shared) for fork in forks]
        parts = by_length(lengths, budget=self.budget, limit=self.limit)
        return [(self._micro([forks[i] for i in part]), part) for part in parts]

    def _micro(self, forks: Sequence[Fork]) -> Micro:
        return Micro(pack(forks, shared=self.shared, pad=self.pad), tuple(forks))


def pair_batch(micro: Micro, policy: Tensor, reference: Tensor) -> PairBatch:
    """Return what a pair loss takes; responses alternate chosen, rejected in (M, R) = (2B, R)."""
    mask, rows = micro.block.mask().to(policy.device), micro.rows
    one, other = (Scores(policy[i::2], reference[i::2], mask[i::2]) for i in (0, 1))
    p = policy.new_tensor([row.p_chosen for row in rows if isinstance(row, PairRow)])
    return PairBatch(one, other, p, policy.new_tensor([row.weight for row in rows]))


def label_batch(micro: Micro, policy: Tensor, reference: Tensor, z: Tensor) -> LabelBatch:
    """Return what a label loss takes; (M, R) = (B, R)."""
    mask, rows = micro.block.mask().to(policy.device), micro.rows
    good = torch.tensor([isinstance(row, LabelRow) and row.good for row in rows])
    weight = policy.new_tensor([row.weight for row in rows])
    scores = Scores(policy, reference, mask)
    return LabelBatch(scores, good.to(policy.device), weight, z)
