"""Freezing: what is in the files, that they never change, and that a change is found."""

from __future__ import annotations

import errno
import json
import os
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from feedback import snapshots
from feedback.assignments import serve_items
from feedback.simulate import simulate_votes
from feedback.snapshots import SnapshotSettings, freeze, load, preview, split_of, verify
from feedback.votes import cast_rating, cast_vote, save_edit
from storage.errors import BadInput, Damaged, DiskFull, NotFound
from storage.records import Assignment, Comparison, Duplicate, Snapshot, Vote
from storage.store import Store
from tests.feedback.stock import comparison_records, fill, stock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def judge(store: Store, verdicts: list[str], labeler: str = "ada") -> list[str]:
    """Cast one verdict per open comparison; return the ids of the votes."""
    items = serve_items(store, labeler, "pairs", len(verdicts), random.Random(1))
    ids = [str(uuid.uuid4()) for _ in items]
    for id, item, verdict in zip(ids, items, verdicts, strict=True):
        cast_vote(store, labeler, id=id, assignment=item.assignment, verdict=verdict, revision=0)
    return ids


def prefer(store: Store, pair: Comparison, side: str) -> None:
    """Cast a vote for one answer of a comparison, whichever side it stood on."""
    place = Assignment(str(uuid.uuid4()), "default", "ada", pair.id, "", "a", "plain", "api")
    store.add([place])
    store.append(Vote(str(uuid.uuid4()), place.id, 0, pair.id, "ada", side))


def folder_of(store: Store, snapshot: Snapshot) -> Path:
    return store.data / "snapshots" / snapshot.id


def test_the_split_of_a_cluster_never_changes():
    """Values of the first release; a change here moves prompts between training and judging."""
    known = {"p_0": "train", "p_2": "duel", "p_7": "duel", "p_12": "held_out", "p_24": "held_out"}
    assert {cluster: split_of(cluster) for cluster in known} == known


def test_eight_in_ten_clusters_train_one_is_held_out_one_duels():
    """Of 10,000 the shares lie within 4 standard deviations: 4 * sqrt(10,000 * 0.09) = 120."""
    counts = Counter(split_of(f"p_{i}") for i in range(10_000))
    assert abs(counts["train"] - 8_000) <= 160
    assert abs(counts["held_out"] - 1_000) <= 120
    assert abs(counts["duel"] - 1_000) <= 120


def test_a_snapshot_holds_pairs_labels_and_the_votes_behind_them(store):
    """left, right, both_bad, tie: 2 pairs; labels 2 + 2 + 2 bad = 6; the tie is counted."""
    stock(store, 4)
    ids = judge(store, ["left", "right", "both_bad", "tie"])
    snapshot = freeze(store)
    manifest = verify(folder_of(store, snapshot))
    assert (snapshot.pairs, snapshot.labels) == (2, 6)
    assert manifest["counts"]["pairs"]["all"] == 2
    assert manifest["counts"]["good"]["all"] == 2
    assert manifest["counts"]["dropped"] == {
        "comparisons that are a tie": 1,
        "comparisons where both are bad (two bad labels, no pair)": 1,
    }
    assert manifest["counts"]["feedback"] == {"screen": 4}
    assert manifest["votes"] == sorted(ids[:3])
    assert store.get(Snapshot, snapshot.id) == snapshot


def test_the_rows_have_every_documented_field(store):
    stock(store, 1)
    (id,) = judge(store, ["left"])
    frozen = load(folder_of(store, freeze(store)))
    (pair,) = frozen.pairs()
    assert list(pair) == [
        "id", "split", "prompt", "prompt_id", "cluster", "chosen", "rejected", "chosen_id",
        "rejected_id", "votes_for", "votes_against", "p_chosen", "weight", "source",
    ]  # fmt: skip
    assert pair["prompt"] == [{"role": "user", "content": "Question 0, please?"}]
    assert (pair["votes_for"], pair["votes_against"], pair["p_chosen"]) == ([id], [], 1.0)
    assert pair["split"] == split_of(pair["cluster"])
    labels = list(frozen.labels())
    assert list(labels[0]) == [
        "id", "split", "prompt", "prompt_id", "cluster", "completion", "response_id", "label",
        "votes", "weight", "source",
    ]  # fmt: skip
    assert {(row["completion"], row["label"]) for row in labels} == {
        (pair["chosen"], True),
        (pair["rejected"], False),
    }
    assert list(frozen.pairs(split=pair["split"])) == [pair]
    assert list(frozen.pairs(split="nowhere")) == []


def test_a_row_says_of_an_answer_that_it_was_cut_off_and_of_others_nothing(store):
    """Three comparisons: the rejected answer cut off, the chosen one, and one of unknown end.

    "A" is always better: of its labels the good one is A's. A cut answer is named in its pair and
    in its label; with True or None nothing is written, so such rows are those of older versions.
    """
    ended = {0: (True, False), 1: (False, True), 2: (None, True)}
    for number, both in ended.items():
        pair, records = comparison_records(number, f"A {number}.", f"B {number}", both)
        store.add(records)
        prefer(store, pair, "a")
    frozen = load(folder_of(store, freeze(store)))
    said = {
        row["chosen"]: [name for name in row if name.endswith("_finished")]
        for row in frozen.pairs()
    }
    assert said == {"A 0.": ["rejected_finished"], "A 1.": ["chosen_finished"], "A 2.": []}
    cut = {row["completion"] for row in frozen.labels() if "completion_finished" in row}
    assert cut == {"B 0", "A 1."}
    rows = [*frozen.pairs(), *frozen.labels()]
    assert all(row[name] is False for row in rows for name in row if name.endswith("_finished"))
    assert freeze(store).id == frozen.manifest["id"], "the same votes, the same digest"


def test_the_same_votes_give_the_same_snapshot(store):
    stock(store, 3)
    judge(store, ["left", "right"])
    first = freeze(store)
    assert freeze(store) == first
    assert len(store.rows(Snapshot)) == 1
    judge(store, ["left"])
    assert freeze(store).digest != first.digest
    assert [p.name[0] for p in (store.data / "snapshots").iterdir()] == ["s", "s"]


def test_the_preview_has_the_numbers_of_the_snapshot_and_writes_nothing(store):
    stock(store, 3)
    judge(store, ["left", "tie", "both_bad"])
    counts = preview(store)
    assert not (store.data / "snapshots").exists()
    assert load(folder_of(store, freeze(store))).manifest["counts"] == counts


def test_thumbs_and_edits_come_along(store):
    stock(store, 2)
    items = serve_items(store, "ada", "thumbs", 4, random.Random(1))
    for item in items:
        up = item.left.startswith("Short")
        cast_rating(
            store,
            "ada",
            id=str(uuid.uuid4()),
            assignment=item.assignment,
            verdict="up" if up else "down",
            revision=0,
        )
    short = next(item for item in items if item.left.startswith("Short"))
    save_edit(
        store,
        "ada",
        id=str(uuid.uuid4()),
        assignment=short.assignment,
        revision=0,
        side="left",
        text="Mine.",
    )
    frozen = load(folder_of(store, freeze(store)))
    pairs = {(row["chosen"].split()[0], row["source"]) for row in frozen.pairs()}
    assert pairs == {("Short", "thumbs"), ("Mine.", "edit")}
    assert sum(row["source"] == "thumbs" for row in frozen.labels()) == 3


def test_empty_answers_and_skipped_duplicates_stay_out(store):
    first, second = fill(store, [(" \n", "an answer"), ("one", "two")])
    for comparison in (first, second):
        place = Assignment(f"x{comparison.id}", "d", "ada", comparison.id, "", "a", "plain", "api")
        store.add([place])
        store.append(Vote(str(uuid.uuid4()), place.id, 0, comparison.id, "ada", "b"))
    store.add([Duplicate("d1", "prompt", second.prompt, "p", "skip", "ada")])
    frozen = load(folder_of(store, freeze(store)))
    assert list(frozen.pairs()) == []
    assert [(row["completion"], row["label"]) for row in frozen.labels()] == [("an answer", True)]
    assert frozen.manifest["counts"]["dropped"] == {
        "labels of an empty response": 1,
        "pairs with an empty response": 1,
        "votes, thumbs and edits on items skipped as duplicates": 1,
    }


def test_simulated_votes_can_be_left_out(store):
    stock(store, 3)
    simulate_votes(store, 2)
    judge(store, ["left"])
    assert preview(store)["pairs"]["all"] == 3
    settings = SnapshotSettings(simulated=False)
    assert preview(store, settings)["feedback"] == {"screen": 1}
    frozen = verify(folder_of(store, freeze(store, settings)))
    assert frozen["settings"] == asdict(settings)
    assert frozen["settings"]["simulated"] is False


def test_an_empty_snapshot_is_refused_and_says_what_is_missing(store):
    with pytest.raises(BadInput, match="nobody has voted yet"):
        freeze(store)
    stock(store, 2)
    judge(store, ["tie", "skip"])
    with pytest.raises(BadInput, match="2 votes, thumbs and edits give no pair") as refused:
        freeze(store)
    assert "1 comparisons that are a tie" in str(refused.value)
    assert list((store.data / "snapshots").glob("*")) == []


def test_odd_text_survives_and_no_line_is_broken_by_it(store):
    odd = "one\u2028two\u2029three\x85four\nfive \u202eright to left \U0001f600 <script>"
    fill(store, [(odd, "plain")])
    judge(store, ["left"])
    folder = folder_of(store, freeze(store))
    text = (folder / "pairs.jsonl").read_text("utf-8")
    assert len(text.splitlines()) == 1
    (row,) = load(folder).pairs()
    assert odd in (row["chosen"], row["rejected"])


def test_any_flipped_bit_is_found(store):
    stock(store, 2)
    judge(store, ["left", "right"])
    folder = folder_of(store, freeze(store))
    rng = random.Random(3)
    for name in ("pairs.jsonl", "labels.jsonl", "manifest.json"):
        path = folder / name
        whole = path.read_bytes()
        for _ in range(150):
            flipped = bytearray(whole)
            flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            with pytest.raises(Damaged, match=f"snapshot {folder.name} is damaged"):
                verify(folder)
        path.write_bytes(whole)
    assert verify(folder)["id"] == folder.name


def test_a_missing_or_foreign_folder_is_one_clear_line(store, tmp_path):
    with pytest.raises(NotFound, match="There is no snapshot in"):
        load(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text("[]")
    with pytest.raises(Damaged, match=r"manifest\.json is not a snapshot's"):
        load(tmp_path / "other")
    stock(store, 1)
    judge(store, ["left"])
    folder = folder_of(store, freeze(store))
    (folder / "labels.jsonl").unlink()
    with pytest.raises(Damaged, match=r"labels\.jsonl is missing"):
        verify(folder)


def test_a_damaged_snapshot_is_put_aside_and_frozen_again(store):
    stock(store, 1)
    judge(store, ["left"])
    first = freeze(store)
    (folder_of(store, first) / "pairs.jsonl").write_text("{}\n")
    assert freeze(store) == first
    verify(folder_of(store, first))
    assert len(list((store.data / "snapshots").glob("*.damaged-*"))) == 1


def test_a_full_disk_leaves_nothing_half_written(store, monkeypatch):
    stock(store, 1)
    judge(store, ["left"])

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(snapshots.os, "fsync", full)
        with pytest.raises(DiskFull, match="free some space"):
            freeze(store)
    assert list((store.data / "snapshots").iterdir()) == []
    assert store.rows(Snapshot) == []
    verify(folder_of(store, freeze(store)))


def test_a_reader_never_sees_a_half_written_snapshot(store, monkeypatch):
    """While the files are written, no folder with a snapshot's name is there."""
    stock(store, 1)
    judge(store, ["left"])
    seen = []
    real = snapshots._write

    def watched(*arguments):
        manifest = real(*arguments)
        seen.extend(path.name for path in (store.data / "snapshots").iterdir())
        return manifest

    monkeypatch.setattr(snapshots, "_write", watched)
    freeze(store)
    assert len(seen) == 1
    assert seen[0].startswith(".writing-")


def test_the_files_are_plain_json_lines(store):
    stock(store, 2)
    judge(store, ["left", "both_bad"])
    folder = folder_of(store, freeze(store))
    rows = [
        json.loads(line)
        for line in (folder / "labels.jsonl").read_text("utf-8").split("\n")
        if line
    ]
    assert len(rows) == 4
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
