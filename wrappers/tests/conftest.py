"""Shared material of the contract's tests: a vertical grid, statistics, small networks and host
rows that look like columns.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, no_confidence
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.manifest import ConstraintEntry, NormalizationConfig
from climlink.wrappers.statistics import Statistics, VariableStatistics
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.variables import Variable, variable, variable_names
from climlink.wrappers.vertical import HybridCoordinate
from climlink.wrappers.wrapped_emulator import WrappedEmulator

LEVELS = 20
ALL_CONSTRAINTS = (
    "input_clip",
    "unskilled_to_mean",
    "stable_top",
    "range_relaxation",
    "prune",
    "liquid_ice_partition",
    "output_mask",
    "stratospheric_water",
    "positivity",
    "cloud_evaporation",
    "non_negative_surface",
    "snow_within_precipitation",
    "night",
    "net_shortwave_closure",
)
_LEVELS_OF = {
    # Not what RH is made of: clipped, it would differ between hosts that send RH and q.
    "input_clip": {"inputs": ["state_u", "state_v"]},
    "stable_top": {
        "levels": [0, 1],
        "intercept": [2e-4, 1e-4],
        "temperature": [-1e-6, -5e-7],
        "solin": [1e-8, 0.0],
        "coszrs": [0.0, 1e-5],
    },
    "range_relaxation": {"rates_per_day": {"state_t": 1.0}},
    "unskilled_to_mean": {"levels": {"ptend_v": [7, 3]}, "means": {"ptend_v": [1e-5, -1e-5]}},
    "output_mask": {"zero": {"ptend_u": [5]}},
    "cloud_evaporation": {"relative_humidity": 0.8},
}
# Typical size of a variable by its units, for statistics and columns.
_SIZE = {
    "K": 10.0,
    "kg/kg": 1e-3,
    "K/s": 1e-4,
    "kg/kg/s": 1e-8,
    "m/s2": 1e-4,
    "Pa": 1e3,
    "W/m2": 100.0,
    "N/m2": 0.1,
    "m/s": 10.0,
}


def make_hybrid(level_count: int) -> HybridCoordinate:
    """Return interfaces from 1 hPa pure pressure to 1000 hPa pure sigma, midpoints halfway."""
    eta = np.linspace(0.0, 1.0, level_count + 1)
    full = 0.001 + 0.999 * eta**1.5
    b = np.clip((full - 0.1) / 0.9, 0.0, None)
    a = full - b
    return HybridCoordinate(
        1e5, tuple((a[1:] + a[:-1]) / 2), tuple((b[1:] + b[:-1]) / 2), tuple(a), tuple(b)
    )


def make_statistics(level_count: int, seed: int = 0) -> Statistics:
    """Return plausible statistics of every variable of the catalogue."""
    rng = np.random.default_rng(seed)
    entries = {}
    for name in variable_names():
        v = variable(name)
        width = level_count if v.is_profile else 1
        size = _SIZE.get(v.units, 0.3)
        mean = (250.0 if v.units == "K" else 0.0) + 0.1 * size * rng.normal(0.0, 1.0, width)
        std = size * rng.uniform(0.5, 1.5, width)
        low, high = (
            mean - std * rng.uniform(2.0, 3.0, width),
            mean + std * rng.uniform(2.0, 3.0, width),
        )
        entries[name] = VariableStatistics(
            *(torch.tensor(x, dtype=torch.float64) for x in (mean, std, low, high))
        )
    cloud = torch.tensor(rng.uniform(3e4, 1e7, level_count), dtype=torch.float64)
    return Statistics(
        entries,
        {n: cloud.clone() for n in ("state_qn", "state_q0002", "state_q0003")},
        source="synthetic numbers",
    )


def _values(v: Variable, level_count: int, batch: int, rng: np.random.Generator) -> np.ndarray:
    shape = (batch, level_count) if v.is_profile else (batch, 1)
    if v.name == "state_t":
        return np.linspace(200.0, 295.0, level_count) + rng.normal(0.0, 3.0, shape)
    if v.name == "state_q0001":
        return np.exp(np.linspace(np.log(3e-6), np.log(1.5e-2), level_count)) * rng.uniform(
            0.5, 1.5, shape
        )
    if v.name in ("state_q0002", "state_q0003"):
        return rng.uniform(0.0, 1e-4, shape) * (rng.random(shape) < 0.5)
    if v.name == "state_ps":
        return rng.uniform(7e4, 1.03e5, shape)
    if v.name == "cam_in_SNOWHICE":
        return np.where(rng.random(shape) < 0.5, 1e30, 0.1)
    if v.name.startswith(("cam_in_A", "state_rh")):
        return rng.uniform(0.0, 1.0, shape)
    return _SIZE.get(v.units, 0.3) * rng.normal(0.0, 1.0, shape)


def make_rows(contract: EmulatorContract, batch: int, seed: int = 0) -> Tensor:
    """Return float32 host rows [batch, n_input]."""
    rng = np.random.default_rng(seed)
    values = [_values(v, contract.level_count, batch, rng) for v in contract.inputs.variables]
    return torch.tensor(np.concatenate(values, axis=1), dtype=torch.float32)


class SmallNetwork(ColumnEmulator):
    """Two linear layers over the whole column, with or without a confidence head."""

    def __init__(self, shape: ColumnShape, confidence: bool = False, seed: int = 0) -> None:
        super().__init__(shape)
        self.has_confidence = confidence
        torch.manual_seed(seed)
        self.channels: int = shape.profile_outputs
        self.levels: int = shape.level_count
        n_out = shape.profile_outputs * shape.level_count + shape.scalar_outputs
        self.inner = nn.Linear(shape.profile_inputs * shape.level_count + shape.scalar_inputs, 16)
        self.outer = nn.Linear(16, n_out)
        self.doubt = nn.Linear(16, n_out) if confidence else nn.Identity()

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles, scalars and confidence."""
        h = torch.tanh(self.inner(torch.cat([profiles.flatten(1), scalars], dim=1)))
        y = self.outer(h)
        split = self.channels * self.levels
        sure = self.doubt(h) if self.has_confidence else no_confidence(profiles)
        return y[:, :split].reshape(-1, self.channels, self.levels), y[:, split:], sure


def make_contract(
    input_set: str = "host_v2_q",
    network_input_set: str = "net_v2_mc",
    constraints: tuple[str, ...] = ALL_CONSTRAINTS,
    level_count: int = LEVELS,
    normalization: NormalizationConfig | None = None,
) -> EmulatorContract:
    """Return a contract on the synthetic grid."""
    return EmulatorContract.of(
        inputs=variable_set(input_set, level_count),
        outputs=variable_set("mmf368", level_count),
        network_inputs=variable_set(network_input_set, level_count),
        network_outputs=variable_set("net308", level_count),
        time_step_s=1200.0,
        hybrid=make_hybrid(level_count),
        pruned_levels=4,
        normalization=normalization or NormalizationConfig(),
        constraints=[
            ConstraintEntry(name=n, parameters=_LEVELS_OF.get(n, {})) for n in constraints
        ],
    )


def make_emulator(contract: EmulatorContract, confidence: bool = False) -> WrappedEmulator:
    """Return a fitted emulator with random weights, in evaluation mode."""
    network = SmallNetwork(contract.network_shape, confidence)
    return WrappedEmulator(contract, network).fit(make_statistics(contract.level_count)).eval()


class Make:
    """The factories above, for tests (a conftest cannot be imported)."""

    hybrid = staticmethod(make_hybrid)
    statistics = staticmethod(make_statistics)
    rows = staticmethod(make_rows)
    contract = staticmethod(make_contract)
    emulator = staticmethod(make_emulator)
    network = SmallNetwork
    all_constraints = ALL_CONSTRAINTS
    levels = LEVELS


@pytest.fixture(scope="session")
def make() -> type[Make]:
    """Return the factories of this folder."""
    return Make
