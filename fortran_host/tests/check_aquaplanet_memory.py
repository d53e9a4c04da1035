"""Runs climlink-aquaplanet with packages that carry state: ranks, restarts, and what these hold.

check_aquaplanet_memory.py PART PROGRAM LEVELS FIXTURES MPIEXEC... with PART days (5 days) or hours
(10 steps, and all else). climsim_slow.pt of fortran_bridge/tests/memory_fixtures.py is a column
network with memory that stays within the model's bounds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import netCDF4
import numpy as np
from check_aquaplanet import (
    FIXTURES,
    PART,
    STEPS_PER_DAY,
    assert_same_files,
    emulator,
    finished,
    namelist,
    refused,
    run,
)

SLOW = f"{FIXTURES}/climsim_slow.pt"
STEPS = {
    "hours": (10, 6, "0001-01-01-07200"),
    "days": (5 * STEPS_PER_DAY, 3 * STEPS_PER_DAY, "0001-01-04-00000"),
}
"""Last step, step of the stop, and the time of the stop."""


def hybrid(folder: Path, name: str = "case", package: str = SLOW, **run: object) -> Path:
    """Write the namelist of a run with a package."""
    return emulator(namelist(folder, name, **run), package=package)


def check_ranks_and_restart(folder: Path) -> Path:
    """A run on one rank, and one on two that stops and goes on, write the same bytes.

    Return the restart of the stop.
    """
    n_step, stop, stamp = STEPS[PART]
    settings = {"restart_every_steps": stop}
    whole, parts = folder / "whole", folder / "parts"
    for place in (whole, parts):
        place.mkdir()
    finished(hybrid(whole, n_step=n_step, **settings), 1)
    finished(hybrid(parts, n_step=stop, **settings), 2)
    restart = parts / f"out/restart/case.r.{stamp}.nc"
    resumed = hybrid(parts, n_step=n_step, restart_from=str(restart), **settings)
    finished(resumed, 3 if PART == "hours" else 2)
    assert_same_files(whole / "out", parts / "out")
    return restart


def check_what_is_carried(restart: Path) -> None:
    """The restart holds the memory of every column, each another, and whose it is."""
    with netCDF4.Dataset(restart) as data:
        state = np.asarray(data["carried_state"][:])
        assert state.shape == (512, 121), state.shape
        assert len(data.carried_state_of_sha256) == 64
    assert not state[:, 0].any(), "no column begins"
    assert np.array_equal(state, state.astype(np.float32)), "what a network gives is float32"
    assert np.ptp(state[:, 1:], axis=0).min() > 1e-3


def check_memory_matters(folder: Path, restart: Path) -> None:
    """Without its memory the same run goes another way."""
    emptied, forgetful = folder / "emptied", folder / "forgetful.nc"
    emptied.mkdir()
    forgetful.write_bytes(restart.read_bytes())
    with netCDF4.Dataset(forgetful, "a") as data:
        data["carried_state"][:, 1:] = 0.0
    finished(hybrid(emptied, n_step=STEPS[PART][0], restart_from=str(forgetful)))
    states = []
    for place in (folder / "whole", emptied):
        last = max((place / "out/restart").glob("*.nc"))
        with netCDF4.Dataset(last) as data:
            states.append(np.asarray(data["carried_state"][:, 1:]))
    assert np.abs(states[0] - states[1]).max() > 1e-2


def check_branches(folder: Path, restart: Path) -> None:
    """A run that branches off from one without this package begins anew, and says so."""
    reference = folder / "reference"
    reference.mkdir()
    finished(namelist(reference, n_step=1))
    (alone,) = (reference / "out/restart").glob("*.nc")
    with netCDF4.Dataset(alone) as data:
        assert "carried_state" not in data.variables, "a run without memory keeps none"
    other = f"{FIXTURES}/climsim_memory.pt"
    branches = (("alone", alone, SLOW, 2), ("other", restart, other, STEPS[PART][1] + 1))
    for name, start, package, n_step in branches:
        place = folder / name
        place.mkdir()
        done = run(hybrid(place, package=package, n_step=n_step, restart_from=str(start)))
        said = f"carried state begins anew: {start} holds none of this package"
        assert said in done.stdout, done.stdout + done.stderr


def check_spoilt_restart(folder: Path, restart: Path) -> None:
    """A restart whose numbers are no state is refused."""
    spoilt = folder / "spoilt.nc"
    spoilt.write_bytes(restart.read_bytes())
    with netCDF4.Dataset(spoilt, "a") as data:
        data["carried_state"][500, 0] = 0.5
    message = f"{spoilt}: rank 1: carried state: unpack_state: "
    refused(hybrid(folder, "spoilt", restart_from=str(spoilt)), message, ranks=2)


def main() -> None:
    """Run one part in a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        restart = check_ranks_and_restart(folder)
        check_what_is_carried(restart)
        if PART == "hours":
            check_memory_matters(folder, restart)
            check_branches(folder, restart)
            check_spoilt_restart(folder, restart)


if __name__ == "__main__":
    main()
