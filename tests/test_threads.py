"""Packages do not depend on the number of threads of the process that makes or verifies them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from climlink.data.store import ColumnStore
from climlink.packages.export import raw_rows
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import ROUTES, verify
from climlink.threads import intra_op_threads

HELPER = Path(__file__).with_name("random_networks.py")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Give torch two threads for the length of a test."""
    with intra_op_threads(2):
        yield


Reports = list[dict[str, Any]]


def _in_a_process(
    threads: int,
    store: ColumnStore,
    folder: Path,
    seeds: list[int],
    *packages: Path,
) -> Reports:
    """Export the seeds' networks and verify them and other packages, with OMP_NUM_THREADS set."""
    folder.mkdir(exist_ok=True)
    arguments = [HELPER, store.path, folder, ",".join(map(str, seeds)), *packages]
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["threads"] == threads
    found: Reports = report["found"]
    return found


def _require_proved(found: Reports) -> None:
    """Every route ran within 1e-6, and the three of the Runtime gave the same bits."""
    for report in found:
        assert report["passed"], report
        assert all(route["max_difference"] <= 1e-6 for route in report["routes"].values()), report
        unequal = {"pybind": 0, "c": 0, "fortran_mpi": 0}
        assert report["same_bits"] == {"passed": True, "unequal_values": unequal}


def _require_same_golden(one: Path, two: Path) -> None:
    """Two packages hold the same golden columns, bit for bit."""
    first, second = EmulatorPackage.read(one), EmulatorPackage.read(two)
    assert first.golden_inputs.tobytes() == second.golden_inputs.tobytes()
    assert first.golden_outputs.tobytes() == second.golden_outputs.tobytes()


def _prove(store: ColumnStore, folder: Path, seeds: list[int]) -> None:
    """Packages made under one and two threads are equal; each is verified under both."""
    one, two = folder / "one", folder / "two"
    _require_proved(_in_a_process(1, store, one, seeds))
    _require_proved(_in_a_process(2, store, two, seeds, *(one / f"{s}.pt" for s in seeds)))
    for seed in seeds:
        _require_same_golden(one / f"{seed}.pt", two / f"{seed}.pt")
    _require_proved(_in_a_process(1, store, one, [], *(two / f"{s}.pt" for s in seeds)))


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 20, 5))
def test_twenty_random_networks_under_one_and_two_threads(
    synthetic_store: ColumnStore,
    tmp_path: Path,
    first: int,
) -> None:
    _prove(synthetic_store, tmp_path, list(range(first, first + 5)))


def test_a_network_of_all_kinds_of_layers_under_two_threads(
    synthetic_store: ColumnStore,
    tmp_path: Path,
) -> None:
    _require_proved(_in_a_process(2, synthetic_store, tmp_path, [6]))


class _Reversed(torch.nn.Module):
    """The last inputs, from the end."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(1)[:, :368] * 0.5 + 0.0 * x[:, 556:557]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets torch's number of threads when golden columns become bytes."""
    seen: list[int] = []

    def counting(rows: torch.Tensor) -> bytes:
        seen.append(torch.get_num_threads())
        return raw_rows(rows)

    monkeypatch.setattr("climlink.packages.export.raw_rows", counting)
    monkeypatch.setattr("climlink.packages.import_wrapper.raw_rows", counting)
    return seen


def test_export_and_import_compute_with_one_thread(
    two_threads: None,
    counts: list[int],
    export_untrained: Callable[..., EmulatorPackage],
    tmp_path: Path,
) -> None:
    export_untrained("host_v2_q", tmp_path / "exported.pt")
    torch.jit.script(_Reversed()).save(str(tmp_path / "old.pt"))
    request = ImportRequest(input_set="host_v2_q")
    import_package(tmp_path / "old.pt", request, tmp_path / "imported.pt")
    assert counts == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("name", ["python_eager", "torchscript"])
def test_routes_of_torch_compute_with_one_thread(two_threads: None, name: str) -> None:
    package = SimpleNamespace(
        manifest=SimpleNamespace(architecture=None),
        load=lambda device: lambda x: x + torch.get_num_threads(),
    )
    y = ROUTES[name](cast(EmulatorPackage, package), np.zeros((2, 3), np.float32), "cpu")
    np.testing.assert_array_equal(y, 1)
    assert torch.get_num_threads() == 2


def test_threads_come_back_after_an_error() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    @intra_op_threads(before + 1)
    def failing() -> None:
        seen.append(torch.get_num_threads())
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        failing()
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def test_a_route_of_the_runtime_with_other_bits_fails(
    linear_package: EmulatorPackage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    route = ROUTES["pybind"]

    def off_by_one_bit(package: EmulatorPackage, x: Any, device: str) -> Any:
        y = route(package, x, device)
        y.view(np.uint32)[3, 7] ^= 1
        return y

    monkeypatch.setitem(ROUTES, "c", off_by_one_bit)
    monkeypatch.setitem(ROUTES, "fortran_mpi", route)
    result = verify(linear_package)
    assert all(r.passed for r in result.routes)  # one bit is far below the tolerance
    assert result.unequal_values == {"pybind": 0, "c": 1, "fortran_mpi": 0}
    assert not result.passed
    assert result.as_dict()["same_bits"]["passed"] is False
