"""Verdicts that come at the same time: looked at one by one, written together.

One thread does it for all. With a thread for each, sixteen waited for the same commit and then for
each other at the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from feedback.campaigns import sign_in
from storage.errors import UserError
from storage.records import Rating, Receipt, Text, Vote
from storage.store import Store

EventOf = Callable[..., tuple[Vote | Rating, list[Text]]]  # `votes.vote_of` or `votes.rating_of`


class Said(NamedTuple):
    """A verdict as it was sent."""

    name: str  # of the labeler
    event_of: EventOf
    values: dict[str, Any]  # what `event_of` takes


class Begun(NamedTuple):
    """A verdict that can be stored."""

    labeler: str
    event: Vote | Rating
    texts: list[Text]


class Kept(NamedTuple):
    """A verdict that is durable."""

    labeler: str
    verdict: str
    receipt: Receipt


def keep_all(store: Store, said: Sequence[Said]) -> list[Kept | Exception]:
    """Keep verdicts; return each once it is durable, or what is to be raised for it alone."""
    begun = [_begun(store, one) for one in said]
    good = [one for one in begun if isinstance(one, Begun)]
    texts = [text for one in good for text in one.texts]
    got = iter(store.append_many([one.event for one in good], texts))
    return [_kept(one, next(got)) if isinstance(one, Begun) else one for one in begun]


def _begun(store: Store, said: Said) -> Begun | Exception:
    try:
        labeler = sign_in(store, said.name).id
        return Begun(labeler, *said.event_of(store, labeler, **said.values))
    except Exception as error:  # noqa: BLE001  (each is answered for itself)
        return error


def _kept(begun: Begun, got: Receipt | UserError) -> Kept | Exception:
    return got if isinstance(got, UserError) else Kept(begun.labeler, begun.event.verdict, got)
