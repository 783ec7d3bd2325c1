"""The element that the page's own script (label.js) fills: the label or the rate screen."""

from __future__ import annotations

import html
import json

from feedback.votes import REASONS


def element(mode: str) -> str:
    """Return the element's markup: `mode` is "pairs" or "thumbs". No text of others is in it."""
    listed = html.escape(json.dumps(list(REASONS)), quote=True)
    return f'<hone-screen mode="{mode}" reasons="{listed}"></hone-screen>'
