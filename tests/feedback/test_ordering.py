"""Rankings: the votes that an order implies, what is handed out, sending twice, undo, fallbacks."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given as with_any
from hypothesis import strategies as st

from feedback.api import install_errors, router
from feedback.assignments import serve_items
from feedback.campaigns import set_collecting
from feedback.collecting import change, given, make, of_labeler
from feedback.curation import exclude
from feedback.exports import export_file
from feedback.grouping import group_of
from feedback.items import NewResponse, add_comparisons, add_prompts, add_responses
from feedback.ordering import LETTERS, implied, left_of, letters_of, order_of, ranking_of
from feedback.ranked import cast_ranking
from feedback.seen import Item, history
from feedback.votes import cast_vote
from storage.errors import BadInput, Conflict, NotFound
from storage.records import Assignment, Comparison, Response, Text, Vote
from storage.store import Store
from tests.feedback.stock import stock

TEXTS = ("Red is warm.", "Blue calms people.", "Green grows outside.", "Yellow shines far.")
DIGITS = st.lists(st.integers(0, 3), min_size=3, max_size=4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        set_collecting(opened, shared=0.0, repeats=0.0, gold=0.0)
        yield opened


def prompts_with(store: Store, answers: int, prompts: int = 1, ring: bool = True) -> None:
    """Add prompts with so many answers, each compared with the next, in a ring with the first."""
    for number in range(prompts):
        asked = [{"role": "user", "content": f"Question {answers}.{number} of colours?"}]
        (prompt,) = add_prompts(store, [asked], "x")
        rows = [NewResponse(prompt.id, f"{text} {number}", "m") for text in TEXTS[:answers]]
        made = add_responses(store, rows)
        pairs = list(zip(made, made[1:], strict=False))
        add_comparisons(store, [*pairs, (made[0], made[-1])] if ring else pairs, "generated:1")


def serve(store: Store, labeler: str, n: int = 50, exclude: tuple[str, ...] = ()) -> list[Item]:
    campaign = given(store, labeler, "pairs").campaign
    return serve_items(store, labeler, "pairs", n, random.Random(1), exclude, campaign=campaign)


def rank(store: Store, item: Item, order: str, revision: int = 0, id: str = "", by="ada", **more):
    id = id or str(uuid.uuid4())
    told = {"assignment": item.assignment, "verdict": order, "revision": revision}
    return cast_ranking(store, by, id=id, **told, **more)


def places(store: Store, item: Item) -> dict[str, Assignment]:
    """Return the assignments of a ranking by what their answers stand as."""
    rows = [one for one in store.rows(Assignment) if ranking_of(one.id) == item.assignment]
    return {letters_of(one): one for one in rows}


def order_from(digits: list[int]) -> str:
    """Return the order in which answer i has the rank digits[i]; equal ones tie."""
    levels = [
        "=".join(x for x, digit in zip(LETTERS, digits, strict=False) if digit == level)
        for level in sorted(set(digits))
    ]
    return ">".join(levels)


@with_any(DIGITS)
def test_an_order_and_the_verdicts_on_its_pairs_say_the_same(digits):
    order = order_from(digits)
    said = implied(order, len(digits))
    assert order_of(said) == order
    for (i, one), (j, other) in combinations(enumerate(LETTERS[: len(digits)]), 2):
        better = {-1: "left", 0: "tie", 1: "right"}
        sign = (digits[i] > digits[j]) - (digits[i] < digits[j])
        assert said[one + other] == better[sign]


@pytest.mark.parametrize("order", ["", "A", "A>B", "A>B>C>D", "A>B>B", "A>>B>C", "AB>C", "C>B>a"])
def test_an_order_names_each_answer_once(order):
    with pytest.raises(BadInput, match="name each of A, B, C once"):
        implied(order, 3)


def test_verdicts_that_go_in_a_circle_are_no_order():
    assert order_of({"AB": "left", "AC": "right", "BC": "left"}) == ""


@pytest.mark.parametrize("size", [3, 4])
def test_the_better_answer_is_chosen_in_every_pair(store, size, tmp_path):
    """20 prompts, an order drawn for each: whoever stands earlier in it wins each of its votes."""
    prompts_with(store, size, prompts=20)
    change(store, "default", mode=f"rank{size}")
    items = serve(store, "ada")
    assert [(len(item.answers), item.mode) for item in items] == [(size, "rank")] * 20
    rng, place_of = random.Random(7), {}
    for item in items:
        letters = rng.sample(LETTERS[:size], size)
        rank(store, item, ">".join(letters))
        for place, letter in enumerate(letters):
            place_of[item.answers[LETTERS.index(letter)]] = place
    comparisons = {one.id: one for one in store.rows(Comparison)}
    written = {
        one.id: store.texts([one.text])[one.text]
        for one in store.rows(Response, source="generated")
    }
    votes = store.rows(Vote)
    assert len(votes) == 20 * size * (size - 1) // 2
    for vote in votes:
        pair = comparisons[vote.comparison]
        chosen, rejected = (pair.a, pair.b) if vote.verdict == "a" else (pair.b, pair.a)
        assert place_of[written[chosen]] < place_of[written[rejected]]
    export_file(store, tmp_path / "pairs.jsonl", "trl")
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == len(votes)


def test_answers_stand_in_an_order_drawn_by_lot(store):
    prompts_with(store, 3, prompts=30)
    change(store, "default", mode="rank3")
    firsts = Counter(item.answers[0].split()[0] for item in serve(store, "ada"))
    assert set(firsts) == {"Red", "Blue", "Green"}
    assert max(firsts.values()) < 20


def test_the_checks_are_told_the_sides_of_pairs_that_share_no_answer(store):
    prompts_with(store, 4)
    change(store, "default", mode="rank4")
    (item,) = serve(store, "ada")
    found = places(store, item)
    assert list(found) == ["AB", "AC", "AD", "BC", "BD", "CD"]
    assert [two for two, place in found.items() if place.left] == ["AB", "CD"]
    for (one, other), place in found.items():
        pair = store.get(Comparison, place.comparison)
        first = store.get(Response, pair.a if left_of(place) == "a" else pair.b)
        assert store.texts([first.text])[first.text] == item.answers[LETTERS.index(one)]
        assert item.answers[LETTERS.index(other)] != item.answers[LETTERS.index(one)]


def test_ties_are_ties(store):
    prompts_with(store, 3)
    change(store, "default", mode="rank3")
    (item,) = serve(store, "ada")
    rank(store, item, "B>A=C", seconds_spent=30, reasons=["clarity"], comment="close")
    verdicts = {two: store.live(Vote, one.id) for two, one in places(store, item).items()}
    assert verdicts["AC"].verdict == "tie"
    assert {vote.seconds_spent for vote in verdicts.values()} == {20.0}  # two answers of three
    assert {vote.reasons for vote in verdicts.values()} == {("clarity",)}
    assert {vote.comment for vote in verdicts.values()} == {Text.of("close").id}
    assert [(one.mode, one.verdict) for one in history(store, "ada", "pairs", 5)] == [
        ("rank", "B>A=C")
    ]


def test_sending_twice_changes_nothing_and_half_of_it_is_finished(store):
    """A kill in the middle leaves the first vote alone: the same request adds the other two."""
    prompts_with(store, 3, prompts=2)
    change(store, "default", mode="rank3")
    item, other = serve(store, "ada")
    id = str(uuid.uuid4())
    first = str(uuid.uuid5(uuid.UUID(id), "AB"))
    place = places(store, item)["AB"].id
    cast_vote(store, "ada", id=first, assignment=place, verdict="left", revision=0)
    assert not rank(store, item, "A>B>C", id=id).repeated
    assert rank(store, item, "A>B>C", id=id).repeated
    assert len(store.rows(Vote)) == 3
    with pytest.raises(Conflict):
        rank(store, item, "C>B>A")  # another id at the same revision
    assert len(store.rows(Vote)) == 3
    assert [one.assignment for one in serve(store, "ada")] == [other.assignment]


def test_undo_takes_all_of_it_back_and_it_can_be_ranked_again(store):
    prompts_with(store, 4)
    change(store, "default", mode="rank4")
    (item,) = serve(store, "ada")
    rank(store, item, "A>B>C>D")
    assert serve(store, "ada") == []
    rank(store, item, "undone", revision=1)
    assert {store.live(Vote, one.id).verdict for one in places(store, item).values()} == {"undone"}
    assert history(store, "ada", "pairs", 5) == []
    (again,) = serve(store, "ada")
    assert (again.assignment, again.revision, again.answers) == (item.assignment, 2, item.answers)
    rank(store, again, "skip", revision=2)
    assert [one.verdict for one in history(store, "ada", "pairs", 5)] == ["skip"]
    assert serve(store, "ada") == []


def test_nobody_gets_a_pair_twice_and_no_pair_goes_to_more_than_are_wanted(store):
    """Three in turns take what there is, a few at a time: prompts with 4, 3 and 2 answers."""
    prompts_with(store, 4, prompts=3)
    prompts_with(store, 3, prompts=3)
    stock(store, 5)
    change(store, "default", mode="rank3")
    modes: Counter[str] = Counter()
    for _ in range(30):
        for name in ("ada", "bob", "cem"):
            for item in serve(store, name, 2):
                modes[item.mode] += 1
                if item.mode == "rank":
                    rank(store, item, "C>A>B", by=name)
                else:
                    told = {"assignment": item.assignment, "verdict": "tie", "revision": 0}
                    cast_vote(store, name, id=str(uuid.uuid4()), **told)
    given_to = Counter((one.labeler, one.comparison) for one in store.rows(Assignment))
    assert set(given_to.values()) == {1}
    taken = Counter(one.comparison for one in store.rows(Assignment))
    assert set(taken.values()) == {1}
    assert set(taken) == {one.id for one in store.rows(Comparison)}
    assert modes["rank"] == 6
    assert modes["pairs"] == 3 * 2 + 5  # of rings of four two pairs are left over, and the others


def test_a_ranking_is_offered_again_until_it_is_judged_but_for_what_the_page_has(store):
    prompts_with(store, 3, prompts=2)
    change(store, "default", mode="rank3")
    items = serve(store, "ada")
    assert {one.assignment for one in serve(store, "ada")} == {one.assignment for one in items}
    assert serve(store, "ada", exclude=tuple(one.assignment for one in items)) == []
    assert serve(store, "bob") == []  # leased


def test_what_was_left_out_is_not_ranked(store):
    """An answer that is excluded takes its pairs along: two answers are left, which are a pair."""
    prompts_with(store, 3)
    change(store, "default", mode="rank3")
    exclude(store, "response", store.rows(Response)[0].id, reason="wrong", by="lead")
    assert [one.mode for one in serve(store, "ada")] == ["pairs"]
    exclude(store, "prompt", store.rows(Comparison)[0].prompt, reason="wrong", by="lead")
    assert serve(store, "bob") == []


def test_a_ranking_of_which_one_pair_was_left_out_goes_on_in_pairs(store):
    prompts_with(store, 3)
    change(store, "default", mode="rank3")
    (item,) = serve(store, "ada")
    exclude(store, "comparison", places(store, item)["AB"].comparison, reason="wrong", by="lead")
    assert [one.mode for one in serve(store, "ada")] == ["pairs", "pairs"]


def test_a_ranking_judged_in_part_goes_on_in_pairs(store):
    prompts_with(store, 3)
    change(store, "default", mode="rank3")
    (item,) = serve(store, "ada")
    pair = places(store, item)["AC"]
    told = {"assignment": pair.id, "verdict": "left", "revision": 0}
    cast_vote(store, "ada", id=str(uuid.uuid4()), **told)
    assert store.rows(Vote)[0].verdict == left_of(pair)
    with pytest.raises(Conflict, match="AC of this ranking was judged by itself"):
        rank(store, item, "A>B>C")
    assert len(store.rows(Vote)) == 1
    assert [ranking_of(one.assignment) for one in serve(store, "ada")] == [item.assignment] * 2
    assert [one.mode for one in history(store, "ada", "pairs", 5)] == ["pairs"]


def test_a_duel_is_not_ranked(store):
    prompts_with(store, 3)
    pair = store.rows(Comparison)[0]
    store.add([Comparison("d_1", pair.prompt, pair.a, pair.b, "duel:run:base")])
    change(store, "default", mode="rank3")
    assert {one.mode for one in serve(store, "ada")} == {"pairs"}


def test_a_ranking_is_its_labelers_own(store):
    prompts_with(store, 3)
    change(store, "default", mode="rank3")
    (item,) = serve(store, "ada")
    with pytest.raises(NotFound, match="given to somebody else"):
        rank(store, item, "A>B>C", by="bob")
    with pytest.raises(NotFound, match="There is no ranking"):
        cast_ranking(store, "ada", id=str(uuid.uuid4()), assignment="x", verdict="A", revision=0)


def test_answers_with_the_same_text_or_a_pair_that_is_closed_are_not_ranked_together():
    """Answers 1 to 4; 1-2 is closed, and 3 says the same as 4: no three are left but with a 5th."""
    pairs = [
        Comparison(f"c{a}{b}", "p", a, b, "x")
        for a, b in [("1", "2"), ("2", "3"), ("3", "1"), ("1", "4")]
    ]
    texts = {"1": "t1", "2": "t2", "3": "t3", "4": "t3", "5": "t5"}
    free = {"c23", "c31", "c14"}
    assert group_of(pairs, free, texts, 3) == ()
    assert group_of([*pairs, Comparison("c25", "p", "2", "5", "x")], free | {"c25"}, texts, 3) == (
        "2",
        "3",
        "5",
    )


def test_a_campaign_that_ranks_is_open_to_who_judges_pairs(store):
    make(store, "colours", mode="rank4")
    assert [one.id for one in of_labeler(store, "ada", "pairs")] == ["default", "colours"]
    assert [one.id for one in of_labeler(store, "ada", "thumbs")] == ["default"]
    with pytest.raises(BadInput, match="rank5"):
        change(store, "colours", mode="rank5")


def test_a_page_gets_a_ranking_and_sends_its_order(store):
    """What comes names no model and no source; the progress counts pairs; no note comes back."""
    prompts_with(store, 3, prompts=2)
    change(store, "default", mode="rank3")
    app = FastAPI()
    install_errors(app)
    app.include_router(router(lambda _: store))
    client = TestClient(app)
    client.post("/api/v1/labeler", json={"name": "ada"})
    item = client.get("/api/v1/items", params={"mode": "pairs", "n": 1}).json()["items"][0]
    assert (item["mode"], item["revision"]) == ("rank", 0)
    assert set(item) - {"A", "B", "C"} == {
        "assignment", "mode", "revision", "edit_revision", "prompt",
    }  # fmt: skip
    texts = {item[letter]["text"].rstrip(" 01") for letter in "ABC"}
    assert texts == set(TEXTS[:3])
    body = {"id": str(uuid.uuid4()), "assignment": item["assignment"], "revision": 0}
    body |= {"verdict": "C>A>B", "seconds_spent": 3}
    answer = client.post("/api/v1/rankings", json=body)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["repeated"], answer.json()["own"]["note"]) == (False, None)
    assert answer.json()["progress"]["mine_total"] == 3
    assert client.post("/api/v1/rankings", json=body).json()["repeated"]
    odd = client.post("/api/v1/rankings", json=body | {"id": str(uuid.uuid4()), "verdict": "A"})
    assert (odd.status_code, odd.json()["detail"][:14]) == (422, "verdict is 'A'")
    (done,) = client.get("/api/v1/history", params={"mode": "pairs"}).json()["items"]
    assert (done["assignment"], done["verdict"]) == (item["assignment"], "C>A>B")
