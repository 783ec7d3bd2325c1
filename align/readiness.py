"""What a run would be before there is one: its recipe, about how long it would take, and the facts
that the advisor goes by. No torch.

The command line estimates from the frozen snapshot (`align/estimate.py`); a screen asks before
anything is frozen, so here the rows' size is the mean over the feedback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from align import recipes, runs, training
from align.advisor import Epoch, Facts, can_be_checked
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
from storage.errors import UserError
from storage.records import Response
from storage.store import Store

SAMPLED = 200  # Choice: prompts whose length is looked at; the mean moves little after that


def recipe_for(method: str, model: str) -> recipes.Settings:
    """Return the recipe of a method for a base, by the base's own config.json.

    Raises:
        NotFound, Unsupported: the model is not there, or is none that can be trained.
    """
    return training.chosen_settings(method, {}, find_model(model.strip() or EMBEDDED).path)


def config_of(model: str) -> dict[str, Any]:
    """Return the config.json of a base.

    Raises:
        NotFound, Unsupported: the model is not there, or is none that can be trained.
    """
    return training.config_of(find_model(model.strip() or EMBEDDED).path)


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
    clusters = dict(store.frame("prompts")[["prompt", "cluster"]].itertuples(index=False))
    return Facts(
        pairs=sum(split_of(clusters[p.prompt]) == "train" for p in pairs),
        labels=sum(split_of(clusters[label.prompt]) == "train" for label in labels),
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
        prompts=len(clusters),
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
        row for row in runs.read_metrics(data, done[0].run) if row.get("eval_accuracy") is not None
    ]
    return done[0], tuple(Epoch(r["eval_accuracy"], r["eval_margin"]) for r in rows)
