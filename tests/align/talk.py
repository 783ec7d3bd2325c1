"""Conversations of different lengths, and random adapters, for the tests of what answers."""

from pathlib import Path

from align.manifest import write_manifest

CHAT = [{"role": "user", "content": "Hello there"}]


def chats(count):
    """Return that many conversations of different lengths."""
    return [[{"role": "user", "content": f"{i} " + "word " * (i % 7)}] for i in range(count)]


def make_adapter(
    model: Path,
    folder: Path,
    seed: int = 1,
    strength: float = 0.3,
    rank: int = 4,
    layers: str | list[str] = "all-linear",
) -> Path:
    """Make a LoRA adapter with random weights on that model, published with its manifest."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(model)
        config = LoraConfig(r=rank, target_modules=layers, task_type="CAUSAL_LM")
        wrapped = get_peft_model(base, config)
        for name, weights in wrapped.named_parameters():
            if "lora_B" in name:
                weights.data.normal_(0, strength)
        wrapped.save_pretrained(folder)
    write_manifest(folder, base=str(model))
    return folder
