"""Hone's own format: one vote a row, as CSV or JSONL.

| column | holds |
|---|---|
| prompt | the question as a text, or a conversation as a JSON list of `{"role", "content"}` |
| response_a, response_b | the two answers; one may be empty |
| model_a, model_b | who answered; empty: unknown |
| labeler | who judged |
| verdict | `a`, `b`, `tie`, `both_bad` or `skip` |
| left | `a` or `b`: which answer stood on the left; empty: nobody knows |
| created_at | ISO 8601; without a zone it is UTC; empty: the time of the import |
| id | optional: of the vote |
| comparison | optional: of the comparison; else it is prompt, texts and models, in either order |
| extra | optional: what else the row had when it was imported, as one JSON object |
| kind | `repeat` (asked again silently), `gold` (the right verdict is known); else `plain` |
| strength | written only: how clear the choice was, in the campaign's words; empty: not said |
| aspects | written only: by aspect which answer is better, `a`, `b` or `same`; in CSV as JSON |

In CSV a cell that a spreadsheet would run as a formula is written with an apostrophe in front, and
reading takes it off again (`files.guard`), so a file comes back exactly. JSONL needs no such thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from feedback.formats import files, writing
from feedback.formats.rows import (
    UNKNOWN,
    Answer,
    Fields,
    Raw,
    Refused,
    Row,
    VoteRow,
    listed,
    moment_of,
    name_text,
    one_of,
)
from feedback.formats.unknown import EXTRA, object_of, unknown
from feedback.queue import GOLD, PLAIN, REPEAT
from feedback.texts import check_messages, check_text
from storage.errors import BadInput
from storage.records import VERDICTS, Message, canonical_messages

NEEDED = (
    "prompt",
    "response_a",
    "response_b",
    "model_a",
    "model_b",
    "labeler",
    "verdict",
    "left",
    "created_at",
)
COLUMNS = ("id", "comparison", *NEEDED, "kind", "strength", "aspects", EXTRA)
KNOWN = frozenset(COLUMNS) - {EXTRA}
KINDS = (PLAIN, REPEAT, GOLD)
JUDGED = tuple(verdict for verdict in VERDICTS if verdict != "undone")


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return {"response_a", "response_b", "verdict"} <= set(columns)


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the file's votes, row by row."""

    def check_columns(columns: Sequence[str]) -> None:
        missing = [name for name in NEEDED if name not in columns]
        if missing:
            raise BadInput(
                f"{path}: the columns {', '.join(missing)} are missing; it has: {listed(columns)}"
            )

    kind = files.kind_of(path)
    for raw in files.read_rows(path, check_columns):
        yield raw if isinstance(raw, Refused) else row_of(raw, json_prompts=kind == "csv")


def row_of(raw: Raw, *, json_prompts: bool) -> VoteRow | Refused:
    """Return what one row says, or why it cannot be taken."""
    fields = raw.fields
    try:
        missing = [name for name in NEEDED if name not in fields]
        if missing:
            raise BadInput(f"the fields {', '.join(missing)} are missing")
        labeler = name_text(fields["labeler"], "labeler")
        if not labeler:
            raise BadInput("labeler is empty; name who judged")
        return VoteRow(
            row=raw.row,
            prompt=tuple(_prompt(fields["prompt"], json_prompts)),
            a=_answer(fields, "a"),
            b=_answer(fields, "b"),
            verdict=one_of(fields["verdict"], "verdict", JUDGED),
            labeler=labeler,
            left=one_of(fields["left"], "left", ("", "a", "b")),
            created_at=moment_of(fields["created_at"], "created_at"),
            id=name_text(fields.get("id"), "id"),
            comparison=name_text(fields.get("comparison"), "comparison"),
            kind=one_of(fields.get("kind"), "kind", ("", *KINDS)) or PLAIN,
            extra=unknown(fields, KNOWN),
        )
    except BadInput as error:
        return Refused(raw.row, str(error))


def _prompt(value: Any, json_prompts: bool) -> list[Message]:
    if isinstance(value, list):
        return check_messages(value)
    text = check_text("" if value is None else value, "the prompt")
    listed = _listed(text) if json_prompts else None
    return check_messages(listed or [{"role": "user", "content": text}])


def _listed(text: str) -> list[Message] | None:
    """Return the messages if a text is a JSON list of messages, else None."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not value:
        return None
    is_messages = all(isinstance(m, dict) and {"role", "content"} <= set(m) for m in value)
    return value if is_messages else None


def _answer(fields: Fields, side: str) -> Answer:
    text = fields[f"response_{side}"]
    text = check_text("" if text is None else text, f"response_{side}")
    return Answer(text, name_text(fields[f"model_{side}"], f"model_{side}", UNKNOWN))


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write the votes as .csv or .jsonl; return how many."""
    votes = (row for row in rows if isinstance(row, VoteRow))
    if path.suffix.lower() == ".csv":
        return writing.write_csv(path, COLUMNS, (_fields(row, as_text=True) for row in votes))
    if path.suffix.lower() != ".jsonl":
        raise BadInput(f"{path}: votes are written as .csv or .jsonl; give it one of these names")
    return writing.write_jsonl(path, (_fields(row, as_text=False) for row in votes))


def _fields(row: VoteRow, *, as_text: bool) -> Fields:
    return {
        "id": row.id,
        "comparison": row.comparison,
        "prompt": _prompt_cell(row.prompt, as_text),
        "response_a": row.a.text,
        "response_b": row.b.text,
        "model_a": row.a.model,
        "model_b": row.b.model,
        "labeler": row.labeler,
        "verdict": row.verdict,
        "left": row.left,
        "created_at": row.created_at.isoformat() if row.created_at else "",
        "kind": row.kind,
        "strength": row.strength,
        "aspects": json.dumps(row.aspects) if as_text and row.aspects else row.aspects or "",
        **_extra(row, as_text),
    }


def _extra(row: VoteRow, as_text: bool) -> Fields:
    """Return the other fields: in a table one more cell, in JSON only where there are any."""
    if as_text:
        return {EXTRA: row.extra}
    return {EXTRA: object_of(row.extra)} if row.extra else {}


def _prompt_cell(prompt: Sequence[Message], as_text: bool) -> str | list[Message]:
    content = prompt[0]["content"]
    is_plain = len(prompt) == 1 and prompt[0]["role"] == "user"
    if is_plain and not (as_text and _listed(content)):
        return content
    return canonical_messages(prompt) if as_text else list(prompt)
