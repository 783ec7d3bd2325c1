"""The store: every way in and out of the database, for all other rooms.

Writes go through one thread and are durable when they return. Reads run on the caller's thread,
each on a cursor of its own. What a caller needs to know is in the methods' first lines.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import sqlalchemy as sa

from storage.aside import FOLDER, Aside, NoCopy, Work
from storage.coded import coded_items
from storage.columns import COLUMNS
from storage.decide import Addition, Alone, Append, Kept, Together, Update, conflict_of, events_of
from storage.duck import LOOKUPS, Duck, translated
from storage.erase import Erasing, carry_out, forget_passwords
from storage.errors import BadInput, NotFound, StoreError, UserError
from storage.heads import Heads, Placed
from storage.journal import Journal
from storage.known import Known
from storage.limits import Limits
from storage.live import lines
from storage.lock import DataLock
from storage.migrations import migrate
from storage.news import News, Told
from storage.reconcile import open_database, reconcile, settle_logs
from storage.records import (
    Assignment,
    Edit,
    Event,
    Message,
    Prompt,
    Receipt,
    Record,
    Text,
    json_string,
)
from storage.remembered import Remembered
from storage.rows import Row, encoded, from_row, to_row, to_rows
from storage.tables import EVENTS, MUTABLE, TABLES
from storage.verify import verify
from storage.writer import Writer

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger(__name__)

R = TypeVar("R")
FILE = "hone.duckdb"
DEFAULT_LIMITS = Limits()
AT_ONCE = 1_000  # events. Choice: a commit of some 50 ms, for which somebody's vote waits
WHITE_SPACE = "".join(filter(str.isspace, map(chr, range(0x3001))))  # to Python; none comes later
MUCH = 5_000  # texts. Choice: with fewer, all that is computed takes about a second


class Store:
    """One data folder, open."""

    data: Path

    def __init__(
        self, data: Path, lock: DataLock | None, duck: Duck, journal: Journal | None
    ) -> None:
        """Use `Store.open`. Without a lock and a journal it is only read."""
        self.data = data
        self._lock, self._duck, self._journal = lock, duck, journal
        self._heads, self._news, self._remembered = Heads(), News(0), Remembered()
        self._known = Known(duck)
        self._counts: dict[type, tuple[tuple[int, int], int]] = {}  # type → at which change, rows
        self.companions: dict[type, Any] = {}  # what other rooms keep in memory about this folder
        self._writer: Writer | None = None
        self._aside: Aside | None = None  # for a server

    @classmethod
    def open(cls, data: Path, limits: Limits = DEFAULT_LIMITS) -> Store:
        """Take the folder's lock, open its database, migrate it, catch up with the journal.

        Raises:
            Locked: another process has the folder; names its pid and address.
            DiskFull: no room to start.
            Damaged: the file cannot be read, or does not fit the journal.
            StoreError: a newer Hone or DuckDB wrote it, or the folder cannot be used.
        """
        data = Path(data).absolute()
        try:
            data.mkdir(parents=True, exist_ok=True)
            lock = DataLock(data)
        except OSError as error:
            raise StoreError(f"{data} cannot be used as data folder: {error}") from None
        with ExitStack() as undone:
            undone.callback(lock.release)
            shutil.rmtree(data / FOLDER, ignore_errors=True)  # of a server that was killed
            store = cls._opened(data, lock, limits)
            undone.pop_all()
        return store

    @classmethod
    def reading(cls, path: Path, data: Path) -> Store:
        """Open a copy of a folder's database, which nobody writes, for reading only."""
        return cls(data, None, Duck(path, Limits(alone=True), reads=True), None)

    @classmethod
    def _opened(cls, data: Path, lock: DataLock, limits: Limits) -> Store:
        path = data / FILE
        try:
            duck = open_database(path, limits)
        except OSError as error:
            raise translated(error, path) from error
        with ExitStack() as undone:
            undone.callback(duck.close)
            try:
                if migrate(duck.engine, path):
                    duck.read(lambda cursor: cursor.execute("CHECKPOINT"))
                journal = Journal(data / "journal", limits.journal_file)
                position, replayed = reconcile(duck, journal)
                settle_logs(path, replayed)
            except (duckdb.Error, sa.exc.DBAPIError, OSError) as error:
                raise translated(error, path) from error
            undone.pop_all()
        store = cls(data, lock, duck, journal)
        store._news = News(position.n)
        store._writer = Writer(
            duck, journal, position, limits,
            heads=store._heads, news=store._news, remembered=store._remembered,
            known=store._known,
        )  # fmt: skip
        return store

    def close(self) -> None:
        """Finish what was queued, write the log into the file, and let go of the folder."""
        if self._aside is not None:
            self._aside.end()
            self._aside = None
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        self._duck.close()
        if writer is not None and self._journal is not None and self._lock is not None:
            self._journal.close()
            self._lock.release()

    def announce(self, address: str, token: str) -> None:
        """Write into LOCK where this process answers, and the token that the command line shows;
        from now on `aside` leaves this process to those who ask."""
        self._writing()
        assert self._lock is not None
        self._lock.announce(address, token)
        self._aside = Aside(self.data / FILE, self._still)

    def is_served(self) -> bool:
        """Say whether this process answers others, who wait while something is written."""
        return self._aside is not None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Writing

    def add(self, rows: Sequence[Record]) -> dict[type, int]:
        """Store the rows whose id is new, in one transaction; return how many, per type."""
        kinds: dict[type, list[Any]] = {}
        for row in rows:
            kinds.setdefault(type(row), []).append(row)
        if wrong := [kind for kind in kinds if kind not in TABLES or kind in EVENTS]:
            raise TypeError(f"Store.add takes records that are no events, not {wrong[0]}")
        if not kinds:
            return {}
        packed = {kind: to_rows(kind, records) for kind, records in kinds.items()}
        counts: dict[type, int] = self._submit(Addition(packed)).result()
        return counts

    def append(self, event: Event, texts: Sequence[Text] = ()) -> Receipt:
        """Store an event and the texts that came with it; the same id always gets the same answer.

        Raises:
            Conflict: the assignment has this revision already, or another one is next.
            BadInput: a value that cannot be stored.
        """
        answer = self._submit(_append(event, texts)).result()
        if isinstance(answer, UserError):
            raise answer
        receipt: Receipt = answer
        return receipt

    def append_many(
        self, events: Sequence[Event], texts: Sequence[Text] = ()
    ) -> list[Receipt | UserError]:
        """Store events in their order, `AT_ONCE` in one commit; return the answer of each.

        Args:
            texts: the events' comments; that of a refused event is not stored.
        """
        jobs = _together(events, texts)
        going = [job for job in jobs if isinstance(job, Append)]
        parts = [
            self._submit(Together(going[start : start + AT_ONCE]))
            for start in range(0, len(going), AT_ONCE)
        ]
        answers = iter([answer for part in parts for answer in part.result()])
        return [next(answers) if isinstance(job, Append) else job for job in jobs]

    def check_next(self, event: Event) -> None:
        """Refuse an event that would be refused now, before something is stored for its sake.

        Raises:
            Conflict: the assignment has this revision already, or another one is next.
        """
        why = conflict_of(event, self.live(type(event), event.assignment))
        if why is not None:
            raise why

    def update(self, row: Record) -> None:
        """Let a row of a mutable table (`tables.MUTABLE`) take the place of the one with its id.

        Raises:
            NotFound: there is no such row yet.
        """
        if type(row) not in MUTABLE:
            raise TypeError(f"a {type(row).__name__} is never changed: add another one")
        answer = self._submit(Update(type(row), to_row(row))).result()
        if isinstance(answer, UserError):
            raise answer

    def erase(self, erasing: Erasing, erasure: str) -> int:
        """Blank texts and replace a name in the journal and in a database file that is made anew.

        Nothing is written meanwhile. What is done twice changes nothing the second time; a kill in
        the middle leaves the store as it was or as it will be, and the journal in between: do it
        again. Return how many events got a pseudonym.

        Args:
            erasure: the id of the row that tells of it.

        Raises:
            Busy, DiskFull: nothing was changed.
        """
        work = partial(carry_out, self._duck, self._written(), erasing, erasure)
        try:
            return int(self._submit(Alone(work)).result())
        finally:
            if self._aside is not None:  # copies hold it, too
                self._aside.end()

    def forget_passwords(self, account: str) -> int:
        """Take the hashes of passwords that an account had before out of the journal; return how
        many lines held one. Nothing is written meanwhile."""
        work = partial(forget_passwords, self._duck, self._written(), account)
        return int(self._submit(Alone(work)).result())

    def _submit(self, job: Append | Together | Addition | Update | Alone) -> Future[Any]:
        return self._writing().submit(job)

    def _writing(self) -> Writer:
        if self._writer is None:
            self._written()
            raise StoreError(f"{self.data} is closed: start Hone again")
        return self._writer

    def _written(self) -> Journal:
        if self._journal is None:
            raise StoreError(f"{self.data} is only read here")
        return self._journal

    # Reading

    def aside(self, work: Work[R], *args: Any, **more: Any) -> R:
        """Return `work(self, *args, **more)`; in a server that holds much, from another process.

        There it gets a copy of the store as it is now, for reading only; it is found by its name,
        and what goes in and out is pickled.

        Raises:
            Busy: something was erased meanwhile. StoreError: the other process died.
        """
        if self._aside is not None and self.count(Text) >= MUCH:
            try:
                return self._aside.run(work, *args, **more)
            except NoCopy as error:
                LOG.warning("what is asked for is computed in the server: %s", error)
        return work(self, *args, **more)

    def _still(self, work: Callable[[], Any]) -> Any:
        """Do something while nothing is written."""
        return self._submit(Alone(lambda _: work(), reads=True)).result()

    def get(self, kind: type[R], key: str) -> R | None:
        """Return the record with this id, or None."""
        return self.found(kind, [key]).get(key)

    def found(self, kind: type[R], keys: Iterable[str]) -> dict[str, R]:
        """Return the records with these ids by their id, by way of the primary key."""
        wanted = [encoded(kind, "id", key) for key in dict.fromkeys(keys)]
        age, known = self._remembered.age(), self._remembered.rows(kind, wanted)
        if rest := [key for key in wanted if key not in known]:
            columns = [column.name for column in TABLES[kind].columns]
            rows = self._by_ids(kind, rest, columns)
            fresh = {row[0]: from_row(kind, row) for row in rows}
            self._remembered.keep(age, kind, fresh)
            known |= fresh
        return known

    def columns(
        self, kind: type, keys: Iterable[str], names: Sequence[str]
    ) -> dict[str, tuple[Any, ...]]:
        """Return some fields, as they are stored, of the records with these ids, by their id: for
        many, of which whole records would cost more than they are worth."""
        wanted = [encoded(kind, "id", key) for key in dict.fromkeys(keys)]
        return {row[0]: row[1:] for row in self._by_ids(kind, wanted, ("id", *names))}

    def _by_ids(self, kind: type, ids: Sequence[str], columns: Sequence[str]) -> list[Row]:
        return self._duck.read(
            lambda cursor: self._known.present(
                cursor, TABLES[kind], ids, columns, least=LOOKUPS[-1] + 1
            )
        )

    def rows(
        self, kind: type[R], order: str = "", limit: int | None = None, **equal: Any
    ) -> list[R]:
        """Return the records whose fields equal the given values; a list or tuple means any of.

        Args:
            kind: the record's type.
            order: field names joined by commas, "-" before one that falls; "" as they were stored.
            limit: how many at most.
            **equal: field = value, or field = [values].
        """
        query = sa.select(TABLES[kind])
        for name, value in equal.items():
            column = _column(kind, name)
            if isinstance(value, (list, tuple, set, frozenset)):
                query = query.where(column.in_([encoded(kind, name, item) for item in value]))
            else:
                query = query.where(column == encoded(kind, name, value))
        for name in filter(None, (part.strip() for part in order.split(","))):
            column = _column(kind, name.removeprefix("-"))
            query = query.order_by(column.desc() if name.startswith("-") else column.asc())
        if limit is not None:
            query = query.limit(limit)
        return [from_row(kind, row) for row in self._duck.select(query)]

    def texts(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the contents of texts by their ids; an id that is not there is left out."""
        wanted = list(dict.fromkeys(id for id in ids if id))
        age, known = self._remembered.age(), self._remembered.texts(wanted)
        if rest := [id for id in wanted if id not in known]:
            fresh: dict[str, str] = dict(self._by_ids(Text, rest, ("id", "content")))
            self._remembered.keep_texts(age, fresh)
            known |= fresh
        return known

    def containing(self, words: str, most: int) -> list[str]:
        """Return the ids of texts that hold these words, upper and lower case alike.

        Args:
            words: as a person writes them; in prompts they may be escaped, as in JSON.
            most: how many ids at most.
        """
        query = "SELECT id FROM text WHERE contains(lower(content), lower(?)) LIMIT ?"
        found: dict[str, None] = {}
        for form in dict.fromkeys((words, json_string(words)[1:-1])):
            asked = [form, most]
            rows = self._duck.read(lambda cursor: cursor.execute(query, asked).fetchall())  # noqa: B023
            found |= dict.fromkeys(id for (id,) in rows)
        return list(found)[:most]

    def saying(self, contents: Collection[str]) -> set[str]:
        """Return the ids of the texts that are one of these, but for white space around them."""
        # Trimming costs 8 µs a text, so only what begins or ends with white space is trimmed.
        query = (
            "SELECT id FROM text WHERE content IN (SELECT unnest($these::VARCHAR[])) UNION ALL "
            "SELECT id FROM text WHERE (contains($white, left(content, 1)) OR "
            "contains($white, right(content, 1))) AND "
            "trim(content, $white) IN (SELECT unnest($these::VARCHAR[]))"
        )
        asked = {"these": list(contents), "white": WHITE_SPACE}
        return {id for (id,) in self._duck.read(lambda c: c.execute(query, asked).fetchall())}

    def messages(self, prompt: Prompt) -> list[Message]:
        """Return the conversation of a prompt.

        Raises:
            NotFound: its text is not (or no longer) there.
        """
        content = self.texts([prompt.text]).get(prompt.text)
        if content is None:
            raise NotFound(f"the text of prompt {prompt.id} is not there: it was erased")
        return _messages(content)

    def live(self, kind: type[R], assignment: str) -> R | None:
        """Return the newest event of an assignment, also when it takes the one before back."""
        known, event = self._heads.get(kind, assignment)
        if known:
            return event  # type: ignore[return-value]
        events = self._duck.read(lambda cursor: events_of(cursor, kind, [assignment]))
        return events[-1] if events else None

    def news(self, after: int) -> list[Told] | None:
        """Return the events accepted after a number of the journal; None where some are forgotten.

        An exclusion, too, makes all be forgotten that came before it: it changes what counts.
        """
        return self._news.after(after)

    def waiting(self) -> int:
        """Return about how many commands wait to be written."""
        return self._writing().waiting()

    def reached(self) -> int:
        """Return a number of the journal after which `news` knows all events."""
        return self._news.reached()

    def left_of(self, assignments: Iterable[str]) -> dict[str, str]:
        """Return which response stands on the left of each assignment, if anybody recorded it."""
        return {id: place.left for id, place in self.placed(assignments).items()}

    def placed(self, assignments: Iterable[str]) -> dict[str, Placed]:
        """Return what stands on the left of each assignment, and its kind; mostly from memory."""
        wanted = dict.fromkeys(assignments)
        found = {id: place for id in wanted if (place := self._heads.placed(id)) is not None}
        if rest := [id for id in wanted if id not in found]:
            looked_up = self.found(Assignment, rest)
            found |= {id: Placed(one.left, one.kind) for id, one in looked_up.items()}
        return found

    def count(self, kind: type) -> int:
        """Return how many records of a type there are."""
        changes, known = self.changes(kind), self._counts.get(kind)
        if known is None or known[0] != changes:
            query = sa.select(sa.func.count()).select_from(TABLES[kind])
            known = self._counts[kind] = changes, int(self._duck.select(query)[0][0])
        return known[1]

    def changes(self, kind: type) -> tuple[int, int]:
        """Return something that is another one after each change of a type's records."""
        return self._remembered.changes(kind)

    def frame(self, name: str, **params: Any) -> pd.DataFrame:
        """Return one of the named columnar queries of `storage.columns`."""
        return self._duck.read(lambda cursor: COLUMNS[name](cursor, **params))

    def coded_items(self) -> dict[str, pd.DataFrame]:
        """Return what is judged, and ratings, with places and codes for names; `storage.coded`."""
        return self._duck.read(coded_items)

    def lines(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Return the few rows of "progress" or "own_verdicts": after each vote, without pandas."""
        return self._duck.read(lambda cursor: COLUMNS[name](cursor, read=lines, **params))

    def verify(self, last: int | None = None) -> list[str]:
        """Return what is wrong with the hash chain, the first bad row first; empty if nothing.

        Args:
            last: look only at so many of the newest commands.
        """
        journal = self._written()
        return self._duck.read(lambda cursor: verify(cursor, journal, last))


def _append(event: Event, texts: Sequence[Text]) -> Append:
    return Append(event, to_row(event), [to_row(text) for text in texts])


def _together(events: Sequence[Event], texts: Sequence[Text]) -> list[Append | UserError]:
    """Return what is to be done for each of many events, or why it cannot be stored."""
    comments = {row[0]: [row] for row in to_rows(Text, texts)}
    kinds: dict[type, list[Event]] = {}
    for event in events:
        kinds.setdefault(type(event), []).append(event)
    try:
        rows = {kind: iter(to_rows(kind, some)) for kind, some in kinds.items()}
    except BadInput:
        return [_alone(event, comments) for event in events]
    return [
        Append(event, next(rows[type(event)]), _said(event, comments), Kept()) for event in events
    ]


def _alone(event: Event, comments: Mapping[str, Sequence[Row]]) -> Append | UserError:
    try:
        return Append(event, to_row(event), _said(event, comments), Kept())
    except BadInput as error:
        return error


def _said(event: Event, comments: Mapping[str, Sequence[Row]]) -> Sequence[Row]:
    """Return the texts that come with an event: its comment, if it has one."""
    return () if isinstance(event, Edit) else comments.get(event.comment, ())


def _column(kind: type, name: str) -> sa.Column[Any]:
    if name not in TABLES[kind].columns:
        raise TypeError(f"{kind.__name__} has no field {name!r}")
    return TABLES[kind].columns[name]


def _messages(content: str) -> list[Message]:
    messages: list[Message] = json.loads(content)
    return messages
