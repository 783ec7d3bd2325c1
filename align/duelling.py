"""A duel: the model before and after a run, judged blind on prompts that no run trains on.

Both answer each duel prompt with the same seed and settings. Their answers are ordinary comparisons
for the label screen, asked before anything else, where nobody can tell which is which; what is
counted comes from the votes as they are now. Its prompts are in the split "duel" for ever, so these
votes judge later runs too and never train one. Knows no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from align import runs
from align.answering import answer_seed
from align.wire import GenerateRequest, SamplingSettings
from feedback.assignments import skipped_items
from feedback.duels import Outcome, outcome
from feedback.frozen import split_of
from feedback.items import NewResponse, add_comparisons, add_responses
from feedback.live import excluded_ids, live_feedback
from feedback.settling import settled
from storage.errors import BadInput
from storage.records import DUEL, JUDGE, Prompt, digest

if TYPE_CHECKING:
    from align.workspace import Workspace
    from storage.store import Store

BASE = "base"
PROMPTS = 30  # Choice: a win rate of 80 % is decided after about 20 prompts (benchmarks/duels.py)
AT_ONCE = 8  # prompts answered before they are stored. Choice: a batch fills two cores with 16 rows

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Duel:
    """Which two models; `against` is the one before."""

    run: str
    against: str = BASE  # or the id of another run of the same base

    @property
    def source(self) -> str:
        """Return what the duel's comparisons have as their source."""
        return f"{DUEL}{self.run}:{self.against}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a duel stands."""

    prompts: int  # both models have answered them
    identical: int  # with the same text: a tie that nobody has to judge
    judged: int
    outcome: Outcome

    @property
    def waiting(self) -> int:
        return self.prompts - self.identical - self.judged

    def as_json(self) -> dict[str, Any]:
        counts = {"prompts": self.prompts, "identical": self.identical, "judged": self.judged}
        return {**counts, "waiting": self.waiting, **self.outcome.as_json()}


def check(workspace: Workspace, duel: Duel) -> None:
    """Refuse a duel between models that cannot be compared.

    Raises:
        BadInput: a run against itself, or runs of different bases.
        NotFound: no such run, or its adapter is not there.
    """
    if duel.run == duel.against:
        raise BadInput(f"{duel.run} against itself says nothing: name another run, or leave it out")
    for run in _adapters(duel):
        runs.load_adapter(workspace.data, run)
    bases = {runs.model_of(workspace.data, run).fingerprint for run in _adapters(duel)}
    if len(bases) > 1:
        raise BadInput(f"{duel.run} and {duel.against} were trained on different bases")


def _adapters(duel: Duel) -> list[str]:
    return [run for run in (duel.run, duel.against) if run != BASE]


def begin(
    workspace: Workspace,
    duel: Duel,
    progress: Progress,
    *,
    prompts: int = PROMPTS,
    settings: SamplingSettings = SamplingSettings(),  # noqa: B008  (frozen)
    seed: int = 0,
    cancelled: Callable[[], bool] = lambda: False,
) -> int:
    """Let both models answer duel prompts until so many are there; return how many are.

    What is there already is not answered again; what is finished is kept when it is stopped.

    Raises:
        BadInput: there are no duel prompts, or the models cannot be compared.
        Busy, NotFound, Unsupported, WorkerFailed: as `WorkerClient.generate`.
    """
    if prompts < 1:
        raise BadInput(f"prompts is {prompts}: a duel needs at least 1")
    check(workspace, duel)
    there = set(compared_in(workspace.store, duel)["prompt"])
    free = [id for id in duel_prompts(workspace.store) if id not in there]
    if not free and not there:
        raise BadInput(
            "there are no duel prompts yet: a tenth of all prompts is kept for duels, so import or "
            "generate answers to more prompts first"
        )
    wanted = free[: max(0, prompts - len(there))]
    for start in range(0, len(wanted), AT_ONCE):
        if cancelled():
            break
        part = wanted[start : start + AT_ONCE]
        _answer(workspace, duel, part, settings, seed, cancelled)
        progress(f"{min(start + AT_ONCE, len(wanted))} of {len(wanted)} prompts answered twice")
    return len(compared_in(workspace.store, duel))


def duel_prompts(store: Store) -> list[str]:
    """Return the prompts kept for duels, oldest first, without those left out or repeated."""
    frame = settled(store.frame("prompts")).sort_values(["created_at", "prompt"])
    out = {*excluded_ids(store).get("prompt", ()), *skipped_items(store)}
    return [
        id
        for id, cluster in zip(frame["prompt"], frame["cluster"], strict=True)
        if split_of(cluster) == "duel" and id not in out
    ]


def _answer(
    workspace: Workspace,
    duel: Duel,
    prompts: Sequence[str],
    settings: SamplingSettings,
    seed: int,
    cancelled: Callable[[], bool],
) -> None:
    """Ask both models and store their answers and comparisons; of a stopped job whole ones only."""
    store, base = workspace.store, runs.model_of(workspace.data, duel.run)
    rows = {row.id: row for row in store.rows(Prompt, id=list(prompts))}
    sides = (duel.against, duel.run)
    folders = [None if run == BASE else runs.load_adapter(workspace.data, run) for run in sides]
    seeds = [answer_seed(seed, prompt, 0) for prompt in prompts]
    requests = [
        GenerateRequest(
            store.messages(rows[prompt]), one, **dataclasses.asdict(settings), adapter=folder
        )
        for prompt, one in zip(prompts, seeds, strict=True)
        for folder in folders
    ]
    answers = workspace.client.generate(requests, model=base, cancelled=cancelled)
    if len(answers) < len(requests):
        return  # stopped: this part is asked again
    made = {**dataclasses.asdict(settings), "fingerprint": base.fingerprint}
    new = [
        NewResponse(
            prompts[i // 2], answer.text, base.name, "" if sides[i % 2] == BASE else sides[i % 2],
            made, seeds[i // 2], answer.finished, "generated",
        )
        for i, answer in enumerate(answers)
    ]  # fmt: skip
    stored = add_responses(store, new)
    pairs = list(zip(stored[0::2], stored[1::2], strict=True))
    ids = ["d_" + digest(duel.source, prompt, length=20) for prompt in prompts]
    add_comparisons(store, pairs, duel.source, ids)


def compared_in(store: Store, duel: Duel) -> pd.DataFrame:
    """Return the duel's comparisons: "a" is the model before, "b" the one after."""
    frame = store.frame("comparisons")
    return frame[frame["source"] == duel.source]


def standing(store: Store, duel: Duel) -> Standing:
    """Return how a duel stands, by the votes of people that count now."""
    votes = live_feedback(store).votes
    return standing_of(compared_in(store, duel), votes[votes["source"] != JUDGE])


def standing_of(compared: pd.DataFrame, votes: pd.DataFrame) -> Standing:
    """Return how the comparisons of a duel stand by these votes.

    Args:
        compared: as `compared_in` returns them.
        votes: comparison, verdict.
    """
    compared = compared.set_index("comparison")
    votes = votes[votes["comparison"].isin(compared.index) & (votes["verdict"] != "skip")]
    points = votes["verdict"].map({"a": 0.0, "b": 1.0}).astype(float).fillna(0.5)
    scores = points.groupby(votes["comparison"]).mean()
    same = compared["text_a"] == compared["text_b"]
    empty = (compared["chars_a"] == 0) ^ (compared["chars_b"] == 0)  # nobody is asked about those
    scores = pd.concat([scores, (compared["chars_a"][empty] == 0).astype(float)])
    counted = compared.loc[same | compared.index.isin(scores.index)]
    before, after = counted["chars_a"], counted["chars_b"]
    longer = ((after - before) / (after + before).clip(lower=1)).tolist()
    found = outcome(scores.reindex(counted.index).fillna(0.5).tolist(), longer)
    return Standing(len(compared), int(same.sum()), int((~same[counted.index]).sum()), found)
