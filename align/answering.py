"""Ask the model worker for n different answers to each prompt, and store them in pairs.

Every response is stored with its model, adapter, settings and its own seed. A seed follows from
the batch's seed, the prompt and the answer's number: asking for the same again gives the same,
and adds nothing. Knows no torch.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from align import runs
from align.models import EMBEDDED, Model, find_model
from align.wire import GenerateRequest, Row, SamplingSettings
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from storage.errors import BadInput
from storage.records import Message, Prompt, digest

if TYPE_CHECKING:
    from align.client import WorkerClient
    from storage.store import Store

T = TypeVar("T")
STARTERS = Path(__file__).resolve().parent.parent / "feedback" / "starter_prompts.jsonl"
TRIES = 4  # Choice: an answer that came empty or like another is drawn anew up to three times
CHUNK_PROMPTS = 250  # Choice: prompts per worker job; the batch is full except at a job's end
STORE_SECONDS = 1.0  # Choice: finished prompts are stored together, at most this late
SEED_DIGITS = 12  # hex digits: 48 bits, which JSON readers keep exactly


def starter_prompts() -> list[list[Message]]:
    """Return Hone's own prompts, in the file's order."""
    lines = STARTERS.read_text("utf-8").split("\n")
    return [json.loads(line)["messages"] for line in lines if line.strip()]


def answer_seed(seed: int, prompt_id: str, number: int, attempt: int = 0) -> int:
    """Return the seed of one answer, below 2**48."""
    return int(digest(str(seed), prompt_id, str(number), str(attempt), length=SEED_DIGITS), 16)


@dataclass
class _Asked:
    """One prompt and the answers that it has so far."""

    prompt: Prompt
    messages: Sequence[Message]
    kept: dict[int, tuple[Row, int]] = field(default_factory=dict)  # number → answer, its seed
    refused: int = 0

    def take(self, number: int, row: Row, seed: int) -> None:
        """Keep an answer unless it is empty or says the same as one that was kept."""
        text = row.text.strip()
        same = any(alike(text, other.text) for other, _ in self.kept.values())
        if text and not same:
            self.kept[number] = (row, seed)
        else:
            self.refused += 1


def alike(one: str, other: str) -> bool:
    """Say whether two answers are the same or nearly so: a choice between them says nothing."""
    from feedback.near import RESPONSE_THRESHOLD, similarity  # brings numpy in

    return one.strip() == other.strip() or similarity(one, other) >= RESPONSE_THRESHOLD


def generate_comparisons(
    store: Store,
    client: WorkerClient,
    prompts: Sequence[Sequence[Message]],
    *,
    model: str = EMBEDDED,
    adapter: str = "",
    n: int = 2,
    ring: bool = False,
    settings: SamplingSettings = SamplingSettings(),  # noqa: B008  (frozen)
    seed: int = 0,
    source: str,
    progress: Callable[[str], None] = lambda line: None,
    cancelled: Callable[[], bool] = lambda: False,
    background: bool = False,
) -> dict[str, int]:
    """Answer every prompt n times, store the answers, and pair them: (0, 1), (2, 3), …; in a ring
    also (1, 2), (3, 4), …, and the last one with the first.

    What is finished is stored while the rest is still being written.

    Args:
        adapter: id of the run whose adapter answers, "" for the base itself.
        ring: compare each of three answers or more twice: as many votes from half the answers.
        source: of the comparisons, "generated:<batch>".
        progress: gets a line of text now and then.
        cancelled: asked now and then; True ends it early with what is there.
        background: nobody waits for it: other jobs go first.

    Returns:
        {"prompts", "responses", "comparisons"}: how many there are now of what was asked for, and
        "dropped": prompts that did not get two different answers (one, if n is 1).

    Raises:
        BadInput: prompts or settings cannot be used.
        Busy, NotFound, Unsupported, WorkerFailed: as `WorkerClient.generate`.
    """
    if n < 1:
        raise BadInput(f"n is {n}: ask for 1 answer or more (2 make a comparison).")
    if n > 1 and settings.temperature == 0:
        raise BadInput(f"temperature 0 gives one answer {n} times: raise it, or ask for 1 answer.")
    base = base_of(store, model, adapter)
    batch = _Batch(store, client, base, adapter, n, ring, settings, seed, source)
    unique = list({Prompt.id_of(messages): messages for messages in prompts}.values())
    for start in range(0, len(unique), CHUNK_PROMPTS):
        if cancelled():
            break
        part = unique[start : start + CHUNK_PROMPTS]
        batch.ask(part, start, len(unique), progress, cancelled, background)
    return dict(batch.counts)


def base_of(store: Store, model: str, adapter: str) -> Model:
    """Return the model that answers: an adapter's own base, else the one that was asked for."""
    if not adapter:
        return find_model(model)
    base = runs.model_of(store.data, adapter)
    if model not in (EMBEDDED, base.name, str(base.path)):
        raise BadInput(f"run {adapter} trained {base.name}, not {model}: leave the model out.")
    return base


@dataclass
class _Batch:
    """One call of `generate_comparisons` on its way."""

    store: Store
    client: WorkerClient
    base: Model
    adapter: str
    n: int
    ring: bool
    settings: SamplingSettings
    seed: int
    source: str
    counts: dict[str, int] = field(
        default_factory=lambda: {"prompts": 0, "responses": 0, "comparisons": 0, "dropped": 0}
    )

    def ask(
        self,
        prompts: Sequence[Sequence[Message]],
        before: int,
        total: int,
        progress: Callable[[str], None],
        cancelled: Callable[[], bool],
        background: bool,
    ) -> None:
        """Answer one chunk of prompts, drawing anew what came empty or alike, and store it."""
        asked = [_Asked(p, m) for p, m in zip(self._add(prompts), prompts, strict=True)]
        self.counts["prompts"] += len(asked)
        done: set[int] = set()
        for attempt in range(TRIES):
            left = [
                (k, i) for k, one in enumerate(asked) for i in range(self.n) if i not in one.kept
            ]
            if not left or cancelled():
                break
            writer = _Writer(self, asked, done, left, attempt)
            writer.told = lambda: progress(f"{before + len(done)} of {total} prompts answered")
            requests = [self._request(asked[k], i, attempt) for k, i in left]
            try:
                self.client.generate(
                    requests,
                    writer.on_row,
                    model=self.base,
                    cancelled=cancelled,
                    background=background,
                )
            finally:
                writer.flush()
        if not cancelled():
            self._store_short(asked, done)

    def _add(self, prompts: Sequence[Sequence[Message]]) -> list[Prompt]:
        """Store the prompts, Hone's own ones as such."""
        own = {Prompt.id_of(messages) for messages in starter_prompts()}
        keyed = [(Prompt.id_of(m), m) for m in prompts]
        stored = {
            p.id: p
            for source, part in (
                ("starter", [m for key, m in keyed if key in own]),
                ("generate", [m for key, m in keyed if key not in own]),
            )
            for p in (add_prompts(self.store, part, source) if part else ())
        }
        return [stored[key] for key, _ in keyed]

    def _request(self, one: _Asked, number: int, attempt: int) -> GenerateRequest:
        folder = runs.run_folder(self.store.data, self.adapter) if self.adapter else None
        return GenerateRequest(
            one.messages,
            answer_seed(self.seed, one.prompt.id, number, attempt),
            self.settings.max_tokens,
            self.settings.temperature,
            self.settings.top_p,
            folder,
        )

    def _store_short(self, asked: Sequence[_Asked], done: set[int]) -> None:
        """Store prompts with fewer different answers than asked for; count the useless ones."""
        short = [one for k, one in enumerate(asked) if k not in done]
        self.counts["dropped"] += sum(len(one.kept) < min(self.n, 2) for one in short)
        self.save([one for one in short if len(one.kept) >= min(self.n, 2)])

    def save(self, finished: Sequence[_Asked]) -> None:
        """Store answers and comparisons of some prompts."""
        rows, lengths = [], []
        for one in finished:
            kept = [one.kept[number] for number in sorted(one.kept)]
            rows += [self._response(one, row, seed) for row, seed in kept]
            lengths.append(len(kept))
        if not rows:
            return
        stored = add_responses(self.store, rows)
        pairs, start = [], 0
        for length in lengths:
            mine = stored[start : start + length]
            pairs += paired(mine, self.ring)
            start += length
        self.counts["responses"] += len(stored)
        if pairs:
            self.counts["comparisons"] += len(add_comparisons(self.store, pairs, self.source))

    def _response(self, one: _Asked, row: Row, seed: int) -> NewResponse:
        settings = {**dataclasses.asdict(self.settings), "fingerprint": self.base.fingerprint}
        return NewResponse(
            one.prompt.id,
            row.text,
            self.base.name,
            self.adapter,
            settings,
            seed,
            row.finished,
            "generated",
        )


def paired(answers: Sequence[T], ring: bool = False) -> list[tuple[T, T]]:
    """Return which answers to one prompt are compared.

    Example:
        >>> paired("abcd"), paired("abcd", ring=True), paired("ab", ring=True)
        ([('a', 'b'), ('c', 'd')], [('a', 'b'), ('b', 'c'), ('c', 'd'), ('d', 'a')], [('a', 'b')])
    """
    if ring and len(answers) > 2:
        return list(zip(answers, [*answers[1:], answers[0]], strict=True))
    return list(zip(answers[0::2], answers[1::2], strict=False))


@dataclass
class _Writer:
    """Takes the rows of one worker job and stores each prompt when its answers are complete."""

    batch: _Batch
    asked: Sequence[_Asked]
    done: set[int]  # numbers of the prompts that are stored
    left: Sequence[tuple[int, int]]  # (prompt, answer) of each request
    attempt: int
    finished: list[_Asked] = field(default_factory=list)
    stored_at: float = 0.0
    told: Callable[[], None] = lambda: None

    def on_row(self, row: Row) -> None:
        k, number = self.left[row.index]
        one = self.asked[k]
        seed = answer_seed(self.batch.seed, one.prompt.id, number, self.attempt)
        one.take(number, row, seed)
        if len(one.kept) == self.batch.n:
            self.done.add(k)
            self.finished.append(one)
        if self.finished and time.monotonic() - self.stored_at > STORE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store what is finished."""
        self.batch.save(self.finished)
        self.finished = []
        self.stored_at = time.monotonic()
        self.told()
