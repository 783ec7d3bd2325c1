"""What opening a tab costs, and what an open one costs while nothing moves.

    python benchmarks/screens.py [--votes 300] [--rounds 3] [--write]

A real server on a folder with simulated votes, a real Chromium. For each of the lead's tabs:
processor seconds of the page (Chromium's renderer) and of the server within four seconds of the
click, and afterwards the share of a core that both take while the tab stays in front. Beside it,
in the same run, the same app in which every event tells its outputs how far it is, as Gradio does
by itself (decision 0019): the ratio is what that costs. Without a run in the folder, so that the
figures are a lower bound. `--write` puts them into benchmarks/results/screens.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from feedback.simulate import simulate_votes  # noqa: E402
from storage.store import Store  # noqa: E402
from tests.browser.chromium import ARGS, find  # noqa: E402
from tests.browser.conftest import free_port, prepare  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "screens.json"
TABS = ("Data", "Quality", "Generate", "Train", "Rounds")
WIDE = {"width": 1280, "height": 900}
OPENING = 4.0  # seconds that belong to the click
RESTING = 8.0  # seconds of an open tab in which nothing moves
TOLD = """
import sys
from feedback.screens import parts

wire = parts.wire


def telling(*given, **options):
    return wire(*given, **{"show_progress_on": None, **options})


parts.wire = telling
import app
sys.exit(app.main())
"""  # the same app, but that its events tell every output how far they are


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--votes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is told")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        prepare(data, asked.votes)
        with Store.open(data) as store:
            simulate_votes(store, asked.votes, prefer="longer", noise=0.2)
        ours = measured(["app.py"], data, asked.rounds)
        told = measured(["-c", TOLD], data, asked.rounds)
    result = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "votes": asked.votes,
        "tabs": ours,
        "when_every_output_is_told": told,
        "page_seconds_over_ours": {
            tab: round(told[tab]["opening"]["page"] / ours[tab]["opening"]["page"], 1)
            for tab in TABS
        },
    }
    print(json.dumps(result, indent=1))
    if asked.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def measured(program: list[str], data: Path, rounds: int) -> dict[str, Any]:
    """Return for each tab the medians of what opening it costs, and of what it costs open."""
    path = find()
    assert path is not None, "no Chromium: `make test` installs one"
    with serving(program, data) as (server, address), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGS))
        seen = [one_visit(browser, server, address) for _ in range(rounds)]
        browser.close()
    return {
        tab: {
            part: {
                who: round(median(visit[tab][part][who] for visit in seen), 2)
                for who in ("page", "server")
            }
            for part in ("opening", "open")
        }
        for tab in TABS
    }


def one_visit(browser: Browser, server: psutil.Process, address: str) -> dict[str, Any]:
    """Open every tab of a new page, one after the other."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.goto(address)
    page.get_by_role("tab", name="Label", exact=True).wait_for()
    page.wait_for_timeout(3_000)
    found: dict[str, Any] = {}
    for tab in TABS:
        before = spent(server)
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(1000 * OPENING)
        opened = spent(server)
        page.wait_for_timeout(6_000)  # a slow page has not drawn all yet
        settled, since = spent(server), time.monotonic()
        page.wait_for_timeout(1000 * RESTING)
        rested, seconds = spent(server), time.monotonic() - since
        found[tab] = {
            "opening": {who: opened[who] - before[who] for who in opened},
            "open": {who: (rested[who] - settled[who]) / seconds for who in rested},
        }
    context.close()
    return found


def spent(server: psutil.Process) -> Counter[str]:
    """Return the processor seconds of the page and of the server so far."""
    seconds = Counter(page=0.0, server=sum(server.cpu_times()[:2]))
    for child in psutil.Process().children(recursive=True):
        try:
            if "--type=renderer" in child.cmdline():
                seconds["page"] += sum(child.cpu_times()[:2])
        except psutil.Error:
            continue
    return seconds


@contextmanager
def serving(program: list[str], data: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Start a server and give it with its address once it answers."""
    port = free_port()
    words = ["serve", "--no-starter", "--port", str(port), "--data", str(data)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen(
        [sys.executable, *program, *words], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert child.poll() is None, "the server ended at once"
            try:
                if httpx.get(address, timeout=60).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield psutil.Process(child.pid), address
    finally:
        child.terminate()
        child.wait(30)


if __name__ == "__main__":
    main()
