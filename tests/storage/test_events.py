"""Votes, ratings and edits: one answer per id for ever, revisions in order, bad ones fail alone."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from storage.errors import BadInput, Conflict, StoreError
from storage.heads import Heads, Placed
from storage.journal import Journal
from storage.records import Edit, Rating, Receipt, Text, Vote
from storage.store import Store
from storage.writer import Writer


def test_a_vote_is_answered_once_as_new_and_then_as_repeated(
    store: Store, make: SimpleNamespace
) -> None:
    assert store.append(make.vote(1)) == Receipt("v1", repeated=False)
    assert store.append(make.vote(1)) == Receipt("v1", repeated=True)
    assert store.append(make.vote(1, verdict="b")) == Receipt("v1", repeated=True)
    assert [vote.verdict for vote in store.rows(Vote)] == ["a"]


def test_a_refusal_is_repeated_word_for_word_also_after_a_restart(
    store: Store, data: Path, make: SimpleNamespace
) -> None:
    store.append(make.vote(1))
    with pytest.raises(Conflict) as first:
        store.append(make.vote(2, assignment=1))
    store.append(make.vote(3, assignment=1, revision=1))
    with pytest.raises(Conflict) as second:
        store.append(make.vote(2, assignment=1, revision=2))
    store.close()
    with Store.open(data) as again, pytest.raises(Conflict) as third:
        again.append(make.vote(2, assignment=1, revision=2))
    assert str(first.value) == str(second.value) == str(third.value)
    assert "send revision 1 to change it" in str(first.value)


def test_an_event_that_answers_no_assignment_needs_no_search_for_what_came_before(
    store: Store, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its assignment is its own id, which is new: a search would read the whole table."""
    monkeypatch.setattr("storage.decide.events_of", lambda *asked: pytest.fail("searched"))
    own = replace(make.vote(1), assignment="v1")
    assert store.append(own) == Receipt("v1", repeated=False)
    assert store.append(own) == Receipt("v1", repeated=True)
    monkeypatch.undo()
    with pytest.raises(Conflict):
        store.append(replace(make.vote(2), assignment="v1"))
    assert store.append(replace(make.vote(3), assignment="v1", revision=1)).repeated is False
    assert store.verify() == []


@pytest.mark.parametrize("remembered", [True, False])
def test_revisions_come_one_after_the_other(
    store: Store, make: SimpleNamespace, remembered: bool
) -> None:
    """With and without the assignment in memory the rule is the same."""
    if remembered:
        store.add([make.assignment(1)])
    with pytest.raises(Conflict, match="comes too early: 0 is the next"):
        store.append(make.vote(9, assignment=1, revision=1))
    store.append(make.vote(1))
    store.append(make.vote(2, assignment=1, revision=1, verdict="undone"))
    with pytest.raises(Conflict, match="comes too early: 2 is the next"):
        store.append(make.vote(3, assignment=1, revision=3))
    with pytest.raises(Conflict, match=r"has a vote with revision 1 already \(v2 is its newest\)"):
        store.append(make.vote(4, assignment=1, revision=1))
    assert store.live(Vote, "s1") == make.vote(2, assignment=1, revision=1, verdict="undone")
    assert store.live(Vote, "s2") is None


def test_votes_ratings_and_edits_of_one_assignment_count_apart(store: Store) -> None:
    store.append(Vote("1", "s1", 0, "c", "ada", "a"))
    store.append(Rating("2", "s1", 0, "r", "ada", "up", reasons=("clear", "short")))
    store.append(Edit("3", "s1", 0, "r", "r2", "ada", seconds_spent=2.5))
    rating, edit = store.live(Rating, "s1"), store.live(Edit, "s1")
    assert rating is not None
    assert edit is not None
    assert rating.reasons == ("clear", "short")
    assert edit.seconds_spent == 2.5


def test_a_comment_is_stored_with_its_vote(store: Store, make: SimpleNamespace) -> None:
    comment = Text.of("The second one invents a city.")
    store.append(make.vote(1, comment=comment.id), [comment])
    store.append(make.vote(2, comment=comment.id), [comment])
    assert store.texts([comment.id]) == {comment.id: comment.content}


def test_the_comment_of_a_refused_vote_is_not_stored(store: Store, make: SimpleNamespace) -> None:
    comment = Text.of("too early")
    with pytest.raises(Conflict):
        store.append(make.vote(1, revision=5, comment=comment.id), [comment])
    assert store.texts([comment.id]) == {}


def test_of_many_the_comment_of_a_refused_vote_is_not_stored(
    store: Store, make: SimpleNamespace
) -> None:
    """Two say the same, of whom the second is refused, and one says something else in vain."""
    said, lost = Text.of("said"), Text.of("too early")
    votes = [
        make.vote(1, comment=said.id),
        make.vote(2, assignment=1, comment=said.id),
        make.vote(3, revision=5, comment=lost.id),
        make.vote(4),
    ]
    answers = store.append_many(votes, [said, lost])
    assert [type(one) for one in answers] == [Receipt, Conflict, Conflict, Receipt]
    assert store.texts([said.id, lost.id]) == {said.id: "said"}
    assert store.verify() == []


def test_one_bad_vote_in_a_group_fails_alone(store: Store, make: SimpleNamespace) -> None:
    """64 votes, one with a repeated slot, one with a verdict that the table's CHECK refuses: 62."""
    votes = [make.vote(n) for n in range(64)]
    votes[20] = make.vote(20, assignment=3)
    votes[40] = make.vote(40, verdict="maybe")
    answers = store.append_many(votes)
    refused = {n: a for n, a in enumerate(answers) if not isinstance(a, Receipt)}
    assert {n: type(answer) for n, answer in refused.items()} == {20: Conflict, 40: BadInput}
    assert {vote.id for vote in store.rows(Vote)} == {f"v{n}" for n in range(64)} - {"v20", "v40"}
    again = store.append_many(votes)
    assert [str(a) for n, a in enumerate(again) if n in refused] == [
        str(a) for a in refused.values()
    ]
    assert all(a == Receipt(f"v{n}", True) for n, a in enumerate(again) if n not in refused)
    assert store.verify() == []


def test_a_group_with_a_bad_vote_survives_a_restart(
    store: Store, data: Path, make: SimpleNamespace
) -> None:
    store.append_many([make.vote(n, verdict="maybe" if n == 5 else "a") for n in range(10)])
    store.close()
    with Store.open(data) as again:
        assert len(again.rows(Vote)) == 9
        assert again.verify() == []
        with pytest.raises(BadInput, match="the database refuses vote v5"):
            again.append(make.vote(5))


def test_a_vote_that_cannot_be_stored_is_refused_among_others(
    store: Store, make: SimpleNamespace
) -> None:
    answers = store.append_many([make.vote(1), make.vote(2, labeler="a\x00"), make.vote(3)])
    assert [type(answer) for answer in answers] == [Receipt, BadInput, Receipt]
    assert "vote.labeler cannot be stored" in str(answers[1])


def test_a_bug_in_the_writer_reaches_who_sent_many(
    store: Store, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Writer, "_accept", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.append_many([make.vote(n) for n in range(3)])
    answers = store.append_many([make.vote(n) for n in range(4)])
    assert [answer.repeated for answer in answers] == [True, True, True, False]


def test_trouble_with_the_store_is_the_answer_of_each(
    store: Store, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "write", fails)
        answers = store.append_many([make.vote(n) for n in range(3)])
    assert [type(answer) for answer in answers] == [StoreError] * 3
    assert store.append_many([make.vote(0)]) == [Receipt("v0", False)]


def test_a_double_click_from_two_tabs_is_one_vote(store: Store, make: SimpleNamespace) -> None:
    """20 votes, each sent by 4 threads at once: 20 new, 60 repeated."""
    answers: list[Receipt] = []

    def send() -> None:
        answers.extend(store.append(make.vote(n)) for n in range(20))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not answer.repeated for answer in answers) == 20
    assert len(answers) == 80
    assert len(store.rows(Vote)) == 20


def test_two_ids_for_one_slot_give_one_vote(store: Store, make: SimpleNamespace) -> None:
    answers = store.append_many([make.vote(1, assignment=1), make.vote(2, assignment=1)])
    assert [type(answer) for answer in answers] == [Receipt, Conflict]


def test_what_is_forgotten_is_looked_up(make: SimpleNamespace) -> None:
    """Room for two assignments: the third pushes the second out, which was not used since."""
    heads = Heads(kept=2)
    placed = {"s1": Placed("a", "plain"), "s2": Placed("b", "repeat")}
    heads.learn(["s1", "s2"], [make.vote(1)], placed)
    assert heads.placed("s2") == Placed("b", "repeat")
    assert heads.get(Vote, "s1") == (True, make.vote(1))
    assert heads.get(Rating, "s1") == (True, None)
    heads.learn(["s3"], [make.vote(9)])
    assert heads.get(Vote, "s2") == (False, None)
    assert (heads.placed("s1"), heads.placed("s2")) == (Placed("a", "plain"), None)
    assert heads.get(Vote, "s9") == (False, None)
