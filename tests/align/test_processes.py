"""Several processes that train one run: the same curve and adapter, one writer, one ending."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from align import children, launch, train
from align.checkpoints import newest_complete
from align.processes import (
    LOST,
    Ending,
    PeerLeft,
    Processes,
    buckets,
    check_gpus,
    deal,
    hide,
    own_gpu,
)
from storage.errors import BadInput
from tests.align.small import read, rows_of, write_run
from tests.align.test_train import ROOT, adapter_weights, steps_done, wait_until

QUIET = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
METHODS = ("dpo", "ipo", "orpo", "kto")
RESUMED = ("dpo", "kto")
RISING = {"desirable_weight": 4.0, "undesirable_weight": 0.5}  # all answers gain, so that z > 0
FIGURES = ("loss", "margin", "accuracy", "logp_chosen", "logp_rejected", "grad_norm", "beta_z",
           "eval_loss", "eval_accuracy", "eval_margin", "eval_chosen_drift",
           "eval_kl")  # fmt: skip


def torchrun(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    return subprocess.run(
        [sys.executable, *start, *words],
        cwd=ROOT,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@contextlib.contextmanager
def two(run: Path) -> Iterator[subprocess.Popen]:
    """`python -m align.train RUN --processes 2`, ended at the latest when the block ends."""
    with (run / "log.txt").open("w") as log, (run / "out.txt").open("w") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "align.train", str(run), "--processes", "2"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **QUIET},
            stdout=out,
            stderr=log,
        )
        try:
            yield child
        finally:
            for process in trainers(child):
                process.kill()
            child.kill()
            child.wait()


def trainers(child: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes that train, the first one first."""
    try:
        found = psutil.Process(child.pid).children()
        return sorted(found, key=lambda one: one.environ()["RANK"])
    except psutil.NoSuchProcess:
        return []


def far_apart(one: Path, other: Path) -> float:
    """Return the largest difference of two runs' adapters."""
    a, b = adapter_weights(one), adapter_weights(other)
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


def figures(run: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl without what depends on the clock or is null."""
    return [{n: row[n] for n in FIGURES if row.get(n) is not None} for row in rows_of(run)]


def runs_in(data: Path, tiny: Path) -> dict[str, Path]:
    """13 rows in steps of 5, 4 and 4; once in steps of one row, less than there are processes, and
    once in passes of two rows. One run is judged on held-out pairs."""
    runs = {
        name: write_run(data / name, tiny, name, train=13, held_out=2 * (name == "dpo"),
                        batch_size=5, save_every=1 if name in RESUMED else 100, keep="best",
                        **RISING if name == "kto" else {})
        for name in METHODS
    }  # fmt: skip
    runs["one row"] = write_run(data / "one", tiny, train=5, held_out=0, batch_size=1, epochs=1,
                                save_every=100)  # fmt: skip
    runs["two a pass"] = write_run(data / "two", tiny, "kto", train=11, max_rows=13, held_out=0,
                                   batch_size=5, micro_batch=2, save_every=100,
                                   **RISING)  # fmt: skip
    return runs


@pytest.fixture(scope="module")
def alone(
    brief_answers: None, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    runs = runs_in(tmp_path_factory.mktemp("alone"), tiny)
    assert [train.main([str(run)]) for run in runs.values()] == [0] * len(runs)
    return runs


@pytest.fixture(scope="module")
def both(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    data = tmp_path_factory.mktemp("both")
    runs = runs_in(data, tiny)
    done = torchrun(["tests.align.together", *map(str, runs.values())])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 processes") == len(runs), "the first process alone says so"
    (data / "err.txt").write_text(done.stderr)
    return runs


@pytest.mark.parametrize("name", [*METHODS, "one row", "two a pass"])
def test_two_processes_train_as_one(
    alone: dict[str, Path], both: dict[str, Path], name: str
) -> None:
    one, two = figures(alone[name]), figures(both[name])
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        assert a == pytest.approx(b, abs=1e-5, rel=1e-5)
    assert far_apart(alone[name], both[name]) < 2e-5
    if "beta_z" in one[0]:
        assert max(row.get("beta_z", 0.0) for row in one) > 0.01, "z of 0 would equal anything"


def test_in_one_process_mismatched_answers_ride_and_in_the_other_they_do_not(
    both: dict[str, Path],
) -> None:
    """A step of five labels, two a pass: one process has a single pass, which takes riders, and the
    other has two. z comes from both, and "two a pass" trains as one process does."""
    said = (both["kto"].parents[2] / "err.txt").read_text()
    shares: dict[str, list[str]] = {"0": [], "1": []}
    for rank, rides in re.findall(r"process (\d) rides: (\[.*?\])", said):
        shares[rank].append(rides)
    together = list(zip(shares["0"], shares["1"], strict=True))
    assert ("[True]", "[True]") in together
    assert {("[True]", "[False, False]"), ("[False, False]", "[True]")} & set(together)


def test_both_processes_score_a_share_of_the_reference_and_know_all(
    alone: dict[str, Path], both: dict[str, Path]
) -> None:
    from align.reference import ReferenceScores

    one, two = (
        ReferenceScores.load(runs["kto"] / "reference.safetensors") for runs in (alone, both)
    )
    assert len(one) == len(two) > 0
    for name, scores in one._scores.items():
        assert torch.allclose(scores, two._scores[name], atol=1e-5)


def test_a_run_of_several_processes_leaves_the_same_files(
    alone: dict[str, Path], both: dict[str, Path]
) -> None:
    def names(run: Path) -> list[str]:
        return sorted(str(path.relative_to(run)) for path in run.rglob("*"))

    assert names(alone["dpo"]) == names(both["dpo"])
    assert read(both["dpo"] / "status.json")["status"] == "done"
    assert (both["dpo"] / "kept").exists(), "the first one keeps the best weights"
    one, two = (read(run / "report.json") for run in (alone["dpo"], both["dpo"]))
    assert one["published"]["step"] == two["published"]["step"]
    assert one["kl"] == pytest.approx(two["kl"], abs=1e-5)


def test_a_refusal_is_one_sentence_and_exit_code_2(tiny: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path, tiny, beta=-3)
    with two(run) as child:
        assert child.wait(timeout=120) == 2
    said = [line for line in (run / "log.txt").read_text().splitlines() if line]
    assert said == [read(run / "status.json")["message"]]
    assert said[0].startswith("beta is -3.0")


@pytest.mark.parametrize("name", RESUMED)
def test_one_process_goes_on_where_two_stopped(
    alone: dict[str, Path], both: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """From the last but one checkpoint of two processes to the adapter that one process makes."""
    run = stopped_before_its_last_step(both[name], tmp_path / name)
    assert train.main([str(run)]) == 0
    assert far_apart(alone[name], run) < 2e-5
    assert len(rows_of(run)) == len(rows_of(alone[name]))


def stopped_before_its_last_step(run: Path, copy: Path) -> Path:
    shutil.copytree(run, copy)
    last = newest_complete(copy / "checkpoints")
    assert last is not None
    shutil.rmtree(last)
    shutil.rmtree(copy / "adapter")
    return copy


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_ends_all_with_the_last_whole_step_kept(
    tiny: Path, tmp_path: Path
) -> None:
    """SIGTERM reaches the second of two alone, in the middle of 1200 steps."""
    run = write_run(tmp_path, tiny, train=13, held_out=0, batch_size=5, epochs=100)
    with two(run) as child:
        wait_until(lambda: steps_done(run) >= 3 or child.poll() is not None)
        first, second = trainers(child)
        second.send_signal(signal.SIGTERM)
        told = time.monotonic()
        assert child.wait(timeout=60) == train.CANCELLED
        assert time.monotonic() - told < 8
        assert not first.is_running()
    assert read(run / "status.json")["status"] == "cancelled"
    done = newest_complete(run / "checkpoints")
    assert done is not None
    assert int(done.name.rpartition("-")[2]) == steps_done(run)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["first", "second", "starter"])
def test_a_killed_process_brings_the_others_down_and_the_run_can_be_resumed(
    tiny: Path, tmp_path: Path, who: str
) -> None:
    run = write_run(tmp_path, tiny, train=13, held_out=2, batch_size=5, save_every=1, epochs=100)
    with two(run) as child:
        wait_until(lambda: steps_done(run) >= 3 or child.poll() is not None)
        first, second = trainers(child)
        {"first": first, "second": second, "starter": child}[who].send_signal(signal.SIGKILL)
        wait_until(lambda: not (first.is_running() or second.is_running()), seconds=10)
        code = child.wait(timeout=60)
    assert code == (-signal.SIGKILL if who == "starter" else LOST.code)
    assert not children.is_running(run)
    said = (run / "log.txt").read_text()
    assert said.count(LOST.message) == 1
    assert "Traceback" not in said
    if who != "first":  # nobody else may write the status
        assert read(run / "status.json")["message"] == LOST.message
    assert newest_complete(run / "checkpoints") is not None


@pytest.mark.slow
def test_two_processes_go_on_where_one_stopped(alone: dict[str, Path], tmp_path: Path) -> None:
    run = stopped_before_its_last_step(alone["kto"], tmp_path / "kto")
    with two(run) as child:
        assert child.wait(timeout=120) == 0
    assert far_apart(alone["kto"], run) < 2e-5


@pytest.mark.slow
def test_cancelling_reaches_every_process(tiny: Path, tmp_path: Path) -> None:
    """As the app starts and ends it: the child starts the others."""
    run = write_run(tmp_path, tiny, train=13, held_out=0, batch_size=5, epochs=100)
    write_processes(run, 2)
    children.start_child(run)
    wait_until(lambda: steps_done(run) >= 3)
    pids = [read(run / "process.json")["pid"]]
    pids += [one.pid for one in psutil.Process(pids[0]).children()]
    assert len(pids) == 3
    children.end_child(run)
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), seconds=10)
    assert read(run / "status.json")["status"] == "cancelled"


def test_shares_cover_all_items_once_and_differ_by_one_item_at_most() -> None:
    @given(st.lists(st.integers(1, 500), max_size=40), st.integers(1, 9))
    def holds(costs: list[int], count: int) -> None:
        shares = deal(costs, count)
        assert len(shares) == count
        assert sorted(sum(shares, [])) == list(range(len(costs)))
        sums = [sum(costs[i] for i in share) for share in shares]
        assert max(sums) - min(sums) <= max(costs, default=0)

    holds()


def test_gradients_are_summed_in_buckets_of_one_type() -> None:
    """Sizes 6, 6, 6 and a bf16 one of 6, at most 12 at a time: two, one, one."""
    parameters = [nn.Parameter(torch.zeros(2, 3)) for _ in range(3)]
    parameters.append(nn.Parameter(torch.zeros(6, dtype=torch.bfloat16)))
    assert [len(group) for group in buckets(parameters, 12)] == [2, 1, 1]
    assert [len(group) for group in buckets(parameters, 1)] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("visible", "rank", "count", "own"),
    [(None, 0, 1, "0"), (None, 1, 2, "1"), ("4,6", 1, 2, "6"), ("4,6", 0, 1, "4"),
     ("", 0, 1, ""), ("GPU-7f", 1, 2, "GPU-7f")],
)  # fmt: skip
def test_each_process_gets_a_gpu_of_its_own(
    visible: str | None, rank: int, count: int, own: str
) -> None:
    assert own_gpu(visible, rank, count) == own


def test_more_processes_than_gpus_are_refused() -> None:
    with pytest.raises(BadInput, match="3 processes for the 2 GPUs"):
        own_gpu("0,1", 2, 3)


def test_libraries_are_not_told_of_other_processes() -> None:
    environment = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "HOME": "/root"}
    hide(environment)
    assert environment == {"HOME": "/root"}


def test_one_process_alone_shares_with_nobody() -> None:
    alone = Processes()
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), 3.0)
    alone.sum_gradients([parameter])
    assert parameter.grad.tolist() == [3.0, 3.0]
    assert alone.gather("here") == ["here"]
    assert alone.mine([1, 2, 3]) == [0, 1, 2]


def test_a_run_ends_as_the_process_that_left_first_says() -> None:
    ending = Ending("failed", "no such snapshot", 2)
    assert train.ending_of(PeerLeft(ending)) == ending
    assert LOST.code == launch.exit_code({-9})


def test_the_app_starts_as_many_processes_as_the_run_asks_for(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], str]] = []

    class Child:
        pid = os.getpid()

        def __init__(self, words: list[str], *, env: dict[str, str], **rest: Any) -> None:
            started.append((words[1:], env["OMP_NUM_THREADS"]))

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(children.subprocess, "Popen", Child)
    monkeypatch.setattr(children.priority, "lower", lambda pid: None)
    monkeypatch.setattr(children.os, "cpu_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run = write_run(tmp_path, tiny)
    children.start_child(run)
    write_processes(run, 3)
    children.start_child(run)
    words = ["-m", "align.train", str(run)]
    assert started == [(words, "6"), ([*words, "--processes", "3"], "2")]


def write_processes(run: Path, count: int) -> None:
    config = read(run / "config.json")
    (run / "config.json").write_text(train.json.dumps({**config, "processes": count}), "utf-8")


@pytest.mark.parametrize("gpus", [["", ""], ["a 1", "a 2"], ["a 1", "b 1"]])
def test_processes_without_gpus_or_with_one_each_may_train(gpus: list[str]) -> None:
    check_gpus(gpus)


@pytest.mark.parametrize(
    ("gpus", "words"), [(["", "a 1"], "some have none"), (["a 1", "a 1"], "2 processes for 1 GPUs")]
)
def test_processes_that_share_a_gpu_are_told_to_start_one_per_gpu(
    gpus: list[str], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        check_gpus(gpus)
