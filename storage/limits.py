"""How much of the machine the store takes: memory, room on the disk, sizes of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Limits:
    """All in bytes.

    Choice: DuckDB's own memory limit is 80 % of the machine, which would fight the training child.
    The spare room is what a checkpoint of a big file may need; on a small disk, 5 % of it.
    """

    memory: int = 1_000_000_000
    memory_share: float = 0.25  # of the machine, where that is less
    memory_least: int = 256_000_000  # below this DuckDB cannot sort a big table
    # Of DuckDB's log that starts a checkpoint. Choice: beside a million votes an import of 30,000
    # pairs takes 20.6 s instead of 27.9 with DuckDB's own 16 MB, and a start after a kill 1.4 s
    # instead of 0.6; with 256 MB it would be 16.3 s and 4.9.
    checkpoint: int = 64 << 20
    journal_file: int = 16 << 20  # that starts the next file: what a start may have to scan, 0.1 s
    spare: int = 500_000_000  # room on the disk that voting leaves
    spare_share: float = 0.05  # of the disk, where that is less
    alone: bool = False  # nobody is answered beside: queries take all cores, not half of them

    def memory_now(self) -> int:
        """Return how much memory DuckDB may use on this machine."""
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return max(self.memory_least, min(self.memory, int(machine * self.memory_share)))

    def threads_now(self) -> int:
        """Return how many threads a query of DuckDB may use.

        Half of the cores, unless `alone`: the other half answers requests, and with one thread for
        two cores a vote's insert takes 2.0 ms of processor time, with two 3.6 ms: handing a row to
        the other thread costs more than it is.
        """
        limited = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if limited else os.cpu_count() or 1
        return cores if self.alone else max(1, cores // 2)

    def missing_room(self, folder: Path) -> int:
        """Return the spare room, if the folder's disk has less than that; 0 where it has more."""
        disk = os.statvfs(folder)
        spare = min(self.spare, int(disk.f_blocks * disk.f_frsize * self.spare_share))
        return spare if disk.f_bavail * disk.f_frsize < spare else 0
