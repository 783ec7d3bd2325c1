"""feedloop's SQLite file: its table `comparisons`, one vote a row.

    prompt, output_a, output_b
    display_order       ab or ba: which output stood on the left, which on the right
    status, chosen      completed with chosen a or b; skipped; pending, auto_skipped: nobody judged
    completed_at        when, in ISO 8601

feedloop does not say who judged: the labeler is "imported". Other columns are kept.
Source: feedloop 1.5.3, `_db.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from feedback.formats import files
from feedback.formats.rows import (
    Answer,
    Raw,
    Refused,
    Row,
    VoteRow,
    moment_of,
    one_of,
    prompt_of,
)
from feedback.texts import check_text
from storage.errors import BadInput

NEEDED = {"output_a", "output_b", "display_order", "status", "chosen"}
KNOWN = {*NEEDED, "prompt", "completed_at"}
STATUS = ("pending", "completed", "skipped", "auto_skipped")


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return set(columns) >= NEEDED


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the file's judged comparisons as votes."""
    needs = f"feedloop needs {', '.join(sorted(NEEDED))}"
    return files.read_each(path, _votes_of, looks, needs, known=KNOWN)


def _votes_of(raw: Raw) -> Iterator[VoteRow]:
    fields = raw.fields
    status = one_of(fields.get("status"), "status", STATUS)
    if status in ("pending", "auto_skipped"):
        raise BadInput(f"nobody has judged this comparison (its status is {status})")
    skipped = status == "skipped"
    yield VoteRow(
        row=raw.row,
        prompt=prompt_of(fields.get("prompt")),
        a=Answer(check_text(fields["output_a"], "output_a")),
        b=Answer(check_text(fields["output_b"], "output_b")),
        verdict="skip" if skipped else one_of(fields.get("chosen"), "chosen", ("a", "b")),
        left=one_of(fields.get("display_order"), "display_order", ("ab", "ba"))[0],
        created_at=moment_of(fields.get("completed_at"), "completed_at"),
    )
