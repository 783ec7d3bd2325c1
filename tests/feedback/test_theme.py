"""The colours: every text can be read on every ground that it stands on, light and dark."""

from __future__ import annotations

import pytest

from feedback.palette import DARK, LIGHT

TEXT_ON_GROUND = [
    (text, ground)
    for text, grounds in {
        "ink": ("paper", "card", "hover", "code", "accent-soft"),
        "soft": ("paper", "card", "hover"),
        "accent": ("paper", "card", "accent-soft"),
        "accent-ink": ("accent-soft",),
        "on-accent": ("accent", "accent-strong"),
        "warn": ("paper", "card"),
        "bad": ("paper", "card"),
    }.items()
    for ground in grounds
]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON_GROUND)
def test_text_has_a_contrast_of_at_least_four_and_a_half(
    colours: dict[str, str], text: str, ground: str
) -> None:
    assert contrast(colours[text], colours[ground]) >= 4.5


def test_contrast_of_black_on_white_is_21() -> None:
    """(1 + 0.05) / (0 + 0.05) = 21."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two #rrggbb colours, 1 to 21.

    Source: WCAG 2.2, "contrast ratio" and "relative luminance".
    """
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
