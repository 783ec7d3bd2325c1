"""Whole runs in their folders: what is written, refused, cancelled, resumed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from align import opening, session, train, trainer
from align.checkpoints import newest_complete
from align.losses import LOSSES
from align.manifest import verify_manifest
from align.reference import ReferenceScores
from align.scored import cache_of
from align.session import Session
from align.step import Job
from storage.errors import BadInput
from tests.align.small import (
    label_lines,
    pair_lines,
    read,
    rows_of,
    write_run,
    write_snapshot,
)

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("brief_answers")


def adapter_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    a, b = adapter_weights(one), adapter_weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@contextlib.contextmanager
def child_of(run: Path) -> Iterator[subprocess.Popen]:
    """A trainer in a process of its own, killed at the latest when the block ends."""
    with (run / "log.txt").open("a") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "align.train", str(run)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )
        try:
            yield child
        finally:
            child.kill()
            child.wait()


def wait_until(true: Callable[[], bool], seconds: float = 180.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def steps_done(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text().count('"grad_norm"') if path.exists() else 0


@pytest.fixture(scope="module")
def dpo_run(brief_answers: None, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of twelve pairs, two epochs of three steps."""
    run = write_run(tmp_path_factory.mktemp("data"), tiny)
    assert train.main([str(run)]) == 0
    return run


def test_a_run_says_how_it_went(dpo_run: Path) -> None:
    status, report = read(dpo_run / "status.json"), read(dpo_run / "report.json")
    assert status["status"] == "done"
    assert (status["step"], status["steps"], status["epoch"]) == (6, 6, 2.0)
    assert status["pid"] == os.getpid()
    assert set(report) == {
        "published", "held_out", "drift", "kl", "length", "repeating", "unfinished", "dropped",
        "step0", "seconds", "warnings",
    }  # fmt: skip
    assert report["held_out"]["pairs"] == 4
    assert report["held_out"]["low"] <= report["held_out"]["reward_accuracy"]
    assert report["length"]["prompts"] == 4
    assert report["dropped"] == {}


def test_before_the_first_step_the_margin_is_0_and_the_loss_ln_2(dpo_run: Path) -> None:
    start = read(dpo_run / "report.json")["step0"]
    assert start["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert start["margin"] == 0.0
    assert start == rows_of(dpo_run)[0]


def test_metrics_hold_a_row_per_step_and_one_per_judgement(dpo_run: Path) -> None:
    """Two epochs of three steps: before the first one, within each epoch, and at its end."""
    rows = rows_of(dpo_run)
    assert [row["step"] for row in rows if "grad_norm" in row] == [1, 2, 3, 4, 5, 6]
    judged = [row for row in rows if "eval_accuracy" in row]
    assert [row["step"] for row in judged] == [0, 2, 3, 5, 6]
    assert judged[0]["eval_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert (judged[0]["eval_margin"], judged[0]["eval_chosen_drift"]) == (0.0, 0.0)
    probed = [row for row in judged if "probe_length" in row]
    assert [probed[0]["step"], probed[-1]["step"]] == [0, 6]
    assert probed[0]["eval_kl"] == 0.0
    report = read(dpo_run / "report.json")["held_out"]
    assert judged[-1]["eval_accuracy"] == report["reward_accuracy"]
    losses = [row["loss"] for row in rows if "grad_norm" in row]
    assert losses[-1] < losses[0]


def test_the_adapter_is_sealed_and_loads_with_plain_peft(dpo_run: Path, tiny: Path) -> None:
    folder = dpo_run / "adapter"
    manifest = verify_manifest(folder)
    assert manifest["base_fingerprint"] == "f" * 8
    assert manifest["snapshot_digest"] == "d" * 64
    assert manifest["settings"]["beta"] == 0.1
    assert {"torch", "peft", "transformers"} <= manifest["versions"].keys()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template
    ids = tokenizer("A plan", return_tensors="pt").input_ids
    base = AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        before = base(ids).logits
        after = PeftModel.from_pretrained(base, folder)(ids).logits
    assert not torch.allclose(before, after)
    assert all(t.dtype == torch.float32 for t in adapter_weights(dpo_run).values())


def test_held_out_and_duel_rows_are_never_trained_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    whole = Job.batch

    def watched(job: Job, step: int) -> Any:
        taken.extend(job.rows[i].id for i in job.steps[step])
        return whole(job, step)

    monkeypatch.setattr(Job, "batch", watched)
    assert train.main([str(write_run(tmp_path, tiny, epochs=1))]) == 0
    assert set(taken) == {f"train-{i}" for i in range(12)}


@pytest.mark.parametrize("method", [m for m in LOSSES if m not in ("dpo", "kto")])
def test_every_method_trains_and_is_judged(tiny: Path, tmp_path: Path, method: str) -> None:
    """On pairs whose rejected answers are long: the loss falls, step 0 is what it has to be."""
    more = {"odds_weight": 2.0} if method == "orpo" else {}  # imitation alone moves both answers
    run = write_run(tmp_path, tiny, method, epochs=4, learning_rate=5e-3, **more)
    assert train.main([str(run)]) == 0
    rows = rows_of(run)
    steps = [row for row in rows if "grad_norm" in row]
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert [row["eval_loss"] for row in rows if "eval_loss" in row]
    assert read(run / "report.json")["held_out"]["pairs"] == 4
    if LOSSES[method].reference:
        assert rows[0]["margin"] == 0.0
        assert rows[0]["loss"] == pytest.approx(rows[0]["expected_loss"], abs=1e-3)
    if LOSSES[method].needs == "pairs":
        assert steps[-1]["margin"] > rows[0]["margin"]
    if method == "orpo":  # one stage from the base: held-out chosen answers became likelier too
        assert read(run / "report.json")["drift"]["chosen"] > 0


def test_a_loss_without_a_reference_scores_held_out_pairs_alone(tiny: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path, tiny, "orpo", epochs=1)
    assert train.main([str(run)]) == 0
    assert len(ReferenceScores.load(run / "reference.safetensors")) == 2 * 4


def test_a_later_run_scores_only_what_is_new(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another seed, rank, beta or method reads the scores of the run before; a new pair is scored.

    Held-out pairs are scored for the report also where the method has no reference.
    """
    said = []
    for name, method, settings in (
        ("r-1", "dpo", {}),
        ("r-2", "ipo", {"seed": 5, "lora_rank": 2, "beta": 0.5}),
        ("r-3", "orpo", {}),
    ):
        run = write_run(tmp_path, tiny, method, epochs=1, name=name, **settings)
        assert train.main([str(run)]) == 0
        said += [row for row in capsys.readouterr().out.splitlines() if "reference:" in row]
    assert said == [
        "reference: 32 answers scored, 0 known from before",
        "reference: 0 answers scored, 32 known from before",
        "reference: 0 answers scored, 8 known from before",
    ]
    more = tmp_path / "more"
    pairs = pair_lines(13) + pair_lines(4, "held_out")
    write_snapshot(more / "snapshots" / "s_1", pairs, [])
    run = write_run(more, tiny, epochs=1)
    config = read(run / "config.json") | {"cache": str(tmp_path / "cache")}
    (run / "config.json").write_text(json.dumps(config))
    assert train.main([str(run)]) == 0
    assert "reference: 2 answers scored, 32 known" in capsys.readouterr().out


def test_mismatched_answers_of_a_later_run_are_known_too(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that ride on the passes as well."""
    said = ""
    for name in ("r-1", "r-2"):
        assert train.main([str(write_run(tmp_path, tiny, "kto", epochs=1, name=name))]) == 0
        said = capsys.readouterr().out
        assert "ride on the prompts: True" in said
    assert "reference: 0 answers scored" in said


def goes_on(data: Path, model: Path, name: str, reference: str, **settings: Any) -> Path:
    """Write a run that starts from the adapter of r-1."""
    run = write_run(data, model, name=name, **settings)
    adapter = data / "runs" / "r-1" / "adapter"
    start = {"run": "r-1", "adapter": str(adapter), "digest": "a" * 64}
    config = read(run / "config.json") | {"start": start, "reference": reference}
    (run / "config.json").write_text(json.dumps(config))
    return run


def test_a_run_goes_on_from_an_earlier_adapter_held_to_the_base_or_to_it(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Held to the base its first margin is what the earlier run learned; held to the earlier
    adapter it is 0, and other reference scores are kept for it. Both publish one adapter."""
    first = write_run(tmp_path, tiny, epochs=4, learning_rate=5e-3)
    assert train.main([str(first)]) == 0
    learned = [row for row in rows_of(first) if "grad_norm" in row][-1]["margin"]
    base = goes_on(tmp_path, tiny, "r-base", "base", epochs=1)
    start = goes_on(tmp_path, tiny, "r-start", "start", epochs=1)
    capsys.readouterr()
    assert train.main([str(base)]) == 0
    assert "0 answers scored, 32 known" in capsys.readouterr().out
    assert train.main([str(start)]) == 0
    assert "32 answers scored, 0 known" in capsys.readouterr().out
    assert learned > 0.1
    assert rows_of(base)[0]["margin"] > learned / 2
    assert rows_of(start)[0]["margin"] == 0.0
    assert rows_of(start)[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    for run, reference in ((base, "base"), (start, "start")):
        manifest = verify_manifest(run / "adapter")
        assert (manifest["start"], manifest["reference"]) == ("r-1", reference)
        assert not same_weights(run, first)
        assert adapter_weights(run).keys() == adapter_weights(first).keys()


def test_a_run_that_goes_on_is_resumed_to_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    assert train.main([str(write_run(tmp_path, tiny, epochs=2))]) == 0
    whole = goes_on(tmp_path, tiny, "r-whole", "start", epochs=2, save_every=1)
    assert train.main([str(whole)]) == 0
    cut = goes_on(tmp_path, tiny, "r-cut", "start", epochs=2, save_every=1)
    with child_of(cut) as child:
        wait_until(lambda: steps_done(cut) >= 2 or child.poll() is not None)
    assert train.main([str(cut)]) == 0
    assert same_weights(cut, whole)


def run_again_beside_other_scores(data: Path, model: Path, precision: str, nats: float) -> Path:
    """Train, let every kept score differ, and train again in passes of a row; return that run."""
    assert train.main([str(write_run(data, model, epochs=1, precision=precision))]) == 0
    (place,) = (data / "cache" / "reference").glob("*.safetensors")
    scores = {name: tensor - nats for name, tensor in load_file(place).items()}
    ReferenceScores(scores, precision).save(place)
    return write_run(data, model, name="r-2", epochs=1, precision=precision, micro_batch=1)


@pytest.mark.parametrize(("precision", "nats"), [("fp32", 1e-3), ("bf16", 0.06), ("nf4", 0.06)])
def test_a_later_run_takes_kept_scores_that_rounding_makes_others(
    tiny: Path, tmp_path: Path, precision: str, nats: float
) -> None:
    """As passes of another shape, or another kernel for attention, would have made them."""
    run = run_again_beside_other_scores(tmp_path, tiny, precision, nats)
    assert train.main([str(run)]) == 0
    assert rows_of(run)[0]["largest_reward"] == 0.0
    assert read(run / "report.json")["step0"]["loss"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize(("precision", "nats"), [("fp32", 0.01), ("bf16", 0.5)])
def test_kept_scores_of_another_model_stop_a_run_before_its_first_step(
    tiny: Path, tmp_path: Path, precision: str, nats: float
) -> None:
    """As a cache under a wrong name would bring them."""
    run = run_again_beside_other_scores(tmp_path, tiny, precision, nats)
    assert train.main([str(run)]) == 1
    assert "kept scores of the reference differ" in read(run / "status.json")["message"]


def test_every_base_has_a_cache_of_its_own() -> None:
    """Also two whose weights came from the same format, as their fingerprints begin by saying."""
    whole = ("sha256:", "dequantised-q4_1:")
    prints = [f"{kind}{digit * 64}" for kind in whole for digit in "ab"]
    places = [cache_of({"cache": "c", "model_fingerprint": one}, "bf16") for one in prints]
    assert [place.name for place in places if place] == [
        f"{digit * 16}-bf16.safetensors" for digit in "abab"
    ]


def test_a_torn_cache_is_scored_again(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "cache" / "reference" / f"{'f' * 8}-fp32.safetensors"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"torn")
    assert train.main([str(write_run(tmp_path, tiny, epochs=1))]) == 0
    assert "reference: 32 answers scored" in capsys.readouterr().out
    assert len(ReferenceScores.load(place)) == 32


def test_sft_learns_from_good_answers_alone(tiny: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path, tiny, "sft", epochs=1)
    assert train.main([str(run)]) == 0
    assert verify_manifest(run / "adapter")["rows"] == 12  # of 24 labels


def test_kto_trains_from_labels_and_is_judged_on_pairs(tiny: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path, tiny, "kto")
    assert train.main([str(run)]) == 0
    rows, report = rows_of(run), read(run / "report.json")
    assert rows[0]["loss"] == pytest.approx(0.5, abs=1e-4)
    assert all("beta_z" in row for row in rows if "grad_norm" in row)
    assert report["held_out"]["pairs"] == 4
    settings = verify_manifest(run / "adapter")["settings"]
    assert (settings["desirable_weight"], settings["undesirable_weight"]) == (1.0, 1.0)


def test_without_held_out_pairs_the_report_says_null(tiny: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path, tiny, held_out=0, epochs=1)
    assert train.main([str(run)]) == 0
    report = read(run / "report.json")
    assert report["held_out"]["pairs"] == report["length"]["prompts"] == 0
    assert report["held_out"]["reward_accuracy"] is report["length"]["before"] is None


@pytest.mark.parametrize(
    ("method", "pairs", "thumbs", "sentence"),
    [
        (
            "dpo",
            0,
            "both",
            "needs at least 2 pairs to train on; there are 0 (0 more on prompts kept for judging)",
        ),
        ("dpo", 1, "both", "there is 1 (0 more"),
        ("kto", 4, "up", "there are 4 good and 0 bad ones"),
        ("kto", 4, "down", "there are 0 good and 4 bad ones"),
        ("kto", 0, "both", "there are 0 good and 0 bad ones"),
    ],
)
def test_too_little_feedback_is_refused_in_one_sentence(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    method: str,
    pairs: int,
    thumbs: str,
    sentence: str,
) -> None:
    lines = pair_lines(pairs)
    labels = [
        row for row in label_lines(lines) if thumbs in ("both", "up" if row["label"] else "down")
    ]
    write_snapshot(tmp_path / "snapshots" / "s_1", lines, labels)
    run = write_run(tmp_path, tiny, method)
    assert train.main([str(run)]) == 2
    status = read(run / "status.json")
    assert status["status"] == "failed"
    assert sentence in status["message"]
    assert status["message"] in capsys.readouterr().err
    assert not (run / "adapter").exists()


def test_what_is_missing_or_wrong_is_named(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([]) == 2
    assert "usage" in capsys.readouterr().err
    assert train.main([str(tmp_path / "nowhere")]) == 2
    assert "is not there" in capsys.readouterr().err
    run = write_run(tmp_path, tiny, beta=-3)
    assert train.main([str(run)]) == 2
    assert "beta is -3.0" in read(run / "status.json")["message"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"),
    ],
)
def test_a_full_disk_is_told_in_one_line(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A stand-in for the disk: the first checkpoint of a run fails for want of room."""

    def full(*place: Any, **facts: Any) -> None:
        raise error

    monkeypatch.setattr(trainer, "seal", full)
    run = write_run(tmp_path, tiny, train=4, held_out=0)
    assert train.main([str(run)]) == 2
    assert read(run / "status.json")["message"].startswith("no room on the disk")
    assert not (run / "adapter").exists()
    monkeypatch.undo()
    assert train.main([str(run)]) == 0


def test_a_base_that_is_gone_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, tmp_path / "gone")
    assert train.main([str(run)]) == 2
    assert f"the base model {tmp_path / 'gone'} cannot" in read(run / "status.json")["message"]


def test_a_run_stopped_while_it_reports_goes_on_to_its_report(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter is there already, and nothing is trained again."""

    def stopped(*policy: Any, **settings: Any) -> None:
        raise train.Cancelled

    run = write_run(tmp_path, tiny, train=4)
    monkeypatch.setattr(session, "greedy_answers", stopped)
    assert train.main([str(run)]) == train.CANCELLED
    before = adapter_weights(run)
    rows = rows_of(run)
    monkeypatch.undo()
    assert train.main([str(run)]) == 0
    assert rows_of(run) == rows
    assert all(torch.equal(before[name], weight) for name, weight in adapter_weights(run).items())
    assert read(run / "report.json")["length"]["prompts"] == 4


def test_a_snapshot_that_was_changed_is_refused(tiny: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path, tiny)
    path = tmp_path / "snapshots" / "s_1" / "pairs.jsonl"
    path.write_text(path.read_text().replace("home", "Rome"))
    assert train.main([str(run)]) == 2
    assert "pairs.jsonl was changed or damaged" in read(run / "status.json")["message"]


def test_a_snapshot_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"id": 1}\n{"id"\n')
    with pytest.raises(BadInput, match="line 2 is not JSON"):
        list(train._lines(path))


def test_a_second_trainer_leaves_the_first_ones_files_alone(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, tiny)
    (run / "status.json").write_text('{"status": "training"}')
    with (run / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert train.main([str(run)]) == 2
    assert "is being trained already" in capsys.readouterr().err
    assert read(run / "status.json") == {"status": "training"}


def test_a_run_waits_for_the_device_and_says_so(tiny: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path, tiny, train=4, held_out=0, epochs=1)
    seen: list[str] = []
    with (tmp_path / "DEVICE.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def free() -> None:
            wait_until((run / "status.json").exists)
            time.sleep(0.5)
            seen.append(read(run / "status.json")["status"])
            fcntl.flock(file, fcntl.LOCK_UN)

        other = threading.Thread(target=free)
        other.start()
        assert train.main([str(run)]) == 0
        other.join()
    assert seen == ["waiting"]


def test_a_cancelled_run_stops_within_seconds_and_keeps_what_it_learned(
    tiny: Path, tmp_path: Path
) -> None:
    """SIGTERM in the middle of 600 steps: every step that has a row is in the checkpoint."""
    run = write_run(tmp_path, tiny, epochs=100, save_every=1000)
    with child_of(run) as child:
        wait_until(lambda: steps_done(run) >= 3)
        child.send_signal(signal.SIGTERM)
        told = time.monotonic()
        assert child.wait(timeout=60) == train.CANCELLED
        assert time.monotonic() - told < 8
    assert read(run / "status.json")["status"] == "cancelled"
    done = newest_complete(run / "checkpoints")
    assert done is not None
    assert int(done.name.rpartition("-")[2]) == steps_done(run)


def test_a_resumed_run_equals_an_uninterrupted_one(
    tiny: Path, tmp_path: Path, dpo_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after step 4 of 6; the last checkpoint is step 3's, a torn one lies beside."""
    run = write_run(tmp_path, tiny, save_every=3)
    write = Session._write

    def falls_over(self: Session, row: dict[str, Any]) -> None:
        write(self, row)
        if row["step"] == 4 and "grad_norm" in row:
            monkeypatch.setattr(trainer.PreferenceTrainer, "save_now", lambda self: None)
            raise RuntimeError("the power failed")

    monkeypatch.setattr(Session, "_write", falls_over)
    assert train.main([str(run)]) == 1
    assert "the power failed" in read(run / "status.json")["message"]
    monkeypatch.undo()
    torn = run / "checkpoints" / "checkpoint-4"
    torn.mkdir()
    (torn / "adapter.safetensors").write_bytes(b"half")
    assert newest_complete(run / "checkpoints") == run / "checkpoints" / "checkpoint-3"
    assert not torn.exists()
    assert train.main([str(run)]) == 0
    assert same_weights(run, dpo_run)

    def figures(of: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(of)]

    assert figures(run) == figures(dpo_run)


def test_a_run_whose_rows_were_erased_is_not_resumed_as_if_it_were_the_same(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after step 2 of 6; then a text of its snapshot goes. Untouched it goes on."""

    def falls_over(self: Session, row: dict[str, Any]) -> None:
        if row["step"] == 3 and "grad_norm" in row:
            raise RuntimeError("the power failed")

    run = write_run(tmp_path, tiny, save_every=1)
    monkeypatch.setattr(Session, "_write", falls_over)
    assert train.main([str(run)]) == 1
    monkeypatch.undo()
    snapshot, whole = tmp_path / "snapshots" / "s_1", tmp_path / "whole"
    snapshot.rename(whole)
    lines = pair_lines(12) + pair_lines(4, "held_out")
    write_snapshot(snapshot, [{**lines[0], "erased": ["chosen"]}, *lines[1:]], [])
    assert train.main([str(run)]) == 2
    assert "texts of its snapshot were erased" in read(run / "status.json")["message"]
    shutil.rmtree(snapshot)
    whole.rename(snapshot)
    assert train.main([str(run)]) == 0


def test_an_adapter_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    from align.checkpoints import publish

    place = tmp_path / "adapter"

    def breaks(folder: Path) -> None:
        (folder / "adapter_model.safetensors").write_bytes(b"half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        publish(place, breaks)
    assert not place.exists()
    publish(place, lambda folder: (folder / "a").write_text("one") and None)
    publish(place, lambda folder: (folder / "a").write_text("two") and None, run="r")
    assert (place / "a").read_text() == "two"
    assert verify_manifest(place)["run"] == "r"
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_a_refusal_does_not_wait_for_torch() -> None:
    code = "import sys, align.train; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_training_imports_no_screens_and_no_database() -> None:
    code = (
        "import sys, align.train, align.session; "
        "bad = {'gradio', 'duckdb', 'sqlalchemy', 'storage.store'}; print(bad & sys.modules.keys())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"


def nf4_run(data: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train on four short pairs and return the run; its linear layers have to be NF4."""
    lines = pair_lines(4)
    for line in lines:
        line["chosen"], line["rejected"] = line["chosen"][:12], line["rejected"][:24]
    write_snapshot(data / "snapshots" / "s_1", lines, [])
    run = write_run(data, model, precision="nf4", batch_size=2, epochs=1)
    opened = opening.load_policy

    def watched(*path: Any, **settings: Any) -> Any:
        policy = opened(*path, **settings)
        assert any(isinstance(module, Linear4bit) for module in policy.modules())
        return policy

    monkeypatch.setattr(opening, "load_policy", watched)
    assert train.main([str(run)]) == 0
    return run


def test_nf4_trains_on_this_machine(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real bitsandbytes NF4: every layer's adapter moves, and the manifest says so."""
    run = nf4_run(tmp_path, tiny, monkeypatch)
    assert verify_manifest(run / "adapter")["precision"] == "nf4"
    assert [row["step"] for row in rows_of(run) if "grad_norm" in row] == [1, 2]
    moved = [w for name, w in adapter_weights(run).items() if "lora_B" in name]
    assert all(w.abs().max() > 0 for w in moved)


@pytest.mark.slow
def test_nf4_trains_the_real_model(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = nf4_run(tmp_path, embedded, monkeypatch)
    assert rows_of(run)[0]["loss"] == pytest.approx(math.log(2), abs=1e-3)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_weights_of_one_that_was_not(
    tiny: Path, tmp_path: Path
) -> None:
    """Thirty times kill -9 at random moments, then to the end."""
    whole = write_run(tmp_path, tiny, epochs=30, save_every=2, name="r-whole")
    assert train.main([str(whole)]) == 0
    run = write_run(tmp_path, tiny, epochs=30, save_every=2, name="r-killed")
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        with child_of(run) as child:
            before = steps_done(run)
            wait_until(lambda c=child, b=before: steps_done(run) > b or c.poll() is not None)
            time.sleep(torch.rand(1, generator=generator).item() * 0.3)
        adapter = run / "adapter"
        assert not adapter.exists() or verify_manifest(adapter)
    assert train.main([str(run)]) == 0
    assert same_weights(run, whole)
    steps = [row["step"] for row in rows_of(run) if "grad_norm" in row]
    assert steps == list(range(1, 91))


@pytest.mark.slow
def test_the_real_model_learns_from_twelve_pairs_in_its_own_precision(
    embedded: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path, embedded, precision="auto", learning_rate=1e-4, epochs=2)
    assert train.main([str(run)]) == 0
    rows = [row for row in rows_of(run) if "grad_norm" in row]
    assert rows[-1]["margin"] > 0.1
    assert read(run / "report.json")["held_out"]["reward_accuracy"] == 1.0


def test_settings_of_a_run_are_json(dpo_run: Path) -> None:
    json.dumps(verify_manifest(dpo_run / "adapter")["settings"])
