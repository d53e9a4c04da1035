"""Offline scores: tables, replayed files, prediction through a package, the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from sklearn.metrics import r2_score

from climlink.data.climsim import (
    TIME_STEP_S,
    file_name,
    find_pairs,
    is_tendency,
    read_pair,
    state_name,
)
from climlink.data.columns import read_columns
from climlink.data.grid import find_grid, read_grid
from climlink.data.synthetic import write_dataset, write_file
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.figures.offline import r2_lines
from climlink.evaluation.offline import R2Table, r2_table, replay_outputs
from climlink.packages.prediction import PredictionError, predict_package
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.variable_sets import VariableSet, variable_set

LEVELS = 8
STAMPS = ["0008-03-01-00000", "0008-03-02-01200", "0008-03-05-72000"]


@pytest.fixture
def outputs() -> VariableSet:
    return variable_set("mmf368", LEVELS)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "source", STAMPS, n_column=5, level_count=LEVELS)


def write_replay(source: Path, folder: Path, rows: np.ndarray, outputs: VariableSet) -> None:
    """Write rows as a replay host does: mlo files with the state one step on, beside the fluxes."""
    grid = read_grid(find_grid(source))
    folder.mkdir()
    for number, pair in enumerate(find_pairs(source)):
        before = read_pair(pair, grid)
        block = rows[number * grid.n_column : (number + 1) * grid.n_column]
        columns = {}
        for v in outputs.variables:
            values = block[:, outputs.slice(v.name)]
            if is_tendency(v.name):
                columns[state_name(v.name)] = before[state_name(v.name)] + TIME_STEP_S * values
            else:
                columns[v.name] = values[:, 0]
        write_file(folder / file_name("mlo", pair.stamp), pair.stamp, columns)


def test_table_is_sklearn_per_output_and_its_summary_the_median(outputs: VariableSet) -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(50, outputs.width))
    prediction = truth + rng.normal(0, 0.3, truth.shape)
    table = r2_table(truth, prediction, outputs, first_level=3)
    expected = r2_score(truth, prediction, multioutput="raw_values")
    for name in outputs.names:
        np.testing.assert_allclose(table.values[name], expected[outputs.slice(name)], rtol=1e-12)
    summary = table.summary()
    assert summary["ptend_u"] == pytest.approx(np.median(expected[outputs.slice("ptend_u")][3:]))
    assert summary["cam_out_PRECC"] == pytest.approx(expected[outputs.offset("cam_out_PRECC")])
    dataset = table.to_dataset()
    assert dataset["ptend_t"].dims == ("level",)
    assert dataset["cam_out_SOLL"].dims == ()
    assert table.as_dict()["summary"] == summary


def test_largest_difference_is_relative_where_scores_are_hopeless() -> None:
    a = R2Table(
        {"ptend_t": np.array([0.5, -1e60]), "cam_out_SOLL": np.array([0.9])}, first_level=0, rows=10
    )
    b = R2Table(
        {"ptend_t": np.array([0.5, -1e60 * (1 + 1e-9)]), "cam_out_SOLL": np.array([0.8])},
        first_level=0,
        rows=10,
    )
    assert a.largest_difference(b) == pytest.approx(0.1)
    assert a.largest_difference(a) == 0.0
    with pytest.raises(EvaluationError, match="different outputs"):
        a.largest_difference(R2Table({"ptend_t": np.zeros(2)}, 0, 1))


def test_replayed_rows_are_the_rows_that_were_written(
    source: Path, tmp_path: Path, outputs: VariableSet
) -> None:
    rows = np.random.default_rng(5).normal(0, 1, (15, outputs.width)) * 1e-6
    write_replay(source, tmp_path / "replay", rows, outputs)
    pairs = find_pairs(source)
    got = replay_outputs([p.mli for p in pairs], tmp_path / "replay", outputs, source)
    scale = {"ptend_t": 300.0, "ptend_u": 50.0, "ptend_v": 50.0}
    for name in outputs.names:
        where = outputs.slice(name)
        resolution = scale.get(name, 0.02) * 2.3e-16 / TIME_STEP_S if is_tendency(name) else 0.0
        np.testing.assert_allclose(
            got[:, where], rows[:, where], rtol=0, atol=2 * resolution, err_msg=name
        )
    backwards = replay_outputs(
        [p.mli for p in pairs[::-1]], tmp_path / "replay", outputs, find_grid(source)
    )
    np.testing.assert_array_equal(backwards[:5], got[10:])


def test_replaying_the_truth_scores_one(source: Path, outputs: VariableSet) -> None:
    rows = read_columns(source, variable_set("host_v2_q", LEVELS), outputs)
    got = replay_outputs([p.mli for p in find_pairs(source)], source, outputs, source)
    np.testing.assert_array_equal(got, rows.targets)
    assert set(r2_table(rows.targets, got, outputs, first_level=0).summary().values()) == {1.0}


def test_missing_replay_files_are_listed(
    source: Path, tmp_path: Path, outputs: VariableSet
) -> None:
    write_replay(source, tmp_path / "replay", np.zeros((15, outputs.width)), outputs)
    pairs = find_pairs(source)
    (tmp_path / "replay" / file_name("mlo", pairs[1].stamp)).unlink()
    with pytest.raises(EvaluationError, match="no replayed mlo file of 0008-03-02-01200"):
        replay_outputs([p.mli for p in pairs], tmp_path / "replay", outputs, source)


def test_wrong_widths_and_levels(outputs: VariableSet) -> None:
    with pytest.raises(EvaluationError, match=r"prediction must have shape \[row, 56\]"):
        r2_table(np.zeros((2, 56)), np.zeros((2, 57)), outputs, first_level=0)
    with pytest.raises(EvaluationError, match="first_level must be 0 to 7, got 8"):
        r2_table(np.zeros((2, 56)), np.zeros((2, 56)), outputs, first_level=8)


@pytest.mark.parametrize("rows", [1, 7, 16, 19])
def test_prediction_in_batches_is_the_packages_own(
    linear_package: EmulatorPackage, rows: int
) -> None:
    inputs = np.tile(linear_package.golden_inputs, (20, 1))[:rows]
    got = predict_package(linear_package.path, inputs, batch_rows=16)
    module = linear_package.load()
    padded = np.concatenate([inputs, inputs[-1:].repeat(-rows % 16, axis=0)])
    with torch.inference_mode():
        expected = np.concatenate(
            [module(torch.from_numpy(p)).numpy() for p in np.split(padded, len(padded) // 16)]
        )[:rows]
    np.testing.assert_array_equal(got, expected)


def test_prediction_refuses_what_the_package_does_not_take(linear_package: EmulatorPackage) -> None:
    with pytest.raises(PredictionError, match=r"takes float32 rows \[row, 557\], got float64"):
        predict_package(
            linear_package,
            linear_package.golden_inputs.astype(np.float64),  # type: ignore[arg-type]
        )
    with pytest.raises(PredictionError, match=r"got float32 \[2, 556\]"):
        predict_package(linear_package, np.zeros((2, 556), dtype=np.float32))
    with pytest.raises(PredictionError, match="multiple of 16"):
        predict_package(linear_package, linear_package.golden_inputs, batch_rows=9)


def test_lines_of_r2_are_drawn(tmp_path: Path) -> None:
    outputs = variable_set("mmf368")
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(100, outputs.width))
    table = r2_table(truth, truth + rng.normal(0, 0.6, truth.shape), outputs, first_level=15)
    r2_lines({"": [table]}, np.geomspace(0.08, 993.0, 60), title="a test").savefig(
        tmp_path / "r2.png", dpi=150
    )
    picture = imread(tmp_path / "r2.png")
    assert picture.shape[0] > 600
    assert picture[..., :3].std() > 0.05
    with pytest.raises(EvaluationError, match="pressure_hpa has 59 levels"):
        r2_lines({"": [table]}, np.ones(59), title="a test")
