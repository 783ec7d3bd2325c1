"""Store an import's rows, part by part, and count what became of each.

The store is asked what it has before anything is added. One part is looked at while the one before
it is still being stored: what is on the way is known by its ids, and waited for where they come
again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

from feedback.arrivals import Cast, Part, Placed, cast, says
from feedback.clusters import PromptIndex
from feedback.formats.rows import RatingRow, Refused
from feedback.items import flipped, look_up, new_prompts, other_answers, tick
from feedback.pseudonyms import Pseudonyms
from feedback.repeats import Repeats, kept
from storage.errors import StoreError, UserError
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

# Choice: new prompts whose near-duplicates are looked for at once, three quarters of a second.
COMPARED = 5_000
Item = TypeVar("Item")
MAX_SENT = 200_000  # ids of what was added, to save a look-up. Choice: 30 MB
# In one commit, for which somebody's vote waits; where nobody can vote, a part of the file is one.
# Choice: with four who vote, a vote takes 73 ms (median) and 221 (95 %) instead of 208 and 562, and
# the import a fifth longer.
ROWS_BESIDE, EVENTS_BESIDE = 1_500, 250


class _Answered(NamedTuple):
    """What was stored: the events, how many rows were added, and the answer to each event."""

    casts: list[Cast]
    added: Mapping[type, int]
    answers: Sequence[Receipt | UserError]


def _stored(store: Store, rows: list[Record], casts: list[Cast]) -> _Answered:
    beside = store.is_served()
    added: Counter[type] = Counter()
    for part in _some(rows, ROWS_BESIDE if beside else len(rows)):
        added.update(store.add(part))
    answers: list[Receipt | UserError] = []
    for events in _some([one.event for one in casts], EVENTS_BESIDE if beside else len(casts)):
        answers += store.append_many(events)
    return _Answered(casts, added, answers)


def _some(items: Sequence[Item], n: int) -> Iterator[Sequence[Item]]:
    """Yield the items, `n` at a time."""
    for start in range(0, len(items), max(1, n)):
        yield items[start : start + n]


class Taker:
    """One import: what became of its rows so far."""

    def __init__(
        self,
        store: Store,
        source: str,
        on_duplicate: str,
        prompts: PromptIndex,
        thread: ThreadPoolExecutor,
    ) -> None:
        self._data = store
        self.source = source
        self._on_duplicate = on_duplicate
        self._prompts = prompts
        self._repeats = Repeats(store, prompts) if on_duplicate != "link" else None
        self._sent: set[str] = set()  # ids of the texts and responses that were added
        self._labelers: set[str] = set()
        self._compared = 0  # prompts
        self._comparisons = store.count(Comparison)  # stored, as far as this import knows
        self._thread = thread  # which stores a part while the next one is looked at
        self._storing: Future[_Answered] | None = None
        self._on_the_way: set[str] = set()  # ids of what it stores: items, votes, ratings
        self._pseudonyms: Pseudonyms | None = None
        self.read = self.stored = self.duplicates = 0
        self.refused: list[Refused] = []

    def take(self, part: Part) -> None:
        """Let the good rows of a part be stored, while the next one is looked at: what became of
        them is counted then, or by `finish`."""
        self.read += len(part.refused) + len(part.good)
        if len(self._sent) > MAX_SENT:
            self._sent.clear()
        self.refused += part.refused
        arrived = self._unseen(part.good)
        records: list[Record] = []
        if self._repeats is not None:
            arrived, decisions = self._decide(arrived, self._repeats)
            records += decisions
        comparisons = self._settle_sides(arrived)
        arrived = [one for one in arrived if one.swapped is not None]
        records += self._new_prompts(arrived)
        records += self._new_answers(arrived)
        casts = [cast(one, self.source) for one in arrived]
        self.finish()
        if self._others_came():
            comparisons = self._settle_sides(arrived)
            casts = [cast(one, self.source) for one in arrived if one.swapped is not None]
        self._store([*records, *comparisons], self._fresh(casts))

    def finish(self) -> bool:
        """Wait for what is being stored and count what became of it; say whether there was any."""
        if self._storing is None:
            return False
        (casts, added, answers), self._storing = self._storing.result(), None
        self._on_the_way = set()
        self._comparisons += added.get(Comparison, 0)
        for one, answer in zip(casts, answers, strict=True):
            self._count(one, answer)
        return True

    def _others_came(self) -> bool:
        """Say whether somebody else added comparisons since the last time, while nothing is on the
        way: they may be this part's, with their sides the other way round."""
        there, known = self._data.count(Comparison), self._comparisons
        self._comparisons = there
        return there != known

    def so_far(self) -> str:
        """Return in words how far it is."""
        return f"{self.read:,} rows read, {self.stored:,} stored"

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
        """Return the ids of comparisons, votes or ratings; those on the way have arrived then."""
        if not self._on_the_way.isdisjoint(ids):
            self.finish()
        return ids

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
        """Let a part be stored."""
        labelers = {one.event.labeler for one in casts} - self._labelers
        self._labelers |= labelers
        people = [Labeler(name, "import") for name in sorted(labelers)]
        extras = [one for cast in casts if cast.extra for one in _extra(cast)]
        rows = [*records, *people, *(one.place for one in casts), *extras]
        self._storing = self._thread.submit(_stored, self._data, rows, casts)
        self._on_the_way = {id for one in casts for id in (one.event.id, _item(one.event))}

    def _count(self, one: Cast, answer: Receipt | UserError) -> None:
        if isinstance(answer, StoreError):
            raise answer
        if isinstance(answer, UserError):
            self.refused.append(Refused(one.row, str(answer)))
        elif answer.repeated:
            self.duplicates += 1
        else:
            self.stored += 1


def _extra(one: Cast) -> tuple[Text, Extra]:
    """Return what keeps the other fields of a row."""
    text = Text.of(one.extra)
    return text, Extra(one.event.id, text.id)


def _item(event: Vote | Rating) -> str:
    return event.comparison if isinstance(event, Vote) else event.response
