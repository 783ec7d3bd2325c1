"""How soon do both answers of the compare screen begin, and are they what each would say alone?

    python benchmarks/compare.py [--data DIR] [--prompts 10] [--tokens 64] [--write]

The embedded model and an adapter on it, through the worker as the screen asks it: a run's of a data
folder, or without one a random adapter of rank 16. With the worker warm, every prompt is answered
greedily by both at once and by each alone. Told are the seconds from the request to the first token
of both (the screen's promise is one second), tokens per second of both together and of each alone,
and of how many prompts the texts are the same: in bf16 rounding differs with the batch's size, so
that now and then a token does; in fp32 they are the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from align.answering import starter_prompts  # noqa: E402
from align.client import WorkerClient  # noqa: E402
from align.models import EMBEDDED, find_model  # noqa: E402
from align.sides import choose  # noqa: E402
from align.wire import GenerateRequest, Piece  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from storage.records import Message  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "compare.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="its newest finished run stands after")
    parser.add_argument("--run", help="another run of it")
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hone-compare-"))
    try:
        adapter = chosen(asked.data, asked.run) if asked.data else random_adapter(folder / "r-0")
        cases = {
            precision: measured(folder, precision, adapter, asked.prompts, asked.tokens)
            for precision in ("auto", "fp32")
        }
    finally:
        shutil.rmtree(folder)
    result = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "adapter": "a run's" if asked.data else "random, rank 16",
        "prompts": asked.prompts,
        "most_tokens": asked.tokens,
        **cases,
    }
    print(json.dumps(result, indent=1))
    if asked.write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def chosen(data: Path, run: str | None) -> Path:
    """Return the adapter of a run of this folder, or of its newest finished one."""
    from align.comparing import finished_runs

    adapter = choose(data, "base", run or finished_runs(data)[0][1]).after.adapter
    assert adapter is not None
    return adapter


def random_adapter(folder: Path) -> Path:
    """Return an adapter with random weights on the embedded model: as slow as a trained one."""
    from peft import LoraConfig, get_peft_model
    from torch import manual_seed
    from transformers import AutoModelForCausalLM

    from align.manifest import write_manifest

    path = find_model(EMBEDDED).path
    manual_seed(0)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(path), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.01)
    model.save_pretrained(folder)
    write_manifest(folder, base=str(path))
    return folder


def measured(
    folder: Path, precision: str, adapter: Path, prompts: int, tokens: int
) -> dict[str, Any]:
    """Return what was seen with weights of this precision."""
    client = WorkerClient(folder / precision, precision=precision)
    (folder / precision).mkdir()
    try:
        ask(client, starter_prompts()[0], [None, adapter], 4)  # the worker is warm from here on
        told = [compared(client, one, adapter, tokens) for one in starter_prompts()[:prompts]]
    finally:
        client.leave()
    first = [one["first"] for one in told]
    return {
        "seconds_to_the_first_token_of_both": {
            "median": round(float(np.median(first)), 3), "most": round(max(first), 3)
        },
        "tokens_per_second_together": rate(told, "together"),
        "tokens_per_second_before_alone": rate(told, "before"),
        "tokens_per_second_after_alone": rate(told, "after"),
        "prompts_with_the_same_texts": sum(one["same"] for one in told),
    }  # fmt: skip


def compared(
    client: WorkerClient, messages: Sequence[Message], adapter: Path, tokens: int
) -> dict[str, Any]:
    """Return how one prompt was answered by both at once, and by each alone."""
    first, texts, together = ask(client, messages, [None, adapter], tokens)
    _, before, one = ask(client, messages, [None], tokens)
    _, after, other = ask(client, messages, [adapter], tokens)
    same = texts == [*before, *after]
    return {"first": first, "same": same, "together": together, "before": one, "after": other}


def ask(
    client: WorkerClient, messages: Sequence[Message], adapters: Sequence[Path | None], tokens: int
) -> tuple[float, list[str], tuple[int, float]]:
    """Return the seconds to the first token of all rows, their texts, and (tokens, seconds)."""
    requests = [GenerateRequest(messages, 0, tokens, 0.0, adapter=one) for one in adapters]
    started, first, last = time.perf_counter(), 0.0, dict[int, Piece]()
    for piece in client.stream_each(requests):
        last[piece.row] = piece
        if not first and len(last) == len(requests):
            first = time.perf_counter() - started
    seconds = time.perf_counter() - started
    texts = [last[row].text for row in sorted(last)]
    return first, texts, (sum(piece.tokens for piece in last.values()), seconds)


def rate(told: Sequence[dict[str, Any]], which: str) -> float:
    """Return tokens per second over all prompts."""
    tokens, seconds = (sum(one[which][n] for one in told) for n in (0, 1))
    return round(tokens / seconds, 1)


if __name__ == "__main__":
    main()
