"""Look through what is stored: search comparisons, open one with its votes, name any item.

Reads only. Search is a scan over the texts: 0.08 s over 2,139 comparisons with 4,278 answers, so it
needs no index to keep in step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from storage.errors import NotFound
from storage.records import Comparison, Message, Prompt, Response, Vote
from storage.store import Store

JUDGED = ("all", "with votes", "without votes")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison in a list: its prompt's last message and where it stands."""

    comparison: str
    prompt: str
    votes: int
    models: str
    source: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    rows: tuple[Row, ...]
    page: int  # from 1
    pages: int  # at least 1
    total: int  # comparisons found, on all pages


@dataclass(frozen=True, slots=True)
class Opened:
    """One comparison in full: the conversation, both answers with their origin, the live votes."""

    comparison: str
    messages: tuple[Message, ...]
    answers: tuple[str, str]
    models: tuple[str, str]
    source: str
    votes: tuple[tuple[str, str], ...]  # (labeler, verdict), oldest first


def counts(store: Store) -> dict[str, int]:
    """Return how much there is: prompts, comparisons, votes, ratings, edits."""
    names = ("prompts", "comparisons", "votes", "ratings", "edits")
    return {name: len(store.frame(name)) for name in names}


def find_comparisons(
    store: Store, words: str = "", *, judged: str = "all", page: int = 1, size: int = 20
) -> Page:
    """Return one page of the comparisons whose prompt or answers hold all the words, newest first.

    Words are matched anywhere, upper and lower case alike. A page beyond the last gives the last.
    """
    frame = store.frame("comparisons")
    if judged != "all" and len(frame):
        frame = frame[(frame["votes"] > 0) == (judged == "with votes")]
    wanted = words.casefold().split()
    if wanted and len(frame):
        frame = frame[_holds(store, frame, wanted)]
    total = len(frame)
    pages = max(1, -(-total // size))
    page = min(max(1, page), pages)
    frame = frame.sort_values(["created_at", "comparison"], ascending=[False, True])
    part = frame.iloc[(page - 1) * size : page * size]
    return Page(tuple(_rows(store, part)), page, pages, total)


def _holds(store: Store, frame: pd.DataFrame, wanted: list[str]) -> list[bool]:
    """Return per comparison whether its prompt and answers together hold all the words."""
    prompts = store.frame("prompts").set_index("prompt")["text"].to_dict()
    keys = zip(frame["prompt"], frame["text_a"], frame["text_b"], strict=True)
    triples = [(prompts.get(p, ""), a, b) for p, a, b in keys]
    texts = store.texts({key for triple in triples for key in triple if key})
    folded = {key: text.casefold() for key, text in texts.items()}
    joined = ("\n".join(folded.get(key, "") for key in triple) for triple in triples)
    return [all(word in text for word in wanted) for text in joined]


def _rows(store: Store, frame: pd.DataFrame) -> Iterable[Row]:
    asked = questions(store, frame["prompt"].tolist())
    for row in frame.to_dict("records"):
        models = " / ".join(dict.fromkeys([row["model_a"], row["model_b"]]))
        yield Row(
            row["comparison"], asked.get(row["prompt"], ""), int(row["votes"]), models,
            row["source"], row["created_at"],
        )  # fmt: skip


def questions(store: Store, prompts: Sequence[str]) -> dict[str, str]:
    """Return the last message of each prompt, by the prompt's id."""
    found = store.rows(Prompt, id=list(prompts)) if prompts else []
    return {prompt.id: store.messages(prompt)[-1]["content"] for prompt in found}


def open_comparison(store: Store, comparison: str) -> Opened:
    """Return a comparison in full.

    Raises:
        NotFound: there is no such comparison.
    """
    row = store.get(Comparison, comparison)
    if row is None:
        raise NotFound(f"There is no comparison {comparison!r}; search for it by its words.")
    prompt = store.get(Prompt, row.prompt)
    a, b = store.get(Response, row.a), store.get(Response, row.b)
    if prompt is None or a is None or b is None:
        raise NotFound(
            f"Comparison {comparison!r} misses its prompt or an answer; import it again."
        )
    texts = store.texts([a.text, b.text])
    votes = store.frame("votes")
    votes = votes[votes["comparison"] == comparison].sort_values("created_at")
    return Opened(
        comparison=comparison,
        messages=tuple(store.messages(prompt)),
        answers=(texts[a.text], texts[b.text]),
        models=(origin(a), origin(b)),
        source=row.source,
        votes=tuple(zip(votes["labeler"], votes["verdict"], strict=True)),
    )


def origin(response: Response) -> str:
    """Return where a response came from: its model, and the run whose adapter made it."""
    return f"{response.model} + {response.adapter}" if response.adapter else response.model


def describe(store: Store, items: Sequence[str]) -> dict[str, str]:
    """Return what each item is, whatever kind of id it has: comparison, prompt, response or vote.

    A comparison and a prompt are told by the question, a vote by who said what to it, a response by
    its text; an unknown id by "".
    """
    ids = list(items)
    if not ids:
        return {}
    of_prompt = {row.id: row.id for row in store.rows(Prompt, id=ids)}
    votes = store.rows(Vote, id=ids)
    compared = store.rows(Comparison, id=[*ids, *(vote.comparison for vote in votes)])
    of_prompt |= {row.id: row.prompt for row in compared}
    asked = questions(store, list(set(of_prompt.values())))
    responses = {row.id: row.text for row in store.rows(Response, id=ids)}
    texts = store.texts(set(responses.values()))
    told: dict[str, Any] = {key: asked.get(prompt, "") for key, prompt in of_prompt.items()}
    told |= {key: texts.get(text, "") for key, text in responses.items()}
    told |= {v.id: f"{v.labeler}: {v.verdict} · {told.get(v.comparison, '')}" for v in votes}
    return {key: told.get(key, "") for key in ids}
