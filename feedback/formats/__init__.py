"""The file formats that Hone reads and writes: a reader, a writer if any, a line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from feedback.formats import (
    arena,
    argilla,
    feedloop,
    files,
    generic,
    gradio_flags,
    label_studio,
    llama_factory,
    open_webui,
    openassistant,
    rankings,
    trl,
    votes,
)
from feedback.formats.guessing import guessed
from feedback.formats.rows import Raw, Refused, Row, listed
from storage.errors import BadInput


@dataclass(frozen=True, slots=True)
class Format:
    read: Callable[[Path], Iterator[Row | Refused]]
    write: Callable[[Path, Iterable[Row]], int] | None  # None: it is only read
    looks: Callable[[Iterable[str]], bool]  # do rows with these columns belong to it?
    holds: str  # "pairs", "labels" or "votes"
    describe: str  # one line for the screen and the README


@dataclass(frozen=True, slots=True)
class Preview:
    """What a file looks like before it is imported."""

    format: str  # a name in FORMATS
    rows: tuple[Row, ...]  # of the first rows, those that can be taken
    refused: tuple[Refused, ...]  # and those that cannot
    columns: tuple[str, ...] = ()  # what the file has, where they can be named
    named: Mapping[str, str] = field(default_factory=dict)  # and what they are taken for
    why: str = ""  # what keeps the rows from being read with these columns


def read(
    path: Path, format: str, columns: Mapping[str, str] | None = None
) -> Iterator[Row | Refused]:
    """Return the rows of a file in a named format, or "auto": what its columns look like.

    Args:
        columns: the file's column for each field of the format `columns`, which they ask for, as
            in {"prompt": "question", "a": "first answer", "b": "second answer"}.

    Raises:
        BadInput: an unknown format, or a file that is none.
    """
    chosen = named(choose(path, format, columns))
    return generic.read(path, columns) if columns else chosen.read(path)


def choose(path: Path, format: str, columns: Mapping[str, str] | None = None) -> str:
    """Return the name of the format that `read` takes."""
    if columns:
        if format not in ("auto", "columns"):
            raise BadInput(f"{format[:40]!r} names its columns itself; leave the format out")
        return "columns"
    return detect(path) if format == "auto" else format


def preview(
    path: Path, format: str = "auto", columns: Mapping[str, str] | None = None, rows: int = 5
) -> Preview:
    """Return how a file would be read, from its first rows; nothing is stored.

    Raises:
        BadInput, NotFound: as `read`, and from what it returns.
    """
    name = choose(path, format, columns)
    seen = list(islice(read(path, name, columns), rows))
    taken = tuple(row for row in seen if not isinstance(row, Refused))
    return Preview(name, taken, tuple(row for row in seen if isinstance(row, Refused)))


def look(path: Path, format: str = "auto", columns: Mapping[str, str] | None = None) -> Preview:
    """Return what `preview` does, and where the columns have to be named, what they may be.

    Args:
        columns: as for `read`; None takes what their names say.

    Raises:
        BadInput, NotFound: the file as a whole is none.
    """
    has = columns_of(path)
    chosen = format if format != "auto" else looks_like(has) or "columns"
    if chosen != "columns":
        return preview(path, chosen)
    names = guessed(has) if columns is None else dict(columns)
    if why := generic.missing(has, names):
        return Preview(chosen, (), (), tuple(has), names, why)
    seen = preview(path, chosen, names)
    return replace(seen, columns=tuple(has), named=names)


def named(name: str) -> Format:
    """Return a format by its name."""
    if name not in FORMATS:
        raise BadInput(f"there is no format {name[:40]!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def detect(path: Path) -> str:
    """Return the name of the format that a file's first readable row looks like."""
    seen = columns_of(path)
    found = looks_like(seen)
    if found is None:
        raise BadInput(
            f"{path}: has {listed(seen) or 'no row that can be read'}; no known format looks like "
            f"that, so name its columns, or one of {', '.join(FORMATS)}"
        )
    return found


def columns_of(path: Path) -> list[str]:
    """Return the columns of a table, or the keys of the first row that can be read."""
    seen: list[str] = []
    for raw in islice(files.read_rows(path, seen.extend), 20):
        if not seen and isinstance(raw, Raw):
            seen.extend(raw.fields)
        if seen:
            break
    return seen


def looks_like(columns: Iterable[str]) -> str | None:
    """Return the first format that rows with these columns look like."""
    seen = list(columns)
    return next((name for name, format in FORMATS.items() if format.looks(seen)), None)


# The first one that a file looks like is taken, so what asks for more columns stands before.
FORMATS: dict[str, Format] = {
    "arena": Format(
        arena.read,
        None,
        arena.looks,
        "votes",
        "Chatbot Arena's and MT-bench's battles: conversations and a winner; JSON, JSONL, Parquet",
    ),
    "argilla": Format(
        argilla.read,
        None,
        argilla.looks,
        "votes",
        "Argilla 2's export of a ranking of two responses, nested or flattened; JSON, Parquet",
    ),
    "label-studio": Format(
        label_studio.read,
        None,
        label_studio.looks,
        "votes",
        "Label Studio's export of pairwise tasks: each annotation is a vote; JSON",
    ),
    "openassistant": Format(
        openassistant.read,
        None,
        openassistant.looks,
        "votes",
        "OpenAssistant's message trees: each two ranked answers are a vote; JSONL, also gzip'd",
    ),
    "open-webui": Format(
        open_webui.read,
        None,
        open_webui.looks,
        "votes",
        "Open WebUI's export of feedback: thumbs, and votes against the answers beside; JSON",
    ),
    "feedloop": Format(
        feedloop.read,
        None,
        feedloop.looks,
        "votes",
        "feedloop's SQLite file: its judged comparisons with their sides",
    ),
    "gradio-flags": Format(
        gradio_flags.read,
        None,
        gradio_flags.looks,
        "labels",
        "the log.csv of a Gradio chat with thumbs",
    ),
    "llama-factory": Format(
        llama_factory.read,
        llama_factory.write_pairs,
        llama_factory.looks,
        "pairs",
        "LLaMA-Factory's preference sets, alpaca and sharegpt, and kto_tag; writes sharegpt pairs",
    ),
    "llama-factory-kto": Format(
        llama_factory.read,
        llama_factory.write_labels,
        llama_factory.looks,
        "labels",
        "LLaMA-Factory's conversations with kto_tag; reads what llama-factory reads",
    ),
    "trl": Format(
        trl.read,
        trl.write_pairs,
        trl.looks,
        "pairs",
        "TRL's prompt/chosen/rejected or prompt/completion/label, hh-rlhf; JSONL, Parquet; pairs",
    ),
    "votes": Format(
        votes.read,
        votes.write,
        votes.looks,
        "votes",
        "Hone's own: one vote a row with both answers, models, labeler, verdict; CSV, JSONL",
    ),
    "trl-labels": Format(
        trl.read,
        trl.write_labels,
        trl.looks,
        "labels",
        "TRL's prompt/completion/label for KTO; JSONL, Parquet; reads what trl reads",
    ),
    "rankings": Format(
        rankings.read,
        None,
        rankings.looks,
        "votes",
        "2 to 16 answers to a prompt, best first or with ranks, as votes; JSONL, Parquet",
    ),
    "columns": Format(
        generic.read,
        None,
        generic.looks,
        "votes",
        "any table or JSON with prompt, two answers, verdict, or prompt, answer, thumb",
    ),
}
