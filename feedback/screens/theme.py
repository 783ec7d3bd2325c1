"""How the whole app looks: Gradio's theme, the colours of every screen, the page's own CSS.

Fonts are those that Gradio ships; nothing is fetched from outside.
"""

from __future__ import annotations

import inspect

import gradio as gr

from feedback.palette import DARK, LIGHT, variables

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


def css() -> str:
    """Return the CSS of the page around the screens: colours, the name, the row of tabs."""
    return f":root{{{variables(LIGHT)}}}\n.dark{{{variables(DARK)}}}\n{PAGE}"


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
.hone-leave { display: none; }
.hone-leave.block {
  position: absolute !important; z-index: 5; top: 0.6rem; right: 0; left: auto;
  width: auto !important; border: 0 !important; background: none !important;
}
.hone-accounts .hone-leave { display: block; }
.hone-leave .html-container { padding: 0 !important; }
.hone-leave.block form button {
  padding: 0.25rem 0.8rem !important; font: 400 0.95rem/1.5 var(--font) !important;
  color: var(--hone-soft) !important; background: var(--hone-card) !important;
  border: 1px solid var(--hone-line-strong) !important; border-radius: 8px !important;
  cursor: pointer;
}
.hone-accounts .hone-tabs > .tab-wrapper.tab-wrapper { padding-right: 6.5rem; }
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
