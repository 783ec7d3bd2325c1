"""The quality screen's button that lets a model score: when it is offered, what it says."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from feedback.checks.result import CheckResult, Finding
from feedback.checks.scores import TO_SCORE
from feedback.screens import scores
from feedback.screens.parts import ask
from storage.errors import Busy


@pytest.fixture
def view() -> scores.Scores:
    return scores.build_scores()


def result(remedy: str) -> CheckResult:
    found = Finding("reference margin", None, None, None, 0, "unknown", "Not known.", remedy)
    return CheckResult("too_easy", 0.0, 0.0, 0.1, 30, "ok", "Whole.", "", findings=(found,))


def shown(view: scores.Scores, step: dict[Any, Any]) -> tuple[str, bool | None]:
    """Return the words beside the button, and whether it can be pressed, where that changes."""
    return step[view.told], step[view.go].interactive if view.go in step else None


@pytest.mark.parametrize(
    ("remedies", "offered"), [([], False), ([""], False), (["", TO_SCORE], True)]
)
def test_scoring_is_offered_where_a_check_asks_for_it(
    view: scores.Scores, remedies: list[str], offered: bool
) -> None:
    (row,) = scores.show_offer(view, [result(remedy) for remedy in remedies]).values()
    assert row.visible is offered


def test_a_press_scores_with_progress_and_another_one_goes_on(view: scores.Scores) -> None:
    """Three answers, two at a press: two and one left, then one and none, then nothing is left."""
    left = [3]

    def score(progress: Callable[[str], None]) -> dict[str, Any]:
        now = min(2, left[0])
        left[0] -= now
        progress(f"{now} of {now} answers scored")
        return {"model": "a_b", "adapter": "", "scored": now, "left": left[0]}

    workspace = SimpleNamespace(score=score)
    first, second, third = ([shown(view, s) for s in scores.score(workspace, view)] for _ in "123")
    assert first == [
        (scores.STARTING, False),
        ("2 of 2 answers scored", None),
        ("**Scored:** 2 answers, by a\\_b. 1 left: press again to go on.", True),
    ]
    assert second[-1] == ("**Scored:** 1 answers, by a\\_b. None left.", True)
    assert third[-1][0].startswith("Every answer has a score already.")


def test_while_a_training_has_the_device_it_is_refused_in_its_words(view: scores.Scores) -> None:
    def score(progress: Callable[[str], None]) -> dict[str, Any]:
        raise Busy("training (r-1), back in about 3 min.")

    asked = ask(scores.score, SimpleNamespace(score=score), view)(None)
    assert shown(view, next(asked)) == (scores.STARTING, False)
    with pytest.raises(Exception, match="back in about 3 min") as refused:
        next(asked)
    assert type(refused.value).__name__ == "Error", "Gradio's own, which the page shows as words"
    assert shown(view, scores.ready(view)) == ("", True)
