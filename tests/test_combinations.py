"""Every architecture with every recipe: two steps of training, the export, and the same columns
down the routes of this process; the routes of other processes take too long for every day.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from climlink.data.climsim import find_pairs
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.statistics import compute_statistics, write_statistics
from climlink.data.store import ColumnStore, StoreConfig
from climlink.online.aquaplanet import AquaplanetConfig, run_aquaplanet
from climlink.packages.export import export_run
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import ROUTES, verify
from climlink.training.composition import load_training
from climlink.training.run import train

ARCHITECTURES = (
    "unet", "squeezeformer", "pure_reslstm", "pao", "convnext", "encoder_decoder_lstm",
)  # fmt: skip
RECIPES = ("standard", "confidence", "difference", "multirepresentation")


IN_THIS_PROCESS = ("python_eager", "torchscript", "pybind")


def _with_statistics(store: Path) -> Path:
    write_statistics(compute_statistics(ColumnStore.open(store)), store.with_suffix(".nc"))
    return store


@pytest.fixture(scope="module")
def real_store(climsim_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of three real snapshots, with its statistics beside it."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "pairs").mkdir()
    for pair in find_pairs(climsim_dir)[:30:10]:
        for file in (pair.mli, pair.mlo):
            (folder / "pairs" / file.name).symlink_to(file.resolve())
    grid = next(climsim_dir.glob("*grid-info.nc"))
    prepare(folder / "pairs", folder / "real.zarr", split=Split(), grid=grid)
    return _with_statistics(folder / "real.zarr")


@pytest.fixture(scope="module")
def lagged_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the embedded model's first steps with the inputs of earlier ones."""
    folder = tmp_path_factory.mktemp("lagged")
    case = AquaplanetConfig.model_validate(
        {
            "host": "aquaplanet",
            "name": "steps",
            "days": 6 / 72,
            "history": {"monthly": False},
            "pairs": {"every_steps": 1, "from_day": 0},
            "output": folder / "run",
            "ranks": 1,
        }
    )
    run_aquaplanet(case)
    prepare(
        folder / "run" / "climsim",
        folder / "lagged.zarr",
        split=Split(),
        config=StoreConfig(lags=True),
    )
    return _with_statistics(folder / "lagged.zarr")


def _package(architecture: str, recipe: str, store: Path, out: Path) -> EmulatorPackage:
    """Train two steps and export."""
    config = load_training(
        None,
        {
            "architecture": architecture,
            "recipe": recipe,
            "preset": "tiny",
            "data": str(store),
            "statistics": str(store.with_suffix(".nc")),
            "output": str(out / "run"),
            "validation": {"source": "cut", "every": 3},
            "max_steps": 2,
            "batch_size": 32,
            "tensorboard": False,
        },
    )
    result = train(config, progress=False)
    assert result.metrics["step"] == 2
    return export_run(result.directory, out / "wrap_model.pt")


def _verified(package: EmulatorPackage, routes: Sequence[str]) -> bool:
    found = verify(package, routes=routes)
    assert found.passed, found.as_dict()
    return all(r.passed for r in found.routes)  # none may be missing here


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_on_real_columns(architecture: str, recipe: str, real_store: Path, tmp_path: Path) -> None:
    package = _package(architecture, recipe, real_store, tmp_path)
    assert package.manifest.n_output == (676 if recipe == "confidence" else 368)
    assert _verified(package, IN_THIS_PROCESS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_inputs_of_earlier_steps(
    architecture: str, lagged_store: Path, tmp_path: Path
) -> None:
    package = _package(architecture, "v6", lagged_store, tmp_path)
    assert package.manifest.n_input == 1519
    assert _verified(package, IN_THIS_PROCESS)


@pytest.mark.long
@pytest.mark.parametrize("recipe", [*RECIPES, "v6"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_down_all_five_routes(
    architecture: str,
    recipe: str,
    real_store: Path,
    lagged_store: Path,
    tmp_path: Path,
) -> None:
    store = lagged_store if recipe == "v6" else real_store
    assert _verified(_package(architecture, recipe, store, tmp_path), tuple(ROUTES))
