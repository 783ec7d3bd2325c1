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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from align.batches import Batch
from align.checkpoints import seal
from align.overflow import give_back_memory, ran_out
from align.policy import Policy
from align.recipes import TrainSettings
from align.step import Job, beta_z, evaluate, in_smaller_passes, passes, whole
from align.tally import Tally
from align.tuning import weights_of
from storage.errors import UserError

WEIGHTS = "adapter.safetensors"


class Diverged(UserError):
    """The numbers stopped being numbers."""


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
        seal(place, step=self.state.global_step, plan=self.job.digest)

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
        optim="adamw_torch_fused",  # one pass over the weights instead of a dozen
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
