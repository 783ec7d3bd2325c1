"""Wrong passwords that a restart must not forget: `tries.json` in the data folder.

Names and places are kept as hashes: who mistypes may type a password where the name belongs. The
file holds what a pause depends on and nothing else, so a disk without room only means that a
restart forgets; it is not waited for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

FILE = "tries.json"
Wrong = Mapping[str, tuple[int, float]]  # hashed key → how many, and seconds since the last one


def read(path: Path, now: datetime) -> Wrong:
    """Return what is remembered, as of now; nothing where there is no file, or a damaged one."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        passed = max(0.0, (now - datetime.fromisoformat(kept["at"])).total_seconds())
        return {key: (int(n), float(ago) + passed) for key, (n, ago) in kept["wrong"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write(path: Path, wrong: Wrong, now: datetime) -> None:
    """Remember it."""
    part = path.with_suffix(".part")
    with suppress(OSError):
        part.touch(0o600)
        part.write_text(json.dumps({"at": now.isoformat(), "wrong": wrong}), "utf-8")
        part.replace(path)
