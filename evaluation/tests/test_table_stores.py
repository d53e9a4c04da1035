"""A package scores on a table as on the pairs of its rows; what needs time or place is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import r2_score
from torch import Tensor, nn

from climlink.data.columns import read_columns
from climlink.data.errors import StoreError
from climlink.data.grid import find_grid
from climlink.data.prepare import prepare
from climlink.data.split import RowRange, Split
from climlink.data.store import ColumnStore
from climlink.data.tables.layout import column_names
from climlink.evaluation.offline.evaluate import OfflineEvaluation, evaluate_offline
from climlink.evaluation.offline.packages import combined_report
from climlink.evaluation.report.write import write_report
from climlink.evaluation.stability.records import StoreRecord
from climlink.evaluation.stability.states import read_pool
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.variable_sets import variable_set

INPUTS, OUTPUTS = variable_set("climsim_v2_kaggle"), variable_set("mmf368")
STAMPS = ("0008-01-14-03600", "0008-08-21-20400")
TEST = Split(test=(RowRange(),))


class Regression(nn.Module):
    """Linear in normalized inputs."""

    def __init__(self, mean: Tensor, gain: Tensor, weight: Tensor, offset: Tensor) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("gain", gain), ("weight", weight), ("offset", offset)):
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul((x - self.mean) * self.gain, self.weight) + self.offset


@pytest.fixture(scope="module")
def package(climsim_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> EmulatorPackage:
    """Return an imported ridge regression of two other snapshots on the 556 inputs."""
    rows = read_columns(
        climsim_dir, INPUTS, OUTPUTS, stamps=("0008-05-02-44400", "0008-11-22-50400")
    )
    x, y = rows.inputs.astype(np.float64), rows.targets
    mean, spread, offset = x.mean(axis=0), x.std(axis=0), y.mean(axis=0)
    varies = spread > np.maximum(1e-3 * np.abs(mean), 1e-9)  # what float32 rows can tell apart
    gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
    z = (x - mean) * gain
    weight = np.linalg.solve(z.T @ z + len(z) * np.eye(z.shape[1]), z.T @ (y - offset))
    folder = tmp_path_factory.mktemp("regression")
    parts = (torch.from_numpy(a).to(torch.float32) for a in (mean, gain, weight, offset))
    torch.jit.script(Regression(*parts).eval()).save(str(folder / "old.pt"))
    return import_package(folder / "old.pt", ImportRequest(INPUTS.name), folder / "wrap_model.pt")


def kaggle_csv(path: Path, climsim_dir: Path, stamps: tuple[str, ...], count: int) -> pd.DataFrame:
    """Write the first rows of real pairs as the competition has them, and return them."""
    rows = read_columns(climsim_dir, INPUTS, OUTPUTS, stamps=stamps)
    values = np.concatenate([rows.inputs.astype(np.float64), rows.targets], axis=1)[:count]
    frame = pd.DataFrame(values, columns=[*column_names(INPUTS), *column_names(OUTPUTS)])
    frame.insert(0, "sample_id", [f"train_{i}" for i in range(len(frame))])
    frame.to_csv(path, index=False)
    return frame


@pytest.fixture(scope="module")
def stores(climsim_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the store of two real pairs and that of a table of their rows."""
    folder = tmp_path_factory.mktemp("stores")
    links = folder / "pairs"
    for stamp in STAMPS:
        for path in climsim_dir.rglob(f"*.{stamp}.nc"):
            links.mkdir(exist_ok=True)
            (links / path.name).symlink_to(path)
    grid = find_grid(climsim_dir)
    prepare(links, folder / "pairs.zarr", split=Split(test=STAMPS), grid=grid)
    kaggle_csv(folder / "train.csv", climsim_dir, STAMPS, 2 * 384)
    prepare(folder / "train.csv", folder / "table.zarr", split=TEST, grid=grid)
    return folder / "pairs.zarr", folder / "table.zarr"


@pytest.fixture(scope="module")
def on_table(package: EmulatorPackage, stores: tuple[Path, Path]) -> OfflineEvaluation:
    return evaluate_offline(package.path, stores[1])


def test_scores_on_a_table_are_those_on_its_pairs(
    package: EmulatorPackage,
    stores: tuple[Path, Path],
    on_table: OfflineEvaluation,
) -> None:
    pairs, table = evaluate_offline(package.path, stores[0]), on_table
    assert (table.result.rows, table.result.place.times) == (768, 768)
    scored = [n for n in pairs.summary.metrics if n.startswith(("r2.", "leap."))]
    assert len(scored) == 14 + 5
    for name in scored:
        # Blocks of other lengths: sums in another order, and float32 rows of the network to its
        # rounding.
        assert table.summary.metrics[name] == pytest.approx(
            pairs.summary.metrics[name], rel=1e-5, abs=1e-6
        ), name
    np.testing.assert_allclose(
        table.result.pooled.r2(), pairs.result.pooled.r2(), rtol=1e-5, atol=1e-6
    )
    known = [v for n, v in pairs.summary.metrics.items() if n.startswith("r2.") and v is not None]
    assert (
        max(known) > 0.5
    )  # a regression of two other snapshots knows the downward longwave, at least


def test_rows_of_a_table_weigh_the_same(
    package: EmulatorPackage, stores: tuple[Path, Path], on_table: OfflineEvaluation, tmp_path: Path
) -> None:
    evaluation = on_table
    store = ColumnStore.open(stores[1])
    with torch.no_grad():
        predicted = (
            package.load()(torch.from_numpy(store.pack(INPUTS, slice(None))))
            .numpy()
            .astype(
                np.float64,
            )
        )
    error = (predicted - store.targets(OUTPUTS, slice(None)))[:, OUTPUTS.offset("cam_out_FLWDS")]
    metrics = evaluation.summary.metrics
    assert metrics["rmse.cam_out_FLWDS"] == pytest.approx(
        np.sqrt((error**2).mean()), rel=1e-5
    )  # float32 rows, as above
    assert metrics["r2_column.ptend_t"] is None
    assert metrics["climsim_r2.ptend_t"] is None
    assert metrics["climsim_mae.ptend_t"] is not None
    report = evaluation.report
    (left_out,) = [x for x in report.excluded if "weights by area" in x.what]
    assert (
        "train.csv, whose rows say neither time nor place: every row weighs the same"
        in left_out.why
    )
    assert {"Skill by latitude", "Zonal means"}.isdisjoint(s.title for s in report.sections)
    assert "768 rows from row 1 to row 768" in report.words
    assert {
        "latitude",
        "area",
        "column_r2_ptend_t",
        "zonal_truth_ptend_t",
        "r2_column_ptend_t",
    }.isdisjoint(report.numbers.variables)
    assert write_report(report, tmp_path / "report").is_file()


def test_packages_are_compared_on_a_table(on_table: OfflineEvaluation) -> None:
    other = on_table.summary.model_copy(
        update={"package": on_table.summary.package.model_copy(update={"name": "b", "sha256": "b"})}
    )
    report = combined_report([on_table, replace(on_table, summary=other)], "command")
    assert "768 rows from row 1 to row 768" in report.words
    assert "Conservation" not in {s.title for s in report.sections}


def test_what_needs_place_or_time_refuses_a_table(stores: tuple[Path, Path]) -> None:
    store = ColumnStore.open(stores[1])
    for need in (lambda: read_pool(store, INPUTS, "test"), lambda: StoreRecord.of(store)):
        message = r"made of the table train\.csv, whose rows say neither time nor place"
        with pytest.raises(StoreError, match=message):
            need()


def test_targets_of_weight_zero_are_left_out_of_the_competitions_score(
    package: EmulatorPackage,
    stores: tuple[Path, Path],
    on_table: OfflineEvaluation,
    climsim_dir: Path,
    tmp_path: Path,
) -> None:
    weights = np.full(OUTPUTS.width, 3.0)
    weights[OUTPUTS.slice("ptend_q0002")] = 0.0
    weights[:30] = 0.0
    frame = pd.DataFrame(weights[None], columns=list(column_names(OUTPUTS)))
    frame.insert(0, "sample_id", "test_0")
    frame.to_csv(tmp_path / "sample_submission.csv", index=False)
    table = stores[1].parent / "train.csv"
    prepare(
        table,
        tmp_path / "w.zarr",
        split=TEST,
        grid=find_grid(climsim_dir),
        weights=tmp_path / "sample_submission.csv",
    )
    weighted, plain = evaluate_offline(package.path, tmp_path / "w.zarr"), on_table
    r2, constant = plain.result.pooled.r2()[0], plain.result.constant[0]
    chosen = (weights > 0.0) & ~constant
    assert weighted.summary.metrics["leap.score"] == pytest.approx(r2[chosen].mean(), rel=1e-9)
    assert weighted.summary.metrics["leap.score"] != plain.summary.metrics["leap.score"]
    without = int((weights == 0.0).sum())
    assert weighted.summary.metrics["leap.score_368"] == pytest.approx(
        (r2[chosen].sum() + without) / (chosen.sum() + without), rel=1e-9
    )


@pytest.mark.long
def test_ten_thousand_rows_round_trip_and_score_as_the_pairs(
    package: EmulatorPackage,
    climsim_dir: Path,
    tmp_path: Path,
) -> None:
    stamps = tuple(
        sorted(p.name.split(".")[2] for p in climsim_dir.rglob("E3SM-MMF.mli.*.nc"))[:27]
    )
    kaggle_csv(tmp_path / "train.csv", climsim_dir, stamps, 10_000)
    prepare(tmp_path / "train.csv", tmp_path / "t.zarr", split=TEST, grid=find_grid(climsim_dir))
    rows = read_columns(climsim_dir, INPUTS, OUTPUTS, stamps=stamps)
    store = ColumnStore.open(tmp_path / "t.zarr")
    np.testing.assert_array_equal(store.pack(INPUTS, slice(None)), rows.inputs[:10_000])
    np.testing.assert_array_equal(store.targets(OUTPUTS, slice(None)), rows.targets[:10_000])
    with torch.no_grad():
        predicted = (
            package.load()(torch.from_numpy(rows.inputs[:10_000]))
            .numpy()
            .astype(
                np.float64,
            )
        )
    result = evaluate_offline(package.path, tmp_path / "t.zarr").result
    varies = ~result.constant[0]
    expected = r2_score(
        rows.targets[:10_000, varies], predicted[:, varies], multioutput="raw_values"
    )
    # As above: the rounding of float32 rows in other batches.
    np.testing.assert_allclose(result.pooled.r2()[0, varies], expected, rtol=1e-5, atol=1e-6)
