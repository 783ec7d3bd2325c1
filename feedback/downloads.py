"""The tables of the quality screen as files: GET /api/v1/tables/NAME.csv."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from feedback import audit
from feedback.accounts import ALONE
from feedback.gate import person_of
from feedback.tables import TABLES, csv_of, table_of
from storage.errors import NotFound
from storage.store import Store


def router(store_of: Callable[[Request], Store]) -> APIRouter:
    """Return the route; the app that takes it also needs `api.install_errors`."""
    routes = APIRouter(prefix="/api/v1")

    @routes.get("/tables/{name}.csv")
    def table(request: Request, name: str) -> Response:
        """Return a table as CSV.

        Raises:
            NotFound: there is no table of this name.
        """
        if name not in TABLES:
            raise NotFound(f"there is no table {name[:40]!r}; there are {', '.join(TABLES)}")
        person = person_of(request.scope)
        audit.note(store_of(request), person.name if person else ALONE, "export", f"{name}.csv")
        content = csv_of(table_of(store_of(request), name))
        headers = {"Content-Disposition": f'attachment; filename="hone-{name}.csv"'}
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)

    return routes
