"""Which method is advised when: one planted case per rule, and its neighbour that misses it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from align.advisor import RULES, Epoch, Facts, advise, can_be_checked
from align.losses import LOSSES
from align.recipes import from_json

PLAIN = Facts(pairs=300, labels=600, thumbs=0)
AFTER_A_RUN = Facts(
    300, 600, 0, last_method="kto", last_run="r-1", last_low=0.74, fresh=0.0, prompts=250
)
RAN_AWAY = (Epoch(0.81, 1.2), Epoch(0.70, 9.0))


@pytest.mark.parametrize(
    ("facts", "method", "figure"),
    [
        (PLAIN, "dpo", "300 pairs are enough"),
        (Facts(pairs=5, labels=10, thumbs=0), "dpo", "5 pairs are enough to try"),
        (Facts(pairs=80, labels=160, thumbs=0), "dpo", "from about 200 on"),
        (Facts(pairs=10, labels=500, thumbs=480), "kto", "500 labels"),
        (Facts(pairs=300, labels=600, thumbs=10), "dpo", "300 pairs"),
        (Facts(300, 600, 0, last_method="dpo", last_epochs=RAN_AWAY), "ipo", "81% to 70%"),
        (Facts(300, 600, 0, last_method="ipo", last_epochs=RAN_AWAY), "dpo", "300 pairs"),
        (Facts(300, 600, 0, last_method="dpo", last_epochs=RAN_AWAY[::-1]), "dpo", "300 pairs"),
        (Facts(300, 600, 0, longer_low=0.66), "dpo_norm", "at least 66%"),
        (Facts(300, 600, 0, longer_low=0.55), "dpo", "300 pairs"),
        (Facts(300, 600, 0, against=0.2, several=90), "dpo", "20% of 90 votes"),
        (Facts(300, 600, 0, against=0.2, several=9), "dpo", "300 pairs"),
        (Facts(300, 600, 0, stops=0.03, answers=60), "orpo", "Only 3% of 60 answers"),
        (Facts(5, 600, 0, stops=0.03, answers=60), "sft", "Only 3% of 60 answers"),
        (Facts(300, 600, 0, stops=0.4, answers=60), "dpo", "300 pairs"),
        (Facts(300, 600, 0, stops=0.03, answers=6), "dpo", "300 pairs"),
        (Facts(300, 600, 0, weights_gb=13.5, free_gb=12.0), "dpo", "13.5 GB in 16 bits, 12.0 GB"),
        (Facts(300, 600, 0, weights_gb=0.3, free_gb=12.0), "dpo", "300 pairs"),
        (Facts(300, 600, 0, weights_gb=13.5), "dpo", "300 pairs"),
        (AFTER_A_RUN, "kto", "at least 74% of the held-out votes, but 0% of the newest"),
        (replace(AFTER_A_RUN, last_low=0.45), "dpo", "300 pairs"),
        (replace(AFTER_A_RUN, fresh=0.5), "dpo", "300 pairs"),
        (replace(AFTER_A_RUN, prompts=50), "dpo", "300 pairs"),
        (Facts(300, 600, 0, prompts=40, checkable=0.6), "dpo", "60% of the prompts"),
        (Facts(300, 600, 0, prompts=40, checkable=0.3), "dpo", "300 pairs"),
        (Facts(300, 600, 0, prompts=4, checkable=1.0), "dpo", "300 pairs"),
    ],
)
def test_the_first_advice_has_the_method_and_its_figure(
    facts: Facts, method: str, figure: str
) -> None:
    first = advise(facts)[0]
    assert first.method == method
    assert figure in first.reason


def test_measured_noise_becomes_label_smoothing() -> None:
    first = advise(Facts(300, 600, 0, against=0.2, several=90))[0]
    assert first.settings == {"label_smoothing": 0.2}


def test_every_advice_can_be_taken() -> None:
    everything = Facts(
        30, 600, 500, longer_low=0.7, against=0.3, several=90, last_method="dpo",
        last_epochs=RAN_AWAY, last_run="r-1", last_low=0.6, fresh=0.0, prompts=250, checkable=0.7,
        stops=0.01, answers=90, weights_gb=14.0, free_gb=8.0,
    )  # fmt: skip
    found = advise(everything)
    assert len(found) == len(RULES)
    for advice in found:
        assert advice.method in LOSSES
        from_json(advice.method, advice.settings)


def test_short_memory_is_met_with_four_bits() -> None:
    first = advise(Facts(300, 600, 0, weights_gb=13.5, free_gb=12.0))[0]
    assert first.settings == {"precision": "nf4", "micro_batch": 1}


@pytest.mark.parametrize(
    ("prompt", "checked"),
    [
        ("Solve x + 3 = 5.", True),
        ("How many days are there in a leap year?", True),
        ("Write a function that reverses a list.", True),
        ("What is 12*7?", True),
        ("Write a lost-cat notice for Misty.", False),
        ("Name 3 rivers in France.", False),
        ("Plan a meal for the 5-year-old.", False),
    ],
)
def test_what_a_program_can_check(prompt: str, checked: bool) -> None:
    assert can_be_checked(prompt) == checked
