"""Rules about the code itself that were paid for elsewhere."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def texts_in(*rooms: str) -> dict[Path, list[str]]:
    """Return every string constant of each source file in some rooms."""
    return {
        path: [
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
    }


def test_only_the_store_names_the_database_file() -> None:
    """Opening it in the process drops DuckDB's lock; whoever cannot name it cannot open it."""
    named = {
        (path.relative_to(ROOT).as_posix(), text)
        for path, texts in texts_in("storage", "feedback", "align").items()
        for text in texts
        if text.endswith(".duckdb") and "\n" not in text
    }
    assert named == {("storage/store.py", "hone.duckdb")}


def test_events_are_never_updated_or_deleted() -> None:
    """One UPDATE exists, of the mutable tables; there is no DELETE."""
    statements = [text.lstrip() for texts in texts_in("storage").values() for text in texts]
    assert not [text for text in statements if text.startswith("DELETE ")]
    assert len([text for text in statements if text.startswith("UPDATE ")]) == 1
