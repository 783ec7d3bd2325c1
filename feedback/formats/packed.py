"""A file's bytes, unpacked from gzip where it is, and never more of them than fit (a gzip bomb)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from storage.errors import BadInput

GZIP = b"\x1f\x8b"
# Choice: hh-rlhf unpacks to 0.3 GB, all of OpenAssistant's trees to 0.5; reading this takes 10 s.
MAX_UNPACKED = 2 << 30  # bytes
# Choice: text packs 3 to 20 times, rows that much repeat each other 50 times, a bomb 1,000 times.
MAX_RATIO, RATIO_FROM = 100, 64 << 20  # asked from so many unpacked bytes on
PIECE = 1 << 20  # bytes read at a time


def is_packed(path: Path) -> bool:
    """Return whether a file is gzip, whatever its name says.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(GZIP)) == GZIP
    except OSError as error:
        why = f"{path}: cannot be read ({error.strerror}); give it read permission"
        raise BadInput(why) from None


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading; what is gzip comes out unpacked."""
    return cast(BinaryIO, gzip.open(path)) if is_packed(path) else path.open("rb")


def head_of(path: Path, size: int) -> bytes:
    """Return the first bytes of what the file holds, unpacked.

    Raises:
        BadInput: damaged gzip.
    """
    with open_bytes(path) as file:
        try:
            return file.read(size)
        except (EOFError, OSError, zlib.error):
            raise _damaged(path) from None


def check_packed(path: Path) -> None:
    """Unpack all of a gzip file once, keeping nothing, so that a bad one stores no row of itself.

    Raises:
        BadInput: it is cut off or damaged, unpacks to more than MAX_UNPACKED bytes, or to so many
            times its size that it can only be a bomb.
    """
    if not is_packed(path):
        return
    size, packed = 0, path.stat().st_size
    with gzip.open(path) as file:
        try:
            while piece := file.read(PIECE):
                size += len(piece)
                if size > RATIO_FROM and size > MAX_RATIO * packed:
                    raise BadInput(
                        f"{path}: unpacks to more than {MAX_RATIO} times its size, as a bomb does; "
                        "unpack it yourself if you trust it"
                    )
                if size > MAX_UNPACKED:
                    raise BadInput(
                        f"{path}: unpacks to more than {MAX_UNPACKED:,} bytes; "
                        "unpack it yourself and split it"
                    )
        except (EOFError, OSError, zlib.error):
            raise _damaged(path) from None


def _damaged(path: Path) -> BadInput:
    return BadInput(f"{path}: its gzip is cut off or damaged; fetch the file again")
