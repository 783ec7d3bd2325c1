"""What simulated labelers like: a cost for each answer, of two the smaller one is preferred (pure).

A taste stands for somebody, so that a loop can be tried before people come; nobody is meant to
learn from it what people like.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from feedback.echoes import is_echo

LIST_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
FRIENDLY = re.compile(
    r"\b(?:you|your|glad|happy|hope|thanks?|welcome|wonderful|enjoy|let me know)\b|!", re.IGNORECASE
)
# Choice: a list item weighs as much as a line of text and a half, a kind word as much as two; an
# answer that is none (cut off, an echo of the question, a word or two) is worse than a long one.
ITEM_CHARS, KIND_CHARS, KIND_MOST, NONE_CHARS = 120, 160, 2, 2_000
MIN_WORDS = 5


class Judged(NamedTuple):
    """An answer as a taste sees it."""

    chars: int
    text: str = ""  # only for a taste that reads it
    question: str = ""  # the prompt's last message
    finished: bool | None = None  # stopped by itself; None where nobody knows


class Taste(NamedTuple):
    """Whom it stands for, and what an answer costs to them."""

    words: str
    cost: Callable[[Judged], float]
    reads: bool = False  # texts, and not lengths alone


def friendly(one: Judged) -> float:
    """Return what an answer costs to somebody who wants it short, friendly and without lists."""
    kind = min(len(FRIENDLY.findall(one.text)), KIND_MOST)
    cost = one.chars + ITEM_CHARS * len(LIST_ITEM.findall(one.text)) - KIND_CHARS * kind
    none = one.finished is False or len(one.text.split()) < MIN_WORDS
    return cost + NONE_CHARS * (none or is_echo(one.text, one.question))


TASTES = {
    "shorter": Taste("who prefers the shorter answer", lambda one: one.chars),
    "longer": Taste("who prefers the longer answer", lambda one: -one.chars),
    "friendly": Taste("who wants it short, friendly and without lists", friendly, reads=True),
    "random": Taste("who chooses by chance", lambda one: 0.0),
}
