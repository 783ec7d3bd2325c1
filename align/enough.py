"""Whether feedback is enough for a method to learn from (pure); asked before a run and by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from align.losses import LOSSES
from storage.errors import BadInput

MIN_PAIRS = 2  # one comparison says what one person liked once, and there is nothing to shuffle
MIN_LABELS = 2  # of each kind, for the same reason


def check_enough(method: str, counts: Mapping[str, Any]) -> None:
    """Refuse feedback that the method cannot learn from.

    Args:
        counts: rows in a snapshot, as its manifest has them: {"pairs": {"all", "train", …},
            "labels": {…}, "good": {…}}.

    Raises:
        BadInput: too few rows in the training split; of labels, too few good or too few bad ones.
    """
    needs, name, only_good = LOSSES[method].needs, method.upper(), LOSSES[method].only_good
    usable, held = counts[needs]["train"], counts[needs]["all"] - counts[needs]["train"]
    if needs == "pairs" and usable < MIN_PAIRS:
        raise BadInput(
            f"{name} needs at least {MIN_PAIRS} pairs to train on; there "
            f"{'is' if usable == 1 else 'are'} {usable} ({held} more on prompts kept for judging): "
            f"collect more votes that prefer one answer{other_methods(method, counts)}"
        )
    good = counts["good"]["train"]
    if only_good and good < MIN_LABELS:
        raise BadInput(
            f"{name} needs at least {MIN_LABELS} good answers to imitate; there are {good} "
            f"({held} more labels on prompts kept for judging): rate more answers up"
            f"{other_methods(method, counts)}"
        )
    if needs == "labels" and not only_good and min(good, usable - good) < MIN_LABELS:
        raise BadInput(
            f"{name} needs at least {MIN_LABELS} good and {MIN_LABELS} bad labels to train on, for "
            f"it learns from the difference; there are {good} good and {usable - good} bad ones "
            f"({held} more on prompts kept for judging): rate more answers "
            f"{'up' if good < MIN_LABELS else 'down'}{other_methods(method, counts)}"
        )


def other_methods(method: str, counts: Mapping[str, Any]) -> str:
    """Return the advice to take another method, where its kind of feedback is there."""
    others = [
        name
        for name, loss in LOSSES.items()
        if name != method and loss.needs != LOSSES[method].needs and counts[loss.needs]["train"]
    ]
    if not others:
        return ""
    rows = counts[LOSSES[others[0]].needs]["train"]
    return f", or take --method {others[0]} ({rows} {LOSSES[others[0]].needs} are there)"
