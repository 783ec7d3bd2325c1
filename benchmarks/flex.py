"""Flex attention beside a dense mask, on a GPU: where does skipping blocks pay?

    python benchmarks/flex.py FOLDER [--write]

FOLDER holds a model (`benchmarks/random_llama.py` makes one), loaded in NF4 with an adapter of rank
16. For prompts of several lengths, each with two responses that share it in one row: a forward and
a backward pass with the dense mask and with blocks of it, in turn, the median of five after two to
warm up (the first compiles), and what torch holds at the peak. `align.policy` tries flex from
FLEX_LEAST tokens of a row on; these figures say whether that is the right place.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

POINTS = ((512, 128, 4), (2048, 256, 1), (4096, 256, 1), (4096, 256, 2))  # prompt, response, rows
WARM_UP, STEPS = 2, 5
RESULT = ROOT / "benchmarks" / "results" / "flex.json"


def main() -> None:
    import torch

    from align.policy import load_policy
    from benchmarks.machine import machine

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", help="of a model")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("flex attention is for GPUs, and here is none")
    policy = load_policy(arguments.folder, precision="nf4", rank=16, alpha=16, seed=0)
    found: dict[str, Any] = {"model": Path(arguments.folder).name, "machine": machine(), "at": []}
    for prompt, response, rows in POINTS:
        found["at"].append({"prompt": prompt, "response": response, "rows": rows})
        for flex in (False, True):
            name = "flex" if flex else "dense"
            found["at"][-1][name] = measured(policy, flex, prompt, response, rows)
            print(prompt, response, rows, name, found["at"][-1][name], flush=True)
    print(json.dumps(found, indent=1))
    if arguments.write:
        RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def measured(policy: Any, flex: bool, prompt: int, response: int, rows: int) -> dict[str, float]:
    """Return seconds of a pass and of the first one, and the peak of memory in GB."""
    import torch

    from align.batches import Fork, pack

    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 40_000, (count,), generator=generator).tolist())

    forks = [Fork(ids(prompt), (ids(response), ids(response // 2))) for _ in range(rows)]
    block = pack(forks, shared=True).to(policy.device)
    policy.flex = flex
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(WARM_UP + STEPS):
        torch.cuda.synchronize()
        started = time.perf_counter()
        policy(block).sum().backward()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        policy.zero_grad()
    policy.flex = False
    return {
        "seconds": round(median(seconds[WARM_UP:]), 4),
        "first_seconds": round(seconds[0], 2),
        "peak_gb": round(torch.cuda.max_memory_reserved() / 1e9, 2),
    }


if __name__ == "__main__":
    main()
