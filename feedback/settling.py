"""Find the near-duplicates of what a big import brought, after it: docs/decisions/0026.

A prompt is settled when it has its near-duplicate cluster. Until then it belongs to no split: it is
neither trained on nor does it judge. So whoever freezes or trains settles first, whoever offers
prompts leaves out those that are not settled, and `split_of` refuses them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd

from feedback.again import again
from feedback.clusters import adding_prompts, prompts_locked
from storage.errors import Busy, UserError
from storage.records import Prompt
from storage.store import Store

# Choice: prompts under one lock, some 0.2 s, for which somebody may wait who adds a prompt.
AT_ONCE = 1_000
REST = 1.0  # seconds of rest per second of work, beside others. Choice: half of a core at most
LOOK_SECONDS = 5.0  # between two looks whether an import left something. Choice


def settle(
    store: Store,
    *,
    rest: Callable[[float], bool] | None = None,
    progress: Callable[[str], None] | None = None,
) -> int:
    """Give every prompt that has none its cluster, oldest first; return how many got one here.

    What is settled is stored in between, so a kill costs nothing, and two that settle at the same
    time share the work. Waits for an import that goes on, unless it rests.

    Args:
        rest: waits for so many seconds between two parts; True ends it early.
        progress: gets a line of text now and then.

    Raises:
        Busy: it rests, and somebody adds prompts now.
    """
    if rest is not None:
        with adding_prompts(store, wait=False):
            pass  # nobody does: else all that waits would be read every few seconds for nothing
    waiting = store.frame("unsettled")["prompt"].tolist()
    settled = 0
    for start in range(0, len(waiting), AT_ONCE):
        last = start + AT_ONCE >= len(waiting)
        began = time.monotonic()
        with prompts_locked(store, save=last, wait=rest is None) as index:
            found = index.settle(waiting[start : start + AT_ONCE])
            store.add(found)
        settled += len(found)
        if progress:
            progress(f"{min(start + AT_ONCE, len(waiting)):,} of {len(waiting):,} prompts compared")
        if rest and rest(REST * (time.monotonic() - began)):
            break
    return settled


def settled(prompts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the frame of prompts that have their cluster."""
    return prompts[prompts["cluster"] != ""]


@contextmanager
def settling(store: Store) -> Iterator[None]:
    """Settle in the background what imports leave, for the time of a `with` block."""
    seen: tuple[int, int] | None = None

    def look(rest: Callable[[float], bool]) -> None:
        nonlocal seen
        now = store.changes(Prompt)
        if now == seen or _settled_quietly(store, rest):
            seen = now

    with again("settling", look, LOOK_SECONDS):
        yield


def _settled_quietly(store: Store, rest: Callable[[float], bool]) -> bool:
    """Settle; return False where that was not possible just now, for a reason that may pass."""
    try:
        settle(store, rest=rest)
    except Busy:  # an import, which leaves more
        return False
    except UserError as error:
        print(f"near-duplicates wait: {error}", file=sys.stderr)
        return False
    return True
