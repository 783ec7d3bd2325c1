"""Ask the model worker how likely a model finds the answers that are compared, and keep it.

The checks of the feedback read what is kept (`storage.records.Score`), and so does the queue, which
puts the comparisons first on which the policy's margin is smallest. What was scored once is not
scored again, and is stored in batches: a scoring that was cut off goes on where it was. Knows no
torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from align import runs
from align.answering import base_of
from align.models import EMBEDDED, Model, find_model
from align.wire import ScoreRequest
from feedback.checks.scores import base_model
from storage.errors import UserError
from storage.records import Prompt, Response, Score

if TYPE_CHECKING:
    from align.client import WorkerClient
    from storage.store import Store

BATCH = 32  # Choice: responses per worker job; on two cores about half a minute of work is at stake


def score_compared(
    store: Store,
    client: WorkerClient,
    *,
    model: str = EMBEDDED,
    adapter: str = "",
    limit: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, str | int]:
    """Score the compared responses that this model has not scored, judged ones first; store it.

    Args:
        adapter: id of the run whose adapter scores, "" for the base itself.
        limit: how many responses at most.
        progress: gets a line of text after each batch.

    Returns:
        {"model", "adapter", "scored", "left"}: how many now, and how many still have no score.

    Raises:
        BadInput, Busy, NotFound, Unsupported, WorkerFailed: as `WorkerClient.score`.
    """
    base = base_of(store, model, adapter)
    open_ = unscored(store, base.name, adapter)
    wanted = open_ if limit is None else open_[:limit]
    done = 0
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        done += _score(store, client, base, adapter, part)
        progress(f"{done} of {len(wanted)} answers scored")
    return {"model": base.name, "adapter": adapter, "scored": done, "left": len(open_) - done}


def usual_model(store: Store) -> str:
    """Return the model whose scores the checks ask for: the one that answered most of what is
    compared, where it is on this machine; else the embedded one."""
    name = base_model(store.frame("compared"))
    try:
        return find_model(name or EMBEDDED).name
    except UserError:
        return EMBEDDED


def unscored(store: Store, model: str, adapter: str) -> list[str]:
    """Return the compared responses without a score, both of a pair together.

    First those of judged comparisons, for the checks; then those of comparisons that nobody judged
    and that the queue may show, for its order, the newest first: they are served for longest.
    """
    pairs = store.frame("comparisons")
    waiting = store.frame("open_comparisons", labeler="", lease_minutes=0, limit=len(pairs))
    judged = pairs["votes"] > 0
    open_ = pairs["comparison"].isin(waiting["comparison"]) & ~judged
    scores = store.frame("scores")
    mine = scores[(scores["model"] == model) & (scores["adapter"] == adapter)]
    have = set(mine["response"])
    both = [
        id
        for some in (pairs[judged], pairs[open_][::-1])
        for pair in zip(some["a"], some["b"], strict=True)
        for id in pair
    ]
    return [id for id in dict.fromkeys(both) if id not in have]


def _score(
    store: Store, client: WorkerClient, base: Model, adapter: str, ids: Sequence[str]
) -> int:
    """Score some responses and store it; return how many."""
    responses = store.rows(Response, id=list(ids))
    prompts = {p.id: p.text for p in store.rows(Prompt, id=list({r.prompt for r in responses}))}
    texts = store.texts([*prompts.values(), *(r.text for r in responses)])
    folder = runs.run_folder(store.data, adapter) if adapter else None
    requests = [
        ScoreRequest(
            json.loads(texts[prompts[r.prompt]]), texts[r.text], folder, r.finished is not False
        )
        for r in responses
    ]
    scores = client.score(requests, model=base)
    rows = [
        Score(
            Score.id_of(response.id, base.name, adapter),
            response.id,
            base.name,
            adapter,
            score.logprob,
            score.tokens,
        )
        for response, score in zip(responses, scores, strict=True)
    ]
    store.add(rows)
    return len(rows)
