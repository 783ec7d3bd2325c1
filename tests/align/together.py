"""Train several runs one after the other with the processes that torchrun started: `python -m`."""

from __future__ import annotations

import sys
from pathlib import Path

from align import train
from align.processes import join
from align.run_files import RunFiles


def main(folders: list[str]) -> int:
    together = join(lambda: False)
    files = [RunFiles(Path(folder), quiet=not together.first) for folder in folders]
    code = max(train.guarded(one, together) for one in files)
    together.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
