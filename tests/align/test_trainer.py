"""The training loop: cutting a step changes nothing, and what is no number stops it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaForCausalLM

from align import recipes
from align.batches import Cutter, Fork, plan
from align.losses import LOSSES
from align.policy import Policy, load_policy
from align.reference import ReferenceScores, score
from align.rendering import LabelRow, PairRow, Row
from align.step import KEPT, Job, evaluate, first_row, passes
from align.tally import Tally
from align.trainer import Diverged, PreferenceTrainer
from tests.align.small import plain_llama, tiny_policy
from tests.align.test_policy import forks

ROWS = 8


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_llama(tmp_path_factory.mktemp("llama"))


def rows(method: str) -> list[Row]:
    some = forks(ROWS, seed=5)
    if LOSSES[method].needs == "pairs":
        return [PairRow(f"r{i}", f"p{i}", f.prompt, f.responses, 1.0, 1.0 + i % 2)
                for i, f in enumerate(some)]  # fmt: skip
    return [LabelRow(f"r{i}", f"p{i}", f.prompt, f.responses[:1], i % 2 == 0, 1.0)
            for i, f in enumerate(some)]  # fmt: skip


def job(
    policy: Policy,
    method: str,
    *,
    shared: bool = True,
    riding: bool = False,
    given_rows: list[Row] | None = None,
    **values: Any,
) -> Job:
    """Eight rows in one batch, one epoch, unless `values` say otherwise."""
    given = {"learning_rate": 1e-2, "epochs": 1, "batch_size": ROWS, "warmup": 0.0, **values}
    if method == "kto":
        given |= {"desirable_weight": 1.0, "undesirable_weight": 1.2}
    settings = recipes.from_json(method, given)
    found = given_rows or rows(method)
    train = settings.train
    cutter = Cutter(
        shared=shared, riding=riding, budget=10_000, limit=train.micro_batch, max_tokens=64
    )
    steps = plan(found, epochs=train.epochs, batch_size=train.batch_size, seed=0)
    scores = ReferenceScores()
    whole = Job(settings, settings.loss, found, steps, cutter, scores)
    batches = [whole.batch(step) for step in range(len(steps))]
    score(policy, [m for b in batches for m in (*b.micros, *b.mismatched)], scores)
    return whole


def train(llama: Path, folder: Path, method: str, **values: Any) -> tuple[Policy, list[dict]]:
    policy, written = tiny_policy(llama), []
    trainer = PreferenceTrainer(policy, job(policy, method, **values), folder, write=written.append)
    trainer.train()
    return policy, written


def weights(policy: Policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.trainable()])


@pytest.mark.parametrize("method", LOSSES)
def test_eight_forward_passes_of_one_row_equal_one_of_eight(
    llama: Path, tmp_path: Path, method: str
) -> None:
    one, rows_one = train(llama, tmp_path / "1", method, micro_batch=1, epochs=3)
    other, rows_other = train(llama, tmp_path / "8", method, micro_batch=8, epochs=3)
    start = weights(tiny_policy(llama))
    assert (weights(one) - start).abs().max() > 1e-3
    assert torch.allclose(weights(one), weights(other), atol=2e-5)
    for a, b in zip(rows_one, rows_other, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)


def test_separate_rows_train_as_shared_ones(llama: Path, tmp_path: Path) -> None:
    one, _ = train(llama, tmp_path / "1", "dpo", shared=True, epochs=3)
    other, _ = train(llama, tmp_path / "2", "dpo", shared=False, epochs=3)
    assert torch.allclose(weights(one), weights(other), atol=2e-5)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_step_is_the_plain_gradient_of_the_mean_loss(
    llama: Path, tmp_path: Path, method: str
) -> None:
    """The first row's loss and gradient norm against autograd on the loss function alone."""
    policy = tiny_policy(llama, adapted=True)
    whole = job(policy, method, epochs=1)
    written: list[dict[str, Any]] = []
    PreferenceTrainer(policy, whole, tmp_path, write=written.append).train()
    fresh = tiny_policy(llama, adapted=True)
    batch = whole.batch(0)
    z, scored = passes(fresh, batch, whole)
    losses = [evaluate(policy, micro, whole, z, Tally()) for micro, policy in scored]
    loss = torch.cat(losses).mean()
    loss.backward()
    norm = torch.cat([p.grad.flatten() for p in fresh.trainable() if p.grad is not None]).norm()
    assert written[0]["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert written[0]["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)


@pytest.mark.parametrize("shared", [True, False])
def test_several_pairs_of_one_prompt_share_it_and_train_as_pairs_alone(
    llama: Path, tmp_path: Path, shared: bool
) -> None:
    """Three responses ranked a > b > c leave as three pairs; each response is computed once."""
    a, b = forks(2, seed=3)
    ranked = [(*a.responses, b.responses[0]), (*b.responses, a.responses[1])]
    given: list[Row] = [
        PairRow(f"{n}{i}{j}", f"p{n}", f.prompt, (found[i], found[j]), 1.0, 1.0)
        for n, (f, found) in enumerate(zip((a, b), ranked, strict=True))
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    policies = []
    for folder, limit in (("together", 0), ("alone", 1)):
        policy = tiny_policy(llama)
        whole = job(policy, "dpo", shared=shared, given_rows=given, epochs=3, micro_batch=limit)
        responses = [len(m.block.target) for m in whole.batch(0).micros]
        once = sum(len(r) for found in ranked for r in found)
        assert sum(responses) == (once if folder == "together" else 2 * once)
        PreferenceTrainer(policy, whole, tmp_path / folder, write=lambda row: None).train()
        policies.append(weights(policy))
    assert torch.allclose(*policies, atol=2e-5)
    assert not torch.allclose(policies[0], weights(tiny_policy(llama)), atol=1e-3)


def test_mismatched_responses_that_ride_give_the_same_z_and_the_same_weights(
    llama: Path, tmp_path: Path
) -> None:
    found = []
    for name, riding in (("riding", True), ("apart", False)):
        policy, written = tiny_policy(llama, adapted=True), []
        whole = job(policy, "kto", riding=riding, epochs=3)
        batch = whole.batch(0)
        assert (batch.micros[0].riders is not None, bool(batch.mismatched)) == (riding, not riding)
        PreferenceTrainer(policy, whole, tmp_path / name, write=written.append).train()
        found.append((weights(policy), [row["beta_z"] for row in written]))
    assert max(found[0][1]) > 1e-3, "z is 0 throughout: it would equal anything"
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-5)
    assert torch.allclose(found[0][0], found[1][0], atol=2e-5)


def test_riders_wait_where_a_step_takes_several_passes(llama: Path) -> None:
    batch = job(tiny_policy(llama), "kto", riding=True, micro_batch=4).batch(0)
    assert len(batch.micros) == 2
    assert batch.mismatched


class Reads(TorchDispatchMode):
    """Counts how often a number leaves its tensor; each time a GPU would be waited for."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("method", "librarys"), [("dpo", 0), ("kto", 8)])
def test_a_step_reads_its_numbers_at_once_however_many_passes_it_takes(
    llama: Path, tmp_path: Path, method: str, librarys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first forward pass until the gradients are clipped. transformers itself looks once a
    pass where a row has one response, so no mask: whether rows are packed sequences."""
    policy = tiny_policy(llama)
    whole = job(policy, method, micro_batch=2)
    trainer = PreferenceTrainer(policy, whole, tmp_path, write=_ignore)
    batch = whole.batch(0)
    assert len(batch.micros) == 4
    lists: list[int] = []
    plain = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: (lists.append(t.numel()), plain(t))[1])
    monkeypatch.setattr(torch.Tensor, "cpu", lambda t: pytest.fail("a tensor leaves the device"))
    with Reads() as reads:
        trainer.training_step(policy, 0)
        trainer._clip_grad_norm(policy)
    assert reads.count == librarys
    assert len(lists) == 1


def test_gradients_are_clipped_to_their_limit(llama: Path, tmp_path: Path) -> None:
    policy = tiny_policy(llama)
    whole = job(policy, "dpo", max_grad_norm=1e-3)
    trainer = PreferenceTrainer(policy, whole, tmp_path, write=_ignore)
    trainer.training_step(policy, 0)
    before = gradients(policy)
    assert before.norm() > 1e-3
    assert trainer._clip_grad_norm(policy) == pytest.approx(before.norm().item(), rel=1e-5)
    assert torch.allclose(gradients(policy), before * (1e-3 / before.norm()), rtol=1e-4, atol=0)


def gradients(policy: Policy) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in policy.trainable() if p.grad is not None]).clone()


def test_a_step_writes_its_row(llama: Path, tmp_path: Path) -> None:
    _, written = train(llama, tmp_path, "dpo", epochs=2, batch_size=4)
    assert [row["step"] for row in written] == [1, 2, 3, 4]
    assert [row["epoch"] for row in written] == [0.5, 1.0, 1.5, 2.0]
    names = "step epoch loss margin accuracy logp_chosen logp_rejected grad_norm learning_rate"
    assert set(names.split()) < written[0].keys()
    assert written[0]["learning_rate"] == pytest.approx(1e-2)
    assert written[-1]["margin"] > written[0]["margin"]


@pytest.mark.parametrize(("method", "loss"), [("dpo", 1.5 * math.log(2)), ("kto", 0.55)])
def test_before_the_first_step_nothing_is_preferred(llama: Path, method: str, loss: float) -> None:
    """DPO: ln 2 times the mean weight 1.5. KTO: (1.0 + 1.2) / 2 · σ(0) = 0.55."""
    policy = tiny_policy(llama)
    row = first_row(policy, job(policy, method), tolerance=1e-4)
    assert row["loss"] == pytest.approx(loss, abs=1e-4)
    assert row["margin"] == pytest.approx(0.0, abs=1e-5)
    assert row["step"] == 0


def test_a_policy_that_is_not_its_reference_at_the_start_is_noticed(llama: Path) -> None:
    policy = tiny_policy(llama)
    whole = job(policy, "dpo")
    with pytest.raises(RuntimeError, match="before the first step a reward is"):
        first_row(tiny_policy(llama, adapted=True), whole, tolerance=1e-4)


def loud_llama(folder: Path, seed: int = 0) -> Path:
    """Write a random Llama that tells words apart, so that rounding shows."""
    base = LlamaForCausalLM.from_pretrained(plain_llama(folder, width=64))
    torch.manual_seed(seed)
    for weight in base.parameters():
        if weight.dim() > 1:
            weight.data.normal_(0, 0.1)
    base.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", ["dpo", "kto"])
@pytest.mark.parametrize("precision", KEPT)
def test_kept_scores_of_other_passes_fit_in_every_precision(
    tmp_path: Path, precision: str, method: str
) -> None:
    """They were made in one pass with a row for each response; the first step shares prompts and
    takes row by row. Half of what rounding may make lies between the two besides, now above, now
    below. Rewards are 0 all the same."""
    policy = load_policy(str(loud_llama(tmp_path)), precision=precision, rank=4, alpha=8, seed=0)
    whole = job(policy, method, shared=False)
    for number, scores in enumerate(whole.references._scores.values()):
        scores += KEPT[precision] / 2 * (-1) ** number
    now = replace(whole, cutter=replace(whole.cutter, shared=True, limit=1))
    row = first_row(policy, now, apart=KEPT[precision])
    assert row["largest_reward"] == 0.0
    assert row["loss"] == pytest.approx(row["expected_loss"], abs=1e-6)


@pytest.mark.parametrize("precision", KEPT)
def test_kept_scores_of_another_model_or_of_other_rows_are_noticed(
    tmp_path: Path, precision: str
) -> None:
    first, second = (
        load_policy(
            str(loud_llama(tmp_path / str(n), n)), precision=precision, rank=4, alpha=8, seed=0
        )
        for n in (0, 1)
    )
    whole = job(first, "dpo")
    first_row(first, whole, apart=KEPT[precision])
    with pytest.raises(RuntimeError, match="of another model or of other rows"):
        first_row(second, whole, apart=KEPT[precision])
    shifted = ReferenceScores()
    keys = [(row.prompt, response) for row in whole.rows for response in row.responses]
    for (prompt, response), other in zip(keys, [*keys[1:], keys[0]], strict=True):
        line = torch.zeros(1, len(response))
        its = whole.references[other][: len(response)]
        line[0, : len(its)] = its
        shifted.add(Fork(prompt, (response,)), line)
    with pytest.raises(RuntimeError, match="of another model or of other rows"):
        first_row(first, replace(whole, references=shifted), apart=KEPT[precision])


def test_an_adapter_that_hardly_moves_is_noticed_too(llama: Path) -> None:
    """Far less than rounding in bf16 makes between two passes."""
    policy = tiny_policy(llama)
    whole = job(policy, "dpo")
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.01)
    with pytest.raises(RuntimeError, match="before the first step a reward is"):
        first_row(policy, whole, apart=KEPT["bf16"])


def test_a_loss_that_is_no_number_stops_the_run_in_plain_words(llama: Path, tmp_path: Path) -> None:
    policy = tiny_policy(llama)
    trainer = PreferenceTrainer(
        policy, job(policy, "dpo", batch_size=4, epochs=2, save_every=1), tmp_path, write=_ignore
    )

    def spoil(row: dict[str, Any]) -> None:
        if row["step"] == 2:
            with torch.no_grad():
                policy.trainable()[0].fill_(math.nan)

    trainer.write = spoil
    with pytest.raises(Diverged, match=r"stopped at step 3.*0\.01; try 0\.0025"):
        trainer.train()
    kept = sorted(p.name for p in tmp_path.glob("checkpoint-*/manifest.json"))
    assert kept


def test_gradients_that_are_no_numbers_stop_before_the_weights_are_spoiled(
    llama: Path, tmp_path: Path
) -> None:
    policy = tiny_policy(llama)
    trainer = PreferenceTrainer(policy, job(policy, "dpo"), tmp_path, write=_ignore)
    before = weights(policy)
    policy.trainable()[0].register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(Diverged, match="gradients are not numbers"):
        trainer.train()
    assert torch.equal(weights(policy), before)


def test_a_run_that_is_told_to_stop_stops_between_two_forward_passes(
    llama: Path, tmp_path: Path
) -> None:
    """Told in the second step after its first pass: the first step's weights are saved."""
    policy = tiny_policy(llama)
    passes: list[int] = []

    class Stop(Exception):
        pass

    def pause() -> None:
        passes.append(1)
        if len(passes) == 6:
            raise Stop

    whole = job(policy, "dpo", batch_size=4, micro_batch=1, epochs=2)
    trainer = PreferenceTrainer(policy, whole, tmp_path, write=_ignore, pause=pause)
    with pytest.raises(Stop):
        trainer.train()
    trainer.save_now()
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-1"]
    assert all(p.grad is None for p in policy.trainable())


def _ignore(row: dict[str, Any]) -> None:
    pass
