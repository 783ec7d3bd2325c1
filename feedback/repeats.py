"""Which arriving items repeat an earlier one, in the store or earlier in the same file."""

from __future__ import annotations

from typing import NamedTuple

from feedback.arrivals import Placed, event_uuid
from feedback.clusters import PromptIndex
from feedback.formats.rows import UNKNOWN, VoteRow
from feedback.near import RESPONSE_THRESHOLD, similarity
from feedback.texts import near_text
from storage.records import Duplicate
from storage.store import Store


class Repeat(NamedTuple):
    kind: str  # "prompt" or "response"
    item: str  # as in `Duplicate`
    earlier: str


class Repeats:
    """Which items were asked before, in the store or earlier in the file."""

    def __init__(self, store: Store, prompts: PromptIndex) -> None:
        self._store = store
        self._prompts = prompts
        self._items: set[str] | None = None
        self._first: dict[str, str] = {}  # cluster → the prompt of its first item

    def of(self, one: Placed) -> list[Repeat]:
        """Return what a new item repeats; one that is stored already repeats nothing."""
        if one.item in self._read():
            return []
        found: list[Repeat] = []
        cluster = self._cluster(one)
        if cluster in self._first:
            earlier = self._first[cluster]
            item = one.item if earlier == one.prompt else one.prompt
            found.append(Repeat("prompt", item, earlier))
        row = one.row
        if isinstance(row, VoteRow) and similarity(row.a.text, row.b.text) >= RESPONSE_THRESHOLD:
            found.append(Repeat("response", one.item, one.a.id))
        return found

    def note(self, one: Placed) -> None:
        """Remember an item that is being stored."""
        if one.item not in self._read():
            self._read().add(one.item)
            cluster = self._prompts.assign(one.prompt, near_text(one.row.prompt))
            self._first.setdefault(cluster, one.prompt)

    def _cluster(self, one: Placed) -> str:
        return self._prompts.cluster_of(one.prompt, near_text(one.row.prompt))

    def _read(self) -> set[str]:
        if self._items is None:
            prompts, pairs = self._store.frame("prompts"), self._store.frame("comparisons")
            thumbs = self._store.frame("ratings")
            clusters = dict(zip(prompts["prompt"], prompts["cluster"], strict=True))
            asked = [*pairs.sort_values("created_at")["prompt"], *thumbs["prompt"]]
            for prompt in asked:
                self._first.setdefault(clusters.get(prompt) or prompt, prompt)
            self._items = {*pairs["comparison"], *thumbs["response"]}
        return self._items


def kept(repeat: Repeat) -> Duplicate:
    """Return the decision that this is no repeat."""
    id = "d_" + event_uuid("duplicate", *repeat)
    return Duplicate(id, repeat.kind, repeat.item, repeat.earlier, "keep", UNKNOWN)
