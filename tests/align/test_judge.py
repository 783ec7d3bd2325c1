"""A run judged on its way: what it writes, keeps and stops at, also when it was cut short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from align import preflight, session, train
from align.checkpoints import newest_complete
from align.evaluate import PairScore
from align.judge import Judge
from align.manifest import verify_manifest
from align.policy import Policy
from align.probes import LIGHTER
from align.session import Session
from align.trainer import PreferenceTrainer
from tests.align.small import label_lines, pair_lines, read, rows_of, write_run, write_snapshot

pytestmark = pytest.mark.usefixtures("brief_answers")

# By step: lowest at step 3, then three that are higher, then better than ever, which nobody sees.
TURNING = [0.69, 0.65, 0.60, 0.55, 0.58, 0.57, 0.60, 0.10]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], None]:
    """Let the held-out pairs have made-up losses by step; everything else is real."""

    def with_losses(losses: list[float]) -> None:
        def score(self: Judge, step: int) -> list[PairScore]:
            same = (-1.0, -2.0)
            return [PairScore(0.1 * step, 0.1 * step, losses[min(step, 7)], same, same)]

        monkeypatch.setattr(Judge, "score", score)

    return with_losses


def long_run(data: Path, model: Path, **settings: Any) -> Path:
    """Thirty planned steps, judged after each."""
    usual = {"epochs": 10, "eval_every": 1, "early_stop": 3, "keep": "best", "save_every": 2}
    return write_run(data, model, **{**usual, **settings})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def figures(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(run)]


def judged(run: Path) -> list[int]:
    return [row["step"] for row in rows_of(run) if "eval_loss" in row]


def test_a_run_stops_early_and_publishes_the_weights_of_its_best_step(
    tiny: Path, tmp_path: Path, scored: Callable[[list[float]], None]
) -> None:
    """Beside it a run of the same plan that ends at step 3 and publishes its last weights: losses
    that rise from the start on end it with a patience of 3."""
    scored(TURNING)
    run = long_run(tmp_path / "best", tiny)
    assert train.main([str(run)]) == 0
    assert judged(run) == [0, 1, 2, 3, 4, 5, 6]
    status, report = read(run / "status.json"), read(run / "report.json")
    assert (status["status"], status["step"], status["steps"]) == ("done", 6, 30)
    assert status["message"].startswith("stopped early at step 6 of 30")
    assert report["published"] == {
        "step": 3, "done": 6, "steps": 30, "why": status["message"],
    }  # fmt: skip
    assert verify_manifest(run / "adapter")["published"]["step"] == 3
    scored([0.5, 0.6, 0.7, 0.8])
    short = long_run(tmp_path / "last", tiny, keep="last")
    assert train.main([str(short)]) == 0
    assert read(short / "report.json")["published"]["step"] == 3
    assert not (short / "kept").exists()
    assert same(run, short)


def test_without_early_stop_the_best_steps_weights_are_published_at_the_end(
    tiny: Path, tmp_path: Path, scored: Callable[[list[float]], None]
) -> None:
    scored([0.69, 0.6, 0.5, 0.55, 0.6, 0.6, 0.6, 0.6])
    run = write_run(tmp_path, tiny, eval_every=1, keep="best")
    last = write_run(tmp_path, tiny, eval_every=1, name="r-last")  # auto: four pairs are too few
    assert train.main([str(run)]) == train.main([str(last)]) == 0
    assert read(run / "report.json")["published"]["step"] == 2
    assert read(last / "report.json")["published"]["step"] == 6
    assert read(last / "status.json")["message"] == "done"
    assert not same(run, last)


def test_the_report_is_made_with_the_published_weights(tiny: Path, tmp_path: Path) -> None:
    """Real losses, which fall: the best step is found, and the report's drift is that step's."""
    run = write_run(tmp_path, tiny, "sft", eval_every=1, keep="best", learning_rate=5e-3, epochs=6)
    assert train.main([str(run)]) == 0
    report = read(run / "report.json")
    rows = {row["step"]: row for row in rows_of(run) if "eval_loss" in row}
    best = min((step for step in rows if step), key=lambda step: rows[step]["eval_loss"])
    assert report["published"]["step"] == best
    assert report["drift"]["chosen"] == pytest.approx(rows[best]["eval_chosen_drift"], abs=1e-5)
    assert report["held_out"]["reward_accuracy"] == rows[best]["eval_accuracy"]


def test_the_report_tells_the_kl_of_the_published_step(
    tiny: Path, tmp_path: Path, scored: Callable[[list[float]], None]
) -> None:
    """Step 1 was not asked for answers on the way, so it is asked at the end; the last step was,
    and its figure is the row's. Run to the other's step alone, both are the same."""
    scored([0.69, 0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    best = write_run(tmp_path, tiny, name="best", keep="best", eval_every=1, learning_rate=1e-2)
    last = write_run(tmp_path, tiny, name="last", keep="last", eval_every=1, learning_rate=1e-2)
    assert train.main([str(best)]) == train.main([str(last)]) == 0
    rows = {row["step"]: row["eval_kl"] for row in rows_of(last) if "eval_kl" in row}
    assert read(last / "report.json")["kl"]["per_token"] == rows[6]
    own = read(best / "report.json")["kl"]
    assert own["tokens"] > 0
    assert 0 < own["per_token"] < rows[6]


def test_a_loss_of_prompts_too_is_judged_as_it_is_trained(tiny: Path, tmp_path: Path) -> None:
    """The held-out pairs are the batch of step 0: prompts count in their loss before training."""
    pairs = pair_lines(4)
    held_out = [{**pair, "split": "held_out"} for pair in pairs]
    write_snapshot(tmp_path / "snapshots" / "s_1", pairs + held_out, [])
    run = write_run(tmp_path, tiny, "orpo", prompt_weight=1.0, epochs=1)
    assert train.main([str(run)]) == 0
    judgement = next(row for row in rows_of(run) if "eval_loss" in row)
    assert judgement["step"] == 0
    assert judgement["eval_loss"] == pytest.approx(rows_of(run)[0]["loss"], rel=1e-5)


def test_imitation_is_judged_by_the_chosen_answers_nll(tiny: Path, tmp_path: Path) -> None:
    """A mean over the pairs, per token: the loss falls by what the chosen answers gain."""
    run = write_run(tmp_path, tiny, "sft", eval_every=3)
    assert train.main([str(run)]) == 0
    rows = [row for row in rows_of(run) if "eval_loss" in row]
    fell = rows[0]["eval_loss"] - rows[-1]["eval_loss"]
    assert fell == pytest.approx(rows[-1]["eval_chosen_drift"], abs=1e-4)


@pytest.mark.parametrize("at", [2, 4, 5])
def test_a_resumed_run_stops_and_keeps_as_one_that_was_not_cut(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scored: Callable[[list[float]], None],
    at: int,
) -> None:
    """It falls over after a step without a checkpoint of its own, before and after the best one."""
    scored(TURNING)
    whole = long_run(tmp_path / "whole", tiny)
    assert train.main([str(whole)]) == 0
    run = long_run(tmp_path / "cut", tiny)
    write = Session._write

    def falls_over(self: Session, row: dict[str, Any]) -> None:
        write(self, row)
        if row["step"] == at and "grad_norm" in row:
            monkeypatch.setattr(PreferenceTrainer, "save_now", lambda self: None)
            raise RuntimeError("the power failed")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_write", falls_over)
        save_now = PreferenceTrainer.save_now
        assert train.main([str(run)]) == 1
        monkeypatch.setattr(PreferenceTrainer, "save_now", save_now)
    assert train.main([str(run)]) == 0
    assert figures(run) == figures(whole)
    assert same(run, whole)
    assert read(run / "report.json")["published"] == read(whole / "report.json")["published"]


def test_a_run_told_to_stop_while_it_is_judged_is_judged_when_it_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint has step 3, its judgement is missing; the resumed run makes it first."""
    whole = write_run(tmp_path / "whole", tiny, eval_every=3)
    assert train.main([str(whole)]) == 0
    run = write_run(tmp_path / "cut", tiny, eval_every=3)
    score = Judge.score

    def told(self: Judge, step: int) -> list[PairScore]:
        if step == 3:
            raise train.Cancelled
        return score(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "score", told)
        assert train.main([str(run)]) == train.CANCELLED
    assert newest_complete(run / "checkpoints") == run / "checkpoints" / "checkpoint-3"
    assert judged(run) == [0]
    assert train.main([str(run)]) == 0
    assert figures(run) == figures(whole)
    assert same(run, whole)


def test_a_run_that_stopped_early_does_not_train_on_when_its_report_is_made_again(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scored: Callable[[list[float]], None],
) -> None:
    def stopped(*policy: Any, **settings: Any) -> None:
        raise train.Cancelled

    scored(TURNING)
    run = long_run(tmp_path, tiny)
    with monkeypatch.context() as patch:
        patch.setattr(session, "greedy_answers", stopped)
        assert train.main([str(run)]) == train.CANCELLED
    before, rows = weights(run), rows_of(run)
    assert train.main([str(run)]) == 0
    assert rows_of(run) == rows
    assert all(torch.equal(before[name], weight) for name, weight in weights(run).items())
    assert read(run / "report.json")["published"]["step"] == 3


def test_kept_weights_are_sealed_and_few(
    tiny: Path, tmp_path: Path, scored: Callable[[list[float]], None]
) -> None:
    """Every step is a new best: those that no checkpoint could want go."""
    scored([0.7 - 0.05 * step for step in range(8)])
    run = write_run(tmp_path, tiny, eval_every=1, keep="best", save_every=1)
    assert train.main([str(run)]) == 0
    kept = sorted(run.glob("kept/step-*"))
    assert 1 <= len(kept) <= 3
    assert kept[-1].name == "step-6"
    for folder in kept:
        assert f"step-{verify_manifest(folder)['step']}" == folder.name


def test_kept_weights_that_were_damaged_are_not_published(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scored: Callable[[list[float]], None],
) -> None:
    scored(TURNING)
    run = long_run(tmp_path, tiny)
    published = Judge.published

    def damaged(self: Judge, done: int) -> Any:
        (self.kept(3) / "adapter.safetensors").write_bytes(b"half")
        return published(self, done)

    monkeypatch.setattr(Judge, "published", damaged)
    assert train.main([str(run)]) == 0
    assert read(run / "report.json")["published"]["step"] != 3


def test_judging_takes_no_gradient_and_no_larger_passes_than_training(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padded tokens of every pass while the run is judged; generation, which keeps no activations,
    may take `LIGHTER` times as many. Long held-out prompts, so that the cut matters."""
    budget, inside = 600, []
    passes: list[int] = []
    generated: list[int] = []
    forward, generate, judge = Policy.forward, Policy.generate, Judge._judge

    def forwards(self: Policy, block: Any) -> Any:
        if inside:
            assert not torch.is_grad_enabled()
            passes.append(block.ids.numel())
        return forward(self, block)

    def generates(self: Policy, **arguments: Any) -> Any:
        rows, width = arguments["input_ids"].shape
        if inside:
            generated.append(rows * (width + arguments["max_new_tokens"]))
        return generate(self, **arguments)

    def judging(self: Judge, step: int, rows: Any) -> Any:
        inside.append(step)
        try:
            return judge(self, step, rows)
        finally:
            inside.pop()

    for kind in ("cpu", "cuda"):
        monkeypatch.setitem(preflight.BUDGET, kind, budget)
    monkeypatch.setattr(Policy, "forward", forwards)
    monkeypatch.setattr(Policy, "generate", generates)
    monkeypatch.setattr(Judge, "_judge", judging)
    pairs = pair_lines(8) + pair_lines(24, "held_out")
    for pair in pairs:
        pair["prompt"][0]["content"] *= 4
    write_snapshot(tmp_path / "snapshots" / "s_1", pairs, [])
    run = write_run(tmp_path, tiny, epochs=1)
    assert train.main([str(run)]) == 0
    assert len(passes) > 4
    assert max(passes) <= budget
    assert len(generated) > 2  # more than one batch a probe: the budget did cut
    assert max(generated) <= LIGHTER * budget


def test_without_held_out_rows_the_answers_to_trained_prompts_are_judged(
    tiny: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path, tiny, held_out=0, epochs=1, keep="best", early_stop=1)
    assert train.main([str(run)]) == 0
    probes = [row for row in rows_of(run) if "probe_length" in row]
    assert [probes[0]["step"], probes[-1]["step"]] == [0, 3]
    assert probes[0]["probe_prompts"] == 8
    assert "eval_loss" not in probes[-1]
    assert read(run / "report.json")["published"]["step"] == 3


def test_thumbs_alone_are_judged_by_probe_answers(tiny: Path, tmp_path: Path) -> None:
    """KTO without a single pair: the held-out prompts are those of held-out labels."""
    labels = label_lines(pair_lines(8) + pair_lines(3, "held_out"))
    write_snapshot(tmp_path / "snapshots" / "s_1", [], labels)
    run = write_run(tmp_path, tiny, "kto", epochs=1)
    assert train.main([str(run)]) == 0
    probes = [row for row in rows_of(run) if "probe_length" in row]
    assert {row["probe_prompts"] for row in probes} == {3}


def test_what_looks_wrong_is_in_the_status_while_the_run_goes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen answers that lose 2 nats per token, seen at the first judgement after the start."""
    told: list[Any] = []

    def score(self: Judge, step: int) -> list[PairScore]:
        told.append((step, [one["name"] for one in self.files.state.get("warnings", [])]))
        return [PairScore(1.0, 0.1, 0.6, (-1.0, -1.0), (-1.0 - 2 * bool(step), -4.0))]

    monkeypatch.setattr(Judge, "score", score)
    run = write_run(tmp_path, tiny)
    assert train.main([str(run)]) == 0
    assert told[:2] == [(0, []), (2, [])]
    assert "displaced" in dict(told[2:])[3]
    warnings = read(run / "status.json")["warnings"]
    assert "displaced" in [one["name"] for one in warnings]
    assert read(run / "report.json")["warnings"] == warnings
    assert "lost 2.00 nats per token" in warnings[0]["what"]


def test_the_planned_work_is_done_in_the_end(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without generating (whose cost is a guess) the forward passes counted equal those planned."""
    monkeypatch.setattr(session, "GENERATED_WORK", 0)
    seen: list[tuple[float, float]] = []
    publish = Session.publish

    def watched(self: Session) -> None:
        seen.append((self.files.work_done, self.files.work))
        publish(self)

    monkeypatch.setattr(Session, "publish", watched)
    assert train.main([str(write_run(tmp_path, tiny))]) == 0
    ((done, planned),) = seen
    assert done == pytest.approx(planned, rel=0.15)  # padding is counted as it comes
