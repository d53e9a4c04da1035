"""Why a loss is not finite: which part of a batch, and which variable."""

from __future__ import annotations

import torch
from torch import Tensor

from climlink.training.data import Batch, HostOutputs
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_SHOWN = 5


def blame(
    emulator: WrappedEmulator,
    batch: Batch,
    host: HostOutputs,
    rows: Tensor | None = None,
) -> str:
    """Return, for people, what of a batch is not finite, in how many columns, and the first of them
    (counted from 1), and what to do; ``rows`` are the network's predictions [column,
    n_network_output], computed here where they are not given.
    """
    contract = emulator.contract
    given = [
        ("input", contract.network_inputs, batch.inputs),
        ("target", contract.network_outputs, batch.targets),
        ("host input", contract.inputs, batch.host_rows),
        ("host target", host.variables, batch.host_targets),
    ]
    found = [line for what, variables, part in given for line in _bad(what, variables, part)]
    if found:
        return f"{_listed(found)}; check the store with climlink data describe"
    with torch.no_grad():
        if rows is None:
            rows, _ = emulator.network_rows(batch.inputs)
    weights = [n for n, p in emulator.network.named_parameters() if not _finite(p)]
    predicted = _bad("prediction", contract.network_outputs, rows)
    cure = "lower optimizer.learning_rate or set gradient_clip"
    if weights:
        where = f"{len(weights)} weight(s) of the network, first {weights[0]}"
        return f"not finite: {where}: training has diverged; {cure}"
    if predicted:
        return (
            f"{_listed(predicted)}, from finite inputs and weights: training has diverged; {cure}"
        )
    name, size = _largest(contract.network_outputs, rows)
    return (
        "inputs, targets, weights and predictions are finite, so the sum overflowed; the largest "
        f"prediction is {size:.3g} of {name}; {cure}"
    )


def _bad(what: str, variables: VariableSet, part: Tensor) -> list[str]:
    """Return one text per variable that is not finite somewhere."""
    if part.shape[1] == 0 or _finite(part):
        return []
    texts = []
    for v in variables.variables:
        columns = (~torch.isfinite(part[:, variables.slice(v.name)])).any(dim=1).nonzero().flatten()
        if columns.numel():
            texts.append(
                f"{what} {v.name} is not finite in {columns.numel()} of {part.shape[0]} columns, "
                f"first in column {int(columns[0]) + 1}"
            )
    return texts


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


def _largest(variables: VariableSet, rows: Tensor) -> tuple[str, float]:
    """Return the output with the largest prediction, and its size."""
    sizes = {
        v.name: float(rows[:, variables.slice(v.name)].abs().max()) for v in variables.variables
    }
    name = max(sizes, key=lambda n: sizes[n])
    return name, sizes[name]
