"""Labelers' names as pseudonyms: the same for one person in every export of one data folder.

A name becomes a keyed hash (HMAC-SHA-256, RFC 2104). The key is random and stays in the data
folder, so nobody without it can try names out, and two folders' exports cannot be joined.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from feedback.formats.rows import UNKNOWN
from storage.records import USER, Labeler
from storage.store import Store

FILE = "pseudonyms.key"
DIGITS = 12  # hex digits. Choice: two of a million people meet in one of 500 folders
NOBODY = ("simulated", "judge")  # kinds of labelers that are no people and keep their names


class Pseudonyms:
    """The pseudonym of each labeler of one data folder."""

    def __init__(self, store: Store) -> None:
        self._key = key_of(store.data)
        self._made: dict[str, str] = {
            one.id: one.id for one in store.rows(Labeler) if one.kind in NOBODY
        }
        self._made[UNKNOWN] = UNKNOWN

    def of(self, name: str) -> str:
        """Return a labeler's pseudonym; what is no person keeps its name."""
        if name.startswith(USER):  # a product's user: a pseudonym already
            return name
        if name not in self._made:
            code = hmac.new(self._key, name.encode("utf-8", "surrogatepass"), "sha256")
            self._made[name] = f"labeler-{code.hexdigest()[:DIGITS]}"
        return self._made[name]


def key_of(data: Path) -> bytes:
    """Return a data folder's key; made when it is asked for first, whole or not at all."""
    path = data / FILE
    if not path.exists():
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, secrets.token_bytes(32))
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(unfinished, path)  # whoever is first stays
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
    return path.read_bytes()
