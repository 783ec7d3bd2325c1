"""Which bases share a prompt's row: those that score it as rows of their own, and no others."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from align import attention, recipes, sharing
from align import policy as policies
from align.batches import Fork, pack
from align.opening import Tokenised, choose_cutter
from align.policy import Policy, check_head
from align.rendering import PairRow
from align.tuning import with_lora
from storage.errors import Unsupported
from tests.align.small import plain_llama, tiny_policy

TINY = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
WINDOW = 8


def random_policy(kind: str, **settings: Any) -> Policy:
    """Return a policy on a tiny base of an architecture, with weights that make places differ."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**TINY, **settings})
    base = AutoModelForCausalLM.from_config(config, attn_implementation=attention.register())
    base.config.use_cache = False
    for weight in base.parameters():
        if weight.dim() > 1:
            weight.data.normal_(0, 0.3)
    return Policy(with_lora(base.eval(), rank=2, alpha=4), mixed=False)


def fork(prompt: int, *responses: int, seed: int = 0) -> Fork:
    """Return a fork of random tokens with these lengths."""
    rng = random.Random(seed)
    made = [tuple(rng.randrange(3, 60) for _ in range(n)) for n in (prompt, *responses)]
    return Fork(made[0], tuple(made[1:]))


FORKS = [fork(20, 20, 12), fork(7, 10, 3, seed=1)]


@pytest.mark.parametrize("kind", sorted(sharing.SHARING))
def test_a_shared_row_scores_as_separate_rows(kind: str) -> None:
    policy = random_policy(kind)
    check_head(policy, 1e-4)
    agree, difference = sharing.shared_prompts_agree(policy, FORKS, "fp32")
    assert agree, difference


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("bloom", "bloom was not tried"),
        ("qwen3_5_text", "qwen3_5_text was not tried"),
        ("mistral", "its layers see 8 tokens back, and rows have up to 40"),
        ("gemma3_text", "its layers see 8 tokens back"),
    ],
)
def test_who_does_not_go_by_the_mask_gets_rows_apart(kind: str, why: str) -> None:
    """Those with a window or a state would in truth score a shared row wrong, or not at all."""
    policy = random_policy(kind, **({"sliding_window": WINDOW} if "window" not in kind else {}))
    config = policy.model.get_base_model().config
    assert sharing.why_apart(config, 40).startswith(why)
    try:
        assert not sharing.shared_prompts_agree(policy, FORKS, "fp32")[0]
    except ValueError:
        assert kind == "bloom"  # it takes no mask of ours
    settings = recipes.from_json("dpo", {})
    material = Tokenised([row(20, 20, 12), row(7, 10, 3)], [], [], {})
    assert not choose_cutter(policy, "fp32", settings, material, 0).shared
    assert torch.isfinite(policy(pack(FORKS, shared=False))).all()


def test_a_long_row_far_behind_in_the_data_is_seen() -> None:
    """The first rows fit into the window and agree; the last one does not fit."""
    policy = random_policy("mistral", sliding_window=24)
    settings, short = recipes.from_json("dpo", {}), [row(6, 8, 4), row(7, 10, 3)]
    assert choose_cutter(policy, "fp32", settings, Tokenised(short, [], [], {}), 0).shared
    long = Tokenised([*short, row(20, 20, 12)], [], [], {})
    assert not choose_cutter(policy, "fp32", settings, long, 0).shared
    held_out = Tokenised(short, [row(20, 20, 12)], [], {})
    assert not choose_cutter(policy, "fp32", settings, held_out, 0).shared


def row(prompt: int, chosen: int, rejected: int) -> PairRow:
    made = fork(prompt, chosen, rejected)
    return PairRow("pair", "prompt", made.prompt, (made.responses[0], made.responses[1]), 1.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "window", "seen"),
    [
        ({"layer_types": None, "sliding_window": None}, 5, True),
        ({"layer_types": None, "sliding_window": 4}, 5, False),
        ({"layer_types": None, "sliding_window": 5}, 5, True),
        ({"layer_types": ["full_attention"], "sliding_window": 4}, 5, True),
        ({"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4}, 5, False),
        ({"layer_types": ["chunked_attention"], "sliding_window": None}, 5, False),
    ],
)
def test_windows_by_hand(kind: dict[str, Any], window: int, seen: bool) -> None:
    config = type("Config", (), {"model_type": "llama", **kind})
    assert (sharing.why_apart(config, window) == "") == seen


def test_a_hidden_prompt_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the explicit mask transformers guesses packed sequences from the positions."""
    policy = tiny_policy(plain_llama(tmp_path / "llama"), adapted=True)
    assert sharing.shared_prompts_agree(policy, FORKS, "fp32")[0]
    laid_out = policies.layout
    monkeypatch.setattr(policies, "layout", lambda block: (laid_out(block)[0], None))
    assert not sharing.shared_prompts_agree(policy, FORKS, "fp32")[0]


@pytest.mark.parametrize(
    ("batches", "first", "rest", "agree"),
    [
        (0.0, 0.0, 0.03, True),  # within the least
        (0.0, 0.0, 0.09, False),  # the second responses differ, and nothing says that rounding does
        (0.04, 0.0, 0.09, True),  # as batches differ: up to 0.08 on average over all tokens
        (0.0, 0.04, 0.09, True),  # as first responses differ
        (0.5, 0.5, 0.3, False),  # whatever rounding makes, this is too much
    ],
)
def test_in_bf16_twice_the_noise_is_allowed(
    batches: float, first: float, rest: float, agree: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens of a batch of both forks are scored `batches` higher than in one of its own; in a
    shared row those of first responses `first`, those of second ones `rest` higher than apart."""

    def scores(policy: Any, forks: list[Fork], *, shared: bool) -> torch.Tensor:
        rows = [(r, n) for fork in forks for n, r in enumerate(fork.responses)]
        found = torch.zeros(len(rows), max(len(r) for r, _ in rows))
        for place, (response, n) in zip(found, rows, strict=True):
            place[: len(response)] = batches * (len(forks) - 1) + shared * (rest if n else first)
        return found

    monkeypatch.setattr(sharing, "_scores", scores)
    policy: Any = None
    assert sharing.shared_prompts_agree(policy, FORKS, "bf16")[0] == agree


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gemma2", "final_logit_softcapping 30.0"),
        ("cohere", "logit_scale 0.0625"),
    ],
)
def test_a_capped_or_scaled_head_is_refused_by_name(kind: str, words: str) -> None:
    with pytest.raises(Unsupported, match=f"{kind}.* has {words}"):
        check_head(random_policy(kind), 0.1)


def test_a_base_that_no_adapter_fits_is_refused() -> None:
    with pytest.raises(Unsupported, match="adapters cannot be put on mamba"):
        random_policy("mamba")
