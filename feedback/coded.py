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

# What there is much of: by the place in its table → (frame, column) that names it.
PLACED: Mapping[str, Sequence[tuple[str, str]]] = {
    "comparison": (("comparisons", "comparison"), ("gold", "comparison")),
    "prompt": (("prompts", "prompt"), ("prompts", "cluster"), ("comparisons", "prompt"),
               ("ratings", "prompt")),
    "response": (("comparisons", "a"), ("comparisons", "b"), ("ratings", "response"),
                 ("scores", "response")),
    "text": (("comparisons", "text_a"), ("comparisons", "text_b"), ("ratings", "text"),
             ("prompts", "text")),
}  # fmt: skip
# What has few values → (frame, column) that names it.
NAMED: Mapping[str, Sequence[tuple[str, str]]] = {
    "model": (("comparisons", "model_a"), ("comparisons", "model_b"), ("ratings", "model"),
              ("scores", "model")),
    "adapter": (("comparisons", "adapter_a"), ("comparisons", "adapter_b"), ("scores", "adapter")),
    "labeler": (("votes", "labeler"), ("ratings", "labeler")),
    "source of feedback": (("votes", "source"), ("ratings", "source")),
    "source of items": (("comparisons", "source"), ("ratings", "made")),
}  # fmt: skip
# What a vote's comparison says, in the votes too.
OF_COMPARISON = (
    "comparison", "prompt", "chars_a", "chars_b", "text_a", "text_b", "model_a", "model_b",
)  # fmt: skip


def coded(items: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return all frames but for the votes with categoricals for names, one set of categories per
    kind of thing; comparisons keep their `place`.

    Args:
        items: of `Store.coded_items`.
    """
    frames = {name: frame for name, frame in items.items() if name not in PLACED}
    frames["comparisons"] = frames["comparisons"].assign(place=frames["comparisons"]["comparison"])
    new: dict[str, dict[str, pd.Categorical]] = {name: {} for name in frames}
    for kind, columns in PLACED.items():
        found = _placed(items[kind], [frames[frame][name].to_numpy() for frame, name in columns])
        for (frame, name), values in zip(columns, found, strict=True):
            new[frame][name] = values
    return _renamed(frames, new)


def _placed(
    names: pd.DataFrame, columns: Sequence[NDArray[np.integer[Any]]]
) -> list[pd.Categorical]:
    """Return columns of places as categoricals of what is at these; -1 is nothing.

    Args:
        names: The `id` at each `place`, sorted.
    """
    place = names["place"].to_numpy()
    used = np.zeros(place.max(initial=-1) + 2, dtype=bool)
    for column in columns:
        used[column] = True
    used[-1] = False
    listed = used[place]
    codes = np.full(len(used), -1, dtype=np.int32)
    codes[place[listed]] = np.arange(np.count_nonzero(listed))
    ids = pd.Index(names["id"][listed], dtype=object)
    _ = ids.is_monotonic_increasing  # asked first, it tells pandas that all differ, without hashes
    dtype = pd.CategoricalDtype(ids)
    return [pd.Categorical.from_codes(codes[column], dtype=dtype) for column in columns]


def with_votes(frames: Mapping[str, pd.DataFrame], votes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return coded frames and the votes with what their comparisons say.

    Votes name their comparison by its `place`. One whose comparison came after the others were read
    is left out.
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
    found = _renamed({**frames, "votes": votes}, {"votes": new})
    return {**found, "comparisons": listed.drop(columns="place")}


def _renamed(
    frames: Mapping[str, pd.DataFrame], new: Mapping[str, Mapping[str, pd.Categorical]]
) -> dict[str, pd.DataFrame]:
    """Return the frames with new columns, and with what `NAMED` lists of them as categoricals."""
    columns = {name: dict(new.get(name, {})) for name in frames}
    for places in NAMED.values():
        here = [place for place in places if place[0] in frames]
        if "votes" in frames and all(frame != "votes" for frame, _ in here):
            continue  # coded already
        shared = _shared([frames[frame][name] for frame, name in here])
        for (frame, name), values in zip(here, shared, strict=True):
            columns[frame][name] = values
    return {name: frame.assign(**columns[name]) for name, frame in frames.items()}


def _shared(columns: Sequence[pd.Series]) -> list[pd.Categorical]:
    """Return the columns as categoricals with the same categories, sorted."""
    each = [
        (column.cat.codes.to_numpy(), column.cat.categories)
        if isinstance(column.dtype, pd.CategoricalDtype)
        else pd.factorize(column)
        for column in columns
    ]
    own = np.concatenate([np.asarray(names, dtype=object) for _, names in each])
    places, names = pd.factorize(own, sort=True)
    dtype = pd.CategoricalDtype(pd.Index(names, dtype=object))
    found, first = [], 0
    for codes, own_names in each:
        last = first + len(own_names)
        found.append(
            pd.Categorical.from_codes(np.append(places[first:last], -1)[codes], dtype=dtype)
        )
        first = last
    return found
