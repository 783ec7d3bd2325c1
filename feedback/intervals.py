"""The interval of a share that was counted."""

from __future__ import annotations

import math

Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of the share hits/n, n > 0; a tie may count as half a hit.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927);
    Brown, Cai, DasGupta 2001 recommend it for small n.

    Example:
        >>> [round(end, 4) for end in wilson(1, 1)]
        [0.2065, 1.0]
    """
    share, spread = hits / n, Z95 * Z95 / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == n else middle + half
    return low, high
