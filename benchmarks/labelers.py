"""How long a labeler waits for "Saved" while many others judge: `python benchmarks/labelers.py`.

    python benchmarks/labelers.py [--labelers 200] [--seconds 40] [--write]

A real server in a process of its own; the labelers are connections in this one that ask for what
the label page asks for, when it asks for it: at each press the vote, and beside it the next items.
They think for 2 s on average, 5 % of the presses are sent twice at the same time. Three phases on
one folder: alone; while a lead's checks, an export and a training run without a pause; and with
five times the labelers. The delay is from the press to the acknowledgement; a vote that is told
"not now" is sent again, as the page does, and its first answer is what counts as a refusal. At the
end the store is opened and compared with what was acknowledged. `--write` puts the figures into
benchmarks/results/labelers.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from benchmarks.serve_kill import VERDICTS, Ledger, Server, compared, free_port, prepare  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "labelers.json"
THINK_SECONDS = 2.0
DOUBLE = 0.05  # share of presses that are sent twice at once
AHEAD, LOW = 5, 2  # items that a page holds; how many are left when it asks for more
CROWD = 5  # times the labelers, in the last phase
WARM_SECONDS = 8.0  # Choice: everybody has signed in and judged a few times
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0)  # as the outbox waits
NOT_NOW = (429, 503)


@dataclass
class Phase:
    """What one phase saw; milliseconds."""

    saved: list[float] = field(default_factory=list)  # from press to acknowledgement
    items: list[float] = field(default_factory=list)  # of the request for more
    refusals: list[float] = field(default_factory=list)  # until "not now" was said
    failed: Counter[str] = field(default_factory=Counter)  # other answers, and none
    doubled: int = 0
    since: float = 0.0  # what was pressed before does not count

    def summary(self, labelers: int, seconds: float) -> dict[str, Any]:
        return {
            "labelers": labelers,
            "votes": len(self.saved),
            "votes_per_second": round(len(self.saved) / seconds, 1),
            "saved_ms": quantiles(self.saved),
            "items_ms": quantiles(self.items),
            "refusals": len(self.refusals),
            "refusals_ms": quantiles(self.refusals),
            "sent_twice": self.doubled,
            "failed": dict(self.failed),
        }


def quantiles(waits: list[float]) -> dict[str, float]:
    ranked = sorted(waits)
    at = {f"p{p}": ranked[int(len(ranked) * p / 100)] for p in (50, 95, 99) if ranked}
    return {name: round(value, 1) for name, value in at.items()}


class Line:
    """One connection of a browser; asks one thing at a time."""

    def __init__(self, port: int, headers: str = "") -> None:
        """Args: headers: more of them, each with its line break."""
        self.port, self.headers, self.cookie = port, headers, ""
        self.pipes: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and answer, 0 where the connection broke; one that the server closed while
        nothing was asked is opened anew, as browsers do."""
        kept = self.pipes is not None
        status, answer = await self._ask(method, path, body)
        return (status, answer) if status or not kept else await self._ask(method, path, body)

    async def _ask(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        sent = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nCookie: {self.cookie}\r\n"
            f"Content-Type: application/json\r\n{self.headers}Content-Length: {len(sent)}\r\n\r\n"
        )
        try:
            if self.pipes is None:
                self.pipes = await asyncio.open_connection("127.0.0.1", self.port)
            self.pipes[1].write(head.encode() + sent)
            return await self._answer(self.pipes[0])
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return 0, None

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, Any]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        if "set-cookie" in headers:
            said = next(line for line in lines if line.lower().startswith("set-cookie"))
            self.cookie = said.split(": ", 1)[1].split(";")[0]
        body = await reader.readexactly(int(headers["content-length"]))
        return int(lines[0].split()[1]), json.loads(body)

    def close(self) -> None:
        if self.pipes is not None:
            self.pipes[1].close()
            self.pipes = None


class Labeler:
    """A person at a label page: votes go out on one line, items and second clicks on another."""

    def __init__(self, number: int, port: int, ledger: Ledger) -> None:
        self.name, self.ledger = f"labeler {number}", ledger
        self.rng = random.Random(number)
        self.votes, self.more = Line(port), Line(port)
        self.memory: list[dict[str, Any]] = []
        self.known: set[str] = set()
        self.fetching = False
        self.unsent: list[tuple[float, dict[str, Any]]] = []  # the outbox: when pressed, and what
        self.busy: set[asyncio.Task[None]] = set()

    async def work(self, phase: Phase, until: float) -> None:
        await asyncio.sleep(self.rng.uniform(0, THINK_SECONDS))
        while not self.votes.cookie and time.monotonic() < until:
            status, _ = await self.votes.ask("POST", "/api/v1/labeler", {"name": self.name})
            if status != 200:
                await asyncio.sleep(RETRY_SECONDS[0])
        self.more.cookie = self.votes.cookie
        await self.fetch(phase)
        while time.monotonic() < until:
            await asyncio.sleep(self.rng.uniform(0.5, 1.5) * THINK_SECONDS)
            if self.memory:
                self.press(phase)
            self.start(self.fetch(phase))
        while self.busy:
            await asyncio.wait(self.busy)

    def start(self, what: Any) -> None:
        task = asyncio.ensure_future(what)
        self.busy.add(task)
        task.add_done_callback(self.busy.discard)

    def press(self, phase: Phase) -> None:
        item = self.memory.pop(0)
        vote = {
            "id": str(uuid.UUID(int=self.rng.getrandbits(128), version=4)),
            "assignment": item["assignment"],
            "revision": item["revision"],
            "verdict": self.rng.choice(VERDICTS),
            "seconds_spent": 2.0,
        }
        self.unsent.append((time.monotonic(), vote))
        if len(self.unsent) == 1:
            self.start(self.drain(phase))
        if self.rng.random() < DOUBLE:
            phase.doubled += 1
            self.start(self.again(vote))

    async def again(self, vote: dict[str, Any]) -> None:
        """Send a vote a second time, whichever comes first."""
        line = Line(self.more.port)
        line.cookie = self.votes.cookie
        await line.ask("POST", "/api/v1/votes", vote)
        line.close()

    async def drain(self, phase: Phase) -> None:
        """Send what waits in order, as the outbox does."""
        failures = 0
        while self.unsent:
            pressed, vote = self.unsent[0]
            asked = time.monotonic()
            status, answer = await self.votes.ask("POST", "/api/v1/votes", vote)
            now = time.monotonic()
            counts = pressed >= phase.since
            if status == 201:
                self.ledger.note(vote, answer)
                phase.saved += [(now - pressed) * 1e3] * counts
                failures = 0
                del self.unsent[0]
                continue
            if status in NOT_NOW:
                phase.refusals += [(now - asked) * 1e3] * counts
            else:
                phase.failed[f"{status} {answer}"[:120]] += 1
            if 400 <= status < 500 and status not in NOT_NOW:
                del self.unsent[0]
                continue
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def fetch(self, phase: Phase) -> None:
        """Ask for as many items as are missing, unless that is under way."""
        if self.fetching or len(self.memory) > LOW:
            return
        self.fetching = True
        held = [item["assignment"] for item in self.memory]
        unsent = [vote["assignment"] for _, vote in self.unsent]
        path = f"/api/v1/items?mode=pairs&n={AHEAD - len(held)}&exclude={','.join(held + unsent)}"
        asked = time.monotonic()
        status, answer = await self.more.ask("GET", path)
        self.fetching = False
        if status != 200:
            if status not in NOT_NOW:
                phase.failed[f"items {status}"] += 1
            return
        if asked >= phase.since:
            phase.items.append((time.monotonic() - asked) * 1e3)
        for item in answer["items"]:
            if item["assignment"] not in self.known:
                self.known.add(item["assignment"])
                self.memory.append(item)


async def judge(port: int, ledger: Ledger, first: int, labelers: int, seconds: float) -> Phase:
    """Let labelers judge for some seconds after a warm-up; return what they saw."""
    phase = Phase(since=time.monotonic() + WARM_SECONDS)
    people = [Labeler(first + n, port, ledger) for n in range(labelers)]
    await asyncio.gather(*(one.work(phase, phase.since + seconds) for one in people))
    for one in people:
        one.votes.close()
        one.more.close()
    return phase


@dataclass
class Beside:
    """A lead at work: checks and exports one after the other, and one training."""

    data: Path
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.repeat, args=("check", [])),
            threading.Thread(
                target=self.repeat, args=("export", [str(self.data.parent / "votes.jsonl")])
            ),
            threading.Thread(target=self.train),
        ]

    def __enter__(self) -> Beside:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def command(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command, which the running server carries out; its own start gives way."""
        line = ["nice", "-n", "19", sys.executable, "app.py", *words, "--data", str(self.data)]
        return subprocess.Popen(
            line, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def repeat(self, name: str, words: list[str]) -> None:
        while not self.over.is_set():
            started = self.command(name, *words)
            self.done[f"{name} ok" if started.wait() in (0, 1) else f"{name} failed"] += 1

    def train(self) -> None:
        started = self.command("train", "--because", "a benchmark")
        while not self.over.wait(0.2) and started.poll() is None:
            pass
        self.done["training ran to the end" if started.poll() == 0 else "training, cut short"] += 1
        if started.poll() is None:
            started.terminate()
            started.wait()


def measure(labelers: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Run the three phases and compare the store with what was acknowledged."""
    data, ledger = folder / "data", Ledger()
    per_labeler = 1.2 * (seconds + WARM_SECONDS) / THINK_SECONDS + AHEAD + 2
    prepare(data, int(labelers * (2 + CROWD) * per_labeler))
    server, found = Server(data, free_port()), {}
    try:
        server.start()
        wait_for(server.port)
        phase = asyncio.run(judge(server.port, ledger, 0, labelers, seconds))
        found["alone"] = phase.summary(labelers, seconds)
        with Beside(data) as lead:
            phase = asyncio.run(judge(server.port, ledger, labelers, labelers, seconds))
            found["beside"] = phase.summary(labelers, seconds)
        found["beside"]["lead"] = dict(lead.done)
        crowd = CROWD * labelers
        phase = asyncio.run(judge(server.port, ledger, 2 * labelers, crowd, seconds))
        found["crowd"] = phase.summary(crowd, seconds)
        server.end(15)
    finally:
        server.close()
    lost, double, broken = compared(data, ledger)
    told = {"acknowledged": len(ledger.acknowledged), "lost": lost, "double": double}
    return {**found, **told, "chain_complaints": broken}


def wait_for(port: int) -> None:
    """Wait until the server answers and its page is ready, so that its start is not measured."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        status, _ = asyncio.run(Line(port).ask("GET", "/api/v1/health"))
        if status == 200:
            return time.sleep(20)
        time.sleep(0.2)
    raise RuntimeError("the server did not answer")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--labelers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=40.0, help="measured, of each phase")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.labelers, options.seconds, Path(folder))
    made = {"date": str(date.today()), "machine": machine()}
    result = {**made, "think_seconds": THINK_SECONDS, **found}
    text = json.dumps(result, indent=1)
    print(text)
    if options.write:
        RESULT.write_text(text + "\n")
    return int(bool(found["lost"] or found["double"] or found["chain_complaints"]))


if __name__ == "__main__":
    sys.exit(main())
