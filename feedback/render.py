"""Turn hostile Markdown into HTML that is safe to put into a page.

Safe by construction, not by cleaning: markdown-it writes only its own tags, HTML in the text is
shown as text, links go to http, https and mailto only, and a picture is shown as its description,
since fetching it would tell its server who reads. The page's Content-Security-Policy is the second
line. Text that Markdown cannot show in full (too long, nested too deeply) is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from storage.records import Message

# Choice: more than anybody reads before a vote; the rest is named, not shown. The vote counts for
# the whole text.
MAX_SHOWN = 100_000  # characters
MAX_MARKDOWN = 30_000  # characters; longer texts are shown plain. Choice: hostile ones stay < 0.5 s
MAX_NESTING = 40  # Choice: quotes and lists deeper than that would be left out by markdown-it
# Signs that open something: thousands of them cost markdown-it quadratic time.
_OPENERS = re.compile(r"[\[\]*_~`<!|\\>&]")
MAX_OPENERS = 6_000  # Choice: half a second at worst on two cores

_LINK = re.compile(r"(https?://|mailto:)", re.IGNORECASE)
_OWN_DIRECTION = (
    "paragraph_open",
    "heading_open",
    "list_item_open",
    "blockquote_open",
    "bullet_list_open",
    "ordered_list_open",
    "th_open",
    "td_open",
)


def markdown_html(text: str) -> str:
    """Return safe HTML for a text in Markdown; each block finds its own writing direction."""
    shown, note = _cut(text)
    if len(shown) > MAX_MARKDOWN or len(_OPENERS.findall(shown)) > MAX_OPENERS:
        return _plain(shown) + note
    tokens = _markdown().parse(shown)
    if any(token.level >= MAX_NESTING - 1 for token in tokens):
        return _plain(shown) + note
    for token in tokens:
        if token.type in _OWN_DIRECTION:
            token.attrSet("dir", "auto")
    markdown = _markdown()
    return str(markdown.renderer.render(tokens, markdown.options, {})) + note


def messages_html(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return a conversation's messages as {"role", "html"}."""
    return [
        {"role": escape(message["role"]), "html": markdown_html(message["content"])}
        for message in messages
    ]


@cache
def _markdown() -> MarkdownIt:
    """Return the parser; made once, it keeps nothing of what it parses."""
    markdown = MarkdownIt(
        "commonmark", {"html": False, "linkify": False, "maxNesting": MAX_NESTING, "breaks": True}
    )
    markdown.enable(["table", "strikethrough"])
    markdown.disable(["html_block", "html_inline", "reference"])
    markdown.validateLink = _allowed  # type: ignore[method-assign]
    markdown.add_render_rule("link_open", _link_open)
    markdown.add_render_rule("image", _image)
    markdown.add_render_rule("fence", _fence)
    markdown.add_render_rule("code_block", _code_block)
    markdown.add_render_rule("table_open", _table_open)
    markdown.add_render_rule("table_close", _table_close)
    return markdown


def _allowed(url: str) -> bool:
    return _LINK.match(url.strip()) is not None


def _link_open(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: Any, env: Any
) -> str:
    tokens[place].attrSet("target", "_blank")
    tokens[place].attrSet("rel", "noopener noreferrer nofollow")
    return renderer.renderToken(tokens, place, options, env)


def _image(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: Any, env: Any
) -> str:
    image = tokens[place]
    where = escape(str(image.attrs.get("src", "")))
    about = escape(renderer.renderInlineAsText(image.children or [], options, env))
    return f'<span class="hone-image" title="{where}">[image: {about or "no description"}]</span>'


def _fence(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: Any, env: Any
) -> str:
    return _left_to_right(RendererHTML.fence(renderer, tokens, place, options, env))


def _code_block(
    renderer: RendererHTML, tokens: Sequence[Token], place: int, options: Any, env: Any
) -> str:
    return _left_to_right(RendererHTML.code_block(renderer, tokens, place, options, env))


def _left_to_right(html: str) -> str:
    return html.replace("<pre>", '<pre dir="ltr">', 1)


def _table_open(*_: Any) -> str:
    return '<div class="hone-table"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _plain(text: str) -> str:
    return f'<pre class="hone-plain" dir="auto">{escape(text)}</pre>\n'


def _cut(text: str) -> tuple[str, str]:
    """Return what is shown of a text, and a note about what is not."""
    whole = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    if len(whole) <= MAX_SHOWN:
        return whole, ""
    left = len(whole) - MAX_SHOWN
    return (
        whole[:MAX_SHOWN],
        f'<p class="hone-cut">… cut here for display: {left:,} of {len(whole):,} characters '
        "are not shown.</p>\n",
    )
