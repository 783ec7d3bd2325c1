"""The judges' part of a duel: its lines, its field, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from align import duel_judges
from align.duel_judges import Judged
from align.duelling import Standing
from align.judges import ON_SCREEN
from align.screens import judges
from feedback import audit
from feedback.duels import outcome
from feedback.judged import Done, agreement
from storage.errors import BadInput

VIEW = judges.View(*["lines", "kind", "what", "go", "stop", "told"])  # type: ignore[arg-type]
HERE = SimpleNamespace(store=None)


def judged() -> Judged:
    """Three of four for the model after; one of two as people say; one of four turned."""
    stands = Standing(4, 0, 4, outcome([1.0, 1.0, 1.0, 0.0]))
    return Judged(4, 1, agreement({"1": "b", "2": "b"}, {"1": "b", "2": "a"}), stands)


def test_each_judge_has_a_line_and_its_name_is_only_text() -> None:
    lines = judges.lines_of({"judge: contains:<img src=x>*": judged(), "judge: shorter": judged()})
    assert lines.count("\n") == 1
    assert "<img" not in lines
    assert "prefers the model after on 75 %" in lines
    assert r"agrees with people in 50 % of 2 \(9–91\)" in lines
    assert r"the order turned 1 of 4 \(25 %\)" in lines


@pytest.mark.parametrize("kind", ON_SCREEN)
def test_what_a_judge_takes_has_a_field_with_an_example(kind: str) -> None:
    field = judges.choose(VIEW, kind)["what"]
    assert field.visible == (kind in ("contains", "regex", "model"))
    assert bool(field.placeholder) == field.visible


def test_the_judge_is_asked_by_its_name_and_the_buttons_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def let_judge(store: Any, name: str, duel: Any, progress: Any, *, among: Any) -> Any:
        asked.append((name, duel.run, list(among)))
        progress("1 of 1 judged by <b>")
        return "judge: x", Done(1, 2)

    monkeypatch.setattr(duel_judges, "let_judge", let_judge)
    monkeypatch.setattr(duel_judges, "judged_by", lambda store, duel: {"judge: x": judged()})
    noted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(audit, "note", lambda store, *what: noted.append(what))
    steps = list(judges.start(HERE, VIEW, "r-1", "contains", "please", by="Lea"))
    assert noted == [("Lea", "judge", "contains:please: 1 judged")]
    assert asked == [("contains:please", "r-1", ON_SCREEN)]
    assert steps[0]["stop"].visible
    assert {"told": "1 of 1 judged by &lt;b>"} in steps
    assert steps[-1]["go"].visible
    assert steps[-1]["lines"].visible
    assert "2 of its answers were no verdict" in steps[-1]["told"]


def test_a_file_cannot_be_named_here(tmp_path: Any) -> None:
    with pytest.raises(BadInput, match="no judge"):
        duel_judges.open_judge(f"file:{tmp_path}/x.py", ON_SCREEN)


def test_without_a_run_nothing_is_shown_and_nothing_starts() -> None:
    assert judges.show(HERE, VIEW, None)["lines"].visible is False
    assert list(judges.start(HERE, VIEW, None, "shorter", "")) == []
