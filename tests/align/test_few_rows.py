"""A few rows go another way through the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from align.few_rows import MOST, FewRowsLinear, use_in


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 6), (2, 1, 6), (2, 4, 6), (MOST, 6), (MOST + 1, 6), (6,)])
def test_the_result_is_that_of_a_plain_layer(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain, x = nn.Linear(6, 5, bias=bias), torch.randn(shape)
    wanted = plain(x)
    quick = use_in(plain)(x)
    assert quick.shape == wanted.shape
    torch.testing.assert_close(quick, wanted, rtol=1e-6, atol=1e-6)


def test_only_a_few_rows_in_fp32_go_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    plain = nn.functional.linear

    def counted(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        asked.append(x.shape[:-1].numel())
        return plain(x, *rest)

    monkeypatch.setattr(nn.functional, "linear", counted)
    layer = use_in(nn.Linear(6, 5))
    for rows in (1, 2, MOST, MOST + 1):
        layer(torch.randn(rows, 6))
    layer.to(torch.bfloat16)(torch.randn(2, 6).bfloat16())
    assert asked == [1, MOST + 1, 2]


def test_layers_of_another_kind_stay_as_they_are() -> None:
    class Own(nn.Linear):
        pass

    model = use_in(nn.Sequential(nn.Linear(2, 2), Own(2, 2), nn.LayerNorm(2)))
    assert [type(layer) for layer in model] == [FewRowsLinear, Own, nn.LayerNorm]
