"""About how long a run takes, before it starts: its work in operations over a measured rate. Pure
but for reading earlier runs; knows no torch.

The work is counted from tokens (`align/tokens.py`) and the model's shape: forward and backward
passes, attention, the head at scored positions, the method's reference and mismatched responses.
The rates are those of the newest finished run of the same base here; else of any run here; else a
first guess by cores and instructions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from align.losses import LOSSES
from align.preflight import Device, Shape
from align.recipes import Settings
from align.run_files import ANSWERING, LOADING, SCORING, TRAINING

PER_CORE = {
    "amx_bf16": 150e9,
    "avx512_bf16": 150e9,
    "bf16": 60e9,
    "avx512f": 45e9,
    "avx2": 25e9,
    "asimd": 15e9,
}
"""Operations a second and core in training. Source of avx512_bf16: benchmarks/results/
train_step-dpo-256-128-bf16.json (0.83e12 operations in 2.745 s on 2 cores); amx_bf16 was no faster
for SmolLM2's small matrices. Choice: the others, by the width of their vectors and numbers."""
GUESSED_CORE = 20e9  # of a CPU whose instructions are not known
GPU_RATE = 50e12  # Choice: an eighth of what an A100 does in bf16; not measured
MOST_CORES = 8  # as many threads as a run gets (`align/children.py`)
START_SECONDS = 15.0  # until the model is loaded: 2 cores
ANSWERED = 32  # held-out prompts that are answered before and after (`evaluate.REPORT_PROMPTS`)
ANSWER_TOKENS = 192
ANSWER_ROWS = 16
STEP_SECONDS = 0.0025  # of a layer in one step of an answer. Choice: 78 ms for SmolLM2's 30 layers
ENOUGH = 0.05  # of the work: phases shorter than that tell no rate
BACKWARD = 2.0  # attention's operations in its backward pass, of those in its forward pass


@dataclass(frozen=True, slots=True)
class Work:
    """What a run has to do."""

    scoring: float  # operations: the reference's log-probabilities
    training: float  # operations: all epochs, held-out pairs after each
    answers: int  # batches of held-out prompts, answered before and after
    tokens: int  # of one epoch's rows

    def as_json(self) -> dict[str, float]:
        return {
            "scoring": self.scoring,
            "training": self.training,
            "answers": self.answers,
            "tokens": self.tokens,
        }


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast this machine works."""

    scoring: float  # operations a second
    training: float
    answer_seconds: float  # per batch of prompts, before and after together
    start_seconds: float
    known: str = "guess"  # "run": by a run of this base; "machine": by another base's; "guess"


@dataclass(frozen=True, slots=True)
class Estimate:
    seconds: float
    tokens: int  # of one epoch
    known: str  # as in Pace

    @property
    def measured(self) -> bool:
        return self.known != "guess"

    def sentence(self) -> str:
        minutes = max(1, round(self.seconds / 60))
        return f"about {minutes} min ({KNOWN[self.known]})"


KNOWN = {
    "run": "as fast as the last run here",
    "machine": "as fast as the last run of another model here",
    "guess": "a first guess for this machine",
}

Lengths = Sequence[tuple[int, tuple[int, ...]]]  # prompt and responses of each row, in tokens


def forward(shape: Shape, tokens: float, row: float, scored: float, rank: int) -> float:
    """Return operations of a forward pass, head included.

    Args:
        tokens: of all rows; `row`: of one of them (every token's attention runs over its row).
        scored: positions whose log-probabilities are asked for.
    """
    maps = 2 * (shape.layers * shape.linear + shape.adapter(rank))
    attention = 4 * shape.layers * shape.queries * row
    return tokens * (maps + attention) + 2 * scored * shape.vocabulary * shape.hidden


def backward(shape: Shape, tokens: float, row: float, scored: float, rank: int) -> float:
    """Return operations of the backward pass through a frozen base, the head's gradient included.

    Frozen maps need only the gradient towards their inputs: as much as their forward pass. LoRA's
    need both.
    """
    maps = 2 * (shape.layers * shape.linear + 2 * shape.adapter(rank))
    attention = BACKWARD * 4 * shape.layers * shape.queries * row
    return tokens * (maps + attention) + 2 * scored * shape.vocabulary * shape.hidden


def work_of(
    shape: Shape,
    settings: Settings,
    rows: Lengths,
    held_out: Lengths = (),
    *,
    known: float = 0.0,
    checkpointing: bool = False,
    prompts: int = ANSWERED,
    times: float = 1.0,
) -> Work:
    """Return what a run has to do.

    Args:
        known: share of the rows' reference scores that earlier runs made; KTO's mismatched
            responses are taken to be new.
        prompts: held-out prompts; so many of them are answered as the report takes.
        times: as many rows as are given.
    """
    loss, train = LOSSES[settings.method], settings.train

    def ahead(lengths: Lengths) -> float:
        return sum(
            forward(shape, p + sum(r), p + sum(r), sum(r), train.lora_rank) for p, r in lengths
        )

    back = sum(backward(shape, p + sum(r), p + sum(r), sum(r), train.lora_rank) for p, r in rows)
    once, judging = ahead(rows), ahead(held_out)
    mismatched = once if loss.mismatched else 0.0
    trained = once * (2 if checkpointing else 1) + back + mismatched
    reference = once * (1 - known) + mismatched if loss.reference else 0.0
    return Work(
        scoring=(reference + judging * (1 - known)) * times,
        training=train.epochs * (trained + judging) * times,
        answers=math.ceil(min(prompts, ANSWERED) / ANSWER_ROWS),
        tokens=round(times * sum(p + sum(r) for p, r in rows)),
    )


def estimate(work: Work, pace: Pace) -> Estimate:
    """Return about how long a run takes from its start to its report."""
    seconds = (
        pace.start_seconds
        + work.scoring / pace.scoring
        + work.training / pace.training
        + work.answers * pace.answer_seconds
    )
    return Estimate(seconds, work.tokens, pace.known)


def first_pace(shape: Shape, device: Device, precision: str) -> Pace:
    """Return a first guess at how fast a device is."""
    if device.kind == "cuda":
        rate = GPU_RATE
    else:
        own = PER_CORE.get(device.instructions, GUESSED_CORE)
        plain = min(own, PER_CORE["avx512f"]) if precision == "fp32" else own
        rate = plain * min(device.cores, MOST_CORES)
    step = shape.layers * STEP_SECONDS
    answer = 2 * ANSWER_TOKENS * (step + 2 * shape.parameters / rate)
    return Pace(rate, rate, answer, START_SECONDS)


def measured_pace(data: Path, model_name: str, guess: Pace) -> Pace:
    """Return the pace of the newest finished run of a model here, else of any model, else `guess`.

    A run that was resumed is left out, for its times are those of its last part only.
    """
    paces = []
    for path in data.glob("runs/*/status.json"):
        status, config = _object(path), _object(path.with_name("config.json"))
        seconds, work = status.get("phases"), config.get("work")
        if status.get("status") != "done" or status.get("resumed") or not seconds or not work:
            continue
        same = config.get("model_name") == model_name
        found = _pace(work, seconds, guess, "run" if same else "machine")
        if not same:  # an answer's time goes with the model's depth, not with its operations
            found = replace(found, answer_seconds=guess.answer_seconds)
        paces.append(((same, str(config.get("created_at", ""))), found))
    return max(paces, key=lambda one: one[0])[1] if paces else guess


def _pace(work: dict[str, Any], seconds: dict[str, float], guess: Pace, known: str) -> Pace:
    """Return the pace of one run; what it had too little of goes by its training."""
    training = work["training"] / max(1e-3, seconds.get(TRAINING, 0.0))
    enough = work["scoring"] > ENOUGH * work["training"] and seconds.get(SCORING)
    ratio = guess.scoring / guess.training
    return Pace(
        scoring=work["scoring"] / seconds[SCORING] if enough else training * ratio,
        training=training,
        answer_seconds=(
            seconds.get(ANSWERING, 0.0) / work["answers"]
            if work["answers"]
            else guess.answer_seconds
        ),
        start_seconds=seconds.get(LOADING, guess.start_seconds),
        known=known,
    )


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
