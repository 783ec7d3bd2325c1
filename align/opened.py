"""A pair from the data as the model sees it now: what people said of it, what a run would say.

Knows no torch and no gradio.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from align import implicit
from align.implicit import Reward
from feedback.browse import questions
from feedback.settling import settled
from feedback.snapshots import split_of
from feedback.values import brief
from storage.errors import BadInput, NotFound
from storage.records import Comparison, Message, Prompt, Response
from storage.store import Store

OFFERED = 200  # Choice: as for held-out prompts
LABEL_CHARS = 80
JUDGING = ("a", "b")


@dataclass(frozen=True, slots=True)
class Said:
    """A comparison that people preferred one answer of, and the two answers, chosen first."""

    comparison: str
    messages: tuple[Message, ...]
    texts: tuple[str, str]  # chosen, rejected
    finished: tuple[bool, bool]  # ended by themselves, as far as is known
    votes: tuple[int, int]  # for the chosen one, for the rejected one
    others: int  # ties, both bad, skipped

    def words(self) -> str:
        """Return what people said.

        Example:
            >>> Said("c", (), ("", ""), (True, True), (3, 1), 1).words()
            'People: 3 of 4 chose it; 1 more took neither'
        """
        told = f"People: {self.votes[0]:,} of {sum(self.votes):,} chose it"
        return f"{told}; {self.others:,} more took neither" if self.others else told


@dataclass(frozen=True, slots=True)
class Seen:
    """The pair with the reward that a run gives each of its answers."""

    said: Said
    run: str
    rewards: tuple[Reward, Reward]  # of the chosen one, of the rejected one

    @property
    def margin(self) -> float:
        """Return by how much the chosen one is ahead; in nats where the method has no reward."""
        chosen, rejected = (one.nats if one.total is None else one.total for one in self.rewards)
        return chosen - rejected

    def words(self) -> str:
        """Return whether the run agrees with people, and by how much."""
        agrees = "agrees with people" if self.margin > 0 else "disagrees with people"
        if self.margin == 0:
            return f"{self.run} finds both answers equally good (margin 0)."
        if self.rewards[0].total is None:
            unit = f"by {abs(self.margin):.1f} nats"
        else:
            sure = 1 / (1 + math.exp(-min(50.0, abs(self.margin))))
            unit = f"by a reward of {abs(self.margin):.2f}, which makes it {100 * sure:.0f} % sure"
        ahead = "chosen" if self.margin > 0 else "rejected"
        return f"{self.run} {agrees}: it puts the {ahead} answer ahead {unit}."


def offered(store: Store, most: int = OFFERED) -> list[tuple[str, str]]:
    """Return (split and question on one line, id) of comparisons with a preferred answer.

    Held-out ones come first, on which no run was trained, then the rest; the newest first.
    """
    ahead = _preferred(store)
    frame = store.frame("comparisons")
    if not ahead or not len(frame):
        return []
    frame = frame[frame["comparison"].isin(list(ahead))]
    clusters = settled(store.frame("prompts")).set_index("prompt")["cluster"]
    frame = frame[frame["prompt"].isin(clusters.index)]
    frame = frame.assign(split=[split_of(c) for c in clusters.reindex(frame["prompt"])])
    frame = frame.assign(trained=frame["split"] == "train")
    order = ["trained", "created_at", "comparison"]
    frame = frame.sort_values(order, ascending=[True, False, True]).head(most)
    asked = questions(store, list(dict.fromkeys(frame["prompt"])))
    rows = zip(frame["comparison"], frame["prompt"], frame["split"], strict=True)
    return [(_label(split, asked.get(prompt, "")), key) for key, prompt, split in rows]


def _label(split: str, asked: str) -> str:
    name = "trained on" if split == "train" else split.replace("_", "-")
    return f"{name} · {brief(asked, LABEL_CHARS)}"


def _preferred(store: Store) -> set[str]:
    """Return the comparisons with more votes for one answer than for the other."""
    votes = store.frame("votes")
    votes = votes[votes["verdict"].isin(JUDGING)]
    counts = Counter(zip(votes["comparison"], votes["verdict"], strict=True))
    return {key for key, _ in counts if counts[key, "a"] != counts[key, "b"]}


def said_of(store: Store, comparison: str) -> Said:
    """Return what people said of a comparison.

    Raises:
        NotFound: there is no such comparison, or a text of it is gone.
        BadInput: nobody, or as many as the other way, preferred one of its answers.
    """
    row = store.get(Comparison, comparison)
    prompt = None if row is None else store.get(Prompt, row.prompt)
    if row is None or prompt is None:
        raise NotFound(f"There is no comparison {comparison[:80]!r}; choose another.")
    votes = store.frame("votes")
    counts = Counter(votes[votes["comparison"] == comparison]["verdict"])
    if counts["a"] == counts["b"]:
        raise BadInput(
            f"No answer of {comparison} is preferred ({counts['a']} votes for each): choose a "
            "comparison with more votes for one of its answers."
        )
    order = (row.a, row.b) if counts["a"] > counts["b"] else (row.b, row.a)
    found = store.found(Response, order)
    texts = store.texts(one.text for one in found.values())
    both = [found[key] for key in order if key in found and found[key].text in texts]
    if len(both) < 2:
        raise NotFound(f"Comparison {comparison} misses an answer: its text was erased.")
    return Said(
        comparison=comparison,
        messages=tuple(store.messages(prompt)),
        texts=(texts[both[0].text], texts[both[1].text]),
        finished=(both[0].finished is not False, both[1].finished is not False),
        votes=(max(counts["a"], counts["b"]), min(counts["a"], counts["b"])),
        others=sum(counts.values()) - counts["a"] - counts["b"],
    )


def seen_by(workspace: Any, run: str | None, comparison: str) -> Seen:
    """Return what a run thinks of a comparison's answers now.

    Raises:
        BadInput: no run was chosen.
        NotFound, Busy: as `implicit.reward`, and as `said_of`.
    """
    if not run:
        raise BadInput("No run was chosen: choose one above, whose opinion is asked.")
    said = said_of(workspace.store, comparison)
    chosen, rejected = (
        implicit.reward(workspace, run, said.messages, text, finished=finished)
        for text, finished in zip(said.texts, said.finished, strict=True)
    )
    return Seen(said, run, (chosen, rejected))
