"""Five routes: they agree, and a package that is not what it says fails with exit code 1."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.columns import read_columns
from climlink.installation import executable
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import ROUTES, RouteError, verified_device, verify
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.manifest import GOLDEN_OUTPUTS_ENTRY, MANIFEST_ENTRY

CLIMLINK = [sys.executable, "-m", "climlink"]


def _tampered(package: EmulatorPackage, target: Path, row: int, column: int, factor: float) -> Path:
    """Copy a package with one golden output changed and the digests in the manifest made to fit."""
    outputs = package.golden_outputs.copy()
    outputs[row, column] *= factor
    raw = json.loads(package.manifest.to_json())
    raw["golden"]["outputs_sha256"] = hashlib.sha256(outputs.tobytes()).hexdigest()
    with zipfile.ZipFile(package.path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            short = name.split("/extra/")[-1]
            replaced = {
                MANIFEST_ENTRY: json.dumps(raw).encode(),
                GOLDEN_OUTPUTS_ENTRY: outputs.tobytes(),
            }
            copy.writestr(name, replaced.get(short, source.read(name)))
    return target


def test_five_routes_agree_on_golden_and_other_columns(
    linear_package: EmulatorPackage, synthetic_dir: Path
) -> None:
    contract = EmulatorContract.from_manifest(linear_package.manifest)
    rows = read_columns(synthetic_dir, contract.inputs, contract.outputs)
    result = verify(linear_package, rows.inputs)
    assert list(result.as_dict()["routes"]) == [
        "python_eager",
        "torchscript",
        "pybind",
        "c",
        "fortran_mpi",
    ]
    for route in result.routes:
        assert route.error is None
        assert route.max_difference <= 1e-6, route
    assert result.passed


def test_rh_hosts_are_served_too(
    export_untrained: Callable[..., EmulatorPackage], tmp_path: Path
) -> None:
    package = export_untrained("host_v2_rh", tmp_path / "wrap_model.pt")
    assert "state_rh" in [v.name for v in package.manifest.inputs.variables]
    assert verify(package).passed


def test_a_unet_takes_the_five_routes(unet_package: EmulatorPackage, synthetic_dir: Path) -> None:
    contract = EmulatorContract.from_manifest(unet_package.manifest)
    rows = read_columns(synthetic_dir, contract.inputs, contract.outputs)
    result = verify(unet_package, rows.inputs)
    assert result.passed, [(r.route, r.error, r.max_difference) for r in result.routes]


def test_a_golden_mismatch_fails_every_route(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    at = linear_package.manifest.outputs.variables[0].offset + 40
    assert abs(linear_package.golden_outputs[3, at]) > 1e-7
    path = _tampered(linear_package, tmp_path / "wrap_model.pt", 3, at, 1.01)
    result = verify(EmulatorPackage.read(path))
    assert not any(route.passed for route in result.routes)
    by_name = {route.route: route for route in result.routes}
    value = float(linear_package.golden_outputs[3, at])
    scale = linear_package.manifest.difference_scale["ptend_t"][40]
    assert by_name["torchscript"].differences["ptend_t"] == pytest.approx(
        0.01 * abs(value) / (scale + 1.01 * abs(value)), rel=1e-4
    )
    for name in ("pybind", "c", "fortran_mpi"):
        assert "ptend_t" in str(by_name[name].error)


def test_command_line_json_and_exit_codes(
    linear_package: EmulatorPackage, synthetic_dir: Path, tmp_path: Path
) -> None:
    command = [*CLIMLINK, "verify", str(linear_package.path), "--json"]
    good = subprocess.run(
        [*command, "--data", str(synthetic_dir)], capture_output=True, text=True, check=False
    )
    assert good.returncode == 0, good.stderr
    report = json.loads(good.stdout)
    assert set(report) == {"package", "device", "passed", "routes", "same_bits"}
    assert report["device"] == "cpu"
    unequal = {"pybind": 0, "c": 0, "fortran_mpi": 0}
    assert report["same_bits"] == {"passed": True, "unequal_values": unequal}
    assert set(report["routes"]) == set(ROUTES)
    assert all(
        set(r) == {"passed", "max_difference", "tolerance"} for r in report["routes"].values()
    )
    bad_path = _tampered(linear_package, tmp_path / "wrap_model.pt", 0, 45, 1.5)
    bad = subprocess.run(
        [*CLIMLINK, "verify", str(bad_path), "--json"], capture_output=True, text=True, check=False
    )
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["passed"] is False


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_device_that_is_not_there_is_told_before_any_route_runs(
    linear_package: EmulatorPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in ("cuda", "cuda:1", "xpu"):
        with pytest.raises(RouteError, match=f"device '{device}' was asked for, but this torch"):
            verify(linear_package, device=device)
    for device in ("gpu", "cuda:", "cuda:x", "cpu:0", "auto:1"):
        with pytest.raises(RouteError, match=r"is not known; expected cpu, cuda, cuda:N"):
            verify(linear_package, device=device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [verified_device(d) for d in ("cuda", "cuda:1")] == ["cuda", "cuda:1"]
    with pytest.raises(RouteError, match=r"'cuda:2' was asked for, .* sees 2 cuda device"):
        verified_device("cuda:2")


def test_auto_is_the_cpu_without_a_gpu_and_the_command_line_says_what_is_missing(
    linear_package: EmulatorPackage,
) -> None:
    command = ["verify", str(linear_package.path), "--json", "--device"]
    here = CliRunner().invoke(app, [*command, "auto"])
    assert here.exit_code == 0
    assert json.loads(here.stdout)["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        assert CliRunner().invoke(app, [*command, "cuda"]).exit_code == 1


def test_on_a_gpu_the_tolerance_is_its_own_and_equal_bits_are_told_not_asked(
    linear_package: EmulatorPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The routes of a GPU, played by the CPU: one of them 3e-6 off, another beyond 1e-4.
    golden = linear_package.golden_outputs
    off = {"pybind": 1 + 3e-6, "fortran_mpi": 1 + 3e-3}
    asked = []

    def played(name: str) -> Callable[..., np.ndarray]:
        def route(package: EmulatorPackage, x: np.ndarray, device: str) -> np.ndarray:
            asked.append(device)
            return (golden * np.float32(off.get(name, 1))).astype(np.float32)

        return route

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("climlink.packages.verify.ROUTES", {n: played(n) for n in ROUTES})
    result = verify(linear_package, device="cuda")
    assert asked == ["cuda"] * len(ROUTES)
    assert {r.route: r.passed for r in result.routes} == dict.fromkeys(ROUTES, True) | {
        "fortran_mpi": False
    }
    assert {r.tolerance for r in result.routes} == {
        linear_package.manifest.tolerance("torchscript", "cuda", "float32")
    }
    assert result.unequal_values["c"] > 0
    assert not result.passed
    assert verify(linear_package, device="cuda", routes=("pybind", "c")).passed


def test_a_climlink_without_fortran_names_the_missing_route(
    linear_package: EmulatorPackage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of_a_build_without_fortran(name: str) -> Path:
        return executable(f"{name}-of-no-build" if "fortran" in name else name)

    monkeypatch.setattr("climlink.packages.verify.executable", of_a_build_without_fortran)
    command = ["verify", str(linear_package.path)]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0
    assert "missing" in told.stdout
    assert "fortran_mpi was not checked, which is no fault of the package: climlink" in told.stderr
    report = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert report["passed"] is True
    missing = report["routes"]["fortran_mpi"]
    assert missing["passed"] is None
    assert missing["max_difference"] is None
    assert "climlink was built without it" in missing["missing"]
    assert report["same_bits"]["unequal_values"] == {"pybind": 0, "c": 0}


def test_real_columns(linear_package: EmulatorPackage, climsim_dir: Path) -> None:
    contract = EmulatorContract.from_manifest(linear_package.manifest)
    rows = read_columns(climsim_dir, contract.inputs, contract.outputs, stamps=["0008-07-07-54000"])
    assert rows.inputs.shape == (384, 557)
    result = verify(linear_package, rows.inputs)
    assert result.passed
    assert max(r.max_difference for r in result.routes) <= 1e-6
    assert np.isfinite(rows.targets).all()
