"""A whole run of ours beside a whole run of TRL's trainer: the same curve, the same adapter.

Every step takes all pairs, so the order of the rows says nothing, and both start from the same
adapter. TRL gets the prompts as rendered text and ends every answer with the tokenizer's
end-of-turn token, which is what our rendering does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from align import train
from align.policy import load_policy
from tests.align.small import rows_of, write_run

PAIRS = 6
STEPS = 6
RANK = 4


def beside(model: Path, data: Path, rate: float) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Train with TRL's DPOTrainer on the run's snapshot; return its losses and its adapter."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(model)
    lines = (data / "snapshots" / "s_1" / "pairs.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "train"]
    pairs = Dataset.from_list(
        [
            {
                "prompt": tokenizer.apply_chat_template(
                    row["prompt"], tokenize=False, add_generation_prompt=True
                ),
                "chosen": row["chosen"],
                "rejected": row["rejected"],
            }
            for row in rows
        ]
    )
    policy = load_policy(str(model), precision="fp32", rank=RANK, alpha=32, seed=0).model
    policy.base_model.model.set_attn_implementation("sdpa")
    arguments = DPOConfig(
        output_dir=str(data / "trl"),
        per_device_train_batch_size=PAIRS,
        num_train_epochs=STEPS,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        beta=0.1,
        max_length=1024,
        logging_steps=1,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer: Any = DPOTrainer(
        model=policy, args=arguments, train_dataset=pairs, processing_class=tokenizer
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    trainer.save_model(str(data / "trl" / "adapter"))
    return losses, load_file(data / "trl" / "adapter" / "adapter_model.safetensors")


def compare(model: Path, data: Path, rate: float) -> None:
    run = write_run(
        data, model, train=PAIRS, epochs=STEPS, batch_size=PAIRS, learning_rate=rate, warmup=0.0,
        lora_rank=RANK,
    )  # fmt: skip
    assert train.main([str(run)]) == 0
    ours = [row["loss"] for row in rows_of(run) if "grad_norm" in row]
    theirs, adapter = beside(model, data, rate)
    assert len(ours) == len(theirs) == STEPS
    assert ours[-1] < 0.9 * ours[0], "it learned too little to compare"
    assert ours == pytest.approx(theirs, abs=2e-4)  # TRL writes four digits
    weights = load_file(run / "adapter" / "adapter_model.safetensors")
    assert weights.keys() == adapter.keys()
    for name in (n for n in weights if "lora_B" in n):
        apart = (weights[name] - adapter[name]).norm() / adapter[name].norm()
        assert apart < 0.02, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_tiny_run_is_trls(tiny: Path, tmp_path: Path) -> None:
    compare(tiny, tmp_path, 1e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_of_the_real_model_is_trls(embedded: Path, tmp_path: Path) -> None:
    compare(embedded, tmp_path, 2e-4)
