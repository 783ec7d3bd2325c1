"""docs/gpu.md says what was measured."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TEXT = (ROOT / "docs" / "gpu.md").read_text("utf-8")


def cells(first: str) -> list[str]:
    """Return the cells after the first of the row that begins with it."""
    (line,) = (line for line in TEXT.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_figures_beside_trl_are_those_of_the_results():
    name = "train_step-dpo-512-128-nf4-llama-8b.json"
    result = json.loads((RESULTS / name).read_text("utf-8"))
    ours, theirs, ratios = (
        result["sides"]["hone"], result["sides"]["best"], result["ratios"]["best"]
    )  # fmt: skip
    for first, key, ratio in (
        ("seconds per step", "step_seconds", "time_per_row"),
        ("seconds of three epochs", "run_seconds", "whole_run"),
    ):
        assert cells(first) == [str(ours[key]), str(theirs[key]), str(ratios[ratio])]
    memory = [f"{side['peak_mb'] / 1000:.1f}" for side in (ours, theirs)]
    assert cells("peak memory") == [*memory, str(ratios["hone_memory"])]
    assert f"differ by {result['loss_differences']['fp32']:.1e} at most" in TEXT


def test_the_figures_of_the_quiet_machine_are_those_of_the_results():
    name = "train_step-dpo-512-128-nf4-llama-8b-three.json"
    result = json.loads((RESULTS / name).read_text("utf-8"))
    sides, ratios = result["sides"].values(), result["ratios"]
    assert cells("a step, seconds") == [str(side["step_seconds"]) for side in sides]
    assert cells("over Hone's") == ["", *(str(one["time_per_row"]) for one in ratios.values())]
    assert cells("GB at the peak") == [f"{side['peak_mb'] / 1000:.1f}" for side in sides]
    speed = " ".join((ROOT / "README.md").read_text("utf-8").split())
    best, defaults = ratios["best"]["time_per_row"], ratios["defaults"]["time_per_row"]
    assert f"{best:.1f} times as fast as TRL's best flags in two thirds" in speed
    assert f"{defaults:.1f} times as fast as TRL as it comes" in speed


def test_the_forecast_beside_what_was_measured_is_that_of_the_results():
    points = json.loads((RESULTS / "preflight-gpu.json").read_text("utf-8"))["points"]
    rows = re.findall(r"^\| (\d+) \| (\d+), (\d+) \| ([\d.]+) \| ([\d.]+) \|$", TEXT, re.MULTILINE)
    assert [tuple(row) for row in rows] == [
        (str(p["rows"]), str(p["prompt"]), str(p["response"]),
         f"{p['reserved_gb'] + p['besides_gb']:.2f}", f"{p['forecast_gb']:.2f}")
        for p in points
    ]  # fmt: skip


def test_the_figures_of_the_busy_machine_are_those_of_the_results():
    name = "train_step-dpo-512-128-nf4-llama-8b-busy.json"
    result = json.loads((RESULTS / name).read_text("utf-8"))
    sides, ratios = result["sides"].values(), result["ratios"]
    assert cells("seconds a step") == [str(side["step_seconds"]) for side in sides]
    assert cells("TRL's time") == ["", *(str(one["time_per_row"]) for one in ratios.values())]
    assert cells("peak, GB") == [f"{side['peak_mb'] / 1000:.1f}" for side in sides]


def test_the_figures_of_flex_are_those_of_the_results():
    for at in json.loads((RESULTS / "flex.json").read_text("utf-8"))["at"]:
        dense, flex = at["dense"], at["flex"]
        row = f"| {at['prompt']}, {at['response']} | {at['rows']} | {dense['seconds']:.3f} | "
        row += f"{flex['seconds']:.3f} | {dense['peak_gb']:.1f} | {flex['peak_gb']:.1f} |"
        assert row in TEXT
