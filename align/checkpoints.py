"""Folders that are there whole or not at all: checkpoints to resume from, adapters to use.

A Trainer writes its checkpoints file by file in place, so a killed one leaves a torn folder with
the highest number. Ours get a manifest of hashes last; what has none, or does not match it, is not
there. An adapter is written beside its place and renamed. Knows no torch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from align.manifest import verify_manifest, write_manifest
from storage.errors import BadInput, NotFound


def seal(folder: Path, **facts: Any) -> None:
    """Write the folder's manifest, last, after everything in it has reached the disk."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            _sync(path)
    write_manifest(folder, **facts)
    _sync(folder / "manifest.json")
    _sync(folder)


def newest_complete(checkpoints: Path) -> Path | None:
    """Return the complete checkpoint with the most steps; torn ones beside it are removed."""
    found: list[Path] = []
    for folder in sorted(checkpoints.glob("checkpoint-*"), key=_steps, reverse=True):
        try:
            verify_manifest(folder)
        except (NotFound, BadInput):
            shutil.rmtree(folder)
        else:
            found.append(folder)
    return found[0] if found else None


def publish(place: Path, write: Callable[[Path], None], **facts: Any) -> None:
    """Let `write` fill a folder beside `place`, seal it, and rename it there.

    Who looks at `place` sees nothing, or all of it; an earlier folder there gives way.
    """
    temporary = place.with_name(f".{place.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    seal(temporary, **facts)
    if place.exists():
        old = place.with_name(f".{place.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
        shutil.rmtree(old)
    temporary.rename(place)
    _sync(place.parent)


def _steps(folder: Path) -> int:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
