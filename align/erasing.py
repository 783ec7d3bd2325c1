"""The command that erases a person's words or name, and what still holds them afterwards.

As in `align/commands.py`. Runs, published folders and backups are listed, never changed: an adapter
that learned from a text has no place in it to blank.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align import runs
from align.json_files import read_json
from feedback import erasing
from feedback.frozen import load
from feedback.values import one_of
from storage.errors import BadInput, Damaged, NotFound
from storage.records import Audit

if TYPE_CHECKING:
    from align.workspace import Workspace

Progress = Callable[[str], None]
VOTES = ("keep", "leave-out")
LOOKED_AT = (".json", ".jsonl", ".txt")  # files of a run in which answers are quoted
MOST_BYTES = 50_000_000  # Choice: of one such file; a run's largest is about 1 MB
BACKUPS = (
    "backups/*", "hone.duckdb.damaged*", "snapshots/*.damaged-*", "journal.*", "demo.json",
    "transfers/*",
)  # fmt: skip


def erase(
    workspace: Workspace,
    *,
    progress: Progress,
    by: str,
    kind: str,
    what: str,
    votes: str = "keep",
    dry_run: bool = True,
) -> dict[str, Any]:
    """Erase a labeler's, a prompt's or all matching texts; return {"done", "would", …, "held_by"}.

    Args:
        kind: a name in `erasing.KINDS`.
        what: a labeler's name, a prompt's id, or words that the texts hold.
        votes: of a labeler, one of VOTES: they count under the pseudonym, or not any more.
        dry_run: only say what would go.
    """
    store = workspace.store
    one_of(votes, VOTES, "--votes")
    if votes != VOTES[0] and kind != "labeler":
        raise BadInput(f"--votes is for `erase labeler`, not for `erase {kind}`: leave it out")
    found = erasing.find(store, kind, what)
    contents = list(store.texts(found.texts).values())
    told = {"done": not dry_run, **erasing.preview(store, found), "pseudonym": "", "snapshots": []}
    if dry_run:
        snapshots = [id for id, rows in _rows(workspace.data) if _hold(rows, contents)]
        return {**told, "snapshots": snapshots, "held_by": held_by(workspace, snapshots, contents)}
    progress("Writing journal and database anew; votes wait meanwhile …\n")
    done = erasing.erase(store, found, by=by, leave_out=votes == "leave-out")
    del done["erasure"]
    return {**told, **done, "held_by": held_by(workspace, done["snapshots"], contents)}


def held_by(
    workspace: Workspace, snapshots: Sequence[str], contents: Sequence[str]
) -> dict[str, list[str]]:
    """Return what was not rewritten and may hold the texts, or learned from them.

    Returns:
        {"runs": ids, "published": folders, "exports": what was exported, "files": paths in the data
        folder}.
    """
    data = workspace.data
    learned: set[str] = set()
    known = [one.run for one in runs.list_runs(data)]
    configs = {id: read_json(data / "runs" / id / "config.json") for id in known}
    for id in reversed(known):  # oldest first: a run goes on from an older one
        start = configs[id].get("start") or {}
        taught = Path(str(configs[id].get("snapshot", ""))).name in snapshots
        if taught or start.get("run") in learned or _hold(_files(data / "runs" / id), contents):
            learned.add(id)
    audits = workspace.store.rows(Audit, order="-created_at", did=["publish", "export"])
    published = [one.what for one in audits if one.did == "publish"]
    return {
        "runs": [id for id in known if id in learned],
        "published": [what for what in published if any(id in what for id in learned)],
        "exports": [one.what for one in audits if one.did == "export"],
        "files": sorted(
            path.relative_to(data).as_posix() for glob in BACKUPS for path in data.glob(glob)
        ),
    }


def _rows(data: Path) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield each snapshot's id and what stands in its files."""
    for path in sorted((data / "snapshots").glob("s_*/manifest.json")):
        try:
            load(path.parent)
        except (Damaged, NotFound):
            continue
        yield path.parent.name, _files(path.parent)


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in LOOKED_AT and path.is_file() and path.stat().st_size < MOST_BYTES:
            yield path.read_text("utf-8", "replace")


def _hold(files: Iterator[str], contents: Sequence[str]) -> bool:
    """Say whether any of the texts stands in any of the files, as JSON writes it."""
    forms = {
        json.dumps(text, ensure_ascii=ascii)[1:-1]
        for text in contents
        if len(text) >= erasing.MIN_CHARS
        for ascii in (True, False)
    }
    return any(form in file for file in files for form in forms)
