"""A snapshot with remedies: what goes in, what stays out, what the manifest remembers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedback.checks import CHECKS, CheckResult
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.quality import run_checks
from feedback.snapshots import SnapshotSettings, freeze, load, preview, unheard
from storage.errors import BadInput
from storage.records import Assignment, Comparison, Vote
from storage.store import Store

MANY = "A rather longer answer that goes on"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def compared(store: Store, question: str, a: str, b: str) -> Comparison:
    (prompt,) = add_prompts(store, [[{"role": "user", "content": question}]], "x")
    one, other = add_responses(
        store, [NewResponse(prompt.id, a, "m"), NewResponse(prompt.id, b, "n")]
    )
    return add_comparisons(store, [(one, other)], "x")[0]


def vote(
    store: Store, comparison: Comparison, labeler: str, verdict: str, source: str = "api"
) -> str:
    id = str(uuid.uuid4())
    store.add([Assignment(id, "default", labeler, comparison.id, "", "a", "plain", "api")])
    store.append(Vote(id, id, 0, comparison.id, labeler, verdict, source=source))
    return id


def questions(n: int) -> list[str]:
    """Return questions that are not near to each other."""
    names = ["Rome", "Oslo", "Lima", "Cairo", "Seoul", "Delhi", "Quito", "Tunis"]
    return [f"{names[i % 8]}? {names[i // 8]} {names[i % 8] * 3} {i * 7919}" for i in range(n)]


def manifest(store: Store, settings: SnapshotSettings) -> dict[str, Any]:
    return load(store.data / "snapshots" / freeze(store, settings).id).manifest


def test_settings_out_of_range_are_refused_together():
    with pytest.raises(BadInput) as refused:
        SnapshotSettings(balance_length="yes", cap_labeler=0.0)  # type: ignore[arg-type]
    assert str(refused.value) == (
        "balance_length is 'yes': use true or false; "
        "cap_labeler is 0.0: use a share above 0, up to 1 for no cap."
    )
    for cap in (1.5, -1, True, float("nan")):
        with pytest.raises(BadInput, match="cap_labeler is"):
            SnapshotSettings(cap_labeler=cap)


def test_a_balanced_snapshot_says_what_it_costs(store: Store):
    """Eight longer answers chosen and two shorter: four pairs stay, with eight labels."""
    for number, question in enumerate(questions(10)):
        vote(store, compared(store, question, MANY, "Short."), "ada", "b" if number < 2 else "a")
    counts = preview(store, SnapshotSettings(balance_length=True))
    assert (counts["pairs"]["all"], counts["labels"]["all"]) == (4, 8)
    assert counts["dropped"] == {
        "labels that rest only on pairs left out": 12,
        "pairs left out to balance lengths": 6,
    }
    (told,) = counts["remedies"]
    assert (told["name"], told["cost"]) == ("balance_length", 6)
    assert (told["before"]["value"], told["after"]["value"]) == (0.8, 0.5)
    assert (told["again"]["value"], told["again"]["severity"]) == (0.5, "ok")
    assert told["message"] == (
        "6 of 10 pairs are left out, so that length tells nothing: the longer answer was chosen in "
        "80.0 % of 10 pairs (95 % interval 49.0 to 94.3 %), now in 50.0 % of 4 pairs "
        "(95 % interval 15.0 to 85.0 %)."
    )


def test_of_pairs_nearly_the_same_one_stays(store: Store):
    """The prompt again in capitals with the same answers re-spaced, and with other answers."""
    question = "What is the capital of France, and since when?"
    first = compared(store, question, "Paris, for many centuries now.", "I do not know that.")
    again = compared(
        store, question.upper(), "Paris,  for many centuries NOW", "I do not know that!"
    )
    other = compared(store, question.upper(), "Lyon has always been it.", "Ask somebody else.")
    for comparison in (first, again, again, other):
        vote(store, comparison, f"l{uuid.uuid4().hex[:4]}", "a")
    one = SnapshotSettings(one_per_cluster=True)
    assert preview(store)["pairs"]["all"] == 3
    counts = preview(store, one)
    assert counts["pairs"]["all"] == 2
    assert counts["dropped"]["pairs that repeat another one"] == 1
    frozen = load(store.data / "snapshots" / freeze(store, one).id)
    assert {row["chosen"] for row in frozen.pairs()} == {
        "Paris,  for many centuries NOW", "Lyon has always been it."
    }  # fmt: skip
    ((gone, kept),) = frozen.manifest["left_out"]["repeats"].items()
    assert kept in {row["id"] for row in frozen.pairs()}
    assert gone not in {row["id"] for row in frozen.pairs()}


def test_weighing_makes_soft_labels_and_leaves_the_votes_behind_them(store: Store):
    """Three who agree twelve times and one who contradicts them each time: by heads three of four
    votes are for every pair; weighed, each is nearly sure."""
    ids = []
    for question in questions(12):
        comparison = compared(store, question, "One answer.", "Another one.")
        ids += [vote(store, comparison, name, "a") for name in ("x", "y", "z")]
        ids.append(vote(store, comparison, "contrary", "b"))
    by_heads = load(store.data / "snapshots" / freeze(store).id)
    assert {row["p_chosen"] for row in by_heads.pairs()} == {0.75}
    weighed = load(
        store.data / "snapshots" / freeze(store, SnapshotSettings(weigh_labelers=True)).id
    )
    rows = list(weighed.pairs())
    assert len(rows) == 12
    assert min(row["p_chosen"] for row in rows) > 0.95
    assert weighed.manifest["votes"] == by_heads.manifest["votes"] == sorted(ids)
    assert [one["name"] for one in weighed.manifest["counts"]["remedies"]] == ["weigh_labelers"]


def test_one_labelers_share_is_capped_where_there_are_enough(store: Store):
    """Ten with two votes each and one with twelve: 10 % of 20 + 2 is 2.2, so two of twelve stay;
    that keeps 22 of 32. With a cap of 1 all do."""
    asked = iter(questions(32))
    for labeler, n in [*((f"l{i}", 2) for i in range(10)), ("busy", 12)]:
        for _ in range(n):
            vote(store, compared(store, next(asked), "One.", "Another."), labeler, "a")
    counts = preview(store)
    assert counts["pairs"]["all"] == 22
    assert counts["dropped"] == {"votes, thumbs and edits beyond one labeler's share": 10}
    assert counts["remedies"][0]["name"] == "cap_labeler"
    assert "at most 2 votes" in counts["remedies"][0]["message"]
    ((before, after),) = measured_twice(counts, run_checks(store))
    assert (before.severity, after["severity"]) == ("warn", "ok")
    assert preview(store, SnapshotSettings(cap_labeler=1.0))["pairs"]["all"] == 32
    frozen = manifest(store, SnapshotSettings())
    assert len(frozen["left_out"]["capped"]) == 10
    assert frozen["settings"]["cap_labeler"] is None


def measured_twice(counts: dict[str, Any], checks: list[CheckResult]) -> list[tuple]:
    """Return what `imbalance` says of all the feedback and of what a cap leaves."""
    (before,) = [one for one in checks if one.name == "imbalance"]
    return [(before, told["again"]) for told in counts["remedies"]]


def test_a_cap_on_labelers_does_not_mend_one_source_that_outweighs_the_others(store: Store):
    """Ten labelers with two votes each and one with twelve, of ten sources with one vote each and
    one with all the others: what the cap leaves is the busy one's two, and still that source's."""
    asked = iter(questions(32))
    said = 0
    for labeler, n in [*((f"l{i}", 2) for i in range(10)), ("busy", 12)]:
        for _ in range(n):
            comparison = compared(store, next(asked), "One.", "Another.")
            source = f"import:{said}" if said < 10 else "import:all"
            vote(store, comparison, labeler, "a", source=source)
            said += 1
    ((before, after),) = measured_twice(preview(store), run_checks(store))
    assert (before.severity, after["severity"]) == ("warn", "warn")
    assert "1 labelers, sources or prompts are over the cap" in after["message"]


def test_a_cap_that_too_few_labelers_can_hold_is_refused(store: Store):
    vote(store, compared(store, "Why?", "One.", "Another."), "ada", "a")
    with pytest.raises(BadInput, match="a cap of 10 % for one labeler needs at least 10 labelers"):
        preview(store, SnapshotSettings(cap_labeler=0.1))


def test_the_manifest_remembers_checks_and_exclusions(store: Store):
    for question in questions(4):
        vote(store, compared(store, question, MANY, "Short."), "ada", "a")
    found = manifest(store, SnapshotSettings())
    assert found["checks"]["length_bias"]["value"] == 1.0
    assert found["checks"]["chosen_longer"]["n"] == 4
    assert set(found["checks"]) == {*CHECKS, "chosen_longer"}  # those that read texts, too
    assert unheard(found) == []
    assert found["exclusions"] == []
    assert set(found["left_out"]) == {"capped", "repeats", "balanced"}


def test_what_is_simulated_is_not_in_the_checks_of_a_snapshot_without_it(store: Store):
    vote(store, compared(store, "Why?", MANY, "Short."), "ada", "a")
    id = str(uuid.uuid4())
    comparison = compared(store, "Where to?", MANY, "Short.")
    store.add([Assignment(id, "d", "sim-1", comparison.id, "", "a", "plain", "simulated")])
    store.append(Vote(id, id, 0, comparison.id, "sim-1", "b", source="simulated"))
    assert manifest(store, SnapshotSettings())["checks"]["length_bias"]["n"] == 2
    assert manifest(store, SnapshotSettings(simulated=False))["checks"]["length_bias"]["n"] == 1
