"""DuckDB behind one door: open, harden, hand out cursors, reopen after a FATAL error.

What the rest of `storage` must not know: DuckDB's settings, its exceptions, and that a failed
checkpoint makes every connection useless until all of them are closed. One cursor per use, never
shared between threads. Nothing here opens the database's file but DuckDB itself.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import sqlalchemy as sa
from duckdb_engine import ConnectionWrapper
from sqlalchemy.pool import NullPool

from storage.durable import sync_folder
from storage.errors import Busy, Damaged, DiskFull, Locked, StoreError
from storage.limits import Limits
from storage.rows import Row

Cursor = duckdb.DuckDBPyConnection
T = TypeVar("T")

LOOKUPS = (1, 8, 64, 128)  # keys per look-up statement: few shapes, each padded
KEYS_PER_STATEMENT = 10_000  # Choice: memory stays small
PATIENCE = 20.0  # seconds that a reopen waits for the last reader. Choice: > any of our queries


class Duck:
    """One open database file."""

    def __init__(self, path: Path, limits: Limits, *, reads: bool = False) -> None:
        """Open the file, making it where there is none.

        Args:
            reads: for reading only; then it has to be there.

        Raises:
            duckdb.Error: as it is, for start-up to decide about a quarantine.
        """
        self.path = path
        self.generation = 0  # grows with every reopen
        self._limits, self._reads = limits, reads
        self._users = 0
        self._gate = threading.Condition()
        self._reopening = self._closed = False
        self._root: Cursor | None = self._connect()
        self._kept: Cursor | None = None  # of the one thread that writes
        self.engine = sa.create_engine("duckdb://", creator=self._wrapped, poolclass=NullPool)

    def _connect(self) -> Cursor:
        root = duckdb.connect(
            str(self.path),
            read_only=self._reads,
            config={
                "memory_limit": f"{self._limits.memory_now()}B",
                "threads": str(self._limits.threads_now()),
                "checkpoint_threshold": f"{self._limits.checkpoint}B",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
            },
        )
        # The order matters: once the outside is closed, nothing more can be allowed.
        root.execute(f"SET allowed_directories = [{quoted(str(self.path.parent) + '/')}]")
        root.execute("SET enable_external_access = false")
        root.execute("SET lock_configuration = true")
        return root

    def _wrapped(self) -> Any:
        """Return a cursor for SQLAlchemy, which closes it; only ever called inside `using`."""
        return ConnectionWrapper(self._live_root().cursor())

    def _live_root(self) -> Cursor:
        """Return the connection; where an earlier try to open the file again failed, try again."""
        root = self._root
        if root is not None:
            return root
        with self._gate:
            if self._root is None:
                if self._closed or self._reopening:
                    raise StoreError(f"{self.path} is closed: start Hone again")
                self._root = self._connect()
                self.generation += 1
            return self._root

    @contextmanager
    def using(self) -> Iterator[None]:
        """Hold the database open meanwhile; a reopen waits for the end of it."""
        with self._gate:
            self._gate.wait_for(lambda: not self._reopening)
            self._users += 1
        try:
            yield
        finally:
            with self._gate:
                self._users -= 1
                self._gate.notify_all()

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Hand out a cursor of one's own, for one thread and one use."""
        with self.using():
            cursor = self._live_root().cursor()
            try:
                yield cursor
            finally:
                cursor.close()

    @contextmanager
    def kept_cursor(self) -> Iterator[Cursor]:
        """Hand out the same cursor again and again, until the file is opened anew; for one thread.

        It keeps what is costly to make: a cursor takes 0.3 ms, the plan of an insert 2 ms.
        """
        with self.using():
            if self._kept is None:
                self._kept = self._live_root().cursor()
            yield self._kept

    def _let_go(self) -> None:
        """Close the connections that are ours; with those of others gone, the file is closed."""
        kept, root, self._kept, self._root = self._kept, self._root, None, None
        for connection in (kept, root):
            if connection is not None:
                connection.close()

    def read(self, work: Callable[[Cursor], T]) -> T:
        """Return what `work` reads; after a FATAL error, reopen the file and read again."""
        generation = self.generation
        try:
            with self.cursor() as cursor:
                return work(cursor)
        except (duckdb.Error, sa.exc.DBAPIError) as error:
            if not is_fatal(error):
                raise translated(error, self.path) from error
        self.reopen(generation)
        try:
            with self.cursor() as cursor:
                return work(cursor)
        except (duckdb.Error, sa.exc.DBAPIError) as error:
            raise translated(error, self.path) from error

    def select(self, query: sa.Select[Any]) -> list[Row]:
        """Return the rows of a SQLAlchemy query."""

        def work(_: Cursor) -> list[Row]:
            with self.engine.connect() as connection:
                return [tuple(row) for row in connection.execute(query)]

        return self.read(work)

    def compiled(self, query: sa.Select[Any]) -> str:
        """Return a query's SQL in this engine's words, to be run again and again on a cursor."""
        return str(query.compile(self.engine))

    def reopen(self, generation: int) -> None:
        """Close every connection and open the file again, unless somebody did it meanwhile.

        Args:
            generation: what the caller saw before its error.
        """
        with self._gate:
            self._gate.wait_for(lambda: not self._reopening)
            if self.generation != generation:
                return
            self._reopening = True
            self._gate.wait_for(lambda: self._users == 0, timeout=PATIENCE)
        try:
            self._let_go()
            self._root = self._connect()
            self.generation += 1
        except duckdb.Error as error:
            raise translated(error, self.path) from error
        finally:
            with self._gate:
                self._reopening = False
                self._gate.notify_all()

    def swap(self, fresh: Path) -> None:
        """Let another file, whole and closed, take this one's place; the old one is gone then.

        Raises:
            Busy: somebody reads for longer than `PATIENCE`: nothing was changed.
            StoreError: the old file's log could not be written into it: nothing was changed.
        """
        with self._gate:
            self._gate.wait_for(lambda: not self._reopening)
            self._reopening = True
            free = self._gate.wait_for(lambda: self._users == 0, timeout=PATIENCE)
        try:
            if not free:
                raise Busy("Somebody reads much of the store at this moment: try again.")
            self._live_root()
            self._let_go()
            # A log beside the file would be replayed into the new one.
            left = sorted(self.path.parent.glob(self.path.name + ".wal*"))
            if not left:
                fresh.replace(self.path)
                sync_folder(self.path.parent)
            self._root = self._connect()
            self.generation += 1
            if left:
                raise StoreError(f"{left[0]} cannot be written into its file: nothing was changed")
        except duckdb.Error as error:
            raise translated(error, self.path) from error
        finally:
            with self._gate:
                self._reopening = False
                self._gate.notify_all()

    def close(self) -> None:
        """Close the file; DuckDB writes its log into it first."""
        with self._gate:
            self._gate.wait_for(lambda: self._users == 0, timeout=PATIENCE)
            self._let_go()
            self._closed = True


def present(
    cursor: Cursor, table: sa.Table, keys: Sequence[str], columns: Sequence[str] = ("id",)
) -> list[Row]:
    """Return `columns` of the rows whose `id` is one of the keys.

    Few keys go through the primary key's index by statements of few fixed shapes; many by one join.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    head = f'SELECT {names} FROM "{table.name}" WHERE id IN '
    if not keys:
        return []
    if len(keys) > LOOKUPS[-1]:
        found: list[Row] = []
        for start in range(0, len(keys), KEYS_PER_STATEMENT):
            part = list(keys[start : start + KEYS_PER_STATEMENT])
            query = head + "(SELECT unnest(?::VARCHAR[]))"
            found += cursor.execute(query, [part]).fetchall()
        return found
    size = next(size for size in LOOKUPS if size >= len(keys))
    padded = [*keys, *[keys[-1]] * (size - len(keys))]
    return cursor.execute(f"{head}({', '.join('?' * size)})", padded).fetchall()


def quoted(text: str) -> str:
    """Return a text as an SQL literal, for the few statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


def is_fatal(error: BaseException) -> bool:
    """Say whether the connection is of no more use: only closing all and reopening helps."""
    origin = getattr(error, "orig", error)
    return isinstance(origin, duckdb.FatalException) or "has been invalidated" in str(origin)


def is_full(error: BaseException) -> bool:
    """Say whether the disk, a quota or a limit on file sizes is behind an error."""
    words = ("No space left", "File too large", "Disk quota")
    text = str(getattr(error, "orig", error))
    return any(word in text for word in words)


def translated(error: Exception, path: Path) -> Exception:
    """Return the sentence for an error of the database; the error itself where it is our bug."""
    origin = getattr(error, "orig", error)
    text, first = str(origin), first_line(origin)
    if is_full(origin):
        return disk_full(path.parent)
    if "Could not set lock" in text or "Conflicting lock" in text:
        holder = re.search(r"\(PID (\d+)\)", text)
        who = f"process {holder[1]}" if holder else "another process"
        return Locked(f"{path} is open in {who}: close it there, or choose another --data.")
    if "we can only read versions" in text or "newer version of DuckDB" in text:
        return StoreError(
            f"{path} was written by a newer DuckDB: {first} Update Hone, or use another folder "
            "with --data."
        )
    if "Permission denied" in text or "Read-only file system" in text:
        return StoreError(
            f"{path} cannot be written: {first} Give Hone the right to, or use --data."
        )
    if isinstance(origin, duckdb.OutOfMemoryException):
        return StoreError(f"this needs more memory than DuckDB may use: {first}")
    if isinstance(origin, (duckdb.IOException, duckdb.FatalException, duckdb.InternalException,
                           duckdb.SerializationException)):  # fmt: skip
        return damaged(path, first)
    return error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text; DuckDB adds hints below it."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def damaged(path: Path, why: str) -> Damaged:
    """Return the sentence for a database file that cannot be used."""
    return Damaged(
        f"{path} cannot be read ({why}). Move it aside (mv {path.name} {path.name}.damaged) and "
        "start again: Hone rebuilds it from the journal folder beside it."
    )


def disk_full(folder: Path) -> DiskFull:
    """Return the sentence for a disk without room."""
    return DiskFull(
        f"the disk that holds {folder} is full: nothing was stored. Make room and try again; "
        "Hone need not be restarted."
    )
