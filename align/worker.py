"""The model worker: a process that generates, streams and scores; owns torch and the device.

`python -m align.worker FD DEVICE_LOCK`: JSON lines (see `align/wire.py`) over the socket FD. It
takes the lock when it first needs a model and keeps it until it ends. It ends when the other side
of the socket is closed, even in the middle of a step: so it never outlives the web process, and
leaves whenever told. An interactive job goes before a background one: it runs between two decode
steps of it.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, PriorityQueue
from typing import TYPE_CHECKING, Any

from align.locks import FileLock
from align.uncollected import uncollected
from align.wire import (
    GenerateRequest,
    Piece,
    Row,
    Score,
    TokenScores,
    read_generate,
    read_score,
    to_line,
)
from storage.errors import Busy, Unsupported, UserError

if TYPE_CHECKING:
    from align.decoding import DecodeRow
    from align.loaded import LoadedModel

BATCH_TOKENS = 24_576  # Choice: tokens in flight; 560 MB of cache for SmolLM2-135M
PRIORITY = {"stream": 0, "tokens": 0, "score": 1, "generate": 2}  # lower goes first
BACKGROUND = 3  # of a generate job that nobody waits for

Message = Mapping[str, Any]


def _priority(message: Message) -> int:
    return BACKGROUND if message.get("background") else PRIORITY[message["op"]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a generate job, and its prompt as the model reads it."""

    index: int
    request: GenerateRequest
    ids: Sequence[int]  # the prompt's tokens
    cut: int  # tokens that fell off its beginning


class Channel:
    """The socket: jobs come in through a thread, answers go out from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._jobs: PriorityQueue[tuple[int, int, Message]] = PriorityQueue()
        self._order = itertools.count()
        self._sending = threading.Lock()
        self.cancelled: set[int] = set()
        threading.Thread(target=self._read, name="reader", daemon=True).start()

    def _read(self) -> None:
        with self._sock.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if message["op"] == "cancel":
                    self.cancelled.add(message["job"])
                else:
                    self._jobs.put((_priority(message), next(self._order), message))
        os._exit(0)  # the other side is gone: leave at once, also in the middle of a step

    def send(self, message: Message) -> None:
        with self._sending:
            try:
                self._sock.sendall(to_line(message))
            except OSError:
                os._exit(0)

    def next_job(self) -> Message:
        """Wait for the next job."""
        return self._jobs.get()[2]

    def urgent_job(self, than: int) -> Message | None:
        """Return a waiting job that goes before priority `than`, if there is one."""
        try:
            first = self._jobs.get_nowait()
        except Empty:
            return None
        if first[0] < than:
            return first[2]
        self._jobs.put(first)
        return None


class Worker:
    """Runs jobs one at a time, except that an urgent one runs between the steps of another."""

    def __init__(self, channel: Channel, device_lock: Path) -> None:
        self._channel = channel
        self._device = FileLock(device_lock)
        self._model: LoadedModel | None = None
        self._model_key: tuple[str, str] | None = None
        self._operations = {
            "generate": self._generate,
            "stream": self._stream,
            "score": self._score,
            "tokens": self._tokens,
        }

    def run(self) -> None:
        while True:
            self.do(self._channel.next_job())

    def do(self, message: Message) -> None:
        """Do one job to its end: its answers, then done or its error."""
        job, priority = message["job"], _priority(message)
        try:
            for answer in self._operations[message["op"]](message):
                if answer:
                    self._channel.send({"job": job, **answer})
                while urgent := self._channel.urgent_job(priority):
                    self.do(urgent)
                if job in self._channel.cancelled:
                    break
        except UserError as error:
            self._fail(job, type(error).__name__, str(error))
        except Exception as error:  # noqa: BLE001  (a bug in one job: told, and the next one goes on)
            traceback.print_exc()
            if (sentence := _out_of_memory(error)) is not None:
                self._fail(job, Unsupported.__name__, sentence)
            else:
                self._fail(job, "bug", "".join(traceback.format_exception_only(error)).strip())
        else:
            self._channel.send({"job": job, "done": True})
        self._channel.cancelled.discard(job)

    def _fail(self, job: int, kind: str, sentence: str) -> None:
        self._channel.send({"job": job, "error": sentence, "kind": kind})

    def _load(self, message: Message) -> LoadedModel:
        """Return the model that the job names, loaded if it was not; the device is ours then."""
        if not self._device.acquire():
            raise Busy(
                "the device is in use by another process of this data folder (a training?): "
                "wait until it has finished, or cancel it."
            )
        key = (message["model"], message["precision"])
        if self._model is None or self._model_key != key:
            with uncollected():
                from align.loaded import LoadedModel
            self._model = None  # first, so that two never stand in memory side by side
            self._model = LoadedModel(Path(key[0]), key[1])
            self._model_key = key
        return self._model

    def _generate(self, message: Message) -> Iterator[Message]:
        """Answer requests: each row is sent when it has ended, in any order."""
        model = self._load(message)
        requests = {i: read_generate(r) for i, r in message["requests"]}
        asked: list[Asked] = []
        for index, request in requests.items():
            ids, cut = model.prompt_ids(request.messages, request.max_tokens)
            asked.append(Asked(index, request, ids, cut))
            if index % 100 == 99:
                yield {}
        for group in _groups(asked):
            yield from self._generate_group(model, group)

    def _generate_group(self, model: LoadedModel, group: Sequence[Asked]) -> Iterator[Message]:
        """Answer requests under one adapter."""
        from align.decoding import WIDTH, decode

        folder = group[0].request.adapter
        adapter = model.use_adapter(folder)
        rows = [_decode_row(model, one.ids, one.request, adapter) for one in group]
        longest = max(len(row.ids) + row.max_tokens for row in rows)
        width = max(1, min(WIDTH, BATCH_TOKENS // longest))
        tokens: list[list[int]] = [[] for _ in rows]
        for step in decode(model, rows, width):
            for new in step:
                if not new.stopped:
                    tokens[new.row].append(new.token)
                if new.last:
                    text = model.text_of(tokens[new.row])
                    count = len(tokens[new.row]) + new.stopped
                    one = group[new.row]
                    yield {"row": Row(one.index, text, count, new.stopped, one.cut)}
            yield {}
            model.use_adapter(folder)  # an urgent job's own may have taken its place

    def _stream(self, message: Message) -> Iterator[Message]:
        """Answer requests side by side in one batch, each under its own adapter; those whose
        adapters cannot be on the model together one after the other."""
        model = self._load(message)
        requests = [read_generate(content) for content in message["requests"]]
        for numbers in model.together([one.adapter for one in requests]):
            yield from self._stream_group(model, [(n, requests[n]) for n in numbers])

    def _stream_group(
        self, model: LoadedModel, group: Sequence[tuple[int, GenerateRequest]]
    ) -> Iterator[Message]:
        from align.decoding import decode

        asked = [model.prompt_ids(one.messages, one.max_tokens) for _, one in group]
        names = [model.use_adapter(one.adapter) for _, one in group]
        rows = [
            _decode_row(model, ids, one, name)
            for (ids, _), (_, one), name in zip(asked, group, names, strict=True)
        ]
        tokens: list[list[int]] = [[] for _ in rows]
        for step in decode(model, rows):
            for new in step:
                if not new.stopped:
                    tokens[new.row].append(new.token)
                text = model.text_of(tokens[new.row])
                shown = text if new.last else text.rstrip("\ufffd")  # half a character: wait for it
                count = len(tokens[new.row]) + new.stopped
                ids, cut = asked[new.row]
                ended = new.last and new.stopped
                number, _ = group[new.row]
                yield {"piece": Piece(number, shown, count, new.last, ended, len(ids), cut)}

    def _score(self, message: Message) -> Iterator[Message]:
        """Return the log-probability of given responses."""
        model = self._load(message)
        for index, content in message["requests"]:
            request = read_score(content)
            adapter = model.use_adapter(request.adapter)
            logprob, tokens = model.score(
                request.messages, request.response, adapter, finished=request.finished
            )
            yield {"score": Score(index, logprob, tokens)}

    def _tokens(self, message: Message) -> Iterator[Message]:
        """Return one response token by token under each adapter."""
        model = self._load(message)
        request = read_score(message["request"])
        ids: list[int] = []
        logprobs = []
        for folder in message["adapters"]:
            adapter = model.use_adapter(None if folder is None else Path(folder))
            ids, found = model.token_scores(
                request.messages, request.response, adapter, finished=request.finished
            )
            logprobs.append(found)
            yield {}
        yield {"tokens": TokenScores(model.pieces_of(ids), logprobs)}


def _decode_row(
    model: LoadedModel, ids: Sequence[int], request: GenerateRequest, adapter: str | None
) -> DecodeRow:
    from align.decoding import DecodeRow

    most = max(1, min(request.max_tokens, model.context - len(ids)))
    return DecodeRow(ids, request.seed, most, request.temperature, request.top_p, adapter)


def _groups(asked: Sequence[Asked]) -> list[list[Asked]]:
    """Return requests in groups of one adapter and about one length (a factor of two), short
    first."""

    def key(one: Asked) -> tuple[str, int]:
        return (str(one.request.adapter or ""), max(128, len(one.ids)).bit_length())

    ordered = sorted(asked, key=lambda one: (*key(one), len(one.ids)))
    return [list(group) for _, group in itertools.groupby(ordered, key)]


def _out_of_memory(error: Exception) -> str | None:
    """Return what to say where memory ran out, or None if that was not it."""
    import torch

    where = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
    if not (where or isinstance(error, MemoryError)):
        return None
    return "out of memory while answering: ask for fewer tokens, or take a smaller model."


def main(arguments: Sequence[str]) -> None:
    """Serve the socket until it closes."""
    channel = Channel(socket.socket(fileno=int(arguments[0])))
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses a kernel nobody needs
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    Worker(channel, Path(arguments[1])).run()


if __name__ == "__main__":
    main(sys.argv[1:])
