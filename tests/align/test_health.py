"""Each concern both ways: it is raised with its figure and remedy, and it stays silent."""

from __future__ import annotations

import math
from typing import Any

import pytest

from align import recipes
from align.health import CONCERNS, Course, concerns_of

LN_2 = math.log(2)
SETTINGS = recipes.defaults("dpo") | {"epochs": 2, "learning_rate": 2e-4}


def step_row(step: int, loss: float, margin: float = 0.0, norm: float = 1.0) -> dict[str, Any]:
    return {"step": step, "loss": loss, "margin": margin, "grad_norm": norm}


def judged(step: int, loss: float = 0.5, **figures: Any) -> dict[str, Any]:
    """A judgement of a healthy run: 40 pairs, more right than wrong, answers much as before."""
    usual = {
        "step": step, "eval_loss": loss, "eval_pairs": 40, "eval_accuracy": 0.7 if step else 0.5,
        "eval_margin": 0.1 * step, "eval_chosen_drift": -0.01 * step, "probe_prompts": 8,
        "probe_length": 50.0 - step, "probe_repeating": 0.0, "probe_unfinished": 0.25,
        "eval_kl": 0.01 * step,
    }  # fmt: skip
    return {**usual, **figures}


START = {"step": 0, "loss": LN_2, "margin": 0.0, "expected_loss": LN_2}
HEALTHY = [
    START,
    judged(0, LN_2),
    *[step_row(s, LN_2 - 0.02 * s, 0.1 * s) for s in range(1, 11)],
    judged(4, 0.62),
    judged(8, 0.56),
    judged(10, 0.54),
]


def found(rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """Return concern's name → concern."""
    return {c.name: c for c in concerns_of(Course.of(rows, SETTINGS | settings))}


def last(**figures: Any) -> list[dict[str, Any]]:
    """Return the healthy run with other figures in its last judgement."""
    return [*HEALTHY[:-1], HEALTHY[-1] | figures]


def test_a_healthy_run_raises_nothing() -> None:
    assert found(HEALTHY) == {}


@pytest.mark.parametrize("rows", [[], [START], [START, judged(0)], [START, step_row(1, LN_2)]])
def test_a_run_that_has_hardly_begun_raises_nothing(rows: list[dict[str, Any]]) -> None:
    assert found(rows) == {}


@pytest.mark.parametrize("name", ["eval_loss", "eval_kl"])
def test_a_figure_that_is_no_number(name: str) -> None:
    concern = found(last(**{name: math.nan}))["not_a_number"]
    assert concern.what == f"{name} is nan at step 10: the weights are spoiled."
    assert "it is 0.0002; try 5e-05" in concern.remedy


def test_accuracy_surely_below_chance() -> None:
    """Wilson's upper end of 12 in 40 is 0.45; of 16 in 40 it is 0.55, which may be chance."""
    concern = found(last(eval_accuracy=0.3))["below_chance"]
    assert "30 % on 40 pairs (95 % interval up to 45 %)" in concern.what
    assert "swapped" in concern.remedy
    assert "below_chance" not in found(last(eval_accuracy=0.4))
    assert "below_chance" not in found(last(eval_accuracy=0.0, eval_pairs=7))


def test_held_out_loss_that_rises_while_the_margin_grows() -> None:
    """Lowest 0.56 at step 8; 1.05 · 0.56 = 0.588 is the mark."""
    concern = found(last(eval_loss=0.6))["overfitted"]
    assert "rose from 0.560 at step 8 to 0.600 at step 10 while the margin grew" in concern.what
    assert concern.remedy.startswith("Train again with fewer epochs, early_stop=2 or IPO")
    assert "overfitted" not in found(last(eval_loss=0.58))
    assert "overfitted" not in found(last(eval_loss=0.6, eval_pairs=7))
    assert "epochs" not in found(last(eval_loss=0.6), epochs=1, early_stop=3)["overfitted"].remedy


def test_a_rising_loss_with_a_shrinking_margin_is_no_overfitting() -> None:
    rows = [*HEALTHY[:-1], step_row(11, 0.7, 0.05), judged(11, 0.9, eval_margin=0.1)]
    assert "overfitted" not in found(rows)


def test_a_held_out_loss_that_never_fell() -> None:
    rows = [START, judged(0, 0.69), judged(4, 0.70), judged(8, 0.70), judged(10, 0.71)]
    assert "never fell below its start (0.690; at best 0.700 since)" in found(rows)["no_gain"].what
    assert "no_gain" not in found([*rows[:-1], judged(10, 0.68)])
    swapped = [*rows[:-1], judged(10, 0.71, eval_accuracy=0.1)]
    assert set(found(swapped)) == {"below_chance"}  # one cause, told once


def test_chosen_answers_that_sank_deep() -> None:
    concern = found(last(eval_chosen_drift=-0.62))["displaced"]
    assert "lost 0.62 nats per token" in concern.what
    assert concern.remedy == (
        "Train again with an SFT term (sft_weight=0.5) or a larger β (it is 0.1; try 0.3)."
    )
    assert "displaced" not in found(last(eval_chosen_drift=-0.4))


def test_a_remedy_names_only_what_the_method_has() -> None:
    rows = last(eval_chosen_drift=-0.62)
    course = Course.of(rows, recipes.defaults("orpo"))
    (concern,) = [c for c in concerns_of(course) if c.name == "displaced"]
    assert concern.remedy == "Train again with fewer epochs."


def test_more_answers_that_repeat_or_do_not_end() -> None:
    """Of eight answers two more; one more may be chance."""
    concern = found(last(probe_repeating=0.25))["repeating"]
    assert concern.what == "25 % of 8 answers repeat themselves, 0 % before training."
    assert "repeating" not in found(last(probe_repeating=0.125))
    concern = found(last(probe_unfinished=0.5))["endless"]
    assert "50 % of 8 answers do not come to an end, 25 % before training." in concern.what
    assert "endless" not in found(last(probe_unfinished=0.375))


def test_answers_of_the_report_count_instead_of_the_probes() -> None:
    """Of 32 answers 13 % repeat against 3 %; the probe saw none."""
    report = {
        "length": {"prompts": 32, "before": 80.0, "after": 70.0},
        "repeating": {"before": 0.03, "after": 0.14},
        "unfinished": {"before": 0.1, "after": 0.0},
    }
    course = Course.of(HEALTHY, SETTINGS, report)
    assert [c.what for c in concerns_of(course)] == [
        "14 % of 32 answers repeat themselves, 3 % before training."
    ]
    empty = {name: dict.fromkeys(part) for name, part in report.items()}
    assert concerns_of(Course.of(HEALTHY, SETTINGS, empty)) == []


def test_kl_far_from_the_reference() -> None:
    assert "KL to the reference is 0.80 nats" in found(last(eval_kl=0.8))["far_away"].what
    assert "far_away" not in found(last(eval_kl=0.3))
    assert "far_away" not in found(last(eval_kl=-0.1))


def test_answers_half_as_long_or_half_as_long_again() -> None:
    """50 tokens before training."""
    assert "25 tokens on average, 50 before" in found(last(probe_length=25.0))["length_drift"].what
    assert "length_drift" in found(last(probe_length=75.0))
    assert "length_drift" not in found(last(probe_length=26.0))
    assert "length_drift" not in found(last(probe_length=74.0))


def test_a_loss_that_stands_still() -> None:
    """ln 2 = 0.693; a hundredth of it is 0.007."""
    flat = [START, *[step_row(s, LN_2 - 0.001) for s in range(1, 11)]]
    concern = found(flat)["stuck"]
    assert "still stands at 0.692" in concern.what
    assert "it is 0.0002; try 0.0008" in concern.remedy
    assert "stuck" not in found([START, *[step_row(s, LN_2 - 0.01) for s in range(1, 11)]])
    assert "stuck" not in found(flat[:-1])
    dead = [START, *[step_row(s, LN_2, norm=0.0) for s in range(1, 11)]]
    assert "its gradient is 0" in found(dead)["stuck"].what


def test_without_a_known_start_no_loss_is_called_stuck() -> None:
    """A loss without a reference has no value that it must have before anything is learned."""
    start = {**START, "expected_loss": None}
    assert found([start, *[step_row(s, LN_2) for s in range(1, 11)]]) == {}


def test_a_run_without_held_out_pairs_is_judged_by_its_answers() -> None:
    rows = [START, *[step_row(s, 0.6) for s in range(1, 11)]]
    for step, share in ((0, 0.0), (10, 0.5)):
        row = judged(step, probe_repeating=share)
        rows.append({k: v for k, v in row.items() if not k.startswith("eval")})
    assert set(found(rows)) == {"repeating"}


def test_every_concern_is_a_name_a_figure_and_a_remedy() -> None:
    """One bad run in every respect that go together; the worst comes first."""
    rows = last(eval_chosen_drift=-2.0, probe_repeating=1.0, eval_kl=3.0, eval_loss=2.0)
    concerns = concerns_of(Course.of(rows, SETTINGS))
    order = [rule.__name__ for rule in CONCERNS]
    names = [c.name for c in concerns]
    assert names == sorted(names, key=order.index)
    for concern in concerns:
        assert set(concern.as_json()) == {"name", "what", "remedy"}
        assert any(sign.isdigit() for sign in concern.what)
        assert concern.remedy.endswith(".")
