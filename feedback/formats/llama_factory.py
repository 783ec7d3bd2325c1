"""LLaMA-Factory's preference and KTO sets (JSON, JSONL; Parquet is read too).

    instruction, input, chosen, rejected        alpaca; optionally system, history [[q, a]]
    instruction, input, output, kto_tag
    conversations, chosen, rejected             sharegpt: turns {"from", "value"}; optionally system
    conversations, kto_tag                      the last turn is the answer

`kto_tag` is true or false. As LLaMA-Factory does, instruction and input are joined by a line feed.
Turns of tools are refused: only text can be judged. Pairs and labels are written as sharegpt, which
keeps conversations; its `dataset_info.json` needs `"formatting": "sharegpt"`, and `"ranking": true`
for pairs. Source: LLaMA-Factory, `data/README.md`, `src/llamafactory/data/converter.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    list_of,
    object_of,
    true_or_false,
)
from feedback.texts import check_messages, check_text
from storage.errors import BadInput
from storage.records import Message

ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
SPEAKERS = {role: speaker for speaker, role in ROLES.items()}
PAIR, TAG = {"chosen", "rejected"}, "kto_tag"
KNOWN = {*PAIR, TAG, "instruction", "input", "output", "system", "history", "conversations"}


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    columns = set(columns)
    asks = "conversations" in columns or "instruction" in columns
    return asks and (columns >= PAIR or TAG in columns)


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the file's pairs and labels, row by row."""
    needs = "llama-factory needs instruction or conversations, and chosen and rejected or kto_tag"
    return files.read_each(path, _rows_of, looks, needs, known=KNOWN)


def _rows_of(raw: Raw) -> Iterator[Row]:
    fields = raw.fields
    talks = "conversations" in fields
    messages = _turns(fields, "conversations") if talks else _alpaca(fields)
    if fields.get("system"):
        system = check_text(fields["system"], "system")
        messages = [{"role": "system", "content": system}, *messages]
    if fields.get(TAG) is not None:
        thumb = "up" if true_or_false(fields[TAG], TAG) else "down"
        if talks:
            answer = last_of(messages[-1:], "the last turn of conversations")
            messages = messages[:-1]
        else:
            answer = check_text(fields.get("output"), "output")
        yield RatingRow(raw.row, tuple(check_messages(messages)), Answer(answer), thumb)
    else:
        good, bad = (Answer(_answer(fields.get(name), name)) for name in ("chosen", "rejected"))
        yield VoteRow(raw.row, tuple(check_messages(messages)), good, bad, "a")


def _alpaca(fields: Fields) -> list[Message]:
    messages: list[Message] = []
    for turn in list_of(fields.get("history") or [], "history"):
        pair = list_of(turn, "a turn of history")
        if len(pair) != 2:
            raise BadInput(f"a turn of history is {str(pair)[:40]}; write [question, answer]")
        for role, text in zip(("user", "assistant"), pair, strict=True):
            messages.append({"role": role, "content": check_text(text, "history")})
    parts = [check_text(fields.get(name) or "", name) for name in ("instruction", "input")]
    return [*messages, {"role": "user", "content": "\n".join(part for part in parts if part)}]


def _turns(fields: Fields, name: str) -> list[Message]:
    return [_turn(turn, name) for turn in list_of(fields.get(name), name)]


def _turn(value: Any, what: str) -> Message:
    turn = object_of(value, f"a turn of {what}")
    speaker = turn.get("from")
    if not isinstance(speaker, str) or speaker not in ROLES:
        raise BadInput(f"{what} has a turn from {str(speaker)[:40]!r}; there are {list(ROLES)}")
    return {"role": ROLES[speaker], "content": check_text(turn.get("value"), what)}


def _answer(value: Any, name: str) -> str:
    return (
        check_text(value, name) if isinstance(value, str) else last_of([_turn(value, name)], name)
    )


def write_pairs(path: Path, rows: Iterable[Row]) -> int:
    """Write conversations, chosen, rejected of the votes that decided; return how many rows."""
    return _write(path, (_pair_fields(row) for row in rows if decided(row)))


def write_labels(path: Path, rows: Iterable[Row]) -> int:
    """Write conversations and kto_tag of the ratings; return how many rows."""
    return _write(path, (_label_fields(row) for row in rows if isinstance(row, RatingRow)))


def _write(path: Path, rows: Iterable[Fields]) -> int:
    if path.suffix.lower() != ".jsonl":
        raise BadInput(f"{path}: llama-factory is written as .jsonl; give it this name")
    return writing.write_jsonl(path, rows)


def _pair_fields(row: VoteRow) -> Fields:
    chosen, rejected = (row.a, row.b) if row.verdict == "a" else (row.b, row.a)
    return {
        "conversations": [_spoken(message) for message in row.prompt],
        "chosen": _spoken({"role": "assistant", "content": chosen.text}),
        "rejected": _spoken({"role": "assistant", "content": rejected.text}),
    }


def _label_fields(row: RatingRow) -> Fields:
    answer: Message = {"role": "assistant", "content": row.answer.text}
    return {
        "conversations": [_spoken(message) for message in (*row.prompt, answer)],
        TAG: row.verdict == "up",
    }


def _spoken(message: Message) -> dict[str, str]:
    return {"from": SPEAKERS[message["role"]], "value": message["content"]}
