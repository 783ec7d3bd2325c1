"""Files into the real store and out again: what is stored, what is a duplicate, what is refused."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feedback import storing
from feedback.checks import CheckResult
from feedback.duplicates import decide, open_questions
from feedback.formats import FORMATS
from feedback.imports import export_file, import_file
from feedback.items import NewResponse, add_comparisons, add_responses, prompt_id
from feedback.quality import live_length_bias, run_checks
from storage.errors import BadInput, NotFound
from storage.records import (
    Assignment,
    Comparison,
    Duplicate,
    Labeler,
    Prompt,
    Rating,
    Response,
    Text,
    Vote,
    canonical_messages,
)
from storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "data")
    yield store
    store.close()


def jsonl(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def vote(prompt="Hi?", a="Hello!", b="What.", **changes) -> dict:
    plain = {
        "prompt": prompt,
        "response_a": a,
        "response_b": b,
        "model_a": "m1",
        "model_b": "m2",
        "labeler": "ann",
        "verdict": "a",
        "left": "b",
        "created_at": "2026-11-23T09:30:00Z",
    }
    return {**plain, **changes}


def swapped(row: dict) -> dict:
    """Return the same vote with the two answers the other way round."""
    turn = {"a": "b", "b": "a"}
    other = dict(row)
    other["response_a"], other["response_b"] = row["response_b"], row["response_a"]
    other["model_a"], other["model_b"] = row["model_b"], row["model_a"]
    other["verdict"] = turn.get(row["verdict"], row["verdict"])
    other["left"] = turn.get(row["left"], row["left"])
    return other


def counts(result: dict) -> tuple[int, int, int, int]:
    return result["read"], result["stored"], result["duplicates"], len(result["refused"])


def check(store: Store, name: str) -> CheckResult:
    return next(result for result in run_checks(store) if result.name == name)


# Votes


def test_a_vote_comes_in_with_everything_it_says(store: Store, tmp_path: Path):
    result = import_file(store, jsonl(tmp_path / "x.jsonl", vote()), "votes")
    assert result == {"read": 1, "stored": 1, "duplicates": 0, "refused": []}
    (found,) = store.rows(Vote)
    (place,) = store.rows(Assignment)
    (pair,) = store.rows(Comparison)
    assert (found.verdict, found.labeler, found.revision) == ("a", "ann", 0)
    assert (found.source, found.created_at) == (
        "import:x.jsonl",
        datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
    )
    assert (found.assignment, found.comparison) == (place.id, pair.id)
    assert (place.labeler, place.comparison, place.left) == ("ann", pair.id, "b")
    assert (place.kind, place.source, place.campaign) == ("plain", "import:x.jsonl", "default")
    sides = {r.id: r for r in store.rows(Response)}
    assert [sides[id].model for id in (pair.a, pair.b)] == ["m1", "m2"]
    texts = store.texts([sides[pair.a].text, sides[pair.b].text])
    assert [texts[sides[id].text] for id in (pair.a, pair.b)] == ["Hello!", "What."]
    assert store.messages(store.rows(Prompt)[0]) == [{"role": "user", "content": "Hi?"}]
    assert [(one.id, one.kind) for one in store.rows(Labeler)] == [("ann", "import")]


def test_the_same_file_twice_adds_nothing(store: Store, tmp_path: Path):
    rows = [vote(), vote(labeler="bob"), vote(prompt="Ho?"), vote(created_at="")]
    path = jsonl(tmp_path / "x.jsonl", *rows)
    assert counts(import_file(store, path)) == (4, 4, 0, 0)
    kinds = (Vote, Assignment, Comparison, Response, Prompt, Labeler)
    before = {kind: store.rows(kind, order="id") for kind in kinds}
    assert counts(import_file(store, path)) == (4, 0, 4, 0)
    assert {kind: store.rows(kind, order="id") for kind in kinds} == before


def test_the_same_row_twice_in_one_file_is_one_vote(store: Store, tmp_path: Path):
    assert counts(import_file(store, jsonl(tmp_path / "x.jsonl", vote(), vote()))) == (2, 1, 1, 0)


@pytest.mark.parametrize("verdict", ["a", "b", "tie", "both_bad", "skip"])
def test_a_swapped_row_is_the_same_vote(store: Store, tmp_path: Path, verdict: str):
    row = vote(verdict=verdict)
    path = jsonl(tmp_path / "x.jsonl", row, swapped(row))
    assert counts(import_file(store, path)) == (2, 1, 1, 0)


@pytest.mark.parametrize("served", [False, True])
def test_where_others_may_vote_a_commit_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: bool
):
    """Ten votes on ten prompts; what is stored is the same."""
    monkeypatch.setattr(storing, "ROWS_BESIDE", 7)
    monkeypatch.setattr(storing, "EVENTS_BESIDE", 3)
    sizes: dict[str, list[int]] = {"add": [], "append_many": []}
    for name, seen in sizes.items():
        right = getattr(Store, name)

        def noted(store: Store, rows: list, seen: list = seen, right: Callable = right) -> Any:
            seen.append(len(rows))
            return right(store, rows)

        monkeypatch.setattr(Store, name, noted)
    path = jsonl(tmp_path / "x.jsonl", *(vote(f"{n}?", f"{n} a", f"{n} b") for n in range(10)))
    with Store.open(tmp_path / "data") as store:
        if served:
            store.announce("http://127.0.0.1:1", "token")
        assert counts(import_file(store, path)) == (10, 10, 0, 0)
        assert set(store.frame("votes")["text_a"]) == {Text.of(f"{n} a").id for n in range(10)}
    most = max(sizes["add"]), max(sizes["append_many"])
    assert most == ((7, 3) if served else (81, 10))


def test_a_swapped_comparison_turns_the_verdict_and_the_sides(store: Store, tmp_path: Path):
    """Bob sees the answers the other way round and chooses the one that Ann chose."""
    path = jsonl(tmp_path / "x.jsonl", vote(), swapped(vote(labeler="bob")))
    assert counts(import_file(store, path)) == (2, 2, 0, 0)
    assert len(store.rows(Comparison)) == 1
    assert [v.verdict for v in store.rows(Vote)] == ["a", "a"]
    assert [place.left for place in store.rows(Assignment)] == ["b", "b"]


def test_ids_of_votes_and_comparisons_are_kept_and_one_that_says_something_else_is_refused(
    store: Store, tmp_path: Path
):
    uuid = "0f9f4c1e-8a43-4b7e-9a55-0d2a3f6f7a11"
    path = jsonl(
        tmp_path / "x.jsonl",
        vote(id=uuid, comparison="mine"),
        vote(id="v2", comparison="mine", labeler="bob"),
        vote(id=uuid, comparison="mine", verdict="b"),
        vote(id="v4", comparison="mine", b="Another answer"),
        vote(id="v5", comparison="=odd name\u2028<b>"),
    )
    result = import_file(store, path)
    assert counts(result) == (5, 3, 0, 2)
    assert [one["row"] for one in result["refused"]] == [3, 4]
    assert "says something else" in result["refused"][0]["why"]
    assert "'mine' is stored with another prompt or other answers" in result["refused"][1]["why"]
    assert store.get(Vote, uuid).comparison == "mine"
    assert len({c.id for c in store.rows(Comparison)} - {"mine"}) == 1
    assert counts(import_file(store, path)) == (5, 0, 3, 2)


def test_good_rows_are_stored_and_bad_ones_named(store: Store, tmp_path: Path):
    path = tmp_path / "x.jsonl"
    lines = [
        json.dumps(vote(a="")),
        json.dumps(vote(prompt=" ")),
        json.dumps(vote(verdict="c")),
        json.dumps(vote(a="\ud800")),
        json.dumps(vote())[:50],
        "",
        json.dumps(vote(prompt="Ho?")),
    ]
    path.write_text("\n".join(lines), "utf-8")
    result = import_file(store, path, "votes")
    assert counts(result) == (6, 2, 0, 4)
    assert [one["row"] for one in result["refused"]] == [2, 3, 4, 5]
    assert set(result["refused"][0]) == {"row", "why"}


def test_every_text_comes_back_exactly(store: Store, tmp_path: Path):
    texts = [
        "שלום",
        "a\u2028b",
        "\ufeffx",
        "e\u0301é",
        "\x01\x7f",
        "👩‍👩‍👧",
        "x" * 1_000_000,
        " \n ",
    ]
    import_file(store, jsonl(tmp_path / "x.jsonl", *(vote(a=text) for text in texts)))
    stored = store.texts([r.text for r in store.rows(Response, model="m1")])
    assert sorted(stored.values()) == sorted(texts)


# TRL


def test_trl_pairs_become_votes_of_nobody_in_particular(store: Store, tmp_path: Path):
    row = {"prompt": "Hi?", "chosen": "Hello!", "rejected": "What."}
    path = jsonl(tmp_path / "x.jsonl", row, {**row, "chosen": "What.", "rejected": "Hello!"}, row)
    assert counts(import_file(store, path)) == (3, 2, 1, 0)
    assert len(store.rows(Comparison)) == 1
    assert sorted(v.verdict for v in store.rows(Vote)) == ["a", "b"]
    assert [(one.id, one.kind) for one in store.rows(Labeler)] == [("imported", "import")]
    assert {place.left for place in store.rows(Assignment)} == {""}
    assert {r.model for r in store.rows(Response)} == {"imported"}


def test_trl_labels_become_ratings(store: Store, tmp_path: Path):
    rows = [
        {"prompt": "Hi?", "completion": "Hello!", "label": True},
        {"prompt": "Hi?", "completion": "What.", "label": False},
    ]
    path = jsonl(tmp_path / "x.jsonl", *rows)
    assert counts(import_file(store, path)) == (2, 2, 0, 0)
    assert counts(import_file(store, path)) == (2, 0, 2, 0)
    assert sorted(r.verdict for r in store.rows(Rating)) == ["down", "up"]
    assert {place.comparison for place in store.rows(Assignment)} == {""}


# Files as a whole


def test_a_file_that_cannot_be_read_stores_nothing(store: Store, tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text("prompt,response_a\nHi?,Hello!\n")
    with pytest.raises(BadInput, match="response_b, model_a"):
        import_file(store, path, "votes")
    with pytest.raises(NotFound):
        import_file(store, tmp_path / "none.csv")
    with pytest.raises(BadInput, match="on_duplicate is 'drop'"):
        import_file(store, path, on_duplicate="drop")
    assert store.rows(Prompt) == []


def test_progress_is_told_in_words(store: Store, tmp_path: Path):
    told: list[str] = []
    import_file(store, jsonl(tmp_path / "x.jsonl", vote()), progress=told.append)
    looks = f"x.jsonl looks like votes: {FORMATS['votes'].describe}\n"
    assert told == [looks, "1 rows read, 1 stored"]
    import_file(store, tmp_path / "x.jsonl", "votes", progress=told.append)
    assert told[2:] == ["1 rows read, 0 stored"]


# Duplicates

SETTLED = ("length_bias", "duplicate_prompts", "duplicate_responses")
REPEATS = [
    vote("How do I boil an egg?", "Put it in water.", "No idea at all."),
    vote("how do I  boil an egg", "Use a pan.", "Ask your mother."),  # the same but for signs
    vote("How do I boil an egg well?", "Slowly and with care.", "Quick."),  # near
    vote("Name a river.", "The Rhine is a river.", "The  Rhine is a river!"),  # answers alike
    vote("How old is the sun?", "Very old.", "4.6 billion years."),
]


def test_link_stores_repeats_and_the_checks_flag_them(store: Store, tmp_path: Path):
    path = jsonl(tmp_path / "x.jsonl", *REPEATS)
    assert counts(import_file(store, path)) == (5, 5, 0, 0)
    pairs = [c.id for c in store.rows(Comparison, order="created_at")]
    prompts = check(store, "duplicate_prompts")
    assert (prompts.items, prompts.n, prompts.severity) == ((pairs[1], pairs[2]), 5, "warn")
    assert prompts.findings[0].subject == pairs[0]
    assert "How do I boil an egg?" in prompts.findings[0].message
    answers = check(store, "duplicate_responses")
    assert (answers.items, answers.severity) == ((pairs[3],), "warn")
    assert store.rows(Duplicate) == []


def test_skip_leaves_repeats_out_and_counts_them(store: Store, tmp_path: Path):
    path = jsonl(tmp_path / "x.jsonl", *REPEATS, {**REPEATS[0], "labeler": "bob"})
    assert counts(import_file(store, path, on_duplicate="skip")) == (6, 3, 3, 0)
    assert len(store.rows(Prompt)) == len(store.rows(Comparison)) == 2
    assert {check(store, name).severity for name in SETTLED} == {"ok"}
    again = import_file(store, path, on_duplicate="skip")  # Bob's vote is on a known comparison
    assert counts(again) == (6, 0, 6, 0)


def test_skip_also_compares_with_what_was_stored_before(store: Store, tmp_path: Path):
    import_file(store, jsonl(tmp_path / "x.jsonl", REPEATS[0]))
    other = jsonl(tmp_path / "y.jsonl", REPEATS[2], REPEATS[4])
    assert counts(import_file(store, other, on_duplicate="skip")) == (2, 1, 1, 0)


def test_keep_stores_repeats_and_records_that_they_are_none(store: Store, tmp_path: Path):
    path = jsonl(tmp_path / "x.jsonl", *REPEATS)
    assert counts(import_file(store, path, on_duplicate="keep")) == (5, 5, 0, 0)
    assert {check(store, name).severity for name in SETTLED} == {"ok"}
    assert sorted(d.kind for d in store.rows(Duplicate)) == ["prompt", "prompt", "response"]
    import_file(store, path, on_duplicate="keep")
    assert len(store.rows(Duplicate)) == 3


def test_the_data_screen_asks_about_each_repeat_and_names_the_earlier_item(
    store: Store, tmp_path: Path
):
    import_file(store, jsonl(tmp_path / "x.jsonl", *REPEATS))
    pairs = [c.id for c in store.rows(Comparison, order="created_at")]
    prompts, answers = open_questions(store, run_checks(store))
    assert (prompts.kind, prompts.items, prompts.earlier) == ("prompt", (*pairs[1:3],), pairs[0])
    assert (answers.kind, answers.items) == ("response", (pairs[3],))


@pytest.mark.parametrize("decision", ["skip", "link", "keep"])
def test_a_decision_settles_what_was_found(store: Store, tmp_path: Path, decision: str):
    import_file(store, jsonl(tmp_path / "x.jsonl", *REPEATS))
    for question in open_questions(store, run_checks(store)):
        decide(store, question, decision, "lead")
    assert {check(store, name).severity for name in SETTLED} == {"ok"}
    assert open_questions(store, run_checks(store)) == []
    open_ = store.frame("open_comparisons", labeler="cy", overlap=9, lease_minutes=30, limit=9)
    assert len(open_) == (2 if decision == "skip" else 5)


def test_the_very_same_prompt_again_is_skipped_without_the_earlier_one(
    store: Store, tmp_path: Path
):
    rows = [vote(), vote(a="Good day to you.", b="Go away now.")]
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows))
    pairs = [c.id for c in store.rows(Comparison, order="created_at")]
    (question,) = open_questions(store, run_checks(store))
    assert question.items == (pairs[1],)
    decide(store, question, "skip", "lead")
    open_ = store.frame("open_comparisons", labeler="cy", overlap=9, lease_minutes=30, limit=9)
    assert list(open_["comparison"]) == [pairs[0]]
    assert check(store, "duplicate_prompts").n == 1


# Checks on the store


def test_length_bias_is_live_and_the_same_as_in_the_checks(store: Store, tmp_path: Path):
    rows = [vote(f"Question number {n}?", "long answer", "short") for n in range(12)]
    assert live_length_bias(store).severity == "unknown"
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows))
    live = live_length_bias(store)
    assert (live.value, live.n) == (1.0, 12)
    assert live.as_json() == check(store, "length_bias").as_json()


def test_no_votes_at_all_is_no_error(store: Store):
    assert {result.severity for result in run_checks(store)} == {"unknown"}
    assert open_questions(store, run_checks(store)) == []


# Export


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_exported_votes_come_back_in_another_folder_exactly(
    store: Store, tmp_path: Path, suffix: str
):
    rows = [
        vote(),
        vote(labeler="bob", verdict="tie", left=""),
        vote("=1+1", "=cmd|' /C calc'!A0", "'=x\r\n\u2028\t", labeler="-eve", verdict="both_bad"),
        vote([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi?"}]),
        vote('[{"role": "user", "content": "a text that looks like a list"}]', a="", verdict="b"),
    ]
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows))
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    assert export_file(store, first, "votes", names=True)["written"] == 5
    assert counts(import_file(store, first)) == (5, 0, 5, 0)
    with Store.open(tmp_path / "other") as other:
        assert counts(import_file(other, first)) == (5, 5, 0, 0)
        assert export_file(other, second, "votes", names=True)["written"] == 5
    assert second.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_silent_repeat_comes_back_as_one(store: Store, tmp_path: Path, suffix: str):
    """Not as a second opinion: the labeler table and the snapshots tell the two apart."""
    rows = [vote(), vote(kind="repeat", left="a", verdict="b"), vote(b="Why?", kind="gold")]
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows))
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    assert export_file(store, first, "votes", names=True)["written"] == 3
    with Store.open(tmp_path / "other") as other:
        assert counts(import_file(other, first)) == (3, 3, 0, 0)
        assert sorted(other.frame("votes")["kind"]) == ["gold", "plain", "repeat"]
        assert export_file(other, second, "votes", names=True)["written"] == 3
    assert second.read_bytes() == first.read_bytes()


def test_votes_of_an_older_file_are_plain_and_the_same_as_before(store: Store, tmp_path: Path):
    """Such a file has no column `kind`; naming it now does not make another vote of it."""
    old = jsonl(tmp_path / "old.jsonl", vote())
    assert counts(import_file(store, old)) == (1, 1, 0, 0)
    assert list(store.frame("votes")["kind"]) == ["plain"]
    new = jsonl(tmp_path / "new.jsonl", vote(kind="plain"), vote(kind="", b="Why?"), vote(kind="x"))
    result = import_file(store, new)
    assert counts(result) == (3, 1, 1, 1)
    assert "kind is 'x'" in str(result["refused"])


def test_pairs_and_labels_of_the_live_votes_are_exported(store: Store, tmp_path: Path):
    rows = [vote(), vote("Ho?", verdict="tie"), vote("He?", verdict="both_bad"), vote("Hm?", a="")]
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows))
    assert export_file(store, tmp_path / "p.jsonl", "trl")["written"] == 1
    row = json.loads((tmp_path / "p.jsonl").read_text())
    assert row == {
        "prompt": [{"role": "user", "content": "Hi?"}],
        "chosen": [{"role": "assistant", "content": "Hello!"}],
        "rejected": [{"role": "assistant", "content": "What."}],
    }
    written = export_file(store, tmp_path / "l.parquet", "trl-labels")["written"]
    with Store.open(tmp_path / "other") as other:
        assert counts(import_file(other, tmp_path / "l.parquet")) == (written, written, 0, 0)
        thumbs = sorted(r.verdict for r in other.rows(Rating))
    # Hi?: good and bad; He?: two bad; Hm?: the empty answer gives none, the other one is bad
    assert thumbs == ["down", "down", "down", "down", "up"]


def test_personal_data_in_what_is_written_is_counted_by_text(store: Store, tmp_path: Path):
    """Ada's address stands in two different texts, a phone number in one of them; the prompt with
    the address is written twice and counted once. Nobody's data is in the other answers. The pairs
    hold neither the labeler nor the tie."""
    mail, both = "Is ada@lovelace.org right?", "Ask ada@lovelace.org or call +49 30 1234567."
    rows = [vote(mail, a=both), vote(mail, a="No.", verdict="tie"), vote("Ho?", labeler="x@y.de")]
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows))
    found = {"texts": 3, "mail": 3, "phone": 1, "card": 0, "address": 0}
    done = export_file(store, tmp_path / "v.csv", "votes", names=True)
    assert done == {"written": 3, "personal_data": found}
    done = export_file(store, tmp_path / "p.jsonl", "trl")
    assert done == {"written": 2, "personal_data": {**found, "texts": 2, "mail": 2}}


def test_a_snapshot_is_exported_as_pairs_and_labels(store: Store, tmp_path: Path):
    from feedback.snapshots import freeze

    import_file(store, jsonl(tmp_path / "x.jsonl", vote(), vote("Ho?", verdict="b")))
    snapshot = freeze(store)
    folder = store.data / "snapshots" / snapshot.id
    assert export_file(store, tmp_path / "p.jsonl", "trl", folder)["written"] == 2
    assert export_file(store, tmp_path / "l.jsonl", "trl-labels", folder)["written"] == 4
    with pytest.raises(BadInput, match="not votes"):
        export_file(store, tmp_path / "v.csv", "votes", folder)


def test_an_export_into_a_folder_that_is_not_there_says_so(store: Store, tmp_path: Path):
    with pytest.raises(BadInput, match="there is no folder"):
        export_file(store, tmp_path / "none" / "x.csv", "votes")
    with pytest.raises(BadInput, match="there is no format 'xml'"):
        export_file(store, tmp_path / "x.xml", "xml")


# What is stored already, for an import in parts


@pytest.fixture
def parted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an import come in parts of two rows."""
    monkeypatch.setattr("feedback.imports.AT_ONCE", 2)


def test_an_import_in_parts_knows_what_is_stored(store: Store, tmp_path: Path, parted: None):
    """Its own rows, those of an import before it, and the same pair the other way round."""
    rows = [vote(f"Question {n * n}?", labeler="ann") for n in range(7)]
    import_file(store, jsonl(tmp_path / "x.jsonl", *rows[:5]))
    again = swapped({**rows[4], "labeler": "bob"})
    thumb = {"prompt": "Hi?", "completion": "Hello!", "label": True}
    file = jsonl(tmp_path / "y.jsonl", *rows, rows[5], rows[6], again)
    assert counts(import_file(store, file)) == (10, 3, 7, 0)
    assert store.count(Comparison) == 7
    assert {one.verdict for one in store.rows(Vote, labeler="ann")} == {"a"}
    (turned,) = store.rows(Vote, labeler="bob")
    assert turned.verdict == "a"  # in the stored comparison's own terms: bob's b
    thumbs = jsonl(tmp_path / "z.jsonl", thumb, {**thumb, "label": False}, thumb)
    assert counts(import_file(store, thumbs)) == (3, 2, 1, 0)


def test_a_comparison_that_others_add_during_an_import_keeps_its_sides(
    store: Store, tmp_path: Path, parted: None
):
    """It comes while the rows in front of it are stored, the other way round."""
    rows = [vote(f"Question {n * n}?") for n in range(8)]

    def meanwhile(line: str) -> None:
        if line.startswith("4 rows"):
            (prompt,) = add_prompts_unlocked(store, rows[7]["prompt"])
            made = [
                NewResponse(prompt, rows[7][f"response_{side}"], rows[7][f"model_{side}"])
                for side in "ba"
            ]
            add_comparisons(store, [tuple(add_responses(store, made))], "generated:1")

    told = import_file(store, jsonl(tmp_path / "x.jsonl", *rows), progress=meanwhile)
    assert told["stored"] == 8
    (theirs,) = store.rows(Comparison, source="generated:1")
    (vote_on_it,) = store.rows(Vote, comparison=theirs.id)
    assert vote_on_it.verdict == "b"


def add_prompts_unlocked(store: Store, question: str) -> list[str]:
    """Store a prompt past the lock that the import holds, as nobody should; return its id."""
    text = Text.of(canonical_messages([{"role": "user", "content": question}]))
    prompt = Prompt(prompt_id(text), text.id, prompt_id(text), "generated")
    store.add([text, prompt])
    return [prompt.id]


# Speed


@pytest.mark.slow
@pytest.mark.alone
def test_a_hundred_thousand_new_prompts_come_in_within_two_minutes(store: Store, tmp_path: Path):
    """On two cores about a minute: it grows with the number of rows, not with its square."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(5_000)]
    with (tmp_path / "x.jsonl").open("w") as file:
        for _ in range(100_000):
            prompt, chosen, rejected = (" ".join(rng.choices(words, k=12)) for _ in range(3))
            row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
            file.write(json.dumps(row) + "\n")
    started = time.perf_counter()
    result = import_file(store, tmp_path / "x.jsonl")
    assert counts(result) == (100_000, 100_000, 0, 0)
    assert time.perf_counter() - started < 120
