"""What every test stands on."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time, so that a failure speaks of the change at hand; and no limit by the
# clock, for the machine may be busy.
settings.register_profile(
    "hone", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hone")

# A shell that starts tests in the background lets them ignore Ctrl-C, and their children with them.
# A handler of our own is not inherited: children start with the default.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector off the millions of objects that torch and the others stay with:
    it costs a fifth of importing them, and half a second whenever a training run asks for it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
