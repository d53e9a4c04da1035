"""Golden columns: away from thresholds where there are enough, else the least sensitive ones, and
then everybody is told.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.data.synthetic import synthetic_hybrid, synthetic_rows
from climlink.packages.export import ExportSource, export_package, tolerances
from climlink.packages.golden import (
    JUMP,
    MOST_SENSITIVITY,
    GoldenSamples,
    choose_columns,
    sensitivity,
)
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.read import EmulatorPackage
from climlink.runtime import Emulator
from climlink.wrappers.errors import ContractError, ManifestError
from climlink.wrappers.manifest import parse_manifest
from climlink.wrappers.variable_sets import variable_set


class Steep(nn.Module):
    """Waves over temperature: smooth and exact, but so steep that a change of 1e-6 shows in every
    column.
    """

    def __init__(self, waves_per_k: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(557, 308)
        self.waves_per_k = waves_per_k

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [torch.sin(self.waves_per_k * x[:, :60]), self.linear(torch.clamp(x, -1.0, 1.0))], dim=1
        )


def _imported(module: nn.Module, folder: Path) -> EmulatorPackage:
    torch.jit.script(module.eval()).save(str(folder / "old.pt"))
    return import_package(folder / "old.pt", ImportRequest("host_v2_rh"), folder / "wrap_model.pt")


def test_where_no_column_is_calm_the_least_sensitive_are_taken_and_it_is_said(
    tmp_path: Path,
) -> None:
    package = _imported(Steep(10.0), tmp_path)
    manifest = package.manifest
    measured = manifest.golden.sensitivity
    assert measured is not None
    # d sin(10 T) = 10 T 1e-6 = 2.5e-3 at 250 K, over s + |b| of 0.7 to 1.7
    assert JUMP < measured < 5e-3
    assert manifest.tolerance("torchscript", "cpu", "float32") == measured
    assert manifest.same_kernels_tolerance == 1e-6, (
        "the routes of this machine agree, as they were measured to"
    )
    rows = synthetic_rows(variable_set("host_v2_rh"), synthetic_hybrid(60), 256)
    moved = _moved(package, rows)
    chosen = _moved(package, package.golden_inputs)
    assert np.sort(moved)[15] == pytest.approx(chosen.max(), rel=0.5)
    assert chosen.max() < np.median(moved)
    said = f"move by up to {measured:.1e}"
    assert said in CliRunner().invoke(app, ["inspect", str(package.path)]).output
    result = CliRunner().invoke(app, ["verify", str(package.path)])
    assert result.exit_code == 0, result.output
    assert said in result.output
    with pytest.raises(
        ContractError,
        match=r"only 0 of 256 candidate columns are away from thresholds.*beyond 0\.01",
    ):
        _imported(Steep(300.0), tmp_path)


def _moved(package: EmulatorPackage, rows: np.ndarray) -> np.ndarray:
    """Return how far outputs move, in spreads of the outputs, when the inputs grow by a millionth,
    [column].
    """
    x = torch.from_numpy(rows)
    graph = package.load()
    y, z = graph(x).double(), graph(x * (1.0 + 1e-6)).double()
    return ((z - y).abs() / (package.difference_scale + y.abs())).amax(dim=1).detach().numpy()


def test_golden_columns_are_spread_over_calm_ones_else_the_least_sensitive() -> None:
    rows = torch.arange(8.0)[:, None]
    moved = torch.tensor(
        [1e-4, 5e-3, 1e-4, 2e-3, 9e-1, 1e-4, 3e-3, float("inf")], dtype=torch.float64
    )
    every = torch.ones(8, dtype=torch.bool)
    calm = choose_columns(rows, moved, every, count=3)
    assert (calm.rows.flatten().tolist(), calm.sensitivity) == ([0.0, 2.0, 5.0], None)
    least = choose_columns(rows, moved, every, count=5)
    assert (least.rows.flatten().tolist(), least.sensitivity) == ([0.0, 2.0, 3.0, 5.0, 6.0], 3e-3)
    usable = every.clone()
    usable[0] = False
    assert choose_columns(rows, moved, usable, count=3).rows.flatten().tolist() == [2.0, 3.0, 5.0]
    with pytest.raises(ContractError, match=r"move by up to 9\.0e-01 .* beyond 0\.01"):
        choose_columns(rows, moved, every, count=7)
    with pytest.raises(ContractError, match="only 7 of 8 candidate columns can be golden; need 8"):
        choose_columns(rows, moved, usable, count=8)


@pytest.mark.parametrize(
    ("sensitivity", "expected"), [(None, (2e-5, 1e-4)), (3e-5, (3e-5, 1e-4)), (4e-3, (4e-3, 4e-3))]
)
def test_other_machines_may_differ_by_what_the_columns_move(
    sensitivity: float | None, expected: tuple[float, float]
) -> None:
    entries = tolerances(GoldenSamples(torch.zeros(2, 1), sensitivity))
    assert {e.device: e.tolerance for e in entries} == dict(
        zip(("cpu", "cuda"), expected, strict=True)
    )


def test_a_sensitivity_in_a_manifest_is_positive(linear_package: EmulatorPackage) -> None:
    record = json.loads(linear_package.manifest.to_json())
    assert record["golden"].pop("sensitivity") is None
    assert parse_manifest(json.dumps(record), "here").golden.sensitivity is None, (
        "older packages do not have the key"
    )
    record["golden"]["sensitivity"] = MOST_SENSITIVITY
    manifest = parse_manifest(json.dumps(record), "here")
    assert manifest.golden.sensitivity == MOST_SENSITIVITY
    record["golden"]["sensitivity"] = 0.0
    with pytest.raises(ManifestError, match=r"golden\.sensitivity"):
        parse_manifest(json.dumps(record), "here")


def test_an_export_without_calm_columns_takes_the_least_sensitive_and_says_so(
    linear_source: ExportSource, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    """Outputs held to a four-thousandth of their spread, and the sixteen columns that move most:
    small outputs among them move by 5e-3.
    """
    strict = {
        name: [s / 4000.0 for s in scale] for name, scale in linear_source.difference_scale.items()
    }
    emulator = linear_source.emulator
    rows = torch.from_numpy(
        synthetic_store.pack(emulator.contract.inputs, synthetic_store.indices("train"))
    )
    with torch.no_grad():
        moved = sensitivity(
            emulator,
            rows,
            torch.tensor([s for n in emulator.contract.outputs.names for s in strict[n]]),
        )
    restless = rows[moved.argsort(descending=True)[:16]]
    package = export_package(
        replace(linear_source, difference_scale=strict), restless, tmp_path / "wrap_model.pt"
    )
    measured = package.manifest.golden.sensitivity
    assert measured is not None
    assert JUMP < measured <= MOST_SENSITIVITY
    assert package.manifest.tolerance("torchscript", "cpu", "float32") == measured
    assert Emulator(package.path, level_count=60, time_step_s=1200.0).run_packed(
        package.golden_inputs
    ).shape == (16, 368)
    calm = export_package(linear_source, rows, tmp_path / "calm.pt").manifest
    assert (calm.golden.sensitivity, calm.tolerance("torchscript", "cpu", "float32")) == (
        None,
        2e-5,
    )
