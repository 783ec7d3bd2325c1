"""The child that merges an adapter: does it fit, take the device, start it. Knows no torch.

While it works it has the device of the data folder, as a training has: the model worker leaves, and
answers wait until it has finished.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align import device
from align.children import MAX_THREADS, QUIET, ROOT
from align.json_files import read_json, write_json
from align.locks import FileLock
from align.models import Model
from storage import priority
from storage.errors import Busy, DiskFull, Unsupported

if TYPE_CHECKING:
    from align.workspace import Workspace

PATIENCE = 10.0  # seconds. Choice: the worker leaves within one; somebody else may come first
SPARE = 0.8e9  # bytes. Choice: torch and what a pass over one answer holds; measured 0.6 GB
MORE = 1.15  # Choice: of the weights, for one tensor at a time that is summed or rounded
FLOATS = {"float16": 2, "bfloat16": 2}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a base is merged on this machine."""

    dtype: str  # of what is written
    exact: bool  # compared in fp32


def plan(base: Model, adapter: Path, place: Path, free: float | None = None) -> Plan:
    """Return how to merge on this machine.

    Args:
        place: a folder on the disk that it is written to.
        free: bytes of memory, if not what is free now.

    Raises:
        Unsupported: the base lies here in 4 bits alone, or memory is too short.
        DiskFull: the merged weights do not fit.
    """
    config = read_json(base.path / "config.json")
    if config.get("quantization_config"):
        raise Unsupported(
            f"{base.name} lies here in 4 bits alone, and merging would keep their rounding: train "
            "from its 16-bit weights, or publish with --no-merged"
        )
    told = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    dtype = told if told in FLOATS else "bfloat16"
    needed = base.parameters * FLOATS[dtype] * MORE
    if (room := shutil.disk_usage(place).free) < needed:
        raise DiskFull(
            f"the merged model needs {_gb(needed)} on the disk of {place} and {_gb(room)} are "
            "free: free some, choose another folder, or publish with --no-merged"
        )
    free = device.cpu().free if free is None else free
    weights = (adapter / "adapter_model.safetensors").stat().st_size
    exact, half = (base.parameters * size * MORE + weights + SPARE for size in (4, 2))
    if exact <= free:
        return Plan(dtype, exact=True)
    if half <= free and told == "bfloat16":
        return Plan(dtype, exact=False)
    raise Unsupported(
        f"merging needs {_gb(half if told == 'bfloat16' else exact)} of memory and {_gb(free)} are "
        "free: free some, merge on another machine, or publish with --no-merged"
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


@contextlib.contextmanager
def device_held(workspace: Workspace) -> Iterator[None]:
    """Have the data folder's device for the time of a `with` block; the model worker leaves.

    Raises:
        Busy: a run trains, or somebody else keeps the device.
    """
    lock = FileLock(workspace.data / "DEVICE.lock")
    until = time.monotonic() + PATIENCE
    while True:
        if (busy := workspace.client.busy) is not None:
            raise Busy(f"{busy}.")
        workspace.client.leave()
        if lock.acquire():
            break
        if time.monotonic() > until:
            raise Busy("another process has this data folder's device: try again in a minute.")
    try:
        yield
    finally:
        lock.release()


def merge(
    base: Model,
    adapter: Path,
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    how: Plan,
    progress: Progress,
) -> dict[str, Any]:
    """Write the merged model to `out` and return how it compares: see `align.merging.Parity`.

    Args:
        out: a new folder; the child's job and report lie beside it for a while.
        rows: {"prompt", "response", "finished"}, the answers that are compared.
        progress: gets a line now and then; what it raises ends the child.

    Raises:
        Unsupported: the child refused, or it was killed.
    """
    job, report = out.with_name(".merge.json"), out.with_name(".merge-report.json")
    content = {
        "model": str(base.path), "adapter": str(adapter), "out": str(out), "report": str(report),
        "dtype": how.dtype, "exact": how.exact, "rows": list(rows),
    }  # fmt: skip
    write_json(job, content)
    try:
        _run(job, progress)
        return read_json(report)
    finally:
        for file in (job, report):
            file.unlink(missing_ok=True)


def _run(job: Path, progress: Progress) -> None:
    """Run the child to its end; when this process is no more, it ends too."""
    threads = str(min(os.cpu_count() or 1, MAX_THREADS))
    child = subprocess.Popen(
        [sys.executable, "-m", "align.merging", str(job)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={"OMP_NUM_THREADS": threads, **os.environ, **QUIET, "CUDA_VISIBLE_DEVICES": ""},
    )
    priority.lower(child.pid)
    assert child.stdout is not None
    assert child.stderr is not None
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(child.stderr or ()), daemon=True)
    reader.start()
    try:
        for line in child.stdout:
            progress(line.strip())
        code = child.wait()
        reader.join()
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()
    _raise_for(code, errors)


def _raise_for(code: int, errors: Sequence[str]) -> None:
    """Raise what ended the child."""
    if code == 2:
        raise Unsupported(errors[-1].strip() if errors else "merging was refused")
    if code < 0:
        raise Unsupported(
            f"merging was killed (signal {-code}): the machine is probably out of memory; free "
            "some, or publish with --no-merged"
        )
    if code:
        raise RuntimeError(f"merging met a bug:\n{''.join(errors)}")
