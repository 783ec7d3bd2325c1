"""Who gets what: sides, leases, resuming, and what a page does not learn."""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest

from feedback.assignments import CANDIDATES, serve_items
from feedback.campaigns import set_collecting
from feedback.curation import exclude
from feedback.gold import set_gold
from feedback.items import NewResponse, add_prompts, add_responses
from feedback.judging import progress
from feedback.places import Places
from feedback.seen import LEASE_MINUTES, Item, history
from feedback.votes import cast_rating, cast_vote, text_to_edit
from storage.errors import BadInput, NotFound
from storage.records import Assignment, Comparison, Duplicate, Vote, now
from storage.store import Store
from tests.feedback.stock import MODELS, comparison_records, fill, stock

LEAK = "I'm ChatGPT, made by OpenAI; I do not know."
MASKED = "I'm [hidden], made by [hidden]; I do not know."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def serve(store: Store, labeler: str, n: int, mode: str = "pairs", **options) -> list[Item]:
    return serve_items(store, labeler, mode, n, random.Random(0), **options)


def vote(store: Store, labeler: str, item: Item, verdict: str = "left", revision: int = 0):
    return cast_vote(
        store,
        labeler,
        id=str(uuid.uuid4()),
        assignment=item.assignment,
        verdict=verdict,
        revision=revision,
    )


def shown_comparisons(store: Store, items: list[Item]) -> list[str]:
    return [store.get(Assignment, item.assignment).comparison for item in items]


def test_an_empty_store_has_nothing_to_label(store):
    assert serve(store, "ada", 4) == []
    assert history(store, "ada", "pairs", 4) == []


def test_an_item_shows_prompt_and_both_texts_and_no_model(store):
    stock(store, 3)
    for item in serve(store, "ada", 3):
        assert item.prompt[0]["role"] == "user"
        assert {item.left.split()[0], item.right.split()[0]} == {"Short", "A"}
        assert not any(model in str(asdict(item)) for model in MODELS)


def test_an_answer_that_names_its_model_is_shown_without_the_name(store):
    """Both sides named by mode: in pairs one of two is masked, and the vote is for its response."""
    (pair,) = fill(store, [(LEAK, "I do not know.")])
    (item,) = serve(store, "ada", 1)
    (side,) = item.masked
    assert getattr(item, side) == MASKED
    assert {item.left, item.right} == {MASKED, "I do not know."}
    assert text_to_edit(store, "ada", item.assignment, side) == LEAK
    vote(store, "ada", item, side)
    assert [(v.comparison, v.verdict) for v in store.rows(Vote)] == [(pair.id, "a")]
    assert [done.masked for done in history(store, "ada", "pairs", 1)] == [(side,)]
    thumbs = serve(store, "bob", 2, "thumbs")
    assert {one.left: one.masked for one in thumbs} == {MASKED: ("left",), "I do not know.": ()}


def test_a_name_that_the_prompt_used_stays_readable(store):
    asked = [{"role": "user", "content": "Are you ChatGPT?"}]
    (prompt,) = add_prompts(store, [asked], "x")
    add_responses(store, [NewResponse(prompt.id, LEAK, "m")])
    (item,) = serve(store, "ada", 1, "thumbs")
    assert (item.left, item.masked) == (LEAK, ())


def test_the_text_to_edit_is_for_whom_the_assignment_is(store):
    fill(store, [(LEAK, "I do not know.")])
    (item,) = serve(store, "ada", 1)
    with pytest.raises(NotFound, match="given to somebody else"):
        text_to_edit(store, "bob", item.assignment, "left")
    with pytest.raises(BadInput, match="side is 'middle'"):
        text_to_edit(store, "ada", item.assignment, "middle")


def test_the_stored_side_is_the_side_that_is_shown(store):
    comparisons = {c.id: c for c in stock(store, 20)}
    sides = Counter()
    for item in serve(store, "ada", 20):
        place = store.get(Assignment, item.assignment)
        pair = comparisons[place.comparison]
        left = pair.a if place.left == "a" else pair.b
        frame = store.frame("responses").set_index("response")
        assert store.texts([frame.loc[left, "text"]]).popitem()[1] == item.left
        sides[place.left] += 1
    assert set(sides) == {"a", "b"}, "both sides come up"


def test_the_sides_are_fair(store):
    """400 draws of a fair coin lie within 4 standard deviations (4 * 10) of 200."""
    stock(store, 400)
    rng = random.Random(7)
    lefts = Counter()
    for number in range(8):
        items = serve_items(store, f"p{number}", "pairs", 50, rng)
        lefts.update(store.get(Assignment, item.assignment).left for item in items)
    assert lefts.total() == 400
    assert abs(lefts["a"] - 200) <= 40


def test_a_reload_gives_the_unanswered_items_again_first(store):
    stock(store, 10)
    first = serve(store, "ada", 4)
    vote(store, "ada", first[0])
    again = serve(store, "ada", 4)
    assert again[:3] == first[1:]
    assert len(again) == 4
    assert again[3].assignment not in {item.assignment for item in first}


def test_what_the_page_has_already_is_not_sent_again(store):
    stock(store, 10)
    first = serve(store, "ada", 4)
    more = serve(store, "ada", 4, exclude=[item.assignment for item in first])
    comparisons = shown_comparisons(store, first + more)
    assert len(set(comparisons)) == 8


def test_an_undone_item_comes_back_with_the_next_revision(store):
    stock(store, 1)
    (item,) = serve(store, "ada", 1)
    vote(store, "ada", item)
    assert serve(store, "ada", 1) == []
    vote(store, "ada", item, "undone", revision=1)
    assert serve(store, "ada", 1) == [replace(item, revision=2)]


def test_nobody_gets_what_another_is_looking_at(store):
    stock(store, 6)
    set_collecting(store, shared=0)
    ada, bob = serve(store, "ada", 4), serve(store, "bob", 4)
    assert len(bob) == 2
    assert not set(shown_comparisons(store, ada)) & set(shown_comparisons(store, bob))


def test_nobody_gets_what_was_judged_as_often_as_wanted(store):
    stock(store, 2)
    set_collecting(store, shared=0)
    for item in serve(store, "ada", 2):
        vote(store, "ada", item)
    assert serve(store, "bob", 2) == []


def test_a_skipped_item_goes_to_somebody_else(store):
    stock(store, 1)
    (item,) = serve(store, "ada", 1)
    vote(store, "ada", item, "skip")
    assert serve(store, "ada", 1) == []
    assert len(serve(store, "bob", 1)) == 1


def test_with_an_overlap_of_two_a_second_person_gets_it_and_a_third_does_not(store):
    stock(store, 1)
    set_collecting(store, overlap=2, shared=0)
    for name in ("ada", "bob"):
        vote(store, name, serve(store, name, 1)[0])
    assert serve(store, "cid", 1) == []


def test_a_lease_that_ran_out_sets_the_item_free(store):
    stock(store, 1)
    set_collecting(store, shared=0)
    (item,) = serve(store, "ada", 1)
    place = store.get(Assignment, item.assignment)
    assert serve(store, "bob", 1) == []
    later = store.frame(
        "open_comparisons", labeler="bob", overlap=1, lease_minutes=0, now=now(), limit=9
    )
    assert list(later["comparison"]) == [place.comparison]


def test_after_a_break_the_own_items_come_back_unless_somebody_took_them(store):
    comparisons = stock(store, 2)
    old = now() - timedelta(minutes=LEASE_MINUTES + 1)
    store.add(
        [
            Assignment(f"x{i}", "default", "ada", c.id, "", "a", "plain", "screen", old)
            for i, c in enumerate(comparisons)
        ]
    )
    set_collecting(store, shared=0)
    (bobs,) = serve(store, "bob", 1)
    (taken,) = shown_comparisons(store, [bobs])
    (mine,) = shown_comparisons(store, serve(store, "ada", 4))
    assert {mine, taken} == {c.id for c in comparisons}


def test_empty_and_same_texts_are_never_shown(store):
    fill(store, [("", "an answer"), (" \n\t", "an answer"), ("same", "same"), ("one", "two")])
    (item,) = serve(store, "ada", 4)
    assert {item.left, item.right} == {"one", "two"}


@pytest.mark.parametrize("kind", ["prompt", "response"])
def test_what_is_skipped_as_a_duplicate_is_not_shown_even_when_given_before(store, kind):
    first, _ = stock(store, 2)
    assert len(serve(store, "ada", 2)) == 2
    item = first.prompt if kind == "prompt" else first.id
    store.add([Duplicate("d1", kind, item, "earlier", "skip", "ada")])
    assert first.id not in shown_comparisons(store, serve(store, "ada", 4))
    assert serve(store, "bob", 4) == []
    later = now() + timedelta(seconds=1)
    store.add([Duplicate("d2", kind, item, "earlier", "keep", "ada", later)])
    assert first.id in shown_comparisons(store, serve(store, "ada", 4))


def test_thumbs_show_one_answer_and_are_resumed_apart_from_pairs(store):
    stock(store, 3)
    pairs = serve(store, "ada", 2)
    thumbs = serve(store, "ada", 2, mode="thumbs")
    assert all(item.right == "" and item.mode == "thumbs" for item in thumbs)
    assert serve(store, "ada", 2, mode="thumbs") == thumbs
    assert serve(store, "ada", 2) == pairs
    item = thumbs[0]
    id = str(uuid.uuid4())
    cast_rating(store, "ada", id=id, assignment=item.assignment, verdict="up", revision=0)
    assert [h.verdict for h in history(store, "ada", "thumbs", 5)] == ["up"]
    assert history(store, "ada", "pairs", 5) == []


def test_history_is_newest_first_as_it_was_seen_and_without_what_was_undone(store):
    stock(store, 4)
    items = serve(store, "ada", 4)
    verdicts = ("left", "right", "tie", "both_bad")
    for item, verdict in zip(items, verdicts, strict=True):
        vote(store, "ada", item, verdict)
    vote(store, "ada", items[1], "undone", revision=1)
    vote(store, "ada", items[0], "right", revision=1)
    seen = [(h.assignment, h.verdict, h.revision) for h in history(store, "ada", "pairs", 9)]
    assert seen == [
        (items[0].assignment, "right", 2),
        (items[3].assignment, "both_bad", 1),
        (items[2].assignment, "tie", 1),
    ]
    assert [h.assignment for h in history(store, "ada", "pairs", 1)] == [items[0].assignment]
    assert history(store, "bob", "pairs", 9) == []


def test_an_unknown_mode_is_refused_by_name(store):
    with pytest.raises(BadInput, match="mode is 'stars': use one of pairs, thumbs"):
        serve(store, "ada", 1, mode="stars")


def test_eight_people_at_once_never_share_an_item(store):
    """8 threads take 5 × 4 items each of 200: all 160 comparisons differ."""
    stock(store, 200)
    set_collecting(store, shared=0)
    given: dict[str, list[str]] = {}

    def label(name: str) -> None:
        mine: list[Item] = []
        for _ in range(5):
            page = [item.assignment for item in mine]
            mine += serve_items(store, name, "pairs", 4, random.Random(name), exclude=page)
        given[name] = shown_comparisons(store, mine)

    threads = [threading.Thread(target=label, args=(f"p{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [id for ids in given.values() for id in ids]
    assert len(everything) == 160
    assert len(set(everything)) == 160
    assert len(store.rows(Comparison)) == 200


def judge(store: Store, labeler: str, n: int, verdict: str = "left", seed: int = 0) -> list[Item]:
    """Judge up to `n` items, one after the other, as a page asks for them."""
    rng, judged = random.Random(seed), []
    for _ in range(n):
        for item in serve_items(store, labeler, "pairs", 1, rng):
            vote(store, labeler, item, verdict)
            judged.append(item)
    return judged


def places_of(store: Store, kind: str) -> list[Assignment]:
    return [place for place in store.rows(Assignment) if place.kind == kind]


def test_a_repeat_comes_late_with_sides_swapped_once_and_only_of_decided_ones(store):
    """80 new ones; half of what is served may be repeats, from the 31st item on."""
    stock(store, 80)
    set_collecting(store, repeats=0.5, gold=0, shared=0)
    judge(store, "ada", 60)
    order = [place.id for place in store.rows(Assignment, order="created_at, id")]
    first = {place.comparison: place for place in places_of(store, "plain")}
    repeats = places_of(store, "repeat")
    assert len(repeats) >= 8
    assert len({place.comparison for place in repeats}) == len(repeats)
    for again in repeats:
        before = first[again.comparison]
        assert {before.left, again.left} == {"a", "b"}
        assert order.index(again.id) - order.index(before.id) > 30


def test_ties_and_other_peoples_items_are_not_repeated(store):
    stock(store, 80)
    set_collecting(store, repeats=0.5, gold=0, shared=0)
    judge(store, "ada", 35, "tie")
    judge(store, "bob", 5)
    assert places_of(store, "repeat") == []


def test_who_has_judged_everything_gets_no_repeat_and_no_gold(store):
    """40 new ones, all judged by ada but one, which bob has: a gold item is left, and repeats."""
    made = stock(store, 40)
    set_collecting(store, repeats=0.25, gold=0.25, shared=0)
    (bobs,) = serve(store, "bob", 1)
    vote(store, "bob", bobs)
    judge(store, "ada", 80)
    set_gold(store, shown_comparisons(store, [bobs])[0], "a")
    judged = {place.comparison for place in store.rows(Assignment, labeler="ada")}
    assert len(judged) == len(made) - 1
    assert [serve(store, "ada", 4, exclude=["x"]) for _ in range(20)] == [[]] * 20


def test_gold_comes_among_the_others_once_for_each_labeler_whoever_judged_it(store):
    """Ten of 40 are gold. Bob gets those that ada judged already, and none twice."""
    made = stock(store, 40)
    set_collecting(store, repeats=0, gold=0.5, shared=0)
    for comparison in made[:10]:
        set_gold(store, comparison.id, "a")
    judge(store, "ada", 20)
    judge(store, "bob", 20, seed=1)
    for name in ("ada", "bob"):
        places = store.rows(Assignment, labeler=name)
        assert len({place.comparison for place in places}) == len(places) == 20
        golden = {place.comparison for place in places if place.kind == "gold"}
        assert len(golden) >= 5
        assert golden <= {comparison.id for comparison in made[:10]}


def test_of_two_requests_at_once_the_second_gets_other_gold_and_other_repeats(store):
    """What the first one gets is on its way: no look into the store finds it yet."""
    made = stock(store, 60)
    set_collecting(store, repeats=0, gold=0, shared=0)
    judge(store, "ada", 40)
    had = {place.comparison for place in store.rows(Assignment)}
    gold = [one.id for one in made if one.id not in had][:2]
    for id in gold:
        set_gold(store, id, "a")
    going = [coming(id, "repeat") for id in had] + [coming(gold[0], "gold")]
    set_collecting(store, repeats=0.5, gold=0, shared=0)
    with store.companions[Places].giving("ada", going):
        serve(store, "ada", 2, trial_left=2)
        serve(store, "ada", 10)
    assert places_of(store, "repeat") == []
    assert [place.comparison for place in places_of(store, "gold")] == gold[1:]


def coming(comparison: str, kind: str) -> Assignment:
    return Assignment(f"{kind} {comparison}", "default", "ada", comparison, "", "a", kind, "screen")


def test_a_repeat_takes_nothing_from_others_and_can_be_undone(store):
    """With an overlap of two bob still gets what ada looks at for the second time."""
    (comparison,) = stock(store, 1)
    set_collecting(store, overlap=2, shared=0)
    vote(store, "ada", serve(store, "ada", 1)[0])
    again = Assignment("again", "default", "ada", comparison.id, "", "a", "repeat", "screen")
    store.add([again])
    store.companions.clear()  # as after a restart: nobody is given anything but by `serve_items`
    (item,) = serve(store, "ada", 1)
    assert item.assignment == "again"
    vote(store, "ada", item)
    assert history(store, "ada", "pairs", 1)[0].assignment == "again"
    vote(store, "ada", item, "undone", revision=1)
    assert [h.assignment for h in serve(store, "ada", 1)] == ["again"]
    assert len(serve(store, "bob", 1)) == 1


def test_what_is_judged_both_ways_is_asked_again_first_of_somebody_else(store):
    """Ada says a, bob says b of c_00000: cid gets it before anything that nobody judged."""
    made = stock(store, 5)
    set_collecting(store, overlap=1, shared=0, repeats=0, gold=0)
    for name, verdict in (("ada", "a"), ("bob", "b")):
        place = Assignment(f"of-{name}", "default", name, made[4].id, "", "a", "plain", "screen")
        store.add([place])
        id = str(uuid.uuid4())
        cast_vote(store, name, id=id, assignment=place.id, verdict=verdict, revision=0)
    first = serve(store, "cid", 2)
    assert shown_comparisons(store, first)[0] == made[4].id
    assert made[4].id not in shown_comparisons(store, serve(store, "dan", 5))
    vote(store, "cid", first[0])
    assert made[4].id not in shown_comparisons(store, serve(store, "eve", 5))


def test_of_the_shared_comparisons_a_third_is_seen_by_three_and_the_others_by_two(store):
    """MD5 of c_00000 begins with 07ee, of c_00003 with 2aab, of c_00001 with 7cb0: at 3, 17, 49 %
    of all hashes. 30 % are shared, a third of those (10 %) with two more: so three people, two
    people and one judge them, and nobody else is given any. For the progress each is just judged.
    """
    wanted = {0: 3, 3: 2, 1: 1}
    for number in wanted:
        store.add(comparison_records(number, f"One {number}", f"Two {number}")[1])
    set_collecting(store, overlap=1, shared=0.3, repeats=0, gold=0)
    for name in ("ada", "bob", "cid", "dan", "eve"):
        for item in serve(store, name, 9):
            vote(store, name, item, "tie")
    votes = store.frame("comparisons").set_index("comparison")["votes"]
    assert {number: votes[f"c_{number:05}"] for number in wanted} == wanted
    assert progress(store, "ada", now()).comparisons_open == 0


def test_a_share_of_the_comparisons_is_seen_by_one_more_person_the_same_ones_for_all(store):
    """MD5 puts 400 ids below a fifth about 80 times: within 4 standard deviations (32)."""
    stock(store, 400)

    def wanted() -> set[str]:
        asked = {"labeler": "eve", "overlap": 0, "shared": 0.2, "limit": 400}
        return set(store.frame("open_comparisons", **asked)["comparison"])

    assert abs(len(wanted()) - 80) <= 32
    assert wanted() == wanted()
    assert wanted() == {
        id
        for id in store.frame("comparisons")["comparison"]
        if int(hashlib.md5(id.encode()).hexdigest()[:8], 16) < 0.2 * 16**8
    }


@pytest.mark.parametrize("kind", ["comparison", "prompt", "response"])
def test_what_is_excluded_is_not_shown_even_when_given_before(store, kind):
    stock(store, 2)
    first, second = serve(store, "ada", 2)
    place = store.get(Assignment, first.assignment)
    pair = store.get(Comparison, place.comparison)
    item = {"comparison": pair.id, "prompt": pair.prompt, "response": pair.b}[kind]
    exclude(store, kind, item, reason="broken", by="lead")
    assert [one.assignment for one in serve(store, "ada", 2)] == [second.assignment]


def test_a_comparison_of_an_excluded_answer_is_neither_repeated_nor_gold(store):
    one, two = stock(store, 2)
    set_gold(store, two.id, "a")
    judge(store, "ada", 1)
    (judged,) = {place.comparison for place in store.rows(Assignment)} & {one.id, two.id}
    asked = {"labeler": "ada", "limit": 10}
    assert list(store.frame("open_repeats", after=0, **asked)["comparison"]) == [judged]
    assert list(store.frame("open_gold", **(asked | {"labeler": "bob"}))["comparison"]) == [two.id]
    for pair in (one, two):
        exclude(store, "response", pair.b, reason="broken", by="lead")
    assert store.frame("open_repeats", after=0, **asked).empty
    assert store.frame("open_gold", **(asked | {"labeler": "bob"})).empty


def test_many_who_ask_at_once_are_given_different_items_from_a_large_stock(store, monkeypatch):
    stock(store, 3 * CANDIDATES // 2)
    set_collecting(store, overlap=1, shared=0, repeats=0, gold=0)
    looks = Counter()
    frame = store.frame
    monkeypatch.setattr(
        store, "frame", lambda name, **asked: looks.update([name]) or frame(name, **asked)
    )
    given = [item.assignment for n in range(10) for item in serve(store, f"labeler {n}", 3)]
    shown = [place.comparison for place in store.rows(Assignment, id=given)]
    assert len(set(shown)) == 30
    assert looks["open_comparisons"] < 10
