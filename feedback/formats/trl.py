"""TRL's preference and unpaired-preference datasets (JSONL, Parquet; CSV is read too).

    prompt, chosen, rejected      texts, or message lists; without `prompt` chosen and rejected hold
                                  the whole conversation; their common beginning is the prompt
    prompt, completion, label     label true or false, for KTO

Such a row says which answer is better, not who said so: its labeler is "imported". Written files
use message lists, which TRL renders with the model's own chat template. Other columns are kept,
and written into a column `extra` of JSON text.
Source: https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from feedback.formats import files, writing
from feedback.formats.rows import (
    Answer,
    Fields,
    RatingRow,
    Raw,
    Refused,
    Row,
    VoteRow,
    decided,
    last_of,
    listed,
    messages_of,
    true_or_false,
)
from feedback.formats.unknown import EXTRA, kept
from feedback.texts import check_messages, check_text
from storage.errors import BadInput
from storage.records import Message

PAIR, LABEL = ("prompt", "chosen", "rejected"), ("prompt", "completion", "label")
# The transcripts of Anthropic's hh-rlhf, of which many sets of this form were made.
_TURN = re.compile(r"\n\n(Human|Assistant):[ ]?")
_SPEAKER = {"Human": "user", "Assistant": "assistant"}


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return {"chosen", "rejected"} <= set(columns) or set(LABEL) <= set(columns)


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the file's pairs and labels, row by row."""

    def check_columns(columns: Sequence[str]) -> None:
        if not looks(columns):
            raise BadInput(
                f"{path}: has the columns {listed(columns)}; trl needs prompt, chosen and "
                "rejected, or prompt, completion and label"
            )

    for raw in files.read_rows(path, check_columns):
        yield raw if isinstance(raw, Refused) else row_of(raw)


def row_of(raw: Raw) -> Row | Refused:
    """Return what one row says, or why it cannot be taken."""
    try:
        if "chosen" in raw.fields or "rejected" in raw.fields:
            twice = raw.fields.get("messages") == raw.fields.get("chosen")  # as UltraFeedback's
            return kept(_pair(raw), raw.fields, (*PAIR, "messages") if twice else PAIR)
        if "completion" in raw.fields or "label" in raw.fields:
            return kept(_label(raw), raw.fields, LABEL)
        has = listed(raw.fields)
        raise BadInput(f"no chosen and rejected, and no completion and label; it has: {has}")
    except BadInput as error:
        return Refused(raw.row, str(error))


def _pair(raw: Raw) -> VoteRow:
    chosen, rejected = _needed(raw.fields, "chosen"), _needed(raw.fields, "rejected")
    if raw.fields.get("prompt") is None:
        prompt, (good, bad) = _implicit(chosen, rejected)
    else:
        prompt = _prompt(raw.fields["prompt"])
        good, bad = _answer(chosen, "chosen", prompt), _answer(rejected, "rejected", prompt)
    return VoteRow(raw.row, tuple(prompt), Answer(good), Answer(bad), "a")


def _label(raw: Raw) -> RatingRow:
    prompt = _prompt(_needed(raw.fields, "prompt"))
    answer = _answer(_needed(raw.fields, "completion"), "completion", prompt)
    thumb = "up" if true_or_false(_needed(raw.fields, "label"), "label") else "down"
    return RatingRow(raw.row, tuple(prompt), Answer(answer), thumb)


def _needed(fields: Fields, name: str) -> Any:
    if fields.get(name) is None:
        raise BadInput(f"{name} is missing; it has: {listed(fields)}")
    return fields[name]


def _prompt(value: Any) -> list[Message]:
    if isinstance(value, str):
        spoken = transcript(value)
        if len(spoken) > 1 and spoken[-1] == {"role": "assistant", "content": ""}:
            spoken.pop()  # "…\n\nAssistant:" asks for the answer
        return check_messages(spoken or [{"role": "user", "content": value}])
    return check_messages(messages_of(value, "prompt"))


def _answer(value: Any, name: str, prompt: Sequence[Message]) -> str:
    if isinstance(value, str):
        return check_text(value, name)
    messages = messages_of(value, name)
    if messages[: len(prompt)] == list(prompt):  # some sets repeat it in front of the answer
        messages = messages[len(prompt) :]
    return last_of(messages, name)


def _implicit(chosen: Any, rejected: Any) -> tuple[list[Message], tuple[str, str]]:
    if isinstance(chosen, str) and isinstance(rejected, str):
        turns = transcript(chosen), transcript(rejected)
        if not (turns[0] and turns[1]):
            return _common_text(check_text(chosen, "chosen"), check_text(rejected, "rejected"))
    else:
        turns = messages_of(chosen, "chosen"), messages_of(rejected, "rejected")
    same = 0
    for one, other in zip(turns[0][:-1], turns[1][:-1], strict=False):
        if one != other:
            break
        same += 1
    answers = last_of(turns[0][same:], "chosen"), last_of(turns[1][same:], "rejected")
    return check_messages(turns[0][:same]), answers


def _common_text(chosen: str, rejected: str) -> tuple[list[Message], tuple[str, str]]:
    """Split two texts where they begin to differ, at the last white space before that."""
    same = next(
        (i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b),
        min(len(chosen), len(rejected)),
    )
    while same and not chosen[same - 1].isspace():
        same -= 1
    if chosen == rejected or not chosen[:same].strip():
        raise BadInput(
            "there is no prompt, and chosen and rejected do not begin alike and then differ; "
            "give the prompt a column of its own"
        )
    prompt = check_messages([{"role": "user", "content": chosen[:same].rstrip()}])
    return prompt, (chosen[same:], rejected[same:])


def transcript(text: str) -> list[Message]:
    r"""Return the messages of a "\n\nHuman: …\n\nAssistant: …" transcript; else none."""
    parts = _TURN.split("\n\n" + text.lstrip("\n"))
    if len(parts) < 3 or parts[0]:
        return []
    return [
        {"role": _SPEAKER[speaker], "content": said}
        for speaker, said in zip(parts[1::2], parts[2::2], strict=True)
    ]


def write_pairs(path: Path, rows: Iterable[Row]) -> int:
    """Write prompt, chosen, rejected of the votes that decided; return how many rows."""
    return _write(path, PAIR, (_pair_fields(row) for row in rows if decided(row)))


def write_labels(path: Path, rows: Iterable[Row]) -> int:
    """Write prompt, completion, label of the ratings; return how many rows."""
    fields = (_label_fields(row) for row in rows if isinstance(row, RatingRow))
    return _write(path, LABEL, fields)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Fields]) -> int:
    if path.suffix.lower() == ".parquet":
        return writing.write_parquet_rows(path, columns, rows)
    if path.suffix.lower() != ".jsonl":
        raise BadInput(f"{path}: trl is written as .jsonl or .parquet; give it one of these names")
    return writing.write_jsonl(path, rows)


def _extra(row: Row) -> Fields:
    return {EXTRA: row.extra} if row.extra else {}


def _pair_fields(row: VoteRow) -> Fields:
    chosen, rejected = (row.a, row.b) if row.verdict == "a" else (row.b, row.a)
    return {
        "prompt": list(row.prompt),
        "chosen": _said(chosen),
        "rejected": _said(rejected),
        **_extra(row),
    }


def _label_fields(row: RatingRow) -> Fields:
    return {
        "prompt": list(row.prompt),
        "completion": _said(row.answer),
        "label": row.verdict == "up",
        **_extra(row),
    }


def _said(answer: Answer) -> list[Message]:
    return [{"role": "assistant", "content": answer.text}]
