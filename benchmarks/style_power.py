"""How surely the `style` check finds a planted quirk: `python benchmarks/style_power.py [--write]`.

Each simulation has votes on pairs of answers in which every mark of form of the check stands in
half of the answers, by chance. In one mark, bold words, the votes follow an odds ratio of 4; in the
others, nothing. Two designs: 100 pairs that all differ in the quirk, and 100 pairs as they come, of
which half do. On null data no mark matters; an alarm there is false. Runs the check itself. The
same seeds give the same figures anywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from feedback.checks import Columns  # noqa: E402
from feedback.checks.style import MARKS, style  # noqa: E402
from feedback.features import FEATURES  # noqa: E402
from feedback.intervals import wilson  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "style_power.json"
QUIRK = "bold"


def votes_of(rng: np.random.Generator, pairs: int, odds: float, all_differ: bool) -> Columns:
    """Return one simulation's votes, one a pair, with the features of the two answers."""
    texts = 2 * pairs
    drawn: dict[str, Any] = {name: np.zeros(texts, dtype=kind) for name, kind in FEATURES.items()}
    for mark in MARKS.values():
        has = rng.random(texts) < 0.5
        drawn[mark.feature] = np.where(has, mark.value or 1, drawn[mark.feature])
    if all_differ:
        first = rng.random(pairs) < 0.5
        drawn[QUIRK] = np.concatenate([first, ~first]).astype("u2")
    more = drawn[QUIRK][:pairs].astype(int) - drawn[QUIRK][pairs:].astype(int)
    chose_a = rng.random(pairs) < 1 / (1 + odds ** (-more.astype(float)))
    names = np.array([f"t{n:05}" for n in range(texts)])
    votes = pd.DataFrame(
        {
            "comparison": [f"c{n:05}" for n in range(pairs)],
            "verdict": np.where(chose_a, "a", "b"),
            "text_a": names[:pairs],
            "text_b": names[pairs:],
        }
    )
    empty = Columns.empty()
    parts = (empty.ratings, empty.comparisons, empty.prompts, empty.decisions)
    features = pd.DataFrame(drawn, index=pd.Index(names))
    return Columns(votes, *parts, features=features)


def rates(n: int, pairs: int, odds: float, all_differ: bool, seed: int) -> dict[str, Any]:
    """Return how often the quirk, and anything else, was told in n simulations, with intervals."""
    rng = np.random.default_rng(seed)
    found = other = 0
    for _ in range(n):
        result = style(votes_of(rng, pairs, odds, all_differ))
        told = {one.subject for one in result.findings if one.severity == "warn"}
        found += QUIRK in told
        other += bool(told - {QUIRK}) if odds != 1 else bool(told)
    return {
        "simulations": n,
        "pairs": pairs,
        "odds_ratio": odds,
        "all_pairs_differ": all_differ,
        "found": rate(found, n) if odds != 1 else None,
        "false_alarm": rate(other, n),
    }


def rate(hits: int, n: int) -> dict[str, float]:
    low, high = wilson(hits, n)
    return {"share": round(hits / n, 4), "low": round(low, 4), "high": round(high, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=300)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    n = asked.simulations
    told = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "planted": rates(n, 100, 4.0, True, 1),
        "planted_half": rates(n, 100, 4.0, False, 2),
        "planted_200_half": rates(n, 200, 4.0, False, 3),
        "null": rates(2 * n, 100, 1.0, False, 4),
        "null_1000": rates(n, 1_000, 1.0, False, 5),
    }
    print(json.dumps(told, indent=2))
    if asked.write:
        RESULT.write_text(json.dumps(told, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
