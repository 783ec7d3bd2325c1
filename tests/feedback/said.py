"""Texts for the checks that read them: features of what votes, comparisons and prompts name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from feedback.checks import Columns
from feedback.checks.columns import COMPARISONS, RATINGS
from feedback.features import FEATURES, text_features
from storage.records import digest

# As votes of `test_checks.full` see them: a is long and has bold words; b is plain.
BOLD = "Here **is** an answer with **bold** words."
PLAIN = "Here is an answer."
ASKED = "Who are you?"
LEAK = "I am ChatGPT, made by OpenAI; write to ada@lovelace.org"


def features_of(texts: Sequence[str]) -> pd.DataFrame:
    """Return the features of some texts, by their ids."""
    rows = {digest(text): text_features(text) for text in texts}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(FEATURES))
    return frame.astype(FEATURES)


def with_texts(columns: Columns, answer: str = LEAK) -> Columns:
    """Return the columns with texts and every column that the store gives.

    Votes: a has bold words, b has none. Comparisons: a and what is rated is `answer`, b is blank;
    nobody knows which model wrote them.
    """
    pairs = columns.comparisons.assign(text_a=digest(answer), text_b=digest(""))
    pairs = pairs.assign(model_a="imported", model_b="imported", adapter_a="", adapter_b="")
    return replace(
        columns,
        votes=columns.votes.assign(text_a=digest(BOLD), text_b=digest(PLAIN)),
        comparisons=_whole(pairs, COMPARISONS),
        ratings=_whole(columns.ratings.assign(text=digest(answer)), RATINGS),
        prompts=columns.prompts.assign(text=digest(ASKED)),
        features=features_of([BOLD, PLAIN, answer, ASKED, ""]),
    )


def _whole(frame: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """Return the frame with columns of None where it has none of that name."""
    return frame.assign(**{name: None for name in names if name not in frame})
