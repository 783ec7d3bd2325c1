"""What a rename needs to survive a power cut: its folder written to the disk."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable: what was made, renamed or removed there.

    Raises:
        OSError: the disk does not take them.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
