"""The columns that the checks read: pandas frames as `storage.columns` gives them, nothing live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandas as pd

VOTES = (
    "vote", "assignment", "comparison", "prompt", "labeler", "verdict", "left", "kind", "chars_a",
    "chars_b", "text_a", "text_b", "model_a", "model_b", "seconds_spent", "source", "created_at",
)  # fmt: skip
RATINGS = (
    "rating", "assignment", "response", "prompt", "labeler", "verdict", "chars", "text", "model",
    "source", "created_at", "made",
)  # fmt: skip
COMPARISONS = (
    "comparison", "prompt", "a", "b", "text_a", "text_b", "chars_a", "chars_b", "model_a",
    "model_b", "adapter_a", "adapter_b", "finished_a", "finished_b", "source", "created_at",
    "similarity", "echo_a", "echo_b",
)  # fmt: skip
PROMPTS = ("prompt", "text", "cluster")
DECISIONS = ("kind", "item", "earlier", "decision", "created_at")
GOLD = ("comparison", "verdict")
SCORES = ("response", "model", "adapter", "logprob", "tokens")


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Columns:
    """What the checks read; excluded feedback is not in it.

    Columns that name things (ids, labelers, sources, models, verdicts) may be strings or pandas
    categoricals: a million votes are held as codes. So group with `observed=True`, and compare,
    `map` or `factorize` instead of relying on a dtype.
    """

    votes: pd.DataFrame  # live votes, one row each; `kind` is the assignment's
    ratings: pd.DataFrame  # live ratings, one row each; `made` is the source of the response
    # with `similarity` of its two texts, 0..1; 0 where it is surely low; with `echo_a` and
    # `echo_b`: whether that answer mostly repeats its prompt
    comparisons: pd.DataFrame
    prompts: pd.DataFrame  # with the near-duplicate cluster of each, none where it is not settled
    decisions: pd.DataFrame  # what people decided about duplicates
    gold: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(GOLD)))
    scores: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SCORES)))
    features: pd.DataFrame = field(default_factory=pd.DataFrame)  # by text id; feedback/features.py
    previews: Mapping[str, str] = field(default_factory=dict)  # prompt id → its beginning, to show
    items: pd.DataFrame | None = None  # `duplicates.prompt_items`, where they were put together
    # What `votes` calls a vote → its id, of people with several on one comparison; nothing where
    # `votes` has the ids.
    vote_ids: Mapping[int, str] = field(default_factory=dict)
    _made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, make: Callable[[Columns], T]) -> T:
        """Return what a function makes of these columns; what several checks need is made once."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made

    @staticmethod
    def empty() -> Columns:
        """Return columns without a row."""
        return Columns(
            votes=pd.DataFrame(columns=list(VOTES)),
            ratings=pd.DataFrame(columns=list(RATINGS)),
            comparisons=pd.DataFrame(columns=list(COMPARISONS)),
            prompts=pd.DataFrame(columns=list(PROMPTS)),
            decisions=pd.DataFrame(columns=list(DECISIONS)),
        )


def latest_decisions(decisions: pd.DataFrame, kind: str) -> dict[str, str]:
    """Return item → the latest decision about it, among the decisions of one kind."""
    mine = decisions[decisions["kind"] == kind].sort_values(["created_at"], kind="stable")
    return dict(zip(mine["item"], mine["decision"], strict=True))
