"""One training run from its folder to its report: `python -m align.train RUN_DIR`.

A process of its own that talks through files alone: it reads config.json and the snapshot, and
writes status.json, metrics.jsonl, checkpoints/, adapter/ and report.json. Started again on the same
folder it goes on from the newest complete checkpoint. With `--processes N`, or started N times by
torchrun, the processes share the work; the first one writes. `--dry-run` says what that would take
on N devices. Exit code 0: done; 2: a mistake that a
person can mend (one sentence on stderr and in status.json); 1: a bug; 143: cancelled by SIGTERM or
Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from align import recipes
from align.enough import check_enough
from align.locks import FileLock
from align.manifest import verify_manifest
from align.processes import COUNT, Cancelled, Ending, PeerLeft, Processes, join
from align.run_files import LOADING, RunFiles
from align.uncollected import uncollected
from storage.errors import BadInput, Busy, UserError

CANCELLED = 143
SIGNALS = (signal.SIGTERM, signal.SIGINT)


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


def main(arguments: Sequence[str]) -> int:
    """Train the run in the one folder that is named; return the exit code."""
    try:
        given = parser().parse_args(arguments)
    except SystemExit as refused:  # the usage is printed
        return int(refused.code or 0)
    if given.dry_run:
        return dry_run(given)
    if given.processes > 1 and COUNT not in os.environ:
        from align.launch import launch  # here: it loads torch

        return launch(given.folder, given.processes)
    with Watch() as watch:
        try:
            together = join(lambda: watch.told)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        code = guarded(RunFiles(Path(given.folder), quiet=not together.first), together)
        if code == 0:
            together.close()
        return code


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    words = argparse.ArgumentParser("python -m align.train", allow_abbrev=False)
    words.add_argument("folder", metavar="RUN_DIR")
    words.add_argument("--processes", type=int, default=1, help="on this machine (default 1)")
    words.add_argument("--dry-run", action="store_true", help="say what N processes would take")
    words.add_argument("--nodes", type=int, default=1, help="machines, for the dry run (default 1)")
    return words


def dry_run(given: argparse.Namespace) -> int:
    """Print what the run would take on N devices, and the commands; train nothing."""
    from align.dry_run import Machines, report  # here: it loads torch

    try:
        config = RunFiles(Path(given.folder)).config()
        print(report(config, given.folder, Machines(given.nodes, given.processes)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def guarded(files: RunFiles, together: Processes) -> int:
    """Run, and turn what goes wrong, here or in another process, into a status and an exit code.

    Before the folder's lock is ours, its files are not ours to write.
    """
    lock = FileLock(files.folder / "lock")
    try:
        config = files.config()
        if together.first and not lock.acquire():
            raise Busy(f"{files.folder.name} is being trained already; wait for it or cancel it")
        together.gather(None)
        with contextlib.redirect_stdout(sys.stdout if together.first else None):
            run(files, config, together)
    except Exception as error:  # noqa: BLE001  (the edge: a bug is shown, and the status says so)
        spoken = together.speaks()  # asked before the others go
        ending = together.leave(own := ending_of(error))
        if own.code == 1 and ending == own and not isinstance(error, PeerLeft):
            traceback.print_exception(error)
        elif ending.code == 2 and spoken:
            print(ending.message, file=sys.stderr)
        if lock.held:
            with contextlib.suppress(OSError):
                files.status(ending.status, ending.message)
        return ending.code
    finally:
        lock.release()
    return 0


def ending_of(error: Exception) -> Ending:
    """Return how a run ends that an exception stopped."""
    if isinstance(error, PeerLeft):
        return error.ending
    if isinstance(error, Cancelled):
        words = "cancelled; resume goes on from the last checkpoint"
        return Ending("cancelled", words, CANCELLED)
    if isinstance(error, UserError):
        return Ending("failed", str(error), 2)
    if short := _short_of(error):
        return Ending("failed", short, 2)
    words = f"a bug in Hone: {type(error).__name__}: {error} (see log.txt)"
    return Ending("failed", words, 1)


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


def run(files: RunFiles, config: dict[str, Any], together: Processes) -> None:
    """Train, publish the adapter, and report."""
    settings = recipes.from_json(config["method"], config["settings"])
    rows = read_snapshot(Path(config["snapshot"]))
    check_enough(settings.method, counts_of(rows))
    device = wait_for_device(files, config, together) if together.first else None
    together.gather(None)
    try:
        files.status("starting", LOADING)
        with uncollected():
            from align.session import Session  # here: torch takes seconds to load, a refusal none
        session = Session.open(files, config, settings, rows, together)
        session.train()
        session.publish()
        session.report()
        together.gather(None)  # nobody needs the device any more
    finally:
        if device is not None:
            device.release()


def read_snapshot(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a snapshot, {"pairs": …, "labels": …}, after checking its hashes; those
    whose text was erased since are left out."""
    verify_manifest(folder)
    return {
        name: [row for row in _lines(folder / f"{name}.jsonl") if "erased" not in row]
        for name in ("pairs", "labels")
    }


def counts_of(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, int]]:
    """Return how many rows there are and how many of them train, as `check_enough` takes it."""
    train = {name: [row for row in rows[name] if row["split"] == "train"] for name in rows}
    counts = {name: {"all": len(rows[name]), "train": len(train[name])} for name in rows}
    return {**counts, "good": {"train": sum(row["label"] for row in train["labels"])}}


def wait_for_device(
    files: RunFiles, config: Mapping[str, Any], together: Processes
) -> FileLock | None:
    """Take DEVICE.lock, waiting until the model worker has left the device."""
    if not config.get("device_lock"):
        return None
    lock = FileLock(Path(config["device_lock"]))
    files.status("waiting", "waiting for the device")
    while not lock.acquire(timeout=0.2):
        together.pause()
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
