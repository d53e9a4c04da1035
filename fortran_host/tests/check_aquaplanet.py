"""Runs climlink-aquaplanet as a user would: decompositions, restarts, faults.

check_aquaplanet.py PART PROGRAM LEVELS FIXTURES MPIEXEC... with PART one of the keys of CHECKS.

The packages of FIXTURES multiply inputs by gains (fortran_bridge/tests/make_bridge_fixtures.py).
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import filecmp
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import netCDF4
import numpy as np
import yaml

PART, PROGRAM, LEVELS, FIXTURES, *MPIEXEC = sys.argv[1:]
STEPS_PER_DAY = 72


def namelist(folder: Path, name: str = "case", **run: object) -> Path:
    """Write the namelist of a short T10 run that goes to ``folder``/out."""
    levels = yaml.safe_load(Path(LEVELS).read_text())
    entries = {
        "case_name": "case",
        "output_directory": str(folder / "out"),
        "n_step": 2 * STEPS_PER_DAY,
        "restart_every_steps": STEPS_PER_DAY,
        "identity": "test",
        **run,
    }
    (folder / "out").mkdir(exist_ok=True)
    path = folder / f"{name}.nml"
    path.write_text(
        "&run\n"
        + "".join(f" {key} = {value!r}\n" for key, value in entries.items())
        + "/\n&levels\n"
        + "".join(f" {key} = {', '.join(map(repr, levels[key]))}\n" for key in ("hyai", "hybi"))
        + f" p0 = {levels['p0_pa']!r}\n/\n"
        + (
            "&output climsim_every_steps = 24, history_hourly = .true. /\n"
            if run.get("physics", "moist") == "moist"
            else ""
        )
    )
    return path


def run(path: Path, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    """Run the program on a namelist."""
    command = [*MPIEXEC, str(ranks), PROGRAM, str(path)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def finished(path: Path, ranks: int = 1) -> None:
    """Run and insist on success."""
    result = run(path, ranks)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "outcome finished" in result.stdout, result.stdout


def assert_same_files(first: Path, second: Path) -> None:
    """Both folders hold the same files, byte for byte."""
    names = sorted(str(f.relative_to(first)) for f in first.rglob("*") if f.is_file())
    assert names == sorted(str(f.relative_to(second)) for f in second.rglob("*") if f.is_file()), (
        first,
        second,
    )
    assert len(names) > 3, names
    _, different, failed = filecmp.cmpfiles(first, second, names, shallow=False)
    assert (different, failed) == ([], []), (different, failed)


def check_ranks(folder: Path) -> None:
    """1, 2 and 4 ranks write the same bytes."""
    for ranks in (1, 2, 4):
        place = folder / str(ranks)
        place.mkdir()
        finished(namelist(place, n_step=STEPS_PER_DAY), ranks)
    for ranks in (2, 4):
        assert_same_files(folder / "1/out", folder / f"{ranks}/out")


def check_restart(folder: Path) -> None:
    """Two days in one go and one day and another, on another number of ranks, write the same
    bytes.
    """
    whole, parts = folder / "whole", folder / "parts"
    for place in (whole, parts):
        place.mkdir()
    finished(namelist(whole))
    finished(namelist(parts, n_step=STEPS_PER_DAY), 2)
    restart = parts / "out/restart/case.r.0001-01-02-00000.nc"
    finished(namelist(parts, restart_from=str(restart)), 3)
    assert_same_files(whole / "out", parts / "out")
    branch = folder / "branch"
    branch.mkdir()
    finished(namelist(branch, restart_from=str(restart)), 2)
    head, *rows = (whole / "out/budgets.csv").read_text().splitlines()
    assert (branch / "out/budgets.csv").read_text().splitlines() == [head, *rows[STEPS_PER_DAY:]]


def read_budgets(folder: Path) -> list[dict[str, float]]:
    """Return the rows of a run's budgets.csv."""
    with (folder / "out/budgets.csv").open() as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def check_budgets(folder: Path) -> None:
    """What the reference physics makes is what crosses its boundaries; mass and water are kept;
    nothing is negative.
    """
    finished(namelist(folder), 2)
    rows = read_budgets(folder)
    assert len(rows) == 2 * STEPS_PER_DAY
    for before, row in itertools.pairwise(rows):
        # Sums over 60 levels and 512 columns of terms of 1e9 J/m2 lose some 1e-7 J/m2 per step of
        # 1200 s.
        assert abs(row["emulated_energy_residual_W_m2"]) < 1e-6, row
        assert abs(row["emulated_water_residual_mm_day"]) < 1e-9, row
        assert abs(row["emulated_torque_N_m"]) < 1e-3 * 6.4e6, row
        assert abs(row["transport_water_mm_day"]) < 1e-8, row
        assert row["limiter_water_mm_day"] == 0.0, row
        assert abs(row["surface_pressure_Pa"] - rows[0]["surface_pressure_Pa"]) < 1e-8, row
        change = (row["energy_J_m2"] - before["energy_J_m2"]) / 1200.0
        assert abs(change - (row["toa_net_W_m2"] - row["surface_net_W_m2"])) < 1e-4, (change, row)
        water = (row["water_kg_m2"] - before["water_kg_m2"]) * STEPS_PER_DAY
        assert abs(water - (row["evaporation_mm_day"] - row["precipitation_mm_day"])) < 1e-6, (
            water,
            row,
        )


def check_dry(folder: Path) -> None:
    """Rest stays at rest; Held and Suarez' forcing runs; half the time step makes the same day."""
    finished(
        namelist(
            folder,
            physics="none",
            initial="rest_isothermal",
            perturbation_k=0.0,
            n_step=STEPS_PER_DAY,
        )
    )
    finished(
        namelist(folder, "hs", physics="held_suarez", initial="rest_isothermal", case_name="hs")
    )
    days = []
    for steps in (STEPS_PER_DAY, 2 * STEPS_PER_DAY):
        place = folder / str(steps)
        place.mkdir()
        wave = {"physics": "none", "initial": "baroclinic_wave", "perturbation_k": 0.0}
        finished(namelist(place, n_step=steps, time_step_s=86400.0 / steps, **wave))
        with netCDF4.Dataset(place / "out/history/case.eam.h1.0001-01-01-00000.nc") as data:
            days.append(data["T"][...])
    # Leapfrog and filter err by some 0.1 K; two days in one differ by 2 K.
    assert np.abs(days[1] - days[0]).max() < 0.3, np.abs(days[1] - days[0]).max()


# History fields that are what a pair has of the same step, as (file, name); T, U and V are those
# before the host's own part, whose changes in a step are smaller than what tells them apart.
SAME_IN_PAIR = {
    "PRECT": ("mlo", "cam_out_PRECC"),
    "PRECSC": ("mlo", "cam_out_PRECSC"),
    "FSNS": ("mlo", "cam_out_NETSW"),
    "FLDS": ("mlo", "cam_out_FLWDS"),
    "SOLSD": ("mlo", "cam_out_SOLSD"),
    "SOLLD": ("mlo", "cam_out_SOLLD"),
    "SOLIN": ("mli", "pbuf_SOLIN"),
    "LHFLX": ("next", "pbuf_LHFLX"),
    "SHFLX": ("next", "pbuf_SHFLX"),
    "TAUX": ("next", "pbuf_TAUX"),
    "TAUY": ("next", "pbuf_TAUY"),
}
TENDENCIES = {"DTPHYS": "t", "DUPHYS": "u", "DVPHYS": "v"} | {
    f"DQ{k}PHYS": f"q000{k}" for k in (1, 2, 3)
}
STATE = {"T": "t", "U": "u", "V": "v", "Q": "q0001", "CLDLIQ": "q0002", "CLDICE": "q0003"}


def check_history(folder: Path) -> None:
    """Every field of history is what the pairs have under its name, of the same step."""
    path = namelist(folder, n_step=STEPS_PER_DAY + 1)
    wanted = "history_daily_instantaneous = .true., climsim_from_step = 72, climsim_every_steps = 1"
    path.write_text(path.read_text().replace("climsim_every_steps = 24", wanted))
    finished(path)
    pairs = folder / "out/climsim/train/0001-01"
    with contextlib.ExitStack() as files:
        opened = {
            key: files.enter_context(netCDF4.Dataset(pairs / f"E3SM-MMF.{kind}.{stamp}.nc"))
            for key, kind, stamp in (
                ("mli", "mli", "0001-01-02-00000"),
                ("mlo", "mlo", "0001-01-02-00000"),
                ("next", "mli", "0001-01-02-01200"),
            )
        }
        daily = folder / "out/history/case.eam.h1.0001-01-01-00000.nc"
        history = files.enter_context(netCDF4.Dataset(daily))
        field = {name: np.asarray(v[0]) for name, v in history.variables.items() if v.ndim > 1}
        for name, (file, variable) in SAME_IN_PAIR.items():
            assert np.array_equal(field[name], np.float32(opened[file][variable][...])), name
        mli, mlo = opened["mli"], opened["mlo"]
        for name, state in TENDENCIES.items():
            change = (mlo[f"state_{state}"][...] - mli[f"state_{state}"][...]) / 1200.0
            # The state's rounding over the time step, and that of the file.
            noise = np.abs(mli[f"state_{state}"][...]).max() * 1e-18 + 1e-6 * np.abs(change).max()
            assert np.abs(field[name] - change).max() < noise, name
        longwave = mli["cam_in_LWUP"][...] - mlo["cam_out_FLWDS"][...]
        assert np.array_equal(field["FLNS"], np.float32(longwave))
        for name, state in STATE.items():
            near = np.abs(field[name] - mlo[f"state_{state}"][...]).mean()
            others = [
                np.abs(field[n] - mlo[f"state_{state}"][...]).mean() for n in set(STATE) - {name}
            ]
            assert near < min(others), name
        assert_paths(field, history)


def assert_paths(field: dict[str, np.ndarray], history: netCDF4.Dataset) -> None:
    """Water paths are the masses of the profiles, heights rise by the hypsometric equation."""
    p = 1e5 * history["hyai"][:][:, None] + history["hybi"][:][:, None] * field["PS"]
    mass = np.diff(p, axis=0) / 9.80616
    for path, profile in (("TMQ", "Q"), ("TGCLDLWP", "CLDLIQ"), ("TGCLDIWP", "CLDICE")):
        # Profiles are rounded to real32, those below its smallest normal number to nearly nothing.
        atol = np.finfo(np.float32).tiny * mass.sum(axis=0).max()
        expected = (mass * field[profile]).sum(axis=0)
        np.testing.assert_allclose(field[path], expected, rtol=1e-5, atol=atol)
    assert np.all(np.diff(field["Z3"], axis=0) < 0.0)
    assert np.abs(field["OMEGA"]).max() < 10.0  # Pa/s
    assert 260.0 < field["TS"].min() < field["TS"].max() < 305.0
    assert 0.0 <= field["FSNT"].min() < 1.0, "no night"
    assert field["FLUT"].min() > 50.0, "longwave never ends"


def refused(path: Path, message: str, code: int = 1, ranks: int = 1) -> None:
    """Run and insist on this failure."""
    result = run(path, ranks)
    assert result.returncode == code, (result.returncode, result.stderr, result.stdout)
    assert message in result.stderr, result.stderr


def emulator(path: Path, **entries: object) -> Path:
    """Add an emulator to a namelist; an entry of several texts is a list."""
    values = {k: v if isinstance(v, list) else [v] for k, v in entries.items()}
    text = (
        path.read_text()
        + "&emulator\n"
        + "".join(f" {key} = {', '.join(map(repr, value))}\n" for key, value in values.items())
        + "/\n"
    )
    path.write_text(text)
    return path


def check_hybrid(folder: Path) -> None:
    """A run with lagged inputs, blended: the same bytes on other ranks and over a restart in the
    middle of the ramp.
    """
    entries = {
        "package": f"{FIXTURES}/climsim_v4.pt",
        "spin_up_steps": 36,
        "ramp": "linear",
        "ramp_factor": 0.05,
        "ramp_steps": 60,
    }
    whole, parts = folder / "whole", folder / "parts"
    for place in (whole, parts):
        place.mkdir()
    finished(emulator(namelist(whole), **entries), 2)
    finished(emulator(namelist(parts, n_step=STEPS_PER_DAY), **entries))
    restart = parts / "out/restart/case.r.0001-01-02-00000.nc"
    finished(emulator(namelist(parts, restart_from=str(restart)), **entries), 3)
    assert_same_files(whole / "out", parts / "out")
    alone = folder / "alone"
    alone.mkdir()
    finished(namelist(alone))
    name = "climsim/train/0001-01/E3SM-MMF.mlo.0001-01-02-30000.nc"
    assert (alone / "out" / name).read_bytes() != (whole / "out" / name).read_bytes(), (
        "the emulator changed nothing"
    )


STATE_OF_PAIRS = ("t", "q0001", "q0002", "q0003", "u", "v")


def first_pair(folder: Path) -> dict[str, np.ndarray]:
    """Return what the emulated part made in a run's first pair: states [level, column] and rain."""
    pair = min((folder / "out").glob("climsim/train/*/*.mlo.*.nc"))
    with netCDF4.Dataset(pair) as data:
        names = [f"state_{name}" for name in STATE_OF_PAIRS] + ["cam_out_PRECC"]
        return {name: np.asarray(data[name][...]) for name in names}


def check_levels(folder: Path) -> None:
    """In the first step of a partial run, levels above a pressure are the host's physics and those
    below the emulator's, bit for bit; budgets close; ranks and a restart change no byte.
    """
    levels = yaml.safe_load(Path(LEVELS).read_text())
    edges = levels["p0_pa"] * np.array(levels["hyai"]) + 1e5 * np.array(levels["hybi"])
    below, number = (edges[:-1] + edges[1:]) / 2 >= 20000.0, np.arange(1, 61)
    entries = {"package": f"{FIXTURES}/climsim_v4.pt", "spin_up_steps": 42}
    variables = ["all(200 hPa:)", "ptend_u(:5,30:40)", "ptend_v(60)"]
    partial = {**entries, "mode": "partial", "variables": variables}
    pairs = ("climsim_every_steps = 24", "climsim_every_steps = 1, climsim_from_step = 43")

    def made(
        name: str, ranks: int, coupling: dict[str, object], n_step: int, **more: object
    ) -> Path:
        place = folder / name
        place.mkdir(exist_ok=True)
        path = namelist(place, **{"n_step": n_step, "restart_every_steps": 4, **more})
        path.write_text(path.read_text().replace(*pairs))
        finished(emulator(path, **coupling), ranks)
        return place

    own = made("own", 2, {}, 43, restart_every_steps=40)  # clouds have formed by then
    start = {"restart_from": f"{own}/out/restart/case.r.0001-01-01-48000.nc"}
    mixed = made("mixed", 1, partial, 46, **start)
    network = made("network", 2, entries, 43, **start)
    got, host, emulated = (first_pair(place) for place in (mixed, own, network))
    where = dict.fromkeys(STATE_OF_PAIRS, below)
    where |= {"u": (number <= 5) | ((number >= 30) & (number <= 40)), "v": number == 60}
    for name, chosen in where.items():
        name = f"state_{name}"
        assert np.array_equal(got[name][~chosen], host[name][~chosen]), name
        assert np.array_equal(got[name][chosen], emulated[name][chosen]), name
        assert not np.array_equal(host[name][chosen], emulated[name][chosen]), name
    assert np.array_equal(got["cam_out_PRECC"], emulated["cam_out_PRECC"])
    parts = made("parts", 2, partial, 44, **start)
    restart = f"{parts}/out/restart/case.r.0001-01-01-52800.nc"
    assert_same_files(mixed / "out", made("parts", 3, partial, 46, restart_from=restart) / "out")
    rows = read_budgets(mixed)
    for before, row in itertools.pairwise(rows):
        # As in check_budgets; what the emulated part makes from nothing is told apart.
        change = (row["energy_J_m2"] - before["energy_J_m2"]) / 1200.0
        net = row["toa_net_inferred_W_m2"] - row["surface_net_W_m2"]
        assert abs(change - net) < 1e-4, (change, row)
        water = (row["water_kg_m2"] - before["water_kg_m2"]) * STEPS_PER_DAY
        sources = row["evaporation_mm_day"] - row["precipitation_mm_day"]
        sources += row["emulated_water_residual_mm_day"] + row["limiter_water_mm_day"]
        assert abs(water - sources) < 1e-6, (water, sources, row)
    refused(
        emulator(namelist(folder, "bad"), **entries, mode="partial", variables="ptend_t(20:61)"),
        "/emulator/ ptend_t(20:61): there is no level 61. The host has levels 1 to 60, at "
        "reference pressures of 7.83 to 99264 Pa",
        ranks=2,
    )


def check_shadow(folder: Path) -> None:
    """In shadow mode the run is the reference's, and the emulator's answers are recorded beside
    it.
    """
    shadow, alone = folder / "shadow", folder / "alone"
    for place in (shadow, alone):
        place.mkdir()
    finished(
        emulator(
            namelist(shadow, n_step=STEPS_PER_DAY),
            package=f"{FIXTURES}/climsim_q.pt",
            mode="shadow",
        ),
        2,
    )
    finished(namelist(alone, n_step=STEPS_PER_DAY))
    for name in (
        "restart/case.r.0001-01-02-00000.nc",
        "climsim/train/0001-01/E3SM-MMF.mlo.0001-01-01-30000.nc",
    ):
        assert (shadow / "out" / name).read_bytes() == (alone / "out" / name).read_bytes(), name
    pair = shadow / "out/climsim/shadow/0001-01/E3SM-MMF.mlo.0001-01-01-30000.nc"
    assert pair.read_bytes() != (alone / "out/climsim/train/0001-01" / pair.name).read_bytes()


def check_broken(folder: Path) -> None:
    """An emulator that fails is reported with day, rank, column and variable; what was written
    stays good.

    One overflows on the second day, one returns NaN on the third, one has random weights and drives
    the model out of its bounds.
    """
    for package, spin_up, parts in (
        ("climsim_overflow", 100, ("on day 1.4", "rank ", "column ", "ptend_v")),
        (
            "climsim_nan",
            2 * STEPS_PER_DAY,
            (
                "on day 2.0",
                "rank ",
                "column ",
                "ptend_q0001",
                "level 10",
                "(column 1 of this rank is column 1 of the 512 of the model)",
            ),
        ),
        ("climsim_random", STEPS_PER_DAY, ("on day ", "column ")),
    ):
        place = folder / package
        place.mkdir()
        n_step = 6 * STEPS_PER_DAY
        result = run(
            emulator(
                namelist(place, n_step=n_step),
                package=f"{FIXTURES}/{package}.pt",
                spin_up_steps=spin_up,
            ),
            2,
        )
        assert result.returncode == 3, (package, result.returncode, result.stderr, result.stdout)
        assert "outcome blown_up" in result.stdout, result.stdout
        for part in parts:
            assert part in result.stderr, (package, part, result.stderr)
        restart = place / "out/restart/case.r.0001-01-02-00000.nc"
        again = place / "again"
        again.mkdir()
        finished(namelist(again, restart_from=str(restart)))


def check_rows(folder: Path) -> None:
    """Who goes on from an older restart finds later rows: they are cut, also half ones; none comes
    twice.

    Rows that are missing before the restart are no small thing: the run says so and writes nothing.
    """
    whole, behind = folder / "whole", folder / "behind"
    settings = {"n_step": 12, "restart_every_steps": 6}
    for place in (whole, behind):
        place.mkdir()
        finished(namelist(place, **settings))
    budgets = behind / "out/budgets.csv"
    rows = budgets.read_text()
    again = namelist(
        behind, restart_from=str(behind / "out/restart/case.r.0001-01-01-07200.nc"), **settings
    )
    for left in (rows + "1", rows.rsplit("\n", 4)[0] + "\n10, 1.0"):
        budgets.write_text(left)
        finished(again, 2)
        assert budgets.read_text() == rows
    assert_same_files(whole / "out", behind / "out")
    short = "".join(line + "\n" for line in rows.splitlines()[:5])
    budgets.write_text(short)
    refused(again, "follows step 6, the last row before is of step 4")
    assert budgets.read_text() == short
    budgets.unlink()
    finished(again)
    head, *lines = rows.splitlines()
    assert budgets.read_text().splitlines() == [head, *lines[6:]]


def check_kills(folder: Path) -> None:
    """A run that is killed hard at random moments, and resumed, writes an undisturbed one's
    bytes.
    """
    settings = {"n_step": 36, "restart_every_steps": 6}
    whole = folder / "whole"
    whole.mkdir()
    begin = time.monotonic()
    finished(namelist(whole, **settings), 2)
    length_s = time.monotonic() - begin
    moments = random.Random(11)
    n_kill, place = 0, folder / "killed0"
    while n_kill < int(os.environ.get("CLIMLINK_KILLS", "3")):
        place.mkdir(exist_ok=True)
        restarts = place / "out/restart"
        # From before the first new restart until after the third, at any phase of what lies
        # between.
        begun = len(list(restarts.glob("*.nc"))) + moments.randrange(4)
        job = start(resumed(place, lock_file=str(place / "lock"), **settings), 2)
        while job.poll() is None and len(list(restarts.glob("*.nc"))) < begun:
            time.sleep(0.001)
        time.sleep(moments.uniform(0.0, length_s / 12))
        n_kill += job.poll() is None
        for pid in children(job.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        job.kill()
        message = job.communicate(timeout=60)[1]
        assert job.returncode in (0, -signal.SIGKILL), message
        wait_for_lock(place / "lock")
        # Once it has come to its end, the next kills meet another run.
        if (place / "out/restart/case.r.0001-01-01-43200.nc").exists():
            assert_same_files(whole / "out", place / "out")
            place = folder / f"killed{n_kill}"
    if place.exists():
        finished(resumed(place, **settings), 2)
        assert_same_files(whole / "out", place / "out")


def resumed(folder: Path, **run: object) -> Path:
    """Write the namelist of a run that goes on from its newest restart, if there is one."""
    restarts = sorted((folder / "out/restart").glob("*.nc"))
    return namelist(folder, **run, **({"restart_from": str(restarts[-1])} if restarts else {}))


def start(path: Path, ranks: int) -> subprocess.Popen[str]:
    """Start the program on a namelist."""
    command = [*MPIEXEC, str(ranks), PROGRAM, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def wait_for_lock(path: Path) -> None:
    """Wait until no rank holds a lock: they end by themselves when the launcher is gone."""
    deadline = time.monotonic() + 60
    while path.exists():
        with path.open("r+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline, "the ranks live on without their launcher"
                time.sleep(0.05)
            else:
                return


def check_lock(folder: Path) -> None:
    """All ranks hold the folder: a second job is refused, also when only rank 1 is left of the
    first.
    """
    lock = {"lock_file": str(folder / "lock")}
    job = start(namelist(folder, n_step=200 * STEPS_PER_DAY, restart_every_steps=1, **lock), 2)
    second = namelist(folder, "second", n_step=1, **lock)
    try:
        while not list((folder / "out/restart").glob("*.nc")):
            assert job.poll() is None, job.communicate()
            time.sleep(0.05)
        refused(second, f"{folder}/lock: another job is running in this folder", ranks=2)
        ranks = children(job.pid)
        assert len(ranks) == 2, ranks
        for pid in (job.pid, ranks[1]):  # the launcher would end rank 1 after rank 0
            os.kill(pid, signal.SIGSTOP)
        os.kill(ranks[0], signal.SIGKILL)
        refused(second, "another job is running in this folder")
        os.kill(ranks[1], signal.SIGKILL)
    finally:
        job.kill()
    wait_for_lock(folder / "lock")
    finished(second)
    absent = namelist(folder, "absent", lock_file=str(folder / "absent/lock"))
    refused(absent, "absent/lock: cannot be locked (No such file or directory)")


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [
        int(p)
        for p in subprocess.run(
            ["pgrep", "-P", str(pid)], capture_output=True, text=True
        ).stdout.split()
    ]


def check_killed(folder: Path) -> None:
    """A rank that is killed ends the run with a message; the last restart is good, and the run goes
    on from it as if nothing had been.
    """
    whole, killed = folder / "whole", folder / "killed"
    for place in (whole, killed):
        place.mkdir()
    finished(namelist(whole))
    restart = killed / "out/restart/case.r.0001-01-02-00000.nc"
    path = namelist(killed, n_step=200 * STEPS_PER_DAY)
    job = start(path, 2)
    try:
        while not restart.exists():
            assert job.poll() is None, "the run ended before its first restart"
            time.sleep(0.1)
        ranks = children(job.pid)
        assert len(ranks) == 2, ranks
        os.kill(ranks[1], signal.SIGKILL)
        message = job.communicate(timeout=60)[1]
    finally:
        job.kill()
    assert job.returncode != 0, message
    assert "signal 9" in message, message
    finished(namelist(killed, restart_from=str(restart)))
    name = "restart/case.r.0001-01-03-00000.nc"
    assert (whole / "out" / name).read_bytes() == (killed / "out" / name).read_bytes()


def check_faults(folder: Path) -> None:
    """Every wrong input is refused with its reason, and what was written before stays."""
    good = namelist(folder, n_step=STEPS_PER_DAY)
    finished(good)
    restart = folder / "out/restart/case.r.0001-01-02-00000.nc"
    kept = restart.read_bytes()
    text = good.read_text()
    bad = folder / "bad.nml"
    for wrong, message in (
        (text.replace(" identity", " identitty"), "identitty"),
        (text.replace("&output", "&ouput"), "there is no group /ouput/"),
        (text.replace("n_step = 72", "n_step = 0"), "n_step must be 1 or more"),
        (text.replace("&output", "&emulator package = 'missing.pt' /\n&output"), "missing.pt"),
        (text.replace("&run", "&run truncation = 11"), "truncation must be 10, 21 or 42"),
        (
            text.replace("&output", f"&emulator package = '{FIXTURES}/climsim_26.pt' /\n&output"),
            "26",
        ),
        (
            text.replace(
                "&output", f"&emulator package = '{FIXTURES}/climsim_unknown.pt' /\n&output"
            ),
            "inputs that the host does not give: state_omega",
        ),
        (
            text.replace("&output", f"&emulator package = '{FIXTURES}/climsim_v4.pt' /\n&output"),
            "spin_up_steps",
        ),
        (
            text.replace(
                "&output", f"&emulator package = '{FIXTURES}/climsim_mm_day.pt' /\n&output"
            ),
            "cam_out_PRECC (host m/s, package mm/day)",
        ),
        (
            text.replace(
                "&output",
                f"&emulator package = '{FIXTURES}/climsim_q.pt', mode='partial', "
                "variables='ptend_x' /\n&output",
            ),
            "ptend_x",
        ),
    ):
        assert wrong != text
        bad.write_text(wrong)
        refused(bad, message, ranks=2)
    refused(
        namelist(folder, "later", restart_from=str(restart), n_step=STEPS_PER_DAY),
        "after the last step",
    )
    refused(namelist(folder, "other", restart_from=str(restart), identity="other"), str(restart))
    refused(namelist(folder, "foreign", restart_from=str(good)), str(good))
    short = folder / "short.nc"
    short.write_bytes(kept[: len(kept) // 2])
    refused(namelist(folder, "short", restart_from=str(short)), "truncated")
    refused(folder / "absent.nml", "absent.nml")
    usage = subprocess.run([PROGRAM], capture_output=True, text=True)
    assert usage.returncode == 2, usage
    assert "usage" in usage.stderr, usage
    assert restart.read_bytes() == kept


CHECKS = {
    "ranks": check_ranks,
    "restart": check_restart,
    "budgets": check_budgets,
    "dry": check_dry,
    "history": check_history,
    "faults": check_faults,
    "hybrid": check_hybrid,
    "levels": check_levels,
    "shadow": check_shadow,
    "broken": check_broken,
    "killed": check_killed,
    "kills": check_kills,
    "lock": check_lock,
    "rows": check_rows,
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        CHECKS[PART](Path(scratch))
