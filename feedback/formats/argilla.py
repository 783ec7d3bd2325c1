"""Argilla 2's export of a ranking question over two responses (JSON, JSONL, Parquet).

    id, status, fields{}, responses{}           nested: `dataset.records.to_json` and `to_list()`
    instruction, response1, response2,          flattened: `to_list(flatten=True)`, `to_datasets()`
    ranking.responses, .users, .status

The fields are those of `Settings.for_ranking()`: `instruction` (or `prompt`), `response1` and
`response2`; the question is `ranking`, its value the names of both, the better one first. Each
user's response is a vote. Only what was submitted counts; the nested form does not say what was, so
all of its responses do: leave drafts out by exporting flattened. Which response stood on the left
is not known. The record's other fields are kept with each vote, and under `responses` what the same
user answered to its other questions.
Source: argilla 2.8, `records/_resource.py` and `records/_io/_generic.py`.
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
    Raw,
    Refused,
    Row,
    VoteRow,
    list_of,
    name_text,
    object_of,
    prompt_of,
)
from feedback.formats.unknown import besides, kept
from feedback.texts import check_text
from storage.errors import BadInput

QUESTION = "ranking"
SIDES, TIE = {"response1": "a", "response2": "b"}, "tie"
OF_FIELDS = ("instruction", "prompt", *SIDES)
SUBMITTED = ("submitted", None)  # None: the nested form does not say it

Said = tuple[Any, Any, Any]  # user, value and status


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    columns = set(columns)
    return columns >= {"fields", "responses"} or f"{QUESTION}.responses" in columns


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the submitted responses of the file's records as votes."""
    needs = f"argilla needs fields and responses, or {QUESTION}.responses"
    return files.read_each(path, _votes_of, looks, needs)


def _votes_of(raw: Raw) -> Iterator[Row | Refused]:
    nested = "fields" in raw.fields
    fields = object_of(raw.fields["fields"], "fields") if nested else raw.fields
    said = _nested(raw.fields) if nested else _flattened(raw.fields)
    submitted = [
        (user, value) for user, value, status in said.pop(QUESTION, ()) if status in SUBMITTED
    ]
    if not submitted:
        raise BadInput(f"nobody has submitted an answer to the question {QUESTION!r} yet")
    prompt = prompt_of(fields.get("instruction", fields.get("prompt")), "instruction")
    a, b = (Answer(check_text(fields.get(name), name)) for name in SIDES)
    others = besides(fields, OF_FIELDS)
    if nested:
        others = {**besides(raw.fields, ("fields", "responses")), "fields": others}
    else:
        others = {name: value for name, value in others.items() if not _is_response(name)}
    for user, value in submitted:
        try:
            labeler = name_text(user, "the user", UNKNOWN)
            vote = VoteRow(raw.row, prompt, a, b, _verdict(value), labeler)
            yield kept(vote, {**others, "responses": _of_user(user, said)})
        except BadInput as error:
            yield Refused(raw.row, str(error))


def _verdict(value: Any) -> str:
    """Return what an order says, best first, or with ranks as the server keeps it: a tie where both
    have the same one."""
    order = list_of(value, f"the answer to {QUESTION}")
    ranks: dict[Any, Any] = {}
    for place, one in enumerate(order):
        ranked = isinstance(one, dict)
        ranks[str(one.get("value") if ranked else one)] = one.get("rank") if ranked else place
    if len(order) != 2 or set(ranks) != set(SIDES):
        raise BadInput(
            f"{QUESTION} orders {str(order)[:60]}; it has to order {' and '.join(SIDES)}"
        )
    first, second = (ranks[name] for name in SIDES)
    if not all(isinstance(rank, int) and not isinstance(rank, bool) for rank in (first, second)):
        raise BadInput(
            f"{QUESTION} has the ranks {first!r} and {second!r}; they have to be numbers"
        )
    return TIE if first == second else SIDES["response1" if first < second else "response2"]


def _nested(record: Fields) -> dict[str, list[Said]]:
    """Return the responses of a nested record, by their question."""
    responses = record.get("responses")
    said: dict[str, list[Said]] = {}
    for question, given in (object_of(responses, "responses") if responses else {}).items():
        answers = [object_of(one, "a response") for one in list_of(given or [], "the responses")]
        said[question] = [
            (one.get("user_id"), one.get("value"), one.get("status")) for one in answers
        ]
    return said


def _flattened(record: Fields) -> dict[str, list[Said]]:
    """Return the responses of a flattened record, by their question."""
    said: dict[str, list[Said]] = {}
    for key in (name for name in record if name.endswith(".responses")):
        names = (f"{key}.users", key, f"{key}.status")
        lists = [list_of(record.get(name) or [], name) for name in names]
        if len({len(one) for one in lists}) > 1:
            raise BadInput(f"{', '.join(names)} are not equally long; export the records again")
        said[key.removesuffix(".responses")] = list(zip(*lists, strict=True))
    return said


def _is_response(column: str) -> bool:
    """Say whether a flattened record's column holds responses, which are somebody's."""
    return column.removesuffix(".users").removesuffix(".status").endswith(".responses")


def _of_user(user: Any, said: Mapping[str, list[Said]]) -> Fields:
    """Return what a user submitted to each question."""
    return {
        question: value
        for question, given in said.items()
        for who, value, status in given
        if who == user and status in SUBMITTED
    }
