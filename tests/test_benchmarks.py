"""The benchmarks are not run by the tests; what they import has to be there all the same."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"align", "feedback", "storage", "benchmarks"}


def imported(file: Path) -> list[tuple[str, str]]:
    """Return (module, name) of every `from … import …` of our own rooms, wherever it stands."""
    return [
        (node.module, name.name)
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
        if node.module.split(".")[0] in OURS
        for name in node.names
    ]


def test_without_crowdkit_the_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed here or not: None in its place is a module that cannot be imported."""
    aggregation = importlib.import_module("benchmarks.aggregation")
    for name in ("crowdkit", "crowdkit.aggregation"):
        monkeypatch.setitem(sys.modules, name, None)
    assert aggregation.crowdkit().startswith("not there: pip install --target .setup/crowdkit")
    assert "crowdkit_over_hone" not in aggregation.measure(200)


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda f: f.stem)
def test_what_a_benchmark_imports_is_there(file: Path) -> None:
    for module, name in imported(file):
        found = importlib.import_module(module)
        if not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
