"""Erase a person's words or name on request: find what it is, show it, carry it out, to the end.

Texts are blanked (`ERASED`) wherever they lie: database, journal, snapshots. A name is replaced by
a pseudonym that nobody can follow back. What is to be done is written to `erasing.json` first and
removed last, so that a kill in the middle is only an interruption (`resume`). What was erased does
not come back by importing it again: its hash is known, and stands for `[erased]`.
"""

from __future__ import annotations

import json
import os
import secrets
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feedback.accounts import People, people_of
from feedback.items import look_up
from feedback.product.pseudonyms import Pseudonyms
from feedback.values import brief, one_of, shown
from storage.durable import sync_folder
from storage.erase import Erasing
from storage.errors import BadInput, NotFound
from storage.records import (
    ERASED,
    ERASED_PROMPT,
    Account,
    ApiKey,
    Audit,
    Comparison,
    Edit,
    Erased,
    Erasure,
    Exclusion,
    Extra,
    Labeler,
    Prompt,
    Rating,
    Record,
    Response,
    Vote,
    canonical_messages,
    now,
)

if TYPE_CHECKING:
    from storage.store import Store

INTENTION = "erasing.json"
MIN_CHARS = 4  # of a search. Choice: "Ann" would find half of the store; a name has a space
MOST = 10_000  # texts that one search may erase. Choice: more than anybody has read through
SHOWN = 20  # texts that a preview quotes
PSEUDONYM = "erased-"  # how what takes a name's place begins
REASON = "erased on request"


@dataclass(frozen=True)
class Found:
    """What a request would erase."""

    kind: str  # a name in KINDS
    texts: tuple[str, ...] = ()  # ids
    shared: int = 0  # texts that stay, because others said the same
    name: str = ""  # of the labeler who becomes a pseudonym


@dataclass(frozen=True)
class Intention:
    """Everything that is needed to carry an erasure out, and to carry it out again."""

    erasure: str
    kind: str
    by: str
    at: str  # ISO 8601, UTC
    name: str
    pseudonym: str
    leave_out: bool  # the labeler's votes count no more
    events: int
    blanks: dict[str, str] = field(default_factory=dict)  # Text.id → what takes its place
    contents: list[str] = field(default_factory=list)


def find(store: Store, kind: str, what: str) -> Found:
    """Return what a request would erase.

    Args:
        kind: a name in KINDS.
        what: a labeler's name or a product's id of a user, a prompt's id, or words that the texts
            hold.

    Raises:
        BadInput: an unknown kind, or words that are too short or in too many texts.
        NotFound: there is nothing of this name, or nothing that holds the words.
    """
    one_of(kind, tuple(KINDS), "what is erased")
    return KINDS[kind](store, what)


def preview(store: Store, found: Found) -> dict[str, Any]:
    """Return what would go: counts, and the beginnings of some texts."""
    contents = store.texts(found.texts[:SHOWN])
    prompts, responses = _places(store, found.texts)
    named = {one.text for one in prompts}
    texts = [
        brief(json.loads(text)[-1]["content"] if id in named else text, 80)
        for id, text in contents.items()
    ]
    return {
        "kind": found.kind, "texts": len(found.texts), "shared": found.shared,
        "prompts": len(prompts), "responses": len(responses),
        "comparisons": len(_comparisons(store, prompts, responses)),
        "events": _events(store, found.name), "shown": texts,
    }  # fmt: skip


def erase(store: Store, found: Found, *, by: str, leave_out: bool = False) -> dict[str, Any]:
    """Erase it for good; return {"erasure", "pseudonym", "snapshots"}: those that were rewritten.

    Args:
        by: who does it.
        leave_out: the labeler's votes, thumbs and corrections count no more.

    Raises:
        Conflict: the labeler is the last lead.
        Busy, DiskFull: it is not finished; the next start or the next erasure finishes it.
    """
    if (before := _unfinished(store)) is not None:
        carry_out(store, before)
        if found.name and found.name == before.name:  # tried again: it has its pseudonym already
            by = before.pseudonym if by == found.name else by
            found = replace(found, name=before.pseudonym)
    pseudonym = ""
    if found.name:
        people_of(store).forget(found.name, by=by)
        known = found.name.startswith(PSEUDONYM)
        pseudonym = found.name if known else PSEUDONYM + secrets.token_hex(4)
    prompts, _ = _places(store, found.texts)
    asked = {one.text for one in prompts}
    intention = Intention(
        erasure=str(uuid.uuid4()),
        kind=found.kind,
        by=pseudonym if by == found.name else by,
        at=now().isoformat(),
        name=found.name,
        pseudonym=pseudonym,
        leave_out=leave_out and bool(found.name),
        events=_events(store, found.name),
        blanks={id: ERASED_PROMPT if id in asked else ERASED for id in found.texts},
        contents=list(store.texts(found.texts).values()),
    )
    _write(store.data / INTENTION, intention)
    return carry_out(store, intention)


def resume(store: Store) -> dict[str, Any] | None:
    """Carry out to the end what a kill interrupted; None where nothing was."""
    plan = _unfinished(store)
    return None if plan is None else carry_out(store, plan)


def carry_out(store: Store, plan: Intention) -> dict[str, Any]:
    """Do every step; each may have been done already."""
    from feedback.blanking import blank_snapshots  # brings pandas in, which a start does not need

    erasing = Erasing(plan.blanks, plan.name if plan.name != plan.pseudonym else "", plan.pseudonym)
    store.add(_rows(store, plan))
    store.erase(erasing, plan.erasure)
    people = store.companions.get(People)
    store.companions.clear()  # what other rooms remember may hold it
    if people is not None:
        store.companions[People] = people
        people.read()
    home = store.data / "snapshots"
    snapshots = blank_snapshots(home, erasing, plan.contents, erasure=plan.erasure, at=plan.at)
    (store.data / INTENTION).unlink(missing_ok=True)
    return {"erasure": plan.erasure, "pseudonym": plan.pseudonym, "snapshots": snapshots}


def erased_texts(store: Store) -> set[str]:
    """Return the ids of all texts that were ever erased."""
    return {one.id for one in store.rows(Erased)}


def erased_of(store: Store, kind: str, items: Sequence[str]) -> list[str]:
    """Return those of some prompts or responses whose text was erased; of other kinds none."""
    if kind not in ("prompt", "response"):
        return []
    kinds: dict[str, type[Any]] = {"prompt": Prompt, "response": Response}
    rows = look_up(store, kinds[kind], items)
    gone = store.found(Erased, [one.text for one in rows])
    return [one.id for one in rows if one.text in gone]


def _rows(store: Store, plan: Intention) -> list[Record]:
    """Return the rows that tell of an erasure and keep it out of what is trained on."""
    at = datetime.fromisoformat(plan.at)
    prompts, responses = _places(store, list(plan.blanks))

    def id_of(*what: str) -> str:
        return str(uuid.uuid5(uuid.UUID(plan.erasure), "\n".join(what)))

    out = [("prompt", one.id) for one in prompts] + [("response", one.id) for one in responses]
    out += [("labeler", plan.pseudonym)] if plan.leave_out else []
    told = f"by {plan.kind}: {len(plan.blanks):,} texts" + (
        f"; a labeler is {plan.pseudonym} now, {plan.events:,} votes, thumbs and corrections"
        if plan.pseudonym
        else ""
    )
    return [
        Erasure(plan.erasure, plan.kind, len(plan.blanks), plan.events, plan.by, at),
        *(Erased(id, plan.erasure, at) for id in plan.blanks),
        *(Exclusion(id_of(*one), *one, "exclude", REASON, plan.by, at) for one in out),
        Audit(id_of("audit"), plan.by, "erase", told, at),
    ]


def _labeler(store: Store, what: str) -> Found:
    """Find somebody's comments and corrections, and their name."""
    named: set[str] = set()
    for kind, column in ((Labeler, "id"), (Account, "id"), (ApiKey, "name")):
        named |= {getattr(one, column) for one in store.rows(kind)}

    def known(name: str) -> bool:
        judged = (store.rows(kind, limit=1, labeler=name) for kind in (Vote, Rating, Edit))
        return name in named or any(judged)

    name = what.strip()
    if not known(name):
        alike = sorted(one for one in named if one.casefold() == name.casefold())
        if not alike and known(user := Pseudonyms(store.data).of(name)):  # by a product's own id
            alike = [user]
        if len(alike) != 1:
            raise NotFound(f"there is no labeler {shown(what)}: see `user`, or the quality screen")
        name = alike[0]
    judged: list[Vote | Rating] = list(store.rows(Vote, labeler=name))
    judged += store.rows(Rating, labeler=name)
    edits = store.rows(Edit, labeler=name)
    said = look_up(store, Response, [one.corrected for one in edits if one.corrected])
    texts = {one.comment for one in judged} - {""} | {one.text for one in said}
    beside = _beside(store, {one.id for one in (*judged, *edits)})
    kept = _said_by_others(store, texts, name, _own(store, said, name), set())
    return Found("labeler", tuple(sorted(texts - kept | beside)), len(kept), name)


def _prompt(store: Store, what: str) -> Found:
    """Find a prompt, the answers to it, and what was remarked on them."""
    prompt = store.get(Prompt, what.strip())
    if prompt is None:
        raise NotFound(f"there is no prompt {shown(what)}: look its id up on the data screen")
    answers = store.rows(Response, prompt=prompt.id)
    compared = {one.id for one in store.rows(Comparison, prompt=prompt.id)}
    votes = store.rows(Vote, comparison=sorted(compared)) if compared else []
    ids = [one.id for one in answers]
    judged: list[Vote | Rating] = [*votes, *(store.rows(Rating, response=ids) if ids else [])]
    texts = {one.comment for one in judged} - {""} | {one.text for one in answers}
    beside = _beside(store, {one.id for one in judged})
    kept = _said_by_others(store, texts, "", {one.id for one in answers}, compared)
    return Found("prompt", tuple(sorted({prompt.text} | texts - kept | beside)), len(kept))


def _text(store: Store, what: str) -> Found:
    """Find every text that holds some words."""
    words = what.strip()
    if len(words) < MIN_CHARS:
        raise BadInput(
            f"the search {shown(what)} is too short: give {MIN_CHARS} characters or more"
        )
    texts = store.containing(words, MOST + 1)
    if len(texts) > MOST:
        raise BadInput(f"more than {MOST:,} texts hold {shown(what)}: search for more words")
    asked = store.texts(one.text for one in _places(store, texts)[0])
    found = set(texts) - {id for id, text in asked.items() if _only_around(text, words)}
    if not found:
        raise NotFound(f"no text holds {shown(what)}: check its spelling")
    return Found("text", tuple(sorted(found)))


def _only_around(conversation: str, words: str) -> bool:
    """Say whether a prompt's text has some words only in the JSON around what is said.

    >>> said = '[{"role":"user","content":"Hi, how do I use it?"}]'
    >>> _only_around(said, "User"), _only_around(said, "use it")
    (True, False)
    """
    messages, words = json.loads(conversation), words.lower()
    around = canonical_messages([{**one, "content": ""} for one in messages])
    return words in around and not any(words in one["content"].lower() for one in messages)


KINDS: dict[str, Callable[[Store, str], Found]] = {
    "labeler": _labeler,
    "prompt": _prompt,
    "text": _text,
}


def _beside(store: Store, events: set[str]) -> set[str]:
    """Return the texts of what imported rows said besides, of these events and of no others."""
    texts = sorted({one.text for one in store.found(Extra, events).values()})
    if not texts:
        return set()
    others = {one.text for one in store.rows(Extra, text=texts) if one.id not in events}
    return set(texts) - others


def _own(store: Store, said: Sequence[Response], name: str) -> set[str]:
    """Return those of somebody's corrections that nobody else wrote, nor an import brought.

    The same words as a correction of the same prompt are one response, whoever wrote them.
    """
    ids = [one.id for one in said if one.source == "edit"]
    edits = store.rows(Edit, corrected=ids) if ids else []
    return set(ids) - {one.corrected for one in edits if one.labeler != name}


def _said_by_others(
    store: Store, texts: set[str], name: str, responses: set[str], compared: set[str]
) -> set[str]:
    """Return those of the texts that stand elsewhere, too: "Yes." is nobody's own word.

    Args:
        name: the labeler whose comments are meant, or "".
        responses, compared: ids of what is meant besides.
    """
    ids = sorted(texts)
    if not ids:
        return set()
    others = {one.text for one in store.rows(Response, text=ids) if one.id not in responses}
    others |= {one.text for one in store.rows(Prompt, text=ids)}
    remarks: list[Any] = [*store.rows(Vote, comment=ids), *store.rows(Rating, comment=ids)]
    for one in remarks:
        item = one.comparison if isinstance(one, Vote) else one.response
        if (one.labeler != name) if name else item not in compared | responses:
            others.add(one.comment)
    return others


def _places(store: Store, texts: Sequence[str]) -> tuple[list[Prompt], list[Response]]:
    """Return the prompts and responses that some texts are those of."""
    ids = list(texts)
    if not ids:
        return [], []
    return store.rows(Prompt, text=ids), store.rows(Response, text=ids)


def _comparisons(
    store: Store, prompts: Iterable[Prompt], responses: Iterable[Response]
) -> set[str]:
    asked, said = [one.id for one in prompts], [one.id for one in responses]
    found: list[Comparison] = store.rows(Comparison, prompt=asked) if asked else []
    if said:
        found += [*store.rows(Comparison, a=said), *store.rows(Comparison, b=said)]
    return {one.id for one in found}


def _events(store: Store, name: str) -> int:
    """Return how many votes, thumbs and corrections somebody gave."""
    if not name:
        return 0
    return sum(len(store.rows(kind, labeler=name)) for kind in (Vote, Rating, Edit))


def _unfinished(store: Store) -> Intention | None:
    """Return the erasure that was interrupted, if one was."""
    path = store.data / INTENTION
    return Intention(**json.loads(path.read_text("utf-8"))) if path.is_file() else None


def _write(path: Path, plan: Intention) -> None:
    """Write the intention whole, for nobody else to read, and wait for the disk."""
    part = path.with_suffix(".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(plan)))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
