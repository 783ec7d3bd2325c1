"""Turn a GGUF file of the llama architecture into a folder for transformers. Knows no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

ROWS = 4096  # Choice: rows dequantised at a time; 9 MB of an embedding with 576 columns


def convert_llama(gguf_file: Path, made: Path) -> None:
    """Write config, tokenizer with chat template and bf16 weights of a GGUF file into a folder."""
    import gguf  # numpy comes with it: only when there is something to do

    reader = gguf.GGUFReader(gguf_file)

    def field(key: str) -> Any:
        return reader.fields[key].contents()

    for name, content in {
        "config.json": _config(field),
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2},
        "tokenizer_config.json": _tokenizer_config(field),
    }.items():
        (made / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    _write_tokenizer(field, made / "tokenizer.json")
    heads = (field("llama.attention.head_count"), field("llama.attention.head_count_kv"))
    _write_weights(reader.tensors, heads, made / "model.safetensors")


def _config(field: Any) -> dict[str, Any]:
    """Return the config.json of the architecture that the GGUF's own fields describe."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": field("llama.attention.head_count"),
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        "head_dim": field("llama.rope.dimension_count"),
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": 1e-05,
        "rope_theta": field("llama.rope.freq_base"),
        "vocab_size": field("llama.vocab_size"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": field("tokenizer.ggml.padding_token_id"),
        "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
    }


def _tokenizer_config(field: Any) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": field("llama.context_length"),
        "chat_template": field("tokenizer.chat_template"),
    }


def _write_tokenizer(field: Any, path: Path) -> None:
    """Write tokenizer.json: byte-level BPE where every digit stands alone.

    Source: the pre-tokenizer that GGUF names "smollm" (llama.cpp, LLAMA_VOCAB_PRE_TYPE_SMOLLM);
    GGUF token type 3 is a control token.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: Sequence[str] = field("tokenizer.ggml.tokens")
    kinds: Sequence[int] = field("tokenizer.ggml.token_type")
    merges = [tuple(pair.split(" ")) for pair in field("tokenizer.ggml.merges")]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == 3]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.save(str(path), pretty=False)


def _write_weights(tensors: Sequence[Any], heads: tuple[int, int], path: Path) -> None:
    """Write model.safetensors some rows at a time, so that memory never holds the model.

    Source: https://huggingface.co/docs/safetensors: 8 bytes of header length, JSON header, data.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in tensors:
        shape = [int(n) for n in reversed(tensor.shape)]  # GGUF counts dimensions from the inside
        end = start + 2 * int(tensor.n_elements)
        entry = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
        header[_name(tensor.name)] = entry
        start = end
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for tensor in tensors:
            for block in _blocks(tensor, heads):
                _bf16(block).tofile(out)


def _name(gguf_name: str) -> str:
    """Return the transformers' name of a tensor of a llama model.

    >>> _name("blk.7.attn_q.weight")
    'model.layers.7.self_attn.q_proj.weight'
    """
    whole = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
    if gguf_name in whole:
        return "model." + whole[gguf_name]
    parts = {
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    _, layer, part, _ = gguf_name.split(".")
    return f"model.layers.{layer}.{parts[part]}.weight"


def _blocks(tensor: Any, heads: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield a tensor as fp32 (rows, columns) some rows at a time, in transformers' order.

    GGUF keeps the two halves of each rotary pair of queries and keys side by side, transformers
    keeps all first halves before all second ones. Source: `LlamaModel.permute` in llama.cpp's
    convert_hf_to_gguf.py, undone.
    """
    import gguf

    count = {"attn_q": heads[0], "attn_k": heads[1]}.get(tensor.name.split(".")[-2])
    if count is None:
        for start in range(0, len(tensor.data), ROWS):
            yield gguf.dequantize(tensor.data[start : start + ROWS], tensor.tensor_type)
        return
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    rows, columns = values.shape
    halves = values.reshape(count, rows // count // 2, 2, columns).swapaxes(1, 2)
    yield halves.reshape(rows, columns)


def _bf16(values: np.ndarray) -> np.ndarray:
    """Return fp32 values as the 16 bits of bf16, rounded to the nearest, ties to even.

    1.0 is 0x3F800000 in fp32, so 0x3F80 in bf16.
    """
    import numpy as np

    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
