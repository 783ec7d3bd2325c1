"""About how long a training will take, before it starts. Knows no torch and no tokenizer.

Tokens are guessed from characters, the speed is the one that the last finished run of the same
model had on this machine; without one, a first guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.losses import LOSSES
from align.recipes import Settings
from align.subset import part_of

CHARACTERS_PER_TOKEN = 4.2  # English prose under SmolLM2's tokenizer
TEMPLATE_TOKENS = 35  # a chat template's words around a prompt
FIRST_GUESS = (
    1_800.0  # forward tokens a second, all told. Choice: SmolLM2 in bf16 on 2 cores of 2026
)
TRAINED = 3  # forwards' work that training a token takes: forward, and twice that backward
REPORT_SECONDS = 60.0  # greedy answers before and after
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Estimate:
    seconds: float
    tokens: int  # of one epoch
    measured: bool  # by an earlier run of this model here; False: a first guess

    def sentence(self) -> str:
        minutes = max(1, round(self.seconds / 60))
        how = "as fast as the last run here" if self.measured else "a first guess"
        return f"about {minutes} min ({how})"


def estimate(snapshot: Path, settings: Settings, data: Path, model_name: str) -> Estimate:
    """Return about how long a run would take from its start to its report.

    Args:
        snapshot: the snapshot's folder.
        data: the data folder, whose finished runs tell the speed.
        model_name: as in the runs' config.json.
    """
    loss = LOSSES[settings.method]
    rows = _training_rows(snapshot / f"{loss.needs}.jsonl")
    rows = [row for row in rows if row.get("label") or not loss.only_good]
    taken = part_of(rows, settings.train.max_rows)
    return of_tokens(sum(map(_tokens, taken)), settings, measured_speed(data, model_name))


def of_tokens(tokens: float, settings: Settings, speed: float | None) -> Estimate:
    """Return about how long a run on so many tokens of training rows takes.

    Args:
        speed: forward tokens per second as measured, or None.
    """
    loss, epochs = LOSSES[settings.method], settings.train.epochs
    both = 1 + loss.mismatched  # KTO's mismatched responses: a forward under policy and reference
    forwards = loss.reference * both + epochs * (TRAINED + loss.mismatched)
    seconds = tokens * forwards / (speed or FIRST_GUESS) + REPORT_SECONDS + START_SECONDS
    return Estimate(seconds, round(tokens), speed is not None)


def measured_speed(data: Path, model_name: str) -> float | None:
    """Return forward tokens per second of the newest finished run of a model here, or None."""
    found: list[tuple[str, float]] = []
    for path in data.glob("runs/*/status.json"):
        status, config = _object(path), _object(path.with_name("config.json"))
        speed = status.get("tokens_per_second")
        if status.get("status") == "done" and speed and config.get("model_name") == model_name:
            found.append((str(config.get("created_at", "")), float(speed)))
    return max(found)[1] if found else None


def _training_rows(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text("utf-8").split("\n") if path.exists() else []
    rows = [json.loads(line) for line in lines if line]
    return [row for row in rows if row["split"] == "train"]


def _tokens(row: Mapping[str, Any]) -> float:
    texts = [m["content"] for m in row["prompt"]]
    texts += [row[name] for name in ("chosen", "rejected", "completion") if name in row]
    return sum(map(len, texts)) / CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
