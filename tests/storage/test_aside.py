"""What computes long has a process of its own, which reads a copy and delays nobody."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import aside
from storage import store as stores
from storage.erase import Erasing
from storage.errors import BadInput, Busy, StoreError
from storage.records import Text
from storage.store import Store


def seen(store: Store) -> tuple[int, int]:
    """Return which process looks, and how many texts it sees."""
    return os.getpid(), store.count(Text)


def contents(store: Store, ids: list[str]) -> list[str]:
    return sorted(store.texts(ids).values())


def writes(store: Store) -> None:
    store.add([Text.of("from the copy")])


def refuses(store: Store, why: str) -> None:
    raise BadInput(why)


def dies(store: Store) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def rests(store: Store, flag: str) -> int:
    Path(flag).touch()
    time.sleep(60)
    return 0


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return a store as a server has it, for which nothing is too little."""
    monkeypatch.setattr(stores, "MUCH", 0)
    with Store.open(tmp_path / "data") as store:
        store.announce("http://127.0.0.1:1", "token")
        store.add([Text.of("one")])
        yield store


def test_another_process_sees_what_is_stored_now(served: Store) -> None:
    first, texts = served.aside(seen)
    assert (first != os.getpid(), texts) == (True, 1)
    served.add([Text.of("two"), Text.of("three")])
    assert served.aside(seen) == (first, 3)  # the same process, a fresh copy
    served._duck.read(lambda cursor: cursor.execute("CHECKPOINT"))  # the file changes, not a log
    served.add([Text.of("four")])
    assert served.aside(seen) == (first, 4)
    ids = [Text.of(word).id for word in ("one", "four")]
    assert served.aside(contents, ids) == ["four", "one"]


def test_little_and_a_command_of_its_own_need_no_other_process(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert store.aside(seen) == (os.getpid(), 0)
        store.announce("http://127.0.0.1:1", "token")
        assert store.aside(seen) == (os.getpid(), 0)
    assert not (tmp_path / aside.FOLDER).exists()


def test_what_the_work_raises_is_raised_here(served: Store) -> None:
    with pytest.raises(BadInput, match="of no use"):
        served.aside(refuses, "of no use")
    with pytest.raises(StoreError, match="only read"):
        served.aside(writes)
    assert served.aside(seen)[1] == 1


def test_a_process_that_dies_is_named_and_the_next_one_works(served: Store) -> None:
    before, _ = served.aside(seen)
    with pytest.raises(StoreError, match="SIGKILL"):
        served.aside(dies)
    after, texts = served.aside(seen)
    assert (after != before, texts) == (True, 1)


def test_votes_are_taken_while_it_computes_and_closing_ends_it(
    served: Store, tmp_path: Path
) -> None:
    flag, raised = tmp_path / "rests", []

    def ask() -> None:
        try:
            served.aside(rests, str(flag))
        except Busy as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not flag.exists():
        time.sleep(0.01)
    served.add([Text.of("meanwhile")])
    assert served.count(Text) == 2
    served.close()
    asking.join(20)
    assert len(raised) == 1
    assert not (served.data / aside.FOLDER).exists()


def test_erasing_leaves_no_copy(served: Store) -> None:
    secret = Text.of("call me at home")
    served.add([secret])
    assert served.aside(contents, [secret.id]) == ["call me at home"]
    copies = list((served.data / aside.FOLDER).glob("*/hone.duckdb*"))
    assert copies
    served.erase(Erasing({secret.id: "erased"}), "e")
    assert not any(one.exists() for one in copies)
    assert served.aside(contents, [secret.id]) == ["erased"]


def test_copies_of_a_server_that_was_killed_are_removed(tmp_path: Path) -> None:
    left = tmp_path / aside.FOLDER / "123"
    left.mkdir(parents=True)
    (left / "hone.duckdb").write_bytes(b"old")
    with Store.open(tmp_path):
        assert not left.exists()


def test_without_room_for_a_copy_it_is_computed_here(
    served: Store, caplog: pytest.LogCaptureFixture
) -> None:
    (served.data / aside.FOLDER).write_text("in the way")
    assert served.aside(seen) == (os.getpid(), 1)
    assert "computed in the server" in caplog.text


def test_a_file_that_changed_a_moment_ago_is_copied_again(tmp_path: Path) -> None:
    """Within one tick of the file system's clock it may change and keep its time."""
    source = tmp_path / "hone.duckdb"
    source.write_bytes(b"old")
    copy = aside.Copy(source, tmp_path / "copy")
    copy.file()
    times = source.stat().st_atime_ns, source.stat().st_mtime_ns
    source.write_bytes(b"new")
    os.utime(source, ns=times)
    copy.file()
    assert copy.path.read_bytes() == b"new"
    os.utime(source, ns=(0, 0))  # long ago
    copy.file()
    source.write_bytes(b"xxx")
    os.utime(source, ns=(0, 0))
    copy.file()
    assert copy.path.read_bytes() == b"new"  # not looked at again: it is as it was


def test_of_a_log_that_grew_only_the_rest_is_copied(tmp_path: Path) -> None:
    source, log = tmp_path / "hone.duckdb", tmp_path / "hone.duckdb.wal"
    source.write_bytes(b"file")
    os.utime(source, ns=(0, 0))
    copy = aside.Copy(source, tmp_path / "copy")
    ours = copy.home / log.name

    def after(*more: bytes) -> bytes:
        for part in more:
            with log.open("ab") as file:
                file.write(part)
        copy.file()
        copy.logs()
        return ours.read_bytes()

    assert after(b"one") == b"one"
    ours.write_bytes(b"ONE")  # to be told from what is copied anew
    assert after(b" two", b" three") == b"ONE two three"
    log.rename(tmp_path / "gone")  # so that its number is not given to the next one
    assert after(b"another of any length") == b"another of any length"
    ours.write_bytes(b"ANOTHER OF ANY LENGTH")
    source.write_bytes(b"after a checkpoint")
    assert after(b", longer") == b"another of any length, longer"
    ours.write_bytes(b"touched by somebody")
    assert after(b".") == b"another of any length, longer."
    log.write_bytes(b"cut")
    assert after() == b"cut"
    log.unlink()
    copy.logs()
    assert not ours.exists()


def test_a_log_that_was_copied_bit_by_bit_is_read_like_a_whole_one(served: Store) -> None:
    """A real database, five times with more in its log, then after a checkpoint."""
    file = served.data / stores.FILE
    copy = aside.Copy(file, served.data / aside.FOLDER / "1")
    sizes: list[int] = []
    for n in range(8):
        served.add([Text.of(f"text {n}")])
        if n == 5:
            served._duck.read(lambda cursor: cursor.execute("CHECKPOINT"))
        os.utime(file, ns=(n // 5 + 1, n // 5 + 1))  # long ago, and another one after a checkpoint
        copy.file()
        had = dict(copy._logs)
        served._still(copy.logs)
        sizes.append(next(iter(had.values()), (0, 0))[1])  # bytes that were not copied again
        with Store.reading(copy.path, served.data) as seen_there:
            assert seen_there.count(Text) == n + 2
    assert sizes[0] == 0 < sizes[1] < sizes[4]
    assert sizes[5] == 0 < sizes[7]
