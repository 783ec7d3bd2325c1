"""Start a training from the collected feedback: what it takes, what it drops, how long. No torch.

Everything that can be refused is refused before anything is written: method, settings, model, a run
that goes already, too little feedback. Following a run to its end is in `align/following.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from align import recipes, runs
from align.clearance import Clearance, clearance, refuse_unexplained, unheard_words
from align.device import device_now
from align.enough import check_enough
from align.forecast import Forecast, config_of, foresee
from align.losses import LOSSES
from align.material import Material, material
from align.models import EMBEDDED, Model, find_model
from align.sweep_files import refuse_beside
from align.workspace import Workspace
from feedback.snapshots import SnapshotSettings
from storage.errors import BadInput, Busy

Progress = Callable[[str], None]

WHOSE = {"base": "the base model", "start": "that run's adapter"}
REFERENCES = tuple(WHOSE)
MAX_BECAUSE = 500  # characters. Choice: a reason, not a report
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
    shard: bool = False,
    prepare: bool = False,
    remedies: Mapping[str, Any] | None = None,
    because: str = "",
) -> str:
    """Start a run and return its id; tell before what it uses, what was dropped, and how long.

    Args:
        snapshot: a snapshot's folder; None freezes one.
        model: None is the embedded one, or that of the run to go on from.
        settings: words like "beta=0.1", or a mapping.
        start_from: the run whose adapter this one goes on from.
        reference: "base", or "start" for that adapter.
        processes: how many share the work; on GPUs one each.
        shard: the base lies in shares on them, because no device holds it whole.
        prepare: write the run's folder, but leave the start to somebody else.
        remedies: settings of the snapshot that is frozen, as `SnapshotSettings` has them.
        because: why it is trained although checks speak against it; kept with the run.

    Raises:
        BadInput: method or settings are not known or not good, there is nothing to train on, or
            checks speak against it and nobody says why it shall be trained all the same.
        NotFound, Unsupported: the model cannot be used.
        Busy: a run is going.
    """
    check_start(start_from, reference)
    check_because(because)
    selected = asked_for(remedies, snapshot)
    check_processes(processes, shard and not prepare)
    if start_from and not model:
        base = runs.model_of(workspace.data, start_from)
    else:
        base = find_model(model or EMBEDDED)
    if start_from:
        settings = shaped_as(settings, runs.status(workspace.data, start_from))
    chosen = chosen_settings(method, settings, base.path)
    if shard:
        recipes.refuse_sharded(chosen.train)
    refuse_second(workspace.data)
    rows = material(workspace, snapshot, selected)
    check_enough(method, rows.counts)
    count = rows.counts[LOSSES[method].needs]["train"]
    chosen = chosen_settings(method, settings, base.path, count)
    how = {"reference": reference, "processes": processes, "sharded": shard}
    # a prepared run may go to another machine, and is settled there
    seen = None if prepare else look_ahead(workspace, rows, base, chosen, **how)
    cleared = cleared_with(method, rows, because)
    folder = rows.freeze(rows.checks)
    if start_from:
        progress(f"goes on from {start_from}; the reference is {WHOSE[reference]}\n")
    for line in begin_words(chosen, folder, rows.counts, base, seen):
        progress(line + "\n")
    for line in spoken_against(cleared):
        progress(line + "\n")
    kept = {**(seen.for_run() if seen else {}), "readiness": cleared.as_json(because.strip())}
    run = runs.create_run(
        workspace.store, workspace.data, folder.name, method, base, chosen.as_json(),
        start_from, reference, processes, shard, kept,
    )  # fmt: skip
    if prepare:
        progress(f"run {run.id} is prepared in {workspace.data / 'runs' / run.id}\n")
        return run.id
    workspace.client.leave()
    runs.start(workspace.data, run)
    progress(f"run {run.id}\n")
    return run.id


def cleared_with(method: str, rows: Material, because: str) -> Clearance:
    """Return the light for a start from these rows.

    Raises:
        BadInput: checks speak against it, and `because` says not why it is made all the same.
    """
    seen = clearance(method, rows.counts, rows.checks, unheard=rows.unheard)
    refuse_unexplained(seen, because)
    return seen


def spoken_against(seen: Clearance) -> list[str]:
    """Return what the checks say against a start, and which of them a snapshot does not know."""
    said = [f"{one.severity}: {one.message} {one.remedy}" for one in seen.objections]
    return [*said, *filter(None, [unheard_words(seen)])]


def begin_words(
    settings: recipes.Settings,
    folder: Path,
    counts: Mapping[str, Any],
    base: Model,
    seen: Forecast | None,
) -> list[str]:
    """Return what to tell before a run: rows, what it needs, its target, what is unusual."""
    method = settings.method
    lines = [*plan(method, folder.name, counts), *(seen.sentences() if seen else ())]
    if target := LOSSES[method].target(settings.loss.get("beta", 1.0)):
        lines.append(f"{method.upper()} aims at a margin of {target}")
    rows = counts[LOSSES[method].needs]["train"]
    return [*lines, *recipes.remarks(settings, config_of(base.path), rows)]


def look_ahead(
    workspace: Workspace, rows: Material, base: Model, settings: recipes.Settings, **how: Any
) -> Forecast:
    """Return what a run would need here; nothing is written.

    Args:
        how: what else `foresee` takes.

    Raises:
        BadInput: there is too little to train on.
        Unsupported: it does not fit the memory; the sentence says what would.
    """
    check_enough(settings.method, rows.counts)
    device = device_now([workspace.client.pid])
    return foresee(workspace.data, base, settings, rows.rows(), device, **how)


def begin_again(workspace: Workspace, run: str, progress: Progress) -> None:
    """Start a stopped run again.

    Raises:
        NotFound, Busy, Conflict: no such run, another is going, or this one is done.
        BadInput, Unsupported: its base is not the one that it began with.
    """
    runs.model_of(workspace.data, run)
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


def check_because(because: str) -> None:
    """Refuse a reason that is no line."""
    if len(because) > MAX_BECAUSE:
        raise BadInput(f"the reason has {len(because):,} characters: use at most {MAX_BECAUSE}")


def check_processes(processes: int, shared: bool = False) -> None:
    """Refuse a number of processes that no machine has work for, or that cannot share a base."""
    if not 1 <= processes <= MAX_PROCESSES:
        raise BadInput(
            f"--processes {processes}: give 1 to {MAX_PROCESSES} for this machine "
            "(for several machines see docs/processes.md)"
        )
    if shared and processes == 1:
        raise BadInput("--shard shares the base among processes: give --processes 2 or more")


def shaped_as(
    settings: Sequence[str] | Mapping[str, Any], earlier: runs.RunStatus
) -> Sequence[str] | Mapping[str, Any]:
    """Return what is asked for with the earlier adapter's kind, rank and alpha: its weights have
    that shape, and the recipe goes by the kind."""
    shape = {name: earlier.settings[name] for name in ("lora_rank", "lora_alpha")}
    shape["tune"] = recipes.tuning(earlier.settings)
    if isinstance(settings, Mapping):
        return {**settings, **shape}
    return [*settings, *(f"{name}={value}" for name, value in shape.items())]


def chosen_settings(
    method: str, settings: Sequence[str] | Mapping[str, Any], model: Path, rows: int = 0
) -> recipes.Settings:
    """Return the model's recipe with the user's changes, checked.

    Args:
        rows: how many there are to train on, once that is known; see `recipes.recipe`.
    """
    config = config_of(model)
    if isinstance(settings, Mapping):
        usual = recipes.recipe(method, config, recipes.tuning(settings), rows).as_json()
        return recipes.from_json(method, {**usual, **settings}, config)
    return recipes.from_pairs(settings, method, config, rows)


def refuse_second(data: Path) -> None:
    going = runs.going_run(data)
    if going is not None:
        raise Busy(f"{runs.busy_sentence(going)}; cancel it or wait: one run at a time")
    refuse_beside(data)


def asked_for(remedies: Mapping[str, Any] | None, snapshot: Path | None) -> SnapshotSettings:
    """Return what the snapshot shall hold; a frozen one holds what it holds."""
    if snapshot is not None and remedies:
        raise BadInput(
            f"{', '.join(remedies)} cannot be had of a snapshot that is frozen already: leave "
            "--snapshot out, or freeze another one with `snapshot`"
        )
    return SnapshotSettings(**(remedies or {}))


def age_words(counts: Mapping[str, Any], needs: str) -> str:
    """Return of which rounds the rows are that a run trains on; "" where all are of one.

    >>> age_words({"rounds": {"pairs": {"0": 40, "1": 30}}}, "pairs")
    'of round 0: 40, of round 1: 30'
    """
    ages = counts.get("rounds", {}).get(needs, {})
    told = ", ".join(f"of round {number}: {n:,}" for number, n in ages.items())
    return told if len(ages) > 1 else ""


def plan(method: str, snapshot: str, counts: Mapping[str, Any]) -> list[str]:
    """Return in words what a run uses of a snapshot and what was left out of it."""
    rows, needs = counts[LOSSES[method].needs], LOSSES[method].needs
    lines = [
        f"snapshot {snapshot}: {rows['train']} {needs} to train on, {counts['pairs']['held_out']} "
        f"pairs held out to judge it, {rows['duel']} {needs} kept for duels"
    ]
    lines += [str(one["message"]) for one in counts.get("remedies", ())]
    lines += [told] if (told := age_words(counts, needs)) else []
    dropped = [f"{count} {reason}" for reason, count in counts["dropped"].items() if count]
    return [*lines, f"dropped: {', '.join(dropped)}"] if dropped else lines
