"""What the tests of `align` share: a tiny random model, and the embedded one where it is set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from align.locks import FileLock
from align.models import EMBEDDED, find_model
from align.workspace import Workspace
from feedback.simulate import simulate_votes
from storage.errors import UserError
from tests.align.small import answer_briefly, tiny_model
from tests.feedback.stock import stock


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models gain nothing from threads, and lose much on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with a byte tokenizer."""
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def brief_answers() -> Iterator[None]:
    """Let runs generate few tokens: for modules to ask for that look at other things."""
    with pytest.MonkeyPatch.context() as patch:
        answer_briefly(patch)
        yield


@pytest.fixture(scope="session")
def embedded() -> Path:
    """The embedded model; `make test` sets it up first."""
    try:
        return Path(find_model(EMBEDDED).path)
    except UserError as error:
        pytest.skip(f"the embedded model is not set up (make setup): {error}")


@pytest.fixture
def biased(tmp_path: Path) -> Iterator[Workspace]:
    """Sixty votes, of which the longer answer won about three of four. Nobody starts the runs of a
    sweep: somebody else looks after the sweeps of this folder."""
    with Workspace.open(tmp_path / "data") as opened:
        stock(opened.store, 60)
        simulate_votes(opened.store, 60, prefer="longer", noise=0.3)
        (opened.data / "sweeps").mkdir()
        held = FileLock(opened.data / "sweeps" / ".lock")
        assert held.acquire()
        yield opened
        held.release()
