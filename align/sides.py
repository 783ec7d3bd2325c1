"""Who answers on each side of a comparison: a base, a finished run's adapter, another endpoint.

Knows no torch and no gradio.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from align import runs
from align.json_files import read_json
from align.models import EMBEDDED, Model, find_model
from align.openai_client import Endpoint
from storage.errors import BadInput

BASE = "base"
ENDPOINT = "endpoint"  # on the screen: the address beside it says which
SCHEMES = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Side:
    """One that answers."""

    name: str  # "base", a run's id, or an endpoint's address with its model
    adapter: Path | None = None  # the verified adapter of a run
    endpoint: Endpoint | None = None

    @property
    def run(self) -> str | None:
        """Return the run's id; None for the base and for an endpoint."""
        return self.name if self.adapter is not None else None

    @property
    def title(self) -> str:
        """Return how it is called above its answer; an endpoint's name is somebody's text."""
        if self.endpoint is not None:
            return self.endpoint.name
        return "The base" if self.name == BASE else self.name


@dataclass(frozen=True, slots=True)
class Sides:
    """Two that answer the same."""

    before: Side
    after: Side
    model: Model | None  # the base of the local ones; None: that of their adapters

    @property
    def both(self) -> tuple[Side, Side]:
        return (self.before, self.after)

    @property
    def run(self) -> str | None:
        """Return the run by whose reward answers are coloured: the later one."""
        return self.after.run or self.before.run

    @property
    def titles(self) -> tuple[str, str]:
        """Return what stands above the answers."""
        if self.before.name == BASE and self.after.run:
            return ("Before", "After")
        return (self.before.title, self.after.title)


def choose(data: Path, before: str | None, after: str | None) -> Sides:
    """Return the two that were chosen.

    Args:
        before, after: "base", the id of a finished run, or "http://host:8000/v1#model".

    Raises:
        BadInput: one is missing; both are the same; two runs of different bases; no address.
        NotFound: no such run, or its adapter is gone.
    """
    if not before or not after:
        raise BadInput("No run was chosen: choose one, or train one first.")
    if before.strip() == after.strip():
        raise BadInput(
            f"Both sides are {before.strip()[:80]!r}: choose another one for one of them."
        )
    sides = [_side(data, name.strip()) for name in (before, after)]
    trained = [side.name for side in sides if side.run]
    _check_one_base(data, trained)
    model = None if trained or sides[0].endpoint and sides[1].endpoint else usual_base(data)
    return Sides(sides[0], sides[1], model)


def _side(data: Path, name: str) -> Side:
    if name == BASE:
        return Side(BASE)
    if name == ENDPOINT:
        raise BadInput("The other endpoint has no address: write it as http://host:8000/v1#model.")
    if name.startswith(SCHEMES):
        return Side(name, endpoint=Endpoint.parse(name))
    return Side(name, adapter=runs.load_adapter(data, name))


def _check_one_base(data: Path, trained: list[str]) -> None:
    """Refuse two runs that do not fit on one model in memory."""
    bases = {run: read_json(runs.run_folder(data, run) / "config.json") for run in trained}
    if len({str(base.get("model_fingerprint")) for base in bases.values()}) > 1:
        named = ", ".join(f"{run} on {base.get('model_name')}" for run, base in bases.items())
        raise BadInput(
            f"the runs were trained on different bases ({named}): choose two runs on one base."
        )


def usual_base(data: Path) -> Model:
    """Return the base of the newest finished run; the embedded model where there is none."""
    newest = next((one.run for one in runs.list_runs(data) if one.adapter is not None), None)
    return find_model(EMBEDDED) if newest is None else runs.model_of(data, newest)
