"""Run the checks over what is stored: read the columns once, hand them to each."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

from feedback.checks import CHECKS, CheckResult, Columns
from feedback.checks.columns import DECISIONS
from feedback.checks.length_bias import longer_won, overall
from feedback.near import similarity
from feedback.texts import near_text
from storage.records import Duplicate
from storage.store import Store

# Choice: two texts can only be near (0.8 of their shingles) when their lengths are; the rest of
# the way to 0.8 is for texts that repeat themselves.
LENGTH_RATIO = 0.7
AT_ONCE = 2_000  # comparisons whose texts are in memory at the same time
PREVIEW = 80  # characters of a prompt in a message


def run_checks(store: Store) -> list[CheckResult]:
    """Return what every check says about the live feedback."""
    columns = gather(store)
    return [check(columns) for check in CHECKS.values()]


def live_length_bias(store: Store) -> CheckResult:
    """Return the length bias without its findings, quick enough for every page and vote."""
    return overall(longer_won(store.frame("votes")))


def gather(store: Store) -> Columns:
    """Return the columns that the checks read, from the store as it is now."""
    comparisons = store.frame("comparisons")
    prompts = store.frame("prompts")
    decisions = pd.DataFrame(
        [
            (d.kind, d.item, d.earlier, d.decision, d.created_at)
            for d in store.rows(Duplicate, order="created_at, id")
        ],
        columns=list(DECISIONS),
    )
    return Columns(
        votes=store.frame("votes"),
        ratings=store.frame("ratings"),
        comparisons=comparisons.assign(similarity=similarities(store, comparisons)),
        prompts=prompts,
        decisions=decisions,
        previews=_previews(store, prompts),
    )


def similarities(store: Store, comparisons: pd.DataFrame) -> pd.Series:
    """Return how alike each comparison's two texts are, 0..1; 0 where the lengths rule it out."""
    values = pd.Series(0.0, index=comparisons.index)
    a, b = comparisons["chars_a"].astype(float), comparisons["chars_b"].astype(float)
    same = comparisons["text_a"] == comparisons["text_b"]
    values[same] = 1.0
    near = a.combine(b, min) >= LENGTH_RATIO * a.combine(b, max)
    candidates = comparisons[near & ~same]
    for start in range(0, len(candidates), AT_ONCE):
        part = candidates.iloc[start : start + AT_ONCE]
        contents = store.texts({*part["text_a"], *part["text_b"]})
        values[part.index] = [
            similarity(contents[one], contents[other])
            for one, other in zip(part["text_a"], part["text_b"], strict=True)
        ]
    return values


def _previews(store: Store, prompts: pd.DataFrame) -> Mapping[str, str]:
    """Return the beginning of each prompt that stands first in a cluster with several items."""
    items = prompts["comparisons"].astype(int) + prompts["responses"].astype(int)
    crowded = items.groupby(prompts["cluster"]).transform("sum") > 2
    shown = prompts[crowded & (prompts["prompt"] == prompts["cluster"])].head(1_000)
    contents = store.texts(shown["text"])
    return {
        prompt: _beginning(contents[text])
        for prompt, text in zip(shown["prompt"], shown["text"], strict=True)
    }


def _beginning(messages: str) -> str:
    text = " ".join(near_text(json.loads(messages)).split())
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…"
