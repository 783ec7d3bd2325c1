"""Write what is stored into a file of one of the field's formats.

What is written is looked through for personal data on its way, each different text once:
20 µs, where a row takes some 150.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from feedback import formats
from feedback.erasing import erased_texts
from feedback.formats.rows import Answer, RatingRow, Row, VoteRow
from feedback.frozen import load
from feedback.live import live_feedback, preferences_of
from feedback.personal import PersonalData
from feedback.preferences import Label, Pair
from feedback.pseudonyms import Pseudonyms
from feedback.remarks import own_aspects, said_of
from storage.errors import BadInput
from storage.records import ERASED, Extra, Message, Prompt, Remark, Response
from storage.store import Store

AT_ONCE = 2_000  # rows whose texts are in memory at the same time


def export_file(
    store: Store,
    path: Path | str,
    format: str,
    snapshot_dir: Path | None = None,
    *,
    names: bool = False,
) -> dict[str, Any]:
    """Write a file; return {"written", "personal_data"}: how many rows, and how many of their
    different texts hold personal data, by kind. See `Store.aside`.

    Args:
        format: a name in FORMATS: "votes" writes every live vote; the others, as "trl" and
            "trl-labels", write the pairs or labels that the live feedback gives now, or those of a
            snapshot.
        snapshot_dir: the snapshot's folder.
        names: write labelers by their names; else by pseudonyms, the same in every export.

    Raises:
        BadInput: an unknown format, votes of a snapshot, or a file that cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise BadInput(f"{path}: there is no folder {path.parent}; make it, or choose another one")
    frozen = Path(snapshot_dir).absolute() if snapshot_dir else None
    return store.aside(_exported, path.absolute(), format, frozen, names=names)


def _exported(
    store: Store, path: Path, format: str, snapshot_dir: Path | None, *, names: bool
) -> dict[str, Any]:
    chosen = formats.named(format)
    if chosen.write is None:
        others = ", ".join(name for name, one in formats.FORMATS.items() if one.write)
        raise BadInput(f"{format} is only read; export one of {others}")
    if chosen.holds == "votes":
        if snapshot_dir is not None:
            raise BadInput("a snapshot holds pairs and labels, not votes; choose trl or trl-labels")
        rows = _votes(store, None if names else Pseudonyms(store))
    elif snapshot_dir is not None:
        rows = _frozen(snapshot_dir, chosen.holds)
    else:
        rows = _live(store, chosen.holds)
    found = PersonalData()
    written = chosen.write(path, _looked_at(rows, found))
    return {"written": written, "personal_data": found.as_json()}


def _looked_at(rows: Iterator[Row], found: PersonalData) -> Iterator[Row]:
    """Yield the rows as they are, and look at every text that they write."""
    for row in rows:
        found.look_at("\n\n".join(message["content"] for message in row.prompt))
        found.look_at(row.labeler)
        for answer in (row.a, row.b) if isinstance(row, VoteRow) else (row.answer,):
            found.look_at(answer.text)
        yield row


def _votes(store: Store, pseudonyms: Pseudonyms | None) -> Iterator[Row]:
    """Yield every live vote, oldest first, but those on texts that were erased."""
    votes = store.frame("votes").sort_values(["created_at", "vote"])
    if gone := erased_texts(store):
        asked = {one.id for one in store.rows(Prompt, text=sorted(gone))}
        told = votes["text_a"].isin(gone) | votes["text_b"].isin(gone) | votes["prompt"].isin(asked)
        votes = votes[~told]
    any_extra, any_remark = store.count(Extra) > 0, store.count(Remark) > 0
    for part in _parts(votes):
        prompts = _prompts(store, part["prompt"])
        contents = store.texts({*part["text_a"], *part["text_b"]})
        extras = extras_of(store, part["vote"]) if any_extra else {}
        added = said_of(store, part["vote"]) if any_remark else {}
        for number, vote in enumerate(part.astype(object).itertuples(), start=1):
            remark = added.get(vote.vote)
            yield VoteRow(
                row=number,
                prompt=prompts[vote.prompt],
                a=Answer(contents[vote.text_a], vote.model_a),
                b=Answer(contents[vote.text_b], vote.model_b),
                verdict=vote.verdict,
                labeler=pseudonyms.of(vote.labeler) if pseudonyms else vote.labeler,
                left=vote.left,
                created_at=vote.created_at.to_pydatetime(),
                id=vote.vote,
                comparison=vote.comparison,
                kind=vote.kind,
                extra=extras.get(vote.vote, ""),
                strength=remark.strength if remark else "",
                aspects=own_aspects(remark, vote.left) if remark else {},
            )


def _frozen(folder: Path, holds: str) -> Iterator[Row]:
    """Yield a snapshot's pairs or labels of all splits."""
    frozen = load(folder)
    for number, row in enumerate(frozen.pairs() if holds == "pairs" else frozen.labels(), start=1):
        prompt = tuple(row["prompt"])
        if holds == "pairs":
            yield VoteRow(number, prompt, Answer(row["chosen"]), Answer(row["rejected"]), "a")
        else:
            yield RatingRow(number, prompt, Answer(row["completion"]), _thumb(row["label"]))


def _live(store: Store, holds: str) -> Iterator[Row]:
    """Yield the pairs or labels that the live feedback gives now."""
    preferences = preferences_of(store, live_feedback(store))
    any_extra = store.count(Extra) > 0
    none = "{}" if any_extra else ""  # in all rows or in none: `datasets` wants the same columns
    wanted: Sequence[Any] = preferences.pairs if holds == "pairs" else preferences.labels
    for start in range(0, len(wanted), AT_ONCE):
        part = wanted[start : start + AT_ONCE]
        prompts = _prompts(store, [one.prompt for one in part])
        extras = extras_of(store, [id for one in part for id in _said_by(one)]) if any_extra else {}
        if holds == "pairs":
            answers = _answers(store, [id for one in part for id in (one.chosen, one.rejected)])
        else:
            answers = _answers(store, [one.response for one in part])
        for number, one in enumerate(part, start=start + 1):
            prompt = prompts[one.prompt]
            extra = next((extras[id] for id in _said_by(one) if id in extras), none)
            if holds == "pairs":
                good, bad = answers[one.chosen], answers[one.rejected]
                yield VoteRow(number, prompt, good, bad, "a", extra=extra)
            else:
                thumb = _thumb(one.good)
                yield RatingRow(number, prompt, answers[one.response], thumb, extra=extra)


def _said_by(one: Pair | Label) -> Sequence[str]:
    """Return the votes, thumbs and edits behind a pair or label; the first's fields go with it."""
    return one.votes_for if isinstance(one, Pair) else one.votes


def extras_of(store: Store, events: Iterable[str]) -> dict[str, str]:
    """Return what imported rows said beyond what is read, as JSON, by the event's id; not what was
    erased since."""
    found = store.found(Extra, events)
    contents = store.texts(one.text for one in found.values())
    told = {id: contents.get(one.text, ERASED) for id, one in found.items()}
    return {id: text for id, text in told.items() if text != ERASED}


def _prompts(store: Store, ids: Sequence[str] | pd.Series) -> dict[str, tuple[Message, ...]]:
    texts = store.columns(Prompt, list(ids), ("text",))
    contents = store.texts(text for (text,) in texts.values())
    return {id: tuple(orjson.loads(contents[text])) for id, (text,) in texts.items()}


def _answers(store: Store, ids: Sequence[str]) -> Mapping[str, Answer]:
    known = store.columns(Response, ids, ("text", "model"))
    contents = store.texts(text for text, _ in known.values())
    return {id: Answer(contents[text], model) for id, (text, model) in known.items()}


def _thumb(good: bool) -> str:
    return "up" if good else "down"


def _parts(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for start in range(0, len(frame), AT_ONCE):
        yield frame.iloc[start : start + AT_ONCE]
