"""What the quality screen shows, small enough to be handed from one process to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from feedback.checks import CheckResult
from feedback.labelers import labeler_table
from feedback.plots import (
    agreement_by_prompt,
    prompts_by_agreement,
    votes_over_time,
    win_rate_by_length,
)
from feedback.quality import checks_of, gather, gather_numbers, quoted
from storage.store import Store

if TYPE_CHECKING:
    from feedback.ranking import Leaderboard


@dataclass(frozen=True, slots=True)
class Survey:
    results: list[CheckResult]
    labelers: pd.DataFrame  # of `labeler_table`
    lengths: pd.DataFrame  # the last three: of `feedback.plots`
    times: pd.DataFrame
    agreement: pd.DataFrame


def survey(store: Store) -> Survey:
    """Run every check and count what is drawn beside them; see `Store.aside`."""
    return store.aside(_surveyed)


def _surveyed(store: Store) -> Survey:
    columns = gather(store)
    return Survey(
        results=quoted(store, checks_of(columns)),
        labelers=labeler_table(columns),
        lengths=win_rate_by_length(columns.votes),
        times=votes_over_time(columns.votes, columns.ratings),
        agreement=prompts_by_agreement(agreement_by_prompt(columns.votes)),
    )


def standings(store: Store) -> Leaderboard:
    """Rank the models that people compared, best first; see `Store.aside`."""
    return store.aside(_ranked)


def _ranked(store: Store) -> Leaderboard:
    from feedback.ranking import leaderboard  # its evalica brings scipy.stats in: two seconds

    columns = gather_numbers(store)
    return leaderboard(columns.votes, columns.comparisons, np.random.default_rng(0))
