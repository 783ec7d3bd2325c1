"""Repeats: the same or nearly the same prompt again, and two nearly identical answers.

Which prompts are near was settled when they were added (`Prompt.cluster`); how alike two answers
are comes in as a column. What a person decided counts: a `keep` is no repeat, a `skip` is out of
everything, a `link` is a known repeat that no longer asks for a decision.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import pandas as pd

from feedback.checks.columns import Columns, latest_decisions
from feedback.checks.result import CheckResult, Finding, nothing, share_text
from feedback.intervals import wilson
from feedback.near import RESPONSE_THRESHOLD

PROMPTS, RESPONSES = "duplicate_prompts", "duplicate_responses"
# Choice: every repeat is a question that a person answers once (skip, link, keep): one is enough.
THRESHOLD = 0.0  # share of undecided repeats above which a check warns; nothing here ever stops
MAX_FINDINGS = 200  # Choice: the most repeated ones; a person reads no more


class Repeat(NamedTuple):
    """An item whose prompt was asked before."""

    item: str  # Comparison.id, or Response.id of a rated response
    prompt: str
    earlier_item: str
    earlier_prompt: str


def duplicate_prompts(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share of items whose prompt repeats that of an earlier item, by cluster."""
    decided = latest_decisions(columns.decisions, "prompt")
    items = prompt_items(columns)
    items = items[~_decided(items, decided, "skip")]
    if items.empty:
        return nothing(PROMPTS, "There is nothing to judge yet.", "Add comparisons.")
    repeats = [r for r in repeated_prompts(items) if not _is(r, decided, "keep")]
    open_ = [r for r in repeats if not _is(r, decided, "link")]
    n = len(items)
    low, high = wilson(len(repeats), n)
    severity = "warn" if len(open_) / n > threshold else "ok"
    message = f"{share_text(len(repeats), n, 'items')} repeat the prompt of an earlier one."
    return CheckResult(
        PROMPTS,
        len(repeats) / n,
        low,
        high,
        n,
        severity,
        message if repeats else f"No prompt of the {n:,} items repeats an earlier one.",
        _prompt_remedy(severity),
        tuple(r.item for r in repeats),
        _prompt_findings(repeats, {r.item for r in open_}, n, columns),
    )


def prompt_items(columns: Columns) -> pd.DataFrame:
    """Return what is judged, oldest first: item, prompt, cluster, group, created_at.

    Comparisons, and rated responses that stand in none. One `group` is what was made together on
    purpose: all that one `generate` batch made from one prompt. Everything else is its own group.
    """
    compared = columns.comparisons
    pairs = compared[["comparison", "prompt", "source", "created_at"]].rename(
        columns={"comparison": "item"}
    )
    inside = set(compared["a"]) | set(compared["b"])
    rated = columns.ratings[~columns.ratings["response"].isin(inside)]
    rated = rated.sort_values(["created_at", "response"]).drop_duplicates("response")
    thumbs = rated[["response", "prompt", "made", "created_at"]].rename(
        columns={"response": "item", "made": "source"}
    )
    thumbs["source"] = _batches(thumbs, pairs)
    parts = [part for part in (pairs, thumbs) if not part.empty]
    items = pd.concat(parts) if parts else pairs
    items = items.sort_values(["created_at", "item"]).reset_index(drop=True)
    clusters = dict(zip(columns.prompts["prompt"], columns.prompts["cluster"], strict=True))
    items["cluster"] = items["prompt"].map(clusters).fillna(items["prompt"])
    made = items["source"].astype(str).str.startswith("generated")
    items["group"] = items["item"].where(~made, items["source"].astype(str) + " " + items["prompt"])
    return items


def _batches(thumbs: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return the source of rated responses; of generated ones, the batch that made the prompt's."""
    made = pairs[pairs["source"].astype(str).str.startswith("generated")]
    first = made.sort_values("created_at").drop_duplicates("prompt").set_index("prompt")["source"]
    known = thumbs["prompt"].map(first)
    return thumbs["source"].where((thumbs["source"] != "generated") | known.isna(), known)


def repeated_prompts(items: pd.DataFrame) -> list[Repeat]:
    """Return the items whose cluster has an earlier item of another group, oldest first."""
    first = items.drop_duplicates("cluster").set_index("cluster")
    later = items[items["group"] != items["cluster"].map(first["group"])]
    earlier_items = later["cluster"].map(first["item"])
    earlier_prompts = later["cluster"].map(first["prompt"])
    columns = (later["item"], later["prompt"], earlier_items, earlier_prompts)
    return [Repeat(*values) for values in zip(*columns, strict=True)]


def duplicate_responses(
    columns: Columns, *, threshold: float = THRESHOLD, similar: float = RESPONSE_THRESHOLD
) -> CheckResult:
    """Return the share of comparisons whose two answers are the same or nearly the same."""
    decided = latest_decisions(columns.decisions, "response")
    pairs = columns.comparisons.sort_values(["created_at", "comparison"])
    pairs = pairs[~_decided(pairs, decided, "skip", "comparison")]
    if pairs.empty:
        return nothing(RESPONSES, "There is no comparison yet.", "Add comparisons.")
    alike = pairs[pairs["similarity"].fillna(0.0).astype(float) >= similar]
    alike = alike[~_decided(alike, decided, "keep", "comparison")]
    hits, n = len(alike), len(pairs)
    undecided = hits - int(_decided(alike, decided, "link", "comparison").sum())
    low, high = wilson(hits, n)
    severity = "warn" if undecided / n > threshold else "ok"
    message = f"{share_text(hits, n, 'comparisons')} show nearly the same answer twice."
    found = [
        _alike(comparison, float(value), decided.get(comparison) == "link")
        for comparison, value in zip(alike["comparison"], alike["similarity"], strict=True)
    ]
    found.sort(key=lambda one: (one.severity == "ok", -(one.value or 0.0)))
    return CheckResult(
        RESPONSES,
        hits / n,
        low,
        high,
        n,
        severity,
        message if hits else f"The two answers differ in all {n:,} comparisons.",
        "A vote on two equal answers teaches nothing: skip them." if severity == "warn" else "",
        tuple(alike["comparison"]),
        tuple(found[:MAX_FINDINGS]),
    )


def _alike(comparison: str, similarity: float, linked: bool) -> Finding:
    same = "the same but for case, spaces and punctuation"
    how = same if similarity >= 1.0 else "nearly the same"
    return Finding(
        subject=comparison,
        value=similarity,
        low=None,
        high=None,
        n=1,
        severity="ok" if linked else "warn",
        message=f"The two answers are {how} (similarity {similarity:.2f}).",
        remedy="" if linked else "Skip the comparison, or keep it if the difference matters.",
        items=(comparison,),
    )


def _prompt_findings(
    repeats: list[Repeat], undecided: set[str], n: int, columns: Columns
) -> tuple[Finding, ...]:
    """Return one finding per earlier item: undecided ones first, then the most repeated."""
    groups: dict[str, list[Repeat]] = {}
    for repeat in repeats:
        groups.setdefault(repeat.earlier_item, []).append(repeat)
    ordered = sorted(
        groups.values(),
        key=lambda group: (
            undecided.isdisjoint(repeat.item for repeat in group),
            -len(group),
            group[0].earlier_item,
        ),
    )
    return tuple(_prompt_finding(group, undecided, n, columns) for group in ordered[:MAX_FINDINGS])


def _prompt_finding(group: list[Repeat], undecided: set[str], n: int, columns: Columns) -> Finding:
    earlier = group[0]
    same = sum(r.prompt == r.earlier_prompt for r in group)
    shown = columns.previews.get(earlier.earlier_prompt, "")
    what = f"“{shown}” ({earlier.earlier_item})" if shown else earlier.earlier_item
    low, high = wilson(len(group), n)
    is_open = any(r.item in undecided for r in group)
    return Finding(
        subject=earlier.earlier_item,
        value=len(group) / n,
        low=low,
        high=high,
        n=n,
        severity="warn" if is_open else "ok",
        message=f"{what} is asked again by {len(group):,} later items: {same:,} with exactly this "
        f"prompt, {len(group) - same:,} with nearly this one.",
        remedy=_prompt_remedy("warn" if is_open else "ok"),
        items=tuple(r.item for r in group),
    )


def _prompt_remedy(severity: str) -> str:
    if severity != "warn":
        return ""
    return (
        "A prompt that comes often weighs more in training: skip the repeats, link them as known, "
        "or keep them if they are not the same."
    )


def _is(repeat: Repeat, decided: dict[str, str], decision: str) -> bool:
    return decided.get(repeat.item, decided.get(repeat.prompt)) == decision


def _decided(
    frame: pd.DataFrame, decided: dict[str, str], decision: str, column: Hashable = "item"
) -> pd.Series:
    said = frame[column].map(decided)
    if "prompt" in frame and column == "item":
        said = said.fillna(frame["prompt"].map(decided))
    return said == decision
