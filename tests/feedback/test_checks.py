"""Every entry of CHECKS on empty, single and shuffled input; each check on planted cases."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pandas as pd
import pytest

from feedback.checks import CHECKS, CheckResult, Columns
from feedback.checks.duplicates import duplicate_responses
from feedback.checks.length_bias import length_bias
from feedback.checks.result import SEVERITIES
from tests.feedback.said import with_texts

START = datetime(2026, 11, 23, tzinfo=UTC)
FIELDS = {"name", "value", "low", "high", "n", "severity", "message", "remedy", "items", "findings"}
FOUND = FIELDS - {"name", "findings"} | {"subject"}


def votes(*rows: tuple[str, int, int], labeler: str = "ann", source: str = "screen"):
    """Return a frame of votes from (verdict, characters of a, characters of b)."""
    frame = pd.DataFrame(
        [
            (f"v{n}", f"c{n}", f"p{n}", labeler, verdict, a, b, source)
            for n, (verdict, a, b) in enumerate(rows)
        ],
        columns=[
            "vote",
            "comparison",
            "prompt",
            "labeler",
            "verdict",
            "chars_a",
            "chars_b",
            "source",
        ],
    ).assign(
        left="a",
        kind="plain",
        seconds_spent=float("nan"),
        created_at=[START + timedelta(minutes=n) for n in range(len(rows))],
    )
    texts = {"text_a": frame["comparison"] + ".a", "text_b": frame["comparison"] + ".b"}
    return frame.assign(kind="plain", created_at=START, **texts)


def columns(
    *,
    votes: pd.DataFrame | None = None,
    items: list[tuple[str, str, str]] = (),  # (comparison, prompt, source)
    clusters: dict[str, str] | None = None,  # prompt → cluster, where it is not its own
    similarity: dict[str, float] | None = None,
    rated: list[tuple[str, str, str]] = (),  # (response, prompt, source of the response)
    decisions: list[tuple[str, str, str]] = (),  # (kind, item, decision)
) -> Columns:
    empty = Columns.empty()
    made = [
        (c, p, f"{c}.a", f"{c}.b", source, START + timedelta(minutes=n))
        for n, (c, p, source) in enumerate(items)
    ]
    names = ["comparison", "prompt", "a", "b", "source", "created_at"]
    pairs = pd.DataFrame(made, columns=names) if made else empty.comparisons
    pairs = pairs.assign(similarity=[(similarity or {}).get(c, 0.1) for c in pairs["comparison"]])
    prompts = sorted({p for _, p, _ in [*items, *rated]})
    return Columns(
        votes=empty.votes if votes is None else votes,
        ratings=pd.DataFrame(
            [
                (f"t{n}", r, p, "screen", START + timedelta(hours=1, minutes=n), made, "ann", "up")
                for n, (r, p, made) in enumerate(rated)
            ],
            columns=["rating", "response", "prompt", "source", "created_at", "made"]
            + ["labeler", "verdict"],
        ),
        comparisons=pairs,
        prompts=pd.DataFrame(
            [(p, (clusters or {}).get(p, p)) for p in prompts], columns=["prompt", "cluster"]
        ),
        decisions=pd.DataFrame(
            [(*d[:2], "x", d[2], START + timedelta(seconds=n)) for n, d in enumerate(decisions)],
            columns=["kind", "item", "earlier", "decision", "created_at"],
        ),
    )


def full() -> Columns:
    """Return columns in which every check has something to find."""
    rows = [("a", 90, 10)] * 30 + [("b", 10, 90)] * 5 + [("tie", 5, 6), ("a", 7, 7)]
    crowd = [votes(("a", 90, 10), labeler=f"labeler {n}") for n in range(9)]
    other = votes(*[("tie", 90, 10)] * 30, labeler="bob").assign(vote=lambda f: "w" + f["vote"])
    more = [(f"c{n}", f"p{n}", "import:x") for n in range(4, 14)]
    items = [("c1", "p1", "import:x"), ("c2", "p1", "import:x"), ("c3", "p2", "generated:1")]
    given = columns(
        votes=pd.concat([votes(*rows), votes(*rows[:1]), other, *crowd], ignore_index=True),
        items=[*items, *more],
        clusters={"p2": "p1"},
        similarity={"c3": 0.95},
        rated=[("r1", "p1", "api")],
    )
    return with_texts(given)


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    order = list(range(len(frame)))
    random.Random(seed).shuffle(order)
    return frame.iloc[order]


# Every check


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_to_measure_is_unknown_with_null_numbers(name: str):
    result = CHECKS[name](Columns.empty())
    assert (result.name, result.severity, result.n) == (name, "unknown", 0)
    assert (result.value, result.low, result.high) == (None, None, None)
    assert result.message
    assert result.remedy
    assert result.findings == ()


@pytest.mark.parametrize("name", CHECKS)
def test_one_vote_raises_no_alarm(name: str):
    one = with_texts(columns(votes=votes(("a", 9, 1)), items=[("c0", "p0", "screen")]), "Yes.")
    assert CHECKS[name](one).severity in ("ok", "unknown")


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_rows_does_not_matter(name: str, seed: int):
    whole = full()
    fields = ("votes", "ratings", "comparisons", "prompts", "decisions", "scores", "features")
    other = replace(whole, **{field: shuffled(getattr(whole, field), seed) for field in fields})
    assert CHECKS[name](other).as_json() == CHECKS[name](whole).as_json()


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_changes_nothing_that_it_was_given(name: str):
    given, before = full(), full()
    CHECKS[name](given)
    for field in ("votes", "ratings", "comparisons", "prompts", "decisions"):
        pd.testing.assert_frame_equal(getattr(given, field), getattr(before, field))


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("given", [Columns.empty(), full()], ids=["empty", "full"])
def test_the_json_is_what_the_command_line_documents(name: str, given: Columns):
    printed = json.loads(json.dumps(CHECKS[name](given).as_json(), allow_nan=False))
    assert set(printed) == FIELDS
    assert printed["severity"] in SEVERITIES
    for found in printed["findings"]:
        assert set(found) == FOUND
        assert found["severity"] in SEVERITIES


@pytest.mark.parametrize("name", CHECKS)
def test_the_value_lies_in_its_interval(name: str):
    result = CHECKS[name](full())
    assert result.low <= result.value <= result.high <= 1
    assert result.severity != "ok"
    assert result.remedy


# Length bias


def test_length_bias_is_the_share_of_decided_votes_for_the_longer_answer():
    """Longer won: a(90>10), b(10<90); shorter: a(10<90); the others have none. 2 of 3."""
    rows = [("a", 90, 10), ("b", 10, 90), ("a", 10, 90)]
    rows += [("tie", 9, 1), ("skip", 9, 1), ("both_bad", 9, 1), ("a", 5, 5)]
    result = length_bias(columns(votes=votes(*rows)))
    assert (result.value, result.n) == (pytest.approx(2 / 3), 3)


def test_an_empty_answer_has_a_length_like_any_other():
    result = length_bias(columns(votes=votes(("a", 5, 0), ("b", 5, 0))))
    assert (result.value, result.n) == (0.5, 2)


@pytest.mark.parametrize(
    ("longer", "shorter", "severity"),
    [
        (9, 0, "ok"),  # fewer than ten say nothing
        (50, 50, "ok"),
        (58, 42, "ok"),  # 0.58 is below the threshold
        (12, 8, "ok"),  # 0.60, but the interval reaches down to 0.39
        (620, 380, "warn"),  # 0.62, from 0.59
        (80, 20, "warn"),  # 0.80, from 0.71
        (190, 10, "stop"),  # 0.95, from 0.91
        (10, 190, "warn"),  # shorter wins: a shortcut too
    ],
)
def test_when_length_bias_speaks_up(longer: int, shorter: int, severity: str):
    rows = [("a", 90, 10)] * longer + [("b", 90, 10)] * shorter
    result = length_bias(columns(votes=votes(*rows)))
    assert result.severity == severity
    assert bool(result.remedy) == (severity != "ok")


def test_the_message_is_plain_and_has_the_figure_and_its_interval():
    rows = [("a", 90, 10)] * 190 + [("b", 90, 10)] * 10
    assert length_bias(columns(votes=votes(*rows))).message == (
        "The longer answer won 95.0 % of 200 decided votes (95 % interval 91.0 to 97.3 %): "
        "a model trained on them learns that longer is better."
    )


def test_a_labeler_or_source_with_twenty_decided_votes_is_told_apart():
    """Ann: 20 of 20 for the longer one; Bob: 10 of 20; Cy has only 19."""
    ann = votes(*[("a", 90, 10)] * 20, labeler="ann", source="screen")
    bob = votes(*[("a", 90, 10)] * 10, *[("b", 90, 10)] * 10, labeler="bob", source="import:x")
    cy = votes(*[("a", 90, 10)] * 19, labeler="cy", source="import:x")
    result = length_bias(columns(votes=pd.concat([ann, bob, cy])))
    shown = {f.subject: (f.value, f.n, f.severity) for f in result.findings}
    assert shown == {
        "labeler ann": (1.0, 20, "stop"),
        "labeler bob": (0.5, 20, "ok"),
        "source import:x": (29 / 39, 39, "warn"),
        "source screen": (1.0, 20, "stop"),
    }
    assert result.findings[0].message.startswith("labeler ann: The longer answer won 100.0 % of 20")


# Duplicates


def prompts_of(given: Columns) -> CheckResult:
    return CHECKS["duplicate_prompts"](given)


def test_a_prompt_that_comes_again_is_flagged_and_the_earlier_item_named():
    result = prompts_of(
        columns(items=[("c1", "p1", "import:x"), ("c2", "p2", "import:x"), ("c3", "p1", "api")])
    )
    assert (result.value, result.n, result.items) == (pytest.approx(1 / 3), 3, ("c3",))
    assert result.severity == "warn"
    (found,) = result.findings
    assert (found.subject, found.items) == ("c1", ("c3",))
    assert "1 with exactly this prompt, 0 with nearly this one" in found.message


def test_a_nearly_same_prompt_is_flagged_too():
    result = prompts_of(
        columns(items=[("c1", "p1", "x"), ("c2", "p2", "x")], clusters={"p2": "p1"})
    )
    assert result.items == ("c2",)
    assert (
        "0 with exactly this prompt, 1 with nearly this one (a similarity of 0.75 or more)"
        in result.findings[0].message
    )


def test_what_one_batch_made_from_one_prompt_is_meant_and_another_batch_is_not():
    batch = [("c1", "p1", "generated:1"), ("c2", "p1", "generated:1")]
    assert prompts_of(columns(items=batch)).items == ()
    assert prompts_of(columns(items=[*batch, ("c3", "p1", "generated:2")])).items == ("c3",)


def test_comparisons_of_one_ranking_are_meant_and_another_pair_of_answers_is_not():
    """Answers 1 to 4 of one import, each with the next; c4 has two others, c5 another source."""
    rows = [("c1", "1", "2", "x"), ("c2", "2", "3", "x"), ("c3", "3", "4", "x"),
            ("c4", "8", "9", "x"), ("c5", "1", "3", "y")]  # fmt: skip
    given = columns(items=[(c, "p1", f"import:{source}") for c, _, _, source in rows])
    pairs = given.comparisons.assign(a=[a for _, a, *_ in rows], b=[b for _, _, b, _ in rows])
    assert prompts_of(replace(given, comparisons=pairs)).items == ("c4", "c5")


def test_a_tournament_of_many_answers_to_one_prompt_is_no_ranking():
    """Each with each other: 36 comparisons of nine answers, 45 of ten."""

    def repeats(answers: int) -> int:
        couples = list(combinations(map(str, range(answers)), 2))
        given = columns(items=[(f"c{n}", "p1", "import:x") for n in range(len(couples))])
        pairs = given.comparisons.assign(a=[a for a, _ in couples], b=[b for _, b in couples])
        return len(prompts_of(replace(given, comparisons=pairs)).items)

    assert (repeats(9), repeats(10)) == (0, 44)


def test_duels_ask_the_same_prompts_on_purpose_and_may_tie_on_the_same_answer():
    items = [("c1", "p1", "x"), ("d1", "p1", "duel:r-1:base"), ("d2", "p1", "duel:r-2:base")]
    given = columns(items=items, similarity={"d1": 1.0})
    assert (prompts_of(given).n, prompts_of(given).items) == (1, ())
    assert CHECKS["duplicate_responses"](given).items == ()


def test_a_rated_answer_is_an_item_unless_it_stands_in_a_comparison():
    given = columns(
        items=[("c1", "p1", "generated:1")],
        rated=[("c1.a", "p1", "generated:1"), ("r9", "p1", "import:x"), ("r9", "p1", "import:x")],
    )
    result = prompts_of(given)
    assert (result.n, result.items) == (2, ("r9",))


def test_ratings_alone_are_items_too():
    result = prompts_of(columns(rated=[("r1", "p1", "import:x"), ("r2", "p1", "import:x")]))
    assert (result.n, result.items) == (2, ("r2",))


def test_a_rated_answer_of_the_same_batch_is_meant():
    """With three answers to a prompt the third stands in no comparison; rating it is no repeat."""
    given = columns(items=[("c1", "p1", "generated:1")], rated=[("r3", "p1", "generated")])
    assert (prompts_of(given).n, prompts_of(given).items) == (2, ())


def test_a_clean_set_is_ok():
    result = prompts_of(columns(items=[("c1", "p1", "x"), ("c2", "p2", "x")]))
    assert (result.value, result.severity, result.remedy) == (0.0, "ok", "")


@pytest.mark.parametrize(
    ("decision", "flagged", "n", "severity"),
    [("keep", (), 2, "ok"), ("link", ("c2",), 2, "ok"), ("skip", (), 1, "ok")],
)
@pytest.mark.parametrize("item", ["p2", "c2"])
def test_a_decision_settles_a_repeated_prompt(item, decision, flagged, n, severity):
    given = columns(
        items=[("c1", "p1", "x"), ("c2", "p2", "x")],
        clusters={"p2": "p1"},
        decisions=[("prompt", item, "keep"), ("prompt", item, decision)],  # the latest counts
    )
    result = prompts_of(given)
    assert (result.items, result.n, result.severity) == (flagged, n, severity)


def test_two_nearly_identical_answers_are_flagged():
    given = columns(
        items=[("c1", "p1", "x"), ("c2", "p2", "x"), ("c3", "p3", "x")],
        similarity={"c2": 0.85, "c3": 1.0},
    )
    result = CHECKS["duplicate_responses"](given)
    assert (result.value, result.items) == (pytest.approx(2 / 3), ("c2", "c3"))
    assert result.severity == "warn"
    assert [(f.subject, f.value) for f in result.findings] == [("c3", 1.0), ("c2", 0.85)]
    assert "the same but for case" in result.findings[0].message
    assert "similarity 0.85; from 0.8 on they count as one" in result.findings[1].message


@pytest.mark.parametrize(
    ("name", "threshold"), [("duplicate_prompts", 0.75), ("duplicate_responses", 0.8)]
)
def test_what_counts_as_a_repeat_is_said_with_its_threshold(name: str, threshold: float):
    """Where there is one and where there is none; a threshold that is asked for is the one said."""
    items = [("c1", "p1", "x"), ("c2", "p2", "x")]
    for similarity, clusters in (({"c2": 0.9}, {"p2": "p1"}), ({}, {})):
        result = CHECKS[name](columns(items=items, clusters=clusters, similarity=similarity))
        assert bool(result.items) == bool(clusters)
        assert f"or a similarity of {threshold:g} or more of 1." in result.message
    asked = duplicate_responses(columns(items=items, similarity={"c2": 0.65}), similar=0.6)
    assert asked.items == ("c2",)
    assert "a similarity of 0.6 or more" in asked.message


@pytest.mark.parametrize(
    ("decision", "flagged", "n"), [("keep", (), 2), ("link", ("c2",), 2), ("skip", (), 1)]
)
def test_a_decision_settles_two_identical_answers(decision, flagged, n):
    given = columns(
        items=[("c1", "p1", "x"), ("c2", "p2", "x")],
        similarity={"c2": 1.0},
        decisions=[("response", "c2", decision)],
    )
    result = CHECKS["duplicate_responses"](given)
    assert (result.items, result.n, result.severity) == (flagged, n, "ok")
