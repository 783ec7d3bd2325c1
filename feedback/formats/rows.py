"""What every format is read into and written from: a judged pair, a judged answer, a refusal.

And what the readers of files give to the formats: a row as the file has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeGuard

from feedback.texts import check_messages, check_text, printable
from storage.errors import BadInput
from storage.records import Message

UNKNOWN = "imported"  # the model, or the labeler, that a file does not name
MAX_NAME = 200  # characters of a labeler's, a model's or an item's name

_TRUE, _FALSE = (True, 1, "true", "1"), (False, 0, "false", "0")

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """One row as the file has it."""

    row: int  # 1-based data row; in JSONL the line, in a JSON list the element
    fields: Fields


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    model: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class VoteRow:
    """Two answers to a prompt and a labeler's verdict on them."""

    row: int  # 1-based data row; in JSONL the line
    prompt: tuple[Message, ...]
    a: Answer
    b: Answer
    verdict: str  # "a", "b", "tie", "both_bad", "skip"
    labeler: str = UNKNOWN
    left: str = ""  # which answer stood on the left, "a" or "b"; "" unknown
    created_at: datetime | None = None
    id: str = ""  # of the vote, if the file names it
    comparison: str = ""  # id of the comparison, if the file names it
    kind: str = "plain"  # of the assignment: "plain", "repeat" or "gold"
    extra: str = ""  # the file's other fields, as one JSON object
    strength: str = ""  # how clear the choice was, in the campaign's words, if it was asked
    aspects: Mapping[str, str] = field(default_factory=dict)  # aspect -> "a", "b" or "same"


@dataclass(frozen=True, slots=True)
class RatingRow:
    """One answer to a prompt and a labeler's thumb."""

    row: int
    prompt: tuple[Message, ...]
    answer: Answer
    verdict: str  # "up" or "down"
    labeler: str = UNKNOWN
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be taken, and why: one sentence with the remedy."""

    row: int
    why: str


Row = VoteRow | RatingRow


def decided(row: Row) -> TypeGuard[VoteRow]:
    """Return whether a row says which of two answers is better."""
    return isinstance(row, VoteRow) and row.verdict in ("a", "b")


def listed(names: Iterable[str]) -> str:
    """Return a file's names for a message: in one line, and not too many."""
    return printable(", ".join(names))[:200]


def name_text(value: object, what: str, default: str = "") -> str:
    """Return a short text of one line, trimmed; `default` where the file says nothing."""
    if value is None:
        return default
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    name = check_text(value, what).strip()
    if len(name) > MAX_NAME:
        raise BadInput(f"{what} has {len(name):,} characters; {MAX_NAME} are allowed")
    if not name.isprintable() and any(ord(sign) < 32 or ord(sign) == 127 for sign in name):
        raise BadInput(f"{what} {name[:40]!r} has a line break or control character; remove it")
    return name or default


def one_of(value: object, what: str, allowed: tuple[str, ...]) -> str:
    """Return a word in lower case if it is one of those allowed ("" is written as empty)."""
    word = "" if value is None else str(value).strip().lower()
    if word not in allowed:
        names = ", ".join(name or "empty" for name in allowed)
        raise BadInput(f"{what} is {str(value)[:40]!r}; it has to be one of {names}")
    return word


def true_or_false(value: object, what: str) -> bool:
    """Return a truth value, also one that a table wrote as a word or as a number."""
    said = value.strip().lower() if isinstance(value, str) else value
    if isinstance(said, bool | int | str):
        if said in _TRUE:
            return True
        if said in _FALSE:
            return False
    raise BadInput(f"{what} is {str(value)[:40]!r}; it has to be true or false")


def object_of(value: object, what: str) -> Mapping[str, Any]:
    """Return what a JSON object or a Parquet struct holds."""
    if not isinstance(value, Mapping):
        raise BadInput(f"{what} is {str(value)[:40]!r}; it has to be an object {{…}}")
    return value


def list_of(value: object, what: str) -> list[Any]:
    """Return a JSON list's elements."""
    if not isinstance(value, list):
        raise BadInput(f"{what} is {str(value)[:40]!r}; it has to be a list")
    return value


def prompt_of(value: object, what: str = "prompt") -> tuple[Message, ...]:
    """Return the prompt that a text or a message list is."""
    if isinstance(value, str):
        return tuple(check_messages([{"role": "user", "content": value}]))
    return tuple(check_messages(messages_of(value, what)))


def conversation_of(value: object, what: str) -> tuple[tuple[Message, ...], str]:
    """Return the prompt and the answer of a conversation that ends with the assistant's answer."""
    messages = messages_of(value, what)
    prompt, answer = messages[:-1], last_of(messages[-1:], what)
    return tuple(check_messages(prompt)), answer


def last_of(messages: Iterable[Message], what: str) -> str:
    """Return the text of the one assistant message that is left after the prompt."""
    messages = list(messages)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        roles = listed(m["role"] for m in messages) or "nothing"
        raise BadInput(f"{what} has to be one assistant message after the prompt; it has: {roles}")
    return check_text(messages[0]["content"], what)


def messages_of(value: object, what: str) -> list[Message]:
    """Return a list's messages, role and content only."""
    if not isinstance(value, list):
        raise BadInput(f"{what} is {type(value).__name__}; it has to be a text or a message list")
    messages: list[Message] = []
    for number, message in enumerate(value, start=1):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise BadInput(f"{what}: message {number} has no role and content; give it both")
        content = content_of(message.get("content"), f"{what}: message {number}")
        messages.append({"role": message["role"], "content": content})
    return messages


def content_of(value: object, what: str) -> str:
    """Return a message's text; TRL and Gradio also write a list of text blocks."""
    if isinstance(value, list) and all(
        isinstance(block, Mapping) and block.get("type") == "text" for block in value
    ):
        value = "".join(str(block.get("text")) for block in value)
    elif isinstance(value, list):
        raise BadInput(f"{what} holds more than text (an image?); only text can be judged")
    return check_text(value, what)


def moment_of(value: object, what: str) -> datetime | None:
    """Return a time in UTC from an ISO 8601 text (UTC when it names no zone); None if empty."""
    if value is None or value == "":
        return None
    try:
        moment = (
            value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        )
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInput(
            f"{what} is {str(value)[:40]!r}; write it like 2026-11-23T09:30:00Z, or leave it empty"
        ) from None


def moment_of_seconds(value: object, what: str) -> datetime | None:
    """Return a time in UTC from seconds since 1970; None if empty."""
    if value is None or value == "":
        return None
    try:
        return datetime.fromtimestamp(float(str(value)), UTC)
    except (ValueError, OverflowError, OSError):
        raise BadInput(
            f"{what} is {str(value)[:40]!r}; write the seconds since 1970, or leave it out"
        ) from None
