"""How much one key may send (pure but for the clock): a bucket that fills as time goes by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MINUTE = 60.0


@dataclass(frozen=True)
class Allowance:
    """What a key may send in a minute; all of it at once after a quiet one.

    Choice: more than two cores take, so that only a client gone wild is held up, and not others.
    """

    requests: int = 60_000
    items: int = 1_000_000


USUAL = Allowance()


class Meter:
    """Counts one thing for each name."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        """Args: clock: seconds from any start, such as `time.monotonic`."""
        self._most, self._clock = per_minute, clock
        self._left: dict[str, tuple[float, float]] = {}  # name → how many are left, and when

    def take(self, name: str, n: int) -> int:
        """Return 0 and count n things, or the seconds after which they may be sent."""
        now = self._clock()
        left, at = self._left.get(name, (float(self._most), now))
        left = min(self._most, left + (now - at) * self._most / MINUTE)
        asked = min(n, self._most)  # more than a minute's may go once, and is paid for afterwards
        if asked <= left:
            self._left[name] = (left - n, now)
            return 0
        self._left[name] = (left, now)
        return math.ceil((asked - left) * MINUTE / self._most)
