"""A stock of prompts, answers and comparisons for tests, written straight into the store."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from storage.records import (
    Assignment,
    Comparison,
    Labeler,
    Prompt,
    Record,
    Response,
    Text,
    Vote,
    canonical_messages,
    digest,
)
from storage.store import Store

MODELS = ("secret-model-one", "secret-model-two")  # must never reach a page before the vote


def prompt_records(number: int) -> tuple[Prompt, list[Record]]:
    """Return a prompt of its own cluster, and the records to add."""
    messages = [{"role": "user", "content": f"Question {number}, please?"}]
    text = Text.of(canonical_messages(messages))
    id = Prompt.id_of(messages)
    prompt = Prompt(id, text.id, id, "starter")
    return prompt, [text, prompt]


def response_records(
    prompt: Prompt, content: str, model: str, finished: bool | None = True
) -> tuple[Response, list[Record]]:
    text = Text.of(content)
    id = Response.id_of(prompt.id, text.id, model)
    response = Response(id, prompt.id, text.id, model, "", {}, None, finished, "generated")
    return response, [text, response]


def comparison_records(
    number: int,
    a: str,
    b: str,
    ended: tuple[bool | None, bool | None] = (True, True),
    models: tuple[str, str] = MODELS,
) -> tuple[Comparison, list[Record]]:
    """Return a comparison of two texts for the prompt with this number, and the records to add.

    Args:
        ended: of each answer, whether it ended by itself; None where nobody knows.
        models: of each answer.
    """
    prompt, records = prompt_records(number)
    left, left_records = response_records(prompt, a, models[0], ended[0])
    right, right_records = response_records(prompt, b, models[1], ended[1])
    comparison = Comparison(f"c_{number:05}", prompt.id, left.id, right.id, "generated:1")
    return comparison, [*records, *left_records, *right_records, comparison]


def fill(
    store: Store, texts: Sequence[tuple[str, str]], models: tuple[str, str] = MODELS
) -> list[Comparison]:
    """Add one comparison for each couple of texts, each to a prompt of its own."""
    made = [comparison_records(number, a, b, models=models) for number, (a, b) in enumerate(texts)]
    store.add([record for _, records in made for record in records])
    return [comparison for comparison, _ in made]


def answered(store: Store, question: str, source: str, adapter: str = "") -> Comparison:
    """Add a comparison of two answers of an adapter to a prompt of its own."""
    messages = [{"role": "user", "content": question}]
    asked, id = Text.of(canonical_messages(messages)), Prompt.id_of(messages)
    texts = [Text.of(f"{side} answer to {question}") for side in ("One", "Another")]
    one, other = (
        Response(
            Response.id_of(id, text.id, "m", adapter), id, text.id, "m", adapter, {}, None, True,
            "generated",
        )
        for text in texts
    )  # fmt: skip
    made = Comparison(f"c_{digest(question, source, length=12)}", id, one.id, other.id, source)
    store.add([asked, Prompt(id, asked.id, id, "api"), *texts, one, other, made])
    return made


def say(store: Store, comparison: str, verdict: str, labeler: str = "Ada") -> str:
    """Let somebody judge a comparison that has a on the left; return the vote's id."""
    id = str(uuid.uuid4())
    store.add([Labeler(labeler, "person")])
    store.add([Assignment(id, "default", labeler, comparison, "", "a", "plain", "api")])
    store.append(Vote(id, id, 0, comparison, labeler, verdict, source="api"))
    return id


def take_back(store: Store, vote: str) -> None:
    """Undo a vote that `say` cast."""
    (one,) = store.rows(Vote, id=vote)
    store.append(replace(one, id=str(uuid.uuid4()), revision=1, verdict="undone"))


def stock(store: Store, n: int, models: tuple[str, str] = MODELS) -> list[Comparison]:
    """Add `n` comparisons; number i has a short and a long answer, on either side in turn."""
    texts = [(f"Short {i}.", f"A rather longer answer, number {i}.") for i in range(n)]
    pairs = [pair if i % 2 else pair[::-1] for i, pair in enumerate(texts)]
    return fill(store, pairs, models)
