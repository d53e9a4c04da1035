"""Checks what test_aqua_output writes: check_aqua_output.py pairs|history|resume|faults PROGRAM.

The program's fields are small whole numbers that follow from step, column and level, so every sum
is exact and every mean is known to the last bit of the file's single precision.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from climlink.data.climsim import find_pairs, stored_variables
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore, StoreConfig

COLUMNS, LEVELS, STEP_S, DAY_S = 512, 4, 1200, 86400
START_S = 29 * DAY_S + DAY_S // 2  # 0001-01-30-43200, since 0001-01-01
HYAI, HYBI = np.array([0.01, 0.05, 0.1, 0.05, 0.0]), np.array([0.0, 0.0, 0.2, 0.7, 1.0])
FILES = [
    "trial.eam.h0.0001-01.nc",
    "trial.eam.h1.0001-01-30-43200.nc",
    "trial.eam.h1.0001-02-01-00000.nc",
    *(
        f"{case}.eam.h2.{day}-43200.nc"
        for case in ("trial", "trial_values")
        for day in ("0001-01-30", "0001-01-31", "0001-02-01")
    ),
]
# The variables in the order of the numbers that test_aqua_output gives them, from 1 and from 31 on.
GIVEN = """
    state_t state_q0001 state_q0002 state_q0003 state_u state_v pbuf_ozone pbuf_CH4
    pbuf_N2O pbuf_SOLIN pbuf_COSZRS pbuf_LHFLX pbuf_SHFLX pbuf_TAUX pbuf_TAUY
    cam_in_ASDIR cam_in_ASDIF cam_in_ALDIR cam_in_ALDIF cam_in_LWUP cam_in_OCNFRAC
    cam_in_ICEFRAC cam_in_LANDFRAC cam_in_SNOWHLAND cam_in_SNOWHICE
"""
MADE = """
    cam_out_NETSW cam_out_FLWDS cam_out_PRECSC cam_out_PRECC cam_out_SOLS cam_out_SOLL cam_out_SOLSD
    cam_out_SOLLD state_t state_q0001 state_q0002 state_q0003 state_u state_v
"""
# The order of the published files.
MLI = """
    cam_in_ALDIF cam_in_ALDIR cam_in_ASDIF cam_in_ASDIR cam_in_ICEFRAC cam_in_LANDFRAC
    cam_in_LWUP cam_in_OCNFRAC cam_in_SNOWHICE cam_in_SNOWHLAND pbuf_COSZRS pbuf_LHFLX
    pbuf_SHFLX pbuf_SOLIN pbuf_TAUX pbuf_TAUY state_pmid state_ps state_q0001 state_q0002
    state_q0003 state_t state_u state_v pbuf_CH4 pbuf_N2O pbuf_ozone
"""
MLO = """
    cam_out_FLWDS cam_out_NETSW cam_out_PRECC cam_out_PRECSC cam_out_SOLL cam_out_SOLLD
    cam_out_SOLS cam_out_SOLSD state_q0001 state_q0002 state_q0003 state_t state_u state_v
"""


class Program:
    """The program under test, in a folder of its own."""

    def __init__(self, path: str, folder: Path) -> None:
        self.path, self.folder = path, folder

    def run(self, *arguments: object, limit: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end. Writing beyond ``limit`` bytes of a file fails, as on a full disk: the
        signal for that is ignored, as Python has it, and the program is compiled without handlers
        of its own.
        """

        def restrict() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run(
            [self.path, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            preexec_fn=restrict,
            restore_signals=False,
        )

    def done(self, *arguments: object) -> None:
        """Run it; it must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr

    def killed(self, *arguments: object) -> None:
        """Run it until it has written its last sample, then kill it."""
        process = subprocess.Popen(
            [self.path, *map(str, arguments), "wait"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.kill()
        process.communicate()

    def fails(self, pattern: str, *arguments: object, limit: int | None = None) -> None:
        """Run it; it must end with exit code 1 and one line that matches."""
        done = self.run(*arguments, limit=limit)
        assert done.returncode == 1, (pattern, done.returncode, done.stderr)
        assert re.fullmatch(f"test_aqua_output: .*({pattern}).*\n", done.stderr), (
            pattern,
            done.stderr,
        )

    def new(self, name: str) -> Path:
        """Make a folder."""
        (self.folder / name).mkdir()
        return self.folder / name


def value(number: int, rank: int) -> np.ndarray:
    """Return the variable of this number in the second step, [level, column] or [column]."""
    column = np.arange(1, COLUMNS + 1)
    level = np.arange(1, LEVELS + 1)[:, None] if rank == 2 else 0
    return (1000 * number + 200 + level) + 0.001 * column


def check_pairs(program: Program) -> None:
    """The pairs have ClimSim's form, and are read by `climlink data prepare` with the values that
    were written.
    """
    folder = program.new("pairs")
    program.done("pairs", folder)
    assert not list(folder.glob("*.part"))
    pairs = find_pairs(folder)
    assert [str(p.stamp) for p in pairs] == ["0001-01-30-43200", "0001-01-30-44400"]
    for pair in pairs:
        for path, n_variable in ((pair.mli, 29), (pair.mlo, 16)):
            with netCDF4.Dataset(path) as data:
                assert data.data_model == "NETCDF3_64BIT_DATA"
                assert {n: len(d) for n, d in data.dimensions.items()} == {
                    "ncol": COLUMNS,
                    "lev": LEVELS,
                }
                assert len(data.variables) == n_variable
                assert data.calendar == "NO_LEAP"
                assert int(data["ymd"][...]) == 10130
                assert data["ymd"].dtype == np.int32
                assert int(data["tod"][...]) == pair.stamp.second
    with netCDF4.Dataset(pairs[1].mli) as before, netCDF4.Dataset(pairs[1].mlo) as after:
        given = {name: number for number, name in enumerate(GIVEN.split(), start=1)}
        for name, number in given.items():
            assert np.array_equal(before[name][...], value(number, before[name].ndim)), name
        for number, name in enumerate(MADE.split(), start=31):
            expected = value(number, after[name].ndim)
            if name in given:
                expected = value(given[name], 2) + 1200.0 * (1e-3 * expected)
            n = LEVELS - 1 if name == "state_q0003" else None  # where all of the ice is taken
            assert np.array_equal(after[name][:n], expected[:n]), name
        assert np.array_equal(before["state_ps"][...], 1e5 - np.arange(1, COLUMNS + 1))
        hyam, hybm = (0.5 * (h[1:] + h[:-1])[:, None] for h in (HYAI, HYBI))
        np.testing.assert_allclose(
            before["state_pmid"][...], 1e5 * hyam + hybm * before["state_ps"][...], rtol=1e-14
        )
        assert list(before.variables) == ["ymd", "tod", *MLI.split()]
        assert list(after.variables) == ["ymd", "tod", *MLO.split()]
        assert np.all((after["state_q0003"][-1] >= 0.0) & (after["state_q0003"][-1] < 1e-12)), (
            "all ice taken, and no negative water"
        )
        assert np.any(after["state_q0003"][-1] == 0.0)
    # The values say where they were written: no atmosphere has them.
    ranged = tuple(v.name for v in stored_variables(LEVELS) if v.plausible)
    config = StoreConfig(allow_implausible=ranged)
    split = Split(test=(str(pairs[1].stamp),))
    done = prepare(folder, program.folder / "store.zarr", split=split, config=config)
    assert done.records == 2
    store = ColumnStore.open(program.folder / "store.zarr")
    assert store.level_count == LEVELS
    check_grid(folder / "aqua_grid-info.nc")


def check_grid(path: Path) -> None:
    """The grid file has the Gaussian grid and the levels."""
    with netCDF4.Dataset(path) as data:
        sines, weights = np.polynomial.legendre.leggauss(16)
        np.testing.assert_allclose(
            data["lat"][:], np.degrees(np.arcsin(np.repeat(sines, 32))), atol=1e-12
        )
        np.testing.assert_allclose(data["lon"][:], np.tile(np.arange(32) * 11.25, 16), atol=1e-12)
        np.testing.assert_allclose(
            data["area"][:], np.repeat(weights, 32) * 2 * np.pi / 32, rtol=1e-12
        )
        np.testing.assert_allclose(data["area"][:].sum(), 4 * np.pi, rtol=1e-14)
        assert np.array_equal(data["hyai"][:], HYAI)
        assert np.array_equal(data["hybi"][:], HYBI)
        np.testing.assert_allclose(data["ilev"][:], 1000 * (HYAI + HYBI), rtol=1e-15)
        np.testing.assert_allclose(
            data["lev"][:], 500 * (HYAI + HYBI)[1:] + 500 * (HYAI + HYBI)[:-1], rtol=1e-15
        )
        assert float(data["P0"][...]) == 1e5


def fields_of(step: np.ndarray) -> dict[str, np.ndarray]:
    """Return the program's fields for some steps, [step, ...]; PS times 7, which is whole."""
    column = np.arange(1, COLUMNS + 1)
    profile = np.mod(
        7 * step[:, None, None] + 3 * column + 11 * np.arange(1, LEVELS + 1)[:, None], 101
    ).astype(np.float64)
    return {"T": profile, "U": -profile, "PS": np.mod(5 * step[:, None] + column, 97) / 7.0}


def samples(period_s: int, last_step: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last step of every complete period; the first may begin before the
    run.
    """
    first = 1
    for step in range(1, last_step + 1):
        if (START_S + step * STEP_S) % period_s == 0:
            yield first, step
            first = step + 1


def check_stream(
    folder: Path,
    case: str,
    kind: str,
    periods: list[tuple[int, int]],
    per_file: int,
    instantaneous: bool = False,
) -> None:
    """Compare the files of a stream with all samples that there must be."""
    found = 0
    paths = sorted(folder.glob(f"{case}.eam.{kind}.*.nc"))
    assert len(paths) == -(-len(periods) // per_file), paths
    for path in paths:
        with netCDF4.Dataset(path) as data:
            data.set_auto_mask(False)
            assert data.data_model == "NETCDF3_64BIT_DATA"
            for at in range(len(data.dimensions["time"])):
                first, last = periods[found]
                begin, end = START_S + (first - 1) * STEP_S, START_S + last * STEP_S
                assert float(data["time"][at]) == end / DAY_S
                assert data["time_bnds"][at].tolist() == [
                    (end if instantaneous else begin) / DAY_S,
                    end / DAY_S,
                ]
                day = end // DAY_S
                assert int(data["date"][at]) == (10101 + day if day < 31 else 10201 + day - 31)
                assert int(data["datesec"][at]) == end % DAY_S
                values = fields_of(
                    np.array([last]) if instantaneous else np.arange(first, last + 1)
                )
                for name in [n for n in values if n in data.variables]:
                    assert data[name].dtype == np.float32
                    np.testing.assert_allclose(
                        data[name][at],
                        values[name].mean(axis=0),
                        rtol=2e-7,
                        err_msg=f"{path.name} {name} {at}",
                    )
                found += 1
    assert found == len(periods)


def check_all(folder: Path, last_step: int) -> None:
    """Compare all streams after some steps."""
    check_stream(folder, "trial", "h1", list(samples(DAY_S, last_step)), 2)
    check_stream(folder, "trial", "h2", list(samples(3600, last_step)), 24)
    check_stream(
        folder, "trial_values", "h2", list(samples(3600, last_step)), 24, instantaneous=True
    )
    if last_step >= 108:
        check_stream(folder, "trial", "h0", [(1, 108)], 1)


def check_history(program: Program) -> None:
    """Names, attributes and every sample of three kinds of history; xarray decodes it."""
    folder = program.new("run")
    program.done("history", folder, 0, 200)
    assert sorted(p.name for p in folder.iterdir()) == sorted([*FILES, "restart.200.nc"])
    check_all(folder, 200)
    with xr.open_dataset(
        folder / FILES[1], decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)
    ) as data:
        assert str(data.time.values[1]) == "0001-02-01 00:00:00"
        assert data.time.values[0].calendar == "noleap"
        assert data["T"].dims == ("time", "lev", "ncol")
        assert data["PS"].dims == ("time", "ncol")
        assert data["T"].attrs == {
            "long_name": "Temperature",
            "units": "K",
            "cell_methods": "time: mean",
        }
        assert data.attrs["case"] == "trial"
        assert {
            "lat",
            "lon",
            "area",
            "hyam",
            "hybm",
            "hyai",
            "hybi",
            "P0",
            "ilev",
            "time_bnds",
        } <= set(data.variables)
    with xr.open_dataset(folder / FILES[-1], decode_times=False) as data:
        assert data["T"].attrs["cell_methods"] == "time: point"


def check_resume(program: Program) -> None:
    """A run in parts, after a stop, a kill, or in an empty folder, leaves the files of a run in one
    go, byte for byte.
    """
    whole = program.new("whole")
    program.done("history", whole, 0, 200)
    for name, parts in {"two": [100], "many": [1, 36, 37, 107, 108, 109, 180]}.items():
        folder = program.new(name)
        for first, last in zip([0, *parts], [*parts, 200], strict=True):
            program.done("history", folder, first, last)
        same_files(whole, folder)
    killed = program.new("killed")
    program.done("history", killed, 0, 100)
    program.killed("history", killed, 100, 170)
    check_all(killed, 170)
    program.killed("history", killed, 100, 130)
    with netCDF4.Dataset(killed / FILES[4]) as data:
        assert len(data.dimensions["time"]) == 19, (
            "hours after the restart are dropped, then made again"
        )
    program.done("history", killed, 100, 200)
    same_files(whole, killed)
    moved = program.new("moved")
    shutil.copy(whole.parent / "two" / "restart.100.nc", moved)
    program.done("history", moved, 100, 200)
    with netCDF4.Dataset(moved / "trial.eam.h1.0001-01-31-00000.nc") as data:
        assert data["time"][:].tolist() == [31.0, 32.0]
        np.testing.assert_allclose(
            data["T"][0], fields_of(np.arange(37, 109))["T"].mean(axis=0), rtol=2e-7
        )


def same_files(expected: Path, found: Path) -> None:
    """Compare the history and the last restart of two folders."""
    for name in [*FILES, "restart.200.nc"]:
        assert (expected / name).read_bytes() == (found / name).read_bytes(), (found.name, name)
    assert {p.name for p in found.iterdir() if not p.name.startswith("restart")} == set(FILES)


def check_faults(program: Program) -> None:
    """Foreign and damaged files are refused by name; a full disk costs only what had not been
    written.
    """
    folder = program.new("good")
    program.done("history", folder, 0, 100)
    check_restart_faults(program, folder)
    check_history_faults(program, folder)
    check_full_disk(program, folder)


def check_restart_faults(program: Program, folder: Path) -> None:
    """A restart must be whole, ours, and of this case."""
    good = folder / "restart.100.nc"
    program.done("restart", good, 10, 4, "trial")
    program.fails(
        "restart.100.nc: the restart's truncation is 10, this case needs 21",
        "restart",
        good,
        21,
        4,
        "trial",
    )
    program.fails(
        "restart.100.nc: the restart's number of levels is 4, this case needs 60",
        "restart",
        good,
        10,
        60,
        "trial",
    )
    program.fails(
        "written by another configuration: it carries 'trial', this case is 'other'",
        "restart",
        good,
        10,
        4,
        "other",
    )
    program.fails("none.nc: No such file", "restart", folder / "none.nc", 10, 4, "trial")
    other = program.folder / "bad.nc"
    other.write_bytes(good.read_bytes()[:-8])
    program.fails("bad.nc: the file is truncated", "restart", other, 10, 4, "trial")
    other.write_bytes(b"no restart at all")
    program.fails("bad.nc: NetCDF: Unknown file format", "restart", other, 10, 4, "trial")
    program.fails(
        "0001-01-30-43200.nc: this is not a restart of climlink-aquaplanet",
        "restart",
        folder / FILES[1],
        10,
        4,
        "trial",
    )
    shutil.copy(good, other)
    with netCDF4.Dataset(other, "a") as data:
        data.climlink_aquaplanet_restart = np.int32(99)
    program.fails(
        "bad.nc: the restart's format version is 99, this case needs 1",
        "restart",
        other,
        10,
        4,
        "trial",
    )


def check_history_faults(program: Program, folder: Path) -> None:
    """A run does not go on in a history file that is not its own."""
    current = folder / FILES[1]
    kept = current.read_bytes()
    program.done("history", folder, 0, 30)
    shutil.copy(folder / "trial.eam.h2.0001-01-30-43200.nc", current)
    program.fails(
        "0001-01-30-43200.nc: sample 1 is of day 29.54167, the restart follows one of day 30.00000",
        "history",
        folder,
        100,
        101,
    )
    with netCDF4.Dataset(current, "w", format="NETCDF3_64BIT_DATA") as data:
        for name, size in (("ncol", COLUMNS), ("lev", 60), ("time", None)):
            data.createDimension(name, size)
    program.fails(
        "0001-01-30-43200.nc: time: NetCDF: Variable not found", "history", folder, 100, 101
    )
    current.write_bytes(kept)
    program.done("history", folder, 0, 100)


def check_full_disk(program: Program, folder: Path) -> None:
    """Writing that fails anywhere in the second hour's record, or in a restart, is said, and leaves
    what was there before.
    """
    reference = program.new("reference")
    program.done("history", reference, 0, 3)
    program.done("history", reference, 3, 6)
    one = reference / "trial.eam.h2.0001-01-30-43200.nc"
    two_samples = one.stat().st_size
    record = COLUMNS * 4 * (2 * LEVELS + 1) + 32
    for limit in [two_samples - record + k for k in (1, 100, 4096, 8000, 12000, 16384, record - 1)]:
        full = program.new(f"full{limit}")
        program.fails(
            r"trial.eam.h2.0001-01-30-43200.nc: (\w+: )?File too large",
            "history",
            full,
            0,
            6,
            limit=limit,
        )
        with netCDF4.Dataset(full / one.name) as data:
            assert data["time"][:].tolist() == [(START_S + 3600) / DAY_S], limit
            assert np.array_equal(data["T"][0], netCDF4.Dataset(one)["T"][0])
    restart = (folder / "restart.100.nc").read_bytes()
    size = len(restart)
    assert (
        max(
            p.stat().st_size
            for p in folder.iterdir()
            if p.suffix == ".nc" and "restart" not in p.name
        )
        > size
    )
    before = {p.name for p in reference.iterdir()}
    program.fails("restart.6.nc.*: File too large", "history", reference, 6, 6, limit=size - 1)
    assert {p.name for p in reference.iterdir()} == before
    program.done("restart", reference / "restart.6.nc", 10, 4, "trial")
    full = program.new("pairs")
    (full / "E3SM-MMF.mlo.0001-01-30-44400.nc.part").symlink_to("/dev/full")
    program.fails("E3SM-MMF.mlo.0001-01-30-44400.nc.part: No space left on device", "pairs", full)
    assert sorted(p.name for p in full.glob("E3SM*")) == [
        f"E3SM-MMF.{kind}.0001-01-30-43200.nc" for kind in ("mli", "mlo")
    ], "no half pair"


def main() -> None:
    """Run one part in a folder of its own."""
    part, path = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        {
            "pairs": check_pairs,
            "history": check_history,
            "resume": check_resume,
            "faults": check_faults,
        }[part](Program(path, Path(name)))


if __name__ == "__main__":
    main()
