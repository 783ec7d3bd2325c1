"""A person's words and name go on request, from all that Hone keeps, and do not come back."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from feedback import audit, browse, curation, erasing, exports, selection, snapshots
from feedback.accounts import people_of
from feedback.assignments import serve_items
from feedback.frozen import load, verify
from feedback.items import NewResponse, add_prompts, add_responses
from feedback.product.pseudonyms import Pseudonyms
from feedback.seen import history
from feedback.values import shown
from feedback.votes import cast_vote, save_edit
from storage.errors import BadInput, Busy, Conflict, NotFound
from storage.records import (
    ERASED,
    Assignment,
    Audit,
    Campaign,
    Comparison,
    Edit,
    Erased,
    Labeler,
    Prompt,
    Response,
    Vote,
    digest,
)
from storage.store import Store
from tests.feedback.stock import comparison_records, stock
from tests.storage.test_erase import files_with

SECRET = "call me at 0151 2345678, please"
REMARK = "Zacharias Z. says: this is rude"
FIXED = "the corrected answer of Zacharias Z."
NAME = "Zacharias Z."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        stock(opened, 12)
        fill_secret(opened)
        yield opened


def fill_secret(store: Store) -> Comparison:
    made, records = comparison_records(99, f"Well, {SECRET}", "No comment on that.")
    store.add(records)
    return made


def judge(store: Store, name: str, n: int, **other: str) -> list[str]:
    """Let somebody judge n comparisons, the left answer always; return the assignments."""
    items = serve_items(store, name, "pairs", n, random.Random(1))
    for item in items:
        given = {"verdict": "left", "revision": 0, **other}
        cast_vote(store, name, id=str(uuid.uuid4()), assignment=item.assignment, **given)
    return [item.assignment for item in items]


def test_words_that_are_searched_for_are_gone_from_everywhere(store: Store, tmp_path: Path) -> None:
    judge(store, "ada", 13)
    before = snapshots.freeze(store)
    folder = store.data / "snapshots" / before.id
    votes = {id for row in load(folder).labels() for id in row["votes"]}
    assert f"snapshots/{before.id}/labels.jsonl" in files_with(store.data, SECRET)
    found = erasing.find(store, "text", "CALL ME at 0151")
    told = erasing.preview(store, found)
    assert (told["texts"], told["responses"], told["comparisons"]) == (1, 1, 1)
    assert told["shown"] == [f"Well, {SECRET}"]
    done = erasing.erase(store, found, by="lea")
    assert done["snapshots"] == [before.id]
    assert files_with(tmp_path, SECRET) == set()
    assert store.verify() == []
    manifest = verify(folder)
    assert manifest["id"] == before.id
    (mark,) = manifest["erased"]
    assert mark["before"]["digest"] == before.digest != manifest["digest"]
    assert mark["rows"] == {"pairs.jsonl": 1, "labels.jsonl": 1}
    kept = {id for row in load(folder).labels(erased=True) for id in row["votes"]}
    assert kept == votes  # which votes it learned from can still be told
    assert not any("[erased]" in json.dumps(row) for row in load(folder).pairs())
    assert {one.did for one in audit.entries(store)} == {"erase", "exclude"}


def test_what_was_erased_is_left_out_of_what_comes_later(store: Store, tmp_path: Path) -> None:
    judge(store, "ada", 13)
    erasing.erase(store, erasing.find(store, "text", SECRET), by="lea")
    later = store.data / "snapshots" / snapshots.freeze(store).id
    rows = [*load(later).pairs(), *load(later).labels()]
    assert len(list(load(later).pairs())) == 12
    assert ERASED not in json.dumps(rows)
    for format, n in (("votes", 12), ("trl", 12), ("trl-labels", 24)):
        path = tmp_path / f"{format}.jsonl"
        assert exports.export_file(store, path, format)["written"] == n
        assert ERASED not in path.read_text("utf-8")
    (gone,) = store.rows(Erased)
    (response,) = store.rows(Response, text=gone.id)
    assert [one.item for one in curation.excluded(store)] == [response.id]
    with pytest.raises(BadInput, match="was erased: it cannot count again"):
        curation.include(store, "response", response.id, by="lea")


def test_what_is_erased_while_a_snapshot_is_made_is_not_frozen(store: Store) -> None:
    """A training selects, looks at what it has for some seconds, and then freezes that."""
    judge(store, "ada", 13)
    chosen = selection.select(store, snapshots.SnapshotSettings())
    assert SECRET in json.dumps(snapshots.rows_of(store, chosen))
    erasing.erase(store, erasing.find(store, "text", SECRET), by="lea")
    with pytest.raises(Busy, match="erased meanwhile"):
        snapshots.freeze(store, chosen=chosen)
    assert list((store.data / "snapshots").iterdir()) == []
    assert len(list(load(store.data / "snapshots" / snapshots.freeze(store).id).pairs())) == 12


def test_a_snapshot_that_was_there_stays_where_something_is_erased_meanwhile(store: Store) -> None:
    """The same rows again give the same folder; the name of a labeler is none of them."""
    judge(store, "ada", 13)
    folder = store.data / "snapshots" / snapshots.freeze(store).id
    chosen = selection.select(store, snapshots.SnapshotSettings())
    erasing.erase(store, erasing.find(store, "labeler", "ada"), by="lea")
    with pytest.raises(Busy, match="erased meanwhile"):
        snapshots.freeze(store, chosen=chosen)
    assert verify(folder)["id"] == folder.name


def test_the_screens_show_that_it_was_erased(store: Store) -> None:
    judge(store, "ada", 13)
    prompt = store.rows(Comparison, id="c_00099")[0].prompt
    erasing.erase(store, erasing.find(store, "prompt", prompt), by="lea")
    opened = browse.open_comparison(store, "c_00099")
    assert [one["content"] for one in opened.messages] == [ERASED]
    assert opened.answers == (ERASED, ERASED)
    assert browse.find_comparisons(store, "erased").total == 1
    assert any(ERASED in str(item) for item in history(store, "ada", "pairs", 20))
    assert "c_00099" not in {
        store.rows(Vote, assignment=one)[0].comparison for one in judge(store, "bob", 20)
    }


def test_a_labeler_becomes_a_pseudonym_and_their_remarks_go(store: Store, tmp_path: Path) -> None:
    people = people_of(store)
    people.add("lea", "lead", "correct horse battery", by="root")
    people.add(NAME, "labeler", "correct horse battery", by="lea")
    token = people.log_in(NAME, "correct horse battery", "")
    places = judge(store, NAME, 4, comment=REMARK)
    save_edit(
        store, NAME, id=str(uuid.uuid4()), assignment=places[0], side="left", text=FIXED, revision=0
    )
    judge(store, "ada", 3, comment="Yes.")
    judge(store, NAME, 1, comment="Yes.")
    snapshots.freeze(store)
    curation.exclude(store, "labeler", NAME, reason=f"{NAME} was too quick", by="lea")
    found = erasing.find(store, "labeler", NAME.casefold())
    assert erasing.preview(store, found)["events"] == 6
    assert found.shared == 1  # "Yes.", which ada said, too
    done = erasing.erase(store, found, by="lea", leave_out=True)
    assert done["pseudonym"].startswith("erased-")
    assert files_with(tmp_path, NAME, REMARK, FIXED) == set()
    assert store.verify() == []
    assert {vote.labeler for vote in store.rows(Vote)} == {"ada", done["pseudonym"]}
    assert NAME not in {one.id for one in store.rows(Labeler)}
    assert people.by_session(token) is None
    gone = next(one for one, _ in people.accounts() if one.id == done["pseudonym"])
    assert (bool(gone.ended_at), gone.password) == (True, "")
    assert store.texts([vote.comment for vote in store.rows(Vote, labeler="ada")])


@pytest.mark.parametrize("name", ["Jürgen Müller", 'Al "B" \\ C', "علی\u200cرضا", "x" * 70])
def test_a_name_goes_also_where_it_is_escaped_or_cut(store: Store, name: str) -> None:
    """A campaign's list is JSON in ASCII; an audit quotes a name, up to 60 characters."""
    judge(store, name, 1)
    made = Campaign("c", "C", "", 1, labelers=("ada", name, f"{name} junior"))
    store.add([made])
    store.update(replace(made, state="paused"))
    audit.note(store, "lea", "add account", f"{shown(name)} as labeler")
    new = erasing.erase(store, erasing.find(store, "labeler", name), by="lea")["pseudonym"]
    check_forgotten(store, new, f"{name} junior")
    data, listed = store.data, json.dumps(json.dumps(name)[1:-1])[1:-1]
    lines = "".join(path.read_text("utf-8") for path in (data / "journal").iterdir())
    assert lines.count(listed) == lines.count(f"{listed} junior") == 2  # added, and paused
    store.close()
    (data / "hone.duckdb").unlink()
    with Store.open(data) as again:  # made from the journal
        check_forgotten(again, new, f"{name} junior")


def check_forgotten(store: Store, pseudonym: str, other: str) -> None:
    """Check that a campaign and an audit have the pseudonym, and somebody else their name."""
    (campaign,) = store.rows(Campaign, id="c")
    assert (campaign.state, campaign.labelers) == ("paused", ("ada", pseudonym, other))
    (told,) = store.rows(Audit, did="add account")
    assert told.what.strip("'").startswith(pseudonym)
    assert told.what.endswith(" as labeler")
    assert len(told.what) < len(pseudonym) + 15


def test_a_search_looks_at_what_prompts_say_and_not_at_the_json_around_it(store: Store) -> None:
    with pytest.raises(NotFound, match="no text holds 'assistant'"):
        erasing.find(store, "text", "assistant")
    with pytest.raises(NotFound, match="no text holds 'content'"):
        erasing.find(store, "text", "content")
    said = [{"role": "user", "content": "Who is a USER here?"}]
    (prompt,) = add_prompts(store, [said], "test")
    assert erasing.find(store, "text", "user").texts == (prompt.text,)
    assert len(erasing.find(store, "text", "please?").texts) == 13


def correct(store: Store, name: str, *texts: str) -> None:
    """Let somebody correct the first answer to question 0, again and again."""
    place = Assignment(f"{name}'s", "default", name, "c_00000", "", "a", "plain", "screen")
    store.add([place])
    for revision, text in enumerate(texts):
        how = {"assignment": place.id, "side": "left", "revision": revision}
        save_edit(store, name, id=str(uuid.uuid4()), text=text, **how)


def test_a_correction_that_others_wrote_as_well_stays(store: Store) -> None:
    """Ann and Bob correct one answer to the same words: they are one response, and nobody's own."""
    correct(store, "Ann", "Paris.", "Only Ann says so.")
    correct(store, "Bob", "Paris.")
    found = erasing.find(store, "labeler", "Ann")
    assert (found.shared, erasing.preview(store, found)["shown"]) == (1, ["Only Ann says so."])
    erasing.erase(store, found, by="lea")
    (kept,) = store.rows(Response, text=digest("Paris."))
    assert store.texts([kept.text]) == {kept.text: "Paris."}
    assert kept.id not in {one.item for one in curation.excluded(store)}


def test_an_imported_answer_with_the_words_of_a_correction_stays(store: Store) -> None:
    (compared,) = store.rows(Comparison, id="c_00000")
    told = NewResponse(compared.prompt, "Paris.", "human", source="import:capitals.jsonl")
    (imported,) = add_responses(store, [told])
    correct(store, "Ann", "Paris.")
    assert [one.corrected for one in store.rows(Edit)] == [imported.id]
    found = erasing.find(store, "labeler", "Ann")
    assert (found.texts, found.shared) == ((), 1)


def test_the_last_lead_and_what_is_not_there_are_refused(store: Store) -> None:
    people_of(store).add("lea", "lead", "correct horse battery", by="root")
    with pytest.raises(Conflict, match="last lead"):
        erasing.erase(store, erasing.find(store, "labeler", "lea"), by="root")
    for kind, what, why in (
        ("labeler", "nobody", "no labeler 'nobody'"),
        ("prompt", "p_x", "no prompt 'p_x'"),
        ("text", "not in any text", "no text holds"),
    ):
        with pytest.raises(NotFound, match=why):
            erasing.find(store, kind, what)
    with pytest.raises(BadInput, match="too short"):
        erasing.find(store, "text", "Ann")
    with pytest.raises(BadInput, match="use one of labeler, prompt, text"):
        erasing.find(store, "user", "x")
    assert not (store.data / erasing.INTENTION).exists()


def test_a_kill_in_the_middle_is_finished_by_the_next(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(store, NAME, 13, comment=REMARK)
    snapshots.freeze(store)
    for step in ("erase", "rows"):  # before the store is rewritten, and before the snapshots are
        with monkeypatch.context() as patch:
            if step == "erase":
                patch.setattr(Store, "erase", interrupted)
                found = erasing.find(store, "labeler", NAME)
                with pytest.raises(KeyboardInterrupt):
                    erasing.erase(store, found, by="lea")
            else:
                patch.setattr("feedback.blanking.blank_snapshots", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    erasing.resume(store)
        assert (store.data / erasing.INTENTION).stat().st_mode & 0o077 == 0
    done = erasing.resume(store)
    assert done is not None
    assert files_with(tmp_path, NAME, REMARK) == set()
    assert store.verify() == []
    assert {vote.labeler for vote in store.rows(Vote)} == {done["pseudonym"]}
    assert erasing.resume(store) is None


def test_who_tries_again_after_an_interruption_erases_under_one_pseudonym(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try leaves the votes out; they are those that the first gave a pseudonym."""
    judge(store, NAME, 3, comment=REMARK)
    found = erasing.find(store, "labeler", NAME)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "erase", busy)
        with pytest.raises(Busy, match="try again"):
            erasing.erase(store, found, by="lea")
    found = erasing.find(store, "labeler", NAME)
    done = erasing.erase(store, found, by=NAME, leave_out=True)
    assert {vote.labeler for vote in store.rows(Vote)} == {done["pseudonym"]}
    out = [(one.kind, one.item) for one in curation.excluded(store)]
    assert out == [("labeler", done["pseudonym"])]
    told = [one for one in audit.entries(store) if one.did == "erase"]
    assert all(f"{done['pseudonym']} now, 3 votes" in one.what for one in told)
    assert files_with(store.data, NAME, REMARK) == set()


def busy(*_: object, **__: object) -> None:
    raise Busy("Somebody reads much of the store at this moment: try again.")


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_importing_it_again_brings_nothing_back(store: Store, tmp_path: Path) -> None:
    judge(store, "ada", 13)
    path = tmp_path / "votes.jsonl"
    exports.export_file(store, path, "votes")
    erasing.erase(store, erasing.find(store, "text", SECRET), by="lea")
    from feedback.imports import import_file

    import_file(store, path, "votes")
    assert files_with(store.data, SECRET) == set()
    assert len(list(load(store.data / "snapshots" / snapshots.freeze(store).id).pairs())) == 12
    assert store.rows(Prompt)


def test_a_products_user_is_found_by_the_products_own_id(store: Store) -> None:
    user = Pseudonyms(store.data).of("customer-7")
    store.add([Labeler(user, "product")])
    assert erasing.find(store, "labeler", "customer-7").name == user
