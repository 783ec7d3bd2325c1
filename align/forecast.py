"""What a run of these rows needs of this machine, in memory and time, before it starts. No torch.

It joins what the others count: tokens (`tokens`), passes and memory (`preflight`), work and speed
(`estimate`), the machine's facts (`device`), and which reference scores are there already.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from align.estimate import Estimate, Work, estimate, first_pace, measured_pace, work_of
from align.losses import LOSSES
from align.models import Model
from align.preflight import Device, Fit, Rows, Shape, gigabytes, of_one, settle
from align.recipes import Settings
from align.rendering import Row
from align.scored import cache_of, name_of, names_in
from align.tokens import Counted, count
from storage.errors import BadInput


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would need, and how it would compute."""

    model: str
    settings: Settings
    device: Device
    counted: Counted
    fit: Fit
    work: Work | None  # None: the model's shape is not known
    time: Estimate | None

    def sentences(self) -> list[str]:
        """Return it in words, a line each."""
        passes = self.fit.passes
        lines = [self.rows_words(), f"{self.memory_words()} ({passes.precision})"]
        if self.fit.rows:
            again = ", activations made twice" if passes.checkpointing else ""
            lines.append(
                f"a step of {self.settings.train.batch_size} rows in passes of at most "
                f"{max(passes.budget, self.longest):,} tokens: {self.fit.rows} of the longest rows "
                f"({self.longest:,} tokens){again}"
            )
        lines += [f"{count} {reason}" for reason, count in self.counted.dropped.items()]
        if self.time is not None:
            lines.append(f"{self.model}, {self.settings.method.upper()}: {self.time.sentence()}")
        return lines

    @property
    def longest(self) -> int:
        return max(map(_tokens, self.counted.train), default=0)

    def rows_words(self) -> str:
        tokens = round(self.counted.times * sum(map(_tokens, self.counted.train)))
        about = "" if self.counted.exact and self.counted.times == 1 else "about "
        rows = round(self.counted.times * len(self.counted.train))
        return f"{rows:,} rows of {about}{tokens:,} tokens"

    def memory_words(self) -> str:
        return memory_words(self.fit, self.device)

    def for_run(self) -> dict[str, Any]:
        """Return what a run keeps of it in its config.json."""
        work = {} if self.work is None else {"work": self.work.as_json()}
        return {"passes": asdict(self.fit.passes), "device": self.device.label, **work}

    def as_json(self) -> dict[str, Any]:
        """Return it as the command `preflight` prints it."""
        memory, passes, time = self.fit.memory, self.fit.passes, self.time
        return {
            "method": self.settings.method,
            "model": self.model,
            "device": self.device.label,
            "memory_bytes": None if memory is None else memory.total,
            "free_bytes": self.device.free,
            "precision": passes.precision,
            "micro_batch": self.fit.rows or None,
            "batch_size": self.settings.train.batch_size,
            "pass_tokens": passes.budget,
            "checkpointing": passes.checkpointing,
            "rows": round(self.counted.times * len(self.counted.train)),
            "tokens": round(self.counted.times * sum(map(_tokens, self.counted.train))),
            "longest_tokens": self.longest,
            "exact": self.counted.exact and self.counted.times == 1,
            "dropped": dict(self.counted.dropped),
            "seconds": None if time is None else round(time.seconds),
            "speed": None if time is None else time.known,
        }


def foresee(
    data: Path,
    model: Model,
    settings: Settings,
    rows: Mapping[str, list[dict[str, Any]]],
    device: Device,
    *,
    reference: str = "base",
    processes: int = 1,
    sharded: bool = False,
    scored: bool = False,
) -> Forecast:
    """Return what a run would need here.

    Args:
        data: the data folder, whose finished runs tell the speed.
        rows: of a snapshot, {"pairs": …, "labels": …}.
        reference: "base", or "start" for the adapter that the run goes on from.
        processes: how many share a step's rows, and a CPU's memory; on GPUs one each.
        sharded: the base's layers lie in shares on them.
        scored: a run before this one scores the reference for it.

    Raises:
        Unsupported: it does not fit the memory; the sentence says what would.
        BadInput: no row can be trained on.
    """
    config = config_of(model.path)
    counted = count(model.path, config, settings, rows)
    if not counted.train:
        raise BadInput(f"none of the {LOSSES[settings.method].needs} can be trained on: "
                       f"{dict(counted.dropped)}")  # fmt: skip
    share, device = of_one(settings.train, device, processes)
    units = Rows.of(counted.train, share, riding=LOSSES[settings.method].mismatched)
    shares = processes if sharded else 1
    fit = settle(config, model.parameters, units, share, device, model.name, shares)
    shape = Shape.of(config, model.parameters)
    if shape is None:
        return Forecast(model.name, settings, device, counted, fit, None, None)
    cache = {
        "cache": data / "cache",
        "model_fingerprint": model.fingerprint,
        "settings": settings.as_json(),
    }
    known = 1.0 if scored else 0.0
    if reference == "base" and not scored:
        known = share_known(counted, names_in(cache_of(cache, fit.passes.precision)))
    passes, judged = fit.passes, Rows.of(counted.held_out, share)
    work = work_of(
        shape, settings, units.units, judged.units, known=known, prompts=counted.prompts,
        budget=0 if passes.checkpointing else passes.budget, checkpointing=passes.checkpointing,
        times=counted.times,
    )  # fmt: skip
    guess = first_pace(shape, device, passes.precision)
    pace = measured_pace(
        data, model.name, guess,
        device=device.label, precision=passes.precision, processes=processes,
    )  # fmt: skip
    time = estimate(work, pace)
    return Forecast(model.name, settings, device, counted, fit, work, time)


def share_known(counted: Counted, names: set[str]) -> float:
    """Return the share of the rows' reference scores, in 0..1, that earlier runs made."""
    wanted = [name_of(r.prompt, one) for r in (*counted.train, *counted.held_out)
              for one in r.responses] if names else []  # fmt: skip
    return sum(name in names for name in wanted) / len(wanted) if wanted else 0.0


def memory_words(fit: Fit, device: Device) -> str:
    """Return memory needed and free in a few words."""
    free = f"{gigabytes(device.free)} free on {device.name or 'this machine'}"
    if fit.memory is None:
        return f"memory not foreseen for a model of this kind; {free}"
    return f"needs {gigabytes(fit.memory.total)} of memory; {free}"


def config_of(folder: Path) -> dict[str, Any]:
    """Return a model's config.json."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    return found


def _tokens(row: Row) -> int:
    return len(row.prompt) + sum(map(len, row.responses))
