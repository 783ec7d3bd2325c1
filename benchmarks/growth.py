"""How the time of training grows with pairs, with length, and with the responses to a prompt.

    python benchmarks/growth.py [--write]

The embedded model in its own precision on this machine, DPO, forward and backward passes of one
epoch without the optimiser; the reference is scored before. For each size the least of three
repeats is taken, since whatever else the machine does only adds. Theory: time is linear in the
pairs; linear in the prompt's and the responses' tokens, but for attention's own share, which grows
with their square; and for k responses ranked against each other (k(k-1)/2 pairs) linear in
P + k·R, where pairs that do not share their prompt cost k(k-1)·(P + R).

`--write` puts the figures into benchmarks/results/growth.json and the plot into docs/growth.svg.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

REPEATS = 3
PROMPT, RESPONSE = 128, 64  # tokens, where they are not what changes
PAIRS = (4, 8, 16, 32)
PROMPTS = (64, 128, 256, 512)
RESPONSES = (32, 64, 128, 256)
RANKED = (2, 3, 4, 6, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="add to benchmarks/results/ and docs/")
    arguments = parser.parse_args()
    result = measure()
    print(json.dumps(result, indent=1))
    if arguments.write:
        place = ROOT / "benchmarks" / "results" / "growth.json"
        place.write_text(json.dumps(result, indent=1) + "\n")
        draw(result, ROOT / "docs" / "growth.svg")


def measure() -> dict[str, Any]:
    """Return the seconds of every size."""
    from align.device import device_now
    from align.models import EMBEDDED, find_model
    from align.policy import load_policy
    from benchmarks.machine import machine

    model = find_model(EMBEDDED)
    precision = "bf16" if device_now().bf16 else "fp32"
    policy = load_policy(str(model.path), precision=precision, rank=16, alpha=32, seed=0)

    def seconds(rows: Sequence[Any], shared: bool = True) -> float:
        return epoch_seconds(policy, rows, shared)

    seconds(pairs(4, PROMPT, RESPONSE))  # the first passes are slow
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "work": {"precision": precision, "prompt": PROMPT, "response": RESPONSE, "method": "dpo"},
        "pairs": {n: seconds(pairs(n, PROMPT, RESPONSE)) for n in PAIRS},
        "prompt_tokens": {n: seconds(pairs(4, n, RESPONSE)) for n in PROMPTS},
        "response_tokens": {n: seconds(pairs(4, PROMPT, n)) for n in RESPONSES},
        "ranked_sharing": {k: seconds(ranking(k)) for k in RANKED},
        "ranked_apart": {k: seconds(apart(ranking(k)), False) for k in RANKED},
    }


def tokens(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(1000, 20_000) for _ in range(count))


def pairs(count: int, prompt: int, response: int) -> list[Any]:
    """Return pairs of random tokens, each with a prompt of its own."""
    from align.rendering import PairRow

    rng = random.Random(0)
    return [
        PairRow(f"r{i}", f"p{i}", tokens(rng, prompt), (tokens(rng, response),
                tokens(rng, response)), 1.0, 1.0)
        for i in range(count)
    ]  # fmt: skip


def ranking(k: int) -> list[Any]:
    """Return the pairs of one prompt's k ranked responses."""
    from align.rendering import PairRow

    rng = random.Random(0)
    prompt, responses = tokens(rng, PROMPT), [tokens(rng, RESPONSE) for _ in range(k)]
    return [
        PairRow(f"{i}>{j}", "p", prompt, (responses[i], responses[j]), 1.0, 1.0)
        for i, j in combinations(range(k), 2)
    ]


def apart(rows: Sequence[Any]) -> list[Any]:
    """Return the same pairs as if each had a prompt of its own."""
    from dataclasses import replace

    return [replace(row, prompt=(500 + i, *row.prompt[1:])) for i, row in enumerate(rows)]


def epoch_seconds(policy: Any, rows: Sequence[Any], shared: bool) -> float:
    """Return the least time of an epoch's forward and backward passes."""
    from align import recipes
    from align.batches import Cutter
    from align.preflight import BUDGET
    from align.reference import ReferenceScores, score
    from align.step import Job, evaluate, passes
    from align.tally import Tally

    settings = recipes.from_json("dpo", {"batch_size": len(rows)})
    cutter = Cutter(shared=shared, budget=BUDGET[policy.device.type])
    references = ReferenceScores()
    job = Job(settings, settings.loss, rows, [tuple(range(len(rows)))], cutter, references)
    batch = job.batch(0)
    score(policy, batch.micros, references)
    found = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        z, scored = passes(policy, batch, job)
        for micro, values in scored:
            evaluate(values, micro, job, z, Tally()).sum().backward()
        found.append(time.perf_counter() - started)
        policy.zero_grad()
    return round(min(found), 3)


def draw(result: dict[str, Any], place: Path) -> None:
    """Plot the four ways to grow; a dashed line goes on from the first point in proportion."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    panels = (
        ("pairs", "pairs", 0.0),
        ("prompt_tokens", f"tokens of the prompt (4 pairs, responses of {RESPONSE})", 2 * RESPONSE),
        ("response_tokens", f"tokens of a response (4 pairs, prompts of {PROMPT})", PROMPT / 2),
        ("ranked_sharing", "ranked responses to one prompt", PROMPT / RESPONSE),
    )
    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6.4), constrained_layout=True)
    for axis, (name, label, offset) in zip(axes.flat, panels, strict=True):
        sizes = [int(size) for size in result[name]]
        times = list(result[name].values())
        axis.plot(sizes, times, "o-", color="#1f6feb", label="measured")
        line = [times[0] * (size + offset) / (sizes[0] + offset) for size in sizes]
        axis.plot(sizes, line, "--", color="#8b949e", label="in proportion to the tokens")
        if name == "ranked_sharing":
            others = list(result["ranked_apart"].values())
            axis.plot(sizes, others, "s-", color="#d1242f", label="prompt not shared")
        axis.set(xlabel=label, ylabel="seconds", ylim=(0, None), xlim=(0, None))
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(place, facecolor="white", metadata={"Date": None})


if __name__ == "__main__":
    main()
