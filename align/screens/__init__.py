"""Every screen of the app, in one page, with the routes that only the page and commands need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from align import remote
from feedback import api, downloads
from feedback.screens import data, label, page, quality, rate

from align.screens import compare, generate, rounds, train  # isort: skip  (gradio, after feedback.screens)

if TYPE_CHECKING:
    from align.workspace import Workspace

SCREENS: Mapping[str, Callable[[Any], None]] = {
    "Label": label.build,
    "Rate": rate.build,
    "Data": data.build,
    "Quality": quality.build,
    "Generate": generate.build,
    "Train": train.build,
    "Compare": compare.build,
    "Rounds": rounds.build,
}


def build_screens(workspace: Workspace) -> FastAPI:
    """Return the app of an open workspace's screens: the page at "/" and what it loads."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    api.install_errors(app)
    app.include_router(label.routes(workspace.store))
    app.include_router(remote.router(workspace))
    app.include_router(downloads.router(lambda request: workspace.store))
    page.serve_assets(app)
    return page.mount(app, page.lay_out(workspace, SCREENS))
