"""Out of memory: the step is done again in halves and ends with the same weights, or is explained;
activations made twice give the same gradients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

from align import recipes
from align.batches import Block, pack
from align.opening import Tokenised, choose_cutter
from align.overflow import ran_out
from align.policy import Policy, load_policy
from align.processes import Processes
from align.rendering import PairRow
from align.step import in_smaller_passes
from align.trainer import PreferenceTrainer
from storage.errors import Unsupported
from tests.align.small import plain_llama, tiny_policy
from tests.align.test_policy import forks
from tests.align.test_trainer import job, rows, weights


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_llama(tmp_path_factory.mktemp("llama"))


class Narrow(Policy):
    """A policy on a device that holds so many padded tokens at once, as torch would say it."""

    most = 10**9
    fails_at = -1  # the number of the one pass with gradients that fails whatever its size
    passes = 0
    refused = 0

    def _hidden(self, ids: torch.Tensor, *others: Any) -> torch.Tensor:
        self.passes += torch.is_grad_enabled()
        if ids.numel() > self.most or self.passes == self.fails_at:
            self.refused += 1
            self.passes += 1
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you …")
        return super()._hidden(ids, *others)


def trained(
    llama: Path, folder: Path, method: str, *, most: int = 10**9, fails_at: int = -1, **values: Any
) -> tuple[Narrow, list[dict[str, Any]]]:
    policy = Narrow(tiny_policy(llama).model, mixed=False)
    whole, written = job(policy, method, epochs=2, batch_size=4, **values), []
    policy.most, policy.fails_at, policy.passes = most, fails_at, 0
    trainer = PreferenceTrainer(policy, whole, folder, write=written.append)
    trainer.train()
    return policy, written


@pytest.mark.parametrize("method", ["dpo", "kto", "orpo"])
def test_a_step_that_runs_out_of_memory_is_done_again_in_halves(
    llama: Path, tmp_path: Path, method: str
) -> None:
    """The passes become small enough once, and the run ends as an undisturbed one."""
    calm, calm_rows = trained(llama, tmp_path / "1", method)
    short, rows = trained(llama, tmp_path / "2", method, most=45)
    assert calm.refused == 0
    assert 1 <= short.refused <= 3
    assert torch.allclose(weights(calm), weights(short), atol=2e-5)
    assert [row["loss"] for row in rows] == pytest.approx(
        [row["loss"] for row in calm_rows], abs=1e-5
    )


def test_what_a_failed_step_added_to_the_gradients_does_not_stay(
    llama: Path, tmp_path: Path
) -> None:
    """Passes of one row each are not needed for this: the third of four pairs' passes fails."""
    calm, _ = trained(llama, tmp_path / "1", "dpo", micro_batch=2)
    short, _ = trained(llama, tmp_path / "2", "dpo", micro_batch=2, fails_at=2)
    assert short.refused == 1
    assert torch.allclose(weights(calm), weights(short), atol=2e-5)


class Asked(Processes):
    """One process that counts how often the others would be asked for their part of z."""

    asked = 0

    def gather(self, value: Any) -> list[Any]:
        self.asked += isinstance(value, torch.Tensor)
        return [value]


@pytest.mark.parametrize("riding", [False, True])
@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_step_done_again_asks_the_other_processes_for_z_once(
    llama: Path, tmp_path: Path, riding: bool, fails_at: int
) -> None:
    """More often, and they would answer with numbers of their next step."""
    policy = Narrow(tiny_policy(llama).model, mixed=False)
    processes = Asked()
    processes.count = 2
    whole = job(policy, "kto", riding=riding, micro_batch=0 if riding else 2)
    whole = replace(whole, processes=processes)
    policy.fails_at, policy.passes, policy.refused, processes.asked = fails_at, 0, 0, 0
    PreferenceTrainer(policy, whole, tmp_path, write=lambda row: None).train()
    assert policy.refused == (0 if riding and fails_at == 2 else 1)
    assert processes.asked == len(whole.steps)


def several_of_one_prompt() -> list[PairRow]:
    """Four pairs of one short prompt, and one pair that is longer than all of them together."""

    def pair(name: str, prompt: int, good: int, bad: int) -> PairRow:
        ids = [tuple(range(3 + n, 3 + n + 4)) for n in (good, bad)]
        return PairRow(name, f"p{prompt}", tuple(range(3, 3 + prompt)), (ids[0], ids[1]), 1.0, 1.0)

    return [pair(f"r{n}", 4, n, n + 9) for n in range(4)] + [pair("long", 40, 1, 2)]


def test_rows_that_share_a_prompt_are_taken_apart_too(llama: Path) -> None:
    """The long row is a pass of its own from the start, and stays the largest one."""
    whole = job(tiny_policy(llama), "dpo", given_rows=several_of_one_prompt(), batch_size=10)
    whole = replace(whole, cutter=replace(whole.cutter, budget=48))
    sizes = [micro.block.ids.numel() for micro in whole.batch(0).micros]
    assert sizes == [48, 36]
    smaller = in_smaller_passes(whole, 0, MemoryError())
    assert [len(micro.rows) for micro in smaller.batch(0).micros] == [1, 2, 2]
    alone = in_smaller_passes(smaller, 0, MemoryError())
    assert [len(micro.rows) for micro in alone.batch(0).micros] == [1] * 5
    with pytest.raises(Unsupported, match="single row of 48 tokens"):
        in_smaller_passes(alone, 0, MemoryError())


def test_a_single_row_that_does_not_fit_is_explained(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"single row of \d+ tokens.*max_tokens=512") as caught:
        trained(llama, tmp_path, "dpo", most=3)
    assert "\n" not in str(caught.value)


def test_only_running_out_of_memory_counts_as_that() -> None:
    """The first is torch's own error for an amount that no machine has."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.int8)
    assert ran_out(caught.value)
    assert ran_out(torch.cuda.OutOfMemoryError("CUDA out of memory."))
    assert ran_out(MemoryError())
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not ran_out(ValueError("DefaultCPUAllocator"))


def gradients(policy: Policy, block: Block) -> torch.Tensor:
    policy.zero_grad()
    policy(block).sum().backward()
    return torch.cat([p.grad.flatten() for p in policy.trainable() if p.grad is not None])


def saved(policy: Policy, block: Block) -> int:
    from benchmarks.preflight import saved_bytes

    return saved_bytes(policy, block)


def test_activations_made_twice_give_the_same_gradients_in_less_memory(tmp_path: Path) -> None:
    config = LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=6,
                         num_attention_heads=2, num_key_value_heads=1)  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    policy = tiny_policy(tmp_path, adapted=True)
    block = pack(forks(4), shared=True).to(policy.device)
    plain, held, scores = gradients(policy, block), saved(policy, block), policy(block).detach()
    policy.keep_only_layer_inputs()
    assert len(policy.recomputed) == 6
    assert torch.allclose(gradients(policy, block), plain, rtol=1e-5, atol=1e-6)
    assert torch.equal(policy(block).detach(), scores)
    assert saved(policy, block) < held / 3
    with policy.reference():
        off = policy(block)
    assert not torch.allclose(off, scores)


def test_a_policy_that_makes_activations_twice_still_generates_with_a_cache(
    llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"max_new_tokens": 8, "do_sample": False, "use_cache": True, "pad_token_id": 0}
    policy = tiny_policy(llama, adapted=True)
    words = torch.tensor([[3, 4, 5, 6]], device=policy.device)
    before = policy.generate(input_ids=words, **asked)
    policy.keep_only_layer_inputs()
    gradients(policy, pack(forks(2), shared=True).to(policy.device))
    assert torch.equal(policy.generate(input_ids=words, **asked), before)
    assert "incompatible" not in caplog.text


def test_the_layers_own_dropout_stays_off(tmp_path: Path) -> None:
    """OPT's layers drop out by themselves where they are in training mode."""
    torch.manual_seed(0)
    config = OPTConfig(vocab_size=64, hidden_size=16, ffn_dim=32, num_hidden_layers=2, dropout=0.5,
                       num_attention_heads=2, word_embed_proj_dim=16)  # fmt: skip
    OPTForCausalLM(config).save_pretrained(tmp_path)
    policy = load_policy(str(tmp_path), precision="fp32", rank=4, alpha=8, seed=0)
    block = pack(forks(3), shared=False).to(policy.device)
    plain = policy(block).detach()
    policy.keep_only_layer_inputs()
    assert torch.equal(policy(block).detach(), plain)


def test_a_whole_run_with_activations_made_twice_ends_with_the_same_weights(
    llama: Path, tmp_path: Path
) -> None:
    def run(folder: Path, twice: bool) -> torch.Tensor:
        policy = tiny_policy(llama)
        whole = job(policy, "dpo", epochs=3)
        if twice:
            policy.keep_only_layer_inputs()
        whole = replace(whole, cutter=replace(whole.cutter, budget=60))
        PreferenceTrainer(policy, whole, folder, write=lambda row: None).train()
        return weights(policy)

    assert torch.allclose(run(tmp_path / "1", False), run(tmp_path / "2", True), atol=2e-5)


def test_nothing_rides_where_activations_are_made_twice(llama: Path) -> None:
    """Keys and values are not kept then: transformers drops the cache."""
    policy = tiny_policy(llama)
    material = Tokenised(rows("kto"), [], [], {})
    settings = recipes.from_json("kto", {"max_tokens": 64})
    assert choose_cutter(policy, "fp32", settings, material, 0).riding
    policy.keep_only_layer_inputs()
    assert not choose_cutter(policy, "fp32", settings, material, 0).riding


def test_every_weight_can_be_trained_with_activations_made_twice(llama: Path) -> None:
    policy = load_policy(str(llama), precision="fp32", rank=1, alpha=1, seed=0, tune="full")
    block = pack(forks(2), shared=True).to(policy.device)
    plain = gradients(policy, block)
    policy.keep_only_layer_inputs()
    assert torch.allclose(gradients(policy, block), plain, rtol=1e-5, atol=1e-6)
