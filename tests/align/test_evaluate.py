"""The report's numbers by hand, and greedy answers as the model itself gives them."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest
import torch

from align.batches import Cutter
from align.evaluate import (
    Answer,
    PairScore,
    answers_report,
    drift,
    greedy_answers,
    held_out,
    repeats_itself,
    score_pairs,
)
from align.losses import dpo
from align.policy import Policy
from align.reference import ReferenceScores, score
from align.rendering import PairRow
from tests.align.small import tiny_policy
from tests.align.test_policy import forks
from tests.browser.tiny import byte_tokenizer


@pytest.fixture(scope="module")
def adapted(tiny: Path) -> Policy:
    return tiny_policy(tiny, adapted=True)


def test_held_out_accuracies_count_ties_as_a_half() -> None:
    """Rewards: won, tied, lost, won: 2.5 of 4. Per token before: 1.5 of 4; after: 2 of 4."""
    scores = [
        PairScore(1.0, 1.0, 0.5, (-1.0, -2.0), (-1.0, -2.0)),
        PairScore(0.0, 0.0, 0.5, (-1.0, -1.0), (-2.0, -1.0)),
        PairScore(-0.5, -0.5, 0.5, (-3.0, -1.0), (-3.0, -1.0)),
        PairScore(0.1, 0.1, 0.5, (-3.0, -1.0), (-0.5, -1.0)),
    ]
    report = held_out(scores)
    assert report["pairs"] == 4
    assert report["reward_accuracy"] == 0.625
    assert report["logp_accuracy_before"] == 0.375
    assert report["logp_accuracy_after"] == 0.5


def test_drift_is_the_mean_change_per_token() -> None:
    scores = [
        PairScore(0.0, 0.0, 0.0, (-1.0, -2.0), (-1.5, -4.0)),
        PairScore(0.0, 0.0, 0.0, (-1.0, -1.0), (-1.1, -1.0)),
    ]
    assert drift(scores) == pytest.approx({"chosen": -0.3, "rejected": -1.0})
    assert drift([]) == {"chosen": None, "rejected": None}


def test_where_there_is_nothing_to_measure_the_report_says_null() -> None:
    report = held_out([])
    assert report.pop("pairs") == 0
    assert set(report.values()) == {None}
    empty = answers_report([], [])
    assert empty["length"] == {"prompts": 0, "before": None, "after": None}
    assert empty["repeating"] == empty["unfinished"] == {"before": None, "after": None}


def test_answers_are_summed_up() -> None:
    before = [Answer("a " * 30, 30, False), Answer("Short and good.", 4, True)]
    after = [Answer("Fine.", 3, True), Answer("Yes.", 2, True)]
    assert answers_report(before, after) == {
        "length": {"prompts": 2, "before": 17.0, "after": 2.5},
        "repeating": {"before": 0.5, "after": 0.0},
        "unfinished": {"before": 0.5, "after": 0.0},
    }


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("", False),
        ("no no no no", False),
        ("Use fresh eggs and cold water, and wait for ten minutes before you peel them.", False),
        ("Boil the eggs in a pot of water. " * 4, True),
        ("I am here to help you. " * 2 + "What would you like to know about the old town?", False),
    ],
)
def test_repetition_is_seen_and_a_refrain_forgiven(text: str, repeats: bool) -> None:
    assert repeats_itself(text) is repeats


def test_pair_scores_are_differences_of_summed_log_ratios(adapted: Policy) -> None:
    rows = [PairRow(str(i), "p", f.prompt, f.responses, 1.0, 1.0) for i, f in enumerate(forks(5))]
    micros = Cutter(budget=60).batch(rows).micros
    scores = ReferenceScores()
    score(adapted, micros, scores)
    found = score_pairs(adapted, micros, scores, partial(dpo, beta=0.5))
    assert len(found) == 5
    first = micros[0].block
    with torch.no_grad():
        now = adapted(first.to(adapted.device)).cpu()
    then = micros[0].reference(scores)
    ratio = (now - then).sum(-1)
    assert found[0].margin == pytest.approx((ratio[0] - ratio[1]).item(), abs=1e-5)
    assert found[0].reward_margin == pytest.approx(0.5 * found[0].margin, abs=1e-5)
    assert found[0].loss == pytest.approx(math.log1p(math.exp(-0.5 * found[0].margin)), abs=1e-5)
    lengths = first.mask().sum(-1)
    assert found[0].before[1] == pytest.approx((then[1].sum() / lengths[1]).item(), abs=1e-5)


def test_greedy_answers_do_not_depend_on_the_prompts_beside_them(adapted: Policy) -> None:
    tokenizer = byte_tokenizer()
    prompts = [tuple(tokenizer.encode(text)) for text in ("One", "A longer prompt", "Two?")]
    together = greedy_answers(adapted, tokenizer, prompts, stops={256}, max_tokens=12)
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = greedy_answers(adapted, tokenizer, [prompt], stops={256}, max_tokens=12)
        assert alone == answer
        assert answer.tokens <= 12
        assert answer.finished or answer.tokens == 12
    with adapted.reference():
        base = greedy_answers(adapted, tokenizer, prompts, stops={256}, max_tokens=12)
    assert base != together


def test_greedy_answers_can_be_stopped_between_two_tokens(adapted: Policy) -> None:
    class Stop(Exception):
        pass

    steps: list[int] = []

    def pause() -> None:
        steps.append(1)
        if len(steps) == 3:
            raise Stop

    with pytest.raises(Stop):
        greedy_answers(adapted, byte_tokenizer(), [(1, 2)], stops={256}, pause=pause)
    assert greedy_answers(adapted, byte_tokenizer(), [], stops={256}) == []
