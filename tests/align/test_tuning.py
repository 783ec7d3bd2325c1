"""Every weight trained: a copy of each beside the frozen base, as the chapter's loop has it."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from align import recipes, train
from align.decoding import DecodeRow
from align.loaded import LoadedModel
from align.policy import Policy, load_policy
from align.recipes import FULL
from align.rendering import PairRow, Row
from align.trainer import PreferenceTrainer
from storage.errors import BadInput
from tests.align.small import plain_llama, rows_of, write_run
from tests.align.talk import CHAT, make_adapter
from tests.align.test_decoding import run as answers
from tests.align.test_policy import forks, sequence_logprob
from tests.align.test_trainer import job

RATE, BETA, STEPS = 1e-2, 0.1, 3


def full_policy(folder: Path) -> Policy:
    return load_policy(str(folder), precision="fp32", rank=4, alpha=8, seed=0, tune=FULL)


@pytest.fixture(scope="module", params=["apart", "tied"])
def llama(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    if request.param == "apart":
        return plain_llama(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def chapters_loop(folder: Path, rows: list[Row]) -> torch.nn.Module:
    """Train a plain model as the chapter does: a frozen copy as the reference, AdamW, clip 1."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    schedule = [0.5 * (1 + math.cos(math.pi * k / STEPS)) for k in range(STEPS)]
    for share in schedule:
        losses = []
        for row in rows:
            ratios = [
                sequence_logprob(model, *pair) - sequence_logprob(reference, *pair).detach()
                for pair in (
                    (torch.tensor(row.prompt), torch.tensor(response)) for response in row.responses
                )
            ]
            losses.append(-functional.logsigmoid(BETA * (ratios[0] - ratios[1])))
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = RATE * share
        optimiser.step()
    return model


def test_training_every_weight_equals_the_chapters_loop(llama: Path, tmp_path: Path) -> None:
    rows: list[Row] = [
        PairRow(f"r{i}", f"p{i}", f.prompt, f.responses, 1.0, 1.0)
        for i, f in enumerate(forks(4, seed=5))
    ]
    policy = full_policy(llama)
    values = {"beta": BETA, "learning_rate": RATE, "epochs": STEPS, "batch_size": 4}
    whole = job(policy, "dpo", given_rows=rows, **values)
    PreferenceTrainer(policy, whole, tmp_path, write=lambda row: None).train()
    expected = chapters_loop(llama, rows)
    ids = torch.tensor([rows[0].prompt + rows[0].responses[0]])
    here = ids.to(policy.device)
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
        before = base.to(policy.device)(here).logits
        wanted, found = expected(ids).logits, policy.model(here).logits.cpu()
        with policy.reference():
            assert torch.equal(policy.model(here).logits, before)
    assert (wanted - before.cpu()).abs().max() > 0.05, "nothing was learned"
    assert torch.allclose(found, wanted, atol=2e-4)


def test_every_weight_has_a_copy_that_is_trained_and_the_base_none(llama: Path) -> None:
    policy = full_policy(llama)
    plain = AutoModelForCausalLM.from_pretrained(llama)
    assert sum(p.numel() for p in policy.trainable()) == sum(p.numel() for p in plain.parameters())
    assert {p.dtype for p in policy.trainable()} == {torch.float32}


def test_a_run_on_every_weight_is_resumed_published_and_answers(tiny: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path, tiny, epochs=2, learning_rate=1e-3, tune=FULL)
    assert train.main([str(run)]) == 0
    rows = rows_of(run)
    assert rows[0]["margin"] == 0.0
    steps = [row for row in rows if "grad_norm" in row]
    assert steps[-1]["loss"] < steps[0]["loss"]
    saved = load_file(run / "adapter" / "adapter_model.safetensors")
    assert not any("lora" in name for name in saved)
    model = LoadedModel(tiny, "fp32")
    name = model.use_adapter(run / "adapter")

    def row(adapter: str | None) -> DecodeRow:
        ids, _ = model.prompt_ids(CHAT, 20)
        return DecodeRow(ids, 4, 20, 0.9, 0.95, adapter)

    apart = [answers(model, [row(which)])[0] for which in (None, name)]
    assert apart[0] != apart[1]
    assert answers(model, [row(None), row(name)]) == apart
    lora = make_adapter(tiny, tmp_path / "lora")
    assert model.together([None, run / "adapter", lora]) == [[0, 1], [2]]
    other = model.use_adapter(lora)  # another kind takes its place
    assert answers(model, [row(None), row(other)])[0] == apart[0]


def test_every_weight_cannot_be_trained_in_four_bits() -> None:
    with pytest.raises(BadInput, match="tune=full"):
        recipes.from_json("dpo", {"tune": FULL, "precision": "nf4"})
    with pytest.raises(BadInput, match="lora or full"):
        recipes.from_json("dpo", {"tune": "half"})
