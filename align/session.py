"""One run with its model in memory: rows into tokens, reference, training, adapter, report.

Writes into the run's folder through `RunFiles`; how it ends for a person, `align/train.py` says.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from transformers import AutoTokenizer

from align import recipes, sharding
from align.answer_costs import GENERATED_WORK, report_work
from align.batches import Cutter, Micro, plan
from align.checkpoints import newest_complete, publish
from align.evaluate import (
    answers_report,
    drift,
    greedy_answers,
    held_out,
)
from align.health import Course, concerns_of
from align.judge import Judge
from align.keeping import Published, judged_steps
from align.losses import LOSSES
from align.manifest import read_manifest
from align.models import context_of
from align.opening import (
    Tokenised,
    choose_cutter,
    choose_passes,
    load,
    loss_settings,
    prepare,
    probe_prompts,
    read_base,
    sharded,
)
from align.policy import (
    Policy,
    stop_ids,
)
from align.probes import Prober
from align.processes import Processes
from align.reference import ReferenceScores, score
from align.rendering import Template
from align.run_files import ANSWERING, SCORING, TRAINING, RunFiles
from align.scored import cache_of, start_of
from align.step import KEPT, Job, first_row, idle_pass
from align.trainer import PreferenceTrainer
from align.tuning import TRAINED, copies_weights
from storage.errors import BadInput


@dataclass(slots=True)
class Session:
    """A run with its model in memory."""

    files: RunFiles
    config: dict[str, Any]
    settings: recipes.Settings
    together: Processes
    policy: Policy
    template: Template
    stops: set[int]
    material: Tokenised
    precision: str
    cutter: Cutter
    references: ReferenceScores
    job: Job
    judge: Judge
    published: Published | None = None  # whose weights, once trained
    trained_seconds: float = 0.0
    speed: float = 0.0  # forward tokens per second, from the reference's scores to the last step

    @staticmethod
    def open(
        files: RunFiles,
        config: dict[str, Any],
        settings: recipes.Settings,
        rows: Mapping[str, list[dict[str, Any]]],
        together: Processes,
    ) -> Session:
        """Load the model, put the rows into tokens, and plan every step."""
        transformers.utils.logging.disable_progress_bar()
        path, train = config["model"], settings.train
        base = read_base(path)
        limit = min(train.max_tokens, context_of(base) or train.max_tokens)
        references = ReferenceScores.load(files.folder / "reference.safetensors")
        stops = stop_ids(path)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        template = Template.of(tokenizer, stops)
        stops |= {template.end[-1]}
        together.pause()
        material = prepare(settings, template, rows, limit)
        first = together.first  # what is free now may differ between processes
        passes = together.from_first(
            choose_passes(config, base, settings, material, references, together.count)
            if first
            else None
        )
        precision = passes.precision
        if sharded(config):
            precision = together.from_first(sharding.precision(precision, train))
        references.precision = precision  # a resumed run goes on as it began, whatever is free now
        start, kept = start_of(config)
        policy = load(config, settings, precision, together)
        if passes.checkpointing:
            policy.keep_only_layer_inputs()
        together.pause()
        cutter = choose_cutter(
            policy, precision, settings, material, tokenizer.pad_token_id or 0,
            budget=passes.budget, together=together,
        )  # fmt: skip
        steps = plan(
            material.train,
            epochs=train.epochs,
            batch_size=train.batch_size,
            seed=train.seed,
            keep_batches=LOSSES[settings.method].mismatched,
        )
        loss = loss_settings(settings, material.train)
        job = Job(
            settings, loss, material.train, steps, cutter, references,
            from_reference=start is None or kept, processes=together,
            idle=sharding.idle_micro(material.train[0]) if together.lockstep else None,
        )  # fmt: skip
        judge = Judge(
            files,
            policy,
            job,
            cutter.batch(material.held_out).micros,
            Prober(tokenizer, probe_prompts(material), stops, cutter, train.seed),
            judged_steps(len(steps), job.steps_per_epoch, train.eval_every),
        )
        print(
            f"{config['run']}: {settings.method}, {len(material.train)} rows, {len(steps)} steps, "
            f"{precision} on {policy.device}, {together.count} processes, "
            f"shared prompts: {cutter.shared}",
            flush=True,
        )
        return Session(
            files, config, settings, together, policy, template, stops, material, precision,
            cutter, references, job, judge,
        )  # fmt: skip

    def train(self) -> None:
        """Score the reference, check step 0, and train from the newest complete checkpoint."""
        checkpoints = self.files.folder / "checkpoints"
        mine = newest_complete(checkpoints) if self.together.first else None  # it clears up
        checkpoint = self.together.from_first(mine)
        done = _steps_of(checkpoint)
        if checkpoint is not None:
            refuse_other_plan(read_manifest(checkpoint), self.job)
        self._read_cache()
        self._plan_work(done)
        scoring = time.monotonic()
        self.files.status(
            "training", SCORING, step=done, steps=len(self.job.steps), resumed=done > 0
        )
        self._score_reference()
        self.files.keep_metrics(done if checkpoint else -1)
        if checkpoint is None:
            self.files.add_metrics(first_row(self.policy, self.job, apart=KEPT[self.precision]))
        self.files.status("training", TRAINING)
        trainer = PreferenceTrainer(
            self.policy,
            self.job,
            checkpoints,
            write=self._write,
            pause=self.together.pause,
            judge=self.judge,
        )
        self.judge.write_weights = trainer.write_weights
        if checkpoint is not None:
            trainer.read_weights(checkpoint)
        started = time.monotonic()
        try:
            if not self.judge(done):  # before the first step, or where a stop cut it short
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        finally:
            trainer.save_now()
        self.trained_seconds = time.monotonic() - started
        self.speed = round(self.files.work_done / (time.monotonic() - scoring), 1)
        done = max(done, trainer.state.global_step)
        self.published = self.judge.published(done)
        self.files.work -= self._work_after(done)
        if self.published.step != done:
            trainer.read_weights(self.judge.kept(self.published.step))

    def publish(self) -> None:
        """Put the adapter into its place, in PEFT's format, with tokenizer and template."""
        self.together.pause()
        if not self.together.first:
            return

        def write(folder: Path) -> None:
            model = self.policy.model
            model.save_pretrained(
                str(folder),
                selected_adapters=[TRAINED],
                save_embedding_layers=copies_weights(model),
            )
            self.template.tokenizer.save_pretrained(folder)

        snapshot = json.loads((Path(self.config["snapshot"]) / "manifest.json").read_text("utf-8"))
        publish(
            self.files.folder / "adapter",
            write,
            run=self.config["run"],
            method=self.settings.method,
            base=self.config.get("model_name", self.config["model"]),
            base_fingerprint=self.config.get("model_fingerprint"),
            precision=self.precision,
            snapshot=snapshot.get("id"),
            snapshot_digest=snapshot.get("digest"),
            start=(self.config.get("start") or {}).get("run"),
            reference=self.config.get("reference", "base"),
            settings={**self.settings.as_json(), **self.job.loss_settings},
            rows=len(self.material.train),
            steps=len(self.job.steps),
            published=self._published().as_json(),
            versions=versions(),
        )

    def report(self) -> None:
        """Measure on held-out prompts and write report.json."""
        self.files.status("evaluating", ANSWERING)
        published = self._published()
        scores, kl = self.judge.score(published.step), self.judge.kl(published.step)
        if not self.together.helps:
            return
        with self.policy.reference():
            before = self._answers()
        after = self._answers()
        rows = self.files.metrics()
        report = {
            "published": published.as_json(),
            "held_out": held_out(scores),
            "drift": drift(scores),
            "kl": kl,
            **answers_report(before, after),
            "dropped": dict(self.material.dropped),
            "step0": next((row for row in rows if row["step"] == 0), None),
            "seconds": self.files.seconds,
        }
        course = Course.of(rows, self.settings.as_json(), report)
        warnings = [concern.as_json() for concern in concerns_of(course)]
        self.files.report({**report, "warnings": warnings})
        self.files.status(
            "done",
            published.words if published.step < len(self.job.steps) else "done",
            step=published.done,
            epoch=round(published.done / self.job.steps_per_epoch, 4),
            warnings=warnings,
            training_seconds=round(self.trained_seconds, 1),
            tokens_per_second=self.speed,
            longest_answers=[max((a.tokens for a in some), default=0) for some in (before, after)],
        )

    def _read_cache(self) -> None:
        """Take over what earlier runs scored of this run's rows."""
        cache = cache_of(self.config, self.precision)
        if cache is not None:
            forks = (
                fork
                for micro in self._every_micro()
                for part in (micro, micro.riders)
                if part is not None
                for fork in part.forks
            )
            self.references.take(ReferenceScores.load(cache), forks)
            self._share_references()

    def _score_reference(self) -> None:
        """Score what has no score yet, the first epoch's forward passes first.

        Each process scores its own share of the steps and of the held-out pairs; then all know all.
        """
        known = len(self.references)
        try:
            score(self.policy, self._unscored(), self.references, self._tick_for_all)
            self._share_references()
        finally:
            if self.together.first:
                self._keep_reference(known)
        new = len(self.references) - known
        print(f"reference: {new} answers scored, {known} known from before", flush=True)

    def _share_references(self) -> None:
        for others in self.together.gather(self.references):
            self.references.merge(others)

    def _keep_reference(self, known: int) -> None:
        cache = cache_of(self.config, self.precision)
        self.references.save(self.files.folder / "reference.safetensors")
        if cache is not None and len(self.references) > known:
            shared = ReferenceScores.load(cache)
            shared.merge(self.references)
            shared.save(cache)

    def _every_micro(self) -> Iterator[Micro]:
        """Yield what has to be scored: later epochs take the first one's rows, in KTO's case with
        the same mismatched responses beside them."""
        for step in range(self.job.steps_per_epoch if self.job.loss.reference else 0):
            batch = self.job.batch(step)
            yield from batch.micros
            yield from batch.mismatched
        held_out = self.judge.held_out
        yield from (held_out[i] for i in self.judge.mine())

    def _unscored(self) -> Iterator[Micro]:
        """Yield what has no score; in lockstep compute along while other processes still have."""
        if not self.together.lockstep:
            yield from self._every_micro()
            return
        for micro in self.together.in_step(sharding.unknown(self._every_micro(), self.references)):
            if micro is not None:
                yield micro
                continue
            with self.policy.reference():
                idle_pass(self.policy, self.job)
            self._tick(0)

    def _write(self, row: dict[str, Any]) -> None:
        self.files.add_metrics(row)
        if "loss" in row:
            work = (3 + self.job.loss.mismatched) * self._tokens_of(row["step"] - 1)
            self.files.progress(work, step=row["step"], epoch=row["epoch"], message="training")

    def _published(self) -> Published:
        if self.published is None:
            raise RuntimeError("publish and report come after train")
        return self.published

    def _answers(self) -> list[Any]:
        return greedy_answers(
            self.policy,
            self.template.tokenizer,
            self.material.prompts,
            stops=self.stops,
            pause=self._pause_generating,
        )

    def _tick(self, tokens: int) -> None:
        self.together.pause()
        self.files.progress(tokens)

    def _tick_for_all(self, tokens: int) -> None:
        self._tick(tokens * self.together.count)

    def _pause_generating(self) -> None:
        self.together.pause()
        self.files.progress(0)

    def _tokens_of(self, step: int) -> int:
        return sum(len(self.job.rows[i].prompt) + sum(map(len, self.job.rows[i].responses))
                   for i in self.job.steps[step])  # fmt: skip

    def _plan_work(self, done: int) -> None:
        """Set how much there is to do, in forward tokens, so that time left can be told.

        A trained token costs three forward passes; KTO's mismatched responses one more in every
        epoch. The reference scores all of them once, and held-out pairs as well.
        """
        epochs, mismatched = self.settings.train.epochs, self.job.loss.mismatched
        whole = sum(map(self._tokens_of, range(len(self.job.steps))))
        judging = sum(micro.block.ids.numel() for micro in self.judge.held_out)
        scored = whole // epochs * (1 + mismatched) if self.job.loss.reference else 0
        answers = report_work(len(self.material.prompts), GENERATED_WORK)
        run = whole * (3 + mismatched) + scored + judging + answers
        self.judge.plan_probes(run, GENERATED_WORK)  # by the whole run, wherever this one resumes
        reference = 0 if len(self.references) else scored + judging
        self.files.work = self._work_after(done) + reference + answers

    def _work_after(self, done: int) -> float:
        """Return what training and judging take from a step on, in forward tokens."""
        training = sum(self._tokens_of(step) for step in range(done, len(self.job.steps)))
        passes = 3 + self.job.loss.mismatched
        return training * passes + self.judge.work(done, GENERATED_WORK)


def versions() -> dict[str, str]:
    """Return what the adapter was made with."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }


def refuse_other_plan(manifest: Mapping[str, Any], job: Job) -> None:
    """Refuse a checkpoint whose steps took other rows than the job's do.

    Raises:
        BadInput: rows are missing by now.
    """
    if manifest.get("plan", job.digest) != job.digest:  # older checkpoints do not say
        raise BadInput(
            "the rows are not those that this run began with (texts of its snapshot were erased): "
            "its steps would be other ones; train again"
        )


def _steps_of(checkpoint: Path | None) -> int:
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
