"""Where reference scores are kept, and under which names, so that a forecast knows them.

Knows no torch.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align.rates import FULL
from align.rendering import Ids


def name_of(prompt: Ids, response: Ids) -> str:
    """Return the name of a response's scores: a hash of its content."""
    words = (len(prompt), *prompt, *response)
    return hashlib.sha256(struct.pack(f"<{len(words)}q", *words)).hexdigest()


def cache_of(config: Mapping[str, Any], precision: str) -> Path | None:
    """Return the file of this base's reference scores in the data folder, if the run has one."""
    folder, base = config.get("cache"), config.get("model_fingerprint")
    if not folder or not base:
        return None
    words = [base.rpartition(":")[2][:16], precision]  # without the kind of fingerprint
    if config.get("settings", {}).get("tune") == FULL:  # its base is held in fp32
        words.append(FULL)
    if start_of(config)[1]:
        words.append(config["start"]["digest"][:16])
    return Path(folder) / "reference" / f"{'-'.join(words)}.safetensors"


def start_of(config: Mapping[str, Any]) -> tuple[Path | None, bool]:
    """Return the adapter that a run goes on from, if any, and whether that is its reference."""
    start = config.get("start")
    if not start:
        return None, False
    return Path(start["adapter"]), config.get("reference") == "start"


def names_in(path: Path | None) -> set[str]:
    """Return the names of the scores in a file; none where it is not there or damaged.

    Source: https://huggingface.co/docs/safetensors: 8 bytes of header length, then a JSON header.
    """
    if path is None:
        return set()
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, ValueError, OverflowError, MemoryError):
        return set()
    return set(header) - {"__metadata__"} if isinstance(header, dict) else set()
