"""Publishing from the rounds screen: what it asks for, what it refuses, what it says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from align.screens import publish
from storage.errors import BadInput

VIEW = publish.View(*["folder", "merged", "dataset", "go", "told"])  # type: ignore[arg-type]
PLACE = SimpleNamespace()
DONE: dict[str, Any] = {"files": 12, "bytes": 23_400_000, "why_not_merged": "", "dataset": None}


@pytest.mark.parametrize(
    ("run", "folder", "why"),
    [
        (None, "~/out", "No run was chosen"),
        ("r-1", "", "'' is no full path of a folder"),
        ("r-1", " out ", "'out' is no full path of a folder: begin it with / or ~, such as ~/r-1"),
    ],
)
def test_what_cannot_be_published_is_said_before_anything_is_done(
    run: str | None, folder: str, why: str
) -> None:
    with pytest.raises(BadInput) as refused:
        next(publish.publish(PLACE, VIEW, run, folder, True, True))
    assert why in str(refused.value)


def test_each_step_is_shown_and_the_button_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def command(workspace: Any, *, progress: Any, **params: Any) -> dict[str, Any]:
        asked.append(params)
        progress("merging *now*")
        return DONE

    monkeypatch.setitem(publish.COMMANDS, "publish", command)
    shown = list(publish.publish(PLACE, VIEW, "r-1", " ~/out ", False, True))
    wanted = {"run": "r-1", "folder": "~/out", "merged": False, "dataset": True, "by": "lead"}
    assert asked == [wanted]
    assert not shown[0]["go"].interactive
    assert shown[1] == {"told": "merging \\*now\\*"}
    assert shown[-1]["told"] == "**Written:** 12 files, 23 MB."
    assert shown[-1]["go"].interactive


def test_what_was_left_out_and_what_is_personal_is_said() -> None:
    told = publish.summary(
        DONE
        | {
            "why_not_merged": "the base lies here in 4 bits",
            "dataset": {"personal_data": {"pairs": {"phone": 1}, "labels": {}}},
        }
    )
    assert "Without merged weights: the base lies here in 4 bits." in told
    assert "*pairs.jsonl* holds personal data" in told
    assert "labels.jsonl" not in told
