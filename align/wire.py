"""What the web process and the model worker say to each other: requests, answers, JSON lines.

One JSON object per line over a socket pair. To the worker: {"job", "op", …}; back from it any
number of {"job", "row" | "piece" | "score": …}, then one {"job", "done": true} or {"job", "error",
"kind"}. Knows no torch and no socket.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import BadInput
from storage.records import Message

MAX_CHARS = 1_000_000  # Choice: of a whole conversation; as for stored prompts


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How answers are sampled. The defaults are a choice: lively enough that two answers differ."""

    max_tokens: int = 256
    temperature: float = 0.8  # 0 = greedy: always the likeliest token
    top_p: float = 0.95

    def __post_init__(self) -> None:
        wrong = []
        if not 1 <= self.max_tokens <= 32_768:
            wrong.append(f"max_tokens is {self.max_tokens}, it has to be from 1 to 32768")
        if not 0.0 <= self.temperature <= 5.0:
            wrong.append(f"temperature is {self.temperature}, it has to be from 0 (greedy) to 5")
        if not 0.0 < self.top_p <= 1.0:
            wrong.append(f"top_p is {self.top_p}, it has to be above 0 and at most 1")
        if wrong:
            raise BadInput("; ".join(wrong) + ".")


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One answer that is wanted.

    The answer depends on the request alone, not on what else is in the batch: exactly so in fp32;
    in bf16 rounding differs with the batch's size, so now and then a token does.
    """

    messages: Sequence[Message]
    seed: int
    max_tokens: int = 256
    temperature: float = 0.8  # 0 = greedy
    top_p: float = 0.95
    adapter: Path | None = None  # folder of a PEFT adapter (with manifest); None = the base itself

    def __post_init__(self) -> None:
        check_conversation(self.messages)
        SamplingSettings(self.max_tokens, self.temperature, self.top_p)


@dataclass(frozen=True, slots=True)
class Row:
    """The answer to one request."""

    index: int  # of the request
    text: str
    tokens: int  # tokens of the answer, the end-of-turn token included
    finished: bool  # it stopped by itself, not at max_tokens
    cut: int = 0  # tokens taken off the start of a prompt that was too long for the model


@dataclass(frozen=True, slots=True)
class Piece:
    """How far one row of a stream has come."""

    row: int  # index of the request
    text: str  # the whole answer so far
    tokens: int
    done: bool
    finished: bool  # meaningful once done: it stopped by itself
    asked: int = 0  # tokens of the prompt that the model read
    cut: int = 0  # tokens taken off the start of a prompt that was too long for the model


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One given response whose log-probability is wanted."""

    messages: Sequence[Message]
    response: str
    adapter: Path | None = None
    finished: bool = True  # False: it was cut off, so no end-of-turn token belongs to it


@dataclass(frozen=True, slots=True)
class Score:
    index: int
    logprob: float  # sum over the response's tokens, the end-of-turn token of one that ended, nats
    tokens: int


@dataclass(frozen=True, slots=True)
class TokenScores:
    """A response token by token, under several adapters."""

    pieces: Sequence[str]  # the text that each token adds
    logprobs: Sequence[Sequence[float]]  # of each adapter, of each token, nats


def check_conversation(messages: Sequence[Message]) -> None:
    """Raise BadInput unless a model can be asked this."""
    if not messages or any(not {"role", "content"} <= set(message) for message in messages):
        raise BadInput("a conversation has to be a list of {role, content}, at least one.")
    if sum(len(message["content"]) for message in messages) > MAX_CHARS:
        raise BadInput(f"the conversation is longer than {MAX_CHARS:,} characters: shorten it.")


def to_line(content: Mapping[str, Any]) -> bytes:
    """Return one message as a line; Unicode is escaped, so that no text can break the line."""
    return json.dumps(content, default=_plain).encode("ascii") + b"\n"


def _plain(value: object) -> Any:
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to the worker")


def read_generate(content: Mapping[str, Any]) -> GenerateRequest:
    """Return the request that `to_line` wrote."""
    return GenerateRequest(**{**content, "adapter": _path(content["adapter"])})


def read_score(content: Mapping[str, Any]) -> ScoreRequest:
    """Return the request that `to_line` wrote."""
    return ScoreRequest(**{**content, "adapter": _path(content["adapter"])})


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
