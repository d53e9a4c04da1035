"""Memory and time of online evaluation on a synthetic record of E3SM's size: monthly and daily
states on 60 levels, hourly surface fields.

    python benchmarks/bench_evaluate_online.py                      five years, 384 columns, with a
                                                                    twin (6 GB of files, about 15
                                                                    minutes)
    python benchmarks/bench_evaluate_online.py --years 1 --scaling  time against length and columns
                                                                    too, as ratios to the first line

The files have the tapes, the names and the format (CDF-5) of cases that `climlink e3sm case`
writes, one day in each. Each evaluation runs in a process of its own, whose CPU time and peak
memory are told; the record is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cftime
import netCDF4
import numpy as np
import yaml

from climlink.e3sm.case import FLUX_FIELDS, STATE_FIELDS, SURFACE_FIELDS
from climlink.installation import configuration

EPOCH = "days since 0001-01-01 00:00:00"
PROFILES = tuple(name for name in STATE_FIELDS if name != "PS")
COLUMN_FIELDS = ("PS", *SURFACE_FIELDS, *FLUX_FIELDS)
FRACTIONS = ("LANDFRAC", "OCNFRAC", "ICEFRAC")
UNITS = {
    "T": "K",
    "Q": "kg/kg",
    "CLDLIQ": "kg/kg",
    "CLDICE": "kg/kg",
    "U": "m/s",
    "V": "m/s",
    "PS": "Pa",
    "PRECC": "m/s",
    "TMQ": "kg/m2",
}
LIMIT_MIB = 2048
MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_EVALUATE = """
import json, resource, sys, time
from pathlib import Path
from climlink.evaluation.online.evaluate import evaluate_online
from climlink.evaluation.report import write_report
run, reference, twin, output = (Path(a) if a else None for a in sys.argv[1:])
start = time.process_time()
found = evaluate_online(run, reference, twin=twin)
measured = time.process_time() - start
write_report(found.report, output)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
days, metrics = found.summary.compared_days, found.summary.metrics
print(json.dumps({"seconds": measured, "peak_mib": peak, "days": days, "metrics": metrics}))
"""


@dataclass(frozen=True)
class Size:
    """Size of a record."""

    days: int
    columns: int


class Writer:
    """Writes the history of one synthetic run: fixed patterns and noise, so that the cost is that
    of reading real numbers.
    """

    def __init__(self, folder: Path, size: Size, seed: int) -> None:
        folder.mkdir(parents=True)
        self._folder, self._size = folder, size
        self._noise = np.random.default_rng(seed)
        levels = yaml.safe_load(configuration("levels/climsim60.yaml").read_text(encoding="utf-8"))
        self._hyai, self._hybi = np.array(levels["hyai"]), np.array(levels["hybi"])
        golden = np.arange(size.columns) + 0.5  # a spiral of equal areas over the sphere
        self._lat = np.rad2deg(np.arcsin(1.0 - 2.0 * golden / size.columns))[::-1]
        self._lon = np.mod(360.0 * golden * 0.5 * (3.0 - np.sqrt(5.0)), 360.0)
        self._base = self._patterns()

    def _patterns(self) -> dict[str, np.ndarray]:
        p = (self._hyai[1:] + self._hyai[:-1] + self._hybi[1:] + self._hybi[:-1])[:, None] * 0.5
        warm = np.cos(np.deg2rad(self._lat))
        t = np.maximum(200.0, 300.0 * p**0.19) * (0.85 + 0.15 * warm)
        cloud = 2e-5 * p**2 * warm
        base = {
            "T": t,
            "Q": 0.018 * p**3 * warm**2,
            "CLDLIQ": cloud,
            "CLDICE": 0.5 * cloud,
            "U": 30.0 * (1.0 - p) * warm,
            "V": 0.0 * t,
        }
        base |= {name: np.full(self._size.columns, 100.0) for name in COLUMN_FIELDS}
        base |= {
            "PS": np.full(self._size.columns, 1e5),
            "PRECC": 5e-8 * warm**8,
            "PRECSC": 1e-10 * warm,
            "TMQ": 40.0 * warm**2,
        }
        land = (np.abs(self._lon - 90.0) < 60.0) * 1.0
        ice = (1.0 - land) * (np.abs(self._lat) > 70.0)
        return base | {"LANDFRAC": land, "ICEFRAC": ice, "OCNFRAC": 1.0 - land - ice}

    def write(self, daily: bool = True, hourly: bool = True) -> None:
        """Write all streams: h0 by month, h1 by day, h2 by hour with a day in each file."""
        state = (*PROFILES, *COLUMN_FIELDS)
        first = 0
        for number in range(12 * (self._size.days // 365 + 1)):
            last = first + MONTHS[number % 12]
            if last <= self._size.days:
                self._file(
                    "h0", first, [(float(first), float(last))], (*state, *FRACTIONS), "month_1"
                )
            first = last
        for day in range(self._size.days):
            if daily:
                self._file("h1", day, [(float(day), day + 1.0)], state, "day_1")
            if hourly:
                self._file(
                    "h2",
                    day,
                    [(day + h / 24.0, day + (h + 1) / 24.0) for h in range(24)],
                    COLUMN_FIELDS,
                    "hour_1",
                )

    def _file(
        self,
        stream: str,
        day: int,
        intervals: list[tuple[float, float]],
        fields: tuple[str, ...],
        frequency: str,
    ) -> None:
        date = cftime.num2date(day, EPOCH, "noleap")
        stamp = f"{date.year:04d}-{date.month:02d}" + (
            "" if stream == "h0" else f"-{date.day:02d}-00000"
        )
        with netCDF4.Dataset(
            self._folder / f"synthetic.eam.{stream}.{stamp}.nc", "w", format="NETCDF3_64BIT_DATA"
        ) as data:
            data.time_period_freq = frequency
            data.createDimension("time", None)
            for name, length in {
                "ncol": self._size.columns,
                "lev": 60,
                "ilev": 61,
                "nbnd": 2,
            }.items():
                data.createDimension(name, length)
            self._grid(data)
            time_axis = data.createVariable("time", "f8", ("time",))
            time_axis.setncatts({"units": EPOCH, "calendar": "noleap", "bounds": "time_bnds"})
            bounds = data.createVariable("time_bnds", "f8", ("time", "nbnd"))
            for name in fields:
                base = self._base[name]
                variable = data.createVariable(
                    name, "f4", ("time", "lev", "ncol") if base.ndim == 2 else ("time", "ncol")
                )
                variable.units = UNITS.get(name, "W/m2")
                factor = self._noise.uniform(0.98, 1.02, (len(intervals), *base.shape)).astype(
                    np.float32
                )
                variable[:] = factor * base.astype(np.float32)
            bounds[:] = intervals
            time_axis[:] = [end for _, end in intervals]

    def _grid(self, data: netCDF4.Dataset) -> None:
        middle = {
            "hyam": 0.5 * (self._hyai[1:] + self._hyai[:-1]),
            "hybm": 0.5 * (self._hybi[1:] + self._hybi[:-1]),
        }
        for name, values in {
            "lat": self._lat,
            "lon": self._lon,
            "area": np.full(self._size.columns, 4 * np.pi / self._size.columns),
        }.items():
            data.createVariable(name, "f8", ("ncol",))[:] = values
        for name, values in (middle | {"hyai": self._hyai, "hybi": self._hybi}).items():
            data.createVariable(name, "f8", ("lev",) if name.endswith("m") else ("ilev",))[:] = (
                values
            )
        data.createVariable("P0", "f8", ())[...] = 1e5


def measure(size: Size, scratch: Path, *, twin: bool) -> dict[str, float]:
    """Write a record and return what evaluating it took; the record is removed."""
    runs = {"run": 1, "reference": 2} | ({"twin": 3} if twin else {})
    try:
        for name, seed in runs.items():
            Writer(scratch / name, size, seed).write()
        arguments = [
            str(scratch / name) if name in runs else "" for name in ("run", "reference", "twin")
        ]
        command = [sys.executable, "-c", _EVALUATE, *arguments, str(scratch / "report")]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done.returncode != 0:
            raise SystemExit(f"the evaluation failed:\n{done.stderr}")
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> None:
    """Measure and print; exit code 1 if the peak is above the limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=float, default=5.0)
    parser.add_argument("--columns", type=int, default=384)
    parser.add_argument("--no-twin", action="store_true")
    parser.add_argument(
        "--scaling", action="store_true", help="then half the length, and half the columns"
    )
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where there is room for the record",
    )
    given = parser.parse_args()
    sizes = [Size(round(365 * given.years), given.columns)]
    if given.scaling:
        sizes += [Size(sizes[0].days // 2, given.columns), Size(sizes[0].days, given.columns // 2)]
    print(
        f"{'days':>6s} {'columns':>8s} {'CPU time, s':>14s} {'ratio':>6s} {'peak, MiB':>10s}   "
        f"limit {LIMIT_MIB} MiB"
    )
    found = []
    for size in sizes:
        started = time.perf_counter()
        found.append(
            measure(
                size, Path(tempfile.mkdtemp(dir=given.scratch)) / "record", twin=not given.no_twin
            )
        )
        one, ratio = found[-1], found[-1]["seconds"] / found[0]["seconds"]
        print(
            f"{size.days:6d} {size.columns:8d} {one['seconds']:14.1f} {ratio:6.2f} "
            f"{one['peak_mib']:10.0f}   ({time.perf_counter() - started:.0f} s with writing the "
            "record)",
            flush=True,
        )
    if max(one["peak_mib"] for one in found) > LIMIT_MIB:
        raise SystemExit("the peak is above the limit")


if __name__ == "__main__":
    main()
