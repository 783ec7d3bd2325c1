"""OpenAssistant's message trees (.jsonl or .jsonl.gz), read as the votes that their ranks imply.

    message_tree_id, tree_state
    prompt          a message {"text", "role", "rank", "synthetic", "model_name", "deleted",
                    "replies": [message, …], …}; role is prompter or assistant

Ranked answers to the same message are compared two by two; a smaller rank is better. Ranks are a
consensus of many people, so no labeler is named. Deleted messages, and what hangs on them, are left
out. The tree's other fields are kept with each vote, and under `a` and `b` those of the two answers
(labels, emojis, language). Source: Open-Assistant, `oasst-data/oasst_data/schemas.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from feedback.formats import files
from feedback.formats.rankings import MOST
from feedback.formats.rows import (
    UNKNOWN,
    Answer,
    Fields,
    Raw,
    Refused,
    Row,
    VoteRow,
    list_of,
    name_text,
    object_of,
)
from feedback.formats.unknown import besides, kept
from feedback.texts import check_messages, check_text
from storage.errors import BadInput
from storage.records import Message

OF_MESSAGE = ("text", "role", "rank", "synthetic", "model_name", "deleted", "replies")
ROLES = {"prompter": "user", "assistant": "assistant"}


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return {"message_tree_id", "prompt"} <= set(columns)


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the votes that the file's trees imply, tree by tree."""
    needs = "openassistant needs message_tree_id and prompt"
    return files.read_each(path, _votes_of, looks, needs)


def _votes_of(raw: Raw) -> Iterator[Row]:
    found = False
    tree = besides(raw.fields, ["prompt"])
    for talk, answers in _ranked(object_of(raw.fields.get("prompt"), "prompt")):
        prompt = tuple(check_messages(talk))
        if len(answers) > MOST:
            raise BadInput(f"a message has {len(answers)} ranked answers; at most {MOST} are read")
        for one, other in combinations(sorted(answers, key=lambda a: a.rank), 2):
            found = True
            said = "tie" if one.rank == other.rank else "a"
            vote = VoteRow(raw.row, prompt, one.answer, other.answer, said)
            yield kept(vote, {**tree, "a": one.others, "b": other.others})
    if not found:
        raise BadInput("no message of the tree has two ranked answers; there is nothing to compare")


class _Ranked(NamedTuple):
    """An answer, its rank, and the other fields of its message."""

    rank: int
    answer: Answer
    others: Fields


def _ranked(root: Mapping[str, Any]) -> Iterator[tuple[list[Message], list[_Ranked]]]:
    """Yield each prompter's message, as a conversation, with its ranked answers."""
    open_: list[tuple[list[Message], Mapping[str, Any]]] = [([], root)]
    while open_:
        before, node = open_.pop()
        if node.get("deleted") is True:
            continue
        talk = [*before, _message(node)]
        replies = [
            object_of(one, "a reply") for one in list_of(node.get("replies") or [], "replies")
        ]
        open_ += [(talk, reply) for reply in reversed(replies)]
        if talk[-1]["role"] == "user":
            yield (
                talk,
                [
                    _Ranked(_rank(one), _answer(one), besides(one, OF_MESSAGE))
                    for one in replies
                    if _is_ranked(one)
                ],
            )


def _message(node: Mapping[str, Any]) -> Message:
    role = node.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise BadInput(f"a message has the role {str(role)[:40]!r}; there are {list(ROLES)}")
    return {"role": ROLES[role], "content": check_text(node.get("text"), "text")}


def _is_ranked(node: Mapping[str, Any]) -> bool:
    return node.get("rank") is not None and node.get("deleted") is not True


def _rank(node: Mapping[str, Any]) -> int:
    rank = node["rank"]
    if isinstance(rank, bool) or not isinstance(rank, int):
        raise BadInput(f"rank is {str(rank)[:40]!r}; it has to be a whole number")
    return rank


def _answer(node: Mapping[str, Any]) -> Answer:
    model = node.get("model_name") if node.get("synthetic") is True else None
    return Answer(_message(node)["content"], name_text(model, "model_name", UNKNOWN))
