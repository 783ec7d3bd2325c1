"""The interval of a share."""

from __future__ import annotations

import pytest

from feedback.intervals import wilson


def test_the_interval_is_wilsons() -> None:
    """3 of 10: middle (0.3 + 3.8415/20)/(1 + 0.38415) = 0.35551, half width 0.24771."""
    low, high = wilson(3, 10)
    assert (low, high) == (pytest.approx(0.10779, abs=1e-5), pytest.approx(0.60322, abs=1e-5))


def test_wilsons_interval_of_60_in_60_and_of_half() -> None:
    """n = n, z² = 3.841459: low = 1 / (1 + z²/60) = 60 / 63.841459 = 0.93983."""
    low, high = wilson(60, 60)
    assert low == pytest.approx(0.93983, abs=1e-5)
    assert high == 1.0
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
