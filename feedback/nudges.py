"""What a labeler is told about their own judging, and nobody else: pace, streak, a gentle note.

Pure: the labeler's own verdicts in, words out. A note never blocks and accuses nobody: a run can be
right. It is not a check; those are in `feedback.checks` and speak to the lead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

# Choice: somebody who chooses by content, with the sides drawn by lot, makes a run of 16 on either
# side within 400 choices with a probability of 400 / 2**16 = 0.6 %; a run of 12 would be 10 %.
SIDE_RUN = 16
# Choice: eight in a row, so that one slip says nothing. At a median of 6 s and a log-normal spread
# of 0.8 each is under 2 s with a probability of 8.5 %, eight in a row about never.
FAST_RUN = 8
FAST_SECONDS = 2.0
# Choice: 200 characters in 2 s are four times the 238 words a minute of silent reading (Brysbaert
# 2019, Journal of Memory and Language 109; about 24 characters a second). Shorter answers can
# honestly be judged at a glance.
FAST_CHARS = 200
NOTE_EVERY = 50  # Choice: verdicts from one note to the next at the least; more often would nag
BREAK = timedelta(minutes=10)  # Choice: a longer pause is a break, after which a streak starts anew
SITTING = timedelta(hours=12)  # Choice: of a labeler's verdicts; nobody sits longer in one go
PACE_WINDOW = timedelta(minutes=5)  # Choice: long enough to be steady, short enough to be now
SIDES = {"left": "A", "right": "B"}  # as the screen names them; on a phone A is above B
PACE_LEAST = 5  # Choice: verdicts under which a pace is chance


@dataclass(frozen=True, slots=True)
class Judged:
    """One verdict of a labeler, as they saw it."""

    verdict: str  # "left", "right", "tie", …; "up" or "down" of one answer
    seconds: float | None  # from showing to voting, where known
    chars: int  # of all answers shown
    at: datetime


@dataclass(frozen=True, slots=True)
class Note:
    kind: str  # "side" or "fast"
    text: str  # in English; the page says it in the labeler's language from what follows
    n: int  # verdicts in the run
    side: str = ""  # of a run on one side: as the screen names it
    seconds: float = FAST_SECONDS  # under which each was too fast


@dataclass(frozen=True, slots=True)
class Own:
    """What a labeler sees of themselves."""

    per_minute: float | None  # None: too few to say
    streak: int  # verdicts since the last break
    note: Note | None  # only right after the verdict that gave rise to it

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def own(verdicts: Sequence[Judged], now: datetime) -> Own:
    """Return what to tell a labeler after the last of their verdicts, given oldest first."""
    sitting = _sitting(verdicts, now)
    return Own(pace(sitting, now), len(sitting), note(sitting))


def pace(verdicts: Sequence[Judged], now: datetime) -> float | None:
    """Return verdicts a minute over the last `PACE_WINDOW`, None for fewer than `PACE_LEAST`."""
    times = [one.at for one in verdicts if one.at >= now - PACE_WINDOW]
    spent = (times[-1] - times[0]).total_seconds() if times else 0.0
    if len(times) < PACE_LEAST or spent <= 0:
        return None
    return round(60 * (len(times) - 1) / spent, 1)


def note(verdicts: Sequence[Judged]) -> Note | None:
    """Return the note that the last verdict gives rise to, if it does and none came lately.

    The verdicts are gone through from the first, so that the same ones always give the same notes
    and nothing has to be remembered. Ties and skips neither make nor break a run on one side.
    """
    last: Note | None = None
    run, side, fast, quiet = 0, "", 0, NOTE_EVERY
    for one in verdicts:
        if one.verdict in ("left", "right"):
            run, side = (run + 1 if one.verdict == side else 1), one.verdict
        fast = fast + 1 if _too_fast(one) else 0
        quiet += 1
        last = None
        if quiet > NOTE_EVERY and (fast >= FAST_RUN or run >= SIDE_RUN):
            last = _fast_note(fast) if fast >= FAST_RUN else _side_note(run, side)
            run, fast, quiet = 0, 0, 0
    return last


def _too_fast(one: Judged) -> bool:
    """Return whether a verdict came before anybody could have read what it is about."""
    return one.seconds is not None and one.seconds < FAST_SECONDS and one.chars >= FAST_CHARS


def _fast_note(run: int) -> Note:
    return Note(
        "fast",
        f"Your last {run} took under {FAST_SECONDS:.0f} seconds each, less than reading takes. If "
        "you are sure, go on; if you are tired, a short break helps.",
        run,
    )


def _side_note(run: int, side: str) -> Note:
    return Note(
        "side",
        f"The last {run} times you chose an answer, it was {SIDES[side]}. That can be right; "
        "if you are tired, a short break helps.",
        run,
        SIDES[side],
    )


def _sitting(verdicts: Sequence[Judged], now: datetime) -> list[Judged]:
    """Return the verdicts since the last break."""
    sitting: list[Judged] = []
    for one in reversed(verdicts):
        if (sitting[-1].at if sitting else now) - one.at > BREAK:
            break
        sitting.append(one)
    return sitting[::-1]
