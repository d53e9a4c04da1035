"""What the adapter says: one message where something is wrong, and the counters of its log."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
from adapter_bench import N_COLUMN, Bench, compare
from make_adapter_fixtures import write_mixed
from reference_model import Model, Settings


def check_counters(bench: Bench) -> None:
    """One line from the master at each interval, with the same sums whatever the ranks; a day where the namelist gives no interval."""
    package = bench.folder / "v2.pt"
    write_mixed(package, "host_v2_q", scale=1e5)
    emulator = {"climlink_package": str(package), "cb_spinup_step": 1, "climlink_legacy": True, "climlink_log_steps": 2}
    lines = counter_lines(bench.start(emulator, 1, n_step=5, n_chunk=2))
    assert lines == counter_lines(bench.start(emulator, 3, n_step=5, n_chunk=3))
    expected = Model(bench.columns, package, Settings(spin_up=1, legacy=True)).run(5)
    assert lines == [counter_line(expected, 0, 2), counter_line(expected, 2, 4)]
    assert "heat added 0.0" not in lines[1]
    plain = {"climlink_package": str(package), "cb_spinup_step": 0}
    assert counter_lines(bench.start(plain, 1, n_step=1, folder_out=str(bench.folder))) == []
    late = {"first_step": 70, "run_type": 3, "folder_in": str(bench.folder)}  # two steps before the end of a day
    day = counter_lines(bench.start(plain, 2, n_step=5, **late))
    assert day == ["mmf_nn_emulator: to step 71: answered in 2 of 2 steps, 26 columns"]
    assert counter_lines(bench.start({**plain, "climlink_log_steps": -1}, 1, n_step=4, **late)) == []


def counter_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines with counters in the log of a run."""
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("mmf_nn_emulator: to step")]


def counter_line(expected: list[dict[str, Any]], first: int, end: int) -> str:
    """Return the line of the steps ``first`` to ``end`` - 1 of a run in legacy mode."""
    counts = [record["counts"] for record in expected[first:end] if "counts" in record]
    area = np.array([1 + 0.25 * (i % 3) for i in range(1, N_COLUMN + 1)])

    def total(name: str) -> int:
        return int(sum(c[name].sum() for c in counts))

    def mean(name: str) -> str:
        return f"{sum((area * c[name]).sum() for c in counts) / (len(counts) * area.sum()):.5E}"

    return (
        f"mmf_nn_emulator: to step {end - 1}: answered in {len(counts)} of {end - first} steps, {N_COLUMN * len(counts)} columns; "
        f"surface fields clipped {total('NN_CLIPPED')}, levels limited {total('NN_LIMITED')}, "
        f"heat added {mean('NN_LIMITER_HEAT')} W/m2, water added {mean('NN_LIMITER_WATER')} kg/m2/s"
    )


def check_traps(bench: Bench) -> None:
    """A model built with traps for invalid operations, division by zero and overflow runs on, and what is wrong is a message as ever."""
    program = bench.trapping_program
    for set_name, legacy in (("host_v4_rh", False), ("host_v6_q", True)):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name, confidence=True)
        emulator = {"climlink_package": str(package), "cb_spinup_step": 2, "climlink_legacy": legacy, "climlink_log_steps": 2}
        expected = Model(bench.columns, package, Settings(spin_up=2, legacy=legacy)).run(4)
        assert compare(bench.run(emulator, 2, program, n_step=4, n_chunk=3), expected, package) == 2
    ok = {"climlink_package": str(bench.fixtures / "climsim_masked.pt"), "cb_spinup_step": 0}
    bench.run(ok, 2, program, n_step=2)
    require_one_message(bench.start(ok, 2, program, poison=4), "cam_in_LWUP: column 1 (0-based): NaN")
    nan = {**ok, "climlink_package": str(bench.fixtures / "climsim_nan.pt")}
    require_one_message(bench.start(nan, 2, program), "ptend_q0001", exactly_one=False)
    unwritten = bench.folder / "unwritten"
    unwritten.mkdir()
    bench.run({**ok, "cb_spinup_step": 5}, 1, program, n_step=2, folder_out=str(unwritten))
    for path in unwritten.glob("NN_START.*"):
        path.write_bytes(np.array([np.nan]).tobytes())
    restart = {"run_type": 1, "first_step": 2, "folder_in": str(unwritten)}
    require_one_message(bench.start(ok, 2, program, **restart), "hold no memory of the emulator")


def check_faults(bench: Bench) -> None:
    """Everything that is wrong ends the model with one message from one rank, before the first step where it can be known then."""
    good = bench.fixtures / "climsim_q.pt"
    lagged = bench.folder / "v4.pt"
    write_mixed(lagged, "host_v4_q")
    empty, zeros = bench.folder / "empty", bench.folder / "zeros"
    for folder in (empty, zeros):
        folder.mkdir()
    ok = {"climlink_package": str(good), "cb_spinup_step": 0}
    bench.run({**ok, "cb_spinup_step": 5}, n_step=2, folder_out=str(zeros))
    for i in range(1, N_COLUMN + 1):
        (zeros / f"NN_START.{i}").write_bytes(bytes(8))
        (empty / f"STATE.{i}").write_bytes((zeros / f"STATE.{i}").read_bytes())
    partial = {"cb_partial_coupling": True, "cb_partial_coupling_vars": ["ptend_t"]}
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"inputlength": 1525}, {}, "inputlength is 1525, but the package takes 557 inputs"),
        ({"outputlength": 676}, {}, "outputlength is 676, but the package gives 368 outputs"),
        ({"input_rh": True}, {}, "input_rh is .true., but the package takes specific humidity"),
        ({"cb_nn_var_combo": "v4"}, {}, "cb_nn_var_combo is 'v4', but the package takes the inputs of v2"),
        ({"climlink_package": str(bench.folder / "none.pt")}, {}, "none.pt"),
        ({"climlink_package": str(bench.fixtures / "not_a_package.pt")}, {}, "not_a_package.pt"),
        ({"climlink_package": str(bench.fixtures / "climsim_26.pt")}, {}, "26"),
        ({"climlink_package": str(bench.fixtures / "climsim_unknown.pt")}, {}, "E3SM does not have the inputs state_omega cam_in_SST"),
        ({"climlink_package": " "}, {}, "climlink_package and cb_torch_model are blank"),
        ({"climlink_packge": "x"}, {}, "climlink_packge"),
        ({"climlink_package_digest": "f" * 64}, {}, "fffff"),
        ({"climlink_device": "cuda:99"}, {}, "cuda"),
        ({"climlink_device": "gpu"}, {}, "climlink_device must be 'auto', 'cpu' or 'cuda', not 'gpu'"),
        ({"climlink_threads": 0}, {}, "climlink_threads must be 1 or more, not 0"),
        ({"climlink_micro_batch": 1}, {}, "climlink_micro_batch must be 0"),
        ({"cb_do_ramp": True}, {}, "cb_do_ramp acts in partial coupling only"),
        ({"cb_strato_water_constraint": True}, {}, "set climlink_legacy"),
        ({"cb_partial_coupling": True}, {}, "partial coupling needs variables"),
        ({**partial, "cb_partial_coupling_vars": ["ptend_w"]}, {}, "no output 'ptend_w'"),
        ({**partial, "cb_do_ramp": True, "cb_ramp_option": "cosine"}, {}, "'cosine'"),
        ({**partial, "cb_do_ramp": True, "cb_ramp_option": "linear"}, {}, "ramp_steps"),
        ({"climlink_package": str(lagged), "cb_spinup_step": 1}, {}, "cb_spinup_step is 1, but the lagged inputs"),
        ({}, {"dtime": 1800}, "1800"),
        ({}, {"flux_avg": False}, "set srf_flux_avg = 1"),
        ({}, {"run_type": 1, "first_step": 2, "folder_in": str(empty)}, "NN_START not found"),
        ({}, {"run_type": 1, "first_step": 2, "folder_in": str(zeros)}, "hold no memory of the emulator"),
        ({}, {"call_register": False}, "mmf_nn_emulator_register was not called"),
    ]
    for emulator, loop, text in cases:
        done = bench.start({**ok, **emulator}, 2, n_chunk=2, **loop)
        require_one_message(done, text, exactly_one="not found" not in text)
        assert not any(p.stat().st_size for p in bench.folder.glob("record.*")), f"{text}: known before the first step, said after it"
    require_one_message(
        bench.start({"climlink_package": str(lagged), "cb_spinup_step": 2}, 2, n_step=3, entry="chunks"),
        "the package has lagged inputs",
        exactly_one=False,
    )
    require_one_message(
        bench.start(ok, 2, poison=4),
        "chunk 2, whose first column is column 0 of the rank: rank 1: set: cam_in_LWUP: column 1 (0-based): NaN",
    )
    nan = {"climlink_package": str(bench.fixtures / "climsim_nan.pt"), "cb_spinup_step": 0}
    require_one_message(bench.start(nan, 2), "ptend_q0001", exactly_one=False)


def require_one_message(done: subprocess.CompletedProcess[str], text: str, exactly_one: bool = True) -> None:
    """The model ended, and one rank said why; where each rank finds out by itself, more may get to say it."""
    said = [line for line in done.stderr.splitlines() if line.startswith("ENDRUN: ")]
    assert done.returncode != 0, text
    assert any(text in line for line in said), (text, done.stderr)
    assert len(said) == 1 or not exactly_one, said
