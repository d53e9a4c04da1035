"""A network is tried before it is trusted: one forward, whose results must have the shapes that
the contract needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from climlink.wrappers.column_emulator import ColumnEmulator, RowNetwork
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ClimlinkError, ContractError, told

_ROWS = 2


def check_network(network: ColumnEmulator | RowNetwork, contract: EmulatorContract) -> None:
    """Run the network on two rows of zeros; ContractError says which result has another shape than
    expected, or what it raised.
    """
    kind = type(network).__name__
    inputs, expected = _trial(network, contract)
    try:
        with torch.no_grad(), _inference(network):
            results = network(*inputs)
    except ClimlinkError:
        raise
    except Exception as error:
        shapes = ", ".join(str(list(x.shape)) for x in inputs)
        raise ContractError(f"{kind} fails on inputs of shapes {shapes}: {told(error)}") from error
    given = [type(r).__name__ for r in (results if isinstance(results, tuple) else [results])]
    tensors = isinstance(results, tuple) and all(isinstance(r, Tensor) for r in results)
    if not tensors or len(given) != len(expected):
        wanted = f"the tensors ({', '.join(expected)})"
        raise ContractError(f"{kind}.forward must return {wanted}, got ({', '.join(given)})")
    for (name, shape), result in zip(expected.items(), results, strict=True):
        if list(result.shape) != shape:
            got = f"{name} of shape {list(result.shape)} for {_ROWS} rows"
            raise ContractError(f"{kind}.forward gives {got}, expected {shape}")


def _trial(
    network: ColumnEmulator | RowNetwork,
    contract: EmulatorContract,
) -> tuple[list[Tensor], dict[str, list[int]]]:
    """Return inputs of zeros and the shapes of the results, by name."""
    outputs = contract.network_outputs
    confident = outputs.of_role("value") if isinstance(network, RowNetwork) else outputs
    confidence = [_ROWS, confident.width if network.has_confidence else 0]
    if isinstance(network, RowNetwork):
        shape = contract.row_shape
        shapes, expected = [[_ROWS, shape.n_input]], {"rows": [_ROWS, shape.n_output]}
    else:
        c = contract.network_shape
        shapes = [[_ROWS, c.profile_inputs, c.level_count], [_ROWS, c.scalar_inputs]]
        expected = {
            "profiles": [_ROWS, c.profile_outputs, c.level_count],
            "scalars": [_ROWS, c.scalar_outputs],
        }
    placed = [t.device for t in (*network.parameters(), *network.buffers())]
    device = placed[0] if placed else torch.device("cpu")
    return [torch.zeros(s, device=device) for s in shapes], {**expected, "confidence": confidence}


@contextmanager
def _inference(network: nn.Module) -> Iterator[None]:
    """Put every part into evaluation mode, and each back into the mode it had."""
    before = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
