"""Settings: defaults, checks that name every bad field at once, and what suits which base."""

from __future__ import annotations

import json

import pytest

from align import recipes
from align.leash import leash_of
from align.losses import LOSSES, ipo_target
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


TINY = {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536,
        "vocab_size": 49152, "num_attention_heads": 9, "num_key_value_heads": 3}  # fmt: skip
LARGE = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008,
         "vocab_size": 32000}  # fmt: skip
TOY = {**TINY, "hidden_size": 32, "intermediate_size": 64, "vocab_size": 300}


def test_parameters_are_counted_from_the_config() -> None:
    """SmolLM2: 30 · (2 · 576² + 2 · 576²/3 + 3 · 576 · 1536) + 49152 · 576 + 61 · 576 (norms).
    Llama 2 7B has 6.74 billion with a head of its own (0.13)."""
    assert recipes.count_parameters(TINY) == 134_515_008
    assert recipes.count_parameters(LARGE) == pytest.approx(6.74e9 - 0.13e9, rel=0.01)
    assert recipes.count_parameters(None) == 134_515_008


@pytest.mark.parametrize("method", LOSSES)
@pytest.mark.parametrize("base", [TINY, LARGE, TOY])
@pytest.mark.parametrize("tune", ["lora", "full"])
def test_every_recipe_stays_below_its_own_cap(method: str, base: dict, tune: str) -> None:
    values = recipes.recipe(method, base, tune).as_json()
    assert recipes.from_json(method, values, base).as_json() == values
    assert recipes.remarks(recipes.recipe(method, LARGE), LARGE) == []


def test_all_weights_are_trained_as_in_the_chapter() -> None:
    for base in (TINY, LARGE):
        train = recipes.recipe("dpo", base, "full").train
        assert (train.learning_rate, train.max_grad_norm) == (5e-7, 1.0)
    assert recipes.tuning({"tune": "full"}) == "full"
    assert recipes.tuning({}) == "lora"


@pytest.mark.parametrize(
    ("method", "tune", "rate"),
    [("dpo", "lora", 5e-6), ("kto", "lora", 5e-6), ("orpo", "lora", 8e-6), ("sft", "lora", 1e-4),
     ("simpo", "full", 5e-7), ("kto", "full", 1e-6), ("sft", "full", 2e-5)],
)  # fmt: skip
def test_large_bases_get_the_published_rate_of_the_method(
    method: str, tune: str, rate: float
) -> None:
    assert recipes.recipe(method, LARGE, tune).train.learning_rate == rate


def test_a_rate_that_ruins_a_model_is_refused_with_the_way_to_insist() -> None:
    with pytest.raises(BadInput) as caught:
        recipes.from_pairs(["learning_rate=1e-4"], "dpo", LARGE)
    for words in ("learning_rate is 0.0001", "6.6 billion", "the most is 5e-05", "5e-06 is usual",
                  "allow_high_learning_rate=true"):  # fmt: skip
        assert words in str(caught.value)
    allowed = ["learning_rate=1e-4", "allow_high_learning_rate=true"]
    settings = recipes.from_pairs(allowed, "dpo", LARGE)
    assert settings.train.learning_rate == 1e-4
    (line,) = recipes.remarks(settings, LARGE)
    assert "allowed by hand" in line
    with pytest.raises(BadInput, match="allow_high_learning_rate is 'yes'"):
        recipes.from_pairs(["allow_high_learning_rate=yes"], "dpo", LARGE)


def test_the_cap_depends_on_the_method_and_the_base() -> None:
    assert recipes.from_pairs(["learning_rate=1e-4"], "sft", LARGE).train.learning_rate == 1e-4
    assert recipes.from_pairs(["learning_rate=4e-4"], "dpo", TINY).train.learning_rate == 4e-4
    with pytest.raises(BadInput, match="135 million"):
        recipes.from_pairs(["learning_rate=1e-3"], "dpo", TINY)
    assert recipes.from_pairs(["learning_rate=0.05"], "dpo", TOY).train.learning_rate == 0.05
    assert recipes.from_json("dpo", {"learning_rate": 0.05}).train.learning_rate == 0.05


def test_the_demo_profile_says_what_it_is() -> None:
    (line,) = recipes.remarks(recipes.recipe("dpo"), None)
    assert line.startswith("demo profile: learning rate 0.0002 is for tiny models")
    assert "5e-06" in line
    careful = recipes.from_pairs(["learning_rate=5e-6"], "dpo", TINY)
    assert recipes.remarks(careful, TINY) == []


def test_a_target_out_of_reach_is_said_and_one_within_is_not() -> None:
    """Demo: 200 rows are 50 steps at 2e-4; β 0.01 asks for 50 nats, β 0.1 for 5."""
    far, near = (recipes.from_pairs([f"beta={b}"], "ipo") for b in (0.01, 0.1))
    assert "IPO aims at 50 nats per pair with β 0.01" in recipes.remarks(far, None, 200)[-1]
    assert len(recipes.remarks(near, None, 200)) == 1  # the demo profile's own line
    assert len(recipes.remarks(far, None)) == 1  # nobody knows how many rows
    short = recipes.remarks(near, None, 8)[-1]
    assert "aims at 5 nats per pair" in short
    careful = recipes.recipe("ipo_norm", LARGE)
    assert "aims at 0.1 nats per token" in recipes.remarks(careful, LARGE, 200)[-1]
    assert recipes.remarks(careful, LARGE, 60_000) == []


@pytest.mark.parametrize("method", ["ipo", "ipo_norm"])
@pytest.mark.parametrize("rows", [8, 200, 60_000])
def test_the_recipe_takes_a_beta_whose_target_the_rows_can_reach(method: str, rows: int) -> None:
    """A large base, 5e-6, batches of 16: 200 rows move a pair by 0.065 nats, so β 10 for IPO."""
    settings = recipes.recipe(method, LARGE, rows=rows)
    assert recipes.remarks(settings, LARGE, rows) == []
    if rows == 200:
        assert settings.loss["beta"] == {"ipo": 10.0, "ipo_norm": 100.0}[method]
    if rows == 60_000:
        assert settings == recipes.recipe(method, LARGE)
    by_hand = recipes.from_pairs(["beta=0.01"], method, LARGE, rows)
    assert by_hand.loss["beta"] == 0.01


def test_a_method_without_a_target_keeps_its_beta_however_few_the_rows() -> None:
    assert recipes.recipe("dpo", LARGE, rows=8) == recipes.recipe("dpo", LARGE)


def test_few_rows_of_many_are_told() -> None:
    settings = recipes.from_pairs(["max_rows=50"], "dpo")
    assert "trains on 50 of the 300 rows there are" in recipes.remarks(settings, None, 300)[-1]
    with pytest.raises(BadInput, match="max_rows is 1"):
        recipes.from_pairs(["max_rows=1"])


@pytest.mark.parametrize("method", LOSSES)
def test_the_recipes_beta_is_one_of_the_presets(method: str) -> None:
    leash = leash_of(method)
    beta = recipes.recipe(method).loss.get("beta")
    if leash is None:
        assert beta is None
    else:
        assert beta in [preset.beta for preset in leash.presets]
        assert [p.beta for p in leash.presets] == sorted(p.beta for p in leash.presets)


@pytest.mark.parametrize("method", ["ipo", "ipo_norm"])
def test_the_presets_name_the_target_they_have(method: str) -> None:
    leash = leash_of(method)
    assert leash is not None
    for preset in leash.presets:
        assert f"{ipo_target(preset.beta):g} nat" in preset.words
