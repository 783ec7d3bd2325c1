"""What a DPO step costs by kind of work, beside the least that this machine needs for it.

    python benchmarks/floor.py [--prompt 256] [--response 128] [--precision bf16] [--model FOLDER]
        [--write]

The step of `benchmarks/train_step.py` (the same rows, LoRA of rank 16), profiled: the time that
torch spends in each kind of operation. The floor is counted, not timed: the multiplications of a
step over the rate at which this machine multiplies matrices of the model's own shapes (the best of
several), so a step can come near it but not below.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

KINDS: Mapping[str, tuple[str, ...]] = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::addmm_", "mkldnn::_linear_pointwise"),
    "attention's products": ("aten::bmm", "aten::baddbmm"),
    "softmax": ("aten::_softmax", "aten::_softmax_backward_data"),
    "element by element": (
        "aten::mul", "aten::mul_", "aten::add", "aten::add_", "aten::sub_", "aten::div",
        "aten::silu", "aten::silu_backward", "aten::pow", "aten::rsqrt", "aten::mean", "aten::neg",
        "aten::exp_", "aten::sum", "aten::amax",
    ),
    "copies and casts": ("aten::copy_", "aten::cat", "aten::fill_", "aten::zero_"),
}  # fmt: skip
REPEATS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompt", type=int, default=256, help="tokens of each prompt")
    parser.add_argument("--response", type=int, default=128, help="tokens of a response, at most")
    parser.add_argument("--batch", type=int, default=4, help="pairs per step")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--model", default="", help="folder of the base; the embedded one without")
    parser.add_argument("--write", action="store_true", help="add to benchmarks/results/")
    arguments = parser.parse_args()
    result = measure(arguments)
    print(json.dumps(result, indent=1))
    if arguments.write:
        work = f"{arguments.prompt}-{arguments.response}-{arguments.precision}"
        name = f"floor-{work}{'-' + Path(arguments.model).name if arguments.model else ''}.json"
        (ROOT / "benchmarks" / "results" / name).write_text(json.dumps(result, indent=1) + "\n")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return seconds by kind of work, and the floor."""
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.machine import machine
    from benchmarks.train_step import base_of, first_adapter, hone_job

    arguments.method, arguments.steps, arguments.epochs, arguments.nll = "dpo", 1, 1, "response"
    arguments.micro = 0
    model = base_of(arguments)
    policy = first_adapter(model, arguments.precision)
    job = hone_job(arguments, model, policy)
    step = stepper(policy, job)
    step()
    step()
    plain = min(timed(step) for _ in range(3))
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    spent: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        kind = next((k for k, names in KINDS.items() if event.key in names), "everything else")
        spent[kind] += event.self_cpu_time_total / 1e6
    tokens, scored = counts(job)
    work = operations(policy, tokens, scored)
    rate = matrix_rate(policy)
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "work": {
            name: getattr(arguments, name) for name in ("prompt", "response", "batch", "precision")
        },
        "step_seconds": round(plain, 3),
        "spent_seconds": {kind: round(value, 3) for kind, value in spent.items()},
        "tokens": tokens,
        "scored_tokens": scored,
        "operations": work,
        "matrix_rate_per_second": rate,
        "floor_seconds": round(work / rate, 3),
    }


def stepper(policy: Any, job: Any) -> Callable[[], None]:
    """Return a function that does one optimiser step."""
    import torch

    from align.step import evaluate, passes
    from align.tally import Tally

    optimiser = torch.optim.AdamW(policy.trainable(), lr=1e-4, fused=True)

    def step() -> None:
        batch = job.batch(0)
        z, scored = passes(policy, batch, job)
        for micro, values in scored:
            (evaluate(values, micro, job, z, Tally()).sum() / batch.size).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def counts(job: Any) -> tuple[int, int]:
    """Return the tokens of a step's passes without padding, and those that are scored."""
    blocks = [micro.block for micro in job.batch(0).micros]
    tokens = sum(int(b.prompt_lengths.sum() + b.response_lengths.sum()) for b in blocks)
    return tokens, sum(len(b.target) for b in blocks)


def operations(policy: Any, tokens: int, scored: int) -> int:
    """Return the multiplications and additions of a step's matrix products, attention's left out.

    Per token of the backbone two per weight forward and two backward (towards the inputs); the
    adapter's weights need two more for their own gradient. Per scored token the head twice.
    """
    base = policy.model.get_base_model()
    head = base.get_output_embeddings().weight.numel()
    frozen = sum(p.numel() for p in base.parameters() if not p.requires_grad and p.dim() == 2)
    adapter = sum(p.numel() for p in policy.trainable())
    return tokens * (4 * (frozen - head) + 6 * adapter) + scored * 4 * head


def matrix_rate(policy: Any) -> float:
    """Return the operations per second of the best of the backbone's own matrix products."""
    import torch

    base = policy.model.get_base_model()
    dtype = base.get_output_embeddings().weight.dtype
    shapes = {
        tuple(p.shape) for p in base.parameters() if p.dim() == 2 and p.requires_grad is False
    }
    rates = []
    for outputs, inputs in sorted(shapes)[:-1]:  # the largest is the vocabulary's
        x = torch.randn(1536, inputs, dtype=dtype)
        weight = torch.randn(outputs, inputs, dtype=dtype)
        least = min(timed(lambda x=x, w=weight: x @ w.T) for _ in range(REPEATS))  # type: ignore
        rates.append(2 * 1536 * inputs * outputs / least)
    return float(round(max(rates)))


if __name__ == "__main__":
    main()
