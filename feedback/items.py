"""Add what is to be judged: prompts, responses, comparisons. The one place that checks their texts.

Ids come from content, so adding something twice adds nothing. A prompt gets its near-duplicate
cluster once, for ever, because the cluster decides its split (design section 1): that of the
earliest near-duplicate that has one, but rather one that judges (held-out, duel) than one that
trains, so that no run trains on a prompt near to one that judges it. While prompts are added a lock
file in the data folder keeps two threads from giving two near prompts two clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from feedback.texts import check_messages, check_text, near_text
from storage.errors import BadInput, Conflict, NotFound
from storage.records import (
    Comparison,
    Message,
    Prompt,
    Response,
    Text,
    canonical_messages,
    digest,
    now,
)
from storage.store import Store

if TYPE_CHECKING:
    from feedback.clusters import PromptIndex

R = TypeVar("R")
LOOK_UP = 5_000  # ids per query


@dataclass(frozen=True, slots=True)
class NewResponse:
    prompt: str  # Prompt.id
    text: str
    model: str
    adapter: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    finished: bool | None = None
    source: str = "generated"

    def id(self) -> str:
        """Return the id that it has once it is stored."""
        text = Text.of(self.text).id
        return Response.id_of(self.prompt, text, self.model, self.adapter, self.seed)


def add_prompts(store: Store, prompts: Sequence[Sequence[Message]], source: str) -> list[Prompt]:
    """Store prompts and return them in the same order; known ones come back as they are stored.

    Raises:
        BadInput: naming which prompt cannot be stored, and why; then none is.
    """
    checked = []
    for number, messages in enumerate(prompts, start=1):
        try:
            checked.append(check_messages(messages))
        except BadInput as error:
            which = f"prompt {number}: " if len(prompts) > 1 else ""
            raise BadInput(f"{which}{error}") from None
    asked = [Text.of(canonical_messages(messages)) for messages in checked]
    ids = [prompt_id(text) for text in asked]
    known = {prompt.id: prompt for prompt in look_up(store, Prompt, ids)}
    if known.keys() >= set(ids):  # nothing new: no need to wait for an import that is going on
        return [known[id] for id in ids]
    from feedback.clusters import prompts_locked  # brings numpy in, which a vote does not need

    with prompts_locked(store) as index:
        store.add(new_prompts(zip(asked, checked, strict=True), source, index))
    known = {prompt.id: prompt for prompt in look_up(store, Prompt, ids)}
    return [known[id] for id in ids]


def new_prompts(
    asked: Iterable[tuple[Text, Sequence[Message]]],
    source: str,
    index: PromptIndex,
    *,
    settle: bool = True,
) -> list[Text | Prompt]:
    """Return the records of the prompts that are not stored yet, each with its cluster.

    The caller holds `prompts_locked`, and stores them.

    Args:
        asked: of each prompt its text, the `canonical_messages`, and the messages, checked.
        settle: look for near-duplicates; else the prompts have no cluster yet.
    """
    fresh = {id: one for one in asked if index.claim(id := prompt_id(one[0]))}
    clusters = dict.fromkeys(fresh, "")
    if settle:
        clusters = index.assign_many((id, near_text(said)) for id, (_, said) in fresh.items())
    else:
        index.leave(fresh)
    new: list[Text | Prompt] = []
    moment = now()
    for id, (text, _) in fresh.items():
        new += [text, Prompt(id, text.id, clusters[id], source, tick(moment, len(new)))]
    return new


def prompt_id(text: Text) -> str:
    """Return `Prompt.id_of` the messages that a prompt's text stands for."""
    return f"p_{text.id[:20]}"


def add_responses(store: Store, rows: Sequence[NewResponse]) -> list[Response]:
    """Store responses and return them in the same order; known ones come back as they are stored.

    An empty text is stored too: that a model said nothing is worth knowing.

    Raises:
        BadInput: a text that cannot be stored, or no model.
        NotFound: a prompt that is not stored.
    """
    prompts = {p.id for p in look_up(store, Prompt, [row.prompt for row in rows])}
    for number, row in enumerate(rows, start=1):
        if row.prompt not in prompts:
            raise NotFound(f"response {number}: there is no prompt {row.prompt!r}; add it first")
        check_text(row.text, f"response {number}")
        if not row.model:
            raise BadInput(f"response {number} names no model; write 'imported' if it is unknown")
    moment = now()
    texts = [Text.of(row.text) for row in rows]
    made = [
        Response(
            id=Response.id_of(row.prompt, text.id, row.model, row.adapter, row.seed),
            prompt=row.prompt,
            text=text.id,
            model=row.model,
            adapter=row.adapter,
            settings=row.settings,
            seed=row.seed,
            finished=row.finished,
            source=row.source,
            created_at=tick(moment, number),
        )
        for number, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]
    stored = {r.id: r for r in look_up(store, Response, [r.id for r in made])}
    fresh: dict[str, Response] = {}
    for response in made:
        if response.id not in stored:
            fresh.setdefault(response.id, response)
    if fresh:
        store.add([*texts, *fresh.values()])
    return [stored.get(r.id) or fresh[r.id] for r in made]


def add_comparisons(
    store: Store,
    rows: Sequence[tuple[Response, Response]],
    source: str,
    ids: Sequence[str] | None = None,
) -> list[Comparison]:
    """Store comparisons and return them in the same order, each with the sides it is stored with.

    Without an id a comparison is its prompt and both answers with their models, in either order:
    the same one the other way round comes back as it was stored first.

    Raises:
        BadInput: two responses to different prompts.
        Conflict: an imported id that is stored with other answers.
    """
    for a, b in rows:
        if a.prompt != b.prompt:
            raise BadInput(f"responses {a.id}, {b.id} answer different prompts; compare two of one")
    keys = list(ids) if ids is not None else [comparison_id(a, b) for a, b in rows]
    moment = now()
    stored = {c.id: c for c in look_up(store, Comparison, keys)}
    fresh: dict[str, Comparison] = {}
    for key, (a, b) in zip(keys, rows, strict=True):
        if key not in stored:
            made = Comparison(key, a.prompt, a.id, b.id, source, tick(moment, len(fresh)))
            fresh[key] = stored[key] = made
    if fresh:
        store.add(list(fresh.values()))
    if ids is not None:
        _check_same(store, [stored[key] for key in keys], rows)
    return [stored[key] for key in keys]


def _check_same(
    store: Store, stored: Sequence[Comparison], rows: Sequence[tuple[Response, Response]]
) -> None:
    sides = {r.id: r for r in look_up(store, Response, [s for c in stored for s in (c.a, c.b)])}
    for comparison, (a, b) in zip(stored, rows, strict=True):
        if flipped(sides[comparison.a], sides[comparison.b], a, b) is None:
            raise Conflict(other_answers(comparison.id))


def other_answers(id: str) -> str:
    return (
        f"the comparison {id!r} is stored with another prompt or other answers; "
        "give it another id, or leave the id out"
    )


def comparison_id(a: Response, b: Response) -> str:
    """Return the id of a comparison that has none: prompt, both texts and models, unordered."""
    sides = sorted([(a.text, a.model), (b.text, b.model)])
    return "c_" + digest(a.prompt, *sides[0], *sides[1], length=20)


def flipped(stored_a: Response, stored_b: Response, a: Response, b: Response) -> bool | None:
    """Return whether (a, b) is the stored pair the other way round; None if it is another pair."""
    have = [(r.prompt, r.text, r.model) for r in (stored_a, stored_b)]
    come = [(r.prompt, r.text, r.model) for r in (a, b)]
    if have == come:
        return False
    return True if have == come[::-1] else None


def look_up(store: Store, kind: type[R], ids: Sequence[str]) -> list[R]:
    """Return the stored rows with these ids, whatever their number."""
    return list(store.found(kind, ids).values())


def tick(moment: datetime, number: int) -> datetime:
    """Return a moment so many microseconds later: rows added together keep their order."""
    return moment + timedelta(microseconds=number)
