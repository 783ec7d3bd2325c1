"""What the compare screen needs besides the model: which runs, which prompts, who stands where.

Knows no torch and no gradio; the streaming itself is the worker client's.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from align import runs
from align.wire import Piece, SamplingSettings
from feedback.snapshots import split_of
from storage.errors import BadInput, Busy, NotFound
from storage.records import Message, Prompt
from storage.store import Store

OFFERED = 200  # Choice: held-out prompts in the list; more than anybody scrolls through
LABEL_CHARS = 90


@dataclass(frozen=True, slots=True)
class Answer:
    """One side of the comparison so far."""

    text: str = ""
    tokens: int = 0
    seconds: float | None = None  # from the first token of either to its own last, once it is done
    finished: bool | None = None  # stopped by itself; None while it is being written


@dataclass(frozen=True, slots=True)
class Pair:
    """The answers before and after the run."""

    answers: tuple[Answer, Answer] = field(default=(Answer(), Answer()))

    def with_row(self, row: int, answer: Answer) -> Pair:
        """Return the pair with one of its answers replaced."""
        first, second = self.answers
        return Pair((answer, second) if row == 0 else (first, answer))


def finished_runs(data: Path) -> list[tuple[str, str]]:
    """Return (words, id) of every run with a published adapter, newest first."""
    return [
        (f"{run.run} · {run.method.upper()} · {run.model}", run.run)
        for run in runs.list_runs(data)
        if run.adapter is not None
    ]


def base_of(data: Path, run: str) -> str:
    """Return the folder of the model that a run was trained on."""
    config = runs.run_folder(data, run) / "config.json"
    return str(json.loads(config.read_text("utf-8"))["model"])


def waiting(data: Path) -> str | None:
    """Return why no model can answer now, or None: a training has the device."""
    going = runs.going_run(data)
    return None if going is None else runs.busy_sentence(going)


def held_out_prompts(store: Store, most: int = OFFERED) -> list[tuple[str, str]]:
    """Return (its question on one line, id) of the prompts that no run trains on, oldest first."""
    frame = store.frame("prompts")
    held_out = [
        row["prompt"]
        for row in frame.sort_values(["created_at", "prompt"]).to_dict("records")
        if split_of(row["cluster"]) == "held_out"
    ][:most]
    rows = {row.id: row for row in store.rows(Prompt, id=held_out)} if held_out else {}
    offered = []
    for key in held_out:
        question = " ".join(store.messages(rows[key])[-1]["content"].split())
        short = question if len(question) <= LABEL_CHARS else question[: LABEL_CHARS - 1] + "…"
        offered.append((short, key))
    return offered


def messages_of(store: Store, prompt: str | None, text: str) -> Sequence[Message]:
    """Return the conversation to answer: the held-out one if the text is still its own.

    An empty text with no prompt gives [].
    """
    if prompt:
        row = store.get(Prompt, prompt)
        if row is None:
            raise NotFound(f"There is no prompt {prompt!r} any more; choose another.")
        messages = store.messages(row)
        if text.strip() in ("", messages[-1]["content"].strip()):
            return messages
    return [{"role": "user", "content": text}] if text.strip() else []


def order(blind: bool, rng: random.Random) -> tuple[int, int]:
    """Return which answer (0 before, 1 after) stands left and right."""
    return (1, 0) if blind and rng.random() < 0.5 else (0, 1)


def stream(
    workspace: Any, run: str | None, messages: Sequence[Message], *, seed: int, temperature: float,
    max_tokens: int, clock: Callable[[], float] = time.monotonic,
) -> Iterator[Pair]:  # fmt: skip
    """Return the pair of answers as it grows; the model before and after the run, in one batch.

    What is wrong is said at once, before the first pair is asked for.

    Args:
        clock: returns seconds; what `Answer.seconds` is measured with.

    Raises:
        BadInput: no run or no prompt.
        NotFound: no such run, or its adapter is gone or damaged.
        Busy: a training has the device.
    """
    if not run:
        raise BadInput("No run was chosen: choose one, or train one first.")
    if not messages:
        raise BadInput("The prompt is empty: type one, or take a held-out prompt.")
    if (busy := waiting(workspace.data)) is not None:
        raise Busy(f"{busy}.")
    adapter = runs.load_adapter(workspace.data, run)
    settings = SamplingSettings(max_tokens=max_tokens, temperature=temperature)
    return _pairs(workspace.client.stream(messages, [None, adapter], settings, seed), clock)


def _pairs(pieces: Iterable[Piece], clock: Callable[[], float]) -> Iterator[Pair]:
    """Yield the pair after each piece."""
    pair, started = Pair(), None
    for piece in pieces:
        started = clock() if started is None else started
        answer = Answer(piece.text, piece.tokens)
        if piece.done:
            answer = replace(answer, seconds=clock() - started, finished=piece.finished)
        pair = pair.with_row(piece.row, answer)
        yield pair


def compare_once(
    workspace: Any, run: str, messages: Sequence[Message], *, seed: int, temperature: float,
    max_tokens: int,
) -> Pair:  # fmt: skip
    """Return both answers, complete; what `compare` prints. Raises as `stream` does."""
    pairs = stream(
        workspace, run, messages, seed=seed, temperature=temperature, max_tokens=max_tokens
    )
    return deque(pairs, maxlen=1).pop()


def facts(answer: Answer, seconds: float) -> str:
    """Return an answer's length and time in words.

    Example:
        >>> facts(Answer("Hi there", 3, 1.25, True), 9.0)
        '3 tokens · 8 characters · 1.2 s'
        >>> facts(Answer("Hi", 2), 0.4)
        '2 tokens · 2 characters · 0.4 s'
    """
    words = f"{answer.tokens:,} tokens · {len(answer.text):,} characters"
    words += f" · {answer.seconds if answer.seconds is not None else seconds:.1f} s"
    return words if answer.finished is not False else f"{words} · cut at the limit"
