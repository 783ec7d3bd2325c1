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
from feedback.checks.length_bias import share
from feedback.coded import coded, joined
from feedback.meters import live_meters
from feedback.texts import near_text
from storage.records import Duplicate
from storage.store import Store

PREVIEW = 80  # characters of a prompt in a message
MAX_PREVIEWS = 1_000  # Choice: five times as many as there are findings


def run_checks(store: Store) -> list[CheckResult]:
    """Return what every check says about the live feedback."""
    columns = gather(store)
    return [check(columns) for check in CHECKS.values()]


def live_length_bias(store: Store) -> CheckResult:
    """Return the length bias without its findings, quick enough for every page and vote."""
    return share(*live_meters(store).longer)


def gather(store: Store) -> Columns:
    """Return the columns that the checks read, from the store as it is now."""
    votes = store.frame("coded_votes")  # before the comparisons, which then name all of theirs
    ratings = store.frame("ratings")
    comparisons = store.frame("comparisons")
    decisions = pd.DataFrame(
        [
            (d.kind, d.item, d.earlier, d.decision, d.created_at)
            for d in store.rows(Duplicate, order="created_at, id")
        ],
        columns=list(DECISIONS),
    )
    frames = coded(
        {
            "votes": votes,
            "ratings": ratings,
            "comparisons": comparisons.assign(similarity=similarities(store, comparisons)),
            "prompts": store.frame("prompts"),
            "gold": store.frame("gold"),
            "scores": store.frame("scores"),
        }
    )
    frames["votes"] = joined(frames["votes"], frames["comparisons"])
    columns = Columns(decisions=decisions, **frames)
    return replace(columns, previews=_previews(store, columns))


def _previews(store: Store, columns: Columns) -> Mapping[str, str]:
    """Return the beginning of each prompt that later items repeat."""
    repeats = repeated_prompts(prompt_items(columns))
    wanted = repeats["earlier_prompt"].drop_duplicates().head(MAX_PREVIEWS)
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
