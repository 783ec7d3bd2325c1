"""A sweep over β: a few short runs, alike in all but β, to choose one by. Knows no torch.

They are ordinary runs on one snapshot, made together and trained one after the other; the first one
scores the reference for all. The app goes on with them by itself (`tending`); without an app the
command line does. What comes next and how they stand is in `align/sweep_files.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align import recipes, runs, sweep_files, training
from align.enough import check_enough
from align.estimate import KNOWN
from align.forecast import Forecast
from align.leash import leash_of
from align.losses import LOSSES
from align.material import Material, material
from align.models import EMBEDDED, Model, find_model
from align.workspace import Workspace
from feedback.again import again
from storage.errors import BadInput

Progress = Callable[[str], None]

ROWS = 200  # Choice: SmolLM2 on two cores then takes about three minutes a run
MOST = 8  # Choice: more values than a person compares in one picture
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """What to try: one method on one base, and the values of β."""

    method: str
    betas: Sequence[float]
    rows: int = ROWS  # to train on at most
    settings: Sequence[str] | Mapping[str, Any] = ()  # words like "seed=1", or a mapping

    def runs(self, model: Path) -> dict[float, recipes.Settings]:
        """Return the settings of each run: the recipe, one epoch, few rows, and its β.

        Each trains to its end and publishes its last step, so that they differ in β alone.

        Raises:
            BadInput: a method without β, too few or too many values, or bad settings.
        """
        betas = checked_betas(self.method, self.betas)
        short = {"epochs": 1, "max_rows": self.rows}
        names = [str(one).partition("=")[0].strip() for one in self.settings]
        if "beta" in names:
            raise BadInput("a sweep sets beta itself: give its values with --betas")
        asked = training.chosen_settings(self.method, self.settings, model).as_json()
        asked |= {name: value for name, value in short.items() if name not in names}
        asked |= {"early_stop": 0, "keep": "last"}
        return {
            beta: training.chosen_settings(self.method, {**asked, "beta": beta}, model)
            for beta in betas
        }


def checked_betas(method: str, betas: Sequence[float]) -> list[float]:
    """Return the values of β to try, each once, in their order.

    Raises:
        BadInput: the method has no β, or these are no two to eight numbers.
    """
    recipes.defaults(method)  # refuses an unknown method
    if leash_of(method) is None:
        others = ", ".join(name for name in LOSSES if leash_of(name))
        raise BadInput(f"{method} has no beta to choose; methods that have one: {others}")
    found = list(dict.fromkeys(betas or usual_betas(method)))
    if not 2 <= len(found) <= MOST:
        raise BadInput(
            f"{len(found)} values of beta ({', '.join(f'{b:g}' for b in found)}): give two to "
            f"{MOST}, such as --betas 0.01,0.1,0.5"
        )
    return found


def usual_betas(method: str) -> list[float]:
    """Return the presets of a method, the shortest leash last."""
    leash = leash_of(method)
    return [preset.beta for preset in leash.presets] if leash else []


def begin(
    workspace: Workspace,
    progress: Progress,
    sweep: Sweep,
    *,
    snapshot: Path | None = None,
    model: str | None = None,
    remedies: Mapping[str, Any] | None = None,
    because: str = "",
) -> str:
    """Make all runs of a sweep, start the first, and return the sweep's id.

    It learns from the same votes as any run, and so starts by the same light.

    Args:
        snapshot: a snapshot's folder; None freezes one.
        model: None is the embedded one.
        remedies: settings of the snapshot that is frozen, as `SnapshotSettings` has them.
        because: why it is trained although checks speak against it; kept with each run.

    Raises:
        BadInput: the sweep is not good, there is nothing to learn from or to judge by, or checks
            speak against it and nobody says why it shall be trained all the same.
        NotFound, Unsupported: the model cannot be used.
        Busy: a run or a sweep is going.
    """
    training.check_because(because)
    selected = training.asked_for(remedies, snapshot)
    base = find_model(model or EMBEDDED)
    settings = sweep.runs(base.path)
    training.refuse_second(workspace.data)
    found = material(workspace, snapshot, selected)
    counts = found.counts
    check_enough(sweep.method, counts)
    refuse_unjudged(counts)
    seen = look_ahead(workspace, found, base, settings)
    cleared = training.cleared_with(sweep.method, found, because)
    folder = found.freeze(found.checks)
    lines = [
        *training.plan(sweep.method, folder.name, counts), *remarks(sweep, settings, base, counts),
        time_words(seen), *training.spoken_against(cleared),
    ]  # fmt: skip
    for line in lines:
        progress(line + "\n")
    readiness = cleared.as_json(because.strip())
    made = {
        beta: runs.create_run(
            workspace.store, workspace.data, folder.name, sweep.method, base, one.as_json(),
            kept={**ahead.for_run(), "readiness": readiness},
        ).id
        for (beta, one), ahead in zip(settings.items(), seen, strict=True)
    }  # fmt: skip
    id = sweep_files.write_sweep(
        workspace.data, made, method=sweep.method, model=base.name, snapshot=folder.name,
        rows=min(sweep.rows, counts[LOSSES[sweep.method].needs]["train"]),
    )  # fmt: skip
    progress(f"sweep {id}\n")
    sweep_files.advance(workspace.data, id, workspace.client.leave)
    return id


def refuse_unjudged(counts: Mapping[str, Any]) -> None:
    """Refuse a sweep without held-out pairs: there would be nothing to choose by."""
    if counts["pairs"]["all"] and not counts["pairs"]["held_out"]:
        raise BadInput(
            f"none of the {counts['pairs']['all']} pairs is held out, so nothing could tell the "
            "values of beta apart: collect more votes (one prompt in ten is held out)"
        )


def remarks(
    sweep: Sweep, settings: Mapping[float, recipes.Settings], base: Model,
    counts: Mapping[str, Any],
) -> list[str]:  # fmt: skip
    """Return what a person should know before, each line once."""
    rows, config = counts[LOSSES[sweep.method].needs]["train"], training.config_of(base.path)
    lines = [line for one in settings.values() for line in recipes.remarks(one, config, rows)]
    return list(dict.fromkeys(lines))


def look_ahead(
    workspace: Workspace, rows: Material, base: Model, settings: Mapping[float, recipes.Settings]
) -> list[Forecast]:  # fmt: skip
    """Return what each run would need here; the first one scores the reference for all.

    Raises:
        BadInput: there is too little to train on.
        Unsupported: it does not fit the memory; the sentence says what would.
    """
    return [
        training.look_ahead(workspace, rows, base, one, scored=bool(number))
        for number, one in enumerate(settings.values())
    ]


def time_words(seen: Sequence[Forecast]) -> str:
    """Return how many runs, about how long they take together, and the memory that each needs."""
    times = [one.time for one in seen if one.time is not None]
    words = f"{len(seen)} runs, one after the other"
    if times:
        minutes = max(1, round(sum(time.seconds for time in times) / 60))
        words += f": about {minutes} min ({KNOWN[times[0].known]})"
    return f"{words}; each {seen[0].memory_words()}"


@contextlib.contextmanager
def tending(workspace: Workspace) -> Iterator[None]:
    """Go on with the sweep of a data folder, whoever began it, for the time of a `with` block."""

    def look(_: Callable[[float], bool]) -> None:
        if (going := sweep_files.unfinished(workspace.data)) is not None:
            sweep_files.advance(workspace.data, going, workspace.client.leave)

    with again("sweeps", look, LOOK_SECONDS):
        yield
