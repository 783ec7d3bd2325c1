"""What a run taught the model to like, token by token: the implicit reward β · log(π / π_ref).

The chapter's central idea: the aligned model is a reward model in secret. How much likelier its
training made each token of an answer, against the reference that it was held to, is the reward that
it would give. Knows no torch; the worker scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align import runs
from align.losses import LOSSES
from align.manifest import verify_manifest
from storage.records import Message

# Methods whose reward is a mean over the tokens and not their sum.
PER_TOKEN = ("dpo_norm", "ipo_norm")
FULL_COLOUR = 2.0  # nats. Choice: a token e² = 7 times as likely or unlikely has all of its colour
END = "■"  # stands for the end-of-turn token


@dataclass(frozen=True, slots=True)
class Reward:
    """The implicit reward of one answer."""

    pieces: tuple[str, ...]  # the text that each token adds; END for the end of the turn
    gains: tuple[float, ...]  # log(π / π_ref) of each token, nats
    beta: float | None  # None: the method has no reward of this form, only log-ratios
    per_token: bool = False

    @property
    def nats(self) -> float:
        """Return the log-ratio of the whole answer."""
        return sum(self.gains)

    @property
    def total(self) -> float | None:
        """Return the reward; None without a β."""
        if self.beta is None:
            return None
        return self.beta * (self.nats / max(1, len(self.gains)) if self.per_token else self.nats)

    def coloured(self) -> list[tuple[str, float]]:
        """Return each piece with its colour from -1 (far less likely) to 1 (far likelier)."""
        return [
            (piece, max(-1.0, min(1.0, gain / FULL_COLOUR)))
            for piece, gain in zip(self.pieces, self.gains, strict=True)
            if piece
        ]

    def words(self) -> str:
        """Return the reward in a line.

        Example:
            >>> Reward(("Hi", END), (1.5, 0.5), 0.1).words()
            'implicit reward **+0.20** = β 0.1 · 2.0 nats over 2 tokens'
        """
        count = f"{self.nats:.1f} nats over {len(self.gains):,} tokens"
        if self.total is None:
            return f"log-ratio **{self.nats:+.1f}** nats over {len(self.gains):,} tokens"
        count = f"{count}, their mean" if self.per_token else count
        return f"implicit reward **{self.total:+.2f}** = β {self.beta:g} · {count}"


def reward(
    workspace: Any, run: str, messages: Sequence[Message], answer: str, *, finished: bool
) -> Reward:
    """Return the implicit reward of an answer under a run.

    Args:
        finished: the answer ended by itself, so the end of its turn is part of it.

    Raises:
        NotFound: no such run, or its adapter is gone.
        Busy: a training has the device.
    """
    adapter = runs.load_adapter(workspace.data, run)
    facts = verify_manifest(adapter)
    reference = _reference(workspace.data, facts)
    scores = workspace.client.token_scores(
        messages, answer, [adapter, reference], finished=finished
    )
    policy, held = scores.logprobs
    gains = tuple(one - other for one, other in zip(policy, held, strict=True))
    pieces = list(scores.pieces)
    if finished and pieces and not pieces[-1]:
        pieces[-1] = END
    method = str(facts["method"])
    beta = facts["settings"].get("beta") if LOSSES[method].reference else None
    return Reward(tuple(pieces), gains, beta, method in PER_TOKEN)


def _reference(data: Path, facts: Mapping[str, Any]) -> Path | None:
    """Return the adapter that the run was held to; None for its base."""
    if facts.get("reference") != "start" or not facts.get("start"):
        return None
    return runs.load_adapter(data, str(facts["start"]))
