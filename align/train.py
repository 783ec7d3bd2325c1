"""One training run from its folder to its report: `python -m align.train RUN_DIR`.

A process of its own that talks through files alone: it reads config.json and the snapshot, and
writes status.json, metrics.jsonl, checkpoints/, adapter/ and report.json. Started again on the same
folder it goes on from the newest complete checkpoint. Exit code 0: done; 2: a mistake that a person
can mend (one sentence on stderr and in status.json); 1: a bug; 143: cancelled by SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from align import recipes
from align.enough import check_enough
from align.locks import FileLock
from align.manifest import verify_manifest
from align.run_files import LOADING, RunFiles
from storage.errors import BadInput, Busy, UserError

CANCELLED = 143
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Cancelled(Exception):
    """The run was told to stop."""


class Watch:
    """Hears SIGTERM and Ctrl-C, and stops the run at the next place where nothing is half done."""

    def __init__(self) -> None:
        self.told = False
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> Watch:
        for number in SIGNALS:
            signal.signal(number, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.told = True

    def pause(self) -> None:
        if self.told:
            raise Cancelled


def main(arguments: list[str]) -> int:
    """Train the run in the one folder that is named; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m align.train RUN_DIR", file=sys.stderr)
        return 2
    files = RunFiles(Path(arguments[0]))
    lock = FileLock(files.folder / "lock")
    try:
        config = files.config()
        if not lock.acquire():
            raise Busy(f"{files.folder.name} is being trained already; wait for it or cancel it")
        with Watch() as watch:
            return _guarded(files, config, watch)
    except UserError as error:  # before the lock was ours: its files are not ours to write
        print(error, file=sys.stderr)
        return 2
    finally:
        lock.release()


def _guarded(files: RunFiles, config: dict[str, Any], watch: Watch) -> int:
    """Run, and turn what goes wrong into a status; only a bug shows its traceback."""
    try:
        run(files, config, watch)
    except Cancelled:
        files.status("cancelled", "cancelled; resume goes on from the last checkpoint")
        return CANCELLED
    except UserError as error:
        files.status("failed", str(error))
        print(error, file=sys.stderr)
        return 2
    except Exception as error:  # noqa: BLE001  (the edge: a bug is shown, and the status says so)
        sentence = _short_of(error)
        if sentence is None:
            files.status("failed", f"a bug in Hone: {type(error).__name__}: {error} (see log.txt)")
            traceback.print_exc()
            return 1
        print(sentence, file=sys.stderr)
        with contextlib.suppress(OSError):
            files.status("failed", sentence)
        return 2
    return 0


def _short_of(error: Exception) -> str | None:
    """Return what to say where the machine ran out of something; None for any other error."""
    from align.overflow import ran_out  # here: it loads torch, which an early refusal does without

    if _disk_is_full(error):
        return "no room on the disk: free some space and resume; the last checkpoint is kept"
    if ran_out(error):
        return (
            "memory ran out: free some memory and resume, or train again with a smaller "
            "max_tokens; the last checkpoint is kept"
        )
    return None


def _disk_is_full(error: Exception) -> bool:
    """Say whether writing failed for want of room; torch and safetensors say it in words only."""
    words = ("No space left on device", "PytorchStreamWriter failed writing")
    return (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or any(
        word in str(error) for word in words
    )


def run(files: RunFiles, config: dict[str, Any], watch: Watch) -> None:
    """Train, publish the adapter, and report."""
    settings = recipes.from_json(config["method"], config["settings"])
    rows = read_snapshot(Path(config["snapshot"]))
    check_enough(settings.method, counts_of(rows))
    device = wait_for_device(files, config, watch)
    try:
        files.status("starting", LOADING)
        from align.session import Session  # here: torch takes seconds to load, a refusal none

        session = Session.open(files, config, settings, rows, watch.pause)
        session.train()
        session.publish()
        session.report()
    finally:
        if device is not None:
            device.release()


def read_snapshot(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a snapshot, {"pairs": …, "labels": …}, after checking its hashes."""
    verify_manifest(folder)
    return {name: list(_lines(folder / f"{name}.jsonl")) for name in ("pairs", "labels")}


def counts_of(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, int]]:
    """Return how many rows there are and how many of them train, as `check_enough` takes it."""
    train = {name: [row for row in rows[name] if row["split"] == "train"] for name in rows}
    counts = {name: {"all": len(rows[name]), "train": len(train[name])} for name in rows}
    return {**counts, "good": {"train": sum(row["label"] for row in train["labels"])}}


def wait_for_device(files: RunFiles, config: Mapping[str, Any], watch: Watch) -> FileLock | None:
    """Take DEVICE.lock, waiting until the model worker has left the device."""
    if not config.get("device_lock"):
        return None
    lock = FileLock(Path(config["device_lock"]))
    files.status("waiting", "waiting for the device")
    while not lock.acquire(timeout=0.2):
        watch.pause()
        files.progress(0)
    return lock


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if not line:
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise BadInput(
                f"{path} line {number} is not JSON; freeze the snapshot again"
            ) from error


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main(sys.argv[1:]))
