"""An adapter merged into its base says what base and adapter say, or the merged one is not used."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig

from align import merging
from align.client import WorkerClient
from align.manifest import write_manifest
from align.merging import Job, Parity, merge, merge_closely
from align.tuning import BEYOND, folded, unwarned, with_copies
from align.wire import GenerateRequest
from storage.errors import Unsupported
from tests.align.talk import make_adapter

ROWS = [
    {"prompt": [{"role": "user", "content": f"Number {i}?"}], "response": f"It is {i}, I think."}
    for i in range(4)
]
ALIKE = Parity("bfloat16", True, 4, 80, 0.5, 1e-6, 0.01, 0.05, 4, 4, 3)


QUESTIONS = (
    "What is the capital of France?", "Name a colour.", "Say hello.", "Has a cat legs?",
    "Write one sentence about the sea.", "What is two plus two?", "Give me a tip for sleep.",
    "Is water wet?", "Name an animal that can fly.", "Why is the sky blue?",
)  # fmt: skip


def job_of(model: Path, adapter: Path, out: Path, **changes: Any) -> Job:
    job = Job(str(model), str(adapter), str(out), str(out) + ".json", "bfloat16", True, ROWS)
    return dataclasses.replace(job, **changes)


def silent(line: str) -> None:
    """Nobody reads the progress."""


@pytest.mark.parametrize("exact", [True, False])
def test_the_merged_model_says_what_base_and_adapter_say(
    tiny: Path, tmp_path: Path, exact: bool
) -> None:
    adapter, out = make_adapter(tiny, tmp_path / "adapter"), tmp_path / "merged"
    base = tiny
    if not exact:  # a base of 16 bits, as a large one is
        base = tmp_path / "half"
        AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16).save_pretrained(base)
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (base / file).write_bytes((tiny / file).read_bytes())
    found = merge(job_of(base, adapter, out, exact=exact), silent)
    assert found.failed == ""
    assert found.changed > 0.1  # the adapter is random: it changes much
    assert found.written < 0.05
    assert found.merged is None if not exact else found.merged < 1e-5
    with safe_open(out / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    plain = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    wrapped = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter
    )
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    torch.testing.assert_close(plain(ids).logits, wrapped(ids).logits, atol=0.05, rtol=0.0)
    assert str(tmp_path) not in (out / "config.json").read_text("utf-8")
    assert (out / "chat_template.jinja").is_file()


def test_what_bf16_would_round_away_is_written_in_fp16(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bf16 keeps 8 bits of a number and fp16 11: eight times less is lost."""
    adapter, out = make_adapter(tiny, tmp_path / "adapter"), tmp_path / "merged"
    coarse = merge(job_of(tiny, adapter, tmp_path / "coarse"), silent)
    monkeypatch.setattr(merging, "ROUNDING", coarse.written / 2)
    found = merge_closely(job_of(tiny, adapter, out), silent)
    assert (found.failed, found.dtype) == ("", "float16")
    assert found.instead_of.startswith("bfloat16, which is")
    assert found.written < coarse.written / 4
    with safe_open(out / "model.safetensors", "pt") as file:
        assert file.get_tensor("model.norm.weight").dtype == torch.float16


def test_copies_of_every_weight_are_merged_and_ties_stay(tiny: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny)
    model = with_copies(base)
    with torch.no_grad():
        for weight in {id(p): p for p in model.parameters() if p.requires_grad}.values():
            weight.add_(
                0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
            )
    with unwarned():
        model.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
    write_manifest(tmp_path / "adapter")
    found = merge(job_of(tiny, tmp_path / "adapter", tmp_path / "out"), silent)
    assert found.failed == ""
    assert found.changed > 0.01
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in set(file.keys())


def gpt2() -> Any:
    """Return a model whose weights lie the other way round, some of them square."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    )


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"alpha_pattern": {"c_fc": 64}}])
def test_scalings_and_transposed_layers_are_folded_as_peft_computes_them(
    settings: dict[str, Any],
) -> None:
    lora = LoraConfig(
        r=4, lora_alpha=8, target_modules=["c_attn", "c_proj", "c_fc"], task_type="CAUSAL_LM",
        **settings,
    )  # fmt: skip
    with unwarned():
        model = get_peft_model(gpt2(), lora).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(2))
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.inference_mode():
        before, base = model(ids).logits, gpt2().eval()(ids).logits
        after = folded(model, "default")(ids).logits
    assert (before - base).abs().max() > 0.01
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_what_is_more_than_a_product_is_refused_by_name() -> None:
    with unwarned():
        lora = LoraConfig(r=2, target_modules=["c_fc"], use_dora=True, task_type="CAUSAL_LM")
        model = get_peft_model(gpt2(), lora)
    with pytest.raises(Unsupported, match="use_dora True, which cannot be merged"):
        folded(model, "default")
    assert set(BEYOND) <= {field.name for field in dataclasses.fields(LoraConfig)}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"merged": 0.02}, "by 0.02 nats per token before rounding"),
        ({"merged": float("nan")}, "before rounding"),
        ({"merged_same": 3}, "1 of 4 greedy answers changed"),
        ({"written": 0.2}, "rounded to bfloat16 the weights say something else"),
        ({"written": 0.03, "changed": 0.04}, "serve the adapter"),
        ({"written": float("nan")}, "rounded"),
    ],
)
def test_a_merged_model_that_says_something_else_is_not_offered(
    changes: dict[str, Any], told: str
) -> None:
    assert ALIKE.failed == ""
    assert told in dataclasses.replace(ALIKE, **changes).failed


def test_an_adapter_that_changes_nothing_may_be_merged() -> None:
    """Rounding is then more than what training changed, and nothing is lost by it."""
    assert dataclasses.replace(ALIKE, changed=0.0, merged=0.0, written=0.0).failed == ""


def test_an_adapter_of_another_base_is_refused(tiny: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny, tmp_path / "adapter")
    torch.manual_seed(0)
    other = tmp_path / "other"
    config = LlamaConfig.from_pretrained(tiny, hidden_size=16)
    AutoModelForCausalLM.from_config(config).save_pretrained(other)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (other / file).write_bytes((tiny / file).read_bytes())
    with pytest.raises(Unsupported, match="does not fit the model"):
        merge(job_of(other, adapter, tmp_path / "out"), silent)


@pytest.mark.slow
def test_ten_prompts_are_answered_alike_by_peft_transformers_and_the_worker(
    embedded: Path, tmp_path: Path
) -> None:
    """The embedded model with a small adapter, greedily, in fp32: plain peft on the base, plain
    transformers on the merged files, and what the compare screen asks."""
    adapter = make_adapter(embedded, tmp_path / "adapter", strength=0.02)
    out = tmp_path / "merged"
    rows = [
        {"prompt": [{"role": "user", "content": asked}], "response": "I am not sure."}
        for asked in QUESTIONS
    ]
    found = merge_closely(job_of(embedded, adapter, out, rows=rows), silent)
    print(json.dumps(dataclasses.asdict(found)))
    assert (found.failed, found.written_same) == ("", 10)
    base = AutoModelForCausalLM.from_pretrained(embedded, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    wrapped = PeftModel.from_pretrained(base, adapter).eval()
    requests = [
        GenerateRequest([{"role": "user", "content": asked}], 0, 24, 0.0, 1.0, adapter)
        for asked in QUESTIONS
    ]
    client = WorkerClient(tmp_path / "data", precision="fp32")
    try:
        told = [row.text for row in client.generate(requests, model=str(embedded))]
    finally:
        client.leave()
    tokenizer = merging.LoadedModel(out, "fp32").tokenizer

    def answered(model: Any, asked: str) -> str:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}], add_generation_prompt=True, return_tensors="pt",
            return_dict=True,
        )  # fmt: skip
        with torch.inference_mode():
            whole = model.generate(**ids, max_new_tokens=24, do_sample=False)
        return str(
            tokenizer.decode(whole[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        )

    assert [answered(wrapped, asked) for asked in QUESTIONS] == told
    assert [answered(plain, asked) for asked in QUESTIONS] == told
