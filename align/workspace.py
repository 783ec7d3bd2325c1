"""One open data folder and what works on it: the store, the model worker, the background generator.

The web server and the command line open the same thing; whoever has it open holds the folder's
LOCK. Knows no torch: models run in the worker process, training in its own child process.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from align.client import WorkerClient
from align.folder import prepare_folder
from align.generation import Replenisher
from feedback import transfers
from storage.limits import Limits
from storage.store import Store

# Choice: answers that one press of a button lets a model score, some three minutes on two cores: as
# long as somebody waits.
SCORED_AT_ONCE = 200
INTENTION = "erasing.json"  # what an erasure that was interrupted leaves behind


@dataclass(frozen=True)
class Workspace:
    """A data folder held by this process; use as a context manager or call `close`."""

    data: Path  # absolute
    store: Store
    client: WorkerClient
    replenisher: Replenisher
    token: (
        str  # lets the command line run commands in this process; lies in LOCK, new at every open
    )

    @classmethod
    def open(cls, data: Path, *, serving: bool = False) -> Workspace:
        """Take the folder's lock, open its store and prepare (not start) worker and generator.

        Args:
            serving: requests are answered beside whatever reads the store.

        Raises:
            BadInput: `data` is a file or cannot be made.
            Locked: another process holds the folder.
            Damaged, DiskFull: the store cannot be opened.
        """
        folder = prepare_folder(data)
        store = Store.open(folder, Limits(alone=not serving))
        transfers.clear(folder)
        if (folder / INTENTION).is_file():
            from feedback.erasing import resume  # here: a start that nothing waits for needs none

            resume(store)
        client = WorkerClient(folder)
        replenisher = Replenisher(store, client)
        return cls(folder, store, client, replenisher, secrets.token_urlsafe(32))

    def score(self, progress: Callable[[str], None]) -> dict[str, Any]:
        """Let a model score some more of the compared answers, as the command `score` does.

        For screens of `feedback`, which knows no model.

        Args:
            progress: gets a line of text now and then.

        Returns:
            {"model", "adapter", "scored", "left"}.

        Raises:
            Busy: a run trains.
            UserError: as `align.scoring.score_compared`.
        """
        from align.commands import score  # here: it imports this module, and what votes wait for

        return score(self, progress=progress, limit=SCORED_AT_ONCE)

    def close(self) -> None:
        """End the background work and the worker, and give the folder free. Training goes on."""
        self.replenisher.stop()
        self.client.leave()
        transfers.clear(self.data)
        self.store.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
