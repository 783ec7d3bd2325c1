"""The web process's side of the model worker: starts it when needed, asks, restarts it when killed.

Knows no torch. Any thread may ask; a job that a killed worker left unfinished is asked once more.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from align import runs
from align.json_files import read_json
from align.manifest import MANIFEST
from align.models import EMBEDDED, Model, find_model
from align.wire import (
    GenerateRequest,
    Piece,
    Row,
    SamplingSettings,
    Score,
    ScoreRequest,
    TokenScores,
)
from align.worker_process import Gone, WorkerProcess
from storage import errors
from storage.errors import Busy, UserError
from storage.records import Message

__all__ = [
    "GenerateRequest",
    "Piece",
    "Row",
    "SamplingSettings",
    "Score",
    "ScoreRequest",
    "WorkerClient",
    "WorkerFailed",
]

WAY_SECONDS = 1.0  # Choice: how often a job under way looks whether a run wants the device


class WorkerFailed(UserError):
    """The worker died twice over one job."""

    status = 503


class WorkerClient:
    """Asks the model worker of one data folder."""

    def __init__(self, data: Path, *, precision: str = "auto") -> None:
        """Prepare; starts nothing yet.

        Args:
            precision: "auto", "fp32" or "bf16" (see `align.loaded`).
        """
        self.data = Path(data)
        self._precision = precision
        self._process: WorkerProcess | None = None
        self._starting = threading.Lock()
        self._jobs = itertools.count(1)

    @property
    def busy(self) -> str | None:
        """Return why the worker cannot be asked now, as a sentence, or None: it can."""
        going = runs.going_run(self.data)
        return None if going is None else runs.busy_sentence(going)

    @property
    def pid(self) -> int | None:
        """Return the worker's process id, None while there is none."""
        process = self._process
        return None if process is None or process.gone else process.child.pid

    def generate(
        self,
        requests: Sequence[GenerateRequest],
        on_row: Callable[[Row], None] | None = None,
        *,
        model: Model | str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        background: bool = False,
    ) -> list[Row]:
        """Return the answers in the order of the requests; `on_row` gets each when it has ended.

        Args:
            model: the base model; None takes the one the first adapter was trained on, else the
            default. cancelled: asked now and then; True ends the job early with the rows that are
            there. background: nobody waits for it: any other job goes first.

        Raises:
            Busy: a run trains.
            UserError: the model, an adapter or a prompt cannot be used.
            WorkerFailed: the worker was killed, twice.
        """
        rows: dict[int, Row] = {}
        plain = {i: _plain_generate(request) for i, request in enumerate(requests)}
        base = self._base(model, [request.adapter for request in requests])

        def message() -> Mapping[str, Any]:
            left = [(i, r) for i, r in plain.items() if i not in rows]
            return {"op": "generate", **base, "requests": left, "background": background}

        if requests:
            for answer in self._answers(message, cancelled):
                row = Row(**answer["row"])
                rows[row.index] = row
                if on_row is not None:
                    on_row(row)
        return [rows[i] for i in sorted(rows)]

    def stream(
        self,
        messages: Sequence[Message],
        adapters: Sequence[Path | None] = (None,),
        settings: SamplingSettings = SamplingSettings(),  # noqa: B008  (frozen)
        seed: int = 0,
        *,
        model: Model | str | None = None,
    ) -> Iterator[Piece]:
        """Yield how far each row has come: a row per adapter, all in one batch with one noise.

        Goes before generation that is under way. Closing the iterator ends the job.

        Args:
            adapters: run folders or adapter folders; None is the base itself.

        Raises:
            As `generate`.
        """
        asked = (settings.max_tokens, settings.temperature, settings.top_p)
        requests = [GenerateRequest(messages, seed, *asked, adapter) for adapter in adapters]
        return self.stream_each(requests, model=model)

    def stream_each(
        self, requests: Sequence[GenerateRequest], *, model: Model | str | None = None
    ) -> Iterator[Piece]:
        """Yield how far each row has come: a row per request, all in one batch.

        The requests may have conversations, settings and adapters of their own, on one base. Goes
        before generation that is under way. Closing the iterator ends the job. Raises as
        `generate`.
        """
        message = {
            "op": "stream",
            **self._base(model, [request.adapter for request in requests]),
            "requests": [_plain_generate(request) for request in requests],
        }
        for answer in self._answers(lambda: message):
            yield Piece(**answer["piece"])

    def score(
        self, requests: Sequence[ScoreRequest], *, model: Model | str | None = None
    ) -> list[Score]:
        """Return each response's log-probability, in order. Raises as `generate`."""
        scores: dict[int, Score] = {}
        plain = [_plain_score(request) for request in requests]
        base = self._base(model, [request.adapter for request in requests])

        def message() -> Mapping[str, Any]:
            left = [(i, r) for i, r in enumerate(plain) if i not in scores]
            return {"op": "score", **base, "requests": left}

        if requests:
            for answer in self._answers(message):
                score = Score(**answer["score"])
                scores[score.index] = score
        return [scores[i] for i in sorted(scores)]

    def token_scores(
        self,
        messages: Sequence[Message],
        response: str,
        adapters: Sequence[Path | None],
        *,
        finished: bool = True,
        model: Model | str | None = None,
    ) -> TokenScores:
        """Return a response token by token under each adapter (None: the base itself).

        Goes before generation that is under way. Raises as `generate`.
        """
        folders = [_adapter_folder(adapter) for adapter in adapters]
        request = ScoreRequest(messages, response, None, finished)
        message = {
            "op": "tokens",
            **self._base(model, folders),
            "request": _plain_score(request),
            "adapters": folders,
        }
        (answer,) = self._answers(lambda: message)
        return TokenScores(**answer["tokens"])

    def leave(self) -> None:
        """End the worker and free the device; jobs under way get Busy. The next job starts one."""
        with self._starting:
            if self._process is not None:
                self._process.leave()
                self._process = None

    def make_way(self) -> None:
        """Leave if a run waits for the device or has it."""
        if self._process is not None and self.busy is not None:
            self.leave()

    def _base(self, model: Model | str | None, adapters: Sequence[Path | None]) -> dict[str, Any]:
        """Return which base model a job is for."""
        if model is None:
            first = next((adapter for adapter in adapters if adapter is not None), None)
            model = EMBEDDED if first is None else _trained_on(first)
        found = model if isinstance(model, Model) else find_model(model)
        return {"model": str(found.path), "precision": self._precision}

    def _answers(
        self,
        message: Callable[[], Mapping[str, Any]],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Mapping[str, Any]]:
        """Yield a job's answers. A killed worker's job is asked once more, then given up."""
        for attempt in (1, 2):
            process = self._ready()
            try:
                yield from self._ask(process, message(), cancelled)
            except Gone:
                if process.left:
                    why = self.busy or "the model worker was sent away; try again"
                    raise Busy(f"{why}.") from None
                if attempt == 2:
                    raise WorkerFailed(_given_up(process)) from None
            else:
                return

    def _ask(
        self, process: WorkerProcess, message: Mapping[str, Any], cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        job = next(self._jobs)
        answers = process.ask(job, message)
        ended = False
        looked = time.monotonic()
        try:
            while True:
                try:
                    answer = answers.get(timeout=0.5)
                except queue.Empty:
                    answer = {}
                if time.monotonic() - looked > WAY_SECONDS:
                    self.make_way()
                    looked = time.monotonic()
                if answer is None:
                    ended = True
                    raise Gone
                if "error" in answer or "done" in answer:
                    ended = True
                    _raise_error(answer)
                    return
                if answer:
                    yield answer
                if cancelled():
                    return
        finally:
            process.forget(job)
            if not ended:
                process.send({"job": job, "op": "cancel"})

    def _ready(self) -> WorkerProcess:
        """Return a living worker, started now if there was none.

        Raises:
            Busy: a run trains.
        """
        with self._starting:
            if (sentence := self.busy) is not None:
                raise Busy(f"{sentence}.")
            if self._process is None or self._process.gone:
                self._process = WorkerProcess((self.data / "DEVICE.lock").resolve())
            return self._process


def _raise_error(answer: Mapping[str, Any]) -> None:
    """Raise what the worker refused, as the error it was there."""
    if "error" not in answer:
        return
    kind = getattr(errors, answer["kind"], None)
    if isinstance(kind, type) and issubclass(kind, UserError):
        raise kind(answer["error"])
    raise RuntimeError(f"the model worker met a bug: {answer['error']} (its log has the traceback)")


def _given_up(process: WorkerProcess) -> str:
    return (
        f"the model worker died twice over the same job ({process.death()}): the machine is "
        "probably out of memory; take a smaller model, or fewer and shorter answers at a time."
    )


def _plain_generate(request: GenerateRequest) -> dict[str, Any]:
    return {
        "messages": [dict(message) for message in request.messages],
        "seed": request.seed,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "adapter": _adapter_folder(request.adapter),
    }


def _plain_score(request: ScoreRequest) -> dict[str, Any]:
    return {
        "messages": [dict(message) for message in request.messages],
        "response": request.response,
        "adapter": _adapter_folder(request.adapter),
        "finished": request.finished,
    }


def _adapter_folder(folder: Path | None) -> Path | None:
    """Return the adapter's own folder, also where its run's folder was given."""
    if folder is None:
        return None
    inner = Path(folder) / "adapter"
    return (inner if (inner / MANIFEST).is_file() else Path(folder)).resolve()


def _trained_on(folder: Path) -> Model | str:
    """Return the base model of an adapter: from its run's config, else the default.

    Raises:
        BadInput: the model's files are other ones than those the run was made with.
    """
    adapter = _adapter_folder(folder)
    assert adapter is not None
    config = read_json(adapter.parent / "config.json")
    return runs.model_named(config, adapter.parent.name) if "model" in config else EMBEDDED
