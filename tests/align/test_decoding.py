"""The decode loop: the tokens of `generate`, whoever stands beside, enters or leaves."""

import shutil

import pytest
import torch

from align.decoding import DecodeRow, decode
from align.loaded import LoadedModel
from storage.errors import BadInput, Unsupported
from tests.align.talk import CHAT, chats, make_adapter, make_copies


@pytest.fixture(scope="module")
def model(tiny):
    return LoadedModel(tiny, "fp32")


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    return make_adapter(tiny, tmp_path_factory.mktemp("adapter"))


def row(model, messages, seed=0, max_tokens=20, temperature=0.9, top_p=0.95, adapter=None):
    ids, _ = model.prompt_ids(messages, max_tokens)
    return DecodeRow(ids, seed, max_tokens, temperature, top_p, adapter)


def run(model, rows, width=48):
    """Return the tokens of each row."""
    tokens = [[] for _ in rows]
    ended = [0] * len(rows)
    for step in decode(model, rows, width):
        for new in step:
            tokens[new.row].append(new.token)
            ended[new.row] += new.last
    assert ended == [1] * len(rows)
    return tokens


def test_greedy_tokens_are_those_of_generate(model):
    rows = [row(model, chat, temperature=0.0) for chat in chats(5)]
    expected = []
    for one in rows:
        out = model.model.generate(
            torch.tensor([list(one.ids)]),
            attention_mask=torch.ones(1, len(one.ids), dtype=torch.long),
            max_new_tokens=one.max_tokens,
            do_sample=False,
        )
        expected.append(out[0, len(one.ids) :].tolist())
    assert run(model, rows) == expected


@pytest.mark.parametrize("width", [1, 3, 7, 48])
def test_an_answer_does_not_depend_on_the_width_or_its_neighbours(model, width):
    """Twenty rows of different lengths and limits: rows leave and enter all the time."""
    rows = [
        row(model, chat, seed=i, max_tokens=3 + 5 * (i % 6)) for i, chat in enumerate(chats(20))
    ]
    alone = [run(model, [one])[0] for one in rows]
    assert run(model, rows, width) == alone


def test_another_seed_gives_another_answer(model):
    one, other = run(model, [row(model, CHAT, seed=1), row(model, CHAT, seed=2)])
    assert one != other


def test_the_limit_is_kept_and_a_stop_token_ends_a_row_before_it(model):
    tokens = run(model, [row(model, CHAT, seed=i, max_tokens=300) for i in range(12)])
    stopped = [t for t in tokens if t[-1] in model.stop_ids]
    assert stopped
    assert all(len(t) == 300 for t in tokens if t not in stopped)
    assert all(not model.stop_ids & set(t[:-1]) for t in tokens)


def test_a_mixed_batch_equals_separate_ones(model, adapter):
    name = model.use_adapter(adapter)
    base, tuned = row(model, CHAT, seed=4), row(model, CHAT, seed=4, adapter=name)
    separate = [run(model, [base])[0], run(model, [tuned])[0]]
    assert run(model, [base, tuned]) == separate
    assert separate[0] != separate[1]


def test_two_adapters_of_other_ranks_and_layers_stand_in_one_batch(tiny, model, adapter, tmp_path):
    narrow = make_adapter(tiny, tmp_path, seed=7, rank=2, layers=["q_proj", "down_proj"])
    assert model.together([adapter, narrow, None]) == [[0, 1, 2]]
    names = [model.use_adapter(folder) for folder in (adapter, narrow)]
    rows = [row(model, CHAT, seed=4, adapter=name) for name in (*names, None)]
    separate = [run(model, [one])[0] for one in rows]
    assert run(model, rows) == separate
    assert len({tuple(tokens) for tokens in separate}) == 3


def test_a_base_that_is_stored_in_four_bits_takes_both_adapters_too(tiny, adapter, tmp_path):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    small = AutoModelForCausalLM.from_pretrained(tiny, quantization_config=bits)
    small.save_pretrained(tmp_path)
    for file in tiny.iterdir():
        if not (tmp_path / file.name).exists():
            shutil.copy(file, tmp_path)
    model = LoadedModel(tmp_path, "fp32")
    name = model.use_adapter(adapter)
    rows = [row(model, CHAT, seed=4, adapter=which) for which in (None, name)]
    separate = [run(model, [one])[0] for one in rows]
    assert run(model, rows) == separate
    assert separate[0] != separate[1]


def test_the_base_answers_as_if_no_adapter_was_loaded(tiny, model, adapter):
    fresh = LoadedModel(tiny, "fp32")
    expected = run(fresh, [row(fresh, CHAT, seed=9)])
    name = model.use_adapter(adapter)
    run(model, [row(model, CHAT, seed=9, adapter=name)])
    assert run(model, [row(model, CHAT, seed=9)]) == expected


def test_an_adapter_with_one_flipped_bit_is_refused(model, tiny, tmp_path):
    damaged = make_adapter(tiny, tmp_path / "damaged", seed=2)
    weights = damaged / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BadInput, match="changed or damaged"):
        model.use_adapter(damaged)


def test_an_adapter_of_another_model_is_refused_and_the_rest_goes_on(model, tmp_path, adapter):
    from transformers import LlamaConfig, LlamaForCausalLM

    other = tmp_path / "other"
    config = LlamaConfig(
        vocab_size=99,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(other)
    foreign = make_adapter(other, tmp_path / "foreign")
    with pytest.raises(Unsupported, match="does not fit"):
        model.use_adapter(foreign)
    name = model.use_adapter(adapter)
    run(model, [row(model, CHAT, seed=1, adapter=name), row(model, CHAT, seed=1)])


def test_many_adapters_are_loaded_and_the_oldest_leave(tiny, tmp_path):
    fresh = LoadedModel(tiny, "fp32")
    expected = run(fresh, [row(fresh, CHAT, seed=3)])
    answers = []
    for number in range(6):
        made = make_adapter(tiny, tmp_path / str(number), seed=10 + number)
        name = fresh.use_adapter(made)
        answers.append(run(fresh, [row(fresh, CHAT, seed=3, adapter=name)])[0])
    assert len({tuple(a) for a in answers}) == 6
    again = fresh.use_adapter(tmp_path / "0")
    assert run(fresh, [row(fresh, CHAT, seed=3, adapter=again)])[0] == answers[0]
    assert run(fresh, [row(fresh, CHAT, seed=3)]) == expected


def test_an_adapter_that_had_to_leave_keeps_its_name_and_is_never_the_base(tiny, tmp_path):
    fresh = LoadedModel(tiny, "fp32")
    folders = [make_adapter(tiny, tmp_path / str(i), seed=i) for i in range(2)]
    copies = make_copies(tiny, tmp_path / "copies")
    names = [fresh.use_adapter(folder) for folder in folders]
    rows = [row(fresh, CHAT, seed=3, adapter=name) for name in names]
    expected = run(fresh, rows)
    fresh.use_adapter(copies)  # another kind takes their place
    with pytest.raises(LookupError, match=names[0]):
        run(fresh, rows)
    assert [fresh.use_adapter(folder) for folder in folders] == names
    assert run(fresh, rows) == expected


def test_a_prompt_too_long_for_the_model_loses_its_beginning(model):
    """The tiny model takes 512 tokens, one per byte: with 100 for the answer 412 are left."""
    long = [{"role": "user", "content": "x" * 1000 + "the end"}]
    ids, cut = model.prompt_ids(long, 100)
    assert len(ids) == 412
    assert cut > 500
    assert model.text_of(ids).endswith("the end\nassistant\n")


def test_a_template_that_never_ends_is_stopped(model, monkeypatch):
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    monkeypatch.setattr("align.loaded.TEMPLATE_SECONDS", 0.3)
    monkeypatch.setattr(model.tokenizer, "chat_template", loop)
    with pytest.raises(Unsupported, match="chat template"):
        model.prompt_ids(CHAT, 10)


def test_a_template_that_refuses_is_told(model, monkeypatch):
    refuse = "{{ raise_exception('no system role here') }}"
    monkeypatch.setattr(model.tokenizer, "chat_template", refuse)
    with pytest.raises(Unsupported, match="no system role here"):
        model.prompt_ids(CHAT, 10)


def test_token_scores_equal_a_naive_loop_with_and_without_the_adapter(tiny, tmp_path):
    """The chapter's implicit reward, token by token, by plain forward passes in fp32."""
    model = LoadedModel(tiny, "fp32")
    folder = make_adapter(tiny, tmp_path / "adapter", seed=3)
    name = model.use_adapter(folder)
    gains = []
    for adapter in (name, None):
        ids, found = model.token_scores(CHAT, "Hi, ünter uns", adapter)
        prompt = list(model.template.prompt(CHAT))
        with torch.inference_mode():
            logits = model._forward([adapter])(torch.tensor([prompt + ids], device=model.device))
        rows = logits.logits[0].float().log_softmax(-1)
        naive = [float(rows[len(prompt) - 1 + t, ids[t]]) for t in range(len(ids))]
        assert found == pytest.approx(naive, abs=1e-4)
        gains.append(found)
    assert gains[0] != pytest.approx(gains[1], abs=1e-3), "the adapter changes something"
    assert sum(gains[1]) == pytest.approx(model.score(CHAT, "Hi, ünter uns", None)[0], abs=1e-4)


def test_pieces_are_the_text_and_half_a_character_comes_with_its_end(tiny):
    """A byte is a token here: ü has two, and the end of the turn adds no text."""
    model = LoadedModel(tiny, "fp32")
    ids, _ = model.token_scores(CHAT, "für", None)
    assert model.pieces_of(ids) == ["f", "", "ü", "r", ""]
    assert model.pieces_of(ids[:2])[-1] == "\ufffd", "cut within a character"


def test_a_score_is_the_sum_of_the_log_probabilities_of_the_answer(tiny):
    """By hand: a forward pass over prompt and answer, log-softmax, the answer's own tokens."""
    model = LoadedModel(tiny, "fp32")
    prompt = list(model.template.prompt(CHAT))
    answer = list(model.template.response(CHAT, "Hi"))
    with torch.inference_mode():
        logits = (
            model.model(torch.tensor([prompt + answer], device=model.device))
            .logits[0]
            .log_softmax(-1)
        )
    places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
    expected = sum(float(logits[p, t]) for p, t in zip(places, answer, strict=True))
    logprob, tokens = model.score(CHAT, "Hi", None)
    assert tokens == len(answer) == 3
    assert logprob == pytest.approx(expected, abs=1e-4)
    cut = expected - float(logits[places[-1], answer[-1]])
    logprob, tokens = model.score(CHAT, "Hi", None, finished=False)
    assert tokens == 2, "a cut answer has no end of turn to be likely or not"
    assert logprob == pytest.approx(cut, abs=1e-4)


def test_pieces_make_up_any_answer_and_odd_ones_are_scored(tiny):
    """One byte a token: four make an emoji; nothing said is its end alone; the longest is cut at
    the model's 512 tokens, one of which is the prompt's."""
    model = LoadedModel(tiny, "fp32")
    said = "a\n\n  b 👩‍💻 é e\u0301 日本"
    ids, found = model.token_scores(CHAT, said, None)
    assert "".join(model.pieces_of(ids)) == said
    assert len(ids) == len(found) == len(said.encode()) + 1
    for finished in (True, False):
        assert len(model.token_scores(CHAT, "", None, finished=finished)[0]) == 1
    ids, found = model.token_scores(CHAT, "x" * 2_000, None)
    assert len(ids) == len(found) == 511
    assert all(value <= 0 for value in found)
