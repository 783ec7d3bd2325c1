"""train, cancel, resume, compare and generate through the command line, with a tiny model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from align import runs
from align.json_files import read_json
from tests.browser.tiny import make_in_a_process
from tests.commandline import hone, pairs, write_lines
from tests.serving import serve

ROOT = Path(__file__).resolve().parent.parent
RESULT = {"run", "status", "adapter", "seconds", "report", "warnings"}
FORECAST = {
    "method", "model", "device", "memory_bytes", "free_bytes", "precision", "micro_batch",
    "batch_size", "pass_tokens", "checkpointing", "rows", "tokens", "longest_tokens", "exact",
    "dropped", "seconds", "speed", "words",
}  # fmt: skip
REPORT = {
    "published": {"step", "done", "steps", "why"},
    "drift": {"chosen", "rejected"},
    "kl": {"per_token", "tokens"},
    "held_out": {
        "pairs", "reward_accuracy", "low", "high", "logp_accuracy_before", "logp_accuracy_after"
    },
    "length": {"prompts", "before", "after"},
    "repeating": {"before", "after"},
    "unfinished": {"before", "after"},
}  # fmt: skip
ANYWAY = ["--because", "only a test"]  # the shorter answer wins in three of four: see `pairs`
QUICK = [*ANYWAY, "--set", "epochs=1", "--set", "batch_size=8", "--set", "max_tokens=128"]
LONG = [*ANYWAY, "--set", "epochs=100", "--set", "batch_size=2", "--set", "max_tokens=128"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_in_a_process(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with forty pairs; tests that write take their own."""
    data = tmp_path_factory.mktemp("collected") / "data"
    file = write_lines(data.parent / "pairs.jsonl", pairs(40))
    assert hone("import", file, "--json", data=data).result["stored"] == 40
    return data


def test_train_prints_the_issues_json_and_compare_and_generate_use_the_adapter(
    collected: Path, model: Path, tmp_path: Path
) -> None:
    done = hone("train", "--model", model, *QUICK, "--json", data=collected)
    result = done.result
    assert set(result) == RESULT
    assert result["status"] == "done"
    assert {key: set(part) for key, part in result["report"].items()} == REPORT
    assert (Path(result["adapter"]) / "adapter_model.safetensors").is_file()
    assert "pairs to train on" in done.err
    assert "min (" in done.err  # about how long

    words = ["compare", result["run"], "--prompt", "Hi", "--max-tokens", "8", "--json"]
    pair = hone(*words, data=collected).result
    assert set(pair) == {
        "run",
        "prompt",
        "against",
        "before",
        "after",
        "tokens_before",
        "tokens_after",
    }
    assert pair["tokens_before"] <= 8
    assert hone(*words, data=collected).result == pair

    prompts = tmp_path / "prompts.txt"
    prompts.write_text("One?\nTwo?\n", "utf-8")
    words = ["generate", "--prompts", prompts, "--model", model, "--adapter", result["run"]]
    made = hone(*words, "--n", "4", "--max-tokens", "8", "--json", data=collected).result
    assert made == {"prompts": 2, "responses": 8, "comparisons": 4, "dropped": 0}

    listed = hone("runs", "--json", data=collected).result["runs"]
    assert [(one["run"], one["status"]) for one in listed] == [(result["run"], "done")]
    assert "is done already" in hone("resume", result["run"], data=collected).refusal
    assert "nothing to cancel" in hone("cancel", result["run"], data=collected).refusal


def test_preflight_tells_what_train_then_keeps_with_the_run(collected: Path, model: Path) -> None:
    snapshots = len(list((collected / "snapshots").glob("s_*")))
    known = len(runs.list_runs(collected))
    words = ["--model", model, *QUICK[len(ANYWAY) :], "--set", "max_tokens=96", "--json"]
    told = hone("preflight", *words, data=collected).result
    assert set(told) == FORECAST
    assert 0.5e9 < told["memory_bytes"] < told["free_bytes"]
    assert told["exact"]
    assert told["longest_tokens"] <= 2 * 96
    assert told["dropped"]["prompts cut at their beginning"] == told["rows"]
    assert told["micro_batch"] >= 1
    assert len(list((collected / "snapshots").glob("s_*"))) == snapshots
    assert len(runs.list_runs(collected)) == known

    done = hone("train", *words, *ANYWAY, data=collected)
    config = read_json(collected / "runs" / done.result["run"] / "config.json")
    assert config["passes"]["budget"] == told["pass_tokens"]
    assert config["passes"]["precision"] == told["precision"]
    assert "of memory" in done.err
    assert f"{told['rows']} prompts cut at their beginning" in done.err
    phases = read_json(collected / "runs" / done.result["run"] / "status.json")["phases"]
    assert sum(phases.values()) <= done.result["seconds"] + 1
    again = hone("preflight", *words, data=collected).result
    assert again["speed"] == "run"


def test_what_cannot_fit_is_refused_before_anything_is_written(
    collected: Path, model: Path, tmp_path: Path
) -> None:
    """A config.json that tells of a million layers: more than any machine has memory for."""
    giant = tmp_path / "giant"
    shutil.copytree(model, giant)
    config = read_json(giant / "config.json")
    (giant / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 10**6}))
    before = sorted(str(path) for path in collected.glob("*/*") if "cache" not in str(path))
    for command in ("preflight", "train"):
        done = hone(command, "--model", giant, *QUICK[len(ANYWAY) :], data=collected)
        assert "needs" in done.refusal
        assert "take a base of at most about" in done.refusal
    after = sorted(str(path) for path in collected.glob("*/*") if "cache" not in str(path))
    assert [path for path in after if "/runs/" in path or "/snapshots/" in path] == [
        path for path in before if "/runs/" in path or "/snapshots/" in path
    ]


def test_a_run_goes_on_from_another(collected: Path, model: Path) -> None:
    quick = ["--model", model, *QUICK, "--json"]
    first = hone("train", *quick, "--set", "lora_rank=4", data=collected).result["run"]
    done = hone("train", "--from", first, "--reference", "start", *QUICK, "--json", data=collected)
    assert done.result["status"] == "done"
    assert f"goes on from {first}; the reference is that run's adapter" in done.err
    config = read_json(collected / "runs" / done.result["run"] / "config.json")
    assert config["start"]["run"] == first
    assert config["settings"]["lora_rank"] == 4
    assert config["model"] == str(model)
    wrong = ["train", "--model", model, "--from", "r-none"]
    assert "r-none" in hone(*wrong, data=collected).refusal
    words = ["train", "--model", model, "--reference", "start"]
    assert "name it with --from" in hone(*words, data=collected).refusal
    words = ["train", "--from", first, "--reference", "both"]
    assert "use one of base, start" in hone(*words, data=collected).refusal


def begun(data: Path, model: Path, *words: str) -> subprocess.Popen[str]:
    """Start a long training on the command line; return once the command follows its run."""
    command = [sys.executable, "app.py", "train", "--model", str(model), *LONG, *words]
    process = subprocess.Popen(
        [*command, "--json", "--data", str(data)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while not re.match(r"r-\d{8}-\w+ ", process.stderr.readline()):  # its first line of progress
        assert process.poll() is None, process.communicate()
    return process


def test_ctrl_c_cancels_a_run_of_its_own_and_resume_takes_it_up(
    collected: Path, model: Path
) -> None:
    process = begun(collected, model)
    run = runs.going_run(collected).run
    second = hone("train", "--model", model, data=collected)
    assert "one run at a time" in second.refusal  # the folder itself is free meanwhile
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert '"status": "cancelled"' in out
    assert runs.going_run(collected) is None

    resumed = subprocess.Popen(
        [sys.executable, "app.py", "resume", run, "--json", "--data", str(collected)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 200
    while runs.going_run(collected) is None:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert hone("cancel", run, "--json", data=collected).result == {
        "run": run,
        "status": "cancelled",
    }
    resumed.communicate(timeout=100)
    assert resumed.returncode == 130


def test_ctrl_c_only_looks_away_from_a_run_that_the_app_started(
    collected: Path, model: Path
) -> None:
    serving = serve(collected)
    try:
        process = begun(collected, model)
        run = runs.going_run(collected).run
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
        assert process.returncode == 130
        assert f"python app.py cancel {run}" in err
        assert serving.address in err
        assert runs.going_run(collected).run == run
    finally:
        assert serving.end(signal.SIGKILL) < 0
    again = serve(collected)  # the run goes on without its app and is found again
    assert runs.going_run(collected).run == run
    assert hone("cancel", run, "--json", data=collected).result["status"] == "cancelled"
    assert again.end() == 0
    assert f"the training {run} goes on" in again.log.read_text("utf-8")


def test_a_killed_trainer_is_told_as_stopped_and_can_be_resumed(
    collected: Path, model: Path
) -> None:
    process = begun(collected, model)
    going = runs.going_run(collected)
    (pid,) = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and trains(entry, going.run)
    ]
    os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=100)
    assert '"status": "stopped"' in out
    assert "can be resumed" in err
    assert process.returncode == 130


def trains(entry: Path, run: str) -> bool:
    try:
        words = (entry / "cmdline").read_bytes()
    except OSError:
        return False
    return b"align.train" in words and run.encode() in words


# What cannot be trained on is refused before anything is written


def refused(data: Path, model: Path, *words: str) -> str:
    refusal = hone("train", "--model", model, *words, data=data).refusal
    assert not (data / "runs").exists()
    return refusal


def test_no_votes_at_all_are_refused(tmp_path: Path, model: Path) -> None:
    assert "nobody has voted yet" in refused(tmp_path / "data", model)


def test_only_thumbs_up_are_refused(tmp_path: Path, model: Path) -> None:
    rows = [
        {"prompt": one["prompt"], "completion": one["chosen"], "label": True} for one in pairs(20)
    ]
    data = tmp_path / "data"
    hone("import", write_lines(tmp_path / "up.jsonl", rows), data=data)
    assert "it learns from the difference" in refused(data, model, "--method", "kto")
    dpo = refused(data, model)
    assert "DPO needs at least 2 pairs to train on; there are 0" in dpo
    assert "--method kto" in dpo


def test_a_prepared_run_waits_to_be_started_by_hand(collected: Path, model: Path) -> None:
    words = ["train", "--model", model, *QUICK, "--processes", "2", "--shard", "--prepare"]
    done = hone(*words, "--json", data=collected)
    assert done.result["status"] == "waiting"
    folder = collected / "runs" / done.result["run"]
    config = read_json(folder / "config.json")
    assert (config["processes"], config["shard"]) == (2, True)
    assert f"is prepared in {folder}" in done.err
    assert not (folder / "process.json").exists()


def test_a_base_cannot_be_shared_by_one_process_or_in_nf4(collected: Path, model: Path) -> None:
    alone = hone("train", "--model", model, "--shard", data=collected)
    assert alone.code == 2
    assert "give --processes 2 or more" in alone.err
    words = ["--processes", "2", "--set", "precision=nf4"]
    quantised = hone("train", "--model", model, "--shard", *words, data=collected)
    assert quantised.code == 2
    assert "set precision=bf16" in quantised.err


def test_what_checks_speak_against_is_trained_only_with_a_reason(
    collected: Path, model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    hone("import", collected.parent / "pairs.jsonl", data=data)
    told = refused(data, model, "--because", "")
    assert "length_bias speaks against training" in told
    assert "say why" in told
    assert "--because" in told
    assert not (data / "snapshots").exists()
    run = hone(
        "train", "--model", model, "--prepare", "--json", "--set", "epochs=1", data=data
    ).result["run"]
    kept = json.loads((data / "runs" / run / "config.json").read_text("utf-8"))["readiness"]
    assert kept["because"] == "none given on the command line"


def test_one_pair_only_is_refused(tmp_path: Path, model: Path) -> None:
    data = tmp_path / "data"
    hone("import", write_lines(tmp_path / "one.jsonl", pairs(1)), data=data)
    assert "DPO needs at least 2 pairs to train on; there " in refused(data, model)


def test_an_unknown_setting_names_the_known_ones(collected: Path, model: Path) -> None:
    refusal = hone("train", "--model", model, "--set", "colour=red", data=collected).refusal
    assert "colour" in refusal
    assert "learning_rate" in refusal


def test_a_bad_value_names_what_is_allowed(collected: Path, model: Path) -> None:
    words = ["--set", "epochs=many", "--set", "beta=-1"]
    refusal = hone("train", "--model", model, *words, data=collected).refusal
    assert "epochs is 'many'" in refusal
    assert "beta is -1" in refusal


def test_a_snapshot_that_was_changed_is_refused(
    collected: Path, model: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    hone("import", collected.parent / "pairs.jsonl", data=data)
    frozen = hone("snapshot", "--json", data=data).result["snapshot"]
    file = data / "snapshots" / frozen / "pairs.jsonl"
    file.write_text(file.read_text("utf-8").replace("Short", "Sh0rt"), "utf-8")
    assert "pairs.jsonl is not what was frozen" in refused(data, model, "--snapshot", frozen)
