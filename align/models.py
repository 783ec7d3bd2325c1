"""Find a base model, say whether Hone can use it, fingerprint it. No torch, no model code runs.

A model is a folder in Hugging Face's layout: config.json, a tokenizer with a chat template,
safetensors. It is found by its path, by its name under `$HONE_MODELS`, or by its hub id where a
hub can be reached.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import BadInput, NotFound, Unsupported

EMBEDDED = "smollm2-135m-instruct"
ORIGIN_FILE = "hone.json"  # where the embedded model's weights come from
FINGERPRINT_FILE = ".hone-fingerprint.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors"]
IDENTITY = [
    *("config.json", "generation_config.json", "chat_template.*", "tokenizer*", "vocab*"),
    *("merges.txt", "special_tokens_map.json", "added_tokens.json", "*.safetensors"),
]  # the files that make a model what it is
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
MAX_TEMPLATE_CHARS = 1_000_000  # Choice: the longest chat template in use has about 20,000


@dataclass(frozen=True, slots=True)
class Model:
    """A base model that was looked at and found usable."""

    name: str  # as the user wrote it
    path: Path  # its folder
    fingerprint: str  # "sha256:…" or "dequantised-q4_1:…", over config, tokenizer and weights
    parameters: int
    template: bool  # has a chat template (always true: without one it is refused)
    what: str = ""  # one line on its origin, where that is known
    context_tokens: int = 0  # the longest input it was made for; 0 if the config does not say


def models_folder() -> Path:
    """Return where base models live: $HONE_MODELS, else hone/models in the user's cache folder."""
    if chosen := os.environ.get("HONE_MODELS"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hone" / "models"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "hone" / "models"


def list_models() -> list[str]:
    """Return the names of the models in the models folder, the embedded one first."""
    home = models_folder()
    names = {p.parent.name for p in home.glob("*/config.json") if not p.parent.name.startswith(".")}
    return sorted(names | {EMBEDDED}, key=lambda name: (name != EMBEDDED, name))


def find_model(name_or_path: str | Path = EMBEDDED) -> Model:
    """Return the model of that name, folder or hub id.

    Raises:
        NotFound: it is not there, or a file of it is missing.
        Unsupported: it is there and Hone cannot use it (no causal language model, no chat template,
            needs remote code, weights in a format that can carry code).
        BadInput: it is damaged.
    """
    name = str(name_or_path).strip() or EMBEDDED
    folder = _find_folder(name)
    config = _check_config(name, folder)
    _check_weights(name, folder)
    _check_tokenizer(name, folder)
    parameters = sum(_parameters(path) for path in sorted(folder.glob("*.safetensors")))
    origin = _object(folder / ORIGIN_FILE)
    kind = str(origin.get("fingerprint_kind", "sha256"))
    return Model(
        name=name,
        path=folder,
        fingerprint=f"{kind}:{_fingerprint(folder)}",
        parameters=parameters,
        template=True,
        what=str(origin.get("what", "")),
        context_tokens=context_of(config),
    )


def context_of(config: Mapping[str, Any]) -> int:
    """Return the longest input (tokens) that a config.json names; 0 where it does not say."""
    return int(config.get("max_position_embeddings") or config.get("n_positions") or 0)


def _find_folder(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        raise Unsupported(
            f"{name} is a file: give the folder of a model (config.json, tokenizer, safetensors)."
        )
    if Path(name).name == name and (models_folder() / name).is_dir():
        return (models_folder() / name).resolve()
    if name == EMBEDDED:
        raise NotFound(
            f"the embedded model {EMBEDDED} is not unpacked in {models_folder()}: run `make setup` "
            "(or: python -m align.embedded)."
        )
    if HUB_ID.fullmatch(name) and not name.startswith("."):
        return _from_hub(name)
    raise NotFound(
        f"there is no model {name!r}: no folder of that path, none of that name in "
        f"{models_folder()}; give a folder, a hub id like owner/name, or {EMBEDDED}."
    )


def _from_hub(name: str) -> Path:
    """Return the folder of a hub model, downloaded now where it was not yet."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=True))
    except LocalEntryNotFoundError:
        pass  # not in the cache: ask the hub
    instead = f"give the folder of a model on this machine, or {EMBEDDED}"
    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except HfHubHTTPError as error:
        answer = getattr(error.response, "status_code", "no answer")
        raise NotFound(
            f"the hub has no model {name!r} for you (it answered {answer}): check its name, and "
            f"accept its terms and log in if it is gated; or {instead}."
        ) from error
    except (httpx.HTTPError, LocalEntryNotFoundError, OSError) as error:
        raise NotFound(
            f"{name!r} is no folder here and the hub cannot be reached ({type(error).__name__}); "
            f"{instead}."
        ) from error


def _check_config(name: str, folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        if (folder / "adapter_config.json").is_file():
            base = _object(folder / "adapter_config.json").get("base_model_name_or_path", "")
            raise Unsupported(f"{name} is an adapter, not a whole model: give its base {base}.")
        raise NotFound(f"{name} has no config.json: it is not a model's folder; give one that has.")
    config = _object(path)
    if not config:
        raise BadInput(f"{path} cannot be read as JSON: the model is damaged; fetch it again.")
    for file in ("config.json", "tokenizer_config.json"):
        if "auto_map" in _object(folder / file):
            raise Unsupported(
                f"{name} needs code of its own (auto_map in {file}), which Hone never runs: "
                "take a model that transformers knows by itself."
            )
    kinds = config.get("architectures") or []
    causal = any(str(kind).endswith(("ForCausalLM", "LMHeadModel")) for kind in kinds)
    if not causal or config.get("is_encoder_decoder"):
        found = ", ".join(map(str, kinds)) or "no architecture"
        raise Unsupported(
            f"{name} is not a causal language model (its config names {found}): "
            "take one whose architecture ends in ForCausalLM."
        )
    method = (config.get("quantization_config") or {}).get("quant_method")
    if method not in (None, "bitsandbytes"):
        raise Unsupported(
            f"{name} is quantised with {method}, which cannot be trained here: "
            "take its unquantised weights; Hone quantises them itself where memory asks for it."
        )
    return config


def _check_weights(name: str, folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        index = _object(folder / "model.safetensors.index.json")
        shards = set(map(str, index.get("weight_map", {}).values()))
        missing = sorted(s for s in shards if not (folder / s).is_file())
        if missing:
            raise NotFound(
                f"{name} lacks {len(missing)} of {len(shards)} weight files (first: {missing[0]}): "
                "fetch it again."
            )
        return
    pickles = sorted(p.name for pattern in PICKLES for p in folder.glob(pattern))
    if pickles:
        raise Unsupported(
            f"{name} has its weights only as {pickles[0]}, a format that can carry code: "
            "take a version with safetensors, or convert it on a machine you trust."
        )
    raise NotFound(f"{name} has no weights (*.safetensors) in {folder}: fetch it again.")


def _check_tokenizer(name: str, folder: Path) -> None:
    if not any((folder / f).is_file() for f in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise NotFound(f"{name} has no tokenizer (tokenizer.json) in {folder}: fetch it again.")
    template = str(_object(folder / "tokenizer_config.json").get("chat_template") or "")
    for file in (folder / "chat_template.jinja", folder / "chat_template.json"):
        if not template and file.is_file():
            template = file.read_text("utf-8", "replace")
    if not template:
        raise Unsupported(
            f"{name} has no chat template, so it is not clear how to talk to it: take its chat or "
            "instruct version, or put a chat_template.jinja into its folder."
        )
    if len(template) > MAX_TEMPLATE_CHARS:
        raise Unsupported(f"{name} has a chat template of {len(template):,} characters: not used.")


def _parameters(path: Path) -> int:
    """Return how many numbers a safetensors file holds, after checking that it is all there.

    Source: https://huggingface.co/docs/safetensors: 8 bytes of header length, JSON header, data.
    """
    damaged = f"{path} is damaged or cut short: fetch the model again."
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = path.stat().st_size
        if not 2 <= length <= size - 8:
            raise BadInput(damaged)
        try:
            header = json.loads(file.read(length))
            entries = [value for key, value in header.items() if key != "__metadata__"]
            end = max((entry["data_offsets"][1] for entry in entries), default=0)
            counts = [_product(entry["shape"]) for entry in entries]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise BadInput(damaged) from error
    if 8 + length + end != size:
        raise BadInput(damaged)
    return sum(counts)


def _product(numbers: list[int]) -> int:
    product = 1
    for number in numbers:
        product *= number
    return product


def _fingerprint(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of what makes the model.

    The hash of each file is kept beside the model with the file's size and time of change, so that
    the next question reads no weights. Where the folder is read-only it is worked out each time.
    """
    files = sorted({path for pattern in IDENTITY for path in folder.glob(pattern)})
    stamps = {p.name: [p.stat().st_size, p.stat().st_mtime_ns] for p in files}
    kept = _object(folder / FINGERPRINT_FILE)
    if kept.get("stamps") == stamps and isinstance(kept.get("sha256"), str):
        return kept["sha256"]
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as source:
            whole.update(f"{path.name}\0".encode())
            whole.update(hashlib.file_digest(source, "sha256").digest())
    fingerprint = whole.hexdigest()
    with contextlib.suppress(OSError):
        temporary = folder / f"{FINGERPRINT_FILE}.{os.getpid()}"
        temporary.write_text(json.dumps({"stamps": stamps, "sha256": fingerprint}), "utf-8")
        os.replace(temporary, folder / FINGERPRINT_FILE)
    return fingerprint


def _object(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file; {} if the file is missing or holds something else."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
