"""Kill the server with -9 under voting clients, again and again, and count what was lost.

Real parts only: `python app.py serve` in a process of its own, clients over HTTP that send a vote
again with the same id until it is acknowledged, and the store opened at the end to compare.

    python -m benchmarks.serve_kill --kills 30 --clients 50
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from feedback import items
from storage.records import Vote
from storage.store import Store

ROOT = Path(__file__).resolve().parent.parent
VERDICTS = ("a", "b", "tie", "both_bad", "skip")
ANSWERS_PER_PROMPT = 40
AGAIN = 0.05  # share of acknowledged votes that are sent once more, like a double click
RETRY_SECONDS = 0.1  # Choice: about the first wait of the label screen's outbox
START_SECONDS = 60.0  # Choice: a server that is not back by then is a failure, not a slow one


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard to press."""

    kills: int = 30
    clients: int = 50
    votes_between: int = 110  # acknowledged votes before each kill, at least
    think_seconds: float = 0.3  # mean pause of a client between two votes
    seed: int = 0

    @property
    def comparisons(self) -> int:
        """Return how many are needed: one vote each, and what clients hold when it ends."""
        return 2 * self.kills * self.votes_between + 20 * self.clients


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out; `lost`, `double`, `refused` and `broken` have to be 0."""

    kills: int
    clients: int
    acknowledged: int
    lost: int  # acknowledged, and not in the store as it was sent
    double: int  # votes beyond the first of one assignment and revision
    refused: int  # answers that were neither an acknowledgement nor a reason to send again
    repeated: int  # votes that were sent again and known already
    broken: int  # complaints of the store's own chain of hashes
    restart_seconds: list[float]  # from each kill to the next acknowledged vote
    seconds: float


class Server:
    """`python app.py serve` as a process of its own."""

    def __init__(self, data: Path, port: int) -> None:
        self._data, self.port = data, port
        self._log = (data.parent / f"{data.name}-serve.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "app.py", "serve", "--no-starter"]
            + ["--port", str(self.port), "--data", str(self._data)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def end(self, how: signal.Signals) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(START_SECONDS)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)
        self._log.close()


@dataclass
class Ledger:
    """What the clients were told; shared by their threads."""

    acknowledged: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # id → assignment, verdict
    refused: list[str] = field(default_factory=list)
    repeated: int = 0
    last: float = 0.0  # when the newest acknowledgement came
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, vote: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        with self.lock:
            self.acknowledged[vote["id"]] = (vote["assignment"], vote["verdict"])
            self.repeated += bool(answer["repeated"])
            self.last = time.monotonic()

    def refuse(self, why: str) -> None:
        with self.lock:
            self.refused.append(why)


class Client(threading.Thread):
    """A labeler's page: fetches items, votes, sends again until acknowledged."""

    def __init__(self, number: int, port: int, plan: Plan, ledger: Ledger) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self._number, self._port, self._plan, self._ledger = number, port, plan, ledger
        self._rng = random.Random(f"{plan.seed}:{number}")
        self._connection: http.client.HTTPConnection | None = None
        self._cookie = ""
        self.stop = threading.Event()

    def run(self) -> None:
        self._sign_in()
        while not self.stop.is_set():
            for item in self._items():
                if self.stop.is_set():
                    break
                self._vote(item)
                self.stop.wait(self._rng.uniform(0, 2 * self._plan.think_seconds))
        self._disconnect()

    def _sign_in(self) -> None:
        name = f"voter {self._number}"
        _, _, cookie = self._asked("POST", "/api/v1/labeler", {"name": name})
        self._cookie = cookie.split(";")[0]

    def _items(self) -> list[dict[str, Any]]:
        status, answer, _ = self._asked("GET", "/api/v1/items?mode=pairs&n=20")
        if status != 200:
            self._ledger.refuse(f"items: {status} {answer}")
            self.stop.wait(1.0)
        return answer.get("items", [])

    def _vote(self, item: Mapping[str, Any]) -> None:
        vote = {
            "id": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            "assignment": item["assignment"],
            "revision": item["revision"],
            "verdict": self._rng.choice(VERDICTS),
        }
        for _ in range(1 + (self._rng.random() < AGAIN)):
            status, answer, _ = self._asked("POST", "/api/v1/votes", vote)
            if status == 201:
                self._ledger.note(vote, answer)
            else:
                self._ledger.refuse(f"vote: {status} {answer}")

    def _asked(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, dict[str, Any], str]:
        """Return status, answer and cookie; ask again while there is no (healthy) server."""
        while True:
            try:
                status, answer, cookie = self._ask(method, path, body)
                if status < 500:
                    return status, answer, cookie
            except (OSError, http.client.HTTPException, ValueError):
                self._disconnect()
            if self.stop.is_set() and method == "GET":
                return 0, {}, ""
            time.sleep(RETRY_SECONDS * self._rng.uniform(0.5, 1.5))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, dict[str, Any], str]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"Content-Type": "application/json", "Cookie": self._cookie}
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, path, sent, headers)
        response = self._connection.getresponse()
        content = response.read()
        return response.status, json.loads(content), response.headers.get("set-cookie", "")


def run(plan: Plan, data: Path) -> Outcome:
    """Press a server on the (empty) data folder by the plan and return what came out."""
    prepare(data, plan.comparisons)
    started = time.monotonic()
    ledger, rng = Ledger(), random.Random(plan.seed)
    server = Server(data, free_port())
    clients = [Client(n, server.port, plan, ledger) for n in range(plan.clients)]
    try:
        server.start()
        for client in clients:
            client.start()
        wait_for_votes(ledger, plan.votes_between)
        restarts = [killed_and_back(server, ledger, plan, rng) for _ in range(plan.kills)]
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join(START_SECONDS)
        server.end(signal.SIGTERM)
    finally:
        server.close()
    lost, double, broken = compared(data, ledger)
    return Outcome(
        kills=plan.kills,
        clients=plan.clients,
        acknowledged=len(ledger.acknowledged),
        lost=lost,
        double=double,
        refused=len(ledger.refused),
        repeated=ledger.repeated,
        broken=broken,
        restart_seconds=[round(seconds, 2) for seconds in restarts],
        seconds=round(time.monotonic() - started, 1),
    )


def killed_and_back(server: Server, ledger: Ledger, plan: Plan, rng: random.Random) -> float:
    """Kill the server, start it again, wait for votes; return the seconds to the first of them."""
    server.end(signal.SIGKILL)
    killed = time.monotonic()
    server.start()
    while ledger.last < killed:
        if time.monotonic() - killed > START_SECONDS:
            raise RuntimeError(f"no vote was acknowledged within {START_SECONDS} s after a kill")
        time.sleep(0.005)
    back = ledger.last - killed
    wait_for_votes(ledger, plan.votes_between)
    time.sleep(rng.uniform(0, 0.3))  # so that kills fall anywhere in the server's work
    return back


def wait_for_votes(ledger: Ledger, more: int) -> None:
    """Wait until so many more votes are acknowledged."""
    goal = len(ledger.acknowledged) + more
    until = time.monotonic() + START_SECONDS
    while len(ledger.acknowledged) < goal:
        if time.monotonic() > until:
            raise RuntimeError(
                f"only {more + len(ledger.acknowledged) - goal} of {more} votes were acknowledged "
                f"in {START_SECONDS} s; refusals: {ledger.refused[:3]}"
            )
        time.sleep(0.01)


def prepare(data: Path, comparisons: int) -> None:
    """Fill a data folder with so many comparisons of short answers."""
    per_prompt = ANSWERS_PER_PROMPT // 2
    count = -(-comparisons // per_prompt)
    rng = random.Random(0)
    with Store.open(data) as store:
        prompts = items.add_prompts(
            store,
            [[{"role": "user", "content": f"{words(rng, 12)}?"}] for _ in range(count)],
            "api",
        )
        made = items.add_responses(
            store,
            [
                items.NewResponse(prompt.id, f"{words(rng, 20)}.", "made up", seed=seed)
                for prompt in prompts
                for seed in range(ANSWERS_PER_PROMPT)
            ],
        )
        items.add_comparisons(store, list(zip(made[::2], made[1::2], strict=True)), "api")


def words(rng: random.Random, count: int) -> str:
    return " ".join(f"{rng.getrandbits(24):x}" for _ in range(count))


def compared(data: Path, ledger: Ledger) -> tuple[int, int, int]:
    """Return how many acknowledged votes are lost, how many are double, and chain complaints."""
    with Store.open(data) as store:
        votes = store.rows(Vote)
        broken = len(store.verify())
    stored = {vote.id: (vote.assignment, vote.verdict) for vote in votes}
    lost = sum(stored.get(id) != told for id, told in ledger.acknowledged.items())
    places = Counter((vote.assignment, vote.revision) for vote in votes)
    double = sum(count - 1 for count in places.values()) + len(votes) - len(stored)
    return lost, double, broken


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=Plan().kills)
    parser.add_argument("--clients", type=int, default=Plan().clients)
    parser.add_argument("--votes-between", type=int, default=Plan().votes_between)
    chosen = parser.parse_args()
    plan = Plan(chosen.kills, chosen.clients, chosen.votes_between)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(plan, Path(folder) / "data")
    slow = outcome.restart_seconds
    print(f"restarts: median {statistics.median(slow)} s, slowest {max(slow)} s", file=sys.stderr)
    print(json.dumps({**asdict(outcome), "cores": os.cpu_count()}))
    return int(bool(outcome.lost or outcome.double or outcome.refused or outcome.broken))


if __name__ == "__main__":
    sys.exit(main())
