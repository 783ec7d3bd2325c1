"""What a file's row becomes in the store: the ids and records of one arrival (pure).

Ids are made from what the row says, so that the same row always becomes the same vote. Ids that the
file gives are taken as they are where they can be.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import NamedTuple

from feedback.formats.rows import Answer, RatingRow, Refused, Row, VoteRow
from feedback.items import comparison_id, prompt_id
from feedback.queue import PLAIN
from storage.records import (
    Assignment,
    Rating,
    Response,
    Text,
    Vote,
    canonical_messages,
    digest,
    now,
)

NAMESPACE = uuid.UUID("5e0c4d3f-58a1-4f3c-9d0b-6c1f7f7f3a10")  # ours; ids of imported events
CAMPAIGN = "default"
_PLAIN_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")
_SWAP = {"a": "b", "b": "a"}


@dataclass(slots=True)
class Placed:
    """A row on its way into the store: the ids that it will have."""

    row: Row
    prompt: str
    asked: Text  # of the prompt
    a: Response  # as it would be stored; for a rating, the rated one
    b: Response | None  # None for a rating
    item: str  # id of the comparison; for a rating, of the response
    event: str  # id of the vote or rating
    named: bool  # the file gave the vote an id, so the id alone does not say what it says
    swapped: bool | None = False  # is the comparison stored the other way round? None: as another


class Part(NamedTuple):
    """Rows that come in together."""

    refused: list[Refused]
    good: list[Placed]


@dataclass(frozen=True, slots=True)
class Cast:
    """An event, the assignment that it answers, and the row that both come from."""

    row: int
    named: bool
    event: Vote | Rating
    place: Assignment
    extra: str = ""  # the row's other fields, as JSON


def placed(row: Row, source: str) -> Placed:
    """Return the ids of what a row judges."""
    asked = Text.of(canonical_messages(row.prompt))
    prompt = prompt_id(asked)
    if isinstance(row, RatingRow):
        a = _response(prompt, row.answer, source)
        event = event_uuid("rating", a.id, row.labeler, row.verdict)
        return Placed(row, prompt, asked, a, None, a.id, event, False)
    a, b = _response(prompt, row.a, source), _response(prompt, row.b, source)
    content = comparison_id(a, b)
    item = _item_id(row.comparison) or content
    event = _event_id(row.id) or _vote_id(row, item, content, (a, b))
    return Placed(row, prompt, asked, a, b, item, event, bool(row.id))


def cast(one: Placed, source: str) -> Cast:
    """Return what a row says about its item, in the stored comparison's own terms."""
    row = one.row
    event = _vote(one, row, source) if isinstance(row, VoteRow) else _rating(one, row, source)
    place = Assignment(
        id=event.assignment,
        campaign=CAMPAIGN,
        labeler=event.labeler,
        comparison=one.item if isinstance(event, Vote) else "",
        response="" if isinstance(event, Vote) else one.item,
        left=_turned(one, row.left) if isinstance(row, VoteRow) else "",
        kind=row.kind if isinstance(row, VoteRow) else PLAIN,
        source=source,
        created_at=event.created_at,
    )
    return Cast(row.row, one.named, event, place, row.extra)


def says(event: Vote | Rating) -> tuple[str, str, str]:
    """Return what two events with one id have to share."""
    item = event.comparison if isinstance(event, Vote) else event.response
    return item, event.labeler, event.verdict


def event_uuid(*parts: str) -> str:
    """Return the one UUID of these parts: `uuid.uuid5`'s, in a quarter of its time."""
    name = NAMESPACE.bytes + digest(*parts).encode()
    found = hashlib.sha1(name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(found[16], 16) & 3]
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{variant}{found[17:20]}-{found[20:32]}"


def _response(prompt: str, answer: Answer, source: str) -> Response:
    text = digest(answer.text)
    id = Response.id_of(prompt, text, answer.model)
    return Response(id, prompt, text, answer.model, "", {}, None, None, source)


def _turned(one: Placed, side: str) -> str:
    return _SWAP.get(side, side) if one.swapped else side


def _vote_id(row: VoteRow, item: str, content: str, sides: tuple[Response, Response]) -> str:
    """Return the id of a vote that has none: what it says, whichever answer is called a."""
    a, b = ((side.text, side.model) for side in sides)
    verdict, left = row.verdict, row.left
    if b < a:
        verdict, left = _SWAP.get(verdict, verdict), _SWAP.get(left, left)
    when = row.created_at.isoformat() if row.created_at else ""
    asked = () if row.kind == PLAIN else (row.kind,)  # ids of plain votes are those of old
    return event_uuid("vote", item, content, row.labeler, verdict, left, when, *asked)


def _vote(one: Placed, row: VoteRow, source: str) -> Vote:
    return Vote(
        id=one.event,
        assignment=event_uuid("assignment", one.event),
        revision=0,
        comparison=one.item,
        labeler=row.labeler,
        verdict=_turned(one, row.verdict),
        source=source,
        created_at=row.created_at or now(),
    )


def _rating(one: Placed, row: RatingRow, source: str) -> Rating:
    return Rating(
        id=one.event,
        assignment=event_uuid("assignment", one.event),
        revision=0,
        response=one.item,
        labeler=row.labeler,
        verdict=row.verdict,
        source=source,
    )


def _event_id(id: str) -> str:
    """Return the vote id that a file's id stands for: itself if it is a UUID; "" for ""."""
    if not id:
        return ""
    try:
        return str(uuid.UUID(id))
    except ValueError:
        return event_uuid("id", id)


def _item_id(id: str) -> str:
    """Return the comparison id that a file's id stands for: itself if it is a plain word."""
    return id if not id or _PLAIN_ID.fullmatch(id) else "c_" + digest("id", id, length=20)
