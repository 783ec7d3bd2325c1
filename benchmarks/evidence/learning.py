"""One training of an experiment, with the product's own trainer, and what is measured on the way.

What differs between two lessons of an experiment is in `Lesson`; everything else is the same: rank,
learning rate, batch, seed, the order of the rows.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

from align import recipes
from align.batches import Cutter, Fork, plan
from align.device import device_now
from align.evaluate import PairScore, score_pairs
from align.losses import LOSSES, dpo
from align.opening import Tokenised, choose_cutter, loss_settings
from align.policy import Policy, load_policy
from align.reference import ReferenceScores, score
from align.rendering import PairRow, Row
from align.step import Job
from align.trainer import PreferenceTrainer
from benchmarks.evidence.material import Question, World, reward, sample

RANK, ALPHA, RATE, BATCH = 16, 32, 2e-4, 8
DRAWN = 2  # answers of a policy per held-out prompt
PASS_TOKENS = 1536  # padded tokens per forward pass of a measurement

Look = Callable[[int, Policy, Cutter], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one policy learns, from what, and when it is looked at."""

    method: str
    rows: Sequence[Row]
    loss: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 2
    batch_size: int = BATCH
    looks: tuple[int, ...] = ()  # after these steps; 0 is before the first
    constant: bool = False  # a constant learning rate instead of warm-up and cosine

    @property
    def epoch(self) -> int:
        """Return how many steps an epoch has."""
        return -(-len(self.rows) // self.batch_size)

    @property
    def last(self) -> int:
        return self.epochs * self.epoch


class _Steady(PreferenceTrainer):
    """Goes on at the same learning rate, so that what settles does so by its loss alone."""

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        used: Any = optimizer or self.optimizer
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(used, lambda step: 1.0)
        return self.lr_scheduler


def precision() -> str:
    return "bf16" if device_now().bf16 else "fp32"


def fresh_policy(world: World) -> Policy:
    """Return an untrained policy whose generation reads prompts quickly.

    The head gets the last hidden state of each prompt as a slice with gaps; torch then copies the
    head (56 MB) once per row, unless the slice is made whole first.
    """
    policy = load_policy(world.model, precision=precision(), rank=RANK, alpha=ALPHA, seed=0)
    head: Any = policy.model.get_base_model().get_output_embeddings()  # type: ignore[operator]
    whole = torch.contiguous_format
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0].clone(memory_format=whole),))
    return policy


def learn(
    world: World, lesson: Lesson, references: ReferenceScores, look: Look | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Train one fresh policy; return the rows of its steps and of the looks.

    Args:
        references: what was scored before; gets what this lesson has to score.
        look: called after the steps of `lesson.looks`; with the step; returns a row of its own.
    """
    policy = fresh_policy(world)
    settings = recipes.from_json(lesson.method, {
        **lesson.loss, "epochs": lesson.epochs, "batch_size": lesson.batch_size,
        "learning_rate": RATE, "lora_rank": RANK, "lora_alpha": ALPHA, "save_every": 10**6,
    })  # fmt: skip
    rows = list(lesson.rows)
    cutter = choose_cutter(policy, precision(), settings, Tokenised(rows, [], [], {}), world.pad)
    steps = plan(
        rows,
        epochs=lesson.epochs,
        batch_size=lesson.batch_size,
        seed=0,
        keep_batches=LOSSES[lesson.method].mismatched,
    )
    job = Job(settings, loss_settings(settings, rows), rows, steps, cutter, references)
    for step in range(job.steps_per_epoch if job.loss.reference else 0):
        batch = job.batch(step)
        score(policy, [*batch.micros, *batch.mismatched], references)
    found: dict[str, list[dict[str, Any]]] = {"steps": [], "looks": []}

    def note(row: dict[str, Any]) -> None:
        found["steps"].append(_rounded(row))
        if look is not None and row["step"] in lesson.looks:
            found["looks"].append({"step": row["step"], **look(row["step"], policy, cutter)})
            print(found["looks"][-1], flush=True)

    if 0 in lesson.looks:
        note({"step": 0})
        found["steps"].clear()
    trainer = _Steady if lesson.constant else PreferenceTrainer
    with tempfile.TemporaryDirectory() as folder:
        trainer(policy, job, Path(folder), write=note).train()
    return found


def drawn_answers(world: World, policy: Policy, cutter: Cutter) -> dict[str, Any]:
    """Let the policy answer the held-out prompts: return mean reward, KL(π ‖ π_ref), length, share
    of answers that came to an end."""
    questions = world.held_out
    answers = sample(policy, world, [q.prompt for q in questions], each=DRAWN, seed=2)
    drawn = [replace(q, answers=row) for q, row in zip(questions, answers, strict=True)]
    ratios = log_ratios(drawn, policy, cutter)
    return {
        "reward": interval([fmean(map(reward, row)) for row in answers]),
        "kl": interval([fmean(row) for row in ratios]),
        "tokens": interval([fmean(a.tokens for a in row) for row in answers]),
        "finished": round(fmean(a.finished for row in answers for a in row), 4),
    }


def log_ratios(questions: Sequence[Question], policy: Policy, cutter: Cutter) -> list[list[float]]:
    """Return log(π(y|x) / π_ref(y|x)) in nats of every answer y to every question x.

    Both come from forward passes of the same shape, so that an untrained policy has exactly 0.
    """
    forks = [Fork(q.prompt, tuple(a.ids for a in q.answers)) for q in questions]
    place = {id(fork): i for i, fork in enumerate(forks)}
    found: dict[int, list[float]] = {}
    for micro in _wide(cutter).micros(forks):
        with torch.no_grad():
            now = policy(micro.block)
        with policy.reference():
            then = policy(micro.block)
        values = (now - then).sum(-1).tolist()
        for fork in micro.forks:
            count = len(fork.responses)
            found[place[id(fork)]], values = values[:count], values[count:]
    return [found[i] for i in range(len(forks))]


def pair_scores(
    pairs: Sequence[PairRow], references: ReferenceScores, policy: Policy, cutter: Cutter
) -> list[PairScore]:
    """Return the scores of pairs under policy and reference."""
    micros = _wide(cutter).batch(pairs).micros
    score(policy, micros, references)
    return score_pairs(policy, micros, references, partial(dpo, beta=1.0))


def _wide(cutter: Cutter) -> Cutter:
    return Cutter(shared=cutter.shared, budget=PASS_TOKENS, pad=cutter.pad)


def interval(values: Sequence[float]) -> dict[str, float | int]:
    """Return the mean of independent values with its 95 % interval (normal approximation).

    Of answers to the same prompt the caller gives their mean: they are not independent.

    Example:
        >>> interval([1.0, 2.0, 3.0])
        {'mean': 2.0, 'low': 0.8684, 'high': 3.1316, 'n': 3}
    """
    half = 1.96 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    mean = fmean(values)
    return {
        "mean": round(mean, 4),
        "low": round(mean - half, 4),
        "high": round(mean + half, 4),
        "n": len(values),
    }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("step", "loss", "margin", "accuracy", "logp_chosen", "logp_rejected")
    return {
        name: round(row[name], 4) if isinstance(row[name], float) else row[name]
        for name in names
        if name in row
    }
