"""Run a coroutine to its end in a thread of its own.

Playwright's browser keeps an event loop running on the main thread for as long as it is open, and
`asyncio.run` refuses to start beside one: tests must not depend on which file ran before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what the coroutine returns; its error comes through."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
