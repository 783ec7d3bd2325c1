"""Notes on serving a published run: the exact commands of the usual engines (pure).

None of them is run here. Sources, read in November 2026: vLLM's docs/features/lora.md and
vllm/config/lora.py (the ranks); transformers 5.23's own `serve --help`; llama.cpp's
convert_hf_to_gguf.py, convert_lora_to_gguf.py and tools/server/README.md; Ollama's docs/import.mdx
and its pull request 14969, which took ADAPTER out of `ollama create` in version 0.34.1.
"""

from __future__ import annotations

from dataclasses import dataclass

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's --max-lora-rank takes


@dataclass(frozen=True, slots=True)
class Served:
    """What there is to serve."""

    name: str  # what clients ask for
    base: str  # hub id, or "BASE" where the base is a folder of somebody's own
    rank: int
    lora: bool  # else a copy of every weight, which no engine takes as an adapter
    merged: bool
    rslora: bool = False


def notes(served: Served) -> str:
    """Return SERVING.md."""
    parts = [
        "# Serving",
        "Run these in this folder. They were not run when this folder was written: the options are "
        "those of the engines' own documentation. vLLM, transformers and llama.cpp apply the chat "
        "template that lies here: ask `/v1/chat/completions`, not `/v1/completions`.",
        _base(served), _vllm(served), _transformers(served), _llama_cpp(served), _ollama(served),
        _python(served),
    ]  # fmt: skip
    return "\n\n".join(filter(None, parts)) + "\n"


def max_rank(rank: int) -> int | None:
    """Return the smallest --max-lora-rank that holds an adapter's rank; None: it is too large.

    Example:
        >>> max_rank(4), max_rank(16), max_rank(48), max_rank(600)
        (8, 16, 64, None)
    """
    return next((one for one in RANKS if one >= rank), None)


def _base(served: Served) -> str:
    if served.base != "BASE":
        return ""
    return (
        "`BASE` stands for the folder of the base model whose fingerprint is in README.md. On "
        "other weights, also of the same name, the adapter acts on what it was not made for."
    )


def _code(*lines: str) -> str:
    return "```sh\n" + "\n".join(lines) + "\n```"


def _vllm(served: Served) -> str:
    parts, rank = ["## vLLM"], max_rank(served.rank)
    if served.lora and rank is not None:
        command = f"vllm serve {served.base} --enable-lora --lora-modules {served.name}=./adapter"
        parts.append("Base and adapter from one server; the request's `model` chooses:")
        parts.append(_code(f"{command} --max-lora-rank {rank}"))
    if served.merged:
        parts.append("The merged model alone, which is faster:")
        parts.append(_code(f"vllm serve ./merged --served-model-name {served.name}"))
    return _whole(parts)


def _transformers(served: Served) -> str:
    parts = ["## transformers serve"]
    if served.merged:
        parts.append(_code("pip install 'transformers[serving]'", "transformers serve ./merged"))
        parts.append("It serves no adapters by name; the request's `model` is `./merged`.")
    return _whole(parts)


def _llama_cpp(served: Served) -> str:
    parts, name = ["## llama.cpp"], served.name
    if served.merged:
        parts.append(_code(
            f"python convert_hf_to_gguf.py ./merged --outfile {name}.gguf --outtype bf16",
            f"llama-server -m {name}.gguf --jinja",
        ))  # fmt: skip
    if served.lora and served.rslora:
        parts.append("Not as an adapter: the converter does not know the scaling of rsLoRA.")
    elif served.lora:
        base = "--base BASE" if served.base == "BASE" else f"--base-model-id {served.base}"
        parts.append("As an adapter on a GGUF file of the same base, converted once:")
        parts.append(_code(
            f"python convert_hf_to_gguf.py {_folder(served)} --outfile base.gguf --outtype bf16",
            f"python convert_lora_to_gguf.py {base} --outfile {name}-lora.gguf ./adapter",
            f"llama-server -m base.gguf --lora {name}-lora.gguf --jinja",
        ))  # fmt: skip
    return _whole(parts)


def _folder(served: Served) -> str:
    """Return the base as a folder: the converter reads one, and no hub id without --remote."""
    return "BASE" if served.base == "BASE" else f"--remote {served.base}"


def _ollama(served: Served) -> str:
    parts, name = ["## Ollama"], served.name
    if served.merged:
        parts.append("A file `Modelfile` beside this one with one line, `FROM ./merged`, then:")
        parts.append(_code(f"ollama create {name} -f Modelfile", f"ollama run {name}"))
        parts.append(
            "Ollama converts some architectures only; for another one write `FROM "
            f"./{name}.gguf` with the file that llama.cpp made above. It has templates of its "
            f"own: see that `ollama show --modelfile {name}` says what "
            "`merged/chat_template.jinja` says."
        )
    if served.lora:
        parts.append(
            "`ADAPTER ./adapter` under `FROM` the same base works before Ollama 0.34.1 alone; "
            "later versions take no adapter when a model is created, so serve the merged weights."
        )
    return _whole(parts)


def _python(served: Served) -> str:
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer"]
    load = "AutoModelForCausalLM.from_pretrained"
    adapter = [
        "from peft import PeftModel",
        f'model = PeftModel.from_pretrained({load}("{served.base}"), "adapter")',
    ]
    lines += [f'model = {load}("merged")'] if served.merged else adapter
    place = "merged" if served.merged else "adapter"
    lines.append(f'tokenizer = AutoTokenizer.from_pretrained("{place}")')
    return "## Python\n\n```python\n" + "\n".join(lines) + "\n```"


def _whole(parts: list[str]) -> str:
    """Return a section; where nothing can be said, that."""
    if len(parts) == 1:
        parts = [*parts, "It needs merged weights, which this folder does not have."]
    return "\n\n".join(parts)
