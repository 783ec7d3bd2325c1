"""The colours of every page, by day and by night. Knows no gradio."""

from __future__ import annotations

# One accent (a deep green-blue), warm greys. Every text on its ground has a contrast of 4.5 or more
# (tests/feedback/test_theme.py computes it).
LIGHT = {
    "paper": "#f7f6f3",
    "card": "#ffffff",
    "ink": "#1f2422",
    "soft": "#5b625f",
    "line": "#e5e2dc",
    "line-strong": "#cdc9c1",
    "hover": "#edebe6",
    "code": "#f3f1ec",
    "bar": "rgb(250 249 247 / 0.94)",
    "accent": "#0f6f66",
    "accent-strong": "#0a5850",
    "accent-ink": "#0a5850",
    "accent-soft": "#e3f1ee",
    "accent-line": "#b5d8d2",
    "on-accent": "#ffffff",
    "warn": "#8a5300",
    "bad": "#b3261e",
    "shadow": "0 1px 2px rgb(40 36 28 / 0.05)",
}
DARK = {
    "paper": "#141716",
    "card": "#1c201f",
    "ink": "#e8eae8",
    "soft": "#a3aba7",
    "line": "#2c3230",
    "line-strong": "#434b48",
    "hover": "#262c2a",
    "code": "#262c2a",
    "bar": "rgb(24 28 27 / 0.94)",
    "accent": "#5cc8ba",
    "accent-strong": "#86dace",
    "accent-ink": "#a6e5db",
    "accent-soft": "#17332f",
    "accent-line": "#2b5750",
    "on-accent": "#08231f",
    "warn": "#f0b35b",
    "bad": "#ff9a90",
    "shadow": "none",
}


def variables(colours: dict[str, str]) -> str:
    """Return colours as CSS variables."""
    return "".join(f"--hone-{name}:{value};" for name, value in colours.items())


def css() -> str:
    """Return the variables for a page of our own, which follows the system's setting."""
    dark = f"@media (prefers-color-scheme: dark) {{ :root {{{variables(DARK)}}} }}"
    return f":root {{color-scheme: light dark;{variables(LIGHT)}}}\n{dark}\n"
