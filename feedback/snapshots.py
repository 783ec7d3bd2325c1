"""Freeze what the feedback says into a dataset that never changes: split, hashed, with its votes.

A snapshot is a folder `snapshots/<id>/` with `pairs.jsonl`, `labels.jsonl` and `manifest.json`.
Its id comes from the files' hashes, so the same votes give the same snapshot. It is written beside
its place and renamed, so that a half-written one is never seen. Reading one is in `frozen`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from feedback.frozen import (
    FILES,
    SPLITS,
    Frozen,
    digest_of,
    load,
    seal_of,
    sha256,
    split_of,
    verify,
)
from feedback.live import live_feedback, preferences_of
from feedback.preferences import Label, Pair, Preferences
from storage.errors import BadInput, Damaged, DiskFull, NotFound
from storage.records import Snapshot, now

if TYPE_CHECKING:
    from storage.store import Store

__all__ = [
    "Frozen",
    "SnapshotSettings",
    "freeze",
    "load",
    "preview",
    "split_of",
    "unfrozen",
    "verify",
]

VERSION = "0.1.0"  # of Hone and of this format
CHUNK = 500  # rows whose texts are in memory at the same time
_LINE_BREAKS = {"\u2028": "\\u2028", "\u2029": "\\u2029", "\x85": "\\u0085"}  # to str.splitlines


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """What goes into a snapshot."""

    simulated: bool = True  # also votes of simulated labelers


class _Gathered(NamedTuple):
    """What a snapshot of this moment would hold."""

    preferences: Preferences
    prompts: Mapping[str, tuple[str, str]]  # Prompt.id → (Text.id, cluster)
    texts: Mapping[str, str]  # Response.id → Text.id
    sources: Mapping[str, int]  # source of feedback → live votes, ratings and edits


def preview(store: Store, settings: SnapshotSettings = SnapshotSettings()) -> dict[str, Any]:
    """Return what `freeze` would write, without writing: counts by split, and what is left out."""
    return _counts(_gather(store, settings))


def unfrozen(
    store: Store, settings: SnapshotSettings = SnapshotSettings()
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that `freeze` would write, without writing: {"pairs": …, "labels": …}."""
    gathered = _gather(store, settings)
    pairs, labels, _ = gathered.preferences
    return {
        "pairs": list(_pair_rows(store, gathered, pairs)),
        "labels": list(_label_rows(store, gathered, labels)),
    }


def freeze(store: Store, settings: SnapshotSettings = SnapshotSettings()) -> Snapshot:
    """Write a snapshot of the live feedback and return it; the same feedback gives the same one.

    Raises:
        BadInput: The feedback gives no pair and no label.
        DiskFull: There is no room for the files; nothing is left behind.
    """
    gathered = _gather(store, settings)
    if not gathered.preferences.pairs and not gathered.preferences.labels:
        raise BadInput(_nothing(gathered))
    home = store.data / "snapshots"
    work = home / f".writing-{uuid.uuid4().hex}"
    try:
        work.mkdir(parents=True)
        manifest = _write(store, work, gathered, settings)
        folder = _publish(work, home / manifest["id"])
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"No room on the disk for a snapshot in {home}: free some space and try again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _record(store, load(folder).manifest)


def _gather(store: Store, settings: SnapshotSettings) -> _Gathered:
    """Read the live feedback and turn it into pairs and labels."""
    live = live_feedback(store, simulated=settings.simulated)
    prompts = store.frame("prompts")
    return _Gathered(
        preferences=preferences_of(store, live),
        prompts={
            prompt: (text, cluster)
            for prompt, text, cluster in zip(
                prompts["prompt"], prompts["text"], prompts["cluster"], strict=True
            )
        },
        texts=live.texts(),
        sources=_sources(*live),
    )


def _sources(*frames: pd.DataFrame) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for frame in frames:
        counts.update(str(source).split(":")[0] for source in frame["source"])
    return dict(sorted(counts.items()))


def _counts(gathered: _Gathered) -> dict[str, Any]:
    """Return how many pairs and labels there are by split, how much feedback, what is dropped."""

    def split(row: Pair | Label) -> str:
        return split_of(gathered.prompts[row.prompt][1])

    pairs, labels, dropped = gathered.preferences
    by_pairs, by_labels = Counter(map(split, pairs)), Counter(map(split, labels))
    good = Counter(split(label) for label in labels if label.good)
    return {
        "pairs": {"all": len(pairs)} | {name: by_pairs[name] for name in SPLITS},
        "labels": {"all": len(labels)} | {name: by_labels[name] for name in SPLITS},
        "good": {"all": good.total()} | {name: good[name] for name in SPLITS},
        "dropped": dropped,
        "feedback": dict(gathered.sources),
    }


def _nothing(gathered: _Gathered) -> str:
    """Return the sentence that says why there is nothing to freeze."""
    n = sum(gathered.sources.values())
    if not n:
        return (
            "There is nothing to freeze: nobody has voted yet. "
            "Choose between answers on the label screen first, or try `simulate`."
        )
    reasons = ", ".join(
        f"{count} {reason}" for reason, count in gathered.preferences.dropped.items()
    )
    return (
        f"There is nothing to freeze: {n} votes, thumbs and edits give no pair and no label "
        f"({reasons}). Vote for one of two answers, or rate answers up or down."
    )


def _write(
    store: Store, work: Path, gathered: _Gathered, settings: SnapshotSettings
) -> dict[str, Any]:
    """Write the three files of a snapshot into a folder and return the manifest."""
    pairs, labels, _ = gathered.preferences
    _write_lines(work / "pairs.jsonl", _pair_rows(store, gathered, pairs))
    _write_lines(work / "labels.jsonl", _label_rows(store, gathered, labels))
    files = {name: sha256(work / name) for name in FILES}
    votes = {id for pair in pairs for id in (*pair.votes_for, *pair.votes_against)}
    votes |= {id for label in labels for id in label.votes}
    manifest = {
        "id": "s_" + digest_of(files)[:16],
        "digest": digest_of(files),
        "files": files,
        "counts": _counts(gathered),
        "settings": asdict(settings),
        "votes": sorted(votes),
        "version": VERSION,
        "created_at": now().isoformat(timespec="seconds"),
    }
    manifest["seal"] = seal_of(manifest)
    with (work / "manifest.json").open("w", encoding="utf-8") as file:
        file.write(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
        _sync(file)
    return manifest


def _pair_rows(
    store: Store, gathered: _Gathered, pairs: Sequence[Pair]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of pairs.jsonl."""
    for chunk in _chunks(pairs):
        ids = {gathered.texts[id] for pair in chunk for id in (pair.chosen, pair.rejected)}
        contents = store.texts(ids | {gathered.prompts[pair.prompt][0] for pair in chunk})
        for pair in chunk:
            yield {
                **_prompt_of(gathered, contents, pair),
                "chosen": contents[gathered.texts[pair.chosen]],
                "rejected": contents[gathered.texts[pair.rejected]],
                "chosen_id": pair.chosen,
                "rejected_id": pair.rejected,
                "votes_for": list(pair.votes_for),
                "votes_against": list(pair.votes_against),
                "p_chosen": pair.p_chosen,
                "weight": pair.weight,
                "source": pair.source,
            }


def _label_rows(
    store: Store, gathered: _Gathered, labels: Sequence[Label]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of labels.jsonl."""
    for chunk in _chunks(labels):
        ids = {gathered.texts[label.response] for label in chunk}
        contents = store.texts(ids | {gathered.prompts[label.prompt][0] for label in chunk})
        for label in chunk:
            yield {
                **_prompt_of(gathered, contents, label),
                "completion": contents[gathered.texts[label.response]],
                "response_id": label.response,
                "label": label.good,
                "votes": list(label.votes),
                "weight": label.weight,
                "source": label.source,
            }


def _prompt_of(
    gathered: _Gathered, contents: Mapping[str, str], row: Pair | Label
) -> dict[str, Any]:
    """Return the fields that pairs and labels have in common."""
    text, cluster = gathered.prompts[row.prompt]
    return {
        "id": row.id,
        "split": split_of(cluster),
        "prompt": json.loads(contents[text]),
        "prompt_id": row.prompt,
        "cluster": cluster,
    }


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line; nothing in a line breaks it, whoever reads it."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False, allow_nan=False)
            for character, escape in _LINE_BREAKS.items():
                line = line.replace(character, escape)
            file.write(line + "\n")
        _sync(file)


def _publish(work: Path, folder: Path) -> Path:
    """Move a complete folder to its place; keep the one that is there when it is whole."""
    _sync_folder(work)
    if folder.exists():
        try:
            verify(folder)
            return folder
        except (Damaged, NotFound):
            folder.rename(folder.with_name(f"{folder.name}.damaged-{uuid.uuid4().hex[:8]}"))
    work.rename(folder)
    _sync_folder(folder.parent)
    return folder


def _record(store: Store, manifest: Mapping[str, Any]) -> Snapshot:
    """Add the snapshot's row, unless it is there, and return it."""
    known = store.get(Snapshot, manifest["id"])
    if known is not None:
        return known
    snapshot = Snapshot(
        id=manifest["id"],
        digest=manifest["digest"],
        pairs=manifest["counts"]["pairs"]["all"],
        labels=manifest["counts"]["labels"]["all"],
        settings=manifest["settings"],
    )
    store.add([snapshot])
    return snapshot


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a folder's entries durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
