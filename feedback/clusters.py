"""The near-duplicate cluster of each prompt: given once, when the prompt is added, for ever.

The signatures of the stored prompts are kept in `cache/near.npz` of the data folder, since making
them anew takes 0.15 ms a prompt. The file may be deleted at any time: it is made again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from feedback import kept
from feedback.frozen import split_of
from feedback.near import PERMUTATIONS, SEED, SHINGLE, NearIndex
from feedback.texts import near_text
from storage.store import Store

LOOK_UP = 5_000  # texts in memory at the same time
SAVE_AFTER = 1_000  # Choice: new signatures; fewer are made again in 0.15 s
MADE_WITH = f"v1 {SHINGLE} {PERMUTATIONS} {SEED}"  # a file made otherwise is not used


class PromptIndex:
    """The stored prompts, asked for near-duplicates; knows the cluster of each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.data / "cache" / "near.npz"
        self._near = NearIndex()
        self._clusters: dict[str, str] = {}  # of the stored prompts and of those being added
        self._stored: set[str] = set()
        self._saved = 0
        self._loaded = False

    def claim(self, id: str) -> bool:
        """Return whether a prompt has to be stored: once for each that is not stored yet."""
        self._load()
        if id in self._stored:
            return False
        self._stored.add(id)
        return True

    def assign(self, id: str, text: str) -> str:
        """Return a prompt's cluster and remember it: its own id when nothing is near."""
        self._load()
        if id not in self._clusters:
            found = self._near.find_and_add(id, text)
            self._clusters[id] = self._choose(id, found)
        return self._clusters[id]

    def cluster_of(self, id: str, text: str) -> str:
        """Return the cluster that `assign` would give, without remembering it."""
        self._load()
        if id in self._clusters:
            return self._clusters[id]
        return self._choose(id, self._near.find(text))

    def save(self) -> None:
        """Keep the signatures for the next time, if there are many new ones."""
        if len(self._near) - self._saved >= SAVE_AFTER:
            ids = np.array(self._near.ids, dtype=np.str_)
            kept.write(self._path, MADE_WITH, ids=ids, signatures=self._near.signatures())
            self._saved = len(self._near)

    def _choose(self, id: str, found: Sequence[tuple[str, float]]) -> str:
        oldest = sorted((near for near, _ in found), key=self._near.place)
        clusters = [self._clusters[near] for near in oldest]
        judging = [cluster for cluster in clusters if split_of(cluster) != "train"]
        return (judging or clusters or [id])[0]

    def _load(self) -> None:
        """Read the stored prompts, when they are asked about for the first time."""
        if self._loaded:
            return
        self._loaded = True
        file = kept.read(self._path, MADE_WITH)
        ids = file["ids"].tolist() if file else []
        known = dict(zip(ids, file.get("signatures", ()), strict=True))
        prompts = self._store.frame("prompts")
        for start in range(0, len(prompts), LOOK_UP):
            part = prompts.iloc[start : start + LOOK_UP]
            new = part[~part["prompt"].isin(known)]
            contents = self._store.texts(new["text"])
            for id, text in zip(part["prompt"], part["text"], strict=True):
                if id in known:
                    self._near.add_signature(id, known[id])
                else:
                    self._near.add(id, near_text(json.loads(contents[text])))
        self._clusters = dict(zip(prompts["prompt"], prompts["cluster"], strict=True))
        self._stored = set(prompts["prompt"])
        self._saved = len(known)
