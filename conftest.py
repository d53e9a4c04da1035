"""Fixtures that every test folder may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from climlink.data.store import ColumnStore
    from climlink.packages.export import ExportSource
    from climlink.packages.read import EmulatorPackage

_ROOT = Path(__file__).parent
_STAMPS = ("0008-01-14-03600", "0008-04-24-76800", "0008-07-07-54000", "0008-10-22-20400")


@pytest.fixture(scope="session")
def climsim_dir() -> Path:
    """Return the folder with the real ClimSim files; the test is skipped, with the reason, where
    there is none.
    """
    named = os.environ.get("CLIMLINK_CLIMSIM_DIR")
    folder = Path(named) if named else _ROOT.parent / "shared" / "climsim"
    if not folder.is_dir():
        reason = f"no ClimSim files: {folder} does not exist (set CLIMLINK_CLIMSIM_DIR)"
        if os.environ.get("CLIMLINK_REQUIRE_CLIMSIM"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def synthetic_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with four synthetic mli/mlo pairs of 24 columns and 60 levels, and their grid
    file.
    """
    from climlink.data.synthetic import write_dataset

    return write_dataset(tmp_path_factory.mktemp("synthetic"), _STAMPS, n_column=24, level_count=60)


@pytest.fixture(scope="session")
def synthetic_store(synthetic_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    """Return the prepared store of synthetic_dir: three times to train, one to test."""
    from climlink.data.prepare import prepare
    from climlink.data.split import Split
    from climlink.data.store import ColumnStore

    path = tmp_path_factory.mktemp("store") / "synthetic.zarr"
    prepare(synthetic_dir, path, split=Split(test=(_STAMPS[-1],)))
    return ColumnStore.open(path)


@pytest.fixture(scope="session")
def linear_source(synthetic_store: ColumnStore) -> ExportSource:
    """Return a fitted linear emulator with all constraints but the output mask, ready to export;
    treat it as read-only.
    """
    return _untrained_source(synthetic_store, "host_v2_q", "linear", {})


@pytest.fixture(scope="session")
def export_untrained(synthetic_store: ColumnStore) -> Callable[..., EmulatorPackage]:
    """Return a function (input set, path, architecture name, configuration, constraints beside the
    default ones) that exports an emulator with seeded random weights.
    """
    from climlink.packages.export import export_package

    def export(
        input_set: str,
        path: Path,
        architecture: str = "linear",
        configuration: dict[str, Any] | None = None,
        more: Sequence[str] = (),
    ) -> EmulatorPackage:
        source = _untrained_source(
            synthetic_store, input_set, architecture, configuration or {}, more
        )
        rows = synthetic_store.pack(
            source.emulator.contract.inputs, synthetic_store.indices("train")
        )
        return export_package(source, torch.from_numpy(rows), path)

    return export


@pytest.fixture(scope="session")
def linear_package(
    export_untrained: Callable[..., EmulatorPackage], tmp_path_factory: pytest.TempPathFactory
) -> EmulatorPackage:
    """Return an exported package of a linear emulator on host_v2_q; treat it as read-only."""
    return export_untrained("host_v2_q", tmp_path_factory.mktemp("package") / "wrap_model.pt")


@pytest.fixture(scope="session")
def unet_package(
    export_untrained: Callable[..., EmulatorPackage], tmp_path_factory: pytest.TempPathFactory
) -> EmulatorPackage:
    """Return an exported package of a small U-Net whose random weights are large enough to
    matter.
    """
    path = tmp_path_factory.mktemp("unet") / "wrap_model.pt"
    return export_untrained("host_v2_q", path, "unet", {"preset": "small"})


def _untrained_source(
    store: ColumnStore,
    input_set: str,
    architecture: str,
    configuration: dict[str, Any],
    more: Sequence[str] = (),
) -> ExportSource:
    """Return an emulator with seeded random weights, fitted to a store's training statistics."""
    from climlink.architectures import build, resolve_configuration
    from climlink.data.statistics import compute_statistics
    from climlink.packages.export import ExportSource
    from climlink.wrappers.column_emulator import trainable_parameters
    from climlink.wrappers.constraints import CONSTRAINTS
    from climlink.wrappers.contract import EmulatorContract
    from climlink.wrappers.manifest import ArchitectureEntry, ConstraintEntry, NormalizationConfig
    from climlink.wrappers.normalization import output_scale
    from climlink.wrappers.recorded_statistics import training_ranges
    from climlink.wrappers.variable_sets import variable_set
    from climlink.wrappers.wrapped_emulator import WrappedEmulator

    levels = store.level_count
    contract = EmulatorContract.of(
        inputs=variable_set(input_set, levels),
        outputs=variable_set("mmf368", levels),
        network_inputs=variable_set("net_v2_mc", levels),
        network_outputs=variable_set("net308", levels),
        time_step_s=store.time_step_s,
        hybrid=store.hybrid,
        pruned_levels=15,
        normalization=NormalizationConfig(),
        constraints=[
            ConstraintEntry(name=n) for n, r in CONSTRAINTS.items() if r.by_default or n in more
        ],
    )
    statistics = compute_statistics(store, split="train")
    torch.manual_seed(7)
    emulator = (
        WrappedEmulator(contract, build(architecture, configuration, contract.network_shape))
        .fit(statistics)
        .eval()
    )
    scale = output_scale(contract.outputs, statistics)
    return ExportSource(
        name=f"{architecture}_{input_set}",
        emulator=emulator,
        architecture=ArchitectureEntry(
            name=architecture,
            configuration=resolve_configuration(architecture, configuration),
            trainable_parameters=trainable_parameters(emulator.network),
        ),
        statistics_digest=statistics.digest,
        training_ranges=training_ranges(contract, statistics) if more else {},
        difference_scale={
            n: scale[contract.outputs.slice(n)].tolist() for n in contract.outputs.names
        },
        data_digest=store.digest,
        seed=7,
    )
