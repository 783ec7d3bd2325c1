"""Rows on their way from the process that reads a file to the one that stores them, as JSON. Pure.

The reader has met the file, so nothing that it says is believed: `row_from` checks every value
again, as if it came from a stranger.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from feedback.formats.rows import Answer, RatingRow, Refused, Row, VoteRow, moment_of, name_text
from feedback.formats.unknown import MAX_EXTRA
from feedback.formats.votes import JUDGED, KINDS
from feedback.texts import MAX_CHARS, check_messages, check_text
from storage.errors import BadInput
from storage.records import Message

MAX_WHY = 500  # characters of a reason
VOTE, RATING, REFUSED = "v", "r", "x"


def row_of(row: Row | Refused) -> list[Any]:
    """Return a row as JSON has it."""
    if isinstance(row, Refused):
        return [REFUSED, row.row, row.why[:MAX_WHY]]
    prompt = [[message["role"], message["content"]] for message in row.prompt]
    if isinstance(row, RatingRow):
        answer = row.answer
        return [
            RATING, row.row, prompt, answer.text, answer.model, row.verdict, row.labeler, row.extra,
        ]  # fmt: skip
    when = row.created_at.isoformat() if row.created_at else ""
    return [
        VOTE, row.row, prompt, row.a.text, row.a.model, row.b.text, row.b.model, row.verdict,
        row.labeler, row.left, when, row.id, row.comparison, row.kind, row.extra,
    ]  # fmt: skip


def row_from(values: Any) -> Row | Refused:
    """Return the row that `row_of` was given.

    Raises:
        BadInput: it is no such row.
    """
    try:
        kind, number, *rest = values
        if type(number) is not int or number < 0:
            raise BadInput(f"a row has the number {str(number)[:40]!r}")
        row: Row | Refused = _READ[kind](number, *rest)
    except (TypeError, ValueError, KeyError) as error:
        raise BadInput(f"what was read is no row ({str(error)[:80]})") from None
    return row


def rows_from(values: Sequence[Any]) -> list[Row | Refused]:
    """Return what `row_from` does of each: where all are votes, as they mostly are, everything is
    looked at once for all rows instead of once for each, at a third of the cost.

    Raises:
        BadInput: one of them is no such row.
    """
    try:
        return _votes(values)
    except (BadInput, TypeError, ValueError, KeyError):  # one that is none says so below
        return [row_from(one) for one in values]


def size_of(row: Row | Refused) -> int:
    """Return the characters of a row's texts."""
    if isinstance(row, Refused):
        return len(row.why)
    answers = (row.answer,) if isinstance(row, RatingRow) else (row.a, row.b)
    said = len(row.extra) + sum(len(message["content"]) for message in row.prompt)
    return said + sum(len(answer.text) for answer in answers)


def _refused(number: int, why: str) -> Refused:
    return Refused(number, str(why)[:MAX_WHY])


def _vote(
    number: int,
    prompt: Any,
    text_a: str,
    model_a: str,
    text_b: str,
    model_b: str,
    verdict: str,
    labeler: str,
    left: str,
    when: str,
    id: str,
    comparison: str,
    kind: str,
    extra: str,
) -> VoteRow:
    return VoteRow(
        row=number,
        prompt=_prompt(prompt),
        a=Answer(check_text(text_a, "a"), _name(model_a)),
        b=Answer(check_text(text_b, "b"), _name(model_b)),
        verdict=_one_of(verdict, JUDGED),
        labeler=_name(labeler),
        left=_one_of(left, ("", "a", "b")),
        created_at=_moment(when),
        id=_name(id),
        comparison=_name(comparison),
        kind=_one_of(kind, KINDS),
        extra=_extra(extra),
    )


def _votes(values: Sequence[Any]) -> list[Row | Refused]:
    """Return the rows if all of them are votes, and good ones; else any of several errors."""
    (
        kinds, numbers, prompts, texts_a, models_a, texts_b, models_b, verdicts, labelers, lefts,
        whens, ids, comparisons, asked, extras,
    ) = zip(*values, strict=True)  # fmt: skip
    for words, allowed in (
        (kinds, (VOTE,)), (verdicts, JUDGED), (lefts, ("", "a", "b")), (asked, KINDS),
    ):  # fmt: skip
        if not set(allowed).issuperset(words):
            raise BadInput("another word")
    if set(map(type, numbers)) != {int} or min(numbers) < 0:
        raise BadInput("no number of a row")
    _check_texts(texts_a)
    _check_texts(texts_b)
    answers_a = map(Answer, texts_a, _each(models_a, _name))
    answers_b = map(Answer, texts_b, _each(models_b, _name))
    return list(
        map(
            VoteRow, numbers, _prompts(prompts), answers_a, answers_b, verdicts,
            _each(labelers, _name), lefts, _each(whens, _moment), _each(ids, _name),
            _each(comparisons, _name), asked, _each(extras, _extra),
        )
    )  # fmt: skip


def _check_texts(texts: Sequence[Any]) -> None:
    """Raise BadInput unless `check_text` would take every one as it is."""
    if set(map(type, texts)) != {str} or max(map(len, texts)) > MAX_CHARS:
        raise BadInput("no text")
    joined = "".join(texts)
    joined.encode("utf-8")
    if "\0" in joined:
        raise BadInput("a NUL character")


def _each(values: Sequence[Any], read: Callable[[str], Any]) -> list[Any]:
    """Return what `read` makes of each text; each text is read once."""
    if set(map(type, values)) != {str}:
        raise BadInput("no text")
    made = {value: read(value) for value in set(values)}
    return [made[value] for value in values]


def _prompts(values: Sequence[Any]) -> list[tuple[Message, ...]]:
    if any(len(one) != 1 or len(one[0]) != 2 or one[0][0] != "user" for one in values):
        return [_prompt(one) for one in values]
    said = [one[0][1] for one in values]
    _check_texts(said)
    if not all(map(str.strip, said)):
        raise BadInput("a prompt is empty")
    return [({"role": "user", "content": text},) for text in said]


def _moment(value: str) -> datetime | None:
    return moment_of(value, "created_at")


def _rating(
    number: int, prompt: Any, text: str, model: str, verdict: str, labeler: str, extra: str
) -> RatingRow:
    answer = Answer(check_text(text, "answer"), _name(model))
    said = _one_of(verdict, ("up", "down"))
    return RatingRow(number, _prompt(prompt), answer, said, _name(labeler), _extra(extra))


def _prompt(value: Sequence[Sequence[str]]) -> tuple[Message, ...]:
    messages: list[Mapping[str, str]] = [{"role": role, "content": text} for role, text in value]
    return tuple(check_messages(messages))


def _extra(value: Any) -> str:
    """Return the other fields, if they are what `unknown` writes."""
    if value == "":
        return ""
    if not isinstance(check_text(value, "extra"), str) or not isinstance(json.loads(value), dict):
        raise BadInput("the other fields are no JSON object")
    if len(value) > MAX_EXTRA:
        raise BadInput(f"the other fields have {len(value):,} characters")
    return str(value)


def _name(value: Any) -> str:
    return name_text(value, "a name") if value != "" else ""


def _one_of(value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise BadInput(f"{str(value)[:40]!r} is none of {', '.join(allowed)}")
    return str(value)


_READ: dict[str, Callable[..., Row | Refused]] = {VOTE: _vote, RATING: _rating, REFUSED: _refused}
MAX_ROW = 8 * MAX_CHARS  # Choice: two answers, and a conversation as long as six of them
