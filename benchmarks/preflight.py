"""The forecast beside what then happens: memory and time of real runs, through the command line's
own path.

    python benchmarks/preflight.py [--write]      forecasts and runs; about ten minutes on two cores
    python benchmarks/preflight.py --fit          the constants of align/preflight.py for this code
    python benchmarks/preflight.py --fit-gpu FOLDER     those of a GPU, with a random 8B from there

A run of DPO comes first, so that there is a speed to go by, as a user's second run has. Then each
of DPO, KTO and ORPO on short and on long pairs: the preflight's memory and seconds, and what the
training process took: its peak (VmHWM) and its seconds from start to report.

`--fit` counts what autograd keeps of a token (on tiny models of different shapes: whole numbers of
bytes) and fits two constants to the peaks of real steps of the embedded model and of a random one
of another shape: what the program takes, and by how much more memory is used than is counted. On a
GPU the peak is what torch has reserved, and the program what the driver says is taken besides.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

METHODS = ("dpo", "kto", "orpo")
SIZES = {"short": (110, 60), "long": (400, 120)}  # words of prompts and of answers
ROWS = {"short": 36, "long": 20}  # pairs; about four fifths train
SETTINGS = ["batch_size=8", "epochs=1"]
CLOSE = 0.25  # the mark: forecast and measured, as a share of what was measured
RESULT = ROOT / "benchmarks" / "results" / "preflight.json"
POINTS = (  # of --fit: model, precision, tokens of prompt and of each response, rows, rank
    ("embedded", "bf16", 256, 64, 1, 16),
    ("embedded", "bf16", 256, 64, 2, 16),
    ("embedded", "bf16", 256, 64, 4, 16),
    ("embedded", "bf16", 640, 64, 2, 16),
    ("embedded", "bf16", 256, 64, 2, 128),
    ("embedded", "fp32", 256, 64, 2, 16),
    ("wide", "bf16", 256, 64, 2, 16),
    ("wide", "bf16", 256, 64, 4, 16),
)
GPU_POINTS = ((512, 128, 1), (512, 128, 2), (512, 128, 4), (512, 128, 8), (2048, 256, 1))
"""Tokens of prompt and of each response, rows."""
WIDE = {
    "vocab_size": 32_000, "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24,
    "num_attention_heads": 16, "num_key_value_heads": 8, "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
}  # fmt: skip


def main() -> None:
    arguments = parse()
    if arguments.point:
        print("RESULT " + json.dumps(peak_of_a_step(*json.loads(arguments.point))), flush=True)
    elif arguments.fit:
        fit()
    elif arguments.fit_gpu:
        fit_gpu(arguments.fit_gpu)
    else:
        compare(arguments.write)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/")
    parser.add_argument("--fit", action="store_true", help="print the constants for this code")
    parser.add_argument("--fit-gpu", default="", metavar="FOLDER", help="the same on this GPU")
    parser.add_argument("--point", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


# Forecasts and runs


def compare(write: bool) -> None:
    """Run everything, print a table, and write it if asked."""
    from benchmarks.machine import machine

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        first = run_one(Path(folder), "dpo", "short", seed=0)
        print(line({"work": "the run before", **first}), flush=True)
        found = []
        for size in SIZES:
            for method in METHODS:
                # pairs of its own for each method: no reference scores from the run before
                seed = 1 + METHODS.index(method)
                found.append({"work": f"{method}, {size}", **run_one(Path(folder), method, size,
                                                                     seed=seed)})  # fmt: skip
                print(line(found[-1]), flush=True)
    worst = {part: max(abs(one[part]["off"]) for one in found) for part in ("memory", "time")}
    result = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "mark": CLOSE,
        "worst": worst,
        "first": first,
        "runs": found,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    print(f"worst: memory {worst['memory']:.0%}, time {worst['time']:.0%}; the mark is {CLOSE:.0%}")
    if write:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        print(f"written: {RESULT.relative_to(ROOT)}")


def line(one: Mapping[str, Any]) -> str:
    memory, seconds = one["memory"], one["time"]
    return (
        f"{one['work']:15} memory {memory['forecast'] / 1e9:.2f} GB, then "
        f"{memory['measured'] / 1e9:.2f} ({memory['off']:+.0%})   time {seconds['forecast']:.0f} s "
        f"({one['speed']}), then {seconds['measured']:.0f} ({seconds['off']:+.0%})"
    )


def run_one(home: Path, method: str, size: str, *, seed: int) -> dict[str, Any]:
    """Collect pairs, forecast, train, and return both sides.

    Every run has its pairs in a data folder of its own, except that earlier runs are copied there,
    for their speed.
    """
    from align import runs
    from align.commands import COMMANDS
    from align.json_files import read_json
    from align.workspace import Workspace

    data = home / f"{method}-{size}-{seed}"
    data.mkdir()
    for earlier in home.glob("*/runs/*"):
        copy_record(earlier, data / "runs" / earlier.name)
    file = home / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in pairs(size, seed)), "utf-8")
    with Workspace.open(data) as workspace:
        COMMANDS["import"](workspace, progress=quiet, file=str(file))
        asked = {"method": method, "settings": SETTINGS}
        seen = COMMANDS["preflight"](workspace, progress=quiet, **asked)
        run = COMMANDS["train"](
            workspace, progress=quiet, wait=False, because="a measurement", **asked
        )["run"]
        peak = watched_peak(data / "runs" / run)
        status = runs.status(data, run)
    if status.status != "done":
        raise SystemExit(f"{method}, {size}: {status.status}: {status.message}")
    told = read_json(data / "runs" / run / "status.json")
    return {
        "rows": seen["rows"],
        "tokens": seen["tokens"],
        "longest_tokens": seen["longest_tokens"],
        "pass_tokens": seen["pass_tokens"],
        "speed": seen["speed"],
        "memory": beside(seen["memory_bytes"], peak),
        "time": beside(seen["seconds"], status.seconds),
        "phases": told["phases"],
        "counted": read_json(data / "runs" / run / "config.json")["work"],
    }


def beside(forecast: float, measured: float) -> dict[str, float]:
    return {
        "forecast": forecast,
        "measured": measured,
        "off": round(forecast / measured - 1, 3),
    }


def copy_record(run: Path, place: Path) -> None:
    """Copy what tells a run's speed."""
    if place.exists() or not (run / "status.json").exists():
        return
    place.mkdir(parents=True)
    for name in ("status.json", "config.json"):
        (place / name).write_bytes((run / name).read_bytes())


def watched_peak(folder: Path) -> int:
    """Return the most memory (bytes) that a run's process held, watched until it ends."""
    from align.children import is_running
    from align.json_files import read_json

    pid, most = read_json(folder / "process.json")["pid"], 0
    while is_running(folder):
        try:
            told = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            break
        lines = [one for one in told.splitlines() if one.startswith("VmHWM")]
        most = max([most, *(int(one.split()[1]) * 1024 for one in lines)])
        time.sleep(0.2)
    while is_running(folder):
        time.sleep(0.2)
    return most


def pairs(size: str, seed: int) -> list[dict[str, str]]:
    """Return pairs of random words; the chosen answer is the shorter one."""
    from benchmarks.train_step import WORDS

    rng, (prompt, answer) = random.Random(f"{size}{seed}"), SIZES[size]

    def said(least: float, most: float) -> str:
        return " ".join(rng.choices(WORDS.split(), k=rng.randint(int(least), int(most))))

    return [
        {
            "prompt": said(0.7 * prompt, prompt),
            "chosen": said(answer / 3, answer / 2),
            "rejected": said(answer / 2, answer),
        }
        for _ in range(ROWS[size])
    ]


def quiet(words: str) -> None:
    """Take a line of progress that nobody reads here."""


# The constants


def fit() -> None:
    """Print what to write into align/preflight.py."""
    for name, kept in counted().items():
        print(f'    "{name}": Kept({", ".join(f"{k}={v:g}" for k, v in kept.items())}),')
    with tempfile.TemporaryDirectory() as folder:
        wide = random_model(Path(folder) / "wide", WIDE, bf16=True)
        points = [measured_point(point, wide) for point in POINTS]
    program, times = least_squares(points)
    print(f"    program {program:.4g} bytes, activations times {times:.2f}")
    for point, (base, activations, peak) in zip(POINTS, points, strict=True):
        told = base + program + times * activations
        print(f"    {point}: {peak / 1e9:.2f} GB, fitted {told / 1e9:.2f} ({told / peak - 1:+.0%})")


def fit_gpu(path: str) -> None:
    """Print peaks of steps of a model on this GPU beside what is counted, and the constants."""
    from align.policy import load_policy
    from align.preflight import FIXED

    policy = load_policy(path, precision="nf4", rank=16, alpha=16, seed=0)
    points, program = [], 0.0
    for point in GPU_POINTS:
        own, activations = counted_of(path, "nf4", *point, 16, "cuda")
        peak, program = gpu_peak(policy, *point)
        points.append((own, activations, peak))
        print(f"    {point}: {peak / 1e9:.2f} GB beside {program / 1e9:.2f}", flush=True)
    rest, times = least_squares(points)
    print(f"    program {program:.4g} bytes, {rest:.4g} more, activations times {times:.2f}")
    for point, (own, activations, peak) in zip(GPU_POINTS, points, strict=True):
        told = own + FIXED["cuda"].program + FIXED["cuda"].activations * activations
        whole = peak + program
        off = told / whole - 1
        print(f"    {point}: {whole / 1e9:.2f} GB, forecast {told / 1e9:.2f} ({off:+.0%})")


def gpu_peak(policy: Any, prompt: int, response: int, rows: int) -> tuple[float, float]:
    """Return the peak of two steps, and what the GPU holds besides, in bytes."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    two_steps(policy, prompt, response, rows, 16)
    free, total = torch.cuda.mem_get_info()
    return torch.cuda.max_memory_reserved(), total - free - torch.cuda.memory_reserved()


def counted() -> dict[str, dict[str, float]]:
    """Return bytes kept per token and layer by each part of a shape, for each kind of attention."""
    from align import attention

    found, longest = {}, attention.LONGEST
    for name, precision, tune, most in (
        ("plain", "bf16", "lora", longest), ("fused", "bf16", "lora", 0),
        ("fp32", "fp32", "lora", longest), ("copies", "bf16", "full", longest),
        ("fp32 copies", "fp32", "full", longest),
    ):  # fmt: skip
        attention.LONGEST = most
        found[name] = coefficients(precision, tune)
    attention.LONGEST = longest
    return found


def coefficients(precision: str, tune: str) -> dict[str, float]:
    """Return the slope of what is kept along each part of the shape."""
    start = {"hidden": 64, "wide": 192, "heads": 4, "groups": 2, "width": 16, "rank": 8,
             "tokens": 64}  # fmt: skip

    def kept(**changes: int) -> float:
        return kept_per_token(precision, {**start, **changes}, tune)

    base, key = kept(), kept(groups=4)
    per_key = (key - base) / 32
    return {
        "hidden": (kept(hidden=128) - base) / 64,
        "wide": (kept(wide=384) - base) / 192,
        "query": (kept(width=32) - base - 32 * per_key) / 64,
        "key": per_key,
        "rank": (kept(rank=16) - base) / 8,
        "score": (kept(tokens=128) - base) / (4 * 64),
    }


def kept_per_token(precision: str, shape: Mapping[str, int], tune: str = "lora") -> float:
    """Return bytes that a layer keeps of a token: two layers less one, two rows less one."""
    from align.batches import Fork, pack
    from align.policy import load_policy

    quarter, sizes = shape["tokens"] // 4, []
    words = tuple(3 + place % 200 for place in range(2 * quarter))
    fork = Fork(words, (words[:quarter], words[quarter:]))
    for layers in (1, 2):
        config = {
            "vocab_size": 256, "hidden_size": shape["hidden"], "intermediate_size": shape["wide"],
            "num_hidden_layers": layers, "num_attention_heads": shape["heads"],
            "num_key_value_heads": shape["groups"], "head_dim": shape["width"],
            "max_position_embeddings": 4096, "tie_word_embeddings": True,
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = random_model(Path(folder), config)
            rank = shape["rank"]
            policy = load_policy(
                path, precision=precision, rank=rank, alpha=rank, seed=0, tune=tune
            )
            one, two = (saved_bytes(policy, pack([fork] * n, shared=True)) for n in (1, 2))
        sizes.append(two - one)
    return (sizes[1] - sizes[0]) / shape["tokens"]


def saved_bytes(policy: Any, block: Any) -> int:
    """Return bytes of the storages that autograd keeps in a forward pass, weights left out."""
    import torch

    own = {weight.untyped_storage().data_ptr() for weight in policy.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        held = policy(block)
    total = sum(kept.values())
    del held
    return total


def random_model(folder: Path, config: Mapping[str, Any], *, bf16: bool = False) -> str:
    """Write a random Llama and return its folder."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    (model.to(torch.bfloat16) if bf16 else model).save_pretrained(folder)
    return str(folder)


def measured_point(point: tuple[Any, ...], wide: str) -> tuple[float, float, float]:
    """Return bytes that the forecast counts besides program and activations, those of the
    activations, and the peak of a process that really trains two steps of it."""
    from align.models import EMBEDDED, find_model

    model, precision, prompt, response, rows, rank = point
    path = wide if model == "wide" else str(find_model(EMBEDDED).path)
    own, activations = counted_of(path, precision, prompt, response, rows, rank, "cpu")
    words = json.dumps([path, precision, prompt, response, rows, rank])
    done = subprocess.run([sys.executable, __file__, "--point", words], cwd=ROOT, check=False,
                          capture_output=True, text=True)  # fmt: skip
    found = [one for one in done.stdout.splitlines() if one.startswith("RESULT ")]
    if not found:
        raise SystemExit(f"{point} failed:\n{done.stderr[-3000:]}")
    return own, activations, float(found[0].removeprefix("RESULT "))


def counted_of(
    path: str, precision: str, prompt: int, response: int, rows: int, rank: int, kind: str
) -> tuple[float, float]:
    """Return the bytes that the forecast counts besides program and activations, and those of the
    activations, without what is measured."""
    import dataclasses

    from align import preflight
    from align.recipes import TrainSettings

    config = json.loads((Path(path) / "config.json").read_text("utf-8"))
    shape = preflight.Shape.of(config)
    assert shape is not None
    train = TrainSettings(batch_size=rows, lora_rank=rank, max_tokens=8192)
    passes = preflight.Passes(precision, rows * (prompt + 2 * response), False)
    pair = preflight.Rows([preflight.Unit(prompt, (response, response))])
    memory = preflight.memory_of(shape, pair, train, passes, kind)
    own = dataclasses.replace(memory, program=0, activations=0).total
    return own, memory.activations / preflight.FIXED[kind].activations


def least_squares(points: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Return program and factor such that own + program + factor · activations is near the peak."""
    left = [(activations, peak - own) for own, activations, peak in points]
    n = len(left)
    mean_x, mean_y = sum(x for x, _ in left) / n, sum(y for _, y in left) / n
    factor = sum((x - mean_x) * (y - mean_y) for x, y in left) / sum(
        (x - mean_x) ** 2 for x, _ in left
    )
    return mean_y - factor * mean_x, factor


def peak_of_a_step(
    path: str, precision: str, prompt: int, response: int, rows: int, rank: int
) -> int:
    """Train two steps of DPO in one pass each, as `align.train` does; return the peak in bytes."""
    from align.policy import load_policy

    policy = load_policy(path, precision=precision, rank=rank, alpha=rank, seed=0)
    two_steps(policy, prompt, response, rows, rank)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def two_steps(policy: Any, prompt: int, response: int, rows: int, rank: int) -> None:
    """Train two steps of pairs of random tokens."""
    from align import recipes, session  # noqa: F401  (what a run imports)
    from align.batches import Cutter
    from align.reference import ReferenceScores, score
    from align.rendering import PairRow
    from align.step import Job
    from align.trainer import PreferenceTrainer

    rng = random.Random(0)

    def words(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(1000, 30_000) for _ in range(count))

    material = [
        PairRow(str(n), str(n), words(prompt), (words(response), words(response)), 1.0, 1.0)
        for n in range(rows)
    ]
    values = {"batch_size": rows, "lora_rank": rank, "save_every": 10**6, "epochs": 1}
    settings = recipes.from_json("dpo", values)
    cutter = Cutter(budget=rows * (prompt + 2 * response), max_tokens=8192)
    references, steps = ReferenceScores(), [tuple(range(rows))] * 2
    job = Job(settings, settings.loss, material, steps, cutter, references)
    score(policy, job.batch(0).micros, references)
    with tempfile.TemporaryDirectory() as folder:
        PreferenceTrainer(policy, job, Path(folder), write=lambda row: None).train()


if __name__ == "__main__":
    main()
