"""Does a duel keep its word when somebody looks after every vote and stops when they like it?

    python benchmarks/duels.py [--duels 1000] [--write]

Duels of two models whose true win rate is known, with ties, up to PROMPTS prompts each. After every
prompt the product's own interval and test are read. Told are: in how many duels the interval ever
left the true rate out; for equals, how often one was ever called better (a false decision), and how
often by the intervals that are usual (Wilson's, read the same way); else how often and after how
many prompts the better one was found, and how often the worse one was called better.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from feedback.duels import ALPHA  # noqa: E402
from feedback.intervals import Z95, wilson  # noqa: E402
from feedback.sequential import is_found, log_evidence  # noqa: E402

PROMPTS = 200
CASES = ((0.5, 0.0), (0.5, 0.2), (0.6, 0.0), (0.6, 0.2), (0.7, 0.2), (0.8, 0.2))  # rate, ties
RESULT = ROOT / "benchmarks" / "results" / "duels.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--duels", type=int, default=1_000)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    cases = [case(rng, asked.duels, rate, ties) for rate, ties in CASES]
    result = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "command": f"python benchmarks/duels.py --duels {asked.duels}",
        "duels": asked.duels,
        "prompts": PROMPTS,
        "alpha": ALPHA,
        "cases": cases,
    }
    print(json.dumps(result, indent=1))
    if asked.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def case(rng: np.random.Generator, duels: int, rate: float, ties: float) -> dict[str, Any]:
    """Return what came of so many duels with a true rate, of which ties count half."""
    drawn = rng.random((duels, PROMPTS))
    scores = np.where(drawn < rate - ties / 2, 1.0, np.where(drawn < rate + ties / 2, 0.5, 0.0))
    hits, n = scores.cumsum(axis=1), np.arange(1, PROMPTS + 1)
    outside = is_found(log_evidence(hits, n, rate), ALPHA)
    decided = is_found(log_evidence(hits, n), ALPHA)
    better = decided & (hits > n / 2)
    first = decided.argmax(axis=1)
    found = decided.any(axis=1)
    right = found & better[np.arange(duels), first]
    usual = np.abs(hits / n - 0.5) > Z95 * 0.5 / np.sqrt(n)  # its interval leaves a half out
    usual[:, :10] = False  # fewer nobody trusts
    told: dict[str, Any] = {
        "rate": rate,
        "ties": ties,
        "ever_left_out": share(outside.any(axis=1)),
        "decided": share(found),
        "usual_interval_decides": share(usual.any(axis=1)),
    }
    if rate != 0.5:
        told |= {
            "found_better": share(right),
            "called_worse": share(found & ~right),
            "median_prompts": int(np.median(first[right])) + 1 if right.any() else None,
        }
    return told


def share(happened: np.ndarray) -> dict[str, float]:
    """Return how often something happened, with its 95 % interval."""
    hits, n = int(happened.sum()), len(happened)
    low, high = wilson(hits, n)
    return {"value": round(hits / n, 4), "low": round(low, 4), "high": round(high, 4)}


if __name__ == "__main__":
    main()
