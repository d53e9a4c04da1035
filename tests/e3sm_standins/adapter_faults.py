"""What the adapter says: one message where something is wrong, and the counters of its log."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from adapter_bench import N_COLUMN, Bench, compare
from make_adapter_fixtures import write_mixed
from reference_model import Model, Settings


def check_counters(bench: Bench) -> None:
    """One line from the master at each interval, with the same sums whatever the ranks; a day where
    the namelist gives no interval.
    """
    package = bench.folder / "v2.pt"
    write_mixed(package, "host_v2_q", scale=1e5)
    emulator = {
        "climlink_package": str(package),
        "cb_spinup_step": 1,
        "climlink_legacy": True,
        "climlink_log_steps": 2,
    }
    lines = counter_lines(bench.start(emulator, 1, n_step=5, n_chunk=2))
    assert lines == counter_lines(bench.start(emulator, 3, n_step=5, n_chunk=3))
    expected = Model(bench.columns, package, Settings(spin_up=1, legacy=True)).run(5)
    assert lines == [counter_line(expected, 0, 2), counter_line(expected, 2, 4)]
    assert "heat added 0.0" not in lines[1]
    plain = {"climlink_package": str(package), "cb_spinup_step": 0}
    assert counter_lines(bench.start(plain, 1, n_step=1, folder_out=str(bench.folder))) == []
    late = {
        "first_step": 70,
        "run_type": 3,
        "folder_in": str(bench.folder),
    }  # two steps before the end of a day
    day = counter_lines(bench.start(plain, 2, n_step=5, **late))
    assert day == ["mmf_nn_emulator: to step 71: answered in 2 of 2 steps, 26 columns"]
    assert (
        counter_lines(bench.start({**plain, "climlink_log_steps": -1}, 1, n_step=4, **late)) == []
    )


def counter_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines with counters in the log of a run."""
    assert done.returncode == 0, done.stderr
    return [
        line for line in done.stdout.splitlines() if line.startswith("mmf_nn_emulator: to step")
    ]


def counter_line(expected: list[dict[str, Any]], first: int, end: int) -> str:
    """Return the line of the steps ``first`` to ``end`` - 1 of a run in legacy mode."""
    counts = [record["counts"] for record in expected[first:end] if "counts" in record]
    area = np.array([1 + 0.25 * (i % 3) for i in range(1, N_COLUMN + 1)])

    def total(name: str) -> int:
        return int(sum(c[name].sum() for c in counts))

    def mean(name: str) -> str:
        return f"{sum((area * c[name]).sum() for c in counts) / (len(counts) * area.sum()):.5E}"

    return (
        f"mmf_nn_emulator: to step {end - 1}: answered in {len(counts)} of {end - first} steps, "
        f"{N_COLUMN * len(counts)} columns; surface fields clipped {total('NN_CLIPPED')}, levels "
        f"limited {total('NN_LIMITED')}, heat added {mean('NN_LIMITER_HEAT')} W/m2, water added "
        f"{mean('NN_LIMITER_WATER')} kg/m2/s"
    )


def check_traps(bench: Bench) -> None:
    """A model built with traps for invalid operations, division by zero and overflow runs on, and
    what is wrong is a message as ever.
    """
    program = bench.trapping_program
    for set_name, legacy in (("host_v4_rh", False), ("host_v6_q", True)):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name, confidence=True)
        emulator = {
            "climlink_package": str(package),
            "cb_spinup_step": 2,
            "climlink_legacy": legacy,
            "climlink_log_steps": 2,
        }
        expected = Model(bench.columns, package, Settings(spin_up=2, legacy=legacy)).run(4)
        assert compare(bench.run(emulator, 2, program, n_step=4, n_chunk=3), expected, package) == 2
    ok = {"climlink_package": str(bench.fixtures / "climsim_masked.pt"), "cb_spinup_step": 0}
    bench.run(ok, 2, program, n_step=2)
    require_one_message(bench.start(ok, 2, program, poison=4), "send: cam_in_LWUP: column 2: NaN")
    nan = {**ok, "climlink_package": str(bench.fixtures / "climsim_nan.pt")}
    require_one_message(bench.start(nan, 2, program), "ptend_q0001")
    unwritten = bench.folder / "unwritten"
    unwritten.mkdir()
    bench.run({**ok, "cb_spinup_step": 5}, 1, program, n_step=2, folder_out=str(unwritten))
    for path in unwritten.glob("NN_START.*"):
        path.write_bytes(np.array([np.nan]).tobytes())
    restart = {"run_type": 1, "first_step": 2, "folder_in": str(unwritten)}
    require_one_message(bench.start(ok, 2, program, **restart), "hold no memory of the emulator")


Case = tuple[
    dict[str, Any], dict[str, Any], str
]  # entries, the driver's own settings, what the message holds


def faults_of_entries(lagged: Path) -> list[Case]:
    """Entries that do not exist, do not fit each other or do not fit the package."""
    partial = {"cb_partial_coupling": True, "cb_partial_coupling_vars": ["ptend_t"]}
    v4 = {"climlink_package": str(lagged), "cb_spinup_step": 2}
    return [
        ({"climlink_packge": "x"}, {}, "climlink_packge"),
        ({"cb_spinup_step": "many"}, {}, "cannot be read"),
        ({"inputlength": 1525}, {}, "inputlength is 1525, but the package takes 557 inputs"),
        (
            {**v4, "inputlength": 557, "cb_nn_var_combo": "v4"},
            {},
            "inputlength is 557, but the package takes 1525 inputs",
        ),
        ({"outputlength": 676}, {}, "outputlength is 676, but the package gives 368 outputs"),
        ({"input_rh": True}, {}, "input_rh is .true., but the package takes specific humidity"),
        (
            {"cb_nn_var_combo": "v4"},
            {},
            "cb_nn_var_combo is 'v4', but the package takes the inputs of v2",
        ),
        (
            {**v4, "cb_nn_var_combo": "v6"},
            {},
            "cb_nn_var_combo is 'v6', but the package takes the inputs of v4",
        ),
        (
            {"cb_nn_var_combo": "v9"},
            {},
            "cb_nn_var_combo is 'v9', but the package takes the inputs of v2",
        ),
        (
            {"cb_nn_var_combo": "v2_conf"},
            {},
            "cb_nn_var_combo is 'v2_conf', but the package takes the inputs of v2 and gives no",
        ),
        (
            {"cb_use_cuda": True},
            {},
            "cb_use_cuda is .true., but climlink_device is 'cpu': leave one of them out",
        ),
        (
            {"cb_use_cuda": False, "climlink_device": "cuda:0"},
            {},
            "cb_use_cuda is .false., but climlink_device is 'cuda:0'",
        ),
        (
            {"climlink_rh_arithmetic": "single"},
            {},
            "climlink_rh_arithmetic must be 'exact' or 'legacy', not 'single'",
        ),
        (
            {**v4, "cb_spinup_step": 1},
            {},
            "lagged inputs need 2 steps of the host's own physics first: set cb_spinup_step to 2 "
            "or more, not 1",
        ),
        (
            {"climlink_device": "gpu"},
            {},
            'climlink_device: rank 0: set: option device is "gpu"; expected "cpu", "cuda", ',
        ),
        (
            {"climlink_threads": 0},
            {},
            'climlink_threads: rank 0: set: option threads is "0"; expected an integer, 1 or more',
        ),
        (
            {"climlink_micro_batch": 1},
            {},
            'climlink_micro_batch: rank 0: set: option micro_batch is "1"; expected an integer, 2',
        ),
        (
            {"climlink_group_size": -1},
            {},
            'climlink_group_size: rank 0: set: option group_size is "-1"; expected an integer, the',
        ),
        (
            {"climlink_group_timeout_s": -1},
            {},
            'climlink_group_timeout_s: rank 0: set: option group_timeout_s is "-1"; expected an',
        ),
        (
            {"climlink_package_digest": "abc"},
            {},
            'climlink_package_digest: rank 0: set: option pinned_sha256 is "abc"',
        ),
        ({"cb_do_ramp": True}, {}, "cb_do_ramp acts in partial coupling only"),
        ({"cb_strato_water_constraint": True}, {}, "set climlink_legacy"),
        ({"cb_partial_coupling": True}, {}, "partial coupling needs variables"),
        ({**partial, "cb_partial_coupling_vars": ["ptend_w"]}, {}, "no output 'ptend_w'"),
        (
            {**partial, "cb_partial_coupling_vars": ["ptend_t(20:61)"]},
            {},
            "ptend_t(20:61): there is no level 61. The host has levels 1 to 60",
        ),
        (
            {**partial, "cb_partial_coupling_vars": ["cam_out_PRECC(2)"]},
            {},
            "cam_out_PRECC has no levels: write cam_out_PRECC",
        ),
        ({**partial, "cb_do_ramp": True, "cb_ramp_option": "cosine"}, {}, "'cosine'"),
        ({**partial, "cb_do_ramp": True, "cb_ramp_option": "linear"}, {}, "ramp_steps"),
    ]


# The wrong units have as many characters as the right ones.
WRONG_UNITS = {
    "state_t": "state_t (host K, package m)",
    "cam_in_LWUP": "cam_in_LWUP (host W/m2, package N/m2)",
    "ptend_v": "ptend_v (host m/s2, package K/s2)",
    "cam_out_SOLLD": "cam_out_SOLLD (host W/m2, package J/m2)",
}


NOT_GIVEN = (
    "inputs that the host does not give: state_omega (near names: state_pmid, state_t, state_rh), "
    "cam_in_SST (near names: "
)


def faults_of_packages(fixtures: Path) -> list[Case]:
    """Files that are not there, are no packages, or are packages for another host."""

    def named(name: str) -> dict[str, Any]:
        return {"climlink_package": str(fixtures / name)}

    return [
        (named("none.pt"), {}, "none.pt"),
        (named("not_a_package.pt"), {}, "not_a_package.pt"),
        (named("truncated.pt"), {}, "truncated.pt"),
        (named("climsim_26.pt"), {}, "26"),
        (named("climsim_unknown.pt"), {}, NOT_GIVEN),
        (named("climsim_memory.pt"), {}, "(memory_next of a step is memory of the next one)"),
        (named("climsim_neighbours.pt"), {}, "the package has the input neighbours [level, unit]"),
        (
            named("climsim_mm_day.pt"),
            {},
            "other units (convert in the host, with one constant): cam_out_PRECC (host m/s, "
            "package mm/day)",
        ),
        *[(named(f"climsim_{name}_units.pt"), {}, text) for name, text in WRONG_UNITS.items()],
        (named("climsim_double.pt"), {}, "the graph returns Double"),
        ({"climlink_package": " "}, {}, "climlink_package and cb_torch_model are blank"),
        ({"climlink_package_digest": "f" * 64}, {}, "fffff"),
        ({"climlink_device": "cuda:99"}, {}, "cuda"),
    ]


def faults_of_the_model(empty: Path, zeros: Path) -> list[Case]:
    """A model that lacks what the package takes, and restart files without the emulator's part,
    absent or never written.
    """
    return [
        ({}, {"dtime": 1800}, "1800"),
        ({}, {"averaged_fluxes": False}, "set srf_flux_avg = 1"),
        (
            {},
            {"precipitation": False},
            "there is no field PREC_DP or SNOW_DP in the physics buffer",
        ),
        ({}, {"run_type": 1, "first_step": 2, "folder_in": str(empty)}, "NN_START not found"),
        (
            {},
            {"run_type": 1, "first_step": 2, "folder_in": str(zeros)},
            "hold no memory of the emulator",
        ),
        ({}, {"call_register": False}, "mmf_nn_emulator_register was not called"),
    ]


def check_faults(bench: Bench) -> None:
    """Everything that is wrong ends the model with one message from one rank, before the first step
    where it can be known then.
    """
    lagged = bench.folder / "v4.pt"
    write_mixed(lagged, "host_v4_q")
    empty, zeros = bench.folder / "empty", bench.folder / "zeros"
    for folder in (empty, zeros):
        folder.mkdir()
    ok = {"climlink_package": str(bench.fixtures / "climsim_q.pt"), "cb_spinup_step": 0}
    bench.run({**ok, "cb_spinup_step": 5}, n_step=2, folder_out=str(zeros))
    for i in range(1, N_COLUMN + 1):
        (zeros / f"NN_START.{i}").write_bytes(bytes(8))
        (empty / f"STATE.{i}").write_bytes((zeros / f"STATE.{i}").read_bytes())
    for emulator, loop, text in (
        faults_of_entries(lagged)
        + faults_of_packages(bench.fixtures)
        + faults_of_the_model(empty, zeros)
    ):
        done = bench.start({**ok, **emulator}, 2, n_chunk=2, **loop)
        require_one_message(
            done, text, exactly_one="not found" not in text
        )  # that one is EAM's own
        bench.require_no_step(text)
    require_one_message(bench.start(None, 2), "has no group &mmf_nn_emulator_nl")
    check_file_of_one_rank(bench)
    check_faults_in_a_step(bench, ok)
    driver = {"climlink_package": str(lagged), "cb_spinup_step": 2}
    # Chunk by chunk there is no moment that all ranks share, so each may say it.
    require_one_message(
        bench.start(driver, 2, n_step=3, entry="chunks"),
        "the package has lagged inputs",
        exactly_one=False,
    )
    levels = {"cb_partial_coupling": True, "cb_partial_coupling_vars": ["ptend_t(2:)"]}
    require_one_message(
        bench.start({**ok, **levels}, 2, entry="chunks"),
        "this driver blends by itself",
        exactly_one=False,
    )


def check_file_of_one_rank(bench: Bench) -> None:
    """The master reads the file for all ranks: only its own view of the disk counts."""
    with_file, without = bench.folder / "with_file", bench.folder / "without"
    for folder in (with_file, without):
        folder.mkdir()
    (with_file / "here.pt").write_bytes((bench.fixtures / "climsim_q.pt").read_bytes())
    emulator = {"climlink_package": "here.pt", "cb_spinup_step": 0}
    assert bench.start(emulator, folders=[with_file, without]).returncode == 0
    require_one_message(bench.start(emulator, folders=[without, with_file]), "here.pt")
    bench.require_no_step("here.pt")


def check_faults_in_a_step(bench: Bench, ok: dict[str, Any]) -> None:
    """Values that are not finite, in one column or in all of all ranks."""
    one_column = bench.start(ok, 2, poison=4)
    require_one_message(
        one_column,
        "chunk 2, whose first column is column 1 of the rank: rank 1: send: cam_in_LWUP: column 2: "
        "NaN",
    )
    require_one_message(bench.start(ok, 3, poison=-1), "rank 0: send: cam_in_LWUP: column 1: ")
    require_one_message(
        bench.start(ok, 3, poison=3, poison_value=1e300),
        "rank 2: send: cam_in_LWUP: column 1: 1e+300, which float32 cannot hold",
    )
    for name, output in (("climsim_nan.pt", "ptend_q0001"), ("climsim_overflow.pt", "ptend_v")):
        require_one_message(
            bench.start({**ok, "climlink_package": str(bench.fixtures / name)}, 3), output
        )


def require_one_message(
    done: subprocess.CompletedProcess[str], text: str, exactly_one: bool = True
) -> None:
    """The model ended, and one rank said why; where each rank finds out by itself, more may get to
    say it.
    """
    said = [line for line in done.stderr.splitlines() if line.startswith("ENDRUN: ")]
    assert done.returncode != 0, text
    assert any(text in line for line in said), (text, done.stderr)
    assert len(said) == 1 or not exactly_one, said
