"""Are the compared answers the model's own? Pairs from elsewhere teach what it would never say.

"The model" is the base that answered most of what was compared, with or without an adapter.
Source: Tajwar et al., "Preference fine-tuning of LLMs should leverage suboptimal, on-policy data"
(2024): methods learn more from answers sampled from the model that is trained.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from feedback.checks.columns import Columns
from feedback.checks.result import CheckResult, Finding, measured, nothing, share_text
from feedback.checks.said import net_votes
from feedback.checks.scores import TO_SCORE, base_model, scored
from feedback.intervals import Z95, wilson

NAME = "distribution"
# Choice: when clearly more pairs come from elsewhere than from the model, they decide what it
# learns.
THRESHOLD = 0.5  # share of comparisons with both answers from the model
# Choice: e^1 = 2.7: on every token the model finds its own answers that many times as likely.
GAP = 1.0  # nats per token
MIN_SCORED = 20  # answers on either side. Choice: below, a mean says little
OLD_DAYS = 30.0  # Choice: a month is some rounds of training where people use Hone

REMEDY = (
    "Generate comparisons with the model that you train (python app.py generate) and have those "
    "judged; or imitate the chosen answers first (method sft)."
)


class Age(NamedTuple):
    """How old the compared answers are, counted from the newest comparison."""

    days: float  # median
    rounds: int  # adapters that answered later than the median answer's
    newest: str  # the adapter that came last, "" for the base itself


def distribution(
    columns: Columns, *, threshold: float = THRESHOLD, gap: float = GAP
) -> CheckResult:
    """Return the share of comparisons whose answers are both the model's, their age, and how far
    the chosen answers are from the model's own in log-probability."""
    pairs = columns.comparisons
    n = len(pairs)
    if not n:
        return nothing(NAME, "There is no comparison yet.", "Add comparisons.")
    base = base_model(pairs)
    own = own_answers(pairs, base)
    hits = int((own[0] & own[1]).sum())
    severity = "warn" if hits / n < threshold and wilson(hits, n)[1] < threshold else "ok"
    message = (
        f"In {share_text(hits, n, 'comparisons')} both answers come from {base}, the model that "
        "answered most (with or without an adapter)."
        if base
        else f"Which model gave the answers of {n:,} comparisons is not known."
    )
    findings = (_age_finding(pairs, base, own), _gap_finding(columns, base, own, gap))
    return measured(NAME, hits, n, severity, message, REMEDY, (), findings)


def own_answers(pairs: pd.DataFrame, base: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which answers, a and b, are the model's own; (C,) each."""
    if not base:
        none = np.zeros(len(pairs), dtype=bool)
        return none, none
    return (pairs["model_a"] == base).to_numpy(bool), (pairs["model_b"] == base).to_numpy(bool)


def age_of(pairs: pd.DataFrame, own: tuple[np.ndarray, np.ndarray]) -> Age:
    """Return the age of the model's own answers: a round is an adapter, in order of appearance."""
    time = pd.to_datetime(pairs["created_at"], utc=True).dt.tz_localize(None)
    adapters = (pairs["adapter_a"][own[0]], pairs["adapter_b"][own[1]])
    answered = pd.DataFrame(
        {
            "adapter": pd.concat([some.astype(str).fillna("") for some in adapters]),
            "time": pd.concat([time[mask] for mask in own]),
        }
    )
    first = answered.groupby("adapter")["time"].min().reset_index()
    order = first.sort_values(["time", "adapter"])["adapter"].tolist()
    order.sort(key=lambda adapter: adapter != "")  # the base itself came first
    rounds = len(order) - 1 - answered["adapter"].map({a: k for k, a in enumerate(order)})
    days = (answered["time"].max() - answered["time"]).dt.total_seconds() / 86_400
    return Age(float(days.median()), int(rounds.median()), order[-1])


def _age_finding(pairs: pd.DataFrame, base: str, own: tuple[np.ndarray, np.ndarray]) -> Finding:
    """Return how old the model's own answers are, and the share that the newest round gave."""
    n = int(own[0].sum() + own[1].sum())
    if not n:
        message = "No compared answer is known to be the model's own, so none has an age."
        return Finding("age", None, None, None, 0, "unknown", message, REMEDY)
    age = age_of(pairs, own)
    newest = sum(
        int((pairs[name].fillna("") == age.newest).to_numpy(bool)[mask].sum())
        for name, mask in zip(("adapter_a", "adapter_b"), own, strict=True)
    )
    low, high = wilson(newest, n)
    old = age.rounds >= 1 or age.days > OLD_DAYS
    who = f"the adapter {age.newest}" if age.newest else "the base itself"
    message = (
        f"The model's own answers are {age.rounds} rounds of training and {age.days:.1f} days old "
        f"in the median, counted from the newest; {share_text(newest, n, 'of them')} are of "
        f"{who}, the newest."
    )
    remedy = "Generate with the newest adapter before the next round." if old else ""
    return Finding("age", newest / n, low, high, n, "warn" if old else "ok", message, remedy)


def _gap_finding(
    columns: Columns, base: str, own: tuple[np.ndarray, np.ndarray], gap: float
) -> Finding:
    """Return by how much the model finds its own answers likelier than the chosen ones, per token.

    Its value, low and high are nats per token, no shares.
    """
    subject = "log-probability gap"
    pairs = columns.comparisons
    by_a, by_b = scored(columns, pairs["a"], pairs["b"], model=base)
    sampled = _known(by_a.per_token[own[0]], by_b.per_token[own[1]])
    chose = net_votes(columns, pairs["comparison"]) if len(sampled) else np.zeros(len(pairs))
    chosen = _known(by_a.per_token[chose > 0], by_b.per_token[chose < 0])
    few = min(len(chosen), len(sampled))
    if few < MIN_SCORED:
        message = (
            f"How likely the model finds the chosen answers is not known: {len(chosen)} chosen "
            f"and {len(sampled)} of its own have a log-probability, {MIN_SCORED} each are needed."
        )
        return Finding(subject, None, None, None, few, "unknown", message, TO_SCORE)
    far = float(sampled.mean() - chosen.mean())
    error = math.sqrt(sampled.var(ddof=1) / len(sampled) + chosen.var(ddof=1) / len(chosen))
    low, high = far - Z95 * error, far + Z95 * error
    severity = "warn" if low > gap else "ok"
    message = (
        f"{by_a.model} finds its own answers likelier than the chosen ones by {far:.2f} nats per "
        f"token (95 % interval {low:.2f} to {high:.2f}; {len(sampled):,} of its own, "
        f"{len(chosen):,} chosen)."
    )
    remedy = REMEDY if severity == "warn" else ""
    far, low, high = (round(value, 9) for value in (far, low, high))
    return Finding(subject, far, low, high, len(chosen), severity, message, remedy)


def _known(*parts: np.ndarray) -> np.ndarray:
    """Return the numbers of all parts, sorted: their sum is then the same in any order of rows."""
    whole = np.concatenate(parts)
    return np.sort(whole[~np.isnan(whole)])
