"""Checks climlink-replay on small files made here: check_replay.py values|faults FIXTURES PROGRAM MPIEXEC [FLAGS...].

The packages of the fixtures multiply one input by a gain per output (fortran_bridge/tests/make_bridge_fixtures.py), so every value of
the output files is known to the last bit.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np

LEVELS = 60
COLUMNS = 13
STEP_S = 1200.0
PROFILES = {"state_t": 250.0, "state_q0001": 1e-3, "state_q0002": 1e-5, "state_q0003": 2e-5, "state_u": 10.0, "state_v": -3.0}
GASES = {"pbuf_ozone": 1e-6, "pbuf_CH4": 9e-7, "pbuf_N2O": 4e-7}
SCALARS = {
    "state_ps": 1e5, "pbuf_SOLIN": 400.0, "pbuf_LHFLX": 80.0, "pbuf_SHFLX": 20.0, "pbuf_TAUX": 0.1, "pbuf_TAUY": 0.05, "pbuf_COSZRS": 0.5,
    "cam_in_ALDIF": 0.1, "cam_in_ALDIR": 0.1, "cam_in_ASDIF": 0.1, "cam_in_ASDIR": 0.1, "cam_in_LWUP": 390.0, "cam_in_ICEFRAC": 0.0,
    "cam_in_LANDFRAC": 0.3, "cam_in_OCNFRAC": 0.7, "cam_in_SNOWHICE": 1e30, "cam_in_SNOWHLAND": 0.01,
}  # fmt: skip
TENDENCY_GAINS = {"state_t": 1e-6, "state_q0001": -1e-5, "state_q0002": 1e-5, "state_q0003": -2e-5, "state_u": -1e-5, "state_v": 2e-5}
FLUX_GAINS = {
    "cam_out_FLWDS": ("cam_in_LWUP", 0.75), "cam_out_NETSW": ("pbuf_SOLIN", 0.5), "cam_out_PRECC": ("state_ps", 3e-13),
    "cam_out_PRECSC": ("state_ps", 1e-13), "cam_out_SOLL": ("pbuf_SOLIN", 0.2), "cam_out_SOLLD": ("pbuf_SOLIN", 0.05),
    "cam_out_SOLS": ("pbuf_SOLIN", 0.3), "cam_out_SOLSD": ("pbuf_SOLIN", 0.1),
}  # fmt: skip


def mli_values(seed: int, columns: int) -> dict[str, np.ndarray]:
    """Return the variables of one snapshot: profiles [level, column], scalars [column], float64."""
    random = np.random.default_rng(seed)
    values = {n: v * random.uniform(0.8, 1.2, (LEVELS, columns)) for n, v in (PROFILES | GASES).items()}
    values |= {n: v * random.uniform(0.8, 1.2, columns) for n, v in SCALARS.items()}
    values["state_pmid"] = np.linspace(0.01, 0.995, LEVELS)[:, None] * values["state_ps"][None, :]
    return values


def write_mli(path: Path, values: dict[str, np.ndarray], stamp: int, transposed: str = "") -> None:
    """Write a snapshot as ClimSim does: CDF-5, ncol, lev, ymd, tod, float64; one variable may get its dimensions in the wrong order."""
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_DATA") as data:
        data.createDimension("ncol", values["state_ps"].size)
        data.createDimension("lev", LEVELS)
        data.createVariable("ymd", "i4")[...] = 80101
        data.createVariable("tod", "i4")[...] = stamp
        data.setncatts({"ne": np.int32(4), "fv_nphys": np.int32(2), "calendar": "NO_LEAP"})
        for name, value in values.items():
            dimensions = ("lev", "ncol") if value.ndim == 2 else ("ncol",)
            if name == transposed:
                dimensions, value = dimensions[::-1], value.T
            data.createVariable(name, "f8", dimensions)[...] = value


def write_grid(path: Path) -> None:
    """Write a grid file whose pressure is that of mli_values."""
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_DATA") as data:
        data.createDimension("ncol", COLUMNS)
        data.createDimension("lev", LEVELS)
        data.createVariable("P0", "f8")[...] = 1e5
        data.createVariable("hyam", "f8", ("lev",))[:] = 0.0
        data.createVariable("hybm", "f8", ("lev",))[:] = np.linspace(0.01, 0.995, LEVELS)


@dataclass
class Replay:
    """The program, how to start it, and a folder of its own."""

    fixtures: Path
    program: str
    mpiexec: list[str]
    folder: Path

    def run(self, ranks: int, files: list[Path], out: str = "out", **settings: object) -> subprocess.CompletedProcess[str]:
        """Replay some files on some ranks; settings are namelist entries."""
        (self.folder / out).mkdir(exist_ok=True)
        (self.folder / "files.txt").write_text("\n".join(map(str, files)) + "\n")
        entries: dict[str, object] = {
            "package": self.fixtures / "climsim_q.pt", "files": self.folder / "files.txt", "output_directory": self.folder / out,
            "time_step_s": STEP_S,
        }  # fmt: skip
        lines = [f"  {k} = {v if isinstance(v, int | float) else repr(str(v))}" for k, v in (entries | settings).items()]
        (self.folder / "replay.nml").write_text("&replay\n" + "\n".join(lines) + "\n/\n")
        return self.start(ranks, [str(self.folder / "replay.nml")])

    def start(self, ranks: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Start the program on some ranks."""
        return subprocess.run(
            [*self.mpiexec, str(ranks), self.program, *arguments], capture_output=True, text=True, timeout=120, check=False
        )


def check_file(path: Path, source: Path, values: dict[str, np.ndarray], stamp: int) -> None:
    """Compare an output file with what ClimSim's mlo files look like, and with the known values, bit for bit."""
    with netCDF4.Dataset(path) as data:
        data.set_auto_mask(False)
        assert data.data_model == "NETCDF3_64BIT_DATA", data.data_model
        assert list(data.dimensions) == ["ncol", "lev"]
        assert list(data.variables) == ["ymd", "tod", *FLUX_GAINS, *sorted(TENDENCY_GAINS)]
        assert (int(data["ymd"][...]), int(data["tod"][...])) == (80101, stamp)
        assert data["ymd"].dtype == np.int32
        assert data.climlink_source_file == source.name
        assert re.fullmatch("[0-9a-f]{64}", data.climlink_package_sha256)
        assert (data.ne, data.fv_nphys, data.calendar) == (4, 2, "NO_LEAP")
        for name, gain in TENDENCY_GAINS.items():
            assert data[name].dimensions == ("lev", "ncol")
            assert data[name].dtype == np.float64
            tendency = (values[name].astype(np.float32) * np.float32(gain)).astype(np.float64)
            assert np.array_equal(data[name][...], values[name] + STEP_S * tendency), name
        for name, (of, gain) in FLUX_GAINS.items():
            assert data[name].dimensions == ("ncol",)
            assert np.array_equal(data[name][...], (values[of].astype(np.float32) * np.float32(gain)).astype(np.float64)), name


def check_values(replay: Replay) -> None:
    """Check contents, progress lines, and equality of the files over ranks and chunk sizes."""
    sources, values = [], []
    for step in range(3):
        sources.append(replay.folder / f"E3SM-MMF.mli.0008-01-01-{1200 * step:05d}.nc")
        values.append(mli_values(step, COLUMNS if step < 2 else 2))
        write_mli(sources[step], values[step], 1200 * step)
    outputs = [s.name.replace("mli", "mlo") for s in sources]
    for ranks, pcols in [(1, 16), (2, 7), (3, 1), (3, 384)]:
        done = replay.run(ranks, sources, f"out{ranks}_{pcols}", pcols=pcols)
        assert done.returncode == 0, done.stderr
        expected = [f"climlink-replay: step {k + 1} of 3 {s.name}" for k, s in enumerate(sources)]
        assert done.stdout.splitlines()[:3] == expected, done.stdout
        last = f"climlink-replay: done: files 3, columns 28, ranks {ranks}; seconds: read "
        assert re.match(re.escape(last) + r"[\d.]+, pack [\d.]+, forward [\d.]+, unpack [\d.]+, write [\d.]+", done.stdout.splitlines()[3])
        assert sorted(p.name for p in (replay.folder / f"out{ranks}_{pcols}").iterdir()) == outputs
        for k, name in enumerate(outputs):
            got = replay.folder / f"out{ranks}_{pcols}" / name
            check_file(got, sources[k], values[k], 1200 * k)
            assert got.read_bytes() == (replay.folder / "out1_16" / name).read_bytes(), f"{ranks} ranks, pcols {pcols}: {name} differs"


def saturation_vapor_pressure(t: np.ndarray) -> np.ndarray:
    """Saturation vapour pressure in Pa between 200 and 300 K (Flatau's polynomials, mixed between 253.16 and 273.16 K)."""
    liquid = [6.11239921, 0.443987641, 0.142986287e-1, 0.264847430e-3, 0.302950461e-5, 0.206739458e-7, 0.640689451e-10, -0.952447341e-13,
              -0.976195544e-15]  # fmt: skip
    ice = [6.11147274, 0.503160820, 0.188439774e-1, 0.420895665e-3, 0.615021634e-5, 0.602588177e-7, 0.385852041e-9, 0.146898966e-11,
           0.252751365e-14]  # fmt: skip
    over_liquid = 100 * np.polynomial.Polynomial(liquid)(np.maximum(t - 273.16, -80))
    over_ice = np.where(t > 273.15, over_liquid, 100 * np.polynomial.Polynomial(ice)(t - 273.16))
    weight = np.clip((t - 253.16) / 20, 0, 1)
    return weight * over_liquid + (1 - weight) * over_ice


def check_humidity(replay: Replay) -> None:
    """A package that takes state_rh gets it from the host, with the file's pressure or the grid's."""
    source = replay.folder / "E3SM-MMF.mli.0008-02-01-00000.nc"
    values = mli_values(9, COLUMNS)
    write_mli(source, values, 0)
    write_grid(replay.folder / "grid.nc")
    humidity = 461 * values["state_pmid"] * values["state_q0001"] / (287 * saturation_vapor_pressure(values["state_t"]))
    for out, settings in [("pmid", {}), ("grid", {"grid_file": replay.folder / "grid.nc"})]:
        done = replay.run(2, [source], out, package=replay.fixtures / "climsim_rh.pt", **settings)
        assert done.returncode == 0, done.stderr
        with netCDF4.Dataset(replay.folder / out / "E3SM-MMF.mlo.0008-02-01-00000.nc") as data:
            got = (data["state_q0001"][...] - values["state_q0001"]) / STEP_S
        np.testing.assert_allclose(got, -1e-5 * humidity, rtol=1e-6)


def check_faults(replay: Replay) -> None:
    """Every fault ends all ranks with a message and a non-zero exit code, and leaves no output."""
    good = replay.folder / "E3SM-MMF.mli.0008-03-01-00000.nc"
    values = mli_values(1, COLUMNS)
    write_mli(good, values, 0)

    def faulty(name: str, change: dict[str, np.ndarray | None], transposed: str = "") -> Path:
        path = replay.folder / f"E3SM-MMF.mli.{name}.nc"
        write_mli(path, {k: v for k, v in (values | change).items() if v is not None}, 0, transposed)
        return path

    nan = values["state_t"].copy()
    nan[3, COLUMNS - 1] = np.nan
    truncated = replay.folder / "E3SM-MMF.mli.truncated.nc"
    truncated.write_bytes(good.read_bytes()[:20000])
    short = replay.folder / "E3SM-MMF.mli.short.nc"
    short.write_bytes(good.read_bytes()[:-8])
    lagged = {"package": replay.fixtures / "climsim_lagged.pt"}
    cases: list[tuple[list[Path], dict[str, object], str]] = [
        ([replay.folder / "E3SM-MMF.mli.none.nc"], {}, r"E3SM-MMF.mli.none.nc: No such file"),
        ([truncated], {}, r"E3SM-MMF.mli.truncated.nc: .*truncated"),
        ([short], {}, r"E3SM-MMF.mli.short.nc: the file is truncated: it has \d+ bytes, its header needs \d+ or more"),
        ([faulty("missing", {"state_u": None})], {}, r"mli.missing.nc: .*state_u"),
        (
            [faulty("turned", {}, "state_v")],
            {},
            r"mli.turned.nc: state_v: expected dimensions \(lev, ncol\) or \(ncol\), found \(ncol, lev\)",
        ),
        ([faulty("flat", {"state_v": values["state_ps"]})], {}, r"mli.flat.nc: .*state_v"),
        ([faulty("nan", {"state_t": nan})], {}, r"mli.nan.nc: rank 1: set: state_t: column 5 .*NaN"),
        ([good], {"package": replay.fixtures / "climsim_26.pt"}, r"60.*26|26.*60"),
        ([good], {"time_step_s": 1800.0}, "1800"),
        ([good], {"package": replay.folder / "none.pt"}, "none.pt"),
        ([good], {"pinned_sha256": "0" * 64}, "SHA-256"),
        ([good], lagged, "state_t_dyn, clat.*single snapshots"),
        ([good], {"output_directory": replay.folder / "nowhere"}, "nowhere"),
        ([good], {"pcols": 0}, "pcols"),
        ([good], {"colour": 1}, "replay.nml: namelist /replay/: .*colour"),
        ([good, good], {}, "twice"),
        ([replay.folder / "other.nc"], {}, "other.nc is not named like an mli file"),
    ]
    for files, settings, text in cases:
        done = replay.run(2, files, **settings)
        assert done.returncode != 0, text
        assert re.search("climlink-replay: .*(" + text + ")", done.stderr), (text, done.stderr, done.stdout)
        assert not list((replay.folder / "out").iterdir()), text
    assert replay.start(2, []).returncode != 0
    second = replay.run(2, [good, truncated])
    assert second.returncode != 0
    assert [p.name for p in (replay.folder / "out").iterdir()] == [good.name.replace("mli", "mlo")], "the steps before a fault stay"


def main() -> None:
    """Run one part in a folder of its own."""
    part, fixtures, program, *mpiexec = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        replay = Replay(Path(fixtures), program, mpiexec, Path(name))
        if part == "values":
            check_values(replay)
            check_humidity(replay)
        else:
            check_faults(replay)


if __name__ == "__main__":
    main()
