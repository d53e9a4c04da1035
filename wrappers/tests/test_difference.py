"""The comparison of two routes, by hand: the same formula as the golden replay of the Runtime."""

from __future__ import annotations

import pytest
import torch

from climlink.wrappers.difference import scaled_difference

NAN, INF = float("nan"), float("inf")


def test_the_difference_is_relative_to_the_reference_over_the_scale_of_its_own_output() -> None:
    value = torch.tensor([[1.0, -3.0], [1.0, 4.0]])
    reference = torch.tensor([[1.125, -3.5], [1.0, 2.0]])
    scale = torch.tensor([0.01, 0.03], dtype=torch.float64)
    got = scaled_difference(value, reference, scale)
    expected = [[0.125 / 1.135, 0.5 / 3.53], [0.0, 2.0 / 2.03]]
    assert got.dtype == torch.float64
    assert got.tolist() == [pytest.approx(row, rel=1e-14) for row in expected]


@pytest.mark.parametrize("pair", [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (INF, 1.0), (INF, INF)])
def test_what_is_no_number_differs_beyond_every_tolerance(pair: tuple[float, float]) -> None:
    value, reference = (torch.tensor([[1.0, x]]) for x in pair)
    got = scaled_difference(value, reference, torch.tensor([0.5, 0.5]))
    assert got.tolist() == [[0.0, INF]]
