"""The near-duplicate cluster of each prompt: given once, for ever, before anybody asks for it.

Mostly when the prompt is added; what a big import brings is settled later (`feedback.settling`).

The index of the stored prompts stays with the open data folder, about 1.2 KB a prompt, so that one
prompt more costs as little as the first. For the next start the signatures are kept in
`cache/near.npz` of the data folder, since making them anew takes 0.03 ms a prompt and reading its
text as much again. The file may be deleted at any time: it is made again. A change of the method
changes no cluster that was given.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pandas as pd

from feedback import kept
from feedback.frozen import split_of
from feedback.near import PERMUTATIONS, SEED, SHINGLE, Hashes, NearIndex, signatures
from feedback.texts import near_text
from storage.errors import Busy
from storage.records import Cluster, Prompt
from storage.store import Store

LOOK_UP = 5_000  # texts in memory at the same time
# Choice: new signatures after which the file is written; fewer are made again in 0.05 s, or in a
# twentieth of the time that making all would take.
SAVE_AFTER, SAVE_SHARE = 1_000, 0.05
MADE_WITH = f"v2 {SHINGLE} {PERMUTATIONS} {SEED}"  # a file made otherwise is not used


@contextmanager
def adding_prompts(store: Store, *, wait: bool = True) -> Iterator[None]:
    """Let one thread at a time add prompts to this data folder.

    Args:
        wait: for whoever adds prompts.

    Raises:
        Busy: somebody adds prompts, and this one does not wait.
    """
    with (store.data / "prompts.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("prompts are being added: try again when that has ended") from None
        yield


@contextmanager
def prompts_locked(store: Store, *, save: bool = True, wait: bool = True) -> Iterator[PromptIndex]:
    """Let one thread at a time add prompts to this data folder; yield the index of what is stored.

    The next one gets the same index, unless it knows other prompts than the store by then.

    Args:
        save: keep the new signatures on the disk, where there are many.
        wait: for whoever adds prompts.

    Raises:
        Busy: somebody adds prompts, and this one does not wait.
    """
    with adding_prompts(store, wait=wait):
        # Taken away meanwhile: after an error nobody knows which of its prompts were stored.
        index: PromptIndex = store.companions.pop(PromptIndex, None) or PromptIndex(store)
        if not index.is_true():
            index = PromptIndex(store)
        yield index
        if save:
            index.save()
        store.companions[PromptIndex] = index


class PromptIndex:
    """The stored prompts, asked for near-duplicates; knows the cluster of each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.data / "cache" / "near.npz"
        self._near = NearIndex()
        self._clusters: dict[str, str] = {}  # of the stored prompts and of those being added
        self._stored: set[str] = set()
        self._unsettled: set[str] = set()  # stored without a cluster
        self._saved = 0
        self._loaded = False

    def is_true(self) -> bool:
        """Return whether it knows as many prompts as are stored, or has yet to read them.

        It does not where prompts were stored without it, or looked at and then not stored.
        """
        if not self._loaded:
            return True
        known = len(self._clusters) + len(self._unsettled)
        return known == int(self._store.frame("sizes")["prompts"].iloc[0])

    def claim(self, id: str) -> bool:
        """Return whether a prompt has to be stored: once for each that is not stored yet."""
        self._load()
        if id in self._stored or id in self._unsettled:
            return False
        self._stored.add(id)
        return True

    def leave(self, ids: Iterable[str]) -> None:
        """Take note of claimed prompts that are stored without a cluster."""
        for id in ids:
            self._stored.discard(id)
            self._unsettled.add(id)

    def settle(self, ids: Iterable[str]) -> list[Cluster]:
        """Return the clusters of those stored prompts that have none; the caller stores them."""
        self._load()
        new = [id for id in ids if id in self._unsettled]
        prompts = self._store.found(Prompt, new)
        contents = self._store.texts(one.text for one in prompts.values())
        texts = ((id, near_text(json.loads(contents[prompts[id].text]))) for id in new)
        found = self.assign_many(texts)
        self._unsettled.difference_update(new)
        self._stored.update(new)
        return [Cluster(id, cluster) for id, cluster in found.items()]

    def assign(self, id: str, text: str) -> str:
        """Return a prompt's cluster and remember it: its own id when nothing is near."""
        self._load()
        if id not in self._clusters:
            found = self._near.find_and_add(id, text)
            self._clusters[id] = self._choose(id, found)
        return self._clusters[id]

    def assign_many(self, prompts: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return id → cluster of (id, text) prompts and remember them: `assign` at a tenth of the
        cost."""
        self._load()
        asked = dict(prompts)
        new = {id: text for id, text in asked.items() if id not in self._clusters}
        found = self._near.find_and_add_many(list(new), list(new.values()))
        for id, near in zip(new, found, strict=True):
            self._clusters[id] = self._choose(id, near)
        return {id: self._clusters[id] for id in asked}

    def cluster_of(self, id: str, text: str) -> str:
        """Return the cluster that `assign` would give, without remembering it."""
        self._load()
        if id in self._clusters:
            return self._clusters[id]
        return self._choose(id, self._near.find(text))

    def save(self) -> None:
        """Keep the signatures for the next time, if there are many new ones."""
        new = len(self._near) - self._saved
        if new >= SAVE_AFTER and new >= SAVE_SHARE * self._saved:
            ids = kept.keys(self._near.ids)
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
        prompts = self._store.frame("prompts")
        waits = prompts["cluster"] == ""
        self._unsettled = set(prompts["prompt"][waits])
        prompts = prompts[~waits]
        self._stored = set(prompts["prompt"])
        ids, texts = prompts["prompt"].tolist(), prompts["text"].tolist()
        rows = pd.Index(file.get("ids", ())).get_indexer(kept.keys(ids))
        for start in range(0, len(ids), LOOK_UP):
            part = slice(start, start + LOOK_UP)
            self._near.add_signatures(ids[part], self._made(file, rows[part], texts[part]))
        self._clusters = dict(zip(ids, prompts["cluster"].tolist(), strict=True))
        self._saved = int((rows >= 0).sum())

    def _made(
        self, file: Mapping[str, npt.NDArray], rows: npt.NDArray[np.intp], texts: Sequence[str]
    ) -> Hashes:
        """Return signatures, (N, PERMUTATIONS): the kept ones, and those of new prompts' texts.

        Args:
            rows: of each prompt in the kept file, or -1.
            texts: the Text.id of each prompt.
        """
        made = np.empty((len(rows), PERMUTATIONS), dtype=np.uint32)
        made[rows >= 0] = file["signatures"][rows[rows >= 0]] if len(file) else 0
        new = [text for text, row in zip(texts, rows, strict=True) if row < 0]
        contents = self._store.texts(new)
        made[rows < 0] = signatures([near_text(json.loads(contents[text])) for text in new])
        return made
