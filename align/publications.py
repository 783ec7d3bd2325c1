"""A published folder as it lies there: whether one may be made in a place, whether one is whole.

Needs no database and no model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from align.json_files import read_json
from align.manifest import MANIFEST, read_manifest, verify_tree
from storage.errors import BadInput, Conflict, NotFound

KIND = "hone-publication"  # how its manifest says what a folder is
AGAIN = "publish again"


def check_place(place: Path, force: bool) -> None:
    """Refuse a folder that holds something else than an earlier publication, as it was made.

    Raises:
        NotFound: there is no folder to make it in.
        BadInput: it is a file, or holds other things.
        Conflict: it holds an earlier publication, and nobody said that it gives way.
    """
    if not place.parent.is_dir():
        raise NotFound(f"{place}: there is no folder {place.parent}; make it, or choose another")
    if place.exists() and not place.is_dir():
        raise BadInput(f"{place} is a file: name a folder, new or empty")
    if not place.exists() or not any(place.iterdir()):
        return
    if read_json(place / MANIFEST).get("kind") != KIND:
        raise BadInput(f"{place} is not empty: name a new folder, or one of an earlier publication")
    if not force:
        raise Conflict(f"{place} holds an earlier publication: replace it with --force")
    known = {*read_manifest(place, AGAIN)["files"], MANIFEST}
    names = (path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    if others := sorted(set(names) - known):
        raise BadInput(
            f"{place} holds {others[0]} too, which was not published: move it away first, for the "
            "folder is replaced"
        )


def verify(folder: Path) -> dict[str, Any]:
    """Return what a published folder is, after every file was found whole and none was added:
    {"folder", "run", "base", "files", "bytes"}.

    Raises:
        NotFound, BadInput: no publication, or a file differs, is missing or was added.
    """
    place = folder.expanduser().resolve()
    manifest = read_manifest(place, AGAIN)
    if manifest.get("kind") != KIND:
        raise BadInput(f"{place} is no publication: {MANIFEST} does not say so; give its folder")
    manifest = verify_tree(place, AGAIN)
    sizes = [int(one["bytes"]) for one in manifest["files"].values()]
    told = {"run": manifest.get("run"), "base": manifest.get("base")}
    return {"folder": str(place), **told, "files": len(sizes), "bytes": sum(sizes)}
