"""What moved since a page last looked: a short mark for each part of the app's state.

A page that is in front asks for the marks every few seconds (`feedback/screens/news.js`) and draws
anew what listens to a mark that changed. Asked by an event of the page itself, every look would
cost its browser, which may be the machine that trains, a tenth of a second per field. Knows no
gradio and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from align import comparing, demo, runs, sweep_files

if TYPE_CHECKING:
    from align.workspace import Workspace

FOLLOWED = ("status.json", "metrics.jsonl", "log.txt", "report.json")  # of a run's folder


def news(workspace: Workspace, of: Iterable[str]) -> dict[str, str]:
    """Return the marks of these parts, without those that there are not; a mark says nothing but
    that the part is another than before."""
    return {name: PARTS[name](workspace) for name in of if name in PARTS}


def _votes(workspace: Workspace) -> str:
    return str(workspace.store.reached())


def _runs(workspace: Workspace) -> str:
    """Return another mark after every step of a run, and when one begins, ends or dies."""
    folders = sorted((workspace.data / "runs").glob("r-*"))
    stamps = _stamps(folder / name for folder in folders for name in FOLLOWED)
    going = runs.going_run(workspace.data)
    return _digest([*stamps, going.run if going else ""])


def _states(workspace: Workspace) -> str:
    """Return another mark when a run begins, becomes another in its state, or is found wanting."""
    known = runs.list_runs(workspace.data)
    return _digest([(one.run, one.status, one.running, len(one.warnings)) for one in known])


def _sweeps(workspace: Workspace) -> str:
    """Return another mark when a sweep begins or ends, and with every step of its runs."""
    ids = sweep_files.sweep_ids(workspace.data)
    if not ids:
        return ""
    files = [workspace.data / "sweeps" / f"{name}.json" for name in ids]
    going = sweep_files.unfinished(workspace.data) is not None
    return _digest([*_stamps(files), _runs(workspace) if going else ""])


def _waiting(workspace: Workspace) -> str:
    return comparing.waiting(workspace.data) or ""


def _answers(workspace: Workspace) -> str:
    return _digest([workspace.replenisher.progress(), _waiting(workspace)])


def _demo(workspace: Workspace) -> str:
    stamps = _stamps([workspace.data / demo.FILE])
    return _digest([*stamps, _runs(workspace)]) if stamps[0] else ""


PARTS: Mapping[str, Callable[[Workspace], str]] = {
    "votes": _votes,
    "runs": _runs,
    "states": _states,
    "sweeps": _sweeps,
    "waiting": _waiting,
    "answers": _answers,
    "demo": _demo,
}


def _stamps(files: Iterable[Path]) -> list[tuple[int, int] | None]:
    """Return when each file was last written, in nanoseconds, and its size; None without one."""
    found: list[tuple[int, int] | None] = []
    for file in files:
        try:
            seen = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((seen.st_mtime_ns, seen.st_size))
    return found


def _digest(what: object) -> str:
    return sha256(repr(what).encode()).hexdigest()[:16]
