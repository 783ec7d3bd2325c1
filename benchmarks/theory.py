"""Does the theory hold here? Five experiments with the embedded model on a CPU.

    python benchmarks/theory.py [--only frontier] [--cache FOLDER] [--write]

The experiments stand in `benchmarks/evidence/`, one a file. The base's sampled answers stay in the
cache folder, so a second call does not sample them again. `--write` puts the numbers into
benchmarks/results/theory-NAME.json, the plots into docs/theory-NAME.svg and the tables into
docs/theory.md, between the marks of each experiment; `--draw` does so from the results that are
there, without running anything.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.evidence import displacement, frontier, length, overfitting, unpaired  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "theory.md"


def main() -> None:
    arguments = parse()
    names = [arguments.only] if arguments.only else list(EXPERIMENTS)
    if not arguments.draw:
        run(names, arguments.cache, write=arguments.write)
    if arguments.write or arguments.draw:
        draw(names)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=EXPERIMENTS, help="one experiment instead of all")
    parser.add_argument("--cache", type=Path, help="folder where sampled answers stay")
    parser.add_argument("--write", action="store_true", help="write results, plots and tables")
    parser.add_argument("--draw", action="store_true", help="plots and tables from the results")
    return parser.parse_args()


def run(names: list[str], cache: Path | None, *, write: bool) -> None:
    """Run experiments on the same sampled answers; print what they find, and write it if asked."""
    import torch
    import transformers

    from benchmarks.evidence.learning import ALPHA, RANK, RATE, fresh_policy, precision
    from benchmarks.evidence.material import answered, open_world
    from benchmarks.machine import machine

    transformers.utils.logging.disable_progress_bar()
    world = open_world(cache)
    world = answered(fresh_policy(world), world)
    for name in names:
        started = time.monotonic()
        found = {
            "date": date.today().isoformat(),
            "command": f"python benchmarks/theory.py --only {name}",
            "machine": machine(),
            "model": "SmolLM2-135M-Instruct",
            "training": {"precision": precision(), "rank": RANK, "alpha": ALPHA, "rate": RATE},
            "threads": torch.get_num_threads(),
            "prompts": {"train": len(world.train), "held_out": len(world.held_out)},
            **EXPERIMENTS[name].run(world),
        }
        found["wall_seconds"] = round(time.monotonic() - started)
        print(EXPERIMENTS[name].table(found), flush=True)
        if write:
            result_of(name).write_text(json.dumps(found, ensure_ascii=False) + "\n", "utf-8")


def draw(names: list[str]) -> None:
    """Write plots and tables of experiments from their results."""
    text = PAGE.read_text("utf-8")
    for name in names:
        found = read(name)
        EXPERIMENTS[name].plot(found, ROOT / "docs" / f"theory-{name}.svg")
        text = with_table(text, name, EXPERIMENTS[name].table(found))
    PAGE.write_text(text, "utf-8")


def with_table(page: str, name: str, table: str) -> str:
    """Return the page with this table between the marks of an experiment.

    Example:
        >>> with_table("a\\n<!-- x -->\\nold\\n<!-- /x -->\\nb", "x", "new")
        'a\\n<!-- x -->\\n\\nnew\\n\\n<!-- /x -->\\nb'
    """
    before, _, rest = page.partition(f"<!-- {name} -->")
    _, mark, after = rest.partition(f"<!-- /{name} -->")
    if not mark:
        raise ValueError(f"{PAGE.name} has no marks for {name}")
    return f"{before}<!-- {name} -->\n\n{table}\n\n{mark}{after}"


def read(name: str) -> dict[str, Any]:
    """Return the result of an experiment."""
    found: dict[str, Any] = json.loads(result_of(name).read_text("utf-8"))
    return found


def result_of(name: str) -> Path:
    return RESULTS / f"theory-{name}.json"


EXPERIMENTS: dict[str, Any] = {
    "frontier": frontier,
    "overfitting": overfitting,
    "unpaired": unpaired,
    "length": length,
    "displacement": displacement,
}


if __name__ == "__main__":
    main()
