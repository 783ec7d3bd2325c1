"""A store in a fresh folder, and small hand-made records to put into it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from storage.records import (
    Assignment,
    Comparison,
    Prompt,
    Record,
    Response,
    Text,
    Vote,
    canonical_messages,
)
from storage.store import Store

MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Iterator[Store]:
    opened = Store.open(data)
    yield opened
    opened.close()


def assignment(n: int, labeler: str = "ada", comparison: str = "c0", **other: object) -> Assignment:
    fields = {"response": "", "left": "a", "source": "screen", "created_at": MONDAY, **other}
    return Assignment(
        f"s{n}",
        "default",
        labeler,
        comparison,
        kind="plain",
        **fields,  # type: ignore[arg-type]
    )


def vote(n: int, assignment: int | None = None, revision: int = 0, **other: object) -> Vote:
    fields = {
        "comparison": "c0", "labeler": "ada", "verdict": "a", "created_at": MONDAY, **other
    }  # fmt: skip
    at = f"s{n if assignment is None else assignment}"
    return Vote(f"v{n}", at, revision, **fields)  # type: ignore[arg-type]


def comparison(n: int, answers: tuple[str, str], prompt: str = "Hi", **other: str) -> list[Record]:
    """Return comparison c<n> of two answers by models x and y, with all that it needs."""
    messages = [{"role": "user", "content": prompt}]
    asked = Text.of(canonical_messages(messages))
    at = MONDAY + timedelta(minutes=n)
    p = Prompt(Prompt.id_of(messages), asked.id, Prompt.id_of(messages), "test", MONDAY)
    texts = [Text.of(answer) for answer in answers]
    a, b = (
        Response(
            f"r{n}{side}", p.id, text.id, model, "", {}, None, None, other.get("source", "test"), at
        )
        for side, text, model in zip("ab", texts, "xy", strict=True)
    )
    return [asked, p, *texts, a, b, Comparison(f"c{n}", p.id, a.id, b.id, "test", at)]


@pytest.fixture
def make() -> SimpleNamespace:
    return SimpleNamespace(assignment=assignment, vote=vote, comparison=comparison, monday=MONDAY)
