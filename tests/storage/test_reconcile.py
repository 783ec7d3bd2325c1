"""Start-up: damaged logs, a lost database, a crash between journal and commit."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from storage.errors import Conflict, Damaged, StoreError
from storage.limits import Limits
from storage.records import Campaign, Receipt, Response, Text, Vote
from storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
FILL_AND_DIE = """
import os, signal, sys
from pathlib import Path
from storage.records import Text, Vote
from storage.store import Store
store = Store.open(Path(sys.argv[1]))
for n in range(60):
    comment = Text.of(f"comment {n}")
    store.append(Vote(f"v{n}", f"s{n}", 0, "c", "ada", "a", comment=comment.id), [comment])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose process died with 60 acknowledged votes, all of them in DuckDB's log."""
    data = tmp_path_factory.mktemp("killed") / "data"
    subprocess.run([sys.executable, "-c", FILL_AND_DIE, str(data)], cwd=ROOT, check=False)
    assert (data / "hone.duckdb.wal").stat().st_size > 20_000
    return data


def spoil(log: bytes, how: str, rng: random.Random) -> bytes:
    at = rng.randrange(len(log) - 50)
    if how == "flip":
        return log[:at] + bytes([log[at] ^ 1 << rng.randrange(8)]) + log[at + 1 :]
    if how == "zero":
        return log[:-at] + bytes(at)
    if how == "cut":
        return log[:at]
    return log[:at] + rng.randbytes(50) + log[at + 50 :]


def check_all_there(data: Path) -> None:
    with Store.open(data) as store:
        assert len(store.rows(Vote)) == 60
        assert store.verify() == []
        comments = [vote.comment for vote in store.rows(Vote)]
        assert len(store.texts(comments)) == 60
        assert store.append(Vote("v7", "s7", 0, "c", "ada", "a")) == Receipt("v7", True)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("how", ["flip", "zero", "cut", "junk"])
def test_no_vote_is_missing_after_damage_to_the_log(
    killed: Path, data: Path, how: str, seed: int
) -> None:
    shutil.copytree(killed, data)
    log = data / "hone.duckdb.wal"
    before = log.read_bytes()
    spoilt = spoil(before, how, random.Random(seed))
    log.write_bytes(spoilt)
    check_all_there(data)
    kept = [path.read_bytes() for path in (data / "quarantine").glob("*.wal")]
    assert spoilt in kept
    with Store.open(data) as store:
        assert len(store.rows(Vote)) == 60


@pytest.mark.slow
def test_no_vote_is_missing_after_sixty_kinds_of_damage(killed: Path, tmp_path: Path) -> None:
    for seed in range(60):
        data = tmp_path / f"data{seed}"
        shutil.copytree(killed, data)
        log = data / "hone.duckdb.wal"
        log.write_bytes(
            spoil(log.read_bytes(), ["flip", "zero", "cut", "junk"][seed % 4], random.Random(seed))
        )
        check_all_there(data)
        shutil.rmtree(data)


def test_a_log_that_is_whole_leaves_nothing_in_quarantine(killed: Path, data: Path) -> None:
    shutil.copytree(killed, data)
    check_all_there(data)
    assert not (data / "quarantine").exists()


def test_a_log_that_is_gone_is_replaced_by_the_journal(killed: Path, data: Path) -> None:
    shutil.copytree(killed, data)
    (data / "hone.duckdb.wal").unlink()
    check_all_there(data)


def test_the_database_is_rebuilt_from_the_journal(
    store: Store, data: Path, make: SimpleNamespace
) -> None:
    """Rows, texts, a change of the campaign, votes, a refusal and its words: all come back."""
    store.add(make.comparison(0, ("yes", "no")))
    store.add([Campaign("default", "d", "old", 1), make.assignment(1)])
    store.update(Campaign("default", "d", "new", 2, make.monday))
    comment = Text.of("well")
    store.append(make.vote(1, comment=comment.id), [comment])
    store.append_many([make.vote(2, verdict="nonsense"), make.vote(3)])
    with pytest.raises(Conflict) as refused:
        store.append(make.vote(4, assignment=1))
    before = [store.rows(Response, order="id"), store.rows(Vote, order="id"), store.rows(Campaign)]
    store.close()
    (data / "hone.duckdb").unlink()
    with Store.open(data) as again:
        assert before == [
            again.rows(Response, order="id"), again.rows(Vote, order="id"), again.rows(Campaign)
        ]  # fmt: skip
        assert again.texts([comment.id]) == {comment.id: "well"}
        assert again.verify() == []
        with pytest.raises(Conflict) as repeated:
            again.append(make.vote(4, assignment=1))
    assert str(repeated.value) == str(refused.value)


def test_many_rows_are_rebuilt_in_order(data: Path) -> None:
    """2,500 rows fill three lines of the journal; a second addition comes after them."""
    with Store.open(data, Limits(journal_file=50_000)) as store:
        store.add([Text.of(f"text {n}") for n in range(2500)])
        store.add([Campaign(f"c{n}", "", "", 1) for n in range(2500)])
        store.add([Text.of("last")])
    (data / "hone.duckdb").unlink()
    with Store.open(data) as again:
        assert len(again.rows(Text)) == 2501
        assert [c.id for c in again.rows(Campaign, limit=3)] == ["c0", "c1", "c2"]


def test_a_vote_that_reached_only_the_journal_is_stored_at_the_next_start(
    store: Store, data: Path, make: SimpleNamespace
) -> None:
    """What a kill between fsync and COMMIT leaves: the database of before, the journal of after."""
    store.append(make.vote(1))
    store.close()
    shutil.copy(data / "hone.duckdb", data / "before")
    with Store.open(data) as later:
        comment = Text.of("in time")
        later.append(make.vote(2, comment=comment.id), [comment])
    (data / "before").rename(data / "hone.duckdb")
    with Store.open(data) as again:
        assert {vote.id for vote in again.rows(Vote)} == {"v1", "v2"}
        assert again.texts([comment.id]) == {comment.id: "in time"}
        assert again.append(make.vote(2)) == Receipt("v2", repeated=True)
        assert again.verify() == []


def test_an_addition_that_was_never_finished_is_left_out(data: Path) -> None:
    """Three lines of one number; the last is lost, so none of them counts."""
    with Store.open(data) as store:
        store.add([Campaign(f"c{n}", "", "", 1) for n in range(2500)])
    (path,) = (data / "journal").glob("0*.jsonl")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:2]) + b"\n")
    (data / "hone.duckdb").unlink()
    with Store.open(data) as again:
        assert again.rows(Campaign) == []
        assert again.add([Campaign("c", "", "", 1)]) == {Campaign: 1}
    (data / "hone.duckdb").unlink()
    with Store.open(data) as again:
        assert [campaign.id for campaign in again.rows(Campaign)] == ["c"]


def test_a_database_without_its_journal_goes_on(
    store: Store, data: Path, make: SimpleNamespace
) -> None:
    store.append(make.vote(1))
    store.close()
    shutil.rmtree(data / "journal")
    with Store.open(data) as again:
        again.append(make.vote(2))
        assert again.verify() == []
    with Store.open(data) as third:
        assert len(third.rows(Vote)) == 2


def test_a_database_of_another_journal_is_refused(tmp_path: Path, make: SimpleNamespace) -> None:
    for name in ("one", "two"):
        with Store.open(tmp_path / name) as store:
            store.append(make.vote(1, labeler=name))
    shutil.copy(tmp_path / "one" / "hone.duckdb", tmp_path / "two" / "hone.duckdb")
    with pytest.raises(Damaged, match="do not belong together: number 1 is v1"):
        Store.open(tmp_path / "two")


def test_a_file_that_is_no_database_is_damaged_and_can_be_rebuilt(
    store: Store, data: Path, make: SimpleNamespace
) -> None:
    store.append(make.vote(1))
    store.close()
    path = data / "hone.duckdb"
    content = path.read_bytes()
    path.write_bytes(b"\x00" * 100 + content[100:])
    with pytest.raises(Damaged, match=r"Move it aside \(mv hone.duckdb hone.duckdb.damaged\)"):
        Store.open(data)
    path.rename(data / "hone.duckdb.damaged")
    with Store.open(data) as again:
        assert again.rows(Vote) == [make.vote(1)]


def test_events_that_were_lost_from_the_file_are_noticed_at_the_start(
    store: Store, data: Path, make: SimpleNamespace
) -> None:
    store.append_many([make.vote(1), make.vote(2)])
    store.close()
    with duckdb.connect(str(data / "hone.duckdb")) as connection:
        connection.execute("DELETE FROM vote WHERE id = 'v1'")
    with pytest.raises(Damaged, match="2 votes were accepted, 1 are there"):
        Store.open(data)


def test_a_file_of_a_newer_hone_is_refused(store: Store, data: Path) -> None:
    store.close()
    with duckdb.connect(str(data / "hone.duckdb")) as connection:
        connection.execute("INSERT INTO migration VALUES (99, 'later', '2027-01-01')")
    with pytest.raises(StoreError, match="newer Hone: its version is 99, this one knows up to"):
        Store.open(data)
