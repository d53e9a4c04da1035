"""Opening a netCDF file with the check that all of it is there; its numbers as CF means them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from climlink.data.classic_netcdf import ClassicFormatError, required_bytes
from climlink.data.errors import DataError

Range = tuple[float, float]
"""Smallest and largest value."""

_PACKING = ("scale_factor", "add_offset")
_WORDS = {"ncol": "column", "lev": "level", "ilev": "interface"}
_NOWHERE: NDArray[np.bool_] = np.zeros((), dtype=bool)


@contextmanager
def open_netcdf(path: Path) -> Iterator[netCDF4.Dataset]:
    """Open one netCDF file, undecoded; DataError if it is absent, cut short or unreadable."""
    check_length(path)
    try:
        dataset = netCDF4.Dataset(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: not a readable netCDF file ({error}); fetch it again") from error
    with dataset:
        dataset.set_auto_maskandscale(False)
        yield dataset


def check_length(path: Path) -> None:
    """Raise DataError if a file is absent, or is a classic netCDF file shorter than its header
    says.
    """
    try:
        needed = required_bytes(path)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ClassicFormatError as error:
        raise DataError(
            f"{path}: truncated or damaged netCDF file: {error}; fetch it again"
        ) from error
    if needed is not None and size < needed:
        raise DataError(
            f"{path}: truncated netCDF file: {size} bytes where its header describes {needed}; "
            "fetch it again"
        )


def is_packed(variable: netCDF4.Variable) -> bool:
    """Say whether integers are stored that scale_factor or add_offset make numbers of."""
    integers = np.dtype(variable.dtype).kind in "iu"
    return integers and any(name in variable.ncattrs() for name in _PACKING)


def read_numbers(
    path: Path,
    variable: netCDF4.Variable,
    plausible: Range | None = None,
    flag_from: float | None = None,
    *,
    remedy: str = "fetch the file again",
    remedy_of_range: str = "check its units",
) -> NDArray[np.float64]:
    """Return a variable in float64, dimensions as in the file; DataError says where it is none.

    Packed values are unpacked in float64. Refused are hits of _FillValue and missing_value, the
    default fill value of the type, values outside valid_range, valid_min and valid_max or not
    finite, and those outside ``plausible``. Values from ``flag_from`` on are the variable's own
    flag: of them only what was never written is refused. A remedy ends the message.
    Source: CF conventions 1.11, sections 2.5.1 and 8.1; netCDF User's Guide, appendix A.
    """
    stored = _Stored(path, variable, remedy)
    values = stored.values
    given = np.True_ if flag_from is None else ~(values >= flag_from)
    stored.refuse(stored.unwritten(), "are netCDF's default fill value: nothing was written there")
    for name in ("_FillValue", "missing_value"):
        stored.refuse(stored.marked(name) & given, f"equal its {name}")
    for name in ("valid_range", "valid_min", "valid_max"):
        stored.refuse(stored.beyond(name) & given, f"lie outside its {name}")
    stored.refuse(~np.isfinite(values), "are not finite")
    if plausible is not None:
        low, high = plausible
        stored.remedy = remedy_of_range
        outside = ((values < low) | (values > high)) & given
        stored.refuse(outside, f"lie outside the plausible range {low:g} to {high:g}")
    return values


class _Stored:
    """One variable as its file holds it, ``raw``, and as it is meant, ``values`` (float64)."""

    def __init__(self, path: Path, variable: netCDF4.Variable, remedy: str) -> None:
        self._variable, self._where = variable, f"{path}: variable {variable.name}"
        self.remedy = remedy
        if np.dtype(variable.dtype).kind not in "fiu":
            raise DataError(f"{self._where} is {variable.dtype}, expected numbers")
        try:
            raw = np.asarray(variable[...])
        except (OSError, RuntimeError) as error:
            raise DataError(f"{self._where} cannot be read ({error}); {remedy}") from error
        if str(getattr(variable, "_Unsigned", "false")).lower() == "true":
            raw = raw.view(raw.dtype.str.replace("i", "u"))
        self.raw = raw
        self.values = self._unpacked()

    def _attribute(self, name: str, sizes: tuple[int, ...] = ()) -> NDArray[np.generic] | None:
        """Return the numbers of an attribute, None if absent; DataError for text or too many."""
        if name not in self._variable.ncattrs():
            return None
        found = np.atleast_1d(self._variable.getncattr(name))
        if found.dtype.kind not in "fiu" or (sizes and found.size not in sizes):
            wanted = f"{sizes[0]} number(s)" if sizes else "numbers"
            raise DataError(f"{self._where} has the attribute {name} = {found}, expected {wanted}")
        return found

    def _unpacked(self) -> NDArray[np.float64]:
        values = self.raw.astype(np.float64, copy=False)
        scale, offset = (self._attribute(name, (1,)) for name in _PACKING)
        if scale is not None:
            values = values * float(scale[0])
        return values if offset is None else values + float(offset[0])

    def unwritten(self) -> NDArray[np.bool_]:
        """Say where the default fill value stands; bytes and integers with _FillValue have none."""
        kind, size = self.raw.dtype.kind, self.raw.dtype.itemsize
        if size == 1 or (kind != "f" and "_FillValue" in self._variable.ncattrs()):
            return _NOWHERE
        return np.asarray(self.raw == netCDF4.default_fillvals[f"{kind}{size}"])

    def marked(self, name: str) -> NDArray[np.bool_]:
        """Say where stored values equal a mark, in the narrower of two floating-point types."""
        marks = self._attribute(name)
        if marks is None:
            return _NOWHERE
        narrow = marks.dtype.kind == self.raw.dtype.kind == "f"
        with np.errstate(over="ignore"):
            raw = self.raw.astype(marks.dtype, copy=False) if narrow else self.raw
        return np.isin(raw, marks)

    def beyond(self, name: str) -> NDArray[np.bool_]:
        """Say where values are outside a limit: those stored if of its type, else those meant."""
        limit = self._attribute(name, (2,) if name == "valid_range" else (1,))
        if limit is None:
            return _NOWHERE
        values = self.raw if limit.dtype.kind == self.raw.dtype.kind else self.values
        below, above = values < limit[0], values > limit[-1]
        return np.asarray({"valid_min": below, "valid_max": above}.get(name, below | above))

    def refuse(self, bad: NDArray[np.bool_], why: str) -> None:
        """Raise DataError with the number of bad values and the first by column, then level."""
        if not bad.any():
            return
        first = tuple(np.argwhere(bad.T)[0][::-1])
        axes = zip(reversed(self._variable.dimensions), reversed(first), strict=True)
        words = [f"{_WORDS.get(axis, axis)} {index}" for axis, index in axes if axis != "time"]
        stored = f", stored {self.raw[first]}" if is_packed(self._variable) else ""
        place = f" in {', '.join(words)} (counted from 0)" if words else ""
        found = f"{self.values[first]:g}{stored}"
        count = f"{int(bad.sum())} value(s) that {why}"
        raise DataError(f"{self._where} has {count}, the first ({found}){place}; {self.remedy}")
