"""The file formats that Hone reads and writes: a reader, a writer if any, a line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from feedback.formats import files, rankings, trl, votes
from feedback.formats.rows import Refused, Row, listed
from storage.errors import BadInput


@dataclass(frozen=True, slots=True)
class Format:
    read: Callable[[Path], Iterator[Row | Refused]]
    write: Callable[[Path, Iterable[Row]], int] | None  # None: it is only read
    looks: Callable[[Iterable[str]], bool]  # do rows with these columns belong to it?
    holds: str  # "pairs", "labels" or "votes"
    describe: str  # one line for the screen and the README


def read(path: Path, format: str) -> Iterator[Row | Refused]:
    """Return the rows of a file in a named format, or "auto": what its columns look like.

    Raises:
        BadInput: an unknown format, or a file that is none.
    """
    name = detect(path) if format == "auto" else format
    return named(name).read(path)


def named(name: str) -> Format:
    """Return a format by its name."""
    if name not in FORMATS:
        raise BadInput(f"there is no format {name[:40]!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def detect(path: Path) -> str:
    """Return the name of the format that a file's first readable row looks like."""
    seen: list[str] = []

    def note(columns: Iterable[str]) -> None:
        seen.extend(columns)

    for raw in islice(files.read_rows(path, note), 20):
        if not seen and isinstance(raw, files.Raw):
            seen.extend(raw.fields)
        if seen:
            break
    for name, format in FORMATS.items():
        if format.looks(seen):
            return name
    raise BadInput(
        f"{path}: has {listed(seen) or 'no row that can be read'}; no known format looks "
        f"like that, so name one of {', '.join(FORMATS)}"
    )


FORMATS: dict[str, Format] = {
    "trl": Format(
        trl.read,
        trl.write_pairs,
        trl.looks,
        "pairs",
        "TRL's prompt/chosen/rejected or prompt/completion/label; JSONL, Parquet; writes pairs",
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
}
