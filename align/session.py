"""One run with its model in memory: rows into tokens, reference, training, adapter, report.

Writes into the run's folder through `RunFiles`; how it ends for a person, `align/train.py` says.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from transformers import AutoConfig, AutoTokenizer

from align import recipes, sharding
from align.batches import Cutter, Fork, Micro, plan
from align.checkpoints import newest_complete, publish
from align.device import device_now
from align.evaluate import (
    REPORT_PROMPTS,
    answers_report,
    drift,
    greedy_answers,
    held_out,
)
from align.health import Course, concerns_of
from align.judge import Judge
from align.keeping import Published, judged_steps
from align.losses import LOSSES, balanced_weights
from align.policy import (
    Policy,
    device_here,
    flex_is_faster,
    load_policy,
    riders_agree,
    shared_prompts_agree,
    stop_ids,
)
from align.preflight import BUDGET, Passes, Rows, of_one, settle
from align.probes import PROBE_PROMPTS, Prober
from align.processes import ALONE, Processes
from align.reference import ReferenceScores, batching_noise, score
from align.rendering import Ids, LabelRow, PairRow, Row, Template, label_rows, pair_rows
from align.run_files import ANSWERING, SCORING, TRAINING, RunFiles
from align.scored import cache_of, start_of
from align.step import Job, first_row, idle_pass
from align.subset import rows_of
from align.trainer import PreferenceTrainer
from align.tuning import TRAINED, copies_weights
from storage.errors import BadInput, NotFound

SAMPLE = 2  # rows whose scores are compared before a run
TOLERANCE = 1e-4  # of a reward before the first step, in fp32
GENERATED_WORK = (
    12  # forward tokens that one generated token costs in time. Choice: 2 cores, 16 rows
)


@dataclass(frozen=True, slots=True)
class Material:
    """What a snapshot gives this run, in tokens."""

    train: list[Row]
    held_out: list[PairRow]
    prompts: list[Ids]  # held-out prompts for greedy answers
    dropped: Mapping[str, int]


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
    material: Material
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
        limit = min(train.max_tokens, base.get("max_position_embeddings") or train.max_tokens)
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
        self._read_cache()
        self._plan_work(done)
        scoring = time.monotonic()
        self.files.status(
            "training", SCORING, step=done, steps=len(self.job.steps), resumed=done > 0
        )
        self._score_reference()
        self.files.keep_metrics(done if checkpoint else -1)
        if checkpoint is None:
            self.files.add_metrics(self._first_row())
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
        rows = self.files.metrics()
        report = {
            "published": published.as_json(),
            "held_out": held_out(scores),
            "drift": drift(scores),
            "kl": kl,
            **answers_report(before, self._answers()),
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

    def _first_row(self) -> dict[str, Any]:
        tolerance = TOLERANCE
        if self.precision != "fp32":
            micro = self.together.from_first(self.job.batch(0).micros[:1])[0]
            noise = batching_noise(self.policy, micro, shared=self.cutter.shared)
            tolerance = max(TOLERANCE, 2 * self.job.loss_settings.get("beta", 1.0) * noise)
        return first_row(self.policy, self.job, tolerance)

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
        answers = 2 * len(self.material.prompts) * 100 * GENERATED_WORK
        run = whole * (3 + mismatched) + scored + judging + answers
        self.judge.plan_probes(run, GENERATED_WORK)  # by the whole run, wherever this one resumes
        reference = 0 if len(self.references) else scored + judging
        self.files.work = self._work_after(done) + reference + answers

    def _work_after(self, done: int) -> float:
        """Return what training and judging take from a step on, in forward tokens."""
        training = sum(self._tokens_of(step) for step in range(done, len(self.job.steps)))
        passes = 3 + self.job.loss.mismatched
        return training * passes + self.judge.work(done, GENERATED_WORK)


def prepare(
    settings: recipes.Settings,
    template: Template,
    rows: Mapping[str, list[dict[str, Any]]],
    limit: int,
) -> Material:
    """Return train rows, held-out pairs and held-out prompts; duel rows stay untouched."""
    loss = LOSSES[settings.method]
    training, judged = rows_of(loss, rows, settings.train.max_rows)
    counts: Counter[str]
    found: list[Row]
    if loss.needs == "pairs":
        pairs, counts = pair_rows(template, training, limit)
        found = list(pairs)
    else:
        labels, counts = label_rows(template, training, limit)
        found = list(labels)
    if not found:
        raise BadInput(
            f"none of the {len(training)} {loss.needs} can be trained on: {dict(+counts)}"
        )
    held, _ = pair_rows(template, judged, limit)
    thumbs, _ = label_rows(template, [r for r in rows["labels"] if r["split"] == "held_out"], limit)
    prompts: dict[str, Ids] = {}
    for one in sorted([*held, *thumbs], key=lambda row: row.prompt_id):
        if len(prompts) < REPORT_PROMPTS:
            prompts.setdefault(one.prompt_id, one.prompt)
    return Material(found, held, list(prompts.values()), dict(+counts))


def probe_prompts(material: Material) -> list[Ids]:
    """Return the prompts of a run's probes: held-out ones, or where there is none, trained ones."""
    rows = sorted(material.train, key=lambda row: row.prompt_id)
    trained = list(dict.fromkeys(row.prompt for row in rows))
    return (material.prompts or trained)[:PROBE_PROMPTS]


def load(
    config: Mapping[str, Any], settings: recipes.Settings, precision: str, together: Processes
) -> Policy:
    """Return the policy; where the base is to be sharded, with this process's share of it."""
    if not sharded(config) or together.count == 1:
        return read_policy(config, settings, precision, device_here())
    read = partial(read_policy, config, settings, precision, torch.device("cpu"))
    return sharding.load_in_turn(read, together, device_here())


def read_policy(
    config: Mapping[str, Any], settings: recipes.Settings, precision: str, device: torch.device
) -> Policy:
    """Return the base with an adapter, a new one or that of the run that this one goes on from."""
    train, (start, kept) = settings.train, start_of(config)
    policy = load_policy(
        config["model"],
        precision=precision,
        rank=train.lora_rank,
        alpha=train.lora_alpha,
        seed=train.seed,
        tune=train.tune,
        device=device,
    )
    if start is not None:
        policy.go_on_from(start, as_reference=kept)
    return policy


def sharded(config: Mapping[str, Any]) -> bool:
    """Say whether the base is to lie in shares on the processes."""
    return bool(config.get("shard"))


def choose_passes(
    config: Mapping[str, Any],
    base: Mapping[str, Any],
    settings: recipes.Settings,
    material: Material,
    references: ReferenceScores,
    processes: int = 1,
) -> Passes:
    """Return how the run computes: as its preflight settled, else by what is free now.

    Args:
        references: those of a run that goes on know the precision that it began with.
        processes: that share the work.

    Raises:
        Unsupported: it does not fit.
    """
    if settled := Passes.of(config):
        return settled
    train = settings.train
    train = dataclasses.replace(train, precision=references.precision or train.precision)
    train, device = of_one(train, device_now(), processes)
    rows = Rows.of(material.train, train, riding=LOSSES[settings.method].mismatched)
    name = str(config.get("model_name", config["model"]))
    return settle(base, 0, rows, train, device, name, processes if sharded(config) else 1).passes


def choose_cutter(
    policy: Policy,
    precision: str,
    settings: recipes.Settings,
    material: Material,
    pad: int,
    *,
    budget: int = 0,
    together: Processes = ALONE,
) -> Cutter:
    """Return how to cut batches; responses to one prompt share a row if that scores the same here,
    and KTO's mismatched responses ride on the rows' prompts.

    Args:
        budget: padded tokens per forward pass; 0: what is usual on the device.
        together: the processes that decide as the first one does. In lockstep nothing rides, for a
            pass with riders in one process would meet two passes without in another.
    """
    train, rows = settings.train, material.train
    alone = Cutter(
        shared=False,
        budget=budget or BUDGET[policy.device.type],
        limit=train.micro_batch,
        max_tokens=train.max_tokens,
        pad=pad,
        prompts=bool(settings.loss.get("prompt_weight")),
    )
    sample = [Fork(row.prompt, row.responses) for row in rows[:SAMPLE]]
    if len(sample[0].responses) == 1:  # labels: each with another one's response beside it
        sample = [Fork(f.prompt, (*f.responses, *sample[i - 1].responses))
                  for i, f in enumerate(sample)]  # fmt: skip
    in_step = together.lockstep  # then nobody tries what might fail in one process alone
    policy.flex = not in_step and together.from_first(flex_is_faster(policy, sample))
    shared, difference = together.from_first(shared_prompts_agree(policy, sample, precision))
    if policy.flex and not shared:
        policy.flex = False
        shared, difference = together.from_first(shared_prompts_agree(policy, sample, precision))
    print(f"one row per prompt: {shared} (differs by {difference:.2g} nats per token)", flush=True)
    mismatched = LOSSES[settings.method].mismatched
    apart = in_step or policy.recomputed  # recomputed: no keys and values are kept to ride on
    riding = shared and mismatched and not apart and riders_agree(policy, sample, precision)
    if mismatched:
        print(f"mismatched responses ride on the prompts: {riding}", flush=True)
    return dataclasses.replace(alone, shared=shared, riding=riding)


def loss_settings(settings: recipes.Settings, rows: list[Row]) -> dict[str, float]:
    """Return the loss's settings as numbers: "auto" label weights by the counts of the labels."""
    values = dict(settings.loss)
    if recipes.AUTO in values.values():
        good = sum(isinstance(row, LabelRow) and row.good for row in rows)
        for name, weight in zip(
            recipes.BALANCED, balanced_weights(good, len(rows) - good), strict=True
        ):
            if values[name] == recipes.AUTO:
                values[name] = weight
    return values


def read_base(path: str) -> dict[str, Any]:
    """Return the base's config.json.

    Raises:
        NotFound: the base is not there (any more), or lacks its configuration.
    """
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except OSError as error:
        raise NotFound(
            f"the base model {path} cannot be loaded ({str(error).splitlines()[0]}); "
            "put it back, or train again from another base"
        ) from error
    values: dict[str, Any] = config.to_dict()
    return values


def versions() -> dict[str, str]:
    """Return what the adapter was made with."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }


def _steps_of(checkpoint: Path | None) -> int:
    return 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
