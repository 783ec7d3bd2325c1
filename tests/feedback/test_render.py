"""Hostile text in, safe HTML out: every tag and attribute in the result is one of ours."""

from __future__ import annotations

import json
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.render import MAX_SHOWN, markdown_html, messages_html

TAGS = {"p", "br", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre"}
TAGS |= {"code", "em", "strong", "s", "hr", "a", "span", "div"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"dir", "href", "target", "rel", "class", "title", "start", "style"}
PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert&#40;1)</script></svg>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x]( javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox(1))",
    "[x](//evil.example)",
    "[x](file:///etc/passwd)",
    '[x](http://a.b "onmouseover=alert(1)")',
    '[x](http://a.b" onmouseover=alert(1) x=")',
    "![x](http://evil.example/pixel.png)",
    '![x"onerror="alert(1)](http://evil.example/"onerror="alert(1))',
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    '<http://a.b/"onmouseover=alert(1)>',
    "```html\n<script>alert(1)</script>\n```",
    '``` "><script>alert(1)</script>\nx\n```',
    "    <script>alert(1)</script>",
    "`<script>alert(1)</script>`",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<!-- --><script>alert(1)</script><!-- -->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?><script>alert(1)</script>",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "<style>@import 'http://evil.example'</style>",
    "<base href='http://evil.example'>",
    "<form action='http://evil.example'><input type=submit>",
    "<p style='background:url(http://evil.example)'>x</p>",
    "\0<script>alert(1)</script>",
    "\ud800<script>alert(1)</script>",
    "</pre></code></div></body><script>alert(1)</script>",
]


class _Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def check(html: str) -> None:
    """Assert that the browser would meet nothing but our own tags and harmless links."""
    collector = _Collector()
    collector.feed(html)
    collector.close()
    for tag, attributes in collector.tags:
        assert tag in TAGS, (tag, html[:200])
        assert set(attributes) <= ATTRIBUTES, (attributes, html[:200])
        assert (attributes.get("style") or "text-align:left").startswith("text-align:")
        if "href" in attributes:
            assert (attributes["href"] or "").lower().startswith(("http://", "https://", "mailto:"))
            assert attributes["rel"] == "noopener noreferrer nofollow"
    html.encode("utf-8")  # no half characters, which no page could be sent with


@pytest.mark.parametrize("payload", PAYLOADS)
def test_nothing_runs_and_nothing_is_fetched(payload: str):
    for text in (payload, f"- {payload}", f"> {payload}", f"**{payload}**", f"a\n\n{payload}\n\nb"):
        check(markdown_html(text))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([*PAYLOADS, "[", "](", ")", "<", ">", '"', "'", "`", "\n", "*", "|", "&"])
        | st.text(max_size=5),
        max_size=12,
    ).map("".join)
)
def test_payloads_put_together_in_any_way_stay_harmless(text: str):
    check(markdown_html(text))


def test_markdown_is_shown_as_what_it_means():
    text = "# Title\n\n**bold** and `code`\n\n- one\n- two\n\n```python\nx < 1\n```"
    html = markdown_html(text)
    assert '<h1 dir="auto">Title</h1>' in html
    assert "<strong>bold</strong> and <code>code</code>" in html
    assert html.count("<li") == 2
    assert '<pre dir="ltr"><code class="language-python">x &lt; 1\n</code></pre>' in html


def test_a_table_is_a_table_that_can_be_scrolled():
    html = markdown_html("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert html.startswith('<div class="hone-table"><table>')
    assert html.count("<td") == 2


def test_a_single_line_break_is_kept():
    assert "<br />" in markdown_html("roses are red\nviolets are blue")


def test_html_in_the_text_is_shown_as_text():
    assert markdown_html("a <b>bold</b> tag") == (
        '<p dir="auto">a &lt;b&gt;bold&lt;/b&gt; tag</p>\n'
    )


def test_a_picture_is_its_description():
    html = markdown_html("![a cat](http://x.y/cat.png)")
    assert "<img" not in html
    assert "[image: a cat]" in html


def test_links_open_elsewhere_and_say_nothing_about_us():
    assert markdown_html("[x](https://a.b)") == (
        '<p dir="auto"><a href="https://a.b" target="_blank" '
        'rel="noopener noreferrer nofollow">x</a></p>\n'
    )


def test_right_to_left_text_finds_its_direction_by_itself():
    assert markdown_html("שלום") == '<p dir="auto">שלום</p>\n'


@pytest.mark.parametrize(
    "text",
    [
        "> " * 5_000 + "deep",
        "".join("  " * depth + "- x\n" for depth in range(300)),
        "[" * 50_000,
        "*a_" * 30_000,
        "`" * 99_999,
        "![" * 50_000,
        "<" * 100_000,
        "|a" * 50_000 + "\n" + "|-" * 50_000,
        "a**b" * 20_000,
        "~~a" * 20_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_huge_nesting_neither_hangs_nor_loses_text(text: str):
    started = time.thread_time()
    html = markdown_html(text)
    assert time.thread_time() - started < 3
    check(html)


def test_what_is_nested_too_deeply_is_shown_as_it_is():
    html = markdown_html("> " * 100 + "still here")
    assert html.startswith('<pre class="hone-plain" dir="auto">')
    assert "still here" in html


def test_ten_megabytes_are_cut_for_display_and_the_note_says_so():
    started = time.thread_time()
    html = markdown_html("word " * 2_000_000)
    assert time.thread_time() - started < 1
    assert len(html) < MAX_SHOWN + 500
    assert "9,900,000 of 10,000,000 characters are not shown" in html


def test_an_empty_text_is_empty_html():
    assert markdown_html("") == ""


def test_a_conversation_keeps_its_roles_and_order():
    messages = [
        {"role": "system", "content": "Be *kind*."},
        {"role": "user", "content": "<b>"},
    ]
    shown = messages_html(messages)
    assert [m["role"] for m in shown] == ["system", "user"]
    assert shown[0]["html"] == '<p dir="auto">Be <em>kind</em>.</p>\n'
    assert json.loads(json.dumps(shown)) == shown


def test_an_ordinary_answer_takes_a_few_milliseconds():
    text = "Some **bold** words and a list:\n\n" + "- point with `code`\n" * 40 + "\nThe end."
    markdown_html(text)
    started = time.thread_time()
    for _ in range(10):
        markdown_html(text)
    assert (time.thread_time() - started) / 10 < 0.03
