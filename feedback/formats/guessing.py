"""Which column of a file most likely holds which field of the format `columns`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from feedback.formats.generic import FIELDS

# Choice: what such columns are called in the sets and tables that we met, the likeliest first;
# generic.FIELDS are read without asking, these are only proposed.
OTHERS = {
    "prompt": ("instruction", "query", "input", "request", "user", "messages", "conversation",
               "task", "text"),
    "a": ("answer1", "answer_1", "response1", "response_1", "output_1", "output_a", "completion_a",
          "model_a_response", "first_answer", "first", "option_a", "chosen"),
    "b": ("answer2", "answer_2", "response2", "response_2", "output_2", "output_b", "completion_b",
          "model_b_response", "second_answer", "second", "option_b", "rejected"),
    "verdict": ("preference", "preferred", "better", "choice", "vote", "judgment", "judgement",
                "result", "best"),
    "answer": ("output", "reply", "generation", "model_output", "bot", "assistant"),
    "thumb": ("thumbs", "feedback", "score", "is_good", "liked", "flag"),
    "left": ("left_side", "left_is", "shown_left"),
    "model_a": ("model_1", "model1", "first_model"),
    "model_b": ("model_2", "model2", "second_model"),
    "model": ("model_name", "engine"),
    "labeler": ("annotator", "labeller", "user_id", "rater", "worker", "judge", "author", "email"),
    "created_at": ("timestamp", "time", "date", "created", "datetime", "tstamp"),
}  # fmt: skip


def guessed(columns: Sequence[str]) -> dict[str, str]:
    """Return the likeliest column of each field that has one; a column may serve two fields.

    Example:
        >>> guessed(["Question", "Answer 1", "answer-2", "Better?"])
        {'prompt': 'Question', 'a': 'Answer 1', 'b': 'answer-2', 'verdict': 'Better?'}
    """
    plain: dict[str, str] = {}
    for column in columns:
        plain.setdefault(_plain(column), column)
    found = {}
    for field, names in FIELDS.items():
        name = next((name for name in (*names, *OTHERS[field]) if name in plain), None)
        if name is not None:
            found[field] = plain[name]
    return found


def _plain(column: str) -> str:
    """Return a column's name as the lists above write it."""
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
