"""Votes per second and their delay beside Label Studio and feedloop, on one machine in one run.

    python benchmarks/beside.py --feedloop PYTHON --label-studio PYTHON [--write]

PYTHON is the interpreter of an environment that has the package (`feedloop==1.5.3`,
`label-studio==1.23.2`, with its SQLite); a side that is left out is not measured. Each side is a
server in a process of its own with comparisons to judge. Its clients have theirs in hand before the
clock starts, and send one verdict after the other without thinking, each on a connection of its
own, by the way that the side's own page sends them. Afterwards the side is asked how many it has.
Hone's votes are on the disk when they are answered; those of the others are where SQLite has them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.labelers import Line, quantiles, wait_for  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.serve_kill import Server, free_port, prepare, words  # noqa: E402
from storage.records import Vote  # noqa: E402
from storage.store import Store  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "beside.json"
AT_ONCE = 50  # items in one answer of Hone's, the most there are
TOKEN = (
    "0123456789abcdef0123456789abcdef01234567"  # of Label Studio's first user, in a folder of ours
)
PATIENCE = 180.0  # seconds until a server answers
ASKED = tuple[str, Any]  # path and body of a request


@dataclass(frozen=True, slots=True)
class Client:
    """One judge: a connection, and the verdicts to send over it."""

    line: Line
    asked: Sequence[ASKED]


@dataclass(frozen=True, slots=True)
class Ready:
    """A side with its server running."""

    clients: Sequence[Client]
    stored: Callable[[], int]  # verdicts that it has


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--feedloop", default="", metavar="PYTHON")
    parser.add_argument("--label-studio", default="", metavar="PYTHON")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--votes", type=int, default=250, help="of each client, at most")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each side, at most")
    parser.add_argument("--write", action="store_true", help="write beside.json")
    asked = parser.parse_args()
    sides: dict[str, Callable[..., AbstractContextManager[Ready]]] = {"hone": hone}
    if asked.feedloop:
        sides["feedloop"] = partial(feedloop, asked.feedloop)
    if asked.label_studio:
        sides["label_studio"] = partial(label_studio, asked.label_studio)
    found: dict[str, Any] = {}
    for name, side in sides.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            side(Path(folder), asked.clients, asked.votes) as ready,
        ):
            found[name] = measured(ready, asked.seconds)
        print(name, json.dumps(found[name]), flush=True)
    result = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "clients": asked.clients,
        "sides": found,
        "hone_times_as_many": {
            name: round(found["hone"]["votes_per_second"] / one["votes_per_second"], 2)
            for name, one in found.items()
            if name != "hone"
        },
    }
    text = json.dumps(result, indent=1)
    print(text)
    if asked.write:
        RESULT.write_text(text + "\n")
    return int(any(one["missing"] for one in found.values()))


def measured(ready: Ready, seconds: float) -> dict[str, Any]:
    """Let all clients send what they have, until the time is over."""
    took, wrong, elapsed = asyncio.run(_judge(ready.clients, seconds))
    return {
        "votes": len(took),
        "votes_per_second": round(len(took) / elapsed, 1),
        "ms": quantiles(took),
        "refused": wrong,
        "missing": len(took) - ready.stored(),
    }


async def _judge(clients: Sequence[Client], seconds: float) -> tuple[list[float], int, float]:
    """Return the milliseconds that verdicts took, how many were refused, and all seconds."""
    took: list[float] = []
    wrong = 0
    began = time.monotonic()

    async def one(client: Client) -> None:
        nonlocal wrong
        for path, body in client.asked:
            if time.monotonic() - began > seconds:
                return
            asked = time.perf_counter()
            status, _ = await client.line.ask("POST", path, body)
            if status in (200, 201):
                took.append((time.perf_counter() - asked) * 1e3)
            else:
                wrong += 1

    await asyncio.gather(*map(one, clients))
    elapsed = time.monotonic() - began
    for client in clients:
        client.line.close()
    return took, wrong, elapsed


@contextmanager
def hone(folder: Path, clients: int, votes: int) -> Iterator[Ready]:
    """Hone, its labelers signed in under names of their own."""
    data = folder / "data"
    prepare(data, 2 * clients * votes)
    server = Server(data, free_port())
    server.start()
    try:
        wait_for(server.port)
        made = [asyncio.run(_labeler(server.port, n, votes)) for n in range(clients)]
        yield Ready(made, lambda: _stored(server, data))
    finally:
        server.close()


async def _labeler(port: int, number: int, votes: int) -> Client:
    line = Line(port)
    await line.ask("POST", "/api/v1/labeler", {"name": f"labeler {number}"})
    items: dict[str, Any] = {}
    while len(items) < votes:
        n, held = min(AT_ONCE, votes - len(items)), ",".join(items)
        path = f"/api/v1/items?mode=pairs&n={n}&exclude={held}"
        _, answer = await line.ask("GET", path)
        items |= {one["assignment"]: one for one in answer["items"]}
    line.close()
    rng = random.Random(number)
    asked = [
        (
            "/api/v1/votes",
            {
                "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
                "assignment": id,
                "revision": item["revision"],
                "verdict": rng.choice(("left", "right")),
                "seconds_spent": 2.0,
            },
        )
        for id, item in items.items()
    ]
    return Client(line, asked)


def _stored(server: Server, data: Path) -> int:
    """Return how many votes the folder has, once its server has ended."""
    server.end(signal.SIGTERM)
    with Store.open(data) as store:
        return store.count(Vote)


FEEDLOOP = """
import json, os, sys, time, feedloop
port, folder, texts = int(sys.argv[1]), sys.argv[2], json.load(open(sys.argv[3]))
feedloop.start(port=port, db_path=folder + "/feedloop.db", open_browser=False)
ids = [feedloop.compare(prompt, [a, b]) for prompt, a, b in texts]
json.dump(ids, open(folder + "/ids.part", "w"))
os.rename(folder + "/ids.part", folder + "/ids.json")
while True: time.sleep(60)
"""


@contextmanager
def feedloop(python: str, folder: Path, clients: int, votes: int) -> Iterator[Ready]:
    """feedloop as its page uses it: POST /api/feedback for a comparison."""
    port, texts = free_port(), folder / "texts.json"
    texts.write_text(json.dumps(_texts(clients * votes)))
    line = [python, "-c", FEEDLOOP, str(port), str(folder), str(texts)]
    with _running(line, folder):
        ids_file = folder / "ids.json"
        _wait(ids_file.exists, "feedloop")
        ids = json.loads(ids_file.read_text())
        made = [
            Client(
                Line(port),
                [
                    ("/api/feedback", {"comparison_id": id, "chosen_side": "left"})
                    for id in ids[n::clients]
                ],
            )
            for n in range(clients)
        ]
        yield Ready(made, lambda: asyncio.run(_get(port, "/api/stats"))[1]["completed"])


PAIRWISE = (
    '<View><Text name="prompt" value="$prompt"/><Text name="answer1" value="$answer1"/>'
    '<Text name="answer2" value="$answer2"/>'
    '<Pairwise name="comparison" toName="answer1,answer2"/></View>'
)


@contextmanager
def label_studio(python: str, folder: Path, clients: int, votes: int) -> Iterator[Ready]:
    """Label Studio with its SQLite: POST an annotation for a task, as its page does."""
    port = free_port()
    line = [
        str(Path(python).with_name("label-studio")), "start", "--no-browser",
        "--data-dir", str(folder), "--port", str(port), "--username", "lead@example.org",
        "--password", "not a secret", "--user-token", TOKEN,
    ]  # fmt: skip
    with _running(line, folder, LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN="true"):
        _wait(lambda: asyncio.run(_get(port, "/health"))[0] == 200, "Label Studio")
        tasks = asyncio.run(_project(port, min(clients * votes, 2_000)))
        result = {
            "type": "pairwise",
            "from_name": "comparison",
            "to_name": "answer1,answer2",
            "value": {"selected": "left"},
        }
        made = [
            Client(
                Line(port, AUTHORIZED),
                [
                    (f"/api/tasks/{id}/annotations/", {"result": [result]})
                    for id in tasks[n::clients]
                ],
            )
            for n in range(clients)
        ]
        yield Ready(made, lambda: asyncio.run(_annotated(port)))


AUTHORIZED = f"Authorization: Token {TOKEN}\r\n"


async def _project(port: int, tasks: int) -> list[int]:
    """Make a project with so many tasks; return their ids."""
    line = Line(port, AUTHORIZED)
    _, project = await line.ask(
        "POST", "/api/projects", {"title": "Beside", "label_config": PAIRWISE}
    )
    names = ("prompt", "answer1", "answer2")
    rows = [dict(zip(names, row, strict=True)) for row in _texts(tasks)]
    path = f"/api/projects/{project['id']}/import?return_task_ids=true"
    _, imported = await line.ask("POST", path, rows)
    line.close()
    return list(imported["task_ids"])


async def _annotated(port: int) -> int:
    line = Line(port, AUTHORIZED)
    _, projects = await line.ask("GET", "/api/projects")
    line.close()
    return int(projects["results"][0]["total_annotations_number"])


async def _get(port: int, path: str) -> tuple[int, Any]:
    line = Line(port)
    answer = await line.ask("GET", path)
    line.close()
    return answer


def _texts(n: int) -> list[tuple[str, str, str]]:
    """Return prompts with two answers, as long as Hone's are here."""
    rng = random.Random(0)
    return [(f"{words(rng, 12)}?", f"{words(rng, 20)}.", f"{words(rng, 20)}.") for _ in range(n)]


@contextmanager
def _running(line: Sequence[str], folder: Path, **more: str) -> Iterator[None]:
    """Keep a server running meanwhile; what it says goes to a file."""
    environment = {**os.environ, "HOME": str(folder), **more}
    with (folder / "said.txt").open("wb") as said:
        server = subprocess.Popen(
            line, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            yield
        finally:
            server.terminate()
            server.wait()


def _wait(ready: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if ready():
            return
        time.sleep(0.5)
    raise RuntimeError(f"{what} did not come up")


if __name__ == "__main__":
    sys.exit(main())
