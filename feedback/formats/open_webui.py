"""Open WebUI's export of feedback (a JSON list): thumbs, and wins over the answers beside.

    user_id, created_at     who judged, and when, in seconds since 1970
    data                    {"rating": 1 or -1, "model_id", "sibling_model_ids", …}
    meta                    {"message_id", …}: the answer that was judged
    snapshot                {"chat": …} with "history": {"messages": {id: message}}, a message being
                            {"role", "content", "parentId", "model"}

A thumb on one of several answers to the same message counts as won (1) or lost (-1) against each
answer of `sibling_model_ids`, as Open WebUI's own leaderboard counts it: those are votes, where
both texts are in the snapshot. Every other thumb is a rating of its answer. The other fields, those
of `data` and `meta` too (reason, comment, tags), are kept; the snapshot, the whole chat once more
for each thumb, is not.
Source: Open WebUI, `models/feedbacks.py` and its evaluations' leaderboard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from feedback.formats import files
from feedback.formats.rows import (
    UNKNOWN,
    Answer,
    Fields,
    RatingRow,
    Raw,
    Refused,
    Row,
    VoteRow,
    content_of,
    list_of,
    moment_of_seconds,
    name_text,
    object_of,
)
from feedback.formats.unknown import besides, kept
from feedback.texts import check_messages
from storage.errors import BadInput
from storage.records import Message

KNOWN = ("user_id", "created_at", "data", "meta", "snapshot")
OF_DATA = ("rating", "model_id", "sibling_model_ids")
OF_META = ("message_id",)

Messages = Mapping[str, Any]


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return {"data", "meta", "snapshot"} <= set(columns)


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the file's feedback as votes and ratings."""
    return files.read_each(path, _rows_of, looks, "open-webui needs data, meta and snapshot")


def _rows_of(raw: Raw) -> Iterator[Row]:
    data = object_of(raw.fields.get("data"), "data")
    rating = str(data.get("rating"))
    if rating not in ("1", "-1"):
        raise BadInput(f"rating is {rating[:40]!r}; only thumbs, 1 and -1, are read")
    meta = object_of(raw.fields.get("meta"), "meta")
    messages, id = _messages(raw.fields), str(meta.get("message_id"))
    prompt = _prompt(messages, id)
    judged = messages[id]
    answer = Answer(_text(judged), name_text(data.get("model_id"), "model_id", UNKNOWN))
    labeler = name_text(raw.fields.get("user_id"), "user_id", UNKNOWN)
    beside = _beside(messages, id, data)
    when = moment_of_seconds(raw.fields.get("created_at"), "created_at")
    others = {
        **besides(raw.fields, KNOWN), "data": besides(data, OF_DATA), "meta": besides(meta, OF_META)
    }  # fmt: skip
    for other in beside:
        said = "a" if rating == "1" else "b"
        vote = VoteRow(raw.row, prompt, answer, other, said, labeler, created_at=when)
        yield kept(vote, others)
    if not beside:
        thumb = "up" if rating == "1" else "down"
        yield kept(RatingRow(raw.row, prompt, answer, thumb, labeler), others)


def _messages(fields: Fields) -> Messages:
    """Return the snapshot's messages by their ids."""
    chat = object_of(object_of(fields.get("snapshot"), "snapshot").get("chat"), "snapshot.chat")
    inner = chat.get("chat", chat)  # the stored chat around the chat itself
    history = object_of(object_of(inner, "chat.chat").get("history"), "the chat's history")
    found = object_of(history.get("messages"), "history.messages")
    return {id: object_of(message, f"the message {id[:40]}") for id, message in found.items()}


def _prompt(messages: Messages, id: str) -> tuple[Message, ...]:
    """Return the conversation that leads to a message, without it."""
    if id not in messages:
        raise BadInput(f"the judged message {id[:40]!r} is not in the snapshot; export it again")
    talk: list[Message] = []
    seen = {id}
    parent = messages[id].get("parentId")
    while parent is not None:
        if not isinstance(parent, str) or parent in seen or parent not in messages:
            raise BadInput(f"the message before, {str(parent)[:40]!r}, is not in the snapshot")
        seen.add(parent)
        talk.append({"role": str(messages[parent].get("role")), "content": _text(messages[parent])})
        parent = messages[parent].get("parentId")
    return tuple(check_messages(talk[::-1]))


def _beside(messages: Messages, id: str, data: Mapping[str, Any]) -> list[Answer]:
    """Return the other models' answers to the same message that the judged one was rated against.

    One other answer and one other model belong together, whatever name the answer has: in Open
    WebUI's arena it is hidden there.
    """
    models = [str(one) for one in list_of(data.get("sibling_model_ids") or [], "sibling_model_ids")]
    parent = messages[id].get("parentId")
    others = [
        message
        for other, message in messages.items()
        if other != id and message.get("parentId") == parent and message.get("content")
    ]
    if len(others) == len(models) == 1:
        return [Answer(_text(others[0]), name_text(models[0], "sibling_model_ids"))]
    return [
        Answer(_text(message), name_text(message.get("model"), "model"))
        for message in others
        if message.get("model") in models
    ]


def _text(message: Mapping[str, Any]) -> str:
    return content_of(message.get("content"), "content")
