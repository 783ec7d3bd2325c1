"""Rules about the code itself that were paid for elsewhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ["storage", "feedback", "align"]
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_storage_knows_a_database(path: Path) -> None:
    if path.is_relative_to(ROOT / "storage"):
        assert not imported(path) & {"feedback", "align", "gradio", "torch", "fastapi"}
    else:
        assert not imported(path) & {"duckdb", "sqlalchemy", "duckdb_engine"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_store_names_the_database_file(path: Path) -> None:
    """Opening it in the process drops DuckDB's lock; whoever cannot name it cannot open it."""
    strings = {
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = {text for text in strings if text.endswith(".duckdb") and "\n" not in text}
    assert named <= ({"hone.duckdb"} if path == ROOT / "storage" / "store.py" else set())


def test_events_are_never_updated_or_deleted() -> None:
    """One UPDATE exists, of the campaign; there is no DELETE."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    statements = [
        node.value
        for path in (ROOT / "storage").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not any(statement.lstrip().startswith("DELETE ") for statement in statements)
    assert sum(statement.lstrip().startswith("UPDATE ") for statement in statements) == 1
    assert "DELETE FROM" not in text
