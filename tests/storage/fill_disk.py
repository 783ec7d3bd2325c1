"""Fill a small disk with votes and see what is left: `python fill_disk.py DISK SPARE LEFT`.

Runs in a mount namespace of its own. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from storage.errors import DiskFull
from storage.limits import Limits
from storage.records import Text, Vote
from storage.store import Store


def vote(store: Store, n: int) -> None:
    """Store one vote with a comment of 800 characters."""
    comment = Text.of(f"{n} " + os.urandom(400).hex())
    store.append(Vote(f"v{n}", f"s{n}", 0, "c", "ada", "a", comment=comment.id), [comment])


def main() -> None:
    """Vote until the disk is full and beyond, make room, vote again, restart."""
    disk, spare, left = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    store = Store.open(disk / "data", Limits(spare=spare, checkpoint=200_000))
    acknowledged, errors, reads = [], [], 0
    for n in range(100):
        vote(store, n)
        acknowledged.append(n)
    state = os.statvfs(disk)
    free = state.f_bavail * state.f_frsize
    (disk / "ballast").write_bytes(bytes(free - left))
    for n in range(100, 1200):
        try:
            vote(store, n)
            acknowledged.append(n)
        except DiskFull as error:
            errors.append(str(error))
        if len(errors) in (1, 2, 20):
            reads += len(store.rows(Vote, limit=1)) + int(store.frame("votes").empty)
        if len(errors) == 20:
            break
    reopened = store._duck.generation
    (disk / "ballast").unlink()
    vote(store, 5000)
    wrong = store.verify()
    store.close()
    with Store.open(disk / "data") as again:
        stored = {vote.id: vote.comment for vote in again.rows(Vote)}
        lost = [n for n in [*acknowledged, 5000] if f"v{n}" not in stored]
        lost += sorted(set(stored.values()) - set(again.texts(stored.values())))
        wrong += again.verify()
    print(json.dumps({
        "acknowledged": len(acknowledged), "errors": len(errors), "error": errors[0],
        "reads": reads, "reopened": reopened, "lost": lost, "wrong": wrong,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
