"""A full disk: votes are refused with a sentence, reads go on, nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILL = Path(__file__).with_name("fill_disk.py")
MOUNT = 'mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@"'


def in_small_disk(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a disk of 24 MB mounted on the folder, for that command alone."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", MOUNT, str(folder), *command],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spare", "sentence"),
    [
        (500_000_000, "has less than 1.3 MB left"),  # 5 % of 24 MiB
        (0, "is full"),  # no margin: the error comes from the journal or from a checkpoint
    ],
)
def test_a_full_disk_costs_nothing_that_was_acknowledged(
    tmp_path: Path, spare: int, sentence: str
) -> None:
    disk = tmp_path / "disk"
    if in_small_disk(disk, "true").returncode != 0:
        pytest.skip("this machine does not let us mount a small disk (unshare --mount, as root)")
    # Whether the journal or a checkpoint meets the full disk first differs by the run; without a
    # margin the test goes on, with other room left, until a checkpoint has.
    for left in (600_000, 500_000, 700_000, 550_000, 650_000):
        done = in_small_disk(disk, sys.executable, str(FILL), str(disk), str(spare), str(left))
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["acknowledged"] >= 100
        assert report["errors"] == 20
        assert sentence in report["error"]
        assert "need not be restarted" in report["error"]
        assert report["reads"] >= 3
        assert report["lost"] == report["wrong"] == []
        if spare or report["reopened"] >= 1:
            return
    pytest.fail("no checkpoint failed in five fillings: the test missed its point")
