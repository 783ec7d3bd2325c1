"""Runs as the screens see them: their lock is the truth, and no stranger gets a signal."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from align import runs
from align.locks import FileLock, is_held
from align.manifest import write_manifest
from storage.errors import BadInput, Busy, Conflict, NotFound
from storage.priority import NICENESS
from storage.records import Run
from storage.store import Store
from tests.align.small import label_lines, pair_lines, read, write_run, write_snapshot

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    "import fcntl, signal, sys, time\n"
    "lock = open(sys.argv[-1] + '/lock', 'w'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
    "stubborn = 'stubborn' in sys.argv\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else signal.SIG_DFL)\n"
    "print('holding', flush=True); time.sleep(120)\n"
)


def tell(folder, **told):
    (folder / "status.json").write_text(json.dumps(told))


@pytest.fixture
def folder(tmp_path):
    """The folder of a run that trained a while."""
    made = tmp_path / "runs" / "r-1"
    made.mkdir(parents=True)
    config = {"run": "r-1", "method": "dpo", "model_name": "m", "snapshot": "/x/s-1"}
    (made / "config.json").write_text(json.dumps(config))
    tell(made, status="training", step=3, steps=9, seconds=12.0, seconds_left=24.0, pid=1)
    return made


@pytest.fixture
def trainer(folder):
    """Start a stand-in for the training child: it holds the lock and has its command line."""
    started = []

    def start(*words, record=True):
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, *words, "align.train", str(folder)],
            start_new_session=True,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"holding\n"
        if record:
            born = psutil.Process(child.pid).create_time()
            (folder / "process.json").write_text(json.dumps({"pid": child.pid, "started": born}))
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_a_run_whose_lock_is_held_is_running_whatever_the_pid_says(folder, tmp_path):
    lock = FileLock(folder / "lock")
    assert lock.acquire()
    found = runs.status(tmp_path, "r-1")
    assert (found.status, found.running, found.step, found.seconds_left) == (
        "training",
        True,
        3,
        24,
    )
    assert runs.going_run(tmp_path) == found
    lock.release()


def test_a_run_that_says_training_without_its_lock_was_killed(folder, tmp_path):
    found = runs.status(tmp_path, "r-1")
    assert (found.status, found.running) == ("stopped", False)
    assert found.message == "stopped (killed), can be resumed"
    assert found.seconds_left is None
    assert found.resumable
    assert runs.going_run(tmp_path) is None


@pytest.mark.parametrize("word", ["done", "failed", "cancelled"])
def test_a_run_that_ended_says_how(folder, tmp_path, word):
    tell(folder, status=word, message="why")
    found = runs.status(tmp_path, "r-1")
    assert (found.status, found.message) == (word, "why")
    assert found.resumable == (word != "done")


def test_a_torn_or_missing_status_is_no_crash(folder, tmp_path):
    (folder / "status.json").write_text('{"status": "trai')
    assert runs.status(tmp_path, "r-1").status == "stopped"
    (folder / "status.json").unlink()
    assert runs.status(tmp_path, "r-1").status == "stopped"


def test_a_child_that_starts_slowly_goes_as_long_as_it_lives(folder, tmp_path):
    """An hour after its start it has no lock yet, as one of many processes on a busy machine."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = {"pid": child.pid, "started": psutil.Process(child.pid).create_time()}
    (folder / "process.json").write_text(json.dumps(process | {"at": time.time() - 3600}))
    tell(folder, status="starting", message="loading the model")
    found = runs.status(tmp_path, "r-1")
    assert (found.status, found.running) == ("starting", True)
    with pytest.raises(Busy, match="r-1"):
        runs.start(tmp_path, "r-1")
    child.communicate(b"\n")
    assert runs.status(tmp_path, "r-1").status == "stopped"


def test_an_app_that_starts_adopts_the_run_that_goes(folder, tmp_path, trainer):
    assert runs.adopt(tmp_path) is None
    trainer()
    adopted = runs.adopt(tmp_path)
    assert adopted is not None
    assert adopted.run == "r-1"
    with pytest.raises(Busy, match="r-1"):
        runs.start(tmp_path, "r-1")


def test_a_second_run_is_refused_while_one_goes(folder, tmp_path, trainer):
    trainer()
    other = tmp_path / "runs" / "r-2"
    other.mkdir()
    (other / "config.json").write_text("{}")
    with pytest.raises(Busy, match="one run at a time"):
        runs.start(tmp_path, "r-2")
    assert not (other / "process.json").exists()


def test_cancel_ends_the_child_and_says_cancelled(folder, tmp_path, trainer):
    child = trainer()
    found = runs.cancel(tmp_path, "r-1")
    assert (found.status, found.running) == ("cancelled", False)
    assert child.wait(5) == -signal.SIGTERM


def test_cancel_kills_a_child_that_does_not_listen(folder, tmp_path, trainer, monkeypatch):
    monkeypatch.setattr("align.children.CANCEL_SECONDS", 0.3)
    child = trainer("stubborn")
    assert runs.cancel(tmp_path, "r-1").status == "cancelled"
    assert child.wait(5) == -signal.SIGKILL


def test_a_run_started_by_hand_can_be_cancelled_too(folder, tmp_path, trainer):
    child = trainer(record=False)
    tell(folder, status="training", pid=child.pid)
    assert runs.cancel(tmp_path, "r-1").status == "cancelled"
    assert child.wait(5) == -signal.SIGTERM


def test_a_foreign_process_with_the_old_number_is_never_signalled(folder, tmp_path):
    """The run's child is gone and its number went to a stranger; another host holds the lock."""
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (folder / "process.json").write_text(json.dumps({"pid": stranger.pid, "started": 12345.0}))
    tell(folder, status="training", pid=stranger.pid)
    lock = FileLock(folder / "lock")
    assert lock.acquire()
    with pytest.raises(Conflict, match="cancel it there"):
        runs.cancel(tmp_path, "r-1")
    lock.release()
    assert runs.status(tmp_path, "r-1").status == "stopped"
    assert stranger.poll() is None
    stranger.communicate(b"\n")


def test_what_does_not_go_cannot_be_cancelled(folder, tmp_path):
    with pytest.raises(Conflict, match="not going"):
        runs.cancel(tmp_path, "r-1")


def test_a_done_run_is_not_started_again(folder, tmp_path):
    tell(folder, status="done")
    with pytest.raises(Conflict, match="done already"):
        runs.resume(tmp_path, "r-1")


@pytest.mark.parametrize("name", ["r-9", "../r-1", "", "a/b", "."])
def test_a_run_that_is_not_there_is_named_with_those_that_are(folder, tmp_path, name):
    with pytest.raises(NotFound, match="r-1"):
        runs.status(tmp_path, name)


def test_the_adapter_of_a_run_is_verified(folder, tmp_path):
    with pytest.raises(NotFound, match="never finished"):
        runs.load_adapter(tmp_path, "r-1")
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "weights").write_bytes(b"\x00" * 64)
    write_manifest(adapter)
    assert runs.load_adapter(tmp_path, "r-1") == adapter
    assert runs.status(tmp_path, "r-1").adapter == str(adapter)
    (adapter / "weights").write_bytes(b"\x00" * 63 + b"\x01")
    with pytest.raises(BadInput, match="changed or damaged"):
        runs.load_adapter(tmp_path, "r-1")
    (adapter / "weights").unlink()
    with pytest.raises(BadInput, match="missing"):
        runs.load_adapter(tmp_path, "r-1")


def test_metrics_are_read_up_to_the_line_that_is_being_written(folder, tmp_path):
    (folder / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert [row["step"] for row in runs.read_metrics(tmp_path, "r-1")] == [1, 2]


def test_the_command_that_is_shown_survives_a_shell():
    settings = {"beta": 0.1, "precision": "a b", "flag": True}
    command = runs.command_line(
        Path("/my data/it's"), method="dpo", snapshot="s-1", model="my model", settings=settings
    )
    assert shlex.split(command) == [
        *["python", "app.py", "train", "--method", "dpo", "--snapshot", "s-1", "--model"],
        *["my model", "--set", "beta=0.1", "--set", "precision=a b", "--set", "flag=true"],
        *["--data", "/my data/it's"],
    ]


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "data")
    pairs = pair_lines(12) + pair_lines(4, "held_out")
    write_snapshot(tmp_path / "data" / "snapshots" / "s_1", pairs, label_lines(pairs))
    yield opened
    opened.close()


QUICK = {"epochs": 1, "batch_size": 4, "lora_rank": 4, "precision": "fp32"}


def test_a_new_run_has_a_short_name_a_row_and_a_folder(store, tiny):
    run = runs.create_run(store, store.data, "s_1", "dpo", str(tiny), QUICK)
    assert re.fullmatch(r"r-\d{8}-[0-9a-f]{4}", run.id)
    assert store.get(Run, run.id) == run
    config = read(store.data / "runs" / run.id / "config.json")
    assert config["model"] == str(tiny)
    assert config["snapshot"] == str(store.data / "snapshots" / "s_1")
    assert config["settings"] == QUICK
    found = runs.status(store.data, run.id)
    assert (found.status, found.running, found.snapshot) == ("waiting", False, "s_1")
    assert [one.run for one in runs.list_runs(store.data)] == [run.id]
    assert runs.model_of(store.data, run.id).path == tiny


def test_a_run_needs_a_snapshot_and_a_model_that_are_there(store, tiny):
    with pytest.raises(NotFound, match="snapshot 's_9'"):
        runs.create_run(store, store.data, "s_9", "dpo", str(tiny), QUICK)
    with pytest.raises(NotFound, match="no-such-model"):
        runs.create_run(store, store.data, "s_1", "dpo", "no-such-model", QUICK)
    assert store.rows(Run) == []


def test_a_base_that_changed_since_the_run_is_refused(store, tiny):
    run = runs.create_run(store, store.data, "s_1", "dpo", str(tiny), QUICK)
    path = store.data / "runs" / run.id / "config.json"
    path.write_text(json.dumps({**read(path), "model_fingerprint": "sha256:other"}))
    with pytest.raises(BadInput, match="fingerprint"):
        runs.model_of(store.data, run.id)


def wait_until(condition, seconds=500):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


@pytest.mark.timeout(900)
def test_a_started_run_trains_in_a_session_of_its_own_and_publishes(store, tiny):
    run = runs.create_run(store, store.data, "s_1", "dpo", str(tiny), QUICK)
    runs.start(store.data, run)
    assert runs.status(store.data, run.id).running
    with pytest.raises(Busy):
        runs.start(store.data, run)
    child = psutil.Process(read(store.data / "runs" / run.id / "process.json")["pid"])
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    assert child.nice() == NICENESS
    wait_until(lambda: not runs.status(store.data, run.id).running)
    found = runs.status(store.data, run.id)
    assert found.status == "done", runs.read_log(store.data, run.id)
    assert runs.load_adapter(store.data, run.id).is_dir()
    assert found.report is not None
    assert not is_held(store.data / "DEVICE.lock")


@pytest.mark.slow
def test_a_killed_trainer_is_seen_at_once_and_its_run_goes_on(tmp_path, tiny):
    """kill -9 in the middle; the status is `stopped`; resume finishes it."""
    folder = write_run(tmp_path, tiny, epochs=40, save_every=2)
    runs.start(tmp_path, "r-1")
    wait_until(lambda: runs.status(tmp_path, "r-1").step >= 4)
    pid = read(folder / "process.json")["pid"]
    os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: not is_held(folder / "lock"), 5)
    assert runs.status(tmp_path, "r-1").status == "stopped"
    assert not (folder / "adapter").exists()
    runs.resume(tmp_path, "r-1")
    wait_until(lambda: not runs.status(tmp_path, "r-1").running)
    assert runs.status(tmp_path, "r-1").status == "done", runs.read_log(tmp_path, "r-1")
    runs.load_adapter(tmp_path, "r-1")


@pytest.mark.slow
def test_a_run_outlives_the_process_that_started_it_and_is_cancelled_by_another(tmp_path, tiny):
    folder = write_run(tmp_path, tiny, epochs=100)
    code = "import sys; from pathlib import Path; from align import runs; import os, signal\n"
    code += "runs.start(Path(sys.argv[1]), 'r-1'); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    wait_until(lambda: runs.status(tmp_path, "r-1").step >= 2)
    adopted = runs.adopt(tmp_path)
    assert adopted is not None
    started = time.monotonic()
    assert runs.cancel(tmp_path, "r-1").status == "cancelled"
    assert time.monotonic() - started < 10
    assert not is_held(folder / "lock")
