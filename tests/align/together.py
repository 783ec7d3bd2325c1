"""Train several runs one after the other with the processes that torchrun started: `python -m`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from align import train, trainer
from align.processes import join
from align.run_files import RunFiles
from tests.align.small import answer_briefly

plain_passes = trainer.passes


def told_passes(model: Any, batch: Any, job: Any, *pause: Any) -> Any:
    """Say whether this process's mismatched responses ride, and go on as ever."""
    if job.loss.mismatched:
        rides = [micro.riders is not None for micro in batch.micros]
        sys.stderr.write(f"process {job.processes.rank} rides: {rides}\n")
    return plain_passes(model, batch, job, *pause)


def main(folders: list[str]) -> int:
    together = join(lambda: False)
    files = [RunFiles(Path(folder), quiet=not together.first) for folder in folders]
    trainer.passes = told_passes
    answer_briefly(pytest.MonkeyPatch())
    code = max(train.guarded(one, together) for one in files)
    together.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
