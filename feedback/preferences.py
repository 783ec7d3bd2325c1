"""Votes, thumbs and edits become pairs (for DPO) and labels (for KTO). Pure: frames in, rows out.

What comes in counts: nothing excluded, no silent repeat, and of each person one vote on a
comparison, the first (`feedback.live` sees to that). The rules, in the order in which they are
applied:

1.  What a text says counts, not which sample said it: votes on the same two texts for the same
    prompt are counted together, and a response is named by the smallest of its ids.
2.  Votes on two texts: a verdict with more than half of all votes that are not `skip` wins, or,
    where votes are weighed by who cast them, one that is more likely right than not. A side
    that wins gives one pair and two labels (chosen good, rejected bad); `both_bad` gives two bad
    labels; a tie, or no majority, gives nothing. Where a lead decided, that verdict stands,
    whatever the votes say.
3.  An edit gives the pair corrected > original, a good label and a bad one.
4.  Thumbs: a response with more ups than downs is good, with more downs than ups bad. Where one
    prompt has good and bad ones, they are paired in the order of their ids, each used once: that
    order is blind to length, model and time, and one response is not repeated in many pairs.
5.  One pair for each two texts. A direct vote counts more than an edit, an edit more than thumbs.
6.  Labels of one text are merged: each comparison, edit and thumb is one piece of evidence; the
    larger side wins, and as much good as bad gives nothing.
7.  A pair or label with an empty response, and a pair of two equal texts, are dropped.

Everything that gives nothing is counted under a reason that a person can read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from storage.records import digest

AT_ONCE = 5_000  # rows that are plain objects at the same time. Choice: some megabytes
SKIPPED = "votes, thumbs and edits on items skipped as duplicates"
TIED = "comparisons that are a tie"
ONLY_SKIPPED = "comparisons and responses that were only skipped"
NO_MAJORITY = "comparisons without a majority"
BOTH_BAD = "comparisons where both are bad (two bad labels, no pair)"
SAME_TEXTS = "pairs whose two responses are the same"
EMPTY_PAIR = "pairs with an empty response"
EMPTY_LABEL = "labels of an empty response"
CONTRADICTION = "responses called good as often as bad (no label)"
JUDGED_ALREADY = "pairs from edits or thumbs that were also judged more directly"


@dataclass(frozen=True, slots=True)
class Pair:
    """`chosen` is better than `rejected` (Response ids): what DPO learns from."""

    id: str
    prompt: str
    chosen: str
    rejected: str
    votes_for: tuple[str, ...]  # ids of votes, ratings, edits or a lead's decision
    votes_against: tuple[str, ...]
    # in (0.5, 1]: votes_for / (votes_for + votes_against), weighed by labeler, or 1 where a lead
    # decided
    p_chosen: float
    weight: float
    source: str  # "vote", "edit" or "thumbs"


@dataclass(frozen=True, slots=True)
class Label:
    """`response` is good or bad: what KTO learns from."""

    id: str
    prompt: str
    response: str
    good: bool
    votes: tuple[str, ...]  # ids of the votes, ratings and edits that say so
    weight: float
    source: str  # "vote", "edit", "thumbs", or several joined by "+"


class Preferences(NamedTuple):
    pairs: list[Pair]  # by id
    labels: list[Label]  # by id
    dropped: dict[str, int]  # reason → how many


Answer = tuple[str, str]  # (Prompt.id, Text.id)


class _Said(NamedTuple):
    """One piece of evidence about one answer."""

    answer: Answer
    good: bool
    ids: tuple[str, ...]
    source: str


class _Contest(NamedTuple):
    """One source's verdict on two different answers to one prompt."""

    chosen: Answer
    rejected: Answer
    votes_for: tuple[str, ...]
    votes_against: tuple[str, ...]
    source: str
    p_chosen: float | None = None  # None: the share of votes_for


def pairs_and_labels(
    votes: pd.DataFrame,
    ratings: pd.DataFrame,
    edits: pd.DataFrame,
    decisions: pd.DataFrame | None = None,
    *,
    blank: Set[str] = frozenset(),
    skipped: Set[str] = frozenset(),
    likely: Mapping[tuple[str, str, str], Mapping[str, float]] | None = None,
) -> Preferences:
    """Return the pairs and labels that live feedback gives, and what it does not give.

    Args:
        votes: One live vote a row: vote, comparison, prompt, verdict, a, b, text_a, text_b.
        ratings: One live rating a row: rating, response, prompt, verdict, text.
        edits: One live edit a row: edit, prompt, original, corrected, text_original,
            text_corrected.
        decisions: What leads decided, one comparison a row: decision, comparison, prompt, verdict,
            created_at, and the sides as of votes.
        blank: Text ids whose content is empty or only white space.
        skipped: Ids of prompts, comparisons and responses that a person decided to skip as repeats.
        likely: (prompt, smaller text id, larger text id) → verdict → how likely it is the right
            one, in 0..1; "a" is the smaller text. None: every vote counts the same.

    Returns:
        Pairs and labels sorted by id; the order of the rows in the frames does not matter.
    """
    dropped: Counter[str] = Counter()
    decisions = votes.iloc[:0] if decisions is None else decisions
    decisions = _without(decisions, ["comparison", "prompt"], skipped, dropped)
    votes = _without(votes, ["comparison", "prompt"], skipped, dropped)
    ratings = _without(ratings, ["prompt", "response"], skipped, dropped)
    edits = _without(edits, ["prompt"], skipped, dropped)

    contests: list[_Contest] = []
    said: list[_Said] = []
    judged = _from_votes(votes, _decided(decisions), likely or {}, contests, said, dropped)
    _from_edits(edits, contests, said, dropped)
    _from_thumbs(ratings, blank, contests, said, dropped)
    names = _names(votes, decisions, ratings, edits)
    return Preferences(
        pairs=_pairs(contests, judged, names, blank, dropped),
        labels=_labels(said, names, blank, dropped),
        dropped=dict(sorted(dropped.items())),
    )


def _without(
    frame: pd.DataFrame, columns: list[str], skipped: Set[str], dropped: Counter[str]
) -> pd.DataFrame:
    """Return the rows that name no skipped item, and count the others."""
    if frame.empty or not skipped:
        return frame
    out = frame[columns].isin(list(skipped)).any(axis=1)
    _count(dropped, SKIPPED, int(out.sum()))
    return frame[~out]


def _count(dropped: Counter[str], reason: str, n: int = 1) -> None:
    if n:
        dropped[reason] += n


def _sides(frame: pd.DataFrame) -> Iterator[tuple[Answer, str]]:
    """Yield each (answer, response id) that a frame names."""
    for response, text in (
        ("a", "text_a"),
        ("b", "text_b"),
        ("response", "text"),
        ("original", "text_original"),
        ("corrected", "text_corrected"),
    ):
        if response in frame and text in frame:
            columns = (frame[name].tolist() for name in ("prompt", text, response))
            for prompt, hash, id in zip(*columns, strict=True):
                yield (prompt, hash), id


def _names(*frames: pd.DataFrame) -> dict[Answer, str]:
    """Return the smallest response id of each answer."""
    names: dict[Answer, str] = {}
    for frame in frames:
        for answer, response in _sides(frame):
            names[answer] = min(names.get(answer, response), response)
    return names


class _Decision(NamedTuple):
    """What a lead decided on two answers, the smaller one as "a"."""

    verdict: str
    id: str


def _decided(decisions: pd.DataFrame) -> dict[tuple[Answer, Answer], _Decision]:
    """Return the newest decision on each two answers."""
    decided: dict[tuple[Answer, Answer], _Decision] = {}
    if decisions.empty:
        return decided
    for row in decisions.sort_values(["created_at", "decision"]).itertuples():
        a, b, verdict = _in_order(row)
        decided[a, b] = _Decision(verdict, row.decision)
    return decided


def _in_order(row: Any) -> tuple[Answer, Answer, str]:
    """Return a verdict's two answers, the smaller one first, and the verdict in these terms."""
    a, b = (row.prompt, row.text_a), (row.prompt, row.text_b)
    if a <= b:
        return a, b, row.verdict
    return b, a, {"a": "b", "b": "a"}.get(row.verdict, row.verdict)


def _from_votes(
    votes: pd.DataFrame,
    decided: Mapping[tuple[Answer, Answer], _Decision],
    likely: Mapping[tuple[str, str, str], Mapping[str, float]],
    contests: list[_Contest],
    said: list[_Said],
    dropped: Counter[str],
) -> set[frozenset[Answer]]:
    """Add what the votes say; return the couples of answers that were judged side by side."""
    tallies: dict[tuple[Answer, Answer], dict[str, list[str]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in _rows(votes):
        a, b, verdict = _in_order(row)
        tallies[a, b][verdict].append(row.vote)
    for answers, decision in decided.items():
        tallies[answers][decision.verdict].append(decision.id)
    judged = set()
    for (a, b), tally in tallies.items():
        ids = {verdict: tuple(sorted(votes)) for verdict, votes in tally.items()}
        heads: Mapping[str, float] = {verdict: len(votes) for verdict, votes in ids.items()}
        weights = likely.get((*a, b[1]), heads)
        if (stands := decided.get((a, b))) is not None:
            weights = {stands.verdict: 1.0}
        winner = _majority(weights)
        if winner != "skip":
            judged.add(frozenset((a, b)))
        if winner in ("a", "b") and a == b:
            _count(dropped, SAME_TEXTS)
        elif winner in ("a", "b"):
            chosen, rejected, other = (a, b, "b") if winner == "a" else (b, a, "a")
            found, against = ids.get(winner, ()), ids.get(other, ())
            p = weights[winner] / (weights[winner] + weights.get(other, 0))
            contests.append(_Contest(chosen, rejected, found, against, "vote", p))
            said.append(_Said(chosen, True, found, "vote"))
            said.append(_Said(rejected, False, found, "vote"))
        elif winner == "both_bad":
            _count(dropped, BOTH_BAD)
            said.extend(_Said(answer, False, ids.get(winner, ()), "vote") for answer in {a, b})
        else:
            _count(dropped, {"tie": TIED, "skip": ONLY_SKIPPED}.get(winner, NO_MAJORITY))
    return judged


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield what `itertuples` does in half of the time: strings leave Arrow many at once."""
    for start in range(0, len(frame), AT_ONCE):
        yield from frame.iloc[start : start + AT_ONCE].astype(object).itertuples()


def _majority(counts: Mapping[str, float]) -> str:
    """Return the verdict with more than half of the weight that is not on `skip`, or "".

    >>> _majority({"a": 2, "b": 1}), _majority({"a": 2, "tie": 2}), _majority({"skip": 3})
    ('a', '', 'skip')
    """
    decided = {verdict: n for verdict, n in counts.items() if verdict != "skip"}
    total = sum(decided.values())
    if not total:
        return "skip"
    return next((verdict for verdict, n in decided.items() if 2 * n > total), "")


def _from_edits(
    edits: pd.DataFrame, contests: list[_Contest], said: list[_Said], dropped: Counter[str]
) -> None:
    """Add what the edits say: the correction is better than the original."""
    tallies: dict[tuple[Answer, Answer], list[str]] = defaultdict(list)
    for row in edits.itertuples():
        corrected, original = (row.prompt, row.text_corrected), (row.prompt, row.text_original)
        if corrected == original:
            _count(dropped, SAME_TEXTS)
            continue
        tallies[corrected, original].append(row.edit)
        said.append(_Said(corrected, True, (row.edit,), "edit"))
        said.append(_Said(original, False, (row.edit,), "edit"))
    for (corrected, original), ids in tallies.items():
        against = tallies.get((original, corrected), [])
        if len(ids) > len(against):
            votes_for, votes_against = tuple(sorted(ids)), tuple(sorted(against))
            contests.append(_Contest(corrected, original, votes_for, votes_against, "edit"))
        elif len(ids) == len(against) and corrected < original:
            _count(dropped, NO_MAJORITY)


def _from_thumbs(
    ratings: pd.DataFrame,
    blank: Set[str],
    contests: list[_Contest],
    said: list[_Said],
    dropped: Counter[str],
) -> None:
    """Add what the thumbs say, and pair good with bad responses of the same prompt."""
    thumbs: dict[Answer, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    names = _names(ratings)
    for row in _rows(ratings):
        thumbs[row.prompt, row.text][row.verdict].append(row.rating)
    good: dict[str, list[Answer]] = defaultdict(list)
    bad: dict[str, list[Answer]] = defaultdict(list)
    for answer in sorted(thumbs, key=names.__getitem__):
        ups, downs = sorted(thumbs[answer]["up"]), sorted(thumbs[answer]["down"])
        if not ups and not downs:
            _count(dropped, ONLY_SKIPPED)
        said.extend(_Said(answer, True, (id,), "thumbs") for id in ups)
        said.extend(_Said(answer, False, (id,), "thumbs") for id in downs)
        if len(ups) != len(downs) and answer[1] not in blank:
            (good if len(ups) > len(downs) else bad)[answer[0]].append(answer)
    for prompt in good.keys() & bad.keys():
        for up, down in zip(good[prompt], bad[prompt], strict=False):
            votes_for = tuple(sorted(thumbs[up]["up"] + thumbs[down]["down"]))
            votes_against = tuple(sorted(thumbs[up]["down"] + thumbs[down]["up"]))
            contests.append(_Contest(up, down, votes_for, votes_against, "thumbs"))


def _pairs(
    contests: list[_Contest],
    judged: set[frozenset[Answer]],
    names: dict[Answer, str],
    blank: Set[str],
    dropped: Counter[str],
) -> list[Pair]:
    """Return one pair for each two answers, from the most direct source that judged them."""
    seen: set[frozenset[Answer]] = set()
    pairs = []
    order = {"vote": 0, "edit": 1, "thumbs": 2}
    for contest in sorted(contests, key=lambda c: (order[c.source], c.chosen, c.rejected)):
        couple = frozenset((contest.chosen, contest.rejected))
        if couple in seen or (contest.source != "vote" and couple in judged):
            _count(dropped, JUDGED_ALREADY)
            continue
        seen.add(couple)
        if contest.chosen[1] in blank or contest.rejected[1] in blank:
            _count(dropped, EMPTY_PAIR)
            continue
        pairs.append(_pair(contest, names))
    return sorted(pairs, key=lambda pair: pair.id)


def _pair(contest: _Contest, names: dict[Answer, str]) -> Pair:
    """Return the pair of a contest. Its id is made of what was compared, not of who voted."""
    chosen, rejected = names[contest.chosen], names[contest.rejected]
    n_for, n_against = len(contest.votes_for), len(contest.votes_against)
    return Pair(
        id="pair_" + digest(chosen, rejected, length=20),
        prompt=contest.chosen[0],
        chosen=chosen,
        rejected=rejected,
        votes_for=contest.votes_for,
        votes_against=contest.votes_against,
        p_chosen=n_for / (n_for + n_against) if contest.p_chosen is None else contest.p_chosen,
        weight=1.0,
        source=contest.source,
    )


def _labels(
    said: list[_Said], names: dict[Answer, str], blank: Set[str], dropped: Counter[str]
) -> list[Label]:
    """Return one label for each answer about which the evidence is not balanced."""
    evidence: dict[Answer, dict[bool, list[_Said]]] = defaultdict(lambda: {True: [], False: []})
    for piece in said:
        evidence[piece.answer][piece.good].append(piece)
    labels = []
    for answer, sides in evidence.items():
        good = len(sides[True]) > len(sides[False])
        if answer[1] in blank:
            _count(dropped, EMPTY_LABEL)
        elif len(sides[True]) == len(sides[False]):
            _count(dropped, CONTRADICTION)
        else:
            labels.append(_label(answer, good, sides[good], names[answer]))
    return sorted(labels, key=lambda label: label.id)


def _label(answer: Answer, good: bool, pieces: list[_Said], response: str) -> Label:
    return Label(
        id="label_" + digest(response, "good" if good else "bad", length=20),
        prompt=answer[0],
        response=response,
        good=good,
        votes=tuple(sorted({id for piece in pieces for id in piece.ids})),
        weight=1.0,
        source="+".join(sorted({piece.source for piece in pieces})),
    )
