"""The real votes of LLMFAO come in whole, and the length bias is the published one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.llmfao import VOTES, run


@pytest.mark.skipif(not VOTES.is_dir(), reason=f"the LLMFAO files are not at {VOTES}")
def test_all_llmfao_votes_come_in_and_the_longer_answer_won_41_percent(tmp_path: Path):
    """8,931 votes; 2,238 of the 5,460 decided ones went to the longer answer: 0.4099."""
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
    again = run(VOTES, tmp_path / "data", tmp_path / "votes.jsonl")
    assert again["import"] == {"read": 8931, "stored": 0, "duplicates": 8931, "refused": []}
