"""Which texts are the same or nearly the same: normalisation, shingles, MinHash in bands.

Pure: no store, no clock. Two texts are compared as sets of three-character shingles of their
normalised form; the similarity is the Jaccard index of the two sets, exact for two given texts and
estimated by MinHash inside `NearIndex`. Both costs grow linearly with the number of texts, because
a bucket of the index holds at most `BUCKET` of them.

Source: Broder, "On the resemblance and containment of documents" (1997), for shingles and MinHash;
Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3, for the bands.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import numpy.typing as npt

# Source of 0.75: FineWeb's deduplication (Penedo et al. 2024, arXiv 2406.17557, section 3.4) takes
# documents for duplicates from 75 % on. Choice: three characters instead of its five words, because
# a prompt is often one line: one word more or a typo in a line of thirty characters then stands at
# 0.8 to 0.9, "capital of France?" against "capital of Spain?" at 0.66. Fifteen pairs of unrelated
# 30,000-character documents stood at 0.39 or less, so long texts can be told apart as well.
PROMPT_THRESHOLD = 0.75
# Choice: two answers to one prompt share its words anyway; from 0.8 on a choice between them says
# next to nothing. Of 2,139 comparisons of real models (llmfao) one reaches it, and none 0.9.
RESPONSE_THRESHOLD = 0.8

SHINGLE = 3  # characters
PERMUTATIONS = 128  # standard error of an estimate near 0.75: sqrt(0.75 * 0.25 / 128) = 0.04
BANDS, ROWS = 21, 6  # chance to meet 1 - (1 - s**6)**21: 0.98 at s = 0.75, 0.28 at 0.5
SEED = 1
# Choice: a template shared by thousands of prompts must not make each look-up compare thousands;
# the first 50 of a bucket are enough, since near texts meet in many buckets.
BUCKET = 50
RECENT = 2_000  # Choice: texts in the dict before they are sorted in; a dict entry costs 200 bytes
MAX_SHINGLES = 20_000  # Choice: a book-length text is compared by the smallest 20,000 hashes

_ZERO_WIDTH = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_QUOTES = re.compile("[\"'`\u2018-\u201f\u00ab\u00bb]")
_END_PUNCTUATION = re.compile(r"[.,;:!?\u3001\u3002]+(?=\s|$)")
_SPACE = re.compile(r"\s+")

Hashes = npt.NDArray[np.uint32]
Keys = npt.NDArray[np.uint64]


def normalise(text: str) -> str:
    """Return what is left of a text when case, spacing, quotes and end punctuation do not count.

    Example:
        >>> normalise("  What is the Capital of\\nFrance? ")
        'what is the capital of france'
        >>> normalise("What is 3.5 + 1?") == normalise("What is 3.5 - 1?")
        False
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    plain = _QUOTES.sub("", _ZERO_WIDTH.sub("", folded))
    return _SPACE.sub(" ", _END_PUNCTUATION.sub("", plain)).strip()


def shingle_hashes(text: str) -> Hashes:
    """Return the sorted 32-bit hashes of the normalised text's three-character shingles, (S,).

    A text shorter than one shingle counts as one; an empty one has none.
    """
    plain = normalise(text)
    if not plain:
        return np.empty(0, dtype=np.uint32)
    encoded = plain.ljust(SHINGLE).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(encoded, dtype=np.uint32).astype(np.uint64)
    count = len(codes) - SHINGLE + 1
    mixed = np.zeros(count, dtype=np.uint64)
    for offset in range(SHINGLE):
        mixed = mixed * np.uint64(1_000_003) + codes[offset : offset + count]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # splitmix64
    hashes = np.unique((mixed >> np.uint64(32)).astype(np.uint32))
    return hashes[:MAX_SHINGLES]


def similarity(one: str, other: str) -> float:
    """Return the Jaccard index of two texts' shingles, 0..1; two empty texts are the same: 1."""
    a, b = shingle_hashes(one), shingle_hashes(other)
    if not len(a) or not len(b):
        return 1.0 if len(a) == len(b) else 0.0
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


class NearIndex:
    """Texts that can be asked which of them are near to another one; grows one by one.

    Places count from 0 in the order in which the texts came. Memory: about 0.8 KB a text.
    """

    def __init__(self, threshold: float = PROMPT_THRESHOLD) -> None:
        from datasketch import MinHash  # half a second of imports, and not every start needs it

        self.threshold = threshold
        self.ids: list[str] = []
        self._places: dict[str, int] = {}
        self._empty = MinHash(PERMUTATIONS, seed=SEED, hashfunc=int)
        self._signatures = np.zeros((64, PERMUTATIONS), dtype=np.uint32)
        self._bands = _Bands()

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: str) -> bool:
        return id in self._places

    def add(self, id: str, text: str) -> None:
        """Remember a text; an id that is there already keeps its first text."""
        if id not in self._places:
            self.add_signature(id, self.signature(text))

    def find(self, text: str) -> list[tuple[str, float]]:
        """Return (id, estimated similarity) of the texts near to this one, most similar first."""
        return self._find(self.signature(text))

    def find_and_add(self, id: str, text: str) -> list[tuple[str, float]]:
        """Return what `find` does, then remember the text: one signature instead of two."""
        signature = self.signature(text)
        found = [(near, value) for near, value in self._find(signature) if near != id]
        if id not in self._places:
            self.add_signature(id, signature)
        return found

    def place(self, id: str) -> int:
        """Return when this id came: 0 for the first."""
        return self._places[id]

    def signature(self, text: str) -> Hashes:
        """Return the text's MinHash, (PERMUTATIONS,)."""
        sketch = self._empty.copy()
        sketch.update_batch(shingle_hashes(text).tolist())
        return sketch.hashvalues

    def signatures(self) -> Hashes:
        """Return the MinHash of every text, (N, PERMUTATIONS), in the order of `ids`."""
        return self._signatures[: len(self.ids)]

    def add_signature(self, id: str, signature: Hashes) -> None:
        """Remember a text by its MinHash."""
        place = len(self.ids)
        if place == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.zeros_like(self._signatures)])
        self._signatures[place] = signature
        self.ids.append(id)
        self._places[id] = place
        self._bands.add(place, _band_keys(signature))

    def _find(self, signature: Hashes) -> list[tuple[str, float]]:
        places = self._bands.find(_band_keys(signature))
        if not len(places):
            return []
        values = (self._signatures[places] == signature).mean(axis=1)
        order = np.argsort(-values, kind="stable")
        return [
            (self.ids[places[i]], float(values[i])) for i in order if values[i] >= self.threshold
        ]


class _Bands:
    """Which texts share a band: a sorted array of keys, and a small dict of the newest ones."""

    def __init__(self) -> None:
        self._keys = np.empty(0, dtype=np.uint64)  # sorted
        self._places = np.empty(0, dtype=np.int32)  # of the text that each key belongs to
        self._recent: dict[int, list[int]] = {}
        self._waiting: list[tuple[int, Keys]] = []  # what `_recent` holds, to be sorted in

    def add(self, place: int, keys: Keys) -> None:
        for key in keys.tolist():
            self._recent.setdefault(key, []).append(place)
        self._waiting.append((place, keys))
        if len(self._waiting) > max(RECENT, len(self._keys) // BANDS // 4):
            self._sort_in()

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Return the places of texts that share a band, at most BUCKET per band, in order."""
        starts = np.searchsorted(self._keys, keys, side="left")
        ends = np.searchsorted(self._keys, keys, side="right")
        met: set[int] = set()
        for start, end, key in zip(starts.tolist(), ends.tolist(), keys.tolist(), strict=True):
            if start < end:
                met.update(self._places[start : min(end, start + BUCKET)].tolist())
            if key in self._recent and end - start < BUCKET:
                met.update(self._recent[key][: BUCKET - (end - start)])
        return np.array(sorted(met), dtype=np.int64)

    def _sort_in(self) -> None:
        new_keys = np.concatenate([keys for _, keys in self._waiting])
        new_places = np.repeat([place for place, _ in self._waiting], BANDS).astype(np.int32)
        keys = np.concatenate([self._keys, new_keys])
        order = np.argsort(keys, kind="stable")  # stable: the earliest text of a key stays first
        self._keys = keys[order]
        self._places = np.concatenate([self._places, new_places])[order]
        self._recent, self._waiting = {}, []


def _band_keys(signature: Hashes) -> Keys:
    """Return one 64-bit key per band, (BANDS,), each band's number mixed in."""
    rows = signature[: BANDS * ROWS].reshape(BANDS, ROWS).astype(np.uint64)
    mixed = np.arange(BANDS, dtype=np.uint64)
    for row in range(ROWS):
        mixed = (mixed ^ rows[:, row]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
