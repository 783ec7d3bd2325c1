"""Values from outside: each function returns the value when it is what it has to be, or refuses it.

Pure. Every refusal names the value and what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from feedback.texts import check_text
from storage.errors import BadInput

MAX_SECONDS = 86_400.0  # Choice: a day; a page left open longer says nothing about the judgement.

_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


def shown(value: object) -> str:
    """Return a value for a sentence: quoted, at most 60 characters, printable anywhere.

    >>> shown("maybe"), shown(chr(0xD800)), len(shown("x" * 1000))
    ("'maybe'", "'\\\\ud800'", 60)
    """
    text = repr(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:59] + "…"


def brief(text: str, chars: int = 120) -> str:
    """Return a text on one line, cut to `chars` characters with an ellipsis.

    >>> brief("one\\ntwo  three", 8)
    'one two…'
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= chars else flat[: chars - 1].rstrip() + "…"


def one_of(value: object, allowed: Sequence[str], name: str) -> None:
    """Refuse a value that is not one of the allowed ones."""
    if value not in allowed:
        raise BadInput(f"{name} is {shown(value)}: use one of {', '.join(allowed)}.")


def several_of(values: object, allowed: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the values without repeats, in the order of `allowed`."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise BadInput(f"{name} is {shown(values)}: use a list of {', '.join(allowed)}.")
    for value in values:
        one_of(value, allowed, f"one of {name}")
    return tuple(value for value in allowed if value in values)


def check_id(id: object) -> None:
    """Refuse an event id that is not a UUID."""
    if not (isinstance(id, str) and _UUID.fullmatch(id)):
        raise BadInput(
            f"id is {shown(id)}: make a new UUID for each event, such as crypto.randomUUID()."
        )


def check_revision(revision: object) -> None:
    """Refuse a revision that is not a whole number from 0."""
    if not isinstance(revision, int) or isinstance(revision, bool) or not 0 <= revision < 2**31:
        raise BadInput(
            f"revision is {shown(revision)}: use 0 first, then one more for each change."
        )


def check_seconds(seconds: object) -> float | None:
    """Return a time spent in seconds, at most a day."""
    if seconds is None:
        return None
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        # NaN is neither, and an integer may be too large for a float.
        if 0 <= seconds <= MAX_SECONDS:
            return float(seconds)
        if MAX_SECONDS < seconds < math.inf:
            return MAX_SECONDS
    raise BadInput(f"seconds_spent is {shown(seconds)}: use a number of seconds from 0, or null.")


def plain_text(value: object, name: str, max_chars: int) -> str:
    """Return the text when it can be stored as it is and has at most `max_chars` characters."""
    if isinstance(value, str) and len(value) > max_chars:
        raise BadInput(f"{name} has {len(value):,} characters: use at most {max_chars:,}.")
    return check_text(value, name)
