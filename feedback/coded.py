"""Names as codes: what a million votes say in 200 MB instead of 2 GB.

Columns that name the same kind of thing share their categories, so that they can be compared with
each other and joined without looking at a single letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

# What is named → (frame, column) that names it.
NAMES: Mapping[str, Sequence[tuple[str, str]]] = {
    "prompt": (("prompts", "prompt"), ("prompts", "cluster"), ("comparisons", "prompt"),
               ("ratings", "prompt")),
    "response": (("comparisons", "a"), ("comparisons", "b"), ("ratings", "response"),
                 ("scores", "response")),
    "text": (("comparisons", "text_a"), ("comparisons", "text_b"), ("ratings", "text")),
    "model": (("comparisons", "model_a"), ("comparisons", "model_b"), ("ratings", "model"),
              ("scores", "model")),
    "adapter": (("comparisons", "adapter_a"), ("comparisons", "adapter_b"), ("scores", "adapter")),
    "labeler": (("votes", "labeler"), ("ratings", "labeler")),
    "source of feedback": (("votes", "source"), ("ratings", "source")),
    "source of items": (("comparisons", "source"), ("ratings", "made")),
}  # fmt: skip
UNSORTED = ("prompt", "response", "text")  # hundreds of thousands each: in the order they come
# What a vote's comparison says, in the votes too.
OF_COMPARISON = ("prompt", "chars_a", "chars_b", "text_a", "text_b", "model_a", "model_b")


def coded(frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the frames with categoricals for names, one set of categories per kind of thing.

    Votes name their comparison by its `place`; its code is its row.
    """
    new: dict[str, dict[str, pd.Categorical]] = {name: {} for name in frames}
    for frame, values in _comparisons(frames).items():
        new[frame]["comparison"] = values
    for kind, places in NAMES.items():
        columns = [frames[frame][column] for frame, column in places]
        shared = _shared(columns, sort=kind not in UNSORTED)
        for (frame, column), values in zip(places, shared, strict=True):
            new[frame][column] = values
    found = {name: frame.assign(**new[name]) for name, frame in frames.items()}
    return {**found, "comparisons": found["comparisons"].drop(columns="place")}


def joined(votes: pd.DataFrame, comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return votes with what their comparison says; `coded` gave both frames just now."""
    taken = votes["comparison"].cat.codes.to_numpy()
    return votes.assign(**{name: comparisons[name].array.take(taken) for name in OF_COMPARISON})


def _comparisons(frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.Categorical]:
    """Return frame → its comparisons, in the order of the frame that lists all of them."""
    listed = frames["comparisons"]
    dtype = pd.CategoricalDtype(pd.Index(listed["comparison"], dtype=object))
    place = listed["place"].to_numpy()
    rows = np.full(place.max(initial=-1) + 1, -1, dtype=np.int32)
    rows[place] = np.arange(len(listed))
    codes = {
        "votes": rows[frames["votes"]["comparison"].to_numpy()],
        "comparisons": np.arange(len(listed)),
        "gold": dtype.categories.get_indexer(frames["gold"]["comparison"]),
    }
    return {name: pd.Categorical.from_codes(found, dtype=dtype) for name, found in codes.items()}


def _shared(columns: Sequence[pd.Series], *, sort: bool) -> list[pd.Categorical]:
    """Return the columns as categoricals with the same categories."""
    if not any(isinstance(column.dtype, pd.CategoricalDtype) for column in columns):
        whole, names = pd.factorize(pd.concat(columns, ignore_index=True), sort=sort)
        ends = np.cumsum([len(column) for column in columns])[:-1]
        dtype = pd.CategoricalDtype(pd.Index(names, dtype=object))
        return [pd.Categorical.from_codes(codes, dtype=dtype) for codes in np.split(whole, ends)]
    each = [
        (column.cat.codes.to_numpy(), column.cat.categories)
        if isinstance(column.dtype, pd.CategoricalDtype)
        else pd.factorize(column)
        for column in columns
    ]
    own = np.concatenate([np.asarray(names, dtype=object) for _, names in each])
    places, names = pd.factorize(own, sort=sort)
    dtype = pd.CategoricalDtype(pd.Index(names, dtype=object))
    found, first = [], 0
    for codes, own_names in each:
        last = first + len(own_names)
        found.append(
            pd.Categorical.from_codes(np.append(places[first:last], -1)[codes], dtype=dtype)
        )
        first = last
    return found
