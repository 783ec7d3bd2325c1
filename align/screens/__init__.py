"""Every screen of the app, in one page, with the routes that only the page and commands need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from align import endpoint, remote
from align.demo import FILE
from feedback import api, downloads
from feedback.problems import METHODS
from feedback.screens import data, label, page, people, quality, rate

from align.screens import compare, demo, generate, rounds, train  # isort: skip  (gradio, after feedback.screens)

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
    "People": people.build,
}


def screens_of(workspace: Workspace) -> Mapping[str, Callable[[Any], None]]:
    """Return the screens of a workspace: in front of them its demo, where one was begun."""
    return {"Demo": demo.build, **SCREENS} if (workspace.data / FILE).is_file() else SCREENS


def build_screens(workspace: Workspace) -> FastAPI:
    """Return the app of an open workspace's screens: the page at "/" and what it loads."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    api.install_errors(app)
    app.include_router(label.routes(workspace.store))
    app.include_router(remote.router(workspace))
    app.include_router(endpoint.router(workspace))
    app.include_router(downloads.router(lambda request: workspace.store))
    app.add_api_route("/api/{path:path}", api.no_such_path, methods=sorted(METHODS))
    return page.mount(app, page.lay_out(workspace, screens_of(workspace)))
