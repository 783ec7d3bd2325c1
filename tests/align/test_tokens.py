"""Rows counted without transformers are the rows that the run takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from align.forecast import share_known
from align.models import EMBEDDED, find_model
from align.opening import prepare
from align.policy import stop_ids
from align.recipes import from_json
from align.rendering import Template, label_rows, pair_rows
from align.scored import name_of
from align.tokens import Counted, count, read_template
from tests.align.small import label_lines, pair_lines, tiny_model


def odd_pairs() -> list[dict]:
    """Pairs with what tokenizers trip over."""
    rows = pair_lines(12)
    rows[1]["chosen"] = "ends early <|im_end|> or not, é 漢字\n\n  spaces"
    rows[2]["prompt"] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?"},
    ]
    rows[3]["rejected"] = "   "
    rows[4]["chosen_finished"] = False
    return rows


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("model", ["tiny", EMBEDDED])
def test_tokens_and_counts_are_those_of_the_run(model: str, tiny: Path) -> None:
    folder = tiny if model == "tiny" else find_model(EMBEDDED).path
    mine = read_template(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    theirs = Template.of(tokenizer, stop_ids(str(folder)))
    assert mine is not None
    assert (mine.lead, mine.end) == (theirs.lead, theirs.end)
    rows = odd_pairs()
    assert pair_rows(mine, rows, 40) == pair_rows(theirs, rows, 40)
    assert label_rows(mine, label_lines(rows), 40) == label_rows(theirs, label_lines(rows), 40)


def test_what_is_dropped_and_cut_is_counted_by_reason(tiny: Path) -> None:
    """A byte is a token: of twelve rows one has an empty answer; the others lose some of theirs."""
    config = json.loads((tiny / "config.json").read_text())
    rows = {"pairs": odd_pairs() + pair_lines(3, "held_out"), "labels": []}
    found = count(tiny, config, from_json("dpo", {"max_tokens": 64}), rows)
    assert len(found.train) == 11
    assert len(found.held_out) == found.prompts == 3
    assert found.exact
    assert found.dropped["rows dropped: empty response"] == 1
    assert found.dropped["responses cut at their end"] >= 1
    assert max(len(row.prompt) + max(map(len, row.responses)) for row in found.train) <= 64


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_run_on_a_part_of_the_rows_is_counted_on_that_part(method: str, tiny: Path) -> None:
    """The very rows that `max_rows` leaves to the run, to learn from and to judge by."""
    pairs = pair_lines(30) + pair_lines(9, "held_out")
    rows = {"pairs": pairs, "labels": label_lines(pairs)}
    settings = from_json(method, {"max_rows": 6})
    found = count(tiny, {}, settings, rows)
    template = read_template(tiny)
    assert template is not None
    told = prepare(settings, template, rows, settings.train.max_tokens)
    assert found.train == told.train
    assert found.held_out == told.held_out
    assert (len(found.train), len(found.held_out)) == (6, 6)
    assert found.dropped == told.dropped


def test_a_base_without_a_tokenizer_file_is_guessed(tmp_path: Path) -> None:
    rows = {"pairs": odd_pairs(), "labels": []}
    found = count(tmp_path, {}, from_json("dpo", {}), rows)
    assert not found.exact
    assert len(found.train) == 11
    words = sum(len(row["chosen"]) for row in rows["pairs"]) / 4.2
    guessed = sum(len(row.responses[0]) - 1 for row in found.train)
    assert guessed == pytest.approx(words, rel=0.15)


def test_of_very_many_rows_a_part_is_looked_at(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("align.tokens.MOST_ROWS", 10)
    rows = {"pairs": pair_lines(40), "labels": []}
    found = count(tiny, {}, from_json("dpo", {}), rows)
    assert (len(found.train), found.times) == (10, 4.0)


def test_scores_that_are_there_already_are_known_by_content(tiny: Path) -> None:
    found = count(tiny, {}, from_json("dpo", {}), {"pairs": pair_lines(4), "labels": []})
    row = found.train[0]
    names = {name_of(row.prompt, row.responses[0]), name_of(row.prompt, row.responses[1]), "x"}
    assert share_known(found, names) == 2 / 8
    assert share_known(found, set()) == 0
    assert share_known(Counted([], [], 0, {}), names) == 0
