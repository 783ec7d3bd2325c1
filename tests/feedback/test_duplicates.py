"""Repeats that wait for a decision, and that a decision ends the wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback.duplicates import decide, open_questions
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.quality import run_checks
from storage.errors import BadInput
from storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three comparisons: two ask the same, the third shows the same answer twice."""
    asked = ["Where is Rome?", "Where is Rome?", "Why do leaves turn red in autumn?"]
    answers = [("In Italy.", "On the Tiber."), ("South.", "No idea at all."), ("Cold.", "cold.")]
    with Store.open(tmp_path / "data") as store:
        for number, (question, pair) in enumerate(zip(asked, answers, strict=True)):
            prompt = add_prompts(store, [[{"role": "user", "content": question}]], "x")[0]
            rows = [NewResponse(prompt.id, text, f"m{i}") for i, text in enumerate(pair)]
            a, b = add_responses(store, rows)
            add_comparisons(store, [(a, b)], "x", ids=[f"c{number}"])
        yield store


def test_a_decision_ends_the_question(store: Store) -> None:
    found = open_questions(store, run_checks(store))
    assert [(q.kind, q.items, q.earlier) for q in found] == [
        ("prompt", ("c1",), "c0"),
        ("response", ("c2",), ""),
    ]
    for question, decision in zip(found, ("link", "keep"), strict=True):
        decide(store, question, decision, "lead")
    assert open_questions(store, run_checks(store)) == []


def test_a_decision_that_there_is_not_is_refused(store: Store) -> None:
    question = open_questions(store, run_checks(store))[0]
    with pytest.raises(BadInput, match="'delete' is no decision"):
        decide(store, question, "delete", "lead")
