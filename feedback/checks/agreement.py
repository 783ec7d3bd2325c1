"""Do the labelers agree? Krippendorff's alpha, contradicting votes, preferences in a circle.

A judgement is a, b, tie or both_bad; a skip judges nothing. What one person says twice about one
comparison (a silent repeat, a second assignment) is not two people agreeing: the first one counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr

from feedback.agreement import alpha_interval, krippendorff_alpha, pairwise_agreement
from feedback.checks.columns import Columns
from feedback.checks.cycles import named_prompt, preference_cycles
from feedback.checks.result import CheckResult, Finding, nothing, share_text
from feedback.intervals import wilson

NAME = "agreement"
VERDICTS = ("a", "b", "tie", "both_bad")
# Krippendorff (2004) asks for 0.8 to rely on data and for 0.667 to draw tentative conclusions; but
# that is for coding what a text says. Tastes differ: the real votes of LLMFAO stand at 0.29, and
# the 73 % agreement of InstructGPT's labelers (Ouyang et al. 2022) would be about 0.45.
RELIABLE, TENTATIVE = 0.8, 0.667
# Choice: at 0.2 two people agree on 60 % of even choices, as if each were right in 72 %.
THRESHOLD = 0.2
MIN_TO_WARN = (
    20  # comparisons judged by two. Choice: with fewer, chance moves alpha by 0.2 and more
)
MIN_OF_PROMPT = 5  # independent pairs of judgements of a prompt, to be told apart
MAX_PROMPTS = 10  # Choice: the prompts with the lowest agreement; a person reads no more
SURE = 0.05  # chance that any prompt is called worse than the rest although none is (Bonferroni)

REMEDY = (
    "Look at the comparisons with contradicting votes, say in the guidelines what decides there, "
    "and ask again; leave out labelers who guess."
)
ASK_AGAIN = "Send them back to the queue: one more vote decides. Until then they give no pair."

Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgements that count, as codes; one entry per judgement."""

    units: Codes  # index into `comparisons`
    verdicts: Codes  # index into VERDICTS
    rows: pd.DataFrame  # the first vote of each comparison: its prompt and texts
    comparisons: NDArray[np.object_]  # ids
    labelers: int

    def table(self) -> Codes:
        """Return how often each comparison got each verdict, (comparisons, verdicts)."""
        size = len(VERDICTS)
        cells = np.bincount(
            self.units * size + self.verdicts, minlength=len(self.comparisons) * size
        )
        return cells.reshape(-1, size)


def agreement(columns: Columns, *, threshold: float = THRESHOLD, seed: int = 0) -> CheckResult:
    """Return Krippendorff's alpha (nominal) with its bootstrap interval: no share, 1 is the most.

    Args:
        threshold: An alpha below it warns.
        seed: Of the bootstrap: the same votes give the same interval.
    """
    judged = judgements(columns.votes)
    table = judged.table()
    twice = int((table.sum(axis=1) >= 2).sum())
    if not twice:
        return nothing(
            NAME,
            "No comparison has been judged by two people yet.",
            "Let a share of the comparisons be judged by two or three.",
        )
    alpha = krippendorff_alpha(judged.units, judged.verdicts)
    against = _contradicting(judged, table)
    found = (*_overview(judged, table, against, columns), *_prompts(judged, table, columns))
    if np.isnan(alpha):
        same = f"All judgements of the {twice:,} comparisons that two people judged are the same"
        message = f"{same}: whether that is agreement or habit cannot be told."
        remedy = "Collect more votes."
        return CheckResult(NAME, None, None, None, twice, "unknown", message, remedy, (), found)
    rng = np.random.default_rng(seed)
    low, high = alpha_interval(judged.units, judged.verdicts, rng)
    severity = _severity(alpha, high, twice, threshold)
    few = f" Too few to say more: fewer than {MIN_TO_WARN}." if twice < MIN_TO_WARN else ""
    message = (
        f"Krippendorff's alpha is {alpha:.3f} (95 % interval {low:.3f} to {high:.3f}; 1 is perfect "
        f"agreement, 0 is chance) over {len(judged.comparisons):,} comparisons by "
        f"{judged.labelers:,} labelers, {twice:,} of them judged more than once."
        f"{few or _meaning(alpha, severity)}"
    )
    remedy = REMEDY if severity in ("warn", "stop") else ""
    return CheckResult(NAME, alpha, low, high, twice, severity, message, remedy, against, found)


def judgements(votes: pd.DataFrame) -> Judged:
    """Return the votes that judge something, one for each person and comparison."""
    verdicts = pd.Categorical(votes["verdict"], categories=VERDICTS).codes
    counts = (verdicts >= 0) & (votes["kind"] != "repeat").to_numpy(dtype=bool)
    votes, verdicts = votes[counts], verdicts[counts]
    units, comparisons = pd.factorize(votes["comparison"])
    who, labelers = pd.factorize(votes["labeler"])
    again = _again(units * max(len(labelers), 1) + who, votes)
    votes, units, verdicts = votes[~again], units[~again], verdicts[~again]
    first = np.unique(units, return_index=True)[1]
    return Judged(
        units.astype(np.int64),
        verdicts.astype(np.int64),
        votes.iloc[first],
        np.asarray(comparisons, dtype=object),
        len(labelers),
    )


def _again(pairs: Codes, votes: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which votes somebody cast on a comparison that they had judged before."""
    several = pd.Series(pairs).duplicated(keep=False).to_numpy()
    again = np.zeros(len(pairs), bool)
    if several.any():
        few = votes[several].assign(pair=pairs[several], place=np.flatnonzero(several))
        few = few.sort_values(["created_at", "vote"])
        again[few.loc[few["pair"].duplicated(), "place"]] = True
    return again


def _severity(alpha: float, high: float, n: int, threshold: float) -> str:
    if n < MIN_TO_WARN:
        return "ok"
    if high <= 0:
        return "stop"
    return "warn" if alpha < threshold and high < TENTATIVE else "ok"


def _meaning(alpha: float, severity: str) -> str:
    if severity == "stop":
        return " The labelers agree no more than people who guess: a model learns nothing from it."
    if severity == "warn":
        return " That is little, even for tastes: much of what a model learns from it is chance."
    if alpha >= RELIABLE:
        return " Data can be relied on from 0.8 (Krippendorff)."
    return " Krippendorff asks for 0.667 to 0.8, but people's preferences rarely agree so much."


def _contradicting(judged: Judged, table: Codes) -> tuple[str, ...]:
    """Return the ids of the comparisons that have votes for a and votes for b."""
    return tuple(sorted(judged.comparisons[_against(table)]))


def _against(table: Codes) -> NDArray[np.bool_]:
    return (table[:, 0] > 0) & (table[:, 1] > 0)


def _overview(
    judged: Judged, table: Codes, against: tuple[str, ...], columns: Columns
) -> tuple[Finding, ...]:
    majorities = judged.rows[["comparison", "prompt", "text_a", "text_b"]].assign(
        net=table[:, 0] - table[:, 1],
        decided=table[:, 0] + table[:, 1],
    )
    cycles = preference_cycles(majorities, columns.previews)
    return (_pairwise(judged, table), _contradictions(table, against), *cycles)


def _pairwise(judged: Judged, table: Codes) -> Finding:
    agreeing, pairs = pairwise_agreement(judged.units, judged.verdicts)
    low, high = wilson(agreeing / pairs * _independent(table), _independent(table))
    message = (
        f"Two people who judged the same comparison agreed in {100 * agreeing / pairs:.1f} % of "
        f"{pairs:,} pairs of judgements (95 % interval {100 * low:.1f} to {100 * high:.1f} %)."
    )
    return Finding("pairwise agreement", agreeing / pairs, low, high, pairs, "ok", message, "")


def _independent(table: Codes) -> int:
    """Return how many independent pairs of judgements there are.

    Choice: k judgements of one comparison make k (k - 1) / 2 pairs, but count as k - 1.
    """
    return int(np.maximum(table.sum(axis=1) - 1, 0).sum())


def _contradictions(table: Codes, against: tuple[str, ...]) -> Finding:
    subject, decided = "contradicting votes", int((table[:, :2].sum(axis=1) >= 2).sum())
    if not decided:
        message = "No comparison has two votes that chose an answer yet."
        return Finding(subject, None, None, None, 0, "unknown", message, "")
    low, high = wilson(len(against), decided)
    told = share_text(len(against), decided, "comparisons that two people decided")
    return Finding(
        subject,
        len(against) / decided,
        low,
        high,
        decided,
        "warn" if len(against) else "ok",
        f"{told} have votes for either answer.",
        ASK_AGAIN if len(against) else "",
        against,
    )


def _prompts(judged: Judged, table: Codes, columns: Columns) -> list[Finding]:
    """Return the prompts on which people agree least; a warning where chance cannot explain it."""
    of_unit = table.sum(axis=1)
    codes, names = pd.factorize(judged.rows["prompt"])
    sums = pd.DataFrame(
        {
            "prompt": np.asarray(names, dtype=object),
            "agreeing": np.bincount(codes, (table * (table - 1)).sum(axis=1) / 2, len(names)),
            "pairs": np.bincount(codes, of_unit * (of_unit - 1) / 2, len(names)),
            "n": np.bincount(codes, np.maximum(of_unit - 1, 0), len(names)).astype(int),
        }
    )
    usual = sums["agreeing"].sum() / sums["pairs"].sum()
    sums = sums[sums["n"] >= MIN_OF_PROMPT]
    share = sums["agreeing"] / sums["pairs"]
    chance = bdtr(np.round(share * sums["n"]), sums["n"], usual)
    sums = sums.assign(share=share, chance=chance, sure=chance * len(sums) < SURE)
    worst = sums.sort_values(["chance", "prompt"])[:MAX_PROMPTS]
    against = np.flatnonzero(_against(table))
    items = {
        code: tuple(sorted(judged.comparisons[against[codes[against] == code]]))
        for code in worst.index
    }
    return [
        _prompt(columns, row.prompt, row.share, row.n, row.sure, usual, items[row.Index])
        for row in worst.itertuples()
    ]


def _prompt(
    columns: Columns,
    prompt: str,
    share: float,
    n: int,
    sure: bool,
    usual: float,
    items: tuple[str, ...],
) -> Finding:
    low, high = wilson(share * n, n)
    message = (
        f"On {named_prompt(prompt, columns.previews)} two people agreed in {100 * share:.1f} % of "
        f"their pairs of judgements (95 % interval {100 * low:.1f} to {100 * high:.1f} %); over "
        f"all prompts it is {100 * usual:.1f} %."
    )
    severity, remedy = ("warn", REMEDY) if sure else ("ok", "")
    return Finding(f"prompt {prompt}", share, low, high, n, severity, message, remedy, items)
