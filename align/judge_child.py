"""The child process in which a pattern or a person's own file judges: `judge_child.py KIND WHAT`.

What runs here may never end, take all memory, or print: whoever started it sets the limits. Run as
a script, so it knows nothing of the house. One JSON object a line: {"prompt", "first", "second"}
in, {"said": …} or {"error": sentence} out; before the first question {"said": "ready"} or an error.
"""

from __future__ import annotations

import json
import os
import re
import resource
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATTERN_BYTES = 2**30  # of memory. Choice: a pattern that needs more was written to need it
MOST_SHOWN = 200  # characters of what a file says

Ask = Callable[[str, str, str], Any]


def of_pattern(pattern: str) -> Ask:
    """Prefer the answer in which the pattern is found."""
    resource.setrlimit(resource.RLIMIT_AS, (PATTERN_BYTES, PATTERN_BYTES))
    found = re.compile(pattern, re.MULTILINE)

    def ask(prompt: str, first: str, second: str) -> str:
        one, other = (found.search(text) is not None for text in (first, second))
        return "tie" if one == other else "first" if one else "second"

    return ask


def of_file(path: str) -> Ask:
    """Return the function `judge` of a Python file; what lies beside it can be imported."""
    sys.path.insert(0, str(Path(path).parent))
    judge = runpy.run_path(path, run_name="judge").get("judge")
    if not callable(judge):
        raise TypeError("it has no function judge(prompt, first, second)")
    return judge


KINDS: dict[str, Callable[[str], Ask]] = {"regex": of_pattern, "file": of_file}


def why(error: BaseException, what: str) -> str:
    """Return an error as one line, with the line of the file where it happened."""
    lines = [
        one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == what
    ]
    at = f" on line {lines[-1]}" if lines else ""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return words[:MOST_SHOWN] + at


def main() -> None:
    """Answer questions until there are no more."""
    kind, what = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    sys.stdout = sys.stderr  # what a file prints is no answer
    os.dup2(2, 1)

    def answer(call: Callable[[], Any]) -> Any:
        found = None
        try:
            found = call()
            said = "ready" if callable(found) else found
            line = {"said": said if isinstance(said, str) else repr(said)[:MOST_SHOWN]}
        except (Exception, SystemExit) as error:  # noqa: BLE001  (it is somebody else's code)
            line = {"error": why(error, what)}
        print(json.dumps(line), file=answers, flush=True)
        return found

    ask = answer(lambda: KINDS[kind](what))
    for question in sys.stdin:
        answer(lambda question=question: ask(**json.loads(question)))


if __name__ == "__main__":
    main()
