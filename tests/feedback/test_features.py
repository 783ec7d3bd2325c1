"""What a text is like, worked out by hand; and that what is kept only saves time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback import features as module
from feedback import kept
from feedback.features import (
    CLOSINGS,
    FEATURES,
    OPENINGS,
    QUOTE_CHARS,
    excerpt,
    features,
    is_broken,
    is_cut_off,
    keys_of,
    text_features,
)
from feedback.identity import claimed, families_of, mask_identity
from feedback.personal import is_card, personal_kinds
from storage.records import Text, digest
from storage.store import Store


def of(text: str, *names: str) -> tuple[int, ...]:
    found = text_features(text)
    return tuple(found[name] for name in names)


def test_formatting_is_counted():
    """Two headings, three list items, two bold words, two rows of a table, one code block."""
    text = (
        "# One\n## Two\n- a\n* b\n1. c\n**x** and __y__\n| a | b |\n|---|---|\n"
        "```python\n# no heading?\n```\nSee [here](http://x.org)! Really? 😀"
    )
    names = ("list_items", "bold", "tables", "code_blocks", "exclamations", "questions", "emoji")
    assert of(text, *names) == (3, 2, 2, 1, 1, 2, 1)
    assert of("#hashtag is no heading\n#1 neither", "headings") == (0,)


@pytest.mark.parametrize(
    ("text", "opening"),
    [
        ("Great question! It is blue.", "praise"),
        ("Sure, here it is.", "eager"),
        ("**Certainly!** Here", "eager"),
        ("I'm sorry, but no.", "sorry"),
        ("As an AI language model, I cannot", "as_an_ai"),
        ("Surely it is blue.", ""),
        ("It is sure to rain.", ""),
        ("", ""),
    ],
)
def test_openings(text: str, opening: str):
    assert OPENINGS[text_features(text)["opening"]] == opening


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("It is blue. Let me know if you want more.", "offer"),
        ("It is blue.\n\nIn conclusion, blue it is.", "summary"),
        ("It is blue, is it not?", "question"),
        ("It is blue.", ""),
        ("I hope this helps. " + "And so it goes on. " * 30, ""),  # said long before the end
    ],
)
def test_closings(text: str, closing: str):
    assert CLOSINGS[text_features(text)["closing"]] == closing


def test_a_refusal_is_said_at_the_beginning():
    assert of("I'm sorry, but I can't help with that.", "refusal") == (1,)
    assert of("I cannot provide that.", "refusal") == (1,)
    assert of("I cannot wait to tell you!", "refusal") == (0,)
    assert of("It is blue. " * 40 + "I can't help with that.", "refusal") == (0,)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("It is the capital of France, which lies on the", True),
        ("It is the capital of France, which lies there.", False),
        ("Paris", False),  # a short answer is whole
        ("The largest rivers of all Europe are these:\n- Volga\n- the Danube", False),
        ("This is how one does it:\n```python\nprint(1)", True),
        ("This is how one does it:\n```python\nprint(1)\n```", False),
        ("Have a nice day, all of you out there 😀", False),
        ("", False),
    ],
)
def test_what_is_cut_off(text: str, cut: bool):
    assert is_cut_off(text) is cut


def test_what_is_broken():
    """A loop of three words has 3 different triples of 88: below 0.4. Sixty different words: 1."""
    assert is_broken("round and round " * 30)
    assert is_broken("Hello<|im_end|>")
    assert is_broken("caf\ufffd")
    assert not is_broken(" ".join(f"word{n}" for n in range(60)))
    assert not is_broken("no no no")


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("I am ChatGPT.", "OpenAI"),
        ("I'm Claude, an AI assistant.", "Anthropic"),
        ("As an AI language model created by OpenAI, I cannot say.", "OpenAI"),
        ("I'm a large language model, trained by Google.", "Google"),
        ("I was trained by a team of researchers at LMSYS", "LMSYS"),
        ("I am Qwen.", "Alibaba"),
        ("As ChatGPT, I cannot", "OpenAI"),
        ("I have to follow OpenAI's use case policy.", "OpenAI"),
    ],
)
def test_an_answer_that_names_itself_or_its_maker(text: str, family: str):
    assert families_of(claimed(text)) == (family,)


@pytest.mark.parametrize(
    "text",
    [
        "GPT-4 is a model by OpenAI; I think it is large.",
        "I am a Gemini, born in June.",
        "I am Claude Monet.",
        "I work at Google as an engineer.",
        "I was made redundant by Google.",
        "I am an AI assistant. Google is a company.",
        "As a user of ChatGPT, you know this.",
        "",
    ],
)
def test_a_text_about_a_model_is_no_leak(text: str):
    assert claimed(text) == 0


def test_names_are_hidden_but_for_those_that_the_prompt_used():
    text = "I am ChatGPT, made by OpenAI. GPT-4 is newer than Claude."
    hidden = "I am [hidden], made by [hidden]. [hidden] is newer than Claude."
    assert mask_identity(text) == hidden
    assert mask_identity(text, "Are you Claude?") == hidden
    assert mask_identity(text, "Are you ChatGPT?") == text
    assert claimed(hidden) == 0


def test_names_are_hidden_in_addresses_too():
    text = "I am ChatGPT, made by OpenAI: chat.openai.com, help@openai.com. An openai is nothing."
    hidden = "I am [hidden], made by [hidden]: chat.[hidden].com, help@[hidden].com. "
    assert mask_identity(text) == hidden + "An openai is nothing."


def test_personal_data_is_counted_by_kind():
    text = "ada@lovelace.org, bob.b@uni-x.de; +49 30 1234567 and (212) 664-7665; 93.184.216.34"
    assert personal_kinds(text) == {"mail": 2, "phone": 2, "card": 0, "address": 1}


@pytest.mark.parametrize(
    "text",
    [
        "write to someone@example.com",  # RFC 2606: nobody's
        "call 212-555-0123",  # kept for fiction
        "ping 192.168.0.1, 127.0.0.1, 10.0.0.1, 192.0.2.7 or 8.8.8.8",
        "version 2.31.4.1 is out",
        "it is 12:30:45 now",
        "pi is 3.14159265358979323846",
        "the number 4111111111111112",
        "1 234 567 people in 2021-2022",
        "@someone wrote a@b",
        "",
    ],
)
def test_what_is_nobodys_is_no_personal_data(text: str):
    assert sum(personal_kinds(text).values()) == 0


def test_a_card_number_has_a_known_issuer_and_the_right_check_digit():
    """4111 1111 1111 1111: the eight doubled digits are 8 and 7 times 2, 22; the others eight 1;
    30 is a multiple of ten. The published test number of American Express has 15 digits."""
    assert is_card("4111 1111 1111 1111")
    assert is_card("378282246310005")
    assert not is_card("4111 1111 1111 1112")
    assert not is_card("9111 1111 1111 1111")
    assert personal_kinds("pay with 4111-1111-1111-1111, please")["card"] == 1


@given(st.text(max_size=300))
def test_any_text_has_every_feature(text: str):
    found = text_features(text)
    assert list(found) == list(FEATURES)
    assert min(found.values()) >= 0


@pytest.mark.parametrize("part", ["1 ", "1.1.", "a@", "+1 ", "f:", "**a ", "|", "I am a model "])
def test_a_hostile_text_takes_linear_time(part: str):
    """A pattern that looks back and forth would not return within the test's time limit."""
    text_features(part * (400_000 // len(part)) + " Google")


# What is kept


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


def test_features_come_by_text_id_and_are_computed_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "SAVE_AFTER", 1)
    texts = [Text.of(content) for content in ("**b**", "Sure!", "")]
    store.add(texts)
    ids = [text.id for text in texts]
    first = features(store, ids[:2])
    assert list(first.index) == ids[:2]
    assert first.loc[ids[0], "bold"] == 1
    monkeypatch.setattr(module, "AT_ONCE", 1)
    second = features(store, [*ids, ids[0]])
    assert list(second.index) == ids
    assert second["blank"].tolist() == [False, False, True]
    monkeypatch.setattr(module, "text_features", lambda _: pytest.fail("computed again"))
    third = features(store, ids[::-1])
    assert third.loc[ids].equals(second)
    assert {name: str(third[name].dtype) for name in ("words", "blank", "opening")} == {
        "words": "uint32",
        "blank": "bool",
        "opening": "uint8",
    }


def test_a_conversation_is_read_as_what_was_said(store: Store):
    messages = '[{"role":"user","content":"Ask\\nada@lovelace.org"}]'
    text = Text.of(messages)
    store.add([text])
    frame = features(store, [text.id], [text.id])
    assert frame.loc[text.id, ["words", "mail"]].tolist() == [2, 1]


LONG = "word " * 50


@pytest.mark.parametrize(
    ("text", "feature", "shows"),
    [
        ("Short\nand **bold**.", "bold", "Short and **bold**."),
        (f"{LONG}**bold** {LONG}", "bold", "… word word word word word **bold** word"),
        (f"{LONG}\n# Title\n{LONG}", "headings", "word # Title word"),
        (f"Sure! {LONG}", "opening", "Sure! word"),
        (f"{LONG}I hope this helps. {LONG[:100]}", "closing", "word I hope this helps. word"),
        (f"{LONG}Is it?", "closing", "word Is it?"),  # a question has no sign: the end
        (f"{'x' * 300}!", "exclamations", "… xxx"),  # no word to begin with
        ("nothing of it", "bold", "nothing of it"),
    ],
)
def test_an_excerpt_shows_the_sign_on_one_line(text: str, feature: str, shows: str):
    line = excerpt(text, feature)
    assert shows in line
    assert len(line) <= QUOTE_CHARS
    assert "\n" not in line


def test_counts_stop_where_their_type_ends(store: Store):
    text = Text.of("!" * 70_000)
    store.add([text])
    assert features(store, [text.id])["exclamations"].tolist() == [50_000]
    assert module._most("u2") == 65_535


def test_a_key_is_the_first_eight_bytes_of_the_hash():
    id = digest("x")
    assert keys_of(np.array([id], dtype=object)).tolist() == [int(id[:16], 16)]


def test_a_file_made_otherwise_is_not_used(store: Store):
    kept.write(store.data / "cache" / "features.npz", "v0", keys=np.array([1], dtype=np.uint64))
    text = Text.of("Sure!")
    store.add([text])
    assert features(store, [text.id])["words"].tolist() == [1]
