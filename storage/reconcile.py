"""Start-up: open the file, set aside a log that will not replay, and catch up with the journal.

The journal is always at least as far as the database, because it is written first. What the
database lacks (a crash before the commit, a damaged log, a file that was deleted) is replayed.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from storage.apply import apply, reached
from storage.chain import Position
from storage.decide import Plan, new_rows
from storage.duck import Cursor, Duck, damaged, first_line, translated
from storage.errors import Damaged, StoreError
from storage.inserts import Inserts
from storage.journal import Entry, Journal
from storage.known import Known
from storage.limits import Limits
from storage.records import Text
from storage.rows import Row, from_json
from storage.tables import COMMAND, EVENTS, KINDS, TABLES

AT_ONCE = 2_000  # rows per transaction of a replay. Choice: a rebuild of 100,000 votes in seconds
COPY = "before-start-"
LOG = logging.getLogger(__name__)


def open_database(path: Path, limits: Limits) -> Duck:
    """Open the file; where its write-ahead log will not replay, set the log aside and go on.

    The log is copied before DuckDB sees it, because DuckDB deletes a log whose tail it cannot read.
    The copy is dropped by `settle_logs` once the journal confirmed that nothing is missing.
    """
    logs = logs_of(path)
    for log in logs:
        quarantine(path).mkdir(exist_ok=True)
        shutil.copyfile(log, quarantine(path) / f"{COPY}{log.name}")
    try:
        return Duck(path, limits)
    except duckdb.Error as error:
        why = _why_not(error, path)
        if not isinstance(why, Damaged) or not logs:
            raise why from error
    stamp = _stamp()
    for log in logs:
        log.rename(quarantine(path) / f"{stamp}-{log.name}")
        LOG.warning("%s would not replay: moved to quarantine/, the journal is replayed", log)
    try:
        return Duck(path, limits)
    except duckdb.Error as error:
        for log in logs:
            (quarantine(path) / f"{stamp}-{log.name}").rename(log)
        raise _why_not(error, path) from error


def _why_not(error: duckdb.Error, path: Path) -> StoreError:
    """Return why a file does not open; what DuckDB has no class for is damage."""
    reason = translated(error, path)
    return reason if isinstance(reason, StoreError) else damaged(path, first_line(error))


def logs_of(path: Path) -> list[Path]:
    """Return DuckDB's write-ahead logs beside a database file: up to two during a checkpoint."""
    return sorted(path.parent.glob(path.name + ".wal*"))


def quarantine(path: Path) -> Path:
    """Return the folder for logs that were set aside."""
    return path.parent / "quarantine"


def settle_logs(path: Path, replayed: int) -> None:
    """Drop the copies of the logs; keep them where the journal had more than the database."""
    stamp = _stamp()
    for copy in quarantine(path).glob(COPY + "*"):
        if replayed:
            copy.rename(copy.with_name(f"{stamp}-{copy.name}"))
        else:
            copy.unlink()
    if quarantine(path).exists() and not any(quarantine(path).iterdir()):
        quarantine(path).rmdir()


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def reconcile(duck: Duck, journal: Journal) -> tuple[Position, int]:
    """Replay what the database lacks; return where both stand now, and how many entries it took.

    Raises:
        Damaged: the file and the journal tell different stories.
    """
    with duck.cursor() as cursor:
        before = reached(cursor)
        _check_same_story(cursor, journal, duck.path)
        void = {n for e in journal.entries(before.n) if e["do"] == "void" for n in e["of"]}
        replayed = 0
        if journal.last_entry > before.n:
            known = Known(duck)
            for entries, texts in _groups(journal, before.n, void):
                replayed += _replay(cursor, journal, entries, texts, known)
        _check_counts(cursor, duck.path)
        after = reached(cursor)
    if replayed:
        LOG.warning("%d entries of the journal were missing in %s: stored", replayed, duck.path)
    if journal.last_entry < before.n:
        LOG.warning("the journal ends at %d, the database at %d", journal.last_entry, before.n)
    return Position(max(after.n, journal.last), after.hash), replayed


def _check_same_story(cursor: Cursor, journal: Journal, path: Path) -> None:
    """Compare the last command of the database with the journal's line of the same number."""
    rows = cursor.execute("SELECT n, hash, id FROM command ORDER BY n DESC LIMIT 1").fetchall()
    if not rows:
        return
    n, hash, id = rows[0]
    entry = next((e for e in journal.entries(n - 1) if e["n"] == n), None)
    if entry is not None and entry.get("hash") != hash:
        raise Damaged(
            f"{path} and the journal beside it do not belong together: number {n} is {id} here and "
            f"{entry.get('id', entry['do'])} there. Put back the pair that was saved together."
        )


def _check_counts(cursor: Cursor, path: Path) -> None:
    """Compare the accepted commands with the events; both are counted by scans, not by an index."""
    for kind in EVENTS:
        name = TABLES[kind].name
        query = f'SELECT count(*) FROM "{name}"'
        (events,) = cursor.execute(query).fetchall()[0]
        query = "SELECT count(*) FROM command WHERE accepted AND kind = ?"
        (commands,) = cursor.execute(query, [name]).fetchall()[0]
        if events != commands:
            raise damaged(path, f"{commands} {name}s were accepted, {events} are there")


def _groups(
    journal: Journal, after: int, void: set[int]
) -> Iterator[tuple[list[Entry], list[Entry]]]:
    """Return entries to replay with their texts, whole numbers together, some thousand rows."""
    texts = journal.texts(after)
    text = next(texts, None)
    group: list[Entry] = []
    for entries in _whole(journal.entries(after)):
        if entries[0]["n"] in void or entries[0]["do"] == "void":
            continue
        group += entries
        if sum(map(_weight, group)) < AT_ONCE:
            continue
        mine: list[Entry] = []
        while text is not None and text["n"] <= group[-1]["n"]:
            mine += [text] if text["n"] not in void else []
            text = next(texts, None)
        yield group, mine
        group = []
    if group:
        rest = [text, *texts] if text is not None else []
        yield group, [text for text in rest if text["n"] not in void]


def _whole(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Return the entries by number; an addition whose last part never arrived is left out."""
    parts: list[Entry] = []
    for entry in entries:
        if parts and parts[0]["n"] != entry["n"]:
            LOG.warning("addition %d was never finished: left out", parts[0]["n"])
            parts = []
        parts.append(entry)
        if entry["do"] != "add" or entry["end"]:
            yield parts
            parts = []


def _weight(entry: Entry) -> int:
    return sum(len(packed["rows"]) for packed in entry.get("rows", {}).values()) or 1


def _replay(
    cursor: Cursor, journal: Journal, entries: list[Entry], texts: list[Entry], known: Known
) -> int:
    """Store entries, one by one where they fail together; return how many were stored."""
    numbers = sorted({entry["n"] for entry in entries})
    try:
        apply(Inserts(cursor), known, _plan(cursor, entries, texts, known))
    except (duckdb.DataError, duckdb.IntegrityError) as error:
        if len(numbers) == 1:
            LOG.error("number %d of the journal cannot be stored: %s", numbers[0], error)
            journal.write([{"n": journal.last + 1, "do": "void", "of": numbers}])
            return 0
        _replay(cursor, journal, [], texts, known)
        return sum(
            _replay(cursor, journal, [e for e in entries if e["n"] == n], [], known)
            for n in numbers
        )
    return len(numbers)


def _plan(cursor: Cursor, entries: list[Entry], texts: list[Entry], known: Known) -> Plan:
    """Return what a group of the journal's entries adds to the database."""
    plan = Plan(Position(0, ""))
    added: dict[type, list[Row]] = {
        Text: [(text["id"], text["content"], len(text["content"])) for text in texts]
    }
    for entry in entries:
        at = datetime.now(UTC).replace(tzinfo=None)
        for name, packed in entry.get("rows", {}).items():
            rows = [
                from_json(KINDS[name], dict(zip(packed["columns"], row, strict=True)))
                for row in packed["rows"]
            ]
            if entry["do"] == "update":
                plan.updates += [(KINDS[name], row) for row in rows]
            else:
                added.setdefault(KINDS[name], []).extend(rows)
        if entry["do"] != "event" and not any(entry["n"] == n for n, *_ in plan.batches):
            plan.batches.append((entry["n"], _weight(entry), at))
    for kind, rows in added.items():
        plan.add(kind, list(new_rows(cursor, kind, rows, known).values()))
    _plan_events(cursor, plan, [e for e in entries if e["do"] == "event"], known)
    return plan


def _plan_events(cursor: Cursor, plan: Plan, entries: list[Entry], known: Known) -> None:
    answered = {id for (id,) in known.present(cursor, COMMAND, [entry["id"] for entry in entries])}
    for entry in entries:
        if entry["id"] in answered:
            continue
        answered.add(entry["id"])
        kind = KINDS[entry["kind"]]
        if entry["accepted"]:
            plan.add(kind, [from_json(kind, entry["row"])])
        keys = ("id", "n", "kind", "accepted", "error", "reason", "digest", "hash")
        plan.commands.append((*(entry[key] for key in keys), datetime.fromisoformat(entry["at"])))
