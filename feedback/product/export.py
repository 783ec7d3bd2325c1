"""What was collected as a file of one of the field's formats: GET /api/v1/export."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from feedback import audit
from feedback.accounts import ALONE
from feedback.gate import person_of
from feedback.transfers import new_folder
from feedback.values import shown
from storage.errors import NotFound
from storage.store import Store

Format = Literal["trl", "trl-labels", "llama-factory", "llama-factory-kto", "votes"]


def export(
    store_of: Callable[[Request], Store],
    request: Request,
    format: Format = "trl",
    snapshot: Annotated[str, Query(max_length=100)] = "",
) -> Once:
    """Return pairs, labels or votes as JSON lines: those that count now, or a snapshot's.

    It is written first, row by row, and sent from the disk: a million rows need no memory.

    Raises:
        NotFound: there is no such snapshot.
    """
    from feedback.exports import export_file  # brings pandas in, which a thumb does not need

    store, person = store_of(request), person_of(request.scope)
    frozen = store.data / "snapshots" / snapshot if snapshot else None
    if frozen is not None and not (
        frozen.name == snapshot and snapshot.isprintable() and (frozen / "manifest.json").is_file()
    ):
        raise NotFound(f"there is no snapshot {shown(snapshot)}: `snapshot` freezes one")
    folder = new_folder(store.data)
    name = f"hone-{format}.jsonl"
    with ExitStack() as unsent:
        unsent.callback(shutil.rmtree, folder)
        export_file(store, folder / name, format, frozen)
        what = f"{name} of {snapshot or 'what counts now'}"
        audit.note(store, person.name if person else ALONE, "export", what)
        unsent.pop_all()  # from here on the answer removes it
    return Once(folder, name)


class Once(FileResponse):
    """A file that is sent whole; its folder is removed then, whatever came of it.

    No part of it is sent: a download that goes on would be spliced from two exports.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Send a file of JSON lines.

        Args:
            folder: holds nothing else.
        """
        headers = {"Cache-Control": "no-store"}
        super().__init__(folder / name, 200, headers, "application/x-ndjson", filename=name)
        del self.headers["accept-ranges"]
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        whole = [(name, value) for name, value in scope["headers"] if name != b"range"]
        try:
            await super().__call__({**scope, "headers": whole}, receive, send)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
