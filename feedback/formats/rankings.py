"""Rankings of several answers to one prompt (JSONL, Parquet), read as the votes that they imply.

    prompt        a text, or a list of messages
    responses     2 to 16 answers: texts, or objects {"text", "model"}
    ranks         optional: one number an answer, the smaller the better, equal ones tie; without
                  them the answers stand best first
    labeler       optional: who ranked

Each two answers give a vote of their own, so k answers give k (k - 1) / 2; they train in one row
that shares their prompt. Other columns are kept with each of the votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from feedback.formats import files
from feedback.formats.rows import (
    UNKNOWN,
    Answer,
    Fields,
    Raw,
    Refused,
    Row,
    VoteRow,
    list_of,
    name_text,
    prompt_of,
)
from feedback.texts import check_text
from storage.errors import BadInput

KNOWN = ("prompt", "responses", "ranks", "labeler")
MOST = 16  # answers. Choice: 120 votes; nobody ranks more at a glance


def looks(columns: Iterable[str]) -> bool:
    """Return whether rows with these columns are this format's."""
    return {"prompt", "responses"} <= set(columns)


def read(path: Path) -> Iterator[Row | Refused]:
    """Yield the votes that the file's rankings imply, ranking by ranking."""

    return files.read_each(
        path, votes_of, looks, "rankings needs prompt and responses", known=KNOWN
    )


def votes_of(raw: Raw) -> list[VoteRow]:
    """Return the votes of one ranking; the better answer of each two is "a".

    Raises:
        BadInput: what is wrong with it.
    """
    fields = raw.fields
    prompt = prompt_of(fields.get("prompt"))
    answers = [_answer(value) for value in list_of(fields.get("responses"), "responses")]
    if not 2 <= len(answers) <= MOST:
        raise BadInput(f"responses has {len(answers)} answers; a ranking has 2 to {MOST}")
    ranks = _ranks(fields, len(answers))
    labeler = name_text(fields.get("labeler"), "labeler", UNKNOWN)
    votes = []
    for i, j in combinations(sorted(range(len(answers)), key=lambda i: ranks[i]), 2):
        said = "tie" if ranks[i] == ranks[j] else "a"
        votes.append(VoteRow(raw.row, prompt, answers[i], answers[j], said, labeler))
    return votes


def _answer(value: Any) -> Answer:
    if isinstance(value, dict):
        text = check_text(value.get("text"), "the text of a response")
        return Answer(text, name_text(value.get("model"), "model", UNKNOWN))
    return Answer(check_text(value, "a response"))


def _ranks(fields: Fields, answers: int) -> Sequence[float]:
    if fields.get("ranks") is None:
        return range(answers)
    ranks = list_of(fields.get("ranks"), "ranks")
    odd = next((r for r in ranks if isinstance(r, bool) or not isinstance(r, int | float)), None)
    if odd is not None or any(rank != rank for rank in ranks):
        raise BadInput(f"ranks has {str(odd)[:40]!r}; it has to hold a number for each response")
    if len(ranks) != answers:
        raise BadInput(f"there are {len(ranks)} ranks for {answers} responses; give one for each")
    return ranks
