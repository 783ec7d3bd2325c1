"""docs/rounds.md: its table and plot are those of benchmarks/results/rounds.json."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import rounds

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "rounds.md").read_text("utf-8")
FOUND = json.loads(rounds.RESULT.read_text("utf-8"))


def test_the_table_is_that_of_the_benchmark() -> None:
    assert rounds.table(FOUND) in PAGE


def test_what_was_done_is_what_the_page_says() -> None:
    prose = " ".join(PAGE.split())
    assert f"the promoted adapter answers {rounds.TRAIN + rounds.HELD_OUT} prompts" in prose
    assert FOUND["votes"] == rounds.ROUNDS * rounds.PER_PROMPT * (rounds.TRAIN + rounds.HELD_OUT)
    assert FOUND["settings"] == rounds.SETTINGS
    assert f"an SFT term of {FOUND['settings']['sft_weight']}" in prose
    assert f"asked {FOUND['judged_on']} prompts that nobody voted on" in prose


def test_the_plot_is_on_the_page() -> None:
    assert f"({rounds.PLOT.name})" in PAGE
    assert rounds.PLOT.stat().st_size < 100_000
