"""Files on their way from or to a browser or a product: people's words, so they lie in the data
folder, and not for long. The app lets Gradio keep its own files there too."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

FOLDER = "transfers"


def new_folder(data: Path) -> Path:
    """Return a new folder for one file that is fetched next."""
    place = data / FOLDER
    place.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(dir=place))


def clear(data: Path) -> None:
    """Remove what was sent or fetched, also what a kill left there."""
    shutil.rmtree(data / FOLDER, ignore_errors=True)
