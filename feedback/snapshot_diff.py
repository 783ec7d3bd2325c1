"""Compare two snapshots: what came, went and changed, why, and how each check moved between them.

What is in a snapshot is read from its files; why something differs from what its manifest remembers
(exclusions, what the remedies left out, settings) and from the votes in the store, which stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from feedback.assignments import skipped_items
from feedback.frozen import Frozen
from feedback.vote_facts import facts_of, votes_on
from storage.records import digest
from storage.store import Store

SECOND = timedelta(seconds=1)  # a manifest's time has no fractions


@dataclass(frozen=True, slots=True)
class Change:
    """A row that one of two snapshots has, or that both have differently."""

    what: str  # "came", "went" or "changed"
    kind: str  # "pair" or "label"
    id: str  # in the later snapshot; of one that went, in the earlier
    prompt: str  # Prompt.id
    why: tuple[str, ...]


class _Row(NamedTuple):
    """What a pair or label says, and by whose word."""

    id: str
    prompt: str
    said: str  # hash of the chosen text; of a label "good" or "bad"
    p_chosen: float
    votes: frozenset[str]

    @property
    def is_label(self) -> bool:
        return self.said in ("good", "bad")

    def same(self, other: _Row) -> bool:
        """Return whether both say the same by the same votes; an id is only a name."""
        return self[2:] == other[2:]


Rows = Mapping[tuple[str, ...], _Row]  # by prompt and texts


class _Side(NamedTuple):
    """A snapshot, read."""

    manifest: Mapping[str, Any]
    pairs: Rows
    labels: Rows
    # what the remedies left out; a snapshot of an older Hone remembers nothing
    capped: frozenset[str]
    balanced: frozenset[str]
    repeats: Mapping[str, str]

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.manifest["created_at"])

    def setting(self, name: str) -> Any:
        return self.manifest["settings"].get(name)

    def decided(self, comparison: str) -> tuple[str, str] | None:
        """Return the verdict of a lead on a comparison and whose it is, if any."""
        found = (
            (one["verdict"], one["labeler"])
            for one in self.manifest.get("adjudications", ())
            if one["comparison"] == comparison
        )
        return next(found, None)

    def decisions(self) -> dict[str, str]:
        """Return the comparison of each lead's decision, by the decision's id."""
        known = self.manifest.get("adjudications", ())
        return {one["decision"]: one["comparison"] for one in known}


def compare(store: Store, before: Frozen, after: Frozen) -> dict[str, Any]:
    """Return how the second of two snapshots differs from the first, as `diff --json` prints it."""
    sides = (_read(before), _read(after))
    reasons = _Reasons(store, *sides)
    changes = [*_changes("pair", sides, reasons), *_changes("label", sides, reasons)]
    why = Counter((one.kind, one.what, reason) for one in changes for reason in one.why)
    first, second = sides
    return {
        "before": first.manifest["id"],
        "after": second.manifest["id"],
        "settings": _settings(first, second),
        **{
            f"{kind}s": {
                "before": first.manifest["counts"][f"{kind}s"]["all"],
                "after": second.manifest["counts"][f"{kind}s"]["all"],
                **{
                    what: sum(one.kind == kind and one.what == what for one in changes)
                    for what in ("came", "went", "changed")
                },
            }
            for kind in ("pair", "label")
        },
        "why": [
            {"kind": kind, "what": what, "why": reason, "rows": rows}
            for (kind, what, reason), rows in sorted(why.items(), key=lambda row: (-row[1], row[0]))
        ],
        "changes": [{**asdict(one), "why": list(one.why)} for one in changes],
        "checks": _checks(first, second),
    }


def _read(frozen: Frozen) -> _Side:
    pairs: dict[tuple[str, ...], _Row] = {}
    labels: dict[tuple[str, ...], _Row] = {}
    for row in frozen.pairs():
        chosen, rejected = digest(row["chosen"]), digest(row["rejected"])
        votes = frozenset([*row["votes_for"], *row["votes_against"]])
        pairs[(row["prompt_id"], *sorted((chosen, rejected)))] = _Row(
            row["id"], row["prompt_id"], chosen, row["p_chosen"], votes
        )
    for row in frozen.labels():
        said = "good" if row["label"] else "bad"
        labels[row["prompt_id"], digest(row["completion"])] = _Row(
            row["id"], row["prompt_id"], said, 1.0, frozenset(row["votes"])
        )
    left_out = frozen.manifest.get("left_out", {})
    return _Side(
        frozen.manifest,
        pairs,
        labels,
        frozenset(left_out.get("capped", ())),
        frozenset(left_out.get("balanced", ())),
        dict(left_out.get("repeats", {})),
    )


def _changes(kind: str, sides: tuple[_Side, _Side], reasons: _Reasons) -> Iterator[Change]:
    """Yield what differs, by prompt and texts."""
    old, new = (side.pairs if kind == "pair" else side.labels for side in sides)
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was and now and was.same(now):
            continue
        what = "changed" if was and now else "went" if was else "came"
        row = now or was
        assert row is not None  # the key came from one of them
        yield Change(what, kind, row.id, row.prompt, reasons.of(was, now))


class _Reasons:
    """Why a row differs between two snapshots."""

    def __init__(self, store: Store, before: _Side, after: _Side) -> None:
        self._before, self._after = before, after
        votes = _behind_differences(before, after)
        judged = {id for one in facts_of(store, votes).values() for id in one.names["comparison"]}
        self._votes_on = votes_on(store, judged)
        beside = {id for ids in self._votes_on.values() for id in ids}
        self._facts = facts_of(store, votes | beside)
        self._skipped = skipped_items(store)
        # of what went, and of what came
        self._with_pairs = (_gone_with_pairs(before, after), _gone_with_pairs(after, before))

    def of(self, was: _Row | None, now: _Row | None) -> tuple[str, ...]:
        """Return every reason once; at least one."""
        found: list[str] = []
        if was and now and was.said != now.said:
            found.append("decided the other way now")
        if was and not now:
            found += _by_remedy(was, self._after, self._with_pairs[0])
        if now and not was:
            found += [
                f"no longer {why}" for why in _by_remedy(now, self._before, self._with_pairs[1])
            ]
        old, new = (row.votes if row else frozenset() for row in (was, now))
        found += [self._lost(id) for id in sorted(old - new)]
        found += [self._come(id) for id in sorted(new - old)]
        found += [self._adjudicated(id) for id in self._compared(old | new)]
        if not any(found):
            found += [self._beside(id) for id in self._on_the_same(old | new)]
        if not any(found):
            found.append(self._weighed() or "other votes on the same answers")
        return tuple(dict.fromkeys(filter(None, found)))

    def _weighed(self) -> str:
        was, now = (side.setting("weigh_labelers") for side in (self._before, self._after))
        if bool(was) == bool(now):
            return ""
        return f"votes are {'' if now else 'no longer '}weighed by labeler"

    def _lost(self, id: str) -> str:
        """Return why a vote of the earlier snapshot is not behind the row any more, or ""."""
        fact = self._facts.get(id)
        if fact is None:
            return ""
        for at, undone in fact.later:
            if self._before.at <= at < self._after.at + SECOND:
                return f"{fact.what} {'undone' if undone else 'changed'} by {fact.labeler}"
        return self._kept_out(id, self._after)

    def _come(self, id: str) -> str:
        """Return why a vote is behind a row of the later snapshot only, or ""."""
        if why := self._kept_out(id, self._before):
            return f"no longer {why}"
        return self._new(id)

    def _beside(self, id: str) -> str:
        """Return what happened to another vote on the same answers, or ""."""
        was, now = (self._kept_out(id, side) for side in (self._before, self._after))
        if bool(was) != bool(now):
            return now or f"no longer {was}"
        return self._new(id)

    def _new(self, id: str) -> str:
        fact = self._facts.get(id)
        if fact is None or not self._before.at <= fact.created_at < self._after.at + SECOND:
            return ""
        if fact.undo:
            return f"{fact.what} undone by {fact.labeler}"
        return f"{'changed' if fact.revision else 'new'} {fact.what} by {fact.labeler}"

    def _adjudicated(self, comparison: str) -> str:
        """Return whose decision on a comparison came, changed or was taken back, or ""."""
        was, now = (side.decided(comparison) for side in (self._before, self._after))
        if was == now:
            return ""
        return f"decided by {now[1]}" if now else f"decision of {was[1]} taken back" if was else ""

    def _compared(self, votes: Iterable[str]) -> list[str]:
        """Return the comparisons that these votes, or decisions, are on."""
        facts = [self._facts[id] for id in votes if id in self._facts]
        sides = (self._before, self._after)
        known = {id: one for side in sides for id, one in side.decisions().items()}
        decided = {known[id] for id in votes if id in known}
        return sorted({id for fact in facts for id in fact.names["comparison"]} | decided)

    def _on_the_same(self, votes: Iterable[str]) -> list[str]:
        """Return all votes on the comparisons that these were cast on."""
        return sorted({id for one in self._compared(votes) for id in self._votes_on.get(one, ())})

    def _kept_out(self, id: str, side: _Side) -> str:
        """Return what kept a vote out of a snapshot, or ""."""
        fact = self._facts.get(id)
        if fact is None:
            return ""
        for one in side.manifest.get("exclusions", ()):
            if one["item"] in fact.names[one["kind"]]:
                told = f"{one['kind']} {one['item']}: {one['reason']}"
                return f"excluded by {one['labeler']} ({told})"
        if id in side.capped:
            return f"beyond the share of {fact.labeler}"
        if fact.source == "simulated" and not side.setting("simulated"):
            return "left out as simulated"
        shown = (fact.names[kind] for kind in ("prompt", "comparison", "response"))
        skipped = side is self._after and any(id in self._skipped for ids in shown for id in ids)
        return "skipped as a duplicate" if skipped else ""


def _by_remedy(row: _Row, lacks: _Side, with_pairs: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield which remedies of the side that lacks a row left it out."""
    if row.id in lacks.balanced:
        yield "left out to balance lengths"
    if row.id in lacks.repeats:
        yield f"left out as a repeat of {lacks.repeats[row.id]}"
    for reason, votes in with_pairs.items():
        if row.is_label and row.votes and row.votes <= votes:
            yield f"left out with its pair ({reason})"


def _behind_differences(before: _Side, after: _Side) -> set[str]:
    """Return the votes behind everything that is not the same in both."""
    found: set[str] = set()
    for old, new in ((before.pairs, after.pairs), (before.labels, after.labels)):
        for key in old.keys() | new.keys():
            was, now = old.get(key), new.get(key)
            if not (was and now and was.same(now)):
                found |= (was.votes if was else frozenset()) | (now.votes if now else frozenset())
    return found


def _gone_with_pairs(has: _Side, lacks: _Side) -> dict[str, set[str]]:
    """Return what one side's remedies left out of the other's pairs: reason → the votes behind."""
    return {
        "balanced": {id for r in has.pairs.values() if r.id in lacks.balanced for id in r.votes},
        "repeat": {id for r in has.pairs.values() if r.id in lacks.repeats for id in r.votes},
    }


def _settings(before: _Side, after: _Side) -> dict[str, list[Any]]:
    """Return setting → [before, after] of those that differ."""
    names = {**before.manifest["settings"], **after.manifest["settings"]}
    pairs = {name: [before.setting(name), after.setting(name)] for name in names}
    return {name: values for name, values in pairs.items() if values[0] != values[1]}


def _checks(before: _Side, after: _Side) -> list[dict[str, Any]]:
    """Return each check's value in both; `moved` where the two intervals have nothing in common."""
    old, new = (dict(side.manifest.get("checks", {})) for side in (before, after))
    found = []
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        ends = [one and one["low"] for one in (was, now)]
        moved = None not in ends and bool(
            was["high"] < now["low"] or now["high"] < was["low"]  # type: ignore[index]
        )
        found.append({"name": name, "before": was, "after": now, "moved": moved})
    return found
