"""What a manifest records of the training statistics: ranges of inputs and spreads of outputs."""

from __future__ import annotations

from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.normalization import output_scale
from climlink.wrappers.statistics import Statistics


def training_ranges(
    contract: EmulatorContract, statistics: Statistics
) -> dict[str, list[list[float]]]:
    """Return {host input: [minimum [width], maximum [width]]} for the inputs whose range the
    statistics know.
    """
    known = [n for n in contract.inputs.of_role("value").names if n in statistics.variables]
    entries = {
        n: statistics[n]
        for n in known
        if statistics[n].has("minimum") and statistics[n].has("maximum")
    }
    return {n: [e.minimum.tolist(), e.maximum.tolist()] for n, e in entries.items()}


def difference_scale(contract: EmulatorContract, statistics: Statistics) -> dict[str, list[float]]:
    """Return {host output: floored standard deviation [width]}: the s of the difference formula, in
    the output's units.
    """
    outputs = contract.outputs.of_role("value")
    scale = output_scale(outputs, statistics)
    return {n: scale[outputs.slice(n)].tolist() for n in outputs.names}
