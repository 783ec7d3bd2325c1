"""Import what is large without the garbage collector: hardly anything of torch is ever garbage.

A tenth of the time of importing torch, transformers and peft goes into looking for some.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector off in the body, and turn it on again however the body ends."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
