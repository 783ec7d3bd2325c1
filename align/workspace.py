"""One open data folder and what works on it: the store, the model worker, the background generator.

The web server and the command line open the same thing; whoever has it open holds the folder's
LOCK. Knows no torch: models run in the worker process, training in its own child process.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from align.client import WorkerClient
from align.folder import prepare_folder
from align.generation import Replenisher
from storage.store import Store


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
    def open(cls, data: Path) -> Workspace:
        """Take the folder's lock, open its store and prepare (not start) worker and generator.

        Raises:
            BadInput: `data` is a file or cannot be made.
            Locked: another process holds the folder.
            Damaged, DiskFull: the store cannot be opened.
        """
        folder = prepare_folder(data)
        store = Store.open(folder)
        client = WorkerClient(folder)
        replenisher = Replenisher(store, client)
        return cls(folder, store, client, replenisher, secrets.token_urlsafe(32))

    def close(self) -> None:
        """End the background work and the worker, and give the folder free. Training goes on."""
        self.replenisher.stop()
        self.client.leave()
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
