"""Judges beside the people in a duel: what each says, how often the order turned it, whether people
agree.

A judge never moves the people's win rate. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align.duelling import Duel, Standing, compared_in, standing_of
from align.judges import JUDGES, open_judge
from feedback.judged import (
    Agreement,
    Done,
    Progress,
    agreement,
    judge_all,
    ordinary,
    peoples,
    verdicts,
)
from feedback.live import live_feedback
from storage.errors import BadInput, NotFound
from storage.records import DUEL, JUDGE, JUDGE_APART, Vote

if TYPE_CHECKING:
    import pandas as pd

    from storage.store import Store


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge says of the comparisons of a duel, or of all others."""

    votes: int
    flips: int  # of its votes those that the order turned: ties
    agreement: Agreement  # with people
    standing: Standing | None  # None outside a duel

    def as_json(self) -> dict[str, Any]:
        stands = self.standing.as_json() if self.standing else None
        told = {"votes": self.votes, "flips": self.flips}
        return {**told, "agreement": self.agreement.as_json(), "standing": stands}


NOTHING = Judged(0, 0, Agreement(0, 0, None, None, None, None), None)


def newest_duel(store: Store) -> Duel:
    """Return the duel whose last comparison was made last.

    Raises:
        NotFound: there is none.
    """
    frame = store.frame("comparisons")
    sources = frame.loc[frame["source"].str.startswith(DUEL)].sort_values("created_at")["source"]
    if sources.empty:
        raise NotFound(
            "there is no duel to judge: begin one with `duel RUN`, or judge everything else with "
            "`--all`."
        )
    run, _, against = str(sources.iloc[-1]).removeprefix(DUEL).partition(":")
    return Duel(run, against)


def let_judge(
    store: Store,
    name: str,
    duel: Duel | None,
    progress: Progress,
    *,
    limit: int | None = None,
    among: Collection[str] = tuple(JUDGES),
) -> tuple[str, Done]:
    """Let a judge vote on what it has not judged; return its labeler's name and what came of it.

    Args:
        name: as `open_judge` takes it.
        duel: None: the comparisons of no duel, where its votes count like any labeler's.
        limit: comparisons at most.
        among: the kinds of judge that are allowed here.

    Raises:
        BadInput: there is no such judge, or nothing to judge; UserError: from the judge.
    """
    if limit is not None and limit < 1:
        raise BadInput(f"limit is {limit}: use 1 or more, or leave it out to judge everything.")
    compared = compared_in(store, duel) if duel else ordinary(store)
    if compared.empty:
        where = f"in the duel of {duel.run} against {duel.against}" if duel else "outside duels"
        raise BadInput(f"there is nothing to judge {where}: make comparisons first.")
    source = JUDGE_APART if duel else JUDGE
    with open_judge(name, among) as judge:
        done = judge_all(store, judge, compared, source, limit=limit, progress=progress)
        return judge.labeler, done


def judged_by(store: Store, duel: Duel | None) -> dict[str, Judged]:
    """Return what each judge says of a duel, or of what is in none: labeler → what it says."""
    source = JUDGE_APART if duel else JUDGE
    if not store.rows(Vote, limit=1, source=source):
        return {}  # mostly so, and a screen asks every few seconds
    compared = compared_in(store, duel) if duel else ordinary(store)
    found = verdicts(store, compared, source)
    votes = live_feedback(store).votes
    people = peoples(votes[votes["comparison"].isin(compared["comparison"])])
    return {
        str(labeler): _judged(compared, mine, people, in_duel=duel is not None)
        for labeler, mine in found.groupby("labeler")
    }


def _judged(
    compared: pd.DataFrame, mine: pd.DataFrame, people: dict[str, str], *, in_duel: bool
) -> Judged:
    says = dict(zip(mine["comparison"], mine["verdict"], strict=True))
    stands = standing_of(compared, mine) if in_duel else None
    return Judged(len(mine), int(mine["flip"].sum()), agreement(says, people), stands)


def words(labeler: str, found: Judged) -> str:
    """Return what a judge says in a sentence; the labeler's name may hold words of others."""
    parts = []
    if found.standing and (rate := found.standing.outcome.rate) is not None:
        ends = found.standing.outcome
        parts.append(
            f"prefers the model after on {rate * 100:.0f} % "
            f"({ends.low * 100:.0f}–{ends.high * 100:.0f})"
        )
    else:
        parts.append(f"judged {found.votes}")
    agrees = found.agreement
    if agrees.share is None or agrees.low is None or agrees.high is None:
        parts.append("people have judged none of them yet")
    else:
        parts.append(
            f"agrees with people in {agrees.share * 100:.0f} % of {agrees.comparisons} "
            f"({agrees.low * 100:.0f}–{agrees.high * 100:.0f})"
        )
    if found.flips:
        share = found.flips / found.votes
        parts.append(f"the order turned {found.flips} of {found.votes} ({share * 100:.0f} %)")
    return f"{labeler} – {', '.join(parts)}"
