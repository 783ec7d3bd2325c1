"""The list of hashes that makes a published folder trustworthy: written last, verified before use.

A torn or changed file is refused before anything reads it (safetensors notice a file cut short, but
not a flipped bit). Knows no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.errors import BadInput, NotFound

MANIFEST = "manifest.json"


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


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the folder's manifest as it stands.

    Raises:
        NotFound: there is none, so the folder was never finished.
        BadInput: it cannot be read.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"{folder} has no {MANIFEST}: it is not there or was never finished; "
            "resume its run, or train again."
        ) from error
    except ValueError as error:
        raise BadInput(f"{folder / MANIFEST} is damaged (not JSON): train again.") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), Mapping):
        raise BadInput(f"{folder / MANIFEST} lists no files: it is damaged; train again.")
    return manifest


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Return the folder's manifest after every file in it was found whole.

    Raises:
        NotFound, BadInput: no manifest, a file is missing, or a hash differs.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        wanted = expected["sha256"] if isinstance(expected, Mapping) else expected
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BadInput(f"{path} is missing although the manifest lists it; train again.")
        if (seen := file_digest(path)) != wanted:
            raise BadInput(
                f"{path} was changed or damaged: its SHA-256 is {seen[:12]}… and the manifest says "
                f"{str(wanted)[:12]}…; restore the file, or train again."
            )
    return manifest
