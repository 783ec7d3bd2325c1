"""Bring a file in, row by row, so that a bad row is named and the others are stored.

The file is read in a process of its own (`feedback.reading`); what it holds is stored here.
Importing the same file again adds nothing: every id comes from what the row says. Rows are stored
2,000 at a time; what was stored before an interruption is found again by the next import. The first
`COMPARED` new prompts are compared with all earlier ones as they come, about 0.15 ms each; the rest
of a big import is settled after it (`feedback.settling`). No prompt ever changes its cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from feedback import formats, reading
from feedback.ahead import ahead
from feedback.arrivals import Cast, Placed, cast, placed, says
from feedback.clusters import PromptIndex, prompts_locked
from feedback.exports import export_file
from feedback.formats.rows import RatingRow, Refused
from feedback.items import (
    flipped,
    look_up,
    new_prompts,
    other_answers,
    tick,
)
from feedback.pseudonyms import Pseudonyms
from feedback.repeats import Repeats, kept
from feedback.settling import settle
from feedback.sieve import Sieve
from feedback.texts import printable
from storage.errors import BadInput, StoreError, UserError
from storage.records import (
    Comparison,
    Duplicate,
    Extra,
    Labeler,
    Prompt,
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
# Choice: new prompts whose near-duplicates are looked for at once, three quarters of a second.
COMPARED = 5_000
# Choice: rows after which an import is big enough to read the ids of all that is stored, 1 s for a
# million, instead of looking each of its own up, 20 to 40 µs.
SIEVED = 10_000
MAX_REFUSED = 100_000  # Choice: all of their reasons are in memory, 50 MB at most
MAX_SENT = 200_000  # ids of what was added, to save a look-up. Choice: 30 MB


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
    with reading.opened(path, format, columns) as (chosen, rows), prompts_locked(store) as prompts:
        taker = _Taker(store, f"import:{name}", on_duplicate, prompts)
        for part in _told(ahead(_prepared(rows, taker.source)), taker):
            if progress and format == "auto" and not columns and not taker.read:
                progress(f"{name} looks like {chosen}: {formats.FORMATS[chosen].describe}\n")
            taker.take(part)
            if progress:
                progress(f"{taker.read:,} rows read, {taker.stored:,} stored")
    taker.refused.sort(key=lambda one: one.row)
    return {
        "read": taker.read,
        "stored": taker.stored,
        "duplicates": taker.duplicates,
        "refused": [{"row": one.row, "why": printable(one.why)} for one in taker.refused],
    }


def _prepared(parts: Iterator[reading.PART], source: str) -> Iterator[_Part]:
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


def _part(rows: reading.PART, source: str) -> _Part:
    refused = [row for row in rows if isinstance(row, Refused)]
    return _Part(refused, [placed(row, source) for row in rows if not isinstance(row, Refused)])


def _too_many(last: Refused) -> BadInput:
    return BadInput(
        f"more than {MAX_REFUSED:,} rows are refused, the last, row {last.row}, "
        f"as {printable(last.why)[:200]}; is it in another format?"
    )


def _told(parts: Iterator[_Part], taker: _Taker) -> Iterator[_Part]:
    """Yield the parts; where reading ends before the file does, say what is stored of it."""
    try:
        yield from parts
    except BadInput as error:
        if not taker.read:
            raise
        raise BadInput(
            f"{error} ({taker.stored:,} rows in front of that are stored; importing the file again "
            "adds nothing twice)"
        ) from None


def _extra(one: Cast) -> tuple[Text, Extra]:
    """Return what keeps the other fields of a row."""
    text = Text.of(one.extra)
    return text, Extra(one.event.id, text.id)


def _item(event: Vote | Rating) -> str:
    return event.comparison if isinstance(event, Vote) else event.response


class _Part(NamedTuple):
    """Rows that come in together."""

    refused: list[Refused]
    good: list[Placed]


class _Taker:
    """One import: what became of its rows so far."""

    def __init__(self, store: Store, source: str, on_duplicate: str, prompts: PromptIndex) -> None:
        self._data = store
        self.source = source
        self._on_duplicate = on_duplicate
        self._prompts = prompts
        self._repeats = Repeats(store, prompts) if on_duplicate != "link" else None
        self._sent: set[str] = set()  # ids of the texts and responses that were added
        self._labelers: set[str] = set()
        self._compared = 0  # prompts
        self._taken: Sieve | None = None  # the ids that may be stored, of a big import
        self._comparisons = -1  # how many there are, as far as the sieve knows
        self._pseudonyms: Pseudonyms | None = None
        self.read = self.stored = self.duplicates = 0
        self.refused: list[Refused] = []

    def take(self, part: _Part) -> None:
        """Store the good rows of a part and count what became of each."""
        self.read += len(part.refused) + len(part.good)
        if len(self._sent) > MAX_SENT:
            self._sent.clear()
        self.refused += part.refused
        self._look_at_taken()
        arrived = self._unseen(part.good)
        records: list[Record] = []
        if self._repeats is not None:
            arrived, decisions = self._decide(arrived, self._repeats)
            records += decisions
        comparisons = self._settle_sides(arrived)
        arrived = [one for one in arrived if one.swapped is not None]
        records += self._new_prompts(arrived)
        records += self._new_answers(arrived)
        records += comparisons
        self._store(records, self._fresh([cast(one, self.source) for one in arrived]))

    def _unseen(self, good: list[Placed]) -> list[Placed]:
        """Leave out the rows whose event is stored, where its id was made from all that it says."""
        votes = self._stored([one.event for one in good if one.b is not None and not one.named])
        ratings = self._stored([one.event for one in good if one.b is None])
        seen = {vote.id for vote in look_up(self._data, Vote, votes)}
        seen |= {rating.id for rating in look_up(self._data, Rating, ratings)}
        arrived = []
        for one in good:
            if one.event in seen and not one.named:
                self.duplicates += 1
            else:
                arrived.append(one)
                seen |= set() if one.named else {one.event}
        return arrived

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

    def _settle_sides(self, arrived: list[Placed]) -> list[Comparison]:
        """Say of each row how its comparison stands, and return the comparisons that are new.

        A row whose comparison is stored with other answers is refused, and its `swapped` None.
        """
        known, sides = self._stored_comparisons(arrived)
        fresh: list[Comparison] = []
        moment = now()
        for one in arrived:
            if one.b is None:
                continue
            stored = known.get(one.item)
            if stored is None:
                when = tick(moment, len(fresh))
                made = Comparison(one.item, one.prompt, one.a.id, one.b.id, self.source, when)
                known[one.item] = made
                sides[one.a.id], sides[one.b.id] = one.a, one.b
                fresh.append(made)
                continue
            one.swapped = flipped(sides[stored.a], sides[stored.b], one.a, one.b)
            if one.swapped is None:
                self.refused.append(Refused(one.row.row, other_answers(one.item)))
        return fresh

    def _stored_comparisons(
        self, arrived: list[Placed]
    ) -> tuple[dict[str, Comparison], dict[str, Response]]:
        ids = self._stored([one.item for one in arrived if one.b is not None])
        known = {c.id: c for c in look_up(self._data, Comparison, ids)}
        sides = [side for c in known.values() for side in (c.a, c.b)]
        return known, {r.id: r for r in look_up(self._data, Response, sides)}

    def _stored(self, ids: list[str]) -> list[str]:
        """Return the ids of comparisons, votes or ratings without those that are surely new."""
        return ids if self._taken is None else self._taken.may_hold(ids)

    def _look_at_taken(self) -> None:
        """Keep the sieve true: make it for a big import, drop it where others add comparisons.

        Ids of votes and ratings are made of what a row says, and no two imports run at once.
        """
        if self._taken is None and self._comparisons < 0 and self.read > SIEVED:
            self._comparisons = self._data.count(Comparison)
            self._taken = Sieve()
            ids = self._data.frame("taken")["id"]
            for start in range(0, len(ids), MAX_SENT):
                self._taken.add(ids[start : start + MAX_SENT].tolist())
        if self._taken is not None and self._data.count(Comparison) != self._comparisons:
            self._taken = None

    def _new_prompts(self, arrived: list[Placed]) -> list[Text | Prompt]:
        """Return the texts and prompts that are new; with their clusters, or a big import's not."""
        settle = self._repeats is not None or self._compared < COMPARED
        asked = ((one.asked, one.row.prompt) for one in arrived)
        new = new_prompts(asked, self.source, self._prompts, settle=settle)
        self._compared += len(new) // 2
        return new

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

    def _fresh(self, casts: list[Cast]) -> list[Cast]:
        """Return the events that are new; count the others."""
        named = [one.event.id for one in casts if one.named]
        stored: dict[str, Vote | Rating] = {v.id: v for v in look_up(self._data, Vote, named)}
        fresh: list[Cast] = []
        for one in casts:
            before = stored.setdefault(one.event.id, one.event)
            if before is one.event:
                fresh.append(one)
            elif says(before) == says(one.event) or self._is_ours(before, one.event):
                self.duplicates += 1
            else:
                why = (
                    f"the id {one.event.id} is stored already and says something else; "
                    "give the row another id, or leave the id out"
                )
                self.refused.append(Refused(one.row, why))
        return fresh

    def _is_ours(self, before: Vote | Rating, event: Vote | Rating) -> bool:
        """Say whether an event comes back from an export of this folder, by its pseudonym."""
        if self._pseudonyms is None:
            self._pseudonyms = Pseudonyms(self._data)
        named = replace(event, labeler=before.labeler)
        return self._pseudonyms.of(before.labeler) == event.labeler and says(named) == says(before)

    def _store(self, records: list[Record], casts: list[Cast]) -> None:
        labelers = {one.event.labeler for one in casts} - self._labelers
        self._labelers |= labelers
        people = [Labeler(name, "import") for name in sorted(labelers)]
        extras = [one for cast in casts if cast.extra for one in _extra(cast)]
        added = self._data.add([*records, *people, *(one.place for one in casts), *extras])
        if self._taken is not None:
            self._comparisons += added.get(Comparison, 0)
            self._taken.add([id for one in casts for id in (one.event.id, _item(one.event))])
        answers = self._data.append_many([one.event for one in casts])
        for one, answer in zip(casts, answers, strict=True):
            self._count(one, answer)

    def _count(self, one: Cast, answer: Receipt | UserError) -> None:
        if isinstance(answer, StoreError):
            raise answer
        if isinstance(answer, UserError):
            self.refused.append(Refused(one.row, str(answer)))
        elif answer.repeated:
            self.duplicates += 1
        else:
            self.stored += 1
