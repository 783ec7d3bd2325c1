"""Generate what is to be judged; keep it in stock: a thread that answers Hone's starter prompts.

While the folder holds nothing but starter comparisons it goes on to the last starter prompt; once
people bring their own, it only sees to it that the stock does not run dry. After a promotion the
promoted adapter answers them anew. Knows no torch.
"""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from align.answering import generate_comparisons, starter_prompts
from align.models import EMBEDDED
from align.wire import SamplingSettings
from feedback.ages import beginnings, promotions, sampler
from storage.errors import Busy, UserError
from storage.records import Message, Prompt

if TYPE_CHECKING:
    from align.client import WorkerClient
    from storage.store import Store

__all__ = ["Replenisher", "SamplingSettings", "generate_comparisons", "starter_prompts"]

STOCK = 20  # comparisons that nobody has judged; Choice: some ten minutes of judging
FIRST_PROMPTS = 2  # Choice: a small batch is written fast, and short answers are soon complete
BRIEF = (
    "Summarize in one sentence",
    "Rewrite",
    "Make this",
    "Fix",
    "Name",
    "How many",
    "Which",
    "Who",
)
"""How prompts begin that ask for a short answer, the shortest first."""
SECOND_PROMPTS = 12  # Choice: half the rows take two thirds of the time, until there is a stock
ROUND_PROMPTS = 48  # Choice: as many rows again as the worker holds at a time
POLL_SECONDS = 3.0  # Choice: how soon it notices that the stock fell or a training ended
RETRY_SECONDS = 30.0  # Choice: after an error that someone has to mend
SOURCE = "generated:starter"


def in_order(prompts: Sequence[list[Message]]) -> list[list[Message]]:
    """Return prompts in one fixed mixed order, but for the first two batches: those ask for short
    answers, so that nobody waits long for something to judge."""
    mixed = list(prompts)
    random.Random(0).shuffle(mixed)
    brief = [messages for messages in mixed if messages[-1]["content"].startswith(BRIEF)]
    brief.sort(key=lambda messages: not messages[-1]["content"].startswith(BRIEF[0]))
    first = brief[: FIRST_PROMPTS + SECOND_PROMPTS]
    return first + [messages for messages in mixed if messages not in first]


class Replenisher:
    """The background thread; `start` it once, `wake` it when the stock may be low, `stop` it."""

    def __init__(self, store: Store, client: WorkerClient, *, model: str = EMBEDDED) -> None:
        self._store, self._client, self._model = store, client, model
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._made, self._of = 0, 0
        self._running, self._message = False, ""
        self._tried: set[tuple[str, str]] = set()  # (adapter, prompt) without two different answers

    def start(self) -> None:
        """Start the thread if it does not run yet."""
        self._stop.clear()
        self.wake()

    def wake(self) -> None:
        """Look at once whether something is to be made; starts the thread where it does not run.

        Does nothing after `stop`.
        """
        with self._lock:
            if self._stop.is_set():
                return
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, name="replenisher", daemon=True)
                self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._stop.set()
        self._wake.set()
        thread = self._thread
        if thread is not None:
            self._client.leave()  # a job under way ends with it
            thread.join()

    def progress(self) -> dict[str, Any]:
        """Return how many starter prompts have answers, of how many, and what it does now."""
        return {
            "made": self._made,
            "of": self._of,
            "running": self._running,
            "message": self._message,
        }

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            wait = self._guarded_round()
            self._running = False
            if wait and not self._stop.is_set():
                self._wake.wait(wait)

    def _guarded_round(self) -> float:
        """Do one round; return the seconds to wait for the next. Errors become the message."""
        try:
            return self._round()
        except Busy as error:
            self._message = str(error)
            return POLL_SECONDS
        except UserError as error:
            self._message = str(error)
        except (OSError, RuntimeError) as error:
            traceback.print_exc()
            self._message = f"generating failed unexpectedly ({error}); the log has more"
        return 0.0 if self._stop.is_set() else RETRY_SECONDS

    def _round(self) -> float:
        if (sentence := self._client.busy) is not None:
            self._client.make_way()
            raise Busy(sentence)
        missing = self._missing()
        wanted = missing[: self._wanted(len(missing))]
        if not wanted:
            self._message = "" if missing else "every starter prompt has its answers"
            return POLL_SECONDS
        self._running, self._message = True, "writing answers to compare"
        self._answer(wanted)
        self._message = ""
        return 0.0

    def _answer(self, prompts: Sequence[Sequence[Message]]) -> None:
        run = sampler(self._store)
        generate_comparisons(
            self._store,
            self._client,
            prompts,
            model=self._model,
            adapter=run,
            seed=len(promotions(self._store)),
            source=SOURCE,
            cancelled=self._stop.is_set,
            background=True,
            progress=self._count,
        )
        self._tried.update((run, Prompt.id_of(messages)) for messages in prompts)

    def _count(self, line: str) -> None:
        self._missing()  # counts anew

    def _missing(self) -> list[list[Message]]:
        """Return the starter prompts without a comparison, in the order in which they are asked."""
        prompts = in_order(starter_prompts())
        frame, run = self._store.frame("comparisons"), sampler(self._store)
        if run:
            frame = frame[(frame["adapter_a"] == run) & (frame["adapter_b"] == run)]
        have = {*frame["prompt"], *(prompt for adapter, prompt in self._tried if adapter == run)}
        missing = [messages for messages in prompts if Prompt.id_of(messages) not in have]
        self._made, self._of = len(prompts) - len(missing), len(prompts)
        return missing

    def _wanted(self, missing: int) -> int:
        """Return how many prompts to answer now."""
        frame = self._store.frame("comparisons")
        if began := beginnings(self._store):
            frame = frame[frame["created_at"] >= began[-1]]
        if len(frame) == 0:
            return min(FIRST_PROMPTS, missing)
        only_ours = bool((frame["source"] == SOURCE).all())
        unjudged = int((frame["votes"] == 0).sum())
        most = SECOND_PROMPTS if len(frame) < STOCK else ROUND_PROMPTS
        return min(most, missing) if only_ours or unjudged < STOCK else 0
