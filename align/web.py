"""The web app: gate, REST routes, and behind them everything that only a page or a command needs.

What a labeler's page asks for after a restart is here at once; the rest is made meanwhile.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI

from align.later import Later
from feedback import api, doors
from feedback.accounts import people_of
from feedback.crowd import Crowd
from feedback.front import Front
from feedback.gate import HERE, Gate, Reach
from feedback.product import routes as product
from feedback.product.allowance import USUAL, Allowance

if TYPE_CHECKING:
    from align.workspace import Workspace


def build_web(
    workspace: Workspace, rest: Later, reach: Reach = HERE, allowance: Allowance = USUAL
) -> FastAPI:
    """Return the whole web app of an open workspace: gate, pages of our own, REST, and `rest` for
    all other paths."""
    app = FastAPI(
        title="Hone",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=rest.lifespan,
    )
    store = workspace.store
    people = people_of(store)
    sent = product.Doors(lambda request: store, allowance)
    app.add_middleware(Front, ways=product.ways(sent) | api.ways(lambda request: store))
    app.add_middleware(Gate, reach=reach, people=people)
    app.add_middleware(Crowd)
    api.install_errors(app)
    app.include_router(doors.router(people))
    told, more = partial(waiting, workspace), partial(wake, workspace)
    app.include_router(api.router(lambda request: store, waiting=told, wake=more))
    app.include_router(product.router(lambda request: store, sent))
    app.add_api_route("/api/v1/news", partial(moved, workspace), include_in_schema=False)
    app.mount("/", rest)
    return app


def moved(workspace: Workspace, of: str = "") -> dict[str, str]:
    """Return the marks of some parts of the app, named with commas between: see `align.news`."""
    from align.news import news  # here: a vote waits for nothing that only the screens need

    return news(workspace, of.split(","))


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
