"""Own variables of mli/mlo pairs: stored as the files have them, with the shipped ones, and what
does not fit is named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.climsim import find_pairs
from climlink.data.errors import DataError, StoreError
from climlink.data.prepare import Prepared, prepare
from climlink.data.split import Split
from climlink.data.statistics import compute_statistics, read_statistics, write_statistics
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import write_dataset
from climlink.wrappers.catalogue import read_catalogue
from climlink.wrappers.variable_sets import variable_set

STAMPS = ("0008-01-14-03600", "0008-04-24-76800")
OWN = """
dims: {layer: 3}
variables:
  soil_t: {units: K, long_name: soil temperature, dims: [layer], range: [200, 350]}
  crm_rain: {units: m/s, long_name: rain of the cloud model}
  state_tracer: {units: kg/kg, dims: [level]}
  ptend_tracer: {units: kg/kg/s, dims: [level]}
  state_t: {units: K, dims: [level]}
sets:
  soil_inputs: [state_ps, soil_t, state_tracer]
  soil_outputs: [crm_rain, ptend_tracer, cam_out_FLWDS]
"""


def _add(path: Path, values: dict[str, tuple[tuple[str, ...], np.ndarray, str]]) -> None:
    with netCDF4.Dataset(path, "a") as dataset:
        dataset.createDimension("layer", 3)
        for name, (dimensions, value, units) in values.items():
            variable = dataset.createVariable(name, "f8", dimensions)
            variable.units = units
            variable[...] = value


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return two pairs of 6 columns and 8 levels with own variables."""
    folder = write_dataset(tmp_path / "pairs", STAMPS, n_column=6, level_count=8)
    random = np.random.default_rng(5)
    for pair in find_pairs(folder):
        tracer = random.uniform(0.0, 1e-5, (8, 6))
        soil = (("layer", "ncol"), random.uniform(250.0, 300.0, (3, 6)), "K")
        before = {"soil_t": soil, "state_tracer": (("lev", "ncol"), tracer, "kg/kg")}
        _add(pair.mli, before)
        rain = (("ncol",), random.uniform(0.0, 1e-6, 6), "m/s")
        moved = (("lev", "ncol"), tracer + random.uniform(-1e-8, 1e-8, (8, 6)), "kg/kg")
        _add(pair.mlo, {"crm_rain": rain, "state_tracer": moved, "soil_t": soil})
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
    return folder


@pytest.fixture
def make(source: Path, tmp_path: Path) -> Callable[..., Prepared]:
    """Return a function that prepares the pairs with own.yaml, whose text and settings may be
    others.
    """

    def prepared(text: str = OWN, **settings: Any) -> Prepared:
        (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
        config = StoreConfig(variables=tmp_path / "own.yaml", **settings)
        return prepare(source, tmp_path / "own.zarr", split=Split(), config=config)

    return prepared


def test_own_variables_are_stored_as_the_files_have_them(
    make: Callable[..., Prepared], source: Path, tmp_path: Path
) -> None:
    make()
    store = ColumnStore.open(tmp_path / "own.zarr")
    catalogue = read_catalogue(tmp_path / "own.yaml")
    inputs, outputs = (catalogue.variable_set(n, 8) for n in ("soil_inputs", "soil_outputs"))
    x, y = store.pack(inputs, [0, 1]), store.targets(outputs, [0, 1])
    for k, pair in enumerate(find_pairs(source)):
        rows = slice(6 * k, 6 * k + 6)
        with netCDF4.Dataset(pair.mli) as mli, netCDF4.Dataset(pair.mlo) as mlo:
            soil, before = mli["soil_t"][...].T, mli["state_tracer"][...].T
            rain, after = mlo["crm_rain"][...], mlo["state_tracer"][...].T
        np.testing.assert_array_equal(x[rows, inputs.slice("soil_t")], soil.astype(np.float32))
        np.testing.assert_array_equal(
            x[rows, inputs.slice("state_tracer")], before.astype(np.float32)
        )
        # Stored in float32 as an input is, for nothing says that it is a flux.
        np.testing.assert_allclose(y[rows, outputs.offset("crm_rain")], rain, rtol=1e-7)
        np.testing.assert_array_equal(
            y[rows, outputs.slice("ptend_tracer")], (after - before) / 1200.0
        )
    shipped = variable_set("mmf368", 8)
    plain = tmp_path / "plain.zarr"
    prepare(source, plain, split=Split())
    np.testing.assert_array_equal(
        store.targets(shipped, [1]), ColumnStore.open(plain).targets(shipped, [1])
    )


def test_statistics_cover_them_and_survive_their_file(
    make: Callable[..., Prepared], tmp_path: Path
) -> None:
    make()
    store = ColumnStore.open(tmp_path / "own.zarr")
    found = compute_statistics(store)
    soil = store.read(["soil_t"], [0, 1])["soil_t"].astype(np.float64)
    np.testing.assert_allclose(found["soil_t"].mean.numpy(), soil.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["soil_t"].std.numpy(), soil.std(axis=0), rtol=1e-9)
    assert [found[n].width for n in ("soil_t", "crm_rain", "state_tracer")] == [3, 1, 8]
    write_statistics(found, tmp_path / "statistics.nc")
    assert read_statistics(tmp_path / "statistics.nc").digest == found.digest
    shown = CliRunner().invoke(app, ["data", "describe", str(tmp_path / "own.zarr")]).output
    assert "soil_t" in shown


def test_the_command_stores_them_with_lags_too(source: Path, tmp_path: Path) -> None:
    consecutive = ("0008-01-14-00000", "0008-01-14-01200", "0008-01-14-02400")
    folder = write_dataset(tmp_path / "three", consecutive, n_column=6, level_count=8)
    for pair in find_pairs(folder):
        _add(pair.mli, {"soil_t": (("layer", "ncol"), np.full((3, 6), 280.0), "K")})
    (tmp_path / "soil.yaml").write_text(
        "dims: {layer: 3}\nvariables: {soil_t: {units: K, dims: [layer]}}\n", encoding="utf-8"
    )
    (tmp_path / "split.yaml").write_text("train: []\n", encoding="utf-8")
    arguments = [
        folder,
        "--out",
        tmp_path / "l.zarr",
        "--split",
        tmp_path / "split.yaml",
        "--lags",
        "--variables",
        tmp_path / "soil.yaml",
    ]
    result = CliRunner().invoke(app, ["data", "prepare", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    store = ColumnStore.open(tmp_path / "l.zarr")
    assert store.lags
    np.testing.assert_array_equal(
        store.read(["soil_t"], [0])["soil_t"], np.full((6, 3), 280.0, dtype=np.float32)
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "crm_rain:",
            "crm_rian:",
            r"own variable crm_rian is neither in .*mli.* nor in .*mlo.*; did you mean 'crm_rain'",
        ),
        (
            "layer: 3",
            "layer: 4",
            r"variable soil_t has dimensions \(layer=3, ncol=6\), expected \(layer=4, ncol=6\)",
        ),
        (
            "soil_t: {units: K",
            "soil_t: {units: degC",
            r"variable soil_t is in 'K', expected 'degC'",
        ),
        ("range: [200, 350]", "range: [200, 260]", r"soil_t.*--allow-implausible soil_t"),
        (
            "  state_tracer: {units: kg/kg, dims: [level]}\n",
            "",
            r"ptend_tracer is the change of state_tracer, which is not declared",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    make: Callable[..., Prepared], old: str, new: str, message: str
) -> None:
    assert old in OWN
    text = OWN.split("sets:")[0].replace(old, new)
    with pytest.raises(DataError, match=message):
        make(text)


def test_implausible_values_are_kept_where_allowed(make: Callable[..., Prepared]) -> None:
    done = make(
        OWN.replace("range: [200, 350]", "range: [200, 260]"), allow_implausible=("soil_t",)
    )
    assert done.implausible["soil_t"] > 0


def test_other_variables_are_no_continuation(make: Callable[..., Prepared]) -> None:
    make()
    assert make().status == "already complete"
    with pytest.raises(StoreError, match=r"other arguments .*own variables"):
        make(OWN.replace("long_name: soil temperature", "long_name: ground temperature"))
