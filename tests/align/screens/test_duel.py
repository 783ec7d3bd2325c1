"""The duel's part of the compare screen: its words, its states, its buttons."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from align import duelling
from align.duelling import Standing
from align.screens import duel, judges
from feedback import audit
from feedback.duels import outcome

JUDGED = judges.View(*["lines", "kind", "what", "judge", "end", "said"])  # type: ignore[arg-type]
VIEW = duel.View(*["go", "stop", "prompts", "told", "stands", JUDGED])  # type: ignore[arg-type]


def stands(*scores: float, waiting: int = 0, identical: int = 0) -> Standing:
    judged = len(scores) - identical
    return Standing(len(scores) + waiting, identical, judged, outcome(scores))


def test_an_open_duel_says_what_is_missing() -> None:
    html = duel.standing_html(stands(1.0, 1.0, 0.5, waiting=4, identical=1))
    assert "83 %" in html
    assert "2 won, 0 lost, 1 tied" in html
    assert ">Open<" in html
    assert "Still to judge on Label: 4 of 7. Answered alike, so tied: 1." in html


@pytest.mark.parametrize(
    ("score", "tone", "state"), [(1.0, "ok", "Better"), (0.0, "stop", "Worse")]
)
def test_a_decided_duel_has_its_colour(score: float, tone: str, state: str) -> None:
    html = duel.standing_html(stands(*[score] * 8))
    assert f"hone-meter hone-{tone}" in html
    assert f">{state}<" in html
    assert "Everything is judged." in html


def test_before_the_first_vote_only_what_waits_is_said() -> None:
    html = duel.standing_html(stands(waiting=5))
    assert "Still to judge on Label: 5 of 5." in html
    assert "%" not in html


def test_the_button_comes_back_when_both_have_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two prompts are there and ten more are asked for, of which there are only three."""
    now = iter([2, 5])
    asked: list[int] = []

    def begin(workspace: Any, one: Any, progress: Any, *, prompts: int) -> int:
        asked.append(prompts)
        progress("3 of 3 prompts answered twice")
        return 5

    monkeypatch.setattr(duelling, "begin", begin)
    monkeypatch.setattr(duelling, "standing", lambda store, one: stands(waiting=next(now)))
    monkeypatch.setattr(judges, "show", lambda *given: {"lines": "as they are"})
    noted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(audit, "note", lambda store, *what: noted.append(what))
    shown = list(duel.start(SimpleNamespace(store=None), VIEW, "r-1", 10, by="Lea"))
    assert asked == [12]
    assert noted == [("Lea", "duel", f"r-1 against {duelling.BASE}")]
    assert shown[0]["stop"].visible
    assert {"told": "3 of 3 prompts answered twice"} in shown
    assert shown[-1]["go"].visible
    assert not shown[-1]["stop"].visible
    assert shown[-1]["told"] == "No more prompts are kept for duels."


def test_without_a_run_nothing_is_shown_and_nothing_starts() -> None:
    assert duel.show(None, VIEW, None)["stands"] == ""
    assert list(duel.start(None, VIEW, None, 3)) == []
