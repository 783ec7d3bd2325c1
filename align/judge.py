"""Judges a run while it goes: held-out pairs and probe answers, a row of metrics.jsonl each time.

It keeps the weights of the best step so far in a sealed folder of the run (`kept/step-N`), and says
when to stop early. What is decided is in `align/keeping.py`, from the rows alone. Of several
processes each scores a share of the pairs, and the first one answers the probes and writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from align import keeping
from align.answer_costs import PROBE_TOKENS, affordable, probe_work
from align.batches import Micro
from align.checkpoints import publish
from align.evaluate import PairScore, judgement, score_pairs
from align.health import Course, concerns_of
from align.keeping import Published
from align.losses import PairBatch, PairOutcome, dpo
from align.manifest import verify_manifest
from align.policy import Policy
from align.probes import Prober
from align.run_files import RunFiles
from align.step import Job, idle_pass
from storage.errors import BadInput, NotFound


@dataclass(slots=True)
class Judge:
    """What judges one run; all of its processes have to call it alike.

    Args:
        held_out: the held-out pairs as forward passes.
        when: the steps after which it judges; `probed` those where it asks for answers too.
    """

    files: RunFiles
    policy: Policy
    job: Job
    held_out: Sequence[Micro]
    prober: Prober
    when: Sequence[int]
    probed: Collection[int] = ()
    write_weights: Callable[[Path], None] | None = None  # the trainer's, once there is one
    scores: tuple[int, list[PairScore]] | None = None  # of the held-out pairs, after a step

    def __call__(self, step: int) -> bool:
        """Judge the run if it is time after this step; say whether it shall stop here."""
        if step not in self.when:
            return False
        rows = self._rows()
        if not any(row["step"] == step and _judged(row) for row in rows):
            rows.append(self._judge(step, rows))
        return keeping.gives_up(keeping.losses_of(rows), self.job.settings.train.early_stop)

    def published(self, done: int) -> Published:
        """Return whose weights the run publishes, after so many steps."""
        return keeping.published(
            self._rows(),
            done=done,
            steps=len(self.job.steps),
            patience=self.job.settings.train.early_stop,
            kept=self.job.processes.from_first(list(self._whole())) if self._keeps_best() else (),
        )

    def kept(self, step: int) -> Path:
        """Return the folder where the weights of a judged step lie, if they were the best."""
        return self.files.folder / "kept" / f"step-{step}"

    def score(self, step: int) -> list[PairScore]:
        """Return the scores of the held-out pairs under the policy, which stands after a step."""
        if self.scores is None or self.scores[0] != step:
            policy = None if step == 0 and self._starts_as_reference() else self.policy
            shares = self.job.processes.gather(self._share(policy))
            found = {i: scores for share in shares for i, scores in share.items()}
            self.scores = (step, [score for i in sorted(found) for score in found[i]])
        return self.scores[1]

    def mine(self) -> list[int]:
        """Return which of the held-out passes are this process's share."""
        return self.job.processes.mine([micro.block.ids.numel() for micro in self.held_out])

    def kl(self, step: int) -> dict[str, float | int]:
        """Return the KL to the reference of the policy, which stands after a step; {} without
        prompts."""
        for row in self._rows():
            if row["step"] == step and row.get("eval_kl") is not None:
                return _kl(row)
        return _kl(self._probe())

    def work(self, done: int, generated: float) -> float:
        """Return what judging costs from a step on, in forward tokens.

        Args:
            generated: forward tokens that one generated token costs in time.
        """
        ahead = [step for step in self.when if step > done or step == done == 0]
        scored = sum(micro.block.ids.numel() for micro in self.held_out)
        passes = sum(1 for step in ahead if step or not self._starts_as_reference())
        probes = sum(1 for step in ahead if step in self.probed)
        return passes * scored + probes * self.probe_work(generated)

    def probe_work(self, generated: float) -> float:
        """Return what one probe costs, in forward tokens: its answers, and KL under two models."""
        prompts = self.prober.prompts
        width = sum(len(prompt) + PROBE_TOKENS for prompt in prompts)
        return probe_work(len(prompts), width, generated)

    def plan_probes(self, work: float, generated: float) -> None:
        """Choose the judgements that ask for answers too: as many as a share of the work pays for,
        and at least the first and the last."""
        most = affordable(work, self.probe_work(generated))
        self.probed = frozenset(keeping.thinned(self.when, most))

    def _judge(self, step: int, rows: Sequence[keeping.Row]) -> dict[str, object]:
        """Judge the run now and write the row, after its weights if they are the best so far."""
        row: dict[str, object] = {"step": step}
        if self.held_out:
            row |= judgement(self.score(step))
        if step in self.probed:
            row |= self._probe()
        now = [*rows, row]
        if self._keeps_best() and keeping.best_step(keeping.losses_of(now)) == step:
            self._keep(step, now)
        if len(row) > 1:
            self.files.add_metrics(row)
        course = Course.of(now, self.job.settings.as_json())
        self.files.progress(0, warnings=[one.as_json() for one in concerns_of(course)])
        return row

    def _rows(self) -> list[dict[str, object]]:
        """Return the rows of metrics.jsonl, which the first process writes."""
        together = self.job.processes
        return together.from_first(self.files.metrics() if together.first else [])

    def _probe(self) -> dict[str, float | int]:
        """Return the first process's figures of a probe."""
        together, found = self.job.processes, {}
        if together.helps:
            found = self.prober.probe(self.policy, self._probed, self._between_tokens)
        return together.from_first(found)

    def _share(self, policy: Policy | None) -> dict[int, list[PairScore]]:
        """Return the scores of this process's held-out passes, by their place."""
        found = {}
        for i in self.job.processes.in_step(self.mine()):
            if i is not None:
                micro, references = self.held_out[i], self.job.references
                found[i] = score_pairs(policy, [micro], references, self._loss, self._tick)
                continue
            if policy is not None:
                with torch.no_grad():
                    idle_pass(policy, self.job)
            self._tick(0)
        return found

    def _keep(self, step: int, rows: Sequence[keeping.Row]) -> None:
        """Keep these weights, and let those go that neither this run nor a resumed one may want."""
        if self.write_weights is None or not self.job.processes.first:
            return
        publish(self.kept(step), self.write_weights, step=step)
        wanted = {step}
        for manifest in self.files.folder.glob("checkpoints/checkpoint-*/manifest.json"):
            until = int(manifest.parent.name.rpartition("-")[2])
            earlier = [row for row in rows if row["step"] <= until]
            wanted.add(keeping.best_step(keeping.losses_of(earlier)) or step)
        for folder in self.files.folder.glob("kept/step-*"):
            if folder not in {self.kept(one) for one in wanted}:
                shutil.rmtree(folder)

    def _whole(self) -> Iterator[int]:
        """Yield the steps whose kept weights are there and whole."""
        for folder in self.files.folder.glob("kept/step-*"):
            try:
                yield int(verify_manifest(folder)["step"])
            except (NotFound, BadInput):
                continue

    def _keeps_best(self) -> bool:
        pairs = sum(len(micro.rows) for micro in self.held_out)
        return keeping.keeps_best(self.job.settings.train.keep, pairs)

    def _starts_as_reference(self) -> bool:
        """Say whether step 0 needs no pass; prompts have no reference score, so they do."""
        return self.job.from_reference and not self.job.cutter.prompts

    def _loss(self, batch: PairBatch) -> PairOutcome:
        """Return the method's loss on held-out pairs; for KTO DPO's, for SFT the chosen's NLL."""
        if self.job.loss.needs != "labels":
            outcome: PairOutcome = self.job.loss(batch, **self.job.loss_settings)
            return outcome
        outcome = dpo(batch, beta=self.job.loss_settings.get("beta", 1.0))
        if self.job.loss.only_good:
            return replace(outcome, losses=-batch.weight * batch.chosen.mean_logp())
        return outcome

    def _tick(self, tokens: int) -> None:
        self.job.processes.pause()
        self.files.progress(tokens * self.job.processes.count)

    def _probed(self, tokens: int) -> None:
        self.job.processes.pause()
        self.files.progress(tokens)

    def _between_tokens(self) -> None:
        self.job.processes.pause()
        self.files.progress(0)


def _judged(row: keeping.Row) -> bool:
    return row.get("eval_loss") is not None or row.get("probe_length") is not None


def _kl(row: Mapping[str, object]) -> dict[str, object]:
    names = {"eval_kl": "per_token", "eval_kl_tokens": "tokens"}
    return {name: row[column] for column, name in names.items() if column in row}
