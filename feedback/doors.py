"""The pages in front of the app, without gradio: log in, accept an invitation, a labeler's page.

Plain documents: no inline script, every text escaped, nothing on them that is not for everybody or
for whom they are made. A labeler's page holds the same element as the lead's Label tab, and reaches
nothing else: of Gradio's page, with all of a lead's screens in its configuration, they see nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.types import Scope

from feedback import palette, words
from feedback.accounts import LEAD, People, Person
from feedback.api import LimitedRoute
from feedback.frame import element
from feedback.gate import ADDRESS, cookie_name, person_of, session_of
from feedback.problems import when_again
from feedback.roles import INVITE, LABEL, LOG_IN, LOG_OUT, RATE
from feedback.sessions import LONGEST
from feedback.words import say
from storage.errors import BadInput, UserError

SCREENS = Path(__file__).with_name("screens")
ASSETS = {
    "label.js": "text/javascript",
    "view.js": "text/javascript",
    "outbox.js": "text/javascript",
    "words.js": "text/javascript",
    "keys.js": "text/javascript",
    "campaigns.js": "text/javascript",
    "rank.js": "text/javascript",
    "news.js": "text/javascript",
    "label.css": "text/css",
    "lead.css": "text/css",
    "door.css": "text/css",
    **{f"{language}.json": "application/json" for language in words.LANGUAGES},
}
FONTS = ("SourceSansPro-Regular.woff2", "SourceSansPro-Bold.woff2")  # as Gradio ships them
COLOURS = "colours.css"
MOST_FIELDS = 20  # Choice: a form has three


def router(people: People) -> APIRouter:
    """Return the pages and what they load; none of them waits for the screens."""
    made = APIRouter(route_class=LimitedRoute, include_in_schema=False)
    doors = Doors(people)
    made.add_api_route(LOG_IN, doors.log_in_page, methods=["GET"], response_model=None)
    made.add_api_route(LOG_IN, doors.log_in, methods=["POST"], response_model=None)
    made.add_api_route(LOG_OUT, doors.log_out, methods=["POST"], response_model=None)
    path = f"{INVITE}{{token}}"
    made.add_api_route(path, doors.invite_page, methods=["GET"], response_model=None)
    made.add_api_route(path, doors.accept, methods=["POST"], response_model=None)
    for path in (LABEL, RATE):
        made.add_api_route(path, doors.labeler_page, methods=["GET"], response_model=None)
    made.add_api_route("/static/hone/{name}", asset, methods=["GET"], response_model=None)
    return made


async def fields(request: Request) -> dict[str, str]:
    """Return what a form sends; of a field that comes twice the last.

    Raises:
        BadInput: more fields than any form has.
    """
    body = (await request.body()).decode("utf-8", "replace")
    try:
        sent = parse_qs(body, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise BadInput(f"The form has more than {MOST_FIELDS} fields: send its own.") from None
    return {name: values[-1] for name, values in sent.items()}


Form = Annotated[dict[str, str], Depends(fields)]


@dataclass(frozen=True)
class Doors:
    """The pages, and whom they let in."""

    people: People

    def log_in_page(self, request: Request, next: str = "") -> Response:
        """Ask for name and password, unless somebody is logged in or nobody needs to be."""
        person = person_of(request.scope)
        if person is not None or not self.people.in_force:
            return RedirectResponse(home(person, next), 303)
        return log_in_form(request, "", next)

    def log_in(self, request: Request, form: Form) -> Response:
        """Open a session; a wrong password says so, and nothing else."""
        name, next = form.get("name", ""), form.get("next", "")
        try:
            token = self.people.log_in(
                name, form.get("password", ""), request.scope.get(ADDRESS, "")
            )
        except UserError as error:
            return log_in_form(request, name, next, error)
        return self._inside(request, token, next)

    def log_out(self, request: Request) -> Response:
        """End this browser's session; from the app's own page alone (see the gate)."""
        self.people.log_out(session_of(request.scope, request.headers))
        answer = RedirectResponse(LOG_IN, 303)
        answer.delete_cookie(**_cookie(request.scope))
        return answer

    def invite_page(self, request: Request, token: str) -> Response:
        """Ask whom a link invites for a password."""
        return self._invitation(request, token)

    def accept(self, request: Request, token: str, form: Form) -> Response:
        """Make the account, and be logged in."""
        password = form.get("password", "")
        if password != form.get("again", ""):
            return self._invitation(request, token, BadInput(code="differ"))
        try:
            return self._inside(request, self.people.accept(token, password), "")
        except UserError as error:
            return self._invitation(request, token, error)

    def labeler_page(self, request: Request) -> Response:
        """Return what a labeler sees: the element that label.js fills, and the way out."""
        person = person_of(request.scope)
        if person is not None and person.scopes is not None:  # a program has no screen
            return RedirectResponse("/", 303)
        mode = "thumbs" if request.url.path == RATE else "pairs"
        return labeler_document(request, person.name if person else "", mode)

    def _invitation(self, request: Request, token: str, error: UserError | None = None) -> Response:
        asked, language = self.people.invitation(token), language_of(request)
        if asked is None:
            return page(request, "door.invitation", _filled(GONE, language), status=404)
        name = escape(asked.account, quote=True)
        invited = say(language, "door.invited", name=f"<b>{name}</b>")
        inside = _filled(INVITED, language, said=_said(error, language), name=name)
        return page(request, "door.welcome", f"<p>{invited}</p>{inside}", error=error)

    def _inside(self, request: Request, token: str, next: str) -> Response:
        """Give the browser its session, in place of one that it had."""
        if old := session_of(request.scope, request.headers):
            self.people.log_out(old)
        answer = RedirectResponse(home(self.people.by_session(token), next), 303)
        seconds = int(LONGEST.total_seconds())
        answer.set_cookie(**_cookie(request.scope), value=token, max_age=seconds)
        return answer


def _cookie(scope: Scope) -> dict[str, Any]:
    secure = scope["scheme"] == "https"
    return {"key": cookie_name(scope), "httponly": True, "samesite": "lax", "secure": secure}


def home(person: Person | None, next: str) -> str:
    """Return where somebody goes after logging in: where they wanted to, if it is in this app.

    Example:
        >>> home(None, "/?run=r-1"), home(None, "//evil.example"), home(None, "/\\\\evil.example")
        ('/?run=r-1', '/', '/')
    """
    lead = person is None or person.role == LEAD
    odd = any(ord(char) <= 32 or char == "\\" for char in next)
    if odd or not next.startswith("/") or next.startswith(("//", LOG_IN)):
        return "/" if lead else LABEL
    return next if lead or next in (LABEL, RATE) else LABEL


def log_in_form(request: Request, name: str, next: str, error: UserError | None = None) -> Response:
    """Return the log-in page; the cursor waits where something is to be typed."""
    language = language_of(request)
    first, second = ("", " autofocus") if name else (" autofocus", "")
    inside = _filled(
        ASKED, language, said=_said(error, language), name=escape(name[:80], quote=True),
        next=escape(next, quote=True), first=first, second=second,
    )  # fmt: skip
    more = {"next": next} if next else {}
    return page(request, "door.log_in", inside, more, error=error)


def labeler_document(request: Request, name: str, mode: str) -> Response:
    """Return a labeler's page; without accounts there is no `name`: the element asks for one."""
    language = language_of(request)
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if mode == is_for else ""}>{say(language, key)}</a>'
        for path, key, is_for in ((LABEL, "page.label", "pairs"), (RATE, "page.rate", "thumbs"))
    )
    out = _filled(OUT, language, name=escape(name)) if name else ""
    body = _filled(LABELER, language, links=links, out=out, element=element(mode))
    head = '<script type="module" src="/static/hone/label.js"></script>'
    return document(request, "Hone", body, head)


def page(
    request: Request, title: str, inside: str, more: dict[str, str] | None = None, *,
    status: int = 200, error: UserError | None = None,
) -> Response:  # fmt: skip
    """Return a small page: a title (a key of the table), a form or a sentence, the languages.

    Args:
        more: What the page was asked with, for the links to it in other languages.
        error: What went wrong, whose status the page then has.
    """
    language = language_of(request)
    links = "".join(
        f'<a href="?{escape(urlencode({"language": code, **(more or {})}))}" lang="{code}"'
        f' hreflang="{code}"{" aria-current=true" if code == language else ""}>{name}</a>'
        for code, name in words.LANGUAGES.items()
    )
    title = say(language, title)
    body = _filled(DOOR, language, title=title, inside=inside, links=links)
    answer = document(request, f"{title} – Hone", body, status=error.status if error else status)
    answer.headers.update(when_again(error) if error else {})
    return answer


def document(
    request: Request, title: str, body: str, head: str = "", status: int = 200
) -> Response:
    """Return a whole HTML document of our own; a language that was chosen is remembered."""
    language = language_of(request)
    inside = DOCUMENT.format(language=language, title=title, head=head, body=body)
    answer = HTMLResponse(inside, status)
    if request.query_params.get("language") == language:
        secure = request.scope["scheme"] == "https"
        # not HttpOnly: the label screen's switch sets it, too, and it says nothing secret
        answer.set_cookie(
            words.COOKIE, language, words.COOKIE_SECONDS, secure=secure, samesite="lax"
        )
    return answer


def language_of(request: Request) -> str:
    """Return the language that a page is to have: asked for, chosen before, or the browser's."""
    chosen = request.query_params.get("language") or request.cookies.get(words.COOKIE, "")
    return words.language_of(chosen, request.headers.get("accept-language", ""))


def _filled(template: str, language: str, **values: str) -> str:
    """Return a template with its [keys] filled from the table, then its (escaped) {values}."""
    written = re.sub(r"\[([a-z_.]+)\]", lambda found: say(language, found[1]), template)
    return written.format(**values)


def _said(error: UserError | None, language: str) -> str:
    """Return what went wrong, in the reader's language where the table has words for it."""
    if error is None:
        return ""
    key = f"door.{error.code}"
    known = key in words.table(language)
    text = say(language, key, **error.values) if known else str(error)
    return f'<p class="error" role="alert">{escape(text)}</p>'


def asset(name: str) -> Response:
    """Return one of the files that pages load; they say nothing about anybody."""
    headers = {"Cache-Control": "no-cache"}  # asked for again each time: cheap, and never stale
    if name == COLOURS:
        return Response(palette.css(), media_type="text/css", headers=headers)
    if name in FONTS and (found := find_spec("gradio")) and found.origin:
        fonts = Path(found.origin).parent / "templates/frontend/static/fonts/SourceSansPro"
        kept = {"Cache-Control": "public, max-age=604800"}  # it changes with Gradio's version
        return FileResponse(fonts / name, media_type="font/woff2", headers=kept)
    if name not in ASSETS:
        raise HTTPException(404, f"no file {name!r} belongs to the screens")
    folder = words.TABLES if name.endswith(".json") else SCREENS
    return FileResponse(folder / name, media_type=ASSETS[name], headers=headers)


DOCUMENT = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,">
<link rel="preload" as="font" crossorigin href="/static/hone/SourceSansPro-Regular.woff2">
<link rel="preload" as="font" crossorigin href="/static/hone/SourceSansPro-Bold.woff2">
<link rel="stylesheet" href="/static/hone/colours.css">
<link rel="stylesheet" href="/static/hone/door.css">{head}</head>
<body>{body}</body></html>
"""
# In what follows [keys] stand for texts of the table.
DOOR = """<main class="door"><p class="brand">Hone</p><h1>{title}</h1>{inside}</main>
<nav class="languages" aria-label="[top.language]">{links}</nav>"""
ASKED = """<form method="post" action="/login">
<label for="name">[door.name]</label>
<input id="name" name="name" value="{name}" autocomplete="username" autocapitalize="none"
  spellcheck="false" maxlength="80" required{first}>
<label for="password">[door.password]</label>
<input id="password" name="password" type="password" autocomplete="current-password"
  required{second}>
<input type="hidden" name="next" value="{next}">{said}
<button>[door.log_in]</button></form>
<p class="quiet">[door.forgotten]</p>"""
INVITED = """<form method="post">
<input type="hidden" name="name" value="{name}" autocomplete="username">
<label for="password">[door.password] <span>[door.rule]</span></label>
<input id="password" name="password" type="password" autocomplete="new-password"
  minlength="10" maxlength="200" required autofocus>
<label for="again">[door.again]</label>
<input id="again" name="again" type="password" autocomplete="new-password" required>{said}
<button>[door.begin]</button></form>"""
GONE = """<p>[door.gone]</p><p class="quiet"><a href="/login">[door.known]</a></p>"""
OUT = """
<form class="hone-out" method="post" action="/logout"><span class="you">{name}</span>
<button>[door.log_out]</button></form>"""
LABELER = """<header class="bar"><p class="brand">Hone</p>
<nav aria-label="[page.screens]">{links}</nav>{out}</header>
<main class="screen-around">{element}</main>
<noscript><p class="door">[page.script]</p></noscript>"""
