"""The journal: a second, independent copy of everything that is stored, as lines of JSON.

`journal/` holds two families of files, each line with its number and a checksum. `NNN.jsonl` are
the entries, one number per transaction or event: they name texts by hash only. `texts-NNN.jsonl`
hold the texts that came with an entry, apart, so that a text can be erased and the chain holds.
A write is on the disk (fsync) before the database hears of it; so the database can be rebuilt from
here, and start-up can tell what is missing. Knows nothing of the database.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from storage.durable import sync_folder
from storage.errors import StoreError

Entry = dict[str, Any]

LOG = logging.getLogger(__name__)


class Journal:
    """The entries and their texts, for one writer."""

    def __init__(self, folder: Path, rotate_bytes: int) -> None:
        """Open the folder and cut off what a crash left half-written.

        Args:
            folder: made where it is not there.
            rotate_bytes: size of a file that starts the next one.
        """
        folder.mkdir(exist_ok=True)
        self._entries = Lines(folder, "", rotate_bytes)
        self._texts = Lines(folder, "texts-", rotate_bytes)

    @property
    def last(self) -> int:
        """The highest number that was written; 0 for an empty journal."""
        return max(self._entries.last, self._texts.last)

    @property
    def last_entry(self) -> int:
        """The highest number of an entry."""
        return self._entries.last

    def write(self, entries: Iterable[Entry], texts: Iterable[Entry] = ()) -> None:
        """Append texts, then entries, and wait until each is on the disk.

        Every line starts with its number, `n`, and numbers never fall.

        Raises:
            OSError: nothing of this write counts; what arrived of it is cut off by the next one.
        """
        self._texts.append(texts)
        self._entries.append(entries)

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """Return the entries whose number is higher than `after`, oldest first."""
        return self._entries.read(after)

    def texts(self, after: int = 0) -> Iterator[Entry]:
        """Return the texts that came with entries whose number is higher than `after`."""
        return self._texts.read(after)

    def rewrite(self, told: Callable[[bytes], bool], changed: Callable[[Entry], Entry]) -> int:
        """Replace what lines say, file by file, each whole or not at all; return how many lines.

        Only for the one who writes, and only what no number and no hash depends on.

        Args:
            told: says of a line's bytes whether it has to be looked at.
            changed: returns what the entry shall be.
        """
        return self._texts.rewrite(told, changed) + self._entries.rewrite(told, changed)

    def close(self) -> None:
        """Close the files."""
        self._entries.close()
        self._texts.close()


class Lines:
    """One family of append-only files; each file is named by the first number in it."""

    def __init__(self, folder: Path, prefix: str, rotate_bytes: int) -> None:
        self._folder, self._prefix, self._rotate_bytes = folder, prefix, rotate_bytes
        self._handle = -1
        self._size = 0  # bytes that count; whatever lies beyond is a torn write
        self._broken = False
        self.last = 0
        files = self._files()
        while files and not self._reopen(files.pop()):
            pass

    def _files(self) -> list[Path]:
        """Return the files, oldest first."""
        found = self._folder.glob(f"{self._prefix}*.jsonl")
        return sorted(path for path in found if path.stem.removeprefix(self._prefix).isdigit())

    def _reopen(self, path: Path) -> bool:
        """Cut the file behind its last whole line and go on there; False where it has none."""
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        while end and (last := _parse(data[data.rfind(b"\n", 0, end - 1) + 1 : end])) is None:
            end = data.rfind(b"\n", 0, end - 1) + 1
        if end < len(data):
            LOG.warning("%s: cut off %d bytes that were never acknowledged", path, len(data) - end)
        self._open(path)
        os.ftruncate(self._handle, end)
        self._size = end
        if end:
            self.last = int(last["n"])  # type: ignore[index]
        return end > 0

    def _open(self, path: Path) -> None:
        self.close()
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._handle).st_size

    def append(self, lines: Iterable[Entry]) -> None:
        """Write the lines behind the last that counts, and wait for the disk."""
        lines = iter(lines)
        first = next(lines, None)
        if first is None:
            return
        if self._broken:
            raise StoreError("the journal's disk failed; acknowledged votes are safe: restart Hone")
        if self._handle < 0 or self._size >= self._rotate_bytes:
            self._rotate(first["n"])
        os.ftruncate(self._handle, self._size)
        size, last = self._size, first
        block = bytearray(_format(first))
        for last in lines:
            block += _format(last)
            if len(block) > 1 << 20:
                size += self._write(block, size)
                block.clear()
        size += self._write(block, size)
        self._sync(self._handle)
        self._size, self.last = size, last["n"]

    def _write(self, block: bytes | bytearray, at: int) -> int:
        """Write all bytes at an offset; return how many."""
        done = 0
        while done < len(block):
            done += os.pwrite(self._handle, block[done:], at + done)
        return done

    def _rotate(self, number: int) -> None:
        self._open(self._folder / f"{self._prefix}{number:016d}.jsonl")
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._sync(folder)
        finally:
            os.close(folder)

    def _sync(self, handle: int) -> None:
        """Flush to the disk. After a failure nobody knows what the disk has: no more writes."""
        try:
            os.fsync(handle)
        except OSError:
            self._broken = True
            raise

    def read(self, after: int) -> Iterator[Entry]:
        """Return the whole lines numbered higher than `after`; report and skip a damaged one."""
        files = self._files()
        starts = [int(path.stem.removeprefix(self._prefix)) for path in files]
        older = sum(start <= after + 1 for start in starts)
        for path in files[max(0, older - 1) :]:
            with path.open("rb") as handle:
                for line in handle:
                    if _number(line) <= after:
                        continue
                    entry = _parse(line)
                    if entry is None:
                        LOG.error("%s: a damaged line was skipped: %r", path, line[:80])
                    elif entry["n"] > after:
                        yield entry

    def rewrite(self, told: Callable[[bytes], bool], changed: Callable[[Entry], Entry]) -> int:
        """Replace what lines say; see `Journal.rewrite`."""
        files, lines = self._files(), 0
        if self._handle >= 0:
            os.ftruncate(self._handle, self._size)
        for path in files:
            if found := _rewrite(path, told, changed):
                lines += found
                if path == files[-1]:
                    self._open(path)
        return lines

    def close(self) -> None:
        """Close the file that is written, without what was written in vain."""
        if self._handle >= 0:
            os.ftruncate(self._handle, self._size)
            os.close(self._handle)
        self._handle = -1


def _rewrite(path: Path, told: Callable[[bytes], bool], changed: Callable[[Entry], Entry]) -> int:
    """Write a file anew beside its place and rename it, where a line of it changes."""
    with path.open("rb") as handle:
        if not any(map(told, handle)):
            return 0
    unfinished, lines = path.with_suffix(".part"), 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with path.open("rb") as old, open(os.open(unfinished, flags, 0o600), "wb") as new:
        for line in old:
            if told(line):
                lines += 1
                entry = _parse(line)
                line = b"" if entry is None else _format(changed(entry))  # damaged: nobody reads it
            new.write(line)
        new.flush()
        os.fsync(new.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)
    return lines


def _format(entry: Entry) -> bytes:
    """Return the line of an entry, its checksum as the last key."""
    body = orjson.dumps(entry)[:-1]
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def _parse(line: bytes) -> Entry | None:
    """Return the entry of a line; None where the line is not whole."""
    body, _, tail = line.rpartition(b',"crc":"')
    if tail != b'%08x"}\n' % zlib.crc32(body):
        return None
    entry: Entry = json.loads(body + b"}")
    return entry


def _number(line: bytes) -> int:
    """Return the number that a line starts with, without reading the rest; a big one if unclear."""
    digits = line[5:25].partition(b",")[0]
    return int(digits) if line.startswith(b'{"n":') and digits.isdigit() else 1 << 62
