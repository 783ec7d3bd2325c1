"""Low priority for what computes, so that voting stays quick beside it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NICENESS = 10  # Choice: half way down; idle cores are still used in full


def lower(pid: int) -> None:
    """Put a child process, the leader of its session, behind what people wait for.

    Linux shares the processor among sessions first and heeds niceness only within one (autogroup,
    sched(7)), so the session's own niceness is set too, where there is such a thing.
    """
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))
