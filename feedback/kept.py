"""Arrays kept in a data folder's `cache/`, so that they need not be made again.

What is kept can always be made from what is stored: a file that is missing, damaged or was made
otherwise is as good as none, and a disk without room only means that nothing is kept.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd


def read(path: Path, made_with: str) -> dict[str, npt.NDArray]:
    """Return the arrays of a file by name; none if it is not there or cannot be used."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["made_with"]) != made_with:
                return {}
            return {name: file[name] for name in file.files if name != "made_with"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def write(path: Path, made_with: str, **arrays: npt.NDArray) -> None:
    """Keep arrays, whole or not at all.

    Args:
        made_with: what the arrays depend on besides what is stored; `read` asks for the same.
    """
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, made_with=np.array(made_with), **arrays)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)


def keys(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each id, the same in every process: 8 bytes, where text takes 90.

    Choice: two of a million ids share one in 1 of 37 million data folders.
    """
    return pd.util.hash_array(np.asarray(ids, dtype=object), categorize=False)
