"""About how long a run takes: its operations by hand, and the speed of earlier runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from align.estimate import (
    PER_CORE,
    START_SECONDS,
    Costs,
    Pace,
    Work,
    estimate,
    first_pace,
    measured_pace,
    work_of,
)
from align.preflight import Device, Shape, Unit
from align.recipes import from_json
from align.run_files import ANSWERING, LOADING, SCORING, TRAINING, RunFiles

SMALL = Shape(layers=1, hidden=2, wide=3, vocabulary=10, heads=1, queries=2, keys=2, parameters=54)
GUESS = Pace(1e9, 1e9, 30.0, START_SECONDS)


def test_operations_of_a_pass_by_hand() -> None:
    """Linear maps: 2·2·(2+2) + 3·2·3 = 34 weights. LoRA of rank 1: 4·2 + 2·2 + 2·2 + 3·(2+3) = 31.
    Forward, a row of 5 tokens, 2 of them scored: 5 · (2·(34 + 31) + 4·1·2·5) + 2·2·10·2 = 930.
    Backward: LoRA twice, attention twice: 5 · (2·(34 + 62) + 2·40) + 80 = 1440. Every weight:
    forward 5 · (2·34 + 40) + 80 = 620, backward 5 · (4·34 + 80) + 3 · 80 = 1320."""
    lora, full = Costs(SMALL, 1), Costs(SMALL, 0)
    assert (lora.forward(5, 2), lora.backward(5, 2)) == (930, 1440)
    assert (full.forward(5, 2), full.backward(5, 2)) == (620, 1320)
    assert lora.forward(2, 2, row=5) == 2 * (130 + 40) + 80


def test_work_is_what_the_method_and_the_epochs_ask_for() -> None:
    """One row of 3 + 2 tokens (forward 930, backward 1440), nothing held out, one prompt."""
    rows = [Unit(3, (2,))]

    def work(method: str, epochs: int = 1, **more: Any) -> Work:
        tune = more.pop("tune", "lora")
        settings = from_json(method, {"epochs": epochs, "lora_rank": 1, "tune": tune})
        return work_of(SMALL, settings, rows, prompts=0, **more)

    assert work("dpo") == Work(scoring=930, training=930 + 1440, tokens=5)
    assert work("dpo", 3).training == 3 * work("dpo").training
    assert work("orpo").scoring == 0
    assert work("kto").scoring == 2 * 930  # mismatched responses too
    assert work("kto").training == work("dpo").training + 930
    assert work("dpo", known=1.0).scoring == 0
    assert work("kto", known=0.5).scoring == 930 / 2 + 930
    assert work("kto", known=1.0).scoring == 0  # as in a sweep's later runs
    assert work("kto", budget=5).training == work("dpo").training + 420  # they ride: 2 tokens
    assert work("kto", budget=4).training == work("kto").training
    assert work("dpo", tune="full").training == 620 + 1320
    assert work("dpo", checkpointing=True).training == work("dpo").training + 930
    assert work("dpo", times=2.0).training == 2 * work("dpo").training
    settings = from_json("dpo", {"epochs": 2, "lora_rank": 1})
    judged = work_of(SMALL, settings, rows, held_out=rows, prompts=0)
    assert judged.training == 2 * (930 + 1440 + 930)
    assert judged.scoring == 2 * 930


def test_generated_answers_are_counted_apart_from_passes() -> None:
    """A generated token costs a step of its own, and each step as much as 16 rows more.

    A step of one row, 3 tokens of prompt and half of the answer behind it: of 64 tokens
    130 + 4·1·2·35 + 40 = 450, of 192 tokens 130 + 8·99 + 40 = 962. A prompt: 3 · (130 + 24) + 40 =
    502; with 64 tokens once more: 67 · (130 + 8·67) + 64 · 40 = 47182."""
    settings = from_json("dpo", {"epochs": 1, "lora_rank": 1})

    def work(prompts: int) -> Work:
        return work_of(SMALL, settings, [Unit(3, (2,))], prompts=prompts)

    one, many, none = work(1), work(33), work(0)
    assert (none.probes, none.answers, none.reading) == (0, 0, 0)
    assert one.probes == 2 * 64 * 450 * (16 + 2)  # before the first step and after the last
    assert one.answers == 2 * 192 * 962 * (16 + 1)  # before and after
    assert one.reading == 2 * 502
    assert one.training - none.training == 2 * (2 * 502 + 2 * 47182)
    assert many.probes == 2 * 64 * 450 * (16 + 16)  # eight prompts, twice
    assert many.answers == 2 * 192 * 962 * (2 * 16 + 32)  # 32 prompts, 16 side by side


def test_time_is_work_over_pace() -> None:
    pace = Pace(10.0, 5.0, answering=2.0, start_seconds=3.0, answered=0.5, known="run")
    work = Work(scoring=100, training=200, tokens=9, probes=20, answers=16, reading=15)
    found = estimate(work, pace)
    assert found.seconds == 10 + 40 + 3 + (20 + 8) / 2 + 3
    assert found.sentence() == "about 1 min (as fast as earlier runs here)"
    assert found.measured


def finished(data: Path, name: str, model: str, at: str, **changes: Any) -> None:
    run = data / "runs" / name
    run.mkdir(parents=True)
    phases = {LOADING: 9.0, SCORING: 10.0, TRAINING: 40.0, ANSWERING: 20.0}
    status = {"status": "done", "resumed": False, "phases": phases, **changes}
    work = {"scoring": 1000.0, "training": 8000.0, "answers": 2, "tokens": 50}  # as of old
    (run / "status.json").write_text(json.dumps(status))
    config = {"model_name": model, "created_at": at, "work": work}
    (run / "config.json").write_text(json.dumps(config))


def test_pace_is_the_middle_of_the_newest_whole_runs_of_the_same_base(tmp_path: Path) -> None:
    assert measured_pace(tmp_path, "m", GUESS) is GUESS
    finished(tmp_path, "r-0", "m", "2026-01")
    assert measured_pace(tmp_path, "m", GUESS) == Pace(100.0, 200.0, 30.0, 9.0, known="run")
    finished(tmp_path, "r-1", "m", "2026-03", status="failed")
    finished(tmp_path, "r-2", "m", "2026-03", resumed=True)
    finished(tmp_path, "r-3", "other", "2026-03", phases={TRAINING: 8.0, SCORING: 1.0})
    assert measured_pace(tmp_path, "m", GUESS).training == 200.0
    third = measured_pace(tmp_path, "third", GUESS)  # operations per second pass between bases
    assert (third.known, third.training, third.answering) == ("machine", 600.0, 30.0)
    for number, seconds in enumerate((100.0, 80.0, 16.0, 10.0, 8.0)):
        phases = {TRAINING: seconds, SCORING: 10.0}
        finished(tmp_path, f"r-{4 + number}", "m", f"2026-02-{number}", phases=phases)
    assert measured_pace(tmp_path, "m", GUESS).training == 500.0  # 80, 100, *500*, 800, 1000


def test_what_a_run_generated_tells_how_fast_it_generates(tmp_path: Path) -> None:
    """40 s are 6000 operations of passes and 400 generated, 20 s are 1000 and as many as the
    longest answers became of 2000: at 200 and 40 a second 30 + 10 s and 5 + 15 s."""
    longest = [100, 130.4]  # three fifths of twice 192
    finished(tmp_path, "r-0", "m", "2026-01", longest_answers=longest)
    path = tmp_path / "runs" / "r-0" / "config.json"
    config = json.loads(path.read_text())
    config["work"] |= {"training": 6000.0, "probes": 400.0, "reading": 1000.0, "answers": 1000.0}
    path.write_text(json.dumps(config))
    pace = measured_pace(tmp_path, "m", GUESS)
    assert (pace.training, pace.answering) == pytest.approx((200.0, 40.0))
    assert pace.answered == pytest.approx(0.8)  # half way to all of it
    config["work"]["reading"] = 10000.0  # 20 s cannot hold them at the rate of the other 40
    path.write_text(json.dumps(config))
    pace = measured_pace(tmp_path, "m", GUESS)
    assert (pace.training, pace.answering) == pytest.approx((6000 / (40 - 400 / 30), 30.0))


def test_pace_is_that_of_the_same_device_and_precision(tmp_path: Path) -> None:
    finished(tmp_path, "r-0", "m", "2026-01")
    path = tmp_path / "runs" / "r-0" / "config.json"
    where = {"device": "cpu", "passes": {"precision": "fp32", "budget": 9}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **where}))
    same = {"device": "cpu", "precision": "fp32"}
    assert measured_pace(tmp_path, "m", GUESS, **same).training == 200.0
    assert measured_pace(tmp_path, "m", GUESS, **{**same, "device": "a GPU"}) is GUESS
    assert measured_pace(tmp_path, "m", GUESS, **{**same, "precision": "bf16"}) is GUESS


def test_a_run_that_stopped_early_has_done_a_part_of_its_work(tmp_path: Path) -> None:
    finished(tmp_path, "r-0", "m", "2026-01", step=30, steps=40)
    assert measured_pace(tmp_path, "m", GUESS).training == 0.75 * 200.0


def test_pace_is_that_of_as_many_processes(tmp_path: Path) -> None:
    finished(tmp_path, "r-0", "m", "2026-01")
    assert measured_pace(tmp_path, "m", GUESS, processes=2) is GUESS
    path = tmp_path / "runs" / "r-0" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "processes": 2}))
    assert measured_pace(tmp_path, "m", GUESS, processes=2).training == 200.0
    assert measured_pace(tmp_path, "m", GUESS) is GUESS


def test_a_phase_with_too_little_work_tells_no_rate(tmp_path: Path) -> None:
    """Where the scores were known already, scoring is taken to go as in training."""
    finished(tmp_path, "r-0", "m", "2026-01")
    path = tmp_path / "runs" / "r-0" / "config.json"
    config = json.loads(path.read_text())
    config["work"]["scoring"] = 1.0
    path.write_text(json.dumps(config))
    assert measured_pace(tmp_path, "m", GUESS).scoring == 200.0


def test_the_first_guess_goes_by_cores_and_instructions() -> None:
    def rate(instructions: str, cores: int = 2, precision: str = "bf16") -> float:
        device = Device("cpu", 10**10, 10**10, cores, instructions)
        return first_pace(SMALL, device, precision).training

    assert rate("avx512_bf16") == 2 * PER_CORE["avx512_bf16"]
    assert rate("avx512_bf16", cores=64) == 8 * PER_CORE["avx512_bf16"]
    assert rate("avx2") < rate("avx512f") < rate("avx512_bf16")
    assert rate("avx512_bf16", precision="fp32") == rate("avx512f")
    assert rate("?") < rate("avx2")


def test_a_run_tells_the_seconds_of_its_parts(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.status("starting", LOADING)
    files.status("training", TRAINING, step=0)
    files.status("training", SCORING)
    files.status("training", TRAINING)
    files.status("done", "done")
    phases = json.loads((tmp_path / "status.json").read_text())["phases"]
    assert set(phases) == {LOADING, TRAINING, SCORING}
    assert all(seconds >= 0 for seconds in phases.values())


def test_the_time_left_runs_down_between_countings_and_is_not_told_once_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr("align.run_files.time.monotonic", lambda: clock)
    files = RunFiles(tmp_path, work=100.0)

    def left(now: float, work: float = 0.0) -> float | None:
        nonlocal clock
        clock = now
        files.progress(work)
        told = json.loads((tmp_path / "status.json").read_text())["seconds_left"]
        return None if told is None else float(told)

    assert left(1.0) is None  # the work begins
    assert left(11.0, 50.0) == 10.0
    assert left(15.0) == 6.0
    assert left(22.0) is None
    assert left(31.0, 25.0) == 10.0
    assert left(42.0, 25.0) is None
