"""Near-duplicates: what counts as the same text, what as nearly the same, what as another one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback import near
from feedback.near import (
    BUCKET,
    PROMPT_THRESHOLD,
    NearIndex,
    normalise,
    shingle_hashes,
    similarity,
)

REPEATS = [
    ("What is the capital of France?", "what is the  capital of france"),
    ("Explain how rainbows form to a child.", "Explain how rainbows form to a child, please."),
    ("Give me tips for better sleep.", "Give me some tips for better sleep"),
    ("Explain recursion to a beginner", "Explain recusion to a beginner"),
    ("How do I bake bread at home?", "How do I bake a bread at home?"),
]
OTHERS = [
    ("What is the capital of France?", "What is the capital of Spain?"),
    ("Write a haiku about autumn", "Write a haiku about winter"),
    ("How do I bake bread at home?", "How do I bake cookies at home?"),
    ("Yes", "No"),
    ("", "Anything"),
]


@pytest.mark.parametrize(("one", "other"), REPEATS)
def test_a_repeated_prompt_is_near(one: str, other: str):
    assert similarity(one, other) >= PROMPT_THRESHOLD
    index = NearIndex()
    index.add("first", one)
    assert [id for id, _ in index.find(other)] == ["first"]


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_another_prompt_is_not_near(one: str, other: str):
    assert similarity(one, other) < PROMPT_THRESHOLD
    index = NearIndex()
    index.add("first", one)
    assert index.find(other) == []


def test_similarity_is_the_jaccard_index_of_three_character_shingles():
    """abcd has {abc, bcd}, bcde has {bcd, cde}: one of three shared."""
    assert similarity("abcd", "bcde") == pytest.approx(1 / 3)


def test_case_spaces_quotes_and_end_punctuation_do_not_count_and_signs_do():
    assert normalise("“Hello”,  World!!") == normalise("hello world")
    assert normalise("What is 3 + 4?") != normalise("What is 3 - 4?")
    assert normalise("कि") != normalise("की")
    assert normalise("ﬁne\u200b") == "fine"


def test_two_empty_texts_are_the_same():
    assert similarity("", " ") == 1.0


@settings(deadline=None)
@given(st.text(), st.text())
def test_similarity_is_symmetric_bounded_and_one_for_itself(one: str, other: str):
    assert similarity(one, one) == 1.0
    assert 0.0 <= similarity(one, other) == similarity(other, one) <= 1.0


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_an_index_finds_every_text_that_was_added(texts: list[str]):
    index = NearIndex()
    for number, text in enumerate(texts):
        index.add(str(number), text)
    for number, text in enumerate(texts):
        assert str(number) in [id for id, value in index.find(text) if value == 1.0]


def test_the_same_texts_in_another_process_would_give_the_same_hashes():
    """The hash is ours, not Python's, whose strings hash differently in each process."""
    assert shingle_hashes("abcd").tolist() == [2667998618, 2729663291]


def test_the_most_similar_comes_first_and_the_earliest_among_equals():
    index = NearIndex()
    index.add("near", "How do I bake a bread at home?")
    index.add("same", "How do I bake bread at home?")
    index.add("same again", "how do i bake bread at home")
    found = [id for id, _ in index.find("How do I bake bread at home?")]
    assert found == ["same", "same again", "near"]


def test_thousands_of_prompts_of_one_template_stay_quick():
    """Each look-up compares at most BUCKET texts of each bucket, whatever the template's number."""
    index = NearIndex()
    template = "Classify the sentiment of this movie review as good, bad or neutral, in one word: "
    for number in range(20 * BUCKET):
        index.add(str(number), template + f"review number {number * 7919}")
    started = time.thread_time()
    index.find(template + "a review that nobody has seen")
    assert time.thread_time() - started < 0.05


def test_a_text_of_a_million_characters_is_looked_up_in_a_second():
    index = NearIndex()
    long = "All work and no play makes Jack a dull boy, said the author again. " * 15_000
    started = time.thread_time()  # whatever else the machine does
    index.add("long", long)
    assert [id for id, _ in index.find(long + " The end.")] == ["long"]
    assert time.thread_time() - started < 2


def test_texts_are_found_before_and_after_they_are_sorted_in(monkeypatch: pytest.MonkeyPatch):
    """Every fourth text is a repeat; with RECENT 7 the sorted array is rebuilt many times."""
    monkeypatch.setattr(near, "RECENT", 7)
    index = NearIndex()
    for number in range(200):
        text = (
            f"{number // 4 * 7919} apples and {number // 4 * 104729} pears, {number // 4}th basket"
        )
        found = [id for id, value in index.find_and_add(str(number), text) if value == 1.0]
        assert found == [str(earlier) for earlier in range(number // 4 * 4, number)]
