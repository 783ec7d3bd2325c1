"""What a file's row says beyond the fields that a format reads: kept as one JSON text. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from feedback.formats.rows import Row
from storage.errors import BadInput

MAX_EXTRA = 100_000  # characters. Choice: scores, tags, a conversation once more; no attachment
EXTRA = "extra"  # the column in which they leave, and come back
NOTHING: tuple[Any, ...] = (None, "", {}, [])  # values that say nothing


def kept(row: Row, fields: Mapping[str, Any], known: Collection[str] = ()) -> Row:
    """Return a row with the fields that its format does not know."""
    extra = unknown(fields, known)
    return replace(row, extra=extra) if extra else row


def unknown(fields: Mapping[str, Any], known: Collection[str]) -> str:
    """Return the other fields as one JSON object, always the same for the same; "" for none.

    What an earlier export wrote into `extra` is taken apart again.

    Raises:
        BadInput: they are too long.

    Example:
        >>> unknown({"prompt": "Hi?", "b": None, "tag": "x", "extra": '{"level":2}'}, ["prompt"])
        '{"level":2,"tag":"x"}'
    """
    if len(fields) == len(known) and all(name in known for name in fields):
        return ""  # as in most rows of a million
    others = besides(fields, known)
    others |= object_of(others.pop(EXTRA, None))
    others = {str(name): value for name, value in others.items() if value not in NOTHING}
    if not others:
        return ""
    text = _written(others)
    if len(text) > MAX_EXTRA:
        raise BadInput(
            f"the other fields have {len(text):,} characters, {MAX_EXTRA:,} are kept; leave out "
            f"the largest of {', '.join(list(others)[:8])[:120]}"
        )
    return text


def besides(fields: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the other fields of an object, for `kept` under its name.

    Example:
        >>> besides({"rating": 1, "reason": "too long"}, ["rating"])
        {'reason': 'too long'}
    """
    return {name: value for name, value in fields.items() if name not in known}


def object_of(extra: Any) -> dict[str, Any]:
    """Return what stands in the column `extra`: an object, or one written as text; else itself."""
    if isinstance(extra, str) and extra.startswith("{"):
        try:
            read = json.loads(extra)
        except (ValueError, RecursionError):
            return {EXTRA: extra}
        return read if isinstance(read, dict) else {EXTRA: extra}
    if isinstance(extra, Mapping):
        return dict(extra)
    return {} if extra in (None, "") else {EXTRA: extra}


def _written(fields: Mapping[str, Any]) -> str:
    """Return JSON that can be stored: no NaN, half a character as its escape, the rest as text."""
    options: dict[str, Any] = {"separators": (",", ":"), "default": str}
    try:
        text = json.dumps(fields, allow_nan=False, ensure_ascii=False, sort_keys=True, **options)
        text.encode("utf-8")
    except (ValueError, RecursionError):  # a UnicodeEncodeError is one
        try:
            plain = json.loads(json.dumps(fields, **options), parse_constant=str)
        except (ValueError, RecursionError):
            raise BadInput("the other fields are no plain JSON; leave them out") from None
        return json.dumps(plain, sort_keys=True, **options)
    return text
