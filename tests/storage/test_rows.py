"""Many records become rows exactly as each of them does alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import BadInput
from storage.records import Assignment, Response, Text, Vote, canonical_messages, digest, named_uuid
from storage.rows import to_row, to_rows

AT = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))


def vote(number: int, **more: Any) -> Vote:
    said = {"id": f"v{number}", "assignment": f"s{number}", "revision": number}
    told = {"comparison": "c", "labeler": "ada", "verdict": "a", "source": "api", "created_at": AT}
    return Vote(**{**said, **told, **more})


@pytest.mark.parametrize(
    "records",
    [
        [vote(1), vote(2, reasons=("tone", "other"), comment="naïve", seconds_spent=1)],
        [vote(1), vote(2, labeler=type("Name", (str,), {})("bob"))],
        [Response("r", "p", "t", "m", "", {"top_p": 0.9}, 7, None, "edit", AT)],
        [Assignment("s", "d", "ada", "c", "", "a", "plain", "api", AT)] * 3,
        [Text.of("one"), Text.of("zwei ist größer")],
        [],
    ],
)
def test_rows_of_many_are_the_rows_of_each(records: list[Any]) -> None:
    kind = type(records[0]) if records else Vote
    rows = to_rows(kind, records)
    assert rows == [to_row(record) for record in records]
    assert [[type(value) for value in row] for row in rows] == [
        [type(value) for value in to_row(record)] for record in records
    ]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"comment": "x\0"}, "vote.comment cannot be stored: a NUL"),
        ({"comment": "\ud800"}, "vote.comment cannot be stored: a lone surrogate"),
        ({"labeler": 7}, "vote.labeler cannot be stored: 7 is not text"),
        ({"revision": True}, "vote.revision cannot be stored: True is not a whole number"),
        ({"created_at": datetime(2026, 1, 1)}, "vote.created_at cannot be stored: .* a zone"),
    ],
)
def test_one_bad_record_among_many_is_named(bad: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        to_rows(Vote, [vote(1), vote(2, **bad), vote(3)])


def test_ids_are_what_they_were_before_json_was_written_by_hand() -> None:
    """The values come from `json.dumps(…, ensure_ascii=False)` of what stands beside them."""
    hostile = 'q"\\\n\x01\x7fé\u2028😀'
    messages = [{"role": "user", "content": hostile, "name": "left out"}]
    plain = [{"role": "user", "content": hostile}]
    assert canonical_messages(messages) == json.dumps(
        plain, ensure_ascii=False, separators=(",", ":")
    )
    assert digest("a", hostile) == digest(json.dumps(["a", hostile], ensure_ascii=False))
    assert to_row(vote(1))[-1] == AT.astimezone(UTC).replace(tzinfo=None)


@settings(max_examples=200, deadline=None)
@given(st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))
def test_ids_by_name_are_those_of_the_standard(namespace: UUID, name: str) -> None:
    """An id that changed would let everything be stored a second time."""
    assert named_uuid(namespace, name) == str(uuid5(namespace, name))
