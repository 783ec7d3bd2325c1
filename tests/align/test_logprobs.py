"""Log-probabilities from hidden states against plain log-softmax, values and gradients."""

from __future__ import annotations

import pytest
import torch

from align.logprobs import token_logprobs


def parts(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    make = torch.Generator().manual_seed(0)
    hidden = torch.randn(37, 16, generator=make).to(dtype)
    weight = torch.randn(50, 16, generator=make).to(dtype)
    return hidden.requires_grad_(), weight, torch.randint(0, 50, (37,), generator=make)


@pytest.mark.parametrize("chunk", [1, 8, 37, 100])
def test_values_and_gradients_equal_log_softmax_whatever_the_chunk(chunk: int) -> None:
    hidden, weight, targets = parts()
    bias, upstream = torch.linspace(-1, 1, 50), torch.linspace(-2, 3, 37)
    plain = hidden @ weight.T + bias
    expected = plain.log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    (wanted,) = torch.autograd.grad(expected @ upstream, hidden)
    found = token_logprobs(hidden, weight, targets, bias, chunk=chunk)
    (gradient,) = torch.autograd.grad(found @ upstream, hidden)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(gradient, wanted, atol=1e-5)


@pytest.mark.parametrize("chunk", [8, 100])
def test_a_trained_heads_gradient_equals_log_softmaxs(chunk: int) -> None:
    hidden, weight, targets = parts()
    weight.requires_grad_()
    bias, upstream = torch.linspace(-1, 1, 50).requires_grad_(), torch.linspace(-2, 3, 37)
    plain = (hidden @ weight.T + bias).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    wanted = torch.autograd.grad(plain @ upstream, [hidden, weight, bias])
    found = token_logprobs(hidden, weight, targets, bias, chunk=chunk)
    for one, other in zip(
        torch.autograd.grad(found @ upstream, [hidden, weight, bias]), wanted, strict=True
    ):
        assert torch.allclose(one, other, atol=1e-4)


def test_half_precision_rounds_less_than_one_logit_and_likely_tokens_hardly() -> None:
    """Logits up to about 15 round by up to 0.03 in bf16; the target's own is computed in fp32.

    So a token of probability p is off by about 0.03 · (1 - p) at most.
    """
    hidden, weight, targets = parts(torch.bfloat16)
    exact = (hidden.double() @ weight.double().T).log_softmax(-1)
    expected = exact.gather(-1, targets[:, None]).squeeze(-1)
    found = token_logprobs(hidden, weight, targets)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.03
    values, likely = exact.max(-1)
    assert (token_logprobs(hidden, weight, likely) - values)[values > -0.1].abs().max() < 0.003


def test_nothing_as_wide_as_the_vocabulary_is_kept_for_the_backward_pass() -> None:
    hidden, weight, targets = parts()
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(tuple(t.shape)) or t, lambda t: t
    ):
        token_logprobs(hidden, weight, targets).sum().backward()
    assert kept == [(37, 16)]


def test_no_gradient_is_formed_where_none_is_wanted() -> None:
    hidden, weight, targets = parts()
    with torch.no_grad():
        assert not token_logprobs(hidden, weight, targets).requires_grad
