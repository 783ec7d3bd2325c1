"""What README.md shows is there: targets, commands, options, tables, the tree, pictures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("app.py", "feedback/", "align/", "storage/", "benchmarks/")
SUFFIXES = {".py", ".js", ".css", ".jsonl"}


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    below = README.split(f"{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE).group().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def tree() -> dict[str, str]:
    """Return path → description of the README's tree (two spaces a level, `/` ends a folder)."""
    block = README.split("## Where things are", 1)[1].split("```")[1].strip("\n")
    folders: list[str] = []
    found = {}
    for line in block.splitlines():
        name, _, words = line.strip().partition("  ")
        depth = (len(line) - len(line.lstrip())) // 2
        path = "".join(folders[:depth]) + name
        if name.endswith("/"):
            folders = [*folders[:depth], name]
        found[path] = words.strip()
    return found


def listed_files() -> set[str]:
    """Return the files that git has or would take, of the kinds that the tree names."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {
        name
        for name in names.stdout.splitlines()
        if name.startswith(ROOMS)
        and Path(name).suffix in SUFFIXES
        and Path(name).name != "__init__.py"
        and (ROOT / name).exists()
    }


def test_the_tree_names_every_file_and_no_other():
    shown = {path for path in tree() if not path.endswith("/")}
    assert listed_files() - shown == set()
    assert {path for path in shown if not (ROOT / path).exists()} == set()


def test_every_line_of_the_tree_says_what_the_file_is_for():
    assert [path for path, words in tree().items() if not words and not path.endswith("/")] == []


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert {"run", "test", "test-slow", "check", "bench", "setup"} <= named
    assert named <= targets


def test_every_command_of_the_readme_exists_and_no_other():
    listed = {
        name for row in table("## The command line") for name in re.findall(r"`([\w-]+)`", row[0])
    }
    command = [sys.executable, str(ROOT / "app.py"), "--help"]
    environment = {"PATH": "", "COLUMNS": "200", "TERM": "dumb"}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    in_help = set(re.findall(r"^[│ ]+([a-z]+(?:-[a-z]+)*) {2,}", shown.stdout, re.MULTILINE))
    assert listed == in_help


def test_the_methods_table_is_what_losses_says():
    from align.losses import LOSSES

    rows = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in table("### Methods")}
    assert rows == {name: set(loss.settings()) for name, loss in LOSSES.items()}


def test_the_figures_beside_trl_are_those_of_the_results():
    for method, *times, memory in table("### Beside TRL 1.16"):
        name = f"train_step-{method.strip('`')}-256-128-bf16.json"
        ratios = json.loads((ROOT / "benchmarks" / "results" / name).read_text("utf-8"))["ratios"]
        of = [ratios[side][what] for what in ("time_per_row", "whole_run") for side in ratios]
        assert times == [f"{ratio:.2f} ×" for ratio in of]
        assert list(ratios) == ["best", "defaults"]
        assert memory == f"{ratios['best']['hone_memory']:.2f}"


def test_the_checks_table_is_what_checks_says():
    from feedback.checks import CHECKS

    assert [row[0].strip("`") for row in table("### Checks")] == list(CHECKS)


def test_the_formats_table_is_what_formats_says():
    from feedback.formats import FORMATS

    assert [row[0].strip("`") for row in table("### Formats")] == list(FORMATS)


def test_every_file_that_the_readme_points_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(
        r"`(docs/[^`]+|benchmarks/[^`]+)`", README
    )
    assert [link for link in links if not (ROOT / link).exists()] == []
