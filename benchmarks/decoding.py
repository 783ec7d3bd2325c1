"""What a token of a few answers at once costs, with the quick way for few rows and without it.

    python benchmarks/decoding.py [--write]

The embedded model in the worker's own loop, at temperature 0.8. For each number of answers both
ways take turns, three times; a figure is the median seconds of a step after the first. On a
processor with bf16 the worker computes in that, where both ways are the same: then the ratios are
about 1. `--write` puts the figures into benchmarks/results/decoding.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from align import few_rows  # noqa: E402
from align.decoding import DecodeRow, decode  # noqa: E402
from align.loaded import LoadedModel  # noqa: E402
from align.models import find_model  # noqa: E402
from benchmarks.machine import machine  # noqa: E402

ANSWERS = (1, 2, 4, 8, 16)  # at once
TOKENS, TURNS = 32, 3
QUESTION = "Tell me something about the sea and the people who live beside it, please."
RESULT = ROOT / "benchmarks" / "results" / "decoding.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    write = parser.parse_args().write
    model = LoadedModel(find_model().path)
    found: dict[str, Any] = {
        "date": date.today().isoformat(),
        "command": "python benchmarks/decoding.py",
        "machine": machine(),
        "precision": str(model.dtype).removeprefix("torch."),
        "seconds_a_token": {str(answers): compared(model, answers) for answers in ANSWERS},
    }
    print(json.dumps(found, indent=1))
    if write:
        RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def compared(model: LoadedModel, answers: int) -> dict[str, float]:
    """Return seconds of a step both ways, and how many times as long the usual one takes."""
    most = few_rows.MOST
    times: dict[str, list[float]] = {"usual": [], "quick": []}
    for _ in range(TURNS):
        for way, rows in (("usual", 0), ("quick", most)):
            few_rows.MOST = rows
            times[way] += steps(model, answers)
    few_rows.MOST = most
    usual, quick = median(times["usual"]), median(times["quick"])
    print(answers, round(usual, 4), round(quick, 4), flush=True)
    return {"usual": round(usual, 4), "quick": round(quick, 4), "ratio": round(usual / quick, 2)}


def steps(model: LoadedModel, answers: int) -> list[float]:
    """Return the seconds of each step after the first."""
    prompt, _ = model.prompt_ids([{"role": "user", "content": QUESTION}], TOKENS)
    rows = [DecodeRow(prompt, seed, TOKENS, 0.8, 0.95, None) for seed in range(answers)]
    marks = [time.perf_counter() for _ in decode(model, rows)]
    return [after - before for before, after in zip(marks, marks[1:], strict=False)]


if __name__ == "__main__":
    main()
