"""What a run writes into its folder: status.json, metrics.jsonl, report.json. Knows no torch.

Whoever looks sees whole files: status and report are replaced by renaming, a row of metrics is one
flushed line.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import BadInput, NotFound

LOADING, SCORING, TRAINING, ANSWERING = (
    "loading the model",
    "scoring the reference",
    "training",
    "answering held-out prompts before and after",
)  # messages of the parts of a run, by which status.json tells their seconds
EVERY_SECONDS = 0.5  # Choice: what looks steady on a page that asks every second or two


@dataclass
class RunFiles:
    """The files of one run.

    `work` counts progress in tokens of forward passes, so that reference scores, training (three
    times as much per token) and evaluation add up to one time left. Between two countings it runs
    down; once it is used up nobody knows, and nothing is said until more is counted.

    Args:
        quiet: write nothing: of several processes the first one writes.
    """

    folder: Path
    quiet: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    work: float = 0.0
    work_done: float = 0.0
    _started: float = field(default_factory=time.monotonic)
    _working_since: float | None = None
    _counted: float = 0.0  # when work was counted last
    _written: float = 0.0
    _phase: tuple[str, float] = ("", 0.0)  # the message since when

    def config(self) -> dict[str, Any]:
        """Return config.json.

        Raises:
            NotFound, BadInput: it is not there, or not a run's configuration.
        """
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise NotFound(f"{path} is not there: name the folder of a run") from error
        except ValueError as error:
            raise BadInput(f"{path} cannot be read as JSON: {error}") from error
        wanted = ("run", "method", "model", "snapshot", "settings")
        missing = [name for name in wanted if name not in config]
        if missing:
            raise BadInput(f"{path} lacks {', '.join(missing)}")
        return dict(config)

    def status(self, status: str, message: str = "", **facts: Any) -> None:
        """Write status.json now; a new message ends the part of the run that went until here."""
        last, since = self._phase
        self._phase = (message, time.monotonic())
        phases = dict(self.state.get("phases", {}))
        if last:
            phases[last] = round(phases.get(last, 0.0) + self._phase[1] - since, 2)
        self.state.update(facts, status=status, message=message, pid=os.getpid(), phases=phases)
        self._write_status()

    def progress(self, work: float, **facts: Any) -> None:
        """Count work that was done and write status.json, at most twice a second."""
        now = time.monotonic()
        self._working_since = self._working_since or now
        if work:
            self.work_done += work
            self._counted = now
        self.state.update(facts)
        if time.monotonic() - self._written > EVERY_SECONDS:
            self._write_status()

    def add_metrics(self, row: Mapping[str, Any]) -> None:
        """Append one row to metrics.jsonl and flush it."""
        if self.quiet:
            return
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows written so far; a torn last line is left out."""
        path = self.folder / "metrics.jsonl"
        rows = []
        for line in path.read_text("utf-8").split("\n") if path.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def keep_metrics(self, last_step: int) -> None:
        """Drop the rows after a step: a resumed run makes them again."""
        rows = [json.dumps(row) + "\n" for row in self.metrics() if row["step"] <= last_step]
        self._replace(self.folder / "metrics.jsonl", "".join(rows))

    def report(self, report: Mapping[str, Any]) -> None:
        self._replace(self.folder / "report.json", json.dumps(report, indent=2) + "\n")

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._started, 1)

    def _write_status(self) -> None:
        self._written = time.monotonic()
        state = {**self.state, "seconds": self.seconds, "seconds_left": self._seconds_left()}
        self._replace(self.folder / "status.json", json.dumps(state) + "\n")

    def _seconds_left(self) -> float | None:
        if self._working_since is None or not 0 < self.work_done <= self.work:
            return None
        pace = (self._counted - self._working_since) / self.work_done
        left = pace * (self.work - self.work_done) - (time.monotonic() - self._counted)
        return round(left, 1) if left > 0 else None

    def _replace(self, path: Path, text: str) -> None:
        if self.quiet:
            return
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(text, "utf-8")
        temporary.replace(path)
