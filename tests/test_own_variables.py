"""Own variables with a dimension of their own, from the files to a package that is verified and
evaluated.
"""

from __future__ import annotations

import json
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.climsim import find_pairs
from climlink.data.synthetic import write_dataset
from climlink.packages.read import EmulatorPackage

STAMPS = tuple(f"0008-{month:02d}-14-03600" for month in range(1, 7))
OWN = """
dims: {layer: 3}
variables:
  soil_t: {units: K, dims: [layer], range: [200, 350]}
  soil_flux: {units: W/m2, dims: [layer]}
sets:
  land_in: [state_ps, soil_t, state_t]
  land_out: [soil_flux, ptend_t, cam_out_FLWDS]
"""
NETWORK = """
from climlink.architectures import ArchitectureConfiguration, RowNetwork, RowShape
from climlink.architectures import register_architecture
from torch import Tensor, nn

@register_architecture("rows")
class Rows(RowNetwork):
    def __init__(self, shape: RowShape, configuration: ArchitectureConfiguration) -> None:
        super().__init__()
        self.map = nn.Linear(shape.n_input, shape.n_output)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.map(rows), rows[:, :0]
"""
TRAINING = """
name: land
store: land.zarr
variables: own.yaml
input_set: land_in
output_set: land_out
network_input_set: land_in
network_output_set: land_out
constraints: []
pruned_levels: 0
epochs: 4
device: cpu
threads: 1
architecture: {name: rows, file: rows.py}
"""


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.long
def test_own_variables_go_from_files_to_an_evaluated_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_dataset(tmp_path / "pairs", STAMPS, n_column=24, level_count=8)
    random = np.random.default_rng(2)
    for pair in find_pairs(folder):
        soil = random.uniform(260.0, 300.0, (3, 24))
        for path, name, value in ((pair.mli, "soil_t", soil), (pair.mlo, "soil_flux", 5.0 * soil)):
            with netCDF4.Dataset(path, "a") as dataset:
                dataset.createDimension("layer", 3)
                dataset.createVariable(name, "f8", ("layer", "ncol"))[...] = value
    for name, text in (("own.yaml", OWN), ("rows.py", NETWORK), ("land.yaml", TRAINING)):
        Path(name).write_text(text, encoding="utf-8")
    Path("split.yaml").write_text(f"test: ['{STAMPS[-2]}', '{STAMPS[-1]}']\n", encoding="utf-8")
    _run(
        "data",
        "prepare",
        "pairs",
        "--out",
        "land.zarr",
        "--split",
        "split.yaml",
        "--variables",
        "own.yaml",
    )
    _run("train", "land.yaml")
    _run("export", "runs/land", "-o", "land.pt")
    manifest = EmulatorPackage.read("land.pt").manifest
    assert manifest.dims == {"level": 8, "layer": 3}
    assert [(v.name, v.dims, v.width) for v in manifest.inputs.variables][1] == (
        "soil_t",
        ["layer"],
        3,
    )
    assert len(manifest.training_ranges["soil_t"][0]) == 3
    Path("own.yaml").unlink()  # the package holds its sets whole
    assert json.loads(_run("verify", "land.pt", "--json"))["passed"]
    _run("evaluate", "offline", "land.pt", "--data", "land.zarr", "-o", "scores")
    summary = json.loads(Path("scores/summary.json").read_text(encoding="utf-8"))
    assert {"r2.soil_flux", "r2.ptend_t", "r2.cam_out_FLWDS"} <= set(summary["metrics"])
