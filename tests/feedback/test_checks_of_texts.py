"""The checks of what the texts say, on planted cases; how much length is worth."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from feedback.checks import CHECKS, Columns
from feedback.checks.length_bias import slopes
from feedback.checks.result import Example
from feedback.checks.style import Tally, discoveries, wilson_at
from feedback.echoes import is_echo
from feedback.intervals import wilson
from storage.records import digest
from tests.feedback.said import features_of
from tests.feedback.test_checks import START

Pair = tuple[str, str, str]  # text of a, text of b, verdict


def given(*pairs: Pair, prompt: str = "What is it?", **more: list) -> Columns:
    """Return columns of one comparison and one vote for each pair."""
    n = len(pairs)
    names = [f"c{k:04}" for k in range(n)]
    texts = {side: [digest(pair[place]) for pair in pairs] for side, place in (("a", 0), ("b", 1))}
    made = {
        "model_a": ["small"] * n, "model_b": ["small"] * n, "adapter_a": [""] * n,
        "adapter_b": [""] * n, "finished_a": [None] * n, "finished_b": [None] * n,
        "echo_a": [is_echo(a, prompt) for a, _, _ in pairs],
        "echo_b": [is_echo(b, prompt) for _, b, _ in pairs],
    }  # fmt: skip
    shared = {
        "comparison": names,
        "prompt": ["p"] * n,
        "text_a": texts["a"],
        "text_b": texts["b"],
        "chars_a": [len(pair[0]) for pair in pairs],
        "chars_b": [len(pair[1]) for pair in pairs],
        "source": ["x"] * n,
        "created_at": [START + timedelta(days=k) for k in range(n)],
    }
    sides = {"a": [f"r{k:04}a" for k in range(n)], "b": [f"r{k:04}b" for k in range(n)]}
    votes = {**shared, "verdict": [pair[2] for pair in pairs], "labeler": ["ann"] * n}
    return replace(
        Columns.empty(),
        votes=pd.DataFrame(votes),
        comparisons=pd.DataFrame({**shared, **sides, **made, **more}),
        prompts=pd.DataFrame({"prompt": ["p"], "text": [digest(prompt)], "cluster": ["p"]}),
        features=features_of(sorted({prompt, *(text for pair in pairs for text in pair[:2])})),
    )


def scores(**per_token: float) -> pd.DataFrame:
    """Return scores by the model "small": ten tokens each."""
    rows = [(response, "small", "", 10 * value, 10) for response, value in per_token.items()]
    return pd.DataFrame(rows, columns=["response", "model", "adapter", "logprob", "tokens"])


# Style

BOLD, PLAIN = ("It is **blue**.", "It is blue.")


def test_bold_that_wins_four_of_five_is_found_with_its_odds():
    """80 of 100: odds 80/20 = 4; Wilson 0.711 to 0.867, so 2.46 to 6.50. Twenty are plain twice."""
    won = [(BOLD, PLAIN, "a"), (PLAIN, BOLD, "b")] * 40
    lost = [(BOLD, PLAIN, "b"), (PLAIN, BOLD, "a")] * 10
    result = CHECKS["style"](given(*won, *lost, *[(PLAIN, PLAIN, "a")] * 20))
    (found,) = result.findings
    assert (found.subject, found.value, found.n, found.severity) == ("bold", 0.8, 100, "warn")
    assert "odds ratio 4.00 (95 % interval 2.46 to 6.50)" in found.message
    assert (result.value, result.n, result.severity) == (0.8, 100, "warn")
    assert len(found.items) == 80
    assert found.items[0] == "c0000"
    assert found.remedy


def test_a_finding_names_every_comparison_that_it_counts():
    """Of 300 votes 250 went to the bold answer: a remedy must reach all 250."""
    result = CHECKS["style"](given(*[(BOLD, PLAIN, "a")] * 250, *[(BOLD, PLAIN, "b")] * 50))
    assert result.findings[0].items == tuple(f"c{n:04}" for n in range(250))


def test_the_example_is_the_answer_with_the_most_of_a_mark_that_won():
    """The boldest of all lost; of those that won, c0001's b is the boldest."""
    two, three = "**One** or **two**.", "**One**, **two**, **three**."
    pairs = [(BOLD, PLAIN, "a"), (PLAIN, two, "b"), (three, PLAIN, "b")] + [(BOLD, PLAIN, "a")] * 50
    result = CHECKS["style"](given(*pairs))
    assert result.example == result.findings[0].example == Example(digest(two), "bold")
    even = [(BOLD, PLAIN, "b")] * 50 + [(BOLD, PLAIN, "a")] * 50
    assert CHECKS["style"](given(*even)).example is None


def test_what_loses_is_found_too():
    result = CHECKS["style"](given(*[(BOLD, PLAIN, "b")] * 40, *[(BOLD, PLAIN, "a")] * 10))
    assert (result.findings[0].subject, result.value, result.severity) == ("no bold", 0.2, "warn")


def test_a_form_that_wins_as_often_as_it_loses_is_no_finding():
    result = CHECKS["style"](given(*[(BOLD, PLAIN, "b")] * 50, *[(BOLD, PLAIN, "a")] * 50))
    assert (result.value, result.severity, result.findings) == (0.5, "ok", ())


def test_votes_on_one_comparison_count_as_what_they_are_worth():
    """Forty votes on two comparisons that all agree are worth two votes: nothing is found."""
    one = given((BOLD, PLAIN, "a"), (BOLD, PLAIN, "a"))
    many = replace(one, votes=pd.concat([one.votes] * 20, ignore_index=True))
    result = CHECKS["style"](many)
    assert (result.value, result.n, result.severity) == (1.0, 40, "ok")


def test_discoveries_follow_benjamini_and_hochberg():
    """Of p = 0.001, 0.02, 0.03, 0.5 at 5 %: limits 0.0125, 0.025, 0.0375, 0.05; three pass. Their
    intervals have level 1 - 3 * 0.05 / 4 = 0.9625, z = 2.0805."""
    tallies = [Tally(str(p), 60, 100, 1.0, p) for p in (0.5, 0.03, 0.001, 0.02)]
    told = discoveries(tallies)
    assert [one.p for one, _ in told] == [0.001, 0.02, 0.03]
    assert told[0][1] == pytest.approx(2.0805, abs=1e-3)
    assert discoveries([Tally("few", 19, 19, 1.0, 1e-9)]) == []


def test_the_interval_at_the_usual_quantile_is_wilsons():
    assert wilson_at(3, 10, 1.959963984540054) == pytest.approx(wilson(3, 10))


# Identity and personal data

LEAK = "I am ChatGPT, a model of OpenAI."


def test_an_answer_that_names_its_maker_is_told_with_its_id():
    result = CHECKS["identity_leak"](given((LEAK, PLAIN, "a"), (BOLD, LEAK, "a")))
    assert (result.value, result.n, result.severity) == (pytest.approx(1 / 3), 3, "warn")
    assert result.items == ("r0000a", "r0001b")
    assert [(one.subject, one.items) for one in result.findings] == [("OpenAI", result.items)]


def test_a_name_that_the_prompt_asked_about_is_no_leak():
    result = CHECKS["identity_leak"](given((LEAK, PLAIN, "a"), prompt="Pretend to be ChatGPT."))
    assert (result.value, result.severity, result.items) == (0.0, "ok", ())


def test_personal_data_is_told_by_kind_in_prompts_and_answers():
    columns = given(
        ("Call +49 30 1234567.", PLAIN, "a"), prompt="I am ada@lovelace.org, who are you?"
    )
    result = CHECKS["personal_data"](columns)
    assert (result.value, result.n) == (pytest.approx(2 / 3), 3)
    assert {one.subject: one.items for one in result.findings} == {
        "mail": ("p",),
        "phone": ("r0000a",),
    }


# Too easy

CUT = "It is the colour of the sky on a day when"


def test_a_pair_with_one_flawed_answer_teaches_little():
    """Of ten: one blank, one cut off, one copied, one broken; what both have is a choice."""
    copied = "what is IT that is over there?"
    flawed = [("", PLAIN, "b"), (CUT, PLAIN, "b"), (copied, PLAIN, "b"), ("a\ufffd", PLAIN, "b")]
    both = [(CUT, CUT + " the", "a"), (copied, copied.upper(), "a")]
    rest = [*both, *[(BOLD, PLAIN, "a")] * 4]
    result = CHECKS["too_easy"](given(*flawed, *rest, prompt="What is it that is over there?"))
    assert (result.value, result.n, result.severity) == (0.4, 10, "warn")
    told = {one.subject: one.items for one in result.findings}
    assert told == {
        "blank": ("c0000",),
        "cut off": ("c0001",),
        "copied": ("c0002",),
        "broken": ("c0003",),
        "reference margin": (),
    }


def test_what_the_model_reported_goes_before_how_a_text_ends():
    columns = given((CUT, PLAIN, "b"), (BOLD, PLAIN, "b"))
    columns = replace(columns, comparisons=columns.comparisons.assign(finished_a=[True, False]))
    assert CHECKS["too_easy"](columns).items == ("c0001",)


def test_without_scores_the_margin_is_unknown_and_scoring_is_offered():
    found = CHECKS["too_easy"](given((BOLD, PLAIN, "a"))).findings[-1]
    assert (found.subject, found.severity, found.value) == ("reference margin", "unknown", None)
    assert "app.py score" in found.remedy


def test_a_pair_on_which_the_reference_is_far_ahead_is_told():
    """Chosen minus rejected: -1 + 3 = 2 nats per token, above 1.5; and -3 + 1 = -2 is not."""
    columns = given((BOLD, PLAIN, "a"), (BOLD, PLAIN, "b"))
    columns = replace(columns, scores=scores(r0000a=-1.0, r0000b=-3.0, r0001a=-1.0, r0001b=-3.0))
    found = CHECKS["too_easy"](columns).findings[-1]
    assert (found.value, found.n, found.items) == (0.5, 2, ("c0000",))


# Distribution


def test_the_share_of_pairs_that_are_the_models_own():
    """Both answers are of "small" in six of ten; the others have one imported answer."""
    models = ["small"] * 6 + ["imported"] * 4
    result = CHECKS["distribution"](given(*[(BOLD, PLAIN, "a")] * 10, model_b=models))
    assert (result.value, result.n, result.severity) == (0.6, 10, "ok")
    assert "small" in result.message
    foreign = ["imported"] * 10
    columns = given(*[(BOLD, PLAIN, "a")] * 10, model_a=foreign, model_b=foreign)
    assert (CHECKS["distribution"](columns).value, CHECKS["distribution"](columns).severity) == (
        0.0,
        "warn",
    )


def test_the_age_of_answers_counts_rounds_and_days_from_the_newest():
    """Days 0 to 4; the base answered on four, its adapter r-1 on the last: median 2 days, 1 round,
    and 2 of 10 answers are the newest adapter's."""
    adapters = [""] * 4 + ["r-1"]
    columns = given(*[(BOLD, PLAIN, "a")] * 5, adapter_a=adapters, adapter_b=adapters)
    age = CHECKS["distribution"](columns).findings[0]
    assert (age.value, age.n, age.severity) == (0.2, 10, "warn")
    assert "1 rounds of training and 2.0 days old" in age.message


def test_the_gap_to_the_models_own_answers_is_in_nats_per_token():
    """Own answers (a) stand at -1, the chosen ones (b, imported) at -3: a gap of 2, no spread."""
    n = 20
    columns = given(*[(BOLD, PLAIN, "b")] * n, model_b=["imported"] * n)
    known = {f"r{k:04}a": -1.0 for k in range(n)} | {f"r{k:04}b": -3.0 for k in range(n)}
    found = CHECKS["distribution"](replace(columns, scores=scores(**known))).findings[1]
    assert (found.value, found.low, found.high, found.severity) == (2.0, 2.0, 2.0, "warn")
    unknown = CHECKS["distribution"](columns).findings[1]
    assert (unknown.severity, unknown.value) == ("unknown", None)
    assert "app.py score" in unknown.remedy


# What length is worth


def test_the_slope_solves_the_logistic_score_equation():
    """Three of four choose what is longer by a factor of e, and three of four by e^2: the fit by
    hand has sum(gain * (1 - P)) = 0; its error is one over the root of the information."""
    gains = np.array([1.0, 1.0, 1.0, -1.0, 2.0, 2.0, 2.0, -2.0])
    (fitted,) = slopes(gains, np.zeros(8, dtype=np.intp), 1)
    missed = 1 / (1 + np.exp(fitted.value * gains))
    assert (gains * missed).sum() == pytest.approx(0, abs=1e-7)
    information = (gains**2 * missed * (1 - missed)).sum()
    assert fitted.error == pytest.approx(1 / math.sqrt(information), abs=1e-8)


def test_one_way_votes_and_one_ratio_have_no_slope():
    """Group 0: all for the longer one. Group 1: one ratio alone. Group 2 has a slope."""
    gains = np.array([1.0, 2.0, 1.0, -1.0, 1.0, -2.0, 2.0])
    found = slopes(gains, np.array([0, 0, 1, 1, 2, 2, 2]), 3)
    assert [math.isnan(one.value) for one in found] == [True, True, False]


def test_a_planted_slope_is_found_within_its_interval():
    """2,000 votes with log odds of 0.8 per e-fold: 10 % more multiply the odds by 1.1^0.8.

    A vote brings about 0.16 of information (gain squared times P(1 - P)): an error of 0.056 of the
    slope, and an interval of the odds 2 * 1.96 * 0.056 * log(1.1) * 1.08 = 0.023 wide.
    """
    rng = np.random.default_rng(1)
    size = np.abs(rng.normal(0, 1, 2_000))
    longer = rng.random(2_000) < 1 / (1 + np.exp(-0.8 * size))
    (fitted,) = slopes(np.where(longer, size, -size), np.zeros(2_000, dtype=np.intp), 1)
    value, low, high = fitted.odds()
    assert low < 1.1**0.8 < high
    assert high - low == pytest.approx(0.023, abs=0.003)


def test_what_ten_percent_more_characters_are_worth_is_a_finding():
    pairs = [("x" * 40, "x" * 10, "a")] * 18 + [("x" * 20, "x" * 10, "a")] * 12
    pairs += [("x" * 40, "x" * 10, "b")] * 2 + [("x" * 20, "x" * 10, "b")] * 8
    found = CHECKS["length_bias"](given(*pairs)).findings
    assert [one.subject for one in found] == ["10 % more characters", "labeler ann", "source x"]
    assert found[0].low < found[0].value < found[0].high
    assert found[0].severity == "warn"
    assert "multiply the odds of winning by" in found[1].message
