"""Statistics of a store in one streaming pass, and the netCDF file they are kept in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from climlink.data.errors import DataError, StoreError
from climlink.data.files import replacing
from climlink.data.moments import CloudMean, Moments
from climlink.data.netcdf import open_netcdf
from climlink.data.store import ColumnStore
from climlink.wrappers.statistics import (
    FILL_THRESHOLD,
    FILLED_VARIABLES,
    MOMENTS,
    Statistics,
    VariableStatistics,
)
from climlink.wrappers.variables import shipped_variables, variable

Progress = Callable[[int, int], None]
"""Called with the times done and the times in all."""

STATISTICS_VERSION = 1
CLOUD_VARIABLES = ("state_qn", "state_q0002", "state_q0003")
_VERSION_ATTRIBUTE = "climlink_statistics_version"
_LAMBDA_SUFFIX = "_cloud_lambda"
_MOMENT = "moment"


def compute_statistics(
    store: ColumnStore,
    split: str = "train",
    progress: Progress | None = None,
    *,
    times_per_block: int | None = None,
) -> Statistics:
    """Return float64 statistics of one split of a store: every stored variable and every derived
    one, each value read once.

    Values at the fill value are left out and counted. The default block is one chunk of the store;
    the result depends on it by rounding only. StoreError if the split is empty.
    """
    indices = store.indices(split)
    if indices.size == 0:
        raise StoreError(
            f"{store.path}: the {split} split holds no times; the split was declared when the "
            "store was prepared"
        )
    variables = (*store.variables, *store.derived)
    names = [v.name for v in variables]
    moments: dict[str, Moments] = {}
    clouds = {name: CloudMean(store.level_count) for name in CLOUD_VARIABLES if name in names}
    times = f"{len(indices)} times, " if store.has_stamps else ""
    size = f"{times}{len(indices) * store.n_column} columns"
    done = 0
    for block in _blocks(indices, store.time_chunk, times_per_block):
        for name, values in store.read(names, block).items():
            rows = values.astype(np.float64).reshape(len(values), -1)
            _add(moments.setdefault(name, Moments(rows.shape[1])), name, rows)
            if name in clouds:
                clouds[name].add(rows)
        done += len(block)
        if progress:
            progress(done, len(indices))
    return Statistics(
        variables={name: m.statistics() for name, m in moments.items()},
        cloud_lambda={name: c.cloud_lambda() for name, c in clouds.items()},
        source=f"the {split} split ({size}) of {store.path.name}",
        data_digest=store.digest,
        split=split,
    )


def _blocks(
    indices: NDArray[np.int64], time_chunk: int, times_per_block: int | None
) -> Iterator[NDArray[np.int64]]:
    """Yield the time indices in blocks: those of one chunk of the store, or a given number."""
    if times_per_block is None:
        yield from np.split(indices, np.flatnonzero(np.diff(indices // time_chunk)) + 1)
    else:
        for first in range(0, len(indices), times_per_block):
            yield indices[first : first + times_per_block]


def _add(moments: Moments, name: str, rows: NDArray[np.float64]) -> None:
    """Add rows to the moments, leaving out fill values where the variable has them."""
    if name in FILLED_VARIABLES:
        given = rows[:, 0] < FILL_THRESHOLD
        moments.left_out += int((~given).sum())
        rows = rows[given]
    moments.add(rows)


def write_statistics(statistics: Statistics, path: str | Path) -> None:
    """Write statistics as netCDF: one variable per variable, (moment, level) or (moment); written
    beside, then renamed.
    """
    path = Path(path)
    dataset = xr.Dataset(coords={_MOMENT: list(MOMENTS)})
    for name, entry in statistics.variables.items():
        values = np.stack([getattr(entry, moment).numpy() for moment in MOMENTS])
        attributes: dict[str, Any] = {"count": entry.count, "left_out": entry.left_out}
        own = name.split("@")[0] not in shipped_variables()
        if not own:
            known = variable(name)
            attributes |= {"units": known.units, "long_name": known.long_name}
        # The values of an own variable are numbered as in a row: here nobody knows its dimensions.
        several = f"{name}_value" if own else "level"
        single = entry.width == 1 if own else not known.is_profile
        shape = (_MOMENT,) if single else (_MOMENT, several)
        dataset[name] = xr.Variable(shape, values[:, 0] if single else values, attributes)
    for name, inverse_mean in statistics.cloud_lambda.items():
        attributes = {"units": "1", "long_name": f"1 / mean of {name} above 1e-7 kg/kg"}
        dataset[name + _LAMBDA_SUFFIX] = xr.Variable(("level",), inverse_mean.numpy(), attributes)
    dataset.attrs = {
        _VERSION_ATTRIBUTE: STATISTICS_VERSION,
        "source": statistics.source,
        "data_digest": statistics.data_digest or "",
        "split": statistics.split or "",
        "digest": statistics.digest,
    }
    with replacing(path) as beside:
        dataset.to_netcdf(
            beside,
            engine="netcdf4",
            encoding={str(n): {"_FillValue": None} for n in dataset.data_vars},
        )


def read_statistics(path: str | Path) -> Statistics:
    """Return the statistics of a file that write_statistics made; DataError if it is another file,
    newer, or was changed since.
    """
    path = Path(path)
    with open_netcdf(path) as dataset:
        version = getattr(dataset, _VERSION_ATTRIBUTE, None)
        if version is None:
            raise DataError(
                f"{path}: no statistics of climlink (no attribute {_VERSION_ATTRIBUTE}); make them "
                "with: climlink data statistics"
            )
        if int(version) > STATISTICS_VERSION:
            raise DataError(
                f"{path}: statistics version {version} is newer than the {STATISTICS_VERSION} this "
                "climlink reads; update climlink"
            )
        names = [n for n in dataset.variables if n != _MOMENT]
        lambdas = [n for n in names if n.endswith(_LAMBDA_SUFFIX)]
        statistics = Statistics(
            variables={n: _entry(dataset[n], path) for n in names if n not in lambdas},
            cloud_lambda={
                n.removesuffix(_LAMBDA_SUFFIX): torch.tensor(dataset[n][...]) for n in lambdas
            },
            source=str(dataset.source),
            data_digest=str(dataset.data_digest) or None,
            split=str(dataset.split) or None,
        )
        recorded = str(dataset.digest)
    if statistics.digest != recorded:
        raise DataError(
            f"{path}: the numbers are not those that were written (digest {statistics.digest}, "
            f"recorded {recorded}); compute them again"
        )
    return statistics


def _entry(entry: netCDF4.Variable, path: Path) -> VariableStatistics:
    """Return one variable's statistics from the file."""
    if entry.dimensions[:1] != (_MOMENT,) or entry.shape[0] != len(MOMENTS):
        raise DataError(
            f"{path}: {entry.name} has dimensions {entry.dimensions}, "
            f"expected ({_MOMENT}, level) or ({_MOMENT}) with {len(MOMENTS)} moments"
        )
    values = torch.from_numpy(np.array(entry[...], dtype=np.float64))
    mean, std, minimum, maximum = values.reshape(len(MOMENTS), -1)
    return VariableStatistics(mean, std, minimum, maximum, int(entry.count), int(entry.left_out))
