"""Bring the real votes of LLMFAO into a data folder and say what the checks make of them.

    python benchmarks/llmfao.py [--votes FOLDER] [--data FOLDER] [--write]

FOLDER of the votes holds `pairs-crowd.jsonl` and `crowd-comparisons.csv` of the public repository
dustalov/llmfao (Dmitry Ustalov; CC BY 4.0). Prints one JSON object: what the import and the checks
said, and how long each took. Run twice on the same data folder it adds nothing. `--write` puts what
was found, with the ranking of the models, into benchmarks/results/llmfao.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script from anywhere

from feedback.imports import import_file  # noqa: E402
from feedback.quality import gather_numbers, live_length_bias, run_checks  # noqa: E402
from storage.store import Store  # noqa: E402

VOTES = ROOT.parent / "shared" / "data" / "llmfao"
RESULT = ROOT / "benchmarks" / "results" / "llmfao.json"
KEPT = ("value", "low", "high", "n", "severity", "message")  # of each check
VERDICTS = {"left": "a", "right": "b", "tie": "tie"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--votes", type=Path, default=VOTES, help="the folder with the two files")
    parser.add_argument("--data", type=Path, help="the data folder; a temporary one if left out")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = asked.data or Path(scratch) / "data"
        found = run(asked.votes, data, Path(scratch) / "llmfao.jsonl")
        print(json.dumps(found, indent=2))
        if asked.write:
            RESULT.write_text(json.dumps(result(found, data), indent=1) + "\n", "utf-8")


def run(votes: Path, data: Path, file: Path) -> dict[str, Any]:
    """Convert, import and check; return what each said."""
    convert(votes, file)
    store = Store.open(data)
    try:
        started = time.perf_counter()
        imported = import_file(store, file, "votes")
        import_seconds = time.perf_counter() - started
        started = time.perf_counter()
        checks = [result.as_json() for result in run_checks(store)]
        check_seconds = time.perf_counter() - started
        started = time.perf_counter()
        live_length_bias(store)
        live_seconds = time.perf_counter() - started
    finally:
        store.close()
    for check in checks:
        check["items"], check["findings"] = len(check["items"]), len(check["findings"])
    return {
        "import": imported,
        "import_seconds": round(import_seconds, 2),
        "checks": checks,  # items and findings as counts: they would fill the screen
        "check_seconds": round(check_seconds, 3),
        "live_seconds": round(live_seconds, 4),
    }


def result(found: dict[str, Any], data: Path) -> dict[str, Any]:
    """Return what the checks found and how the models rank, with date and machine."""
    import numpy as np

    from benchmarks.machine import machine
    from feedback.ranking import leaderboard

    with Store.open(data) as store:
        columns = gather_numbers(store)
    ranked = leaderboard(columns.votes, columns.comparisons, np.random.default_rng(0)).as_json()
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "import": found["import"],
        "checks": {one["name"]: {key: one[key] for key in KEPT} for one in found["checks"]},
        "models": [{key: one[key] for key in ("model", "score")} for one in ranked["models"]],
    }


def convert(votes: Path, file: Path) -> None:
    """Write LLMFAO's two files as one of Hone's `votes` files; left is always their model_x."""
    with file.open("w", encoding="utf-8") as out:
        for row in _rows(votes):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _rows(votes: Path) -> Iterator[dict[str, str]]:
    with (votes / "pairs-crowd.jsonl").open(encoding="utf-8", newline="\n") as lines:
        pairs = {str(pair["id"]): pair for pair in map(json.loads, lines)}
    with (votes / "crowd-comparisons.csv").open(encoding="utf-8", newline="") as table:
        for vote in csv.DictReader(table):
            pair = pairs[vote["id"]]
            yield {
                "prompt": pair["text"],
                "response_a": pair["result_x"],
                "response_b": pair["result_y"],
                "model_a": vote["left"],
                "model_b": vote["right"],
                "labeler": f"llmfao-{vote['worker']}",
                "verdict": VERDICTS[vote["winner"]],
                "left": "a",
                "created_at": "",
                "comparison": f"llmfao-{vote['id']}",
            }


if __name__ == "__main__":
    main()
