"""From an adapter back to every vote behind it, and from a vote to every adapter that learned from
it. Knows no torch.

A run learned from the rows of its snapshot's split "train", and so did the runs whose adapters it
went on from. Snapshots never change, so what stands in them is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align import runs
from align.json_files import read_json
from align.losses import LOSSES
from align.manifest import file_digest
from align.subset import rows_of
from feedback import frozen
from feedback.live import live_feedback
from storage.errors import BadInput

if TYPE_CHECKING:
    from storage.store import Store

KEPT_SNAPSHOTS = 64  # whose votes stay in memory. Choice: more than a screen of rounds shows


@dataclass(frozen=True, slots=True)
class Gone:
    """Votes, thumbs and edits that a run learned from and that do not count any more."""

    taken_back: Sequence[str] = ()  # undone, or changed to something else
    left_out: Sequence[str] = ()  # by a decision about them, or because an earlier one came back

    def __len__(self) -> int:
        return len(self.taken_back) + len(self.left_out)

    def as_json(self) -> dict[str, int]:
        return {"taken_back": len(self.taken_back), "left_out": len(self.left_out)}


def chain(data: Path, run: str) -> list[str]:
    """Return a run and those that it went on from, itself first.

    Raises:
        NotFound: no such run, or one that it went on from is gone.
    """
    found = [run]
    while start := read_json(runs.run_folder(data, found[-1]) / "config.json").get("start"):
        found.append(str(start["run"]))
    return found


def behind(data: Path, run: str) -> dict[str, frozenset[str]]:
    """Return {run: ids of the votes, thumbs and edits it learned from}, for a run and its chain.

    Raises:
        NotFound: a run or a snapshot is gone.
        Damaged: a snapshot cannot be read.
    """
    return {one: _taught(*_material(data, one)) for one in chain(data, run)}


def verify(data: Path, run: str) -> None:
    """Check every hash from a run's adapter back to the votes.

    Raises:
        NotFound: something is gone.
        BadInput, Damaged: naming what is not what it was.
    """
    links = chain(data, run)
    for one in links:
        adapter = runs.load_adapter(data, one)
        frozen.verify(_material(data, one)[0])
        start = read_json(runs.run_folder(data, one) / "config.json").get("start")
        if start and file_digest(_weights(data, str(start["run"]))) != start["digest"]:
            raise BadInput(
                f"{one} went on from {start['run']}, whose adapter is another one now: it cannot "
                f"be told what {adapter} learned from"
            )


def learned_from(data: Path, vote: str) -> list[str]:
    """Return the runs that learned from a vote, a thumb or an edit, newest first: those whose
    snapshot taught it, and those that went on from them."""
    found = []
    for one in runs.list_runs(data):
        if any(vote in votes for votes in behind(data, one.run).values()):
            found.append(one.run)
    return found


def gone(store: Store, data: Path, run: str) -> Gone:
    """Return what a run learned from and what does not count any more: the run is stale then."""
    return stale(store, data, [run])[run]


def stale(store: Store, data: Path, wanted: Sequence[str]) -> dict[str, Gone]:
    """Return {run: what of its feedback does not count any more}, reading the feedback once."""
    names = ("vote", "rating", "edit")
    stored: set[str] = set()
    for kind, name in zip(("votes", "ratings", "edits"), names, strict=True):
        stored |= set(store.frame(kind)[name])
    counted: set[str] = set()
    live = live_feedback(store)
    for frame, name in zip(live.frames(), names, strict=True):
        counted |= set(frame[name])
    counted |= set(live.decisions["decision"])
    found = {}
    for run in wanted:
        taught = frozenset().union(*behind(data, run).values())
        missing = sorted(taught - counted)
        found[run] = Gone(
            tuple(id for id in missing if id not in stored),
            tuple(id for id in missing if id in stored),
        )
    return found


def _material(data: Path, run: str) -> tuple[Path, str, int]:
    """Return a run's snapshot's folder, its method, and of how many rows at most it learned."""
    told = runs.status(data, run)
    return data / "snapshots" / told.snapshot, told.method, int(told.settings.get("max_rows") or 0)


def _weights(data: Path, run: str) -> Path:
    return runs.run_folder(data, run) / "adapter" / "adapter_model.safetensors"


@lru_cache(maxsize=KEPT_SNAPSHOTS)
def _taught(folder: Path, method: str, most: int) -> frozenset[str]:
    """Return the ids of what those rows of a snapshot rest on that a run of a method takes."""
    snapshot, loss = frozen.load(folder), LOSSES[method]
    rows: dict[str, list[dict[str, Any]]] = {"pairs": [], "labels": []}
    rows[loss.needs] = list(getattr(snapshot, loss.needs)("train", erased=True))
    taken, _ = rows_of(loss, rows, most)
    names = ("votes_for", "votes_against", "votes")
    return frozenset(id for row in taken for name in names for id in row.get(name, ()))
