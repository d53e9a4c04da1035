"""Opening a netCDF file with the check that all of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from climlink.data.classic_netcdf import ClassicFormatError, required_bytes
from climlink.data.errors import DataError


@contextmanager
def open_netcdf(path: Path) -> Iterator[xr.Dataset]:
    """Open one netCDF file undecoded (no masking, no scaling, no times); DataError if it is absent, cut short or unreadable."""
    check_length(path)
    try:
        dataset = xr.open_dataset(path, engine="netcdf4", decode_cf=False, cache=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable netCDF file ({error}); fetch it again") from error
    with dataset:
        yield dataset


def check_length(path: Path) -> None:
    """Raise DataError if a file is absent, or is a classic netCDF file shorter than its header says."""
    try:
        needed = required_bytes(path)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ClassicFormatError as error:
        raise DataError(f"{path}: truncated or damaged netCDF file: {error}; fetch it again") from error
    if needed is not None and size < needed:
        raise DataError(f"{path}: truncated netCDF file: {size} bytes where its header describes {needed}; fetch it again")
