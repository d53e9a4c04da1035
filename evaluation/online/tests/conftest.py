"""A writer of small histories, for tests of online evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.float64]
EPOCH = "days since 0001-01-01 00:00:00"
UNITS = {
    "T": "K",
    "Q": "kg/kg",
    "CLDLIQ": "kg/kg",
    "CLDICE": "kg/kg",
    "U": "m/s",
    "V": "m/s",
    "PS": "Pa",
    "PRECT": "m/s",
    "PRECC": "m/s",
    "PRECL": "m/s",
}


class HistoryWriter:
    """Writes history files of a run on Gaussian latitudes: ``latitudes`` by ``longitudes`` columns,
    3 levels, areas that sum to 4 pi.
    """

    hyai, hybi = np.array([0.01, 0.1, 0.1, 0.0]), np.array([0.0, 0.1, 0.5, 1.0])

    def __init__(self, latitudes: int = 8, longitudes: int = 4) -> None:
        sines, weights = np.polynomial.legendre.leggauss(latitudes)
        self.lat = np.repeat(np.rad2deg(np.arcsin(sines)), longitudes)
        self.lon = np.tile(np.arange(longitudes) * 360.0 / longitudes, latitudes)
        self.area = np.repeat(weights * 2.0 * np.pi / longitudes, longitudes)
        self.columns = latitudes * longitudes

    def file(
        self,
        path: Path,
        intervals: Sequence[tuple[float, float]],
        fields: Mapping[str, Array],
        *,
        units: str = EPOCH,
        calendar: str = "noleap",
        file_format: str = "NETCDF4",
        frequency: str = "",
        bounds: bool = True,
        other_units: Mapping[str, str] | None = None,
        fill: float | None = None,
    ) -> Path:
        """Write one file; fields are [record, (level,) column]; times are the ends of the
        intervals.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with netCDF4.Dataset(path, "w", format=file_format) as data:
            if frequency:
                data.time_period_freq = frequency
            data.createDimension("time", None)
            for name, size in {"ncol": self.columns, "lev": 3, "ilev": 4, "nbnd": 2}.items():
                data.createDimension(name, size)
            for name in ("lat", "lon", "area"):
                data.createVariable(name, "f8", ("ncol",))[:] = getattr(self, name)
            for name, values in {"hyai": self.hyai, "hybi": self.hybi}.items():
                data.createVariable(name, "f8", ("ilev",))[:] = values
                data.createVariable(name.replace("i", "m"), "f8", ("lev",))[:] = 0.5 * (
                    values[1:] + values[:-1]
                )
            data.createVariable("P0", "f8", ())[...] = 1e5
            time = data.createVariable("time", "f8", ("time",))
            time.setncatts(
                {"units": units, "calendar": calendar} | ({"bounds": "time_bnds"} if bounds else {})
            )
            if bounds:
                data.createVariable("time_bnds", "f8", ("time", "nbnd"))[:] = np.reshape(
                    intervals, (-1, 2)
                )
            time[:] = [end for _, end in intervals]
            for name, values in fields.items():
                dims = ("time", "lev", "ncol") if np.ndim(values) == 3 else ("time", "ncol")
                variable = data.createVariable(name, "f4", dims, fill_value=fill)
                variable.units = (other_units or {}).get(name, UNITS.get(name, "W/m2"))
                variable[:] = values
        return path

    def state(self, records: int, seed: int = 0) -> dict[str, Array]:
        """Return a random state of some records that looks like an atmosphere, rounded to the
        float32 of the files.
        """
        generator = np.random.default_rng(seed)
        shape = (records, 3, self.columns)
        fields = {
            "T": generator.uniform(200.0, 300.0, shape),
            "Q": generator.uniform(0.0, 0.015, shape),
            "CLDLIQ": generator.uniform(0.0, 1e-4, shape),
            "CLDICE": generator.uniform(0.0, 1e-5, shape),
            "U": generator.uniform(-30.0, 30.0, shape),
            "V": generator.uniform(-10.0, 10.0, shape),
            "PS": generator.uniform(9e4, 1.02e5, (records, self.columns)),
            "PRECT": generator.exponential(5e-8, (records, self.columns)),
            "LHFLX": generator.uniform(0.0, 150.0, (records, self.columns)),
        }
        return {
            name: values.astype(np.float32).astype(np.float64) for name, values in fields.items()
        }

    def daily(
        self,
        run: Path,
        first: int,
        fields: Mapping[str, Array],
        case: str = "case",
        **options: object,
    ) -> Path:
        """Write consecutive days from day ``first`` as the embedded model does, all in one file,
        and return the run folder.
        """
        records = len(next(iter(fields.values())))
        path = run / "history" / f"{case}.eam.h1.0001-01-01-{first:05d}.nc"
        self.file(
            path,
            [(first + k, first + k + 1.0) for k in range(records)],
            fields,
            frequency="day_1",
            **options,  # type: ignore[arg-type]
        )
        return run

    def record(
        self,
        run: Path,
        *,
        days: float,
        status: str = "finished",
        message: str = "",
        support: dict[str, object] | None = None,
    ) -> Path:
        """Write the record that a run of the embedded model leaves."""
        run.mkdir(parents=True, exist_ok=True)
        case = {"host": "aquaplanet", "name": run.name, "start": "0001-01-01-00000", "days": days}
        held = {} if support is None else {"support": support}
        (run / "run.json").write_text(
            json.dumps({"case": case, "status": status, "message": message, **held})
        )
        (run / "log.txt").write_text(
            "climlink-aquaplanet: day 1 of 2.000 simulated_years_per_day 12.500\n"
        )
        return run


@pytest.fixture
def history() -> Callable[..., HistoryWriter]:
    """Return the class that writes histories."""
    return HistoryWriter
