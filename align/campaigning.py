"""The commands about what a team judges: campaigns, and contradictions that a lead decides.

As in `align/commands.py`: plain JSON values in, one JSON object out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from feedback import adjudication, audit, collecting, trial
from feedback.accounts import ALONE
from feedback.campaigns import DEFAULT, default_campaign, set_collecting
from feedback.values import brief, one_of
from storage.errors import BadInput

if TYPE_CHECKING:
    from align.workspace import Workspace
    from storage.records import Campaign
    from storage.store import Store

Progress = Callable[[str], None]
ACTIONS = ("list", "new", "set", "pause", "resume", "finish", "let-in")
STATES = {"pause": collecting.PAUSED, "resume": collecting.OPEN, "finish": collecting.FINISHED}
SHARES = ("overlap", "shared", "repeats", "gold")
SHOWN_CASES = 20  # Choice: of those that wait; who has decided these asks again


def campaign(
    workspace: Workspace,
    *,
    progress: Progress,
    action: str = "",
    name: str = DEFAULT,
    labeler: str = "",
    undo: bool = False,
    settings: Mapping[str, Any] | None = None,
    by: str = ALONE,
    **shares: Any,
) -> dict[str, Any]:
    """Make, change, pause, finish or list campaigns; return {"campaigns": [...]}.

    Without an action the default campaign's shares are changed, and are what is returned:
    {"overlap", "shared", "repeats", "gold"}.

    Args:
        action: one of ACTIONS, or "".
        labeler: whom to let in.
        undo: leave them to their trial again.
        settings: of a new campaign, or what changes; see `feedback.collecting.change`.
        shares: of SHARES; None stays as it is.
    """
    store = workspace.store
    if odd := sorted(set(shares) - set(SHARES)):
        raise BadInput(f"{odd[0]!r} is no setting of `campaign`: there are {', '.join(SHARES)}")
    asked = {one: value for one, value in shares.items() if value is not None}
    if not action:
        if asked:
            set_collecting(store, **asked)
            audit.note_settings(store, by)
        now = default_campaign(store)
        return {one: getattr(now, one) for one in SHARES}
    one_of(action, ACTIONS, "ACTION")
    asked |= {one: value for one, value in (settings or {}).items() if value is not None}
    if action != "list":
        _change(store, action, name, labeler, undo, asked, by)
    return {"campaigns": [told(store, one) for one in collecting.campaigns(store)]}


def _change(
    store: Store, action: str, name: str, labeler: str, undo: bool, asked: dict[str, Any], by: str
) -> None:
    """Do what an action asks for, and keep who did it."""
    if action == "let-in":
        if not labeler:
            raise BadInput("campaign let-in: whom? Give the name with --labeler.")
        trial.let_in(store, collecting.campaign_of(store, name), labeler, by=by, undo=undo)
        return
    if action == "new":
        if name == DEFAULT:
            raise BadInput("campaign new: give it a name: campaign new NAME")
        done = collecting.make(store, name, **asked)
    elif action == "set":
        done = collecting.change(store, name, **asked)
    else:
        done = collecting.set_state(store, name, STATES[action])
    audit.note(store, by, f"campaign {action}", noted(done, asked))


def noted(done: Campaign, asked: Mapping[str, Any]) -> str:
    """Return a change of a campaign in words for the list of changes."""
    told = ", ".join(f"{one} {brief(str(value), 60)}" for one, value in asked.items())
    return f"{done.name}: {told}" if told else done.name


def told(store: Store, one: Campaign) -> dict[str, Any]:
    """Return a campaign as `campaign list --json` prints it."""
    mode = "thumbs" if one.mode == "thumbs" else "pairs"
    done, total = collecting.reach(store, one, mode)
    began = trial.everybody(store, one) if one.trial else []
    return {
        "campaign": one.id, "name": one.name, "state": one.state, "mode": one.mode, "done": done,
        "total": total, "overlap": one.overlap, "shared": one.shared, "repeats": one.repeats,
        "gold": one.gold, "sources": list(one.sources), "models": list(one.models),
        "since": one.since.isoformat() if one.since else None, "labelers": list(one.labelers),
        "reasons": list(one.reasons), "strengths": list(one.strengths),
        "aspects": list(one.aspects), "trial": one.trial, "trial_share": one.trial_share,
        "tried": [
            {"labeler": who, "judged": how.judged, "right": how.right, "passed": how.passed,
             "let_in": how.let_in}
            for who, how in began
        ],
    }  # fmt: skip


def adjudicate(
    workspace: Workspace,
    *,
    progress: Progress,
    by: str,
    comparison: str | None = None,
    verdict: str | None = None,
    because: str = "",
    undo: bool = False,
) -> dict[str, Any]:
    """Decide on a comparison, or list; return {"waiting", "cases", "decided"} as they are then.

    Who voted what is told of what is decided alone.

    Args:
        verdict: a, b, tie or both_bad.
        undo: take the decision on the comparison back.
    """
    store = workspace.store
    if comparison is None and (verdict or undo):
        raise BadInput("Which comparison? Give its id before the verdict or --undo.")
    if comparison is not None and bool(verdict) == undo:
        raise BadInput("Give either a verdict (a, b, tie or both_bad) or --undo.")
    if comparison is not None and undo:
        adjudication.take_back(store, comparison, by=by, reason=because)
    elif comparison is not None:
        adjudication.decide(store, comparison, verdict or "", by=by, reason=because)
    waiting = adjudication.waiting(store)
    cases = [adjudication.case_of(store, id) for id in waiting[:SHOWN_CASES]]
    decided = [
        {
            "comparison": row["comparison"], "verdict": row["verdict"], "by": row["labeler"],
            "because": row["reason"], "created_at": row["created_at"].isoformat(),
            "votes": [
                {"labeler": who, "verdict": said}
                for who, said in adjudication.votes_on(store, row["comparison"])
            ],
        }
        for row in adjudication.decided(store)
    ]  # fmt: skip
    return {"waiting": len(waiting), "cases": cases, "decided": decided}
