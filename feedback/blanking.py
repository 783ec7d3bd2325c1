"""Erase texts and a name from a frozen snapshot: its rows are blanked and marked, its hashes kept.

Rows stay, without their words, so that it can still be told which votes a run learned from; a row
with `erased` is no more trained on, exported or compared (`frozen.Frozen`). The manifest tells the
digest and the files' hashes before each erasure under `erased`, and is sealed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from feedback.frozen import FILES, digest_of, load, seal_of, sha256
from feedback.snapshots import write_lines, write_manifest
from storage.durable import sync_folder
from storage.erase import Erasing
from storage.errors import Damaged, NotFound
from storage.records import ERASED, ERASED_PROMPT, canonical_messages, digest

ANSWERS = ("chosen", "rejected", "completion")
QUOTED = re.compile(r"“([^”]{4,})”")  # how checks quote; shorter ones are marks of form


def blank_snapshots(
    home: Path, erasing: Erasing, contents: Collection[str], *, erasure: str, at: str
) -> list[str]:
    """Rewrite every snapshot that holds any of it; return their ids, those of an earlier try too.

    Args:
        home: the folder of the snapshots.
        contents: of the erased texts, for what manifests quote.
        erasure: the id of the row that tells of it.
        at: when, ISO 8601.
    """
    flat = [_flat(one) for one in contents]
    found = []
    for path in sorted(home.glob("s_*/manifest.json")):
        try:
            manifest = load(path.parent).manifest
        except (Damaged, NotFound):  # nobody can read it, and nobody trains on it
            continue
        if _blank(path.parent, manifest, erasing, flat, {"erasure": erasure, "at": at}):
            found.append(path.parent.name)
    return found


def _blank(
    folder: Path, manifest: dict[str, Any], erasing: Erasing, flat: Collection[str],
    mark: Mapping[str, str],
) -> bool:  # fmt: skip
    """Rewrite one snapshot, files first; say whether it held any of it."""
    counts = {name: _blank_file(folder / name, erasing, mark["at"]) for name in FILES}
    told = _told(manifest, erasing, flat)
    known = any(one["erasure"] == mark["erasure"] for one in manifest.get("erased", ()))
    if known or (told == manifest and not any(counts.values())):
        return known
    before = {"digest": manifest["digest"], "files": manifest["files"]}
    told["files"] = {name: sha256(folder / name) for name in FILES}
    told["digest"] = digest_of(told["files"])
    told["erased"] = [*manifest.get("erased", ()), {**mark, "rows": counts, "before": before}]
    told["seal"] = seal_of(told)
    write_manifest(folder / "manifest.json.part", told)
    _replace(folder / "manifest.json.part", folder / "manifest.json")
    return True


def _blank_file(path: Path, erasing: Erasing, at: str) -> int:
    """Rewrite a file of rows where it holds an erased text; return how many rows are blanked."""
    with path.open(encoding="utf-8", newline="\n") as file:
        rows = [_row(json.loads(line), erasing, at) for line in file]
    n = sum(row.get("erased") == at for row in rows)
    if n:
        part = path.with_name(f"{path.name}.part")
        write_lines(part, rows)
        _replace(part, path)
    return n


def _row(row: dict[str, Any], erasing: Erasing, at: str) -> dict[str, Any]:
    """Return a row without what is erased, marked if it held any."""
    blanks = erasing.blanks
    changed = {
        name: blanks[id] for name in ANSWERS if name in row and (id := digest(row[name])) in blanks
    }
    found: dict[str, Any] = dict(changed)
    if digest(canonical_messages(row["prompt"])) in blanks:
        found["prompt"] = json.loads(ERASED_PROMPT)
    return {**row, **found, "erased": at} if found else row


def _told(value: Any, erasing: Erasing, flat: Collection[str]) -> Any:
    """Return what a manifest says without the name and without quotations of an erased text."""
    if isinstance(value, str):

        def unquoted(match: re.Match[str]) -> str:
            words = _flat(match[1]).rstrip("… ")
            return f"“{ERASED}”" if any(words in one for one in flat) else match[0]

        return erasing.words(QUOTED.sub(unquoted, value))
    if isinstance(value, dict):
        return {key: _told(one, erasing, flat) for key, one in value.items()}
    if isinstance(value, list):
        return [_told(one, erasing, flat) for one in value]
    return value


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def _replace(part: Path, path: Path) -> None:
    part.replace(path)
    sync_folder(path.parent)
