"""Runs climlink-aquaplanet with packages that are known to the last bit: restarts, shadow runs, emulators that break.

check_aquaplanet_hybrid.py PART PROGRAM LEVELS FIXTURES MPIEXEC... with PART one of restart, shadow, broken, refused.
"""

from __future__ import annotations

import filecmp
import sys
import tempfile
from pathlib import Path

from aquaplanet_case import Program, assert_same_files, files_below

PART, PROGRAM, LEVELS, FIXTURES, *MPIEXEC = sys.argv[1:]
AQUAPLANET = Program(PROGRAM, Path(LEVELS), MPIEXEC)
OUTPUT = "&output climsim_every_steps = 5, history_hourly = .true. /\n"


def emulator(package: str, **entries: object) -> str:
    """Return the groups of a run with output and a package."""
    lines = "".join(f" {key} = {value!r}\n" for key, value in entries.items())
    return OUTPUT + f"&emulator\n package = '{Path(FIXTURES) / package}'\n{lines}/\n"


def check_restart(folder: Path) -> None:
    """With lagged inputs, 10 steps in one go, and stopped within the ramp and gone on with other ranks: the same bytes."""
    groups = emulator("climsim_v4.pt", mode="partial", variables="ptend_t", spin_up_steps=3, ramp="linear", ramp_steps=4)
    whole, parts = folder / "whole", folder / "parts"
    for stop in (1, 2, 5):
        place = parts / str(stop)
        AQUAPLANET.finish(AQUAPLANET.namelist(whole / str(stop), groups=groups, n_step=10, restart_every_steps=stop))
        AQUAPLANET.finish(AQUAPLANET.namelist(place, groups=groups, n_step=stop, restart_every_steps=stop), 2)
        restart = place / "out/restart" / f"case.r.0001-01-01-{stop * 1200:05d}.nc"
        resumed = AQUAPLANET.namelist(place, groups=groups, n_step=10, restart_every_steps=stop, restart_from=str(restart))
        AQUAPLANET.finish(resumed, 4)
        assert_same_files(whole / str(stop) / "out", place / "out")


def check_shadow(folder: Path) -> None:
    """An emulator in the shadow changes nothing of what is applied; a run without one writes the same bytes."""
    alone, shadow = folder / "alone", folder / "shadow"
    AQUAPLANET.finish(AQUAPLANET.namelist(alone, groups=OUTPUT, n_step=10), 2)
    AQUAPLANET.finish(AQUAPLANET.namelist(shadow, groups=emulator("climsim_q.pt", mode="shadow", spin_up_steps=2), n_step=10), 2)
    common = [name for name in files_below(alone / "out") if name in files_below(shadow / "out")]
    assert len(common) > 3, common
    _, different, failed = filecmp.cmpfiles(alone / "out", shadow / "out", common, shallow=False)
    assert (different, failed) == ([], [])


def check_broken(folder: Path) -> None:
    """The message of an emulator whose answer is infinite names day, rank, column and variable; the last restart is good."""
    groups = emulator("climsim_overflow.pt", spin_up_steps=5)
    result = AQUAPLANET.run(AQUAPLANET.namelist(folder, groups=groups, n_step=10, restart_every_steps=5), 2)
    assert result.returncode == 3, result
    for text in ("on day ", ".083: rank 0", "ptend_v", "column 0"):
        assert text in result.stderr, result.stderr
    assert "outcome blown_up" in result.stdout, result.stdout
    restart = folder / "out/restart/case.r.0001-01-01-06000.nc"
    longer = emulator("climsim_overflow.pt", spin_up_steps=100)
    AQUAPLANET.finish(AQUAPLANET.namelist(folder, groups=longer, n_step=7, restart_every_steps=5, restart_from=str(restart)))


def check_refused(folder: Path) -> None:
    """What stands against a run is said before its first step, by one rank."""
    for name, entries, message in (
        ("missing.pt", {}, "missing.pt"),
        ("climsim_26.pt", {}, "the host has 60 levels, the package was trained for 26"),
        ("climsim_unknown.pt", {}, "this host cannot provide the inputs state_omega cam_in_SST"),
        ("climsim_v6.pt", {"spin_up_steps": 1}, "lagged inputs need two steps"),
        ("climsim_q.pt", {"mode": "partial", "variables": "ptend_w"}, "the package has no output 'ptend_w'"),
        ("climsim_q.pt", {"variables": "ptend_t"}, "variables are for mode partial"),
        ("climsim_q.pt", {"pinned_sha256": "0" * 64}, "0" * 64),
    ):
        result = AQUAPLANET.run(AQUAPLANET.namelist(folder, groups=emulator(name, **entries)), 2)
        assert result.returncode == 1, result
        assert result.stderr.count(message) == 1, result.stderr
    assert files_below(folder / "out") == []


with tempfile.TemporaryDirectory() as scratch:
    {"restart": check_restart, "shadow": check_shadow, "broken": check_broken, "refused": check_refused}[PART](Path(scratch))
