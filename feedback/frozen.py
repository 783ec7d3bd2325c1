"""A snapshot on the disk: read it, verify it, and the split that every snapshot shares.

Needs no database and no model, so that the training process can use it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from storage.errors import Damaged, NotFound
from storage.records import digest

FILES = ("pairs.jsonl", "labels.jsonl")
SPLITS = ("train", "held_out", "duel")


class Frozen(NamedTuple):
    """A snapshot as it lies on the disk."""

    folder: Path
    manifest: dict[str, Any]

    def pairs(self, split: str | None = None, *, erased: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the rows of pairs.jsonl, of one split or of all; with those whose text was erased
        since only if so wanted."""
        return _read(self.folder / "pairs.jsonl", split, erased)

    def labels(self, split: str | None = None, *, erased: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the rows of labels.jsonl as `pairs` does."""
        return _read(self.folder / "labels.jsonl", split, erased)


def split_of(cluster: str) -> str:
    """Return where the prompts of a near-duplicate cluster belong, for ever.

    80 % train, 10 % held_out, 10 % duel, by a hash of the cluster alone: the same in every
    snapshot, on every machine.

    Raises:
        ValueError: "", the cluster of a prompt that is not settled (`feedback.settling`).

    >>> split_of("p_1"), split_of("p_1")
    ('train', 'train')
    """
    if not cluster:
        raise ValueError("the prompt has no near-duplicate cluster yet: settle it first")
    bucket = int(digest("split", cluster, length=8), 16) % 100
    if bucket < 80:
        return "train"
    return "held_out" if bucket < 90 else "duel"


def load(folder: Path) -> Frozen:
    """Return the snapshot in a folder; its rows are read when they are asked for.

    Raises:
        NotFound: There is no snapshot in the folder.
        Damaged: Its manifest cannot be read.
    """
    path = Path(folder) / "manifest.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFound(
            f"There is no snapshot in {folder}: freeze one, or check the path."
        ) from None
    except ValueError:
        raise damaged(Path(folder), "manifest.json cannot be read") from None
    if not isinstance(manifest, dict) or not {"id", "digest", "files", "seal"} <= manifest.keys():
        raise damaged(Path(folder), "manifest.json is not a snapshot's")
    return Frozen(Path(folder), manifest)


def verify(folder: Path) -> dict[str, Any]:
    """Return the manifest of a snapshot when every file is what was frozen.

    Raises:
        Damaged: Naming the file that is missing or has changed.
    """
    frozen = load(folder)
    if frozen.manifest["seal"] != seal_of(frozen.manifest):
        raise damaged(frozen.folder, "manifest.json is not what was frozen")
    for name in FILES:
        path = frozen.folder / name
        if not path.is_file():
            raise damaged(frozen.folder, f"{name} is missing")
        if sha256(path) != frozen.manifest["files"].get(name):
            raise damaged(frozen.folder, f"{name} is not what was frozen")
    return frozen.manifest


def damaged(folder: Path, why: str) -> Damaged:
    """Return the error for a snapshot that is not what was frozen."""
    return Damaged(
        f"The snapshot {folder.name} is damaged ({why}): remove {folder} and freeze again."
    )


def seal_of(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its own "seal"."""
    rest = {key: value for key, value in manifest.items() if key != "seal"}
    return digest(json.dumps(rest, sort_keys=True))


def _read(path: Path, split: str | None, erased: bool) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                raise damaged(path.parent, f"{path.name} line {number} is not JSON") from None
            if (split is None or row["split"] == split) and (erased or "erased" not in row):
                yield row


def digest_of(files: Mapping[str, str]) -> str:
    """Return a snapshot's digest: the SHA-256 over the names and hashes of its files."""
    return digest(*(part for name in sorted(files) for part in (name, files[name])))


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
