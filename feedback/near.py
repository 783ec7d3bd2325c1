"""Which texts are the same or nearly the same: normalisation, shingles, MinHash in bands.

Pure: no store, no clock. Two texts are compared as bags of three-character shingles of their
normalised form; the similarity is the Jaccard index of the two bags, exact for two given texts and
estimated by MinHash inside `NearIndex`. Both costs grow linearly with the number of texts, because
a bucket of the index holds at most `BUCKET` of them. MinHash is written here in numpy, for many
texts at once: datasketch, which does one text after the other, takes ten times as long.

Source: Broder, "On the resemblance and containment of documents" (1997), for shingles and MinHash;
Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3, for the bands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

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
AT_ONCE = 4_000  # texts looked up together. Choice: some MB of keys
CHARS_AT_ONCE = 100_000  # hashed together. Choice: arrays that a processor's own cache holds
MAX_SHINGLES = 20_000  # Choice: a book-length text is compared by the smallest 20,000 hashes
ALONE = 5_000  # shingles under all permutations at once. Choice: 2.5 MB, six calls for 800
PAIRS_AT_ONCE = 100_000  # of signatures compared together: 50 MB each side

_DRAWN = np.random.default_rng(SEED)
_XORED = _DRAWN.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)
_FACTORS = _DRAWN.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32) | np.uint32(1)
_LAST = np.uint32(0x85EBCA6B)

_ZERO_WIDTH = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_QUOTES = re.compile("[\"'`\u2018-\u201f\u00ab\u00bb]")
_END_PUNCTUATION = re.compile(r"[.,;:!?\u3001\u3002]+(?=\s|$)")
_SPACE = re.compile(r"\s+")

Hashes = npt.NDArray[np.uint32]
Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32]
Starts = npt.NDArray[np.int64]
Found = list[tuple[str, float]]

EMPTY = np.uint32(0xFFFFFFFF)  # the MinHash of a text without shingles, in every place


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

    A shingle that comes again counts again, with a hash of its own. A text shorter than one shingle
    counts as one; an empty one has none.
    """
    plain = normalise(text)
    return _kept(_hashes([plain])[0]) if plain else np.empty(0, dtype=np.uint32)


def _kept(hashes: Hashes) -> Hashes:
    """Return the smallest hashes, sorted, each once; sorting beats numpy's `unique` here."""
    rising = np.sort(hashes)
    return rising[np.append(True, rising[1:] != rising[:-1])][:MAX_SHINGLES]


def _hashes(plain: Sequence[str]) -> tuple[Hashes, Starts]:
    """Return the shingles' hashes of normalised texts one after the other, and where each begins.

    Hashed in one go over all texts; the shingles that reach into the next text are left out.
    """
    padded = [text.ljust(SHINGLE) for text in plain]
    encoded = "".join(padded).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(encoded, dtype=np.uint32).astype(np.uint64)
    count = len(codes) - SHINGLE + 1
    mixed = np.zeros(count, dtype=np.uint64)
    for offset in range(SHINGLE):
        mixed *= np.uint64(1_000_003)
        mixed += codes[offset : offset + count]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)  # splitmix64
    lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
    inside = np.ones(count, dtype=bool)
    ends = np.cumsum(lengths)[:-1]
    for offset in range(1, SHINGLE):
        inside[ends - offset] = False
    shingles = lengths - (SHINGLE - 1)
    texts = np.repeat(np.arange(len(plain), dtype=np.uint64) << np.uint64(32), shingles)
    return _numbered(texts | mixed[inside] >> np.uint64(32)), np.cumsum(shingles) - shingles


def _numbered(keys: Keys) -> Hashes:
    """Return the hashes of (text, hash) keys in the order of texts; of equal ones each its own."""
    keys = np.sort(keys)
    places = np.arange(len(keys))
    firsts = np.ones(len(keys), dtype=bool)
    firsts[1:] = keys[1:] != keys[:-1]
    again = places - np.maximum.accumulate(np.where(firsts, places, 0))
    return keys.astype(np.uint32) + again.astype(np.uint32) * np.uint32(0x9E3779B1)


def signatures(texts: Sequence[str]) -> Hashes:
    """Return the MinHash of each text, (N, PERMUTATIONS)."""
    plain = [normalise(text) for text in texts]
    made = np.full((len(plain), PERMUTATIONS), EMPTY)
    for part in _parts(list(map(len, plain))):
        hashes, starts = _hashes([plain[place] for place in part])
        made[part] = _smallest(_kept(hashes) if len(part) == 1 else hashes, starts)
    return made


def _parts(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of texts that are hashed together; long ones alone, empty ones never."""
    part: list[int] = []
    chars = 0
    for place, length in enumerate(lengths):
        if length > MAX_SHINGLES:
            yield [place]
        elif length:
            part.append(place)
            chars += length
        if chars >= CHARS_AT_ONCE:
            yield part
            part, chars = [], 0
    if part:
        yield part


def _smallest(hashes: Hashes, starts: Starts) -> Hashes:
    """Return the least permuted hash of each text under each permutation, (N, PERMUTATIONS).

    A permutation of the 32-bit numbers: one half folded into the other, then times an odd number,
    twice, as in MurmurHash3's last step.
    """
    if len(hashes) < ALONE:  # one prompt, most likely: all permutations in one go
        permuted = (hashes ^ _XORED[:, None]) * _FACTORS[:, None]
        permuted ^= permuted >> np.uint32(16)
        permuted *= _LAST
        return np.minimum.reduceat(permuted, starts, axis=1).T
    least = np.empty((PERMUTATIONS, len(starts)), dtype=np.uint32)
    permuted, shifted = np.empty_like(hashes), np.empty_like(hashes)
    for row in range(PERMUTATIONS):
        np.bitwise_xor(hashes, _XORED[row], out=permuted)
        np.multiply(permuted, _FACTORS[row], out=permuted)
        np.right_shift(permuted, np.uint32(16), out=shifted)
        np.bitwise_xor(permuted, shifted, out=permuted)
        np.multiply(permuted, _LAST, out=permuted)
        np.minimum.reduceat(permuted, starts, out=least[row])
    return least.T


def similarity(one: str, other: str) -> float:
    """Return the Jaccard index of two texts' shingles, 0..1; two empty texts are the same: 1."""
    a, b = shingle_hashes(one), shingle_hashes(other)
    if not len(a) or not len(b):
        return 1.0 if len(a) == len(b) else 0.0
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


class NearIndex:
    """Texts that can be asked which of them are near to another one; grows one by one or by many.

    Places count from 0 in the order in which the texts came. Memory: about 1.2 KB a text.
    """

    def __init__(self, threshold: float = PROMPT_THRESHOLD) -> None:
        self.threshold = threshold
        self.ids: list[str] = []
        self._places: dict[str, int] = {}
        self._signatures = np.empty((64, PERMUTATIONS), dtype=np.uint32)
        self._bands = _Bands()

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: str) -> bool:
        return id in self._places

    def add(self, id: str, text: str) -> None:
        """Remember a text; an id that is there already keeps its first text."""
        if id not in self._places:
            self._add_one(id, signatures([text])[0])

    def add_signatures(self, ids: Sequence[str], made: Hashes) -> None:
        """Remember texts that are not there yet by their MinHash, (N, PERMUTATIONS)."""
        for start in range(0, len(ids), AT_ONCE):
            part = made[start : start + AT_ONCE]
            self._bands.add_many(len(self.ids), _band_keys(part))
            self._append(ids[start : start + AT_ONCE], part)

    def find(self, text: str) -> Found:
        """Return (id, estimated similarity) of the texts near to this one, most similar first."""
        return self._find(signatures([text])[0])

    def find_and_add(self, id: str, text: str) -> Found:
        """Return what `find` does, then remember the text: one signature instead of two."""
        signature = signatures([text])[0]
        found = [(near, value) for near, value in self._find(signature) if near != id]
        if id not in self._places:
            self._add_one(id, signature)
        return found

    def find_and_add_many(self, ids: Sequence[str], texts: Sequence[str]) -> Iterator[Found]:
        """Yield what `find_and_add` would return for each new text in turn, at a tenth of the cost.

        Args:
            ids: of texts that are not there yet, no two the same.
        """
        for start in range(0, len(ids), AT_ONCE):
            first = len(self.ids)
            made = signatures(texts[start : start + AT_ONCE])
            keys = _band_keys(made)
            self._bands.add_many(first, keys)
            self._append(ids[start : start + AT_ONCE], made)
            yield from self._near(first, len(made), *self._bands.find_many(first, keys))

    def place(self, id: str) -> int:
        """Return when this id came: 0 for the first."""
        return self._places[id]

    def signatures(self) -> Hashes:
        """Return the MinHash of every text, (N, PERMUTATIONS), in the order of `ids`."""
        return self._signatures[: len(self.ids)]

    def _add_one(self, id: str, signature: Hashes) -> None:
        self._bands.add(len(self.ids), _band_keys(signature[None])[0])
        self._append([id], signature[None])

    def _append(self, ids: Sequence[str], made: Hashes) -> None:
        first, end = len(self.ids), len(self.ids) + len(ids)
        if end > len(self._signatures):
            grown = np.empty((max(end, end * 5 // 4), PERMUTATIONS), dtype=np.uint32)
            grown[:first] = self._signatures[:first]
            self._signatures = grown
        self._signatures[first:end] = made
        self.ids += ids
        self._places.update(zip(ids, range(first, end), strict=True))

    def _find(self, signature: Hashes) -> Found:
        places = self._bands.find(_band_keys(signature[None])[0])
        if not len(places):
            return []
        values = (self._signatures[places] == signature).mean(axis=1)
        order = np.argsort(-values, kind="stable")
        return [
            (self.ids[places[i]], float(values[i])) for i in order if values[i] >= self.threshold
        ]

    def _near(self, first: int, count: int, asked: Places, places: Places) -> Iterator[Found]:
        """Yield the near ones among the candidate pairs of each of `count` texts from `first` on.

        Args:
            asked: the place of the text that asks in each pair, rising.
            places: the place of an earlier text.
        """
        values = np.empty(len(asked))
        for start in range(0, len(asked), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            same = self._signatures[places[part]] == self._signatures[asked[part]]
            values[part] = same.mean(axis=1)
        close = np.nonzero(values >= self.threshold)[0]
        order = close[np.lexsort((places[close], -values[close], asked[close]))]
        bounds = np.searchsorted(asked[order], np.arange(first, first + count + 1))
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            yield [(self.ids[places[i]], float(values[i])) for i in order[start:end]]


class _Bands:
    """Which texts share a band: sorted runs of keys, each twice as long as the next, oldest first,
    and a small dict of the newest texts that came one by one."""

    def __init__(self) -> None:
        self._runs: list[tuple[Keys, Places]] = []  # sorted keys, and the text that each belongs to
        self._recent: dict[int, list[int]] = {}
        self._waiting: list[tuple[int, Keys]] = []  # what `_recent` holds, to be sorted in

    def add(self, place: int, keys: Keys) -> None:
        for key in keys.tolist():
            self._recent.setdefault(key, []).append(place)
        self._waiting.append((place, keys))
        if len(self._waiting) >= RECENT:
            self._sort_in()

    def add_many(self, first: int, keys: Keys) -> None:
        """Take the keys, (N, BANDS), of texts whose places count on from `first`."""
        self._sort_in()
        places = np.repeat(np.arange(first, first + len(keys), dtype=np.int32), BANDS)
        self._take_run(keys.ravel(), places)

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Return the places of texts that share a band, at most BUCKET per band, in order."""
        met: set[int] = set()
        taken = [0] * len(keys)
        for sorted_keys, places in self._runs:
            starts = np.searchsorted(sorted_keys, keys, side="left")
            ends = np.searchsorted(sorted_keys, keys, side="right")
            for band in np.nonzero(starts < ends)[0].tolist():
                start = int(starts[band])
                end = min(int(ends[band]), start + BUCKET - taken[band])
                met.update(places[start:end].tolist())
                taken[band] += end - start
        for band, key in enumerate(keys.tolist()):
            if key in self._recent:
                met.update(self._recent[key][: BUCKET - taken[band]])
        return np.array(sorted(met), dtype=np.int64)

    def find_many(self, first: int, keys: Keys) -> tuple[Places, Places]:
        """Return pairs (a text's place, the place of an earlier one that shares a band), sorted.

        Args:
            first: the place of the first text; they are in the index already.
            keys: of each text, (N, BANDS).
        """
        order = np.argsort(keys, axis=None)  # asking in order finds the next one near in memory
        wanted = keys.ravel()[order]
        asking = (order // BANDS + first).astype(np.int64)
        taken = np.zeros(len(wanted), dtype=np.int64)
        pairs = [np.empty(0, dtype=np.int64)]
        for sorted_keys, places in self._runs:
            starts = np.searchsorted(sorted_keys, wanted, side="left")
            ends = np.searchsorted(sorted_keys, wanted, side="right")
            counts = np.minimum(ends - starts, BUCKET - taken)
            taken += counts
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            found = places[np.repeat(starts, counts) + within].astype(np.int64)
            asked = np.repeat(asking, counts)
            earlier = found < asked
            pairs.append(np.unique(asked[earlier] << 32 | found[earlier]))
        both = np.unique(np.concatenate(pairs))
        return (both >> 32).astype(np.int32), (both & 0xFFFFFFFF).astype(np.int32)

    def _sort_in(self) -> None:
        if not self._waiting:
            return
        places = np.repeat([place for place, _ in self._waiting], BANDS).astype(np.int32)
        self._take_run(np.concatenate([keys for _, keys in self._waiting]), places)
        self._recent, self._waiting = {}, []

    def _take_run(self, keys: Keys, places: Places) -> None:
        """Sort a run in; stable, so that the earliest text of a key stays first."""
        order = np.argsort(keys, kind="stable")
        self._runs.append((keys[order], places[order]))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            (old_keys, old_places), (new_keys, new_places) = self._runs[-2:]
            keys = np.concatenate([old_keys, new_keys])
            order = np.argsort(keys, kind="stable")  # two sorted halves: one merge
            self._runs[-2:] = [(keys[order], np.concatenate([old_places, new_places])[order])]


def _band_keys(made: Hashes) -> Keys:
    """Return one 64-bit key per text and band, (N, BANDS), each band's number mixed in."""
    rows = made[:, : BANDS * ROWS].reshape(-1, BANDS, ROWS).astype(np.uint64)
    mixed = np.tile(np.arange(BANDS, dtype=np.uint64), (len(made), 1))
    for row in range(ROWS):
        mixed = (mixed ^ rows[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
