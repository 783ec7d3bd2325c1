"""The child process of a training run: start it, know whether it goes, end it. Knows no torch.

A run of several processes is one child too: it starts the others and hands a signal on to them.
`FOLDER/lock` is the truth about whether it goes. The process id lies in process.json together with
the process's start time, so that a signal never reaches a stranger that got the same number later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from align.json_files import read_json, write_json
from align.locks import is_held
from storage import priority
from storage.errors import Conflict

ROOT = Path(__file__).resolve().parent.parent
CANCEL_SECONDS = 8.0  # Choice: time to end cleanly, so that a cancel stays under 10 s
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}  # the model is a local folder
MAX_THREADS = 8  # Choice: more brings little to small models and takes the machine away


def start_child(folder: Path) -> None:
    """Start `python -m align.train` in its own session, low in priority, writing to log.txt.

    As many processes train as the run's configuration says; they share the threads.
    """
    write_json(folder / "status.json", {"status": "starting", "message": "loading the model"})
    processes = int(read_json(folder / "config.json").get("processes") or 1)
    threads = max(1, min(os.cpu_count() or 1, MAX_THREADS) // processes)
    several = ["--processes", str(processes)] if processes > 1 else []
    with (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "align.train", str(folder), *several],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"OMP_NUM_THREADS": str(threads), **os.environ, **QUIET},
        )
    priority.lower(child.pid)
    process = {"pid": child.pid, "started": _started(child.pid)}
    write_json(folder / "process.json", process)
    threading.Thread(target=child.wait, name=f"reaper of {folder.name}", daemon=True).start()


def is_running(folder: Path) -> bool:
    """Say whether the run goes: its lock is held, or its child lives and is still starting, which
    takes long where there are several processes."""
    if is_held(folder / "lock"):
        return True
    return _status_word(folder) == "starting" and _process_of(folder) is not None


def end_child(folder: Path) -> None:
    """End the child: SIGTERM, some seconds to end cleanly, then SIGKILL to its process group.

    Raises:
        Conflict: it goes on another machine or in another container.
    """
    pid = _process_of(folder)
    if pid is None:
        if not is_running(folder):
            return  # it ended by itself just now
        raise Conflict(
            f"run {folder.name} goes in a process that this machine does not know "
            "(another container or host holds its lock); cancel it there."
        )
    group, others = _group_led_by(pid), _descendants(pid)
    _signal(pid, group, signal.SIGTERM)
    _wait(lambda: not is_running(folder), CANCEL_SECONDS)
    if group or _process_of(folder) == pid:
        _signal(pid, group, signal.SIGKILL)  # with a group also what it may have left behind
    for other in others:  # each of several processes leads a group of its own
        with contextlib.suppress(psutil.NoSuchProcess):
            other.kill()
    _wait(lambda: not is_held(folder / "lock"), CANCEL_SECONDS)


def _wait(over: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not over() and time.monotonic() < until:
        time.sleep(0.02)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def _group_led_by(pid: int) -> bool:
    """Say whether the process leads its group: then the group is its own, and can be signalled."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _status_word(folder: Path) -> str:
    return str(read_json(folder / "status.json").get("status", ""))


def _process_of(folder: Path) -> int | None:
    """Return the id of the run's child if that very process still lives."""
    process = read_json(folder / "process.json")
    pid, started = process.get("pid"), process.get("started")
    if isinstance(pid, int) and started is not None and _started(pid) == started:
        return pid
    pid = read_json(folder / "status.json").get("pid")
    if isinstance(pid, int) and pid != os.getpid() and _trains(pid, folder):
        return pid
    return None


def _trains(pid: int, folder: Path) -> bool:
    """Say whether process `pid` was started by hand to train this very folder."""
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    return "align.train" in words and any(word.rstrip("/").endswith(folder.name) for word in words)


def _started(pid: int) -> float | None:
    """Return when process `pid` started (seconds since 1970), or None if it is no more."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _signal(pid: int, group: bool, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        (os.killpg if group else os.kill)(pid, number)
