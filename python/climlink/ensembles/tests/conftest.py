"""Members whose answers are known: linear networks with weights that a test chooses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.packages.export import ExportSource, export_package
from climlink.packages.read import EmulatorPackage

STAMPS = tuple(f"0008-{month:02d}-14-03600" for month in range(1, 9))

Export = Callable[..., EmulatorPackage]


@pytest.fixture(scope="session")
def held_store(tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    """Return a synthetic store: two times to train, five to validate, one to test."""
    folder = tmp_path_factory.mktemp("held")
    source = write_dataset(folder / "pairs", STAMPS, n_column=24, level_count=60)
    path = folder / "held.zarr"
    prepare(source, path, split=Split(validation=STAMPS[2:7], test=STAMPS[7:]))
    return ColumnStore.open(path)


@pytest.fixture(scope="session")
def export_linear(linear_source: ExportSource, synthetic_store: ColumnStore) -> Export:
    """Return a function (path, seeds, **changes of the source) that exports a linear network whose
    weights are the mean of those that the seeds give.
    """
    rows = synthetic_store.pack(
        linear_source.emulator.contract.inputs, synthetic_store.indices("train")
    )

    def export(path: Path, *seeds: int, **changes: object) -> EmulatorPackage:
        emulator = copy.deepcopy(linear_source.emulator)
        with torch.no_grad():
            for parameter in emulator.network.parameters():
                drawn = [_drawn(parameter, seed) for seed in seeds]
                parameter.copy_(torch.stack(drawn).mean(dim=0))
        name = f"linear_{'_'.join(map(str, seeds))}"
        source = replace(linear_source, **{"name": name, "emulator": emulator, **changes})
        return export_package(source, torch.from_numpy(rows), path)

    return export


def _drawn(like: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(like.shape, generator=generator)


@pytest.fixture(scope="session")
def pair(
    export_linear: Export, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EmulatorPackage, EmulatorPackage]:
    """Return two linear members; treat them as read-only."""
    folder = tmp_path_factory.mktemp("pair")
    return export_linear(folder / "a.pt", 1), export_linear(folder / "b.pt", 2)


def _altered(package: EmulatorPackage, digest: str = "", **changes: Any) -> EmulatorPackage:
    manifest = package.manifest.model_copy(update=changes)
    return replace(package, manifest=manifest, digest=digest or package.digest)


@pytest.fixture(scope="session")
def altered() -> Callable[..., EmulatorPackage]:
    """Return a function (package, digest, **changes) that gives a package as if its manifest said
    something else: for what reads manifests only.
    """
    return _altered


@pytest.fixture(scope="session")
def host_rows(synthetic_store: ColumnStore, linear_source: ExportSource) -> torch.Tensor:
    """Return host rows of the test time [column, n_input], float32."""
    inputs = linear_source.emulator.contract.inputs
    return torch.from_numpy(synthetic_store.pack(inputs, synthetic_store.indices("test")))
