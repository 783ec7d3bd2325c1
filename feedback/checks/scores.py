"""Log-probabilities of answers, as the checks read them: which model gave them, and per token."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from feedback.checks.columns import Columns
from feedback.checks.said import found_in

# Said by every finding that waits for scores; by it the quality screen knows to offer its button.
TO_SCORE = "Let the model score the answers: press “Score them now”, or run python app.py score"
FOREIGN = ("imported", "human", "")  # names of no model that could be trained here


class Scored(NamedTuple):
    """Who scored, and the log-probability per token of each answer asked for (R,), in nats."""

    model: str
    adapter: str
    per_token: npt.NDArray[np.float64]  # NaN where there is no score


def base_model(comparisons: pd.DataFrame) -> str:
    """Return the model that answered most of what was compared, "" where none is known.

    Checks call this one the model that is being trained: it is what a run would start from.

    Args:
        comparisons: with the columns model_a and model_b.
    """
    names = pd.concat([comparisons["model_a"], comparisons["model_b"]])
    counts = names[~names.isin(FOREIGN)].value_counts()
    counts = counts[counts > 0]
    return "" if counts.empty else str(min(counts.index[counts == counts.iloc[0]]))


def scored(columns: Columns, *responses: pd.Series, model: str = "") -> list[Scored]:
    """Return the scores of some answers by the model (with its base weights or an adapter) that
    scored most; by one model alone, since numbers of different ones cannot be compared.

    Args:
        responses: columns of response ids.
        model: only this one's scores; "" takes any.
    """
    scores = columns.scores
    scores = scores[scores["model"] == model] if model else scores
    scores = scores[pd.to_numeric(scores["tokens"]) > 0]
    if scores.empty:
        return [Scored("", "", np.full(len(some), np.nan)) for some in responses]
    counts = scores.groupby(["model", "adapter"], observed=True).size()
    by_model, by_adapter = min(counts.index[counts == counts.max()])
    scores = scores[(scores["model"] == by_model) & (scores["adapter"] == by_adapter)]
    per_token = (scores["logprob"] / scores["tokens"]).to_numpy(dtype=float)
    places = found_in(pd.Index(scores["response"]), pd.concat(responses, ignore_index=True))
    values = np.append(per_token, np.nan)[places]
    ends = np.cumsum([len(some) for some in responses])[:-1]
    return [Scored(str(by_model), str(by_adapter), part) for part in np.split(values, ends)]
