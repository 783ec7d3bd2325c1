"""The one thread that writes: group commit, in the order that keeps promises.

For each group: decide, journal, fsync, insert, commit, acknowledge. On any error nothing of the
group counts: it is rolled back, its journal lines are declared void, and its commands are run one
by one, so that one bad command fails alone.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import duckdb

from storage.apply import apply, reached
from storage.chain import Position
from storage.decide import (
    Addition,
    Alone,
    Append,
    Job,
    Plan,
    Together,
    decide,
    fresh_assignments,
)
from storage.duck import Cursor, Duck, disk_full, is_fatal, is_full, translated
from storage.errors import BadInput, DiskFull, StoreError, UserError
from storage.heads import Heads
from storage.inserts import Inserts
from storage.journal import Journal
from storage.known import Known
from storage.limits import Limits
from storage.news import News
from storage.records import Assignment, Exclusion
from storage.remembered import Remembered
from storage.rows import from_row

GROUP = 128  # commands per commit. Choice: faults.md, rule 1 of 7
ALONE = 2_000  # rows of one addition that get a commit of their own
# Choice: a commit takes some 10 ms of processor time whether one vote or twenty are in it. So where
# several come at once, some of the time goes by until the next; who votes alone waits for nobody.
COMMITTING = 0.7  # of the time at most, while several come at once
MOST_SECONDS = 0.05  # that a command waits for others
LOG = logging.getLogger(__name__)

DATA_ERRORS = (duckdb.DataError, duckdb.IntegrityError)  # what a row is to blame for


class Writer:
    """Takes commands from any thread and answers each after its commit."""

    def __init__(
        self,
        duck: Duck,
        journal: Journal,
        position: Position,
        limits: Limits,
        *,
        heads: Heads,
        news: News,
        remembered: Remembered,
        known: Known,
    ) -> None:
        self._duck, self._journal, self._limits = duck, journal, limits
        self._heads, self._news = heads, news  # what is remembered of the events
        self._remembered = remembered  # and of all else
        self._known = known  # which keys are new
        self._position = position
        self._doubtful: list[int] = []  # numbers in the journal that the database may not have
        self._queue: queue.SimpleQueue[Job | Alone | Together | None] = queue.SimpleQueue()
        self._full = False
        self._inserts: Inserts | None = None  # over the cursor that stays
        # Taken from the queue, but not fit to share the last group's commit.
        self._held: Job | Alone | Together | None = None
        self._gather_until = 0.0  # when the next group may be closed, on the monotonic clock
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="hone-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job | Alone | Together) -> Future[Any]:
        """Queue a command; its future is answered after the commit."""
        self._put(job)
        return job.answer  # type: ignore[return-value]

    def waiting(self) -> int:
        """Return about how many commands are queued; events that go together count as one."""
        return self._queue.qsize()

    def _put(self, what: Job | Alone | Together) -> None:
        with self._closing:
            if self._closed:
                raise StoreError("the data folder is closed: start Hone again")
            self._queue.put(what)

    def close(self) -> None:
        """Finish what was queued and end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            if isinstance(group, Alone):
                self._work(group)
                continue
            jobs = [job for one in group for job in _jobs(one)]
            crowded, began = len(group) > 1, time.monotonic()
            try:
                self._process(jobs)
            except Exception as error:  # a bug: its callers must hear of it instead of waiting
                LOG.exception("the writer failed on a group of %d commands", len(jobs))
                self._forget()
                self._answer_all(jobs, error)
            for one in group:
                if isinstance(one, Together):
                    one.settle()
            ended = time.monotonic()
            pause = min(MOST_SECONDS, (ended - began) * (1 / COMMITTING - 1))
            self._gather_until = ended + pause if crowded else 0.0

    def _work(self, job: Alone) -> None:
        """Do something that nothing may be written beside; if it writes, forget all of before."""
        try:
            try:
                done = job.work(self._commit)
            finally:
                if not job.reads:
                    self._forget()
            job.answer.set_result(done)
        except duckdb.Error as error:
            job.answer.set_exception(translated(error, self._duck.path))
        except Exception as error:  # noqa: BLE001  (its caller gets it)
            job.answer.set_exception(error)

    def _next_group(self) -> list[Job | Together] | Alone:
        """Wait for a command and take with it what else is waiting; empty at the end."""
        first = self._held or self._queue.get()
        self._held = None
        if first is None:
            self._queue.put(None)
            return []
        if isinstance(first, Alone):
            return first
        big = _is_big(first)
        if not big and (missing := self._gather_until - time.monotonic()) > 0:
            time.sleep(missing)
        group, size = [first], len(_jobs(first))
        while size < GROUP and not big:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._queue.put(None)
                break
            if isinstance(job, Alone) or _is_big(job):
                self._held = job
                break
            group.append(job)
            size += len(_jobs(job))
        return group

    def _process(self, group: Sequence[Job]) -> None:
        """Commit a group; where that fails, each of its commands alone."""
        generation = self._duck.generation
        try:
            self._commit(group)
        except StoreError as error:
            self._answer_all(group, error)
        except (duckdb.Error, OSError) as error:
            self._forget()
            if is_fatal(error):
                self._reopen(generation)
            if is_full(error):
                if not self._full:  # once, not for every vote that is refused meanwhile
                    LOG.error("the disk is full: %s", error)
                self._full = True
                self._answer_all(group, disk_full(self._duck.path.parent))
            elif len(group) > 1:
                LOG.warning("a group of %d is run one by one after: %s", len(group), error)
                for job in group:
                    self._process([job])
            else:
                self._refuse(group[0], error)

    def _commit(self, group: Sequence[Job], refusal: UserError | None = None) -> None:
        with self._duck.kept_cursor() as cursor:
            if self._inserts is None or self._inserts.cursor is not cursor:
                self._inserts = Inserts(cursor)
            void = self._settle(cursor)
            plan = decide(cursor, group, self._position, self._heads, self._known, refusal=refusal)
            if plan.entries:
                self._check_room()
                entries = [*void, *plan.entries]
                self._doubtful += [entry["n"] for entry in entries]
                self._journal.write(entries, plan.texts)
                apply(self._inserts, self._known, plan)
        self._accept(plan)

    def _settle(self, cursor: Cursor) -> list[dict[str, Any]]:
        """Return the line that voids what an earlier error left in the journal alone, if any."""
        if not self._doubtful:
            return []
        stored = reached(cursor)
        lost = sorted({n for n in self._doubtful if n > stored.n})
        last = max(stored.n, self._journal.last, *self._doubtful)
        self._doubtful = list(lost)
        self._position = Position(last + 1 if lost else last, stored.hash)
        return [{"n": last + 1, "do": "void", "of": lost}] if lost else []

    def _accept(self, plan: Plan) -> None:
        """Note what is stored now, and only then answer."""
        if plan.entries:
            self._full = False
            self._doubtful = []
            self._position = plan.position
            fresh = fresh_assignments(plan)
            self._heads.learn(fresh, (told.event for told in plan.events), fresh)
            if Exclusion in plan.rows:  # it changes what earlier events count for
                self._news.restart(plan.position.n)
            self._news.tell(plan.events)
            self._remember(plan)
        for future, answer in plan.answers:
            future.set_result(answer)

    def _remember(self, plan: Plan) -> None:
        """Tell what changed; what somebody was just given will be judged next."""
        self._remembered.changed({*plan.rows, *(kind for kind, _ in plan.updates)})
        given = plan.rows.get(Assignment, ())
        if len(given) <= GROUP:
            rows = {row[0]: from_row(Assignment, row) for row in given}
            self._remembered.keep(self._remembered.age(), Assignment, rows)

    def _forget(self) -> None:
        """Remember nothing, after an error that left doubt about what is stored."""
        self._heads.forget()
        self._known.forget()
        self._remembered.forget()
        self._news.restart(None)

    def _refuse(self, job: Job, error: Exception) -> None:
        """Answer a command that failed alone: a refusal on record if its values are to blame."""
        if isinstance(error, OSError):
            why = StoreError(f"the journal cannot be written ({error}): nothing was stored")
            self._answer_all([job], why)
            return
        if not isinstance(error, DATA_ERRORS):
            self._answer_all([job], translated(error, self._duck.path))
            return
        refusal = BadInput(f"the database refuses {_name(job)}: {str(error).splitlines()[0]}")
        if not isinstance(job, Append):
            self._answer_all([job], refusal)
            return
        try:
            self._commit([job], refusal)
        except (duckdb.Error, OSError, StoreError) as again:
            self._answer_all([job], translated(again, self._duck.path))

    def _reopen(self, generation: int) -> None:
        """Bring the database back after a FATAL error, so that at least reads go on."""
        LOG.error("DuckDB gave up; its file is closed and opened again")
        try:
            self._duck.reopen(generation)
        except UserError as error:
            LOG.error("not yet: %s", error)

    def _check_room(self) -> None:
        """Raise DiskFull before the disk is so full that DuckDB could not even tidy up."""
        folder = self._duck.path.parent
        if spare := self._limits.missing_room(folder):
            raise DiskFull(
                f"the disk that holds {folder} has less than {spare / 1e6:,.1f} MB left: nothing "
                "was stored. Make room and try again; Hone need not be restarted."
            )

    def _answer_all(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            if not job.answer.done():
                job.answer.set_exception(error)


def _jobs(one: Job | Together) -> Sequence[Job]:
    return one.jobs if isinstance(one, Together) else (one,)


def _is_big(one: Job | Together) -> bool:
    """Say whether something gets a commit of its own."""
    if isinstance(one, Together):
        return len(one.jobs) > GROUP
    return isinstance(one, Addition) and sum(map(len, one.rows.values())) > ALONE


def _name(job: Job) -> str:
    if isinstance(job, Append):
        return f"{type(job.event).__name__.lower()} {job.event.id}"
    return "a row"
