"""docs/load.md: its figures are those of benchmarks/results/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "load.md").read_text("utf-8")
PROSE = " ".join(PAGE.split())  # lines break anywhere
PHASES = {"alone": "alone", "beside": "beside a lead", "crowd": "five times as many"}


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def ms(one: dict[str, float]) -> str:
    return f"{one['p50']:.0f} and {one['p95']:.0f}"


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_of_the_labelers_is_that_of_the_benchmark(phase: str) -> None:
    found = read("labelers")[phase]
    row = [
        PHASES[phase], f"{found['labelers']:,}", str(found["votes_per_second"]),
        ms(found["saved_ms"]), ms(found["items_ms"]), str(found["refusals"]),
    ]  # fmt: skip
    assert f"| {' | '.join(row)} |" in PAGE


def test_what_was_lost_is_told() -> None:
    found = read("labelers")
    told = f"Of {found['acknowledged']:,} acknowledged votes {found['lost']} were lost and"
    assert f"{told} {found['double']} stored twice" in PROSE
    refused = found["crowd"]["refusals_ms"]["p95"] / 1000
    assert f"under five times the load: {refused:.1f} s (95 % within)" in PROSE


@pytest.mark.parametrize("way", [0, 1])
def test_each_way_of_sending_thumbs_is_that_of_the_benchmark(way: int) -> None:
    found = read("product")["speed"][way]
    row = [
        str(found["clients"]), str(found["thumbs_per_request"]),
        f"{found['thumbs_per_second']:,}", f"{found['server_ms_per_thumb']:.2f}",
        f"{found['p50_ms']:.0f} and {found['p95_ms']:.0f}",
    ]  # fmt: skip
    assert f"| {' | '.join(row)} |" in PAGE


def test_the_kills_are_those_of_the_benchmark() -> None:
    found = read("product")["kills"]
    assert (
        f"In {found['kills']} kills (`kill -9`) amid {found['acknowledged']:,} acknowledged thumbs "
        f"{found['lost']} were lost and {found['double']} stored twice"
    ) in PROSE
    first, last = min(found["restart_seconds"]), max(found["restart_seconds"])
    assert f"after {first:.1f} to {last:.1f} s" in PROSE


def test_the_others_are_as_the_benchmark_found_them() -> None:
    found = read("beside")
    for name, side in found["sides"].items():
        row = f" | {side['votes_per_second']} | {ms(side['ms'])} |"
        assert any(
            line.lower().startswith(f"| {name.replace('_', ' ')}") and line.endswith(row)
            for line in PAGE.splitlines()
        )
    times = found["hone_times_as_many"]
    assert f"{times['label_studio']:.0f} times as many as Label Studio" in PROSE
    assert f"{times['feedloop']:.2f} times as many as feedloop" in PROSE


@pytest.mark.parametrize(("kind", "name"), [("jsonl", "JSON lines"), ("parquet", "Parquet")])
def test_an_import_beside_votes_is_that_of_the_benchmark(kind: str, name: str) -> None:
    whole = read("million")
    found = whole[kind]
    votes, export = found["votes"]["meanwhile"], found["export"]
    row = [
        name, f"{found['seconds']:.0f}", f"{found['rows_per_second']:,}",
        f"{found['memory_mb']['together']:,}", f"{votes['p50_ms']:.0f} and {votes['p95_ms']:.0f}",
        f"{export['trl']['seconds']:.0f}", f"{export['votes']['seconds']:.0f}",
    ]  # fmt: skip
    assert f"| {' | '.join(row)} |" in PAGE
    assert f"{whole['rows']:,} pairs are brought in" in PROSE
    assert (found["stored"], found["refused"]) == (whole["rows"], 0)
