"""Which method is advised when: one planted case per rule, and its neighbour that misses it."""

from __future__ import annotations

import pytest

from align.advisor import RULES, Epoch, Facts, advise
from align.losses import LOSSES
from align.recipes import from_json

PLAIN = Facts(pairs=300, labels=600, thumbs=0)
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
        last_epochs=RAN_AWAY,
    )  # fmt: skip
    found = advise(everything)
    assert len(found) == len(RULES)
    for advice in found:
        assert advice.method in LOSSES
        from_json(advice.method, advice.settings)
