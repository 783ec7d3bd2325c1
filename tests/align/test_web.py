"""The web app: what it imports, its tabs, and what a labeler is told to wait for."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from align.screens import SCREENS
from align.web import waiting, wake


def test_the_web_process_imports_no_torch_and_asks_nothing_from_outside() -> None:
    code = (
        "import os, sys, align.screens;"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules],"
        "os.environ['GRADIO_ANALYTICS_ENABLED'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[] False", done.stderr


def test_the_tabs_follow_the_loop() -> None:
    assert " ".join(SCREENS) == "Label Rate Data Quality Generate Train Compare Rounds People"


@pytest.mark.parametrize(("of", "woken"), [(0, []), (250, [True])])
def test_only_a_replenisher_that_was_started_is_woken(of: int, woken: list[bool]) -> None:
    """`serve --no-starter` never starts it: a low stock must not start it either."""
    calls: list[bool] = []
    replenisher = SimpleNamespace(progress=lambda: {"of": of}, wake=lambda: calls.append(True))
    workspace: Any = SimpleNamespace(replenisher=replenisher)
    wake(workspace)
    assert calls == woken


@pytest.mark.parametrize(
    ("made", "of", "running", "message", "told"),
    [
        (0, 0, False, "", None),
        (3, 250, True, "writing answers", "Writing answers, 3 of 250 prompts …"),
        (0, 250, False, "training, back in 3 min", "Training, back in 3 min …"),
        (0, 0, False, "the model is not there: run make setup.", "The model is not there"),
        (250, 250, False, "every starter prompt has its answers", None),
        (9, 250, False, "", None),
    ],
)
def test_the_labeler_is_told_what_is_on_its_way(
    made: int, of: int, running: bool, message: str, told: str | None
) -> None:
    progress = {"made": made, "of": of, "running": running, "message": message}
    workspace: Any = SimpleNamespace(replenisher=SimpleNamespace(progress=lambda: progress))
    said = waiting(workspace)
    assert (said is None) if told is None else (said or "").startswith(told.rstrip("…"))
    assert said is None or said.endswith(" …")
