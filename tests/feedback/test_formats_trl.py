"""Published sets of TRL's form: hh-rlhf's transcripts, UltraFeedback binarized, a hub's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from feedback.formats import detect
from feedback.formats.rows import Answer, VoteRow
from tests.feedback import formats_at_hand as hand

USER = hand.USER


def transcript(*turns: str) -> str:
    """Return turns as hh-rlhf writes them, a person's first."""
    speakers = ("Human", "Assistant") * len(turns)
    return "".join(f"\n\n{who}: {said}" for who, said in zip(speakers, turns, strict=False))


def test_hh_rlhf_is_read_as_it_is_published(tmp_path: Path):
    """train.jsonl.gz: whole transcripts, whose common turns are the prompt."""
    talk = ("Hi?", "Hello!\n\nWell, you know.", "How are you?")
    row = {"chosen": transcript(*talk, "Fine."), "rejected": transcript(*talk, " Bad.\nWhy?")}
    path = hand.packed(hand.jsonl(tmp_path / "train.jsonl", row))
    assert detect(path) == "trl"
    (vote,) = hand.taken(path)
    assert [(m["role"], m["content"]) for m in vote.prompt] == [
        ("user", "Hi?"),
        ("assistant", "Hello!\n\nWell, you know."),
        ("user", "How are you?"),
    ]
    assert (vote.a.text, vote.b.text, vote.verdict) == ("Fine.", " Bad.\nWhy?", "a")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"chosen": transcript("Hi?", "A"), "rejected": transcript("Ho?", "B")},
            "chosen has to be one assistant message after the prompt; it has: user, assistant",
        ),
        (
            {"chosen": transcript("Hi?", "A", "Ho?"), "rejected": transcript("Hi?", "B")},
            "it has: assistant, user",
        ),
        ({"chosen": transcript("Hi?", "A"), "rejected": 5}, "chosen is str"),
    ],
)
def test_transcripts_that_cannot_be_taken_say_why(tmp_path: Path, row: Any, said: str):
    (why,) = hand.whys(hand.jsonl(tmp_path / "x.jsonl", row))
    assert said in why


def test_ultrafeedback_binarized_is_read_without_what_it_says_twice(tmp_path: Path):
    """Both answers repeat the user's turn, and `messages` the better one; the rest is kept."""
    row = {
        "prompt": "Hi?",
        "prompt_id": "3b1c",
        "chosen": [USER, hand.said("Hello!")],
        "rejected": [USER, hand.said("What.")],
        "messages": [USER, hand.said("Hello!")],
        "score_chosen": 8.5,
        "score_rejected": 3.0,
    }
    path = hand.jsonl(tmp_path / "x.jsonl", row)
    assert detect(path) == "trl"
    others = '{"prompt_id":"3b1c","score_chosen":8.5,"score_rejected":3.0}'
    expected = VoteRow(1, hand.asked(), Answer("Hello!"), Answer("What."), "a", extra=others)
    assert hand.taken(path) == [expected]
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    target = folder / "train_prefs-00000-of-00001.parquet"
    duckdb.execute(f"COPY (FROM read_json('{path}')) TO '{target}' (FORMAT parquet)")
    assert detect(tmp_path / "hub") == "trl"
    assert hand.taken(tmp_path / "hub") == [expected]


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("messages", [True, False])
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "json"])
def test_every_form_of_trls_preferences(tmp_path: Path, implicit, messages, kind):
    """Text or messages, the prompt of its own or in both answers, in each kind of file."""
    if messages:
        before = [USER] if implicit else []
        row: dict[str, Any] = {
            "chosen": [*before, hand.said("good")],
            "rejected": [*before, hand.said("bad")],
        }
    else:
        before_text = "Hi? " if implicit else ""
        row = {"chosen": before_text + "good", "rejected": before_text + "bad"}
    if not implicit:
        row["prompt"] = [USER] if messages else "Hi?"
    path = hand.jsonl(tmp_path / "x.jsonl", row)
    if kind == "json":
        path = hand.listed(tmp_path / "x.json", row)
    elif kind == "parquet":
        target = tmp_path / "x.parquet"
        duckdb.execute(f"COPY (FROM read_json('{path}')) TO '{target}' (FORMAT parquet)")
        path = target
    assert hand.taken(path) == [VoteRow(1, hand.asked(), Answer("good"), Answer("bad"), "a")]
