"""Notes to a labeler: what gives rise to one, what never does, and how seldom they come."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from feedback.nudges import FAST_RUN, NOTE_EVERY, SIDE_RUN, Judged, note, own, pace

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def judged(verdicts: list[str], seconds: float | None = 6.0, chars: int = 800) -> list[Judged]:
    """Return one verdict every ten seconds."""
    every = timedelta(seconds=10)
    return [Judged(v, seconds, chars, START + n * every) for n, v in enumerate(verdicts)]


def notes(verdicts: list[Judged]) -> list[int]:
    """Return after how many verdicts a note came."""
    return [n for n in range(1, len(verdicts) + 1) if note(verdicts[:n])]


def test_a_run_on_one_side_is_noted_when_it_is_long_enough_and_not_before():
    assert notes(judged(["left"] * SIDE_RUN)) == [SIDE_RUN]
    assert notes(judged(["right"] * (SIDE_RUN - 1) + ["left"] * (SIDE_RUN - 1))) == []
    told = note(judged(["right"] * SIDE_RUN))
    assert told.kind == "side"
    assert told.text.startswith("The last 16 times you chose an answer, it was B.")


def test_ties_and_skips_neither_make_nor_break_a_run():
    verdicts = judged((["left"] * 5 + ["tie", "skip", "both_bad"]) * 4)
    assert notes(verdicts) == [25]  # the 16th left: three blocks of 8, then one more


def test_eight_too_fast_in_a_row_are_noted_unless_the_answers_are_short_or_the_time_unknown():
    mixed = ["left", "right"] * 4
    assert notes(judged(mixed, seconds=1.5)) == [FAST_RUN]
    assert note(judged(mixed, seconds=1.5)).text.startswith("Your last 8 took under 2 seconds")
    assert notes(judged(mixed, seconds=1.5, chars=199)) == []
    assert notes(judged(mixed, seconds=2.0)) == []
    assert notes(judged(mixed, seconds=None)) == []
    assert notes([*judged(mixed, seconds=1.5)[:7], *judged(["left"]), *judged(mixed)]) == []


@given(
    st.lists(st.sampled_from(["left", "right", "tie"]), max_size=250),
    st.sampled_from([0.5, 1.9, 6.0]),
)
def test_from_one_note_to_the_next_there_are_at_least_fifty_verdicts(verdicts, seconds):
    came = notes(judged(verdicts, seconds))
    assert all(later - earlier > NOTE_EVERY for earlier, later in zip(came, came[1:], strict=False))


def test_a_run_that_goes_on_is_noted_again_with_its_length_since_the_last_note():
    verdicts = judged(["left"] * 70)
    assert notes(verdicts) == [16, 67]
    assert note(verdicts[:67]).text.startswith("The last 51 times")


def test_an_honest_labeler_at_six_seconds_sees_no_note_in_400_votes():
    """1,000 honest evenings: fair sides, 10 % ties, seconds log-normal (median 6, spread 0.8).

    By hand: at most 360 / 2**16 = 0.55 % see one for a run, about none for speed. 1 % of 1,000 is
    10; more than 2.5 standard deviations above the expected 5.5 would have to come together.
    """
    rng = random.Random(0)
    seen = 0
    for _ in range(1000):
        verdicts = [
            Judged(
                rng.choices(["left", "right", "tie"], [45, 45, 10])[0],
                6.0 * rng.lognormvariate(0, 0.8),
                rng.randint(50, 3000),
                START,
            )
            for _ in range(400)
        ]
        seen += sees_one(verdicts)
    assert seen <= 10


def sees_one(verdicts: list[Judged]) -> bool:
    """Return whether a note comes at all: the first run decides, so only its end is looked at."""
    return any(note(verdicts[:n]) for n in ends(verdicts))


def ends(verdicts: list[Judged]) -> list[int]:
    """Return where a run of 16 or of 8 fast ones could end: cheap, and wider than the rule."""
    found, run, side, fast = [], 0, "", 0
    for n, one in enumerate(verdicts, 1):
        if one.verdict != "tie":
            run, side = (run + 1 if one.verdict == side else 1), one.verdict
        fast = fast + 1 if one.seconds < 2 else 0
        if run >= 14 or fast >= 5:
            found.append(n)
    return found


def test_the_pace_is_that_of_the_last_five_minutes():
    """Every ten seconds: 6 a minute. Old verdicts do not count, fewer than five say nothing."""
    verdicts = judged(["left", "right"] * 20)
    end = verdicts[-1].at
    assert pace(verdicts, end) == 6.0
    assert pace(verdicts[:4], verdicts[3].at) is None
    assert pace(verdicts, end + timedelta(minutes=6)) is None


def test_a_streak_starts_anew_after_a_break():
    before = judged(["left"] * 15)
    after = [Judged("left", 6.0, 800, one.at + timedelta(minutes=30)) for one in judged(["left"])]
    assert own([*before, *after], after[-1].at).streak == 1
    assert own([*before, *after], after[-1].at).note is None
    assert own(before, before[-1].at).streak == 15
    assert own(before, before[-1].at + timedelta(hours=1)).streak == 0
    assert own([], START).as_json() == {"per_minute": None, "streak": 0, "note": None}
