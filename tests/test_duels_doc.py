"""The figures in the decision on duels are those of the benchmark."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_decision_tells_the_benchmarks_figures() -> None:
    page = (ROOT / "docs/decisions/0015-duels-are-ordinary-comparisons.md").read_text("utf-8")
    result = json.loads((ROOT / "benchmarks/results/duels.json").read_text("utf-8"))
    cases = {(case["rate"], case["ties"]): case for case in result["cases"]}
    equal, better = cases[0.5, 0.0], cases[0.7, 0.2]
    flat = " ".join(page.split())
    assert f"Over {result['duels']:,} simulated duels" in flat
    assert f"read after each of {result['prompts']} prompts" in flat
    assert f"called better in {100 * equal['decided']['value']:.1f} %" in flat
    assert (
        f"the usual interval does so in {100 * equal['usual_interval_decides']['value']:.0f} %"
        in flat
    )
    assert f"found after {better['median_prompts']} prompts" in flat
    assert all(case["ever_left_out"]["value"] <= result["alpha"] for case in result["cases"])
