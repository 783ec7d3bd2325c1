"""The light before a run, and what it keeps of it."""

from __future__ import annotations

import pytest

from align.clearance import (
    AMBER,
    ANSWERS,
    GREEN,
    RED,
    clearance,
    refuse_unexplained,
    votes_to_narrow,
)
from feedback.checks.result import CheckResult
from storage.errors import BadInput

ENOUGH = {
    "pairs": {"all": 120, "train": 96, "held_out": 12, "duel": 12},
    "labels": {"all": 240, "train": 192, "held_out": 24, "duel": 24},
    "good": {"all": 120, "train": 96, "held_out": 12, "duel": 12},
}
NONE = {kind: dict.fromkeys(splits, 0) for kind, splits in ENOUGH.items()}


def said(name: str, severity: str, value: float | None = 0.5, n: int = 100) -> CheckResult:
    return CheckResult(name, value, None, None, n, severity, f"{name} is so.", "Mend it.")


def test_nothing_against_it_is_green() -> None:
    seen = clearance("dpo", ENOUGH, [said("length_bias", "ok"), said("style", "unknown", None, 0)])
    assert (seen.light, seen.objections, seen.unknown) == (GREEN, (), ("style",))


def test_a_reason_is_kept_only_where_something_speaks_against_the_run() -> None:
    assert clearance("dpo", ENOUGH, [said("length_bias", "ok")]).as_json("a demo")["because"] == ""


def test_a_warning_is_amber_and_the_heaviest_comes_first() -> None:
    checks = [said("style", "warn"), said("length_bias", "stop"), said("agreement", "ok")]
    seen = clearance("dpo", ENOUGH, checks)
    assert seen.light == AMBER
    assert [one.name for one in seen.objections] == ["length_bias", "style"]
    kept = seen.as_json("a demo")
    assert kept["because"] == "a demo"
    assert kept["objections"][0] == {
        "name": "length_bias", "severity": "stop", "message": "length_bias is so.",
        "remedy": "Mend it.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "misfit", "name"), [(NONE, "", "rows"), (ENOUGH, "it takes 90 GB", "memory")]
)
def test_what_cannot_start_is_red_whatever_the_checks_say(counts, misfit: str, name: str) -> None:
    seen = clearance("dpo", counts, [], misfit)
    assert seen.light == RED
    assert [one.name for one in seen.objections] == [name]
    assert seen.objections[0].message[0].isupper()


def test_amber_asks_for_a_reason_and_names_what_would_mend_it() -> None:
    seen = clearance("dpo", ENOUGH, [said("style", "warn"), said("length_bias", "stop")])
    with pytest.raises(BadInput) as error:
        refuse_unexplained(seen, " ")
    assert str(error.value) == (
        "length_bias speaks against training: length_bias is so. Mend it. And 1 more. To train "
        'anyway, say why: under "Why train anyway?", or with --because "…"'
    )
    refuse_unexplained(seen, "a demo")
    refuse_unexplained(clearance("dpo", ENOUGH, [said("style", "ok")]), "")


def treated(name: str, severity: str = "") -> dict:
    """Return counts of a snapshot with a remedy, and what its check says of what is left."""
    again = {"severity": severity, "message": "It is so still.", "remedy": "Mend it again."}
    return {**ENOUGH, "remedies": [{"name": name, **({"again": again} if severity else {})}]}


def test_a_remedy_answers_the_check_that_it_is_for() -> None:
    checks = [said("length_bias", "stop"), said("style", "warn")]
    seen = clearance("dpo", treated("balance_length", "ok"), checks)
    assert ([one.name for one in seen.objections], seen.answered) == (["style"], ("length_bias",))
    only = clearance("dpo", treated("balance_length", "ok"), checks[:1])
    assert (only.light, only.answered) == (GREEN, ("length_bias",))
    capped = clearance("dpo", treated("cap_labeler", "ok"), [said("imbalance", "warn")])
    assert (capped.light, capped.answered) == (GREEN, ("imbalance",))


@pytest.mark.parametrize("name", ["balance_length", "cap_labeler"])
def test_a_remedy_that_did_not_help_answers_nothing(name: str) -> None:
    """What is left is measured again, and it is what the run would learn from."""
    for before in ("stop", "ok"):
        seen = clearance("dpo", treated(name, "warn"), [said(ANSWERS[name], before)])
        assert (seen.light, seen.answered) == (AMBER, ())
        (objection,) = seen.objections
        assert (objection.name, objection.severity) == (ANSWERS[name], "warn")
        assert objection.message == "It is so still."


def test_what_a_remedy_left_may_be_unmeasured() -> None:
    """Of a snapshot that was frozen before, and of remedies whose check reads more than is left."""
    for name in ("balance_length", "weigh_labelers", "one_per_cluster"):
        seen = clearance("dpo", treated(name), [said(ANSWERS[name], "stop")])
        assert (seen.light, seen.answered) == (GREEN, (ANSWERS[name],))
    capped = clearance("dpo", treated("cap_labeler"), [said("imbalance", "warn")])
    assert (capped.light, capped.answered) == (AMBER, ())  # sources and prompts are not capped


def test_it_tells_how_many_more_votes_would_narrow_an_interval() -> None:
    """±5 points at one half take 385 votes; at 0.41 1.96² · 0.2419 / 0.0025 = 371.7 → 372."""
    assert votes_to_narrow(0.5, 0) == 385
    assert votes_to_narrow(0.41, 300) == 72
    assert votes_to_narrow(0.41, 400) == 0
    assert votes_to_narrow(1.0, 0) == votes_to_narrow(0.95, 0) > 0
    seen = clearance("dpo", ENOUGH, [said("length_bias", "ok", 0.41, 300), said("style", "ok")])
    assert seen.wanted == (
        "72 more votes would tell the length bias to ±5 %",
        "about 840 more pairs would tell the held-out accuracy to ±10 % (12 pairs judge now)",
    )
