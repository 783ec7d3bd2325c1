"""What a product sends, each checked by one function that returns it or refuses it (pure).

Ids are the product's own words for its responses and for what was said about them. A field that is
not known is refused, for it is a typing error that would otherwise be lost in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from feedback.texts import check_messages, check_text
from feedback.values import one_of, plain_text, several_of, shown
from feedback.votes import MAX_COMMENT_CHARS, MAX_EDIT_CHARS, REASONS
from storage.errors import BadInput
from storage.records import Message

MAX_ID_CHARS = 200
MAX_MODEL_CHARS = 500
THUMBS = {"up": "up", "down": "down", "none": "skip"}  # as a product says it, as it is stored
CHOICES = ("a", "b", "tie", "both_bad")
LEFT = ("a", "b", "")


@dataclass(frozen=True, slots=True)
class Shown:
    """A response as a product showed it."""

    id: str
    prompt: tuple[Message, ...]
    text: str
    model: str
    user: str = ""  # whom it was shown to, as the product calls them


@dataclass(frozen=True, slots=True)
class Thumb:
    id: str
    response: str  # Shown.id
    verdict: str  # one of the values of THUMBS
    user: str
    reasons: tuple[str, ...]
    comment: str
    shown: tuple[Shown, ...]  # what came along and is to be logged first


@dataclass(frozen=True, slots=True)
class Choice:
    id: str
    a: str  # Shown.id
    b: str
    verdict: str  # one of CHOICES
    left: str  # which of them stood on the left or came first; "" where nobody knows
    user: str
    reasons: tuple[str, ...]
    comment: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Correction:
    id: str
    response: str  # Shown.id
    text: str
    user: str
    shown: tuple[Shown, ...]


MAY_BE_NULL = frozenset({"user", "reasons", "comment", "left"})  # as good as left out

Item = Shown | Thumb | Choice | Correction

_WHO = frozenset({"id", "user"})
_SAID = _WHO | {"verdict", "reasons", "comment"}
_ALONG = frozenset({"prompt", "response", "model"})
SHOWN_FIELDS = _WHO | _ALONG
THUMB_FIELDS = _SAID | _ALONG | {"response_id"}
CHOICE_FIELDS = _SAID | {
    "a", "b", "left", "prompt", "response_a", "response_b", "model_a", "model_b",
}  # fmt: skip
CORRECTION_FIELDS = _WHO | _ALONG | {"response_id", "text"}


def response(value: object) -> Shown:
    """Return a response to be logged."""
    said = _fields(value, SHOWN_FIELDS, ("id", *_ALONG))
    return _shown(said, _id(said, "id"), _user(said))


def thumb(value: object) -> Thumb:
    """Return a thumb on a response, and the response if it comes along."""
    said = _fields(value, THUMB_FIELDS, ("id", "response_id", "verdict"))
    verdict, id, user = said["verdict"], _id(said, "response_id"), _user(said)
    one_of(verdict, tuple(THUMBS), "verdict")
    along = (_shown(said, id, user),) if said.keys() & _ALONG else ()
    return Thumb(_id(said, "id"), id, THUMBS[verdict], user, _reasons(said), _comment(said), along)


def choice(value: object) -> Choice:
    """Return which of two responses somebody took, and the responses if they come along."""
    said = _fields(value, CHOICE_FIELDS, ("id", "a", "b", "verdict"))
    one_of(said["verdict"], CHOICES, "verdict")
    one_of(left := said.get("left") or "", LEFT, "left")
    a, b, user = _id(said, "a"), _id(said, "b"), _user(said)
    if a == b:
        raise BadInput(f"a and b are both {shown(a)}: two responses are compared.")
    along = tuple(
        _shown(said, id, user, f"_{side}")
        for side, id in (("a", a), ("b", b))
        if f"response_{side}" in said or f"model_{side}" in said
    )
    if "prompt" in said and not along:
        raise BadInput("prompt comes without response_a or response_b: send them, or leave it out.")
    return Choice(
        _id(said, "id"), a, b, said["verdict"], left, user, _reasons(said), _comment(said), along
    )


def correction(value: object) -> Correction:
    """Return a corrected response, and the original if it comes along."""
    said = _fields(value, CORRECTION_FIELDS, ("id", "response_id", "text"))
    id, user = _id(said, "response_id"), _user(said)
    text = plain_text(said["text"], "text", MAX_EDIT_CHARS)
    if not text.strip():
        raise BadInput("text is empty: send the corrected response.")
    along = (_shown(said, id, user),) if said.keys() & _ALONG else ()
    return Correction(_id(said, "id"), id, text, user, along)


Parse = Callable[[object], Item]


def _fields(value: object, known: frozenset[str], needed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"an item is {shown(value)}: send a JSON object.")
    if value.keys() - known:
        odd = min(value.keys() - known)
        raise BadInput(
            f"{shown(odd)} is not a field here: leave it out, or use one of "
            f"{', '.join(sorted(known))}."
        )
    for name in needed:
        if value.get(name) is None:
            raise BadInput(f"{name} is missing: send it.")
    return {name: one for name, one in value.items() if one is not None or name not in MAY_BE_NULL}


def _id(said: Mapping[str, Any], name: str) -> str:
    id = said[name]
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_CHARS or not id.isprintable():
        raise BadInput(
            f"{name} is {shown(id)}: use 1 to {MAX_ID_CHARS} characters without line breaks."
        )
    return id


def _user(said: Mapping[str, Any]) -> str:
    return _id(said, "user") if "user" in said else ""


def _reasons(said: Mapping[str, Any]) -> tuple[str, ...]:
    return several_of(said["reasons"], REASONS, "reasons") if "reasons" in said else ()


def _comment(said: Mapping[str, Any]) -> str:
    return plain_text(said.get("comment", ""), "comment", MAX_COMMENT_CHARS).strip()


def _shown(said: Mapping[str, Any], id: str, user: str, side: str = "") -> Shown:
    for name in ("prompt", f"response{side}", f"model{side}"):
        if name not in said:
            raise BadInput(f"{name} is missing: send it with the other parts of response {id!r}.")
    model = plain_text(said[f"model{side}"], f"model{side}", MAX_MODEL_CHARS)
    if not model.strip() or not model.isprintable():
        raise BadInput(f"model{side} is {shown(model)}: name the model that answered.")
    text = check_text(said[f"response{side}"], f"response{side}")
    return Shown(id, _prompt(said["prompt"]), text, model, user)


def _prompt(value: object) -> tuple[Message, ...]:
    """Return the prompt that a text or a list of messages is."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise BadInput(f"prompt is {shown(value)}: send a text, or a list of messages.")
    return tuple(check_messages(value))
