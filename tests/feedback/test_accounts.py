"""Accounts: passwords, pauses after wrong ones, invitations, sessions, keys; what is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feedback import audit
from feedback.accounts import INVITED, WRONG, People, Person, people_of
from feedback.sessions import IDLE, LONGEST
from storage.errors import BadInput, Conflict, NotFound, TooMany, UserError, WrongPassword
from storage.records import Account, ApiKey, Invitation, Labeler, Session, digest
from storage.store import Store

LONG = "correct horse battery"
HOME = "192.0.2.1"


@dataclass
class Clock:
    """Time that goes on when a test says so."""

    at: datetime = field(default_factory=lambda: datetime(2026, 11, 27, 9, tzinfo=UTC))
    ticks: float = 1000.0

    def __call__(self) -> datetime:
        return self.at

    def go(self, by: timedelta) -> None:
        self.at += by
        self.ticks += by.total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def people(store: Store, clock: Clock) -> People:
    made = People(store, clock, lambda: clock.ticks)
    made.add("Lea", "lead", LONG, by="root")
    return made


def test_without_accounts_nothing_is_in_force(store: Store) -> None:
    assert not people_of(store).in_force
    assert people_of(store) is people_of(store)


def test_the_first_account_is_a_leads(store: Store) -> None:
    empty = People(store)
    for add in (
        lambda: empty.add("ann", "labeler", LONG, by="root"),
        lambda: empty.invite("ann", "labeler", by="root"),
        lambda: empty.add_key("bot", ["read"], by="root"),
    ):
        with pytest.raises(Conflict, match="user add NAME --role lead"):
            add()
    assert not empty.in_force


def test_a_password_is_kept_as_argon2id_and_nowhere_else(people: People, store: Store) -> None:
    (account,) = store.rows(Account)
    assert account.password.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    written = b"".join(path.read_bytes() for path in (store.data / "journal").iterdir())
    assert LONG.encode() not in written
    assert "horse" not in str([entry.as_json() for entry in audit.entries(store)])


@pytest.mark.parametrize(
    ("name", "role", "password", "says"),
    [
        ("", "lead", LONG, "name has 0 characters"),
        ("sim-1", "lead", LONG, "kept for simulated"),
        ("ann", "boss", LONG, "use one of labeler, lead"),
        ("ann", "labeler", "short", "has 5 characters: use 10 to 200"),
        ("ann", "labeler", "x" * 201, "has 201 characters"),
        ("ann", "labeler", "aaaaaaaaaaaa", "too easy to guess"),
        ("ann of green gables", "labeler", "Ann of Green Gables", "too easy to guess"),
        ("LEA", "labeler", LONG, "has an account"),
        ("bot", "labeler", LONG, "the name of a key"),
        ("judge 7", "labeler", LONG, "an import or a simulation"),
    ],
)
def test_what_cannot_be_an_account_is_refused_with_the_remedy(
    people: People, store: Store, name: str, role: str, password: str, says: str
) -> None:
    people.add_key("bot", ["read"], by="Lea")
    store.add([Labeler("judge 7", "import")])
    with pytest.raises(UserError, match=says) as caught:
        people.add(name, role, password, by="Lea")
    assert password not in str(caught.value) or password == name
    assert [account.id for account in store.rows(Account)] == ["Lea"]


def test_who_logs_in_is_known_by_the_token_alone(people: People, store: Store) -> None:
    token = people.log_in(" lea ", LONG, HOME)  # however it is cased or spaced
    known = people.by_session(token)
    assert known is not None
    assert (known.name, known.role, known.scopes) == ("Lea", "lead", None)
    assert people.by_session(token + "x") is None
    assert people.by_session("") is None
    (session,) = store.rows(Session)
    assert session.id == digest(token)
    assert people.by_session(session.id) is None  # what is stored opens nothing
    people.log_out(token)
    assert people.by_session(token) is None


def test_a_wrong_password_and_an_unknown_name_get_the_same_words(people: People) -> None:
    said = []
    for name in ("Lea", "nobody", "", "sim-1", "a\x00b", "x" * 500):
        with pytest.raises(WrongPassword) as caught:
            people.log_in(name, "wrong password", HOME)
        said.append(str(caught.value))
    assert set(said) == {WRONG}


def test_guessing_is_slowed_down_and_the_right_password_works_afterwards(
    people: People, clock: Clock
) -> None:
    """Three are free, then 1, 2, 4, 8, 16, 32 s: in the first minute 3 + 5 = 8 are looked at."""
    got = []
    for _ in range(120):
        with pytest.raises(UserError) as caught:
            people.log_in("Lea", "wrong password", HOME)
        got.append(type(caught.value))
        clock.go(timedelta(seconds=0.5))
    assert got.count(WrongPassword) == 8
    assert got.count(TooMany) == 112
    with pytest.raises(TooMany, match="try again in"):
        people.log_in("Lea", LONG, HOME)  # the right one is not looked at either
    assert people.log_in("Lea", LONG, "198.51.100.9")  # she herself, at another place
    clock.go(timedelta(minutes=15))
    assert people.log_in("Lea", LONG, HOME)
    with pytest.raises(WrongPassword):  # and all is forgiven
        people.log_in("Lea", "wrong password", HOME)


def test_many_names_from_one_place_are_slowed_down_too(people: People) -> None:
    for number in range(20):
        with pytest.raises(WrongPassword):
            people.log_in(f"name {number}", "wrong password", HOME)
    with pytest.raises(TooMany):
        people.log_in("name 20", "wrong password", HOME)
    assert people.log_in("Lea", LONG, "2001:db8::1")


def test_many_attempts_at_once_get_no_further_than_many_in_turn(people: People) -> None:
    got: list[str] = []

    def guess() -> None:
        try:
            people.log_in("Lea", "wrong password", HOME)
        except UserError as error:
            got.append(type(error).__name__)

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (got.count("WrongPassword"), got.count("TooMany")) == (3, 9)


def test_a_pause_survives_a_restart_and_names_are_kept_as_hashes(
    people: People, clock: Clock, store: Store, tmp_path: Path
) -> None:
    """After four wrong tries the pause is 2 s; of three seconds, one is spent restarting."""
    for _ in range(4):
        with pytest.raises(WrongPassword):
            people.log_in("Lea", "wrong again", HOME)
        clock.go(timedelta(seconds=1))
    told = (tmp_path / "tries.json").read_text()
    assert ("Lea" in told, HOME in told) == (False, False)
    clock.ticks = 5.0  # another process
    again = People(store, clock, lambda: clock.ticks)
    with pytest.raises(TooMany, match="in a second"):
        again.log_in("Lea", LONG, HOME)
    clock.go(timedelta(seconds=1))
    assert again.by_session(again.log_in("Lea", LONG, HOME))
    (tmp_path / "tries.json").write_text('{"at": 7}')  # damaged: as good as none
    assert People(store, clock, lambda: clock.ticks).log_in("Lea", LONG, HOME)


def test_a_role_changes_at_once_but_not_the_last_leads(people: People) -> None:
    people.add("ann", "labeler", LONG, by="Lea")
    token = people.log_in("ann", LONG, HOME)
    people.swap_role("ann", by="Lea")
    assert people.by_session(token) == Person("ann", "lead")
    people.swap_role("Lea", by="ann")
    with pytest.raises(Conflict, match="last lead"):
        people.swap_role("ann", by="ann")


def test_sessions_survive_a_restart(people: People, tmp_path: Path, store: Store) -> None:
    token = people.log_in("Lea", LONG, HOME)
    gone = people.log_in("Lea", LONG, HOME)
    people.log_out(gone)
    store.close()
    with Store.open(tmp_path) as again:
        later = People(again, lambda: datetime(2026, 11, 28, tzinfo=UTC))
        assert later.by_session(token) is not None
        assert later.by_session(gone) is None
        assert later.in_force


def test_a_session_goes_on_while_it_is_used_but_not_for_ever(people: People, clock: Clock) -> None:
    token, idle = (people.log_in("Lea", LONG, HOME) for _ in range(2))
    begun = clock.at
    assert not people.is_due(token)
    while people.by_session(token):
        assert clock.at - begun < timedelta(days=365)
        clock.go(timedelta(days=2))
        if people.is_due(token):
            people.seen(token)
        assert (people.by_session(idle) is not None) == (clock.at - begun < IDLE)
    assert clock.at - begun == LONGEST


def test_another_password_and_an_ended_account_end_the_sessions(people: People) -> None:
    people.add("Max", "lead", LONG, by="Lea")
    first = people.log_in("Max", LONG, HOME)
    people.set_password("max", "another long word", by="Lea")
    assert people.by_session(first) is None
    with pytest.raises(WrongPassword):
        people.log_in("Max", LONG, HOME)
    token = people.log_in("Max", "another long word", HOME)
    key = people.add_key("bot", ["lead"], by="Max")
    people.end("Max", by="Lea")
    assert people.by_session(token) is None
    assert people.by_key(key) is None
    with pytest.raises(WrongPassword):
        people.log_in("Max", "another long word", HOME)
    assert people.add("max", "labeler", LONG, by="Lea").id == "Max"  # comes back as it was spelled
    assert people.end_sessions("Max", by="Lea") == 0


def test_a_new_password_undoes_no_change_that_was_made_meanwhile(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing takes a tenth of a second; others go on meanwhile."""
    people.add("max", "lead", LONG, by="Lea")

    def set_password(meanwhile: Callable[..., None]) -> None:
        def hashed(password: str, name: str) -> str:
            meanwhile(name, by="Lea")
            return f"hash of {password}"

        with monkeypatch.context() as patch:
            patch.setattr(people, "_hashed", hashed)
            people.set_password("max", "another word", by="Lea")

    set_password(people.swap_role)
    ((max, _),) = [one for one in people.accounts() if one[0].id == "max"]
    assert (max.role, max.password) == ("labeler", "hash of another word")
    with pytest.raises(NotFound, match="nobody has an account 'max'"):
        set_password(people.end)
    assert [one.ended_at is None for one, _ in people.accounts()] == [True, False]


def test_the_last_lead_stays(people: People) -> None:
    people.add("ann", "labeler", LONG, by="Lea")
    with pytest.raises(Conflict, match="last lead"):
        people.end("Lea", by="Lea")
    with pytest.raises(NotFound, match="there are: Lea, ann"):
        people.end("bob", by="Lea")


def test_who_is_forgotten_is_nobody_else_whose_letters_are_cased_otherwise(people: People) -> None:
    """An import's labeler "max" has no account; Max and the invited Bo have."""
    people.add("Max", "labeler", LONG, by="Lea")
    people.invite("Bo", "labeler", by="Lea")
    for name in ("max", "bo"):
        people.forget(name, by="Lea")
    assert {one.id: one.ended_at for one, _ in people.accounts()} == {"Lea": None, "Max": None}
    assert [one.account for one in people.invitations()] == ["Bo"]
    for name in ("Max", "Bo"):
        people.forget(name, by="Lea")
    assert [one.id for one, _ in people.accounts() if one.ended_at] == ["Max"]
    assert people.invitations() == []


def test_an_invitation_works_once(people: People, store: Store) -> None:
    token = people.invite("ann", "labeler", by="Lea")
    assert [one.id for one in store.rows(Invitation)] == [digest(token)]
    with pytest.raises(BadInput, match="has 5 characters"):
        people.accept(token, "short")
    session = people.accept(token, LONG)  # a mistake costs nothing
    known = people.by_session(session)
    assert known is not None
    assert (known.name, known.role) == ("ann", "labeler")
    for dead in (token, "x", ""):
        with pytest.raises(NotFound, match="Ask for a new one"):
            people.accept(dead, LONG)
    assert people.invitations() == []


def test_of_two_who_accept_at_once_one_gets_the_account(people: People) -> None:
    token = people.invite("ann", "labeler", by="Lea")
    got: list[object] = []

    def accept(password: str) -> None:
        try:
            got.append(people.accept(token, password))
        except NotFound as error:
            got.append(error)

    threads = [threading.Thread(target=accept, args=[f"password {n} {n}"]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(one, str) for one in got) == 1


def test_invitations_end_by_themselves_and_by_a_newer_one(people: People, clock: Clock) -> None:
    old = people.invite("ann", "labeler", by="Lea")
    token = people.invite("Ann", "labeler", by="Lea")
    assert people.invitation(old) is None
    assert people.invitation(token) is not None
    clock.go(INVITED)
    assert people.invitation(token) is None
    later = people.invite("ann", "labeler", by="Lea")
    people.add("ann", "labeler", LONG, by="Lea")
    assert people.invitation(later) is None


def test_a_key_is_shown_once_and_opens_what_it_is_for(people: People, store: Store) -> None:
    key = people.add_key("bot", ["feedback", "read"], by="Lea")
    assert key.startswith("hone_")
    (kept,) = store.rows(ApiKey)
    assert (kept.id, kept.scopes) == (digest(key), ("read", "feedback"))
    known = people.by_key(key)
    assert known is not None
    assert (known.name, known.role) == ("bot", "labeler")
    assert people.by_key(kept.id) is None
    with pytest.raises(Conflict, match="the name of a key"):
        people.add_key("Bot", ["read"], by="Lea")
    with pytest.raises(Conflict, match="a name of its own"):
        people.add_key("lea", ["read"], by="Lea")
    with pytest.raises(BadInput, match="opens nothing"):
        people.add_key("other", [], by="Lea")
    with pytest.raises(BadInput, match="read, feedback, lead"):
        people.add_key("other", ["all"], by="Lea")
    people.revoke("bot", by="Lea")
    assert people.by_key(key) is None
    with pytest.raises(NotFound, match="there are: none"):
        people.revoke("bot", by="Lea")
    with pytest.raises(Conflict):  # its votes keep the name
        people.add_key("bot", ["read"], by="Lea")


def test_every_change_is_in_the_audit_list_with_who_and_when(people: People, store: Store) -> None:
    people.accept(people.invite("ann", "labeler", by="Lea"), LONG)
    people.add_key("bot", ["read"], by="Lea")
    people.revoke("bot", by="Lea")
    people.end("ann", by="Lea")
    told = [(entry.by, entry.did, entry.what) for entry in reversed(audit.entries(store))]
    assert told == [
        ("root", "add account", "'Lea' as lead"),
        ("Lea", "invite", "'ann' as labeler"),
        ("ann", "accept invitation", "'ann' as labeler, invited by 'Lea'"),
        ("Lea", "add key", "'bot' for read"),
        ("Lea", "revoke key", "'bot'"),
        ("Lea", "end account", "'ann'"),
    ]
    assert all(entry.at.tzinfo for entry in audit.entries(store))
