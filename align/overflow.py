"""When memory runs out in the middle: known for what it is, given back, explained."""

from __future__ import annotations

import gc

import torch

from align.recipes import TrainSettings
from storage.errors import Unsupported

CPU_WORDS = ("DefaultCPUAllocator", "not enough memory", "Cannot allocate memory")


def ran_out(error: BaseException) -> bool:
    """Say whether an error means that memory ran out; on a CPU torch says so in words only."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_WORDS)


def give_back_memory() -> None:
    """Free what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def too_large(tokens: int, train: TrainSettings) -> Unsupported:
    """Return what to say where not even a single row fits.

    Args:
        tokens: of the largest pass.
    """
    remedies = [f"--set max_tokens={max(16, train.max_tokens // 2)}"]
    if train.precision != "nf4":
        remedies.append("--set precision=nf4")
    return Unsupported(
        f"memory ran out over a single row of {tokens} tokens: free some memory, or train again "
        f"with {' or '.join(remedies)}; the last checkpoint is kept"
    )
