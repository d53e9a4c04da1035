"""Checks climlink-replay on small files made here: check_replay.py table|values|numbers|faults
FIXTURES PROGRAM MPIEXEC [FLAGS...].

The packages of the fixtures multiply one input by a gain per output
(fortran_bridge/tests/make_bridge_fixtures.py), so every value of the output files is known to the
last bit.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np

from climlink.data.synthetic import replace_variable

LEVELS = 60
COLUMNS = 13
STEP_S = 1200.0
OF_EMULATOR = {
    "package", "pinned_sha256", "micro_batch", "constraints_off", "mode", "spin_up_steps",
    "ramp_factor", "variables", "vertical_remap", "tint",
}  # fmt: skip
PROFILES = {
    "state_t": 250.0,
    "state_q0001": 1e-3,
    "state_q0002": 1e-5,
    "state_q0003": 2e-5,
    "state_u": 10.0,
    "state_v": -3.0,
}
GASES = {"pbuf_ozone": 1e-6, "pbuf_CH4": 9e-7, "pbuf_N2O": 4e-7}
SCALARS = {
    "state_ps": 1e5, "pbuf_SOLIN": 400.0, "pbuf_LHFLX": 80.0, "pbuf_SHFLX": 20.0, "pbuf_TAUX": 0.1,
    "pbuf_TAUY": 0.05, "pbuf_COSZRS": 0.5, "cam_in_ALDIF": 0.1, "cam_in_ALDIR": 0.1,
    "cam_in_ASDIF": 0.1, "cam_in_ASDIR": 0.1, "cam_in_LWUP": 390.0, "cam_in_ICEFRAC": 0.0,
    "cam_in_LANDFRAC": 0.3, "cam_in_OCNFRAC": 0.7, "cam_in_SNOWHICE": 1e30,
    "cam_in_SNOWHLAND": 0.01,
}  # fmt: skip
TENDENCY_GAINS = {
    "state_t": 1e-6,
    "state_q0001": -1e-5,
    "state_q0002": 1e-5,
    "state_q0003": -2e-5,
    "state_u": -1e-5,
    "state_v": 2e-5,
}
FLUX_GAINS = {
    "cam_out_FLWDS": ("cam_in_LWUP", 0.75), "cam_out_NETSW": ("pbuf_SOLIN", 0.5),
    "cam_out_PRECC": ("state_ps", 3e-13), "cam_out_PRECSC": ("state_ps", 1e-13),
    "cam_out_SOLL": ("pbuf_SOLIN", 0.2), "cam_out_SOLLD": ("pbuf_SOLIN", 0.05),
    "cam_out_SOLS": ("pbuf_SOLIN", 0.3), "cam_out_SOLSD": ("pbuf_SOLIN", 0.1),
}  # fmt: skip


def mli_values(seed: int, columns: int) -> dict[str, np.ndarray]:
    """Return the variables of one snapshot: profiles [level, column], scalars [column], float64."""
    random = np.random.default_rng(seed)
    values = {
        n: v * random.uniform(0.8, 1.2, (LEVELS, columns)) for n, v in (PROFILES | GASES).items()
    }
    values |= {n: v * random.uniform(0.8, 1.2, columns) for n, v in SCALARS.items()}
    values["state_pmid"] = np.linspace(0.01, 0.995, LEVELS)[:, None] * values["state_ps"][None, :]
    return values


def write_mli(path: Path, values: dict[str, np.ndarray], stamp: int, transposed: str = "") -> None:
    """Write a snapshot as ClimSim does: CDF-5, ncol, lev, ymd, tod, float64; one variable may get
    its dimensions in the wrong order.
    """
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


def put(value: float, *places: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a change that sets single values."""

    def change(values: np.ndarray) -> np.ndarray:
        for place in places:
            values[place] = value
        return values

    return change


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

    def run(
        self, ranks: int, files: list[Path], out: str = "out", **settings: object
    ) -> subprocess.CompletedProcess[str]:
        """Replay some files on some ranks; settings are entries of /replay/, or of /emulator/."""
        (self.folder / out).mkdir(exist_ok=True)
        (self.folder / "files.txt").write_text("\n".join(map(str, files)) + "\n")
        entries: dict[str, object] = {
            "package": self.fixtures / "climsim_q.pt", "files": self.folder / "files.txt",
            "output_directory": self.folder / out, "time_step_s": STEP_S,
        }  # fmt: skip
        groups = {"replay": "", "emulator": ""}
        for name, value in (entries | settings).items():
            text = value if isinstance(value, int | float) else repr(str(value))
            groups["emulator" if name in OF_EMULATOR else "replay"] += f"  {name} = {text}\n"
        namelist = "".join(f"&{group}\n{lines}/\n" for group, lines in groups.items())
        (self.folder / "replay.nml").write_text(namelist)
        return self.start(ranks, [str(self.folder / "replay.nml")])

    def start(self, ranks: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Start the program on some ranks."""
        return subprocess.run(
            [*self.mpiexec, str(ranks), self.program, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def check_listing(replay: Replay) -> None:
    """The program lists its entries with their types and defaults, without a namelist."""
    done = replay.start(1, ["--list-settings"])
    assert done.returncode == 0, done.stderr
    entries = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert [tuple(e[:3]) for e in entries if e[0] == "replay"] == [
        ("replay", "files", "text"), ("replay", "output_directory", "text"),
        ("replay", "grid_file", "text"), ("replay", "pcols", "integer"),
        ("replay", "time_step_s", "real"), ("replay", "lock_file", "text"),
        ("replay", "created", "text"),
    ]  # fmt: skip
    for entry in ("device text 'cpu'", "trust_code logical F", "vertical_remap text 'none'"):
        assert f"emulator {entry}" in done.stdout.splitlines(), done.stdout


def check_file(path: Path, source: Path, values: dict[str, np.ndarray], stamp: int) -> None:
    """Compare an output file with what ClimSim's mlo files look like, and with the known values,
    bit for bit.
    """
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
            assert np.array_equal(
                data[name][...],
                (values[of].astype(np.float32) * np.float32(gain)).astype(np.float64),
            ), name


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
        assert re.match(
            re.escape(last) + r"[\d.]+, pack [\d.]+, forward [\d.]+, unpack [\d.]+, write [\d.]+",
            done.stdout.splitlines()[3],
        )
        assert sorted(p.name for p in (replay.folder / f"out{ranks}_{pcols}").iterdir()) == outputs
        for k, name in enumerate(outputs):
            got = replay.folder / f"out{ranks}_{pcols}" / name
            check_file(got, sources[k], values[k], 1200 * k)
            assert got.read_bytes() == (replay.folder / "out1_16" / name).read_bytes(), (
                f"{ranks} ranks, pcols {pcols}: {name} differs"
            )


def check_table(replay: Replay) -> None:
    """Every variable of an mlo file has the values, unlike all others, that belong to its name."""
    source = replay.folder / "E3SM-MMF.mli.0008-01-01-00000.nc"
    values = mli_values(3, COLUMNS)
    write_mli(source, values, 0)
    done = replay.run(1, [source], "table")
    assert done.returncode == 0, done.stderr
    check_file(replay.folder / "table" / "E3SM-MMF.mlo.0008-01-01-00000.nc", source, values, 0)


def saturation_vapor_pressure(t: np.ndarray) -> np.ndarray:
    """Saturation vapour pressure in Pa between 200 and 300 K (Flatau's polynomials, mixed between
    253.16 and 273.16 K).
    """
    liquid = [6.11239921, 0.443987641, 0.142986287e-1, 0.264847430e-3, 0.302950461e-5,
              0.206739458e-7, 0.640689451e-10, -0.952447341e-13, -0.976195544e-15]  # fmt: skip
    ice = [6.11147274, 0.503160820, 0.188439774e-1, 0.420895665e-3, 0.615021634e-5, 0.602588177e-7,
           0.385852041e-9, 0.146898966e-11, 0.252751365e-14]  # fmt: skip
    over_liquid = 100 * np.polynomial.Polynomial(liquid)(np.maximum(t - 273.16, -80))
    over_ice = np.where(t > 273.15, over_liquid, 100 * np.polynomial.Polynomial(ice)(t - 273.16))
    weight = np.clip((t - 253.16) / 20, 0, 1)
    return weight * over_liquid + (1 - weight) * over_ice


def check_humidity(replay: Replay) -> None:
    """A package that takes state_rh gets it from the host, with the file's pressure or the
    grid's.
    """
    source = replay.folder / "E3SM-MMF.mli.0008-02-01-00000.nc"
    values = mli_values(9, COLUMNS)
    write_mli(source, values, 0)
    write_grid(replay.folder / "grid.nc")
    humidity = (
        461
        * values["state_pmid"]
        * values["state_q0001"]
        / (287 * saturation_vapor_pressure(values["state_t"]))
    )
    for out, settings in [("pmid", {}), ("grid", {"grid_file": replay.folder / "grid.nc"})]:
        done = replay.run(2, [source], out, package=replay.fixtures / "climsim_rh.pt", **settings)
        assert done.returncode == 0, done.stderr
        with netCDF4.Dataset(replay.folder / out / "E3SM-MMF.mlo.0008-02-01-00000.nc") as data:
            got = (data["state_q0001"][...] - values["state_q0001"]) / STEP_S
        np.testing.assert_allclose(got, -1e-5 * humidity, rtol=1e-6)


def check_declared_values(replay: Replay) -> None:
    """Packed variables, a leading time of 1 and a declared flag give what the plain ones give."""
    values = mli_values(4, COLUMNS)
    packed: dict[str, tuple[str, dict[str, object]]] = {
        # Powers of two: packing and unpacking are exact.
        "state_t": ("i4", {"scale_factor": 2.0**-20, "add_offset": 250.0}),
        "state_u": ("i2", {"scale_factor": np.float32(2.0**-8)}),
        "cam_in_LWUP": ("i2", {"scale_factor": 2.0**-6, "_Unsigned": "true"}),
    }
    counts = {}
    for name, (dtype, attributes) in packed.items():
        scale, offset = float(attributes["scale_factor"]), float(attributes.get("add_offset", 0.0))
        counts[name] = np.rint((values[name] - offset) / scale)
        values[name] = counts[name] * scale + offset
        if "_Unsigned" in attributes:
            assert counts[name].max() < 2**16
            counts[name] = counts[name].astype("u2").view(dtype)
    plain, declared = (replay.folder / f"E3SM-MMF.mli.{kind}.nc" for kind in ("plain", "declared"))
    for path in (plain, declared):
        write_mli(path, values, 0)
    for name, (dtype, attributes) in packed.items():
        replace_variable(declared, name, lambda _, name=name: counts[name], dtype, **attributes)
    replace_variable(declared, "state_v", time=1)
    replace_variable(declared, "state_ps", time=1)
    values["cam_in_SNOWHICE"][:] = 1e30
    for path in (plain, declared):
        fill = 1e30 if path == declared else None
        replace_variable(
            path, "cam_in_SNOWHICE", lambda v: np.full(v.shape, 1e30), fill=fill, valid_max=1e3
        )
    done = replay.run(2, [plain, declared], "declared")
    assert done.returncode == 0, done.stderr
    found = []
    for path in (plain, declared):
        with netCDF4.Dataset(replay.folder / "declared" / path.name.replace("mli", "mlo")) as data:
            data.set_auto_mask(False)
            found.append({name: np.array(data[name][...]) for name in data.variables})
    for name, expected in found[0].items():
        assert np.array_equal(found[1][name], expected), name
    tendency = values["state_u"].astype(np.float32) * np.float32(TENDENCY_GAINS["state_u"])
    expected = values["state_u"] + STEP_S * tendency.astype(np.float64)
    assert np.array_equal(found[1]["state_u"], expected)


def check_meaningless_values(replay: Replay) -> None:
    """Fill values, and values outside a variable's own limits, end the run and say where."""
    values = mli_values(5, COLUMNS)
    fill = netCDF4.default_fillvals["f8"]
    # Columns 9 and 11 of the file: rank 1 of 2 has columns 8 to 13.
    at, place = ((3, 8), (2, 10)), r" in column 9, level 4 \(counted from 1\)"
    half = {"dtype": "i2", "scale_factor": 0.5}

    def spoilt(value: float, **attributes: object) -> dict[str, object]:
        return {"change": put(value, *at), **attributes}

    cases: list[tuple[str, dict[str, object], str]] = [
        (
            "state_q0002",
            spoilt(fill),
            r"2 value\(s\) are netCDF's default .*first \(9.96921.*\)" + place,
        ),
        (
            "state_q0002",
            spoilt(-9.0, missing_value=-9.0),
            r"2 value\(s\) equal .*\(-9.0*\)" + place,
        ),
        (
            "state_q0002",
            spoilt(1e20, missing_value=np.float32(1e20)),
            "its missing_value.*" + place,
        ),
        ("state_u", spoilt(7.5, fill=7.5), "equal its _FillValue.*" + place),
        ("state_u", spoilt(7.5, missing_value=[1.0, 7.5]), "equal its missing_value.*" + place),
        ("state_u", spoilt(70.0, valid_max=69.0), r"lie outside its valid_max.*\(70.*\)" + place),
        ("state_u", spoilt(-70.0, valid_min=-69.0), "lie outside its valid_min.*" + place),
        ("state_u", spoilt(-70.0, valid_range=[-69.0, 69.0]), "outside its valid_range.*" + place),
        ("state_u", spoilt(-70, valid_range=[-34.0, 69.0], **half), "its valid_range.*" + place),
        ("state_u", spoilt(-70, valid_min=np.int16(-69), **half), "its valid_min.*" + place),
        ("state_u", spoilt(-32767, **half), "default fill value.*" + place),
        ("state_u", {"dtype": "i2"}, "state_u: expected floating-point numbers, or integers with"),
        ("state_u", {"scale_factor": "a"}, "state_u: scale_factor: "),
        ("cam_in_LWUP", {"change": put(fill, (8,))}, r"LWUP: 1 .*in column 9 \(counted from 1\)"),
        (
            "cam_in_SNOWHICE",
            {"change": put(fill, (8,)), "fill": 1e30},
            "ICE: 1 .*default.* column 9",
        ),
        ("state_v", {"time": 2}, "state_v: holds 2 times; expected one time per file"),
        ("state_v", {"units": "km/h"}, r"other units .*: state_v \(host km/h, package m/s\)"),
    ]
    for number, (name, fault, text) in enumerate(cases):
        path = replay.folder / f"E3SM-MMF.mli.meaningless{number}.nc"
        write_mli(path, values, 0)
        replace_variable(path, name, **fault)
        done = replay.run(2 if number == 0 else 1, [path], "meaningless")
        refused(done, f"{path.name}: .*{text}")
    good = replay.folder / "E3SM-MMF.mli.good.nc"
    write_mli(good, values, 0)
    humid = replay.fixtures / "climsim_rh.pt"
    for name, fault, text in [
        ("hyam", {"change": put(fill, (4,))}, r"hyam: 1 .* in level 5 \(counted from 1\)"),
        ("hybm", {"change": put(np.nan, (4,))}, "hybm: not all values are finite"),
        ("P0", {"change": lambda v: v * 0 + 7.0, "fill": 7.0}, r"P0: 1 .*the first \(7[.0]*\)$"),
    ]:
        grid = replay.folder / f"{name}.nc"
        write_grid(grid)
        replace_variable(grid, name, **fault)
        refused(replay.run(1, [good], "meaningless", package=humid, grid_file=grid), text)
    assert not list((replay.folder / "meaningless").iterdir())


def refused(done: subprocess.CompletedProcess[str], text: str) -> None:
    """Check that a run ended with a message."""
    assert done.returncode != 0, text
    said = re.search("climlink-replay: .*(" + text + ")", done.stderr, re.MULTILINE)
    assert said, (text, done.stderr, done.stdout)


def check_faults(replay: Replay) -> None:
    """Every fault ends all ranks with a message and a non-zero exit code, and leaves no output."""
    good = replay.folder / "E3SM-MMF.mli.0008-03-01-00000.nc"
    values = mli_values(1, COLUMNS)
    write_mli(good, values, 0)

    def faulty(name: str, change: dict[str, np.ndarray | None], transposed: str = "") -> Path:
        path = replay.folder / f"E3SM-MMF.mli.{name}.nc"
        write_mli(
            path, {k: v for k, v in (values | change).items() if v is not None}, 0, transposed
        )
        return path

    nan = values["state_t"].copy()
    nan[3, COLUMNS - 1] = np.nan
    truncated = replay.folder / "E3SM-MMF.mli.truncated.nc"
    truncated.write_bytes(good.read_bytes()[:20000])
    short = replay.folder / "E3SM-MMF.mli.short.nc"
    short.write_bytes(good.read_bytes()[:-8])
    lagged = {"package": replay.fixtures / "climsim_lagged.pt"}
    humid = replay.fixtures / "climsim_rh.pt"
    cases: list[tuple[list[Path], dict[str, object], str]] = [
        ([replay.folder / "E3SM-MMF.mli.none.nc"], {}, r"E3SM-MMF.mli.none.nc: No such file"),
        ([truncated], {}, r"E3SM-MMF.mli.truncated.nc: .*truncated"),
        (
            [short],
            {},
            r"E3SM-MMF.mli.short.nc: the file is truncated: it has \d+ bytes, its header needs \d+ "
            r"or more",
        ),
        (
            [faulty("missing", {"state_u": None})],
            {},
            r"mli.missing.nc: rank 0: check: .*inputs that the host does not give: state_u \(near",
        ),
        (
            [faulty("no_humidity", {"state_q0001": None})],
            {"package": humid},
            "mli.no_humidity.nc: a replay needs state_q0001, which the file does not hold",
        ),
        (
            [faulty("no_pressure", {"state_pmid": None})],
            {"package": humid},
            "mli.no_pressure.nc: a replay needs state_pmid, which the file does not hold",
        ),
        (
            [faulty("turned", {}, "state_v")],
            {},
            r"mli.turned.nc: state_v: expected dimensions \(lev, ncol\) or \(ncol\), found \(ncol, "
            r"lev\)",
        ),
        (
            [faulty("flat", {"state_v": values["state_ps"]})],
            {},
            r"mli.flat.nc: .*other dims: state_v \(host \[\], package \[level\]\)",
        ),
        (
            [faulty("much", {"state_v": values["state_ps"], "pbuf_SOLIN": None})],
            {"package": replay.fixtures / "climsim_mm_day.pt"},
            r"does not give: pbuf_SOLIN.*; other units .*: cam_out_PRECC \(host m/s, package mm/day"
            r"\); other dims: state_v",
        ),
        (
            [faulty("nan", {"state_t": nan})],
            {},
            r"mli.nan.nc: rank 1: send: state_t: column 6, level 4: NaN where a finite value",
        ),
        ([good], {"package": replay.fixtures / "climsim_26.pt"}, r"60.*26|26.*60"),
        ([good], {"time_step_s": 1800.0}, "1800"),
        ([good], {"package": replay.folder / "none.pt"}, "none.pt"),
        ([good], {"pinned_sha256": "0" * 64}, "SHA-256"),
        (
            [good],
            lagged,
            r"does not give: state_t_dyn \(near.*\), clat.*single snapshots .*, and state_rh",
        ),
        ([good], {"output_directory": replay.folder / "nowhere"}, "nowhere"),
        ([good], {"pcols": 0}, "pcols"),
        ([good], {"colour": 1}, "replay.nml: /replay/: .*colour"),
        ([good], {"tint": 1}, "replay.nml: /emulator/: .*tint"),
        ([good], {"package": ""}, "replay.nml: /emulator/ package is missing"),
        ([good], {"micro_batch": 1}, "micro_batch is .*1.*2 or more"),
        (
            [good],
            {"mode": "shadow", "spin_up_steps": 2, "vertical_remap": "conservative"},
            "/emulator/ mode spin_up_steps vertical_remap: a replay has no physics of its own",
        ),
        ([good], {"ramp_factor": 0.5}, "/emulator/ ramp_factor: a replay"),
        ([good, good], {}, "twice"),
        ([replay.folder / "other.nc"], {}, "other.nc is not named like an mli file"),
    ]
    for files, settings, text in cases:
        refused(replay.run(2, files, **settings), text)
        assert not list((replay.folder / "out").iterdir()), text
    assert replay.start(2, []).returncode != 0
    second = replay.run(2, [good, truncated])
    assert second.returncode != 0
    assert [p.name for p in (replay.folder / "out").iterdir()] == [
        good.name.replace("mli", "mlo")
    ], "the steps before a fault stay"


def main() -> None:
    """Run one part in a folder of its own."""
    part, fixtures, program, *mpiexec = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        replay = Replay(Path(fixtures), program, mpiexec, Path(name))
        if part == "table":
            check_table(replay)
            check_humidity(replay)
        elif part == "values":
            check_listing(replay)
            check_values(replay)
            check_declared_values(replay)
        elif part == "numbers":
            check_meaningless_values(replay)
        else:
            check_faults(replay)


if __name__ == "__main__":
    main()
