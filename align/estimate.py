"""About how long a run takes, before it starts: its work in operations over a measured rate. Pure
but for reading earlier runs; knows no torch.

The work is counted from tokens (`align/tokens.py`) and the model's shape: forward and backward
passes, attention, the head at scored positions, the method's reference and mismatched responses.
The rates are the medians of the newest finished runs of the same base on this device; else of any
base there; else a first guess by cores and instructions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

from align.keeping import judged_steps
from align.losses import LOSSES
from align.preflight import Device, Shape, Unit
from align.rates import FULL
from align.recipes import Settings, TrainSettings
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
RECENT = 5  # runs. Choice: the median of five withstands two that ran beside other work
BACKWARD = 2.0  # attention's operations in its backward pass, of those in its forward pass


@dataclass(frozen=True, slots=True)
class Work:
    """What a run has to do."""

    scoring: float  # operations: the reference's log-probabilities
    training: float  # operations: all epochs, and held-out pairs as often as they judge the run
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
    known: str = "guess"  # "run": by runs of this base; "machine": by another base's; "guess"


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
    "run": "as fast as earlier runs here",
    "machine": "as fast as earlier runs of another model here",
    "guess": "a first guess for this machine",
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Operations of passes over rows of a model that is tuned in some way."""

    shape: Shape
    rank: int  # of LoRA; 0: every weight is trained

    @staticmethod
    def of(shape: Shape, train: TrainSettings) -> Costs:
        return Costs(shape, 0 if train.tune == FULL else train.lora_rank)

    def forward(self, tokens: int, scored: int, row: int = 0) -> float:
        """Return operations of a forward pass, head included.

        Args:
            tokens: of a row that are computed; `row`: that each of them sees, if not those.
            scored: positions whose log-probabilities are asked for.
        """
        maps = 2 * (self.shape.layers * self.shape.linear + self.shape.adapter(self.rank))
        attention = 4 * self.shape.layers * self.shape.queries * (row or tokens)
        return tokens * (maps + attention) + self._head(scored)

    def backward(self, tokens: int, scored: int) -> float:
        """Return operations of the backward pass, the head's gradient included.

        Frozen maps need only the gradient towards their inputs: as much as their forward pass.
        LoRA's need both, and so do all where every weight is trained; then a head's logits are
        computed once more (`align/logprobs.py`).
        """
        frozen = 1 if self.rank else 2
        maps = 2 * (frozen * self.shape.layers * self.shape.linear)
        maps += 4 * self.shape.adapter(self.rank)
        attention = BACKWARD * 4 * self.shape.layers * self.shape.queries * tokens
        return tokens * (maps + attention) + (1 if self.rank else 3) * self._head(scored)

    def _head(self, scored: int) -> float:
        return 2 * scored * self.shape.vocabulary * self.shape.hidden


def work_of(
    shape: Shape,
    settings: Settings,
    units: Sequence[Unit],
    held_out: Sequence[Unit] = (),
    *,
    known: float = 0.0,
    budget: int = 0,
    checkpointing: bool = False,
    prompts: int = ANSWERED,
    times: float = 1.0,
) -> Work:
    """Return what a run has to do.

    Args:
        known: share of the rows' reference scores that earlier runs made; KTO's mismatched
            responses are taken to be new, as long as it is not all of them.
        budget: padded tokens of a pass: where a whole step fits one, KTO's mismatched responses
            ride on its prompts. 0: none does.
        prompts: held-out prompts; so many of them are answered as the report takes.
        times: as many rows as are given.
    """
    loss, train = LOSSES[settings.method], settings.train
    costs = Costs.of(shape, train)

    def ahead(some: Sequence[Unit]) -> float:
        return sum(costs.forward(unit.tokens, sum(unit.responses)) for unit in some)

    once, judging = ahead(units), ahead(held_out)
    back = sum(costs.backward(unit.tokens, sum(unit.responses)) for unit in units)
    mismatched = 0.0
    if loss.mismatched:
        mismatched = sum(_mismatched(costs, step, budget) for step in _steps(units, train))
    trained = once * (2 if checkpointing else 1) + back + mismatched
    reference = once * (1 - known) + mismatched * (known < 1) if loss.reference else 0.0
    return Work(
        scoring=(reference + judging * (1 - known)) * times,
        training=(train.epochs * trained + _judgements(units, train, times) * judging) * times,
        answers=math.ceil(min(prompts, ANSWERED) / ANSWER_ROWS),
        tokens=round(times * sum(unit.tokens for unit in units)),
    )


def _judgements(units: Sequence[Unit], train: TrainSettings, times: float) -> int:
    """Return how often the held-out pairs are scored; before the first step nothing is to do."""
    rows = times * sum(unit.rows for unit in units)
    per_epoch = max(1, math.ceil(rows / train.batch_size))
    return len(judged_steps(train.epochs * per_epoch, per_epoch, train.eval_every)) - 1


def _steps(units: Sequence[Unit], train: TrainSettings) -> Iterator[list[Unit]]:
    """Yield the units of one step after another, in the order given."""
    step: list[Unit] = []
    rows = 0
    for unit in units:
        if step and rows + unit.rows > train.batch_size:
            yield step
            step, rows = [], 0
        step.append(unit)
        rows += unit.rows
    if step:
        yield step


def _mismatched(costs: Costs, step: Sequence[Unit], budget: int) -> float:
    """Return operations of the forward pass over a step's mismatched responses, one for each row.

    They are taken to be as long as the rows' own.
    """
    if len(step) * max(unit.tokens for unit in step) <= budget:
        return sum(
            costs.forward(sum(unit.responses), sum(unit.responses), unit.tokens) for unit in step
        )
    each = ((unit, round(sum(unit.responses) / len(unit.responses))) for unit in step)
    return sum(unit.rows * costs.forward(unit.prompt + one, one) for unit, one in each)


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


def measured_pace(
    data: Path,
    model_name: str,
    guess: Pace,
    *,
    device: str = "",
    precision: str = "",
    processes: int = 1,
) -> Pace:
    """Return the pace of the newest finished runs of a model here, else of any model, else `guess`.

    Runs on another device, in another precision or by another number of processes are left out;
    and so is one that was resumed, for its times are those of its last part only.
    """
    here = {"device": device, "precision": precision, "processes": processes}
    paces: dict[str, list[tuple[str, Pace]]] = {"run": [], "machine": []}
    for path in data.glob("runs/*/status.json"):
        status, config = _object(path), _object(path.with_name("config.json"))
        seconds, work = status.get("phases"), config.get("work")
        whole = status.get("status") == "done" and not status.get("resumed")
        if not whole or not seconds or not work or {**here, **_place(config)} != here:
            continue
        known = "run" if config.get("model_name") == model_name else "machine"
        trained = work["training"] * _share_trained(status)
        found = _pace({**work, "training": trained}, seconds, guess, known)
        paces[known].append((str(config.get("created_at", "")), found))
    for told in paces.values():
        if told:
            newest = sorted(told, key=itemgetter(0))[-RECENT:]
            return _middle([pace for _, pace in newest], guess)
    return guess


def _place(config: dict[str, Any]) -> dict[str, Any]:
    """Return where and how a run computed, as far as it says."""
    says = {"processes": 1, **config, **(config.get("passes") or {})}
    return {key: says[key] for key in ("device", "precision", "processes") if key in says}


def _middle(paces: Sequence[Pace], guess: Pace) -> Pace:
    """Return the median of each rate."""
    return Pace(
        scoring=median(pace.scoring for pace in paces),
        training=median(pace.training for pace in paces),
        answer_seconds=(
            median(pace.answer_seconds for pace in paces)
            if paces[0].known == "run"
            else guess.answer_seconds  # goes with the model's depth, not with its operations
        ),
        start_seconds=median(pace.start_seconds for pace in paces),
        known=paces[0].known,
    )


def _share_trained(status: dict[str, Any]) -> float:
    """Return how much of its steps a run has done: not all where it stopped early."""
    done, planned = status.get("step"), status.get("steps")
    return done / planned if done and planned else 1.0


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
