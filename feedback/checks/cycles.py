"""Preferences that go in a circle: a beats b, b beats c, c beats a, each by majority.

Part of the check `agreement`. Answers are told apart by their text, within one prompt.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from feedback.checks.result import Finding, share_text
from feedback.checks.said import codes_of, named
from feedback.intervals import wilson

MAX_CYCLES = 50  # Choice: the largest; a person reads no more
REMEDY = "Look at these comparisons: ask again, or leave them out; training cannot satisfy all."


def preference_cycles(majorities: pd.DataFrame, previews: Mapping[str, str]) -> list[Finding]:
    """Return the share of prompts whose answers go in a circle, then one finding per circle.

    Args:
        majorities: One comparison a row: comparison, prompt, text_a, text_b, `net` (votes for a
            less votes for b) and `decided` (votes for a or b).
        previews: Prompt id → its beginning.
    """
    decided = majorities[majorities["decided"] > 0]
    several = decided[_times(decided["prompt"]) >= 3]  # fewer cannot have three edges
    edges = majority_edges(several)
    edges = edges[_times(edges["prompt"]) >= 3]
    able = edges["prompt"].unique()
    subject, what = "preference cycles", "prompts with three or more decided comparisons"
    if not len(able):
        message = "No prompt has three decided comparisons of different answers: no circle can be."
        return [Finding(subject, None, None, None, 0, "unknown", message, "")]
    edges = circles(edges)
    hits = edges["prompt"].nunique()
    found = [_circle(group, previews) for _, group in edges.groupby("circle")]
    found.sort(key=lambda one: (-one.n, one.items))
    return [
        Finding(
            subject,
            hits / len(able),
            *wilson(hits, len(able)),
            len(able),
            "warn" if hits else "ok",
            f"{share_text(hits, len(able), what)} have answers that beat each other in a circle.",
            REMEDY if hits else "",
            tuple(sorted(edges["comparison"])),
        ),
        *found[:MAX_CYCLES],
    ]


def _times(prompts: pd.Series) -> npt.NDArray[np.intp]:
    """Return how often each row's prompt is there."""
    codes = pd.factorize(prompts)[0]
    return np.bincount(codes, minlength=1)[codes]


def majority_edges(majorities: pd.DataFrame) -> pd.DataFrame:
    """Return who beats whom: prompt, winner, loser (text ids) and the first such comparison.

    Comparisons of the same two texts count together; an even split, and a text against itself,
    give none.
    """
    rows = majorities[majorities["decided"] > 0].sort_values("comparison")
    (a, b), texts = codes_of(rows["text_a"], rows["text_b"])
    (prompt,), prompts = codes_of(rows["prompt"])
    net = rows["net"].to_numpy()
    both = pd.DataFrame(
        {
            "prompt": prompt,
            "first": np.minimum(a, b),
            "second": np.maximum(a, b),
            "net": np.where(a <= b, net, -net),
            "place": np.arange(len(rows)),
        }
    )
    couples = both[a != b].groupby(["prompt", "first", "second"], sort=False)
    sums = couples.agg(net=("net", "sum"), place=("place", "first")).reset_index()
    sums = sums[sums["net"] != 0]
    ahead, first, second = (sums[name].to_numpy() for name in ("net", "first", "second"))
    won, lost = np.where(ahead > 0, (first, second), (second, first))
    return pd.DataFrame(
        {
            "prompt": named(sums["prompt"].to_numpy(), prompts, rows["prompt"]),
            "winner": named(won, texts, rows["text_a"]),
            "loser": named(lost, texts, rows["text_a"]),
            "comparison": rows["comparison"].array.take(sums["place"].to_numpy()),
        }
    )


def circles(edges: pd.DataFrame) -> pd.DataFrame:
    """Return the edges that lie on a circle, with the number of the `circle` they belong to.

    Two answers to one prompt lie on a common circle where each can be reached from the other. Such
    strongly connected components are found in time linear in the edges.
    """
    (winner, loser), texts = codes_of(edges["winner"], edges["loser"])
    (prompt,), _ = codes_of(edges["prompt"])
    places = np.append(prompt * len(texts) + winner, prompt * len(texts) + loser)
    nodes = pd.factorize(places)[0]
    winners, losers = nodes[: len(edges)], nodes[len(edges) :]
    size = int(nodes.max()) + 1
    beats = sparse.csr_array((np.ones(len(edges)), (winners, losers)), (size, size))
    circle = csgraph.connected_components(beats, directed=True, connection="strong")[1]
    return edges.assign(circle=circle[winners])[circle[winners] == circle[losers]]


def named_prompt(prompt: str, previews: Mapping[str, str]) -> str:
    """Return a prompt for a sentence: its beginning, where it is known, and its id."""
    shown = previews.get(prompt, "")
    return f"“{shown}” ({prompt})" if shown else f"prompt {prompt}"


def _circle(edges: pd.DataFrame, previews: Mapping[str, str]) -> Finding:
    prompt = edges["prompt"].iloc[0]
    answers = len(set(edges["winner"]))
    message = (
        f"{answers:,} answers to {named_prompt(prompt, previews)} beat each other in a circle: "
        f"by majority in {len(edges):,} comparisons each beats another and is beaten by another."
    )
    items = tuple(sorted(edges["comparison"]))
    return Finding(
        f"cycle of prompt {prompt}", None, None, None, len(edges), "warn", message, REMEDY, items
    )
