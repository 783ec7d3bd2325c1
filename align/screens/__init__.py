"""Every screen of the app, and the web app they make together with the REST routes and the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from align import remote
from feedback import api, downloads
from feedback.gate import Gate
from feedback.screens import data, label, page, quality, rate

from align.screens import compare, generate, train  # isort: skip  (gradio, after feedback.screens)

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
}


def build_web(workspace: Workspace) -> FastAPI:
    """Return the whole web app of an open workspace: gate, REST, command route, screens at "/"."""
    app = FastAPI(title="Hone", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.add_middleware(Gate)
    api.install_errors(app)
    store = workspace.store
    told, more = partial(waiting, workspace), partial(wake, workspace)
    app.include_router(api.router(lambda request: store, waiting=told, wake=more))
    app.include_router(label.routes(store))
    app.include_router(remote.router(workspace))
    app.include_router(downloads.router(lambda request: store))
    page.serve_assets(app)
    return page.mount(app, page.lay_out(workspace, SCREENS))


def wake(workspace: Workspace) -> None:
    """Let the replenisher look at once whether more is to be made, where it was started at all.

    `Replenisher.wake` alone would start it; `serve --no-starter` asked for none. It counts its
    prompts as soon as it starts, so a count of none says that it never did.
    """
    if workspace.replenisher.progress()["of"]:
        workspace.replenisher.wake()


def waiting(workspace: Workspace) -> str | None:
    """Return what the labelers wait for: answers being written, a training, a model to be mended.

    None when nothing is on its way. Ends with an ellipsis: by that the label screen knows that it
    is worth asking again every second.
    """
    progress = workspace.replenisher.progress()
    finished = not progress["running"] and 0 < progress["of"] <= progress["made"]
    told = str(progress["message"]).rstrip(" .…")
    if not told or finished:
        return None
    count = f", {progress['made']} of {progress['of']} prompts" if progress["running"] else ""
    return f"{told[0].upper()}{told[1:]}{count} …"
