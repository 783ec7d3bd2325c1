"""What a run would be before there is one: its recipe, about how long it would take, and the facts
that the advisor goes by. No torch.

The command line counts every row (`align/forecast.py`); a screen asks at every look, so here the
rows' size is the mean over the feedback, and the largest for the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align import recipes, runs, training
from align.advisor import Epoch, Facts
from align.estimate import Estimate, estimate, first_pace, measured_pace, work_of
from align.forecast import config_of, memory_words
from align.losses import LOSSES
from align.models import EMBEDDED, find_model
from align.preflight import Device, Rows, Shape, settle
from align.tokens import TEMPLATE_TOKENS, guessed
from feedback.frozen import split_of
from feedback.live import live_feedback, preferences_of
from feedback.quality import live_length_bias
from storage.errors import Unsupported
from storage.store import Store

SAMPLED = 200  # Choice: prompts whose length is looked at; the mean moves little after that
HELD_OUT = 0.125  # held-out rows per row to train on (`feedback.frozen.split_of`)

Size = tuple[int, tuple[int, ...]]  # prompt and answers of a row, in tokens


def recipe_for(method: str, model: str) -> recipes.Settings:
    """Return the recipe of a method for a base, by the base's own config.json.

    Raises:
        NotFound, Unsupported: the model is not there, or is none that can be trained.
    """
    return training.chosen_settings(method, {}, find_model(model.strip() or EMBEDDED).path)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a run of so many rows needs here, from the rows' mean and largest size."""

    time: Estimate | None  # None: the model's shape is not known
    memory: str  # needed and free, or why it does not fit and what would
    fits: bool


def about(
    store: Store, settings: recipes.Settings, rows: int, model: str, device: Device
) -> Outlook:
    """Return about what a run on `rows` pairs or labels needs, from start to report."""
    base = find_model(model.strip() or EMBEDDED)
    config = config_of(base.path)
    answers = 2 if LOSSES[settings.method].needs == "pairs" else 1
    mean, most = _row_tokens(store, answers)
    parts = Rows([(row[0], *row[1]) for row in (mean, most)])
    try:
        fit = settle(config, base.parameters, parts, settings.train, device, base.name)
    except Unsupported as error:
        return Outlook(None, str(error), False)
    words, shape = memory_words(fit, device), Shape.of(config, base.parameters)
    if shape is None:
        return Outlook(None, words, True)
    held_out = [mean] * max(1, round(rows * HELD_OUT))
    work = work_of(shape, settings, [mean] * rows, held_out, prompts=len(held_out))
    guess = first_pace(shape, device, fit.passes.precision)
    time = estimate(work, measured_pace(store.data, base.name, guess))
    return Outlook(time, words, True)


def _row_tokens(store: Store, answers: int) -> tuple[Size, Size]:
    """Return prompt and answers of a row in tokens: on the mean, and where both are longest."""
    frames = [store.frame("votes"), store.frame("ratings")]
    sizes = [frame[column] for frame in frames for column in _CHARS if column in frame]
    sizes = [size for size in sizes if len(size)]
    means, largest = [float(size.mean()) for size in sizes], [float(size.max()) for size in sizes]
    prompts = _prompt_chars(store)
    mean = (sum(prompts) / max(1, len(prompts)), sum(means) / max(1, len(means)))
    most = (max(prompts, default=0), max(largest, default=0))
    found = [
        (TEMPLATE_TOKENS + guessed(prompt), (1 + guessed(answer),) * answers)
        for prompt, answer in (mean, most)
    ]
    return found[0], found[1]


_CHARS = ("chars_a", "chars_b", "chars")


def _prompt_chars(store: Store) -> list[int]:
    texts: dict[str, Any] = store.texts(store.frame("prompts")["text"].head(SAMPLED))
    return list(map(len, texts.values()))


def facts(store: Store) -> Facts:
    """Return what the advisor looks at: the feedback as it is now, and the newest finished run."""
    live = live_feedback(store)
    pairs, labels, _ = preferences_of(store, live)
    several = [p for p in pairs if len(p.votes_for) + len(p.votes_against) > 1]
    for_it = sum(len(p.votes_for) for p in several)
    against = sum(len(p.votes_against) for p in several)
    bias = live_length_bias(store)
    method, epochs = last_epochs(store.data)
    clusters = dict(store.frame("prompts")[["prompt", "cluster"]].itertuples(index=False))
    return Facts(
        pairs=sum(split_of(clusters[p.prompt]) == "train" for p in pairs),
        labels=sum(split_of(clusters[label.prompt]) == "train" for label in labels),
        thumbs=len(live.ratings),
        longer_low=bias.low,
        against=against / (for_it + against) if several else None,
        several=for_it + against,
        last_method=method,
        last_epochs=epochs,
    )


def last_epochs(data: Path) -> tuple[str, tuple[Epoch, ...]]:
    """Return the newest finished run's method and how it did on held-out pairs, epoch by epoch."""
    done = [run for run in runs.list_runs(data) if run.status == "done"]
    if not done:
        return "", ()
    rows = [
        row for row in runs.read_metrics(data, done[0].run) if row.get("eval_accuracy") is not None
    ]
    return done[0].method, tuple(Epoch(r["eval_accuracy"], r["eval_margin"]) for r in rows)
