"""What every format is read into and written from: a judged pair, a judged answer, a refusal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from feedback.texts import check_text, printable
from storage.errors import BadInput
from storage.records import Message

UNKNOWN = "imported"  # the model, or the labeler, that a file does not name
MAX_NAME = 200  # characters of a labeler's, a model's or an item's name


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


@dataclass(frozen=True, slots=True)
class RatingRow:
    """One answer to a prompt and a labeler's thumb."""

    row: int
    prompt: tuple[Message, ...]
    answer: Answer
    verdict: str  # "up" or "down"
    labeler: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be taken, and why: one sentence with the remedy."""

    row: int
    why: str


Row = VoteRow | RatingRow


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
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in name):
        raise BadInput(f"{what} {name[:40]!r} has a line break or control character; remove it")
    return name or default


def one_of(value: object, what: str, allowed: tuple[str, ...]) -> str:
    """Return a word in lower case if it is one of those allowed ("" is written as empty)."""
    word = "" if value is None else str(value).strip().lower()
    if word not in allowed:
        names = ", ".join(name or "empty" for name in allowed)
        raise BadInput(f"{what} is {str(value)[:40]!r}; it has to be one of {names}")
    return word


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
