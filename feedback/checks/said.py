"""From ids to what the texts say: the features of what was judged, asked or answered.

What several checks of the texts share. Features come by text id (`feedback/features.py`); a place
is a row of that frame, -1 where a text has none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from feedback.checks.columns import Columns

Places = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Decided(NamedTuple):
    """The decided votes, one row per comparison; all of shape (C,)."""

    comparison: npt.NDArray[np.object_]
    wins_a: Counts  # votes for a
    wins_b: Counts
    text_a: Places
    text_b: Places


class Answers(NamedTuple):
    """Every answer that was compared or rated, as often as it was; all of shape (R,)."""

    response: npt.NDArray[np.object_]
    prompt: npt.NDArray[np.object_]
    text: Places


def codes_of(*columns: pd.Series) -> tuple[list[Counts], npt.NDArray[np.object_]]:
    """Return columns that name the same kind of thing as codes, and the names that they stand for.

    Columns that share their categories already (`feedback/coded.py`) are not looked at again.
    """
    first = columns[0].dtype
    if isinstance(first, pd.CategoricalDtype) and all(c.dtype is first for c in columns):
        codes = [column.cat.codes.to_numpy().astype(np.int64) for column in columns]
        return codes, np.asarray(first.categories, dtype=object)
    whole = np.concatenate([np.asarray(column, dtype=object) for column in columns])
    found, names = pd.factorize(whole)
    ends = np.cumsum([len(column) for column in columns])[:-1]
    return [part.astype(np.int64) for part in np.split(found, ends)], names


def named(
    codes: npt.NDArray[np.integer[Any]], names: npt.NDArray[np.object_], like: pd.Series
) -> pd.Series:
    """Return codes from `codes_of` as names again, with the categories of `like` if it has some."""
    if isinstance(like.dtype, pd.CategoricalDtype):
        return pd.Series(pd.Categorical.from_codes(codes, dtype=like.dtype))
    return pd.Series(names[codes], dtype=object)


def found_in(known: pd.Index, asked: pd.Series) -> Places:
    """Return where each asked id stands among the known ones, -1 where it does not."""
    if isinstance(asked.dtype, pd.CategoricalDtype):
        if known.dtype is asked.dtype:
            of = np.full(len(asked.cat.categories) + 1, -1, dtype=np.intp)
            of[pd.Categorical(known).codes] = np.arange(len(known))
            return of[asked.cat.codes.to_numpy()]
        if known.is_(asked.cat.categories):
            return asked.cat.codes.to_numpy().astype(np.intp)
        of = np.append(known.get_indexer(asked.cat.categories), -1)
        return of[asked.cat.codes.to_numpy()]  # the code of nothing is -1: the last
    return known.get_indexer(np.asarray(asked, dtype=object))


def places_of(features: pd.DataFrame, texts: pd.Series) -> Places:
    """Return where each text stands in the features, -1 where it does not."""
    return found_in(features.index, texts)


def decided_votes(columns: Columns) -> Decided:
    """Return the votes that chose one of two answers, by comparison."""
    votes = columns.votes
    chose_a = (votes["verdict"] == "a").to_numpy(dtype=bool)
    kept = chose_a | (votes["verdict"] == "b").to_numpy(dtype=bool)
    codes, names = pd.factorize(votes["comparison"][kept])
    chose_a = chose_a[kept]
    n = len(names)
    rows = np.flatnonzero(kept)
    first = np.empty(n, dtype=np.intp)
    first[codes[::-1]] = rows[::-1]  # the first row of each comparison is written last
    once = votes[["text_a", "text_b"]].iloc[first]
    return Decided(
        np.asarray(names, dtype=object),
        np.bincount(codes[chose_a], minlength=n),
        np.bincount(codes[~chose_a], minlength=n),
        places_of(columns.features, once["text_a"]),
        places_of(columns.features, once["text_b"]),
    )


def net_votes(columns: Columns, comparisons: pd.Series) -> npt.NDArray[np.int64]:
    """Return the votes for a minus those for b of some comparisons; 0 where nobody decided."""
    votes = columns.votes
    verdict = (votes["verdict"] == "a").to_numpy(float) - (votes["verdict"] == "b").to_numpy(float)
    (voted, asked), names = codes_of(votes["comparison"], comparisons)
    net = np.bincount(voted[voted >= 0], verdict[voted >= 0], len(names))
    return np.append(net, 0.0)[asked].astype(np.int64)


def answers(columns: Columns) -> Answers:
    """Return the answers of every comparison, a and b, and of every rating."""
    compared, rated = columns.comparisons, columns.ratings
    parts = (
        (compared, "a", "text_a"),
        (compared, "b", "text_b"),
        (rated, "response", "text"),
    )
    return Answers(
        np.concatenate([np.asarray(frame[name], dtype=object) for frame, name, _ in parts]),
        np.concatenate([np.asarray(frame["prompt"], dtype=object) for frame, _, _ in parts]),
        np.concatenate([places_of(columns.features, frame[text]) for frame, _, text in parts]),
    )


def different(places: Places, size: int) -> int:
    """Return how many different texts there are among some places."""
    return int(np.count_nonzero(np.bincount(places[places >= 0], minlength=size)))


def values(features: pd.DataFrame, name: str, places: Places) -> npt.NDArray[np.int64]:
    """Return one feature at each place; 0 where there is none."""
    if not len(features):
        return np.zeros(len(places), dtype=np.int64)
    of = features[name].to_numpy()[places].astype(np.int64)
    of[places < 0] = 0
    return of


def different_ids(ids: npt.NDArray[np.object_]) -> tuple[str, ...]:
    """Return each id once, sorted: all of them, for a remedy acts on what the check counted."""
    return tuple(sorted(set(ids.tolist())))
