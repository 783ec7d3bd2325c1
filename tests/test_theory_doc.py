"""docs/theory.md: its tables and plots are those of benchmarks/results/theory-*.json."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks import theory
from benchmarks.evidence.overfitting import closed_form

PAGE = theory.PAGE.read_text("utf-8")
LARGEST = 100_000  # bytes of a plot


@pytest.mark.parametrize("name", theory.EXPERIMENTS)
def test_the_tables_on_the_page_are_those_of_the_results(name: str) -> None:
    table = theory.EXPERIMENTS[name].table(theory.read(name))
    assert theory.with_table(PAGE, name, table) == PAGE
    assert table in PAGE


@pytest.mark.parametrize("name", theory.EXPERIMENTS)
def test_the_plots_are_drawn_from_the_results_and_shown_on_the_page(
    name: str, tmp_path: Path
) -> None:
    kept = theory.ROOT / "docs" / f"theory-{name}.svg"
    theory.EXPERIMENTS[name].plot(theory.read(name), tmp_path / "again.svg")
    assert paths(tmp_path / "again.svg") == paths(kept)
    assert f"({kept.name})" in PAGE
    assert kept.stat().st_size < LARGEST


def paths(picture: Path) -> list[str | None]:
    """Return every line and mark that an SVG draws, to a tenth of a point."""
    tree = xml.etree.ElementTree.parse(picture)
    drawn = [e.get("d") for e in tree.iter() if e.tag.endswith("}path")]
    return [re.sub(r"\d+\.\d+", lambda n: f"{float(n.group()):.1f}", d or "") for d in drawn]


def test_a_page_without_marks_for_an_experiment_is_refused() -> None:
    with pytest.raises(ValueError, match="no marks for frontier"):
        theory.with_table("nothing here", "frontier", "| a |")


def test_every_result_says_what_it_ran_on() -> None:
    for name in theory.EXPERIMENTS:
        found = theory.read(name)
        assert {"cores", "memory_gb", "cpu", "torch"} <= set(found["machine"])
        assert found["command"] == f"python benchmarks/theory.py --only {name}"


def test_reward_rises_with_kl_and_a_smaller_beta_ends_further_out() -> None:
    """What the page says of the frontier."""
    betas = theory.read("frontier")["betas"]
    points = sorted(
        (look["kl"]["mean"], look["reward"]["mean"]) for b in betas.values() for look in b
    )
    assert len(points) == 9
    assert points == sorted(points, key=lambda point: point[1])
    ends = [betas[beta][-1]["kl"] for beta in sorted(betas, key=float)]
    assert [end["mean"] for end in ends] == sorted((end["mean"] for end in ends), reverse=True)
    assert ends[0]["low"] < ends[1]["high"]  # 0.05 and 0.1 cannot be told apart
    assert ends[1]["low"] > ends[2]["high"]


def test_ipo_rests_at_its_target_and_dpo_does_not_rest() -> None:
    """What the page says of IPO against DPO."""
    found = theory.read("overfitting")
    for beta in (0.1, 1.0):
        assert found["bandit"][f"ipo {beta}"][-1][1:] == pytest.approx(closed_form(beta), abs=2e-3)
        assert found["bandit"][f"dpo {beta}"][-1][1] > 0.999
    dpo, ipo, shorter = (found["model"][name] for name in ("dpo 0.1", "ipo 0.1", "ipo 0.5"))
    assert fmean(ipo["margins"][-20:]) == pytest.approx(5, rel=0.1)
    assert fmean(shorter["margins"][-20:]) == pytest.approx(1, rel=0.1)
    assert fmean(dpo["margins"][-5:]) > 20 * fmean(ipo["margins"][-5:])
    assert fmean(dpo["margins"][-5:]) > fmean(dpo["margins"][-10:-5])
    for one in (ipo, shorter):  # their own answers are as before
        assert one["kl"]["low"] < 0 < one["kl"]["high"]
        assert one["reward"]["high"] < dpo["reward"]["low"]


def test_kto_is_level_with_dpo_and_the_balancing_weights_do_not_help() -> None:
    """What the page says of KTO from single thumbs."""
    lessons = theory.read("unpaired")["lessons"]
    dpo, kto, balanced, even = (lessons[name]["looks"][-1] for name in lessons)
    for name in ("accuracy", "kl", "reward"):
        assert dpo[name]["low"] < kto[name]["mean"] < dpo[name]["high"]
    assert balanced["accuracy"]["mean"] == pytest.approx(0.8, abs=0.02)
    assert balanced["accuracy"]["low"] > 0.5
    assert even["accuracy"]["mean"] == pytest.approx(kto["accuracy"]["mean"], abs=0.01)
    assert balanced["reward"]["high"] < even["reward"]["low"]
    assert 2 * balanced["kl"]["mean"] < even["kl"]["mean"]


def test_taking_length_out_of_the_reward_does_not_help_where_votes_are_about_length() -> None:
    """What the page says of length."""
    methods = theory.read("length")["methods"]
    before, dpo, ipo = (methods[name]["greedy_tokens"] for name in ("before", "dpo", "ipo"))
    assert before["mean"] < dpo["mean"]
    assert dpo["low"] < ipo["mean"] < dpo["high"]
    for name in ("dpo_norm", "ld"):
        one = methods[name]
        assert one["greedy_tokens"]["low"] > before["high"]
        assert one["greedy_tokens"]["mean"] > dpo["mean"]
        assert one["greedy_finished"] == pytest.approx(0.5, abs=0.1)
        assert one["sampled"]["kl"]["mean"] > 4 * methods["dpo"]["sampled"]["kl"]["mean"]


def test_chosen_responses_fall_more_seldom_with_the_sft_term() -> None:
    """What the page says of displacement."""
    found = theory.read("displacement")
    alone, held = (found["weights"][weight] for weight in ("0.0", "1.0"))
    for looks in (alone, held):
        assert looks[-1]["train"]["chosen"]["low"] > 0
        assert looks[-1]["held_out"]["chosen"]["mean"] > 0
    assert alone[-1]["train"]["chosen_fell"] == pytest.approx(0.22, abs=0.005)
    assert held[-1]["train"]["chosen_fell"] == pytest.approx(0.12, abs=0.006)
    assert alone[-1]["train"]["chosen_fell"] > alone[-2]["train"]["chosen_fell"]
    assert alone[-1]["train"]["margin"]["mean"] > alone[-2]["train"]["margin"]["mean"]
    assert held[-1]["train"]["chosen"]["mean"] > alone[-1]["train"]["chosen"]["mean"]
    likelier = {}
    for weight, looks in found["alike"].items():
        yes = [look["Yes"] for look in looks]
        assert looks[-1]["No"] > -0.1
        likelier[weight] = [value for value in yes[1:] if value > yes[0]]
    assert len(likelier["0.0"]) == 12
    assert len(likelier["1.0"]) == 3
    assert max(likelier["0.0"]) == pytest.approx(-2.3, abs=0.05)
    assert max(likelier["1.0"]) == pytest.approx(-3.4, abs=0.05)
