"""What this machine has to compute on: cores, instructions, free memory, a GPU. Knows no torch.

The facts are read again at every question; the web process asks them too, so nothing heavy is
imported. A GPU counts only where the installed torch can use one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from align.preflight import Device

INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "avx512f", "avx2", "asimd")  # fastest first
ASKING_SECONDS = 10.0  # Choice: nvidia-smi takes one or two
CGROUP = Path("/sys/fs/cgroup")


def device_now(leaving: Iterable[int | None] = ()) -> Device:
    """Return what a run could have now.

    Args:
        leaving: processes that give their memory back before the run starts (the model worker).
    """
    gone = [pid for pid in leaving if pid]
    return gpu(gone) or cpu(gone)


def cpu(leaving: Iterable[int] = ()) -> Device:
    """Return the processor and the memory that is free, within the limits of a container."""
    memory = psutil.virtual_memory()
    total, used = cgroup_memory()
    free = min(memory.available, total - used) if total else memory.available
    for pid in leaving:
        with contextlib.suppress(psutil.Error):
            free += psutil.Process(pid).memory_info().rss
    limit = min(total, memory.total) if total else memory.total
    return Device("cpu", min(free, limit), limit, cores(), instructions())


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the fastest instructions for matrices that Linux names for this CPU, "" if none."""
    try:
        flags = set(cpuinfo.read_text().split())
    except OSError:
        return ""
    return next((name for name in INSTRUCTIONS if name in flags), "")


def cgroup_memory(folder: Path = CGROUP) -> tuple[int, int]:
    """Return limit and use of a container's memory in bytes; (0, 0) where nothing limits it.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, memory.max and memory.current. What
    the file cache holds can be given back, so it does not count as used.
    """
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return 0, 0
    if not limit.isdigit():  # "max"
        return 0, 0
    given_back = ("inactive_file ", "active_file ")
    cache = sum(int(line.split()[1]) for line in lines if line.startswith(given_back))
    return int(limit), max(0, used - cache)


def gpu(leaving: Iterable[int] = ()) -> Device | None:
    """Return the first GPU that the installed torch can use, or None."""
    if not torch_knows_cuda():
        return None
    rows = _ask("--query-gpu=index,uuid,name,memory.free,memory.total")
    number = first_visible(os.environ.get("CUDA_VISIBLE_DEVICES"), rows)
    if number is None:
        return None
    _, _, named = rows[number].split(",", 2)
    name, free, total = named.rsplit(",", 2)
    used = [row.split(",") for row in _ask("--query-compute-apps=pid,used_memory")]
    back = sum(_mebibytes(size) for pid, size in used if int(pid) in set(leaving))
    return Device("cuda", _mebibytes(free) + back, _mebibytes(total), cores(), "", name.strip())


def first_visible(listed: str | None, rows: Sequence[str]) -> int | None:
    """Return which row has the GPU that CUDA sees first, None if it sees none.

    nvidia-smi tells of all GPUs, whatever the variable says. A part of a GPU (MIG) counts as a GPU.

    Args:
        listed: CUDA_VISIBLE_DEVICES: indices, or UUIDs or the beginnings of some; CUDA reads it up
            to the first entry that names no GPU.
        rows: "index, UUID, …" of each GPU.

    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".

    Example:
        >>> rows = ["0, GPU-4f", "1, GPU-7a"]
        >>> first_visible(None, rows), first_visible("1,0", rows), first_visible("GPU-7", rows)
        (0, 1, 1)
        >>> first_visible("", rows), first_visible("-1", rows), first_visible("2,0", rows)
        (None, None, None)
    """
    first = "0" if listed is None else listed.split(",")[0].strip()
    for number, row in enumerate(rows):
        index, uuid = (cell.strip() for cell in row.split(",")[:2])
        named = first.startswith("GPU-") and uuid.startswith(first)
        if first == index or named or first.startswith("MIG-"):
            return number
    return None


def torch_knows_cuda() -> bool:
    """Say whether the installed torch was built for CUDA, without importing it."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    return any((Path(found.origin).parent / "lib").glob("*torch_cuda*"))


def _ask(question: str) -> list[str]:
    """Return the lines of nvidia-smi's answer; none where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    words = [program, question, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=ASKING_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [] if done.returncode else [line for line in done.stdout.splitlines() if line.strip()]


def _mebibytes(text: str) -> int:
    """Return bytes; "[N/A]" counts as none."""
    text = text.strip()
    return int(text) << 20 if text.isdigit() else 0
