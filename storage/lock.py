"""The lock on a data folder: one server per folder, held by the kernel, gone with the process.

`LOCK` is a file of its own with a lock of its own (flock). The database's file is never opened by
our code: closing it would silently drop the lock that DuckDB holds on it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from storage.errors import Locked

PATIENCE = 0.5  # seconds. Choice: longer than a `read_lock` holds it, shorter than a person notices


class DataLock:
    """An flock on `data/LOCK`, held until `release` or the end of the process."""

    def __init__(self, data: Path) -> None:
        """Take the lock.

        Raises:
            Locked: another process holds it; the sentence names its pid and address.
        """
        self._path = data / "LOCK"
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + PATIENCE
        while not _taken(self._handle, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                holder = _content(self._handle)
                os.close(self._handle)
                raise Locked(_sentence(data, holder))
            time.sleep(0.02)
        self.announce("", "")

    def announce(self, address: str, token: str) -> None:
        """Write who holds the folder, where it answers, and the token that proves one may ask."""
        holder = {"pid": os.getpid(), "address": address, "token": token}
        # One write of one length, so that nobody reads the half of it.
        os.pwrite(self._handle, json.dumps(holder).encode().ljust(1024), 0)

    def release(self) -> None:
        """Let go of the folder; the file stays, empty."""
        os.ftruncate(self._handle, 0)
        os.close(self._handle)


def read_lock(data: Path) -> dict[str, Any] | None:
    """Return who holds the data folder, as {pid, address, token}; None where nobody does."""
    try:
        handle = os.open(data / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _taken(handle, fcntl.LOCK_SH) else _content(handle)
    finally:
        os.close(handle)


def _taken(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _content(handle: int) -> dict[str, Any]:
    """Return what the holder wrote; an empty address while it is still starting."""
    try:
        written = json.loads(os.pread(handle, 65536, 0))
    except ValueError:
        written = {}
    return {"pid": None, "address": "", "token": "", **written}


def _sentence(data: Path, holder: dict[str, Any]) -> str:
    where = f" and answers at {holder['address']}" if holder["address"] else ""
    return (
        f"{data} is in use by process {holder['pid'] or 'unknown'}{where}. Use that one, stop it, "
        "or choose another folder with --data."
    )
