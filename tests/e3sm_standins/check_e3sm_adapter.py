"""Holds EAM's adapter to the reference model.

check_e3sm_adapter.py PART FIXTURES EAM_LOOP EAM_LOOP_OCEAN EAM_LOOP_FORK EAM_LOOP_TRAPS
    EAM_LOOP_LEVELS MPIEXEC
[FLAGS...]
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from adapter_bench import (
    CONFIDENCE,
    N_COLUMN,
    Bench,
    Records,
    case_generator,
    compare,
    compare_without_frame,
    require_tape_fields,
)
from adapter_faults import check_counters, check_faults, check_traps, require_one_message
from check_group_of_ranks import check_group
from check_range_use import check_range_use
from check_water_fixer import check_water_fixer
from make_adapter_fixtures import RULES, variables, write_mixed
from reference_model import (
    LEVELS,
    PROFILES,
    SCALARS,
    STATE,
    SURFACE,
    TENDENCIES,
    Model,
    Settings,
    make_columns,
    write_columns,
)


def check_values(bench: Bench) -> None:
    """The 368 outputs, and what the model becomes of them: every set, one and two ranks, ragged
    chunks.
    """
    exact = bench.fixtures / "climsim_q.pt"
    emulator = {"climlink_package": str(exact), "cb_spinup_step": 0}
    expected = Model(bench.columns, exact).run(1)
    for ranks, chunks in ((1, 1), (1, 4), (2, 3), (2, 6)):  # the last has chunks without columns
        assert compare(bench.run(emulator, ranks, n_chunk=chunks), expected, exact, exact_raw=True)
    for set_name in (
        "host_v2_q",
        "host_v2_rh",
        "host_v4_q",
        "host_v4_rh",
        "host_v6_q",
        "host_v6_rh",
    ):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name)
        spin_up = 0 if "v2" in set_name else 2
        entries = {
            "climlink_package": str(package),
            "cb_spinup_step": spin_up,
            "cb_nn_var_combo": set_name.split("_")[1],
        }
        entries |= {"input_rh": set_name.endswith("rh"), "outputlength": 368}
        entries |= {
            "climlink_package_digest": hashlib.sha256(package.read_bytes()).hexdigest(),
            "climlink_micro_batch": 16,
        }
        expected = Model(bench.columns, package, Settings(spin_up=spin_up)).run(5)
        for ranks, chunks in ((1, 3), (2, 2)):
            assert (
                compare(bench.run(entries, ranks, n_step=5, n_chunk=chunks), expected, package) > 0
            )
    check_humidity(bench)


def check_table(bench: Bench) -> None:
    """Every field of E3SM's table, its own and the fork's lagged ones: no two have the same values,
    every output depends on every input, and every output changes another field of the model.
    """
    for set_name in ("host_v2_q", "host_v2_rh", "host_v4_q", "host_v6_rh"):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name)
        spin_up = 0 if "v2" in set_name else 2
        entries = {"climlink_package": str(package), "cb_spinup_step": spin_up}
        entries |= {"cb_nn_var_combo": set_name.split("_")[1], "input_rh": set_name.endswith("rh")}
        expected = Model(bench.columns, package, Settings(spin_up=spin_up)).run(spin_up + 1)
        assert compare(bench.run(entries, n_step=spin_up + 1, n_chunk=2), expected, package) == 1
    package = bench.folder / "host_v4_rh.pt"
    write_mixed(package, "host_v4_rh")
    entries = {"climlink_package": str(package), "cb_spinup_step": 3, "climlink_legacy": True}
    expected = Model(bench.columns, package, Settings(spin_up=3, legacy=True)).run(4)
    got = bench.run(entries, 1, bench.fork_program, n_step=4, n_chunk=2, entry="chunks")
    assert compare_without_frame(got, expected, package) == 1


def check_humidity(bench: Bench) -> None:
    """Relative humidity by the existing host code's rounded numbers, where the namelist says so:
    the cold levels of the columns tell the two apart.
    """
    package = bench.folder / "host_v2_rh.pt"
    entries = {"climlink_package": str(package), "cb_spinup_step": 0}
    expected = {
        name: Model(bench.columns, package, Settings(single_humidity=name == "legacy"))
        for name in ("exact", "legacy")
    }
    exact, legacy = (model.run(2) for model in expected.values())
    got = bench.run({**entries, "climlink_rh_arithmetic": "legacy"}, 2, n_step=2, n_chunk=2)
    assert compare(got, legacy, package) == 2
    assert compare(bench.run(entries, 2, n_step=2, n_chunk=2), exact, package) == 2
    try:
        compare(got, exact, package)
    except AssertionError:
        return
    raise AssertionError("the columns are too warm: nothing tells the two apart")


def check_chunks(bench: Bench) -> None:
    """The entries of other drivers: all chunks at once without the step's frame, and chunk by chunk
    from several threads.
    """
    package = bench.folder / "v2.pt"
    write_mixed(package, "host_v2_q")
    expected = Model(bench.columns, package).run(3)
    for entry, program in (("all", ""), ("chunks", ""), ("chunks", bench.fork_program)):
        got = bench.run(
            {"cb_torch_model": str(package), "cb_spinup_step": 0},
            2,
            program,
            n_step=3,
            n_chunk=3,
            entry=entry,
        )
        assert compare_without_frame(got, expected, package) == 3
    for set_name, legacy in (("host_v4_rh", True), ("host_v6_q", False)):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name)
        expected = Model(bench.columns, package, Settings(spin_up=3, legacy=legacy)).run(6)
        emulator = {"cb_torch_model": str(package), "cb_spinup_step": 3, "climlink_legacy": legacy}
        got = bench.run(emulator, 2, bench.fork_program, n_step=6, n_chunk=3, entry="chunks")
        require_tape_fields(got[-1], package, legacy=legacy, fork_driver=True)
        assert compare_without_frame(got, expected, package) == 3


def check_run1(bench: Bench) -> None:
    """A driver with two calls and nothing else: the sun is found, what phys_run1 would have left to
    others is done, exports are blended.
    """
    package = bench.folder / "v4.pt"
    write_mixed(package, "host_v4_q")
    emulator = {"climlink_package": str(package), "cb_spinup_step": 2}
    reference = Model(bench.columns, package, Settings(spin_up=2, own_sun=True))
    expected = reference.run(5)
    got = bench.run(emulator, 2, n_step=5, n_chunk=3, entry="run1")
    assert compare(got, expected, package) == 3
    for step, record in enumerate(got):
        assert np.array_equal(record["precc"][:, 0], record["surface"].reshape(-1, 8)[:, 3]), (
            f"step {step}: exported"
        )
        assert ("diag_t" in record) == (step >= 2)
        # Averaged fluxes begin in the first step alone; the global mean's energy is phys_run1's
        # own, once in each step.
        assert np.array_equal(record["calls"], [[1, step + 1]] * len(record["calls"])), step
    for record, before in zip(got[2:], reference.before[2:], strict=True):
        assert np.array_equal(record["diag_t"], record["t"])
        for name, field in (
            ("TINI", "t"),
            ("QINI", "q1"),
            ("CLDLIQINI", "q2"),
            ("CLDICEINI", "q3"),
        ):
            np.testing.assert_allclose(record[name], before[field], rtol=1e-6, err_msg=name)
    names = ["ptend_q0001", "cam_out_PRECC"]
    emulator |= {
        "cb_partial_coupling": True,
        "cb_partial_coupling_vars": names,
        "cb_do_ramp": True,
        "cb_ramp_factor": 0.5,
    }
    expected = Model(
        bench.columns,
        package,
        Settings(spin_up=2, own_sun=True, variables=names, weight=lambda n: 0.5),
    ).run(4)
    got = bench.run(emulator, 2, n_step=4, n_chunk=3, entry="run1")
    assert compare(got, expected, package) == 2
    assert all(np.array_equal(r["precc"][:, 0], r["surface"].reshape(-1, 8)[:, 3]) for r in got)


def check_restart(bench: Bench) -> None:
    """A run in two parts, on other ranks and chunks, is the run in one part to the last bit,
    wherever it is cut.
    """
    package = bench.folder / "v4.pt"
    write_mixed(package, "host_v4_rh")
    emulator = {
        "climlink_package": str(package),
        "cb_spinup_step": 3,
        "cb_partial_coupling": True,
        "cb_do_ramp": True,
    }
    emulator |= {
        "cb_partial_coupling_vars": ["ptend_t", "ptend_q0001", "cam_out_PRECC"],
        "cb_ramp_option": "linear",
        "cb_ramp_linear_steps": 4,
    }
    whole = bench.run(emulator, 1, n_step=8, n_chunk=2)
    settings = Settings(
        spin_up=3,
        variables=["ptend_t", "ptend_q0001", "cam_out_PRECC"],
        weight=lambda n: min(1.0, n / 4),
    )
    assert compare(whole, Model(bench.columns, package, settings).run(8), package) == 5
    for cut in (1, 2, 4, 6):
        folder = bench.folder / f"restart{cut}"
        folder.mkdir()
        first = bench.run(emulator, 2, n_step=cut, n_chunk=3, folder_out=str(folder))
        known = case_generator()
        assert {p.name.split(".")[0] for p in folder.glob("NN_*")} == {
            known.START_FIELD,
            known.LAGS_FIELD,
        }
        assert (folder / f"{known.LAGS_FIELD}.1").stat().st_size == 8 * known.lagged_memory_size(
            LEVELS
        )
        second = bench.run(
            emulator,
            3,
            n_step=8 - cut,
            n_chunk=1,
            first_step=cut,
            run_type=1,
            folder_in=str(folder),
        )
        require_equal(first + second, whole, f"cut after {cut}")
    check_branch(bench, emulator, whole)


def check_branch(bench: Bench, emulator: dict[str, Any], whole: Records) -> None:
    """A branch run goes on from the memory in the files where the namelist says so; else spin-up
    counts from its first step.
    """
    folder = bench.folder / "restart4"
    remembers = {**emulator, "climlink_branch_memory": True}
    with_memory = {"run_type": 3, "first_step": 4, "folder_in": str(folder)}
    require_equal(
        bench.run(remembers, 2, n_step=4, n_chunk=2, **with_memory),
        whole[4:],
        "branch run with memory",
    )
    for old in folder.glob("NN_*"):
        old.unlink()
    got = bench.run(emulator, 1, n_step=5, first_step=4, run_type=3, folder_in=str(folder))
    assert [r["NN_WEIGHT"][0, 0] for r in got] == [0, 0, 0, 0.25, 0.5]
    require_one_message(bench.start(remembers, 1, n_step=1, **with_memory), "NN_START not found")


def require_equal(got: Records, expected: Records, what: str) -> None:
    """Records are the same to the last bit."""
    for step, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert a.keys() == b.keys(), (what, step)
        for name in a:
            assert np.array_equal(a[name], b[name], equal_nan=True), f"{what}, step {step}: {name}"


def check_partial(bench: Bench) -> None:
    """Outputs named in the namelist are blended with the ramp's weight of each step; all others are
    the model's.
    """
    package = bench.folder / "v6.pt"
    write_mixed(package, "host_v6_q")
    one = ["ptend_t", "ptend_q0003", "ptend_v", "cam_out_FLWDS", "cam_out_PRECSC"]
    every = [n for n, _, _ in variables("mmf368")]
    ramps: list[tuple[dict[str, Any], Callable[[int], float]]] = [
        ({"cb_do_ramp": False}, lambda n: 1.0),
        ({"cb_ramp_option": "constant", "cb_ramp_factor": 0.25}, lambda n: 0.25),
        (
            {"cb_ramp_option": "Linear", "cb_ramp_factor": 0.8, "cb_ramp_linear_steps": 3},
            lambda n: 0.8 * min(1.0, n / 3),
        ),
        (
            {"cb_ramp_option": "step", "cb_ramp_step_1steps": 2, "cb_ramp_step_0steps": 1},
            lambda n: float((n - 1) % 3 < 2),
        ),
    ]
    for chosen in (one, every):
        for ramp, weight in ramps:
            emulator = {
                "climlink_package": str(package),
                "cb_spinup_step": 2,
                "cb_partial_coupling": True,
                "cb_do_ramp": True,
                **ramp,
            }
            expected = Model(
                bench.columns, package, Settings(spin_up=2, variables=chosen, weight=weight)
            ).run(7)
            got = bench.run(
                {**emulator, "cb_partial_coupling_vars": chosen}, 2, n_step=7, n_chunk=2
            )
            assert compare(got, expected, package) == sum(weight(n) > 0 for n in range(1, 6))
    never = bench.run({"climlink_package": str(package), "cb_spinup_step": -1}, n_step=3)
    assert not any("NN_ptend_t" in r or r["NN_WEIGHT"].any() for r in never)


def check_partial_levels(bench: Bench) -> None:
    """On the levels of the namelist, by number or reference pressure, outputs are blended; on the
    others the model's physics stays to the last bit. Lagged inputs remember what was applied.
    """
    package = bench.folder / "v6.pt"
    write_mixed(package, "host_v6_q")
    number, pressure = np.arange(1, LEVELS + 1), bench.columns["pmid"][0]
    below = pressure >= 1000.0
    where = dict.fromkeys(TENDENCIES, below)
    where |= {"ptend_q0001": number >= 20, "ptend_u": (number <= 5) | (number == 30)}
    where |= {"ptend_v": (number >= 13) & (pressure <= 7e4)}
    names = ["ptend_u(:5,30)", "all(10 hPa:)", "ptend_q0001(20:60)", "ptend_v(13:700 hPa)"]
    every = [n for n, _, _ in variables("mmf368")]
    emulator = {"climlink_package": str(package), "cb_spinup_step": 2, "cb_partial_coupling": True}
    emulator |= {"cb_partial_coupling_vars": names}
    alone = bench.run({"climlink_package": str(package), "cb_spinup_step": -1}, 2, n_step=3)
    for factor in (0.25, 1.0):
        ramp = {"cb_do_ramp": True, "cb_ramp_factor": factor}
        expected = Model(
            bench.columns,
            package,
            Settings(spin_up=2, variables=every, levels=where, weight=lambda n, f=factor: f),
        ).run(6)
        got = bench.run({**emulator, **ramp}, 2, n_step=6, n_chunk=2)
        assert compare(got, expected, package) == 4
        for state, name in zip(STATE, TENDENCIES, strict=True):
            assert np.array_equal(got[2][state][:, ~where[name]], alone[2][state][:, ~where[name]])
            same = got[2][state][:, where[name]] == alone[2][state][:, where[name]]
            assert not same.all(axis=0).any(), name
    first = bench.run(emulator, 1, n_step=4, n_chunk=3, folder_out=str(bench.folder))
    second = bench.run(
        emulator, 3, n_step=2, n_chunk=1, first_step=4, run_type=1, folder_in=str(bench.folder)
    )
    require_equal(first + second, bench.run(emulator, 2, n_step=6, n_chunk=2), "restart")


def check_legacy(bench: Bench) -> None:
    """The old post-processing, its order included; a confidence block stays as it is."""
    large = 1e5  # the limiter of energy acts as well
    for set_name, confidence, strato in (
        ("host_v2_rh", False, False),
        ("host_v2_q", True, True),
        ("host_v4_q", False, True),
    ):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name, confidence=confidence, scale=large)
        spin_up = 2 if "v4" in set_name else 0
        emulator = {
            "cb_torch_model": str(package),
            "cb_spinup_step": spin_up,
            "climlink_legacy": True,
            "cb_strato_water_constraint": strato,
        }
        emulator |= {"outputlength": 676 if confidence else 368}
        n_step = spin_up + 1
        expected = Model(
            bench.columns, package, Settings(spin_up=spin_up, legacy=True, strato=strato)
        ).run(n_step)
        counts = expected[-1]["counts"]
        assert all(
            counts[k].any()
            for k in ("NN_CLIPPED", "NN_LIMITED", "NN_LIMITER_HEAT", "NN_LIMITER_WATER")
        )
        assert not strato or counts["TROP_IND"].max() > 12
        got = bench.run(emulator, 2, n_step=n_step, n_chunk=2)
        assert compare(got, expected, package, scale=large) == 1
        require_tape_fields(got[-1], package, legacy=True, fork_driver=False)
        if confidence:
            assert (
                min(
                    expected[0]["raw"][n].min()
                    for n in expected[0]["raw"]
                    if n.startswith("confidence")
                )
                < -0.1
            )


def check_confidence(bench: Bench) -> None:
    """676 outputs: confidence goes to the history, the 368 to the model; over ocean alone where the
    build says so.
    """
    package = bench.folder / "confidence.pt"
    write_mixed(package, "host_v2_q", confidence=True)
    emulator = {"climlink_package": str(package), "cb_spinup_step": 1, "outputlength": 676}
    expected = Model(bench.columns, package, Settings(spin_up=1)).run(3)
    assert len(expected[1]["raw"]) == 14 + 13
    assert compare(bench.run(emulator, 2, n_step=3, n_chunk=2), expected, package) == 2
    expected = Model(bench.columns, package, Settings(spin_up=1, ocean_only=True)).run(3)
    assert (
        compare(bench.run(emulator, 2, bench.ocean_program, n_step=3, n_chunk=2), expected, package)
        == 2
    )
    quiet = bench.run({**emulator, "climlink_history": False}, n_step=3)
    assert not [
        name for record in quiet for name in record if name.startswith("NN_") or "PHYS" in name
    ]
    for set_name in ("host_v2_rh", "host_v4_q", "host_v4_rh", "host_v6_q", "host_v6_rh"):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name, confidence=True)
        spin_up = 0 if "v2" in set_name else 2
        emulator = {
            "climlink_package": str(package),
            "cb_spinup_step": spin_up,
            "outputlength": 676,
        }
        expected = Model(bench.columns, package, Settings(spin_up=spin_up)).run(4)
        got = bench.run(emulator, 2, n_step=4, n_chunk=3)
        assert compare(got, expected, package) == 4 - spin_up
        assert set(CONFIDENCE.values()) <= got[-1].keys()
        require_tape_fields(got[-1], package, legacy=False, fork_driver=False)
        same = bench.folder / "same.pt"
        write_mixed(same, set_name)  # the same network without its confidence
        without = Model(bench.columns, same, Settings(spin_up=spin_up)).run(4)
        assert sum(v.shape[1] for v in without[-1]["raw"].values()) == 368
        assert compare(got, without, same) == 4 - spin_up


def check_levels(bench: Bench) -> None:
    """A package of 60 levels in a model of 72. Of columns that do not change with height the
    package gets the same values on its own levels; what it answers arrives with the same sum over
    mass.
    """
    host, own = make_columns(N_COLUMN, levels=72), make_columns(N_COLUMN)
    own |= {name: host[name] for name in SCALARS}
    for name in PROFILES[:9]:
        own[name] = np.broadcast_to(host[name][:, 40:41], own[name].shape).copy()
        host[name] = np.broadcast_to(host[name][:, 40:41], host[name].shape).copy()
    write_columns(host, bench.folder / "columns72.bin")
    ps = host["ps"][:, None]
    above = np.arange(LEVELS + 1) / LEVELS  # the grid of the test packages
    edges = 1e5 * 0.1 * (1 - above) + above * ps
    own["pmid"] = (edges[:, :-1] + edges[:, 1:]) / 2
    middle, top = host["pmid"], host["pmid"][:, :1] / 2
    layers = np.diff(np.concatenate([top, (middle[:, :-1] + middle[:, 1:]) / 2, ps], axis=1))
    columns = {"columns_file": str(bench.folder / "columns72.bin")}
    for set_name in ("host_v2_rh", "host_v4_rh", "host_v6_q"):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name, confidence=True, scale=30.0)
        spin_up = 0 if "v2" in set_name else 2
        entries = {"climlink_package": str(package), "cb_spinup_step": spin_up}
        refused = bench.start(entries, 2, bench.levels_program, **columns)
        require_one_message(refused, "the host has 72 levels, the package was trained for 60")
        entries |= {"climlink_vertical_remap": "conservative"}
        reference = Model(own, package, Settings(spin_up=spin_up))
        raw = reference.run(spin_up + 1)[-1]["raw"]
        program, n_step = bench.levels_program, spin_up + 1
        got = bench.run(entries, 2, program, n_step=n_step, n_chunk=2, **columns)[-1]
        require_tape_fields(got, package, legacy=False, fork_driver=False)
        before = reference.before[-1]
        for name, state in zip(TENDENCIES, STATE, strict=True):
            mass = np.sum(raw[name] * np.diff(edges), axis=1)
            size = np.sum(np.abs(raw[name]) * np.diff(edges), axis=1)
            answer = np.sum(got[f"NN_{name}"] * layers, axis=1)
            # Two kernels of the network differ by some units of float32.
            assert np.all(np.abs(answer - mass) <= 1e-5 * size), f"{set_name}: {name}"
            change = (got[state] - before[state][:, :1]) / 1200
            rounding = 1e-13 * np.abs(before[state][:, 0]).max() / 1200 * layers.sum(axis=1)
            assert np.all(np.abs(np.sum(change * layers, axis=1) - mass) <= 1e-5 * size + rounding)
            if not state.startswith("q"):
                largest = 1e-13 * np.abs(before[state]).max()
                np.testing.assert_allclose(change, got[f"NN_{name}"], atol=largest, rtol=1e-9)
        for name in SURFACE:
            np.testing.assert_allclose(got[f"NN_{name}"], raw[name], rtol=1e-5, atol=1e-13)
    for wrong, text in (
        ({"climlink_legacy": True}, "knows the levels that the package was made for"),
        ({"climlink_vertical_remap": "linear"}, "vertical_remap must be none or conservative"),
    ):
        faulty = bench.start({**entries, **wrong}, 2, bench.levels_program, **columns)
        require_one_message(faulty, text)


# What the published job scripts of online_ensembling set, but for the path of the model.
PUBLISHED = {
    "outputlength": 368,
    "input_rh": True,
    "cb_partial_coupling": False,
    "cb_partial_coupling_vars": [
        *("ptend_t", "ptend_q0001", "ptend_q0002", "ptend_q0003", "ptend_u", "ptend_v"),
        *("cam_out_PRECC", "cam_out_PRECSC", "cam_out_NETSW", "cam_out_FLWDS"),
        *("cam_out_SOLS", "cam_out_SOLL", "cam_out_SOLSD", "cam_out_SOLLD"),
    ],
    "cb_spinup_step": 5,
    "cb_do_ramp": False,
    "cb_ramp_option": "step",
    "cb_ramp_factor": 1.0,
    "cb_ramp_step_0steps": 80,
    "cb_ramp_step_1steps": 10,
    "cb_strato_water_constraint": True,
}
PUBLISHED_SETS = {
    "v2": {"inputlength": 557, "cb_nn_var_combo": "v2"},
    "v2_conf": {"inputlength": 557, "outputlength": 676, "cb_nn_var_combo": "v2_conf"},
    "v6": {"inputlength": 1519, "cb_nn_var_combo": "v6"},
}


def check_published(bench: Bench) -> None:
    """The groups of the published job scripts, entry by entry, on imported wrappers: the old
    post-processing is applied, since the package says so, on the device that cb_use_cuda names.
    """
    for name, entries in PUBLISHED_SETS.items():
        package = bench.folder / f"{name}.pt"
        confident = name.endswith("_conf")
        write_mixed(package, f"host_{name[:2]}_rh", confidence=confident, imported=True)
        group = {**PUBLISHED, **entries, "cb_torch_model": str(package), "cb_use_cuda": False}
        settings = Settings(spin_up=5, legacy=True, strato=True)
        expected = Model(bench.columns, package, settings).run(7)
        for program in ("", bench.trapping_program):
            got = bench.run({**group, "climlink_device": "auto"}, 2, program, n_step=7, n_chunk=2)
            assert compare(got, expected, package) == 2
        require_tape_fields(got[-1], package, legacy=True, fork_driver=False)
        plain = bench.run(
            {**group, "climlink_legacy": False, "cb_strato_water_constraint": False}, 1
        )
        assert "NN_CLIPPED" not in plain[-1]
    cuda = {**group, "cb_use_cuda": True, "climlink_device": "auto"}
    require_one_message(bench.start(cuda, 2), "cuda")


def check_constraints(bench: Bench) -> None:
    """Constraints that the namelist leaves out: the model gets what a package without them gives,
    and the log says so.
    """
    whole = bench.folder / "whole.pt"
    write_mixed(whole, "host_v2_q", rules=tuple(RULES))
    emulator = {"climlink_package": str(whole), "cb_spinup_step": 1}
    raw = {}
    for off in ([], ["non_negative_surface"], ["warming_only"], list(RULES)[::-1]):
        without = bench.folder / "without.pt"
        write_mixed(without, "host_v2_q", rules=[r for r in RULES if r not in off])
        expected = Model(bench.columns, without, Settings(spin_up=1)).run(3)
        entries = {**emulator, **({"climlink_constraints_off": off} if off else {})}
        assert compare(bench.run(entries, 1 + bool(off), n_step=3, n_chunk=2), expected, whole) == 2
        raw[tuple(off)] = expected[1]["raw"]
        said = [
            line
            for line in bench.start(entries, 2).stdout.splitlines()
            if "this run leaves out" in line
        ]
        assert [line.split(": ")[-1].strip() for line in said] == (
            [",".join(r for r in RULES if r in off)] if off else []
        ), said
    for rule, names in (("warming_only", ["ptend_t"]), ("non_negative_surface", SURFACE)):
        lowest = {off: min(raw[off][n].min() for n in names) for off in ((), (rule,))}
        assert lowest[()] == 0.0 > lowest[(rule,)], (
            f"{rule} has nothing to do: the test would not notice it"
        )
    for off, text in (
        (["warmin_only"], "Near names: warming_only"),
        (["warming_only", "warming_only"], "2 times"),
        (["night"], "It has: warming_only, non_negative_surface"),
    ):
        require_one_message(bench.start({**emulator, "climlink_constraints_off": off}, 2), text)
    unpinned = bench.start({**emulator, "climlink_compiled": "a.pt2"}, 2).stdout
    assert "torchscript runs: a.pt2 does not run here: it is native code" in unpinned, unpinned
    nothing = {**emulator, "climlink_compiled_digest": "0" * 64}
    require_one_message(bench.start(nothing, 2), "compiled names no artefact")
    plain = {
        "climlink_package": str(bench.fixtures / "climsim_q.pt"),
        "cb_spinup_step": 0,
        "climlink_constraints_off": ["scale"],
    }
    require_one_message(bench.start(plain, 2), "the graph has no switch for it")


PARTS: dict[str, Callable[[Bench], None]] = {
    "table": check_table,
    "values": check_values,
    "chunks": check_chunks,
    "run1": check_run1,
    "restart": check_restart,
    "partial": check_partial,
    "partial_levels": check_partial_levels,
    "legacy": check_legacy,
    "confidence": check_confidence,
    "counters": check_counters,
    "constraints": check_constraints,
    "range_use": check_range_use,
    "published": check_published,
    "levels": check_levels,
    "group": check_group,
    "water_fixer": check_water_fixer,
    "faults": check_faults,
    "traps": check_traps,
}


def main(part: str, fixtures: str, programs: list[str], mpiexec: list[str]) -> None:
    """Run one part in a folder of its own."""
    assert LEVELS == 60
    with tempfile.TemporaryDirectory() as name:
        PARTS[part](Bench(Path(name), Path(fixtures), *programs, mpiexec))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:8], sys.argv[8:])
