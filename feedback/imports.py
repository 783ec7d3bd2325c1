"""Bring a file in, row by row, so that a bad row is named and the others are stored.

The file is read in a process of its own (`feedback.reading`); a thread makes of it what can be made
without the store, another one stores it (`feedback.storing`), and each is a part ahead of the next.
Importing the same file again adds nothing: every id comes from what the row says. Rows are stored
1,000 at a time; what was stored before an interruption is found again by the next import. The first
5,000 new prompts are compared with all earlier ones as they come, about 0.15 ms each; the rest of a
big import is settled after it (`feedback.settling`). No prompt ever changes its cluster.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from feedback import formats, reading
from feedback.ahead import ahead
from feedback.arrivals import Part, placed
from feedback.clusters import prompts_locked
from feedback.exports import export_file
from feedback.formats.rows import Refused
from feedback.settling import settle
from feedback.storing import Taker
from feedback.texts import printable
from storage.errors import BadInput
from storage.store import Store

__all__ = ["ON_DUPLICATE", "export_file", "import_file"]

ON_DUPLICATE = ("link", "skip", "keep")
AT_ONCE = 1_000  # rows. Choice: a commit of some 100 ms, for which somebody's vote waits
MAX_REFUSED = 100_000  # Choice: all of their reasons are in memory, 50 MB at most
# Choice: objects made before a look for garbage; rows are none, and looking took a fifth of the
# time.
GARBAGE = 100_000


def import_file(
    store: Store,
    path: Path | str,
    format: str = "auto",
    *,
    columns: Mapping[str, str] | None = None,
    on_duplicate: str = "link",
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Store a file's rows; return {"read", "stored", "duplicates", "refused": [{"row", "why"}]}.

    Args:
        format: a name in FORMATS, or "auto": what the columns look like.
        columns: what the file's columns hold, as `formats.read` takes them.
        on_duplicate: what becomes of a new item whose prompt repeats an earlier item's, or whose
            two answers are nearly the same: "link" stores it and lets the checks flag it, "keep"
            stores it and records that it is no repeat, "skip" leaves it out.

    Raises:
        UserError: the file as a whole cannot be read; nothing of it is stored.
    """
    if on_duplicate not in ON_DUPLICATE:
        raise BadInput(
            f"on_duplicate is {on_duplicate[:40]!r}; it has to be one of {', '.join(ON_DUPLICATE)}"
        )
    path = Path(path)
    name = path.name.encode("utf-8", "replace").decode()[:100]
    if on_duplicate != "link":
        settle(store)  # what repeats an item is asked of every prompt
    with (
        nullcontext() if store.is_served() else _rarely_collected(),  # a server collects rarely
        reading.opened(path, format, columns) as (chosen, rows),
        prompts_locked(store) as prompts,
        ThreadPoolExecutor(1, thread_name_prefix="storing") as thread,
    ):
        taker = Taker(store, f"import:{name}", on_duplicate, prompts, thread)
        for part in _told(ahead(_prepared(rows, taker.source)), taker):
            if progress and format == "auto" and not columns and not taker.read:
                progress(f"{name} looks like {chosen}: {formats.FORMATS[chosen].describe}\n")
            taker.take(part)
            first, last = taker.read <= AT_ONCE, len(part.refused) + len(part.good) < AT_ONCE
            if first or last:  # whoever waits hears soon that something is stored, and that all is
                taker.finish()
            if progress:
                progress(taker.so_far())
        if taker.finish() and progress:
            progress(taker.so_far())
    taker.refused.sort(key=lambda one: one.row)
    return {
        "read": taker.read,
        "stored": taker.stored,
        "duplicates": taker.duplicates,
        "refused": [{"row": one.row, "why": printable(one.why)} for one in taker.refused],
    }


@contextmanager
def _rarely_collected() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _prepared(parts: Iterator[reading.PART], source: str) -> Iterator[Part]:
    """Yield the rows, `AT_ONCE` at a time, with all that can be said of them without the
    store.

    What they hold is limited by the reader: of `AT_ONCE` rows some millions of characters, and now
    and then a long row.

    Raises:
        BadInput: more than `MAX_REFUSED` are refused.
    """
    refused = 0
    rows: reading.PART = []
    for part in parts:
        rows += part
        while len(rows) >= AT_ONCE:
            yield (made := _part(rows[:AT_ONCE], source))
            refused += len(made.refused)
            if refused > MAX_REFUSED:
                raise _too_many(made.refused[-1])
            rows = rows[AT_ONCE:]
    if rows:
        yield _part(rows, source)


def _part(rows: reading.PART, source: str) -> Part:
    refused = [row for row in rows if isinstance(row, Refused)]
    return Part(refused, [placed(row, source) for row in rows if not isinstance(row, Refused)])


def _too_many(last: Refused) -> BadInput:
    return BadInput(
        f"more than {MAX_REFUSED:,} rows are refused, the last, row {last.row}, "
        f"as {printable(last.why)[:200]}; is it in another format?"
    )


def _told(parts: Iterator[Part], taker: Taker) -> Iterator[Part]:
    """Yield the parts; where reading ends before the file does, say what is stored of it."""
    try:
        yield from parts
    except BadInput as error:
        taker.finish()
        if not taker.read:
            raise
        raise BadInput(
            f"{error} ({taker.stored:,} rows in front of that are stored; importing the file again "
            "adds nothing twice)"
        ) from None
