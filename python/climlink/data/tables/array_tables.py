"""Arrays [row, column] without names: NumPy's .npy files and the dataset ``data`` of HDF5 files."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from climlink.data.errors import DataError
from climlink.data.tables.table import Block
from climlink.wrappers.errors import near_names

DATASET = "data"


class _ArrayTable:
    """Rows of an array whose columns have no names."""

    header = None

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self.path = path
        if len(shape) != 2 or 0 in shape:
            raise DataError(f"{path} has the shape {shape}, expected [row, column]")
        if dtype.kind != "f" or dtype.itemsize < 4:
            raise DataError(f"{path} is {dtype}, expected float32 or float64")
        self.n_row, self.width = shape

    def where(self, row: int) -> str:
        """Return file and row, from 1."""
        return f"{self.path}: row {row + 1}"


class NpyTable(_ArrayTable):
    """A .npy file, mapped: a block is read from the file when it is asked for."""

    def __init__(self, path: Path) -> None:
        array = self._map(path)
        super().__init__(path, array.shape, array.dtype)

    def read(self, start: int, stop: int, columns: tuple[int, ...]) -> Block:
        """Return some rows."""
        return Block(self._map(self.path)[start:stop][:, columns].astype(np.float64), None)

    @staticmethod
    def _map(path: Path) -> NDArray[np.generic]:
        # Mapped anew for each block: pages of a map that stays open would count as this process's
        # memory.
        try:
            array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            problem = f"{path}: not a readable .npy file,"
            raise DataError(f"{problem} or cut short ({error}); fetch it again") from error
        if not isinstance(array, np.ndarray):
            problem = f"{path}: several arrays in one file,"
            raise DataError(f"{problem} expected one .npy array [row, column]")
        return array


class Hdf5Table(_ArrayTable):
    """An HDF5 file with the dataset ``data``, as ClimSim's training sets have it."""

    def __init__(self, path: Path) -> None:
        with _open(path) as file:
            if DATASET not in file.variables:
                there = list(file.variables)
                listed = ", ".join(there) or "none"
                problem = f"{path}: no dataset {DATASET!r}{near_names(DATASET, there)};"
                raise DataError(f"{problem} there are: {listed}")
            entry = file[DATASET]
            super().__init__(path, entry.shape, np.dtype(entry.dtype))

    def read(self, start: int, stop: int, columns: tuple[int, ...]) -> Block:
        """Return some rows."""
        with _open(self.path) as file:
            try:
                values = np.asarray(file[DATASET][start:stop])
            except (OSError, RuntimeError) as error:
                problem = f"{self.where(start)} to {stop} cannot be read ({error});"
                raise DataError(f"{problem} fetch the file again") from error
        return Block(values[:, columns].astype(np.float64), None)


def _open(path: Path) -> netCDF4.Dataset:
    try:
        file = netCDF4.Dataset(path)
    except (OSError, RuntimeError, ValueError) as error:
        problem = f"{path}: not a readable HDF5 file,"
        raise DataError(f"{problem} or cut short ({error}); fetch it again") from error
    file.set_auto_maskandscale(False)
    return file
