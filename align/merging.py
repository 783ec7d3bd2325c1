"""Merge a run's adapter into its 16-bit base, and see whether the merged model says the same.

A process of its own, `python -m align.merging JOB.json`, on the CPU, so that a base that was
trained in 4 bits on a GPU can be merged from its 16-bit weights in memory. Lines of progress on
stdout; what was found is written to the job's report. It ends when its stdin is closed: with the
process that waits for it. Exit code 0: merged, whether or not it says the same; 2: a mistake that a
person can mend (one sentence on stderr); 1: a bug.

What is compared are log-probabilities per token of answers from the snapshot, and greedy answers,
of the base with the adapter, of the merged model before it is rounded, and of the files as written,
read again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.utils.logging import disable_progress_bar

from align.decoding import DecodeRow, decode
from align.json_files import read_json, write_json
from align.loaded import LoadedModel
from align.overflow import ran_out
from storage.errors import UserError
from storage.records import Message

SUMS = 1e-3
"""Root mean square difference per token (nats) that the order of sums may make in fp32. Choice: it
makes 5e-6 of SmolLM2-135M after a DPO of 28 steps; a forgotten layer or a wrong scaling makes more
than a hundredth."""
ROUNDING = 0.1
"""The same for what rounding the sums to 16 bits may make. Choice: what bf16 makes of any base
(`align.policy.HEAD`): a merged model may not differ more than a 16-bit model from itself."""
KEPT = 0.5
"""And that at most as a share of what training changed (root mean square per token too). Choice:
beyond it a quarter of the change is noise, and the adapter is the better thing to serve."""
GREEDY_TOKENS = 24
GREEDY_PROMPTS = 10  # Choice: 240 tokens of each model, ten seconds for a small one

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be merged."""

    model: str  # the base's folder
    adapter: str  # the adapter's
    out: str  # where the merged model goes; made
    report: str  # the file that tells how they compare
    dtype: str  # "bfloat16" or "float16": what is written
    exact: bool  # compute in fp32; else in bf16, in half the memory
    rows: Sequence[Mapping[str, Any]]  # {"prompt": messages, "response", "finished"}


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says of the rows."""

    logprobs: torch.Tensor  # of every token of every response, nats
    answers: Sequence[Sequence[int]]  # greedy ones to the first prompts


@dataclass(frozen=True, slots=True)
class Parity:
    """How the merged model compares with the base and its adapter."""

    dtype: str
    exact: bool  # compared in fp32
    rows: int
    tokens: int
    changed: float  # between base and base with adapter; rms per token, nats, like the others
    merged: float | None  # between adapter and merged weights before rounding; None unless exact
    written: float  # between adapter and the files
    written_largest: float  # of one token
    answers: int  # greedy ones compared
    merged_same: int | None  # of them
    written_same: int
    instead_of: str = ""  # what was tried before and rounded too much away

    @property
    def failed(self) -> str:
        """Return why the merged model is not to be used; "" if it says the same."""
        if self.merged is not None and not self.merged <= SUMS:
            return (
                f"merging changed what the model says: by {self.merged:.2g} nats per token before "
                f"rounding, where {SUMS:g} is allowed"
            )
        if self.merged_same is not None and self.merged_same < self.answers:
            return f"{self.answers - self.merged_same} of {self.answers} greedy answers changed"
        if not self.written <= ROUNDING:
            return (
                f"rounded to {self.dtype} the weights say something else: by {self.written:.2g} "
                f"nats per token, where {ROUNDING:g} is allowed"
            )
        if self.changed > SUMS and not self.written <= KEPT * self.changed:
            return (
                f"rounding to {self.dtype} moves the model by {self.written:.2g} nats per token, "
                f"and training moved it by no more than {self.changed:.2g}: serve the adapter"
            )
        return ""


def merge_closely(job: Job, say: Say) -> Parity:
    """Merge as the job says; where bf16 rounds too much of it away, or so much that a greedy answer
    is another one, in fp16 instead.

    fp16 has eight times finer steps. Measured: of SmolLM2-135M after a DPO of 28 steps, bf16 is
    0.17 nats per token (rms) off, where training moved it by 0.54.
    """
    parity = merge(job, say)
    sums_right = parity.merged is not None and parity.merged <= SUMS
    lost = parity.failed or parity.written_same < parity.answers
    whole = sums_right and parity.merged_same == parity.answers
    if not (lost and whole) or job.dtype != "bfloat16":
        return parity
    say(f"{parity.failed or 'in bfloat16 a greedy answer is another one'}: once more in float16")
    shutil.rmtree(job.out)
    finer = merge(replace(job, dtype="float16"), say)
    return replace(finer, instead_of=f"bfloat16, which is {parity.written:.2g} off")


def merge(job: Job, say: Say) -> Parity:
    """Write the merged model and return how it compares.

    Raises:
        Unsupported: the adapter cannot be merged, or does not fit the base.
        BadInput: it was damaged.
    """
    say("loading the base")
    precision = "fp32" if job.exact else "bf16"
    model = LoadedModel(Path(job.model), precision)
    adapter = model.use_adapter(Path(job.adapter))
    assert adapter is not None
    say("asking the base with its adapter")
    before, after = said(model, None, job.rows), said(model, adapter, job.rows)
    say("merging")
    model.fold(adapter)
    merged = said(model, None, job.rows) if job.exact else None
    say("writing the merged model")
    write(model, Path(job.model), Path(job.out), getattr(torch, job.dtype))
    del model  # first, so that two never stand in memory side by side
    say("asking the merged model as it was written")
    written = said(LoadedModel(Path(job.out), precision), None, job.rows)
    return compared(job, before, after, merged, written)


def compared(job: Job, before: Said, after: Said, merged: Said | None, written: Said) -> Parity:
    """Return how the merged model compares with the base and its adapter."""

    def same(other: Said) -> int:
        return sum(a == b for a, b in zip(after.answers, other.answers, strict=True))

    apart = (written.logprobs - after.logprobs).abs()
    return Parity(
        dtype=job.dtype,
        exact=job.exact,
        rows=len(job.rows),
        tokens=len(after.logprobs),
        changed=_rms(after.logprobs - before.logprobs),
        merged=None if merged is None else _rms(merged.logprobs - after.logprobs),
        written=_rms(apart),
        written_largest=float(apart.max()),
        answers=len(after.answers),
        merged_same=None if merged is None else same(merged),
        written_same=same(written),
    )


def _rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def said(model: LoadedModel, adapter: str | None, rows: Sequence[Mapping[str, Any]]) -> Said:
    """Return what the model says of the rows, with an adapter or as it is."""
    found: list[float] = []
    prompts: dict[str, Sequence[Message]] = {}
    for row in rows:
        prompt, finished = row["prompt"], bool(row.get("finished", True))
        found += model.token_scores(prompt, row["response"], adapter, finished=finished)[1]
        prompts.setdefault(json.dumps(prompt), prompt)
    asked = [
        DecodeRow(model.prompt_ids(prompt, GREEDY_TOKENS)[0], 0, GREEDY_TOKENS, 0.0, 1.0, adapter)
        for prompt in list(prompts.values())[:GREEDY_PROMPTS]
    ]
    answers: list[list[int]] = [[] for _ in asked]
    for step in decode(model, asked):
        for new in step:
            answers[new.row].append(new.token)
    return Said(torch.tensor(found, dtype=torch.float64), answers)


def write(model: LoadedModel, base: Path, out: Path, dtype: torch.dtype) -> None:
    """Write the model's weights, configuration and tokenizer to a new folder.

    How the base generates is copied as it stands: the library refuses to write some of what it
    reads.
    """
    generation = base / "generation_config.json"
    if generation.is_file():
        model.model.generation_config = GenerationConfig.from_model_config(model.config)
    model.model.to(dtype).save_pretrained(out)
    model.tokenizer.save_pretrained(out)
    if generation.is_file():
        shutil.copyfile(generation, out / generation.name)


def main(arguments: Sequence[str]) -> int:
    """Do the one job that is named; return the exit code."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    job = Job(**read_json(Path(arguments[0])))
    try:
        parity = merge_closely(job, lambda line: print(line, flush=True))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:
        if not ran_out(error):
            raise
        print(
            "memory ran out while merging: free some, or publish with --no-merged", file=sys.stderr
        )
        return 2
    write_json(Path(job.report), {**asdict(parity), "failed": parity.failed})
    return 0


def _end_with_stdin() -> None:
    """Leave when the other side of stdin is gone, also in the middle of a sum.

    Past Python's own buffer, whose lock a waiting thread would hold to the end of the process.
    """
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
