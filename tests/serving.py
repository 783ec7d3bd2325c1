"""A real server for tests: `python app.py serve` in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
END_SECONDS = 120


@dataclass(frozen=True)
class Serving:
    process: subprocess.Popen[str]
    address: str
    port: int
    log: Path

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the server and return its exit code."""
        self.process.send_signal(how)
        self.process.communicate(timeout=END_SECONDS)
        return self.process.returncode


def serve(data: Path, port: int = 0) -> Serving:
    """Start a server and return once it says where it is."""
    log = data.parent / f"{data.name}-serve.log"
    words = ["serve", "--no-starter", "--json", "--port", str(port), "--data", str(data)]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "app.py", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, log.read_text("utf-8")
    address = json.loads(line)["address"]
    return Serving(process, address, int(address.rpartition(":")[2]), log)
