"""The house's one rule of imports, held over the syntax tree, and by what really gets loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("storage", "feedback", "align", "app")  # each may import those before it, and itself
TORCH = {"torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "tokenizers"}
DATABASE = {"duckdb", "sqlalchemy", "duckdb_engine"}
TEST_ONLY = {
    "trl",
    "datasets",
    "matplotlib",
    "pytest",
    "hypothesis",
    "playwright",
    "tests",
    "benchmarks",
}


def files() -> list[Path]:
    """Return every Python file of the product."""
    return [
        ROOT / "app.py",
        *(p for room in ROOMS[:3] for p in sorted((ROOT / room).rglob("*.py"))),
    ]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def is_screen(path: Path) -> bool:
    return "screens" in path.relative_to(ROOT).parts


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def offenders(forbidden: set[str], where: Callable[[Path], bool]) -> list[str]:
    """Return "file imports module" for each forbidden top-level module in the files asked about."""
    return [
        f"{named(path)} imports {name}"
        for path in files()
        if where(path)
        for name in imported(path)
        if name.split(".")[0] in forbidden
    ]


def test_imports_between_rooms_run_one_way() -> None:
    """app → align → feedback → storage, never back."""
    for place, room in enumerate(ROOMS):
        later = set(ROOMS[place + 1 :])
        assert offenders(later, lambda path, room=room: room_of(path) == room) == []


def test_imports_name_the_whole_module() -> None:
    """A relative import has an empty top name."""
    assert offenders({""}, lambda path: True) == []


def test_only_app_and_screens_know_gradio() -> None:
    assert offenders({"gradio"}, lambda path: not is_screen(path) and room_of(path) != "app") == []


def test_only_the_server_imports_screens_and_only_when_it_serves() -> None:
    users = {
        named(path)
        for path in files()
        if not is_screen(path) and any(".screens" in name for name in imported(path))
    }
    assert users == {"align/server.py"}


def test_only_align_knows_torch_and_its_screens_do_not() -> None:
    assert offenders(TORCH, lambda path: is_screen(path) or room_of(path) != "align") == []


def test_only_storage_knows_a_database() -> None:
    assert offenders(DATABASE, lambda path: room_of(path) != "storage") == []


def test_the_product_imports_nothing_that_only_tests_have() -> None:
    assert offenders(TEST_ONLY, lambda path: True) == []


def test_python_never_opens_the_database_file() -> None:
    """Closing a handle on it would silently drop the lock that DuckDB holds."""
    touches = ("open(", "read_bytes(", "copy", "digest(", "sha256(")
    assert [
        f"{named(path)}:{number}"
        for path in files()
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1)
        if ".duckdb" in line and any(word in line for word in touches)
    ] == []


def loaded_by(code: str) -> set[str]:
    """Return the top names of all modules that a fresh Python has after running some code."""
    script = f"{code}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_web_process_never_imports_torch() -> None:
    loaded = loaded_by("import align.server, align.web, align.commands, align.screens")
    assert "gradio" in loaded
    assert not loaded & {"torch", "transformers", "peft", "bitsandbytes", "accelerate"}


def test_votes_are_taken_before_the_screens_and_what_they_need_are_there() -> None:
    """After a restart a vote waits for nothing but what it needs; the rest comes meanwhile."""
    heavy = {"gradio", "pandas", "numpy", "scipy", "evalica", "PIL", "huggingface_hub"} | TORCH
    loaded = loaded_by("import align.server, align.web, uvicorn")
    assert "duckdb" in loaded
    assert not loaded & heavy


def test_no_command_brings_in_gradio_or_scipys_statistics() -> None:
    """`scipy.stats` takes two seconds to import; what is needed of it is in `scipy.special`."""
    code = "import align.commands, sys; assert 'scipy.stats' not in sys.modules"
    assert not loaded_by(code) & {"gradio", "fastapi", "uvicorn", "torch", "transformers"}


def test_the_command_line_starts_without_anything_heavy() -> None:
    heavy = {"gradio", "pandas", "numpy", "fastapi", "uvicorn", "rich"} | TORCH | DATABASE
    assert not loaded_by("import app") & heavy


def test_listing_runs_needs_no_database() -> None:
    assert not loaded_by("import align.following") & (DATABASE | TORCH | {"pandas", "gradio"})


def test_training_and_worker_bring_in_neither_gradio_nor_a_database() -> None:
    """Also what they import late, inside functions."""
    parts = reached_from("align.train", "align.worker")
    assert not [f"{part} imports {name}" for part in parts for name in imported(path_of(part))
                if name.split(".")[0] in DATABASE | {"gradio"}]  # fmt: skip
    loaded = loaded_by("import " + ", ".join(sorted(parts)))
    assert "torch" in loaded
    assert not loaded & (DATABASE | {"gradio"})


def path_of(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def reached_from(*modules: str) -> set[str]:
    """Return the house's own modules that these import, directly or through others."""
    reached: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in reached or not path_of(module).is_file():
            continue
        reached.add(module)
        tree = ast.parse(path_of(module).read_text("utf-8"))
        for node in running(tree):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                waiting += [node.module or ""]
                waiting += [f"{node.module}.{alias.name}" for alias in node.names]
    return reached


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node but those that only type checkers see."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from running(child)
