"""Reference log-probabilities: every (prompt, response) scored once, with the adapter off, before
training.

They are kept by content (the token ids), in one file of the run, so a resumed run reads what the
first one wrote, and in one file for the base in the data folder's cache, so that later runs score
only what is new: another seed, rank, beta or method costs nothing. The same response differs by the
noise of the precision where other rows stand beside it, as they may have in the run that scored it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from align.batches import Fork, Micro
from align.policy import Policy
from align.rendering import Ids
from align.scored import name_of


class ReferenceScores:
    """A mapping from (prompt, response) to the reference's per-token log-probabilities (R,).

    Args:
        precision: of the model that made them; "" before it is known.
    """

    def __init__(self, scores: dict[str, Tensor] | None = None, precision: str = "") -> None:
        self._scores = scores or {}
        self.precision = precision

    def __getitem__(self, key: tuple[Ids, Ids]) -> Tensor:
        return self._scores[name_of(*key)]

    def __contains__(self, key: tuple[Ids, Ids]) -> bool:
        return name_of(*key) in self._scores

    def __len__(self) -> int:
        return len(self._scores)

    def add(self, fork: Fork, rows: Tensor) -> None:
        """Keep the scores (K, R) of one fork's responses."""
        for response, row in zip(fork.responses, rows, strict=True):
            self._scores[name_of(fork.prompt, response)] = row[: len(response)].clone()

    def take(self, other: ReferenceScores, forks: Iterable[Fork]) -> None:
        """Take over the scores of these forks, as far as another mapping has them."""
        for fork in forks:
            for response in fork.responses:
                if (name := name_of(fork.prompt, response)) in other._scores:
                    self._scores.setdefault(name, other._scores[name])

    def merge(self, other: ReferenceScores) -> None:
        """Take over all scores of another mapping."""
        self._scores = {**self._scores, **other._scores}

    def apart(self, other: ReferenceScores) -> float:
        """Return the root mean square difference per token (nats) of what both have; 0 for none."""
        both = [name for name in self._scores if name in other._scores]
        gaps = [self._scores[name] - other._scores[name] for name in both]
        return torch.cat(gaps).square().mean().sqrt().item() if gaps else 0.0

    def save(self, path: Path) -> None:
        """Write all scores to one safetensors file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        save_file(self._scores, temporary, {"precision": self.precision})
        temporary.replace(path)

    @staticmethod
    def load(path: Path) -> ReferenceScores:
        """Return what a file holds; nothing where there is none, or one that cannot be read."""
        try:
            return ReferenceScores._read(path)
        except (FileNotFoundError, SafetensorError):  # scoring again is all that it costs
            return ReferenceScores()

    @staticmethod
    def _read(path: Path) -> ReferenceScores:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            precision = (file.metadata() or {}).get("precision", "")
            return ReferenceScores({name: file.get_tensor(name) for name in names}, precision)


def score(
    policy: Policy,
    micros: Iterable[Micro],
    scores: ReferenceScores,
    tick: Callable[[int], None] = lambda tokens: None,
) -> None:
    """Add the reference's scores of every fork that has none yet, one forward pass per micro-batch.

    Args:
        tick: called after each forward pass with its padded tokens; may raise to stop.
    """
    for micro in micros:
        parts = [micro] if micro.riders is None else [micro, micro.riders]
        forks = [fork for part in parts for fork in part.forks]
        if all((fork.prompt, r) in scores for fork in forks for r in fork.responses):
            continue
        score_pass(policy, micro, scores)
        tick(sum(part.block.ids.numel() for part in parts))


def score_pass(policy: Policy, micro: Micro, scores: ReferenceScores) -> None:
    """Put the reference's scores of one forward pass in the place of those that were there."""
    parts = [micro] if micro.riders is None else [micro, micro.riders]
    with policy.reference():
        found = log_probabilities(policy, micro)
    for part, rows in zip(parts, found, strict=False):
        _add(scores, part, rows.cpu())


def log_probabilities(policy: Any, micro: Micro) -> tuple[Tensor, Any]:
    """Return what one forward pass gives (M, R), and what its riders get (M', R') or None.

    Args:
        policy: a `Policy`.
    """
    device = next(policy.parameters()).device
    block = micro.block.to(device)
    if micro.riders is None:
        return policy(block), None
    both: tuple[Tensor, Tensor] = policy.with_riders(block, micro.riders.block.to(device))
    return both


def _add(scores: ReferenceScores, micro: Micro, rows: Tensor) -> None:
    for fork in micro.forks:
        scores.add(fork, rows[: len(fork.responses)])
        rows = rows[len(fork.responses) :]
