"""The real votes of LLMFAO come in whole; length bias, agreement and ranking are as published."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.llmfao import VOTES, run
from tests.commandline import hone


@pytest.mark.skipif(not VOTES.is_dir(), reason=f"the LLMFAO files are not at {VOTES}")
def test_all_llmfao_votes_come_in_with_the_published_length_bias_agreement_and_ranking(
    tmp_path: Path,
):
    """8,931 votes; 2,238 of the 5,460 decided ones went to the longer answer: 0.4099.

    Krippendorff's alpha and Bradley–Terry's scores are those of evalica on the files themselves.
    """
    told = run(VOTES, tmp_path / "data", tmp_path / "votes.jsonl")
    assert told["import"] == {"read": 8931, "stored": 8931, "duplicates": 0, "refused": []}
    checks = {check["name"]: check for check in told["checks"]}
    bias = checks["length_bias"]
    assert (round(bias["value"], 4), bias["n"], bias["severity"]) == (0.4099, 5460, "ok")
    sides = checks["position_bias"]  # 2,911 of 5,460 went left: p = 1e-6
    assert (round(sides["value"], 4), sides["n"], sides["severity"]) == (0.5332, 5460, "warn")
    assert (checks["duplicate_votes"]["value"], checks["duplicate_votes"]["n"]) == (0.0, 8931)
    assert checks["labeler_quality"]["n"] == 124
    assert checks["duplicate_prompts"]["n"] == 2139
    assert checks["duplicate_prompts"]["items"] == 2139 - 13
    agreement = checks["agreement"]
    assert (round(agreement["value"], 4), agreement["severity"]) == (0.2906, "ok")
    assert "over 2,139 comparisons by 124 labelers" in agreement["message"]
    printed = hone("check", "--json", data=tmp_path / "data").result["checks"]
    assert round({one["name"]: one for one in printed}["agreement"]["value"], 4) == 0.2906
    first, second, *_ = hone("leaderboard", "--json", data=tmp_path / "data").result["models"]
    assert (first["model"], round(first["score"], 3)) == ("GPT 4", 2.694)
    assert round(second["score"], 3) == 1.910
    assert first["low"] < first["score"] < first["high"]
    again = run(VOTES, tmp_path / "data", tmp_path / "votes.jsonl")
    assert again["import"] == {"read": 8931, "stored": 0, "duplicates": 8931, "refused": []}
