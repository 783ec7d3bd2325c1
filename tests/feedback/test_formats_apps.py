"""What apps wrote while people used them: feedloop, Open WebUI, Gradio; LLaMA-Factory's sets."""

from __future__ import annotations

import csv
import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gradio import flagging

from feedback.formats import FORMATS, detect
from feedback.formats.rows import Answer, RatingRow, Refused, VoteRow
from storage.errors import BadInput
from tests.feedback import formats_at_hand as hand

USER, HELLO, WHAT = hand.USER, hand.said("Hello!"), hand.said("What.")
TWO_TURNS = (USER, HELLO, {"role": "user", "content": "How are you?"})


# feedloop

COLUMNS = "id, session_id, prompt, output_a, output_b, display_order, status, chosen, completed_at"


def feedloop(path: Path, *rows: tuple[Any, ...]) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE comparisons ({COLUMNS})")
        connection.executemany(
            "INSERT INTO comparisons VALUES ('c', 's', 'Hi?', 'Hello!', 'What.', ?, ?, ?, ?)", rows
        )
    connection.close()
    return path


def test_feedloops_comparisons_are_votes_with_their_side(tmp_path: Path):
    """In the order ba the output b stood on the left; `chosen` names the output, not the side."""
    path = feedloop(
        tmp_path / "feedloop.db",
        ("ba", "completed", "a", "2026-03-01T10:00:00+00:00"),
        ("ab", "completed", "b", None),
        ("ab", "skipped", None, None),
    )
    assert detect(path) == "feedloop"
    votes = hand.taken(path)
    assert [(vote.left, vote.verdict) for vote in votes] == [("b", "a"), ("a", "b"), ("a", "skip")]
    assert votes[0] == VoteRow(
        row=1,
        prompt=hand.asked(),
        a=Answer("Hello!"),
        b=Answer("What."),
        verdict="a",
        left="b",
        created_at=datetime(2026, 3, 1, 10, tzinfo=UTC),
        extra='{"id":"c","session_id":"s"}',
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            ("ab", "pending", None, None),
            "nobody has judged this comparison (its status is pend",
        ),
        (("ab", "auto_skipped", None, None), "nobody has judged"),
        (("ab", "done", "a", None), "status is 'done'; it has to be one of pending, completed"),
        (("ab", "completed", None, None), "chosen is 'None'; it has to be one of a, b"),
        (("left", "completed", "a", None), "display_order is 'left'"),
        (("ab", "completed", "a", 10**12), "completed_at is '1000000000000'"),
    ],
)
def test_comparisons_of_feedloop_that_cannot_be_taken_say_why(tmp_path: Path, row, said: str):
    (why,) = hand.whys(feedloop(tmp_path / "x.db", row))
    assert said in why


# Open WebUI


def node(role: str, content: Any, parent: str | None, model: str | None = None) -> dict[str, Any]:
    return {"role": role, "content": content, "parentId": parent, "model": model}


def feedback(rating: Any = 1, **changes: Any) -> dict[str, Any]:
    """Return a thumb on the answer `m2`, of three answers to the message `m1`."""
    messages = {
        "m1": node("user", "Hi?", None),
        "m2": node("assistant", "Hello!", "m1", "small"),
        "m3": node("assistant", "What.", "m1", "big"),
        "m4": node("assistant", "Hm?", "m1", "small"),
    }
    siblings = changes.pop("siblings", None)
    messages |= changes.pop("messages", {})
    plain = {
        "id": "f1",
        "user_id": "ann",
        "version": 0,
        "type": "rating",
        "data": {"rating": rating, "model_id": "small", "sibling_model_ids": siblings},
        "meta": {"arena": False, "chat_id": "c", "message_id": "m2"},
        "snapshot": {"chat": {"id": "c", "chat": {"history": {"messages": messages}}}},
        "created_at": 1682351591,
    }
    return {**plain, **changes}


@pytest.mark.parametrize(("rating", "thumb"), [(1, "up"), (-1, "down"), ("1", "up")])
def test_a_thumb_of_open_webui_is_a_rating(tmp_path: Path, rating: Any, thumb: str):
    path = hand.listed(tmp_path / "x.json", feedback(rating))
    assert detect(path) == "open-webui"
    extra = '{"id":"f1","meta":{"arena":false,"chat_id":"c"},"type":"rating","version":0}'
    said = RatingRow(1, hand.asked(), Answer("Hello!", "small"), thumb, "ann", extra)
    assert hand.taken(path) == [said]


def test_why_somebody_pressed_a_thumb_of_open_webui_is_kept(tmp_path: Path):
    row = feedback(1, siblings=["big"])
    row["data"] |= {"reason": "accurate_information", "comment": "Short.", "tags": ["greeting"]}
    (vote,) = hand.taken(hand.listed(tmp_path / "x.json", row))
    assert json.loads(vote.extra)["data"] == {
        "reason": "accurate_information",
        "comment": "Short.",
        "tags": ["greeting"],
    }


@pytest.mark.parametrize(("rating", "verdict"), [(1, "a"), (-1, "b")])
def test_a_thumb_beside_another_models_answer_is_a_vote(tmp_path: Path, rating, verdict):
    """m4 is the same model's second try, which the thumb does not judge."""
    path = hand.listed(tmp_path / "x.json", feedback(rating, siblings=["big"]))
    (vote,) = hand.taken(path)
    assert (vote.a, vote.b) == (Answer("Hello!", "small"), Answer("What.", "big"))
    assert (vote.verdict, vote.labeler, vote.left) == (verdict, "ann", "")
    assert vote.created_at == datetime(2023, 4, 24, 15, 53, 11, tzinfo=UTC)


def test_the_one_other_answer_of_an_arena_is_found_by_being_the_one(tmp_path: Path):
    hidden = {
        "m3": node("assistant", "What.", "m1", "arena-model"),
        "m4": node("user", "Ho?", "m2"),
    }
    path = hand.listed(tmp_path / "x.json", feedback(siblings=["big"], messages=hidden))
    (vote,) = hand.taken(path)
    assert vote.b == Answer("What.", "big")


def test_a_thumb_whose_other_answers_are_not_in_the_snapshot_is_a_rating(tmp_path: Path):
    (row,) = hand.taken(hand.listed(tmp_path / "x.json", feedback(siblings=["one", "two"])))
    assert isinstance(row, RatingRow)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (feedback(None), "rating is 'None'; only thumbs, 1 and -1, are read"),
        (feedback(7), "rating is '7'"),
        (feedback(data=None), "data is 'None'; it has to be an object"),
        (feedback(snapshot={}), "snapshot.chat is 'None'"),
        (feedback(snapshot={"chat": {"history": {"messages": []}}}), "history.messages is '[]'"),
        (feedback(meta={}), "the judged message 'None' is not in the snapshot"),
        (feedback(messages={"m2": node("assistant", "x", "m9")}), "'m9', is not in the snapshot"),
        (feedback(messages={"m1": node("user", "x", "m2")}), "'m2', is not in the snapshot"),
        (feedback(messages={"m1": node("user", "x", ["m2"])}), "is not in the snapshot"),
        (feedback(messages={"m1": "x"}), "the message m1 is 'x'"),
        (feedback(messages={"m1": node("tool", "x", None)}), "'tool'"),
        (feedback(messages={"m2": node("assistant", [{"type": "image"}], "m1")}), "only text"),
        (feedback(siblings="big"), "sibling_model_ids is 'big'; it has to be a list"),
        (feedback(siblings=["big"], created_at="now"), "created_at is 'now'"),
    ],
)
def test_feedback_of_open_webui_that_cannot_be_taken_says_why(tmp_path: Path, row, said: str):
    (why,) = hand.whys(hand.listed(tmp_path / "x.json", row))
    assert said in why


# Gradio


class Like:
    """What Gradio hands to its logger, without an app."""

    def __init__(self, index: Any, liked: Any) -> None:
        self.index = index
        self.liked = liked


def test_a_log_that_gradio_wrote_is_read(tmp_path: Path):
    """The logger itself writes it, of a formula too, in Gradio's own form of messages."""
    logger = flagging.ChatCSVLogger()
    logger.setup(str(tmp_path))
    blocks = [{"type": "text", "text": "=1+1, you"}]
    logger.flag(Like(1, True), [USER, HELLO])
    logger.flag(Like(3, False), [*TWO_TURNS, {"role": "assistant", "content": blocks}])
    path = tmp_path / "log.csv"
    assert detect(path) == "gradio-flags"
    first, second = hand.taken(path)
    assert replace(first, extra="") == RatingRow(1, hand.asked(), Answer("Hello!"), "up")
    assert replace(second, extra="") == RatingRow(2, TWO_TURNS, Answer("=1+1, you"), "down")
    assert datetime.fromisoformat(json.loads(first.extra)["timestamp"]).year >= 2026


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (("x", "1", "Like", ""), "conversation is not JSON"),
        (("[" * 100_000, "1", "Like", ""), "conversation is not JSON"),
        (('"x"', "1", "Like", ""), "conversation is str; it has to be a text or a message list"),
        ((json.dumps([USER, HELLO]), "2", "Like", ""), "index is '2'; it has to be one of 0 to 1"),
        ((json.dumps([USER, HELLO]), "-1", "Like", ""), "index is '-1'"),
        ((json.dumps([USER, HELLO]), "9" * 5000, "Like", ""), "index is '9999"),
        ((json.dumps([USER, HELLO]), "0", "Like", ""), "the judged message has to be one assist"),
        ((json.dumps([HELLO]), "0", "Like", ""), "the prompt is empty"),
        ((json.dumps([USER, HELLO]), "1", "Spam", ""), "feedback is 'Spam'; it has to be one of"),
        (("[]", "0", "Like", "", ""), "the row has 5 cells, the header has 4 columns"),
    ],
)
def test_flags_that_cannot_be_taken_say_why(tmp_path: Path, cells, said: str):
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["conversation", "index", "value", "flag", "timestamp"])
        writer.writerow(cells)
    (why,) = hand.whys(path)
    assert said in why


# LLaMA-Factory


def turn(speaker: str, value: Any) -> dict[str, Any]:
    return {"from": speaker, "value": value}


TALK = [turn("human", "Hi?"), turn("gpt", "Hello!"), turn("human", "How are you?")]


@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_alpaca_pairs_join_instruction_and_input(tmp_path: Path, name: str):
    row = {
        "instruction": "How are you?",
        "input": "In a word.",
        "chosen": "Fine.",
        "rejected": "",
        "system": "Be kind.",
        "history": [["Hi?", "Hello!"]],
    }
    path = (hand.listed if name == "x.json" else hand.jsonl)(tmp_path / name, row)
    assert detect(path) == "llama-factory"
    (vote,) = hand.taken(path)
    asked = {"role": "user", "content": "How are you?\nIn a word."}
    assert vote.prompt == ({"role": "system", "content": "Be kind."}, USER, HELLO, asked)
    assert (vote.a.text, vote.b.text, vote.verdict) == ("Fine.", "", "a")


def test_sharegpt_pairs_and_labels(tmp_path: Path):
    pair = {"conversations": TALK, "chosen": turn("gpt", "Fine."), "rejected": turn("gpt", "Bad.")}
    (vote,) = hand.taken(hand.jsonl(tmp_path / "x.jsonl", pair))
    assert vote == VoteRow(1, TWO_TURNS, Answer("Fine."), Answer("Bad."), "a")
    label = {"conversations": [*TALK, turn("gpt", "Bad.")], "kto_tag": False}
    (rating,) = hand.taken(hand.jsonl(tmp_path / "y.jsonl", label))
    assert rating == RatingRow(1, TWO_TURNS, Answer("Bad."), "down")


def test_alpaca_labels(tmp_path: Path):
    row = {"instruction": "Hi?", "input": "", "output": "Hello!", "kto_tag": "true"}
    (rating,) = hand.taken(hand.listed(tmp_path / "x.json", row))
    assert rating == RatingRow(1, hand.asked(), Answer("Hello!"), "up")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"instruction": "", "chosen": "A", "rejected": "B"}, "the prompt is empty"),
        ({"instruction": 5, "chosen": "A", "rejected": "B"}, "instruction is int '5'"),
        ({"instruction": "x", "chosen": "A", "rejected": None}, "a turn of rejected is 'None'"),
        ({"instruction": "x", "kto_tag": True}, "output is NoneType"),
        ({"instruction": "x", "output": "y", "kto_tag": "maybe"}, "kto_tag is 'maybe'"),
        ({"instruction": "x", "output": "y", "kto_tag": 2}, "kto_tag is '2'; it has to be true or"),
        (
            {"instruction": "x", "history": [["a"]], "chosen": "A", "rejected": "B"},
            "write [question, answer]",
        ),
        ({"conversations": "x", "kto_tag": True}, "conversations is 'x'; it has to be a list"),
        ({"conversations": [], "kto_tag": True}, "one assistant message"),
        ({"conversations": TALK, "kto_tag": True}, "it has: user"),
        (
            {"conversations": [turn("observation", "x")], "kto_tag": True},
            "a turn from 'observation'; there are ['human', 'gpt', 'system']",
        ),
        (
            {"conversations": TALK, "chosen": turn("human", "A"), "rejected": turn("gpt", "B")},
            "chosen has to be one assistant message",
        ),
        (
            {"conversations": TALK, "chosen": turn("gpt", "\ud800"), "rejected": turn("gpt", "B")},
            "half a character",
        ),
    ],
)
def test_rows_of_llama_factory_that_cannot_be_taken_say_why(tmp_path: Path, row, said: str):
    (why,) = hand.whys(hand.jsonl(tmp_path / "x.jsonl", row), "llama-factory")
    assert said in why


def test_written_conversations_are_those_that_llama_factory_reads(tmp_path: Path):
    """Its converter takes a first system turn apart and wants the others to alternate."""
    system = {"role": "system", "content": "Be kind."}
    rows = [
        VoteRow(1, (system, *TWO_TURNS), Answer("Bad."), Answer("Fine."), "b"),
        VoteRow(2, (USER,), Answer("x"), Answer("y"), "tie"),
        RatingRow(3, (USER,), Answer("Hello!"), "down"),
    ]
    assert FORMATS["llama-factory"].write(tmp_path / "p.jsonl", rows) == 1
    assert json.loads((tmp_path / "p.jsonl").read_text()) == {
        "conversations": [turn("system", "Be kind."), *TALK],
        "chosen": turn("gpt", "Fine."),
        "rejected": turn("gpt", "Bad."),
    }
    assert FORMATS["llama-factory-kto"].write(tmp_path / "l.jsonl", rows) == 1
    assert json.loads((tmp_path / "l.jsonl").read_text()) == {
        "conversations": [turn("human", "Hi?"), turn("gpt", "Hello!")],
        "kto_tag": False,
    }
    assert hand.taken(tmp_path / "l.jsonl") == [RatingRow(1, (USER,), Answer("Hello!"), "down")]
    with pytest.raises(BadInput, match="is written as .jsonl"):
        FORMATS["llama-factory"].write(tmp_path / "p.csv", rows)


def test_a_refused_row_of_any_of_them_leaves_the_others(tmp_path: Path):
    path = hand.listed(tmp_path / "x.json", feedback(), feedback(None), feedback(-1))
    assert [isinstance(row, Refused) for row in hand.rows(path)] == [False, True, False]
