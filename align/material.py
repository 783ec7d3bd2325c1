"""What a run is to learn from: a frozen snapshot, or the feedback as it is now, read once.

Looking ahead, the light and the snapshot that is frozen then are of the same moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from align.workspace import Workspace
from feedback import snapshots
from feedback.checks.result import CheckResult
from feedback.quality import run_checks
from feedback.selection import Selection, select_settled
from feedback.snapshots import SnapshotSettings
from storage.errors import BadInput


class Material(Protocol):
    """Rows to learn from, and what the checks say of the feedback behind them."""

    @property
    def counts(self) -> Mapping[str, Any]:
        """Rows by split, as a manifest has them."""

    @property
    def checks(self) -> Sequence[CheckResult]:
        """What the checks say; of a snapshot, what they said when it was frozen."""

    @property
    def unheard(self) -> Sequence[str]:
        """Names of the checks that did not look at it: it was frozen before there were any."""

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return {"pairs": …, "labels": …}; nothing is written."""

    def freeze(self, checks: Sequence[CheckResult] | None = None) -> Path:
        """Return the folder of the snapshot with these rows; `checks` is what it remembers."""


def material(
    workspace: Workspace,
    snapshot: Path | None,
    selected: SnapshotSettings = SnapshotSettings(),
) -> Material:
    """Return what a run would learn from.

    Args:
        snapshot: a snapshot's folder; None reads the feedback as it is now.
        selected: what a snapshot of now would hold.

    Raises:
        BadInput: the feedback gives no pair and no label.
    """
    if snapshot is not None:
        return Kept(snapshot, snapshots.verify(snapshot))
    chosen = select_settled(workspace.store, selected)
    if not chosen.preferences.pairs and not chosen.preferences.labels:
        raise BadInput(chosen.nothing())
    return Now(workspace, selected, chosen)


@dataclass(frozen=True)
class Kept:
    """A snapshot: all of it was settled when it was frozen."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def counts(self) -> Mapping[str, Any]:
        counts: Mapping[str, Any] = self.manifest["counts"]
        return counts

    @property
    def checks(self) -> Sequence[CheckResult]:
        return snapshots.remembered(self.manifest)

    @property
    def unheard(self) -> Sequence[str]:
        return snapshots.unheard(self.manifest)

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        frozen = snapshots.load(self.folder)
        return {"pairs": list(frozen.pairs()), "labels": list(frozen.labels())}

    def freeze(self, checks: Sequence[CheckResult] | None = None) -> Path:
        return self.folder


@dataclass(frozen=True)
class Now:
    """The feedback as it was when this was made; the checks run when they are first asked for."""

    workspace: Workspace
    selected: SnapshotSettings
    chosen: Selection

    @cached_property
    def counts(self) -> Mapping[str, Any]:
        return self.chosen.counts()

    @cached_property
    def checks(self) -> Sequence[CheckResult]:
        return run_checks(self.workspace.store, simulated=self.selected.simulated)

    @property
    def unheard(self) -> Sequence[str]:
        return ()

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        return snapshots.rows_of(self.workspace.store, self.chosen)

    def freeze(self, checks: Sequence[CheckResult] | None = None) -> Path:
        frozen = snapshots.freeze(
            self.workspace.store, self.selected, chosen=self.chosen, checks=checks
        )
        return self.workspace.data / "snapshots" / frozen.id
