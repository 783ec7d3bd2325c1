"""Names as codes: what a million votes say in 200 MB instead of 2 GB.

Columns that name the same kind of thing share their categories, so that they can be compared with
each other and joined without looking at a single letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    """Return the frames but for the votes with categoricals for names, one set of categories per
    kind of thing."""
    listed = frames["comparisons"]["comparison"]
    dtype = pd.CategoricalDtype(pd.Index(listed, dtype=object))
    codes = {
        "comparisons": np.arange(len(listed)),
        "gold": dtype.categories.get_indexer(frames["gold"]["comparison"]),
    }
    new = {name: {"comparison": _categories(found, dtype)} for name, found in codes.items()}
    return _renamed(frames, new)


def with_votes(frames: Mapping[str, pd.DataFrame], votes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return coded frames and the votes with what their comparisons say.

    Votes name their comparison by its `place`; its code is its row. One whose comparison came after
    the others were read is left out.
    """
    listed = frames["comparisons"]
    place = listed["place"].to_numpy()
    rows = np.full(place.max(initial=-1) + 2, -1, dtype=np.int32)  # the last: of no comparison
    rows[place] = np.arange(len(listed))
    taken = rows[np.minimum(votes["comparison"].to_numpy(), len(rows) - 1)]
    there = taken >= 0
    if not there.all():
        votes, taken = votes[there], taken[there]
    new = {name: listed[name].array.take(taken) for name in OF_COMPARISON}
    new["comparison"] = _categories(taken, listed["comparison"].dtype)
    found = _renamed({**frames, "votes": votes}, {"votes": new})
    return {**found, "comparisons": listed.drop(columns="place")}


def _renamed(
    frames: Mapping[str, pd.DataFrame], new: Mapping[str, Mapping[str, pd.Categorical]]
) -> dict[str, pd.DataFrame]:
    """Return the frames with new columns, and with what `NAMES` lists of them as categoricals."""
    columns = {name: dict(new.get(name, {})) for name in frames}
    for kind, places in NAMES.items():
        here = [place for place in places if place[0] in frames]
        if "votes" in frames and all(frame != "votes" for frame, _ in here):
            continue  # coded already
        shared = _shared([frames[frame][name] for frame, name in here], sort=kind not in UNSORTED)
        for (frame, name), values in zip(here, shared, strict=True):
            columns[frame][name] = values
    return {name: frame.assign(**columns[name]) for name, frame in frames.items()}


def _categories(codes: NDArray[np.integer[Any]], dtype: pd.CategoricalDtype) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, dtype=dtype)


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
