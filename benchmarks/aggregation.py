"""Agreement and labelers' accuracy beside crowd-kit's Dawid–Skene and plain pandas, as ratios.

    python benchmarks/aggregation.py [--crowdkit FOLDER] [--sizes 10000,100000,1000000] [--write]

All run in one process on the same simulated votes. crowd-kit (1.4.2, Apache-2.0) is no requirement
of Hone: `pip install --target FOLDER crowd-kit==1.4.2` and give the folder. Without `--crowdkit` it
is looked for in .setup/crowdkit and among what is installed; where it is not, that part is left out
and the result says so. Prints one JSON object; `--write` puts it under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script from anywhere

from benchmarks.machine import machine  # noqa: E402
from feedback.agreement import dawid_skene, krippendorff_alpha, pairwise_agreement  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "aggregation.json"
ROUNDS = 10  # of both Dawid–Skenes, so that they do the same work
CLASSES = 3
CROWDKIT = ROOT / ".setup" / "crowdkit"
MISSING = f"not there: pip install --target {CROWDKIT.relative_to(ROOT)} crowd-kit==1.4.2"


def main() -> None:
    """Measure every size, smallest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--crowdkit", type=Path, default=CROWDKIT, help="the folder that crowd-kit was installed to"
    )
    parser.add_argument("--sizes", default="10000,100000,1000000", help="votes")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    sys.path.append(str(asked.crowdkit))
    told = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "crowdkit": crowdkit(),
        "rounds": ROUNDS,
        "sizes": [measure(int(size)) for size in asked.sizes.split(",")],
    }
    print(json.dumps(told, indent=1))
    if asked.write:
        RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def crowdkit() -> str:
    """Return crowd-kit's version, or why nothing is compared with it."""
    try:
        importlib.import_module("crowdkit.aggregation")
        return version("crowd-kit")
    except (ImportError, PackageNotFoundError) as missing:
        return f"{MISSING} ({missing})"


def simulated(n: int, seed: int = 0) -> pd.DataFrame:
    """Return n votes on 0.3 n items by n / 1,000 labelers of different accuracy; one of 7 a tie."""
    rng = np.random.default_rng(seed)
    items, labelers = max(int(0.3 * n), 1), max(n // 1000, 5)
    truth, accuracy = rng.integers(0, 2, items), rng.beta(8, 3, labelers)
    task, worker = rng.integers(0, items, n), rng.integers(0, labelers, n)
    right = rng.random(n) < accuracy[worker]
    verdict = np.where(right, truth[task], 1 - truth[task])
    label = np.where(rng.random(n) < 1 / 7, 2, verdict)
    return pd.DataFrame({"task": task, "worker": worker, "label": label})


def measure(n: int) -> dict[str, Any]:
    """Return seconds and ratios for n votes; times are of this process alone (CPU time)."""
    votes = simulated(n)
    task, worker, label = (votes[name].to_numpy() for name in ("task", "worker", "label"))
    own, found = timed(
        lambda: dawid_skene(task, worker, label, CLASSES, rounds=ROUNDS, tolerance=-np.inf)
    )
    alpha, ours = timed(lambda: (krippendorff_alpha(task, label), pairwise_agreement(task, label)))
    pandas, plain = timed(lambda: in_pandas(votes))
    if not np.isclose(ours[0], plain[0]) or ours[1] != plain[1]:
        raise AssertionError(f"pandas says {plain}, Hone {ours}")
    told = {
        "votes": n,
        "dawid_skene_seconds": round(own, 3),
        "microseconds_per_vote_and_round": round(1e6 * own / n / ROUNDS, 3),
        "agreement_seconds": round(alpha, 3),
        "pandas_agreement_seconds": round(pandas, 3),
        "pandas_over_hone": round(pandas / alpha, 1),
    }
    return {**told, **beside_crowdkit(votes, own, found.posterior.argmax(axis=1))}


def beside_crowdkit(votes: pd.DataFrame, own: float, verdicts: np.ndarray) -> dict[str, Any]:
    """Return crowd-kit's time, the ratio, and the share of items on which both say the same.

    Nothing where it is not there.
    """
    try:
        from crowdkit.aggregation import DawidSkene
    except ImportError:
        return {}
    theirs, model = timed(lambda: DawidSkene(n_iter=ROUNDS, tol=0).fit(votes))
    labels = model.labels_
    return {
        "crowdkit_seconds": round(theirs, 3),
        "crowdkit_over_hone": round(theirs / own, 1),
        "same_verdicts": round(float((verdicts[labels.index] == labels).mean()), 4),
    }


def in_pandas(votes: pd.DataFrame) -> tuple[float, tuple[int, int]]:
    """Return alpha and pairwise agreement as one writes them in pandas, with groupby and pivot."""
    table = votes.groupby(["task", "label"]).size().unstack(fill_value=0)
    of_unit = table.sum(axis=1)
    table, of_unit = table[of_unit >= 2], of_unit[of_unit >= 2]
    agreeing = (table * (table - 1)).sum(axis=1)
    counts, n = table.sum(), table.to_numpy().sum()
    observed = n - (agreeing / (of_unit - 1)).sum()
    expected = (n * n - (counts * counts).sum()) / (n - 1)
    pairs = int((of_unit * (of_unit - 1)).sum()) // 2
    return float(1 - observed / expected), (int(agreeing.sum()) // 2, pairs)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return CPU seconds and the result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


if __name__ == "__main__":
    main()
