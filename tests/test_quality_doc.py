"""docs/quality.md: its figures are those of benchmarks/results/."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "quality.md").read_text("utf-8")
PROSE = " ".join(PAGE.split())  # lines break anywhere
LABELERS = {
    "honest": "honest",
    "honest_with_a_lean_of_53_percent": "honest, leaning left (53 %)",
    "left": "always left",
    "left70": "left in 70 %",
    "fast": "too fast to have read",
    "length": "takes the longer answer",
    "random": "guesses",
    "noisy": "wrong in 40 %",
    "poison": "turns one vote in twenty around",
}


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", LABELERS)
def test_the_table_of_labelers_is_that_of_the_benchmark(name: str) -> None:
    found = read("detection")["evening_looked_at_after_every_vote"][name]
    shares = [f"{100 * one['share']:.1f} %" for one in found["found"]]
    votes = [str(found[f"votes_for_{share}_percent"] or "–") for share in (50, 90)]
    assert f"| {' | '.join([LABELERS[name], *shares, *votes])} |" in PAGE


def test_every_labeler_of_the_benchmark_is_on_the_page() -> None:
    assert set(read("detection")["evening_looked_at_after_every_vote"]) == set(LABELERS)


def test_gold_and_the_plain_test_are_those_of_the_benchmark() -> None:
    found = read("detection")
    gold, plain = found["random_by_gold_alone"], found["honest_by_a_binomial_test_at_1_percent"]
    told = f"{100 * gold['low']:.1f} to {100 * gold['high']:.1f} %"
    assert f"alone find {100 * gold['share']:.1f} % (95 % interval {told})" in PAGE
    assert f"names {100 * plain + 1e-9:.1f} % of the honest" in PAGE


def test_how_the_labelers_were_looked_at_is_as_the_benchmark_did() -> None:
    found = read("detection")
    assert f"{found['votes']} votes each" in PROSE
    assert f"all signals together sum to {100 * found['alpha']:.0f} %" in PROSE


def test_the_power_of_the_style_check_is_that_of_the_benchmark() -> None:
    found = read("style_power")
    shares = [
        f"{100 * found[name]['found']['share']:.1f} %"
        for name in ("planted", "planted_half", "planted_200_half")
    ]
    planted, few, many = (found[name] for name in ("planted", "planted_half", "planted_200_half"))
    assert (
        f"multiplies the odds of winning by {planted['odds_ratio']:.0f}. With {planted['pairs']} "
        f"pairs that all differ in it, it is found in {shares[0]} of {planted['simulations']} "
        f"simulations; where only half of {few['pairs']} pairs differ in it, in {shares[1]}; with "
        f"{many['pairs']} such pairs in {shares[2]}."
    ) in PROSE


def test_the_figures_of_the_real_votes_are_those_of_the_benchmark() -> None:
    found = read("llmfao")
    checks, (first, second, *_) = found["checks"], found["models"]
    longer, left = checks["length_bias"], checks["position_bias"]
    assert (
        f"({found['import']['stored']:,} votes of {checks['labeler_quality']['n']} people on "
        f"{checks['duplicate_responses']['n']:,} comparisons"
    ) in PROSE
    assert f"longer answer won {longer['value']:.4f} of {longer['n']:,} decided votes" in PROSE
    assert f"the left side {left['value']:.4f} of {left['n']:,}" in PROSE
    (chance,) = re.findall(r"a probability of (\S+)\.$", left["message"])
    assert f"(probability {chance.replace('e-0', 'e-')} with fair sides" in PROSE
    assert f"alpha, nominal, {checks['agreement']['value']:.4f};" in PROSE
    assert f"puts {first['model']} first with {first['score']:.3f}" in PROSE
    assert f"against {second['score']:.3f} for the second" in PROSE


def test_the_figures_of_a_million_votes_are_those_of_the_benchmark() -> None:
    found = read("quality_scale")["sizes"]["1000000"]
    assert f"checks on {found['votes']:,} votes and {found['comparisons']:,} comparisons" in PROSE
    reading = found["seconds"].pop("gather")
    assert f"{reading:.1f} s to read the columns" in PAGE
    assert f"{sum(found['seconds'].values()):.1f} s to run the checks" in PAGE
    assert f"a peak of {found['peak_mb'] / 1000:.1f} GB" in PAGE
    assert f"keeps it: {found['first_gather_seconds']:.0f} s for all" in PAGE
    plot = (ROOT / "docs" / "quality-scale.svg").read_text("utf-8")
    assert "the first look at texts, once" in plot
    live = found["live"]
    assert f"take {live['median_ms']:.1f} ms a vote with a million votes" in PAGE
    assert f"95 %\nwithin {live['p95_ms']:.1f} ms" in PAGE


def test_others_beside_it_are_as_the_benchmark_found_them() -> None:
    found = read("aggregation")
    most = found["sizes"][-1]
    assert (
        f"{found['rounds']} rounds of Dawid–Skene over {most['votes']:,} votes take "
        f"{most['dawid_skene_seconds']:.1f} s, crowd-kit {found['crowdkit']} takes "
        f"{most['crowdkit_over_hone']:.1f} times as long"
    ) in PROSE
    same = f"{most['same_verdicts']:.1%}".replace("%", " %")
    assert f"gives the same verdict on {same} of the comparisons" in PROSE
    assert (
        f"pairwise agreement takes {most['agreement_seconds']:.2f} s, the same in pandas "
        f"{most['pandas_over_hone']:.1f} times as long"
    ) in PROSE


def test_what_balancing_does_is_what_the_benchmark_found() -> None:
    runs = read("remedy")["runs"]
    for name in ("before", "raw", "balanced"):
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| {name} |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        tokens = runs[name]["greedy_tokens"]
        assert cells[5] == f"{tokens['mean']:.1f} ({tokens['low']:.1f} to {tokens['high']:.1f})"
        if name != "before":
            assert cells[1] == str(runs[name]["train_pairs"])
            assert cells[2] == f"{runs[name]['chosen_longer']['value']:.0%}".replace("%", " %")
            assert cells[3] == f"{runs[name]['chosen_better']['mean']:.0%}".replace("%", " %")
            assert cells[4] == f"{runs[name]['true_accuracy']['mean']:.3f}"


def test_near_duplicates_are_found_as_the_benchmark_found_them() -> None:
    found = read("near_duplicates")
    names = {
        "respelled": "other case, blanks and punctuation",
        "one_word_in_twenty": "one word in twenty",
        "two_sentences_swapped": "two sentences swapped",
        "last_tenth_cut": "the last tenth cut off",
        "all": "all",
    }
    assert {key for key, one in found["planted"].items() if isinstance(one, dict)} == set(names)
    for key, words in names.items():
        one = found["planted"][key]
        assert f"| {words} | {one['recall']:.3f} | {one['precision']:.3f} |" in PAGE
        assert min(one["recall"], one["precision"]) >= 0.98
    scale = found["scale"]
    assert f"{found['texts']['n']} real texts" in PAGE
    assert scale["prompts"] == 1_000_000
    assert (
        f"A million prompts of {scale['characters']} characters, one in twenty of them a "
        f"near-duplicate, are clustered in {scale['seconds']:.0f} s at a peak of "
        f"{scale['peak_mb'] / 1000:.1f} GB"
    ) in PROSE
    assert f"one more takes {scale['one_more_ms']:.1f} ms" in PROSE
