"""The policy scores as a plain forward pass does, in every order, shape and precision."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import flex_attention
from transformers import AutoModelForCausalLM

from align import attention, sharing
from align.batches import Cutter, Fork, layout, pack, segments
from align.policy import (
    Policy,
    check_head,
    load_policy,
)
from align.reference import ReferenceScores, score
from storage.errors import Unsupported
from tests.align.small import plain_llama, tiny_policy


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def adapted(llama: Path) -> Policy:
    return tiny_policy(llama, adapted=True)


def forks(count: int, seed: int = 0) -> list[Fork]:
    rng = random.Random(seed)

    def ids(least: int, most: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, 64) for _ in range(rng.randint(least, most)))

    return [Fork(ids(1, 12), (ids(1, 9), ids(1, 9))) for _ in range(count)]


def sequence_logprob(model: torch.nn.Module, prompt: Tensor, response: Tensor) -> Tensor:
    """The chapter's loop: one row, all logits, one token after the other."""
    ids = torch.cat([prompt, response])[None]
    logits = model(input_ids=ids[:, :-1].to(model.device)).logits.cpu()
    logp = functional.log_softmax(logits[0], dim=-1)
    start, total = len(prompt) - 1, torch.zeros(())
    for i, token in enumerate(response):
        total = total + logp[start + i, token]
    return total


@torch.no_grad()
def naive(model: torch.nn.Module, some: list[Fork]) -> Tensor:
    return torch.stack(
        [
            sequence_logprob(model, torch.tensor(fork.prompt), torch.tensor(response))
            for fork in some
            for response in fork.responses
        ]
    )


@pytest.mark.parametrize("shared", [True, False])
def test_scores_equal_the_chapters_loop_on_a_plain_forward_pass(
    adapted: Policy, shared: bool
) -> None:
    some = forks(7)
    with torch.no_grad():
        found = adapted(pack(some, shared=shared).to(adapted.device)).sum(-1)
    assert torch.allclose(found.cpu(), naive(adapted.model, some), atol=1e-4)


def test_gradients_equal_the_chapters_loop_on_a_plain_forward_pass(llama: Path) -> None:
    policy, some = tiny_policy(llama, adapted=True), forks(3)
    policy(pack(some, shared=True).to(policy.device)).sum().backward()
    ours = [p.grad.clone() for p in policy.trainable() if p.grad is not None]
    policy.zero_grad()
    sum(
        sequence_logprob(policy.model, torch.tensor(f.prompt), torch.tensor(r))
        for f in some
        for r in f.responses
    ).backward()
    theirs = [p.grad for p in policy.trainable() if p.grad is not None]
    assert len(ours) == len(theirs) > 0
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, theirs, strict=True))


def test_the_order_of_rows_and_the_padding_beside_them_change_nothing(adapted: Policy) -> None:
    some = forks(6, seed=2)
    with torch.no_grad():
        together = adapted(pack(some, shared=True).to(adapted.device))
        reverse = (
            adapted(pack(some[::-1], shared=True).to(adapted.device))
            .view(6, 2, -1)
            .flip(0)
            .flatten(0, 1)
        )
        alone = [adapted(pack([fork], shared=True).to(adapted.device)).sum(-1) for fork in some]
    assert torch.allclose(together, reverse, atol=1e-5)
    assert torch.allclose(together.sum(-1), torch.cat(alone), atol=1e-4)


def test_with_the_adapter_off_the_policy_is_exactly_the_base(llama: Path) -> None:
    """Bit for bit, also after the adapter was trained away from its start."""
    fresh, adapted = tiny_policy(llama), tiny_policy(llama, adapted=True)
    block = pack(forks(4), shared=True).to(fresh.device)
    with torch.no_grad():
        start = fresh(block)
        assert not torch.allclose(adapted(block), start, atol=1e-2)
    with adapted.reference():
        assert torch.equal(adapted(block), start)
    base = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    assert torch.allclose(start.sum(-1).cpu(), naive(base, forks(4)), atol=1e-4)


def test_responses_that_ride_on_other_rows_prompts_score_as_alone(adapted: Policy) -> None:
    """Two riders on one prompt, one on the next; the first pass is not disturbed."""
    some = forks(4)
    own = [Fork(f.prompt, f.responses[:1]) for f in some[:2]]
    others = [Fork(own[0].prompt, some[2].responses), Fork(own[1].prompt, some[3].responses[:1])]
    first, second = adapted.with_riders(
        *(pack(some, shared=True).to(adapted.device) for some in (own, others))
    )
    assert torch.allclose(first, adapted(pack(own, shared=True).to(adapted.device)), atol=1e-6)
    assert torch.allclose(second, adapted(pack(others, shared=False).to(adapted.device)), atol=1e-4)
    assert first.requires_grad
    assert not second.requires_grad
    assert sharing.riders_agree(adapted, others, "fp32")


@pytest.mark.parametrize("kind", ["none", "bool", "added"])
def test_plain_attention_equals_the_fused_kernel(kind: str) -> None:
    """Six query heads on two key heads, also with fewer queries than keys."""
    torch.manual_seed(0)
    for length, keys in ((7, 7), (1, 7)):
        query = torch.randn(2, 6, length, 8)
        key, value = torch.randn(2, 2, keys, 8), torch.randn(2, 2, keys, 8)
        seen = torch.ones(length, keys, dtype=torch.bool).tril(keys - length)
        mask = {"none": None, "bool": seen.expand(2, 1, -1, -1)}.get(kind)
        if kind == "added":
            mask = attention.additive(seen.expand(2, 1, -1, -1), torch.float32)
        found = attention.weighted_values(query * 0.3, key, value, mask, 3 if length == keys else 1)
        expected = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, scale=0.3, enable_gqa=True
        )
        assert torch.allclose(found, expected, atol=1e-5)


def test_a_block_mask_shows_what_the_dense_mask_shows() -> None:
    """Flex attention, not compiled, over a block of rows with two and three responses."""
    some = forks(3, seed=2)
    block = pack([*some[:2], Fork(some[2].prompt, some[0].responses + some[1].responses)],
                 shared=True)  # fmt: skip
    _, seen = layout(block)
    assert seen is not None
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 2, block.ids.shape[1], 16) for _ in range(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow when it is not compiled
        blocks = attention.block_mask(segments(block))
        found = flex_attention(query, key, value, block_mask=blocks)
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    mask = (segments(block) <= 3)[:, None, :, None]  # what padding sees is nobody's business
    assert torch.allclose(found * mask, expected.nan_to_num() * mask, atol=1e-5)


def test_lora_sits_on_every_linear_layer_in_fp32_and_all_else_is_frozen(adapted: Policy) -> None:
    names = {n.split(".lora_")[0].rpartition(".")[2] for n, p in adapted.model.named_parameters()
             if p.requires_grad}  # fmt: skip
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {p.dtype for p in adapted.trainable()} == {torch.float32}
    frozen = [n for n, p in adapted.model.named_parameters() if not p.requires_grad]
    assert not any("lora" in name for name in frozen)


def test_a_model_that_changes_its_logits_after_the_head_is_refused(llama: Path) -> None:
    policy = tiny_policy(llama)
    head = policy.model.get_base_model().lm_head
    head.register_forward_hook(lambda module, given, logits: 20 * logits)
    with pytest.raises(Unsupported, match="after the head"):
        check_head(policy, 1e-3)


def test_each_response_is_scored_once_and_read_back_the_same(llama: Path, tmp_path: Path) -> None:
    policy, some = tiny_policy(llama, adapted=True), forks(9)
    micros = Cutter(budget=60).micros([*some, some[0]])
    assert len(micros) > 2
    scores, ticks = ReferenceScores(), []
    score(policy, micros, scores, ticks.append)
    assert len(scores) == 18
    again: list[int] = []
    score(policy, micros, scores, again.append)
    assert again == []
    scores.save(tmp_path / "reference.safetensors")
    loaded = ReferenceScores.load(tmp_path / "reference.safetensors")
    for micro in micros:
        with policy.reference():
            expected = policy(micro.block.to(policy.device)).cpu()
        assert torch.equal(micro.reference(loaded), micro.reference(scores))
        assert torch.allclose(micro.reference(loaded), expected, atol=1e-4)


def test_in_fp32_a_row_hardly_differs_with_the_rows_beside_it(adapted: Policy) -> None:
    some, together, alone = forks(5), ReferenceScores(), ReferenceScores()
    (micro,) = Cutter().micros(some)
    score(adapted, [micro], together)
    for fork in some:
        score(adapted, Cutter().micros([fork]), alone)
    for key in [(fork.prompt, response) for fork in some for response in fork.responses]:
        assert (together[key] - alone[key]).sum().abs() < 1e-4
    assert together.apart(alone) < 1e-5


def test_scores_are_compared_per_token_over_what_both_have() -> None:
    """√((0.3² + 0.1² + 0²) / 3) over three tokens; a response of one side does not count."""
    one, other = ReferenceScores(), ReferenceScores()
    one.add(Fork((1,), ((2, 3), (4,))), torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]))
    other.add(Fork((1,), ((2, 3), (4,), (5,))), torch.tensor([[-1.3, -1.9], [-3.0, 0], [-9, 0]]))
    assert one.apart(other) == pytest.approx((0.1 / 3) ** 0.5)
    assert one.apart(ReferenceScores()) == 0.0


def test_nf4_gradients_are_those_of_its_dequantised_weights(tmp_path: Path) -> None:
    """Also after a forward pass without gradients, which could repack the weights for speed."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    folder = plain_llama(tmp_path / "wide", width=64)
    policy = load_policy(str(folder), precision="nf4", rank=4, alpha=8, seed=0)
    twin = load_policy(str(folder), precision="bf16", rank=4, alpha=8, seed=0)
    layers, twins = dict(policy.named_modules()), dict(twin.named_modules())
    quantised = {n: m for n, m in layers.items() if isinstance(m, Linear4bit)}
    assert len(quantised) == 14
    for name, module in quantised.items():
        state = module.weight.quant_state
        twins[name].weight.data = dequantize_4bit(module.weight.data, state).to(torch.bfloat16)
    block = pack(forks(4), shared=True).to(policy.device)
    found = []
    for each in (policy, twin):
        torch.manual_seed(1)
        for weight in each.trainable():
            torch.nn.init.normal_(weight, std=0.1)
        with each.reference():
            each(block)
        each(block).sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in each.trainable() if p.grad is not None]))
    assert functional.cosine_similarity(found[0], found[1], dim=0) > 0.999
    assert found[0].norm().item() == pytest.approx(found[1].norm().item(), rel=0.02)


@pytest.mark.parametrize("precision", ["bf16", "nf4"])
def test_the_real_model_scores_alike_in_shared_and_separate_rows(
    embedded: Path, precision: str
) -> None:
    policy = load_policy(str(embedded), precision=precision, rank=4, alpha=8, seed=0)
    rng = random.Random(0)
    some = [
        Fork(
            tuple(rng.randrange(100, 40_000) for _ in range(20)),
            tuple(tuple(rng.randrange(100, 40_000) for _ in range(n)) for n in (5, 12)),
        )
        for _ in range(2)
    ]
    agree, difference = sharing.shared_prompts_agree(policy, some, precision)
    assert agree, difference
    block = pack(some, shared=True)
    with torch.no_grad():
        on = policy(block)
    with policy.reference():
        assert torch.equal(policy(block), on), "a fresh adapter changes nothing"
    layers = {type(m).__name__ for m in policy.model.modules()}
    assert ("Linear4bit" in layers) == (precision == "nf4")
