"""Start the N processes of a run on this machine: torchrun, with the exit codes of one process.

torchrun by hand does the same, but where a run is refused it adds its own summary and ends with 1.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

CANCELLED = 143


def launch(folder: str, processes: int) -> int:
    """Train with N processes here and return the exit code that one process would have."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    threads = max(1, (os.cpu_count() or 1) // processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    words = ["--standalone", "--nproc-per-node", str(processes), "-m", "align.train", folder]
    try:
        with unlogged():
            run.run(run.parse_args(words))
    except ChildFailedError as error:
        return exit_code({failure.exitcode for failure in error.failures.values()})
    except SignalException:
        return CANCELLED
    return 0


def exit_code(codes: set[int]) -> int:
    """Return the exit code of a run from those of its processes that failed first.

    Example:
        >>> exit_code({2}), exit_code({1, 2}), exit_code({143}), exit_code({-9})
        (2, 1, 143, 2)
    """
    return next((code for code in (1, CANCELLED) if code in codes), 2)


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Keep torchrun's log lines back: the processes themselves say in a sentence what was wrong."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
