"""The command line as tests use it: in this process, with its exit code and both streams."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import app


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        """Return the one JSON object of a command that succeeded; its stdout holds nothing else."""
        assert self.code == 0, self.err
        assert self.out.count("\n") == 1
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """Return the one line that a user's mistake gets; nothing is on stdout, no traceback."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.out == ""
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("error: ").rstrip("\n")


def hone(*words: str | Path, data: Path | None = None) -> Done:
    """Run a command as `python app.py WORDS --data DATA` does."""
    out, err = io.StringIO(), io.StringIO()
    args = [str(word) for word in words]
    args += ["--data", str(data)] if data is not None else []
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.main(args)
    return Done(code, out.getvalue(), err.getvalue())


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def pairs(count: int) -> list[dict[str, str]]:
    """Return preference pairs in TRL's form; the longer answer is chosen in every fourth.

    The prompts have nothing in common, so that none repeats another.
    """
    rows = []
    for number in range(count):
        short, long = f"Short {number}.", f"A rather long answer to question {number}, in words."
        chosen, rejected = (long, short) if number % 4 == 0 else (short, long)
        words = hashlib.sha256(str(number).encode()).hexdigest()
        prompt = " ".join(words[start : start + 6] for start in range(0, 48, 6))
        rows.append({"prompt": f"{prompt}?", "chosen": chosen, "rejected": rejected})
    return rows
