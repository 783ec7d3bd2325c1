"""The log.csv of a Gradio chat with thumbs (`ChatCSVLogger`): one thumb a row.

    conversation        a JSON list of messages {"role", "content"}
    index               which of them was judged, counted from 0
    feedback            Like or Dislike; other words of an app's own are refused
    timestamp           kept as it is: a rating has the time of its import

The header names five columns, but each row has these four, so they are read by their position.
Gradio writes no labeler. Source: gradio 6.31, `flagging.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from feedback.formats import files
from feedback.formats.rows import (
    Answer,
    RatingRow,
    Raw,
    Refused,
    Row,
    last_of,
    messages_of,
    one_of,
)
from feedback.texts import check_messages, check_text
from storage.errors import BadInput

HEADER = ("conversation", "index", "value", "flag", "timestamp")
CELLS = ("conversation", "index", "feedback", "timestamp")
KNOWN = CELLS[:3]
THUMBS = {"like": "up", "dislike": "down"}


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return set(columns) == set(HEADER)


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the file's thumbs as ratings."""
    needs = f"gradio-flags needs {', '.join(HEADER)}"
    return files.read_each(path, _ratings_of, looks, needs, cells=CELLS, known=KNOWN)


def _ratings_of(raw: Raw) -> Iterator[RatingRow]:
    fields = raw.fields
    thumb = THUMBS[one_of(fields.get("feedback"), "feedback", tuple(THUMBS))]
    messages = messages_of(_conversation(fields.get("conversation")), "conversation")
    index = str(fields.get("index"))
    if not index.isdecimal() or not index.isascii() or int(index[:9]) >= len(messages):
        raise BadInput(f"index is {index[:40]!r}; it has to be one of 0 to {len(messages) - 1}")
    judged = int(index)
    answer = last_of(messages[judged : judged + 1], "the judged message")
    yield RatingRow(raw.row, tuple(check_messages(messages[:judged])), Answer(answer), thumb)


def _conversation(cell: Any) -> Any:
    try:
        return json.loads(check_text(cell, "conversation"))
    except (ValueError, RecursionError):
        raise BadInput("conversation is not JSON; Gradio writes a list of messages") from None
