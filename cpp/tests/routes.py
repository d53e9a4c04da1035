"""The Python module and the C program against plain TorchScript; run by ctest (cpp.routes) with the
fixtures of make_fixtures.py.
"""

from __future__ import annotations

import gc
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import _runtime as runtime
import numpy as np
import pytest
import torch

FIXTURES = Path(os.environ["CLIMLINK_FIXTURES"])
C_ROUTE = os.environ["CLIMLINK_C_ROUTE"]


@pytest.fixture
def emulator() -> Any:
    """An open tiny package."""
    return runtime.Emulator(FIXTURES / "tiny.pt", level_count=4, time_step_s=1200.0)


def rows(count: int) -> np.ndarray:
    """Return random packed rows [count, 9] of the tiny package."""
    x = np.random.default_rng(5).standard_normal((count, 9)).astype(np.float32)
    x[:, 8] = 1 + np.abs(x[:, 8])
    return x


def torchscript(x: np.ndarray) -> np.ndarray:
    """Return what plain TorchScript makes of packed rows, in batches the runtime uses too."""
    with torch.inference_mode():
        return torch.jit.load(str(FIXTURES / "tiny.pt"))(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("count", [0, 1, 7, 64, 200])
def test_packed_rows_equal_torchscript(emulator: Any, count: int) -> None:
    x = rows(count)
    y = emulator.run_packed(x)
    assert y.shape == (count, 5)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, torchscript(x), rtol=1e-5, atol=1e-6)


def test_by_name_equals_packed(emulator: Any) -> None:
    x = rows(10)
    emulator.begin(10)
    emulator.set("state_t", np.asfortranarray(x[:, :4].astype(np.float64)))
    emulator.set("state_q0001", x[:, 4:8])  # strided float32
    emulator.set("state_ps", x[:6, 8].astype(np.float64))
    emulator.set("state_ps", x[6:, 8], first_column=6)
    emulator.run()
    tendency = np.zeros((10, 4), order="F")
    rain = np.zeros(20, dtype=np.float32)[::2]
    emulator.get("ptend_t", tendency)
    emulator.get("cam_out_PRECC", rain)
    expected = emulator.run_packed(x)
    np.testing.assert_array_equal(tendency, expected[:, :4].astype(np.float64))
    np.testing.assert_array_equal(rain, expected[:, 4])


def test_describes_itself(emulator: Any) -> None:
    assert emulator.inputs == [
        ("state_t", "K", 4, 0),
        ("state_q0001", "kg/kg", 4, 4),
        ("state_ps", "Pa", 1, 8),
    ]
    assert emulator.outputs[1] == ("cam_out_PRECC", "m/s", 1, 4)
    assert (emulator.level_count, emulator.time_step_s, emulator.device) == (4, 1200.0, "cpu")
    assert emulator.backend == runtime.backend == "torchscript"
    assert len(emulator.digest) == 64
    assert '"schema_version"' in emulator.manifest
    assert 0 <= emulator.golden_difference <= 1e-6
    emulator.require_units("input", "state_ps", "Pa")


def test_opens_from_bytes_and_text() -> None:
    path = FIXTURES / "tiny.pt"
    digest = runtime.Emulator(path.read_bytes()).digest
    assert runtime.Emulator(str(path), pinned_sha256=digest).digest == digest


@pytest.mark.parametrize(
    ("name", "options", "status"),
    [
        ("absent.pt", {}, "file"),
        ("truncated.pt", {}, "file"),
        ("text.pt", {}, "package"),
        ("newer_schema.pt", {}, "schema"),
        ("older_schema.pt", {}, "schema"),
        ("chain_broken.pt", {}, "package"),
        ("chain_drifts.pt", {}, "golden"),
        ("tiny.pt", {"pinned_sha256": "0" * 64}, "digest"),
        ("tiny.pt", {"level_count": 60}, "host"),
        ("tiny.pt", {"time_step_s": 1800.0}, "host"),
        ("tiny.pt", {"device": "abacus"}, "argument"),
        ("tiny.pt", {"threads": 0}, "argument"),
        ("golden_tampered.pt", {}, "golden"),
        ("wide_output.pt", {}, "graph"),
    ],
)
def test_refusals_carry_their_status(name: str, options: dict[str, Any], status: str) -> None:
    with pytest.raises(runtime.EmulatorError) as caught:
        runtime.Emulator(FIXTURES / name, **options)
    assert caught.value.status == status
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize(
    "x",
    [
        rows(4).astype(np.float64),
        rows(8)[::2],
        np.asfortranarray(rows(4)),
        rows(4)[0],
        rows(4)[:, :8].copy(),
        rows(4).astype(">f4"),
    ],
    ids=["float64", "strided", "fortran", "one_row", "narrow", "big_endian"],
)
def test_packed_arrays_are_never_cast(emulator: Any, x: np.ndarray) -> None:
    with pytest.raises(runtime.EmulatorError) as caught:
        emulator.run_packed(x)
    assert caught.value.status == "shape"


def test_wrong_arrays_and_order_are_refused(emulator: Any) -> None:
    with pytest.raises(runtime.EmulatorError, match="begin"):
        emulator.set("state_t", np.zeros((2, 4)))
    emulator.begin(2)
    with pytest.raises(runtime.EmulatorError, match="float32 or float64"):
        emulator.set("state_t", np.zeros((2, 4), dtype=np.int64))
    with pytest.raises(runtime.EmulatorError, match="rank"):
        emulator.set("state_t", np.zeros(2))
    with pytest.raises(runtime.EmulatorError, match=r"\[column, level\]"):
        emulator.set("state_t", np.zeros((2, 4, 1)))
    with pytest.raises(runtime.EmulatorError, match="1 to 4 dimensions"):
        emulator.set("state_t", np.zeros((2, 4, 1, 1, 1)))
    with pytest.raises(runtime.EmulatorError, match="1 to 4 dimensions"):
        emulator.set("state_t", np.zeros(()))
    with pytest.raises(runtime.EmulatorError, match="stride"):
        emulator.set("state_t", np.broadcast_to(np.float64(1), (2, 4)))
    with pytest.raises(runtime.EmulatorError, match="not set"):
        emulator.run()
    with pytest.raises(
        runtime.EmulatorError, match=r"column 1 \(0-based\), level 2: NaN"
    ) as caught:
        emulator.set("state_t", np.where(np.arange(8).reshape(2, 4) == 6, np.nan, 1.0))
    assert caught.value.status == "nonfinite"
    for name, values in [
        ("state_t", np.ones((2, 4))),
        ("state_q0001", np.ones((2, 4))),
        ("state_ps", np.ones(2)),
    ]:
        emulator.set(name, values)
    emulator.run()
    frozen = np.zeros((2, 4))
    frozen.flags.writeable = False
    with pytest.raises(runtime.EmulatorError, match="read-only"):
        emulator.get("ptend_t", frozen)
    with pytest.raises(runtime.EmulatorError, match="role"):
        emulator.require_units("inputs", "state_t", "K")


def fields(count: int) -> np.ndarray:
    """Return random packed rows [count, 37] of the field package: sst [3, 4], soil [3, 4, 2],
    season.
    """
    return np.random.default_rng(8).standard_normal((count, 37)).astype(np.float32)


def field_by_field(x: np.ndarray) -> np.ndarray:
    """Return what plain TorchScript makes of fields, one at a time."""
    graph = torch.jit.load(str(FIXTURES / "field.pt"))
    with torch.inference_mode():
        return torch.cat([graph(row) for row in torch.from_numpy(x).split(1)]).numpy()


def test_fields_of_any_axis_order_equal_torchscript() -> None:
    emulator = runtime.Emulator(FIXTURES / "field.pt")
    x = fields(5)
    expected = field_by_field(x)
    np.testing.assert_array_equal(emulator.run_packed(x), expected)
    emulator.begin(5)
    emulator.set("sst", np.asfortranarray(x[:, :12].reshape(5, 3, 4).astype(np.float64)))
    lon_first = np.ascontiguousarray(x[:, 12:36].reshape(5, 3, 4, 2).transpose(2, 3, 0, 1))
    emulator.set("soil", lon_first.transpose(2, 3, 0, 1))
    emulator.set("season", x[::-1, 36][::-1])
    emulator.run()
    rain, moisture = np.zeros((5, 6, 8), order="F"), np.zeros((5, 4, 3, 2), dtype=np.float32)
    emulator.get("rain", rain)
    emulator.get("moisture", moisture.transpose(0, 3, 2, 1))
    np.testing.assert_array_equal(rain.reshape(5, 48), expected[:, :48])
    np.testing.assert_array_equal(moisture.transpose(0, 3, 2, 1).reshape(5, 24), expected[:, 48:])
    with pytest.raises(
        runtime.EmulatorError, match=r"the package's order is \[sample, depth, lat, lon\]"
    ) as caught:
        emulator.get("moisture", moisture)
    assert caught.value.status == "shape"


def test_fields_describe_themselves() -> None:
    emulator = runtime.Emulator(FIXTURES / "field.pt", level_count=60, time_step_s=1800.0)
    assert emulator.variables("input")[1] == {
        "name": "soil",
        "units": "1",
        "dims": ["lat", "lon", "depth"],
        "sizes": [3, 4, 2],
        "role": "value",
        "width": 24,
        "offset": 12,
    }
    assert [v["dims"] for v in emulator.variables("output")] == [
        ["lat_fine", "lon_fine"],
        ["depth", "lat", "lon"],
    ]
    assert emulator.variables("input")[2]["dims"] == emulator.variables("input")[2]["sizes"] == []
    assert (emulator.level_count, emulator.time_step_s, emulator.carried) == (0, 0.0, [])
    assert (emulator.dim_size("lon"), emulator.dim_size("level")) == (4, 0)
    emulator.require_coordinate("lat", np.array([-60, 0, 60], dtype=np.float32))
    emulator.require_coordinate("lon_fine", [1.0])
    for dim, values, status in [
        ("lat", [60.0, 0.0, -60.0], "host"),
        ("lat", [], "host"),
        ("latitude", [0.0], "variable"),
    ]:
        with pytest.raises(runtime.EmulatorError) as caught:
            emulator.require_coordinate(dim, values)
        assert caught.value.status == status


def test_a_rollout_by_name_follows_the_recurrence() -> None:
    """memory' = memory / 2 + forcing, from the static slope where a sample begins; sample 1 begins
    again in step 2.
    """
    emulator = runtime.Emulator(FIXTURES / "memory.pt")
    assert emulator.carried == [("memory_next", "memory"), ("total_next", "total")]
    assert [v["role"] for v in emulator.variables("input")] == [
        "value",
        "value",
        "carried",
        "start",
        "carried",
    ]
    random = np.random.default_rng(3)
    slope = random.integers(-8, 9, 2) / 8
    state, total, carried = (
        np.tile(slope, (4, 1)).T.copy(),
        np.zeros(2),
        {"memory": np.zeros((2, 4)), "total": np.zeros(2)},
    )
    for step in range(4):
        forcing = random.integers(-8, 9, (2, 4)) / 8
        start = np.array([step == 0, step in (0, 2)], dtype=np.float64)
        state[start == 1], total[start == 1] = slope[start == 1, None], 0
        state, total = state / 2 + forcing, total + 1
        emulator.begin(2)
        for name, values in {"forcing": forcing, "slope": slope, "start": start}.items():
            emulator.set(name, values)
        for name, values in carried.items() if step > 0 else ():
            emulator.set(name, values)
        emulator.run()
        for output, name in emulator.carried:
            emulator.get(output, carried[name])
        np.testing.assert_array_equal(carried["memory"], state)
        np.testing.assert_array_equal(carried["total"], total)


def test_threads_of_the_process_are_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    runtime.Emulator(FIXTURES / "tiny.pt", threads=1).run_packed(rows(30))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_two_emulators_run_on_two_threads() -> None:
    x = rows(64)
    emulators = [runtime.Emulator(FIXTURES / "tiny.pt") for _ in range(2)]
    expected = emulators[0].run_packed(x)
    results: list[bool] = []

    def work(emulator: Any) -> None:
        results.append(all(np.array_equal(emulator.run_packed(x), expected) for _ in range(200)))

    threads = [threading.Thread(target=work, args=(e,)) for e in emulators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True, True]
    del emulators
    gc.collect()


def c_route(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the C program."""
    return subprocess.run(
        [C_ROUTE, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("count", [0, 1, 13, 100])
def test_c_program_equals_python(emulator: Any, count: int, tmp_path: Path) -> None:
    x = rows(count)
    x.tofile(tmp_path / "x.f32")
    result = c_route(FIXTURES / "tiny.pt", tmp_path / "x.f32", count, tmp_path / "y.f32")
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "")
    y = np.fromfile(tmp_path / "y.f32", dtype=np.float32).reshape(count, 5)
    np.testing.assert_array_equal(y, emulator.run_packed(x))


def test_c_program_takes_fields_and_carried_state(tmp_path: Path) -> None:
    starts = np.random.default_rng(6).standard_normal((5, 11)).astype(np.float32)
    starts[:, 9] = [1, 0, 0, 1, 0]
    starts[starts[:, 9] == 1, 5:9] = starts[starts[:, 9] == 1, 10:] = (
        0  # what the runtime makes of them
    )
    for name, x in {"field.pt": fields(4), "memory.pt": starts}.items():
        x.tofile(tmp_path / "x.f32")
        result = c_route(FIXTURES / name, tmp_path / "x.f32", len(x), tmp_path / "y.f32")
        assert (result.returncode, result.stderr) == (0, "")
        y = np.fromfile(tmp_path / "y.f32", dtype=np.float32).reshape(len(x), -1)
        np.testing.assert_array_equal(y, runtime.Emulator(FIXTURES / name).run_packed(x))


def test_c_program_reports_failures(tmp_path: Path) -> None:
    rows(4).tofile(tmp_path / "x.f32")
    good, source, target = FIXTURES / "tiny.pt", tmp_path / "x.f32", tmp_path / "y.f32"
    for arguments, code, words in [
        ((), 2, "usage"),
        ((good, source, "four", target), 2, "usage"),
        ((good, source, -1, target), 2, "usage"),
        ((good, source, 5, target), 1, "fewer float32 values"),
        ((good, source, 3, target), 1, "more float32 values"),
        ((good, tmp_path / "absent", 4, target), 1, "No such file"),
        ((good, source, 4, tmp_path / "no" / "folder"), 1, "No such file"),
        ((FIXTURES / "text.pt", source, 4, target), 1, "not a package"),
        ((good, source, 2**62, target), 1, "too large"),
    ]:
        result = c_route(*arguments)
        assert result.returncode == code, result.stderr
        assert words in result.stderr
