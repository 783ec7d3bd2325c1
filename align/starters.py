"""Make enough to judge for simulated labelers, from the starter prompts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from math import ceil

from align.answering import paired
from align.generation import SamplingSettings, generate_comparisons, starter_prompts
from align.models import EMBEDDED
from align.workspace import Workspace
from feedback.frozen import SPLITS, split_of
from feedback.turns import room
from storage.records import Message, Prompt
from storage.store import Store

Progress = Callable[[str], None]

MAX_LAPS = 24  # Choice: 24 laps over 250 prompts are 6,000 comparisons; then it gives up


def fill(
    workspace: Workspace,
    votes: int,
    *,
    labelers: int,
    thumbs: bool,
    faulty: Sequence[str] = (),
    seed: int,
    progress: Progress,
    prompts: Sequence[Sequence[Message]] = (),
    model: str = EMBEDDED,
    n: int = 2,
    settings: SamplingSettings = SamplingSettings(),  # noqa: B008  (frozen)
) -> None:
    """Generate answers to prompts until `votes` simulated verdicts have room.

    Without any it takes all starter prompts. With more than two answers to a prompt each is
    compared with two others. The prompts with the fewest comparisons come first, each time with
    another seed. Gives up after `MAX_LAPS` laps over all prompts; what is still missing then,
    `simulate_votes` says.
    """
    prompts = prompts or starter_prompts()
    people = labelers + len(faulty)
    # verdicts on the answers to one prompt, or on their comparisons
    per_prompt = people * (n if thumbs else len(paired(range(n), ring=True)))
    for _ in range(MAX_LAPS):
        missing = votes - room(workspace.store, labelers, thumbs, faulty)
        if missing <= 0:
            return
        lap, fewest = least_compared(workspace.store, prompts)
        part = fewest[: ceil(missing / per_prompt)]
        progress(f"answering {len(part)} prompts, so that there is something to judge\n")
        generate_comparisons(
            workspace.store,
            workspace.client,
            part,
            model=model,
            n=n,
            ring=True,
            settings=settings,
            seed=seed + lap,
            source=f"generated:{uuid.uuid4().hex[:12]}",
            progress=progress,
        )


def by_split(prompts: Sequence[Sequence[Message]]) -> dict[str, list[Sequence[Message]]]:
    """Return prompts by the split that they belong to for ever, each in the order given."""
    found: dict[str, list[Sequence[Message]]] = {name: [] for name in SPLITS}
    for messages in prompts:
        found[split_of(Prompt.id_of(messages))].append(messages)
    return found


def least_compared(
    store: Store, prompts: Sequence[Sequence[Message]]
) -> tuple[int, list[Sequence[Message]]]:
    """Return the smallest number of comparisons that a prompt has, and the prompts that have it."""
    frame = store.frame("prompts")
    known = dict(zip(frame["prompt"], frame["comparisons"], strict=True))
    counts = [int(known.get(Prompt.id_of(messages), 0)) for messages in prompts]
    least = min(counts)
    return least, [p for p, count in zip(prompts, counts, strict=True) if count == least]
