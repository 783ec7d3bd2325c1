"""How alike the two answers of each comparison are; kept, since texts never change.

The values lie in `cache/alike.npz` of the data folder. The file may be deleted at any time: it is
made again, in about 0.2 ms a comparison.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from feedback import kept
from feedback.checks.said import codes_of
from feedback.near import SHINGLE, similarity
from storage.store import Store

# Choice: two texts can only be near (0.8 of their shingles) when their lengths are; the rest of
# the way to 0.8 is for texts that repeat themselves.
LENGTH_RATIO = 0.7
AT_ONCE = 2_000  # comparisons whose texts are in memory at the same time
SAVE_AFTER = 500  # Choice: new values; fewer are computed again in a tenth of a second
MADE_WITH = f"v2 {SHINGLE}"  # a file made otherwise is not used


def similarities(store: Store, comparisons: pd.DataFrame) -> pd.Series:
    """Return how alike each comparison's two texts are, 0..1; 0 where the lengths rule it out."""
    path = store.data / "cache" / "alike.npz"
    file = kept.read(path, MADE_WITH)
    ids = kept.keys(comparisons["comparison"].astype(object))
    rows = pd.Index(file.get("ids", ())).get_indexer(ids)
    values = np.full(len(ids), np.nan)
    values[rows >= 0] = file["values"][rows[rows >= 0]] if file else 0.0
    a, b = comparisons["chars_a"].to_numpy(float), comparisons["chars_b"].to_numpy(float)
    near = np.minimum(a, b) >= LENGTH_RATIO * np.maximum(a, b)
    (text_a, text_b), _ = codes_of(comparisons["text_a"], comparisons["text_b"])
    same = text_a == text_b
    values[~near] = 0.0
    values[same] = 1.0
    new = np.nonzero(np.isnan(values))[0]
    texts = comparisons[["text_a", "text_b"]].iloc[new].to_numpy(object)
    for start in range(0, len(new), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        contents = store.texts(part.ravel())
        values[new[start : start + AT_ONCE]] = [
            similarity(contents[one], contents[other]) for one, other in part
        ]
    if len(new) >= SAVE_AFTER:
        measured = near & ~same
        kept.write(path, MADE_WITH, ids=ids[measured], values=values[measured])
    return pd.Series(values, index=comparisons.index)
