"""The story of the rounds: who answered, what people said, what was trained on it, how its duel
went, and who was promoted. Knows no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align import duelling, runs
from align.duelling import Duel, Standing
from align.json_files import read_json
from align.lineage import Gone, behind, stale
from align.losses import LOSSES
from align.runs import RunStatus
from align.sweep_files import read_sweep, sweep_ids
from feedback.ages import promotions, round_of
from feedback.assignments import skipped_items
from feedback.frozen import split_of
from feedback.live import excluded_ids
from feedback.settling import settled
from storage.errors import BadInput, UserError
from storage.records import DUEL, GENERATED, Message, Promotion, Prompt, digest

if TYPE_CHECKING:
    from align.workspace import Workspace
    from storage.store import Store


@dataclass(frozen=True, slots=True)
class Ran:
    """A run of a round, with all that came of it."""

    run: RunStatus
    started_from: str  # the run that it went on from, or ""
    reference: str  # "base", or "start": the adapter that it went on from
    votes: int  # votes, thumbs and edits it learned from, those of the runs before it among them
    ages: Mapping[str, int]  # round → rows that it trained on and that are of that round
    gone: Gone
    duels: Mapping[str, Standing]  # against → how it stands
    promoted: Promotion | None
    trouble: str = ""  # why its votes cannot be told

    def as_json(self) -> dict[str, Any]:
        report = self.run.report or {}
        return {
            "run": self.run.run,
            "status": self.run.status,
            "method": self.run.method,
            "model": self.run.model,
            "snapshot": self.run.snapshot,
            "started_from": self.started_from,
            "reference": self.reference,
            "votes": self.votes,
            "ages": dict(self.ages),
            "stale": self.gone.as_json(),
            "objections": len(self.run.readiness.get("objections") or ()),
            "warnings": [str(one["name"]) for one in self.run.warnings],
            "held_out": report.get("held_out"),
            "length": report.get("length"),
            "kl": report.get("kl"),
            "duels": {against: stands.as_json() for against, stands in self.duels.items()},
            "promoted": decision(self.promoted),
            "trouble": self.trouble,
        }


@dataclass(frozen=True, slots=True)
class Round:
    number: int
    sampler: str  # the run whose adapter answered; "" is the base
    began: Promotion | None  # what opened it; None: the first one
    comparisons: int = 0  # made in it, without those of duels
    feedback: Mapping[str, int] = field(default_factory=dict)  # "votes", "ratings", "edits": live
    ran: Sequence[Ran] = ()  # oldest first

    def as_json(self) -> dict[str, Any]:
        return {
            "round": self.number,
            "sampler": self.sampler,
            "began": decision(self.began),
            "comparisons": self.comparisons,
            "feedback": dict(self.feedback),
            "runs": [one.as_json() for one in self.ran],
        }


def decision(one: Promotion | None) -> dict[str, Any] | None:
    """Return a promotion as plain values."""
    return asdict(one) | {"created_at": one.created_at.isoformat()} if one else None


def story(workspace: Workspace) -> list[Round]:
    """Return every round, oldest first; the last is the one that goes on now."""
    decided = promotions(workspace.store)
    began = [one.created_at for one in decided]
    made, said = _collected(workspace, began)
    ran: dict[int, list[Ran]] = {}
    for one in _ran(workspace, decided):
        moment = datetime.fromisoformat(one.run.created_at)
        ran.setdefault(round_of(began, moment), []).append(one)
    openers: list[Promotion | None] = [None, *decided]
    return [
        Round(
            number, opener.run if opener else "", opener, made[number],
            {kind: counts[number] for kind, counts in said.items()}, ran.get(number, []),
        )
        for number, opener in enumerate(openers)
    ]  # fmt: skip


def _collected(
    workspace: Workspace, began: Sequence[datetime]
) -> tuple[Counter[int], dict[str, Counter[int]]]:
    """Return round → comparisons made in it, and for each kind of feedback round → how much."""

    def counted(moments: Any) -> Counter[int]:
        return Counter(round_of(began, moment) for moment in moments)

    compared = workspace.store.frame("comparisons")
    ordinary = compared[~compared["source"].str.startswith(DUEL)]
    kinds = ("votes", "ratings", "edits")
    said = {kind: counted(workspace.store.frame(kind)["created_at"]) for kind in kinds}
    return counted(ordinary["created_at"]), said


def _ran(workspace: Workspace, decided: Sequence[Promotion]) -> list[Ran]:
    """Return every run, oldest first; of those that a sweep compares the ones that came to more."""
    promoted, duels = {one.run: one for one in decided}, duels_of(workspace.store)
    tried = {
        run for id in sweep_ids(workspace.data) for run in read_sweep(workspace.data, id)["runs"]
    }
    left_out = tried - set(promoted) - set(duels)
    every = reversed(runs.list_runs(workspace.data))
    known = [one for one in every if one.run not in left_out]
    votes = _votes(workspace.data, known)
    whole = [run for run, told in votes.items() if isinstance(told, int)]
    gone = stale(workspace.store, workspace.data, whole)
    found = []
    for one in known:
        config = read_json(runs.run_folder(workspace.data, one.run) / "config.json")
        told = votes[one.run]
        found.append(
            Ran(
                one,
                str((config.get("start") or {}).get("run", "")),
                str(config.get("reference") or "base"),
                told if isinstance(told, int) else 0,
                ages(workspace.data, one),
                gone.get(one.run, Gone()),
                duels.get(one.run, {}),
                promoted.get(one.run),
                told if isinstance(told, str) else "",
            )
        )
    return found


def _votes(data: Path, known: Sequence[RunStatus]) -> dict[str, int | str]:
    """Return run → how many votes, thumbs and edits it learned from, or why nobody can tell."""
    found: dict[str, int | str] = {}
    for one in known:
        try:
            found[one.run] = len(frozenset().union(*behind(data, one.run).values()))
        except UserError as error:
            found[one.run] = str(error)
    return found


def duels_of(store: Store) -> dict[str, dict[str, Standing]]:
    """Return run → against → how that duel stands, of every duel that has answers."""
    found: dict[str, dict[str, Standing]] = {}
    sources = set(store.frame("comparisons")["source"])
    for source in sorted(one for one in sources if one.startswith(DUEL)):
        run, _, against = source.removeprefix(DUEL).partition(":")
        found.setdefault(run, {})[against] = duelling.standing(store, Duel(run, against))
    return found


def ages(data: Path, run: RunStatus) -> dict[str, int]:
    """Return round → rows that a run trains on whose answers are of that round; {} if not told."""
    manifest = read_json(data / "snapshots" / run.snapshot / "manifest.json")
    told = manifest.get("counts", {}).get("rounds", {})
    return dict(told.get(LOSSES[run.method].needs, {})) if run.method in LOSSES else {}


def unanswered(store: Store, run: str, most: int) -> list[Sequence[Message]]:
    """Return stored prompts that a run's adapter ("" for the base) has not answered twice yet; what
    a file brought was answered by nobody here.

    Without those of duels and those left out, and in an order that is another one in every round:
    each round shall learn from all that people bring, not from what they brought first.

    Raises:
        BadInput: `most` is below 1, or there is none.
    """
    if most < 1:
        raise BadInput(f"{most} stored prompts: ask for at least 1")
    frame, compared = settled(store.frame("prompts")), store.frame("comparisons")
    sampled = compared[compared["source"].str.startswith(GENERATED)]
    own = sampled[(sampled["adapter_a"] == run) & (sampled["adapter_b"] == run)]
    out = {*own["prompt"], *excluded_ids(store).get("prompt", ()), *skipped_items(store)}
    free = [
        id
        for id, cluster in zip(frame["prompt"], frame["cluster"], strict=True)
        if id not in out and split_of(cluster) != "duel"
    ]
    if not free:
        raise BadInput(
            f"{run or 'the base'} has answered every stored prompt twice: import some, or name a "
            "file of new ones (--prompts)"
        )
    number = str(len(promotions(store)))
    taken = sorted(free, key=lambda id: digest(number, id))[:most]
    rows = {row.id: row for row in store.rows(Prompt, id=taken)}
    return [store.messages(rows[id]) for id in taken]
