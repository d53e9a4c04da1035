"""The whole offline evaluation: against scores computed from all rows at once, and what it does
with bad input.
"""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from sklearn.metrics import r2_score
from typer.testing import CliRunner

import climlink
from climlink.cli.main import app
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.offline import blocks as blocks_module
from climlink.evaluation.offline.blocks import Blocks
from climlink.evaluation.offline.collect import huber_deltas
from climlink.evaluation.offline.evaluate import OfflineEvaluation, evaluate_offline
from climlink.evaluation.offline.packages import (
    OfflineSetSummary,
    combined_report,
    package_labels,
    seeds_together,
)
from climlink.evaluation.summary import OfflineSummary, read_summary
from climlink.packages.export import ExportSource, export_package
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.prediction import Predictor, predict_package
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.wrapped_emulator import WrappedEmulator

CP, LV, G = 1004.64, 2.501e6, 9.80616


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation") / "report"


@pytest.fixture(scope="module")
def evaluation(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore, folder: Path
) -> OfflineEvaluation:
    return evaluate_offline(linear_package.path, synthetic_store.path, split="train", output=folder)


@pytest.fixture(scope="module")
def rows(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore, evaluation: OfflineEvaluation
) -> dict[str, np.ndarray]:
    """Return truth, prediction, dp and area of every row, and the wind, from all times at once."""
    store, outputs = synthetic_store, evaluation.result.outputs
    times = store.indices("train")
    inputs = store.pack(Blocks(Predictor(linear_package), store, "train").inputs, times)
    state = store.read(["state_ps", "state_u", "state_v"], times)
    a, b = np.array(store.hybrid.hyai), np.array(store.hybrid.hybi)
    interfaces = store.hybrid.p0_pa * a + state["state_ps"].astype(np.float64)[:, None] * b
    return {
        "truth": store.targets(outputs, times),
        "prediction": predict_package(linear_package, inputs).astype(np.float64),
        "dp": np.diff(interfaces, axis=1),
        "area": np.tile(store.area, len(times)),
        "wind": np.hypot(state["state_u"].astype(np.float64), state["state_v"].astype(np.float64)),
        "inputs": inputs,
    }


def test_scores_in_a_notebook_are_those_of_the_report(
    evaluation: OfflineEvaluation,
    folder: Path,
    linear_package: EmulatorPackage,
    synthetic_store: ColumnStore,
) -> None:
    assert climlink.evaluate is evaluate_offline
    scores = climlink.open(linear_package.path).score(synthetic_store, split="train")
    numbers = xr.open_dataset(folder / "numbers.nc")
    for name in evaluation.result.outputs.names:
        for score in ("r2", "rmse", "bias"):
            mine, theirs = scores[f"{score}_{name}"], numbers[f"{score}_{name}"]
            # the same sums: nothing but the file stands between them
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=0.0)
            assert mine.attrs["units"] == theirs.attrs["units"]
    summary = read_summary(folder, OfflineSummary)
    assert float(scores.r2_ptend_t[15:].median()) == pytest.approx(
        summary.metrics["r2.ptend_t"], rel=1e-12
    )
    assert (scores.attrs["rows"], scores.attrs["nonfinite_rows"]) == (72, 0)


def test_r2_is_that_of_all_rows(evaluation: OfflineEvaluation, rows: dict[str, np.ndarray]) -> None:
    outputs = evaluation.result.outputs
    expected = r2_score(rows["truth"], rows["prediction"], multioutput="raw_values")
    for name in outputs.names:
        np.testing.assert_allclose(
            evaluation.result.r2_table().values[name],
            expected[outputs.slice(name)],
            rtol=1e-10,
            atol=1e-12,
        )
    assert evaluation.summary.metrics["r2.ptend_u"] == pytest.approx(
        np.median(expected[outputs.slice("ptend_u")][15:]), rel=1e-10
    )
    assert evaluation.summary.rows == len(rows["truth"]) == 72


def test_r2_of_columns_is_over_their_times(
    evaluation: OfflineEvaluation, rows: dict[str, np.ndarray]
) -> None:
    truth, prediction = (rows[n].reshape(3, 24, -1) for n in ("truth", "prediction"))
    expected = np.stack(
        [r2_score(truth[:, c], prediction[:, c], multioutput="raw_values") for c in range(24)]
    )
    np.testing.assert_allclose(evaluation.result.column_r2(), expected, rtol=1e-9, atol=1e-12)
    where = evaluation.result.outputs.slice("ptend_v")
    assert evaluation.summary.metrics["r2_column.ptend_v"] == pytest.approx(
        np.median(expected.mean(axis=0)[where][15:]), rel=1e-9
    )


def test_errors_are_over_mass_and_area(
    evaluation: OfflineEvaluation, rows: dict[str, np.ndarray]
) -> None:
    outputs, m = evaluation.result.outputs, evaluation.summary.metrics
    error = rows["prediction"] - rows["truth"]
    for name in ("ptend_t", "ptend_q0003", "cam_out_PRECC"):
        e = error[:, outputs.slice(name)]
        w = np.broadcast_to(
            rows["area"][:, None] * (rows["dp"] if e.shape[1] > 1 else 1.0), e.shape
        )
        assert m[f"rmse.{name}"] == pytest.approx(np.sqrt(np.average(e**2, weights=w)), rel=1e-10)
        assert m[f"mae.{name}"] == pytest.approx(np.average(np.abs(e), weights=w), rel=1e-10)
        assert m[f"bias.{name}"] == pytest.approx(np.average(e, weights=w), rel=1e-9)


def test_climsim_metrics_are_of_energy_with_one_factor_for_both(
    evaluation: OfflineEvaluation, rows: dict[str, np.ndarray]
) -> None:
    outputs, m = evaluation.result.outputs, evaluation.summary.metrics
    relative = (rows["area"] / rows["area"].mean())[:, None]
    factors = {
        "ptend_t": CP * rows["dp"] / G,
        "ptend_q0002": LV * rows["dp"] / G,
        "ptend_u": rows["wind"] * rows["dp"] / G,
        "cam_out_PRECSC": LV * 1000.0,
        "cam_out_SOLL": 1.0,
    }
    for name, factor in factors.items():
        y, p = (
            rows[n][:, outputs.slice(name)] * factor * relative for n in ("truth", "prediction")
        )
        y, p = (a.reshape(3, 24, -1) for a in (y, p))
        first = 15 if y.shape[2] > 1 else 0
        rmse = np.sqrt(((p - y) ** 2).mean(axis=0)).mean(axis=0)[first:]
        r2 = (1 - ((p - y) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)).mean(
            axis=0
        )[first:]
        assert m[f"climsim_mae.{name}"] == pytest.approx(
            np.abs(p - y).mean(axis=(0, 1))[first:].mean(), rel=1e-10
        )
        assert m[f"climsim_rmse.{name}"] == pytest.approx(rmse.mean(), rel=1e-10)
        assert m[f"climsim_bias.{name}"] == pytest.approx(
            (p - y).mean(axis=(0, 1))[first:].mean(), rel=1e-8
        )
        assert m[f"climsim_r2.{name}"] == pytest.approx(np.median(r2), rel=1e-9)


def test_constraint_activity_counts_what_changed(
    evaluation: OfflineEvaluation, rows: dict[str, np.ndarray], linear_package: EmulatorPackage
) -> None:
    with torch.inference_mode():
        tensors = linear_package.load().constraint_changes(torch.from_numpy(rows["inputs"]))
    changes = {name: value.numpy() for name, value in tensors.items()}
    found = {f"{a.constraint}/{a.output}": a for a in evaluation.result.activities or []}
    assert list(found) == list(changes)
    share = rows["area"] / rows["area"].sum()
    for key, a in found.items():
        np.testing.assert_allclose(a.changed, (changes[key] != 0.0).mean(axis=0))
    assert found["positivity/ptend_q0002"].changed.max() > 0.0
    added = changes["positivity/ptend_q0002"] * rows["dp"] / G * 86400.0
    assert found["positivity/ptend_q0002"].added == pytest.approx(
        share @ added.sum(axis=1), rel=1e-6
    )
    assert found["night/cam_out_SOLS"].added == pytest.approx(
        share @ changes["night/cam_out_SOLS"][:, 0], rel=1e-6, abs=1e-12
    )


def test_the_parts_of_the_graph_give_its_bits(
    unet_package: EmulatorPackage, doubting_package: EmulatorPackage
) -> None:
    for package in (unet_package, doubting_package):
        predictor = Predictor(package)
        for rows in (16, 37):
            inputs = np.resize(package.golden_inputs, (rows, package.manifest.n_input))
            np.testing.assert_array_equal(
                predictor.rows_and_changes(inputs)[0], predictor.rows(inputs)
            )


def test_zonal_means_are_area_weighted(
    evaluation: OfflineEvaluation, rows: dict[str, np.ndarray]
) -> None:
    place = evaluation.result.place
    southern = (place.latitude >= -80) & (place.latitude < -70)
    # Only unequal areas in one bin tell a weighted mean from a plain one.
    assert np.unique(place.area[southern]).size == 2
    centres, got = place.zonal_mean(evaluation.result.plain.prediction_mean())
    mean = rows["prediction"].reshape(3, 24, -1).mean(axis=0)
    assert len(centres) == 18
    for k, centre in enumerate(centres):
        inside = (place.latitude >= centre - 5) & (place.latitude < centre + 5)
        if inside.any():
            expected = np.average(mean[inside], axis=0, weights=place.area[inside])
            assert np.abs(got[k] - expected).max() <= 1e-12 * np.abs(rows["truth"]).max()
            np.testing.assert_allclose(got[k, :60], expected[:60], rtol=1e-10)
        else:
            assert np.isnan(got[k]).all()


def test_blocks_do_not_matter(
    evaluation: OfflineEvaluation,
    linear_package: EmulatorPackage,
    synthetic_store: ColumnStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK_ROWS", 24)
    calls: list[tuple[int, int]] = []
    single = evaluate_offline(
        linear_package.path,
        synthetic_store.path,
        split="train",
        progress=lambda done, total, note: calls.append((done, total)),
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    for name, value in evaluation.summary.metrics.items():
        # Batches of one time pad their last rows, which changes float32 roundings of the network
        # (docs/decisions.md 13).
        assert single.summary.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name


def test_the_command_writes_the_report_of_one_package(
    evaluation: OfflineEvaluation,
    linear_package: EmulatorPackage,
    synthetic_store: ColumnStore,
    tmp_path: Path,
) -> None:
    command = [
        "evaluate",
        "offline",
        str(linear_package.path),
        "--data",
        str(synthetic_store.path),
        "--split",
        "train",
    ]
    result = CliRunner().invoke(app, [*command, "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "These are times it was trained on." in result.output
    text = (tmp_path / "report.html").read_text()
    for title in (
        "Skill by latitude",
        "Zonal means",
        "Tendencies by precipitation",
        "Conservation",
        "Constraint activity",
        "LEAP score",
    ):
        assert f">{title}<" in text
    excluded = [x.what for x in evaluation.report.excluded]
    assert {"confidence", "levels 0 to 14"} <= set(excluded)
    assert read_summary(tmp_path, OfflineSummary) == evaluation.summary
    with xr.open_dataset(tmp_path / "numbers.nc") as numbers:
        np.testing.assert_array_equal(
            numbers["r2_ptend_t"], evaluation.result.r2_table().values["ptend_t"]
        )
        assert numbers["rmse_ptend_t"].attrs["units"] == "K/s"
        assert numbers["zonal_bias_ptend_u"].dims == ("latitude_bin", "level")
        assert int(numbers["group_rows"].sum()) == 72
    assert {p.stem for p in (tmp_path / "figures").iterdir()} >= {
        "r2",
        "zonal_r2",
        "zonal_ptend_t",
        "deciles",
        "scalars",
    }


def test_predictions_that_are_not_finite_are_named_and_left_out(
    linear_package: EmulatorPackage,
    synthetic_store: ColumnStore,
    rows: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = Predictor.rows_and_changes

    def spoiled(
        self: Predictor, inputs: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
        predicted, changes = plain(self, inputs)
        predicted[30, 60 + 7] = np.nan
        predicted[30, 60 + 9] = np.inf
        predicted[71, -1] = -np.inf
        return predicted, changes

    monkeypatch.setattr(Predictor, "rows_and_changes", spoiled)
    got = evaluate_offline(linear_package.path, synthetic_store.path, split="train")
    stamps = [str(synthetic_store.stamps[i]) for i in synthetic_store.indices("train")]
    assert got.result.misses.places == [
        f"{stamps[1]}, column 6: ptend_q0001 on level 7 is nan, and 1 other values",
        f"{stamps[2]}, column 23: cam_out_SOLLD is -inf",
    ]
    assert got.summary.metrics["nonfinite.rows"] == 2.0
    assert got.summary.rows == 70
    assert "in 2 of 72 columns a prediction is not finite" in got.report.words
    assert any(stamps[1] in x.why for x in got.report.excluded)
    keep = np.setdiff1d(np.arange(72), [30, 71])
    outputs = got.result.outputs
    expected = r2_score(rows["truth"][keep], rows["prediction"][keep], multioutput="raw_values")
    np.testing.assert_allclose(
        got.result.r2_table().values["ptend_u"],
        expected[outputs.slice("ptend_u")],
        rtol=1e-10,
        atol=1e-12,
    )
    assert got.result.deciles is not None
    assert got.result.deciles.rows.sum() == 70


def test_a_package_without_a_finite_prediction_is_refused(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Predictor,
        "rows_and_changes",
        lambda self, x: (np.full((len(x), 368), np.nan, dtype=np.float32), None),
    )
    with pytest.raises(EvaluationError, match="not one of 24 columns has a finite prediction"):
        evaluate_offline(linear_package.path, synthetic_store.path)


def test_truth_without_variance_is_listed(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    path = tmp_path / "store.zarr"
    shutil.copytree(synthetic_store.path, path)
    group = zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False)
    array = group["ptend_q0002"]
    assert isinstance(array, zarr.Array)
    array[:, :, 20:23] = 0.0
    array[:, :, 30] = 1e-9
    array[:, :, 40] = np.broadcast_to(
        1e-40 * np.arange(24), array.shape[:2]
    )  # varies, far below what float32 can say: R² of -1e60
    got = evaluate_offline(linear_package.path, path, split="train")
    assert "ptend_q0002, levels 20-22, 30, 40" in [x.what for x in got.report.excluded]
    values = got.result.r2_table().values["ptend_q0002"]
    varies = np.setdiff1d(np.arange(15, 60), [20, 21, 22, 30, 40])
    assert got.summary.metrics["r2.ptend_q0002"] == pytest.approx(np.median(values[varies]))
    assert values[40] < -1e20
    assert got.summary.metrics["leap.targets_left_out"] == 5.0
    assert (
        got.summary.metrics["r2_column.ptend_q0002"] is None
        or got.summary.metrics["r2_column.ptend_q0002"] > -1e20
    )
    assert not re.search(r"\de[+]\d", got.report.words)
    score, floored = (got.summary.metrics[f"leap.{n}"] for n in ("score", "score_floored"))
    assert f"the score is {floored:.4g} with the" in got.report.words
    assert score is not None
    assert score < floored


def test_what_does_not_fit_is_refused(
    linear_package: EmulatorPackage,
    synthetic_store: ColumnStore,
    export_untrained: Callable[..., EmulatorPackage],
    tmp_path: Path,
    synthetic_dir: Path,
) -> None:
    with pytest.raises(EvaluationError, match="no times in its split 'validation'"):
        evaluate_offline(linear_package.path, synthetic_store.path, split="validation")
    with pytest.raises(ClimlinkError, match="unknown split 'tset'"):
        evaluate_offline(linear_package.path, synthetic_store.path, split="tset")
    with pytest.raises(PackageError, match="this is not the package that was tested"):
        evaluate_offline(linear_package.path, synthetic_store.path, pinned_digest="0" * 64)
    source = write_dataset(tmp_path / "short", ["0008-01-14-03600"], n_column=4, level_count=8)
    prepare(source, tmp_path / "short.zarr", split=Split(test=("0008-01-14-03600",)))
    with pytest.raises(EvaluationError, match=r"made for 60 levels, .*short.zarr has 8"):
        evaluate_offline(linear_package.path, tmp_path / "short.zarr")
    moved = tmp_path / "moved.zarr"
    shutil.copytree(synthetic_store.path, moved)
    array = zarr.open_group(moved, mode="r+", zarr_format=3, use_consolidated=False)["hybm"]
    assert isinstance(array, zarr.Array)
    array[40] = array[40] + 0.01
    with pytest.raises(
        EvaluationError, match=r"another vertical grid than .*moved.zarr: hybm\[40\]"
    ):
        evaluate_offline(linear_package.path, moved)


def test_a_store_of_another_time_step_is_refused(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    path = tmp_path / "step.zarr"
    shutil.copytree(synthetic_store.path, path)
    zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False).attrs["time_step_s"] = (
        1800.0
    )
    with pytest.raises(
        EvaluationError, match=r"time step of 1200 s, the tendencies of .* are over 1800 s"
    ):
        evaluate_offline(linear_package.path, path)


def test_a_store_without_lagged_inputs_says_what_is_missing(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = linear_package.manifest
    lagged = manifest.model_copy(update={"inputs": variable_set("host_v6_q").layout()})
    package = replace(linear_package, manifest=lagged)
    with pytest.raises(ClimlinkError, match=r"state_t_dyn.*prepared with lags: true"):
        next(iter(Blocks(Predictor(package), synthetic_store, "test")))


class Doubting(ColumnEmulator):
    """A linear network with a confidence of one half everywhere."""

    def __init__(self, shape: ColumnShape) -> None:
        super().__init__(shape)
        self.has_confidence = True
        self.outputs: int = shape.profile_outputs
        self.levels: int = shape.level_count
        self.n: int = shape.profile_outputs * shape.level_count + shape.scalar_outputs
        self.map = torch.nn.Linear(
            shape.profile_inputs * shape.level_count + shape.scalar_inputs, self.n
        )

    def forward(
        self, profiles: torch.Tensor, scalars: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = self.map(torch.cat([profiles.flatten(1), scalars], dim=1))
        split = self.outputs * self.levels
        return (
            rows[:, :split].reshape(-1, self.outputs, self.levels),
            rows[:, split:],
            torch.full_like(rows, 0.5),
        )


@pytest.fixture(scope="module")
def doubting_package(
    linear_source: ExportSource,
    synthetic_store: ColumnStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> EmulatorPackage:
    path = tmp_path_factory.mktemp("doubting") / "wrap_model.pt"
    return _doubting(linear_source, synthetic_store, path, {})


def _doubting(
    linear_source: ExportSource, store: ColumnStore, path: Path, training: dict[str, Any]
) -> EmulatorPackage:
    contract = linear_source.emulator.contract
    torch.manual_seed(3)
    emulator = WrappedEmulator(contract, Doubting(contract.network_shape))
    emulator.normalization.load_state_dict(linear_source.emulator.normalization.state_dict())
    source = ExportSource(
        name="doubting",
        emulator=emulator.eval(),
        architecture=linear_source.architecture,
        statistics_digest=linear_source.statistics_digest,
        difference_scale=linear_source.difference_scale,
        data_digest="f" * 64,
        seed=8,
        training=training,
    )
    rows = store.pack(contract.inputs, store.indices("train"))
    return export_package(source, torch.from_numpy(rows), path)


def test_a_confidence_is_scored(
    doubting_package: EmulatorPackage, synthetic_store: ColumnStore
) -> None:
    got = evaluate_offline(doubting_package.path, synthetic_store.path)
    c = got.result.confidence
    assert c is not None
    assert set(c.crps) == {*got.result.outputs.names, "ptend_qn"} - {"ptend_q0002", "ptend_q0003"}
    assert c.not_positive == 0.0
    np.testing.assert_allclose(c.calibration["ptend_t"].predicted, 0.5)
    assert c.calibration["ptend_t"].count.sum() == 24 * 60
    assert c.calibration["ptend_u"].count.sum() == 24 * 45  # not on the pruned levels
    outputs = got.result.outputs
    scale = np.array(doubting_package.manifest.difference_scale["ptend_t"])
    times = synthetic_store.indices("test")
    inputs = synthetic_store.pack(
        Blocks(Predictor(doubting_package), synthetic_store, "test").inputs, times
    )
    where = outputs.slice("ptend_t")
    error = (
        predict_package(doubting_package, inputs)[:, where]
        - synthetic_store.targets(outputs, times)[:, where]
    ) / scale
    assert c.mae["ptend_t"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    near = np.minimum(np.abs(error), 1.0)
    assert (c.calibration["ptend_t"].actual @ c.calibration["ptend_t"].count) / (
        24 * 60
    ) == pytest.approx((near * (np.abs(error) - 0.5 * near)).mean(), rel=1e-6)
    assert "It was trained on another store." in got.report.words


def test_the_recorded_loss_says_where_it_turns_linear(doubting_package: EmulatorPackage) -> None:
    m = doubting_package.manifest
    loss = {"kind": "huber", "delta": 0.25, "delta_of": {"ptend_t": 3.0}}
    outputs = variable_set("net308")
    first: dict[str, Any] = {"loss": {"delta": 9.0}, "stages": [{"loss": {}}, {"loss": loss}]}
    for training in ({"loss": loss}, first):
        trained = m.provenance.model_copy(update={"training": training})
        recorded = huber_deltas(m.model_copy(update={"provenance": trained}), outputs)
        assert recorded == {**dict.fromkeys(outputs.names, 0.25), "ptend_t": 3.0}
    assert set(huber_deltas(m, outputs).values()) == {1.0}, "the published one where none is told"


def test_a_log_variance_is_not_read_as_hubers_loss(
    linear_source: ExportSource, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    path = tmp_path / "wrap_model.pt"
    _doubting(linear_source, synthetic_store, path, {"loss": {"kind": "gaussian_nll"}})
    got = evaluate_offline(path, synthetic_store.path)
    assert got.result.confidence is None
    reasons = [x.why for x in got.report.excluded if x.what == "confidence"]
    assert len(reasons) == 1
    assert "trained with gaussian_nll" in reasons[0]


class Foreign(torch.nn.Module):
    """A wrapper as others export them: 368 predictions, then 308 confidence values, nothing that
    tells its parts apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.map = torch.nn.Linear(557, 676)
        self.scale = torch.nn.Parameter(
            torch.cat([torch.full((360,), 1e-5), torch.full((316,), 1.0)])
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.map(x.clamp(-1e3, 1e3) * 1e-3)) * self.scale


def test_an_imported_graph_is_scored_and_what_it_does_not_say_is_listed(
    synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    torch.jit.script(Foreign().eval()).save(str(tmp_path / "old.pt"))
    request = ImportRequest("host_v2_rh", host_postprocessing="legacy", data=synthetic_store.path)
    package = import_package(tmp_path / "old.pt", request, tmp_path / "wrap_model.pt")
    got = evaluate_offline(package.path, synthetic_store.path, split="train")
    assert {x.what for x in got.report.excluded} >= {
        "constraint activity",
        "the pruning depth",
        "confidence of ptend_qn",
        "what the host does to the outputs",
    }
    assert got.result.activities is None
    assert got.result.first_level == 0
    assert got.result.confidence is not None
    assert "ptend_qn" not in got.result.confidence.crps
    assert got.result.confidence.not_positive > 0.1
    assert got.result.deciles is not None
    assert got.result.deciles.rows.sum() == 72
    assert got.summary.metrics["leap.score_floored"] is not None
    assert got.summary.package.architecture is None


def test_several_packages_in_one_report(
    linear_package: EmulatorPackage,
    doubting_package: EmulatorPackage,
    synthetic_store: ColumnStore,
    tmp_path: Path,
) -> None:
    command = [
        "evaluate",
        "offline",
        str(linear_package.path),
        str(doubting_package.path),
        "--data",
        str(synthetic_store.path),
    ]
    result = CliRunner().invoke(app, [*command, "-o", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((tmp_path / "summary.json").read_text())
    summary = read_summary(tmp_path, OfflineSetSummary)
    assert list(summary.packages) == ["linear_host_v2_q", "doubting"]
    assert read_summary(tmp_path / "doubting", OfflineSummary) == summary.packages["doubting"]
    assert summary.packages["doubting"].package.seed == 8
    # The split has one time, so nothing can be told over time.
    assert summary.packages["doubting"].metrics["r2_column.ptend_t"] is None
    assert summary.packages["doubting"].metrics["climsim_r2.cam_out_SOLS"] is None
    assert "doubting: R² over time" in (tmp_path / "report.html").read_text()
    with (
        xr.open_dataset(tmp_path / "numbers.nc") as both,
        xr.open_dataset(tmp_path / "doubting" / "numbers.nc") as one,
    ):
        assert both["r2_ptend_t"].dims == ("package", "level")
        np.testing.assert_array_equal(both["r2_ptend_t"].sel(package="doubting"), one["r2_ptend_t"])
    assert "linear_host_v2_q: confidence" in (tmp_path / "report.html").read_text()
    assert ">Confidence<" in (tmp_path / "doubting" / "report.html").read_text()
    assert "confidence_calibration" in {
        p.stem for p in (tmp_path / "doubting" / "figures").iterdir()
    }


def test_packages_that_do_not_belong_together_are_refused(
    evaluation: OfflineEvaluation, doubting_package: EmulatorPackage, synthetic_store: ColumnStore
) -> None:
    with pytest.raises(EvaluationError, match="one package is given twice"):
        combined_report([evaluation, evaluation], "")
    elsewhere = evaluate_offline(doubting_package.path, synthetic_store.path, split="test")
    with pytest.raises(EvaluationError, match="2 different stores, splits or outputs"):
        combined_report([evaluation, elsewhere], "")


def test_packages_that_differ_in_their_seed_are_one_line(evaluation: OfflineEvaluation) -> None:
    def variant(number: int, **changes: object) -> OfflineEvaluation:
        package = evaluation.summary.package.model_copy(
            update={"sha256": f"{number}" * 64, **changes}
        )
        return replace(
            evaluation, summary=evaluation.summary.model_copy(update={"package": package})
        )

    members = [
        variant(1, seed=1),
        variant(2, seed=2),
        variant(3, seed=3),
        variant(4, seed=4, recipe="another"),
    ]
    assert package_labels(members)[1] == "linear_host_v2_q-22222222"
    groups = seeds_together(members)
    size = evaluation.summary.package.parameters
    assert {label: len(group) for label, group in groups.items()} == {
        f"linear ({size:,}), net_v2_mc: 3 seeds": 3,
        "linear_host_v2_q-44444444": 1,
    }
    # The same seed twice is no spread over seeds, whatever else differs.
    assert list(seeds_together([members[0], variant(5, seed=1)])) == [
        "linear_host_v2_q-11111111",
        "linear_host_v2_q-55555555",
    ]


def test_a_digest_for_each_package_or_none(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore
) -> None:
    command = ["evaluate", "offline", str(linear_package.path), "--data", str(synthetic_store.path)]
    assert CliRunner().invoke(app, [*command, *["--pinned-sha256", "0" * 64] * 2]).exit_code == 2
    wrong = CliRunner().invoke(app, [*command, "--pinned-sha256", "0" * 64])
    assert isinstance(wrong.exception, PackageError)


def test_memory_does_not_grow_with_the_store(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    stamps = [
        f"0008-02-{day:02d}-{second:05d}"
        for day in range(1, 5)
        for second in range(1200, 1200 * 13, 1200)
    ]
    source = write_dataset(tmp_path / "source", stamps, n_column=24, level_count=60)
    prepare(
        source,
        tmp_path / "store.zarr",
        split=Split(test=tuple(stamps[:8]), validation=tuple(stamps[8:])),
    )
    peaks = {}
    for split in ("test", "validation"):
        tracemalloc.start()
        got = evaluate_offline(linear_package.path, tmp_path / "store.zarr", split=split)
        peaks[split] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert got.result.place.times == 40
    assert peaks["validation"] < 1.15 * peaks["test"], peaks
