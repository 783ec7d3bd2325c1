"""One run with its model in memory: rows into tokens, reference, training, adapter, report.

Writes into the run's folder through `RunFiles`; how it ends for a person, `align/train.py` says.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from transformers import AutoConfig, AutoTokenizer

from align import recipes
from align.batches import Cutter, Fork, Micro, plan
from align.checkpoints import newest_complete, publish
from align.evaluate import (
    REPORT_PROMPTS,
    PairScore,
    answers_report,
    drift,
    greedy_answers,
    held_out,
    score_pairs,
)
from align.losses import LOSSES, PairBatch, PairOutcome, balanced_weights, dpo
from align.policy import (
    TRAINED,
    Policy,
    choose_precision,
    load_policy,
    riders_agree,
    shared_prompts_agree,
    stop_ids,
)
from align.processes import Processes
from align.reference import ReferenceScores, batching_noise, score
from align.rendering import Ids, LabelRow, PairRow, Row, Template, label_rows, pair_rows
from align.run_files import RunFiles
from align.subset import part_of
from align.trainer import Job, PreferenceTrainer, first_row
from storage.errors import BadInput, NotFound, Unsupported

WORSE = 0.1  # Choice: of 32 answers, three more
SAMPLE = 2  # rows whose scores are compared before a run
TOLERANCE = 1e-4  # of a reward before the first step, in fp32
GENERATED_WORK = (
    12  # forward tokens that one generated token costs in time. Choice: 2 cores, 16 rows
)
BUDGET = {
    "cpu": 1536,
    "cuda": 16384,
}  # padded tokens per forward pass. Choice: SmolLM2 then trains within 3.2 GB (docs/log.md)


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
    judged: list[Micro]  # the held-out pairs
    scores: tuple[int, list[PairScore]] | None = None  # of the held-out pairs, after a step
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
        parameters = recipes.count_parameters(base)
        precision = references.precision or choose_precision(train.precision, parameters)
        precision = together.from_first(precision)
        references.precision = precision  # a resumed run goes on as it began, whatever is free now
        stops = stop_ids(path)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        template = Template.of(tokenizer, stops)
        stops |= {template.end[-1]}
        together.pause()
        material = prepare(settings, template, rows, limit)
        policy = load_policy(
            path,
            precision=precision,
            rank=train.lora_rank,
            alpha=train.lora_alpha,
            seed=train.seed,
        )
        start, kept = start_of(config)
        if start is not None:
            policy.go_on_from(start, as_reference=kept)
        together.pause()
        cutter = choose_cutter(policy, precision, settings, material, tokenizer.pad_token_id or 0)
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
        )  # fmt: skip
        judged = list(cutter.batch(material.held_out).micros)
        print(
            f"{config['run']}: {settings.method}, {len(material.train)} rows, {len(steps)} steps, "
            f"{precision} on {policy.device}, {together.count} processes, "
            f"shared prompts: {cutter.shared}",
            flush=True,
        )
        return Session(
            files, config, settings, together, policy, template, stops, material, precision,
            cutter, references, job, judged,
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
        self.files.status("training", "scoring the reference", step=done, steps=len(self.job.steps))
        self._score_reference()
        self.files.keep_metrics(done if checkpoint else -1)
        if checkpoint is None:
            self.files.add_metrics(self._first_row())
        self.files.status("training", "training")
        trainer = PreferenceTrainer(
            self.policy,
            self.job,
            checkpoints,
            write=self._write,
            pause=self.together.pause,
            after_epoch=self._judge,
        )
        started = time.monotonic()
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except torch.cuda.OutOfMemoryError as error:
            raise Unsupported(
                "the GPU's memory is too small for this run; set micro_batch=1, a smaller "
                "max_tokens, or precision=nf4"
            ) from error
        finally:
            trainer.save_now()
        self.trained_seconds = time.monotonic() - started
        self.speed = round(self.files.work_done / (time.monotonic() - scoring), 1)

    def publish(self) -> None:
        """Put the adapter into its place, in PEFT's format, with tokenizer and template."""
        self.together.pause()
        if not self.together.first:
            return

        def write(folder: Path) -> None:
            self.policy.model.save_pretrained(str(folder), selected_adapters=[TRAINED])
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
            versions=versions(),
        )

    def report(self) -> None:
        """Measure on held-out prompts and write report.json."""
        self.files.status("evaluating", "answering held-out prompts before and after")
        steps = len(self.job.steps)
        if self.scores is None or self.scores[0] != steps:
            self._judge(steps)
        with self.policy.reference():
            before = self._answers()
        report = {
            "held_out": held_out(self.scores[1] if self.scores else []),
            "drift": drift(self.scores[1] if self.scores else []),
            **answers_report(before, self._answers()),
            "dropped": dict(self.material.dropped),
            "step0": next((row for row in self.files.metrics() if row["step"] == 0), None),
            "seconds": self.files.seconds,
        }
        self.files.report(report)
        self.files.status(
            "done",
            closing_words(report),
            step=steps,
            epoch=float(self.settings.train.epochs),
            training_seconds=round(self.trained_seconds, 1),
            tokens_per_second=self.speed,
        )

    def _read_cache(self) -> None:
        """Take over what earlier runs scored of this run's rows."""
        cache = cache_of(self.config, self.precision)
        if cache is not None:
            forks = (fork for micro in self._every_micro() for fork in micro.forks)
            self.references.take(ReferenceScores.load(cache), forks)
            self._share_references()

    def _score_reference(self) -> None:
        """Score what has no score yet, the first epoch's forward passes first.

        Each process scores its own share of the steps and of the held-out pairs; then all know all.
        """
        known = len(self.references)
        try:
            score(self.policy, self._every_micro(), self.references, self._tick_for_all)
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
        mine = self.together.mine([micro.block.ids.numel() for micro in self.judged])
        yield from (self.judged[i] for i in mine)

    def _first_row(self) -> dict[str, Any]:
        tolerance = TOLERANCE
        if self.precision != "fp32":
            noise = max(self.together.gather(self._noise()))
            tolerance = max(TOLERANCE, 2 * self.job.loss_settings.get("beta", 1.0) * noise)
        return first_row(self.policy, self.job, tolerance)

    def _noise(self) -> float:
        """Return what the company of other rows may change here, in nats; 0 without a row."""
        micros = self.job.batch(0).micros[:1]
        return max((batching_noise(self.policy, m, shared=self.cutter.shared) for m in micros),
                   default=0.0)  # fmt: skip

    def _write(self, row: dict[str, Any]) -> None:
        self.files.add_metrics(row)
        if "loss" in row:
            work = (3 + self.job.loss.mismatched) * self._tokens_of(row["step"] - 1)
            self.files.progress(work, step=row["step"], epoch=row["epoch"], message="training")

    def _judge(self, step: int) -> dict[str, Any]:
        """Score the held-out pairs now; return their row for metrics.jsonl."""
        scores = score_pairs(self.policy, self.judged, self.references, self._judging, self._tick)
        self.scores = (step, scores)
        return {
            "eval_loss": _mean([score.loss for score in scores]),
            "eval_accuracy": held_out(scores)["reward_accuracy"],
            "eval_margin": _mean([score.reward_margin for score in scores]),
            "eval_chosen_drift": drift(scores)["chosen"],
        }

    def _judging(self, batch: PairBatch) -> PairOutcome:
        """Return the method's loss on held-out pairs; DPO's for a method of labels."""
        if self.job.loss.needs == "labels":
            return dpo(batch, beta=self.job.loss_settings.get("beta", 1.0))
        outcome: PairOutcome = self.job.loss(batch, **self.job.loss_settings)
        return outcome

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
        training = sum(self._tokens_of(step) for step in range(done, len(self.job.steps)))
        judging = sum(micro.block.ids.numel() for micro in self.judged)
        scored = training // epochs * (1 + mismatched) if self.job.loss.reference else 0
        reference = 0 if len(self.references) else scored + judging
        answers = 2 * len(self.material.prompts) * 100 * GENERATED_WORK
        self.files.work = training * (3 + mismatched) + judging * epochs + reference + answers


def cache_of(config: Mapping[str, Any], precision: str) -> Path | None:
    """Return the file of this base's reference scores in the data folder, if the run has one."""
    folder, base = config.get("cache"), config.get("model_fingerprint")
    if not folder or not base:
        return None
    words = [base[:16], precision]
    if start_of(config)[1]:
        words.append(config["start"]["digest"][:16])
    return Path(folder) / "reference" / f"{'-'.join(words)}.safetensors"


def start_of(config: Mapping[str, Any]) -> tuple[Path | None, bool]:
    """Return the adapter that a run goes on from, if any, and whether that is its reference."""
    start = config.get("start")
    if not start:
        return None, False
    return Path(start["adapter"]), config.get("reference") == "start"


def prepare(
    settings: recipes.Settings,
    template: Template,
    rows: Mapping[str, list[dict[str, Any]]],
    limit: int,
) -> Material:
    """Return train rows, held-out pairs and held-out prompts; duel rows stay untouched."""
    loss = LOSSES[settings.method]
    training: Sequence[Mapping[str, Any]]
    training = [row for row in rows[loss.needs] if row["split"] == "train"]
    if loss.only_good:
        training = [row for row in training if row["label"]]
    training = part_of(training, settings.train.max_rows)
    held_out_pairs = [row for row in rows["pairs"] if row["split"] == "held_out"]
    judged = part_of(held_out_pairs, settings.train.max_rows)  # a short run is judged briefly
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


def choose_cutter(
    policy: Policy, precision: str, settings: recipes.Settings, material: Material, pad: int
) -> Cutter:
    """Return how to cut batches; responses to one prompt share a row if that scores the same here,
    and KTO's mismatched responses ride on the rows' prompts."""
    train, rows = settings.train, material.train
    alone = Cutter(
        shared=False,
        budget=BUDGET[policy.device.type],
        limit=train.micro_batch,
        max_tokens=train.max_tokens,
        pad=pad,
        prompts=bool(settings.loss.get("prompt_weight")),
    )
    sample = [Fork(row.prompt, row.responses) for row in rows[:SAMPLE]]
    if len(sample[0].responses) == 1:  # labels: each with another one's response beside it
        sample = [Fork(f.prompt, (*f.responses, *sample[i - 1].responses))
                  for i, f in enumerate(sample)]  # fmt: skip
    shared, difference = shared_prompts_agree(policy, sample, precision)
    print(f"one row per prompt: {shared} (differs by {difference:.2g} nats per token)", flush=True)
    mismatched = LOSSES[settings.method].mismatched
    riding = shared and mismatched and riders_agree(policy, sample, precision)
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


def closing_words(report: Mapping[str, Any]) -> str:
    """Return "done", and what is wrong with the answers where training made them worse."""
    worse = [
        f"{after:.0%} of the answers {what} (before: {before:.0%})"
        for name, what in (("repeating", "repeat themselves"), ("unfinished", "do not stop"))
        if (after := report[name]["after"] or 0) > (before := report[name]["before"] or 0) + WORSE
    ]
    if not worse:
        return "done"
    return f"done, but now {' and '.join(worse)}: train again with fewer epochs or a larger beta"


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


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
