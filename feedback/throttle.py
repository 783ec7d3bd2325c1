"""How often a wrong password may be tried: pauses that grow, by name and by address (pure).

An attempt counts as wrong from the moment it begins, so that many at once get no further than many
in turn; a right one takes that back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address, ip_network

FORGOTTEN_SECONDS = 3600.0  # Choice: longer than the longest pause; a typing error is forgiven
MOST_WRITTEN = 500  # Choice: keys that a restart remembers, 30 kB
MOST_KEPT = 10_000  # Choice: keys in memory, some 2 MB; an attacker may invent as many as they like


@dataclass(frozen=True)
class Limit:
    """How many wrong attempts are free, and the longest pause after more, in seconds."""

    free: int
    longest: float

    def pause(self, wrong: int) -> float:
        """Return the seconds to wait after so many wrong attempts: 1, 2, 4, … once none is free.

        Example:
            >>> [Limit(3, 900.0).pause(n) for n in (2, 3, 4, 9, 30)]
            [0.0, 1.0, 2.0, 64.0, 900.0]
        """
        over = wrong - self.free
        return 0.0 if over < 0 else min(2.0 ** min(over, 60), self.longest)


# Choice: who guesses one person's password from one place gets some eight tries in the first minute
# and four an hour in the end. Many places against one name, or many names from one place (which may
# be a whole office), are only slowed down, so that nobody can keep others out for long.
PAIR = Limit(3, 900.0)
NAME = Limit(10, 60.0)
PLACE = Limit(20, 60.0)


class Throttle:
    """Counts wrong attempts by key; use from one thread at a time."""

    def __init__(
        self, clock: Callable[[], float], known: Mapping[str, tuple[int, float]] = {}
    ) -> None:
        """Begin with what is known.

        Args:
            clock: seconds from any start, such as `time.monotonic`.
            known: what `wrong` said before a restart.
        """
        self._clock = clock
        at = clock()
        # hashed key → how many, and when the last one
        self._wrong = {key: (count, at - ago) for key, (count, ago) in known.items()}

    def wait(self, keys: Sequence[tuple[str, Limit]]) -> float:
        """Return the seconds until an attempt under these keys may begin; 0 for now."""
        return max((self._left(key, limit) for key, limit in keys), default=0.0)

    def begin(self, keys: Sequence[tuple[str, Limit]]) -> None:
        """Count an attempt as wrong."""
        at = self._clock()
        for key, _ in keys:
            self._wrong[key] = (self._count(key) + 1, at)
        if len(self._wrong) > MOST_KEPT:
            self._tidy()

    def right(self, keys: Sequence[tuple[str, Limit]]) -> None:
        """Take back what `begin` counted, and forget what was wrong with the first key before."""
        for number, (key, _) in enumerate(keys):
            count, at = self._wrong.get(key, (0, 0.0))
            if number == 0 or count <= 1:
                self._wrong.pop(key, None)
            else:
                self._wrong[key] = (count - 1, at)

    def wrong(self) -> dict[str, tuple[int, float]]:
        """Return the newest keys with how many were wrong, and seconds since the last one."""
        at = self._clock()
        newest = sorted(self._wrong.items(), key=lambda one: -one[1][1])[:MOST_WRITTEN]
        return {k: (n, at - then) for k, (n, then) in newest if at - then < FORGOTTEN_SECONDS}

    def _count(self, key: str) -> int:
        count, at = self._wrong.get(key, (0, 0.0))
        return count if self._clock() - at < FORGOTTEN_SECONDS else 0

    def _left(self, key: str, limit: Limit) -> float:
        _, at = self._wrong.get(key, (0, 0.0))
        return max(0.0, at + limit.pause(self._count(key)) - self._clock())

    def _tidy(self) -> None:
        """Forget the older half."""
        newest = sorted(self._wrong.items(), key=lambda one: one[1][1])[-MOST_KEPT // 2 :]
        self._wrong = dict(newest)


def keys_of(name: str, address: str) -> list[tuple[str, Limit]]:
    """Return what an attempt is counted under, the narrowest first."""
    place = place_of(address)
    told = ((f"{name}\n{place}", PAIR), (f"name {name}", NAME), (f"place {place}", PLACE))
    return [(hashed(key), limit) for key, limit in told]


def hashed(key: str) -> str:
    """Return what stands for a key in memory and in a file: a mistyped name may be a password."""
    return sha256(key.encode("utf-8", "replace")).hexdigest()[:32]


def place_of(address: str) -> str:
    """Return what stands for an address: of IPv6 its /64, which one household or office has.

    Example:
        >>> place_of("2001:db8:1:2:aaaa::7"), place_of("192.0.2.7"), place_of("")
        ('2001:db8:1:2::/64', '192.0.2.7', '')
    """
    try:
        known = ip_address(address)
    except ValueError:
        return address[:64]
    return str(ip_network((known, 64), strict=False)) if known.version == 6 else str(known)
