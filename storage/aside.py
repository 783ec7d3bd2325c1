"""Work that reads much and computes long, beside a server: in a process of its own, on a copy.

A server has one interpreter, which runs one thread at a time: a check of ten thousand comparisons
in it makes every voter wait. Here a child of low priority does it. The child copies the database's
files while nothing is written, opens the copy for reading, and sends back what the work returns.
The server itself never opens those files: closing them would drop DuckDB's lock.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from storage.errors import Busy, StoreError
from storage.priority import lower

T = TypeVar("T")
Work = Callable[..., T]  # of a store, and of what else it is given; found by name in the child

START = "from storage.aside import main; main()"  # with -m its classes would be other ones
ROOT = Path(__file__).resolve().parent.parent
FOLDER = "aside"  # in the data folder
MOST = 2  # children at a time. Choice: a check need not wait for a long export
IDLE_SECONDS = 300.0  # Choice: a lead looks again within minutes, and starting takes seconds
START_SECONDS = 60.0  # Choice: beside a training on a slow machine it takes ten
COPY_SECONDS = 20.0  # Choice: nothing is written meanwhile, so rather no copy than a longer one
PIECE = 1 << 20  # bytes that are copied at a time
SETTLED = 2_000_000_000  # ns. Choice: what changed less than this ago may change within one tick


class NoCopy(Exception):
    """The database's files cannot be copied: the disk is full, or the child does not start."""


class Aside:
    """The children of one data folder; they start when they are needed and leave when idle."""

    def __init__(self, database: Path, still: Callable[[Callable[[], Any]], Any]) -> None:
        """Args: still: does something while nothing is written."""
        self._database, self._still = database, still
        self._room = threading.BoundedSemaphore(MOST)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._ends = 0  # how often all were ended

    def run(self, work: Work[T], *args: Any, **more: Any) -> T:
        """Return what `work` returns for a copy of the store as it is now.

        Raises:
            NoCopy: nothing was done.
            Busy: something was erased meanwhile, so that the copy had to go.
            StoreError: the child died.
            Exception: what the work raises.
        """
        with self._room, ExitStack() as undone:
            ends = self._ends
            child = self._taken()
            undone.callback(self._drop, child)
            try:
                child.ask("ahead", seconds=None)
                self._still(lambda: child.ask("copy", seconds=COPY_SECONDS))
                failed, answer = child.ask("work", work, args, more, seconds=None)
            except (EOFError, OSError) as error:
                if self._ends != ends:
                    raise Busy("Something was erased or closed meanwhile: ask again.") from None
                raise StoreError(f"what computes this {child.end()}: try again") from error
            undone.pop_all()
            with self._lock:
                self._idle.append(child)
        if failed:
            raise answer
        found: T = answer
        return found

    def end(self) -> None:
        """End all children, whatever they do, and remove their copies."""
        with self._lock:
            self._ends += 1
            children, self._all, self._idle = self._all, set(), []
        for child in children:
            child.end()
        shutil.rmtree(self._database.parent / FOLDER, ignore_errors=True)

    def _taken(self) -> _Child:
        """Return a child that waits; one that left meanwhile is forgotten."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                break
            if child.is_there():
                return child
            self._drop(child)
        child = _Child(self._database)
        with self._lock:
            self._all.add(child)
        return child

    def _drop(self, child: _Child) -> None:
        with self._lock:
            self._all.discard(child)
        child.end()


class _Child:
    """One process, seen from the server."""

    def __init__(self, database: Path) -> None:
        ours, theirs = Pipe()
        self._pipe: Connection = ours
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs.fileno()), str(database)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the server
        )
        theirs.close()
        lower(self._process.pid)
        try:
            self._hear(START_SECONDS)
        except (EOFError, OSError) as error:
            raise NoCopy(f"the process for it {self.end()}") from error

    def is_there(self) -> bool:
        return self._process.poll() is None

    def ask(self, *order: Any, seconds: float | None) -> Any:
        """Return the answer to an order; `seconds`: for which it is waited, None: without end.

        Raises:
            NoCopy: it cannot copy. EOFError, OSError: it is gone.
        """
        self._pipe.send(order)
        return self._hear(seconds)

    def _hear(self, seconds: float | None) -> Any:
        if not self._pipe.poll(seconds):
            raise NoCopy(f"no copy within {seconds:.0f} s")
        answer = self._pipe.recv()
        if isinstance(answer, NoCopy):
            raise answer
        return answer

    def end(self) -> str:
        """End it, and say how it ended."""
        self._process.kill()
        code = self._process.wait()  # the pipe stays: somebody may be reading it in another thread
        return f"was ended ({signal.Signals(-code).name})" if code < 0 else f"left with code {code}"


# In the child


def main() -> None:
    """Answer orders until nobody gives any."""
    pipe, database = Connection(int(sys.argv[1])), Path(sys.argv[2])
    home = database.parent / FOLDER / str(os.getpid())
    copy = Copy(database, home)
    with ExitStack() as undone, suppress(EOFError, OSError):
        undone.callback(shutil.rmtree, home, ignore_errors=True)
        pipe.send("here")
        while pipe.poll(IDLE_SECONDS):
            order = pipe.recv()
            pipe.send(done(order[1:], copy) if order[0] == "work" else brought(copy, order[0]))


def brought(copy: Copy, order: str) -> NoCopy | None:
    """Copy what changed; return why that cannot be."""
    try:
        copy.file()
        if order == "copy":
            copy.logs()
    except OSError as error:
        return NoCopy(str(error))
    return None


def done(order: tuple[Work[Any], tuple[Any, ...], dict[str, Any]], copy: Copy) -> tuple[bool, Any]:
    """Return whether the work failed, and what it returned or raised."""
    from storage.store import Store

    work, args, more = order
    try:
        with Store.reading(copy.path, copy.source.parent) as store:
            return False, work(store, *args, **more)
    except Exception as error:  # noqa: BLE001  (whoever asked gets it)
        error.add_note("in the process beside the server:\n" + traceback.format_exc())
        return True, error


@dataclass
class Copy:
    """A copy of a database's files that takes over only what changed."""

    source: Path
    home: Path  # of the copy
    _had: tuple[int, int, int] | None = None  # what the copied file was, where that is certain
    _logs: dict[str, tuple[int, int]] = field(default_factory=dict)  # which file, and bytes of it

    @property
    def path(self) -> Path:
        return self.home / self.source.name

    def file(self) -> None:
        """Copy the file itself, which changes at checkpoints only, unless it is as it was."""
        found = _state(self.source)
        if found == self._had and self.path.exists():
            return
        self._logs.clear()
        self.home.mkdir(parents=True, exist_ok=True)
        began = time.time_ns()
        shutil.copyfile(self.source, self.path)
        self.path.chmod(0o600)
        certain = found == _state(self.source) and began - found[2] > SETTLED
        self._had = found if certain else None

    def logs(self) -> None:
        """Copy the logs; as the last, while nothing is written.

        Of a log that was copied before only what came since: until a checkpoint, which changes the
        file, too, it only grows.
        """
        logs = {log.name: log for log in self.source.parent.glob(f"{self.source.name}.wal*")}
        for old in self.home.glob(f"{self.source.name}.wal*"):
            if old.name not in logs:
                old.unlink()
        had, self._logs = self._logs, {}
        for name, log in logs.items():
            self._logs[name] = _follow(log, self.home / name, had.get(name))


def _follow(log: Path, copy: Path, had: tuple[int, int] | None) -> tuple[int, int]:
    """Make a copy what the log is; return which file that is, and of how many bytes.

    Args:
        had: what this returned the last time, if the log has only grown since.
    """
    with log.open("rb") as source:
        found = os.fstat(source.fileno())
        which, begun = had or (found.st_ino, 0)
        if which != found.st_ino or not begun <= found.st_size or _size(copy) != begun:
            begun = 0
        source.seek(begun)
        with copy.open("ab" if begun else "wb") as target:
            shutil.copyfileobj(source, target, PIECE)
            return found.st_ino, target.tell()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
