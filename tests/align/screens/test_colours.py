"""What colour a token has on the compare screen."""

from __future__ import annotations

from align.implicit import Reward
from align.screens.colours import PLAIN, WHY, painted, toggled


def test_what_became_likelier_is_painted_purple_and_less_likely_red() -> None:
    """Gradio's own rule: below 0 purple, above 0 red; two nats have all of the colour."""
    found = Reward(("likelier", "less", "as before", ""), (1.0, -2.0, 0.0, 3.0), 0.1)
    assert painted(found) == [("likelier", -0.5), ("less", 1.0), ("as before", 0.0)]


def test_the_button_goes_back_and_forth() -> None:
    assert [toggled(True), toggled(False)] == [PLAIN, WHY]
