"""Let gradio be imported in two thirds of the time: it leaves its own type stubs as they are.

Whenever gradio is imported it parses the source of every component and renders a template, to see
whether the `.pyi` file beside it is still right. That serves people who write components in an
editor; of the start of an app it is a third. Should gradio stop doing so, nothing happens here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MODULE, FUNCTION = "gradio.component_meta", "create_or_modify_pyi"


def without_stubs() -> None:
    """Leave gradio's stubs as they were installed; call it before gradio is imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds one module as everybody does, and replaces one function once it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != MODULE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                if hasattr(module, FUNCTION):
                    setattr(module, FUNCTION, _leave)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _leave(*_: Any) -> None:
    """Do nothing, in place of `create_or_modify_pyi`."""
