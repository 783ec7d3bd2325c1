"""The training loop: transformers' Trainer with one planned batch per step and a loss from
`LOSSES`.

The Trainer brings optimiser, schedule, clipping and checkpoints. Ours to say: a step's batch is cut
into forward passes inside the step (so 8 × 1 row = 1 × 8 rows), the loss is taken from the table,
each step writes its metrics, checkpoints are sealed, and a cancelled run stops between two forward
passes.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from align.batches import Batch, Cutter, Micro, References, label_batch, pair_batch
from align.checkpoints import seal
from align.losses import (
    LOSSES,
    LabelBatch,
    LabelOutcome,
    Loss,
    PairBatch,
    PairOutcome,
    kl_estimate,
)
from align.policy import Policy
from align.processes import ALONE, Processes
from align.recipes import Settings, TrainSettings
from align.reference import log_probabilities
from align.rendering import Row
from storage.errors import UserError

WEIGHTS = "adapter.safetensors"


class Diverged(UserError):
    """The numbers stopped being numbers."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a run trains on, and how."""

    settings: Settings
    loss_settings: Mapping[str, float]  # with the label weights as numbers
    rows: Sequence[Row]
    steps: Sequence[tuple[int, ...]]  # which rows each step takes
    cutter: Cutter
    references: References
    from_reference: bool = True  # the policy starts as the reference, not as a later adapter
    processes: Processes = ALONE  # that share each step's rows

    @property
    def steps_per_epoch(self) -> int:
        return len(self.steps) // self.settings.train.epochs

    @property
    def loss(self) -> Loss:
        return LOSSES[self.settings.method]

    def batch(self, step: int) -> Batch:
        """Return this process's share of a step, cut so that all have about as many tokens."""
        rows = [self.rows[i] for i in self.steps[step]]
        mine = self.processes.mine([len(r.prompt) + sum(map(len, r.responses)) for r in rows])
        return self.cutter.batch(rows, mismatched=self.loss.mismatched, mine=mine)

    def reference(self, micro: Micro, policy: Tensor) -> Tensor:
        """Return the reference's log-probabilities, or zeros for a loss that has no reference."""
        if not self.loss.reference:
            return torch.zeros_like(policy)
        return micro.reference(self.references).to(policy.device)


@dataclass(slots=True)
class Tally:
    """Sums over the rows of one step, for its line in metrics.jsonl."""

    loss: float = 0.0
    margins: list[float] = field(default_factory=list)  # pairs: chosen - rejected reward
    rewards: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})
    logps: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})
    tokens: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})

    def add_pairs(self, outcome: PairOutcome, batch: PairBatch) -> None:
        good, bad = outcome.chosen_rewards.tolist(), outcome.rejected_rewards.tolist()
        self.margins += [a - b for a, b in zip(good, bad, strict=True)]
        for is_good, side in ((True, batch.chosen), (False, batch.rejected)):
            self.logps[is_good] += side.policy.detach().sum().item()
            self.tokens[is_good] += side.mask.sum().item()

    def add_labels(self, outcome: LabelOutcome, batch: LabelBatch) -> None:
        good, side = batch.good, batch.completion
        for is_good, reward in zip(good.tolist(), outcome.rewards.tolist(), strict=True):
            self.rewards[is_good].append(reward)
        for is_good in (True, False):
            self.logps[is_good] += side.policy.detach()[good == is_good].sum().item()
            self.tokens[is_good] += side.mask[good == is_good].sum().item()

    def add(self, other: Tally) -> None:
        """Count what another process has counted of the same step."""
        self.loss += other.loss
        self.margins += other.margins
        for good in (True, False):
            self.rewards[good] += other.rewards[good]
            self.logps[good] += other.logps[good]
            self.tokens[good] += other.tokens[good]

    def as_json(self, start: float | None) -> dict[str, float | None]:
        """Return the step's means; log-probabilities per token, in nats.

        Accuracy: share of pairs with the larger reward for the chosen response; of labels, of those
        whose reward stands on the right side of `start` = β·z. Equal counts as a half.
        """
        if start is None:
            margin, wins = _mean(self.margins), [_step(m) for m in self.margins]
        else:
            good, bad = _mean(self.rewards[True]), _mean(self.rewards[False])
            margin = None if good is None or bad is None else good - bad
            wins = [_step(r - start) for r in self.rewards[True]]
            wins += [_step(start - r) for r in self.rewards[False]]
        result = {
            "loss": self.loss,
            "margin": margin,
            "accuracy": _mean(wins),
            "logp_chosen": _ratio(self.logps[True], self.tokens[True]),
            "logp_rejected": _ratio(self.logps[False], self.tokens[False]),
        }
        return result if start is None else {**result, "beta_z": start}


class PreferenceTrainer(Trainer):
    """Trains a `Policy` on a `Job`.

    Args:
        write: gets one JSON-able row per step, for metrics.jsonl.
        pause: called between forward passes; raises to stop the run where it stands.
        after_epoch: called at the end of each epoch with the steps done; returns a row to write.
    """

    loss_is_scaled_for_ga = False

    def __init__(
        self,
        policy: Policy,
        job: Job,
        folder: Path,
        *,
        write: Callable[[dict[str, Any]], None],
        pause: Callable[[], None] = lambda: None,
        after_epoch: Callable[[int], dict[str, Any]] | None = None,
    ) -> None:
        self.policy, self.job, self.folder = policy, job, folder
        self.write, self.pause, self.after_epoch = write, pause, after_epoch
        self.row: dict[str, Any] = {}
        self.started = time.monotonic()
        super().__init__(
            model=policy,
            args=_arguments(job, folder),
            train_dataset=_Steps(job),
            data_collator=lambda batches: batches[0],
            callbacks=[_Guard(self)],
        )
        self.pop_callback(_printer(self))

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler:
        return torch.utils.data.SequentialSampler(_Steps(self.job))

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return a linear warm-up and a cosine down to 0; the first step learns already."""
        if self.lr_scheduler is None:
            warm = math.ceil(self.job.settings.train.warmup * num_training_steps)
            used: Any = optimizer or self.optimizer
            schedule = _Schedule(warm, num_training_steps)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(used, schedule)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> Tensor:
        """Add the gradient of the batch's mean loss, pass by pass; return the loss."""
        model.train()
        tally = Tally()
        z, scored = passes(model, inputs, self.job, self.pause)
        for micro, policy in scored:
            losses = evaluate(policy, micro, self.job, z, tally)
            share = losses.sum() / inputs.size
            self.accelerator.backward(share)
            tally.loss += share.item()
        tally = whole(tally, self.job)
        if not math.isfinite(tally.loss):
            raise Diverged(self._sentence("the loss is not a number any more"))
        self.job.processes.sum_gradients(self.policy.trainable())
        self.row = tally.as_json(beta_z(self.job, z))
        return torch.tensor(tally.loss, device=self.args.device)

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> None:
        """Say nothing: the loss is a mean over the batch's rows already."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Count none: nobody asks for them here."""
        return 0

    def check_gradients(self) -> None:
        """Raise before a step would spoil the weights with gradients that are no numbers."""
        for parameter in self.policy.trainable():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                raise Diverged(self._sentence("the gradients are not numbers any more"))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write the step's row; the Trainer's closing summary has none."""
        if "grad_norm" not in logs:
            return
        step = self.state.global_step
        self.write(
            {
                "step": step,
                "epoch": round(step / self.job.steps_per_epoch, 4),
                **self.row,
                "grad_norm": logs["grad_norm"],
                "learning_rate": logs["learning_rate"],
                "seconds": round(time.monotonic() - self.started, 2),
            }
        )
        if self.after_epoch is not None and step % self.job.steps_per_epoch == 0:
            self.write({"step": step, **self.job.processes.from_first(self.after_epoch(step))})

    def save_now(self) -> None:
        """Write a checkpoint of the last whole step, unless it has one already."""
        place = self.folder / f"checkpoint-{self.state.global_step}"
        if self.state.global_step and not (place / "manifest.json").exists():
            self.policy.zero_grad()
            self._save_checkpoint(self.policy, trial=None)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if not self.job.processes.first:
            return
        super()._save_checkpoint(model, trial)
        place = self.folder / f"checkpoint-{self.state.global_step}"
        seal(place, step=self.state.global_step)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = get_peft_model_state_dict(self.policy.model)
        save_file({name: t.contiguous() for name, t in tensors.items()}, folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        weights = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        set_peft_model_state_dict(self.policy.model, weights)

    def _sentence(self, what: str) -> str:
        step, rate = self.state.global_step + 1, self.job.settings.train.learning_rate
        return (
            f"stopped at step {step}: {what}. The checkpoint before it is kept; "
            f"train again with a lower learning rate (it is {rate:g}; try {rate / 4:g})"
        )


def passes(
    model: nn.Module, batch: Batch, job: Job, pause: Callable[[], None] = lambda: None
) -> tuple[Tensor | None, Iterator[tuple[Micro, Tensor]]]:
    """Return the step's z and, one after the other, its forward passes' log-probabilities (M, R).

    KTO's z is needed before the first loss. Where the mismatched responses ride on the only pass it
    comes with it, else from passes of their own before.
    """
    if len(batch.micros) == 1 and batch.micros[0].riders is not None:
        (micro,) = batch.micros
        pause()
        policy, ridden = log_probabilities(model, micro)
        reference = job.reference(micro.riders, ridden)
        return estimate_z(job, [(ridden - reference).sum(-1)]), iter([(micro, policy)])

    def one_by_one() -> Iterator[tuple[Micro, Tensor]]:
        for micro in batch.micros:
            pause()
            yield micro, log_probabilities(model, micro)[0]

    return mismatch(model, batch, job, pause), one_by_one()


def mismatch(
    model: nn.Module, batch: Batch, job: Job, pause: Callable[[], None] = lambda: None
) -> Tensor | None:
    """Return KTO's z from the mismatched responses' own passes; None for a loss without."""
    if not job.loss.mismatched:
        return None
    ratios = [torch.zeros(0, device=_device(model))]
    with torch.no_grad():
        for micro in batch.mismatched:
            pause()
            policy, _ = log_probabilities(model, micro)
            ratios.append((policy - job.reference(micro, policy)).sum(-1))
    return estimate_z(job, ratios)


def estimate_z(job: Job, ratios: Sequence[Tensor]) -> Tensor:
    """Return z from this process's log-ratios of mismatched responses and those of all others."""
    own = torch.cat(list(ratios))
    return kl_estimate(torch.cat(job.processes.gather(own.cpu())).to(own.device))


def evaluate(policy: Tensor, micro: Micro, job: Job, z: Tensor | None, tally: Tally) -> Tensor:
    """Return the losses (B,) of one pass's log-probabilities (M, R) and count it in the tally."""
    reference = job.reference(micro, policy)
    if job.loss.needs == "pairs":
        pairs = pair_batch(micro, policy, reference)
        outcome = job.loss(pairs, **job.loss_settings)
        tally.add_pairs(outcome, pairs)
    else:
        start = policy.new_zeros(()) if z is None else z
        labels = label_batch(micro, policy, reference, start)
        outcome = job.loss(labels, **job.loss_settings)
        tally.add_labels(outcome, labels)
    losses: Tensor = outcome.losses
    return losses


def whole(tally: Tally, job: Job) -> Tally:
    """Return the tally of all processes' rows."""
    total = Tally()
    for part in job.processes.gather(tally):
        total.add(part)
    return total


def beta_z(job: Job, z: Tensor | None) -> float | None:
    """Return where KTO's gains start, in units of reward; None for a loss without a z."""
    return None if z is None else job.loss_settings["beta"] * z.item()


def first_row(policy: Policy, job: Job, tolerance: float) -> dict[str, Any]:
    """Return the row of step 0: the first batch before any update, where nothing was learned yet.

    With a reference every reward has to be 0 there, and the loss what the method gives for that
    (ln 2 for DPO). It is the one test that reference, masks and rows fit together, so it is made in
    every run. Without a reference, or on top of an adapter that is not the reference, nothing is
    asked of the row.

    Args:
        tolerance: how far a reward may be from 0.

    Raises:
        RuntimeError: they do not fit: a bug, or a base that is not deterministic.
    """
    batch, tally, neutral = job.batch(0), Tally(), 0.0
    known = job.loss.reference and job.from_reference
    with torch.no_grad():
        z, scored = passes(policy, batch, job)
        for micro, values in scored:
            tally.loss += evaluate(values, micro, job, z, tally).sum().item() / batch.size
            if known:
                neutral += untrained_loss(micro, job).sum().item() / batch.size
    tally, neutral = whole(tally, job), sum(job.processes.gather(neutral))
    row = {"step": 0, "epoch": 0.0, **tally.as_json(beta_z(job, z))}
    if not known:
        return {**row, "largest_reward": None, "expected_loss": None, "tolerance": None}
    rewards = tally.margins + tally.rewards[True] + tally.rewards[False]
    largest = max(map(abs, rewards))
    slope = 4 * neutral if neutral >= 1 else 1  # IPO's square: 4 times its loss, per unit of reward
    if not largest <= tolerance or not abs(tally.loss - neutral) <= slope * tolerance:
        raise RuntimeError(
            f"before the first step a reward is {largest:.3g} (it has to be 0) and the loss "
            f"{tally.loss:.6g} ({neutral:.6g}); allowed are {tolerance:.2g}"
        )
    return {**row, "largest_reward": largest, "expected_loss": neutral, "tolerance": tolerance}


def untrained_loss(micro: Micro, job: Job) -> Tensor:
    """Return the losses (B,) of a policy that equals its reference."""
    reference = micro.reference(job.references)
    if job.loss.needs == "pairs":
        batch: Any = pair_batch(micro, reference, reference)
    else:
        batch = label_batch(micro, reference, reference, reference.new_zeros(()))
    losses: Tensor = job.loss(batch, **job.loss_settings).losses
    return losses


class _Steps(torch.utils.data.Dataset):
    """The plan as a data set: item k is step k's batch, so a resumed run skips to its place."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __len__(self) -> int:
        return len(self.job.steps)

    def __getitem__(self, step: int) -> Batch:
        return self.job.batch(step)


@dataclass(frozen=True)
class _Schedule:
    """The learning rate's share of its peak at a step: up in `warm` steps, down to 0 at `steps`."""

    warm: int
    steps: int

    def __call__(self, step: int) -> float:
        if step < self.warm:
            return (step + 1) / (self.warm + 1)
        done = (step - self.warm) / max(1, self.steps - self.warm)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class _Guard(TrainerCallback):
    def __init__(self, trainer: PreferenceTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.check_gradients()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.pause()


def _arguments(job: Job, folder: Path) -> TrainingArguments:
    train, steps = job.settings.train, len(job.steps)
    with _unwrapped():
        return _plain_arguments(train, steps, folder)


def _plain_arguments(train: TrainSettings, steps: int, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1,  # one planned batch
        num_train_epochs=1,  # the plan holds all epochs
        learning_rate=train.learning_rate,
        weight_decay=0.0,
        max_grad_norm=train.max_grad_norm,
        optim="adamw_torch",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=train.save_every or max(1, steps // 10),
        save_total_limit=2,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
        seed=train.seed,
        use_cpu=not torch.cuda.is_available(),
    )


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """Spare the log the advice to let the Trainer wrap the model for several processes."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _printer(trainer: Trainer) -> type[TrainerCallback]:
    """Return the class of the callback that would print every row to stdout."""
    return next(
        type(c) for c in trainer.callback_handler.callbacks if type(c).__name__ == "PrinterCallback"
    )


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _step(value: float) -> float:
    return 0.5 if value == 0 else float(value > 0)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _ratio(total: float, count: float) -> float | None:
    return total / count if count else None
