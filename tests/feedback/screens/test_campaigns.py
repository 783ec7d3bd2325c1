"""A lead's handlers: campaigns made, changed and paused; contradictions decided one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from feedback import adjudication, collecting
from feedback.screens import adjudication as deciding
from feedback.screens import campaigns
from storage.store import Store
from tests.feedback.stock import MODELS, say, stock


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[SimpleNamespace]:
    with Store.open(tmp_path) as store:
        yield SimpleNamespace(store=store)


@pytest.fixture(scope="module")
def views() -> SimpleNamespace:
    """Return views whose parts are names, so that a handler's answer reads like a form."""
    fields = tuple(f"field{n}" for n in range(16))
    return SimpleNamespace(
        campaigns=campaigns.View(
            "table", "pick", fields, "told", ("pause", "go on", "finish"), "tried", "trials",
            "person",
        ),
        deciding=deciding.View(
            "title", "card", "prompt", ("left", "right"), "reason", "voting", "after", "told",
            "waiting",
        ),
    )  # fmt: skip


def test_what_the_fields_show_of_a_campaign_is_what_saving_them_keeps(workspace, views):
    made = collecting.make(
        workspace.store, "Poems", sources=["import:a", "import:b"], labelers=["ann"], trial=3,
        mode="pairs", shared=0.2, repeats=0.1, gold=0.15, trial_share=0.7, reasons=["rhyme"],
        strengths=["slightly", "clearly"], aspects=["tone"], new=True, overlap=2,
    )  # fmt: skip
    drawn = campaigns.show(workspace, views.campaigns, "Poems")
    values = [drawn[field] for field in views.campaigns.fields]
    campaigns.save(workspace, views.campaigns, "Poems", *values, by="Lea")
    kept = collecting.campaign_of(workspace.store, "Poems")
    assert kept == made


def test_a_new_campaign_is_made_paused_and_finished(workspace, views):
    empty = campaigns.show(workspace, views.campaigns, campaigns.NEW)
    values = [empty[field] for field in views.campaigns.fields]
    assert [empty[move].visible for move in ("pause", "go on", "finish")] == [False] * 3
    drawn = campaigns.save(workspace, views.campaigns, campaigns.NEW, "Prose", *values[1:], by="L")
    assert drawn["pick"].value == "Prose"
    assert [drawn[move].visible for move in ("pause", "go on", "finish")] == [True, False, True]
    drawn = campaigns.move(workspace, views.campaigns, "paused", "Prose", by="Lea")
    assert [drawn[move].visible for move in ("pause", "go on", "finish")] == [False, True, True]
    drawn = campaigns.move(workspace, views.campaigns, "finished", "Prose", by="Lea")
    assert [drawn[move].visible for move in ("pause", "go on", "finish")] == [False] * 3


def test_votes_are_seen_after_the_decision_and_never_before(workspace, views):
    one, two = stock(workspace.store, 2)
    for comparison in (one, two):
        say(workspace.store, comparison.id, "a", "ann")
        say(workspace.store, comparison.id, "b", "bob")
    drawn = deciding.refill(workspace, views.deciding, by="Lea")
    told = " ".join(str(value) for key, value in drawn.items() if key != "waiting")
    assert drawn["waiting"] == [one.id, two.id]
    assert not [word for word in ("ann", "bob", *MODELS) if word in told]
    case = adjudication.open_case(workspace.store, one.id, "Lea")
    assert case.left in drawn["left"]
    after = deciding.decide(workspace, views.deciding, "left", drawn["waiting"], "why", by="Lea")
    assert adjudication.decision_on(workspace.store, one.id) == case.own("left")
    seen = {"left": "A is better", "right": "B is better"}
    assert f"ann: **{seen[case.seen('a')]}**" in after["told"]
    assert f"bob: **{seen[case.seen('b')]}**" in after["told"]
    assert isinstance(after["voting"], gr.Column)
    deciding.take_back(workspace, views.deciding, drawn["waiting"], by="Lea")
    assert adjudication.decision_on(workspace.store, one.id) == ""
    drawn = deciding.show_next(workspace, views.deciding, drawn["waiting"], by="Lea")
    assert drawn["waiting"] == [two.id]
    assert deciding.show_next(workspace, views.deciding, [two.id], by="Lea")["waiting"] == []
