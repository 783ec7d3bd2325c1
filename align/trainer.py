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
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
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
    Scores,
    kl_estimate,
)
from align.overflow import give_back_memory, ran_out, too_large
from align.policy import Policy
from align.processes import ALONE, Processes
from align.recipes import Settings, TrainSettings
from align.reference import log_probabilities
from align.rendering import Row
from align.tuning import weights_of
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
    idle: Micro | None = None  # the pass of a process without rows, where all have to go in step

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


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the rows of one step, as numbers. Kinds: chosen or rejected, good or bad."""

    losses: float
    wins: float  # a tie is half a one
    judged: float  # rows that could be won
    good_rows: float
    good_rewards: float
    good_logps: float
    good_tokens: float
    bad_rows: float
    bad_rewards: float
    bad_logps: float
    bad_tokens: float

    def as_json(self, size: int, start: float | None = None) -> dict[str, float | None]:
        """Return the step's means; log-probabilities per token, in nats.

        Accuracy: share of pairs with the larger reward for the chosen response; of labels, of those
        whose reward stands on the right side of β·z. Equal counts as a half.

        Args:
            size: rows of the step.
            start: β·z; None for a loss without a z.
        """
        good = _ratio(self.good_rewards, self.good_rows)
        bad = _ratio(self.bad_rewards, self.bad_rows)
        result = {
            "loss": self.losses / size,
            "margin": None if good is None or bad is None else good - bad,
            "accuracy": _ratio(self.wins, self.judged),
            "logp_chosen": _ratio(self.good_logps, self.good_tokens),
            "logp_rejected": _ratio(self.bad_logps, self.bad_tokens),
        }
        return result if start is None else {**result, "beta_z": start}


class Tally:
    """What the passes of one step add up to, for its line in metrics.jsonl.

    It stays on the device where it was computed: to read a number from a GPU is to wait until all
    before it is done. `read` brings everything over at once.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.passes = [torch.zeros(len(fields(Sums)), device=device)]  # in the order of `Sums`
        self.largest = [torch.zeros((), device=device)]  # of each pass's rewards or margins

    def add_pairs(self, outcome: PairOutcome, batch: PairBatch) -> None:
        good, bad = outcome.chosen_rewards, outcome.rejected_rewards
        kinds = _kind(good, batch.chosen), _kind(bad, batch.rejected)
        self._add(outcome.losses, good - bad, len(good), *kinds)
        self.largest.append((good - bad).abs().max())

    def add_labels(
        self, outcome: LabelOutcome, batch: LabelBatch, start: Tensor | None = None
    ) -> None:
        """Count labels; where there is no `start` (β·z) none of them is won or lost."""
        good, rewards = batch.good, outcome.rewards
        kinds = (_kind(rewards, batch.completion, which) for which in (good, ~good))
        gains = rewards if start is None else rewards - start
        judged = 0 if start is None else len(gains)
        self._add(outcome.losses, gains.where(good, -gains), judged, *kinds)
        self.largest.append(rewards.abs().max())

    def _add(self, losses: Tensor, gains: Tensor, judged: int, good: Tensor, bad: Tensor) -> None:
        wins = (gains.sign() + 1).sum() / 2
        first = torch.stack([losses.detach().sum(), wins, wins.new_full((), judged)])
        self.passes.append(torch.cat([first, good, bad]))

    def read(self, *more: Tensor) -> list[float]:
        """Return the sums, as many as `Sums` has fields, and then more numbers () behind them."""
        sums = torch.stack(self.passes).sum(0)
        found: list[float] = torch.cat([sums, *(number[None] for number in more)]).tolist()
        return found


def _kind(rewards: Tensor, scores: Scores, which: Tensor | None = None) -> Tensor:
    """Return rows, rewards, log-probabilities and tokens of the rows `which` (B,), or all; (4,)."""
    logps = (scores.policy.detach() * scores.mask).sum(-1)
    columns = torch.stack([torch.ones_like(rewards), rewards, logps, scores.mask.sum(-1)])
    return (columns if which is None else columns.masked_fill(~which, 0.0)).sum(-1)


class PreferenceTrainer(Trainer):
    """Trains a `Policy` on a `Job`.

    Args:
        write: gets one JSON-able row per step, for metrics.jsonl.
        pause: called between forward passes; raises to stop the run where it stands.
        judge: called after each step's row with the steps done; True stops the run here.
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
        judge: Callable[[int], bool] = lambda step: False,
    ) -> None:
        self.policy, self.job, self.folder = policy, job, folder
        self.write, self.pause, self.judge = write, pause, judge
        self.row: dict[str, Any] = {}
        self.norm = torch.zeros(())  # of the step's gradients, on their device
        self.z: Tensor | None = None  # of the step
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
        """Do one step; where memory runs out do it again in passes of half the size.

        The loss is a mean over the batch's rows, so the result does not depend on the passes.

        Args:
            inputs: the step's number in the plan.
        """
        model.train()
        self.z = None
        tally = self._add_gradients_as_fits(model, inputs)
        parameters = self.policy.trainable()
        self.job.processes.sum_gradients(parameters)
        self.norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        self.row = self._read(tally, len(self.job.steps[inputs]))
        return torch.tensor(self.row["loss"])

    def _read(self, tally: Tally, size: int) -> dict[str, Any]:
        """Return the step's row, with the only look of a step at what the device has computed.

        Raises:
            Diverged: the loss or the gradients are no numbers; the step must not spoil the weights.
        """
        sums, (norm, *start) = whole(tally, self.job, self.norm, *beta_z(self.job, self.z))
        row = {**sums.as_json(size, *start), "grad_norm": norm}
        if not math.isfinite(sums.losses):
            raise Diverged(self._sentence("the loss is not a number any more"))
        if not math.isfinite(norm):
            raise Diverged(self._sentence("the gradients are not numbers any more"))
        return row

    def _add_gradients_as_fits(self, model: nn.Module, step: int) -> Tally:
        while True:
            try:
                return self._add_gradients(model, self.job.batch(step))
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error) or self.job.processes.lockstep:
                    raise
                trouble = error.with_traceback(None)  # its frames hold the tensors of the pass
            model.zero_grad()
            self.job = in_smaller_passes(self.job, step, trouble)
            give_back_memory()
            print(
                f"out of memory: passes of {self.job.cutter.budget} tokens from now on", flush=True
            )

    def _add_gradients(self, model: nn.Module, batch: Batch) -> Tally:
        """Add the gradient of the batch's mean loss, pass by pass; return what was counted."""
        tally = Tally(self.policy.device)
        self.z, scored = passes(model, batch, self.job, self.pause, self.z)
        for micro, policy in scored:
            if micro is None:
                share = policy.sum() * 0.0
            else:
                share = evaluate(policy, micro, self.job, self.z, tally).sum() / batch.size
            self.accelerator.backward(share)
        return tally

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> None:
        """Say nothing: the loss is a mean over the batch's rows already."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Count none: nobody asks for them here."""
        return 0

    def _clip_grad_norm(self, model: nn.Module) -> float:
        """Clip the gradients by the norm that the step has taken already."""
        limit = self.job.settings.train.max_grad_norm
        nn.utils.clip_grads_with_norm_(self.policy.trainable(), limit, self.norm)
        norm: float = self.row["grad_norm"]
        return norm

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
                "learning_rate": logs["learning_rate"],
                "seconds": round(time.monotonic() - self.started, 2),
            }
        )
        if self.judge(step):
            self.control.should_training_stop = True

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
        self.write_weights(Path(output_dir or self.folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.read_weights(Path(resume_from_checkpoint))

    def write_weights(self, folder: Path) -> None:
        """Write what is trained, as it is now, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights_of(self.policy.model), folder / WEIGHTS)

    def read_weights(self, folder: Path) -> None:
        """Take back what `write_weights` wrote there."""
        set_peft_model_state_dict(self.policy.model, load_file(folder / WEIGHTS))

    def _sentence(self, what: str) -> str:
        step, rate = self.state.global_step + 1, self.job.settings.train.learning_rate
        return (
            f"stopped at step {step}: {what}. The checkpoint before it is kept; "
            f"train again with a lower learning rate (it is {rate:g}; try {rate / 4:g})"
        )


def in_smaller_passes(job: Job, step: int, trouble: BaseException) -> Job:
    """Return the job with passes of at most half the tokens of this step's largest one.

    Raises:
        Unsupported: every pass is a single row already.
    """
    batch = job.batch(step)
    micros = [*batch.micros, *batch.mismatched]
    largest = max(micro.block.ids.numel() for micro in micros)
    if all(max(len(micro.rows), len(micro.forks)) == 1 for micro in micros):
        raise too_large(largest, job.settings.train) from trouble
    return replace(job, cutter=replace(job.cutter, budget=min(largest, job.cutter.budget) // 2))


def passes(
    model: nn.Module,
    batch: Batch,
    job: Job,
    pause: Callable[[], None] = lambda: None,
    z: Tensor | None = None,
) -> tuple[Tensor | None, Iterator[tuple[Micro | None, Tensor]]]:
    """Return the step's z and, one after the other, its forward passes' log-probabilities (M, R).

    KTO's z is needed before the first loss. Where the mismatched responses ride on the only pass it
    comes with it, else from passes of their own before. Either way z is gathered once, so processes
    agree on it of which one rides and another does not. A pass without a micro is an idle one.

    Args:
        z: known from a first try; the processes gather it once.
    """
    riders = batch.micros[0].riders if len(batch.micros) == 1 else None
    if z is None and riders is not None:
        (micro,) = batch.micros
        pause()
        policy, ridden = log_probabilities(model, micro)
        reference = job.reference(riders, ridden)
        return estimate_z(job, [(ridden - reference).sum(-1)]), iter([(micro, policy)])

    def one_by_one() -> Iterator[tuple[Micro | None, Tensor]]:
        for micro in job.processes.in_step(batch.micros):
            pause()
            if micro is None:
                yield None, idle_pass(model, job)
            else:
                yield micro, log_probabilities(model, micro)[0]

    return mismatch(model, batch, job, pause) if z is None else z, one_by_one()


def mismatch(
    model: nn.Module, batch: Batch, job: Job, pause: Callable[[], None] = lambda: None
) -> Tensor | None:
    """Return KTO's z from the mismatched responses' own passes; None for a loss without."""
    if not job.loss.mismatched:
        return None
    ratios = [torch.zeros(0, device=_device(model))]
    with torch.no_grad():
        for micro in job.processes.in_step(batch.mismatched):
            pause()
            if micro is None:
                idle_pass(model, job)
                continue
            policy, _ = log_probabilities(model, micro)
            ratios.append((policy - job.reference(micro, policy)).sum(-1))
    return estimate_z(job, ratios)


def estimate_z(job: Job, ratios: Sequence[Tensor]) -> Tensor:
    """Return z from this process's log-ratios of mismatched responses and those of all others."""
    own = torch.cat(list(ratios))
    if job.processes.count == 1:
        return kl_estimate(own)  # it stays on its device: nobody waits for it
    return kl_estimate(torch.cat(job.processes.gather(own.cpu())).to(own.device))


def evaluate(policy: Tensor, micro: Micro, job: Job, z: Tensor | None, tally: Tally) -> Tensor:
    """Return the losses (B,) of one pass's log-probabilities (M, R) and count it in the tally."""
    reference = job.reference(micro, policy)
    if job.loss.needs == "pairs":
        pairs = pair_batch(micro, policy, reference)
        outcome = job.loss(pairs, **job.loss_settings)
        tally.add_pairs(outcome, pairs)
    else:
        labels = label_batch(micro, policy, reference, policy.new_zeros(()) if z is None else z)
        outcome = job.loss(labels, **job.loss_settings)
        tally.add_labels(outcome, labels, *beta_z(job, z))
    losses: Tensor = outcome.losses
    return losses


def whole(tally: Tally, job: Job, *more: Tensor) -> tuple[Sums, list[float]]:
    """Return the sums over all processes' rows, and more numbers (), which all have the same of."""
    own, count = tally.read(*more), len(fields(Sums))
    columns = zip(*job.processes.gather(own[:count]), strict=True)
    return Sums(*map(sum, columns)), own[count:]


def idle_pass(model: nn.Module, job: Job) -> Tensor:
    """Return the log-probabilities of a pass that counts for nothing; other processes need it."""
    if job.idle is None:
        raise RuntimeError("a job in lockstep has no idle pass")
    found: Tensor = model(job.idle.block.to(_device(model)))
    return found


def beta_z(job: Job, z: Tensor | None) -> list[Tensor]:
    """Return where KTO's gains start, in units of reward; nothing for a loss without a z."""
    return [] if z is None else [job.loss_settings["beta"] * z]


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
    batch, tally, neutral = job.batch(0), Tally(policy.device), 0.0
    known = job.loss.reference and job.from_reference
    with torch.no_grad():
        z, scored = passes(policy, batch, job)
        for micro, values in scored:
            if micro is None:
                continue
            evaluate(values, micro, job, z, tally)
            if known:
                neutral += untrained_loss(micro, job).sum().item() / batch.size
    sums, start = whole(tally, job, *beta_z(job, z))
    neutral = sum(job.processes.gather(neutral))
    row = {"step": 0, "epoch": 0.0, **sums.as_json(batch.size, *start)}
    if not known:
        return {**row, "largest_reward": None, "expected_loss": None, "tolerance": None}
    largest = max(job.processes.gather(torch.stack(tally.largest).max().item()))
    loss = sums.losses / batch.size
    slope = 4 * neutral if neutral >= 1 else 1  # IPO's square: 4 times its loss, per unit of reward
    if not largest <= tolerance or not abs(loss - neutral) <= slope * tolerance:
        raise RuntimeError(
            f"before the first step a reward is {largest:.3g} (it has to be 0) and the loss "
            f"{loss:.6g} ({neutral:.6g}); allowed are {tolerance:.2g}"
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
    """The plan as a data set: item k is the number k, so a resumed run skips to its place.

    The batch is made in the step itself, where it is known how large a pass may be.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def __len__(self) -> int:
        return len(self.job.steps)

    def __getitem__(self, step: int) -> int:
        return step


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

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # the Trainer's sum of losses, off the device: it is read after the optimiser's step
        self.trainer._tr_loss = torch.tensor(0.0)

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


def _ratio(total: float, count: float) -> float | None:
    return total / count if count else None
