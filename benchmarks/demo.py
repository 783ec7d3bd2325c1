"""The demo as a user runs it, from an empty data folder: how long, and what came out.

    python benchmarks/demo.py --data FOLDER [--write]

Runs `app.py demo --no-serve` and reads the demo.json that it leaves: the seconds of the command and
of each step, and on the held-out prompts how often the taste that cast the votes prefers the
answer after, how long answers are, how many come to their end and how many repeat themselves.
FOLDER has to be empty or missing. `--write` puts the figures into benchmarks/results/demo.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from align import demo  # noqa: E402
from align.evaluate import repeats_itself  # noqa: E402
from benchmarks.machine import machine  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "demo.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(".setup/demo"), help="an empty folder")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    if asked.data.exists() and any(asked.data.iterdir()):
        raise SystemExit(f"{asked.data} is not empty: a demo that was begun would go on there")
    began = time.monotonic()
    command = [sys.executable, "app.py", "demo", "--no-serve", "--data", str(asked.data.resolve())]
    subprocess.run(command, cwd=ROOT, check=True)
    seconds = time.monotonic() - began
    told = demo.told(asked.data)
    found = {
        "date": date.today().isoformat(),
        "command": "python benchmarks/demo.py --data FOLDER",
        "machine": machine(),
        "settings": demo.SETTINGS,
        "seconds": round(seconds),
        "steps": {name: step["seconds"] for name, step in told["steps"].items()},
        "comparisons": told["steps"]["answers"]["comparisons"],
        "preferred": {
            name: told["steps"]["after"][name] for name in ("prompts", "preferred", "low", "high")
        },
        "tokens": both(told, lambda one: one["tokens"], fmean),
        "finished": both(told, lambda one: bool(one["finished"]), sum),
        "repeating": both(told, lambda one: repeats_itself(one["text"]), sum),
        "kl_per_token": told["steps"]["training"]["report"]["kl"]["per_token"],
    }
    print(json.dumps(found, indent=1))
    if asked.write:
        RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def both(
    told: Mapping[str, Any], value: Callable[[Any], float], of_all: Callable[[Any], float]
) -> dict[str, float]:
    """Return one figure of the answers before and after."""
    return {
        when: round(of_all([value(one[when]) for one in told["asked"]]), 1)
        for when in ("before", "after")
    }


if __name__ == "__main__":
    main()
