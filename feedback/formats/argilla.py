"""Argilla 2's export of a ranking question over two responses (JSON, JSONL, Parquet).

    id, status, fields{}, responses{}           nested: `dataset.records.to_json` and `to_list()`
    instruction, response1, response2,          flattened: `to_list(flatten=True)`, `to_datasets()`
    ranking.responses, .users, .status

The fields are those of `Settings.for_ranking()`: `instruction` (or `prompt`), `response1` and
`response2`; the question is `ranking`, its value the names of both, the better one first. Each
user's response is a vote. Only what was submitted counts; the nested form does not say what was, so
all of its responses do: leave drafts out by exporting flattened. Which response stood on the left
is not known. Source: argilla 2.8, `records/_resource.py` and `records/_io/_generic.py`.
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
from feedback.texts import check_text
from storage.errors import BadInput

QUESTION = "ranking"
SIDES = {"response1": "a", "response2": "b"}


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
    submitted = [(user, value) for user, value, status in said if status in ("submitted", None)]
    if not submitted:
        raise BadInput(f"nobody has submitted an answer to the question {QUESTION!r} yet")
    prompt = prompt_of(fields.get("instruction", fields.get("prompt")), "instruction")
    a, b = (Answer(check_text(fields.get(name), name)) for name in SIDES)
    for user, value in submitted:
        try:
            labeler = name_text(user, "the user", UNKNOWN)
            yield VoteRow(raw.row, prompt, a, b, SIDES[_best(value)], labeler)
        except BadInput as error:
            yield Refused(raw.row, str(error))


def _best(value: Any) -> str:
    order = list_of(value, f"the answer to {QUESTION}")
    if len(order) != 2 or set(map(str, order)) != set(SIDES):
        raise BadInput(
            f"{QUESTION} orders {str(order)[:60]}; it has to order {' and '.join(SIDES)}"
        )
    return str(order[0])


def _nested(record: Fields) -> Iterator[tuple[Any, Any, Any]]:
    """Yield user, value and status of a nested record's responses."""
    responses = record.get("responses")
    by_question: Mapping[str, Any] = object_of(responses, "responses") if responses else {}
    for response in by_question.get(QUESTION) or ():
        one = object_of(response, "a response")
        yield one.get("user_id"), one.get("value"), one.get("status")


def _flattened(record: Fields) -> Iterator[tuple[Any, Any, Any]]:
    """Yield user, value and status of a flattened record's responses."""
    key = f"{QUESTION}.responses"
    names = (f"{key}.users", key, f"{key}.status")
    lists = [list_of(record.get(name) or [], name) for name in names]
    if len({len(one) for one in lists}) > 1:
        raise BadInput(f"{', '.join(names)} are not equally long; export the records again")
    yield from zip(*lists, strict=True)
