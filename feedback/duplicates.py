"""The repeats that nobody has decided about yet, and the decision: skip, link or keep.

The checks find the repeats; a decision is a new row of `Duplicate`, and the latest one counts.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from feedback.checks.result import CheckResult
from storage.errors import BadInput
from storage.records import Comparison, Duplicate
from storage.store import Store

DECISIONS = ("skip", "link", "keep")
KINDS = {"duplicate_prompts": "prompt", "duplicate_responses": "response"}  # check → Duplicate.kind


@dataclass(frozen=True, slots=True)
class Question:
    """What to decide about together: all repeats of one earlier item, or one comparison."""

    kind: str  # "prompt": their prompt was asked before; "response": its two answers are alike
    items: tuple[str, ...]  # Comparison.id or Response.id of each repeat, at least one
    earlier: str  # id of the earlier item they repeat; "" for two answers of one comparison
    message: str  # what the check says


def open_questions(store: Store, results: Iterable[CheckResult]) -> list[Question]:
    """Return the repeats among the checks' findings that nobody has decided about."""
    decided = {(row.kind, row.item) for row in store.rows(Duplicate)}
    found = []
    for result in results:
        kind = KINDS.get(result.name, "")
        for finding in result.findings if kind else ():
            items = tuple(item for item in finding.items if (kind, item) not in decided)
            if items and finding.severity == "warn":
                earlier = finding.subject if kind == "prompt" else ""
                found.append(Question(kind, items, earlier, finding.message))
    return found


def decide(store: Store, question: Question, decision: str, labeler: str) -> list[Duplicate]:
    """Record a decision about every repeat of a question and return the rows.

    Raises:
        BadInput: the decision is none of `DECISIONS`.
    """
    if decision not in DECISIONS:
        raise BadInput(f"{decision!r} is no decision; choose one of {', '.join(DECISIONS)}")
    rows = [
        Duplicate(
            id=str(uuid.uuid4()),
            kind=question.kind,
            item=item,
            earlier=question.earlier or _first_answer(store, item),
            decision=decision,
            labeler=labeler,
        )
        for item in question.items
    ]
    store.add(rows)
    return rows


def _first_answer(store: Store, comparison: str) -> str:
    row = store.get(Comparison, comparison)
    return row.a if row else ""
