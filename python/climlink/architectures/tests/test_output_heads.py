"""Heads beside a network: order of what they give, weights of their own, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from climlink.architectures import ArchitectureError, find
from climlink.architectures.output_heads import HEADS, OutputHeads
from climlink.wrappers.column_emulator import RowNetwork
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable

LEVELS = 4


def _contract(*values: str) -> EmulatorContract:
    sizes = {"level": LEVELS}
    inputs = VariableSet("given", (Variable("t", "K", dims=("level",)), Variable("p", "Pa")), sizes)
    tendency = Variable("dt", "K/s", dims=("level",))
    given = (tendency, *(Variable(n, "W/m2") for n in values))
    aside = Variable("aside", "1", role="auxiliary")
    return EmulatorContract.of(
        inputs=inputs,
        outputs=VariableSet("made", (tendency,), sizes),
        network_outputs=VariableSet("made", (*given, aside), sizes),
    )


def _network(configuration: dict[str, Any], *values: str) -> RowNetwork | torch.nn.Module:
    torch.manual_seed(1)
    return find("mlp").build_for(_contract(*values), {"hidden": [8], **configuration}).eval()


@pytest.mark.parametrize("confidence", [False, True])
def test_heads_follow_the_values_and_leave_the_network_as_it_was(confidence: bool) -> None:
    alone = _network({"confidence": confidence}, "rain")
    heads = {"top": [6, 5], "bottom": []}
    both = _network({"confidence": confidence, HEADS: heads}, "rain", "top", "bottom")
    assert isinstance(both, OutputHeads)
    x = torch.randn(5, LEVELS + 1)
    with torch.no_grad():
        rows, doubt = both(x)
        profiles, scalars, own_doubt = alone(x[:, None, :LEVELS], x[:, LEVELS:])
        top, bottom = (head(x) for head in both.heads)
        assert torch.equal(torch.jit.script(both)(x)[0], rows)
    expected = [profiles[:, 0], scalars[:, :1], top[:, :1], bottom[:, :1], scalars[:, 1:]]
    assert torch.equal(rows, torch.cat(expected, dim=1))
    widths = [m.out_features for h in both.heads for m in h if isinstance(m, torch.nn.Linear)]
    assert widths == ([6, 5, 2, 2] if confidence else [6, 5, 1, 1])
    if confidence:
        values = own_doubt[:, : LEVELS + 1]
        assert torch.equal(doubt, torch.cat([values, top[:, 1:], bottom[:, 1:]], dim=1))
    else:
        assert doubt.shape == (5, 0)


@pytest.mark.parametrize("heads", [{"rain": [4]}, {"dt": [4]}, {"bottom": [4], "top": [4]}])
def test_heads_of_other_outputs_than_the_last_values_are_refused(heads: dict[str, Any]) -> None:
    with pytest.raises(ArchitectureError, match="must be of the last network outputs"):
        _network({HEADS: heads}, "rain", "top", "bottom")
