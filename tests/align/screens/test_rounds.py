"""The rounds screen: what it says of rounds and runs, and what its buttons do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from align.lineage import behind
from align.rounds import story
from align.screens import rounds
from align.screens.story import story_html
from feedback.snapshots import freeze
from storage.errors import BadInput, NotFound
from storage.store import Store
from tests.align.finished import VOTES, WEIGHTS, collect, duel, train
from tests.feedback.stock import take_back

VIEW = rounds.View(*[field.name for field in fields(rounds.View)])  # type: ignore[arg-type]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Any]:
    with Store.open(tmp_path / "data") as store:
        yield SimpleNamespace(data=store.data, store=store)


def told(workspace: Any) -> str:
    """Return the story's words without its markup."""
    return " ".join(re.sub("<[^>]+>", " ", story_html(story(workspace))).split())


def test_before_anything_the_base_answers_and_there_is_no_run(workspace: Any) -> None:
    drawn = rounds.refresh(workspace, VIEW, None)
    assert drawn["answers"] == rounds.FIRST
    assert not drawn["back"].visible
    assert drawn["empty"].visible
    assert not drawn["desk"].visible
    assert "Round 0" in drawn["story"]
    assert "no votes yet. Nothing was trained yet." in told(workspace)


def test_promoting_and_going_back_are_drawn(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    run = train(workspace, tiny, freeze(workspace.store))
    drawn = rounds.refresh(workspace, VIEW, None)
    assert drawn["run"].value == run
    assert "**Needs a reason:** nobody has compared it" in drawn["evidence"]
    with pytest.raises(BadInput, match="is not promoted"):
        rounds.promote(workspace, VIEW, run, "  ")
    drawn = rounds.promote(workspace, VIEW, run, "better *by far* <b>")
    assert drawn["answers"].startswith(f"## {run} answers")
    assert "better \\*by far\\* &lt;b>" in drawn["answers"]
    assert drawn["back"].value == "Go back to the base"
    assert drawn["because"] == ""
    assert "better" not in drawn["story"]  # whatever people wrote stays out of the markup
    drawn = rounds.back(workspace, VIEW, run, "")
    assert drawn["answers"].startswith("## The base answers")
    assert "Because: back from r" in drawn["answers"]
    assert not drawn["back"].visible


def test_the_evidence_names_the_duel_and_what_does_not_count_any_more(
    workspace: Any, tiny: Path
) -> None:
    votes = collect(workspace)
    run = train(workspace, tiny, freeze(workspace.store))
    duel(workspace, run, 20, 0)
    for vote in votes:
        take_back(workspace.store, vote)
    words = rounds.look(workspace, VIEW, run)["evidence"]
    assert "**Duel against the base:** 20 won, 0 lost, 0 tied; preferred on 100 %" in words
    assert "**Held-out accuracy:** 67 % (20 % to 90 %) of 3." in words
    assert re.search(r"\*\*Stale:\*\* \d+ of the votes behind it do not count", words)
    assert "Needs a reason" not in words


def test_the_story_says_of_which_round_the_rows_are_and_what_became_of_a_run(
    workspace: Any, tiny: Path
) -> None:
    collect(workspace)
    first = train(workspace, tiny, freeze(workspace.store))
    duel(workspace, first, 0, 20)
    rounds.promote(workspace, VIEW, first, "to see")
    collect(workspace, VOTES + 8, VOTES)
    second = train(workspace, tiny, freeze(workspace.store), after=first)
    words = told(workspace)
    assert words.index("Round 1") < words.index("Round 0")
    assert re.search(rf"{second} · DPO .*rows: \d of this round, \d+ of round 0", words)
    assert f"went on from {first}, reference {first}" in words
    assert re.search(rf"{first} · DPO promoted", words)
    assert "Duel against the base 0 %" in words
    assert "Lost · 0–20, 0 ties" in words


def test_a_run_is_followed_back_to_its_votes_and_a_vote_to_its_runs(
    workspace: Any, tiny: Path
) -> None:
    collect(workspace)
    run = train(workspace, tiny, freeze(workspace.store))
    words = rounds.check(workspace, VIEW, run)["behind"]
    assert words.startswith("**Every hash is as it was.**")
    assert f"- {run}: " in words
    for vote in list(behind(workspace.data, run)[run])[:2]:
        assert rounds.trace(workspace, VIEW, f" {vote} ")["learned"] == f"- {run}"
    with pytest.raises(NotFound, match="'v-1' is no run and no vote"):
        rounds.trace(workspace, VIEW, "v-1")
    with pytest.raises(BadInput, match="No id"):
        rounds.trace(workspace, VIEW, " ")


def test_an_answer_to_stored_prompts_is_asked_of_who_answers_now(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def generate(given: Any, *, progress: Any, **params: Any) -> dict[str, int]:
        asked.append(params)
        progress("1 of 2")
        return {"comparisons": 7}

    monkeypatch.setitem(rounds.COMMANDS, "generate", generate)
    shown = list(rounds.ask(workspace, VIEW, 12))
    assert asked == [{"stored": 12, "by": "lead"}]
    assert shown[1] == {"told": "1 of 2"}
    assert shown[-1]["told"] == "**Done:** 7 new comparisons wait on *Label*."
    assert shown[-1]["ask"].visible


def test_a_damaged_run_does_not_take_the_screen_away(workspace: Any, tiny: Path) -> None:
    collect(workspace)
    run = train(workspace, tiny, freeze(workspace.store))
    weights = workspace.data / "runs" / run / "adapter" / WEIGHTS
    weights.write_bytes(weights.read_bytes() + b"!")
    drawn = rounds.refresh(workspace, VIEW, None)
    assert drawn["evidence"].startswith("**It cannot be promoted:** ")
    assert "changed or damaged" in drawn["evidence"]
    assert run in drawn["story"]
    with pytest.raises(BadInput, match="changed or damaged"):
        rounds.promote(workspace, VIEW, run, "all the same")
