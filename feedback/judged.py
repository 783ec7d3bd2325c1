"""What a judge says of comparisons, stored as votes of a marked labeler, and whether people agree.

A judge, a rule or a model, sees each comparison twice, either answer first. Where it then prefers
another answer its verdict is of the order and not of the answers: that is a tie, and is counted as
a flip. Its votes are marked by their source and its labeler by its kind.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from feedback.assignments import skipped_items
from feedback.campaigns import default_campaign
from feedback.intervals import wilson
from feedback.live import excluded_ids
from feedback.remedies import left_in
from feedback.rules import SAYS, Ask, Unreadable
from feedback.votes import new_vote
from storage.errors import UserError
from storage.records import DUEL, JUDGE, Assignment, Labeler, Prompt, Text, Vote

if TYPE_CHECKING:
    from storage.store import Store

NAMES = uuid.UUID("7d0cb9b5-5e0e-4b54-9b5a-6a1f0f9a3c11")  # of votes: asked again, the same id
AT_ONCE = 500  # comparisons between two commits. Choice: of a rule some milliseconds' work

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Judge:
    """Whoever judges; `labeler` is the name that its votes have."""

    labeler: str
    ask: Ask
    at_once: int = AT_ONCE  # comparisons after which its votes are stored and progress is told


@dataclass(frozen=True, slots=True)
class Done:
    """What came of asking a judge."""

    judged: int  # comparisons that it had not judged before
    unreadable: int  # of which it said nothing that can be read: no vote


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a judge and people say the same; each comparison counts once."""

    comparisons: int  # that both judged
    same: int
    share: float | None  # 0..1; None where there is nothing to compare
    low: float | None  # of the share, 95 % (Wilson)
    high: float | None
    alpha: float | None  # Krippendorff's: 1 is perfect, 0 what chance gives

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def combined(a_first: str, b_first: str) -> tuple[str, bool]:
    """Return a judge's verdict, "a", "b" or "tie", and whether the order turned it.

    Args:
        a_first: what it said with a as the first answer.
        b_first: what it said with b as the first.

    Example:
        >>> combined("first", "second"), combined("first", "first")
        (('a', False), ('tie', True))
    """
    one = {"first": "a", "second": "b"}.get(a_first, "tie")
    other = {"first": "b", "second": "a"}.get(b_first, "tie")
    return (one, False) if one == other else ("tie", True)


def said(a_first: str, b_first: str) -> str:
    """Return what a judge said in both orders as the comment of its vote."""
    return f"a first: {a_first}; b first: {b_first}"


# What a vote's comment is where the order turned the verdict; by id, since that is what a vote has.
FLIPS = frozenset(
    Text.of(said(one, other)).id for one in SAYS for other in SAYS if combined(one, other)[1]
)


def judge_all(
    store: Store,
    judge: Judge,
    compared: pd.DataFrame,
    source: str,
    *,
    limit: int | None = None,
    progress: Progress = lambda line: None,
) -> Done:
    """Let a judge vote on what it has not judged yet, in both orders; the same again adds nothing.

    What it has judged is stored when it is stopped or fails.

    Args:
        compared: of the store's comparisons those to judge.
        source: of the votes: JUDGE, or JUDGE_APART in a duel.
        limit: new comparisons at most.

    Raises:
        UserError: from the judge.
    """
    mine = {vote.comparison for vote in store.rows(Vote, labeler=judge.labeler)}
    asked = to_judge(store, compared)
    asked = asked[~asked["comparison"].isin(mine)].head(limit)
    store.add([Labeler(judge.labeler, "judge")])
    campaign = default_campaign(store).id
    judged = unreadable = 0
    for start in range(0, len(asked), judge.at_once):
        part = asked.iloc[start : start + judge.at_once]
        made: list[tuple[Assignment, Vote, list[Text]]] = []
        try:
            for comparison, conversation, a, b in _read(store, part):
                try:
                    words = judge.ask(conversation, a, b), judge.ask(conversation, b, a)
                except Unreadable:
                    unreadable += 1
                    continue
                made.append(_vote(judge.labeler, campaign, source, comparison, *words))
        finally:
            judged += _store(store, made)
        progress(
            f"{min(start + judge.at_once, len(asked))} of {len(asked)} judged by {judge.labeler}"
        )
    return Done(judged, unreadable)


def to_judge(store: Store, compared: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons that are worth a verdict, oldest first: as for people.

    Both answers say something, and not the same; neither is left out or skipped as a repeat; and
    its verdict is not known, as that of a gold item is.
    """
    out, skipped = excluded_ids(store), skipped_items(store)
    known = set(store.frame("gold")["comparison"])
    stays = (
        left_in(compared, out)
        & (compared["text_a"] != compared["text_b"])
        & (compared["chars_a"] > 0)
        & (compared["chars_b"] > 0)
        & ~compared["comparison"].isin(skipped | known)
        & ~compared["prompt"].isin(skipped)
    )
    return compared[stays].sort_values(["created_at", "comparison"])


def ordinary(store: Store) -> pd.DataFrame:
    """Return the comparisons of no duel."""
    frame = store.frame("comparisons")
    return frame[~frame["source"].str.startswith(DUEL)]


def verdicts(store: Store, compared: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return what judges say of these comparisons: the votes of a source that count.

    Columns: comparison, labeler, verdict, flip, said (in both orders).
    """
    votes = store.rows(Vote, source=source)
    prompts = dict(zip(compared["comparison"], compared["prompt"], strict=True))
    comments = store.texts({vote.comment for vote in votes})
    rows = [
        (one.id, one.comparison, prompts[one.comparison], one.labeler, one.source, one.verdict,
         one.comment in FLIPS, comments.get(one.comment, ""))
        for one in votes
        if one.comparison in prompts
    ]  # fmt: skip
    names = ["vote", "comparison", "prompt", "labeler", "source", "verdict", "flip", "said"]
    frame = pd.DataFrame(rows, columns=names)
    return frame[left_in(frame, excluded_ids(store))]


def peoples(votes: pd.DataFrame) -> dict[str, str]:
    """Return what people say of each comparison: "a", "b", or "tie" where neither has more votes.

    Args:
        votes: live votes, those of judges left out by their source.
    """
    counted = votes[(votes["source"] != JUDGE) & (votes["verdict"] != "skip")]
    leaning = counted["verdict"].map({"a": -1, "b": 1}).astype(float).fillna(0.0)
    sums = leaning.groupby(counted["comparison"].astype(str)).sum()
    return {id: "tie" if not sum else "a" if sum < 0 else "b" for id, sum in sums.items()}


def agreement(judge: Mapping[str, str], people: Mapping[str, str]) -> Agreement:
    """Return how often a judge says what people say.

    Args:
        judge, people: comparison → "a", "b" or "tie".

    Example:
        >>> found = agreement({"1": "a", "2": "b", "3": "tie"}, {"1": "a", "2": "a"})
        >>> found.comparisons, found.same, found.share
        (2, 1, 0.5)
    """
    from feedback.agreement import krippendorff_alpha  # brings scipy in

    both = sorted(judge.keys() & people.keys())
    same = sum(judge[id] == people[id] for id in both)
    if not both:
        return Agreement(0, 0, None, None, None, None)
    low, high = wilson(same, len(both))
    codes = {"a": 0, "b": 1, "tie": 2}
    values = [codes[says[id]] for says in (judge, people) for id in both]
    alpha = krippendorff_alpha([*range(len(both))] * 2, values)
    known = None if math.isnan(alpha) else alpha
    return Agreement(len(both), same, same / len(both), low, high, known)


def _read(
    store: Store, compared: pd.DataFrame
) -> Iterator[tuple[str, Sequence[Mapping[str, str]], str, str]]:
    """Yield each comparison's id, its conversation and its two answers; not what was erased."""
    prompts = store.found(Prompt, compared["prompt"].tolist())
    named = {id: row.text for id, row in prompts.items()}
    texts = store.texts({*named.values(), *compared["text_a"], *compared["text_b"]})
    for row in compared.itertuples():
        hashes = (named.get(row.prompt, ""), row.text_a, row.text_b)
        conversation, a, b = (texts.get(one) for one in hashes)
        if conversation and a and b:
            yield row.comparison, json.loads(conversation), a, b


def _vote(
    labeler: str, campaign: str, source: str, comparison: str, a_first: str, b_first: str
) -> tuple[Assignment, Vote, list[Text]]:
    """Return a judge's vote; nobody's left or right, since it saw both orders."""
    id = str(uuid.uuid5(NAMES, f"{labeler}\n{comparison}"))
    place = Assignment(id, campaign, labeler, comparison, "", "", "plain", source)
    verdict, _ = combined(a_first, b_first)
    comment = said(a_first, b_first)
    vote, texts = new_vote(place, id=id, verdict=verdict, revision=0, comment=comment)
    return place, vote, texts


def _store(store: Store, made: Sequence[tuple[Assignment, Vote, list[Text]]]) -> int:
    """Store votes; return how many."""
    if not made:
        return 0
    store.add([place for place, _, _ in made])
    texts = [text for _, _, found in made for text in found]
    for answer in store.append_many([vote for _, vote, _ in made], texts):
        if isinstance(answer, UserError):
            raise answer
    return len(made)
