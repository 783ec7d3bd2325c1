"""What a run would be before there is one: its recipe, about how long it would take, and the facts
that the advisor goes by. No torch.

The command line counts every row (`align/forecast.py`); a screen asks at every look, so here the
rows' size is the mean over the feedback, and the largest for the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from align import recipes, runs, training
from align.advisor import Epoch, Facts, can_be_checked
from align.clearance import Clearance, clearance
from align.device import device_now
from align.estimate import Estimate, estimate, first_pace, measured_pace, work_of
from align.forecast import memory_words
from align.losses import LOSSES
from align.models import EMBEDDED, find_model
from align.preflight import Device, Rows, Shape, Unit, settle
from align.tokens import TEMPLATE_TOKENS, guessed
from feedback.frozen import split_of
from feedback.live import live_feedback, preferences_of
from feedback.quality import live_length_bias, run_checks
from feedback.settling import settled
from feedback.snapshots import SnapshotSettings, preview
from storage.errors import Unsupported, UserError
from storage.records import Response
from storage.store import Store

SAMPLED = 200  # Choice: prompts whose length is looked at; the mean moves little after that
HELD_OUT = 0.125  # held-out rows per row to train on (`feedback.frozen.split_of`)


def recipe_for(method: str, model: str, rows: int = 0) -> recipes.Settings:
    """Return the recipe of a method for a base, by the base's own config.json.

    Args:
        rows: how many there are to train on, if that is known; see `recipes.recipe`.

    Raises:
        NotFound, Unsupported: the model is not there, or is none that can be trained.
    """
    return training.chosen_settings(method, {}, find_model(model.strip() or EMBEDDED).path, rows)


def config_of(model: str) -> dict[str, Any]:
    """Return the config.json of a base.

    Raises:
        NotFound, Unsupported: the model is not there, or is none that can be trained.
    """
    return training.config_of(find_model(model.strip() or EMBEDDED).path)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run of so many rows needs here, from the rows' mean and largest size."""

    time: Estimate | None  # None: the model's shape is not known, or it does not fit
    memory: str  # needed and free, or why it does not fit and what would
    fits: bool


def about(
    store: Store, settings: recipes.Settings, rows: int, model: str, device: Device
) -> Outlook:
    """Return about what a run on `rows` pairs or labels needs, from start to report."""
    base = find_model(model.strip() or EMBEDDED)
    config, loss = training.config_of(base.path), LOSSES[settings.method]
    mean, most = _row_tokens(store, 2 if loss.needs == "pairs" else 1)
    parts = Rows([mean, most], riding=loss.mismatched)
    try:
        fit = settle(config, base.parameters, parts, settings.train, device, base.name)
    except Unsupported as error:
        return Outlook(None, str(error), False)
    words, shape = memory_words(fit, device), Shape.of(config, base.parameters)
    if shape is None:
        return Outlook(None, words, True)
    taken = min(rows, settings.train.max_rows or rows)
    held_out = [mean] * max(1, round(taken * HELD_OUT))
    work = work_of(
        shape, settings, [mean] * taken, held_out, budget=fit.passes.budget, prompts=len(held_out)
    )
    guess = first_pace(shape, device, fit.passes.precision)
    where = {"device": device.label, "precision": fit.passes.precision}
    pace = measured_pace(store.data, base.name, guess, **where)
    time = estimate(work, pace)
    return Outlook(time, words, True)


def _row_tokens(store: Store, answers: int) -> tuple[Unit, Unit]:
    """Return prompt and answers of a row in tokens: on the mean, and where both are longest."""
    frames = [store.frame("votes"), store.frame("ratings")]
    sizes = [frame[column] for frame in frames for column in _CHARS if column in frame]
    sizes = [size for size in sizes if len(size)]
    means, largest = [float(size.mean()) for size in sizes], [float(size.max()) for size in sizes]
    prompts = _prompt_chars(store)
    mean = (sum(prompts) / max(1, len(prompts)), sum(means) / max(1, len(means)))
    most = (max(prompts, default=0), max(largest, default=0))
    found = [
        Unit(TEMPLATE_TOKENS + guessed(prompt), (1 + guessed(answer),) * answers)
        for prompt, answer in (mean, most)
    ]
    return found[0], found[1]


_CHARS = ("chars_a", "chars_b", "chars")


def _prompt_chars(store: Store) -> list[int]:
    texts: dict[str, Any] = store.texts(store.frame("prompts")["text"].head(SAMPLED))
    return list(map(len, texts.values()))


def cleared(
    store: Store,
    worker: int | None,
    method: str,
    model: str = "",
    selected: SnapshotSettings = SnapshotSettings(),
) -> Clearance:
    """Return whether the feedback as it is now is ready for a method: the light and what is behind.

    Args:
        worker: the model worker's process, which leaves before a training; None without one.
    """
    counts, misfit = preview(store, selected), ""
    rows = counts[LOSSES[method].needs]["train"]
    if rows:
        seen = about(store, recipe_for(method, model), rows, model, device_now([worker]))
        misfit = "" if seen.fits else seen.memory
    checks = run_checks(store, simulated=selected.simulated)
    return clearance(method, counts, checks, misfit)


def facts(store: Store, model: str = "") -> Facts:
    """Return what the advisor looks at: the feedback as it is now, the newest finished run, and
    what the answers and prompts say of the base.

    Args:
        model: the base that shall be trained; "" is the embedded one.
    """
    live = live_feedback(store)
    pairs, labels, _ = preferences_of(store, live)
    several = [p for p in pairs if len(p.votes_for) + len(p.votes_against) > 1]
    for_it = sum(len(p.votes_for) for p in several)
    against = sum(len(p.votes_against) for p in several)
    bias = live_length_bias(store)
    last, epochs = last_epochs(store.data)
    stops, answers, fresh = newest_answers(store)
    prompts = store.frame("prompts")
    known = settled(prompts)
    splits = dict(zip(known["prompt"], map(split_of, known["cluster"]), strict=True))
    return Facts(
        pairs=sum(splits.get(p.prompt) == "train" for p in pairs),
        labels=sum(splits.get(label.prompt) == "train" for label in labels),
        thumbs=len(live.ratings),
        longer_low=bias.low,
        against=against / (for_it + against) if several else None,
        several=for_it + against,
        last_method=last.method if last else "",
        last_epochs=epochs,
        last_run=last.run if last else "",
        last_low=((last.report or {}).get("held_out") or {}).get("low") if last else None,
        stops=stops,
        answers=answers,
        fresh=fresh,
        prompts=len(prompts),
        checkable=checkable(store),
        weights_gb=weights_gb(model),
        free_gb=free_gb(),
    )


def newest_answers(store: Store) -> tuple[float | None, int, float | None]:
    """Return of the newest generated answers: the share of a base's that ended by themselves, of
    how many, and the share that an adapter gave."""
    newest = store.rows(Response, order="-created_at", limit=SAMPLED)
    rows = [row for row in newest if row.model not in ("human", "imported")]
    ends = [bool(row.finished) for row in rows if not row.adapter and row.finished is not None]
    fresh = sum(bool(row.adapter) for row in rows) / len(rows) if rows else None
    return (sum(ends) / len(ends) if ends else None), len(ends), fresh


def checkable(store: Store) -> float | None:
    """Return the share of the prompts whose answers a program could check."""
    texts = store.texts(store.frame("prompts")["text"].head(SAMPLED))
    found = [can_be_checked(text) for text in texts.values()]
    return sum(found) / len(found) if found else None


def weights_gb(model: str) -> float | None:
    """Return what a base's weights take in 16 bits; None for a model that is not there."""
    try:
        return 2 * find_model(model.strip() or EMBEDDED).parameters / 1e9
    except UserError:
        return None


def free_gb() -> float | None:
    """Return how much memory is free; None where a GPU has its own, which is not asked here."""
    if Path("/proc/driver/nvidia").exists():
        return None
    return float(psutil.virtual_memory().available) / 1e9


def last_epochs(data: Path) -> tuple[runs.RunStatus | None, tuple[Epoch, ...]]:
    """Return the newest finished run and how it did on held-out pairs, epoch by epoch."""
    done = [run for run in runs.list_runs(data) if run.status == "done"]
    if not done:
        return None, ()
    rows = [
        row
        for row in runs.read_metrics(data, done[0].run)
        if row["step"] and row.get("eval_accuracy") is not None  # 0: before anything was learned
    ]
    return done[0], tuple(Epoch(r["eval_accuracy"], r["eval_margin"]) for r in rows)
