"""The line of the quality screen that moves with every vote."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from feedback.meters import Majorities, Meters
from feedback.quality import run_checks
from feedback.screens import quality
from feedback.simulate import simulate_votes
from storage.store import Store
from tests.feedback.stock import stock


def words(markup: str) -> list[str]:
    return [re.sub("<.*?>", "", one) for one in re.findall("<span>(.*?)</span>", markup)]


def test_the_line_says_shares_with_their_intervals() -> None:
    """The longer one won 6 of 10 (Wilson 31 to 83 %), the left one 6 of 8 (41 to 93 %)."""
    said = {
        ("a", "a", 1): 6,
        ("b", "a", 1): 2,
        ("b", "", 1): 2,
        ("a", "", 0): 990,
        ("tie", "a", 1): 5,
    }
    assert words(quality.live_html(Meters(said), Majorities(decided=812, both_bad=3))) == [
        "Live", "1,000 decided votes", "longer won 60 % (31–83 %)", "left won 75 % (41–93 %)",
        "812 pairs by majority",
    ]  # fmt: skip


def test_without_a_vote_the_line_says_no_share() -> None:
    assert words(quality.live_html(Meters({}), Majorities(0, 0))) == [
        "Live", "0 decided votes", "0 pairs by majority",
    ]  # fmt: skip


def view() -> Any:
    """Return a view whose components are their own names: the keys of what a handler answers."""
    cards = {name: quality.Card(f"{name} meter", f"{name} words") for name in quality.CHECKS}
    parts = {one.name: one.name for one in fields(quality.View)}
    return quality.View(**parts | {"cards": cards, "live": quality.Live("line", "reached")})


def test_the_cards_that_move_say_what_the_checks_say(tmp_path: Path) -> None:
    """Drawn again only where something came in."""
    with Store.open(tmp_path) as store:
        stock(store, 40)
        simulate_votes(store, 40, prefer="longer", noise=0.2)
        opened: Any = type("Workspace", (), {"store": store})
        drawn = quality.show_live(opened, view(), None)
        known = {one.name: one for one in run_checks(store)}
        for name in ("length_bias", "position_bias"):
            assert drawn[f"{name} meter"] == quality.meter_html(name, known[name])
            assert drawn[f"{name} words"] == quality.words_of(known[name])
        assert "40 decided votes" in "".join(words(drawn["line"]))
        reached = drawn["reached"]
        assert quality.show_live(opened, view(), reached) == {"reached": reached}
        stock(store, 41)
        simulate_votes(store, 1)
        assert "line" in quality.show_live(opened, view(), reached)
