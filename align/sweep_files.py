"""Sweeps from their files alone: which there are, how they stand, what comes next. Knows no torch.

`data/sweeps/<id>.json` names a sweep's runs, in their order; how far each one is, its own folder
says. So whoever looks after the data folder goes on with the next run, also after a restart: the
app, or the command line where there is no app.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from align import runs
from align.json_files import read_json, write_json
from align.locks import FileLock
from align.models import EMBEDDED
from align.runs import RunStatus
from align.tradeoff import Point, best_of, in_words, point_of
from storage.errors import BadInput, Busy, Conflict, NotFound
from storage.records import now

Progress = Callable[[str], None]

ENDED = ("done", "failed")
RESTARTS = 2  # Choice: a run that was killed three times would be killed a fourth time
POLL_SECONDS = 0.3
CANCEL_SECONDS = 20.0  # Choice: longer than a model worker takes to leave the device


def is_sweep(id: str) -> bool:
    """Say whether an id is a sweep's; runs have others."""
    return id.startswith("w-")


def parsed(text: str) -> list[float]:
    """Return the numbers of a list like "0.01, 0.1, 0.5"; none for an empty one.

    Raises:
        BadInput: something in it is no number.
    """
    words = [word.strip() for word in text.replace(";", ",").split(",") if word.strip()]
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise BadInput(f"--betas {text!r}: give numbers, such as 0.01,0.1,0.5") from error


def command_line(
    data: Path, *, method: str, betas: str, rows: int, model: str | None,
    settings: Mapping[str, Any], remedies: Sequence[str] = (), because: str = "",
) -> str:  # fmt: skip
    """Return the shell command that begins a sweep.

    Args:
        remedies: names of settings of the snapshot that are on, such as "balance_length".

    >>> command_line(Path("d"), method="dpo", betas="0.1, 1", rows=9, model=None, settings={})
    'python app.py sweep --method dpo --betas 0.1,1 --rows 9 --data d'
    """
    words = ["python", "app.py", "sweep", "--method", method]
    words += ["--betas", betas.replace(" ", ""), "--rows", str(rows)]
    if model and model != EMBEDDED:
        words += ["--model", model]
    for key, value in settings.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    words += [f"--{name.replace('_', '-')}" for name in remedies]
    if because:
        words += ["--because", because]
    return shlex.join([*words, "--data", str(data)])


def write_sweep(data: Path, runs_of: Mapping[float, str], **facts: Any) -> str:
    """Write a new sweep down and return its id.

    Args:
        runs_of: β → its run, in the order to train them.
        facts: plain values to keep with it.
    """
    folder = data / "sweeps"
    folder.mkdir(parents=True, exist_ok=True)
    id = f"w-{now():%Y%m%d}-{secrets.token_hex(2)}"
    record = {
        "sweep": id, "betas": list(runs_of), "runs": list(runs_of.values()), **facts,
        "created_at": now().isoformat(), "cancelled": False, "ended": False, "restarts": {},
    }  # fmt: skip
    write_json(folder / f"{id}.json", record)
    return id


def read_sweep(data: Path, id: str) -> dict[str, Any]:
    """Return what is written down of a sweep.

    Raises:
        NotFound: there is no such sweep.
    """
    record = read_json(data / "sweeps" / f"{id}.json") if Path(id).name == id else {}
    if not record:
        known = ", ".join(sweep_ids(data)[:5]) or "none yet: start one with `sweep`"
        raise NotFound(f"there is no sweep {id!r}; sweeps here: {known}")
    return record


def sweep_ids(data: Path) -> list[str]:
    """Return every sweep of a data folder, newest first."""
    found = [read_json(path) for path in data.glob("sweeps/w-*.json")]
    kept = sorted((one for one in found if one), key=lambda one: str(one["created_at"]))
    return [str(one["sweep"]) for one in reversed(kept)]


def unfinished(data: Path) -> str | None:
    """Return the sweep that has runs to go, or None."""
    for path in sorted(data.glob("sweeps/w-*.json")):
        record = read_json(path)
        if record and not record["ended"]:
            return str(record["sweep"])
    return None


def refuse_beside(data: Path) -> None:
    """Refuse to start anything else while a sweep has runs to go.

    Raises:
        Busy: there is one.
    """
    if going := unfinished(data):
        raise Busy(f"the sweep {going} has runs to go; wait, or cancel it: app.py cancel {going}")


def advance(
    data: Path,
    id: str,
    make_way: Callable[[], None] = lambda: None,
    start: Callable[[Path, str], None] = runs.start,
) -> bool:
    """Start the sweep's next run if it is its turn; return whether there is anything left to do.

    Harmless to call at any time, from several processes.

    Args:
        make_way: called before a run is started: has to free the device.
        start: starts a run by its id.
    """
    lock = FileLock(data / "sweeps" / ".lock")
    if not lock.acquire():
        return True  # somebody else looks after it at this moment
    try:
        return _advance(data, id, make_way, start)
    finally:
        lock.release()


def _advance(
    data: Path, id: str, make_way: Callable[[], None], start: Callable[[Path, str], None]
) -> bool:
    record = read_sweep(data, id)
    if record["ended"]:
        return False
    states = states_of(data, record)
    if any(state.running for state in states):
        return True
    if any(state.status == "cancelled" for state in states):  # by hand: then so is what follows
        _cancel(data, record)
        return False
    following = next((state for state in states if state.status not in ENDED), None)
    if following is None:
        write_json(data / "sweeps" / f"{id}.json", {**record, "ended": True})
        return False
    if runs.going_run(data) is None and not _given_up(data, record, following):
        make_way()
        with contextlib.suppress(Busy, Conflict):  # somebody was faster; it is looked at again
            start(data, following.run)
    return True


def _given_up(data: Path, record: Mapping[str, Any], run: RunStatus) -> bool:
    """Count the restarts of a killed run; write it off after too many."""
    if run.status != "stopped":
        return False
    tried = int(record["restarts"].get(run.run, 0))
    if tried >= RESTARTS:
        words = f"was killed {tried + 1} times: out of memory? The log has more"
        write_json(data / "runs" / run.run / "status.json", {"status": "failed", "message": words})
        return True
    restarts = {**record["restarts"], run.run: tried + 1}
    write_json(data / "sweeps" / f"{record['sweep']}.json", {**record, "restarts": restarts})
    return False


def states_of(data: Path, record: Mapping[str, Any]) -> list[RunStatus]:
    """Return how the runs of a sweep stand; one whose folder was taken away is left out."""
    there = [run for run in record["runs"] if (data / "runs" / run / "config.json").is_file()]
    return [runs.status(data, run) for run in there]


def cancel(data: Path, id: str) -> dict[str, Any]:
    """Stop a sweep as a whole: the run that goes, and those that would follow.

    Raises:
        NotFound: there is no such sweep.
        Conflict: it has ended already.
        Busy: its next run is being started at this moment.
    """
    lock = FileLock(data / "sweeps" / ".lock")
    if not lock.acquire(timeout=CANCEL_SECONDS):
        raise Busy(f"the sweep {id} is about to start its next run: try again in a moment")
    try:
        record = read_sweep(data, id)
        if record["ended"]:
            raise Conflict(f"the sweep {id} has ended: there is nothing to cancel")
        _cancel(data, record)
    finally:
        lock.release()
    return {"sweep": id, "status": "cancelled"}


def _cancel(data: Path, record: Mapping[str, Any]) -> None:
    """Write down that a sweep is over, so that nothing follows, and end its runs."""
    id = record["sweep"]
    write_json(data / "sweeps" / f"{id}.json", {**record, "cancelled": True, "ended": True})
    for state in states_of(data, record):
        if state.running:
            with contextlib.suppress(Conflict):  # it ended by itself just now
                runs.cancel(data, state.run)
        elif state.status == "waiting":
            told = {"status": "cancelled", "message": f"not started: {id} was cancelled"}
            write_json(data / "runs" / state.run / "status.json", told)


def points_of(data: Path, record: Mapping[str, Any]) -> list[Point]:
    """Return what the runs of a sweep say so far, in the order of β as it was given."""
    states = {state.run: state for state in states_of(data, record)}
    return [
        point_of(beta, run, states[run].status, states[run].report, states[run].message)
        for beta, run in zip(record["betas"], record["runs"], strict=True)
        if run in states
    ]


def result_of(data: Path, id: str) -> dict[str, Any]:
    """Return a sweep as `sweep --json` prints it.

    Raises:
        NotFound: there is no such sweep.
    """
    record = read_sweep(data, id)
    points = points_of(data, record)
    best = best_of(points)
    return {
        "sweep": id,
        "status": word_of(record, points),
        **{name: record.get(name) for name in ("method", "model", "snapshot", "rows")},
        "points": [point.as_json() for point in points],
        "take": None if best is None else best.beta,
        "reading": in_words(points),
    }


def word_of(record: Mapping[str, Any], points: Sequence[Point]) -> str:
    """Return a sweep's state in one word: training, waiting, done, failed or cancelled."""
    if record["cancelled"]:
        return "cancelled"
    if not record["ended"]:
        busy = any(p.status not in (*ENDED, "waiting", "stopped", "cancelled") for p in points)
        return "training" if busy else "waiting"
    return "done" if any(point.status == "done" for point in points) else "failed"


def current(data: Path, record: Mapping[str, Any]) -> tuple[int, RunStatus] | None:
    """Return the run that goes and its place in the sweep, from 1; None between two."""
    states = states_of(data, record)
    return next(((i, one) for i, one in enumerate(states, 1) if one.running), None)


def left_to(data: Path, id: str, find_server: Callable[[Path], Any]) -> bool:
    """Return whether a sweep that the app looks after is still going: not when it has ended, nor
    when the app has, between two runs."""
    record = read_sweep(data, id)
    if record["ended"]:
        return False
    return current(data, record) is not None or find_server(data) is not None


def follow(
    data: Path, id: str, progress: Progress, line: Callable[[RunStatus], str],
    tend: Callable[[], bool],
) -> dict[str, Any]:  # fmt: skip
    """Return the result of a sweep once it has ended; tell its progress meanwhile.

    Args:
        line: a run's progress as one line.
        tend: called again and again; starts what is next where nobody else does; False: it is
            over, or nobody is there to go on.
    """
    last = ""
    while tend():
        record = read_sweep(data, id)
        if (found := current(data, record)) is not None:
            place, run = found
            beta = record["betas"][record["runs"].index(run.run)]
            now_ = f"{place} of {len(record['runs'])}, β {beta:g}: {line(run)}"
            if now_ != last:
                progress(now_)
                last = now_
        time.sleep(POLL_SECONDS)
    return result_of(data, id)
