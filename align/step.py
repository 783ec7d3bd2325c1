"""One step of a run, from its rows to losses: which rows, in which passes, with which z.

A step's loss is a mean over its rows, so it does not matter into how many passes they are cut, nor
how many processes share them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from align.batches import Batch, Cutter, Micro, label_batch, pair_batch
from align.losses import LOSSES, Loss, kl_estimate
from align.overflow import too_large
from align.policy import Policy
from align.processes import ALONE, Processes
from align.recipes import Settings
from align.reference import ReferenceScores, log_probabilities, score_pass
from align.rendering import Row
from align.tally import Sums, Tally

TOLERANCE = 1e-4  # of a reward before the first step; it is 0 where nothing is wrong
KEPT = {"fp32": 2e-3, "bf16": 0.2, "nf4": 0.2}
"""Root mean square difference per token (nats) between the reference's kept scores and new ones.

Choice: SmolLM2's differ by 0.02 to 0.06 with the kernel and with the rows beside them, in bf16 and
NF4 (docs/log.md), and by 1e-5 in fp32. Between two models 0.2 is a KL of about 0.02 nats per token,
half of its square: less than a training makes, and far less than lies between two bases.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What a run trains on, and how."""

    settings: Settings
    loss_settings: Mapping[str, float]  # with the label weights as numbers
    rows: Sequence[Row]
    steps: Sequence[tuple[int, ...]]  # which rows each step takes
    cutter: Cutter
    references: ReferenceScores
    from_reference: bool = True  # the policy starts as the reference, not as a later adapter
    processes: Processes = ALONE  # that share each step's rows
    idle: Micro | None = None  # the pass of a process without rows, where all have to go in step
    before: Callable[[Micro], None] | None = None  # called with each pass before it is computed

    @property
    def steps_per_epoch(self) -> int:
        return len(self.steps) // self.settings.train.epochs

    @property
    def digest(self) -> str:
        """Return a SHA-256 over which rows each step takes, in hex."""
        plan = [[self.rows[i].id for i in step] for step in self.steps]
        return hashlib.sha256(json.dumps(plan).encode()).hexdigest()

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
        policy, ridden = compute(model, micro, job)
        reference = job.reference(riders, ridden)
        return estimate_z(job, [(ridden - reference).sum(-1)]), iter([(micro, policy)])

    def one_by_one() -> Iterator[tuple[Micro | None, Tensor]]:
        for micro in job.processes.in_step(batch.micros):
            pause()
            if micro is None:
                yield None, idle_pass(model, job)
            else:
                yield micro, compute(model, micro, job)[0]

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
            policy, _ = compute(model, micro, job)
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


def compute(model: nn.Module, micro: Micro, job: Job) -> tuple[Tensor, Any]:
    """Return what one forward pass gives (M, R), and what its riders get (M', R') or None."""
    if job.before is not None:
        job.before(micro)
    return log_probabilities(model, micro)


def idle_pass(model: nn.Module, job: Job) -> Tensor:
    """Return the log-probabilities of a pass that counts for nothing; other processes need it."""
    if job.idle is None:
        raise RuntimeError("a job in lockstep has no idle pass")
    return compute(model, job.idle, job)[0]


def beta_z(job: Job, z: Tensor | None) -> list[Tensor]:
    """Return where KTO's gains start, in units of reward; nothing for a loss without a z."""
    return [] if z is None else [job.loss_settings["beta"] * z]


def first_row(
    policy: Policy, job: Job, tolerance: float = TOLERANCE, apart: float = KEPT["fp32"]
) -> dict[str, Any]:
    """Return the row of step 0: the first batch before any update, where nothing was learned yet.

    With a reference every reward has to be 0 there, and the loss what the method gives for that
    (ln 2 for DPO). It is the one test that reference, masks and rows fit together, so it is made in
    every run. Rewards are those over the reference's scores of the very same passes, where rounding
    is the same too; the scores that the run keeps, perhaps of other passes, have to be as near to
    these as the precision allows. On top of an adapter that is not the reference rewards are not 0;
    without a reference nothing is asked of the row.

    Args:
        tolerance: how far a reward may be from 0.
        apart: root mean square difference per token (nats) that the kept scores may have.

    Raises:
        RuntimeError: they do not fit: a bug, scores of another model, or a base that is not
            deterministic.
    """
    batch, tally, neutral = job.batch(0), Tally(policy.device), 0.0
    known, kept = job.loss.reference and job.from_reference, job.references
    own = ReferenceScores()
    if job.loss.reference:
        job = replace(job, references=own, before=lambda micro: score_pass(policy, micro, own))
    with torch.no_grad():
        z, scored = passes(policy, batch, job)
        for micro, values in scored:
            if micro is None:
                continue
            evaluate(values, micro, job, z, tally)
            if known:
                neutral += untrained_loss(micro, job).sum().item() / batch.size
    check_kept(own, kept, job.processes, apart)
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


def check_kept(
    own: ReferenceScores, kept: ReferenceScores, processes: Processes, apart: float
) -> None:
    """Raise unless the reference's kept scores are those of its passes now, but for rounding."""
    found = max(processes.gather(own.apart(kept)))
    if not found <= apart:
        raise RuntimeError(
            f"the kept scores of the reference differ from it by {found:.3g} nats per token "
            f"(allowed are {apart:.2g}): they are of another model or of other rows"
        )


def untrained_loss(micro: Micro, job: Job) -> Tensor:
    """Return the losses (B,) of a policy that equals its reference."""
    reference = micro.reference(job.references)
    if job.loss.needs == "pairs":
        batch: Any = pair_batch(micro, reference, reference)
    else:
        batch = label_batch(micro, reference, reference, reference.new_zeros(()))
    losses: Tensor = job.loss(batch, **job.loss_settings).losses
    return losses


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
