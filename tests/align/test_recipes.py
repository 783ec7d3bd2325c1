"""Settings: defaults, checks that name every bad field at once, and what suits which base."""

from __future__ import annotations

import json

import pytest

from align import recipes
from align.losses import LOSSES
from storage.errors import BadInput


@pytest.mark.parametrize("method", LOSSES)
def test_settings_survive_the_round_through_json(method: str) -> None:
    settings = recipes.recipe(method)
    again = recipes.from_json(method, json.loads(json.dumps(settings.as_json())))
    assert again == settings


@pytest.mark.parametrize("method", LOSSES)
def test_every_setting_has_a_check_and_defaults_pass_it(method: str) -> None:
    values = recipes.defaults(method)
    assert set(values) <= set(recipes.CHECKS)
    assert recipes.from_json(method, values).as_json() == values


def test_all_bad_settings_are_named_at_once_with_value_and_remedy() -> None:
    with pytest.raises(BadInput) as caught:
        recipes.from_pairs(["beta=-1", "epochs=1.5", "speed=9", "learning_rate", "precision=int3"])
    sentence = str(caught.value)
    assert "beta is -1.0; it has to be a number above 0" in sentence
    assert "epochs is 1.5; it has to be a whole number" in sentence
    assert "speed is not a setting of dpo" in sentence
    assert "'learning_rate' is not NAME=VALUE" in sentence
    assert "precision is 'int3'; it has to be one of auto, bf16, fp32, nf4" in sentence


@pytest.mark.parametrize("value", ["nan", "true", "null", "[1]", '"x"', "inf", "NaN", "Infinity"])
def test_numbers_have_to_be_numbers(value: str) -> None:
    for name in ("beta", "epochs", "seed"):
        with pytest.raises(BadInput, match=name):
            recipes.from_pairs([f"{name}={value}"])


def test_words_change_the_recipe_and_take_its_types() -> None:
    settings = recipes.from_pairs(["beta=1", "epochs=3.0", "precision=nf4", "learning_rate=2e-5"])
    assert settings.loss["beta"] == 1.0
    assert settings.train.epochs == 3
    assert isinstance(settings.train.epochs, int)
    assert (settings.train.precision, settings.train.learning_rate) == ("nf4", 2e-5)


def test_label_weights_are_automatic_or_numbers() -> None:
    assert recipes.recipe("kto").loss["desirable_weight"] == recipes.AUTO
    assert recipes.from_pairs(["desirable_weight=2"], "kto").loss["desirable_weight"] == 2
    with pytest.raises(BadInput, match="desirable_weight is 'much'"):
        recipes.from_pairs(["desirable_weight=much"], "kto")


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="'ppo' is not known; choose one of dpo, ipo, kto"):
        recipes.recipe("ppo")


def test_a_tiny_base_learns_fast_and_a_large_one_carefully() -> None:
    tiny = {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536,
            "vocab_size": 49152}  # fmt: skip
    large = {**tiny, "hidden_size": 4096, "intermediate_size": 14336}
    assert recipes.recipe("dpo", tiny) == recipes.recipe("dpo")
    assert recipes.recipe("dpo", tiny).train.learning_rate >= 5e-5
    assert recipes.recipe("dpo", large).train.learning_rate <= 5e-6
    assert recipes.recipe("dpo", {"model_type": "odd"}).train.learning_rate <= 5e-6
