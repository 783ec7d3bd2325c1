"""The columns that the checks read: pandas frames as `storage.columns` gives them, nothing live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

VOTES = ("vote", "comparison", "prompt", "labeler", "verdict", "chars_a", "chars_b", "source")
RATINGS = ("rating", "response", "prompt", "source", "created_at", "made")
COMPARISONS = ("comparison", "prompt", "a", "b", "source", "created_at", "similarity")
PROMPTS = ("prompt", "cluster")
DECISIONS = ("kind", "item", "earlier", "decision", "created_at")


@dataclass(frozen=True, slots=True)
class Columns:
    votes: pd.DataFrame  # live votes, one row each
    ratings: pd.DataFrame  # live ratings, one row each; `made` is the source of the response
    comparisons: pd.DataFrame  # with `similarity` of its two texts, 0..1; 0 where it is surely low
    prompts: pd.DataFrame  # with the near-duplicate cluster of each
    decisions: pd.DataFrame  # what people decided about duplicates
    previews: Mapping[str, str] = field(default_factory=dict)  # prompt id → its beginning, to show

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
