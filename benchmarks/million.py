"""A million pairs come in while people vote, and go out again.

    python benchmarks/million.py [--rows 1000000] [--kinds jsonl parquet] [--voters 4] [--write]

A real server (`app.py serve`) on a folder with comparisons to judge; voters who press, think for
about a second and press again, through REST; and the command line's own `import` and `export`,
which the server carries out. Said for each kind of file: seconds, rows a second, the largest memory
of the server and of the process that reads, and how long a vote took (p50, p95) before and
meanwhile. The pairs are made up: no two prompts near each other, lengths as in sets of preferences
(prompts of some 120 characters, answers of some 350). `--write` puts the figures into
benchmarks/results/million.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from benchmarks.serve_kill import Client, Ledger, Plan, Server, free_port, prepare  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "million.json"
THINKING = 1.0  # seconds between two votes of one person, in the mean
QUIET = 15.0  # seconds of voting before an import, to compare with
SAMPLE = 0.2  # seconds between two looks at the memory
WORDS = 20_000


class Voter(Client):
    """A labeler whose votes are timed."""

    def __init__(self, number: int, port: int, plan: Plan, ledger: Ledger) -> None:
        super().__init__(number, port, plan, ledger)
        self.took: list[tuple[float, float]] = []  # when, and for how many seconds

    def _vote(self, item: Any) -> None:
        started = time.monotonic()
        super()._vote(item)
        self.took.append((started, time.monotonic() - started))


class Memory(threading.Thread):
    """The largest memory of a process and of its children, looked at again and again."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.server = self.children = self.together = 0  # bytes
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(SAMPLE):
            own, others = self._process.memory_info().rss, 0
            for child in self._process.children(recursive=True):
                try:
                    others += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.server, self.children = max(self.server, own), max(self.children, others)
            self.together = max(self.together, own + others)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", default=["jsonl", "parquet"])
    parser.add_argument("--voters", type=int, default=4)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    result: dict[str, Any] = {"date": str(date.today()), "machine": machine(), "rows": asked.rows}
    with tempfile.TemporaryDirectory(prefix="hone-million-") as folder:
        for kind in asked.kinds:
            file = made(Path(folder) / f"pairs.{kind}", asked.rows)
            result[kind] = measured(file, Path(folder) / f"data-{kind}", asked.voters)
            print(json.dumps({kind: result[kind]}), flush=True)
    if asked.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0


def made(path: Path, rows: int) -> Path:
    """Write so many pairs."""
    rng = random.Random(0)
    words = np.array(
        ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(WORDS)]
    )
    lines = path.with_suffix(".jsonl")
    draw = np.random.default_rng(0)
    with lines.open("w", encoding="utf-8") as out:
        for start in range(0, rows, 10_000):
            count = min(10_000, rows - start)
            for row in draw.integers(0, WORDS, (count, 117)):
                drawn = words[row].tolist()
                pair = {
                    "prompt": " ".join(drawn[:17]),
                    "chosen": " ".join(drawn[17:67]),
                    "rejected": " ".join(drawn[67:]),
                }
                out.write(json.dumps(pair) + "\n")
    if path != lines:
        import duckdb

        duckdb.execute(
            f"COPY (FROM read_json('{lines}', format = 'newline_delimited')) "
            f"TO '{path}' (FORMAT parquet)"
        )
        lines.unlink()
    return path


def measured(file: Path, data: Path, voters: int) -> dict[str, Any]:
    """Import a file into a served folder under votes, and export what is there then."""
    prepare(data, 20_000)
    plan, ledger = Plan(think_seconds=THINKING / 2), Ledger()
    server = Server(data, free_port())
    server.start()
    people = [Voter(number, server.port, plan, ledger) for number in range(voters)]
    try:
        for one in people:
            one.start()
        started = time.monotonic()
        while not all(one.took for one in people) and time.monotonic() < started + 60:
            time.sleep(0.1)
        time.sleep(QUIET)
        assert server._process is not None
        with watched(server._process.pid) as memory:
            before = time.monotonic()
            told = hone("import", file, "--data", data)
            after = time.monotonic()
        out = data.parent / "out.jsonl"
        exported = {form: timed_export(form, out, data) for form in ("trl", "votes")}
    finally:
        for one in people:
            one.stop.set()
        for one in people:
            one.join(30)
        server.close()
    took = [seconds for one in people for at, seconds in one.took if before <= at <= after]
    quiet = [seconds for one in people for at, seconds in one.took if at < before][voters:]
    return {
        "file_mb": round(file.stat().st_size / 1e6),
        "stored": told["stored"],
        "refused": len(told["refused"]),
        "seconds": round(after - before, 1),
        "rows_per_second": round(told["read"] / (after - before)),
        "memory_mb": {
            "server": memory.server >> 20,
            "reader": memory.children >> 20,
            "together": memory.together >> 20,
        },
        "votes": {"before": times(quiet), "meanwhile": times(took), "refused": len(ledger.refused)},
        "export": exported,
    }


def times(seconds: list[float]) -> dict[str, float]:
    """Return how long votes took, in milliseconds."""
    if not seconds:
        return {"n": 0}
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    return {
        "n": len(seconds),
        "p50_ms": round(1_000 * float(p50), 1),
        "p95_ms": round(1_000 * float(p95), 1),
        "max_ms": round(1_000 * max(seconds), 1),
    }


def timed_export(form: str, out: Path, data: Path) -> dict[str, Any]:
    started = time.monotonic()
    told = hone("export", out, "--format", form, "--data", data)
    seconds = time.monotonic() - started
    out.unlink()
    return {"written": told["written"], "seconds": round(seconds, 1)}


def hone(*words: object) -> dict[str, Any]:
    """Run the command line; return its result."""
    done = subprocess.run(
        [sys.executable, "app.py", *map(str, words), "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2_000:])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@contextmanager
def watched(pid: int) -> Iterator[Memory]:
    memory = Memory(pid)
    memory.start()
    try:
        yield memory
    finally:
        memory.stop.set()
        memory.join()


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
