"""What a run would need, before anything is frozen."""

from __future__ import annotations

from pathlib import Path

import pytest

from align import readiness
from align.clearance import AMBER, GREEN, RED
from align.estimate import first_pace, work_of
from align.forecast import config_of
from align.models import EMBEDDED, find_model
from align.preflight import Device, Shape, Unit
from align.recipes import from_json
from align.tokens import TEMPLATE_TOKENS, guessed
from feedback.simulate import simulate_votes
from feedback.snapshots import SnapshotSettings, preview
from storage.records import Assignment, Vote
from storage.store import Store
from tests.feedback.stock import fill, stock

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
        pace.start_seconds
        + (work.probes + work.answers) / pace.answering
        + (work.scoring + work.training + work.reading) / pace.training,
        rel=0.1,
    )
    assert not seen.time.measured
    assert "GB of memory" in seen.memory


def test_what_cannot_fit_is_told_before_the_button_is_pressed(store: Store) -> None:
    short = Device("cpu", 10**9, 16 * 10**9, 2, "avx512_bf16")
    seen = readiness.about(store, from_json("dpo", {}), 80, EMBEDDED, short)
    assert not seen.fits
    assert seen.memory.startswith(f"{EMBEDDED} needs")


# The light over what is stored


def voted(store: Store, longer: int, n: int) -> None:
    """Let twelve people judge n comparisons of one model's answers, in turn; the longer answer wins
    `longer` of them, spread evenly, and the one on the left every second."""
    pairs = stock(store, n, ("m", "m"))
    said = []
    for i, pair in enumerate(pairs):
        long = "b" if i % 2 else "a"  # where the longer answer is, see `stock`
        short = "a" if i % 2 else "b"
        won = (i + 1) * longer // n > i * longer // n
        verdict, lost = (long, short) if won else (short, long)
        left = verdict if i // 12 % 2 else lost
        id, who = f"v-{i}", f"person {i % 12}"
        store.add([Assignment(id, "default", who, pair.id, "", left, "plain", "screen")])
        said.append(Vote(id, id, 0, pair.id, who, verdict, seconds_spent=9.0))
    store.append_many(said)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty data folder on a machine with 16 GB free, whatever the tests run on."""
    monkeypatch.setattr(readiness, "device_now", lambda _: DEVICE)
    with Store.open(tmp_path / "data") as opened:
        yield opened


def test_feedback_that_nothing_speaks_against_is_green(empty: Store) -> None:
    """The longer answer won 60 of 120: half."""
    voted(empty, 60, 120)
    seen = readiness.cleared(empty, None, "dpo")
    assert (seen.light, seen.objections, seen.answered) == (GREEN, (), ())


def test_feedback_that_follows_length_is_amber_until_it_is_balanced(empty: Store) -> None:
    """The longer answer won 90 of 120 (95 % interval 67 to 82 %): 30 + 30 pairs are left."""
    voted(empty, 90, 120)
    seen = readiness.cleared(empty, None, "dpo")
    assert seen.light == AMBER
    assert [(one.name, one.severity) for one in seen.objections] == [("length_bias", "warn")]
    balanced = SnapshotSettings(balance_length=True)
    assert preview(empty, balanced)["pairs"]["all"] == 60
    seen = readiness.cleared(empty, None, "dpo", selected=balanced)
    assert (seen.light, seen.objections, seen.answered) == (GREEN, (), ("length_bias",))


def test_too_little_feedback_is_red_and_a_remedy_can_make_it_so(empty: Store) -> None:
    """Every pair was won by the longer answer: balanced, none is left."""
    voted(empty, 24, 24)
    assert readiness.cleared(empty, None, "dpo").light == AMBER
    seen = readiness.cleared(empty, None, "dpo", selected=SnapshotSettings(balance_length=True))
    assert seen.light == RED
    assert seen.objections[0].name == "rows"


def test_a_base_that_does_not_fit_is_red_with_what_would(
    empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    voted(empty, 60, 120)
    short = Device("cpu", 10**9, 16 * 10**9, 2, "avx512_bf16")
    monkeypatch.setattr(readiness, "device_now", lambda _: short)
    seen = readiness.cleared(empty, None, "dpo")
    assert (seen.light, [one.name for one in seen.objections]) == (RED, ["memory"])
    assert seen.objections[0].message.startswith(f"{EMBEDDED[:1].upper()}{EMBEDDED[1:]} needs")
