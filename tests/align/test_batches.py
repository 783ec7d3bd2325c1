"""Rendering, packing, planning and cutting: what a step sees, and what was lost on the way."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from align.batches import Cutter, Fork, by_length, layout, pack, partners, plan
from align.losses import LabelBatch
from align.rendering import LabelRow, PairRow, Row, Template, fit, label_rows, pair_rows
from feedback.snapshots import freeze, load
from storage.errors import Unsupported
from storage.records import Assignment, Vote
from storage.store import Store
from tests.align.small import label_lines, pair_lines
from tests.browser.tiny import byte_tokenizer
from tests.feedback.stock import comparison_records

QUESTION = [{"role": "user", "content": "Why?"}]


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.of(byte_tokenizer())


def label(number: int, good: bool = True, prompt: str = "") -> LabelRow:
    return LabelRow(f"l{number}", prompt or f"p{number}", (1, 2), ((3, number + 4),), good, 1.0)


def test_a_response_ends_in_exactly_one_end_of_turn(template: Template) -> None:
    ids = template.response(QUESTION, "Because.")
    end = template.tokenizer.eos_token_id
    assert template.end == (end,)
    assert ids.count(end) == 1
    assert ids[-1] == end
    assert template.tokenizer.decode(ids[:-1]) == "Because."


def test_prompt_and_response_are_together_what_the_template_makes_of_the_conversation(
    template: Template,
) -> None:
    whole = template.tokenizer.apply_chat_template(
        [*QUESTION, {"role": "assistant", "content": "Because."}], tokenize=False
    )
    ids = template.prompt(QUESTION) + template.response(QUESTION, "Because.")
    assert template.tokenizer.decode(ids) == whole.rstrip("\n")


def test_an_answer_that_names_a_special_token_does_not_end_there(template: Template) -> None:
    ids = template.response(QUESTION, "Say <|im_end|> and go on")
    assert ids.count(template.tokenizer.eos_token_id) == 1
    assert template.tokenizer.decode(ids[:-1]) == "Say <|im_end|> and go on"


def test_a_doubled_beginning_of_sequence_is_made_single() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<|bos|>"})
    tokenizer.chat_template = "<|bos|><|bos|>{{ messages[0]['content'] }}<|im_end|>"
    ids = Template.of(tokenizer).prompt(QUESTION)
    assert ids[: ids.index(tokenizer.encode("W")[0])] == (tokenizer.bos_token_id,)


def test_what_a_template_puts_before_an_answer_belongs_to_the_answer() -> None:
    """Llama 2 writes "[/INST] answer </s>" after a prompt that ends in "[/INST]"."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
        "{% else %} {{ m.content }} <|im_end|>{% endif %}{% endfor %}"
    )
    template = Template.of(tokenizer)
    ids = template.response(QUESTION, "So.")
    assert tokenizer.decode(ids) == " So. <|im_end|>"


def test_a_tokenizer_without_a_chat_template_is_refused() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(Unsupported, match="no chat template"):
        Template.of(tokenizer)


@given(
    prompt=st.integers(1, 60),
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=2),
    limit=st.integers(16, 80),
)
def test_what_is_cut_fits_and_keeps_the_prompts_end_and_the_responses_beginning(
    prompt: int, lengths: list[int], limit: int
) -> None:
    whole = tuple(range(prompt))
    responses = [tuple(range(100, 100 + n)) for n in lengths]
    short, cut = fit(whole, responses, limit)
    assert short
    assert short == whole[-len(short) :]
    for response, kept in zip(responses, cut, strict=True):
        assert kept == response[: len(kept)]
        assert len(kept) > 0
        assert len(short) + len(kept) <= limit
    if prompt + max(lengths) <= limit:
        assert (short, list(cut)) == (whole, responses)


def test_rows_say_what_was_dropped_and_cut(template: Template) -> None:
    """Of four pairs one is empty, one twice the same, one too long; in bytes, one token each."""
    lines = pair_lines(4)
    lines[1]["chosen"] = "  \n"
    lines[2]["rejected"] = lines[2]["chosen"]
    lines[3]["rejected"] = "long " * 100
    rows, counts = pair_rows(template, lines, 160)
    assert [row.id for row in rows] == ["train-0", "train-3"]
    assert len(rows[1].prompt) + len(rows[1].responses[1]) == 160
    assert template.end[-1] not in rows[1].responses[1], "no end is invented for a cut response"
    assert dict(+counts) == {
        "rows dropped: empty response": 1,
        "pairs dropped: both responses are the same tokens": 1,
        "prompts cut at their beginning": 1,
        "responses cut at their end": 1,
    }


def test_a_response_cut_off_when_it_was_sampled_gets_no_end_of_turn(template: Template) -> None:
    line = {**pair_lines(1)[0], "rejected_finished": False}
    (row,), _ = pair_rows(template, [line], 500)
    assert row.responses[0][-1] == template.end[-1]
    assert template.end[-1] not in row.responses[1]


def test_from_the_store_to_the_batch_only_an_answer_that_ended_is_trained_to_end(
    template: Template, tmp_path: Path
) -> None:
    """In bytes: "Fine." is 70 105 110 101 46 and the end, the cut "So" is 83 111 and nothing.

    The byte tokenizer numbers letters its own way, so their ids are read from it one by one.
    """
    with Store.open(tmp_path / "data") as store:
        pair, records = comparison_records(0, "Fine.", "So", (True, False))
        store.add(records)
        place = Assignment(str(uuid.uuid4()), "default", "ada", pair.id, "", "a", "plain", "api")
        store.add([place])
        store.append(Vote(str(uuid.uuid4()), place.id, 0, pair.id, "ada", "a"))
        frozen = load(tmp_path / "data" / "snapshots" / freeze(store).id)
        pairs, _ = pair_rows(template, frozen.pairs(), 500)
        labels, _ = label_rows(template, frozen.labels(), 500)
    (end,) = template.end
    fine, so = ([*map(template.tokenizer.convert_tokens_to_ids, word)] for word in ("Fine.", "So"))
    block = pack([Fork(pairs[0].prompt, pairs[0].responses)], shared=True)
    assert block.target.tolist() == [*fine, end, *so]
    assert {row.good: list(row.responses[0]) for row in labels} == {True: [*fine, end], False: so}


def test_a_conversation_that_the_template_refuses_is_dropped_with_its_reason() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    )
    line = label_lines(pair_lines(1))[0]
    refused = {**line, "prompt": [{"role": "system", "content": "Be brief."}, *QUESTION]}
    rows, counts = label_rows(Template.of(tokenizer), [line, refused], 500)
    assert len(rows) == 1
    reason = "rows dropped: the model's chat template refuses them (no system role)"
    assert counts[reason] == 1


def test_a_shared_row_is_laid_out_as_by_hand() -> None:
    """Prompt 5 6, responses 7 8 9 and 4; padded to 7 by hand.

    Positions: 0 1 | 2 3 4 | 2. The first response token comes after the prompt's last (index 1),
    the others after their own predecessors 2 and 3; the second response's only token after index 1
    again.
    """
    block = pack([Fork((5, 6), ((7, 8, 9), (4,)))], shared=True)
    assert block.ids.tolist() == [[5, 6, 7, 8, 9, 4]]
    assert block.source.tolist() == [1, 2, 3, 1]
    assert block.target.tolist() == [7, 8, 9, 4]
    assert block.into.tolist() == [0, 1, 2, 3]
    assert block.mask().tolist() == [[1, 1, 1], [1, 0, 0]]
    positions, seen = layout(block)
    assert positions is not None
    assert seen is not None
    assert positions.tolist() == [[0, 1, 2, 3, 4, 2]]
    assert seen[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


def test_rows_of_one_response_need_no_mask() -> None:
    """Padding stands behind, where causal attention does not look."""
    block = pack([Fork((5, 6), ((7, 8),)), Fork((5,), ((7,),))], shared=True)
    assert block.ids.tolist() == [[5, 6, 7, 8], [5, 7, 0, 0]]
    assert layout(block) == (None, None)


def test_separate_rows_give_results_in_the_same_order_as_shared_ones() -> None:
    forks = [Fork((1,), ((2, 3), (4,))), Fork((5, 6), ((7,), (8, 9)))]
    one, other = pack(forks, shared=True), pack(forks, shared=False)
    assert one.shape == other.shape == (4, 2)
    assert one.target.tolist() == other.target.tolist() == [2, 3, 4, 7, 8, 9]
    assert torch.equal(one.mask(), other.mask())


@given(
    goods=st.lists(st.booleans(), min_size=1, max_size=60),
    epochs=st.integers(1, 3),
    size=st.integers(1, 9),
)
def test_every_epoch_takes_every_row_once_in_batches_of_nearly_the_same_size(
    goods: list[bool], epochs: int, size: int
) -> None:
    rows: list[Row] = [label(i, good) for i, good in enumerate(goods)]
    steps = plan(rows, epochs=epochs, batch_size=size, seed=1)
    per_epoch = len(steps) // epochs
    for start in range(0, len(steps), per_epoch):
        epoch = steps[start : start + per_epoch]
        assert sorted(i for batch in epoch for i in batch) == list(range(len(rows)))
        sizes = [len(batch) for batch in epoch]
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1
        if min(sum(goods), len(goods) - sum(goods)) >= per_epoch:
            assert all({goods[i] for i in batch} == {True, False} for batch in epoch)


def test_batches_that_are_kept_come_again_in_another_order() -> None:
    """KTO's mismatched responses are then the same in every epoch."""
    rows = [label(i) for i in range(20)]
    steps = plan(rows, epochs=3, batch_size=4, seed=1, keep_batches=True)
    epochs = [steps[start : start + 5] for start in (0, 5, 10)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]
    assert sorted(i for step in epochs[0] for i in step) == list(range(20))


def test_the_plan_depends_on_the_seed_and_the_epoch_alone() -> None:
    rows: list[Row] = [label(i) for i in range(20)]
    one = plan(rows, epochs=2, batch_size=5, seed=0)
    assert one == plan(rows, epochs=2, batch_size=5, seed=0)
    assert one != plan(rows, epochs=2, batch_size=5, seed=1)
    assert one[:4] != one[4:]


@given(st.lists(st.sampled_from("pqr"), max_size=12))
def test_a_partner_always_answers_another_prompt(prompts: list[str]) -> None:
    for own, other in zip(prompts, partners(prompts), strict=True):
        if other is None:
            assert set(prompts) == {own}
        else:
            assert prompts[other] != own


def test_every_row_with_its_own_prompt_is_somebodys_partner_once() -> None:
    assert partners(["p", "q", "r"]) == [1, 2, 0]


@given(
    lengths=st.lists(st.integers(1, 50), max_size=40),
    budget=st.integers(1, 200),
    limit=st.integers(0, 5),
)
def test_groups_keep_the_budget_and_lose_nobody(
    lengths: list[int], budget: int, limit: int
) -> None:
    groups = by_length(lengths, budget=budget, limit=limit)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        padded = len(group) * max(lengths[i] for i in group)
        assert len(group) == 1 or padded <= budget
        assert not limit or len(group) <= limit


def test_a_batch_of_labels_brings_mismatched_forks_of_other_prompts() -> None:
    rows = [label(i, prompt="p" if i < 2 else "q") for i in range(4)]
    batch = Cutter(max_tokens=16).batch(rows, mismatched=True)
    answers = [f.responses[0] for m in batch.mismatched for f in m.forks]
    assert len(answers) == 4
    assert batch.size == 4
    assert not any(m.rows for m in batch.mismatched)


def test_a_batch_of_pairs_has_no_mismatched_forks() -> None:
    row = PairRow("a", "p", (1,), ((2,), (3,)), 1.0, 1.0)
    assert Cutter().batch([row, row]).mismatched == ()


def test_real_model_answers_survive_the_round_through_its_template(embedded: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded)
    template = Template.of(tokenizer, {tokenizer.eos_token_id})
    assert tokenizer.decode(template.end) == "<|im_end|>"
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Hi\n"}]
    for text in ("Hello.", "\n\nTwo lines first", "naïve 😀 \u202eright to left"):
        ids = template.prompt(messages) + template.response(messages, text)
        assert tokenizer.decode(ids).endswith(f"<|im_start|>assistant\n{text}<|im_end|>")


def test_label_batches_hold_bools(template: Template) -> None:
    from align.batches import label_batch

    micro = Cutter().batch([label(0), label(1, good=False)]).micros[0]
    zeros = torch.zeros(micro.block.shape)
    batch: LabelBatch = label_batch(micro, zeros, zeros, torch.tensor(0.0))
    assert batch.good.tolist() == [row.good for row in micro.rows if isinstance(row, LabelRow)]
    assert batch.good.dtype == torch.bool


def test_rows_of_one_prompt_are_dealt_into_one_batch() -> None:
    rows: list[Row] = [
        PairRow(f"r{i}", f"p{i // 3}", (1, 2), ((3,), (4, i)), 1.0, 1.0) for i in range(24)
    ]
    steps = plan(rows, epochs=2, batch_size=6, seed=1)
    assert len(steps) == 8
    for step in steps:
        prompts = [rows[i].prompt_id for i in step]
        assert all(prompts.count(prompt) == 3 for prompt in prompts)


def test_a_prompt_with_more_rows_than_half_a_batch_leaves_room_for_another() -> None:
    """KTO's z needs answers to other prompts in every batch."""
    rows: list[Row] = [
        LabelRow(f"r{i}", "same" if i < 8 else f"p{i}", (1, 2), ((3, i),), i % 2 == 0, 1.0)
        for i in range(16)
    ]
    for step in plan(rows, epochs=1, batch_size=8, seed=0):
        assert len({rows[i].prompt_id for i in step}) > 1


def test_a_pass_never_takes_more_of_a_prompts_responses_than_fit() -> None:
    rows: list[Row] = [
        PairRow(f"r{i}", "p", (1,) * 10, ((2, i), (3, i)), 1.0, 1.0) for i in range(10)
    ]
    batch = Cutter(budget=30).batch(rows)
    assert sum(len(micro.rows) for micro in batch.micros) == 10
    assert all(micro.block.ids.numel() <= 30 for micro in batch.micros)
    for micro in batch.micros:
        for row, places in zip(micro.rows, micro.places, strict=True):
            responses = [r for fork in micro.forks for r in fork.responses]
            assert tuple(responses[place] for place in places) == row.responses


@pytest.mark.parametrize("shared", [True, False])
def test_prompts_are_scored_behind_all_responses_where_a_loss_asks(shared: bool) -> None:
    """By hand: prompts 1 2 3 and 7 8, so 2 3 and 8 are predicted, from the places before them."""
    rows: list[Row] = [
        PairRow("a", "p", (1, 2, 3), ((4,), (5, 6)), 1.0, 1.0),
        PairRow("b", "q", (7, 8), ((9,), (4,)), 1.0, 1.0),
    ]
    (micro,) = Cutter(shared=shared, prompts=True, budget=100).batch(rows).micros
    assert micro.places == ((0, 1, 4), (2, 3, 5))
    block = micro.block
    tokens = block.place(block.target.float()).int().tolist()
    assert tokens == [[4, 0], [5, 6], [9, 0], [4, 0], [2, 3], [8, 0]]
    before = block.place(block.ids.flatten()[block.source].float()).int().tolist()
    assert before == [[3, 0], [3, 5], [8, 0], [8, 0], [1, 2], [7, 0]]
