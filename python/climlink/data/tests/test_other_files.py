"""Files of other cases and kinds: names, times, calendars, units, grid and normalization files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

from climlink.data.climsim import find_pairs, read_pair
from climlink.data.errors import DataError
from climlink.data.grid import find_grid, read_grid
from climlink.data.published import read_published
from climlink.data.synthetic import replace_variable, write_dataset

STAMPS = ["0008-01-01-00000", "0008-01-01-01200"]
DEFAULT_FILL = netCDF4.default_fillvals["f8"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder of this test's own with two pairs of 6 columns and 8 levels."""
    return write_dataset(tmp_path / "source", STAMPS, monthly=False)


def at(value: float, *place: int) -> dict[str, Any]:
    """Return the change that sets one value."""

    def change(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return {"change": change}


def refusal(source: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_pair(find_pairs(source)[0], read_grid(find_grid(source)))
    return str(caught.value)


def test_a_leading_time_of_one_is_read_and_of_two_refused(source: Path) -> None:
    pair, grid = find_pairs(source)[0], read_grid(find_grid(source))
    plain = read_pair(pair, grid)
    for name in ("state_t", "state_ps"):
        replace_variable(pair.mli, name, time=1)
    for name, values in read_pair(pair, grid).items():
        np.testing.assert_array_equal(values, plain[name])
    replace_variable(pair.mlo, "state_u", time=2)
    assert f"{pair.mlo}: variable state_u holds 2 times; expected one time" in refusal(source)


@pytest.mark.parametrize("where", ["file", "time"])
def test_another_calendar_is_refused(source: Path, where: str) -> None:
    path = find_pairs(source)[0].mli
    with netCDF4.Dataset(path, "a") as file:
        if where == "time":
            file.createDimension("time", 1)
        holder = file if where == "file" else file.createVariable("time", "f8", ("time",))
        holder.calendar = "365_day"
    read_pair(find_pairs(source)[0], read_grid(find_grid(source)))
    with netCDF4.Dataset(path, "a") as file:
        (file if where == "file" else file["time"]).calendar = "gregorian"
    assert f"{path}: the calendar is gregorian; expected noleap" in refusal(source)


@pytest.mark.parametrize("name", ["case.eam_0001", "case.cam", "case.v2.eam", "case"])
def test_files_of_every_component_name_are_found(source: Path, name: str) -> None:
    plain = read_pair(find_pairs(source)[0], read_grid(find_grid(source)))
    for path in source.glob("E3SM-MMF.*.nc"):
        path.rename(path.with_name(path.name.replace("E3SM-MMF", name)))
    (source / f"{name}.mli.mean.nc").touch()  # no stamp: none of these files
    pairs = find_pairs(source)
    assert [p.mli.name for p in pairs] == [f"{name}.mli.{stamp}.nc" for stamp in STAMPS]
    columns = read_pair(pairs[0], read_grid(find_grid(source)))
    np.testing.assert_array_equal(columns["ptend_t"], plain["ptend_t"])
    # Another member beside it, and a pair of two members, are no data set.
    other = source / f"case.eam_0002.mlo.{STAMPS[1]}.nc"
    shutil.copy(pairs[1].mlo, other)
    with pytest.raises(DataError, match="mlo files of 2 cases"):
        find_pairs(source)
    pairs[1].mlo.rename(other)
    with pytest.raises(DataError, match="mlo files of 2 cases"):
        find_pairs(source)
    pairs[0].mlo.rename(other.with_name(f"case.eam_0002.mlo.{STAMPS[0]}.nc"))
    with pytest.raises(DataError, match=r"mli and mlo files of 2 cases: .*give the folder of one"):
        find_pairs(source)


def test_units_that_are_not_the_contracts_are_refused(source: Path) -> None:
    path = find_pairs(source)[0].mli
    for name, units in (
        ("state_t", "kelvin"),
        ("state_q0001", "kg kg-1"),
        ("pbuf_SOLIN", "W m**-2"),
        ("pbuf_TAUX", "N/m^2"),
    ):
        replace_variable(path, name, units=units)
    read_pair(find_pairs(source)[0], read_grid(find_grid(source)))
    replace_variable(path, "state_ps", units="hPa")
    assert f"{path}: variable state_ps is in 'hPa', expected 'Pa'; convert it" in refusal(source)


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        (
            "lat",
            at(DEFAULT_FILL, 2),
            "the first (9.96921e+36) in column 2 (counted from 0); fetch the file again",
        ),
        (
            "hyai",
            at(-999.0, 1) | {"missing_value": -999.0},
            "equal its missing_value, the first (-999) in interface 1 (counted from 0)",
        ),
        (
            "P0",
            {"change": lambda v: v / 100.0},
            "outside the plausible range 80000 to 120000, the first (1000); check its units",
        ),
        (
            "area",
            {"change": lambda v: v * 4e7},
            "has 6 value(s) that lie outside the plausible range",
        ),
        ("lon", {"units": "radians"}, "is in 'radians', expected degrees"),
    ],
)
def test_a_grid_file_too(source: Path, name: str, fault: dict[str, Any], words: str) -> None:
    path = find_grid(source)
    replace_variable(path, name, **fault)
    with pytest.raises(DataError) as caught:
        read_grid(path)
    assert f"variable {name} " in str(caught.value)
    assert words in str(caught.value)


def test_published_normalization_of_fill_values(climsim_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(climsim_dir / "normalization", tmp_path / "normalization")
    scale = folder / "outputs" / "output_scale_std_lowerthred_v5.nc"
    mean = folder / "inputs" / "input_mean_v5_pervar.nc"
    lambdas = folder / "inputs" / "qn_exp_lambda_large.txt"
    lambdas.write_text(lambdas.read_text().replace(",", ",nan,", 1))
    with pytest.raises(DataError, match=r"large.txt: expected positive, finite numbers, found nan"):
        read_published(folder, "v5")
    replace_variable(scale, "ptend_t", **at(0.0, 7))
    with pytest.raises(DataError, match=r"the scale of ptend_t is 0 somewhere"):
        read_published(folder, "v5")
    replace_variable(mean, "state_t", fill=np.nan, **at(DEFAULT_FILL, 9))
    with pytest.raises(
        DataError,
        match=r"state_t has 1 value\(s\) that are netCDF's .* in level 9 \(counted from 0\)",
    ):
        read_published(folder, "v5")
