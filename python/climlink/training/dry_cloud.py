"""The relative humidity of the constraint ``cloud_evaporation``, found in the times that a run
trains on.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from climlink.data.store import ColumnStore
from climlink.training.column_data import split_times
from climlink.training.data_config import ValidationConfig
from climlink.training.errors import TrainingError
from climlink.wrappers.constraints.cloud import CloudEvaporationParameters
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.thermodynamics import relative_humidity
from climlink.wrappers.vertical import PressureLevels
from climlink.wrappers.yaml_file import fault

Array = NDArray[np.float64]

SATURATED = 1.0
"""What a level without cloud gets: no cloud stays below saturation."""
_BINS = 300
_WIDTH = 0.005
"""Of the bins of relative humidity, to 1.5; what is more humid is in the last."""
_NAMES = ("state_t", "state_q0001", "state_q0002", "state_q0003")
_TENDENCIES = ("ptend_t", "ptend_q0001", "ptend_q0002", "ptend_q0003")


def with_humidity(
    entry: ConstraintEntry, store: ColumnStore, validation: ValidationConfig
) -> ConstraintEntry:
    """Return a ``cloud_evaporation`` with the humidity of training's clouds, as it is where it has
    one; TrainingError for parameters that do not fit together.
    """
    try:
        asked = CloudEvaporationParameters.model_validate(entry.parameters)
    except ValidationError as error:
        raise TrainingError(f"constraint {entry.name!r}: {fault(error)}") from error
    if asked.relative_humidity:
        return entry
    trained, _ = split_times(store, validation)
    found = driest(cloud_by_humidity(store, trained), asked.drier_share)
    fitted = asked.model_copy(update={"relative_humidity": found.tolist()})
    return ConstraintEntry(name=entry.name, parameters=fitted.model_dump(mode="json"))


def cloud_by_humidity(store: ColumnStore, times: NDArray[np.int64]) -> Array:
    """Return the sum of cloud water after the step [level, bin of relative humidity]."""
    table = np.zeros((store.level_count, _BINS))
    pressures = PressureLevels(store.hybrid)
    levels = np.arange(store.level_count)[None, :] * _BINS
    for block in store.blocks_of(times):
        read = store.read((*_NAMES, *_TENDENCIES, "state_ps"), block)
        t, vapor, liquid, ice = (
            read[state].astype(np.float64) + store.time_step_s * read[tendency].astype(np.float64)
            for state, tendency in zip(_NAMES, _TENDENCIES, strict=True)
        )
        pressure = pressures.midpoints(torch.from_numpy(read["state_ps"].astype(np.float64)))
        humidity = relative_humidity(torch.from_numpy(t), torch.from_numpy(vapor), pressure).numpy()
        at = np.clip(humidity / _WIDTH, 0, _BINS - 1).astype(np.int64) + levels
        cloud = (liquid + ice).clip(min=0.0)
        table += np.bincount(at.ravel(), cloud.ravel(), table.size).reshape(table.shape)
    return table


def driest(cloud: Array, share: float) -> Array:
    """Return the humidity [level] below which at most a share of the cloud [level, bin] lies."""
    total = cloud.sum(axis=1)
    below = np.cumsum(cloud, axis=1)
    # the lower edge of the bin in which the share is passed
    edge = _WIDTH * np.argmax(below > share * total[:, None], axis=1)
    return np.where(total > 0.0, np.clip(edge, _WIDTH, SATURATED), SATURATED)
