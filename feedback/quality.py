"""Run the checks over what is stored: read the columns once, hand them to each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from feedback.alike import similarities
from feedback.checks import CHECKS, CheckResult, Columns
from feedback.checks.columns import DECISIONS
from feedback.checks.duplicates import prompt_items, repeated_prompts
from feedback.checks.length_bias import longer_won, overall
from feedback.features import features
from feedback.items import look_up
from feedback.live import excluded_ids
from feedback.remedies import left_in
from feedback.texts import near_text
from storage.records import Duplicate, Response
from storage.store import Store

PREVIEW = 80  # characters of a prompt in a message
# The checks that look at no text: what a snapshot remembers of its day.
WITHOUT_TEXTS = (
    "length_bias", "position_bias", "agreement", "labeler_quality", "duplicate_prompts",
    "duplicate_votes", "imbalance", "distribution",
)  # fmt: skip
MAX_PREVIEWS = 1_000  # Choice: five times as many as there are findings


def run_checks(store: Store) -> list[CheckResult]:
    """Return what every check says about the live feedback."""
    return checks_of(gather(store))


def checks_of(columns: Columns) -> list[CheckResult]:
    """Return what every check says about columns that are gathered already."""
    return [check(columns) for check in CHECKS.values()]


def quick_checks(store: Store, *, simulated: bool = True) -> list[CheckResult]:
    """Return what the checks say that need no text: quick enough for every snapshot."""
    columns = _numbers(store, simulated=simulated)
    return [check(columns) for name, check in CHECKS.items() if name in WITHOUT_TEXTS]


def live_length_bias(store: Store) -> CheckResult:
    """Return the length bias without its findings, quick enough for every page and vote."""
    votes = store.frame("votes")
    return overall(longer_won(votes[left_in(votes, excluded_ids(store))]))


def gather(store: Store) -> Columns:
    """Return the columns that the checks read, from the store as it is now."""
    columns = _numbers(store)
    compared = columns.comparisons
    texts = [*compared["text_a"], *compared["text_b"], *columns.ratings["text"]]
    columns = replace(
        columns,
        comparisons=compared.assign(similarity=similarities(store, compared)),
        features=features(store, texts, columns.prompts["text"]),
    )
    return replace(columns, previews=_previews(store, columns))


def _numbers(store: Store, *, simulated: bool = True) -> Columns:
    """Return the columns as far as they need no text, without what is excluded."""
    out = excluded_ids(store)
    names = ("votes", "ratings", "comparisons", "prompts")
    frames = {name: store.frame(name) for name in names}
    votes, ratings, comparisons, prompts = (
        frame[left_in(frame, out)].reset_index(drop=True) for frame in frames.values()
    )
    if not simulated:
        votes = votes[votes["source"] != "simulated"].reset_index(drop=True)
        ratings = ratings[ratings["source"] != "simulated"].reset_index(drop=True)
    made = {r.id: r.source for r in look_up(store, Response, ratings["response"].tolist())}
    decisions = pd.DataFrame(
        [
            (d.kind, d.item, d.earlier, d.decision, d.created_at)
            for d in store.rows(Duplicate, order="created_at, id")
        ],
        columns=list(DECISIONS),
    )
    return Columns(
        votes=votes,
        ratings=ratings.assign(made=ratings["response"].map(made)),
        comparisons=comparisons.assign(similarity=0.0),
        prompts=prompts,
        decisions=decisions,
        gold=store.frame("gold"),
        scores=store.frame("scores"),
    )


def _previews(store: Store, columns: Columns) -> Mapping[str, str]:
    """Return the beginning of each prompt that later items repeat."""
    repeats = repeated_prompts(prompt_items(columns))
    wanted = list(dict.fromkeys(repeat.earlier_prompt for repeat in repeats))[:MAX_PREVIEWS]
    prompts = columns.prompts
    shown = prompts[prompts["prompt"].isin(wanted)]
    contents = store.texts(shown["text"])
    return {
        prompt: _beginning(contents[text])
        for prompt, text in zip(shown["prompt"], shown["text"], strict=True)
    }


def _beginning(messages: str) -> str:
    text = " ".join(near_text(json.loads(messages)).split())
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…"
