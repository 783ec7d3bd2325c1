"""What a run would need, before anything is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from align import readiness
from align.estimate import first_pace, work_of
from align.forecast import config_of
from align.models import EMBEDDED, find_model
from align.preflight import Device, Shape, Unit
from align.recipes import from_json
from align.tokens import TEMPLATE_TOKENS, guessed
from feedback.simulate import simulate_votes
from storage.store import Store
from tests.feedback.stock import fill

DEVICE = Device("cpu", 16 * 10**9, 16 * 10**9, 2, "avx512_bf16")


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path) as opened:
        fill(opened, [("x" * 10, "y " * 15)] * 3)
        simulate_votes(opened, 3)
        yield opened


def test_the_time_is_that_of_the_rows_work(store: Store) -> None:
    """Each row: a prompt of 19 characters and two answers of 20 on the mean."""
    settings = from_json("dpo", {"epochs": 1})
    seen = readiness.about(store, settings, 80, EMBEDDED, DEVICE)
    base = find_model(EMBEDDED)
    shape = Shape.of(config_of(base.path), base.parameters)
    assert shape is not None
    row = Unit(TEMPLATE_TOKENS + guessed(19), (1 + guessed(20),) * 2)
    work = work_of(shape, settings, [row] * 80, [row] * 10, prompts=10)
    pace = first_pace(shape, DEVICE, "bf16")
    assert seen.time is not None
    assert seen.time.seconds == pytest.approx(
        pace.start_seconds + pace.answer_seconds + (work.scoring + work.training) / pace.training,
        rel=0.1,
    )
    assert not seen.time.measured
    assert "GB of memory" in seen.memory


def test_what_cannot_fit_is_told_before_the_button_is_pressed(store: Store) -> None:
    short = Device("cpu", 10**9, 16 * 10**9, 2, "avx512_bf16")
    seen = readiness.about(store, from_json("dpo", {}), 80, EMBEDDED, short)
    assert not seen.fits
    assert seen.memory.startswith(f"{EMBEDDED} needs")
