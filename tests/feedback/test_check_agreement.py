"""The check `agreement` on planted votes: who counts, what contradicts, what goes in a circle."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from feedback.agreement import krippendorff_alpha
from feedback.checks import CheckResult, Columns
from feedback.checks.agreement import agreement
from feedback.checks.cycles import circles, majority_edges

START = datetime(2026, 11, 26, tzinfo=UTC)
NAMES = ["comparison", "labeler", "verdict", "kind", "prompt", "text_a", "text_b"]


def check(*rows: tuple[str, str, str] | tuple[str, ...]) -> CheckResult:
    """Check votes given as (comparison, labeler, verdict[, kind[, prompt, text_a, text_b]])."""
    return agreement(given(*rows))


def given(*rows: tuple[str, ...]) -> Columns:
    whole = []
    for row in rows:
        comparison, labeler, verdict, kind, *rest = (*row, "plain")[: max(4, len(row))]
        prompt, a, b = rest or ("p1", f"{comparison}.a", f"{comparison}.b")
        whole.append((comparison, labeler, verdict, kind, prompt, a, b))
    votes = pd.DataFrame(whole, columns=NAMES)
    times = [START + timedelta(seconds=n) for n in range(len(votes))]
    votes = votes.assign(vote=[f"v{n:03}" for n in range(len(votes))], created_at=times)
    return replace(Columns.empty(), votes=votes)


def found(result: CheckResult, subject: str):
    return next(one for one in result.findings if one.subject == subject)


def test_alpha_counts_both_bad_as_a_value_and_a_skip_as_none():
    """c1: a, a. c2: both_bad, both_bad. c3: b, tie. The skips judge nothing."""
    rows = [("c1", "ann", "a"), ("c1", "bob", "a"), ("c2", "ann", "both_bad")]
    rows += [("c2", "bob", "both_bad"), ("c3", "ann", "b"), ("c3", "bob", "tie")]
    result = check(*rows, ("c1", "cy", "skip"), ("c4", "cy", "skip"))
    assert result.value == krippendorff_alpha([1, 1, 2, 2, 3, 3], [0, 0, 3, 3, 1, 2])
    assert result.n == 3
    assert "over 3 comparisons by 2 labelers, 3 of them judged more than once" in result.message
    assert found(result, "pairwise agreement").value == pytest.approx(2 / 3)


def test_the_same_person_again_is_no_agreement():
    """A silent repeat is left out, and of two assignments the first vote counts."""
    rows = [("c1", "ann", "a"), ("c1", "bob", "b"), ("c2", "ann", "a"), ("c2", "bob", "a")]
    again = [("c1", "ann", "a", "repeat"), ("c1", "ann", "b")]
    assert check(*rows, *again).as_json() == check(*rows).as_json()


def test_a_repeat_alone_is_nothing_that_two_people_judged():
    result = check(("c1", "ann", "a"), ("c1", "ann", "a", "repeat"))
    assert (result.severity, result.value, result.n) == ("unknown", None, 0)


def test_judgements_that_are_all_the_same_have_no_alpha_but_findings():
    result = check(*[(f"c{n}", who, "a") for n in range(30) for who in ("ann", "bob")])
    assert (result.severity, result.value, result.n) == ("unknown", None, 30)
    assert "cannot be told" in result.message
    assert found(result, "pairwise agreement").value == 1.0


@pytest.mark.parametrize(
    ("agreeing", "of", "severity"),
    [
        (8, 16, "ok"),  # fewer than twenty say nothing
        (95, 100, "ok"),  # alpha about 0.9
        (65, 100, "ok"),  # about 0.3: usual for tastes
        (53, 100, "warn"),  # about 0.06
        (10, 100, "stop"),  # about -0.8
    ],
)
def test_when_agreement_speaks_up(agreeing: int, of: int, severity: str):
    """Ann alternates a and b; Bob says the same in some comparisons, spread over both."""
    rows = []
    for n in range(of):
        ann = "ab"[n % 2]
        same = (n * agreeing) // of != ((n + 1) * agreeing) // of
        rows += [(f"c{n}", "ann", ann), (f"c{n}", "bob", ann if same else "ba"[n % 2])]
    result = check(*rows)
    assert result.severity == severity
    assert bool(result.remedy) == (severity != "ok")
    assert found(result, "pairwise agreement").value == agreeing / of


def test_contradicting_votes_are_a_against_b_and_a_tie_contradicts_nothing():
    rows = [("c1", "ann", "a"), ("c1", "bob", "b"), ("c2", "ann", "a"), ("c2", "bob", "tie")]
    result = check(*rows, ("c3", "ann", "a"), ("c3", "bob", "a"))
    against = found(result, "contradicting votes")
    assert (against.items, against.value, against.n) == (("c1",), 0.5, 2)
    assert result.items == ("c1",)
    assert "back to the queue" in against.remedy


def test_the_prompts_that_people_disagree_on_come_first_and_only_sure_ones_warn():
    """On p0 nobody agrees (20 pairs), on p1 everybody (60 pairs); p2 has too few to be told."""
    rows = []
    for prompt, many, other in (("p0", 20, "b"), ("p1", 60, "a"), ("p2", 4, "b")):
        for n in range(many):
            c = f"{prompt}.{n}"
            rows += [(c, "ann", "a", "plain", prompt, c + "a", c + "b")]
            rows += [(c, "bob", other, "plain", prompt, c + "a", c + "b")]
    prompts = [one for one in check(*rows).findings if one.subject.startswith("prompt ")]
    assert [(one.subject, one.value, one.severity) for one in prompts] == [
        ("prompt p0", 0.0, "warn"),
        ("prompt p1", 1.0, "ok"),
    ]
    assert len(prompts[0].items) == 20


# Circles


def majorities(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    """Return comparisons from (prompt, text_a, text_b, votes for a less votes for b)."""
    frame = pd.DataFrame(rows, columns=["prompt", "text_a", "text_b", "net"])
    return frame.assign(comparison=[f"c{n}" for n in range(len(frame))], decided=1)


def test_a_circle_of_three_is_found_and_the_answer_outside_it_is_not():
    """x > y, y > z, z > x by majority, all > w: three comparisons of the four lie on the circle."""
    rows = [("c1", "x", "y"), ("c2", "z", "y"), ("c3", "z", "x"), ("c4", "w", "x")]
    said = {"c1": "a", "c2": "b", "c3": "a", "c4": "b"}
    votes = [
        (c, who, said[c], "plain", "p1", a, b) for c, a, b in rows for who in ("ann", "bob", "cy")
    ]
    votes[3] = ("c2", "ann", "a", "plain", "p1", "z", "y")  # one of three votes is no majority
    result = check(*votes)
    whole, one = found(result, "preference cycles"), found(result, "cycle of prompt p1")
    assert (whole.value, whole.n, whole.severity) == (1.0, 1, "warn")
    assert one.items == whole.items == ("c1", "c2", "c3")
    assert one.message.startswith("3 answers to prompt p1 beat each other in a circle")


def test_a_chain_has_no_circle():
    edges = majority_edges(majorities(("p", "x", "y", 1), ("p", "y", "z", 2), ("p", "z", "x", -1)))
    assert len(edges) == 3
    assert circles(edges).empty


def test_even_votes_and_equal_texts_give_no_edge_and_couples_count_together():
    """x and y: 2 for x in one comparison, 1 against x in another (sides swapped): x wins."""
    edges = majority_edges(
        majorities(("p", "x", "y", 2), ("p", "y", "x", 1), ("p", "x", "x", 1), ("p", "y", "z", 0))
    )
    assert edges[["winner", "loser", "comparison"]].to_numpy().tolist() == [["x", "y", "c0"]]


def test_a_circle_over_two_prompts_is_none():
    edges = majority_edges(majorities(("p", "x", "y", 1), ("p", "y", "z", 1), ("q", "z", "x", 1)))
    assert circles(edges).empty


def test_two_circles_are_told_apart():
    rows = [(p, *pair, 1) for p in "pq" for pair in (("x", "y"), ("y", "z"), ("z", "x"))]
    edges = circles(majority_edges(majorities(*rows)))
    assert edges.groupby("circle")["prompt"].unique().map(list).tolist() in (
        [["p"], ["q"]],
        [["q"], ["p"]],
    )
