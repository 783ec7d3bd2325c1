"""The data folder before it is opened."""

from __future__ import annotations

from pathlib import Path

from storage.errors import BadInput


def prepare_folder(data: Path) -> Path:
    """Return the absolute path of the data folder, made if it was missing."""
    folder = data.expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--data {folder} is a file: name a folder (it is made when missing)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"the data folder {folder} cannot be made ({error.strerror}): name one you may write to"
        ) from error
    return folder
