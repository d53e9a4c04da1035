"""The public Python API: names that cost nothing to import, one path of predictions, labelled in
and out, and refusals that say why.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import climlink
from climlink.data.store import ColumnStore
from climlink.evaluation.errors import EvaluationError
from climlink.packages.prediction import PredictionError, Predictor, predict_package
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.wrappers.contract import value_sets
from climlink.wrappers.layout import Coordinate
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import Variable

LIGHT = """
import sys, time
began = time.process_time()
import climlink
took = time.process_time() - began
names = dir(climlink)
heavy = [m for m in ("torch", "numpy", "xarray", "dask", "pydantic", "zarr") if m in sys.modules]
assert not heavy, heavy
assert took < 0.3, took
assert {"open", "Package", "Store", "evaluate", "package", "__version__"} <= set(names), names
assert climlink.__version__[0].isdigit()
assert "torch" not in sys.modules
"""


def test_importing_climlink_takes_no_time_and_loads_nothing_heavy() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


def test_public_names_are_those_of_their_modules() -> None:
    assert all(getattr(climlink, name) is not None for name in climlink.__all__)
    assert climlink.Store is ColumnStore
    assert climlink.Variable is Variable
    assert climlink.VariableSet is VariableSet
    assert issubclass(climlink.Package, EmulatorPackage)
    assert callable(climlink.package)
    with pytest.raises(AttributeError, match="no attribute 'pack'"):
        _ = climlink.pack  # type: ignore[attr-defined]


# Columns: a package on host_v2_q and the store it was trained on.


@pytest.fixture(scope="module")
def columns(linear_package: EmulatorPackage) -> climlink.Package:
    return climlink.open(linear_package.path)


@pytest.fixture(scope="module")
def dataset(synthetic_store: ColumnStore) -> xr.Dataset:
    """The three training times of the store, 24 columns each, in memory."""
    return synthetic_store.to_xarray("train").load()


@pytest.fixture(scope="module")
def expected(columns: climlink.Package, synthetic_store: ColumnStore) -> np.ndarray:
    """What the rows of the store give, [time, column, 368]."""
    rows = synthetic_store.pack(value_sets(columns.manifest)[0], synthetic_store.indices("train"))
    return predict_package(columns, rows).reshape(3, 24, -1)


def test_a_store_is_a_lazy_dataset_with_time_and_place(synthetic_store: ColumnStore) -> None:
    lazy = synthetic_store.to_xarray()
    assert dict(lazy.sizes) == {"time": 4, "column": 24, "level": 60, "interface": 61}
    assert list(lazy.data_vars) == [v.name for v in synthetic_store.variables]
    assert all(v.chunks is not None for v in lazy.data_vars.values())
    assert lazy.state_t.dims == ("time", "column", "level")
    assert str(lazy.time.values[0]) == "0008-01-14 01:00:00"
    assert np.array_equal(lazy.latitude, synthetic_store.latitude)
    assert (np.diff(lazy.pressure) > 0).all()
    assert lazy.pressure.attrs["units"] == "hPa"
    one = synthetic_store.to_xarray("test")
    assert np.array_equal(
        one.ptend_t.values.reshape(24, 60), synthetic_store.read(["ptend_t"], [3])["ptend_t"]
    )


def test_a_store_is_predicted_with_labels_units_and_coordinates(
    columns: climlink.Package, synthetic_store: ColumnStore, expected: np.ndarray
) -> None:
    result = columns.predict(synthetic_store, split="train")
    outputs = value_sets(columns.manifest)[1]
    assert list(result.data_vars) == list(outputs.names)
    for v in outputs.variables:
        assert result[v.name].dtype == np.float32
        assert result[v.name].dims == ("time", "column", *v.dims)
        assert result[v.name].attrs == {"units": v.units, "long_name": v.long_name}
        assert np.array_equal(
            result[v.name].values.reshape(3, 24, -1), expected[..., outputs.slice(v.name)]
        )
    assert {"time", "latitude", "longitude", "pressure"} <= set(result.coords)
    assert result.attrs == {"package": columns.manifest.name, "package_sha256": columns.digest}


def test_dimensions_of_samples_are_the_users(
    columns: climlink.Package, dataset: xr.Dataset, expected: np.ndarray
) -> None:
    heating = expected[..., :60]
    turned = dataset.transpose("level", "column", "time", ...)
    assert np.array_equal(
        columns.predict(turned).ptend_t.transpose("time", "column", "level"), heating
    )
    grid = dataset.drop_vars("interface", errors="ignore").rename(column="cell")
    grid = grid.assign_coords(cell=np.arange(24)).coarsen(cell=6).construct(cell=("y", "x"))
    assert np.array_equal(columns.predict(grid).ptend_t.values.reshape(3, 24, 60), heating)
    one = columns.predict(dataset.isel(time=1, column=5))
    assert one.ptend_t.dims == ("level",)
    assert np.array_equal(one.ptend_t, heating[1, 5])
    assert columns.predict(dataset.isel(time=slice(0))).sizes["time"] == 0
    constant = dataset.assign(pbuf_SOLIN=dataset.pbuf_SOLIN.isel(time=0, drop=True))
    repeated = dataset.assign(pbuf_SOLIN=constant.pbuf_SOLIN.broadcast_like(dataset.pbuf_SOLIN))
    assert columns.predict(constant).equals(columns.predict(repeated))


def test_lazy_data_give_a_lazy_result_of_the_same_bits(
    columns: climlink.Package,
    dataset: xr.Dataset,
    expected: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    plain = Predictor.rows

    def counting(self: Predictor, inputs: np.ndarray) -> np.ndarray:
        seen.append(len(inputs))
        return plain(self, inputs)

    monkeypatch.setattr(Predictor, "rows", counting)
    lazy = columns.predict(dataset.chunk(time=1, column=10, level=20))
    assert not seen
    assert lazy.ptend_t.chunks == ((1, 1, 1), (10, 10, 4), (60,))
    assert np.array_equal(lazy.ptend_t.isel(time=2, column=slice(0, 10)), expected[2, :10, :60])
    assert seen == [10], "one chunk, and one forward for all outputs of it"
    whole = lazy.compute(scheduler="synchronous")
    assert sorted(seen[1:]) == [4] * 3 + [10] * 6
    assert np.array_equal(whole.ptend_t, expected[..., :60])
    rain = value_sets(columns.manifest)[1].offset("cam_out_PRECC")
    assert np.array_equal(whole.cam_out_PRECC, expected[..., rain])


def test_arrays_by_name_and_packed_rows_give_the_same(
    columns: climlink.Package, dataset: xr.Dataset, expected: np.ndarray
) -> None:
    inputs = value_sets(columns.manifest)[0]
    arrays = {n: dataset[n].transpose("time", "column", ...).values for n in inputs.names}
    by_name = columns.predict(arrays | {"not_an_input": np.zeros(3)})
    assert by_name.ptend_t.dims == ("sample_0", "sample_1", "level")
    assert np.array_equal(by_name.ptend_t, expected[..., :60])
    packed = np.concatenate([arrays[n].reshape(72, -1) for n in inputs.names], axis=1)
    rows = columns.predict(packed)
    assert rows.ptend_t.dims == ("sample", "level")
    assert np.array_equal(rows.ptend_t, expected[..., :60].reshape(72, 60))
    labelled = columns.predict({n: dataset[n] for n in inputs.names})
    assert np.array_equal(labelled.ptend_t, by_name.ptend_t)
    assert np.array_equal(labelled.latitude, dataset.latitude)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.drop_vars("state_q0002"),
            r"lack state_q0002 \(level\) in 'kg/kg', which 'linear_host_v2_q' takes; did you mean",
        ),
        (
            lambda d: d.assign(state_ps=d.state_ps.assign_attrs(units="hPa")),
            "state_ps is in 'hPa', the package has it in 'Pa'",
        ),
        (
            lambda d: d.isel(level=slice(59)),
            r"state_t has the dimensions \(time: 3, column: 24, level: 59\), expected \(level: "
            r"60\)",
        ),
        (
            lambda d: d.rename(level="lev"),
            r"expected \(level: 60\) besides those of samples; if 'lev' is meant, rename it",
        ),
        (
            lambda d: d.assign(state_ps=d.state_t * 1.0),
            r"state_ps has the dimensions .*, expected \(\) besides .*'level' differs",
        ),
        (
            lambda d: d.assign(pbuf_SOLIN=d.pbuf_SOLIN.astype(str)),
            "pbuf_SOLIN must hold numbers, it is of type <U",
        ),
    ],
    ids=["missing", "units", "size", "renamed", "foreign", "text"],
)
def test_data_that_do_not_fit_are_refused_by_name(
    columns: climlink.Package,
    dataset: xr.Dataset,
    change: Callable[[xr.Dataset], xr.Dataset],
    message: str,
) -> None:
    with pytest.raises(PredictionError, match=message):
        columns.predict(change(dataset))


def test_values_that_are_not_finite_are_refused_with_their_place(
    columns: climlink.Package, dataset: xr.Dataset
) -> None:
    broken = dataset.assign(state_t=dataset.state_t.copy())
    broken.state_t[1, 5, 10] = np.nan
    broken.state_t[1, 5, 11] = np.inf
    message = "state_t: 2 values are not finite; the first, nan, at time 1, column 5, level 10"
    with pytest.raises(PredictionError, match=message):
        columns.predict(broken)
    lazy = columns.predict(broken.chunk(time=1))
    with pytest.raises(
        PredictionError, match=r"at time 0, column 5, level 10 .counted from 0 in its chunk"
    ):
        lazy.compute()


def test_what_is_no_data_is_refused(
    columns: climlink.Package, dataset: xr.Dataset, synthetic_store: ColumnStore
) -> None:
    with pytest.raises(
        PredictionError, match=r"packed rows \[sample, 557\]; got ndarray \[2, 556\]"
    ):
        columns.predict(np.zeros((2, 556)))
    with pytest.raises(PredictionError, match="got str"):
        columns.predict("climsim.zarr")
    with pytest.raises(
        PredictionError, match="state_t is a DataArray and state_ps is not: give all in one way"
    ):
        columns.predict({"state_t": dataset.state_t, "state_ps": dataset.state_ps.values})
    with pytest.raises(
        PredictionError,
        match=r"state_ps has the shape \[3\], so samples \[3\]; expected \[2\] as state_t has",
    ):
        columns.predict({"state_t": np.zeros((2, 60)), "state_ps": np.zeros(3)})
    with pytest.raises(PredictionError, match="split='test' is for a store"):
        columns.predict(dataset, split="test")
    with pytest.raises(EvaluationError, match="no times in its split 'validation'"):
        columns.predict(synthetic_store, split="validation")
    with pytest.raises(
        PredictionError, match="carries no state from step to step: leave out dim='time'"
    ):
        columns.predict(dataset, dim="time")
    with pytest.raises(PredictionError, match="give dim= too"):
        columns.predict(dataset, state={})


def test_relative_humidity_is_derived_where_the_data_have_what_it_follows_from(
    export_untrained: Callable[..., EmulatorPackage],
    synthetic_store: ColumnStore,
    dataset: xr.Dataset,
    tmp_path: Path,
) -> None:
    package = climlink.open(export_untrained("host_v2_rh", tmp_path / "wrap_model.pt").path)
    inputs, outputs = value_sets(package.manifest)
    rows = synthetic_store.pack(inputs, synthetic_store.indices("train"))
    assert "state_rh" not in dataset
    result = package.predict(dataset.chunk(time=1))
    assert np.array_equal(
        result.ptend_t.values.reshape(72, 60),
        predict_package(package, rows)[:, outputs.slice("ptend_t")],
    )
    given = dataset.assign(
        state_rh=(dataset.state_t.dims, rows[:, inputs.slice("state_rh")].reshape(3, 24, 60))
    )
    assert np.array_equal(package.predict(given).ptend_t, result.ptend_t)
    with pytest.raises(PredictionError, match=r"lack state_rh \(level\)"):
        package.predict(dataset.drop_vars("state_q0001"))


def test_scores_of_a_dataset_are_over_its_samples(
    columns: climlink.Package, synthetic_store: ColumnStore, dataset: xr.Dataset
) -> None:
    scores = columns.score(dataset)
    truth, prediction = dataset.ptend_t, columns.predict(dataset).ptend_t.astype(np.float64)
    error = prediction - truth
    samples = ("time", "column")
    expected = 1.0 - (error**2).sum(samples) / ((truth - truth.mean(samples)) ** 2).sum(samples)
    varies = truth.std(samples) > 1e-12
    np.testing.assert_allclose(scores.r2_ptend_t[varies], expected[varies], rtol=1e-9)
    np.testing.assert_allclose(scores.rmse_ptend_t, np.sqrt((error**2).mean(samples)), rtol=1e-12)
    np.testing.assert_allclose(scores.bias_ptend_t, error.mean(samples), rtol=1e-9, atol=1e-20)
    # the same pairs in other pieces: sums of another order
    pieces = columns.score(dataset.chunk(time=1, column=7))
    of_store = columns.score(synthetic_store, split="train")
    for name in ("r2_ptend_t", "r2_cam_out_PRECC"):
        np.testing.assert_allclose(pieces[name], scores[name], rtol=1e-12)
        np.testing.assert_allclose(of_store[name], scores[name], rtol=1e-12)
    by_area = columns.score(dataset, weights=dataset.area)
    np.testing.assert_allclose(
        by_area.bias_ptend_t, error.weighted(dataset.area).mean(samples), rtol=1e-9, atol=1e-20
    )
    np.testing.assert_allclose(by_area.r2_ptend_t, scores.r2_ptend_t, rtol=1e-12)


def test_truth_that_does_not_fit_is_refused(
    columns: climlink.Package, synthetic_store: ColumnStore, dataset: xr.Dataset
) -> None:
    with pytest.raises(PredictionError, match="truth lacks ptend_u"):
        columns.score(dataset, dataset.drop_vars("ptend_u"))
    with pytest.raises(PredictionError, match="ptend_t is in 'K/day', the package has it in 'K/s'"):
        columns.score(dataset, dataset.assign(ptend_t=dataset.ptend_t.assign_attrs(units="K/day")))
    with pytest.raises(EvaluationError, match="the same coordinates"):
        columns.score(dataset, dataset.isel(time=slice(2)))
    broken = dataset.assign(
        ptend_v=dataset.ptend_v.where(dataset.column > 3)
        if "column" in dataset.coords
        else dataset.ptend_v * np.nan
    )
    with pytest.raises(EvaluationError, match="truth of ptend_v holds values that are not finite"):
        columns.score(dataset, broken)
    with pytest.raises(EvaluationError, match="weights must be finite and not negative"):
        columns.score(dataset, weights=-dataset.area)
    with pytest.raises(PredictionError, match="a store brings its own weights"):
        columns.score(synthetic_store, weights=dataset.area)


def test_a_package_shows_itself_shortly_and_escaped(columns: climlink.Package) -> None:
    assert len(repr(columns)) < 150
    page = columns._repr_html_()
    assert len(page) < 3000
    assert "host_v2_q, 557 values" in page
    assert columns.digest in page
    named = columns.manifest.model_copy(update={"name": "<script>alert(1)</script>"})
    hostile = climlink.Package(
        columns.path, named, columns.digest, columns.golden_inputs, columns.golden_outputs
    )
    assert "<script>" not in hostile._repr_html_()
    shown = columns.inspect()
    assert shown["sha256"] == columns.digest
    assert shown["manifest"]["inputs"]["set"] == "host_v2_q"


def test_opening_holds_the_pinned_digest(columns: climlink.Package) -> None:
    assert climlink.open(columns.path, columns.digest).digest == columns.digest
    with pytest.raises(PackageError, match="not the package that was tested"):
        climlink.open(columns.path, "0" * 64)


def test_packages_and_lazy_results_go_to_other_processes(
    columns: climlink.Package, dataset: xr.Dataset
) -> None:
    here = columns.predict(dataset)
    lazy = pickle.loads(pickle.dumps(columns.predict(dataset.chunk(time=1))))
    assert lazy.ptend_t.equals(here.ptend_t)
    assert pickle.loads(pickle.dumps(columns)).predict(dataset).equals(here)


# Fields: [lat, lon] of 4 x 6 to 8 x 12, every sample a forward of its own.


class Upsampling(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        up = nn.functional.interpolate(rows.reshape(-1, 1, 4, 6), scale_factor=2.0)
        return (up + up.mean(dim=(2, 3), keepdim=True)).flatten(1)


LATITUDE = [-60.0, -20.0, 20.0, 60.0]


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> climlink.Package:
    coarse = VariableSet(
        "coarse", (Variable("t2m", "K", dims=("lat", "lon")),), {"lat": 4, "lon": 6}
    )
    fine = VariableSet(
        "fine",
        (Variable("t2m_fine", "K", dims=("fine_lat", "fine_lon")),),
        {"fine_lat": 8, "fine_lon": 12},
    )
    golden = np.random.default_rng(0).normal(280.0, 10.0, (20, 24)).astype(np.float32)
    path = tmp_path_factory.mktemp("fields") / "wrap_model.pt"
    latitude = Coordinate(units="degrees_north", values=LATITUDE)
    finer = Coordinate(units="degrees_north", values=np.linspace(-70.0, 70.0, 8).tolist())
    climlink.package(
        Upsampling(),
        name="fine",
        inputs=coarse,
        outputs=fine,
        golden=golden,
        output=path,
        coordinates={"lat": latitude, "fine_lat": finer},
    )
    return climlink.open(path)


def test_fields_are_found_by_name_and_predicted_one_by_one(
    fields: climlink.Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(1).normal(280.0, 10.0, (2, 3, 4, 6)).astype(np.float32)
    field = xr.DataArray(
        values, dims=("day", "member", "lat", "lon"), coords={"lat": LATITUDE}, attrs={"units": "K"}
    )
    with torch.no_grad():
        expected = (
            Upsampling()(torch.from_numpy(values.reshape(6, 24))).numpy().reshape(2, 3, 8, 12)
        )
    forwards: list[int] = []
    predictor = fields._predictor
    module = predictor.module
    monkeypatch.setattr(predictor, "module", lambda x: forwards.append(len(x)) or module(x))
    result = fields.predict({"t2m": field.transpose("lon", "day", "lat", "member")})
    assert forwards == [1] * 6
    assert result.t2m_fine.transpose("day", "member", ...).dims == (
        "day",
        "member",
        "fine_lat",
        "fine_lon",
    )
    # one rounding of float32 near 560 K is 6e-5
    np.testing.assert_allclose(result.t2m_fine.transpose("day", "member", ...), expected, atol=2e-4)
    assert np.allclose(result.fine_lat, np.linspace(-70.0, 70.0, 8))
    lazy = fields.predict(xr.Dataset({"t2m": field.chunk(day=1, lat=2)}))
    assert np.array_equal(lazy.t2m_fine, result.t2m_fine.transpose("day", "member", ...))


def test_fields_of_another_grid_are_refused(fields: climlink.Package) -> None:
    field = xr.DataArray(
        np.full((2, 4, 6), 280.0), dims=("day", "lat", "lon"), coords={"lat": LATITUDE}
    )
    in_float32 = field.assign_coords(lat=np.float32(LATITUDE) + np.float32(0.01))
    assert fields.predict({"t2m": in_float32}).sizes["day"] == 2
    with pytest.raises(
        PredictionError,
        match=r"coordinate lat\[0\] is 60, the package was made for -60; it is the other way round",
    ):
        fields.predict({"t2m": field.isel(lat=slice(None, None, -1))})
    with pytest.raises(PredictionError, match="coordinate lat is in 'radian'"):
        fields.predict({"t2m": field.assign_coords(lat=("lat", LATITUDE, {"units": "radian"}))})
    with pytest.raises(
        PredictionError, match=r"t2m has the dimensions \(sample: 2, lat: 6, lon: 4\)"
    ):
        fields.predict({"t2m": np.zeros((2, 6, 4))})


# Memory: state that is carried from step to step.

REMEMBERS = VariableSet(
    "remembers",
    (Variable("x", "K"), Variable("past", "1", dims=("unit",), role="carried")),
    {"unit": 3},
)
ANSWERS = VariableSet(
    "answers",
    (Variable("y", "K/s"), Variable("past_next", "1", dims=("unit",), role="carried")),
    {"unit": 3},
)


class Remembering(nn.Module):
    """Adds what it remembers, fading, of inputs near 280 K."""

    def forward(self, rows: Tensor) -> Tensor:
        x, past = (rows[:, :1] - 280.0) / 10.0, rows[:, 1:]
        past = 0.5 * past + x * torch.tensor([1.0, 2.0, 3.0])
        y = past.sum(dim=1, keepdim=True)
        return torch.cat([y, past, 0.125 * y], dim=1)


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> climlink.Package:
    path = tmp_path_factory.mktemp("memory") / "wrap_model.pt"
    golden = np.random.default_rng(0).normal(280.0, 10.0, (64, 1)).astype(np.float32)
    climlink.package(
        Remembering(), name="remembering", inputs=REMEMBERS, outputs=ANSWERS,
        carried={"past_next": "past"}, golden=golden, output=path, time_step_s=1200.0,
        confidence=True,
    )  # fmt: skip
    return climlink.open(path)


def _series(steps: int = 10) -> xr.Dataset:
    values = np.random.default_rng(2).normal(280.0, 10.0, (5, steps)).astype(np.float32)
    time = np.datetime64("2000-01-01", "s") + 1200 * np.arange(steps)
    return xr.Dataset(
        {"x": (("cell", "time"), values, {"units": "K"})},
        coords={"time": time.astype("datetime64[ns]")},
    )


def _faded(series: xr.Dataset) -> np.ndarray:
    """The closed form: y at step n is 6 sum of 0.5^(n-k) (x_k - 280)/10, [cell, time], in
    float64.
    """
    x = (series.x.values.astype(np.float64) - 280.0) / 10.0
    steps = np.arange(x.shape[1])
    return 6.0 * x @ np.where(steps[:, None] <= steps, 0.5 ** (steps - steps[:, None]).clip(0), 0.0)


def test_state_is_rolled_out_along_time(remembering: climlink.Package) -> None:
    series = _series()
    result = remembering.predict(series, dim="time")
    assert result.y.dims == ("time", "cell")
    assert result.past_next.dims == ("time", "cell", "unit")
    assert result.y.attrs["units"] == "K/s"
    assert list(result.data_vars) == ["y", "confidence_y", "past_next"]
    assert np.array_equal(result.confidence_y, 0.125 * result.y)
    # ten steps of sums of size 30 in float32
    np.testing.assert_allclose(result.y.T, _faded(series), rtol=1e-5, atol=1e-4)
    for pieces in (series.chunk(time=3), series.chunk(cell=2)):
        assert remembering.predict(pieces, dim="time").equals(result)


def test_a_roll_out_goes_on_from_its_state(remembering: climlink.Package) -> None:
    series = _series()
    whole = remembering.predict(series, dim="time")
    first = remembering.predict(series.isel(time=slice(4)), dim="time")
    rest = remembering.predict(
        series.isel(time=slice(4, None)), dim="time", state=first.isel(time=-1)
    )
    assert xr.concat([first, rest], "time").equals(whole)
    anew = remembering.predict(
        series.assign(start=("time", [1, 0, 0, 0, 1, 0, 0, 0, 0, 0])), dim="time"
    )
    assert anew.y[:4].equals(whole.y[:4])
    assert anew.y[4:].equals(remembering.predict(series.isel(time=slice(4, None)), dim="time").y)


def test_single_steps_with_state_are_rows_like_any_other(remembering: climlink.Package) -> None:
    series = _series()
    whole = remembering.predict(series, dim="time")
    step = series.isel(time=3).assign(
        start=0.0, past=whole.past_next.isel(time=2, drop=True).rename(unit="unit")
    )
    assert np.array_equal(remembering.predict(step).y, whole.y[3])
    begins = series.isel(time=0).assign(start=1.0, past=(("cell", "unit"), np.full((5, 3), np.nan)))
    assert np.array_equal(remembering.predict(begins).y, whole.y[0]), (
        "what is left over at a start does not count"
    )
    with pytest.raises(PredictionError, match="start must be 0 or 1"):
        remembering.predict(begins.assign(start=0.5, past=begins.past.fillna(0.0)))


def test_roll_outs_that_cannot_be_are_refused(remembering: climlink.Package) -> None:
    series = _series()
    with pytest.raises(
        PredictionError,
        match=r"lack start .*, past .*carries state from step to step: .* dim='time'",
    ):
        remembering.predict(series)
    with pytest.raises(PredictionError, match="no input has the dimension 'step'"):
        remembering.predict(series, dim="step")
    with pytest.raises(
        PredictionError, match="steps 1 and 2 of time are 2400 s apart, the package steps by 1200 s"
    ):
        remembering.predict(series.isel(time=[0, 1, 3, 4]), dim="time")
    with pytest.raises(PredictionError, match="sample 0 goes on at the first step"):
        remembering.predict(series.assign(start=0.0), dim="time")
    with pytest.raises(PredictionError, match="state lacks past_next"):
        remembering.predict(series, dim="time", state={})
    whole = remembering.predict(series, dim="time")
    with pytest.raises(PredictionError, match=r"of a result take one step: .isel\(time=-1\)"):
        remembering.predict(series, dim="time", state=whole)


def test_roll_outs_are_scored(remembering: climlink.Package) -> None:
    series = _series()
    truth = xr.Dataset({"y": (("cell", "time"), _faded(series))}, coords={"time": series.time})
    scores = remembering.score(series, truth, dim="time")
    assert scores.r2_y == pytest.approx(1.0, abs=1e-9)
    assert scores.rmse_y.attrs["units"] == "K/s"
    assert list(scores.data_vars) == ["r2_y", "rmse_y", "bias_y"], "state is not scored"
