"""Repeats: the same or nearly the same prompt again, and two nearly identical answers.

Which prompts are near was settled when they were added (`Prompt.cluster`); how alike two answers
are comes in as a column. What a person decided counts: a `keep` is no repeat, a `skip` is out of
everything, a `link` is a known repeat that no longer asks for a decision.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from feedback.checks.columns import Columns, latest_decisions
from feedback.checks.result import CheckResult, Finding, nothing, share_text
from feedback.checks.said import codes_of
from feedback.intervals import wilson
from feedback.near import PROMPT_THRESHOLD, RESPONSE_THRESHOLD
from storage.records import DUEL, GENERATED

PROMPTS, RESPONSES = "duplicate_prompts", "duplicate_responses"
# Choice: every repeat is a question that a person answers once (skip, link, keep): one is enough.
THRESHOLD = 0.0  # share of undecided repeats above which a check warns; nothing here ever stops
# Comparisons. Choice: nine answers, each with each other, as InstructGPT's labelers ranked four to
# nine; where more hang together many models met on few prompts, and those do weigh more.
RANKED = 36
ITEM = ("item", "prompt", "a", "b", "source", "created_at")
MAX_FINDINGS = 200  # Choice: the most repeated ones; a person reads no more
SAME = "the same but for case, spaces and punctuation"


def duplicate_prompts(columns: Columns, *, threshold: float = THRESHOLD) -> CheckResult:
    """Return the share of items whose prompt repeats that of an earlier item, by cluster."""
    decided = latest_decisions(columns.decisions, "prompt")
    items = prompt_items(columns)
    items = items[~_decided(items, decided, "skip")]
    if items.empty:
        return nothing(PROMPTS, "There is nothing to judge yet.", "Add comparisons.")
    repeats = repeated_prompts(items)
    repeats = repeats[~_decided(repeats, decided, "keep")]
    repeats = repeats.assign(open=~_decided(repeats, decided, "link"))
    n = len(items)
    low, high = wilson(len(repeats), n)
    severity = "warn" if repeats["open"].sum() / n > threshold else "ok"
    how = nearly(PROMPT_THRESHOLD)
    message = f"{share_text(len(repeats), n, 'items')} repeat the prompt of an earlier one: {how}."
    return CheckResult(
        PROMPTS,
        len(repeats) / n,
        low,
        high,
        n,
        severity,
        message if len(repeats) else f"No prompt of the {n:,} items repeats an earlier one: {how}.",
        _prompt_remedy(severity),
        tuple(repeats["item"]),
        _prompt_findings(repeats, n, columns),
    )


def nearly(threshold: float) -> str:
    """Return in words what counts as a repeat.

    Example:
        >>> nearly(0.75)
        'the same but for case, spaces and punctuation, or a similarity of 0.75 or more of 1'
    """
    return f"{SAME}, or a similarity of {threshold:g} or more of 1"


def prompt_items(columns: Columns) -> pd.DataFrame:
    """Return what is judged, oldest first: `ITEM`, cluster, group; a rated response has no a and b.

    Comparisons, and rated responses that stand in none. One `group` is what was made together on
    purpose: all that one `generate` batch made from one prompt, and comparisons of one source that
    share answers, as those of a ranking do. Everything else is its own group. Duels are left out:
    they ask the same prompts again and again, and train nothing.
    """
    if columns.items is not None:
        return columns.items
    compared = columns.comparisons
    pairs = compared[~_starts(compared["source"], DUEL)]
    pairs = pairs.rename(columns={"comparison": "item"})[list(ITEM)]
    rated = columns.ratings
    for side in ("a", "b"):
        rated = rated[~rated["response"].isin(compared[side])]
    rated = rated.sort_values(["created_at", "response"]).drop_duplicates("response")
    thumbs = rated[["response", "prompt", "made", "created_at"]].rename(
        columns={"response": "item", "made": "source"}
    )
    thumbs["source"] = _batches(thumbs, pairs)
    parts = [part for part in (pairs, thumbs) if not part.empty]
    items = pd.concat(parts).reindex(columns=list(ITEM)) if parts else pairs
    items = items.sort_values(["created_at", "item"]).reset_index(drop=True)
    return items.assign(cluster=_clusters(items, columns.prompts), group=_groups(items))


def _clusters(items: pd.DataFrame, prompts: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return a number per item, the same for near prompts, (N,); a prompt that is not settled is
    near no other."""
    (own, known, cluster), names = codes_of(items["prompt"], prompts["prompt"], prompts["cluster"])
    of = np.arange(len(names))
    settled = (cluster >= 0) & (names[cluster] != "")
    of[known[settled]] = cluster[settled]
    return of[own]


def _groups(items: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return a number per item, the same for what was made together on purpose, (N,)."""
    made = _starts(items["source"], GENERATED)
    sources, prompts = pd.factorize(items["source"])[0], pd.factorize(items["prompt"])[0]
    return np.where(made, sources * (len(items) + 1) + prompts, -1 - _connected(items, sources))


def _connected(items: pd.DataFrame, sources: npt.NDArray[np.intp]) -> npt.NDArray[np.integer[Any]]:
    """Return a number per item, the same for items of one source that answers connect, (N,).

    Where they connect more than `RANKED`, each stays by itself.
    """
    n = len(items)
    answers = np.concatenate(codes_of(items["a"], items["b"])[0])
    keys = np.where(answers >= 0, answers * (n + 1) + np.tile(sources, 2), -1)
    places, many = np.unique(keys, return_inverse=True, return_counts=True)[1:]
    shared = np.flatnonzero((many[places] > 1) & (keys >= 0))
    if not len(shared):
        return np.arange(n)
    edges = (np.ones(len(shared), dtype=bool), (shared % n, n + places[shared]))
    graph = sparse.coo_array(edges, shape=(n + len(many),) * 2)
    found = connected_components(graph, directed=False)[1][:n]
    ranked = np.bincount(found)[found] <= RANKED
    return np.where(ranked, found, n + len(many) + np.arange(n))


def _starts(sources: pd.Series, with_: str) -> pd.Series:
    """Return which sources begin with a word."""
    codes, names = pd.factorize(sources)
    starts = np.array([str(name).startswith(with_) for name in names] + [False])
    return pd.Series(starts[codes], index=sources.index)


def _batches(thumbs: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Return the source of rated responses; of generated ones, the batch that made the prompt's."""
    made = pairs[_starts(pairs["source"], GENERATED)]
    first = made.sort_values("created_at").drop_duplicates("prompt").set_index("prompt")["source"]
    known = thumbs["prompt"].astype(object).map(first.astype(object))
    sources = thumbs["source"].astype(object)
    return sources.where((sources != GENERATED) | known.isna(), known)


def repeated_prompts(items: pd.DataFrame) -> pd.DataFrame:
    """Return the items whose cluster has an earlier item of another group, oldest first.

    Returns:
        item, prompt, earlier_item, earlier_prompt.
    """
    codes = pd.factorize(items["cluster"])[0]
    _, firsts = np.unique(codes, return_index=True)  # codes count up in the order of the items
    first = firsts[codes]
    later = items["group"].to_numpy() != items["group"].to_numpy()[first]
    repeats = items.loc[later, ["item", "prompt"]].reset_index(drop=True)
    earlier = items[["item", "prompt"]].iloc[first[later]]
    return repeats.assign(
        earlier_item=earlier["item"].array, earlier_prompt=earlier["prompt"].array
    )


def duplicate_responses(
    columns: Columns, *, threshold: float = THRESHOLD, similar: float = RESPONSE_THRESHOLD
) -> CheckResult:
    """Return the share of comparisons whose two answers are the same or nearly the same."""
    decided = latest_decisions(columns.decisions, "response")
    pairs = columns.comparisons.sort_values(["created_at", "comparison"])
    pairs = pairs[~_decided(pairs, decided, "skip", "comparison")]
    pairs = pairs[~_starts(pairs["source"], DUEL)]  # there the same answer twice is a tie
    if pairs.empty:
        return nothing(RESPONSES, "There is no comparison yet.", "Add comparisons.")
    alike = pairs[pairs["similarity"].fillna(0.0).astype(float) >= similar]
    alike = alike[~_decided(alike, decided, "keep", "comparison")]
    hits, n = len(alike), len(pairs)
    undecided = hits - int(_decided(alike, decided, "link", "comparison").sum())
    low, high = wilson(hits, n)
    severity = "warn" if undecided / n > threshold else "ok"
    how = nearly(similar)
    message = f"{share_text(hits, n, 'comparisons')} show the same answer twice: {how}."
    found = [
        _alike(comparison, float(value), decided.get(comparison) == "link", similar)
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
        message if hits else f"In none of {n:,} comparisons are the two answers {how}.",
        "A vote on two equal answers teaches nothing: skip them." if severity == "warn" else "",
        tuple(alike["comparison"]),
        tuple(found[:MAX_FINDINGS]),
    )


def _alike(comparison: str, similarity: float, linked: bool, similar: float) -> Finding:
    how = SAME if similarity >= 1.0 else "nearly the same"
    known = f"similarity {similarity:.2f}; from {similar:g} on they count as one"
    return Finding(
        subject=comparison,
        value=similarity,
        low=None,
        high=None,
        n=1,
        severity="ok" if linked else "warn",
        message=f"The two answers are {how} ({known}).",
        remedy="" if linked else "Skip the comparison, or keep it if the difference matters.",
        items=(comparison,),
    )


def _prompt_findings(repeats: pd.DataFrame, n: int, columns: Columns) -> tuple[Finding, ...]:
    """Return one finding per earlier item: undecided ones first, then the most repeated."""
    groups, earlier = pd.factorize(repeats["earlier_item"])
    (prompts, earlier_prompts), names = codes_of(repeats["prompt"], repeats["earlier_prompt"])
    rows = pd.DataFrame(
        {"group": groups, "open": repeats["open"], "same": prompts == earlier_prompts}
    )
    told = rows.groupby("group").agg(open=("open", "any"), n=("open", "size"), same=("same", "sum"))
    told["item"] = np.asarray(earlier, dtype=object)
    told["prompt"] = names[earlier_prompts[np.unique(groups, return_index=True)[1]]]
    told = told.sort_values(["open", "n", "item"], ascending=[False, False, True])
    told = told.head(MAX_FINDINGS)
    shown = np.flatnonzero(np.isin(groups, told.index))
    items: dict[int, list[str]] = {group: [] for group in told.index}
    for group, item in zip(groups[shown], repeats["item"].iloc[shown], strict=True):
        items[group].append(item)
    return tuple(
        _prompt_finding(group, items[group.Index], n, columns.previews.get(group.prompt, ""))
        for group in told.itertuples()
    )


def _prompt_finding(group: Any, items: Sequence[str], n: int, preview: str) -> Finding:
    """Return the finding on one earlier item.

    Args:
        group: its `item`; how many items repeat it, and how many of them the `same` prompt; whether
            one of them is `open`.
        items: which repeat it.
        n: all items.
        preview: the beginning of its prompt.
    """
    what = f"“{preview}” ({group.item})" if preview else group.item
    times = "a later item" if group.n == 1 else f"{group.n:,} later items"
    low, high = wilson(group.n, n)
    severity = "warn" if group.open else "ok"
    return Finding(
        subject=group.item,
        value=group.n / n,
        low=low,
        high=high,
        n=n,
        severity=severity,
        message=f"{what} is asked again by {times}: {group.same:,} with exactly "
        f"this prompt, {group.n - group.same:,} with nearly this one (a similarity of "
        f"{PROMPT_THRESHOLD:g} or more).",
        remedy=_prompt_remedy(severity),
        items=tuple(items),
    )


def _prompt_remedy(severity: str) -> str:
    if severity != "warn":
        return ""
    return (
        "A prompt that comes often weighs more in training: skip the repeats, link them as known, "
        "or keep them if they are not the same."
    )


def _decided(
    frame: pd.DataFrame, decided: dict[str, str], decision: str, column: Hashable = "item"
) -> pd.Series:
    if not decided:
        return pd.Series(False, index=frame.index)
    said = frame[column].astype(object).map(decided)
    if "prompt" in frame and column == "item":
        said = said.fillna(frame["prompt"].astype(object).map(decided))
    return said == decision
