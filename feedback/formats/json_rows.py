"""JSON lines and JSON lists as rows; a row that is not good JSON is refused, others come through.

JSON lines are split at line feeds only (`str.splitlines` would also split at U+2028 inside a text).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedback.formats import packed
from feedback.formats.rows import Fields, Raw, Refused
from storage.errors import BadInput

# Choice: a text of 10 MB is read and refused by its own limit; a line longer than this is not read.
MAX_LINE = 64 * 1024 * 1024  # bytes
# Choice: a list is held in memory whole, with its bytes beside it while it is decoded.
MAX_LIST = 256 * 1024 * 1024  # bytes
_BLANK = re.compile(r"[ \t\r\n]*")
# Finds where an element ends and keeps nothing of it: a number of any length is no number here.
_ENDS = json.JSONDecoder(parse_int=len, parse_float=len)


def read_lines(path: Path) -> Iterator[Raw | Refused]:
    """Yield the rows of JSON lines (JSONL); blank lines are passed over and counted."""
    with packed.open_bytes(path) as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) > MAX_LINE:
                yield Refused(number, f"the line has more than {MAX_LINE:,} bytes; split its text")
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE)
            elif line.strip():
                yield _line(number, line)


def _line(number: int, line: bytes) -> Raw | Refused:
    try:
        return _parsed(number, line.decode("utf-8"), whole=line.endswith(b"}\n"))
    except UnicodeDecodeError as error:
        return Refused(number, f"byte {error.start + 1} of the line is not UTF-8; save it as UTF-8")


def read_list(path: Path) -> Iterator[Raw | Refused]:
    """Yield the elements of the one JSON list that a file holds.

    Raises:
        BadInput: it is too big to be held in memory.
    """
    with packed.open_bytes(path) as file:
        data = file.read(MAX_LIST + 1)
    if len(data) > MAX_LIST:
        raise BadInput(
            f"{path}: is a JSON list of more than {MAX_LIST:,} bytes; "
            "write one JSON object per line (JSONL)"
        )
    # Bytes that are not UTF-8 become surrogates, which the text check refuses with the row number.
    return _elements(data.decode("utf-8-sig", "surrogateescape"))


def _elements(text: str) -> Iterator[Raw | Refused]:
    number, at = 0, _after_blanks(text, text.index("[") + 1)
    while not text.startswith("]", at):
        number += 1
        try:
            _, end = _ENDS.raw_decode(text, at)
        except RecursionError:
            yield Refused(number, "the JSON is nested too deeply; nothing behind it can be read")
            return
        except json.JSONDecodeError as error:
            yield _lost(number, error.msg, error.pos)
            return
        yield _parsed(number, text[at:end])
        at = _after_blanks(text, end)
        if text.startswith(",", at):
            at = _after_blanks(text, at + 1)
        elif not text.startswith("]", at):
            yield _lost(number + 1, "Expecting ',' or ']'", at)
            return


def _lost(number: int, message: str, at: int) -> Refused:
    why = f"not JSON: {message} at character {at + 1:,} of the file; is the file cut off? Nothing"
    return Refused(number, f"{why} behind it can be read")


def _after_blanks(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _parsed(number: int, text: str, *, whole: bool = True) -> Raw | Refused:
    try:
        fields = json.loads(text, object_pairs_hook=_no_repeats)
    except json.JSONDecodeError as error:
        cut = "" if whole else "; is the line cut off?"
        return Refused(number, f"not JSON: {error.msg} at character {error.colno}{cut}")
    except RecursionError:
        return Refused(number, "the JSON is nested too deeply; write plain fields")
    except BadInput as error:
        return Refused(number, str(error))
    except ValueError:  # Python refuses to read integers of more than 4,300 digits
        return Refused(number, "a number has more than 4,300 digits; write it as a text")
    if not isinstance(fields, dict):
        return Refused(number, f"the row is a JSON {type(fields).__name__}; write an object {{…}}")
    return Raw(number, fields)


def _no_repeats(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"the key {twice[:40]!r} is there twice; keep one")
    return fields
