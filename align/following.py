"""Training runs from their files alone, whoever holds the data folder: list, cancel, follow.

Neither database nor torch is imported.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from align import runs, sweep_files
from align.runs import RunStatus

Progress = Callable[[str], None]

POLL_SECONDS = 0.3  # Choice: far less than a step takes, and cheap: two small files
BAR_CHARS = 24
REPORT = (  # what is printed of report.json
    "published", "held_out", "drift", "kl", "length", "repeating", "unfinished",
)  # fmt: skip


def follow(data: Path, run_id: str, progress: Progress) -> dict[str, Any]:
    """Return the result of a run once it has ended; tell its progress meanwhile.

    Raises:
        NotFound: there is no such run.
    """
    last = ""
    while True:
        now = runs.status(data, run_id)
        if not now.running:
            break
        if (line := line_of(now)) != last:
            progress(line)
            last = line
        time.sleep(POLL_SECONDS)
    if now.status != "done":
        log = data / "runs" / run_id / "log.txt"
        progress(f"{run_id} {now.status}: {now.message or 'no reason given'} (log: {log})\n")
    return result_of(now)


def result_of(now: RunStatus) -> dict[str, Any]:
    """Return a run as `train --json` prints it; the report only of a run that is done."""
    done = now.status == "done" and now.report is not None
    return {
        "run": now.run,
        "status": now.status,
        "adapter": now.adapter,
        "seconds": round(now.seconds, 1),
        "report": {key: now.report.get(key) for key in REPORT} if done and now.report else None,
        "warnings": list(now.warnings),
    }


def line_of(now: RunStatus) -> str:
    """Return a run's progress as one line.

    Example: `r-20261123-1a2b training [######..................] 12/48, about 2 min left`
    """
    if not now.steps:
        return (
            f"{now.run} {now.status}: {now.message}" if now.message else f"{now.run} {now.status}"
        )
    full = round(BAR_CHARS * min(now.step, now.steps) / now.steps)
    bar = "#" * full + "." * (BAR_CHARS - full)
    line = f"{now.run} {now.status} [{bar}] {now.step}/{now.steps}"
    return f"{line}, {left(now.seconds_left)} left" if now.seconds_left is not None else line


def left(seconds: float) -> str:
    """Return a duration as a person says it.

    >>> left(42), left(80), left(7300)
    ('42 s', '1.3 min', '2.0 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def list_runs(data: Path) -> dict[str, Any]:
    """Return every run of a data folder, newest first, as `runs --json` prints it."""
    return {"runs": [one.as_json() for one in runs.list_runs(data)]}


def cancel_run(data: Path, run: str) -> dict[str, Any]:
    """Stop a run, or a sweep as a whole; return what it is now, as `cancel --json` prints it."""
    if sweep_files.is_sweep(run):
        return sweep_files.cancel(data, run)
    stopped = runs.cancel(data, run)
    return {"run": stopped.run, "status": stopped.status}


def verify_publication(data: Path, folder: str) -> dict[str, Any]:
    """Say that a published folder is what was published, as `verify --json` prints it."""
    from align.publications import verify  # here: none of the others needs hashes

    return verify(Path(folder))


def preview_file(data: Path, file: str, format: str, columns: Sequence[str]) -> dict[str, Any]:
    """Return how a file would be read, from its first rows, as `import --preview --json` prints it;
    nothing is stored."""
    from feedback import reading  # here: none of the others reads such files
    from feedback.formats.generic import named_columns

    seen = reading.preview(Path(file), format, named_columns(columns))
    return {
        "format": seen.format,
        "rows": [_plain(dataclasses.asdict(row)) for row in seen.rows],
        "refused": [dataclasses.asdict(row) for row in seen.refused],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its time, if it has one, as text."""
    when = row.get("created_at")
    return row | {"created_at": when.isoformat()} if when else row


# The commands that need nothing but files.
FILE_COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "runs": list_runs,
    "cancel": cancel_run,
    "preview": preview_file,
    "verify": verify_publication,
}
