"""Near-duplicates of a big import, found after it: before anybody asks, once, whatever happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from align.duelling import duel_prompts
from feedback import imports, settling, storing
from feedback.frozen import split_of
from feedback.imports import import_file
from feedback.items import add_prompts
from feedback.quality import run_checks
from feedback.settling import settle
from feedback.snapshots import freeze, load, preview
from storage.errors import Busy
from storage.records import Cluster, Prompt
from storage.store import Store

QUESTIONS = ("How do I boil an egg?", "How do I boil an egg well?", "Name a river.", "Why so?")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every import be a big one."""
    monkeypatch.setattr(storing, "COMPARED", 0)


def pairs(path: Path, *prompts: str) -> Path:
    rows = ({"prompt": one, "chosen": "Yes, so.", "rejected": "Well."} for one in prompts)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def clusters(store: Store) -> dict[str, str]:
    """Return question → the question of its cluster's first prompt, "" while it has none."""
    frame = store.frame("prompts")
    texts = {p.id: store.messages(p)[0]["content"] for p in store.rows(Prompt)}
    return {
        texts[id]: texts.get(cluster, "")
        for id, cluster in zip(frame["prompt"], frame["cluster"], strict=True)
    }


def test_a_big_import_is_settled_as_a_small_one_is(store: Store, tmp_path: Path, big: None):
    import_file(store, pairs(tmp_path / "x.jsonl", *QUESTIONS))
    assert clusters(store) == dict.fromkeys(QUESTIONS, "")
    assert settle(store) == 4
    first, near, *others = QUESTIONS
    assert clusters(store) == {first: first, near: first} | {one: one for one in others}
    assert settle(store) == 0


def test_only_what_comes_after_the_first_new_prompts_waits(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(storing, "COMPARED", 2)
    monkeypatch.setattr(imports, "AT_ONCE", 2)
    import_file(store, pairs(tmp_path / "x.jsonl", *QUESTIONS))
    assert list(clusters(store).values()) == [QUESTIONS[0], QUESTIONS[0], "", ""]


def test_a_prompt_without_a_cluster_has_no_split():
    with pytest.raises(ValueError, match="settle it first"):
        split_of("")


def test_between_two_clusters_the_one_that_judges_wins_also_later(
    store: Store, tmp_path: Path, big: None
):
    """The bridge came in between; whichever comes first, it judges with the one that judges."""
    from tests.feedback.test_items import _bridge

    left, right, both = _bridge()
    import_file(store, pairs(tmp_path / "x.jsonl", left, right, both))
    settle(store)
    assert clusters(store) == {left: left, right: right, both: right}


def test_what_is_added_meanwhile_is_near_to_what_was_settled_and_the_other_way_round(
    store: Store, tmp_path: Path, big: None
):
    """Added before the imported one is settled, it is the first of their cluster."""
    import_file(store, pairs(tmp_path / "x.jsonl", *QUESTIONS))
    (late,) = add_prompts(store, [ask("how do I  boil an egg")], "x")
    assert late.cluster == late.id
    settle(store)
    found = clusters(store)
    assert found[QUESTIONS[0]] == found[QUESTIONS[1]] == "how do I  boil an egg"
    (again,) = add_prompts(store, [ask("name a river")], "x")
    assert clusters(store)["name a river"] == QUESTIONS[2] != again.id


def test_a_freeze_settles_first(store: Store, tmp_path: Path, big: None):
    import_file(store, pairs(tmp_path / "x.jsonl", *QUESTIONS))
    seen = preview(store)["pairs"]
    assert (seen["all"], seen["train"], seen["held_out"], seen["duel"]) == (4, 0, 0, 0)
    frozen = load(store.data / "snapshots" / freeze(store).id)
    rows = list(frozen.pairs())
    assert len(rows) == 4
    assert store.count(Cluster) == 4
    assert len({row["cluster"] for row in rows}) == 3
    assert all(row["split"] == split_of(row["cluster"]) for row in rows)


def test_what_is_not_settled_is_no_duel_prompt_and_repeats_nothing(
    store: Store, tmp_path: Path, big: None
):
    kept = [one for n in range(200) if split_of(Prompt.id_of(ask(one := f"{n * n} horses?")))]
    import_file(store, pairs(tmp_path / "x.jsonl", *kept))
    assert duel_prompts(store) == []
    check = next(one for one in run_checks(store) if one.name == "duplicate_prompts")
    assert check.value == 0
    settle(store)
    assert duel_prompts(store)


def test_a_settling_that_was_cut_off_goes_on_where_it_was(
    tmp_path: Path, big: None, monkeypatch: pytest.MonkeyPatch
):
    """Two parts of two; the first is stored when the second has not begun."""
    monkeypatch.setattr(settling, "AT_ONCE", 2)
    with Store.open(tmp_path / "data") as store:
        import_file(store, pairs(tmp_path / "x.jsonl", *QUESTIONS))
        assert settle(store, rest=lambda seconds: True) == 2
    with Store.open(tmp_path / "data") as store:
        assert list(clusters(store).values()).count("") == 2
        assert settle(store) == 2
        assert clusters(store)[QUESTIONS[1]] == QUESTIONS[0]
        assert store.count(Cluster) == 4


def test_a_cluster_is_given_once(store: Store, tmp_path: Path, big: None):
    import_file(store, pairs(tmp_path / "x.jsonl", *QUESTIONS))
    settle(store)
    before = clusters(store)
    import_file(store, pairs(tmp_path / "y.jsonl", *reversed(QUESTIONS), "name a river"))
    settle(store)
    assert clusters(store) == before | {"name a river": QUESTIONS[2]}


def test_repeats_are_skipped_also_of_what_was_not_settled(store: Store, tmp_path: Path, big: None):
    import_file(store, pairs(tmp_path / "x.jsonl", QUESTIONS[0]))
    told = import_file(
        store, pairs(tmp_path / "y.jsonl", QUESTIONS[1], QUESTIONS[2]), on_duplicate="skip"
    )
    assert (told["stored"], told["duplicates"]) == (1, 1)


def test_beside_others_it_waits_for_no_import_and_reads_nothing_meanwhile(
    store: Store, tmp_path: Path, big: None, monkeypatch: pytest.MonkeyPatch
):
    from feedback.clusters import prompts_locked

    import_file(store, pairs(tmp_path / "x.jsonl", *QUESTIONS))
    with prompts_locked(store), monkeypatch.context() as without:
        without.setattr(Store, "frame", lambda *asked: pytest.fail(f"it read {asked[1:]}"))
        with pytest.raises(Busy, match="being added"):
            settle(store, rest=lambda seconds: False)


def test_in_the_background_it_settles_what_is_there_and_what_comes(
    store: Store, tmp_path: Path, big: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(settling, "LOOK_SECONDS", 0.02)
    import_file(store, pairs(tmp_path / "x.jsonl", *QUESTIONS[:2]))
    with settling.settling(store):
        import_file(store, pairs(tmp_path / "y.jsonl", *QUESTIONS[2:]))
        until = time.monotonic() + 20
        while store.count(Cluster) < 4 and time.monotonic() < until:
            time.sleep(0.02)
    assert "" not in clusters(store).values()
