"""The decode loop: prompts in, tokens out step by step; a finished row's place goes to the next.

A generator, so that whoever drives it may stop it or do something more urgent between two steps.
It is faster than `generate` on a CPU because the batch stays full, because keys and values are
written into room made beforehand instead of being copied whole for every token, and because
nothing sorts the vocabulary. Knows the model only through `Decoder`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from align.sampling import next_tokens

ROOM = 128  # Choice: tokens of room added at a time; doubling would waste memory on long batches
WIDTH = 48  # Choice: measured on 2 cores: 24 rows 460 tokens/s, 48 rows 680, more bring little
MOVE_SHARE = 0.2  # Choice: rows leave and enter once a fifth has ended; the copy costs about a step
PREFILL_ROWS = 16  # Choice: prompts read in one step; 16 of usual length hold others up for < 0.5 s


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """One answer to decode."""

    ids: Sequence[int]  # the prompt's tokens, not empty
    seed: int
    max_tokens: int
    temperature: float
    top_p: float
    adapter: str | None  # name of a loaded adapter; None = the base


@dataclass(frozen=True, slots=True)
class NewToken:
    row: int
    token: int
    stopped: bool  # this is an end-of-turn token
    last: bool  # no further token follows


class Decoder(Protocol):
    """A model that can be asked for the logits of the next token."""

    device: torch.device
    stop_ids: frozenset[int]
    pad_id: int
    config: Any

    def next_logits(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        positions: torch.Tensor,
        cache: DynamicCache,
        adapters: Sequence[str | None],
    ) -> torch.Tensor:
        """Return (B, V) logits after `ids` (B, T); mask (B, T so far); positions (B, T)."""
        ...


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer with room to grow: a new token is written, not concatenated."""

    keys: Any
    values: Any
    _room: tuple[torch.Tensor, torch.Tensor]  # (B, heads, room, head size) each

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room = (self.keys, self.values)
        length = self.get_seq_length()
        end = length + key_states.shape[-2]
        if self._room[0].numel() == 0 or end > self._room[0].shape[-2]:
            self._room = (self._grown(key_states, end), self._grown(value_states, end))
            if length:
                self._room[0][:, :, :length] = self.keys
                self._room[1][:, :, :length] = self.values
        self._room[0][:, :, length:end] = key_states
        self._room[1][:, :, length:end] = value_states
        self.keys, self.values = self._room[0][:, :, :end], self._room[1][:, :, :end]
        return self.keys, self.values

    @staticmethod
    def _grown(like: torch.Tensor, end: int) -> torch.Tensor:
        batch, heads, _, size = like.shape
        return like.new_empty(batch, heads, (end // ROOM + 1) * ROOM, size)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only these rows of the batch."""
        length = self.get_seq_length()
        self._room = (self._room[0][indices], self._room[1][indices])
        self.keys, self.values = self._room[0][:, :, :length], self._room[1][:, :, :length]

    def join(self, other: GrowingLayer, keep: torch.Tensor, length: int) -> None:
        """Keep these rows, put another batch's behind them, and align both at the end of `length`.

        Columns that fall off the left, and those that are empty there, belong to padding.
        """
        rows = len(keep) + other.keys.shape[0]
        joined = []
        for mine, theirs in ((self.keys[keep], other.keys), (self.values[keep], other.values)):
            _, heads, _, size = mine.shape
            new = mine.new_zeros(rows, heads, (length // ROOM + 1) * ROOM, size)
            for start, part in ((0, mine), (len(keep), theirs)):
                used = min(length, part.shape[2])
                new[start : start + len(part), :, length - used : length] = part[:, :, -used:]
            joined.append(new)
        self._room = (joined[0], joined[1])
        self.keys, self.values = joined[0][:, :, :length], joined[1][:, :, :length]


def new_cache(config: Any) -> DynamicCache:
    """Return an empty cache for this architecture, with room to grow in its plain layers."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(x) is DynamicLayer else x for x in cache.layers]
    return cache


@torch.inference_mode()
def decode(
    model: Decoder, rows: Sequence[DecodeRow], width: int = WIDTH
) -> Iterator[list[NewToken]]:
    """Yield new tokens, a list per step, until every row has ended; at most `width` rows at a time.

    Prompts are padded on the left; positions count from each row's own first token, so that
    padding and neighbours change nothing. A row ends with a stop token or at its `max_tokens`.
    Rows of about the same length should stand together.
    """
    waiting = deque(range(len(rows)))
    flight: Flight | None = None
    while waiting or flight is not None:
        free = width - (flight.live if flight else 0)
        if waiting and (flight is None or flight.movable and free >= MOVE_SHARE * width):
            count = min(free, PREFILL_ROWS if flight is None or flight.movable else width)
            numbers = [waiting.popleft() for _ in range(min(count, len(waiting)))]
            entering = Flight(model, rows, numbers)
            yield entering.step()
            flight = entering if flight is None else flight.joined(entering)
        else:
            assert flight is not None
            yield flight.step()
        if flight.live == 0:
            flight = None


class Flight:
    """Rows in flight; every tensor has one row for each of `numbers`; ended rows wait to leave."""

    def __init__(self, model: Decoder, rows: Sequence[DecodeRow], numbers: Sequence[int]) -> None:
        self.model, self.rows, self.numbers = model, rows, list(numbers)
        mine = [rows[n] for n in numbers]
        longest = max(len(row.ids) for row in mine)
        pads = [longest - len(row.ids) for row in mine]
        ids = [[model.pad_id] * n + list(row.ids) for n, row in zip(pads, mine, strict=True)]
        self.ids = torch.tensor(ids, device=model.device)
        columns = torch.arange(longest, device=model.device)[None]
        self.mask = columns >= self._column(pads)[:, None]
        self.positions = (self.mask.cumsum(-1) - 1).clamp_min(0)
        self.seeds = self._column([row.seed for row in mine])
        self.steps = torch.zeros_like(self.seeds)
        self.temperature = self._column([row.temperature for row in mine], torch.float64)
        self.top_p = self._column([row.top_p for row in mine], torch.float64)
        self.ended = [False] * len(mine)
        self.cache = new_cache(model.config)

    @property
    def live(self) -> int:
        return len(self.ended) - sum(self.ended)

    @property
    def movable(self) -> bool:
        """Rows can leave and enter: every layer's cache is a plain one."""
        return all(isinstance(layer, GrowingLayer) for layer in self.cache.layers)

    def _column(self, values: Sequence[float], dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype, device=self.model.device)

    def step(self) -> list[NewToken]:
        """Return one new token for each live row."""
        adapters = [self.rows[n].adapter for n in self.numbers]
        logits = self.model.next_logits(self.ids, self.mask, self.positions, self.cache, adapters)
        drawn = next_tokens(
            logits,
            seeds=self.seeds,
            steps=self.steps,
            temperature=self.temperature,
            top_p=self.top_p,
        )
        self.steps = self.steps + 1
        self.ids = drawn[:, None]
        self.positions = self.positions[:, -1:] + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.numbers), 1)], dim=-1)
        new = self._new_tokens(drawn.tolist())
        if self.movable and 0 < self.live <= (1 - MOVE_SHARE) * len(self.ended):
            self._shrink()
        return new

    def _new_tokens(self, drawn: Sequence[int]) -> list[NewToken]:
        new = []
        counts = self.steps.tolist()
        for k, (number, token) in enumerate(zip(self.numbers, drawn, strict=True)):
            if self.ended[k]:
                continue
            stopped = token in self.model.stop_ids
            self.ended[k] = stopped or counts[k] >= self.rows[number].max_tokens
            new.append(NewToken(number, token, stopped, self.ended[k]))
        return new

    def _kept(self) -> torch.Tensor:
        return self._column([k for k, ended in enumerate(self.ended) if not ended])

    def _shrink(self) -> None:
        """Drop the rows that have ended."""
        keep = self._kept()
        self.cache.batch_select_indices(keep)
        self._select(keep)

    def _select(self, keep: torch.Tensor) -> None:
        for name in ROW_TENSORS:
            setattr(self, name, getattr(self, name)[keep])
        self.numbers = [self.numbers[k] for k in keep.tolist()]
        self.ended = [False] * len(self.numbers)

    def joined(self, other: Flight) -> Flight:
        """Return one flight with the live rows of both, without columns that pad them all."""
        keep, entering = self._kept(), other._kept()
        if len(entering) == 0:
            return self
        if len(keep) == 0:
            other._shrink()
            return other
        other._shrink()
        self._join(other, keep)
        return self

    def _join(self, other: Flight, keep: torch.Tensor) -> None:
        self._select(keep)
        needed = max(int(self.positions.max()), int(other.positions.max()))  # tokens in the caches
        layers: Any = zip(self.cache.layers, other.cache.layers, strict=True)
        for layer, entering in layers:
            layer.join(entering, keep, needed)
        self.mask = torch.cat([_right(self.mask, needed + 1), _right(other.mask, needed + 1)])
        for name in ROW_TENSORS - {"mask"}:
            setattr(self, name, torch.cat([getattr(self, name), getattr(other, name)]))
        self.numbers += other.numbers
        self.ended += other.ended


ROW_TENSORS = frozenset({"ids", "mask", "positions", "seeds", "steps", "temperature", "top_p"})


def _right(mask: torch.Tensor, length: int) -> torch.Tensor:
    """Return the last `length` columns of a mask, with empty ones before them if it is short."""
    short = length - mask.shape[1]
    return mask[:, -length:] if short <= 0 else torch.nn.functional.pad(mask, (short, 0))
