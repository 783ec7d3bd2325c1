"""Who answers the next round's prompts: promote a run's adapter, or go back. Knows no torch.

A promotion is a recorded decision with what was known of the run when it was taken. An adapter that
lost its duel, or that nobody compared with anything, needs a reason in the lead's own words.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from align import duelling, runs
from align.duelling import Duel
from align.lineage import gone
from align.manifest import file_digest
from feedback.ages import BASE, line_of_succession, promotions, sampler
from storage.errors import BadInput, Conflict
from storage.records import Promotion, now

if TYPE_CHECKING:
    from align.workspace import Workspace

MAX_REASON = 500  # characters. Choice: a reason, not a report


def opponent(workspace: Workspace, run: str) -> str:
    """Return what a run is best compared with: the model that answers now, or its own base.

    The base is taken where the run answers itself, or where both have different bases.
    """
    now_answers = sampler(workspace.store)
    if now_answers in (BASE, run):
        return duelling.BASE
    bases = {runs.status(workspace.data, one).model for one in (run, now_answers)}
    return now_answers if len(bases) == 1 else duelling.BASE


def evidence(workspace: Workspace, run: str) -> dict[str, Any]:
    """Return what is known of a finished run now: its duel, its figures, its data, its doubts.

    "duel" is that against the model that answers now, else that against the base, else None.

    Raises:
        NotFound: no such run, or it has no finished adapter.
        BadInput: a file of it was changed.
    """
    adapter = runs.load_adapter(workspace.data, run)
    told = runs.status(workspace.data, run)
    report = told.report or {}
    duels = [
        {"against": against, **stands.as_json()}
        for against in dict.fromkeys((opponent(workspace, run), duelling.BASE))
        if (stands := duelling.standing(workspace.store, Duel(run, against))).outcome.prompts
    ]
    return {
        "run": run,
        "method": told.method,
        "model": told.model,
        "snapshot": told.snapshot,
        "adapter": file_digest(adapter / "adapter_model.safetensors"),
        "duel": duels[0] if duels else None,
        "held_out": report.get("held_out"),
        "length": report.get("length"),
        "kl": report.get("kl"),
        "warnings": [str(one["name"]) for one in told.warnings],
        "objections": len(told.readiness.get("objections") or ()),
        "stale": gone(workspace.store, workspace.data, run).as_json(),
    }


def objection(found: Mapping[str, Any]) -> str:
    """Return why a run's promotion needs a reason, or "".

    Args:
        found: what `evidence` returned.
    """
    duel = found["duel"]
    if duel is None:
        return "nobody has compared it with another model: start a duel first"
    if duel["decided"] == "worse":
        return f"it lost its duel against {duel['against']}"
    return ""


def promote(workspace: Workspace, run: str, *, because: str = "", by: str) -> Promotion:
    """Let a run's adapter answer from now on, and record why; a new round begins.

    Args:
        run: a run's id; "" for the base itself.
        because: needed where `objection` has one.
        by: who decides.

    Raises:
        NotFound, BadInput: the adapter is not there or damaged; a reason is missing or too long.
        Conflict: it answers already.
    """
    because = because.strip()
    if len(because) > MAX_REASON:
        raise BadInput(f"the reason has {len(because):,} characters: at most {MAX_REASON}")
    if run == sampler(workspace.store):
        raise Conflict(f"{run or 'the base'} answers already: there is nothing to promote")
    found = evidence(workspace, run) if run else {}
    against = objection(found) if run else "no run's adapter would answer any more"
    if against and not because:
        who = run or "the base"
        raise BadInput(f"{who} is not promoted, since {against}; or say why")
    return _decide(workspace, run, found, because, by)


def roll_back(workspace: Workspace, *, because: str = "", by: str) -> Promotion:
    """Let the model answer again that did before the last promotion; nothing is deleted.

    Raises:
        Conflict: the base answers, and nothing came before it.
        NotFound, BadInput: the earlier adapter is gone or damaged.
    """
    line = line_of_succession(promotions(workspace.store))
    if len(line) == 1:
        raise Conflict("nothing was promoted: the base answers, and nothing came before it")
    before = line[-2]
    found = evidence(workspace, before) if before else {}
    return _decide(workspace, before, found, because.strip() or f"back from {line[-1]}", by)


def _decide(
    workspace: Workspace, run: str, found: Mapping[str, Any], because: str, by: str
) -> Promotion:
    """Record a decision; it comes after every one before it, whatever the clock says."""
    last = promotions(workspace.store)
    moment = max([now(), *(one.created_at for one in last[-1:])])
    made = Promotion(uuid.uuid4().hex, run, found, because, by, moment)
    workspace.store.add([made])
    return made
