"""Which commands change something, and how the list of changes tells it.

A command is in one of three places: `TOLD`, whose line is added here when it has done its work;
`OWN`, which leave a line or a row that says who decided by themselves; `READS`, which change
nothing. A test holds that every command is in one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feedback import audit
from feedback.accounts import ALONE

if TYPE_CHECKING:
    from align.workspace import Workspace

Command = Callable[..., dict[str, Any]]
Told = Callable[[Mapping[str, Any], Mapping[str, Any]], str]  # parameters, result → on what

TOLD: dict[str, Told] = {
    "import": lambda asked, done: f"{Path(asked['file']).name}: {done['stored']:,} rows",
    "generate": lambda _, done: (
        f"{done['responses']:,} answers to {done['prompts']:,} prompts, "
        f"{done['comparisons']:,} comparisons"
    ),
    "score": lambda _, done: f"{done['scored']:,} answers by {done['model']}",
    "snapshot": lambda _, done: f"{done['snapshot']}: {done['pairs']:,} pairs",
    "train": lambda asked, done: f"{done['run']}: {asked.get('method', 'dpo')}",
    "sweep": lambda asked, done: f"{done['sweep']}: {asked.get('method', 'dpo')}",
    "resume": lambda _, done: str(done["run"]),
    "cancel": lambda _, done: str(done.get("run") or done["sweep"]),
    "duel": lambda _, done: f"{done['run']} against {done['against']}",
    "judge": lambda _, done: f"{done['judge']}: {done['judged']:,} judged",
    "simulate": lambda _, done: f"{done['votes']:,} votes",
    "demo": lambda _, done: f"{done['votes']:,} votes, then {done['run']}",
}
OWN = (
    "export", "exclude", "ask-again", "adjudicate", "publish", "gold", "campaign", "promote",
    "rollback", "user", "key", "erase",
)  # fmt: skip
READS = (
    "check", "leaderboard", "advise", "exclusions", "diff", "preflight", "compare", "runs",
    "rounds", "lineage", "audit",
)  # fmt: skip


def noted(name: str, command: Command) -> Command:
    """Return a command that adds its line to the list of changes, and takes `by` for it."""
    if name not in TOLD:
        return command

    @wraps(command)
    def done(workspace: Workspace, *, by: str = ALONE, **asked: Any) -> dict[str, Any]:
        result = command(workspace, **asked)
        audit.note(workspace.store, by, name, TOLD[name](asked, result))
        return result

    signature = inspect.signature(command)
    who = inspect.Parameter("by", inspect.Parameter.KEYWORD_ONLY, default=ALONE, annotation="str")
    done.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), who]
    )
    return done
