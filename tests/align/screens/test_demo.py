"""The page of the demo: what it says while it goes, and after."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from align.demo import FILE, STEPS
from align.json_files import write_json
from align.screens import demo, screens_of
from align.screens.lengths import lengths_html

NAMES = [field.name for field in fields(demo.View)]
TOLD: dict[str, Any] = {
    "votes": 150, "taste": "who wants it short", "noise": 0.1, "labelers": 3, "model": "tiny",
    "steps": {}, "going": "answers", "error": "", "run": "", "asked": [],
}  # fmt: skip
CHECKS = {
    "length_bias": {"severity": "warn", "message": ""},
    "ties": {"severity": "ok", "message": ""},
    "imbalance": {"severity": "ok", "message": ""},
    "style": {"severity": "", "message": ""},
}
HELD_OUT = {"pairs": 12, "reward_accuracy": 0.75, "low": 0.47, "high": 0.91}
DONE = {
    "answers": {"seconds": 200.0, "prompts": 150, "responses": 300, "comparisons": 150},
    "votes": {"seconds": 1.0, "votes": 150},
    "checks": {"seconds": 1.0, "checks": CHECKS},
    "training": {"seconds": 180.0, "report": {"held_out": HELD_OUT}},
    "after": {"seconds": 30.0, "prompts": 2, "preferred": 1.5, "low": 0.3, "high": 0.95},
}
HOSTILE = "<img src=x onerror=alert(1)> **b**"
ASKED = [
    {
        "prompt": "p", "question": HOSTILE, "score": 1.0,
        "before": {"text": HOSTILE, "tokens": 60, "finished": False},
        "after": {"text": "Brief.", "tokens": 3, "finished": True},
    }
] * 2  # fmt: skip


def view() -> Any:
    """Return names in place of components; of what there is five of, tuples of names."""
    five = {"blocks": "block", "asked": "asked", "sides": "side"}
    made = {name: name for name in NAMES}
    made |= {many: tuple(f"{one}{n}" for n in range(demo.SHOWN)) for many, one in five.items()}
    made["sides"] = tuple((f"before{n}", f"after{n}") for n in range(demo.SHOWN))
    return demo.View(**made)


def test_while_it_goes_done_going_and_waiting_steps_differ() -> None:
    told = TOLD | {"steps": {"answers": DONE["answers"]}, "going": "votes"}
    html = demo.steps_html(told)
    assert html.count("<li class='hone-ok'>") == 1
    assert html.count("<li class='hone-warn'>") == 1
    assert html.count("<li class='hone-unknown'>") == 3
    assert "300 answers, 150 comparisons" in html
    assert "now …" in html
    assert "in all" not in html


def test_afterwards_each_step_says_what_it_found() -> None:
    html = demo.steps_html(TOLD | {"steps": DONE, "going": "", "asked": ASKED})
    assert html.count("<li class='hone-ok'>") == len(STEPS)
    for words in (
        "150 votes",
        "1 with a warning · 2 content",
        "held-out accuracy 75 % (47 % to 91 %) of 12 pairs",
        "on 1.5 of 2 the same taste prefers the answer after · 2 come to their end, 0 did before",
        "7 min in all.",
    ):
        assert words in html


def test_the_page_is_drawn_once_for_each_thing_that_happens(tmp_path: Path) -> None:
    place, page = SimpleNamespace(data=tmp_path), view()
    write_json(tmp_path / FILE, TOLD | {"steps": DONE, "going": "", "asked": ASKED})
    drawn = demo.look(place, page, None)
    assert drawn["asked0"] == "### &lt;img src=x onerror=alert\\(1\\)> \\*\\*b\\*\\*"
    assert drawn["before1"].startswith("**Before** · 60 tokens, cut at the limit\n\n&lt;img")
    assert drawn["after0"] == "**After** · 3 tokens\n\nBrief."
    assert drawn["block1"].visible
    assert "block2" not in drawn
    assert "onerror" not in drawn["steps"] + drawn["figures"]
    assert "75 %" in drawn["figures"]
    assert demo.look(place, page, drawn["drawn"]) == {"drawn": drawn["drawn"]}


def test_what_stopped_it_is_said(tmp_path: Path) -> None:
    write_json(tmp_path / FILE, TOLD | {"error": "no room <b>"})
    drawn = demo.look(SimpleNamespace(data=tmp_path), view(), None)
    assert drawn["told"] == "**It stopped:** no room &lt;b>"


def test_only_a_data_folder_with_a_demo_has_the_page(tmp_path: Path) -> None:
    place: Any = SimpleNamespace(data=tmp_path)
    assert "Demo" not in screens_of(place)
    write_json(tmp_path / FILE, TOLD)
    assert next(iter(screens_of(place))) == "Demo"


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([(60, 20), (40, 40)], ["2 answers: 50 tokens on average before, 30 after", ">60<"]),
        ([(0, 0)], ["1 answers: 0 tokens on average before, 0 after"]),
    ],
)
def test_lengths_are_drawn_from_before_to_after(
    lengths: list[tuple[int, int]], words: list[str]
) -> None:
    html = lengths_html(lengths)
    assert html.count("<circle") == 2 * len(lengths)
    assert all(word in html for word in words)


def test_no_lengths_are_no_picture() -> None:
    assert lengths_html([]) == ""
