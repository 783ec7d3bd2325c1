"""What one group of commands comes to, before anything is written.

Reads what the group depends on, decides each command in the order of arrival, and returns a `Plan`:
the journal's lines, the rows to insert, and the answers to give after the commit. With one writer
nothing can change between the decision and the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from storage import errors
from storage.chain import Position, event_digest, link
from storage.duck import Cursor, present
from storage.errors import Conflict, NotFound, UserError
from storage.heads import Heads, Placed
from storage.journal import Entry
from storage.known import Known
from storage.news import Told
from storage.records import Assignment, Event, Receipt, Text
from storage.rows import Row, from_row, without_zone
from storage.tables import COMMAND, TABLES

ROWS_PER_LINE = 1000  # of an addition in the journal. Choice: lines of some 100 kB


class Kept:
    """One event's answer among many: what a `Future` does for nobody who waits, in a tenth."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None

    def done(self) -> bool:
        """Say whether the answer is there."""
        return self.value is not None

    def set_result(self, value: Any) -> None:
        """Keep the answer, or the error that came in its place."""
        self.value = value

    set_exception = set_result


@dataclass(slots=True, eq=False)
class Append:
    """One event to be kept, with the texts that came with it."""

    event: Event
    row: Row
    texts: Sequence[Row] = ()
    answer: Future[Any] | Kept = field(default_factory=Future)


@dataclass(slots=True, eq=False)
class Together:
    """Events that get one commit, and their answers at once: a list, in their order."""

    jobs: list[Append]  # each with a `Kept`
    answer: Future[list[Any]] = field(default_factory=Future)

    def settle(self) -> None:
        """Answer with what became of each; an error that no user can mend is raised there."""
        values = [job.answer.value for job in self.jobs]  # type: ignore[union-attr]
        bug = next((one for one in values if _is_bug(one)), None)
        if bug is None:
            self.answer.set_result(values)
        else:
            self.answer.set_exception(bug)


def _is_bug(answer: Any) -> bool:
    return isinstance(answer, BaseException) and not isinstance(answer, UserError)


@dataclass(slots=True, eq=False)
class Addition:
    """Ordinary rows to be added where their key is new."""

    rows: dict[type, list[Row]]
    answer: Future[Any] = field(default_factory=Future)


@dataclass(slots=True, eq=False)
class Update:
    """A row of a mutable table, to take the place of the one with its id."""

    kind: type
    row: Row
    answer: Future[Any] = field(default_factory=Future)


@dataclass(slots=True, eq=False)
class Alone:
    """Work that nothing may be written beside: it gets what commits jobs at once."""

    work: Callable[[Callable[[Sequence[Job]], None]], Any]
    reads: bool = False  # it changes nothing, so what is remembered holds
    answer: Future[Any] = field(default_factory=Future)


Job = Append | Addition | Update


@dataclass(slots=True)
class Plan:
    """What to write, and what to answer once it is written."""

    position: Position  # after this plan
    entries: list[Entry] = field(default_factory=list)
    texts: list[Entry] = field(default_factory=list)
    rows: dict[type, list[Row]] = field(default_factory=dict)
    commands: list[Row] = field(default_factory=list)
    batches: list[Row] = field(default_factory=list)
    updates: list[tuple[type, Row]] = field(default_factory=list)
    events: list[Told] = field(default_factory=list)  # the accepted ones
    answers: list[tuple[Future[Any] | Kept, Any]] = field(default_factory=list)

    def add(self, kind: type, rows: list[Row]) -> None:
        """Take rows to insert."""
        if rows:
            self.rows.setdefault(kind, []).extend(rows)


def decide(
    cursor: Cursor,
    jobs: Sequence[Job],
    position: Position,
    heads: Heads,
    known: Known,
    *,
    refusal: UserError | None = None,
) -> Plan:
    """Return what a group of commands comes to.

    Args:
        cursor: reads the committed state.
        jobs: in the order of arrival.
        position: where the journal and the chain stand.
        heads: the newest event of recently used assignments.
        known: which keys are new.
        refusal: refuse every event with this: the database would not take it.
    """
    plan = Plan(position)
    appends = [job for job in jobs if isinstance(job, Append)]
    if appends:
        _decide_events(cursor, plan, appends, heads, known, refusal)
    additions = [job for job in jobs if isinstance(job, Addition)]
    if additions:
        _decide_additions(cursor, plan, additions, known)
    for job in jobs:
        if isinstance(job, Update):
            _decide_update(cursor, plan, job)
    return plan


def _decide_events(
    cursor: Cursor,
    plan: Plan,
    jobs: list[Append],
    heads: Heads,
    known: Known,
    refusal: UserError | None,
) -> None:
    answered = {
        id: answer_of(id, accepted, error, reason)
        for id, accepted, error, reason in known.present(
            cursor, COMMAND, [job.event.id for job in jobs], ("id", "accepted", "error", "reason")
        )
    }
    fresh = [job for job in jobs if job.event.id not in answered]
    newest = _newest(cursor, fresh, heads)
    texts = new_rows(cursor, Text, [row for job in fresh for row in job.texts], known)
    stored: set[str] = set()
    at = utc_now()
    for job in jobs:
        event = job.event
        if event.id in answered:
            plan.answers.append((job.answer, answered[event.id]))
            continue
        place = type(event), event.assignment
        head = newest.get(place)
        why = refusal or conflict_of(event, head)
        _take_event(plan, job, why, head, at)
        answered[event.id] = why or Receipt(event.id, repeated=True)
        if why is None:
            newest[place] = event
            if not job.texts:
                continue
            own = [row for row in job.texts if row[0] in texts and row[0] not in stored]
            stored.update(row[0] for row in own)
            plan.add(Text, own)
            plan.texts += [text_entry(plan.position.n, row) for row in own]


def _take_event(
    plan: Plan, job: Append, why: UserError | None, head: Event | None, at: datetime
) -> None:
    """Number an event, put it into the journal, the chain and, unless refused, its table.

    Args:
        head: the newest event of its assignment so far.
        at: when it was decided.
    """
    event, row = job.event, job.row
    kind, names = _table_of(type(event))
    n, accepted = plan.position.n + 1, why is None
    error, reason = (type(why).__name__, str(why)) if why else ("", "")
    digest = event_digest(kind, row)
    hash = link(plan.position.hash, n, event.id, accepted, reason, digest)
    plan.position = Position(n, hash)
    plan.entries.append({
        "n": n, "do": "event", "id": event.id, "kind": kind, "accepted": accepted,
        "error": error, "reason": reason, "at": at,
        "row": dict(zip(names, row, strict=True)), "digest": digest, "hash": hash,
    })  # fmt: skip
    plan.commands.append((event.id, n, kind, accepted, error, reason, digest, hash, at))
    if accepted:
        plan.rows.setdefault(type(event), []).append(row)
        plan.events.append(Told(n, event, head))
    plan.answers.append((job.answer, why or Receipt(event.id, repeated=False)))


@cache
def _table_of(kind: type) -> tuple[str, tuple[str, ...]]:
    """Return the name of a type's table and those of its columns."""
    table = TABLES[kind]
    return str(table.name), tuple(str(column.name) for column in table.columns)


def conflict_of(event: Event, head: Event | None) -> UserError | None:
    """Return why an event may not follow the newest one of its assignment; None if it may."""
    following = 0 if head is None else head.revision + 1
    what = type(event).__name__.lower()
    if event.revision == following:
        return None
    if event.revision < following:
        return Conflict(
            f"assignment {event.assignment} has a {what} with revision {event.revision} already "
            f"({head.id if head else ''} is its newest): reload, and send revision {following} to "
            "change it."
        )
    return Conflict(
        f"revision {event.revision} of the {what} on assignment {event.assignment} comes too "
        f"early: {following} is the next. Reload and try again."
    )


def _newest(cursor: Cursor, jobs: list[Append], heads: Heads) -> dict[tuple[type, str], Event]:
    """Return the newest event of each (kind, assignment) of the jobs that has one."""
    newest: dict[tuple[type, str], Event] = {}
    unknown: dict[type, set[str]] = {}
    for job in jobs:
        kind, assignment = type(job.event), job.event.assignment
        known, head = heads.get(kind, assignment)
        if head is not None:
            newest[kind, assignment] = head
        elif not known and assignment != job.event.id:  # else nothing can have come before it
            unknown.setdefault(kind, set()).add(assignment)
    for kind, assignments in unknown.items():
        for event in events_of(cursor, kind, sorted(assignments)):
            newest[kind, event.assignment] = event
    return newest


def events_of(cursor: Cursor, kind: type, assignments: Sequence[str]) -> list[Any]:
    """Return every event of some assignments, oldest revision first, by one scan."""
    columns = ", ".join(f'"{column.name}"' for column in TABLES[kind].columns)
    query = (
        f'SELECT {columns} FROM "{TABLES[kind].name}" WHERE assignment IN '
        "(SELECT unnest(?::VARCHAR[])) ORDER BY revision"
    )
    return [from_row(kind, row) for row in cursor.execute(query, [list(assignments)]).fetchall()]


def _decide_additions(cursor: Cursor, plan: Plan, jobs: list[Addition], known: Known) -> None:
    """Give every new row to the first job that brings it; all of a group share one number."""
    kinds = {kind for job in jobs for kind in job.rows}
    kinds_in_order = [kind for kind in TABLES if kind in kinds]
    new: dict[type, dict[str, Row]] = {}
    for kind in kinds_in_order:
        rows = [row for job in jobs for row in job.rows.get(kind, ())]
        new[kind] = new_rows(cursor, kind, rows, known)
    total = sum(map(len, new.values()))
    n = plan.position.n + 1
    for job in jobs:
        counts = dict.fromkeys(job.rows, 0)
        for kind, rows in job.rows.items():
            own = [row for row in rows if new[kind].get(row[0]) is row]
            counts[kind] = len(own)
            if kind is Text:
                planned = {row[0] for row in plan.rows.get(Text, ())}
                own = [row for row in own if row[0] not in planned]
                plan.texts += [text_entry(n, row) for row in own]
            plan.add(kind, own)
        plan.answers.append((job.answer, counts))
    if total:
        plan.position = Position(n, plan.position.hash)
        plan.batches.append((n, total, utc_now()))
        plan.entries += addition_entries(n, {k: list(v.values()) for k, v in new.items()})


def _decide_update(cursor: Cursor, plan: Plan, job: Update) -> None:
    table = TABLES[job.kind]
    if not present(cursor, table, [job.row[0]]):
        missing = NotFound(f"there is no {table.name} {job.row[0]!r}: add it first")
        plan.answers.append((job.answer, missing))
        return
    n = plan.position.n + 1
    plan.position = Position(n, plan.position.hash)
    plan.updates.append((job.kind, job.row))
    plan.batches.append((n, 1, utc_now()))
    plan.entries.append({"n": n, "do": "update", "rows": _packed({job.kind: [job.row]})})
    plan.answers.append((job.answer, None))


def new_rows(cursor: Cursor, kind: type, rows: Sequence[Row], known: Known) -> dict[str, Row]:
    """Return the rows whose id the database has not, by id; the first of equals."""
    found = {id for (id,) in known.present(cursor, TABLES[kind], [row[0] for row in rows])}
    new: dict[str, Row] = {}
    for row in rows:
        if row[0] not in found:
            new.setdefault(row[0], row)
    return new


def text_entry(n: int, row: Row) -> Entry:
    """Return the journal's line for a text."""
    return {"n": n, "id": row[0], "content": row[1]}


def addition_entries(n: int, rows: Mapping[type, list[Row]]) -> Iterator[Entry]:
    """Return the journal's lines for added rows: parts of one number, the last marked."""
    parts = [
        {kind: kept[start : start + ROWS_PER_LINE]}
        for kind, kept in rows.items()
        if kind is not Text
        for start in range(0, len(kept), ROWS_PER_LINE)
    ]
    if sum(map(len, rows.values())) <= ROWS_PER_LINE:
        parts = [{kind: kept for kind, kept in rows.items() if kind is not Text and kept}]
    for number, part in enumerate(parts or [{}], start=1):
        yield {"n": n, "do": "add", "rows": _packed(part), "end": number >= len(parts)}


def _packed(rows: Mapping[type, list[Row]]) -> dict[str, Any]:
    return {
        str(TABLES[kind].name): {
            "columns": [column.name for column in TABLES[kind].columns],
            "rows": kept,
        }
        for kind, kept in rows.items()
    }


def answer_of(id: str, accepted: bool, error: str, reason: str) -> Receipt | UserError:
    """Return the answer that a command got when it first came."""
    if accepted:
        return Receipt(id, repeated=True)
    kind = getattr(errors, error, Conflict)
    refusal: UserError = kind(reason)
    return refusal


def fresh_assignments(plan: Plan) -> dict[str, Placed]:
    """Return the assignments that a plan adds, and what they say of themselves: none has events."""
    names = [column.name for column in TABLES[Assignment].columns]
    left, kind = names.index("left"), names.index("kind")
    return {row[0]: Placed(row[left], row[kind]) for row in plan.rows.get(Assignment, ())}


def utc_now() -> datetime:
    """Return the time as the database stores it."""
    return without_zone(datetime.now(UTC))
