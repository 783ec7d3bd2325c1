"""`kill -9` under load: every acknowledged vote is there, once, with its comment."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.errors import Conflict
from storage.records import Vote
from storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
VOTER = Path(__file__).with_name("voter.py")


def vote_and_kill(data: Path, seed: int, answers: int, checkpoint: int) -> list[str]:
    """Let a process vote, kill it in the middle, and return what it had acknowledged.

    The kill waits for a number of answers, not for a time: on a busy machine a process that was
    killed before its first vote would prove nothing.
    """
    command = [sys.executable, str(VOTER), str(data), str(seed), str(checkpoint)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as voter:
        assert voter.stdout is not None
        assert voter.stdout.readline() == b"ready\n"
        said = [voter.stdout.readline() for _ in range(answers)]
        time.sleep(random.Random(seed).uniform(0, 0.02))  # anywhere in a group commit
        voter.kill()
        return b"".join([*said, voter.stdout.read()]).decode().splitlines()


def check(data: Path, said: list[str]) -> None:
    start = time.process_time()
    with Store.open(data) as store:
        # Processor time, because the wall's depends on who else runs: 0.05 to 0.10 s were measured.
        assert time.process_time() - start < 2
        votes = store.rows(Vote)
        assert len({vote.id for vote in votes}) == len(votes)
        stored = {vote.id: vote.comment for vote in votes}
        acknowledged = {w[1]: w[2] for line in said if (w := line.split())[0] == "stored"}
        assert acknowledged.items() <= stored.items()
        assert set(store.texts(stored.values())) == set(stored.values())
        for line in said:
            if line.startswith("refused"):
                id = line.split()[1]
                with pytest.raises(Conflict, match="already"):
                    store.append(Vote(id, "elsewhere", 0, "c", "ada", "a"))
        assert store.verify() == []


def test_no_acknowledged_vote_is_lost_by_a_kill(data: Path) -> None:
    said: list[str] = []
    for seed in range(3):
        said += vote_and_kill(data, seed, 20 + 10 * seed, 50_000)
        check(data, said)
    assert len(said) >= 20 + 30 + 40


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("checkpoint", [50_000, 16 << 20])
def test_no_acknowledged_vote_is_lost_by_fifteen_kills(data: Path, checkpoint: int) -> None:
    """15 kills after 100 answers each; with the small threshold many fall into a checkpoint."""
    said: list[str] = []
    for seed in range(15):
        said += vote_and_kill(data, seed, 100, checkpoint)
        check(data, said)
    assert len(said) >= 15 * 100
