"""How the plots and numbers of the experiments look: small SVGs on white, a mean with its interval.

Knows no experiment and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def panels(count: int) -> tuple[Any, Any]:
    """Return a figure with so many axes side by side, and the axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
        "axes.grid": True, "grid.color": "0.92", "legend.frameon": False,
        "svg.hashsalt": "hone", "svg.fonttype": "none", "font.family": "sans-serif",
        "figure.facecolor": "white", "savefig.facecolor": "white",
    })  # fmt: skip
    figure, axes = pyplot.subplots(1, count, figsize=(5.2 * count, 3.4), squeeze=False)
    return figure, axes[0]


def save(figure: Any, path: Path) -> None:
    """Write the figure as an SVG that is the same for the same numbers."""
    from matplotlib import pyplot

    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def words(found: Mapping[str, Any], digits: int = 1) -> str:
    """Return a mean with its 95 % interval.

    Example:
        >>> words({"mean": 2.25, "low": 1.04, "high": 3.5, "n": 9})
        '2.2 (1.0 to 3.5)'
    """
    mean, low, high = (f"{found[name]:.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
