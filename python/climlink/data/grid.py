"""ClimSim's grid file: column positions and areas, and the hybrid vertical coordinate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climlink.data.errors import DataError
from climlink.data.netcdf import Range, open_netcdf, read_numbers
from climlink.wrappers.errors import near_names
from climlink.wrappers.vertical import HybridCoordinate

GRID_PATTERN = "*grid-info.nc"
"""Names of grid files."""

_COEFFICIENTS = ("hyam", "hybm", "hyai", "hybi")
_PLAUSIBLE: dict[str, Range] = {
    "P0": (8e4, 1.2e5),  # Pa
    "lat": (-90.0, 90.0),  # degrees
    "lon": (-360.0, 360.0),
    "area": (1e-12, 4.0 * np.pi),  # steradian: from 6 m by 6 m to the sphere
    **dict.fromkeys(_COEFFICIENTS, (-1e-6, 1.0 + 1e-6)),  # the surface may miss 1 by rounding
}


@dataclass(frozen=True)
class Grid:
    """Columns and levels of a data set: latitude and longitude in degrees, area in steradian
    [column], hybrid coefficients.
    """

    path: Path
    hybrid: HybridCoordinate
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    area: NDArray[np.float64]
    sha256: str

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return self.hybrid.level_count

    @property
    def n_column(self) -> int:
        """Number of columns."""
        return len(self.latitude)

    def midpoint_pressure(self, surface_pressure: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return midpoint pressure [column, level] in Pa from surface pressure [column] in Pa."""
        return midpoint_pressure(self.hybrid, surface_pressure)


def midpoint_pressure(
    hybrid: HybridCoordinate, surface_pressure: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return P0*hyam + ps*hybm, [row, level] in Pa, from surface pressure [row] in Pa."""
    return hybrid.p0_pa * np.asarray(hybrid.hyam) + surface_pressure[:, None] * np.asarray(
        hybrid.hybm
    )


def find_grid(source: Path, grid: str | Path | None = None) -> Path:
    """Return the grid file: ``grid`` where given, else the one ``*grid-info.nc`` directly in
    ``source``.
    """
    if grid is not None:
        path = Path(grid)
        if not path.is_file():
            raise DataError(f"the grid file {path} does not exist")
        return path
    found = sorted(source.glob(GRID_PATTERN))
    if len(found) != 1:
        listed = ", ".join(p.name for p in found) or "none"
        raise DataError(
            f"{source}: expected one grid file {GRID_PATTERN} (such as "
            f"ClimSim_low-res_grid-info.nc), found {listed}; name one with --grid"
        )
    return found[0]


def read_grid(path: str | Path) -> Grid:
    """Return the grid of a ClimSim grid file; DataError names the variable that is missing or does
    not fit.
    """
    path = Path(path)
    with open_netcdf(path) as dataset:
        for name in _PLAUSIBLE:
            if name not in dataset.variables:
                near = near_names(name, dataset.variables)
                raise DataError(f"{path}: grid variable {name} is missing{near}")
            units = str(getattr(dataset[name], "units", "degrees"))
            if name in ("lat", "lon") and not units.startswith("degree"):
                raise DataError(f"{path}: grid variable {name} is in {units!r}, expected degrees")
        arrays = {name: read_numbers(path, dataset[name], _PLAUSIBLE[name]) for name in _PLAUSIBLE}
    return _grid(path, arrays)


def _grid(path: Path, arrays: dict[str, NDArray[np.float64]]) -> Grid:
    """Check shapes and build the grid."""
    columns, levels = arrays["lat"].size, arrays["hyam"].size
    shapes: dict[str, tuple[int, ...]] = {
        "P0": (),
        "lat": (columns,),
        "lon": (columns,),
        "area": (columns,),
    }
    shapes |= {"hyam": (levels,), "hybm": (levels,), "hyai": (levels + 1,), "hybi": (levels + 1,)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise DataError(
                f"{path}: grid variable {name} has shape {arrays[name].shape}, expected {shape}"
            )
    hybrid = HybridCoordinate(
        float(arrays["P0"]), *(tuple(arrays[name].tolist()) for name in _COEFFICIENTS)
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Grid(path, hybrid, arrays["lat"], arrays["lon"], arrays["area"], digest)
