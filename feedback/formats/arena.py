"""Battles of two models as Chatbot Arena and MT-bench publish them (JSON, JSONL, Parquet).

    model_a, model_b                    who answered
    conversation_a, conversation_b      message lists; the last answers are what is compared
    winner                              model_a, model_b, tie, tie (bothbad)
    judge, or judge_hash                who voted
    turn                                optional: after how many of the user's messages
    tstamp                              optional: when, in seconds since 1970
    anony                               optional: of battles in the arena, which shows a on the left

A battle of several turns is taken only where both models were asked the very same; else the two
answers answer different prompts.
Source: FastChat, `clean_battle_data.py`; lmsys/mt_bench_human_judgments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from feedback.formats import files
from feedback.formats.rows import (
    UNKNOWN,
    Answer,
    Fields,
    Raw,
    Refused,
    Row,
    VoteRow,
    conversation_of,
    list_of,
    moment_of_seconds,
    name_text,
    one_of,
)
from storage.errors import BadInput
from storage.records import Message

WINNERS = {"model_a": "a", "model_b": "b", "tie": "tie", "tie (bothbad)": "both_bad"}
NEEDED = {"winner", "conversation_a", "conversation_b"}
KNOWN = {*NEEDED, "model_a", "model_b", "judge", "judge_hash", "tstamp"}


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return set(columns) >= NEEDED


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the file's battles as votes."""
    needs = "arena needs winner, conversation_a and conversation_b"
    return files.read_each(path, _votes_of, looks, needs, known=KNOWN)


def _votes_of(raw: Raw) -> Iterator[VoteRow]:
    fields = raw.fields
    winner = one_of(fields.get("winner"), "winner", tuple(WINNERS))
    prompt, a = _judged(fields, "a")
    other, b = _judged(fields, "b")
    if prompt != other:
        raise BadInput(
            "the conversations differ before the last answer, so the two answers answer different "
            "prompts; only their first turns could be compared"
        )
    yield VoteRow(
        row=raw.row,
        prompt=prompt,
        a=Answer(a, name_text(fields.get("model_a"), "model_a", UNKNOWN)),
        b=Answer(b, name_text(fields.get("model_b"), "model_b", UNKNOWN)),
        verdict=WINNERS[winner],
        labeler=name_text(fields.get("judge") or fields.get("judge_hash"), "judge", UNKNOWN),
        left="a" if fields.get("anony") is not None else "",
        created_at=moment_of_seconds(fields.get("tstamp"), "tstamp"),
    )


def _judged(fields: Fields, side: str) -> tuple[tuple[Message, ...], str]:
    """Return the prompt and the answer of a conversation up to the turn that was judged."""
    name = f"conversation_{side}"
    messages, turn = list_of(fields.get(name), name), fields.get("turn")
    if isinstance(turn, int) and turn > 0:
        messages = messages[: 2 * turn]
    return conversation_of(messages, name)
