"""The fixer that closes the water of the globe in each step, on any number of ranks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from adapter_bench import N_COLUMN, Bench, Records, compare, compare_without_frame
from adapter_bench import require_tape_fields as require_fields
from adapter_faults import counter_lines, require_one_message
from make_adapter_fixtures import write_mixed
from reference_model import (
    CHANGES,
    GRAVIT,
    TENDENCIES,
    Fields,
    Model,
    Settings,
    areas,
    make_columns,
    write_columns,
)

WATER = [f"NN_{name}" for name in TENDENCIES[1:4]]
CHANGED = [CHANGES[name] for name in ("q1", "q2", "q3")]
FACTOR = 0.8
NUMBER = r"(-?\d\.\d+E[+-]\d+)"
LINE = (
    rf"; water of the globe made {NUMBER} kg/m2/s, precipitation added {NUMBER} kg/m2/s, by "
    rf"factors from {NUMBER} to {NUMBER}"
)


def check_water_fixer(bench: Bench) -> None:
    """Precipitation is scaled by one factor, the same on any number of ranks to the last bit, and
    what that moved is in the history and in the log; the state is as without the fixer.
    """
    package = bench.folder / "v2.pt"
    write_mixed(package, "host_v2_q")
    thick = _columns(bench, package)
    loop: dict[str, Any] = {"n_step": 4, "columns_file": _written(bench, thick, "thick")}
    entries = {
        "climlink_package": str(package),
        "cb_spinup_step": 1,
        "climlink_water_fixer": "precipitation",
        "climlink_log_steps": 4,
    }
    settings = Settings(spin_up=1, water_fixer=True)
    expected = Model(thick, package, settings).run(4)
    factors = [record["fix"]["factor"] for record in expected[1:]]
    assert all(0.75 < f < 0.85 for f in factors), factors
    runs = []
    for ranks, chunks in ((1, 1), (2, 3), (4, 2)):
        runs.append(bench.run(entries, ranks, n_chunk=chunks, **loop))
        assert compare(runs[-1], expected, package) == 3
        require_fields(runs[-1][-1], package, legacy=False, fork_driver=False, water_fixer=True)
    for run in runs[1:]:
        _require_equal(run, runs[0])
    for record in runs[0][1:]:
        lost, rain = _globe(record, thick)
        assert abs(lost - rain) < 1e-14 * rain, "closed to rounding"
    without = bench.run({**entries, "climlink_water_fixer": "none"}, 2, **loop)
    for name in ("t", "q1", "q2", "q3", "u", "v", "NN_cam_out_PRECC"):
        assert all(
            np.array_equal(a[name], b[name])
            for a, b in zip(runs[0], without, strict=True)
            if name in a
        )
    lines = [counter_lines(bench.start(entries, ranks, n_chunk=2, **loop)) for ranks in (1, 4)]
    assert lines[0] == lines[1]
    _require_line(lines[0][0], expected)
    whole = bench.run(entries, 2, entry="all", **loop)[1:]
    # Without the step's frame nothing spins up.
    alone = Model(thick, package, Settings(water_fixer=True)).run(4)[1:]
    assert compare_without_frame(whole, alone, package) == 3
    check_together(bench, entries, loop, thick, factors)
    check_limits(bench, entries)
    check_levels(bench, entries)
    check_refusals(bench, entries)


def check_together(
    bench: Bench,
    entries: dict[str, Any],
    loop: dict[str, Any],
    thick: Fields,
    plain: list[float],
) -> None:
    """The fixer comes after the old post-processing, and before outputs are blended."""
    package = bench.folder / "v2.pt"
    expected = Model(thick, package, Settings(spin_up=1, legacy=True, water_fixer=True)).run(4)
    assert expected[1]["fix"]["factor"] not in (*plain, 0.5, 2.0), "the order does not show"
    got = bench.run({**entries, "climlink_legacy": True}, 2, n_chunk=2, **loop)
    assert compare(got, expected, package) == 3
    names = ["ptend_q0001", "cam_out_PRECC"]
    partial = {
        "cb_partial_coupling": True,
        "cb_partial_coupling_vars": names,
        "cb_do_ramp": True,
        "cb_ramp_factor": 0.5,
    }
    settings = Settings(spin_up=1, variables=names, weight=lambda n: 0.5, water_fixer=True)
    got = bench.run({**entries, **partial}, 2, n_chunk=2, **loop)
    assert compare(got, Model(thick, package, settings).run(4), package) == 3


def check_limits(bench: Bench, entries: dict[str, Any]) -> None:
    """Beyond the limits the rest stays, and the log says how much."""
    package = bench.folder / "v2.pt"
    expected = Model(bench.columns, package, Settings(spin_up=1, water_fixer=True)).run(4)
    assert [r["fix"]["factor"] for r in expected[1:]] == [0.5] * 3
    assert compare(bench.run(entries, 2, n_step=4), expected, package) == 3
    _require_line(counter_lines(bench.start(entries, 2, n_step=4))[0], expected)


def check_levels(bench: Bench, entries: dict[str, Any]) -> None:
    """With a remap the water is what the model's levels get, which no water may leave negative."""
    host = make_columns(N_COLUMN, levels=72)
    path = _written(bench, host, "host72")
    remapped = {**entries, "cb_spinup_step": 0, "climlink_vertical_remap": "conservative"}

    def run() -> dict[str, np.ndarray]:
        return bench.run(remapped, 2, bench.levels_program, columns_file=path)[0]

    lost, _ = _globe(run(), host, CHANGED)
    host["pdel"] *= 0.9 * 1e-5 / lost  # precipitation is 1e-5 kg/m2/s everywhere
    path = _written(bench, host, "host72")
    record = run()
    lost, rain = _globe(record, host, CHANGED)
    # Changes are differences of states over a step, which round.
    assert abs(lost - rain) < 1e-8 * rain
    assert rain < 0.95e-5


def check_refusals(bench: Bench, entries: dict[str, Any]) -> None:
    """Where not all chunks are there at once, or land keeps its precipitation, nothing can be
    closed.
    """
    wrong = {**entries, "climlink_water_fixer": "vapour"}
    require_one_message(bench.start(wrong, 2), "must be 'none' or 'precipitation', not 'vapour'")
    bench.require_no_step("a fixer that does not exist")
    ocean = bench.start(entries, 2, bench.ocean_program)
    require_one_message(ocean, "MMF_NN_EMULATOR_OCN_ONLY")
    bench.require_no_step("land keeps its precipitation")
    chunks = bench.start({**entries, "cb_spinup_step": 0}, 1, entry="chunks")
    require_one_message(chunks, "this driver calls neural_net chunk by chunk")


def _columns(bench: Bench, package: Any) -> Fields:
    """Return columns whose layers are so thick that the globe loses FACTOR of what falls in the
    first step, each column another share.
    """
    columns = {name: values.copy() for name, values in bench.columns.items()}
    columns["pdel"] *= (1 + 0.5 * np.sin(np.arange(N_COLUMN)))[:, None]
    raw = Model(columns, package).run(1)[0]["raw"]
    lost = -(columns["pdel"] / GRAVIT * sum(raw[n] for n in TENDENCIES[1:4])).sum(axis=1)
    rain = 1000.0 * raw["cam_out_PRECC"][:, 0]
    assert abs(np.mean(lost) / np.average(lost, weights=areas(N_COLUMN)) - 1) > 1e-3, (
        "the test would not notice a mean that does not weigh by area"
    )
    shares = [np.average(x, weights=areas(N_COLUMN)) for x in (lost, rain)]
    columns["pdel"] *= FACTOR * shares[1] / shares[0]
    return columns


def _written(bench: Bench, columns: Fields, name: str) -> str:
    write_columns(columns, bench.folder / f"{name}.bin")
    return str(bench.folder / f"{name}.bin")


def _globe(
    record: dict[str, np.ndarray], columns: Fields, gains: list[str] = WATER
) -> tuple[float, float]:
    """Return what the globe loses by fields of the history, and what falls in the model."""
    gained = sum(record[n] for n in gains)
    lost = -(columns["pdel"] / GRAVIT * gained).sum(axis=1)
    rain = 1000.0 * record["surface"].reshape(N_COLUMN, 8)[:, 3]
    weights = areas(N_COLUMN) / areas(N_COLUMN).sum()
    return float(weights @ lost), float(weights @ rain)


def _require_line(line: str, expected: list[dict[str, Any]]) -> None:
    """The log says what the reference model moved, to its six digits."""
    found = re.search(LINE, line)
    assert found is not None, line
    fixes = [record["fix"] for record in expected if "fix" in record]
    means = [float(np.mean([f[k] for f in fixes])) for k in ("made", "added")]
    factors = [f["factor"] for f in fixes]
    known = [*means, min(factors), max(factors)]
    np.testing.assert_allclose([float(x) for x in found.groups()], known, rtol=2e-5)


def _require_equal(got: Records, expected: Records) -> None:
    for a, b in zip(got, expected, strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[n], b[n], equal_nan=True) for n in a)
