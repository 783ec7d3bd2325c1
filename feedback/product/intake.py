"""Store what a product sends, many at once: one look-up of what is there, one commit of the rest.

Each item gets an answer of its own. What is stored under an id stays: the same again gets the same
answer, something else a `Conflict`. An event of a product is no answer to an assignment, so its
assignment is its own id; only a comparison has a row there, to keep the sides.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from feedback.campaigns import DEFAULT
from feedback.items import (
    NewResponse,
    add_comparisons,
    add_prompts,
    add_responses,
    flipped,
)
from feedback.product.bodies import Choice, Correction, Item, Shown, Thumb
from feedback.product.pseudonyms import Pseudonyms
from feedback.queue import PLAIN
from feedback.values import shown
from storage.errors import BadInput, Conflict, NotFound, StoreError, UserError
from storage.records import (
    ANONYMOUS,
    PRODUCT,
    Assignment,
    Edit,
    Event,
    Logged,
    Prompt,
    Rating,
    Receipt,
    Response,
    Text,
    Vote,
    digest,
    named_uuid,
)
from storage.store import Store

Answer = Receipt | UserError
Said = Thumb | Choice | Correction
NAMESPACE = uuid.UUID("b8d1f3a2-6c0e-4f57-9a51-2f7f0f9f8d43")  # ours; ids of a product's events
_SWAP = {"a": "b", "b": "a"}
_KINDS: Mapping[type, str] = {Thumb: "feedback", Choice: "comparison", Correction: "correction"}


class Intake:
    """The way of a product's items into one data folder."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = Pseudonyms(store.data)

    def take(self, items: Sequence[Item]) -> list[Answer]:
        """Store the items in their order; return the answer of each once it is durable.

        Raises:
            StoreError: not all could be stored; sent again, those that were get the same answer.
        """
        answers = self._log([one for item in items for one in _along(item)])
        said = [item for item in items if not isinstance(item, Shown)]
        refused = {
            id(item): why
            for item in said
            for one in item.shown
            if isinstance(why := answers[id(one)], UserError)
        }
        going = [item for item in said if id(item) not in refused]
        events, found = self._events(going)
        stored = dict(zip(map(id, going), self._append(going, events, found), strict=True))
        done = {**refused, **stored}
        return [(answers if isinstance(item, Shown) else done)[id(item)] for item in items]

    # Responses that were shown

    def _log(self, shown: Sequence[Shown]) -> dict[int, Answer]:
        """Log the responses that are new; return what became of each, by id()."""
        if not shown:
            return {}
        known = self._store.found(Logged, [one.id for one in shown])
        answers: dict[int, Answer] = {}
        fresh: list[Shown] = []
        rows: list[Logged] = []
        for one in shown:
            row = self._row(one)
            before = known.setdefault(one.id, row)
            is_new = before is row
            if is_new:
                fresh.append(one)
                rows.append(row)
            answers[id(one)] = Receipt(one.id, not is_new) if _fits(before, row) else _other(one.id)
        if fresh:
            self._add(fresh)
            self._store.add(rows)
        return answers

    def _row(self, one: Shown) -> Logged:
        id = Response.id_of(Prompt.id_of(one.prompt), digest(one.text), one.model)
        return Logged(one.id, id, self._names.of(one.user))

    def _add(self, fresh: Sequence[Shown]) -> None:
        prompts = add_prompts(self._store, [one.prompt for one in fresh], PRODUCT)
        add_responses(
            self._store,
            [
                NewResponse(prompt.id, one.text, one.model, source=PRODUCT)
                for one, prompt in zip(fresh, prompts, strict=True)
            ],
        )

    # What was said about them

    def _events(self, said: Sequence[Said]) -> tuple[dict[int, Event], dict[int, UserError]]:
        """Return the events of those that can be stored and the refusals of the others, by id()."""
        ids = [id for item in said for id in _named(item)]
        logged = self._store.found(Logged, ids)
        refused: dict[int, UserError] = {}
        whole: list[Said] = []
        for item in said:
            missing = [id for id in _named(item) if id not in logged]
            if missing:
                refused[id(item)] = _not_logged(missing[0])
            else:
                whole.append(item)
        responses = {id: one.response for id, one in logged.items()}
        events: dict[int, Event] = {
            id(item): self._rating(item, responses[item.response])
            for item in whole
            if isinstance(item, Thumb)
        }
        self._compare([one for one in whole if isinstance(one, Choice)], responses, events, refused)
        self._correct(
            [one for one in whole if isinstance(one, Correction)], responses, events, refused
        )
        return events, refused

    def _rating(self, item: Thumb, response: str) -> Rating:
        event = _event_id(item)
        return Rating(
            id=event,
            assignment=event,
            revision=0,
            response=response,
            labeler=self._names.of(item.user),
            verdict=item.verdict,
            reasons=item.reasons,
            comment=Text.of(item.comment).id if item.comment else "",
            source=PRODUCT,
        )

    def _compare(
        self,
        items: Sequence[Choice],
        responses: Mapping[str, str],
        events: dict[int, Event],
        refused: dict[int, UserError],
    ) -> None:
        """Add the comparisons and their assignments; note the votes."""
        if not items:
            return
        known = self._store.found(
            Response, [responses[id] for one in items for id in (one.a, one.b)]
        )
        sides = {id(one): (known[responses[one.a]], known[responses[one.b]]) for one in items}
        alike = [one for one in items if len({side.prompt for side in sides[id(one)]}) == 1]
        for one in items:
            if one not in alike:
                refused[id(one)] = BadInput(
                    f"{shown(one.a)} and {shown(one.b)} answer different prompts: "
                    "compare two answers to the same one."
                )
        made = add_comparisons(self._store, [sides[id(one)] for one in alike], PRODUCT)
        stood = self._store.found(Response, [side for one in made for side in (one.a, one.b)])
        places: list[Assignment] = []
        for one, comparison in zip(alike, made, strict=True):
            turned = flipped(stood[comparison.a], stood[comparison.b], *sides[id(one)])
            vote = self._vote(one, comparison.id, _turned(one.verdict, turned))
            events[id(one)] = vote
            left = _turned(one.left, turned)
            places.append(
                Assignment(vote.id, DEFAULT, vote.labeler, comparison.id, "", left, PLAIN, PRODUCT)
            )
        self._store.add(places)

    def _vote(self, item: Choice, comparison: str, verdict: str) -> Vote:
        event = _event_id(item)
        return Vote(
            id=event,
            assignment=event,
            revision=0,
            comparison=comparison,
            labeler=self._names.of(item.user),
            verdict=verdict,
            reasons=item.reasons,
            comment=Text.of(item.comment).id if item.comment else "",
            source=PRODUCT,
        )

    def _correct(
        self,
        items: Sequence[Correction],
        responses: Mapping[str, str],
        events: dict[int, Event],
        refused: dict[int, UserError],
    ) -> None:
        """Note the edits, and add the corrected responses of those whose id is new.

        No edit would tell whose a refused one's text is.
        """
        if not items:
            return
        originals = self._store.found(Response, [responses[one.response] for one in items])
        fresh: dict[str, NewResponse] = {}  # by their edits' ids, the first of each
        for one in items:
            original = originals[responses[one.response]]
            if digest(one.text) == original.text:
                refused[id(one)] = BadInput(
                    f"text is what response {shown(one.response)} says already: send the "
                    "corrected one."
                )
                continue
            event = _event_id(one)
            written = NewResponse(original.prompt, one.text, "human", finished=True, source="edit")
            events[id(one)] = Edit(
                id=event,
                assignment=event,
                revision=0,
                original=original.id,
                corrected=written.id(),
                labeler=self._names.of(one.user),
                source=PRODUCT,
            )
            fresh.setdefault(event, written)
        known = self._store.found(Edit, fresh)
        add_responses(self._store, [fresh[event] for event in fresh if event not in known])

    def _append(
        self, items: Sequence[Said], events: Mapping[int, Event], refused: Mapping[int, UserError]
    ) -> list[Answer]:
        """Store the events; return the answer of each item."""
        going = [item for item in items if id(item) in events]
        comments = [item.comment for item in going if not isinstance(item, Correction)]
        texts = [Text.of(comment) for comment in filter(None, comments)]
        got = self._store.append_many([events[id(item)] for item in going], texts)
        if trouble := next((one for one in got if isinstance(one, StoreError)), None):
            raise trouble
        answers = dict(zip(map(id, going), got, strict=True))
        self._check_same(going, events, answers)
        return [answers.get(id(item)) or refused[id(item)] for item in items]

    def _check_same(
        self, items: Sequence[Said], events: Mapping[int, Event], answers: dict[int, Answer]
    ) -> None:
        """Answer each item whose id was known by whether it says what is stored."""
        again = [
            item
            for item in items
            if isinstance(answer := answers[id(item)], Receipt) and answer.repeated
        ]
        if not again:
            return
        stored: dict[str, Event] = {}
        for kind in {type(events[id(item)]) for item in again}:
            ids = [events[id(item)].id for item in again]
            stored |= {one.id: one for one in self._store.rows(kind, assignment=ids)}
        for item in again:
            event = events[id(item)]
            if _says(stored[event.id]) != _says(event):
                answers[id(item)] = _other(item.id)


def needs_prompts(items: Sequence[Item]) -> bool:
    """Say whether something is to be logged, which waits while a file is imported."""
    return any(isinstance(item, Shown) or item.shown for item in items)


def _along(item: Item) -> tuple[Shown, ...]:
    return (item,) if isinstance(item, Shown) else item.shown


def _named(item: Said) -> tuple[str, ...]:
    return (item.a, item.b) if isinstance(item, Choice) else (item.response,)


def _event_id(item: Said) -> str:
    """Return the one UUID of what a product calls by an id."""
    return named_uuid(NAMESPACE, f"{_KINDS[type(item)]} {item.id}")


def _fits(before: Logged, row: Logged) -> bool:
    """Say whether a response is the one that is logged; who saw it may be said later or never."""
    people = {before.labeler, row.labeler} - {ANONYMOUS}
    return before.response == row.response and len(people) < 2


def _turned(side: str, turned: bool | None) -> str:
    return _SWAP.get(side, side) if turned else side


def _says(event: Any) -> tuple[Any, ...]:
    """Return what two events with one id have to share: all but when they came."""
    if isinstance(event, Edit):
        return event.original, event.corrected, event.labeler
    item = event.comparison if isinstance(event, Vote) else event.response
    return item, event.labeler, event.verdict, event.reasons, event.comment


def _other(id: str) -> Conflict:
    return Conflict(f"the id {shown(id)} is stored already and says something else: use a new id.")


def _not_logged(id: str) -> NotFound:
    return NotFound(
        f"there is no response {shown(id)}: log it first, or send prompt, response and model along."
    )
