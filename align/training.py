"""Start a training from the collected feedback: what it takes, what it drops, how long. No torch.

Everything that can be refused is refused before anything is written: method, settings, model, a run
that goes already, too little feedback. Following a run to its end is in `align/following.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from align import recipes, runs
from align.enough import check_enough
from align.estimate import estimate
from align.losses import LOSSES
from align.models import EMBEDDED, find_model
from align.sweep_files import refuse_beside
from align.workspace import Workspace
from feedback import snapshots
from storage.errors import BadInput, Busy

Progress = Callable[[str], None]

WHOSE = {"base": "the base model", "start": "that run's adapter"}
REFERENCES = tuple(WHOSE)
MAX_PROCESSES = 64  # Choice: machines with more GPUs than 16 are rare, CPUs gain nothing by more


def begin(
    workspace: Workspace,
    progress: Progress,
    *,
    method: str,
    snapshot: Path | None,
    model: str | None,
    settings: Sequence[str] | Mapping[str, Any],
    start_from: str | None = None,
    reference: str = "base",
    processes: int = 1,
) -> str:
    """Start a run and return its id; tell before what it uses, what was dropped, and how long.

    Args:
        snapshot: a snapshot's folder; None freezes one.
        model: None is the embedded one, or that of the run to go on from.
        settings: words like "beta=0.1", or a mapping.
        start_from: the run whose adapter this one goes on from.
        reference: "base", or "start" for that adapter.
        processes: how many share the work; on GPUs one each.

    Raises:
        BadInput: method or settings are not known or not good, or there is nothing to train on.
        NotFound, Unsupported: the model cannot be used.
        Busy: a run is going.
    """
    check_start(start_from, reference)
    check_processes(processes)
    if start_from and not model:
        base = runs.model_of(workspace.data, start_from)
    else:
        base = find_model(model or EMBEDDED)
    chosen = chosen_settings(method, settings, base.path)
    if start_from:
        chosen = shaped_as(chosen, runs.status(workspace.data, start_from))
    refuse_second(workspace.data)
    if snapshot is None:
        refuse_too_little(method, snapshots.preview(workspace.store))
    folder = snapshot or frozen_now(workspace)
    counts = snapshots.verify(folder)["counts"]
    check_enough(method, counts)
    if start_from:
        progress(f"goes on from {start_from}; the reference is {WHOSE[reference]}\n")
    for line in plan(method, folder.name, counts):
        progress(line + "\n")
    if target := LOSSES[method].target(chosen.loss.get("beta", 1.0)):
        progress(f"{method.upper()} aims at a margin of {target}\n")
    for line in recipes.remarks(
        chosen, config_of(base.path), counts[LOSSES[method].needs]["train"]
    ):
        progress(line + "\n")
    guess = estimate(folder, chosen, workspace.data, base.name)
    progress(f"{base.name}, {method.upper()}: {guess.sentence()}\n")
    run = runs.create_run(
        workspace.store, workspace.data, folder.name, method, base, chosen.as_json(),
        start_from, reference, processes,
    )  # fmt: skip
    workspace.client.leave()
    runs.start(workspace.data, run)
    progress(f"run {run.id}\n")
    return run.id


def begin_again(workspace: Workspace, run: str, progress: Progress) -> None:
    """Start a stopped run again.

    Raises:
        NotFound, Busy, Conflict: no such run, another is going, or this one is done.
    """
    runs.run_folder(workspace.data, run)
    refuse_second(workspace.data)
    workspace.client.leave()
    runs.resume(workspace.data, run)
    progress(f"run {run} goes on\n")


def check_start(start_from: str | None, reference: str) -> None:
    """Refuse a reference that is not known, or that there is none of."""
    if reference not in REFERENCES:
        raise BadInput(f"reference is {reference!r}: use one of {', '.join(REFERENCES)}")
    if reference == "start" and not start_from:
        raise BadInput("the reference `start` is the run to go on from: name it with --from")


def check_processes(processes: int) -> None:
    """Refuse a number of processes that no machine has work for."""
    if not 1 <= processes <= MAX_PROCESSES:
        raise BadInput(
            f"--processes {processes}: give 1 to {MAX_PROCESSES} for this machine "
            "(for several machines see docs/processes.md)"
        )


def shaped_as(settings: recipes.Settings, earlier: runs.RunStatus) -> recipes.Settings:
    """Return settings with the earlier adapter's rank and alpha: its weights have that shape."""
    shape = {name: earlier.settings[name] for name in ("lora_rank", "lora_alpha")}
    return recipes.from_json(settings.method, {**settings.as_json(), **shape})


def chosen_settings(
    method: str, settings: Sequence[str] | Mapping[str, Any], model: Path
) -> recipes.Settings:
    """Return the model's recipe with the user's changes, checked."""
    config = config_of(model)
    if isinstance(settings, Mapping):
        usual = recipes.recipe(method, config, recipes.tuning(settings)).as_json()
        return recipes.from_json(method, {**usual, **settings}, config)
    return recipes.from_pairs(settings, method, config)


def config_of(model: Path) -> dict[str, Any]:
    """Return the config.json of a base's folder."""
    config: dict[str, Any] = json.loads((model / "config.json").read_text("utf-8"))
    return config


def refuse_second(data: Path) -> None:
    going = runs.going_run(data)
    if going is not None:
        raise Busy(f"{runs.busy_sentence(going)}; cancel it or wait: one run at a time")
    refuse_beside(data)


def frozen_now(workspace: Workspace) -> Path:
    return workspace.data / "snapshots" / snapshots.freeze(workspace.store).id


def refuse_too_little(method: str, counts: Mapping[str, Any]) -> None:
    """Refuse feedback that the method cannot learn from; that there is none, freezing says best."""
    if counts["pairs"]["all"] or counts["labels"]["all"]:
        check_enough(method, counts)


def plan(method: str, snapshot: str, counts: Mapping[str, Any]) -> list[str]:
    """Return in words what a run uses of a snapshot and what was left out of it."""
    rows, needs = counts[LOSSES[method].needs], LOSSES[method].needs
    lines = [
        f"snapshot {snapshot}: {rows['train']} {needs} to train on, {counts['pairs']['held_out']} "
        f"pairs held out to judge it, {rows['duel']} {needs} kept for duels"
    ]
    dropped = [f"{count} {reason}" for reason, count in counts["dropped"].items() if count]
    return [*lines, f"dropped: {', '.join(dropped)}"] if dropped else lines
