"""The list of hashes that makes a published folder trustworthy: written last, verified before use.

A torn or changed file is refused before anything reads it (safetensors notice a file cut short, but
not a flipped bit). Knows no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from storage.errors import BadInput, NotFound

MANIFEST = "manifest.json"
TRAIN_AGAIN = "train again"
RESUME = f"resume its run, or {TRAIN_AGAIN}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def write_manifest(folder: Path, **facts: Any) -> dict[str, Any]:
    """Write `manifest.json` over every file of the folder (not of its subfolders) and return it."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": file_digest(file)}
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name != MANIFEST
    }
    manifest = {**facts, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, default=str) + "\n", "utf-8")
    return manifest


def read_manifest(folder: Path, remedy: str = RESUME) -> dict[str, Any]:
    """Return the folder's manifest as it stands.

    Args:
        remedy: what to do where it is missing or damaged.

    Raises:
        NotFound: there is none, so the folder was never finished.
        BadInput: it cannot be read.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"{folder} has no {MANIFEST}: it is not there or was never finished; {remedy}."
        ) from error
    except ValueError as error:
        raise BadInput(f"{folder / MANIFEST} is damaged (not JSON): {remedy}.") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), Mapping):
        raise BadInput(f"{folder / MANIFEST} lists no files: it is damaged; {remedy}.")
    return manifest


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Return the folder's manifest after every file in it was found whole.

    Raises:
        NotFound, BadInput: no manifest, a file is missing, or a hash differs.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        _verify(folder, name, expected, TRAIN_AGAIN, inside=Path(name).name == name)
    return manifest


def write_tree_manifest(folder: Path, **facts: Any) -> dict[str, Any]:
    """Write `manifest.json` over every file of the folder and of its subfolders; return it."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
        for name in files_of(folder)
    }
    manifest = {**facts, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, default=str) + "\n", "utf-8")
    return manifest


def verify_tree(folder: Path, remedy: str) -> dict[str, Any]:
    """Return a tree's manifest after every file was found whole, and no file that it does not list.

    Args:
        remedy: what to do where one is not.

    Raises:
        NotFound, BadInput: no manifest, a file is missing or was added, or a hash differs.
    """
    manifest = read_manifest(folder, remedy)
    for name, expected in manifest["files"].items():
        parts = PurePosixPath(name).parts
        inside = bool(parts) and not name.startswith("/") and ".." not in parts
        _verify(folder, name, expected, remedy, inside=inside)
    if added := sorted(set(files_of(folder)) - set(manifest["files"])):
        raise BadInput(
            f"{folder / added[0]} is not in the manifest: somebody added it; take it out, or "
            f"{remedy}."
        )
    return manifest


def files_of(folder: Path) -> list[str]:
    """Return the files of a tree by their path in it, without its manifest and what is hidden.

    Hidden ones are what a version control or a download keeps beside them; no model is loaded from
    one.
    """
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shown = (path for path in found if not any(part.startswith(".") for part in path.parts))
    return sorted(path.as_posix() for path in shown if path != Path(MANIFEST))


def _verify(folder: Path, name: str, expected: Any, remedy: str, *, inside: bool) -> None:
    """Raise BadInput unless a listed file is there and is what the manifest says."""
    wanted = expected.get("sha256") if isinstance(expected, Mapping) else expected
    path = folder / name
    if not inside or not path.is_file():
        raise BadInput(f"{path} is missing although the manifest lists it; {remedy}.")
    if (seen := file_digest(path)) != wanted:
        raise BadInput(
            f"{path} was changed or damaged: its SHA-256 is {seen[:12]}… and the manifest says "
            f"{str(wanted)[:12]}…; restore the file, or {remedy}."
        )
