"""A model of a real shape with random weights, for what no download is needed: time and memory.

    python benchmarks/random_llama.py FOLDER [--shape 8b] [--layers N] [--tokenizer FOLDER]

Written in bf16 as `save_pretrained` does, the tokenizer beside it (the embedded model's, whose
tokens are fewer than the model's words). `--layers` makes it shallower, all else the same.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "8b": {  # of Llama 3.1 8B
        "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "rope_theta": 500_000.0, "tie_word_embeddings": False,
    },
    "135m": {  # of SmolLM2 135M, the embedded model
        "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "rope_theta": 100_000.0, "tie_word_embeddings": True,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--layers", type=int, default=0, help="instead of the shape's own")
    parser.add_argument("--tokenizer", type=Path, help="whose; without: the embedded model's")
    arguments = parser.parse_args()
    write(arguments.folder, arguments.shape, arguments.layers, arguments.tokenizer)


def write(folder: Path, shape: str, layers: int = 0, tokenizer: Path | None = None) -> Path:
    """Write the model and its tokenizer; return the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from align.models import EMBEDDED, find_model

    source = tokenizer or Path(find_model(EMBEDDED).path)
    values = dict(SHAPES[shape])
    if layers:
        values["num_hidden_layers"] = layers
    config = LlamaConfig(
        **values, max_position_embeddings=8192, bos_token_id=1, eos_token_id=2, pad_token_id=2
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    for file in source.glob("token*"):
        shutil.copy(file, folder)
    return folder


if __name__ == "__main__":
    main()
