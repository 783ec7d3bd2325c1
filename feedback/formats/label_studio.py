"""Label Studio's JSON export of pairwise tasks.

    data            {"prompt", "answer1", "answer2", …}
    annotations     [{"completed_by", "created_at", "was_cancelled", "result": [item, …]}, …]
    item            {"type": "pairwise", "value": {"selected": "left" or "right"}}

Each annotation is a vote; a cancelled one is a skip. `answer1` is the left one, as in Label
Studio's own template for pairs. Predictions are a model's and are ignored; the other fields of the
task, of `data` and of the annotation, and what else its result holds, are kept.
Source: Label Studio 1.23, `Pairwise.js`; label-studio-evalme#163 for `selected`.
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
    moment_of,
    name_text,
    object_of,
    one_of,
    prompt_of,
)
from feedback.formats.unknown import besides, kept
from feedback.texts import check_text
from storage.errors import BadInput

KNOWN = ("data", "annotations", "predictions")
OF_DATA = ("prompt", "answer1", "answer2")
OF_ANNOTATION = ("completed_by", "created_at", "was_cancelled", "result")
PAIRWISE = "pairwise"
SIDES = {"left": "a", "right": "b"}


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return {"data", "annotations"} <= set(columns)


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the annotations of the file's tasks as votes."""
    return files.read_each(path, _votes_of, looks, "label-studio needs data and annotations")


def _votes_of(raw: Raw) -> Iterator[Row | Refused]:
    data = object_of(raw.fields.get("data"), "data")
    annotations = list_of(raw.fields.get("annotations"), "annotations")
    if not annotations:
        raise BadInput("the task has no annotation yet; nobody has judged it")
    prompt = prompt_of(data.get("prompt"), "data.prompt")
    a, b = (Answer(check_text(data.get(name), f"data.{name}")) for name in ("answer1", "answer2"))
    others = {**besides(raw.fields, KNOWN), "data": besides(data, OF_DATA)}
    for annotation in annotations:
        try:
            one = object_of(annotation, "an annotation")
            vote = VoteRow(
                row=raw.row,
                prompt=prompt,
                a=a,
                b=b,
                verdict="skip" if one.get("was_cancelled") is True else _chosen(one.get("result")),
                labeler=_who(one.get("completed_by")),
                left="a",
                created_at=moment_of(one.get("created_at"), "created_at"),
            )
            yield kept(vote, {**others, "annotation": _besides(one)})
        except BadInput as error:
            yield Refused(raw.row, str(error))


def _chosen(result: Any) -> str:
    for item in list_of(result, "result"):
        if _is_choice(object_of(item, "an item of result")):
            selected = object_of(item.get("value"), "value").get("selected")
            return SIDES[one_of(selected, "selected", tuple(SIDES))]
    raise BadInput("the annotation chooses neither side; it has no item of type 'pairwise'")


def _besides(annotation: Mapping[str, Any]) -> Fields:
    """Return what else an annotation says: its other fields, and the other items of its result."""
    result = annotation.get("result")
    others = [one for one in result if not _is_choice(one)] if isinstance(result, list) else []
    return {**besides(annotation, OF_ANNOTATION), **({"result": others} if others else {})}


def _is_choice(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("type") == PAIRWISE


def _who(completed_by: Any) -> str:
    """Return who annotated: a number, or in some exports an object with the user's id."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("id")
    return name_text(completed_by, "completed_by", UNKNOWN)
