"""What is erased is gone from every file, and everything else is as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from storage import erase
from storage.erase import Erasing
from storage.limits import Limits
from storage.records import (
    ERASED,
    ERASED_PROMPT,
    Account,
    Assignment,
    Audit,
    Exclusion,
    Labeler,
    Text,
    Vote,
    digest,
)
from storage.store import Store

SECRET = "my number is 0151 2345678, call me"
COMMENT = "as Zacharias I would never say so"
NAME, OTHER = "Zacharias", "erased-1f0e"


def fill(store: Store, make: SimpleNamespace) -> Erasing:
    """Store a prompt and a comment to be erased, by somebody to be forgotten, and others."""
    store.add(make.comparison(0, (SECRET, "harmless"), prompt=SECRET))
    store.add(make.comparison(1, ("kept", "kept, too")))
    told = Exclusion("e", "labeler", NAME, "exclude", f"{NAME}'s are too quick", "ada")
    store.add([Labeler(NAME, "person"), told, Audit("x", "ada", "end account", f"'{NAME}'")])
    store.add([make.assignment(n, NAME if n % 2 else "ada") for n in range(6)])
    for n in range(6):
        comment = Text.of(COMMENT if n % 2 else f"comment {n}")
        who = NAME if n % 2 else "ada"
        store.append(make.vote(n, labeler=who, comment=comment.id), [comment])
    asked = json.dumps([{"role": "user", "content": SECRET}], separators=(",", ":"))
    blanks = {digest(SECRET): ERASED, digest(COMMENT): ERASED, digest(asked): ERASED_PROMPT}
    return Erasing(blanks, NAME, OTHER)


def files_with(data: Path, *words: str) -> set[str]:
    """Return the files of a folder in which any of the words stands, byte for byte."""
    return {
        path.relative_to(data).as_posix()
        for path in data.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    }


def test_not_a_byte_of_it_is_left(data: Path, make: SimpleNamespace) -> None:
    with Store.open(data) as store:
        erasing = fill(store, make)
    before = files_with(data, SECRET, COMMENT, NAME)
    assert {path.split("/")[0] for path in before} == {"hone.duckdb", "journal"}
    with Store.open(data, Limits(journal_file=500)) as store:
        assert store.erase(erasing, "u1") == 3
        assert store.texts([digest(SECRET), digest(COMMENT)]) == dict.fromkeys(
            [digest(SECRET), digest(COMMENT)], ERASED
        )
        assert store.texts([digest("kept")]) == {digest("kept"): "kept"}
        assert {vote.labeler for vote in store.rows(Vote)} == {"ada", OTHER}
        assert len(store.rows(Assignment, labeler=OTHER)) == 3
        assert [row.id for row in store.rows(Labeler)] == [OTHER]
        (exclusion,) = store.rows(Exclusion)
        assert (exclusion.item, exclusion.reason) == (OTHER, f"{OTHER}'s are too quick")
        assert [row.what for row in store.rows(Audit)] == [f"'{OTHER}'"]
        assert store.verify() == []
        store.append(make.vote(9, 0, 1))  # it still takes votes
        assert files_with(data, SECRET, COMMENT, NAME) == set()
    with Store.open(data) as store:
        assert store.verify() == []
        assert store.count(Vote) == 7
    assert files_with(data, SECRET, COMMENT, NAME) == set()


def test_a_database_made_from_the_journal_has_none_of_it_and_verifies(
    data: Path, make: SimpleNamespace
) -> None:
    with Store.open(data) as store:
        store.erase(fill(store, make), "u1")
        votes = sorted(store.rows(Vote), key=lambda vote: vote.id)
    (data / "hone.duckdb").unlink()
    with Store.open(data) as store:
        assert sorted(store.rows(Vote), key=lambda vote: vote.id) == votes
        assert store.texts([digest(SECRET)]) == {digest(SECRET): ERASED}
        assert store.verify() == []


def test_who_alters_a_rewritten_event_is_found_out(data: Path, make: SimpleNamespace) -> None:
    with Store.open(data) as store:
        store.erase(fill(store, make), "u1")
        alter = f"UPDATE vote SET verdict = 'b' WHERE labeler = '{OTHER}' AND id = 'v1'"
        store._duck.read(lambda cursor: cursor.execute(alter))
        assert store.verify() == ["number 6: vote v1 was altered"]


def stop_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    where, _, what = name.partition(".")
    monkeypatch.setattr(getattr(erase, where) if what else erase, what or where, die)


@pytest.mark.parametrize("step", ["Journal.rewrite", "_copy", "Duck.swap"])
def test_what_was_stopped_in_the_middle_can_be_done_again(
    data: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = Store.open(data)
    erasing = fill(store, make)
    votes = {vote.id: vote.verdict for vote in store.rows(Vote)}
    with monkeypatch.context() as patch:
        stop_at(step, patch)
        with pytest.raises(KeyboardInterrupt):
            erase.carry_out(store._duck, store._journal, erasing, "u1", commit_of(store))
    store.close()
    with Store.open(data) as store:
        assert store.verify() == []
        store.erase(erasing, "u1")
        assert store.verify() == []
        assert {vote.id: vote.verdict for vote in store.rows(Vote)} == votes
        assert files_with(data, SECRET, COMMENT, NAME) == set()


def commit_of(store: Store) -> Callable:
    assert store._writer is not None
    return store._writer._commit


def test_a_text_that_was_erased_does_not_come_back(data: Path, make: SimpleNamespace) -> None:
    with Store.open(data) as store:
        store.erase(fill(store, make), "u1")
        store.add(make.comparison(0, (SECRET, "harmless"), prompt=SECRET))
        store.append(make.vote(10, 1, 1, comment=digest(SECRET)), [Text.of(SECRET)])
        assert files_with(data, SECRET) == set()


def test_nothing_is_changed_while_somebody_reads(
    data: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.duck.PATIENCE", 0.05)
    with Store.open(data) as store:
        erasing = fill(store, make)
        with store._duck.using(), pytest.raises(Exception, match="try again"):
            store.erase(erasing, "u1")
        assert {vote.labeler for vote in store.rows(Vote)} == {"ada", NAME}
        assert not list(data.glob("hone.erasing*"))
        store.erase(erasing, "u1")
        assert store.verify() == []


def test_hashes_of_replaced_passwords_leave_the_journal(data: Path) -> None:
    with Store.open(data) as store:
        store.add([Account("ann", "lead", "$argon2id$old"), Account("bo", "lead", "$argon2id$bo")])
        for hash in ("$argon2id$newer", "$argon2id$newest"):
            store.update(Account("ann", "lead", hash))
        assert store.forget_passwords("ann") == 2
        assert store.forget_passwords("ann") == 0
        store.update(Account("bo", "labeler", "$argon2id$bo"))  # it still writes
    told = "".join(path.read_text() for path in (data / "journal").iterdir())
    assert ("$argon2id$old" in told, "$argon2id$newer" in told) == (False, False)
    (data / "hone.duckdb").unlink()
    with Store.open(data) as store:
        kept = {one.id: (one.role, one.password) for one in store.rows(Account)}
    assert kept == {"ann": ("lead", "$argon2id$newest"), "bo": ("labeler", "$argon2id$bo")}
