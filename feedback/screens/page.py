"""The page: the tabs in one Gradio app, mounted behind the gate, with the files that it loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from fastapi import FastAPI

from feedback.screens import theme

HEAD = (
    '<link rel="icon" href="data:,">'
    '<link rel="modulepreload" href="static/hone/view.js">'
    '<link rel="modulepreload" href="static/hone/outbox.js">'
    '<link rel="modulepreload" href="static/hone/words.js">'
    '<link rel="modulepreload" href="static/hone/keys.js">'
    '<link rel="modulepreload" href="static/hone/campaigns.js">'
    '<link rel="modulepreload" href="static/hone/rank.js">'
    '<link rel="stylesheet" href="static/hone/lead.css">'
    '<script type="module" src="static/hone/label.js"></script>'
    '<script type="module" src="static/hone/news.js"></script>'
)
# Shown where there are accounts: label.js says so.
LOG_OUT = '<form class="hone-out" method="post" action="logout"><button>Log out</button></form>'
MAX_UPLOAD = "1gb"  # Choice: an import of a million votes is about 500 MB of text
AT_ONCE = 8  # Choice: handlers of one event at the same time, unless the event says otherwise
LOOK_SECONDS = 0.03  # Choice: from event to event; Gradio's own 0.001 keeps a core 7 % busy, idle
# Seconds from one look for files that browsers sent or fetched to the next, and how old one that
# goes is. Choice: who left the page open overnight sends or exports it again.
OLD_FILES = (3_600, 86_400)
QUEUE = 200  # Choice: events waiting before Gradio answers "full"; votes never wait here


def lay_out(workspace: Any, screens: Mapping[str, Callable[[Any], None]]) -> gr.Blocks:
    """Return the Gradio app: one tab per screen, in the mapping's order."""
    with gr.Blocks(
        title="Hone", analytics_enabled=False, fill_width=True, delete_cache=OLD_FILES
    ) as blocks:
        gr.HTML("<p>Hone</p>", js_on_load=None, elem_classes="hone-brand")
        gr.HTML(LOG_OUT, js_on_load=None, elem_classes="hone-leave")
        with gr.Tabs(elem_classes="hone-tabs"):
            for name, build in screens.items():
                with gr.Tab(name, id=name.lower()):
                    build(workspace)
    blocks.queue(default_concurrency_limit=AT_ONCE, max_size=QUEUE, api_open=False)
    blocks._queue.sleep_when_free = LOOK_SECONDS
    return blocks


def mount(app: FastAPI, blocks: gr.Blocks) -> FastAPI:
    """Mount the Gradio app at "/"; routes of `app` must be declared before."""
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        max_file_size=MAX_UPLOAD,
        theme=theme.theme(),
        # not as `css=`: Gradio would rewrite the selectors
        head=f"<style>{theme.css()}</style>{HEAD}",
    )
