"""The server and the command line under kill -9, signals, and a folder that is in use."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.serve_kill import Outcome, Plan, run
from storage.lock import read_lock
from tests.commandline import hone, pairs, write_lines
from tests.serving import ROOT, serve

BACK_SECONDS = 5.0  # the promise of the issue, for a machine that does nothing else


def nothing_lost(outcome: Outcome) -> None:
    print(f"{outcome.acknowledged} acknowledged, back after {outcome.restart_seconds} s")
    assert (outcome.lost, outcome.double, outcome.refused, outcome.broken) == (0, 0, 0, 0)


def test_three_kills_lose_no_acknowledged_vote(tmp_path: Path) -> None:
    outcome = run(Plan(kills=3, clients=20, votes_between=40), tmp_path / "data")
    nothing_lost(outcome)
    assert outcome.acknowledged >= 4 * 40


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_thirty_kills_under_fifty_clients_lose_no_acknowledged_vote(tmp_path: Path) -> None:
    outcome = run(Plan(), tmp_path / "data")
    nothing_lost(outcome)
    assert outcome.kills == 30
    assert outcome.acknowledged >= 3_000
    assert sorted(outcome.restart_seconds)[15] < BACK_SECONDS


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_cleanly_and_gives_the_folder_back(
    tmp_path: Path, how: signal.Signals
) -> None:
    serving = serve(tmp_path / "data")
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=30)
    connection.request("GET", "/api/v1/health")
    assert connection.getresponse().read()
    connection.close()
    assert serving.end(how) == 0
    assert read_lock(tmp_path / "data") is None
    assert serving.log.read_text("utf-8") == ""


def test_a_killed_server_leaves_no_lock_and_a_new_one_takes_the_same_port(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = serve(data)
    first.end(signal.SIGKILL)
    assert read_lock(data) is None
    assert hone("check", "--json", data=data).result["checks"]  # the dead address is not asked
    started = time.monotonic()
    second = serve(data, first.port)
    print(f"the second start took {time.monotonic() - started:.1f} s")
    assert second.address == first.address
    assert second.end() == 0


def wait_until_a_part_is_stored(importing: subprocess.Popen[str]) -> None:
    """What the import says first is the format that it detected; then how far it is."""
    assert importing.stderr is not None
    assert any("stored" in line for line in importing.stderr)


def test_an_import_that_is_killed_can_be_repeated_to_the_end(tmp_path: Path) -> None:
    """6,000 rows; killed after the first thousands are stored; nothing double, nothing missing."""
    data = tmp_path / "data"
    file = write_lines(tmp_path / "many.jsonl", pairs(6_000))
    process = subprocess.Popen(
        [sys.executable, "app.py", "import", str(file), "--data", str(data)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_a_part_is_stored(process)
    process.kill()
    process.communicate()
    result = hone("import", file, "--json", data=data).result
    assert result["refused"] == []
    assert result["stored"] + result["duplicates"] == 6_000
    assert result["stored"] < 6_000
    out = tmp_path / "out.jsonl"
    assert hone("export", out, "--json", data=data).result["written"] == 6_000
    with out.open(encoding="utf-8") as lines:
        assert len({json.loads(line)["prompt"][0]["content"] for line in lines}) == 6_000


def test_ctrl_c_during_an_import_says_so_and_leaves_the_folder_free(tmp_path: Path) -> None:
    data = tmp_path / "data"
    file = write_lines(tmp_path / "many.jsonl", pairs(20_000))
    process = subprocess.Popen(
        [sys.executable, "app.py", "import", str(file), "--json", "--data", str(data)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_a_part_is_stored(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert read_lock(data) is None
