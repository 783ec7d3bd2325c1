"""One worker process and the socket to it: start, ask, hear, end. Knows no torch."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align.wire import to_line
from storage import priority

ROOT = Path(__file__).resolve().parent.parent
MAX_THREADS = 8  # Choice: a small model gains little from more; $OMP_NUM_THREADS overrules
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}  # the model is a local folder
LEAVE_SECONDS = 5.0  # Choice: the worker leaves within milliseconds; this is for a stuck one


class Gone(Exception):
    """The worker's side of the socket was closed."""


class WorkerProcess:
    """One worker process and the answers that come from it."""

    def __init__(self, device_lock: Path) -> None:
        ours, theirs = socket.socketpair()
        threads = str(min(os.cpu_count() or 1, MAX_THREADS))
        environment = {"OMP_NUM_THREADS": threads, **os.environ, **QUIET}
        with theirs:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "align.worker", str(theirs.fileno()), str(device_lock)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # ctrl-C at the terminal is for the server, which ends us
                env=environment,
            )
        priority.lower(self.child.pid)
        self._sock = ours
        self._sending = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[Mapping[str, Any] | None]] = {}
        self._waiting_lock = threading.Lock()
        self.left = False  # we sent it away
        self.gone = False
        self._reader = threading.Thread(target=self._read, name="worker answers", daemon=True)
        self._reader.start()

    def ask(self, job: int, message: Mapping[str, Any]) -> queue.SimpleQueue:
        """Send a job and return the queue of its answers; None in it means that the worker died."""
        answers: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        with self._waiting_lock:
            if self.gone:
                raise Gone
            self._waiting[job] = answers
        self.send({"job": job, **message})
        return answers

    def send(self, message: Mapping[str, Any]) -> None:
        with self._sending:
            try:
                self._sock.sendall(to_line(message))
            except OSError:
                return  # the reader sees it too and says so

    def forget(self, job: int) -> None:
        with self._waiting_lock:
            self._waiting.pop(job, None)

    def _read(self) -> None:
        try:
            with self._sock.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    with self._waiting_lock:
                        answers = self._waiting.get(message["job"])
                    if answers is not None:
                        answers.put(message)
        except (OSError, ValueError):
            pass  # closed under us, or killed in the middle of a line
        with self._waiting_lock:
            self.gone = True
            for answers in self._waiting.values():
                answers.put(None)
        self.child.wait()
        with self._sending:
            self._sock.close()

    def leave(self) -> None:
        """End the process; its device is free afterwards."""
        self.left = True
        with contextlib.suppress(OSError):  # it is gone already
            self._sock.shutdown(socket.SHUT_RDWR)
        try:
            self.child.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self._reader.join(LEAVE_SECONDS)

    def death(self) -> str:
        """Return how it died, in words."""
        code = self.child.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _has_descriptor(stream: Any) -> bool:
    try:
        return stream.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False
