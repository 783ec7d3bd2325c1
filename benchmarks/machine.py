"""What a benchmark ran on, without naming the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from align.device import cores


def machine() -> dict[str, Any]:
    """Describe cores, memory, the matrix instructions of the CPU, the GPU and the versions."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    flags = Path("/proc/cpuinfo").read_text().split()
    return {
        "cores": cores(),
        "memory_gb": round(pages / 1e9),
        "cpu": next((f for f in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if f in flags), "?"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
