"""Does a run fit: memory counted from shapes, passes chosen by what is free, refusals that help."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from align import attention, logprobs, preflight
from align.device import cgroup_memory, cpu, device_now, first_visible, gpu, instructions
from align.models import EMBEDDED, find_model
from align.policy import load_policy
from align.preflight import BUDGET, Device, Passes, Rows, Shape, Unit, choose, memory_of, settle
from align.recipes import TrainSettings
from align.rendering import PairRow
from benchmarks.preflight import kept_per_token
from storage.errors import Unsupported
from tests.align.small import tiny_model

SMOLLM = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True,
}  # fmt: skip
LLAMA_8B = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": False,
}  # fmt: skip
GB = 10**9


def shape(config=SMOLLM) -> Shape:
    found = Shape.of(config)
    assert found is not None
    return found


def of(*lengths: int) -> Rows:
    """Pairs of so many tokens, each of a prompt of its own."""
    return Rows([Unit(n - n // 3 * 2, (n // 3, n // 3)) for n in lengths])


def laptop(free: float, kind: str = "cpu") -> Device:
    return Device(kind, int(free * GB), int(2 * free * GB), 2, "avx512_bf16")


def test_a_shape_has_the_parameters_of_its_model() -> None:
    """SmolLM2-135M: 30 · (2 · 576 · (576 + 192) + 3 · 576 · 1536) + 49152 · 576 weights; its norms
    are the 35,136 that the formula leaves out. Llama 3.1 8B has 8.03e9."""
    assert shape().parameters == 30 * (2 * 576 * 768 + 3 * 576 * 1536) + 49152 * 576
    assert shape().parameters + 61 * 576 == 134_515_008
    assert shape(LLAMA_8B).parameters == pytest.approx(8.03e9, rel=1e-3)


def test_a_shape_is_read_under_other_names_and_none_is_made_up() -> None:
    gpt = Shape.of({"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257})
    assert gpt is not None
    assert (gpt.hidden, gpt.wide, gpt.layers, gpt.keys) == (768, 3072, 12, 768)
    assert Shape.of({"text_config": SMOLLM}) == shape()
    assert Shape.of({"vocab_size": 100}) is None


def test_the_adapter_is_counted_as_peft_makes_it(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path)
    policy = load_policy(str(folder), precision="fp32", rank=4, alpha=4, seed=0)
    counted = Shape.of(json.loads((folder / "config.json").read_text()))
    assert counted is not None
    assert counted.adapter(4) == sum(weight.numel() for weight in policy.trainable())


@pytest.mark.parametrize(
    ("name", "longest", "tokens", "tune"),
    [("plain", 1024, 96, "lora"), ("plain", 1024, 384, "lora"), ("fused", 0, 96, "lora"),
     ("copies", 1024, 96, "full")],
)  # fmt: skip
def test_what_is_kept_of_a_token_is_what_autograd_saves(
    name: str, longest: int, tokens: int, tune: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted on a model that the constants were not fitted on. When this fails, the policy has
    changed: `python benchmarks/preflight.py --fit` prints the new constants."""
    monkeypatch.setattr(attention, "LONGEST", longest)
    monkeypatch.setattr(preflight, "LONGEST_PLAIN", longest)
    sizes = {"hidden": 96, "wide": 256, "heads": 6, "groups": 2, "width": 16, "rank": 4}
    counted = kept_per_token("bf16", {**sizes, "tokens": tokens}, tune)
    told = preflight.per_token(Shape(1, 96, 256, 256, 6, 96, 32, 0), tokens, 4, name)
    assert told == pytest.approx(counted, rel=0.05)


def test_the_sizes_of_other_modules_are_theirs() -> None:
    assert preflight.HEAD_ROWS == logprobs.CHUNK
    assert preflight.LONGEST_PLAIN == attention.LONGEST
    assert preflight.QUERIES == attention.BLOCK


def test_memory_is_weights_and_what_training_adds() -> None:
    """SmolLM2 in bf16: 2 bytes a weight; LoRA of rank 16 has 4,884,480 weights of 16 bytes."""
    train = TrainSettings(batch_size=8)
    memory = memory_of(shape(), of(384), train, Passes("bf16", 1536, False), "cpu")
    assert memory.weights == 2 * shape().parameters
    assert memory.adapter == 16 * 4_884_480
    double = memory_of(shape(), of(384), train, Passes("bf16", 3072, False), "cpu")
    assert double.activations == pytest.approx(2 * memory.activations, rel=1e-6)
    assert memory.total == sum(dataclasses.astuple(memory))
    nf4 = memory_of(shape(LLAMA_8B), of(384), train, Passes("nf4", 1536, False), "cuda")
    assert 5.4 * GB < nf4.weights < 6.0 * GB  # QLoRA's usual figure for 8B


def test_a_pass_is_as_large_as_the_rows_that_fill_it() -> None:
    """Of 700 tokens two rows go into 1536, of 1600 one that is larger; no more than the batch."""
    passes, train = Passes("bf16", 1536, False), TrainSettings(batch_size=8)

    def activations(*lengths: int, train: TrainSettings = train) -> float:
        return memory_of(shape(), of(*lengths), train, passes, "cuda").activations

    assert activations(700) == pytest.approx(1400 / 384 * activations(384) / 4, rel=1e-3)
    assert activations(1600) == pytest.approx(1600 / 1400 * activations(700), rel=1e-3)
    assert activations(100, 700) == max(activations(100), activations(700))
    one = dataclasses.replace(train, micro_batch=1)
    assert activations(384, train=one) == pytest.approx(activations(384) / 4, rel=1e-6)


def test_less_memory_gives_smaller_passes_then_checkpointing_then_a_refusal() -> None:
    train, rows = TrainSettings(batch_size=8, precision="bf16"), of(*[384] * 20)

    def just_enough(passes: Passes) -> Device:
        return laptop(memory_of(shape(), rows, train, passes, "cpu").total / 0.89 / GB)

    ways = [Passes("bf16", b, again) for again in (False, True) for b in (1536, 768, 384)]
    for way in (*ways[:3], ways[5]):  # checkpointing 1536 tokens takes more than 384 without
        found = choose(shape(), rows, train, just_enough(way))
        assert found.fits
        assert found.memory.total <= 0.9 * found.free
        assert found.passes == way
    assert choose(shape(), rows, train, just_enough(ways[0])).rows == 4
    assert not choose(shape(), rows, train, laptop(1.0)).fits


def test_checkpointing_takes_a_fraction_of_the_activations() -> None:
    train = TrainSettings(batch_size=8)
    full, less = (
        memory_of(shape(), of(384), train, Passes("bf16", 1536, again), "cpu").activations
        for again in (False, True)
    )
    assert less < full / 8


def test_what_cannot_fit_is_refused_with_a_setting_that_fits() -> None:
    """Taken at its word, the setting fits."""
    rows, train = Rows([Unit(1900, (100, 100))]), TrainSettings(max_tokens=4096, precision="bf16")
    least = memory_of(shape(), rows.cut(512), train, Passes("bf16", 612, True), "cpu")
    device = laptop(least.total / 0.9 / GB)
    with pytest.raises(Unsupported, match=r"^smol needs .* it would fit with --set ") as caught:
        settle(SMOLLM, 0, rows, train, device, "smol")
    sentence = str(caught.value)
    assert "\n" not in sentence
    tokens = int(sentence.split("max_tokens=")[1].split()[0])
    assert settle(
        SMOLLM, 0, rows, dataclasses.replace(train, max_tokens=tokens), device, "smol"
    ).fits
    larger = dataclasses.replace(train, max_tokens=2 * tokens)
    with pytest.raises(Unsupported):
        settle(SMOLLM, 0, rows, larger, device, "smol")


def test_a_base_that_is_too_large_is_told_a_size_that_is_not() -> None:
    rows, train = of(400), TrainSettings(precision="bf16")
    with pytest.raises(Unsupported, match="it would fit with --set precision=nf4"):
        settle(LLAMA_8B, 0, rows, train, laptop(14, "cuda"), "llama")
    with pytest.raises(Unsupported, match=r"at most about .* parameters \(this one has 8.0 B\)"):
        settle(LLAMA_8B, 0, rows, train, laptop(4, "cuda"), "llama")
    with pytest.raises(Unsupported, match="no base fits beside the program itself"):
        settle(LLAMA_8B, 0, rows, train, laptop(0.5, "cuda"), "llama")


def test_a_model_of_unknown_shape_goes_without_a_forecast() -> None:
    found = settle({}, 5 * 10**6, of(10), TrainSettings(), laptop(8), "odd")
    assert (found.memory, found.fits) == (None, True)
    assert found.passes.budget == BUDGET["cpu"]


def test_rows_are_cut_as_the_run_cuts_them() -> None:
    """Six tokens: a quarter is kept for the prompt at least, and the longest response decides."""
    assert Unit(4, (3, 1)).cut(6) == Unit(3, (3, 1))
    assert Unit(4, (9, 1)).cut(8) == Unit(2, (6, 1))
    assert Rows([Unit(4, (3, 1))]).cut(100).longest == 8


def pair(name: str, prompt: int, *responses: int) -> PairRow:
    """A pair whose responses are told apart by their lengths."""
    chosen, rejected = ((7,) * length for length in responses)
    return PairRow(name, f"p{prompt}", (5,) * prompt, (chosen, rejected), 1.0, 1.0)


def test_pairs_of_one_prompt_stand_side_by_side_with_each_response_once() -> None:
    """Three ranked answers of 2, 3 and 4 tokens are three pairs; half a step takes two of them."""
    rows = [pair("a", 9, 2, 3), pair("x", 6, 2, 3), pair("b", 9, 3, 4), pair("c", 9, 2, 4)]
    found = Rows.of(rows, TrainSettings(batch_size=8)).units
    assert found == [Unit(9, (2, 3, 4), 3), Unit(6, (2, 3), 1)]
    assert (found[0].tokens, found[0].largest) == (18, 16)
    halved = Rows.of(rows, TrainSettings(batch_size=4)).units
    assert halved == [Unit(9, (2, 3, 4), 2), Unit(9, (2, 4), 1), Unit(6, (2, 3), 1)]
    alone = Rows.of(rows, TrainSettings(micro_batch=1)).units
    assert [unit.rows for unit in alone] == [1] * 4


def test_rows_of_one_prompt_are_taken_apart_where_a_pass_is_too_small_for_them() -> None:
    """Eight answers to a prompt of 200 tokens: 1000 in one row, or passes of 500."""
    ranked, train = Rows([Unit(200, (100,) * 8, 8)]), TrainSettings(batch_size=16)

    def activations(budget: int) -> float:
        return memory_of(shape(), ranked, train, Passes("bf16", budget, False), "cuda").activations

    assert ranked.longest == 400
    assert activations(1000) == pytest.approx(2 * activations(500), rel=1e-6)
    assert activations(100) == pytest.approx(400 / 500 * activations(500), rel=1e-6)


def test_riders_keep_the_prompts_keys_and_values() -> None:
    """192 keys and as many values in bf16, in each of 30 layers; a factor is measured on top."""
    train, passes = TrainSettings(batch_size=8), Passes("bf16", 1536, False)
    plain, kto = of(384), dataclasses.replace(of(384), riding=True)
    more = memory_of(shape(), kto, train, passes, "cpu").activations
    more -= memory_of(shape(), plain, train, passes, "cpu").activations
    factor = preflight.FIXED["cpu"].activations
    assert more == pytest.approx(factor * 1536 * 30 * 2 * 192 * 2, rel=1e-3)


def test_processes_share_a_steps_rows_and_a_cpus_memory() -> None:
    train = TrainSettings(batch_size=9)
    share, device = preflight.of_one(train, laptop(8), 2)
    assert (share.batch_size, device.free) == (5, 4 * GB)
    assert preflight.of_one(train, laptop(8, "cuda"), 2)[1].free == 8 * GB


def test_a_base_in_shares_fits_where_a_whole_one_does_not() -> None:
    """Llama 8B in bf16: 14 GB of layers on four devices, two of 32 layers brought together, and
    2.1 GB of embeddings and head everywhere."""
    rows, train = of(400), TrainSettings()
    found = settle(LLAMA_8B, 0, rows, train, laptop(14, "cuda"), "llama", 4)
    assert found.passes.precision == "bf16"
    assert found.memory is not None
    layer = shape(LLAMA_8B).linear
    assert found.memory.weights == 2 * (8 * layer + 2 * layer + 2 * 128256 * 4096)
    with pytest.raises(Unsupported, match="take more processes, or a smaller base"):
        settle(LLAMA_8B, 0, rows, train, laptop(6, "cuda"), "llama", 2)


def test_every_trained_weight_is_counted_and_lora_is_named_as_what_would_fit() -> None:
    """The frozen base in fp32 (4 bytes), its copy and what trains it (16), one in bf16 (2)."""
    train = TrainSettings(batch_size=8, tune="full", precision="bf16")
    memory = memory_of(shape(), of(384), train, Passes("bf16", 1536, False), "cpu")
    assert memory.weights == 4 * shape().parameters
    assert memory.adapter == 18 * shape().parameters
    auto = dataclasses.replace(train, precision="auto")
    assert preflight.choose_precision(auto, 10**13, laptop(8)) == "bf16"
    with pytest.raises(Unsupported, match="would fit with --set tune=lora") as caught:
        settle(SMOLLM, 0, of(384), train, laptop(4), "smol")
    assert "nf4" not in str(caught.value)
    assert settle(SMOLLM, 0, of(384), TrainSettings(precision="bf16"), laptop(4), "smol").fits


def test_auto_precision_takes_a_cpus_own_and_nf4_only_where_memory_is_short() -> None:
    plain = Device("cpu", 8 * GB, 8 * GB, 2, "avx2")
    auto, fp32 = TrainSettings(), TrainSettings(precision="fp32")
    for device, own in ((laptop(8), "bf16"), (plain, "fp32")):
        assert preflight.choose_precision(auto, 1_000_000, device) == own
        assert preflight.choose_precision(auto, 10**13, device) == "nf4"
    assert preflight.choose_precision(auto, 1_000_000, laptop(8, "cuda")) == "nf4"
    assert preflight.choose_precision(fp32, 10**13, laptop(8, "cuda")) == "fp32"


def test_the_device_is_told_as_the_kernel_tells_it(tmp_path: Path) -> None:
    now = cpu()
    assert 0 < now.free <= now.total
    assert now.cores >= 1
    flags = tmp_path / "cpuinfo"
    flags.write_text("flags : sse avx2 avx512f avx512_bf16\n")
    assert instructions(flags) == "avx512_bf16"
    assert instructions(tmp_path / "none") == ""


def test_a_containers_limit_counts_and_its_file_cache_does_not(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("4000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    (tmp_path / "memory.stat").write_text(
        "anon 500000000\ninactive_file 700000000\nactive_file 200000000\n"
    )
    assert cgroup_memory(tmp_path) == (4_000_000_000, 600_000_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert cgroup_memory(tmp_path) == (0, 0)
    assert cgroup_memory(tmp_path / "none") == (0, 0)


def test_a_gpu_is_asked_by_its_drivers_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's 2,000 MiB come back, since it leaves the device before a run starts."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\ncase $1 in *compute*) echo '41, 2000'; echo '42, 300';;"
        " *) echo '0, GPU-4f1c, NVIDIA A10, 20000, 23028';"
        " echo '1, GPU-7a90, NVIDIA T4, 900, 15360';; esac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("align.device.torch_knows_cuda", lambda: True)
    found = gpu([41])
    assert found is not None
    assert (found.kind, found.name) == ("cuda", "NVIDIA A10")
    assert (found.free, found.total) == (22_000 << 20, 23_028 << 20)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")  # the one that the run will have
    other = gpu()
    assert other is not None
    assert (other.name, other.free, other.total) == ("NVIDIA T4", 900 << 20, 15_360 << 20)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu() is None


@pytest.mark.parametrize(
    ("listed", "number"),
    [
        (None, 0), ("0", 0), ("1", 1), (" 1, 0", 1), ("GPU-7a90", 1), ("GPU-7", 1), ("MIG-33", 0),
        ("", None), ("-1", None), ("-1,0", None), ("2", None), ("GPU-9", None), ("none", None),
    ],
)  # fmt: skip
def test_the_gpu_that_cuda_is_left_with_is_found_among_all(
    listed: str | None, number: int | None
) -> None:
    assert first_visible(listed, ["0, GPU-4f1c, A10", "1, GPU-7a90, T4"]) == number
    assert first_visible(listed, []) is None


@pytest.mark.slow
@pytest.mark.alone
def test_the_peak_of_a_real_step_is_within_a_quarter_of_the_forecast() -> None:
    """SmolLM2, four pairs of 384 tokens in one pass, in a process of its own; bf16 only where the
    processor computes in it, as in a run: emulated, the step takes ten minutes."""
    from benchmarks.preflight import measured_point

    precision = "bf16" if device_now().bf16 else "fp32"
    own, activations, peak = measured_point(("embedded", precision, 256, 64, 4, 16), "")
    fixed = preflight.FIXED["cpu"]
    assert own + fixed.program + fixed.activations * activations == pytest.approx(peak, rel=0.25)
    assert find_model(EMBEDDED).parameters == 134_515_008
