"""The implicit reward of an answer: which reference, which β, which colour."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from align import implicit
from align.implicit import END, Reward
from align.manifest import write_manifest
from align.wire import TokenScores

ASKED = [{"role": "user", "content": "Why?"}]


class Worker:
    """Says that the policy finds each token a nat, two nats, … likelier than the reference."""

    def __init__(self) -> None:
        self.adapters: list[Any] = []

    def token_scores(
        self, messages: Any, response: str, adapters: list[Any], *, finished: bool
    ) -> TokenScores:
        self.adapters = adapters
        pieces = [*response, *([""] if finished else [])]
        held = [-3.0] * len(pieces)
        return TokenScores(pieces, [[h + n + 1 for n, h in enumerate(held)], held])


def workspace(tmp_path: Path, **facts: Any) -> Any:
    for run, more in (("r-0", {}), ("r-1", facts)):
        folder = tmp_path / "runs" / run / "adapter"
        folder.mkdir(parents=True)
        (folder.parent / "config.json").write_text(json.dumps({"method": "dpo"}))
        told = {"method": "dpo", "settings": {"beta": 0.1}, "reference": "base", "start": None}
        write_manifest(folder, **{**told, **more})
    return SimpleNamespace(data=tmp_path, client=Worker())


def of(place: Any, answer: str = "ab", *, finished: bool = True) -> Reward:
    return implicit.reward(place, "r-1", ASKED, answer, finished=finished)


def test_the_reward_is_beta_times_the_sum_over_the_tokens(tmp_path: Path) -> None:
    """Gains of 1, 2 and 3 nats, the last of the end of the turn: 0.1 · 6."""
    place = workspace(tmp_path)
    found = of(place)
    assert found.gains == (1.0, 2.0, 3.0)
    assert found.pieces == ("a", "b", END)
    assert found.total == pytest.approx(0.6)
    assert place.client.adapters == [tmp_path / "runs" / "r-1" / "adapter", None]
    assert "**+0.60** = β 0.1 · 6.0 nats over 3 tokens" in found.words()


def test_an_answer_that_was_cut_has_no_end(tmp_path: Path) -> None:
    assert of(workspace(tmp_path), finished=False).pieces == ("a", "b")


def test_a_run_that_was_held_to_an_earlier_adapter_is_measured_against_it(tmp_path: Path) -> None:
    place = workspace(tmp_path, start="r-0", reference="start")
    of(place)
    assert place.client.adapters[1] == tmp_path / "runs" / "r-0" / "adapter"


def test_a_reward_per_token_is_a_mean(tmp_path: Path) -> None:
    found = of(workspace(tmp_path, method="dpo_norm", settings={"beta": 5.0}))
    assert found.total == pytest.approx(10.0)
    assert "their mean" in found.words()


def test_a_method_without_a_reference_has_a_log_ratio_alone(tmp_path: Path) -> None:
    found = of(workspace(tmp_path, method="orpo", settings={"odds_weight": 0.1}))
    assert found.total is None
    assert found.words() == "log-ratio **+6.0** nats over 3 tokens"


def test_colours_are_strongest_at_two_nats_and_pieces_without_text_have_none() -> None:
    found = Reward(("x", "", "y", "z"), (1.0, 5.0, 9.0, -4.0), 0.1)
    assert found.coloured() == [("x", 0.5), ("y", 1.0), ("z", -1.0)]
    assert found.nats == 11.0
