"""Run the benchmarks one after the other: what `make bench` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    ("benchmarks/store_votes.py",),
    ("-m", "benchmarks.serve_kill"),
    ("benchmarks/product.py", "--write"),
    ("benchmarks/openapi.py",),
    ("benchmarks/labelers.py", "--write"),
    ("benchmarks/screens.py", "--write"),
    ("benchmarks/million.py", "--write"),
    ("benchmarks/effect.py", "--cache", ".setup/effect", "--write"),
    ("benchmarks/remedy.py", "--cache", ".setup/remedy", "--write"),
    ("benchmarks/demo.py", "--data", ".setup/demo", "--write"),
    ("benchmarks/decoding.py", "--write"),
    ("benchmarks/rounds.py", "--cache", ".setup/rounds", "--write"),
    ("benchmarks/growth.py", "--write"),
    ("benchmarks/floor.py", "--write"),
    ("benchmarks/preflight.py", "--write"),
    ("benchmarks/detection.py", "--write"),
    ("benchmarks/style_power.py", "--write"),
    ("benchmarks/duels.py", "--write"),
    ("benchmarks/compare.py", "--write"),
    ("benchmarks/aggregation.py", "--write"),
    ("benchmarks/near_duplicates.py", "--write"),
    ("benchmarks/quality_scale.py", "--write"),
    ("benchmarks/theory.py", "--cache", ".setup/theory", "--write"),
    ("benchmarks/train_step.py", "--method", "dpo", "--write"),
    ("benchmarks/train_step.py", "--method", "dpo", "--prompt", "512", "--write"),
    ("benchmarks/train_step.py", "--method", "kto", "--write"),
    ("benchmarks/train_step.py", "--method", "orpo", "--write"),
)


def main() -> int:
    """Run each benchmark; return how many failed."""
    failed = 0
    for command in COMMANDS:
        print(f"== {' '.join(command)}", flush=True)
        failed += subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
