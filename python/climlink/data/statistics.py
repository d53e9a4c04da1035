"""Statistics of a store in one streaming pass, and the netCDF file they are kept in."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from climlink.data.climsim import is_output
from climlink.data.distribution import Distributed, Frame
from climlink.data.distribution_file import read_distribution, write_distribution
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
from climlink.wrappers.variables import Variable, shipped_variables, variable

Progress = Callable[[int, int], None]
"""Called with the times done and the times in all."""

STATISTICS_VERSION = 1
CLOUD_VARIABLES = ("state_qn", "state_q0002", "state_q0003")
_VERSION_ATTRIBUTE = "climlink_statistics_version"
_LAMBDA_SUFFIX = "_cloud_lambda"
_MOMENT = "moment"
_PART_BLOCKS = 64
"""Blocks that are gathered by one process: how they are grouped decides the rounding."""
_SAMPLE_BLOCKS = 8


def compute_statistics(
    store: ColumnStore,
    split: str = "train",
    progress: Progress | None = None,
    *,
    times_per_block: int | None = None,
    workers: int = 1,
) -> Statistics:
    """Return float64 statistics of one split of a store: moments and quantile sketches of every
    stored variable and every derived one, and the covariance of the inputs, in one pass.

    A few blocks are read before, for the centers and units of the sketches. Values at the fill
    value are left out and counted. The default block is one chunk of the store; the result depends
    on it by rounding only, and not on the number of ``workers``, processes that read. StoreError if
    the split is empty.
    """
    indices = store.indices(split)
    if indices.size == 0:
        raise StoreError(
            f"{store.path}: the {split} split holds no times; the split was declared when the "
            "store was prepared"
        )
    variables = (*store.variables, *store.derived)
    blocks = list(_blocks(indices, store.time_chunk, times_per_block))
    found = _Pass(store, [v.name for v in variables], _frames(store, variables, blocks))
    parts = [blocks[first : first + _PART_BLOCKS] for first in range(0, len(blocks), _PART_BLOCKS)]
    done = 0
    for part, made in zip(parts, _passes(found, parts, workers), strict=True):
        found.merge(made)
        done += sum(map(len, part))
        if progress:
            progress(done, len(indices))
    times = f"{len(indices)} times, " if store.has_stamps else ""
    size = f"{times}{len(indices) * store.n_column} columns"
    return Statistics(
        variables={name: m.statistics() for name, m in found.moments.items()},
        cloud_lambda={name: c.cloud_lambda() for name, c in found.clouds.items()},
        source=f"the {split} split ({size}) of {store.path.name}",
        data_digest=store.digest,
        split=split,
        distribution=found.distributed.result(),
    )


class _Pass:
    """What is gathered of blocks of a store."""

    def __init__(self, store: ColumnStore, names: list[str], frames: dict[str, Frame]) -> None:
        self._store = store
        self._names = names
        self._frames = frames
        self.moments = {name: Moments(len(frames[name].center)) for name in names}
        self.clouds = {n: CloudMean(store.level_count) for n in CLOUD_VARIABLES if n in names}
        self.distributed = Distributed(frames, [n for n in names if not is_output(n)])

    def over(self, blocks: Sequence[NDArray[np.int64]]) -> _Pass:
        """Return what is gathered of some blocks, each value read once."""
        found = _Pass(self._store, self._names, self._frames)
        for block in blocks:
            rows = _rows(self._store, self._names, block)
            for name, values in rows.items():
                _add(found.moments[name], name, values)
                if name in found.clouds:
                    found.clouds[name].add(values)
            found.distributed.add(rows)
        return found

    def merge(self, other: _Pass) -> None:
        """Add what was gathered of other blocks."""
        for name, moments in self.moments.items():
            moments.merge(other.moments[name])
        for name, cloud in self.clouds.items():
            cloud.merge(other.clouds[name])
        self.distributed.merge(other.distributed)


def _passes(
    empty: _Pass, parts: Sequence[Sequence[NDArray[np.int64]]], workers: int
) -> Iterator[_Pass]:
    """Yield what is gathered of every part, in order, by this process or by others."""
    if workers == 1:
        yield from map(empty.over, parts)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as processes:
        yield from processes.map(empty.over, parts)


def _frames(
    store: ColumnStore, variables: Sequence[Variable], blocks: Sequence[NDArray[np.int64]]
) -> dict[str, Frame]:
    """Return centers and units from a few blocks spread over all."""
    names = [v.name for v in variables]
    chosen = np.unique(np.linspace(0, len(blocks) - 1, _SAMPLE_BLOCKS).round().astype(int))
    moments: dict[str, Moments] = {}
    for number in chosen:
        for name, rows in _rows(store, names, blocks[number]).items():
            _add(moments.setdefault(name, Moments(rows.shape[1])), name, rows)
    return {name: Frame.of(m) for name, m in moments.items()}


def _rows(
    store: ColumnStore, names: Sequence[str], block: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Return variables of a block, float64 [row, width]."""
    found = store.read(names, block).items()
    return {name: values.astype(np.float64).reshape(len(values), -1) for name, values in found}


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
        if statistics.distribution is not None:
            write_distribution(statistics.distribution, beside)


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
            distribution=read_distribution(dataset, path),
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
