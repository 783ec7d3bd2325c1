"""What the tests of `align` share: a tiny random model, and the embedded one where it is set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from align.models import EMBEDDED, find_model
from storage.errors import UserError
from tests.align.small import answer_briefly, tiny_model


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
