"""A small store that networks learn from, and a configuration of a short run on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.synthetic import write_dataset
from climlink.training.config import TrainingConfig

STAMPS = tuple(f"0008-{month:02d}-11-03600" for month in range(1, 9))
LEVELS = 16


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of eight times, 32 columns and 16 levels: six times to train, one to validate,
    one to test.
    """
    folder = tmp_path_factory.mktemp("learnable")
    write_dataset(folder / "pairs", STAMPS, n_column=32, level_count=LEVELS)
    _make_learnable(folder / "pairs")
    prepare(
        folder / "pairs",
        folder / "store.zarr",
        split=Split(validation=(STAMPS[6],), test=(STAMPS[7],)),
    )
    return folder / "store.zarr"


def _make_learnable(pairs: Path) -> None:
    """Let the heating be a relaxation of the temperature anomaly and the longwave follow the lowest
    temperature.
    """
    for mli in sorted(pairs.rglob("*.mli.*.nc")):
        mlo = mli.with_name(mli.name.replace(".mli.", ".mlo."))
        with (
            xr.open_dataset(mli, engine="netcdf4") as before,
            xr.open_dataset(mlo, engine="netcdf4") as opened,
        ):
            t, after = before["state_t"].load(), opened.load()
        after["state_t"] = t - 1200.0 * (t - t.mean("ncol")) / 86400.0
        after["cam_out_FLWDS"] = 5.67e-8 * t[-1] ** 4
        after.to_netcdf(mlo, format="NETCDF3_64BIT_DATA", engine="netcdf4")


@pytest.fixture
def configure(store_path: Path, tmp_path: Path) -> Callable[..., TrainingConfig]:
    """Return a function that makes a small configuration with some keys replaced."""

    def make(**fields: Any) -> TrainingConfig:
        base: dict[str, Any] = {
            "name": "small",
            "store": store_path,
            "output": tmp_path / "run",
            "pruned_levels": 3,
            "architecture": {"name": "mlp", "configuration": {"hidden": [24]}},
            "optimizer": {"learning_rate": 3e-3},
            "epochs": 2,
            "batch_size": 24,
            "device": "cpu",
            "threads": 1,
        }
        return TrainingConfig.model_validate({**base, **fields})

    return make
