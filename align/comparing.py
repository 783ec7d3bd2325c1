"""What the compare screen needs besides the model: which runs, which prompts, who stands where.

Knows no torch and no gradio; the streaming itself is the worker client's.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from align import openai_client, runs
from align.interleaving import merged
from align.models import Model
from align.openai_client import Reply
from align.sides import Side, Sides
from align.wire import GenerateRequest, Piece, SamplingSettings
from feedback.settling import settled
from feedback.snapshots import split_of
from feedback.values import brief
from storage.errors import BadInput, Busy, NotFound
from storage.records import Message, Prompt
from storage.store import Store

OFFERED = 200  # Choice: held-out prompts in the list; more than anybody scrolls through
LABEL_CHARS = 90
UNTOLD = -1  # tokens of an answer whose endpoint does not count them


@dataclass(frozen=True, slots=True)
class Answer:
    """One side of the comparison so far."""

    text: str = ""
    tokens: int = 0  # UNTOLD where an endpoint says nothing of it
    seconds: float | None = None  # from the first token of either to its own last, once it is done
    finished: bool | None = None  # stopped by itself; None while it is being written
    cut: int = 0  # tokens of the prompt's beginning that the model had no room for


@dataclass(frozen=True, slots=True)
class Pair:
    """The answers of the two sides."""

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
    frame = settled(store.frame("prompts"))
    held_out = [
        row["prompt"]
        for row in frame.sort_values(["created_at", "prompt"]).to_dict("records")
        if split_of(row["cluster"]) == "held_out"
    ][:most]
    rows = {row.id: row for row in store.rows(Prompt, id=held_out)} if held_out else {}
    offered = []
    for key in held_out:
        offered.append((brief(store.messages(rows[key])[-1]["content"], LABEL_CHARS), key))
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


def step_through(listed: str, current: str, by: int) -> tuple[str, int, int]:
    """Return a list's prompt after (by 1) or before (by -1) the current one, its number, how many.

    At an end it begins anew; where the current prompt is none of the list, with the first or the
    last. A prompt that stands there twice is taken once.

    Raises:
        BadInput: the list is empty.

    Example:
        >>> step_through("What is tea?\\n\\nWhat is rain?", "What is tea?", 1)
        ('What is rain?', 2, 2)
    """
    prompts = list(dict.fromkeys(line.strip() for line in listed.split("\n") if line.strip()))
    if not prompts:
        raise BadInput("The list is empty: paste prompts into it, one a line.")
    if current.strip() in prompts:
        at = (prompts.index(current.strip()) + by) % len(prompts)
    else:
        at = 0 if by > 0 else len(prompts) - 1
    return prompts[at], at + 1, len(prompts)


def order(blind: bool, rng: random.Random) -> tuple[int, int]:
    """Return which answer (0 before, 1 after) stands left and right."""
    return (1, 0) if blind and rng.random() < 0.5 else (0, 1)


def conversation(turns: Sequence[Message], said: str, text: str) -> Sequence[Message]:
    """Return a side's conversation with its own answer and the next question behind it.

    Raises:
        BadInput: the question is empty.
    """
    if not text.strip():
        raise BadInput("The follow-up is empty: type what both shall answer next.")
    asked: Message = {"role": "user", "content": text}
    return [*turns, {"role": "assistant", "content": said}, asked]


def stream(
    workspace: Any, sides: Sides, conversations: Sequence[Sequence[Message]], *, seed: int,
    temperature: float, max_tokens: int, clock: Callable[[], float] = time.monotonic,
) -> Iterator[Pair]:  # fmt: skip
    """Return the pair of answers as it grows; two local ones come from one model, in one batch.

    What is wrong is said at once, before the first pair is asked for.

    Args:
        conversations: what each side answers; the two may differ.
        clock: returns seconds; what `Answer.seconds` is measured with.

    Raises:
        BadInput: no prompt, or a setting out of its range.
        Busy: a training has the device.
        EndpointFailed: while it is read; as `align.openai_client.stream`.
    """
    if not all(conversations):
        raise BadInput("The prompt is empty: type one, or take a held-out prompt.")
    usual = SamplingSettings().top_p
    top_p = 1.0 if any(side.endpoint for side in sides.both) else usual  # the client sends none
    settings = SamplingSettings(max_tokens=max_tokens, temperature=temperature, top_p=top_p)
    asked = [_request(*one, settings, seed) for one in zip(sides.both, conversations, strict=True)]
    local = [n for n, side in enumerate(sides.both) if side.endpoint is None]
    if local and (busy := waiting(workspace.data)) is not None:
        raise Busy(f"{busy}.")
    sources = [
        partial(_far, n, side, asked[n]) for n, side in enumerate(sides.both) if side.endpoint
    ]
    if local:
        requests = [asked[n] for n in local]
        sources.append(partial(_near, workspace.client, local, requests, sides.model))
    pieces = sources[0](lambda: False) if len(sources) == 1 else merged(sources)
    return _pairs(pieces, clock)


def _request(
    side: Side, messages: Sequence[Message], settings: SamplingSettings, seed: int
) -> GenerateRequest:
    sampling = (settings.max_tokens, settings.temperature, settings.top_p)
    return GenerateRequest(messages, seed, *sampling, side.adapter)


def _near(
    client: Any, numbers: Sequence[int], requests: Sequence[GenerateRequest], model: Model | None,
    stopped: Callable[[], bool],
) -> Generator[Piece, None, None]:  # fmt: skip
    """Yield what the local sides say, from one model in memory."""
    with closing(client.stream_each(requests, model=model)) as pieces:
        for piece in pieces:
            yield replace(piece, row=numbers[piece.row])


def _far(
    number: int, side: Side, request: GenerateRequest, stopped: Callable[[], bool]
) -> Generator[Piece, None, None]:
    """Yield what an endpoint says; a token count of -1 where it does not tell one."""
    assert side.endpoint is not None
    reply = Reply("", True, None)
    for reply in openai_client.stream(
        side.endpoint, request.messages, max_tokens=request.max_tokens,
        temperature=request.temperature, seed=request.seed, stopped=stopped,
    ):  # fmt: skip
        yield Piece(number, reply.text, _count(reply), False, False)
    yield Piece(number, reply.text, _count(reply), True, reply.finished)


def _count(reply: Reply) -> int:
    return UNTOLD if reply.tokens is None else reply.tokens


def _pairs(pieces: Generator[Piece, None, None], clock: Callable[[], float]) -> Iterator[Pair]:
    """Yield the pair after each piece."""
    pair, started = Pair(), None
    with closing(pieces):
        for piece in pieces:
            started = clock() if started is None else started
            answer = Answer(piece.text, piece.tokens, cut=piece.cut)
            if piece.done:
                answer = replace(answer, seconds=clock() - started, finished=piece.finished)
            pair = pair.with_row(piece.row, answer)
            yield pair


def told_tokens(answer: Answer) -> int | None:
    """Return an answer's tokens; None where its endpoint did not count them."""
    return None if answer.tokens == UNTOLD else answer.tokens


def facts(answer: Answer, seconds: float) -> str:
    """Return an answer's length and time in words.

    Example:
        >>> facts(Answer("Hi there", 3, 1.25, True), 9.0)
        '3 tokens · 8 characters · 1.2 s'
        >>> facts(Answer("Hi", 2), 0.4)
        '2 tokens · 2 characters · 0.4 s'
        >>> facts(Answer("Hi", UNTOLD, 0.4, True), 0.4)
        '2 characters · 0.4 s'
    """
    count = told_tokens(answer)
    words = "" if count is None else f"{count:,} tokens · "
    words += f"{len(answer.text):,} characters"
    words += f" · {answer.seconds if answer.seconds is not None else seconds:.1f} s"
    if answer.finished is False:
        words += " · cut at the limit"
    if answer.cut:
        words += f" · the first {answer.cut:,} tokens of the prompt did not fit"
    return words
