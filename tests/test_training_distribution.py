"""What a package says of how its inputs were distributed in training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from climlink.data.statistics import compute_statistics, write_statistics
from climlink.data.store import ColumnStore
from climlink.packages.export import ExportSource, export_package, export_run
from climlink.packages.golden_sources import store_rows
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import train
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.distribution import Distribution
from climlink.wrappers.errors import ManifestError
from climlink.wrappers.manifest import Manifest, TrainingDistribution, parse_manifest
from climlink.wrappers.recorded_statistics import training_distribution
from climlink.wrappers.statistics import Statistics, VariableStatistics
from climlink.wrappers.variable_sets import variable_set

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def recorded(synthetic_store: ColumnStore, linear_source: ExportSource) -> TrainingDistribution:
    found = training_distribution(
        linear_source.emulator.contract, compute_statistics(synthetic_store)
    )
    assert found is not None
    return found


def test_a_run_exports_it_and_refuses_other_statistics(
    synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = {"name": "small", "store": synthetic_store.path, "output": run, "epochs": 1}
    config |= {"architecture": {"name": "linear"}, "device": "cpu", "threads": 1}
    train(TrainingConfig.model_validate(config), progress=False)
    package = export_run(run, tmp_path / "wrap_model.pt")
    found = package.manifest.training_distribution
    assert found is not None
    assert list(found.quantiles) == [v.name for v in package.manifest.inputs.variables]
    rows = synthetic_store.pack(variable_set("host_v2_q"), synthetic_store.indices("train"))
    median = np.quantile(rows.astype(np.float64), 0.5, axis=0, method="lower")
    at = found.probabilities.index(0.5)
    ours = np.concatenate([[row[at] for row in found.quantiles[n]] for n in found.quantiles])
    spread = rows.astype(np.float64).std(axis=0)
    snow = variable_set("host_v2_q").slice("cam_in_SNOWHICE")  # holds fill values, left out here
    close = np.abs(ours - median) <= 0.05 * spread + 1e-12
    close[snow] = True
    assert close.all()
    write_statistics(compute_statistics(synthetic_store, split="test"), run / "statistics.nc")
    with pytest.raises(TrainingError, match="not the statistics that the run was trained with"):
        export_run(run, tmp_path / "wrap_model.pt")
    (run / "checkpoints" / "last.ckpt").rename(tmp_path / "alone.ckpt")
    alone = export_run(tmp_path / "alone.ckpt", tmp_path / "alone.pt", unfinished=True)
    assert alone.manifest.training_distribution is None


def test_factors_give_the_covariance_back(recorded: TrainingDistribution) -> None:
    c = recorded.covariance
    assert c is not None
    factors = np.array(c.factors)
    assert factors.shape == (557, 12)
    variance = (factors**2).sum(axis=1) + np.array(c.residual_variance)
    # Standardized: every input that varies has variance 1, but for the six digits.
    np.testing.assert_allclose(variance[np.array(c.scale) > 0], 1.0, atol=1e-4)
    assert (variance[np.array(c.scale) == 0] == 0).all()


def test_a_widest_set_stays_below_a_mebibyte() -> None:
    lagged = variable_set("host_v4_q")
    assert lagged.width == 1525
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    root = noise(1525, 1525)
    distribution = Distribution(
        widths={n: lagged.width_of(n) for n in lagged.names},
        center=noise(1525),
        unit=noise(1525).abs(),
        counts=torch.randint(0, 9, (1525, 1037), generator=generator),
        inputs=lagged.names,
        count=100,
        mean=noise(1525),
        comoment=root @ root.T,
    )
    statistics = Statistics(
        {
            n: VariableStatistics(*(noise(lagged.width_of(n)) for _ in range(2)), *ends, count=9)
            for n in lagged.names
            for w in [torch.ones(lagged.width_of(n), dtype=torch.float64)]
            for ends in [(-1e9 * w, 1e9 * w)]
        },
        {},
        source="noise",
        distribution=distribution,
    )
    contract = SimpleNamespace(inputs=lagged)
    found = training_distribution(cast(EmulatorContract, contract), statistics)
    assert found is not None
    size = len(found.model_dump_json(indent=1))
    assert 0.2 * MEBIBYTE < size < MEBIBYTE


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        (("probabilities", 0), 0.99, "probabilities must grow"),
        (("quantiles", "state_ps", 0, 0), 1e9, "quantiles of state_ps must be 9 numbers"),
        (("quantiles", "state_t", 0), [1.0], "quantiles of state_t must be 9 numbers"),
        (("quantiles", "state_ps"), [], "quantiles of state_ps has 0 values, the input has 1"),
        (("quantiles", "nonsense"), [], "quantiles names .'nonsense'., which the package does not"),
        (("covariance", "inputs", 0), "state_ps", "covariance has 557 values, its inputs, each"),
        (("covariance", "inputs", 0), "nonsense", "covariance names .'nonsense'., which"),
        (("covariance", "mean"), [1.0], "mean has 1 values, so scale, factors"),
        (("covariance", "scale", 5), -1.0, "greater than or equal to 0"),
        (("covariance", "more"), 1.0, "Extra inputs are not permitted"),
    ],
)
def test_records_that_do_not_fit_are_refused(
    linear_source: ExportSource,
    synthetic_store: ColumnStore,
    recorded: TrainingDistribution,
    tmp_path: Path,
    place: tuple[str | int, ...],
    value: Any,
    problem: str,
) -> None:
    record = json.loads(_manifest(linear_source, synthetic_store, recorded, tmp_path).to_json())
    where = record["training_distribution"]
    for key in place[:-1]:
        where = where[key]
    where[place[-1]] = value
    with pytest.raises(ManifestError, match=problem):
        parse_manifest(json.dumps(record), "wrap_model.pt")


_MADE: list[Manifest] = []


def _manifest(
    source: ExportSource, store: ColumnStore, found: TrainingDistribution, folder: Path
) -> Manifest:
    """Return the manifest of a package with a distribution, made once."""
    if not _MADE:
        source = dataclasses.replace(source, training_distribution=found)
        rows = store_rows(store, source.emulator.contract.inputs)
        _MADE.append(export_package(source, rows, folder / "wrap_model.pt").manifest)
    return _MADE[0]
