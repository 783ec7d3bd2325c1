"""The label screen: two answers, a verdict. The page's own script (label.js) draws it.

Here is only its frame: the element that the script fills from `/api/v1`, and what it is told at the
start. No text of models or people passes through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import APIRouter

from feedback import words
from feedback.campaigns import DEFAULT, GUIDELINE, default_campaign
from feedback.frame import element
from feedback.render import markdown_html
from storage.records import Campaign

if TYPE_CHECKING:
    from storage.store import Store


def build(workspace: Any) -> None:
    """Lay out the label screen inside the current tab."""
    frame("pairs")


def frame(mode: str) -> None:
    """Put the element of the label or rate screen into the page: `mode` is "pairs" or "thumbs"."""
    gr.HTML(element(mode), js_on_load=None, elem_classes="hone-screen")


def routes(store: Store) -> APIRouter:
    """Return the route by which the page reads the guideline, as safe HTML."""
    made = APIRouter(prefix="/api/v1")

    @made.get("/guideline")
    def guideline(campaign: str = DEFAULT, language: str = "") -> dict[str, str]:
        """Return a campaign's guideline, the default one's where there is none of that id; as long
        as it is Hone's own, in the language asked for, where there is such a text. `language` is
        that of the text, "" if unknown."""
        text = (store.get(Campaign, campaign) or default_campaign(store)).guideline
        if text != GUIDELINE:
            return {"html": markdown_html(text), "language": ""}
        translated = words.guideline(language)
        known = language if translated else words.ENGLISH
        return {"html": markdown_html(translated or text), "language": known}

    return made
