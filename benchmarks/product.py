"""What a product's feedback costs the server, and what kill -9 loses of it.

A real server (`python app.py serve`) with a key, 64 connections that send one thumb each and wait
for the answer, then batches of 100; then the server is killed again and again while both go on.

    python benchmarks/product.py [--write] [--kills 20] [--seconds 8]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from benchmarks.serve_kill import Server, free_port  # noqa: E402
from feedback.accounts import people_of  # noqa: E402
from feedback.product.bodies import Shown, Thumb  # noqa: E402
from feedback.product.intake import Intake, _event_id  # noqa: E402
from storage.records import Rating  # noqa: E402
from storage.store import Store  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "product.json"
CLIENTS = 64
BATCHERS = 6  # connections that send batches
BATCH = 100
RESPONSES = 2_000
BUILT_SECONDS = 300.0  # Choice: a page that is not built by then never will be


@dataclass
class Ledger:
    """What was acknowledged: the product's id of a thumb → its verdict."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    last: float = 0.0
    waits: list[float] = field(default_factory=list)  # seconds of each request

    def note(self, thumbs: Sequence[dict[str, str]]) -> None:
        self.acknowledged |= {one["id"]: one["verdict"] for one in thumbs}
        self.last = time.monotonic()


class Connection:
    """One HTTP connection that is kept open; as little work for the client as can be."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = (
            "POST /api/v1/feedback HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"
            f"\r\nAuthorization: Bearer {key}\r\nContent-Length: "
        ).encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, body: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            writer.write(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
            return int(head[9:12]), await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            raise ConnectionError from None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


class Client:
    """Sends thumbs, each again with the same id until it is acknowledged."""

    def __init__(self, name: str, port: int, key: str, ledger: Ledger) -> None:
        self._name, self._ledger = name, ledger
        self._connection = Connection(port, key)
        self._rng = random.Random(name)
        self._sent = 0

    async def send(self, n: int) -> None:
        """Send n thumbs in one request; wait until all are acknowledged."""
        thumbs = [self._thumb() for _ in range(n)]
        body = json.dumps(thumbs if n > 1 else thumbs[0]).encode()
        started = time.perf_counter()
        while True:
            try:
                status, answer = await self._connection.send(body)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            if status == 201:
                break
            if status not in (429, 503):
                self._ledger.refused.append(f"{status} {answer[:200]!r}")
                return
            await asyncio.sleep(0.2)
        self._ledger.waits.append(time.perf_counter() - started)
        self._ledger.note(thumbs)

    def _thumb(self) -> dict[str, str]:
        self._sent += 1
        return {
            "id": f"{self._name}-{self._sent}",
            "response_id": f"msg_{self._rng.randrange(RESPONSES)}",
            "verdict": self._rng.choice(("up", "down")),
            "user": f"u_{self._rng.randrange(10_000)}",
        }

    def close(self) -> None:
        self._connection.close()


async def press(clients: Sequence[Client], n: int, until: Callable[[], bool]) -> None:
    """Let every client send n thumbs at a time until it is over."""

    async def go(client: Client) -> None:
        while not until():
            await client.send(n)

    await asyncio.gather(*(go(client) for client in clients))


def measured(
    port: int, key: str, server: psutil.Process, name: str, clients: int, n: int, seconds: float
) -> dict[str, Any]:
    """Return rate, latency and the server's processor time per thumb."""
    ledger = Ledger()
    senders = [Client(f"{name}-{c}", port, key, ledger) for c in range(clients)]
    before, started = server.cpu_times(), time.perf_counter()
    asyncio.run(press(senders, n, lambda: time.perf_counter() - started > seconds))
    elapsed, after = time.perf_counter() - started, server.cpu_times()
    used = (after.user + after.system) - (before.user + before.system)
    waits = sorted(ledger.waits)
    done = len(ledger.acknowledged)
    return {
        "clients": clients,
        "thumbs_per_request": n,
        "thumbs": done,
        "thumbs_per_second": round(done / elapsed),
        "server_ms_per_thumb": round(used * 1e3 / done, 3),
        "p50_ms": round(waits[len(waits) // 2] * 1e3, 1),
        "p95_ms": round(waits[int(len(waits) * 0.95)] * 1e3, 1),
        "refused": len(ledger.refused),
    }


def prepared(data: Path) -> str:
    """Fill an empty data folder with logged responses; return a key that may send and read."""
    with Store.open(data) as store:
        intake = Intake(store)
        for start in range(0, RESPONSES, 500):
            intake.take([
                Shown(f"msg_{n}", ({"role": "user", "content": f"question {n // 2}?"},),
                      f"answer {n}.", "made up")
                for n in range(start, start + 500)
            ])  # fmt: skip
        people = people_of(store)
        people.add("lead", "lead", "a password of a benchmark", by="benchmark")
        return people.add_key("product", ["feedback", "read"], by="lead")


def speed(data: Path, key: str, seconds: float) -> list[dict[str, Any]]:
    """Measure single thumbs and batches."""
    server = Server(data, free_port())
    server.start()
    try:
        asyncio.run(_answers(server.port, key))
        built(server.port, key)
        process = psutil.Process(server._process.pid)  # type: ignore[union-attr]
        measured(server.port, key, process, "warm", CLIENTS, 1, 1.0)
        one = measured(server.port, key, process, "one", CLIENTS, 1, seconds)
        many = measured(server.port, key, process, "many", BATCHERS, BATCH, seconds)
        return [one, many]
    finally:
        server.end(signal.SIGTERM)
        server.close()


def built(port: int, key: str) -> None:
    """Wait until the screens are made, which takes processor time: they hold the tables."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=BUILT_SECONDS)
    asked.request("GET", "/api/v1/tables/none.csv", headers={"Authorization": f"Bearer {key}"})
    assert asked.getresponse().status == 404
    asked.close()


async def _answers(port: int, key: str) -> None:
    """Wait until the server takes a thumb."""
    client = Client("first", port, key, Ledger())
    await client.send(1)
    client.close()


async def killed(data: Path, key: str, kills: int) -> dict[str, Any]:
    """Kill the server while clients send one thumb and batches; return what was lost."""
    server, ledger, rng = Server(data, free_port()), Ledger(), random.Random(0)
    over = False
    singles = [Client(f"kill-{c}", server.port, key, ledger) for c in range(16)]
    batches = [Client(f"kills-{c}", server.port, key, ledger) for c in range(2)]
    server.start()
    going: Awaitable[Any] = asyncio.gather(
        press(singles, 1, lambda: over), press(batches, BATCH, lambda: over)
    )
    task = asyncio.ensure_future(going)
    back: list[float] = []
    for _ in range(kills):
        await _until(lambda: ledger.last > 0)
        await asyncio.sleep(rng.uniform(0.1, 0.6))  # so that kills fall anywhere in its work
        await asyncio.to_thread(server.end, signal.SIGKILL)
        at, ledger.last = time.monotonic(), 0.0
        server.start()
        await _until(lambda: ledger.last > 0)
        back.append(round(time.monotonic() - at, 2))
    over = True
    await task
    await asyncio.to_thread(server.end, signal.SIGTERM)
    server.close()
    return {"kills": kills, "acknowledged": len(ledger.acknowledged),
            "refused": len(ledger.refused), "restart_seconds": back,
            **compared(data, ledger)}  # fmt: skip


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


def compared(data: Path, ledger: Ledger) -> dict[str, int]:
    """Return how many acknowledged thumbs are not in the store as they were sent, and so on."""
    with Store.open(data) as store:
        ratings = store.rows(Rating)
        broken = len(store.verify())
    stored = {one.id: one.verdict for one in ratings}
    lost = sum(
        stored.get(_event_id(Thumb(id, "", "", "", (), "", ()))) != verdict
        for id, verdict in ledger.acknowledged.items()
    )
    return {"lost": lost, "double": len(ratings) - len(stored), "broken": broken}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=8.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        key = prepared(data)
        found: dict[str, Any] = {"date": str(date.today()), "machine": machine()}
        if chosen.seconds:
            found["speed"] = speed(data, key, chosen.seconds)
        if chosen.kills:
            found["kills"] = asyncio.run(killed(data, key, chosen.kills))
    print(json.dumps(found, indent=1))
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    kills = found.get("kills", {})
    return int(any(kills.get(name) for name in ("lost", "double", "broken", "refused")))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
