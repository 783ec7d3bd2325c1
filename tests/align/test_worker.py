"""The model worker's jobs among each other: adapters come and go, and each answer stays its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from align.wire import GenerateRequest
from align.worker import Message, Worker
from tests.align.small import plain_llama
from tests.align.talk import CHAT, chats, make_adapter, make_copies

LOOKS = 6  # the urgent job comes between the first tokens of twelve

Answers = Callable[..., list[str]]


class Line:
    """A channel that keeps what is sent, and on which an urgent job comes after some looks."""

    def __init__(self) -> None:
        self.urgent: Message | None = None
        self.looks = 0
        self.cancelled: set[int] = set()
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def urgent_job(self, than: int) -> Message | None:
        self.looks += 1
        return self.urgent if self.looks == LOOKS else None


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def answers(line: Line, tiny: Path, tmp_path: Path) -> Answers:
    """Return what lets a worker answer requests, with a stream of others between its steps."""
    worker = Worker(line, tmp_path / "DEVICE.lock")  # type: ignore[arg-type]
    base = {"model": str(tiny), "precision": "fp32"}

    def asked(
        requests: Sequence[GenerateRequest], urgent: Sequence[GenerateRequest] = ()
    ) -> list[str]:
        stream = base | {"job": 2, "op": "stream", "requests": plain(urgent)}
        line.urgent, line.looks, line.sent = stream if urgent else None, 0, []
        job = {"job": 1, "op": "generate", "requests": list(enumerate(plain(requests)))}
        worker.do(base | job)
        assert line.sent[-1] == {"job": 1, "done": True}
        rows = [one["row"] for one in line.sent if "row" in one]
        return [row.text for row in sorted(rows, key=lambda row: row.index)]

    return asked


def plain(requests: Iterable[GenerateRequest]) -> list[dict[str, Any]]:
    """Return requests as they come over the line."""
    return [
        dataclasses.asdict(one) | {"adapter": one.adapter and str(one.adapter)} for one in requests
    ]


def three(adapter: Path | None) -> list[GenerateRequest]:
    return [GenerateRequest(chat, i, 12, 0.9, 0.95, adapter) for i, chat in enumerate(chats(3))]


def brief(adapter: Path) -> GenerateRequest:
    return GenerateRequest(CHAT, 1, 3, 0.9, 0.95, adapter)


def test_adapters_of_two_kinds_answer_one_job(answers: Answers, tiny: Path, tmp_path: Path) -> None:
    """As a duel asks of a run on every weight against a low-rank one."""
    both = (make_copies(tiny, tmp_path / "copies"), make_adapter(tiny, tmp_path / "lora"))
    apart = [answers(three(folder)) for folder in both]
    assert apart[0] != apart[1]
    mixed = answers([one for pair in zip(*map(three, both), strict=True) for one in pair])
    assert [mixed[0::2], mixed[1::2]] == apart


def test_an_urgent_job_under_other_adapters_leaves_a_job_its_own(
    line: Line, answers: Answers, tiny: Path, tmp_path: Path
) -> None:
    lora = make_adapter(tiny, tmp_path / "lora")
    expected = answers(three(lora))
    assert expected != answers(three(None))
    others = [make_adapter(tiny, tmp_path / str(i), seed=5 + i) for i in range(4)]
    for folders in ([make_copies(tiny, tmp_path / "copies")], others):
        assert answers(three(lora), list(map(brief, folders))) == expected
        assert {"job": 2, "done": True} in line.sent


def test_an_urgent_job_whose_adapter_does_not_fit_leaves_a_job_its_own(
    line: Line, answers: Answers, tiny: Path, tmp_path: Path
) -> None:
    """Its error is its own, and the answers of the other do not become the base's."""
    lora = make_adapter(tiny, tmp_path / "lora")
    expected = answers(three(lora))
    foreign = make_adapter(plain_llama(tmp_path / "other", width=8), tmp_path / "foreign")
    assert answers(three(lora), [brief(foreign)]) == expected
    assert any("does not fit" in one.get("error", "") for one in line.sent if one["job"] == 2)
