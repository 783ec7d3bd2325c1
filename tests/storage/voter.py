"""A process that votes until it is killed: `python voter.py DATA SEED [CHECKPOINT_BYTES]`.

Four threads append votes, with the repetitions, refusals and comments of real life, and print each
vote's id after its acknowledgement.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path

from storage.errors import Conflict
from storage.limits import Limits
from storage.records import Assignment, Text, Vote
from storage.store import Store


def work(store: Store, name: str, seed: int) -> None:
    """Vote for ever."""
    rng = random.Random(seed)
    n = 0
    while True:
        n += 1
        at = f"{name}-{n}"
        store.add([Assignment(at, "default", name, f"c{n}", "", "a", "plain", "screen")])
        comment = Text.of(f"{name} says {rng.random()}")
        vote = Vote(f"v-{at}", at, 0, f"c{n}", name, "a", comment=comment.id)
        for _ in range(rng.choice([1, 1, 1, 2])):
            store.append(vote, [comment])
        if rng.random() < 0.05:
            try:
                store.append(Vote(f"late-{at}", at, 0, f"c{n}", name, "b"))
            except Conflict:
                os.write(1, f"refused late-{at}\n".encode())
        os.write(1, f"stored v-{at} {comment.id}\n".encode())


def main() -> None:
    """Open the folder and start the threads."""
    data, seed = Path(sys.argv[1]), int(sys.argv[2])
    limits = Limits(checkpoint=int(sys.argv[3])) if len(sys.argv) > 3 else Limits()
    store = Store.open(data, limits)
    os.write(1, b"ready\n")
    for thread in range(4):
        name = f"l{seed}x{thread}"
        threading.Thread(target=work, args=(store, name, seed * 10 + thread)).start()


if __name__ == "__main__":
    main()
