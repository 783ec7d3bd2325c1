"""Freeze what the feedback says into a dataset that never changes: split, hashed, with its votes.

A snapshot is a folder `snapshots/<id>/` with `pairs.jsonl`, `labels.jsonl` and `manifest.json`.
Its id comes from the files' hashes, so the same votes give the same snapshot. It is written beside
its place and renamed, so that a half-written one is never seen. Reading one is in `frozen`.

An answer that was cut off at its token limit says so (`chosen_finished`, `rejected_finished` or
`completion_finished`: false), since a model must not learn to stop there. Of every other answer
nothing is said, as in snapshots of older versions. Answers made after a promotion say in which
round (`feedback.ages`): a snapshot holds the earlier rounds too.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from feedback.checks import CHECKS, CheckResult
from feedback.frozen import (
    FILES,
    Frozen,
    digest_of,
    load,
    seal_of,
    sha256,
    split_of,
    verify,
)
from feedback.preferences import Label, Pair
from feedback.quality import run_checks
from feedback.remedies import Share
from feedback.selection import Selection, SnapshotSettings, select, select_settled
from storage.durable import sync_folder
from storage.errors import BadInput, Busy, Damaged, DiskFull, NotFound
from storage.records import Erasure, Snapshot, now

if TYPE_CHECKING:
    from storage.store import Store

__all__ = [
    "Frozen",
    "SnapshotSettings",
    "freeze",
    "load",
    "preview",
    "remembered",
    "rows_of",
    "split_of",
    "unheard",
    "verify",
]

VERSION = "0.1.0"  # of Hone and of this format
CHUNK = 500  # rows whose texts are in memory at the same time
_LINE_BREAKS = {"\u2028": "\\u2028", "\u2029": "\\u2029", "\x85": "\\u0085"}  # to str.splitlines


def preview(store: Store, settings: SnapshotSettings = SnapshotSettings()) -> dict[str, Any]:
    """Return what `freeze` would write, without writing: counts by split, and what is left out."""
    return select(store, settings).counts()


def rows_of(store: Store, chosen: Selection) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that `freeze` would write, without writing: {"pairs": …, "labels": …}."""
    return {"pairs": list(_pair_rows(store, chosen)), "labels": list(_label_rows(store, chosen))}


def freeze(
    store: Store,
    settings: SnapshotSettings = SnapshotSettings(),
    *,
    chosen: Selection | None = None,
    checks: Sequence[CheckResult] | None = None,
) -> Snapshot:
    """Write a snapshot of the live feedback and return it; the same feedback gives the same one.

    Args:
        chosen: what it shall hold, where these settings were selected already.
        checks: what every check says, where they ran already; else they run now, which takes
            14 s for a million votes and half a second for ten thousand.

    Raises:
        BadInput: The feedback gives no pair and no label.
        DiskFull: There is no room for the files; nothing is left behind.
        Busy: Something was erased since this was selected, and the files may hold it.
    """
    chosen = select_settled(store, settings, chosen)
    if not chosen.preferences.pairs and not chosen.preferences.labels:
        raise BadInput(chosen.nothing())
    home = store.data / "snapshots"
    work = home / f".writing-{uuid.uuid4().hex}"
    try:
        work.mkdir(parents=True)
        if checks is None:
            checks = run_checks(store, simulated=settings.simulated)
        manifest = _write(store, work, chosen, settings, checks)
        folder = _publish(work, home / manifest["id"])
        if store.count(Erasure) != chosen.erasures:
            if not work.exists():  # it was moved there: nobody knows of it yet
                folder.rename(work)
            raise Busy("Something was erased meanwhile, so nothing was frozen: try again.")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"No room on the disk for a snapshot in {home}: free some space and try again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _record(store, load(folder).manifest)


def remembered(manifest: Mapping[str, Any]) -> list[CheckResult]:
    """Return what the checks said when a snapshot was frozen, as far as its manifest tells."""
    return [
        CheckResult(
            name, one["value"], one["low"], one["high"], one["n"], one["severity"],
            one.get("message") or f"It was {one['value']} when the snapshot was frozen.",
            one.get("remedy", ""),
        )
        for name, one in manifest.get("checks", {}).items()
        if one["severity"]
    ]  # fmt: skip


def unheard(manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of the checks that a snapshot does not know: it was frozen before them."""
    return [name for name in CHECKS if name not in manifest.get("checks", {})]


def _write(
    store: Store, work: Path, chosen: Selection, settings: SnapshotSettings,
    checks: Sequence[CheckResult],
) -> dict[str, Any]:  # fmt: skip
    """Write the three files of a snapshot into a folder and return the manifest."""
    pairs, labels, _ = chosen.preferences
    write_lines(work / "pairs.jsonl", _pair_rows(store, chosen))
    write_lines(work / "labels.jsonl", _label_rows(store, chosen))
    files = {name: sha256(work / name) for name in FILES}
    votes = {id for pair in pairs for id in (*pair.votes_for, *pair.votes_against)}
    votes |= {id for label in labels for id in label.votes}
    manifest = {
        "id": "s_" + digest_of(files)[:16],
        "digest": digest_of(files),
        "files": files,
        "counts": chosen.counts(),
        "settings": asdict(settings),
        "checks": _checks(store, chosen, checks),
        "exclusions": _decisions(store, "excluded"),
        "adjudications": _decisions(store, "adjudicated"),
        "left_out": chosen.left_out.as_json(),
        "votes": sorted(votes),
        "version": VERSION,
        "created_at": now().isoformat(timespec="microseconds"),
    }
    manifest["seal"] = seal_of(manifest)
    write_manifest(work / "manifest.json", manifest)
    return manifest


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest and wait for the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
        _sync(file)


def _checks(store: Store, chosen: Selection, checks: Sequence[CheckResult]) -> dict[str, Any]:
    """Return what the checks say of the feedback now, and of the pairs' lengths.

    `chosen_longer` is a share of the snapshot's own pairs: what a run on it would learn.
    """
    found = {one.name: one.summary() for one in checks}
    chars = store.frame("responses").set_index("response")["chars"]
    pairs = chosen.preferences.pairs
    gaps = [int(chars[pair.chosen]) - int(chars[pair.rejected]) for pair in pairs]
    longer = Share(sum(gap > 0 for gap in gaps), sum(gap != 0 for gap in gaps))
    return {**found, "chosen_longer": {**longer.as_json(), "severity": ""}}


def _decisions(store: Store, name: str) -> list[dict[str, Any]]:
    """Return what leads decided and did not take back: what stays out, or which verdicts stand."""
    frame = store.frame(name)
    return [
        {**row, "created_at": row["created_at"].isoformat()} for row in frame.to_dict("records")
    ]


def _pair_rows(store: Store, chosen: Selection) -> Iterator[dict[str, Any]]:
    """Yield the rows of pairs.jsonl."""
    cut = _cut_off(store)
    for chunk in _chunks(chosen.preferences.pairs):
        ids = {chosen.texts[id] for pair in chunk for id in (pair.chosen, pair.rejected)}
        contents = store.texts(ids | {chosen.prompts[pair.prompt][0] for pair in chunk})
        for pair in chunk:
            yield {
                **_prompt_of(chosen, contents, pair),
                "chosen": contents[chosen.texts[pair.chosen]],
                "rejected": contents[chosen.texts[pair.rejected]],
                "chosen_id": pair.chosen,
                "rejected_id": pair.rejected,
                "votes_for": list(pair.votes_for),
                "votes_against": list(pair.votes_against),
                "p_chosen": pair.p_chosen,
                "weight": pair.weight,
                "source": pair.source,
                **_ends(cut, chosen=pair.chosen, rejected=pair.rejected),
                **_age(chosen, pair),
            }


def _label_rows(store: Store, chosen: Selection) -> Iterator[dict[str, Any]]:
    """Yield the rows of labels.jsonl."""
    cut = _cut_off(store)
    for chunk in _chunks(chosen.preferences.labels):
        ids = {chosen.texts[label.response] for label in chunk}
        contents = store.texts(ids | {chosen.prompts[label.prompt][0] for label in chunk})
        for label in chunk:
            yield {
                **_prompt_of(chosen, contents, label),
                "completion": contents[chosen.texts[label.response]],
                "response_id": label.response,
                "label": label.good,
                "votes": list(label.votes),
                "weight": label.weight,
                "source": label.source,
                **_ends(cut, completion=label.response),
                **_age(chosen, label),
            }


def _cut_off(store: Store) -> Set[str]:
    """Return the responses that are known to have been cut off before they ended."""
    responses = store.frame("responses")
    return set(responses.loc[responses["finished"].eq(False), "response"])


def _ends(cut: Set[str], **responses: str) -> dict[str, bool]:
    """Return {"<name>_finished": False} for each of the named responses that was cut off."""
    return {f"{name}_finished": False for name, id in responses.items() if id in cut}


def _age(chosen: Selection, row: Pair | Label) -> dict[str, int]:
    """Return {"round": n} of a row whose answers were not made in round 0."""
    number = chosen.round_of(row)
    return {"round": number} if number else {}


def _prompt_of(chosen: Selection, contents: Mapping[str, str], row: Pair | Label) -> dict[str, Any]:
    """Return the fields that pairs and labels have in common."""
    text, cluster = chosen.prompts[row.prompt]
    return {
        "id": row.id,
        "split": split_of(cluster),
        "prompt": json.loads(contents[text]),
        "prompt_id": row.prompt,
        "cluster": cluster,
    }


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
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
    sync_folder(work)
    if folder.exists():
        try:
            verify(folder)
            return folder
        except (Damaged, NotFound):
            folder.rename(folder.with_name(f"{folder.name}.damaged-{uuid.uuid4().hex[:8]}"))
    work.rename(folder)
    sync_folder(folder.parent)
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
