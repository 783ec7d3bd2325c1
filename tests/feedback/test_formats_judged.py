"""Published battles, rankings and annotations: who said what about which answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feedback.formats import detect
from feedback.formats.rows import Answer, Refused, VoteRow
from tests.feedback import formats_at_hand as hand

USER, HELLO, WHAT = hand.USER, hand.said("Hello!"), hand.said("What.")


# Chatbot Arena


def battle(**changes: Any) -> dict[str, Any]:
    plain = {
        "question_id": "58210e39",
        "model_a": "small",
        "model_b": "big",
        "winner": "model_b",
        "judge": "arena_user_9",
        "conversation_a": [{**USER, "num_tokens": 3}, HELLO],
        "conversation_b": [USER, WHAT],
        "turn": 1,
        "anony": True,
        "language": "English",
        "tstamp": 1682351591.1322,
    }
    return {**plain, **changes}


def test_a_battle_of_the_arena_is_a_vote_with_its_side(tmp_path: Path):
    """1,682,351,591 s after 1970 is the 24th of April 2023, 15:53:11 UTC."""
    path = hand.listed(tmp_path / "x.json", battle())
    assert detect(path) == "arena"
    assert hand.taken(path) == [
        VoteRow(
            row=1,
            prompt=hand.asked(),
            a=Answer("Hello!", "small"),
            b=Answer("What.", "big"),
            verdict="b",
            labeler="arena_user_9",
            left="a",
            created_at=datetime(2023, 4, 24, 15, 53, 11, 132200, tzinfo=UTC),
            extra='{"anony":true,"language":"English","question_id":"58210e39","turn":1}',
        )
    ]


@pytest.mark.parametrize(
    ("winner", "verdict"),
    [("model_a", "a"), ("model_b", "b"), ("tie", "tie"), ("tie (bothbad)", "both_bad")],
)
def test_every_outcome_of_a_battle(tmp_path: Path, winner: str, verdict: str):
    (row,) = hand.taken(hand.jsonl(tmp_path / "x.jsonl", battle(winner=winner)))
    assert row.verdict == verdict


def test_a_judgment_of_mt_bench_is_of_its_turn_and_has_no_side(tmp_path: Path):
    """The conversations hold both turns; the first was judged, and there the prompts are one."""
    longer = {f"conversation_{side}": [USER, said, USER, said] for side, said in
              (("a", HELLO), ("b", WHAT))}  # fmt: skip
    row = battle(**longer, judge="expert_0")
    del row["anony"], row["tstamp"]
    (vote,) = hand.taken(hand.jsonl(tmp_path / "x.jsonl", row))
    assert (vote.prompt, vote.a.text, vote.left, vote.created_at) == (
        hand.asked(),
        "Hello!",
        "",
        None,
    )
    (why,) = hand.whys(hand.jsonl(tmp_path / "x.jsonl", {**row, "turn": 2}))
    assert "differ before the last answer" in why


def test_a_later_turn_counts_where_both_were_asked_the_same(tmp_path: Path):
    talks = {
        f"conversation_{side}": [USER, HELLO, USER, said]
        for side, said in (("a", HELLO), ("b", WHAT))
    }
    (vote,) = hand.taken(hand.jsonl(tmp_path / "x.jsonl", battle(**talks, turn=2)))
    assert [message["content"] for message in vote.prompt] == ["Hi?", "Hello!", "Hi?"]
    assert vote.b.text == "What."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"winner": "model_c"}, "winner is 'model_c'; it has to be one of model_a, model_b, tie"),
        ({"winner": None}, "winner is 'None'"),
        ({"conversation_a": "Hi?"}, "conversation_a is 'Hi?'; it has to be a list"),
        ({"conversation_a": []}, "one assistant message after the prompt; it has: nothing"),
        ({"conversation_a": [USER]}, "it has: user"),
        ({"conversation_b": [{"role": "user"}, HELLO]}, "conversation_b: message 1 is NoneType"),
        ({"conversation_b": [USER, hand.said("\ud800")]}, "half a character"),
        ({"conversation_b": [{"role": "user", "content": "Ho?"}, WHAT]}, "differ before the last"),
        ({"model_a": ["x"]}, "model_a is list"),
        ({"tstamp": 1e300}, "tstamp is '1e+300'; write the seconds since 1970"),
        ({"tstamp": "now"}, "tstamp is 'now'"),
    ],
)
def test_battles_that_cannot_be_taken_say_why(tmp_path: Path, changes, said: str):
    (why,) = hand.whys(hand.jsonl(tmp_path / "x.jsonl", battle(**changes)))
    assert said in why


# Argilla


def flattened(**changes: Any) -> dict[str, Any]:
    plain = {
        "id": "r1",
        "status": "completed",
        "_server_id": "0d9",
        "instruction": "Hi?",
        "response1": "Hello!",
        "response2": "What.",
        "ranking.responses": [["response2", "response1"], ["response1", "response2"]],
        "ranking.responses.users": ["ann", "bob"],
        "ranking.responses.status": ["submitted", "submitted"],
    }
    return {**plain, **changes}


def nested(*responses: Any, **fields: Any) -> dict[str, Any]:
    texts = {"instruction": "Hi?", "response1": "Hello!", "response2": "What."}
    return {
        "id": "r1",
        "fields": {**texts, **fields},
        "metadata": {},
        "suggestions": {},
        "responses": {"ranking": list(responses)},
        "vectors": {},
        "status": "pending",
    }


def test_each_submitted_ranking_of_argilla_is_a_vote(tmp_path: Path):
    values = ["submitted", "draft", "discarded", "submitted"]
    row = flattened(**{
        "ranking.responses": [["response2", "response1"]] * 3 + [["response1", "response2"]],
        "ranking.responses.users": ["ann", "bob", "cy", "dee"],
        "ranking.responses.status": values,
    })  # fmt: skip
    path = hand.listed(tmp_path / "x.json", row)
    assert detect(path) == "argilla"
    votes = hand.taken(path)
    assert [(vote.labeler, vote.verdict, vote.left) for vote in votes] == [
        ("ann", "b", ""),
        ("dee", "a", ""),
    ]
    assert (votes[0].prompt, votes[0].a, votes[0].b) == (
        hand.asked(),
        Answer("Hello!"),
        Answer("What."),
    )


def test_nested_records_of_argilla_say_the_same(tmp_path: Path):
    responses = [
        {"value": ["response2", "response1"], "user_id": "ann"},
        {"value": ["response1", "response2"], "user_id": "bob"},
    ]
    path = hand.listed(tmp_path / "x.json", nested(*responses))
    assert detect(path) == "argilla"
    same = flattened(status="pending", _server_id=None)
    assert hand.taken(path) == hand.taken(hand.listed(tmp_path / "y.json", same))


def test_what_else_a_record_of_argilla_says_is_kept_and_nobody_elses_answer(tmp_path: Path):
    said = {"tone": [{"value": "dry", "user_id": "bob"}, {"value": "warm", "user_id": "ann"}]}
    row = nested({"value": ["response2", "response1"], "user_id": "ann"}, topic="greeting")
    row["responses"] |= said
    (vote,) = hand.taken(hand.listed(tmp_path / "x.json", row | {"metadata": {"batch": 3}}))
    assert json.loads(vote.extra) == {
        "id": "r1",
        "status": "pending",
        "metadata": {"batch": 3},
        "fields": {"topic": "greeting"},
        "responses": {"tone": "warm"},
    }
    flat = {
        "tone.responses": ["dry", "loud", "warm"],
        "tone.responses.users": ["bob", "ann", "ann"],
        "tone.responses.status": ["submitted", "draft", "submitted"],
        "tone.suggestion": "warm",
    }
    ann, bob = hand.taken(hand.listed(tmp_path / "y.json", flattened(topic="greeting", **flat)))
    assert json.loads(ann.extra) == {
        "id": "r1",
        "status": "completed",
        "_server_id": "0d9",
        "topic": "greeting",
        "tone.suggestion": "warm",
        "responses": {"tone": "warm"},
    }
    assert json.loads(bob.extra)["responses"] == {"tone": "dry"}


def ranked(*ranks: object) -> list[dict[str, object]]:
    return [{"value": f"response{n}", "rank": rank} for n, rank in enumerate(ranks, start=1)]


@pytest.mark.parametrize(("ranks", "verdict"), [((1, 2), "a"), ((2, 1), "b"), ((1, 1), "tie")])
def test_ranks_of_argilla_are_an_order_too(tmp_path: Path, ranks: tuple[int, int], verdict: str):
    path = hand.listed(tmp_path / "x.json", nested({"value": ranked(*ranks), "user_id": "ann"}))
    assert [vote.verdict for vote in hand.taken(path)] == [verdict]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (nested({"value": ranked(1, None), "user_id": "a"}), "has the ranks 1 and None"),
        (nested({"value": ranked(1, True), "user_id": "a"}), "has the ranks 1 and True"),
        (nested(), "nobody has submitted an answer to the question 'ranking' yet"),
        ({**nested(), "responses": None}, "nobody has submitted"),
        ({**nested(), "fields": "x"}, "fields is 'x'; it has to be an object"),
        (flattened(**{"ranking.responses": None}), "are not equally long"),
        (flattened(**{"ranking.responses.status": ["draft", "discarded"]}), "nobody has submitted"),
        (nested({"value": ["response1"], "user_id": "a"}), "it has to order response1 and"),
        (nested({"value": [["x"], {}], "user_id": "a"}), "it has to order response1 and response2"),
        (nested({"value": "response1", "user_id": "a"}), "the answer to ranking is 'response1'"),
        (nested("x"), "a response is 'x'; it has to be an object"),
        (
            nested({"value": ["response1", "response2"], "user_id": "a"}, response2=7),
            "response2 is int '7'; it has to be a text",
        ),
        (
            nested({"value": ["response1", "response2"], "user_id": "a"}, instruction=None),
            "instruction is NoneType",
        ),
    ],
)
def test_records_of_argilla_that_cannot_be_taken_say_why(tmp_path: Path, row, said: str):
    (why,) = hand.whys(hand.listed(tmp_path / "x.json", row), "argilla")
    assert said in why


def test_one_bad_response_of_a_record_leaves_the_others(tmp_path: Path):
    row = flattened(
        **{"ranking.responses": [["response1", "response1"], ["response1", "response2"]]}
    )
    refused, vote = hand.rows(hand.listed(tmp_path / "x.json", row))
    assert isinstance(refused, Refused)
    assert vote.labeler == "bob"


# Label Studio


def annotation(selected: Any = "left", **changes: Any) -> dict[str, Any]:
    item = {
        "type": "pairwise",
        "from_name": "comparison",
        "to_name": "answer1,answer2",
        "value": {"selected": selected},
    }
    plain = {
        "id": 7,
        "lead_time": 4.2,
        "completed_by": 1,
        "result": [{"type": "choices", "value": {"choices": ["x"]}}, item],
        "was_cancelled": False,
        "created_at": "2026-11-23T09:30:00.5Z",
    }
    return {**plain, **changes}


def task(*annotations: Any, **data: Any) -> dict[str, Any]:
    texts = {"prompt": "Hi?", "answer1": "Hello!", "answer2": "What.", **data}
    return {"id": 1, "data": texts, "annotations": list(annotations), "predictions": []}


def test_each_annotation_of_label_studio_is_a_vote(tmp_path: Path):
    skipped = annotation(result=[], was_cancelled=True, completed_by={"id": 3, "email": "x@y.z"})
    path = hand.listed(tmp_path / "x.json", task(annotation("right"), annotation(), skipped))
    assert detect(path) == "label-studio"
    votes = hand.taken(path)
    assert [(vote.verdict, vote.labeler) for vote in votes] == [
        ("b", "1"),
        ("a", "1"),
        ("skip", "3"),
    ]
    assert votes[0] == VoteRow(
        row=1,
        prompt=hand.asked(),
        a=Answer("Hello!"),
        b=Answer("What."),
        verdict="b",
        labeler="1",
        left="a",
        created_at=datetime(2026, 11, 23, 9, 30, 0, 500_000, tzinfo=UTC),
        extra='{"annotation":{"id":7,"lead_time":4.2,"result":[{"type":"choices","value":'
        '{"choices":["x"]}}]},"id":1}',
    )
    assert votes[2].extra == '{"annotation":{"id":7,"lead_time":4.2},"id":1}'
    (vote,) = hand.taken(hand.listed(tmp_path / "y.json", task(annotation(), topic="greeting")))
    assert json.loads(vote.extra)["data"] == {"topic": "greeting"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (task(), "the task has no annotation yet"),
        ({"data": {}, "annotations": None}, "annotations is 'None'; it has to be a list"),
        (task("x"), "an annotation is 'x'; it has to be an object"),
        (task(annotation(result=[])), "chooses neither side; it has no item of type 'pairwise'"),
        (task(annotation("up")), "selected is 'up'; it has to be one of left, right"),
        (task(annotation(None)), "selected is 'None'"),
        (task(annotation(result="x")), "result is 'x'; it has to be a list"),
        (task(annotation(created_at="once")), "created_at is 'once'"),
        (task(annotation(), answer2=None), "data.answer2 is NoneType"),
        (task(annotation(), prompt=""), "the prompt is empty"),
    ],
)
def test_tasks_of_label_studio_that_cannot_be_taken_say_why(tmp_path: Path, row, said: str):
    (why,) = hand.whys(hand.listed(tmp_path / "x.json", row))
    assert said in why


# OpenAssistant


def message(text: str, rank: Any = None, *replies: Any, **changes: Any) -> dict[str, Any]:
    role = "assistant" if rank is not None else "prompter"
    plain = {"message_id": text, "text": text, "role": role, "rank": rank, "synthetic": False,
             "model_name": None, "deleted": False, "replies": list(replies),
             "emojis": {"+1": 9}, "labels": {"spam": {"value": 0.5, "count": 2}}}  # fmt: skip
    return {**plain, **changes}


def tree(prompt: Any) -> dict[str, Any]:
    return {"message_tree_id": "t", "tree_state": "ready_for_export", "prompt": prompt}


def test_ranked_siblings_of_openassistant_are_votes_two_by_two(tmp_path: Path):
    """Three ranked answers give three votes; below the best one two more give one."""
    second = message("And then?", None, message("bad", 1), message("good", 0))
    answers = [
        message("worst", 2),
        message("best", 0, second, synthetic=True, model_name="oasst-1"),
        message("middle", 1, model_name="not shown: a person wrote it"),
        message("unranked", role="assistant"),
        message("gone", 3, deleted=True),
    ]
    path = hand.packed(hand.jsonl(tmp_path / "x.jsonl", tree(message("Hi?", None, *answers))))
    assert detect(path) == "openassistant"
    votes = hand.taken(path)
    assert [(vote.a.text, vote.b.text, vote.verdict) for vote in votes] == [
        ("best", "middle", "a"),
        ("best", "worst", "a"),
        ("middle", "worst", "a"),
        ("good", "bad", "a"),
    ]
    assert votes[0].prompt == hand.asked()
    assert [m["content"] for m in votes[3].prompt] == ["Hi?", "best", "And then?"]
    assert (votes[0].a.model, votes[0].b.model, votes[0].labeler) == ("oasst-1",) + (
        "imported",
    ) * 2
    assert json.loads(votes[3].extra) == {
        "message_tree_id": "t",
        "tree_state": "ready_for_export",
        **{
            side: {
                "message_id": text,
                "emojis": {"+1": 9},
                "labels": {"spam": {"value": 0.5, "count": 2}},
            }
            for side, text in (("a", "good"), ("b", "bad"))
        },
    }


def test_equal_ranks_tie(tmp_path: Path):
    row = tree(message("Hi?", None, message("x", 1), message("y", 1)))
    (vote,) = hand.taken(hand.jsonl(tmp_path / "x.jsonl", row))
    assert vote.verdict == "tie"


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (message("Hi?"), "no message of the tree has two ranked answers"),
        (message("Hi?", None, message("x", 0)), "no message of the tree"),
        (message("Hi?", None, message("x", 0), message("y", 1), deleted=True), "no message"),
        (None, "prompt is 'None'; it has to be an object"),
        (message("Hi?", None, 5), "a reply is '5'"),
        (message("Hi?", None, replies="x"), "replies is 'x'; it has to be a list"),
        (message("Hi?", role="system"), "the role 'system'; there are ['prompter', 'assistant']"),
        (message("Hi?", None, message("x", "1"), message("y", 2)), "rank is '1'; it has to be a"),
        (message("Hi?", None, message("x", 1.5), message("y", 2)), "rank is '1.5'"),
        (message(7, None, message("x", 1)), "text is int '7'"),
        (message("Hi?", None, *(message("x", n) for n in range(17))), "17 ranked answers; at most"),
    ],
)
def test_trees_that_cannot_be_taken_say_why(tmp_path: Path, prompt: Any, said: str):
    (why,) = hand.whys(hand.jsonl(tmp_path / "x.jsonl", tree(prompt)))
    assert said in why


def test_a_deep_tree_is_read_and_one_too_deep_is_refused(tmp_path: Path):
    """Written by hand, for Python writes no JSON that is nested deeper than its own stack."""

    def chain(depth: int) -> str:
        start = '{"role": "%s", "text": "x", "replies": ['
        roles = ["prompter" if n % 2 == 0 else "assistant" for n in range(depth)]
        answers = json.dumps([message("good", 0), message("bad", 1)])[1:-1]
        opened = "".join(start % role for role in roles)
        return f'{{"message_tree_id": "t", "prompt": {opened}{answers}{"]}" * depth}}}'

    path = tmp_path / "x.jsonl"
    path.write_text(chain(101) + "\n" + chain(100_001) + "\n")
    vote, refused = hand.rows(path)
    assert (len(vote.prompt), vote.a.text) == (101, "good")
    assert "nested too deeply" in refused.why
