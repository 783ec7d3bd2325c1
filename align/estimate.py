"""About how long a run takes, before it starts: its work in operations over a measured rate. Pure
but for reading earlier runs; knows no torch.

The work is counted from tokens (`align/tokens.py`) and the model's shape: forward and backward
passes, attention, the head at scored positions, the method's reference and mismatched responses,
and the answers to held-out prompts, while it trains and after.
The rates are the medians of the newest finished runs of the same base on this device; else of any
base there; else a first guess by cores and instructions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

from align.answer_costs import (
    ANSWER_ROWS,
    ANSWER_TOKENS,
    PROBE_PROMPTS,
    PROBE_TOKENS,
    REPORT_PROMPTS,
    affordable,
    probe_work,
    report_work,
)
from align.keeping import judged_steps, thinned
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
# Rows that a step of answers costs besides its own: all weights are read for it, however few there
# are. Source: SmolLM2 on 2 cores with AVX2, fp32: 0.13 s and 8 ms a row.
STEP_ROWS = 16
STEP_SECONDS = 0.0025  # of a layer in one step of an answer. Choice: 78 ms for SmolLM2's 30 layers
ENOUGH = 0.05  # of the work: phases shorter than that tell no rate
RECENT = 5  # runs. Choice: the median of five withstands two that ran beside other work
BACKWARD = 2.0  # attention's operations in its backward pass, of those in its forward pass


@dataclass(frozen=True, slots=True)
class Work:
    """What a run has to do."""

    scoring: float  # operations: the reference's log-probabilities
    training: float  # operations: all epochs, and held-out pairs as often as they judge the run
    tokens: int  # of one epoch's rows
    probes: float = 0.0  # operations: tokens that are generated while it trains
    answers: float = 0.0  # the same after it, before and after, as long as they may become
    reading: float = 0.0  # operations: the prompts of these

    def as_json(self) -> dict[str, float]:
        return {
            "scoring": self.scoring,
            "training": self.training,
            "tokens": self.tokens,
            "probes": self.probes,
            "answers": self.answers,
            "reading": self.reading,
        }


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast this machine works."""

    scoring: float  # operations a second
    training: float
    answering: float  # operations a second, of generated tokens
    start_seconds: float
    # Share of the length that answers may have. Choice: between that of earlier runs and all of it,
    # for one long answer makes its whole batch long
    answered: float = 1.0
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
    prompts: int = REPORT_PROMPTS,
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
    judged = _judged(units, train, times)
    tokens = times * sum(unit.tokens for unit in units)
    asked = held_out or units
    answers = Answers(costs, round(sum(unit.prompt for unit in asked) / max(1, len(asked))))
    some = min(prompts, PROBE_PROMPTS)
    passes = 3 + loss.mismatched  # forward tokens of a trained token, as the run counts them
    run = (train.epochs * passes + loss.reference * (1 + loss.mismatched)) * tokens
    run += times * sum(unit.tokens for unit in held_out) + report_work(prompts)
    most = affordable(run, probe_work(some, some * (answers.prompt + PROBE_TOKENS)))
    probes = len(thinned(judged, most)) if some else 0
    measuring = answers.read(2 * some) + 2 * answers.again(some, PROBE_TOKENS)  # twice: KL
    # before the first step the held-out pairs need no pass
    training = train.epochs * trained + (len(judged) - 1) * judging
    return Work(
        scoring=(reference + judging * (1 - known)) * times,
        training=training * times + probes * measuring,
        tokens=round(tokens),
        probes=probes * answers.generated(2 * some, PROBE_TOKENS),
        answers=2 * answers.generated(min(prompts, REPORT_PROMPTS), ANSWER_TOKENS),
        reading=2 * answers.read(min(prompts, REPORT_PROMPTS)),
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """Operations of answers to prompts of so many tokens."""

    costs: Costs
    prompt: int

    def read(self, rows: int) -> float:
        """Return those of reading the prompts; only the last token of each is scored."""
        return rows * self.costs.forward(self.prompt, 1)

    def again(self, rows: int, tokens: int) -> float:
        """Return those of a pass over prompts and answers."""
        return rows * self.costs.forward(self.prompt + tokens, tokens)

    def generated(self, rows: int, tokens: int) -> float:
        """Return those of generating answers of so many tokens, in batches."""
        step = self.costs.forward(1, 1, row=self.prompt + tokens // 2)
        return tokens * step * (math.ceil(rows / ANSWER_ROWS) * STEP_ROWS + rows)


def _judged(units: Sequence[Unit], train: TrainSettings, times: float) -> tuple[int, ...]:
    """Return after which steps the run is judged."""
    rows = times * sum(unit.rows for unit in units)
    per_epoch = max(1, math.ceil(rows / train.batch_size))
    return judged_steps(train.epochs * per_epoch, per_epoch, train.eval_every)


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
        + (work.training + work.reading) / pace.training
        + (work.probes + work.answers * pace.answered) / pace.answering
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
    step = 2.0 * shape.parameters * (STEP_ROWS + ANSWER_ROWS)  # operations
    return Pace(rate, rate, step / (shape.layers * STEP_SECONDS + step / rate), START_SECONDS)


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
        found = _pace(_done(work, status), seconds, guess, known)
        found = replace(found, answered=(1 + _share_answered(status)) / 2)
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
        answering=(
            median(pace.answering for pace in paces)
            if paces[0].known == "run"
            else guess.answering  # goes with the model's depth too, not only with its operations
        ),
        start_seconds=median(pace.start_seconds for pace in paces),
        answered=median(pace.answered for pace in paces),
        known=paces[0].known,
    )


def _done(work: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """Return what of its work a run has really done; older runs do not tell what they generated."""
    if "reading" not in work:
        work = {**work, "probes": 0.0, "answers": 0.0, "reading": 0.0}
    trained = _share_trained(status)
    return {
        **work,
        "training": work["training"] * trained,
        "probes": work["probes"] * trained,
        "answers": work["answers"] * _share_answered(status),
    }


def _share_trained(status: dict[str, Any]) -> float:
    """Return how much of its steps a run has done: not all where it stopped early."""
    done, planned = status.get("step"), status.get("steps")
    return done / planned if done and planned else 1.0


def _share_answered(status: dict[str, Any]) -> float:
    """Return how long the longest answers became, of the length that they may have."""
    longest = status.get("longest_answers")
    return max(1, sum(longest)) / (2 * ANSWER_TOKENS) if longest else 1.0


def _pace(work: dict[str, Any], seconds: dict[str, float], guess: Pace, known: str) -> Pace:
    """Return the pace of one run; what it had too little of goes by its training."""
    training, answering = _rates(work, seconds, guess)
    enough = work["scoring"] > ENOUGH * work["training"] and seconds.get(SCORING)
    ratio = guess.scoring / guess.training
    return Pace(
        scoring=work["scoring"] / seconds[SCORING] if enough else training * ratio,
        training=training,
        answering=answering,
        start_seconds=seconds.get(LOADING, guess.start_seconds),
        known=known,
    )


def _rates(work: dict[str, Any], seconds: dict[str, float], guess: Pace) -> tuple[float, float]:
    """Return operations a second of passes and of generating.

    Both are in what a run did while it trained and in what it did after: two equations. Where they
    have no solution above 0 (it measured something else) or nothing was generated, generating goes
    as guessed.
    """
    trained, after = max(1e-3, seconds.get(TRAINING, 0.0)), seconds.get(ANSWERING, 0.0)
    passes, generated = (work["training"], work["reading"]), (work["probes"], work["answers"])
    both = passes[0] * generated[1] - passes[1] * generated[0]
    one = trained * generated[1] - after * generated[0]  # seconds an operation, times `both`
    other = passes[0] * after - passes[1] * trained
    if min(both, one, other) > 0:
        return both / one, both / other
    left = trained - work["probes"] / guess.answering
    return passes[0] / max(left, trained / 2), guess.answering


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
