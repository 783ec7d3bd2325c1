"""The rate screen: one answer, a thumb. The same script as the label screen draws it."""

from __future__ import annotations

from typing import Any

from feedback.screens.label import frame


def build(workspace: Any) -> None:
    """Lay out the rate screen inside the current tab."""
    frame("thumbs")
