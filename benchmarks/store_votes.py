"""How fast the store keeps votes: `python benchmarks/store_votes.py [--seconds 3] [--before 0]`.

Prints one JSON object: for 1, 16 and 200 producers, votes per second and the latency of an
acknowledged vote (durable in journal and database) in milliseconds. Each producer has assignments
of its own (made before the clock starts), appends a vote to one, waits, and goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from storage.records import Assignment, Vote  # noqa: E402
from storage.store import Store  # noqa: E402


def vote(assignment: str) -> Vote:
    """Return a vote as the label screen sends it."""
    return Vote(str(uuid.uuid4()), assignment, 0, f"c-{assignment[:8]}", "ada", "a")


def assignments(n: int) -> list[Assignment]:
    """Return n new assignments."""
    ids = (str(uuid.uuid4()) for _ in range(n))
    return [
        Assignment(id, "default", "ada", f"c-{id[:8]}", "", "a", "plain", "screen") for id in ids
    ]


def fill(store: Store, n: int) -> float:
    """Store n votes at once; return votes per second."""
    rows = assignments(n)
    start = time.perf_counter()
    store.add(rows)
    store.append_many([vote(row.id) for row in rows])
    return n / (time.perf_counter() - start)


def measure(store: Store, producers: int, seconds: float) -> dict[str, float]:
    """Let producers vote for some seconds; return their rate and latencies."""
    waits: list[float] = []
    end = time.perf_counter() + seconds

    def produce(rows: list[Assignment]) -> None:
        for row in rows:
            start = time.perf_counter()
            if start > end:
                return
            store.append(vote(row.id))
            waits.append(time.perf_counter() - start)

    share = [assignments(max(50, 6000 // producers)) for _ in range(producers)]
    store.add([row for rows in share for row in rows])
    end = time.perf_counter() + seconds
    start = time.perf_counter()
    threads = [threading.Thread(target=produce, args=(rows,)) for rows in share]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    waits.sort()
    at = {f"p{p}_ms": round(waits[int(len(waits) * p / 100)] * 1e3, 2) for p in (50, 95, 99)}
    return {"producers": producers, "votes_per_second": round(len(waits) / elapsed), **at}


def main() -> None:
    """Run the three sizes on a fresh folder, which may hold votes already."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--before", type=int, default=0, help="votes in the store before the start")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        filled = fill(store, options.before) if options.before else None
        rates = [measure(store, producers, options.seconds) for producers in (1, 16, 200)]
        store.frame("progress", labeler="ada")  # the first one imports pandas
        start = time.perf_counter()
        store.frame("progress", labeler="ada")
        progress = (time.perf_counter() - start) * 1e3
    print(json.dumps({
        "machine": platform.processor() or platform.machine(), "duckdb": duckdb.__version__,
        "votes_before": options.before, "append_many_per_second": filled and round(filled),
        "progress_ms": round(progress, 1), "rates": rates,
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
