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


def make_copies(model: Path, folder: Path, seed: int = 1, strength: float = 0.05) -> Path:
    """Make an adapter with a copy of every weight, moved at random, published with its manifest."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    from align.tuning import TRAINED, weights_of, with_copies

    wrapped = with_copies(AutoModelForCausalLM.from_pretrained(model))
    make = torch.Generator().manual_seed(seed)
    for weights in wrapped.parameters():
        if weights.requires_grad:
            weights.data += torch.randn(weights.shape, generator=make) * strength
    folder.mkdir(parents=True)
    wrapped.peft_config[TRAINED].save_pretrained(folder)
    save_file(weights_of(wrapped), folder / "adapter_model.safetensors")
    write_manifest(folder, base=str(model))
    return folder
