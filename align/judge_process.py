"""A judge that may do anything, in a child process with limits: a pattern, or a person's own file.

A pattern can search longer than the sun shines, or want all memory, and a file of one's own is a
program. Neither may stop the app, so each question has its time, and then the child is ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from align.openai_client import KEY
from feedback.judged import Judge
from feedback.rules import SAYS, asked_text, looked_for
from feedback.texts import printable
from feedback.values import shown
from storage.errors import BadInput, NotFound, UserError
from storage.records import Message

PATTERN_SECONDS = 2.0  # Choice: for two answers; any sane pattern needs thousandths of that
FILE_SECONDS = 10.0  # Choice: for one question; rules take thousandths, small models a second
FILE_AT_ONCE = 20  # comparisons. Choice: a file may ask a model of its own, a second each
START_SECONDS = 60.0  # Choice: to import what a file needs, which may be a library of models
MOST_BYTES = 64 * 1024  # of one line of the child's


@contextmanager
def by_pattern(pattern: str) -> Iterator[Judge]:
    """Give the judge that prefers the answer in which a regular expression is found.

    Raises:
        BadInput: it is none; or, when asked, it takes too long or too much memory.
    """
    name = f"the pattern {shown(looked_for(pattern, 'pattern'))}"
    with _Child(name, "regex", pattern, PATTERN_SECONDS).running() as child:
        yield Judge(f"judge: regex:{pattern}", child.ask)


@contextmanager
def by_file(path: str) -> Iterator[Judge]:
    """Give the judge that a Python file defines: `judge(prompt, first, second)`.

    Its name holds the beginning of the file's hash: a file that was changed is another judge.

    Raises:
        NotFound: there is no such file.
        BadInput: it cannot be run, has no `judge`; or, when asked, raises, says something else than
            "first", "second" or "tie", or takes longer than `FILE_SECONDS`.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise NotFound(
            f"{path} cannot be read ({error.strerror}): give the path of a Python file."
        ) from error
    hashed = hashlib.sha256(content).hexdigest()[:8]
    with _Child(path, "file", path, FILE_SECONDS).running() as child:
        name = f"judge: file:{printable(Path(path).name)} {hashed}"
        yield Judge(name, child.ask, FILE_AT_ONCE)


class _Child:
    """The child process and what it answers.

    Args:
        name: how it is called in a sentence.
        seconds: for one question.
    """

    def __init__(self, name: str, kind: str, what: str, seconds: float) -> None:
        self.name, self.seconds = name, seconds
        self._waiting = b""
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("judge_child.py")), kind, what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={key: value for key, value in os.environ.items() if key != KEY},
            start_new_session=True,  # so that what it starts ends with it
        )

    @contextmanager
    def running(self) -> Iterator[_Child]:
        try:
            self._answer(min(START_SECONDS, 5 * self.seconds))
            yield self
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()

    def ask(self, conversation: Sequence[Message], first: str, second: str) -> str:
        """Ask which of two answers is better."""
        question = {"prompt": asked_text(conversation), "first": first, "second": second}
        self._send(json.dumps(question).encode() + b"\n")
        verdict = self._answer(self.seconds)
        if verdict not in SAYS:
            raise BadInput(
                f"{self.name} says {shown(verdict)}: let it return 'first', 'second' or 'tie'."
            )
        return verdict

    def _send(self, line: bytes) -> None:
        """Write a question, however slowly it is read."""
        assert self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        os.set_blocking(pipe, False)
        until = time.monotonic() + self.seconds
        while line:
            self._await(self._process.stdin, selectors.EVENT_WRITE, until)
            try:
                line = line[os.write(pipe, line) :]
            except BrokenPipeError:
                raise self._ended() from None

    def _answer(self, seconds: float) -> str:
        """Return what the child says within so many seconds."""
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._waiting:
            self._await(self._process.stdout, selectors.EVENT_READ, until)
            more = os.read(self._process.stdout.fileno(), MOST_BYTES)
            self._waiting += more
            if not more or len(self._waiting) > MOST_BYTES:
                raise self._ended()
        line, _, self._waiting = self._waiting.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            raise self._ended() from None
        if "error" in answer:
            raise BadInput(f"{self.name} does not work ({answer['error']}): mend it.")
        return str(answer["said"])

    def _await(self, pipe: object, what: int, until: float) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(pipe, what)  # type: ignore[arg-type]
            if not ready.select(max(0.0, until - time.monotonic())):
                raise BadInput(
                    f"{self.name} takes too long (a question has {self.seconds:g} seconds): "
                    "make it quicker."
                )

    def _ended(self) -> UserError:
        return BadInput(f"{self.name} ended in the middle of its work: look at what it printed.")
