"""Bring a file in, row by row, so that a bad row is named and the others are stored.

Importing the same file again adds nothing: every id comes from what the row says. Rows are stored
2,000 at a time; what was stored before an interruption is found again by the next import. Prompts
are compared with all earlier ones as they come, about 0.15 ms each, so a big import needs no second
pass, and no prompt ever changes its cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from feedback import formats
from feedback.arrivals import Cast, Placed, cast, placed, says
from feedback.exports import export_file
from feedback.formats.rows import RatingRow, Refused, Row
from feedback.items import (
    PromptSource,
    flipped,
    look_up,
    other_answers,
    prompts_locked,
    store_prompts,
    tick,
)
from feedback.repeats import Repeats, kept
from storage.errors import BadInput, StoreError, UserError
from storage.records import (
    Comparison,
    Duplicate,
    Labeler,
    Rating,
    Receipt,
    Record,
    Response,
    Text,
    Vote,
    now,
)
from storage.store import Store

__all__ = ["ON_DUPLICATE", "export_file", "import_file"]

ON_DUPLICATE = ("link", "skip", "keep")
AT_ONCE = 2_000  # rows

E = TypeVar("E")


def import_file(
    store: Store,
    path: Path | str,
    format: str = "auto",
    *,
    on_duplicate: str = "link",
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Store a file's rows; return {"read", "stored", "duplicates", "refused": [{"row", "why"}]}.

    Args:
        format: a name in FORMATS, or "auto": what the columns look like.
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
    rows = formats.read(path, format)
    name = path.name.encode("utf-8", "replace").decode()[:100]
    with prompts_locked(store):
        taker = _Taker(store, f"import:{name}", on_duplicate)
        for part in _parts(rows, AT_ONCE):
            taker.take(part)
            if progress:
                progress(f"{taker.read:,} rows read, {taker.stored:,} stored")
    return {
        "read": taker.read,
        "stored": taker.stored,
        "duplicates": taker.duplicates,
        "refused": [{"row": one.row, "why": one.why} for one in taker.refused],
    }


def _parts(rows: Iterable[E], size: int) -> Iterator[list[E]]:
    rows = iter(rows)
    while part := list(islice(rows, size)):
        yield part


class _Taker:
    """One import: what became of its rows so far."""

    def __init__(self, store: Store, source: str, on_duplicate: str) -> None:
        self._store = store
        self._source = source
        self._on_duplicate = on_duplicate
        self._prompts = PromptSource(store)
        self._repeats = Repeats(store, self._prompts) if on_duplicate != "link" else None
        self._sent: set[str] = set()  # ids of the texts and responses that were added
        self._labelers: set[str] = set()
        self.read = self.stored = self.duplicates = 0
        self.refused: list[Refused] = []

    def take(self, part: list[Row | Refused]) -> None:
        """Store the good rows of a part and count what became of each."""
        self.read += len(part)
        self.refused += [row for row in part if isinstance(row, Refused)]
        arrived = [placed(row, self._source) for row in part if not isinstance(row, Refused)]
        decisions: list[Duplicate] = []
        if self._repeats is not None:
            arrived, decisions = self._decide(arrived, self._repeats)
        arrived = self._store_items(arrived)
        self._store.add(decisions)
        self._store_events([cast(one, self._source) for one in arrived])
        self.refused.sort(key=lambda one: one.row)

    def _decide(
        self, arrived: list[Placed], repeats: Repeats
    ) -> tuple[list[Placed], list[Duplicate]]:
        """Leave out the repeats (skip), or return the decisions that they are none (keep)."""
        stay, decisions = [], []
        for one in arrived:
            found = repeats.of(one)
            if found and self._on_duplicate == "skip":
                self.duplicates += 1
                continue
            decisions += [kept(repeat) for repeat in found]
            repeats.note(one)
            stay.append(one)
        return stay, decisions

    def _store_items(self, arrived: list[Placed]) -> list[Placed]:
        """Store prompts, responses and comparisons; return the rows whose comparison fits."""
        known, sides = self._stored_comparisons(arrived)
        fitting: list[Placed] = []
        fresh: list[Comparison] = []
        moment = now()
        for one in arrived:
            if one.b is not None:
                if one.item not in known:
                    when = tick(moment, len(fresh))
                    made = Comparison(one.item, one.prompt, one.a.id, one.b.id, self._source, when)
                    known[one.item] = made
                    sides |= {one.a.id: one.a, one.b.id: one.b}
                    fresh.append(made)
                stored = known[one.item]
                swapped = flipped(sides[stored.a], sides[stored.b], one.a, one.b)
                if swapped is None:
                    self.refused.append(Refused(one.row.row, other_answers(one.item)))
                    continue
                one.swapped = swapped
            fitting.append(one)
        prompts = {one.prompt: one.row.prompt for one in fitting}
        store_prompts(self._store, list(prompts.values()), self._source, self._prompts)
        self._store.add([*self._new_answers(fitting), *fresh])
        return fitting

    def _stored_comparisons(
        self, arrived: list[Placed]
    ) -> tuple[dict[str, Comparison], dict[str, Response]]:
        ids = [one.item for one in arrived if one.b is not None]
        known = {c.id: c for c in look_up(self._store, Comparison, ids)}
        sides = [side for c in known.values() for side in (c.a, c.b)]
        return known, {r.id: r for r in look_up(self._store, Response, sides)}

    def _new_answers(self, arrived: list[Placed]) -> list[Record]:
        """Return the texts and responses that this import did not add before."""
        new: list[Record] = []
        for one in arrived:
            answers = (
                (one.row.answer,) if isinstance(one.row, RatingRow) else (one.row.a, one.row.b)
            )
            for response, answer in zip((one.a, one.b), answers, strict=False):
                if response is None or response.id in self._sent:
                    continue
                self._sent.add(response.id)
                if response.text not in self._sent:
                    self._sent.add(response.text)
                    new.append(Text(response.text, answer.text, len(answer.text)))
                new.append(response)
        return new

    def _store_events(self, casts: list[Cast]) -> None:
        stored = self._stored_events(casts)
        fresh: list[Cast] = []
        for one in casts:
            before = stored.get(one.event.id)
            if before is None:
                stored[one.event.id] = one.event
                fresh.append(one)
            elif says(before) == says(one.event):
                self.duplicates += 1
            else:
                why = (
                    f"the id {one.event.id} is stored already and says something else; "
                    "give the row another id, or leave the id out"
                )
                self.refused.append(Refused(one.row, why))
        labelers = {one.event.labeler for one in fresh} - self._labelers
        self._labelers |= labelers
        people = [Labeler(name, "import") for name in sorted(labelers)]
        self._store.add([*people, *(one.place for one in fresh)])
        answers = self._store.append_many([one.event for one in fresh])
        for one, answer in zip(fresh, answers, strict=True):
            self._count(one, answer)

    def _stored_events(self, casts: list[Cast]) -> dict[str, Vote | Rating]:
        stored: dict[str, Vote | Rating] = {}
        for kind in (Vote, Rating):
            ids = [one.event.id for one in casts if isinstance(one.event, kind)]
            stored |= {event.id: event for event in look_up(self._store, kind, ids)}
        return stored

    def _count(self, one: Cast, answer: Receipt | UserError) -> None:
        if isinstance(answer, StoreError):
            raise answer
        if isinstance(answer, UserError):
            self.refused.append(Refused(one.row, str(answer)))
        elif answer.repeated:
            self.duplicates += 1
        else:
            self.stored += 1
