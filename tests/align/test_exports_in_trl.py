"""What Hone exports goes into TRL's trainers as it is: loaded by `datasets`, taken by a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from feedback.exports import export_file
from storage.records import Extra, Text, Vote
from storage.store import Store
from tests.feedback.stock import say, stock

VOTES = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Six decided votes: number i has the short answer on the side a for odd i."""
    with Store.open(tmp_path_factory.mktemp("data")) as opened:
        for number, comparison in enumerate(stock(opened, VOTES)):
            say(opened, comparison.id, "a" if number % 2 else "b")
        extra = Text.of('{"tag":1}')  # of one imported row: the column `extra` disturbs nobody
        opened.add([extra, Extra(opened.rows(Vote)[3].id, extra.id)])
        yield opened


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("name", ["trl", "trl-labels"])
def test_an_export_loads_in_trls_trainer(
    tiny: Path, store: Store, tmp_path: Path, name: str, suffix: str
) -> None:
    import trl
    from datasets import load_dataset

    path = tmp_path / f"out{suffix}"
    written = export_file(store, path, name)["written"]
    loader = "json" if suffix == ".jsonl" else "parquet"
    rows = load_dataset(
        loader, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert "extra" in rows.column_names
    assert len(rows) == written == VOTES * (1 if name == "trl" else 2)
    kinds = {"trl": (trl.DPOConfig, trl.DPOTrainer), "trl-labels": (trl.KTOConfig, trl.KTOTrainer)}
    make_config, make_trainer = kinds[name]
    config = make_config(
        output_dir=str(tmp_path / "run"),
        per_device_train_batch_size=VOTES,
        report_to="none",
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    trainer = make_trainer(
        model=AutoModelForCausalLM.from_pretrained(tiny),
        ref_model=AutoModelForCausalLM.from_pretrained(tiny),
        args=config,
        train_dataset=rows,
        processing_class=tokenizer,
    )
    column = {"trl": "chosen", "trl-labels": "completion"}[name]
    said = [tokenizer.decode(ids) for ids in trainer.train_dataset[f"{column}_ids"]]
    assert len(said) == written
    for row, text in zip(rows, said, strict=True):
        assert row[column][0]["content"] in text
    assert sum("Short" in text for text in said) == VOTES
