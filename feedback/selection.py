"""What a snapshot of this moment would hold: the live feedback, and the remedies asked for.

In this order: what is excluded is out already (`feedback.live`); a labeler's share is capped; votes
are weighed by labeler; they become pairs and labels; of repeated pairs one stays; lengths are
balanced. What is left out is remembered by id, so that two snapshots can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from feedback.ages import rounds_of_responses
from feedback.frozen import SPLITS, split_of
from feedback.live import live_feedback, preferences_of
from feedback.preferences import Label, Pair, Preferences
from feedback.remedies import likely_verdicts
from feedback.settling import settle
from feedback.treatment import balanced, capped, repeats_of, weighed
from feedback.values import shown
from storage.errors import BadInput
from storage.records import Erasure

if TYPE_CHECKING:
    from storage.store import Store

REPEATS = "pairs that repeat another one"
BALANCED = "pairs left out to balance lengths"
WITH_PAIRS = "labels that rest only on pairs left out"


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """What goes into a snapshot.

    Raises:
        BadInput: naming every field that is not what it has to be.
    """

    simulated: bool = True  # also votes of simulated labelers
    balance_length: bool = False  # as many pairs with the longer answer chosen as with the shorter
    weigh_labelers: bool = False  # p_chosen by who voted (Dawid and Skene) instead of by heads
    one_per_cluster: bool = False  # of nearly the same pairs one
    # The largest share of the feedback that one labeler may have, in (0, 1]; 1 is no cap, None the
    # usual one (`feedback.remedies.CAP`) where there are enough labelers for it.
    cap_labeler: float | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {shown(value)}: use true or false"
            for name in ("simulated", "balance_length", "weigh_labelers", "one_per_cluster")
            if not isinstance(value := getattr(self, name), bool)
        ]
        cap = self.cap_labeler
        numeric = isinstance(cap, int | float) and not isinstance(cap, bool)
        if cap is not None and not (numeric and 0 < cap <= 1):
            wrong.append(f"cap_labeler is {shown(cap)}: use a share above 0, up to 1 for no cap")
        if wrong:
            raise BadInput("; ".join(wrong) + ".")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the remedies left out, by id."""

    capped: Collection[str] = ()  # ids of votes, ratings and edits
    repeats: Mapping[str, str] = field(default_factory=dict)  # pair → the pair that stays
    balanced: Collection[str] = ()  # ids of pairs

    def as_json(self) -> dict[str, Any]:
        return {
            "capped": sorted(self.capped),
            "repeats": dict(sorted(self.repeats.items())),
            "balanced": sorted(self.balanced),
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """What a snapshot of this moment would hold."""

    preferences: Preferences
    prompts: Mapping[str, tuple[str, str]]  # Prompt.id → (Text.id, cluster; "": not settled)
    texts: Mapping[str, str]  # Response.id → Text.id
    sources: Mapping[str, int]  # source of feedback → live votes, ratings and edits
    left_out: LeftOut
    remedies: tuple[Mapping[str, Any], ...]  # what each did and cost
    rounds: Mapping[str, int]  # Response.id → the round it was made in, where that is not 0
    erasures: int  # how many had been asked for when the reading began

    def round_of(self, row: Pair | Label) -> int:
        """Return the round in which a row's answers were made; of a pair's two, that of the older.

        A correction is made later than the answer that it corrects: the model that wrote that one
        is what the pair tells of.
        """
        if isinstance(row, Label):
            return self.rounds.get(row.response, 0)
        return min(self.rounds.get(row.chosen, 0), self.rounds.get(row.rejected, 0))

    def unsettled(self) -> int:
        """Return of how many pairs and labels the prompt has no near-duplicate cluster yet."""
        pairs, labels, _ = self.preferences
        asked = [*(pair.prompt for pair in pairs), *(label.prompt for label in labels)]
        return sum(not self.prompts[prompt][1] for prompt in asked)

    def counts(self) -> dict[str, Any]:
        """Return pairs and labels by split, how much feedback there is, and what is dropped.

        What is not settled yet counts among all, and in no split.
        """

        def split(row: Pair | Label) -> str:
            cluster = self.prompts[row.prompt][1]
            return split_of(cluster) if cluster else ""

        pairs, labels, dropped = self.preferences
        by_pairs, by_labels = Counter(map(split, pairs)), Counter(map(split, labels))
        good = Counter(split(label) for label in labels if label.good)
        return {
            "pairs": {"all": len(pairs)} | {name: by_pairs[name] for name in SPLITS},
            "labels": {"all": len(labels)} | {name: by_labels[name] for name in SPLITS},
            "good": {"all": good.total()} | {name: good[name] for name in SPLITS},
            "dropped": dropped,
            "feedback": dict(self.sources),
            "remedies": list(self.remedies),
            "rounds": {  # of what a run trains on
                "pairs": self._by_round(pair for pair in pairs if split(pair) == "train"),
                "labels": self._by_round(label for label in labels if split(label) == "train"),
            },
        }

    def _by_round(self, rows: Iterable[Pair | Label]) -> dict[str, int]:
        """Return {"0": how many of round 0, …}, for JSON."""
        return {str(number): n for number, n in sorted(Counter(map(self.round_of, rows)).items())}

    def nothing(self) -> str:
        """Return the sentence that says why there is nothing to freeze."""
        n = sum(self.sources.values())
        excluded = "".join(f"; {k} {reason}" for reason, k in self.preferences.dropped.items())
        if not n and excluded:
            return (
                f"There is nothing to freeze: no feedback counts{excluded}. "
                "Take an exclusion back, or collect more votes."
            )
        if not n:
            return (
                "There is nothing to freeze: nobody has voted yet. "
                "Choose between answers on the label screen first, or try `simulate`."
            )
        reasons = ", ".join(f"{k} {reason}" for reason, k in self.preferences.dropped.items())
        return (
            f"There is nothing to freeze: {n} votes, thumbs and edits give no pair and no label "
            f"({reasons}). Vote for one of two answers, or rate answers up or down."
        )


def select_settled(
    store: Store, settings: SnapshotSettings, chosen: Selection | None = None
) -> Selection:
    """Return what `select` does, or has `chosen`, every prompt in it with its cluster.

    Whoever freezes or trains asks for this: without clusters nobody knows what may be trained on.
    """
    while chosen is None or chosen.unsettled():  # again where an import ended meanwhile
        settle(store)
        chosen = select(store, settings)
    return chosen


def select(store: Store, settings: SnapshotSettings) -> Selection:
    """Read the live feedback, turn it into pairs and labels, and apply the remedies."""
    erasures = store.count(Erasure)
    live = live_feedback(store, simulated=settings.simulated)
    sources = _sources(*live.frames())
    live, beyond, told = capped(live, settings.cap_labeler)
    likely = likely_verdicts(live.votes) if settings.weigh_labelers else None
    found = preferences_of(store, live, likely)
    prompts = _prompts(store)
    remedies = [told] if told else []
    if settings.weigh_labelers:
        remedies.append(weighed(store, live, found))
    repeats: dict[str, str] = {}
    if settings.one_per_cluster:
        alone = {id: (text, cluster or id) for id, (text, cluster) in prompts.items()}
        repeats = repeats_of(store, found.pairs, alone, live.texts())
        found = _without(found, repeats, REPEATS)
        remedies.append({
            "name": "one_per_cluster",
            "cost": len(repeats),
            "message": f"{len(repeats):,} pairs nearly the same as another one are left out.",
        })  # fmt: skip
    balance: Collection[str] = ()
    if settings.balance_length:
        balance, told = balanced(store, found.pairs)
        found = _without(found, balance, BALANCED)
        remedies.append(told)
    left_out = LeftOut(beyond, repeats, balance)
    ages = rounds_of_responses(store)
    return Selection(
        found, prompts, live.texts(), sources, left_out, tuple(remedies), ages, erasures
    )


def _prompts(store: Store) -> dict[str, tuple[str, str]]:
    prompts = store.frame("prompts")
    columns = (prompts["prompt"], prompts["text"], prompts["cluster"])
    return {prompt: (text, cluster) for prompt, text, cluster in zip(*columns, strict=True)}


def _sources(*frames: pd.DataFrame) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for frame in frames:
        counts.update(str(source).split(":")[0] for source in frame["source"])
    return dict(sorted(counts.items()))


def _without(found: Preferences, out: Collection[str], reason: str) -> Preferences:
    """Return the preferences without these pairs, and without the labels that rest on them alone.

    A label rests on the votes, thumbs and edits that say so; those that were taken for a pair that
    is left out are gone with it.
    """
    if not out:
        return found
    gone = {
        id
        for pair in found.pairs
        if pair.id in out
        for id in (*pair.votes_for, *pair.votes_against)
    }
    labels = [
        label for label in found.labels if not label.votes or not gone.issuperset(label.votes)
    ]
    dropped = {**found.dropped, reason: len(out)}
    if lost := len(found.labels) - len(labels):
        dropped[WITH_PAIRS] = dropped.get(WITH_PAIRS, 0) + lost
    pairs = [pair for pair in found.pairs if pair.id not in out]
    return Preferences(pairs, labels, dict(sorted(dropped.items())))
