"""How the whole app looks: Gradio's theme, the colours of every screen, the page's own CSS.

Fonts are those that Gradio ships; nothing is fetched from outside.
"""

from __future__ import annotations

import inspect

import gradio as gr

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

# Gradio's variables that take one of our colours; ours change with the dark mode by themselves.
COLOURS = {
    "body_text_color": "ink",
    "body_text_color_subdued": "soft",
    "background_fill_primary": "card",
    "background_fill_secondary": "paper",
    "block_background_fill": "card",
    "block_border_color": "line",
    "block_label_text_color": "soft",
    "block_title_text_color": "ink",
    "block_info_text_color": "soft",
    "border_color_primary": "line",
    "border_color_accent": "accent-line",
    "color_accent": "accent",
    "color_accent_soft": "accent-soft",
    "input_background_fill": "card",
    "input_border_color": "line-strong",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "soft",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent-strong",
    "button_primary_text_color": "on-accent",
    "button_secondary_background_fill": "card",
    "button_secondary_background_fill_hover": "hover",
    "button_secondary_text_color": "ink",
    "button_secondary_border_color": "line-strong",
    "link_text_color": "accent",
    "link_text_color_hover": "accent-strong",
    "link_text_color_visited": "accent",
    "link_text_color_active": "accent",
    "table_border_color": "line",
    "table_even_background_fill": "card",
    "table_odd_background_fill": "paper",
    "code_background_fill": "code",
    "loader_color": "accent",
    "slider_color": "accent",
}


def theme() -> gr.themes.Base:
    """Return Gradio's theme in the app's colours.

    Source Sans Pro and IBM Plex are among the few fonts that Gradio 6.31 ships whole; most others
    (Source Sans 3, Lexend, Ubuntu) hold only the letters of a specimen.
    """
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        text_size=_text_size(),
        radius_size=gr.themes.sizes.radius_md,
        font=[_font("Source Sans Pro"), "system-ui", "sans-serif"],
        font_mono=[_font("IBM Plex Mono"), "ui-monospace", "monospace"],
    )
    ours = {variable: f"var(--hone-{name})" for variable, name in COLOURS.items()}
    known = inspect.signature(base.set).parameters
    dark = {f"{variable}_dark": colour for variable, colour in ours.items()}
    return base.set(
        body_background_fill=LIGHT["paper"],  # drawn before our CSS is there, hence a plain colour
        body_background_fill_dark=DARK["paper"],
        block_border_width="1px",
        block_border_width_dark="1px",
        **ours,
        **{variable: colour for variable, colour in dark.items() if variable in known},
    )


def _text_size() -> gr.themes.Size:
    """Return sizes a little above Gradio's medium: Source Sans has small letters for its size."""
    return gr.themes.Size(
        "11px", "12px", "13.5px", "15.5px", "17px", "21px", "27px", name="text_hone"
    )


def _font(name: str) -> gr.themes.LocalFont:
    return gr.themes.LocalFont(name, weights=(400, 700))


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--hone-{name}:{value};" for name, value in colours.items())


def css() -> str:
    """Return the CSS of the page around the screens: colours, the name, the row of tabs."""
    return f":root{{{_variables(LIGHT)}}}\n.dark{{{_variables(DARK)}}}\n{PAGE}"


PAGE = """
.gradio-container { overflow: visible !important; }
.gradio-container > .main.app {
  max-width: 88rem !important; margin: 0 auto !important; padding: 0 2rem 2rem !important;
}
.hone-brand {
  position: absolute !important; z-index: 5; top: 0; left: 0; width: auto !important;
  border: 0 !important; background: none !important;
}
.hone-brand .html-container { padding: 0 !important; }
.hone-brand p {
  margin: 0 !important; font: 700 1.4rem/3.25rem var(--font) !important; letter-spacing: -0.015em;
  color: var(--hone-ink) !important;
}
.hone-tabs > .tab-wrapper.tab-wrapper {
  height: 3.25rem; padding: 0 0 0 5.2rem; margin-bottom: 1.2rem;
  border-bottom: 1px solid var(--hone-line);
}
.hone-tabs > .tab-wrapper .tab-container.tab-container { height: 3.25rem; }
.hone-tabs > .tab-wrapper .tab-container.tab-container::after { display: none; }
.hone-tabs > .tab-wrapper [role=tab][role], .hone-tabs > .tab-wrapper .visually-hidden button {
  padding: 0 0.85rem; font-size: 1.0625rem; color: var(--hone-soft);
}
.hone-tabs > .tab-wrapper [role=tab].selected { color: var(--hone-accent); font-weight: 600; }
.hone-tabs > .tabitem.tabitem { padding: 0; border: 0; }
.hone-screen.block {
  border: 0 !important; background: none !important; overflow: visible !important;
}
.hone-screen .html-container.html-container { padding: 0; }
.hone-heading h1 {
  margin: 0 0 0.2rem; font-size: 1.4rem; font-weight: 700; letter-spacing: -0.012em;
}
:focus-visible { outline: 2px solid var(--hone-accent); outline-offset: 2px; }
@media (max-width: 44rem) {
  .gradio-container > .main.app { padding: 0 1rem 1rem !important; }
  .hone-tabs > .tab-wrapper.tab-wrapper { padding-left: 4.6rem; margin-bottom: 0.7rem; }
}
"""
