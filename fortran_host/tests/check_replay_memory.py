"""Checks what climlink-replay does with a package that carries state.

check_replay_memory.py FIXTURES PROGRAM MPIEXEC [FLAGS...]. The package is climsim_memory.pt,
RememberedAir of fortran_bridge/tests/memory_fixtures.py: ptend_t = 1e-6 m[..., 0] and
ptend_u = -1e-5 m[..., 1] with its memory m [level, unit] of the step before;
m' = m / 2 + (unit + 1) T, and it begins with m = 2 T.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import netCDF4
import numpy as np
from check_replay import COLUMNS, STEP_S, Replay, mli_values, refused, write_mli

MLI = "E3SM-MMF.mli"
GAP = "is not one time step earlier"
# Over the end of February, which has 28 days; a gap; other columns; the same columns, backwards.
SNAPSHOTS = [
    ("0008-02-28-84000", COLUMNS, "begins: first file"),
    ("0008-02-28-85200", COLUMNS, f"from {MLI}.0008-02-28-84000.nc"),
    ("0008-03-01-00000", COLUMNS, f"from {MLI}.0008-02-28-85200.nc"),
    ("0008-03-01-02400", COLUMNS, f"begins: {MLI}.0008-03-01-00000.nc {GAP}"),
    ("0008-03-01-03600", 2, f"begins: {MLI}.0008-03-01-02400.nc has other columns"),
    ("0008-03-01-04800", 2, f"from {MLI}.0008-03-01-03600.nc"),
    ("0008-03-01-03600.a", 2, f"begins: {MLI}.0008-03-01-04800.nc {GAP}"),
]

Values = dict[str, np.ndarray]


def snapshot(folder: Path, stamp: str, columns: int, seed: int) -> tuple[Path, Values]:
    """Write a snapshot of a time and return its path and values."""
    path, values = folder / f"{MLI}.{stamp}.nc", mli_values(seed, columns)
    year, month, day, second = (int(part) for part in stamp.removesuffix(".a").split("-"))
    write_mli(path, values, second)
    with netCDF4.Dataset(path, "a") as data:
        data["ymd"][...] = year * 10000 + month * 100 + day
    return path, values


def expected_states(values: list[Values]) -> list[Values]:
    """Return temperature and wind after each step, in the arithmetic of package and host."""
    states = []
    for (_, _, origin), before in zip(SNAPSHOTS, values, strict=True):
        t = before["state_t"].astype(np.float32)
        if origin.startswith("begins"):
            memory = [2 * t, 2 * t]
        changes = {
            "state_t": memory[0] * np.float32(1e-6),
            "state_u": memory[1] * np.float32(-1e-5),
        }
        memory = [np.float32(0.5) * m + np.float32(k + 1) * t for k, m in enumerate(memory)]
        states.append({n: before[n] + STEP_S * c.astype(np.float64) for n, c in changes.items()})
    return states


def check_memory(replay: Replay) -> None:
    """The state goes on over files one step apart; any ranks and chunks write the same bytes."""
    written = [snapshot(replay.folder, *s[:2], seed) for seed, s in enumerate(SNAPSHOTS)]
    sources = [path for path, _ in written]
    states = expected_states([values for _, values in written])
    package = replay.fixtures / "climsim_memory.pt"
    for ranks, pcols in [(1, 16), (3, 1)]:
        out = replay.folder / f"out{ranks}"
        done = replay.run(ranks, sources, out.name, package=package, pcols=pcols)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        for k, (source, (_, _, origin)) in enumerate(zip(sources, SNAPSHOTS, strict=True)):
            said = f" (carried state {origin})" if origin.startswith("begins") else ""
            step = f"climlink-replay: step {k + 1} of {len(sources)}"
            assert lines[k] == f"{step} {source.name}{said}", done.stdout
            name = source.name.replace("mli", "mlo")
            with netCDF4.Dataset(out / name) as data:
                assert data.climlink_carried_state == origin, name
                for variable, expected in states[k].items():
                    assert np.array_equal(data[variable][...], expected), (name, variable)
            on_one = (replay.folder / "out1" / name).read_bytes()
            assert (out / name).read_bytes() == on_one, f"{ranks} ranks: {name} differs"


def check_faults(replay: Replay) -> None:
    """A name that the files have, an input that is no column, a date that does not exist."""
    good, _ = snapshot(replay.folder, "0008-04-01-00000", COLUMNS, 0)
    wrong, _ = snapshot(replay.folder, "0008-02-29-00000", COLUMNS, 0)
    doubled = (
        rf"{good.name}: .*inputs that the host gives, but the emulator keeps by itself: state_pmid "
        r"\(carried\): give it another name in the package"
    )
    shape = r"this host has columns, .*; the package has the input neighbours \[level, unit\]"
    date = f"{wrong.name}: ymd 80229 with tod 0 is not a time of the no-leap calendar"
    for source, package, text in [
        (good, "climsim_doubled.pt", doubled),
        (good, "climsim_neighbours.pt", shape),
        (wrong, "climsim_memory.pt", date),
    ]:
        refused(replay.run(1, [source], "faults", package=replay.fixtures / package), text)
    assert not list((replay.folder / "faults").iterdir())


def main() -> None:
    """Run all checks in a folder of their own."""
    fixtures, program, *mpiexec = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        replay = Replay(Path(fixtures), program, mpiexec, Path(name))
        check_memory(replay)
        check_faults(replay)


if __name__ == "__main__":
    main()
