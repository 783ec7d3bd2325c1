"""About how long a run would take, before anything is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from align import readiness
from align.estimate import CHARACTERS_PER_TOKEN, FIRST_GUESS, TEMPLATE_TOKENS
from align.recipes import from_json
from feedback.simulate import simulate_votes
from storage.store import Store
from tests.feedback.stock import fill


def test_the_time_is_that_of_the_rows_forwards(tmp_path: Path) -> None:
    """Each row: a prompt of 19 characters, answers of 10 and 30. One epoch of DPO is 1 reference
    forward and 3 forwards' work: 4 · 100 rows · tokens / speed, and the fixed parts."""
    settings = from_json("dpo", {"epochs": 1})
    with Store.open(tmp_path) as store:
        fill(store, [("x" * 10, "y " * 15)] * 3)
        simulate_votes(store, 3)
        guess = readiness.about(store, settings, 100, "tiny")
        none = readiness.about(store, settings, 0, "tiny")
    tokens = (19 + 2 * 20) / CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS
    assert guess.seconds - none.seconds == pytest.approx(4 * 100 * tokens / FIRST_GUESS, rel=0.15)
    assert not guess.measured
