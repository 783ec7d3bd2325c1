"""Finding base models: what is usable, and one clear line for what is not."""

import json
import struct

import pytest

from align.models import EMBEDDED, find_model, list_models, models_folder
from storage.errors import BadInput, NotFound, Unsupported, UserError


def write_weights(path, shape=(2, 3)):
    """Write one fp32 tensor as safetensors: 8 bytes of header length, header, data."""
    size = 4 * shape[0] * shape[1]
    header = {"w": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}}
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(size))


@pytest.fixture
def folder(tmp_path):
    """A folder that looks like a model of six parameters."""
    made = tmp_path / "model"
    made.mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 64}
    (made / "config.json").write_text(json.dumps(config))
    (made / "tokenizer.json").write_text("{}")
    (made / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    write_weights(made / "model.safetensors")
    return made


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_folder_with_all_its_parts_is_a_model(folder):
    model = find_model(folder)
    assert model.parameters == 6
    assert model.context_tokens == 64
    assert model.template
    assert model.fingerprint.startswith("sha256:")


def test_the_fingerprint_changes_with_the_weights_and_with_the_template(folder):
    first = find_model(folder).fingerprint
    assert find_model(folder).fingerprint == first
    write_weights(folder / "model.safetensors", (3, 3))
    second = find_model(folder).fingerprint
    change(folder / "tokenizer_config.json", chat_template="other")
    assert len({first, second, find_model(folder).fingerprint}) == 3


def test_a_copy_elsewhere_has_the_same_fingerprint(folder, tmp_path):
    first = find_model(folder).fingerprint
    folder.rename(tmp_path / "moved")
    (tmp_path / "moved" / ".hone-fingerprint.json").unlink()
    assert find_model(tmp_path / "moved").fingerprint == first


def test_a_template_file_counts_as_a_chat_template(folder):
    change(folder / "tokenizer_config.json", chat_template=None)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert find_model(folder).template


def refused(folder, kind, *words):
    with pytest.raises(kind) as caught:
        find_model(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence
    return sentence


def test_a_model_that_needs_code_of_its_own_is_refused(folder):
    change(folder / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    refused(folder, Unsupported, "auto_map", "never runs")


def test_a_tokenizer_that_needs_code_of_its_own_is_refused(folder):
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]})
    refused(folder, Unsupported, "tokenizer_config.json")


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "T5ForConditionalGeneration", None])
def test_what_is_no_causal_language_model_is_refused(folder, kind):
    change(folder / "config.json", architectures=[kind] if kind else None)
    refused(folder, Unsupported, "not a causal language model", kind or "no architecture")


def test_a_model_without_chat_template_is_refused(folder):
    change(folder / "tokenizer_config.json", chat_template=None)
    refused(folder, Unsupported, "no chat template", "instruct")


def test_weights_that_can_carry_code_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, Unsupported, "pytorch_model.bin", "safetensors")


def test_missing_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, NotFound, "no weights")


def test_a_missing_shard_is_named(folder):
    weights = {"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(weights))
    refused(folder, NotFound, "1 of 2", "model-2.safetensors")


def test_weights_cut_short_are_refused(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-5])
    refused(folder, BadInput, "cut short")


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, struct.pack("<Q", 12) + b"not any json"])
def test_weights_that_are_something_else_are_refused(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, BadInput, "model.safetensors")


def test_a_quantised_model_is_refused(folder):
    change(folder / "config.json", quantization_config={"quant_method": "gptq"})
    refused(folder, Unsupported, "gptq")


def test_a_damaged_config_is_refused(folder):
    (folder / "config.json").write_text("{")
    refused(folder, BadInput, "config.json")


def test_an_adapter_is_told_from_a_model(folder):
    (folder / "config.json").unlink()
    base = {"base_model_name_or_path": "its/base"}
    (folder / "adapter_config.json").write_text(json.dumps(base))
    refused(folder, Unsupported, "adapter", "its/base")


def test_an_empty_folder_and_a_file_are_refused(tmp_path):
    refused(tmp_path, NotFound, "config.json")
    (tmp_path / "weights.gguf").write_bytes(b"GGUF")
    refused(tmp_path / "weights.gguf", Unsupported, "is a file")


@pytest.mark.parametrize(
    "name", ["no-such-model", "/no/such/folder", "../x", "a b c", "\u202eevil"]
)
def test_a_name_that_is_nowhere_is_refused_with_what_would_work(name):
    with pytest.raises(NotFound) as caught:
        find_model(name)
    assert EMBEDDED in str(caught.value)


def test_a_hub_id_without_a_hub_gets_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as caught:
        find_model("nobody-is-called-so/nothing")
    assert "nobody-is-called-so/nothing" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_models_in_the_models_folder_go_by_their_name(folder, monkeypatch):
    monkeypatch.setenv("HONE_MODELS", str(folder.parent))
    assert models_folder() == folder.parent
    assert find_model("model").path == folder.resolve()
    assert list_models() == [EMBEDDED, "model"]


def test_the_embedded_model_that_is_not_unpacked_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("HONE_MODELS", str(tmp_path))
    with pytest.raises(NotFound, match="make setup"):
        find_model(EMBEDDED)
