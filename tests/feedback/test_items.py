"""Prompts, responses and comparisons through the real store: identity, clusters, refusals."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from feedback import clusters
from feedback.frozen import split_of
from feedback.imports import import_file
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.near import NearIndex
from storage.errors import BadInput, Conflict, DiskFull, NotFound
from storage.records import Comparison, Prompt, Response, Text, canonical_messages
from storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "data")
    yield store
    store.close()


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def pair(store: Store, prompt: Prompt, one: str, other: str, model: str = "m") -> list[Response]:
    return add_responses(
        store, [NewResponse(prompt.id, one, model), NewResponse(prompt.id, other, model)]
    )


def test_the_same_prompt_twice_is_one_prompt(store: Store):
    first = add_prompts(store, [ask("Hi?"), ask("Hi?")], "screen")
    again = add_prompts(store, [ask("Hi?")], "api")
    assert first[0] == first[1] == again[0]
    assert store.rows(Prompt) == [first[0]]
    assert store.messages(first[0]) == ask("Hi?")


def test_prompts_come_back_in_the_order_they_were_given(store: Store):
    texts = ["What is a noun?", "Name a river.", "How old is the sun?"]
    prompts = add_prompts(store, [ask(text) for text in texts], "screen")
    assert [store.messages(p)[0]["content"] for p in prompts] == texts
    assert [p.id for p in store.rows(Prompt, order="created_at")] == [p.id for p in prompts]


def test_a_near_duplicate_joins_the_cluster_of_the_earliest(store: Store):
    """Also in a later call."""
    first, other = add_prompts(store, [ask("How do I boil an egg?"), ask("Name a river.")], "x")
    (near,) = add_prompts(store, [ask("How do I boil an egg well?")], "x")
    (nearer,) = add_prompts(store, [ask("how do I  boil an egg")], "x")
    assert first.cluster == near.cluster == nearer.cluster == first.id
    assert other.cluster == other.id
    assert {p.cluster for p in store.rows(Prompt)} == {first.id, other.id}


def _bridge() -> tuple[str, str, str]:
    """Return a text of the train split, one that judges, and one near to both.

    A core of about 40 shingles with 12 more in front, or 12 more behind: either is near to the
    core (about 40/52 = 0.77), and they are not near to each other (40/64 = 0.63).
    """
    for number in range(1_000):
        core = f"list the planets and moons of the sun {number:04d}"
        left, right = f"quickly now {core}", f"{core} in a poem ok"
        splits = [split_of(Prompt.id_of(ask(text))) for text in (left, right)]
        if splits[0] == "train" and splits[1] != "train":
            index = NearIndex()  # which estimates, so not every such core will do
            index.add("left", left)
            index.add("right", right)
            if len(index.find(core)) == 2 and len(index.find(left)) == 1:
                return left, right, core
    raise AssertionError("no number gives such texts")


def test_between_two_clusters_the_one_that_judges_wins(store: Store):
    """A prompt near to both a train and a held-out cluster must never be trained on."""
    left, right, both = _bridge()
    training, judging = add_prompts(store, [ask(left), ask(right)], "x")
    assert training.cluster != judging.cluster
    (prompt,) = add_prompts(store, [ask(both)], "x")
    assert prompt.cluster == judging.cluster


def test_a_system_message_does_not_make_prompts_near(store: Store):
    system = {"role": "system", "content": "You are a helpful assistant. " * 20}
    prompts = add_prompts(
        store, [[system, *ask("Name a river.")], [system, *ask("How old is the sun?")]], "x"
    )
    assert prompts[0].cluster != prompts[1].cluster


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "the prompt is empty"),
        (ask(" \n"), "the prompt is empty"),
        (ask("a\0"), "NUL character at position 1"),
        (ask("a\udc80"), "surrogate U+DC80"),
        (ask("x" * 1_000_001), "1,000,001 characters, the limit is 1,000,000"),
        ([{"role": "assistant", "content": "x"}], "end it with a user's"),
        ([{"role": "robot", "content": "x"}], "one of system, user, assistant"),
        ([*ask(""), {"role": "assistant", "content": "x"}, *ask("y")], "message 1 of 3"),
    ],
)
def test_a_prompt_that_cannot_be_answered_is_refused(store: Store, messages, said: str):
    with pytest.raises(BadInput, match=re.escape(said)):
        add_prompts(store, [messages], "x")
    with pytest.raises(BadInput, match="prompt 2: "):
        add_prompts(store, [ask("fine"), messages], "x")
    assert store.rows(Prompt) == []


def test_responses_keep_their_origin_and_an_empty_one_is_stored(store: Store):
    (prompt,) = add_prompts(store, [ask("Hi?")], "x")
    rows = [
        NewResponse(prompt.id, "Hello!", "m", "run1", {"temperature": 0.8}, 7, True, "generated:1"),
        NewResponse(prompt.id, "", "m"),
        NewResponse(prompt.id, "Hello!", "m", "run1", {"temperature": 0.8}, 8),
    ]
    made = add_responses(store, rows)
    assert len({r.id for r in made}) == 3  # another seed is another response
    assert store.rows(Response, order="created_at") == made
    assert (made[0].settings, made[0].seed, made[0].source) == (
        {"temperature": 0.8},
        7,
        "generated:1",
    )
    assert add_responses(store, rows) == made
    assert store.texts([made[1].text]) == {made[1].text: ""}


@pytest.mark.parametrize(
    ("text", "model", "said"),
    [("a\0", "m", "response 1 has a NUL"), ("a", "", "names no model"), ("\ud800", "m", "half a")],
)
def test_a_response_that_cannot_be_stored_is_refused(store: Store, text, model, said):
    (prompt,) = add_prompts(store, [ask("Hi?")], "x")
    with pytest.raises(BadInput, match=said):
        add_responses(store, [NewResponse(prompt.id, text, model)])


def test_a_response_to_no_prompt_is_refused(store: Store):
    with pytest.raises(NotFound, match="there is no prompt 'p_none'"):
        add_responses(store, [NewResponse("p_none", "Hello!", "m")])


def test_the_same_comparison_the_other_way_round_is_the_stored_one(store: Store):
    (prompt,) = add_prompts(store, [ask("Hi?")], "x")
    a, b = pair(store, prompt, "Hello!", "What.")
    (first,) = add_comparisons(store, [(a, b)], "x")
    (again,) = add_comparisons(store, [(b, a)], "y")
    assert first == again
    assert store.rows(Comparison) == [first]


def test_another_model_makes_another_comparison(store: Store):
    (prompt,) = add_prompts(store, [ask("Hi?")], "x")
    a, b = pair(store, prompt, "Hello!", "What.")
    c, d = pair(store, prompt, "Hello!", "What.", model="other")
    assert len({c.id for c in add_comparisons(store, [(a, b), (c, d), (a, d)], "x")}) == 3


def test_an_imported_id_names_a_comparison_and_other_answers_under_it_are_refused(store: Store):
    (prompt,) = add_prompts(store, [ask("Hi?")], "x")
    a, b = pair(store, prompt, "Hello!", "What.")
    (first,) = add_comparisons(store, [(a, b)], "x", ids=["mine"])
    assert first.id == "mine"
    assert add_comparisons(store, [(b, a)], "x", ids=["mine"]) == [first]
    (c,) = add_responses(store, [NewResponse(prompt.id, "Third", "m")])
    with pytest.raises(Conflict, match="'mine' is stored with another prompt or other answers"):
        add_comparisons(store, [(a, c)], "x", ids=["mine"])


def test_answers_to_two_prompts_cannot_be_compared(store: Store):
    first, second = add_prompts(store, [ask("Hi?"), ask("Name a river.")], "x")
    a, _ = pair(store, first, "Hello!", "What.")
    b, _ = pair(store, second, "Rhine", "Nile")
    with pytest.raises(BadInput, match="answer different prompts"):
        add_comparisons(store, [(a, b)], "x")


def test_nothing_to_add_adds_nothing(store: Store):
    assert add_prompts(store, [], "x") == []
    assert add_responses(store, []) == []
    assert add_comparisons(store, [], "x") == []


def test_the_kept_signatures_give_the_same_clusters_and_a_damaged_file_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(clusters, "SAVE_AFTER", 1)
    first, _ = add_prompts(store, [ask("How do I boil an egg?"), ask("Name a river.")], "x")
    kept = store.data / "cache" / "near.npz"
    assert kept.is_file()
    store.companions.clear()  # as after a new start, here and below
    assert add_prompts(store, [ask("How do I  boil an egg")], "x")[0].cluster == first.id
    kept.write_bytes(kept.read_bytes()[:100])
    store.companions.clear()
    assert add_prompts(store, [ask("How do I boil an egg??")], "x")[0].cluster == first.id
    kept.write_bytes(b"")
    store.companions.clear()
    assert add_prompts(store, [ask("How do I boil an egg well?")], "x")[0].cluster == first.id
    assert len(np.load(kept)["ids"]) == 5


def test_one_prompt_more_reads_none_of_the_stored_ones_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """The first add reads the frame of prompts; the second only counts them, and its own text."""
    read: list[str] = []
    frame, texts = store.frame, store.texts
    monkeypatch.setattr(store, "frame", lambda name: read.append(name) or frame(name))
    monkeypatch.setattr(store, "texts", lambda ids: read.append("texts") or texts(ids))
    add_prompts(store, [ask("How do I boil an egg?"), ask("Name a river.")], "x")
    assert "prompts" in read
    read.clear()
    (near,) = add_prompts(store, [ask("How do I boil an egg well?")], "x")
    assert near.cluster != near.id
    assert read == ["sizes"]


def test_an_index_that_grew_gives_the_clusters_that_a_fresh_one_gives(tmp_path: Path):
    """12 questions, and 24 that differ from one of them by a word, in parts and one by one."""
    words = ["river", "lamp", "north", "copper", "window", "garden", "paper", "storm"]
    first = [" ".join(words[(i // 8**k + 3 * k) % 8] for k in range(4)) for i in range(12)]
    texts = [f"What do you know about {one} number {i}?" for i, one in enumerate(first)]
    texts += [text.replace("know", "think") for text in texts] + [
        f"{text} Please" for text in texts
    ]
    random.Random(1).shuffle(texts)
    given = []
    for fresh in (False, True):
        with Store.open(tmp_path / str(fresh)) as store:
            parts = [texts[:8], texts[8:16], *([text] for text in texts[16:24]), texts[24:]]
            for part in parts:
                if fresh:
                    store.companions.clear()
                add_prompts(store, [ask(text) for text in part], "x")
            given.append({p.id: p.cluster for p in store.rows(Prompt)})
    assert given[0] == given[1]
    assert len(given[0]) == 36
    assert len(set(given[0].values())) < 30


def test_what_another_thread_imports_is_known_to_the_next_who_adds(store: Store, tmp_path: Path):
    (first,) = add_prompts(store, [ask("Name a river.")], "x")
    row = {"prompt": "How do I boil an egg?", "chosen": "Four minutes.", "rejected": "Ask."}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row), "utf-8")
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(import_file, store, path).result()
    assert told["stored"] == 1
    (near,) = add_prompts(store, [ask("How do I boil an egg well?")], "x")
    assert near.cluster == Prompt.id_of(ask("How do I boil an egg?"))
    assert add_prompts(store, [ask("Name a  river")], "x")[0].cluster == first.id


def test_eight_threads_that_add_near_prompts_agree_on_their_cluster(store: Store):
    asked = [[ask(f"How do I boil an egg{'!' * n}")] for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda prompts: add_prompts(store, prompts, "x")[0], asked))
    assert len({prompt.id for prompt in added}) == 8
    assert len({prompt.cluster for prompt in added}) == 1


def test_prompts_whose_storing_failed_are_stored_by_the_next_try(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """What the index took for stored, and was not, is forgotten with the error."""
    add_prompts(store, [ask("Name a river.")], "x")
    with monkeypatch.context() as patched:
        patched.setattr(store, "add", _no_room)
        with pytest.raises(DiskFull):
            add_prompts(store, [ask("How do I boil an egg?")], "x")
    (prompt,) = add_prompts(store, [ask("How do I boil an egg?")], "x")
    assert store.get(Prompt, prompt.id) == prompt


def _no_room(rows: object) -> None:
    raise DiskFull("the disk is full")


def test_prompts_that_were_stored_without_the_index_are_read(store: Store):
    add_prompts(store, [ask("Name a river.")], "x")
    text = Text.of(canonical_messages(ask("How do I boil an egg?")))
    id = Prompt.id_of(ask("How do I boil an egg?"))
    store.add([text, Prompt(id, text.id, id, "elsewhere")])
    assert add_prompts(store, [ask("How do I boil an egg well?")], "x")[0].cluster == id
