"""How alike the two answers of each comparison are; kept, since texts never change.

The values lie in `cache/alike.npz` of the data folder. The file may be deleted at any time: it is
made again, in about 0.2 ms a comparison.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from feedback import kept
from feedback.near import SHINGLE, similarity
from storage.store import Store

# Choice: two texts can only be near (0.8 of their shingles) when their lengths are; the rest of
# the way to 0.8 is for texts that repeat themselves.
LENGTH_RATIO = 0.7
AT_ONCE = 2_000  # comparisons whose texts are in memory at the same time
SAVE_AFTER = 500  # Choice: new values; fewer are computed again in a tenth of a second
MADE_WITH = f"v1 {SHINGLE}"  # a file made otherwise is not used


def similarities(store: Store, comparisons: pd.DataFrame) -> pd.Series:
    """Return how alike each comparison's two texts are, 0..1; 0 where the lengths rule it out."""
    path = store.data / "cache" / "alike.npz"
    known = kept.read(path, MADE_WITH)
    ids = known["ids"].tolist() if known else []
    by_id = dict(zip(ids, known["values"].tolist() if known else [], strict=True))
    values = comparisons["comparison"].map(by_id).astype(float)
    a, b = comparisons["chars_a"].astype(float), comparisons["chars_b"].astype(float)
    same = comparisons["text_a"] == comparisons["text_b"]
    near = np.minimum(a, b) >= LENGTH_RATIO * np.maximum(a, b)
    values = values.where(near, 0.0).mask(same, 1.0).astype(float)
    new = comparisons[values.isna()]
    for start in range(0, len(new), AT_ONCE):
        part = new.iloc[start : start + AT_ONCE]
        contents = store.texts({*part["text_a"], *part["text_b"]})
        values[part.index] = [
            similarity(contents[one], contents[other])
            for one, other in zip(part["text_a"], part["text_b"], strict=True)
        ]
    if len(new) >= SAVE_AFTER:
        measured = near & ~same
        ids = np.array(comparisons["comparison"][measured].tolist(), dtype=np.str_)
        kept.write(path, MADE_WITH, ids=ids, values=values[measured].to_numpy())
    return values
