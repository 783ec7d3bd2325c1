"""Any table or JSON with a prompt and two answers and a verdict, or with an answer and a thumb.

| field | holds | columns that are tried where none is named |
|---|---|---|
| prompt | the question: a text, or in JSON and Parquet a message list | prompt, question |
| a, b | the two answers | a, response_a, answer_a; b, response_b, answer_b |
| verdict | one of VERDICTS | verdict, label, winner |
| answer | the one answer | answer, response, completion |
| thumb | one of THUMBS | thumb, label, rating |
| left | a or b: which answer stood on the left | left |
| model_a, model_b, model | who answered | the same |
| labeler, created_at | who judged, and when (ISO 8601) | the same |

A pair needs prompt, a, b and verdict; a rating needs prompt, answer and thumb. The verdicts left
and right need to know the left side. Choice: numbers are no verdicts, for 1 is the first answer in
one file and the second in another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

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
    listed,
    moment_of,
    name_text,
    one_of,
    prompt_of,
)
from feedback.formats.unknown import kept
from feedback.texts import check_text
from storage.errors import BadInput

FIELDS = {
    "prompt": ("prompt", "question"),
    "a": ("a", "response_a", "answer_a"),
    "b": ("b", "response_b", "answer_b"),
    "verdict": ("verdict", "label", "winner"),
    "answer": ("answer", "response", "completion"),
    "thumb": ("thumb", "label", "rating"),
    **{name: (name,) for name in ("left", "model_a", "model_b", "model", "labeler", "created_at")},
}
PAIR, RATING = ("prompt", "a", "b", "verdict"), ("prompt", "answer", "thumb")
VERDICTS = {
    **dict.fromkeys(("a", "model_a", "response_a", "answer_a"), "a"),
    **dict.fromkeys(("b", "model_b", "response_b", "answer_b"), "b"),
    **dict.fromkeys(("left", "right"), "side"),
    **dict.fromkeys(("tie", "equal", "same", "-"), "tie"),
    **dict.fromkeys(("both_bad", "bothbad", "tie (bothbad)", "neither"), "both_bad"),
    "skip": "skip",
}
THUMBS = {
    **dict.fromkeys(("up", "like", "good", "true", "yes", "1"), "up"),
    **dict.fromkeys(("down", "dislike", "bad", "false", "no", "0", "-1"), "down"),
}
_OTHER = {"a": "b", "b": "a"}

Named = Mapping[str, str]


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns can be read without naming any."""
    return _whole(_resolved(set(columns), {}), {}) is not None


def read(path: Path, named: Named | None = None) -> Iterator[Row | Refused]:
    """Yield the file's votes or ratings.

    Args:
        named: the file's column for a field, as in {"prompt": "question", "a": "first answer"};
            the others are found by the names above, but one that is "" is not looked for.

    Raises:
        BadInput: an unknown field, or a column that the file does not have; it names those it has.
    """
    named = named or {}
    unknown = next((field for field in named if field not in FIELDS), None)
    if unknown is not None:
        raise BadInput(f"there is no field {unknown[:40]!r} to name; there are {', '.join(FIELDS)}")

    def check_columns(columns: Sequence[str]) -> None:
        if why := missing(columns, named):
            raise BadInput(f"{path}: {why}")

    rows = files.read_rows(path, check_columns)
    return files.made(rows, partial(_rows_of, named=named))


def named_columns(pairs: Iterable[str]) -> dict[str, str]:
    """Return the columns that `FIELD=COLUMN` texts name, by their fields.

    Raises:
        BadInput: no such text, or a field twice.

    Example:
        >>> named_columns(["prompt=question", "a=first = best"])
        {'prompt': 'question', 'a': 'first = best'}
    """
    named: dict[str, str] = {}
    for pair in pairs:
        field, _, column = (part.strip() for part in str(pair).partition("="))
        if not field or not column:
            raise BadInput(f"{str(pair)[:60]!r} names no column; write it like prompt=question")
        if field in named:
            raise BadInput(f"{field[:40]} is named twice, as {named[field][:40]} and {column[:40]}")
        named[field] = column
    return named


def _resolved(columns: Collection[str], named: Named) -> dict[str, str]:
    """Return the column of each field that has one."""
    found = {}
    for field, names in FIELDS.items():
        usual = next((name for name in names if name in columns), "")
        column = named.get(field, usual)
        if column and column in columns:
            found[field] = column
    return found


def _whole(found: Mapping[str, str], named: Named) -> tuple[str, ...] | None:
    """Return the fields of a pair or of a rating, whichever all have a column.

    Where both have, a pair's, unless only a rating's were named.
    """
    rating = set(RATING) & set(named) > {"prompt"} and not {"a", "b"} & set(named)
    kinds = (RATING, PAIR) if rating else (PAIR, RATING)
    return next((fields for fields in kinds if set(fields) <= set(found)), None)


def missing(columns: Collection[str], named: Named) -> str:
    """Return what keeps rows with these columns from being read, "" if nothing does."""
    absent = next((name for name in named.values() if name and name not in columns), None)
    if absent is not None:
        return f"there is no column {absent[:40]!r}; it has: {listed(columns)}"
    if _whole(_resolved(columns, named), named) is None:
        return (
            f"it has: {listed(columns)}; name its columns for "
            f"{', '.join(PAIR)}, or for {', '.join(RATING)}"
        )
    return ""


def _rows_of(raw: Raw, named: Named) -> Iterator[Row]:
    needed = {field: name for field, name in named.items() if field in (*PAIR, *RATING)}
    if why := missing(raw.fields, needed):
        raise BadInput(why)
    found = _resolved(raw.fields, named)
    fields = {field: raw.fields[column] for field, column in found.items()}
    read = {found[field] for field in found if field in fields}
    row = _vote(raw.row, fields) if _whole(found, named) == PAIR else _rating(raw.row, fields)
    yield kept(row, raw.fields, read)


def _vote(row: int, fields: Fields) -> VoteRow:
    left = one_of(fields.get("left"), "left", ("", "a", "b"))
    word = one_of(fields["verdict"], "verdict", tuple(VERDICTS))
    verdict = VERDICTS[word]
    if verdict == "side":
        if not left:
            raise BadInput(f"verdict is {word!r}, but nothing says who stood left; name `left`")
        verdict = left if word == "left" else _OTHER[left]
    return VoteRow(
        row=row,
        prompt=prompt_of(fields["prompt"]),
        a=_answer(fields, "a", "model_a"),
        b=_answer(fields, "b", "model_b"),
        verdict=verdict,
        labeler=name_text(fields.get("labeler"), "labeler", UNKNOWN),
        left=left,
        created_at=moment_of(fields.get("created_at"), "created_at"),
    )


def _rating(row: int, fields: Fields) -> RatingRow:
    thumb = THUMBS[one_of(fields["thumb"], "thumb", tuple(THUMBS))]
    labeler = name_text(fields.get("labeler"), "labeler", UNKNOWN)
    answer = _answer(fields, "answer", "model")
    return RatingRow(row, prompt_of(fields["prompt"]), answer, thumb, labeler)


def _answer(fields: Fields, field: str, model: str) -> Answer:
    return Answer(check_text(fields[field], field), name_text(fields.get(model), model, UNKNOWN))
