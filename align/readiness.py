"""What a run would be before there is one: its recipe, about how long it would take, and the facts
that the advisor goes by. No torch.

The command line estimates from the frozen snapshot (`align/estimate.py`); a screen asks before
anything is frozen, so here the rows' size is the mean over the feedback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from align import recipes, runs, training
from align.advisor import Epoch, Facts
from align.estimate import (
    CHARACTERS_PER_TOKEN,
    TEMPLATE_TOKENS,
    Estimate,
    measured_speed,
    of_tokens,
)
from align.losses import LOSSES
from align.models import EMBEDDED, find_model
from feedback.frozen import split_of
from feedback.live import live_feedback, preferences_of
from feedback.quality import live_length_bias
from storage.store import Store

SAMPLED = 200  # Choice: prompts whose length is looked at; the mean moves little after that


def recipe_for(method: str, model: str) -> recipes.Settings:
    """Return the recipe of a method for a base, by the base's own config.json.

    Raises:
        NotFound, Unsupported: the model is not there, or is none that can be trained.
    """
    return training.chosen_settings(method, {}, find_model(model.strip() or EMBEDDED).path)


def about(store: Store, settings: recipes.Settings, rows: int, model_name: str) -> Estimate:
    """Return about how long a run on `rows` pairs or labels would take, from start to report."""
    answers = 2 if LOSSES[settings.method].needs == "pairs" else 1
    tokens = rows * _row_tokens(store, answers)
    return of_tokens(tokens, settings, measured_speed(store.data, model_name))


def _row_tokens(store: Store, answers: int) -> float:
    """Return the mean tokens of a row: its prompt and so many answers."""
    frames = [store.frame("votes"), store.frame("ratings")]
    sizes = [frame[column] for frame in frames for column in _CHARS if column in frame]
    characters = [float(size.mean()) for size in sizes if len(size)]
    answer = sum(characters) / len(characters) if characters else 0.0
    return (_prompt_chars(store) + answers * answer) / CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS


_CHARS = ("chars_a", "chars_b", "chars")


def _prompt_chars(store: Store) -> float:
    texts: dict[str, Any] = store.texts(store.frame("prompts")["text"].head(SAMPLED))
    return sum(map(len, texts.values())) / len(texts) if texts else 0.0


def model_name(model: str) -> str:
    """Return a model's name as runs keep it."""
    return find_model(model.strip() or EMBEDDED).name


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
        row
        for row in runs.read_metrics(data, done[0].run)
        if row["step"] and row.get("eval_accuracy") is not None  # 0: before anything was learned
    ]
    return done[0].method, tuple(Epoch(r["eval_accuracy"], r["eval_margin"]) for r in rows)
