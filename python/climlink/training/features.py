"""Statistics of network inputs that no file holds: features derived in the graph are measured on
the training columns themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor

from climlink.data.moments import Moments
from climlink.wrappers.derived import NetworkFields
from climlink.wrappers.statistics import Statistics
from climlink.wrappers.variable_sets import VariableSet


def missing_fields(statistics: Statistics, network_inputs: VariableSet) -> list[str]:
    """Return the fields that the normalization of a network-side set needs and the statistics
    lack.
    """
    return [
        name
        for name in dict.fromkeys(v.field_name for v in network_inputs.variables)
        if name not in statistics.variables
    ]


def with_features(
    statistics: Statistics,
    fields: NetworkFields,
    network_inputs: VariableSet,
    blocks: Iterable[Tensor],
) -> Statistics:
    """Return statistics that cover every network input; ``blocks`` are host rows [row, n_input] of
    the training split.
    """
    position = {v.field_name: network_inputs.slice(v.name) for v in network_inputs.variables}
    moments = {
        name: Moments(network_inputs.width_of(_first(network_inputs, name)))
        for name in missing_fields(statistics, network_inputs)
    }
    if not moments:
        return statistics
    with torch.no_grad():
        for rows in blocks:
            values = fields(rows).numpy()
            for name, moment in moments.items():
                moment.add(values[:, position[name]])
    added = {name: moment.statistics() for name, moment in moments.items()}
    return dataclasses.replace(statistics, variables={**statistics.variables, **added})


def _first(variables: VariableSet, field: str) -> str:
    """Return the first variable of a set that reads a field."""
    return next(v.name for v in variables.variables if v.field_name == field)
