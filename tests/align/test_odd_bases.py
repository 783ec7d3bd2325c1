"""Whole runs on bases that lack something or are small: no padding, a short context, memory out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from align import reference, train
from align.rendering import Template
from storage.errors import Unsupported
from tests.align.small import read, rows_of, write_run

pytestmark = pytest.mark.usefixtures("brief_answers")


def changed(tiny: Path, folder: Path, **files: Any) -> Path:
    """Return a copy of the base with other values in its JSON files; None takes a value away."""
    shutil.copytree(tiny, folder)
    for name, values in files.items():
        path = folder / f"{name}.json"
        kept = {**json.loads(path.read_text("utf-8")), **values}
        kept = {key: value for key, value in kept.items() if value is not None}
        path.write_text(json.dumps(kept), "utf-8")
    return folder


def test_a_tokenizer_without_padding_trains_as_one_with(tiny: Path, tmp_path: Path) -> None:
    """Nothing sees the padding, so it does not matter which token stands there."""
    bare = changed(
        tiny, tmp_path / "bare", tokenizer_config={"pad_token": None}, config={"pad_token_id": None}
    )
    assert AutoTokenizer.from_pretrained(bare).pad_token_id is None
    losses = []
    for name, base in (("with", tiny), ("without", bare)):
        run = write_run(tmp_path / name, base, train=6, held_out=2)
        assert train.main([str(run)]) == 0
        losses.append([row["loss"] for row in rows_of(run) if "grad_norm" in row])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_rows_are_cut_to_the_context_of_the_base(tiny: Path, tmp_path: Path) -> None:
    """A byte is a token: with 96 of them prompts lose their beginning, and that is counted."""
    short = changed(tiny, tmp_path / "short", config={"max_position_embeddings": 96})
    run = write_run(tmp_path / "data", short, train=6, held_out=2)
    assert train.main([str(run)]) == 0
    dropped = read(run / "report.json")["dropped"]
    assert dropped
    assert all(count > 0 for count in dropped.values())
    assert sum(dropped.values()) <= 12


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_base_with_learned_places_never_meets_one_that_it_has_not(
    tiny: Path, tmp_path: Path, method: str
) -> None:
    """GPT-2 names its context `n_positions`. Rows, mismatched answers, and prompts with the answers
    that are generated behind them: place 64 would be an error."""
    base = tmp_path / "gpt2"
    shutil.copytree(tiny, base)
    words = len(AutoTokenizer.from_pretrained(tiny))
    config = GPT2Config(
        vocab_size=words, n_positions=64, n_embd=16, n_layer=2, n_head=2,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(base)
    run = write_run(tmp_path / "data", base, method, train=6, held_out=2)
    assert train.main([str(run)]) == 0, read(run / "status.json")["message"]
    assert read(run / "report.json")["dropped"]["prompts cut at their beginning"]


def test_a_tokenizer_in_which_answers_cannot_end_is_refused(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    tokenizer.eos_token = None
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(Unsupported, match="no end-of-turn token, so answers cannot stop"):
        Template.of(tokenizer, set())


def test_memory_that_runs_out_before_the_first_step_is_told_and_the_run_goes_on_later(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the reference is scored, where nothing can be halved any more."""

    def full(*_: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …")

    run = write_run(tmp_path, tiny, train=4, held_out=0)
    monkeypatch.setattr(reference, "log_probabilities", full)
    assert train.main([str(run)]) == 2
    assert read(run / "status.json")["message"].startswith("memory ran out: free some memory and")
    monkeypatch.undo()
    assert train.main([str(run)]) == 0
