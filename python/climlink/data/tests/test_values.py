"""What a number in a file means: fill values, packing, limits, units, plausible ranges, times."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.climsim import (
    INPUT_SET,
    OUTPUT_SET,
    find_pairs,
    is_tendency,
    read_outputs,
    read_pair,
    state_name,
)
from climlink.data.describe import describe
from climlink.data.errors import DataError, StoreError
from climlink.data.grid import find_grid, read_grid
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import replace_variable, write_dataset
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.variables import variable

STAMPS = ["0008-01-01-00000", "0008-01-01-01200"]
DEFAULT_FILL = netCDF4.default_fillvals["f8"]
EXACT = StoreConfig(input_dtype="float64")
# One multiplication and one addition in float64, each rounded to half a unit in the last place.
ROUNDING = 2.0 * np.finfo(np.float64).eps


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder of this test's own with two pairs of 6 columns and 8 levels."""
    return write_dataset(tmp_path / "source", STAMPS, monthly=False)


def put(value: float, *places: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a change that sets single values."""

    def change(values: np.ndarray) -> np.ndarray:
        for place in places:
            values[place] = value
        return values

    return change


def refusal(source: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_pair(find_pairs(source)[0], read_grid(find_grid(source)))
    return str(caught.value)


Case = tuple[str, dict[str, Any], str]
AT = ((5, 3), (6, 3))
FAULTS: Sequence[Case] = [
    ("state_q0002", {"change": put(DEFAULT_FILL, *AT)}, "are netCDF's default fill value"),
    (
        "state_q0002",
        {"change": put(DEFAULT_FILL, *AT), "fill": np.nan},
        "are netCDF's default fill value",
    ),
    (
        "state_t",
        {"change": put(-999.0, *AT)},
        "lie outside the plausible range 50 to 1500, the first (-999)",
    ),
    (
        "pbuf_ozone",
        {"change": put(-999.0, *AT), "missing_value": -999.0},
        "equal its missing_value",
    ),
    (
        "pbuf_ozone",
        {"change": put(-9.0, *AT), "missing_value": [-7.0, -9.0]},
        "equal its missing_value",
    ),
    (
        "state_u",
        {"change": put(1e20, *AT), "fill": 1e20},
        "equal its _FillValue, the first (1e+20)",
    ),
    ("state_u", {"change": put(7.0, *AT), "fill": 7.0}, "equal its _FillValue, the first (7)"),
    (
        "state_u",
        {"change": put(1e20, *AT), "missing_value": np.float32(1e20)},
        "equal its missing_value",
    ),
    (
        "state_v",
        {"change": put(70.0, *AT), "valid_range": [-69.0, 69.0]},
        "lie outside its valid_range",
    ),
    (
        "state_v",
        {"change": put(70.0, *AT), "valid_max": 69.0},
        "lie outside its valid_max, the first (70)",
    ),
    ("state_v", {"change": put(-70.0, *AT), "valid_min": -69.0}, "lie outside its valid_min"),
    ("state_v", {"change": put(np.inf, *AT)}, "are not finite, the first (inf)"),
    ("state_v", {"change": put(np.nan, *AT), "fill": np.nan}, "are not finite, the first (nan)"),
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: f"{case[0]}-{case[2][:28]}")
def test_what_is_no_number_is_refused_with_place_and_count(source: Path, case: Case) -> None:
    name, fault, words = case
    path = find_pairs(source)[0].mli
    replace_variable(path, name, **fault)
    message = refusal(source)
    assert f"{path}: variable {name} has 2 value(s)" in message
    assert words in message
    assert "in column 3, level 5 (counted from 0)" in message


def test_what_cannot_be_zero_is_not_zero(source: Path) -> None:
    # A file that was preallocated and not written holds zeros.
    path = find_pairs(source)[0].mli
    replace_variable(path, "state_t", lambda v: np.concatenate([v[:1], 0.0 * v[1:]]))
    message = refusal(source)
    assert "state_t has 42 value(s) that lie outside the plausible range" in message
    assert "the first (0) in column 0, level 1 (counted from 0)" in message


def test_the_state_after_and_scalars_are_looked_at_too(source: Path) -> None:
    after = find_pairs(source)[0].mlo
    replace_variable(after, "cam_out_PRECC", put(DEFAULT_FILL, (4,)))
    assert f"{after}: variable cam_out_PRECC has 1 value(s)" in (message := refusal(source))
    assert "in column 4 (counted from 0)" in message
    before = find_pairs(source)[0].mli
    replace_variable(before, "cam_in_SNOWHICE", put(DEFAULT_FILL, (0,)), fill=1e30)
    assert "cam_in_SNOWHICE has 1 value(s) that are netCDF's default fill value" in refusal(source)


def test_the_flag_of_snow_on_ice_is_no_fill_value(source: Path) -> None:
    path = find_pairs(source)[0].mli
    plain = read_pair(find_pairs(source)[0], read_grid(find_grid(source)))["cam_in_SNOWHICE"]
    replace_variable(path, "cam_in_SNOWHICE", fill=1e30, missing_value=1e30, valid_max=100.0)
    columns = read_pair(find_pairs(source)[0], read_grid(find_grid(source)))
    np.testing.assert_array_equal(columns["cam_in_SNOWHICE"], plain)
    assert (plain == 1e30).sum() == 3
    replace_variable(path, "state_ps", put(1e30, (0,)))
    assert "state_ps has 1 value(s) that lie outside the plausible range" in refusal(source)
    replace_variable(path, "state_ps", put(1e5, (0,)))
    replace_variable(path, "cam_in_SNOWHICE", put(-999.0, (1,)))
    assert "cam_in_SNOWHICE has 1 value(s) that lie outside the plausible" in refusal(source)


PACKED = {
    "state_t": ("i4", 2.0**-20, 250.0),
    "state_q0001": ("i4", 1e-11, 0.01),
    "pbuf_ozone": ("i2", 1e-11, 5e-8),
    "state_u": ("i2", 0.01, None),
    "cam_in_LWUP": ("i2", np.float32(0.01), np.float32(300.0)),
    "pbuf_COSZRS": ("f8", 0.5, 0.25),
}


def test_packed_variables_give_the_store_of_the_unpacked_ones(source: Path, tmp_path: Path) -> None:
    packed = shutil.copytree(source, tmp_path / "packed")
    for plain in sorted(source.glob("*.ml?.*.nc")):
        for name, (dtype, scale, offset) in PACKED.items():
            with netCDF4.Dataset(plain) as file:
                if name not in file.variables:
                    continue
                base = 0.0 if offset is None else float(offset)
                counts = np.rint((np.array(file[name][...]) - base) / float(scale))
            attributes = {"scale_factor": scale}
            if offset is not None:
                attributes["add_offset"] = offset
            meant = counts * float(scale) + base
            replace_variable(plain, name, lambda _, meant=meant: meant)
            other = packed / plain.name
            replace_variable(other, name, lambda _, counts=counts: counts, dtype, **attributes)
    stores = []
    for folder in (source, packed):
        prepare(folder, tmp_path / f"{folder.name}.zarr", split=Split(), config=EXACT)
        stores.append(ColumnStore.open(tmp_path / f"{folder.name}.zarr"))
    names = [v.name for v in stores[0].variables]
    expected, got = (store.read(names, slice(None)) for store in stores)
    for name in names:
        np.testing.assert_allclose(got[name], expected[name], rtol=ROUNDING, atol=0.0, err_msg=name)
    assert np.ptp(got["state_t"]) > 50.0


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"change": put(-32767, (2, 1))}, "are netCDF's default fill value"),
        (
            {"change": put(-32768, (2, 1)), "fill": np.int16(-32768)},
            "equal its _FillValue, the first (-327.68, stored -32768)",
        ),
        (
            {"valid_range": np.array([-9999, 9999], "i2"), "change": put(10000, (2, 1))},
            "lie outside its valid_range, the first (100",
        ),
        (
            {"valid_range": [-99.0, 99.0], "change": put(10000, (2, 1))},
            "lie outside its valid_range, the first (100",
        ),
        (
            {"scale_factor": "0.01"},
            "state_u has the attribute scale_factor = ['0.01'], expected 1 number(s)",
        ),
    ],
)
def test_marks_of_packed_values(source: Path, attributes: dict[str, Any], words: str) -> None:
    path = find_pairs(source)[0].mli
    change = attributes.pop("change", lambda v: v)
    packing = {"scale_factor": 0.01} | attributes
    replace_variable(path, "state_u", lambda v: change(np.rint(v / 0.01)), "i2", **packing)
    assert words in refusal(source)


def test_unsigned_packing_of_a_classic_file(source: Path) -> None:
    path = find_pairs(source)[0].mli
    replace_variable(
        path,
        "cam_in_LWUP",
        lambda v: np.full(v.shape, 50000).astype("u2").view("i2"),
        "i2",
        scale_factor=0.01,
        _Unsigned="true",
    )
    columns = read_pair(find_pairs(source)[0], read_grid(find_grid(source)))
    np.testing.assert_allclose(columns["cam_in_LWUP"], 500.0, rtol=ROUNDING)


FILE_VARIABLES = [
    *variable_set(INPUT_SET).names,
    *(state_name(n) if is_tendency(n) else n for n in variable_set(OUTPUT_SET).names),
]


@pytest.mark.parametrize("name", dict.fromkeys(FILE_VARIABLES))
def test_every_range_holds_eight_real_years_and_no_fill_value(climsim_dir: Path, name: str) -> None:
    low, high = variable(name).plausible or (np.nan, np.nan)
    assert low < high
    for fill in (-999.0, -9999.0, -32767.0, 9999.0, 1e20, DEFAULT_FILL):
        assert not low <= fill <= high, fill
    for which in ("min", "max"):
        path = climsim_dir / "normalization" / "inputs" / f"input_{which}.nc"
        with netCDF4.Dataset(path) as file:
            if name in file.variables:
                extreme = np.asarray(file[name][...])
                extreme = extreme[extreme < 1e20]
                assert ((low <= extreme) & (extreme <= high)).all()


def test_implausible_values_are_kept_and_counted_on_request(source: Path, tmp_path: Path) -> None:
    pairs = find_pairs(source)
    replace_variable(pairs[0].mli, "state_u", put(600.0, (0, 0), (0, 1)))
    replace_variable(pairs[0].mlo, "state_u", put(-600.0, (0, 0)))
    replace_variable(pairs[1].mlo, "cam_out_FLWDS", put(2000.0, (2,)))
    split = tmp_path / "split.yaml"
    split.write_text("{}\n")
    command = [
        "data",
        "prepare",
        str(source),
        "--split",
        str(split),
        "--out",
        str(tmp_path / "s.zarr"),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    with pytest.raises(
        DataError,
        match=r"state_u has 2 value\(s\).*-500 to 500, .*--allow-implausible state_u",
    ):
        prepare(source, tmp_path / "s.zarr", split=Split())
    command += ["--overwrite", "--allow-implausible", "state_u"]
    assert CliRunner().invoke(app, command).exit_code == 1
    result = CliRunner().invoke(app, [*command, "--allow-implausible", "cam_out_FLWDS"])
    assert result.exit_code == 0, result.output
    said = "values outside their plausible range were kept: state_u 3, cam_out_FLWDS 1"
    assert said in " ".join(result.output.split())
    found = describe(tmp_path / "s.zarr", ranges=False)["implausible_values"]
    assert found == {"state_u": {"count": 3}, "cam_out_FLWDS": {"count": 1}}
    shown = CliRunner().invoke(app, ["data", "describe", str(tmp_path / "s.zarr")])
    assert shown.exit_code == 0, shown.output
    assert "implausible values" in shown.output
    assert ColumnStore.open(tmp_path / "s.zarr").read(["state_u"], [0])["state_u"].max() == 600.0
    with pytest.raises(StoreError, match=r"allow_implausible names 'ptend_t', which has no range"):
        prepare(
            source,
            tmp_path / "t.zarr",
            split=Split(),
            config=StoreConfig(allow_implausible=("ptend_t",)),
        )


def test_a_refused_file_leaves_the_store_unfinished(source: Path, tmp_path: Path) -> None:
    replace_variable(find_pairs(source)[1].mli, "state_q0001", put(DEFAULT_FILL, (0, 0)))
    with pytest.raises(DataError, match="default fill value"):
        prepare(source, tmp_path / "s.zarr", split=Split(), config=StoreConfig(time_chunk=1))
    with pytest.raises(StoreError, match="incomplete"):
        ColumnStore.open(tmp_path / "s.zarr")


def test_what_an_emulator_predicted_is_read_as_it_is(source: Path) -> None:
    pair, grid = find_pairs(source)[0], read_grid(find_grid(source))
    before = read_pair(pair, grid)
    replace_variable(pair.mlo, "state_t", put(9000.0, (0, 0)))
    got = read_outputs(pair.mlo, before, grid, pair.stamp)
    assert got["ptend_t"][0, 0] == (9000.0 - before["state_t"][0, 0]) / 1200.0
    replace_variable(pair.mlo, "state_t", put(DEFAULT_FILL, (0, 0)))
    with pytest.raises(DataError, match="default fill value"):
        read_outputs(pair.mlo, before, grid, pair.stamp)
