"""A sweep over beta: which runs it makes, what comes next whoever looks, what it says at last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from align import runs, sweep, sweep_files, training
from align.json_files import read_json
from align.leash import leash_of
from align.locks import FileLock
from align.losses import LOSSES
from align.subset import part_of, rows_of
from align.tradeoff import Point, best_of, distance, in_words, overlap, point_of, reading, times
from align.workspace import Workspace
from feedback.checks import CHECKS
from feedback.snapshots import freeze, load
from storage.errors import BadInput, Busy, Conflict, NotFound
from tests.align.small import label_lines, pair_lines, tiny_model
from tests.commandline import hone, pairs, write_lines

BETAS = (0.01, 0.1, 0.5)
REPORT = {
    "held_out": {"pairs": 40, "reward_accuracy": 0.8, "low": 0.65, "high": 0.9},
    "drift": {"chosen": -0.1, "rejected": -0.3},
    "length": {"prompts": 9, "before": 90.0, "after": 60.0},
    "repeating": {"before": 0.1, "after": 0.2},
}


# What comes next


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a sweep of three runs, none of them started."""
    for beta in BETAS:
        folder = tmp_path / "runs" / f"r-{beta:g}"
        folder.mkdir(parents=True)
        config = {"run": folder.name, "method": "dpo", "snapshot": "s", "created_at": "2026"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "status.json").write_text(json.dumps({"status": "waiting"}))
    return tmp_path


@pytest.fixture
def id(data: Path) -> str:
    made = {beta: f"r-{beta:g}" for beta in BETAS}
    return sweep_files.write_sweep(data, made, method="dpo", model="m", snapshot="s", rows=200)


class Trainer:
    """Stands in for the training child: takes the run's lock, and ends as it is told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.lock: FileLock | None = None

    def start(self, data: Path, run: str) -> None:
        self.started.append(run)
        self.folder = data / "runs" / run
        (self.folder / "status.json").write_text(json.dumps({"status": "training", "pid": 1}))
        self.lock = FileLock(self.folder / "lock")
        assert self.lock.acquire()

    def end(self, status: str = "done", **told: Any) -> None:
        (self.folder / "status.json").write_text(json.dumps({"status": status, "pid": 1, **told}))
        if status == "done":
            (self.folder / "report.json").write_text(json.dumps(REPORT))
        if self.lock is not None:
            self.lock.release()


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    made = Trainer()
    yield made
    if made.lock is not None:
        made.lock.release()


def go_on(data: Path, id: str, trainer: Trainer, made_way: list[int] | None = None) -> bool:
    seen: list[int] = [] if made_way is None else made_way
    return sweep_files.advance(data, id, lambda: seen.append(1), trainer.start)


def test_the_runs_are_trained_one_after_the_other(data: Path, id: str, trainer: Trainer) -> None:
    """Every call knows nothing but the files, as after a restart of the app."""
    made_way: list[int] = []
    for count, beta in enumerate(BETAS, 1):
        assert go_on(data, id, trainer, made_way)
        assert go_on(data, id, trainer, made_way)  # it goes: nothing else is started
        assert trainer.started[-1] == f"r-{beta:g}"
        assert len(trainer.started) == len(made_way) == count
        assert sweep_files.result_of(data, id)["status"] == "training"
        trainer.end()
    assert sweep_files.unfinished(data) == id
    assert not go_on(data, id, trainer)
    assert sweep_files.unfinished(data) is None
    result = sweep_files.result_of(data, id)
    assert result["status"] == "done"
    assert [point["beta"] for point in result["points"]] == list(BETAS)
    assert result["points"][0] == {
        "beta": 0.01, "run": "r-0.01", "status": "done", "accuracy": 0.8, "low": 0.65,
        "high": 0.9, "pairs": 40, "kl": pytest.approx(0.2), "kl_of": "pairs",
        "length_before": 90.0, "length_after": 60.0, "repeating": 0.2, "warnings": [],
    }  # fmt: skip


def test_it_waits_while_another_training_has_the_device(
    data: Path, id: str, trainer: Trainer
) -> None:
    other = data / "runs" / "r-other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"run": "r-other"}))
    lock = FileLock(other / "lock")
    assert lock.acquire()
    assert go_on(data, id, trainer)
    assert trainer.started == []
    lock.release()
    assert go_on(data, id, trainer)
    assert trainer.started == ["r-0.01"]


def test_a_beta_that_fails_is_told_and_the_others_go_on(
    data: Path, id: str, trainer: Trainer
) -> None:
    go_on(data, id, trainer)
    trainer.end("failed", message="stopped at step 3: the loss is not a number any more")
    assert go_on(data, id, trainer)
    assert trainer.started == ["r-0.01", "r-0.1"]
    (failed, *_) = sweep_files.result_of(data, id)["points"]
    assert failed["status"] == "failed"
    assert "not a number" in failed["warnings"][0]


def test_a_run_cancelled_by_hand_ends_the_sweep(data: Path, id: str, trainer: Trainer) -> None:
    go_on(data, id, trainer)
    trainer.end("cancelled")
    assert not go_on(data, id, trainer)
    assert trainer.started == ["r-0.01"]
    assert sweep_files.result_of(data, id)["status"] == "cancelled"


def test_a_killed_run_is_taken_up_again_but_not_for_ever(
    data: Path, id: str, trainer: Trainer
) -> None:
    """Killed: its lock is gone and its status still says that it trains."""
    for _ in range(1 + sweep_files.RESTARTS):
        assert go_on(data, id, trainer)
        trainer.end("training")
    assert trainer.started == ["r-0.01"] * 3
    assert go_on(data, id, trainer)  # written off
    assert "killed 3 times" in runs.status(data, "r-0.01").message
    assert go_on(data, id, trainer)
    assert trainer.started[-1] == "r-0.1"


def test_cancel_ends_the_sweep_as_a_whole(data: Path, id: str, trainer: Trainer) -> None:
    go_on(data, id, trainer)
    trainer.end()
    assert sweep_files.cancel(data, id) == {"sweep": id, "status": "cancelled"}
    assert not go_on(data, id, trainer)
    assert trainer.started == ["r-0.01"]
    words = {one.run: one.status for one in runs.list_runs(data)}
    assert words == {"r-0.01": "done", "r-0.1": "cancelled", "r-0.5": "cancelled"}
    with pytest.raises(Conflict, match="nothing to cancel"):
        sweep_files.cancel(data, id)


def test_nothing_else_is_trained_between_two_runs_of_a_sweep(data: Path, id: str) -> None:
    with pytest.raises(Busy, match=f"cancel it: app.py cancel {id}"):
        training.refuse_second(data)
    sweep_files.cancel(data, id)
    training.refuse_second(data)


def test_an_unknown_sweep_names_those_there_are(data: Path, id: str) -> None:
    with pytest.raises(NotFound, match=id):
        sweep_files.read_sweep(data, "w-none")
    with pytest.raises(NotFound):
        sweep_files.read_sweep(data, "../runs/r-0.1/config")


def test_who_follows_an_app_that_ended_does_not_wait_for_ever(
    data: Path, id: str, trainer: Trainer
) -> None:
    assert sweep_files.left_to(data, id, lambda data: {"address": "here"})
    assert not sweep_files.left_to(data, id, lambda data: None)
    go_on(data, id, trainer)
    assert sweep_files.left_to(data, id, lambda data: None)


# Which runs


def test_the_runs_are_alike_in_all_but_beta(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    made = sweep.Sweep("dpo", BETAS, 150, ["seed=3"]).runs(model)
    assert [one.loss["beta"] for one in made.values()] == list(BETAS)
    assert len({json.dumps({**one.as_json(), "beta": 0}) for one in made.values()}) == 1
    train = made[0.1].train
    assert (train.epochs, train.max_rows, train.seed) == (1, 150, 3)
    stopping = sweep.Sweep("dpo", BETAS, 150, {"early_stop": 2, "keep": "best"}).runs(model)
    assert {(one.train.early_stop, one.train.keep) for one in stopping.values()} == {(0, "last")}
    longer = sweep.Sweep("dpo", BETAS, 150, {"epochs": 2}).runs(model)
    assert longer[0.1].train.epochs == 2
    with pytest.raises(BadInput, match="sets beta itself"):
        sweep.Sweep("dpo", BETAS, 150, ["beta=1"]).runs(model)


@pytest.mark.parametrize("method", LOSSES)
def test_every_method_with_a_beta_has_a_sweep_of_its_own(method: str) -> None:
    if leash_of(method) is None:
        with pytest.raises(BadInput, match="has no beta to choose"):
            sweep.checked_betas(method, [])
    else:
        assert len(sweep.checked_betas(method, [])) == 3


@pytest.mark.parametrize(
    ("betas", "why"), [([0.1], "1 values"), ([0.1, 0.1], "1 values"), (range(1, 10), "9 values")]
)
def test_a_sweep_has_two_to_eight_values(betas: list[float], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        sweep.checked_betas("dpo", betas)


def test_a_list_of_betas_is_read_or_refused() -> None:
    assert sweep_files.parsed(" 0.01, 0.1;1 ") == [0.01, 0.1, 1.0]
    assert sweep_files.parsed("") == []
    with pytest.raises(BadInput, match="'0.1,low'"):
        sweep_files.parsed("0.1,low")


def test_a_sweep_needs_pairs_to_judge_by() -> None:
    with pytest.raises(BadInput, match="none of the 5 pairs is held out"):
        sweep.refuse_unjudged({"pairs": {"all": 5, "held_out": 0}})
    sweep.refuse_unjudged({"pairs": {"all": 5, "held_out": 1}})


# Which rows


def test_a_run_takes_train_rows_of_its_kind_and_is_judged_by_held_out_pairs() -> None:
    pairs = [{"id": s, "split": s} for s in ("train", "held_out", "duel")]
    labels = [
        {"id": f"{s}{n}", "split": s, "label": n} for s in ("train", "held_out") for n in (0, 1)
    ]
    rows = {"pairs": pairs, "labels": labels}
    assert rows_of(LOSSES["dpo"], rows, 0) == ([pairs[0]], [pairs[1]])
    assert rows_of(LOSSES["kto"], rows, 0) == (labels[:2], [pairs[1]])
    assert rows_of(LOSSES["sft"], rows, 0) == ([labels[1]], [pairs[1]])


def test_a_part_of_the_rows_is_the_same_for_everybody() -> None:
    rows = pair_lines(40)
    part = part_of(rows, 10)
    assert len(part) == 10
    assert part == part_of(list(reversed(rows)), 10)[::-1]
    assert part != rows[:10]
    assert all(row in rows for row in part)
    assert {r["id"] for r in part_of(rows, 5)} < {r["id"] for r in part}
    assert part_of(rows, 0) == part_of(rows, 40) == rows


def test_a_part_of_the_labels_keeps_both_kinds() -> None:
    """10 good of 50: a fifth of 20 is 4; of 5 it would be 1, but two are needed to learn from."""
    labels = label_lines(pair_lines(40))[::2][:10] + label_lines(pair_lines(40, seed=1))[1::2]
    for most, good in ((20, 4), (5, 2), (4, 2)):
        part = part_of(labels, most)
        assert len(part) == most
        assert sum(row["label"] for row in part) == good


# What it says

POINTS = (
    Point(0.01, "a", "done", 0.85, 0.75, 0.92, 80, 0.16, "answers"),
    Point(0.1, "b", "done", 0.84, 0.74, 0.91, 80, 0.05, "answers"),
    Point(0.5, "c", "done", 0.70, 0.59, 0.79, 80, 0.02, "answers"),
)


def test_the_smallest_drift_among_the_most_accurate_is_taken() -> None:
    """0.85 and 0.84 are as good as equal; 0.1 moves a third as far."""
    assert best_of(POINTS) == POINTS[1]
    assert reading(POINTS) == (
        "β 0.1 reaches 84 % at 0.05 nats per token; 0.5 loses 14 points and stays closer (0.02); "
        "0.01 gains nothing and moves three times as far."
    )


def test_a_beta_whose_answers_got_worse_is_taken_only_where_there_is_no_other() -> None:
    spoiled = [replace(point, warnings=("40 % repeat themselves",)) for point in POINTS]
    assert best_of([spoiled[1], POINTS[2]]) == POINTS[2]
    assert "gains 14 points and moves 2.5 times as far, and its answers got worse" in reading(
        [spoiled[1], POINTS[2]]
    )
    assert best_of(spoiled) == spoiled[1]


def test_intervals_that_overlap_are_said_to() -> None:
    assert "80 held-out pairs hardly tell these apart" in overlap(POINTS)
    far = replace(POINTS[2], low=0.3, high=0.5)
    assert overlap([*POINTS[:2], far]) == ""


def test_a_beta_that_made_no_difference_is_not_taken() -> None:
    """What a sweep of 64 pairs came to: 12 held-out pairs, distances within a third."""
    same = [
        Point(beta, "r", "done", 0.67, 0.39, 0.86, 12, kl, "pairs")
        for beta, kl in ((0.01, 0.013), (0.1, 0.016), (0.5, 0.014))
    ]
    assert best_of(same) is None
    assert "no difference yet: all moved about as far (0.013 to 0.016 nats" in in_words(same)
    assert best_of([replace(same[0], kl=0.05), *same[1:]]) == same[2]


def test_nothing_is_said_before_a_run_has_ended() -> None:
    waiting = [point_of(beta, "r", "waiting", None) for beta in BETAS]
    assert best_of(waiting) is None
    assert reading(waiting) == overlap(waiting) == ""


def test_the_distance_is_the_kl_of_the_answers_where_it_was_measured() -> None:
    assert distance({"kl": {"per_token": 0.0}, "drift": {"chosen": 1.0}}) == (0.0, "answers")
    assert distance({"kl": {"per_token": None}, "drift": {"chosen": -1.0}}) == (1.0, "pairs")
    assert distance({}) == (None, "")
    assert times(0.05, 0.0) == "0.05 nats per token"


def test_a_run_that_made_answers_worse_warns() -> None:
    """Other concerns are no reason against a β."""
    worse = {"name": "repeating", "what": "40 % of 32 answers repeat themselves.", "remedy": "R."}
    other = {"name": "stuck", "what": "The loss still stands at 0.69.", "remedy": "R."}
    told = {**REPORT, "warnings": [other, worse]}
    assert point_of(0.1, "r", "done", told).warnings == (worse["what"],)
    assert point_of(0.1, "r", "done", {**REPORT, "warnings": [other]}).warnings == ()
    assert point_of(0.1, "r", "done", REPORT, "the adapter is that of step 5").warnings == ()


# By the same light as a run


@pytest.fixture
def workspace(biased: Workspace) -> Workspace:
    return biased


def begun(workspace: Workspace, told: list[str], **how: Any) -> list[dict[str, Any]]:
    """Begin a sweep of two runs and return the config.json of each."""
    model = str(tiny_model(workspace.data / "tiny"))
    asked = sweep.Sweep("dpo", (0.1, 1.0), 8)
    id = sweep.begin(workspace, told.append, asked, model=model, **how)
    made = sweep_files.read_sweep(workspace.data, id)["runs"]
    return [read_json(workspace.data / "runs" / run / "config.json") for run in made]


def test_what_checks_speak_against_a_sweep_needs_a_reason(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match="length_bias speaks against training: The longer"):
        begun(workspace, [], because=" ")
    assert not list(workspace.data.glob("runs/*")) + list(workspace.data.glob("snapshots/*"))
    told: list[str] = []
    kept = [config["readiness"] for config in begun(workspace, told, because=" a demo ")]
    assert {(one["light"], one["because"]) for one in kept} == {("amber", "a demo")}
    assert "length_bias" in [one["name"] for one in kept[0]["objections"]]
    assert any("The longer answer won" in line for line in told)


def test_a_sweep_learns_from_what_the_remedies_leave(workspace: Workspace) -> None:
    first, _ = begun(workspace, [], because="x", remedies={"balance_length": True})
    assert "length_bias" in first["readiness"]["answered"]
    manifest = load(workspace.data / "snapshots" / first["snapshot"]).manifest
    assert manifest["settings"]["balance_length"] is True
    assert manifest["checks"]["chosen_longer"]["value"] == 0.5
    assert set(CHECKS) <= set(manifest["checks"])


def test_the_remedies_of_a_frozen_snapshot_are_its_own(workspace: Workspace) -> None:
    folder = workspace.data / "snapshots" / freeze(workspace.store).id
    with pytest.raises(BadInput, match="balance_length cannot be had of a snapshot"):
        begun(workspace, [], snapshot=folder, because="x", remedies={"balance_length": True})


def test_the_command_says_remedies_and_reason() -> None:
    words = sweep_files.command_line(
        Path("d"), method="dpo", betas="0.1, 1", rows=9, model=None, settings={},
        remedies=["balance_length"], because="a demo",
    )  # fmt: skip
    assert words == (
        "python app.py sweep --method dpo --betas 0.1,1 --rows 9 --balance-length "
        "--because 'a demo' --data d"
    )


# The whole way


@pytest.mark.timeout(900)  # two whole runs: 25 s on two free cores, minutes on busy ones
def test_a_sweep_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a tiny model gains nothing from threads
    data, model = tmp_path / "data", tiny_model(tmp_path / "tiny")
    hone("import", write_lines(tmp_path / "pairs.jsonl", pairs(40)), data=data)
    words = ["sweep", "--model", model, "--betas", "0.05,1", "--rows", "12", "--json"]
    words += ["--because", "a test"]
    done = hone(*words, "--set", "batch_size=6", "--set", "lora_rank=4", data=data)
    result = done.result
    assert result["status"] == "done"
    assert [point["beta"] for point in result["points"]] == [0.05, 1.0]
    assert all(point["accuracy"] is not None for point in result["points"])
    assert result["take"] in (0.05, 1.0, None)
    assert result["reading"].startswith("β ")
    assert "2 runs, one after the other: about" in done.err
    assert "trains on 12 of the" in done.err
    first, second = (data / "runs" / point["run"] for point in result["points"])
    one, other = (read_json(run / "config.json") for run in (first, second))
    assert one["snapshot"] == other["snapshot"]
    assert one["readiness"]["because"] == other["readiness"]["because"] == "a test"
    assert "12 rows, 2 steps" in (first / "log.txt").read_text()
    assert "reference: 0 answers scored" in (second / "log.txt").read_text()  # shared
    assert "has ended" in hone("cancel", result["sweep"], data=data).refusal
