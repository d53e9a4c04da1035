"""Do the columns of a training store close? Only then may an emulator be made to close them."""

from __future__ import annotations

import numpy as np
import torch

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.data.store import ColumnStore
from climlink.training.closure_config import CLOSURES
from climlink.training.errors import TrainingError
from climlink.wrappers.column_budgets import WATER_OUTPUTS, layer_mass, water_residual
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.vertical import PressureLevels

LARGEST_RESIDUAL = 1e-3
"""mm/day, rms over columns. The embedded model's columns leave 1e-7 (their state is stored in
float32), ClimSim's 3.
"""

SAMPLED_TIMES = 8


def require_closed_columns(store: ColumnStore, contract: EmulatorContract) -> None:
    """Raise TrainingError where the contract closes columns and those of a store's training split
    do not close in water; some times are looked at, spread over all.
    """
    closures = [c.name for c in contract.constraints if c.name in CLOSURES]
    train = store.indices("train")
    if not closures or not train.size:
        return
    chosen = np.unique(np.linspace(0, train.size - 1, SAMPLED_TIMES).round().astype(int))
    residual = column_water_residual(store, train[chosen])
    rms = float(np.sqrt(np.mean(residual**2)))
    if not rms <= LARGEST_RESIDUAL:
        raise TrainingError(
            f"{' and '.join(closures)}: the columns of {store.path} do not close: water tendency "
            f"plus precipitation has an rms of {rms:.3g} mm/day over {residual.size} columns of "
            f"its training split, allowed is {LARGEST_RESIDUAL:g}. Where the reference keeps or "
            "moves water in other ways (E3SM-MMF: precipitating water of the cloud-resolving "
            "model), an emulator made to close columns learns something else: leave closure out"
        )


def column_water_residual(store: ColumnStore, times: np.ndarray) -> np.ndarray:
    """Return what the columns of some times make of water from nothing, float64 [row] in
    mm/day.
    """
    columns = store.read((*WATER_OUTPUTS, "state_ps"), times)
    fields = {
        n: torch.from_numpy(v.astype(np.float64)).reshape(len(v), -1) for n, v in columns.items()
    }
    mass = layer_mass(PressureLevels(store.hybrid).interfaces(fields["state_ps"]))
    return SECONDS_PER_DAY * water_residual(fields, mass)[:, 0].numpy()
