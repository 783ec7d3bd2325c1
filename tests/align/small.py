"""Small parts for the training tests: a random Llama with its tokenizer, snapshots, run folders."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from align import probes, session
from align.evaluate import greedy_answers
from align.policy import Policy, load_policy
from tests.browser.tiny import make

WORDS = ["home", "early", "rain", "road", "plan", "rest", "slow", "comes", "before", "gets"]


def tiny_model(folder: Path) -> Path:
    """Write a random two-layer Llama with a byte tokenizer and a chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    return folder


def tiny_policy(folder: Path, *, seed: int = 0, adapted: bool = False) -> Policy:
    """Return the model in fp32 with an adapter; `adapted`: one that changes what the model says."""
    policy = load_policy(str(folder), precision="fp32", rank=4, alpha=8, seed=seed)
    if adapted:
        make = torch.Generator().manual_seed(1)  # on the CPU: the same wherever the policy is
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.data.copy_(torch.randn(weight.shape, generator=make) * 0.3)
    return policy


def answer_briefly(patch: pytest.MonkeyPatch) -> None:
    """Let a run's answers have 8 tokens instead of 192, and its probes' instead of 64: a tiny model
    never ends one by itself, and generating them was most of a run's time."""
    patch.setattr(probes, "PROBE_TOKENS", 8)
    patch.setattr(session, "greedy_answers", partial(greedy_answers, max_tokens=8))


def plain_llama(folder: Path, *, width: int = 16, vocabulary: int = 64) -> Path:
    """Write a random Llama without a tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def said(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(least, most))).capitalize() + "."


def pair_lines(count: int, split: str = "train", *, seed: int = 0) -> list[dict[str, Any]]:
    """Return pairs whose chosen response is the shorter one."""
    rng = random.Random(f"{seed}{split}")
    return [
        {
            "id": f"{split}-{i}",
            "split": split,
            "prompt": [{"role": "user", "content": f"Tell me about {said(rng, 2, 9)}"}],
            "prompt_id": f"{split}-prompt-{i}",
            "cluster": f"{split}-prompt-{i}",
            "chosen": said(rng, 2, 4),
            "rejected": said(rng, 8, 14),
            "p_chosen": 1.0,
            "weight": 1.0,
            "source": "vote",
        }
        for i in range(count)
    ]


def label_lines(pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the two labels of every pair."""
    return [
        {
            **{key: pair[key] for key in ("split", "prompt", "prompt_id", "cluster", "weight")},
            "id": f"{pair['id']}-{name}",
            "completion": pair[name],
            "label": name == "chosen",
            "source": "vote",
        }
        for pair in pairs
        for name in ("chosen", "rejected")
    ]


def write_snapshot(
    folder: Path, pairs: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]
) -> Path:
    """Write a snapshot's folder as `feedback.snapshots` does."""
    folder.mkdir(parents=True)
    files = {}
    for name, rows in (("pairs.jsonl", pairs), ("labels.jsonl", labels)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name).write_text(text, "utf-8")
        files[name] = hashlib.sha256(text.encode("utf-8")).hexdigest()
    manifest = {"id": folder.name, "digest": "d" * 64, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return folder


def write_run(
    data: Path,
    model: Path,
    method: str = "dpo",
    *,
    train: int = 12,
    held_out: int = 4,
    name: str = "r-1",
    **settings: Any,
) -> Path:
    """Write a run's folder with its configuration, and its snapshot unless there is one."""
    snapshot = data / "snapshots" / "s_1"
    if not snapshot.exists():
        pairs = pair_lines(train) + pair_lines(held_out, "held_out") + pair_lines(3, "duel")
        write_snapshot(snapshot, pairs, label_lines(pairs))
    folder = data / "runs" / name
    folder.mkdir(parents=True)
    values = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3, "lora_rank": 4}
    values["precision"] = "fp32"
    config = {
        "run": name,
        "method": method,
        "model": str(model),
        "model_name": "tiny",
        "model_fingerprint": "f" * 8,
        "snapshot": str(snapshot),
        "settings": {**values, **settings},
        "device_lock": str(data / "DEVICE.lock"),
        "cache": str(data / "cache"),
        "created_at": "2026-11-23T12:00:00+00:00",
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
