"""Training beside TRL 1.16.0: time per pair, time of a whole run, and peak memory, as ratios.

    python benchmarks/train_step.py [--method dpo] [--prompt 256] [--response 128] [--write]
    python benchmarks/train_step.py --precision nf4 --prompt 512 --model 8B --curves SHALLOW --write

Three sides take turns, each in a process of its own, on the same rows (the same tokens in the same
order), the same base in the same precision and the same first LoRA weights:

  hone      PreferenceTrainer as `align.train` uses it, the reference scored once before
  best      TRL with its best flags: no gradient checkpointing, precomputed reference
  defaults  TRL as it comes: gradient checkpointing, the reference in every step

A step is one optimiser step of `--batch` rows. Its time is the median over all steps but the first
two; the whole run is `--epochs` epochs with everything that comes before the first step, reference
included, but without loading the model. Memory is the peak of the process, and the same less what
it held before the model was loaded. Before anything is timed, three steps in fp32 have to have the
same losses within 1e-3 on both sides; in the timed precision their difference stands in the result
beside the difference that TRL makes with itself when it cuts the same batch in two. `--curves`
compares them on another model, where the timed one is too large for fp32; the losses of the timed
runs then stand beside each other too. Models of random weights: `benchmarks/random_llama.py`.
`--losses-only` compares and times nothing, `--timed-only` times and compares nothing before: for a
machine that is at hand for minutes, after the losses were compared on another one.

KTO's mismatched responses are TRL's (the response before, in the batch). ORPO imitates prompt and
response on all sides, as TRL does (Hone's default is the response alone: `--nll response`). TRL
takes the mean over a pass's tokens, Hone over its rows: losses are compared on passes of one row.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

RANK, ALPHA, RATE = 16, 32, 1e-4
TRL_FLAGS: dict[str, dict[str, Any]] = {
    "best": {"gradient_checkpointing": False, "precompute_ref_log_probs": True},
    "defaults": {},
}
SIDES = ("hone", *TRL_FLAGS)
WORDS = """the of and to in is that it was for on are as with his they at be this from have or by
one had not but what all were when we there can an your which their said if do will each about how
up out them then she many some so these would other into has more her two like him see time"""


def main() -> None:
    arguments = parse()
    if arguments.side == "start":
        print("RESULT " + json.dumps(make_start(arguments, Path(arguments.start))), flush=True)
    elif arguments.side:
        print("RESULT " + json.dumps(run_side(arguments)), flush=True)
    else:
        with tempfile.TemporaryDirectory() as folder:
            arguments.start = str(Path(folder) / "start.safetensors")
            child(arguments, side="start")
            compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Check that both learn the same, time them in turn, and print the result."""
    comparable = arguments.nll == "both" or arguments.method != "orpo"
    curves = agree(arguments) if comparable and not arguments.timed_only else None
    if arguments.losses_only:
        result = {**facts(arguments), "loss_differences": curves}
        print(json.dumps(result, indent=1))
        if arguments.write:
            write(result, "losses")
        return
    sides = ("hone", *arguments.against)
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for turn in range(arguments.turns):
        for side in sides if turn % 2 == 0 else sides[::-1]:
            found[side].append(child(arguments, side=side))
            print(side, {k: v for k, v in found[side][-1].items() if k != "losses"}, flush=True)
    result = summary(arguments, found, curves)
    print(json.dumps(result, indent=1))
    if arguments.write:
        write(result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--method", choices=("dpo", "kto", "orpo"), default="dpo")
    parser.add_argument("--prompt", type=int, default=256, help="tokens of each prompt")
    parser.add_argument("--response", type=int, default=128, help="tokens of a response, at most")
    parser.add_argument("--batch", type=int, default=4, help="rows per step")
    parser.add_argument("--steps", type=int, default=4, help="steps per epoch")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=1, help="how often each side runs")
    parser.add_argument("--precision", choices=("bf16", "fp32", "nf4"), default="bf16")
    parser.add_argument("--model", default="", help="folder of the base; the embedded one without")
    parser.add_argument("--against", choices=TRL_FLAGS, nargs="+", default=[*TRL_FLAGS])
    parser.add_argument("--curves", default="", help="folder of the model to compare losses on")
    parser.add_argument("--nll", choices=("both", "response"), default="both", help="ORPO's scope")
    parser.add_argument("--losses-only", action="store_true", help="compare losses, time nothing")
    parser.add_argument("--timed-only", action="store_true", help="compare no losses before")
    parser.add_argument("--write", action="store_true", help="add to benchmarks/results/")
    parser.add_argument("--side", choices=(*SIDES, "start"), help=argparse.SUPPRESS)
    parser.add_argument("--start", default="", help=argparse.SUPPRESS)
    parser.add_argument("--micro", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def child(arguments: argparse.Namespace, **changes: Any) -> dict[str, Any]:
    """Run one side in a process of its own and return what it found."""
    values = {**vars(arguments), **changes}
    words = [sys.executable, __file__]
    for name in ("method", "prompt", "response", "batch", "steps", "epochs", "precision", "side",
                 "micro", "model", "start", "nll"):  # fmt: skip
        words += [f"--{name}", str(values[name])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"{values['side']} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return dict(json.loads(lines[0].removeprefix("RESULT ")))


def agree(arguments: argparse.Namespace) -> dict[str, float]:
    """Return how far the losses of both are apart; raise where they are not the same in fp32."""
    short: dict[str, Any] = {"steps": 3, "epochs": 1}
    if arguments.curves:
        place = str(Path(arguments.start).with_name("curves.safetensors"))
        short |= {"model": arguments.curves, "start": place}
        child(arguments, side="start", **short)
    if arguments.method == "orpo":
        short["micro"] = 1
    exact = {**short, "precision": "fp32"}
    apart = gap(
        child(arguments, side="hone", **exact)["losses"],
        child(arguments, side="best", **exact)["losses"],
    )
    print(f"fp32: losses differ by {apart:.2g} at most", flush=True)
    if not apart <= 1e-3:
        raise SystemExit(f"the losses differ by {apart:.3g} in fp32: nothing was timed")
    curves = {"fp32": apart}
    if arguments.precision != "fp32":
        theirs = child(arguments, side="best", **short)["losses"]
        ours = child(arguments, side="hone", **short)["losses"]
        curves[arguments.precision] = gap(ours, theirs)
        if arguments.method != "orpo":  # another mean there, not rounding alone
            halves = child(arguments, side="best", micro=arguments.batch // 2, **short)["losses"]
            curves["trl_with_itself"] = gap(theirs, halves)
    return curves


def gap(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def texts(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return rows of words that the tokenizer takes as one token each."""
    rng = random.Random(0)
    rows, words = [], WORDS.split()
    for number in range(arguments.batch * arguments.steps):
        prompt = " ".join(rng.choices(words, k=arguments.prompt))
        answers = [
            " " + " ".join(rng.choices(words, k=rng.randint(arguments.response // 4, most)))
            for most in (arguments.response - 1,) * 2
        ]
        if arguments.method == "kto":
            rows.append({"prompt": prompt, "completion": answers[0], "label": number % 2 == 0})
        else:
            rows.append({"prompt": prompt, "chosen": answers[0], "rejected": answers[1]})
    return rows


def run_side(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train on one side; return losses, seconds and memory."""
    import torch

    model = base_of(arguments)
    import_all(arguments.side, arguments.method)
    gc.collect()
    before = peak()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        side = hone if arguments.side == "hone" else trl
        found = side(arguments, model, Path(folder))
    steps = found.pop("step_seconds")
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated() / 1e6
        before = 0.0
        found["reserved_mb"] = round(torch.cuda.max_memory_reserved() / 1e6)
    else:
        memory = peak()
    return {
        **found,
        "step_seconds": round(median(steps[2:] or steps), 3),
        "steps": len(steps),
        "peak_mb": round(memory),
        "peak_above_imports_mb": round(memory - before),
    }


def base_of(arguments: argparse.Namespace) -> str:
    from align.models import EMBEDDED, find_model

    return arguments.model or str(find_model(EMBEDDED).path)


def import_all(side: str, method: str) -> None:
    """Import what a side needs, so that it is not counted as memory of the training."""
    import peft  # noqa: F401

    if side == "hone":
        import align.session  # noqa: F401
    else:
        trainer_of(method)


def peak() -> float:
    """Return the most memory that this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def first_adapter(model: str, precision: str) -> Any:
    """Return the policy with the adapter that both sides start from."""
    from align.policy import load_policy

    return load_policy(model, precision=precision, rank=RANK, alpha=ALPHA, seed=0)


def hone_job(arguments: argparse.Namespace, model: str, policy: Any) -> Any:
    """Return the job of the rows, its reference scored."""
    from transformers import AutoTokenizer

    from align import recipes
    from align.losses import LOSSES
    from align.opening import Tokenised, choose_cutter, loss_settings
    from align.reference import ReferenceScores, score
    from align.rendering import LabelRow, PairRow, Row
    from align.step import Job

    tokenizer = AutoTokenizer.from_pretrained(model)
    end = tokenizer.eos_token_id
    first: tuple[int, ...] = ()
    if arguments.method == "orpo" and tokenizer.bos_token_id is not None:
        first = (tokenizer.bos_token_id,)  # TRL puts it before ORPO's prompts, and before no others
    rows: list[Row] = []
    for number, row in enumerate(texts(arguments)):
        prompt = tuple(tokenizer.encode(row["prompt"], add_special_tokens=False))

        def answer(text: str, prompt: tuple[int, ...] = prompt, lead: str = row["prompt"]) -> Any:
            return (*tokenizer.encode(lead + text, add_special_tokens=False)[len(prompt) :], end)

        key = str(number)
        if arguments.method == "kto":
            rows.append(LabelRow(key, key, prompt, (answer(row["completion"]),), row["label"], 1.0))
        else:
            both = (answer(row["chosen"]), answer(row["rejected"]))
            rows.append(PairRow(key, key, first + prompt, both, 1.0, 1.0))
    values: dict[str, Any] = {
        "epochs": arguments.epochs, "batch_size": arguments.batch, "learning_rate": RATE,
        "lora_rank": RANK, "lora_alpha": ALPHA, "warmup": 0.0, "save_every": 10**6,
    }  # fmt: skip
    if arguments.method == "kto":
        values |= {"desirable_weight": 1.0, "undesirable_weight": 1.0}
    if arguments.method == "orpo":
        values["prompt_weight"] = float(arguments.nll == "both")
    settings = recipes.from_json(arguments.method, values)
    material = Tokenised(rows, [], [], {})
    cutter = choose_cutter(policy, arguments.precision, settings, material, 0)
    # TRL's mismatched response is the one before: the same rows backwards make it the one after
    batches = [
        tuple(range(start, start + arguments.batch))[::-1]
        for start in range(0, len(rows), arguments.batch)
    ]
    steps = batches * arguments.epochs
    references = ReferenceScores()
    job = Job(settings, loss_settings(settings, rows), rows, steps, cutter, references)
    if LOSSES[arguments.method].reference:
        for step in range(len(batches)):
            batch = job.batch(step)
            score(policy, [*batch.micros, *batch.mismatched], references)
    return job


def hone(arguments: argparse.Namespace, model: str, folder: Path) -> dict[str, Any]:
    from align.trainer import PreferenceTrainer

    policy = first_adapter(model, arguments.precision)
    start_alike(policy.model, arguments.start)
    started = time.perf_counter()
    job = hone_job(arguments, model, policy)
    scored = time.perf_counter()
    lines: list[dict[str, Any]] = []
    times: list[float] = []

    def note(row: dict[str, Any]) -> None:
        lines.append(row)
        times.append(time.perf_counter())

    trainer = PreferenceTrainer(policy, job, folder, write=note)
    began = time.perf_counter()
    trainer.train()
    ended = time.perf_counter()
    return {
        "losses": [row["loss"] for row in lines],
        "step_seconds": [b - a for a, b in zip([began, *times], times, strict=False)],
        "reference_seconds": round(scored - started, 2),
        "run_seconds": round(ended - started, 2),
    }


def trainer_of(method: str) -> tuple[Any, Any]:
    """Return TRL's configuration and trainer of a method."""
    if method == "dpo":
        from trl import DPOConfig, DPOTrainer

        return DPOConfig, DPOTrainer
    if method == "kto":
        from trl import KTOConfig, KTOTrainer

        return KTOConfig, KTOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    return ORPOConfig, ORPOTrainer


def trl(arguments: argparse.Namespace, model: str, folder: Path) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        BitsAndBytesConfig,
        TrainerCallback,
    )

    make_config, make_trainer = trainer_of(arguments.method)
    if arguments.precision == "nf4":
        quantised = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    else:
        quantised = None
    base = AutoModelForCausalLM.from_pretrained(
        model,
        dtype=torch.float32 if arguments.precision == "fp32" else torch.bfloat16,
        quantization_config=quantised,
        device_map={"": 0 if torch.cuda.is_available() else "cpu"},
    )
    tokenizer = AutoTokenizer.from_pretrained(model)
    flags = dict(TRL_FLAGS[arguments.side])
    if arguments.method == "orpo":
        flags.pop("precompute_ref_log_probs", None)
    micro = arguments.micro or arguments.batch
    kind = {"max_completion_length": None} if arguments.method == "orpo" else {}
    config = make_config(
        output_dir=str(folder),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=arguments.batch // micro,
        num_train_epochs=arguments.epochs,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        warmup_steps=0,
        beta=0.1,
        max_length=2048,
        train_sampling_strategy="sequential",
        bf16=arguments.precision != "fp32",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        **kind,
        **flags,
    )
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter())

    started = time.perf_counter()
    trainer = make_trainer(
        model=base,
        args=config,
        train_dataset=Dataset.from_list(texts(arguments)),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[Clock()],
    )  # fmt: skip
    prepared = time.perf_counter()
    start_alike(trainer.model, arguments.start)
    began = time.perf_counter()
    trainer.train()
    ended = time.perf_counter()
    return {
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "step_seconds": [b - a for a, b in zip(times, times[1:], strict=False)],
        "reference_seconds": round(prepared - started, 2),
        "run_seconds": round(prepared - started + ended - began, 2),
    }


def make_start(arguments: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Write the first weights of the adapter, which both sides take."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    policy = first_adapter(base_of(arguments), "bf16")
    tensors = get_peft_model_state_dict(policy.model)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, place)
    return {"tensors": len(tensors)}


def start_alike(model: Any, place: str) -> None:
    """Give an adapter the first weights."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(place))


def summary(
    arguments: argparse.Namespace,
    found: dict[str, list[dict[str, Any]]],
    curves: dict[str, float] | None,
) -> dict[str, Any]:
    """Return medians over the turns, and TRL's as multiples of Hone's."""
    names = ("step_seconds", "run_seconds", "reference_seconds", "peak_mb", "peak_above_imports_mb")
    sides = {
        side: {name: median(one[name] for one in turns) for name in names}
        for side, turns in found.items()
    }
    ours = sides["hone"]
    apart = gap(found["hone"][0]["losses"], found[arguments.against[0]][0]["losses"])
    ratios = {
        side: {
            "time_per_row": round(sides[side]["step_seconds"] / ours["step_seconds"], 2),
            "whole_run": round(sides[side]["run_seconds"] / ours["run_seconds"], 2),
            "hone_memory": round(ours["peak_mb"] / sides[side]["peak_mb"], 2),
            "hone_memory_above_imports": round(
                ours["peak_above_imports_mb"] / sides[side]["peak_above_imports_mb"], 2
            ),
        }
        for side in arguments.against
    }
    return {**facts(arguments), "loss_differences": curves, "timed_losses_differ": apart,
            "sides": sides, "ratios": ratios}  # fmt: skip


def facts(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was asked for, when and where."""
    from benchmarks.machine import machine

    asked = ("method", "prompt", "response", "batch", "steps", "epochs", "turns", "precision")
    work = {name: getattr(arguments, name) for name in asked}
    if arguments.method == "orpo":
        work["nll"] = arguments.nll
    if arguments.model:
        work["model"] = Path(arguments.model).name
    return {"date": date.today().isoformat(), "work": work, "machine": machine()}


def write(result: dict[str, Any], kind: str = "train_step") -> None:
    """Write the figures of this work into benchmarks/results/, in place of earlier ones."""
    work = result["work"]
    name = f"{kind}-{work['method']}-{work['prompt']}-{work['response']}-{work['precision']}"
    if work.get("nll") == "response":
        name += "-response"
    if "model" in work:
        name += f"-{work['model']}"
    place = ROOT / "benchmarks" / "results" / f"{name}.json"
    place.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {place.name}")


if __name__ == "__main__":
    main()
