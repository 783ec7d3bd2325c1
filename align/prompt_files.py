"""Read the prompts that `generate` answers from a file: JSON lines, or plain text, one a line.

Knows neither the store nor models: a path in, conversations out. Whether a conversation is a good
prompt (roles, length, odd characters) is judged where prompts are stored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from feedback.texts import check_messages
from storage.errors import BadInput, NotFound
from storage.records import Message

MAX_BYTES = 64 * 2**20  # Choice: 64 MiB; a file of prompts is read at once, far beyond any real one
SHAPE = '{"prompt": "text"}, {"prompt": [messages]} or {"messages": [{"role", "content"}]}'


def read_prompts(path: Path) -> list[list[Message]]:
    """Return the conversations of a .jsonl/.json-lines file, or of a text file (one a line).

    Empty lines are passed over in both.

    Raises:
        NotFound: there is no such file.
        BadInput: not UTF-8, no prompts at all, or a row that is no prompt (its number is named).
    """
    lines = _decoded(path).split("\n")  # never splitlines(): U+2028 may stand inside a JSON string
    parse = _from_json if path.suffix.lower() in (".jsonl", ".ndjson") else _from_text
    prompts = [
        parse(line.strip("\r"), f"{path.name} row {row}")
        for row, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not prompts:
        raise BadInput(f"{path} has no prompts: write one a line, or JSON lines of {SHAPE}")
    return prompts


def _decoded(path: Path) -> str:
    if not path.is_file():
        raise NotFound(
            f"there is no file {path}: give the path of a .jsonl or .txt file of prompts"
        )
    if path.stat().st_size > MAX_BYTES:
        raise BadInput(f"{path} is larger than {MAX_BYTES // 2**20} MiB: split it")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise BadInput(
            f"{path.name} row {row} is not UTF-8 text (byte {error.start}): save it as UTF-8"
        ) from error


def _from_text(line: str, where: str) -> list[Message]:
    return _messages(line.strip(), where)


def _from_json(line: str, where: str) -> list[Message]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{where} is not JSON ({error}): each line has to be {SHAPE}") from error
    if isinstance(row, str):
        row = {"prompt": row}
    if not isinstance(row, dict) or not ({"prompt", "messages"} & row.keys()):
        raise BadInput(f"{where} has neither `prompt` nor `messages`: write {SHAPE}")
    return _messages(row.get("prompt", row.get("messages")), where)


def _messages(value: Any, where: str) -> list[Message]:
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise BadInput(f"{where}: {str(value)[:60]!r} is no conversation: write {SHAPE}")
    try:
        return check_messages(value)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None
