"""Finding and reading mli/mlo pairs: values against a direct read, and every refusal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from climlink.data.classic_netcdf import required_bytes
from climlink.data.climsim import find_files, find_pairs, read_pair
from climlink.data.errors import DataError
from climlink.data.grid import find_grid, read_grid
from climlink.data.stamp import Stamp
from climlink.data.synthetic import write_dataset


def rewrite(
    path: Path, change: Callable[[dict[str, tuple[tuple[str, ...], np.ndarray]]], None]
) -> None:
    """Rewrite a netCDF file after ``change`` has edited its variables {name: (dimensions,
    values)}.
    """
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        variables = {name: (v.dimensions, np.array(v[...])) for name, v in file.variables.items()}
    change(variables)
    path.unlink()
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_DATA") as file:
        for dimensions, values in variables.values():
            for name, size in zip(dimensions, values.shape, strict=True):
                if name not in file.dimensions:
                    file.createDimension(name, size)
        for name, (dimensions, values) in variables.items():
            file.createVariable(name, values.dtype, dimensions)[...] = values


def refusal(source: Path, position: int = 0) -> str:
    with pytest.raises(DataError) as caught:
        read_pair(find_pairs(source)[position], read_grid(find_grid(source)))
    return str(caught.value)


def test_pairs_are_found_in_monthly_folders_and_flat(tmp_path: Path) -> None:
    stamps = ["0008-02-01-00000", "0008-01-31-84000"]
    monthly = find_pairs(write_dataset(tmp_path / "monthly", stamps))
    flat = find_pairs(write_dataset(tmp_path / "flat", stamps, monthly=False))
    assert [str(p.stamp) for p in monthly] == [str(p.stamp) for p in flat] == sorted(stamps)


def test_pair_values_are_those_of_the_files(source: Path) -> None:
    pair = find_pairs(source)[3]
    columns = read_pair(pair, read_grid(find_grid(source)))
    with netCDF4.Dataset(pair.mli) as before, netCDF4.Dataset(pair.mlo) as after:
        np.testing.assert_array_equal(columns["state_t"], before["state_t"][:].T)
        np.testing.assert_array_equal(columns["cam_in_SNOWHICE"], before["cam_in_SNOWHICE"][:])
        np.testing.assert_array_equal(columns["cam_out_PRECC"], after["cam_out_PRECC"][:])
        for suffix in ("t", "q0001", "q0002", "q0003", "u", "v"):
            expected = (after[f"state_{suffix}"][:].T - before[f"state_{suffix}"][:].T) / 1200.0
            np.testing.assert_array_equal(columns[f"ptend_{suffix}"], expected)


def test_fifty_real_pairs(climsim_dir: Path) -> None:
    pairs = find_pairs(climsim_dir)
    assert len(pairs) == 50
    columns = read_pair(pairs[-1], read_grid(find_grid(climsim_dir)))
    assert columns["state_t"].shape == (384, 60)
    assert columns["state_t"][:, -1].mean() > columns["state_t"][:, 20].mean()
    assert (columns["cam_in_SNOWHICE"] == 1e30).any()


def test_header_length_is_the_real_length(climsim_dir: Path) -> None:
    for path in [
        *find_files(climsim_dir, "mli").values(),
        *find_files(climsim_dir, "mlo").values(),
    ]:
        assert required_bytes(path) == path.stat().st_size


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("record_variables", [0, 1, 2])
def test_header_length_with_and_without_records(
    tmp_path: Path, kind: str, record_variables: int
) -> None:
    path = tmp_path / "x.nc"
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.createDimension("time", None)
        file.createDimension("n", 3)
        file.title = "odd length"
        file.createVariable("fixed", "i2", ("n",))[:] = 1
        for number in range(record_variables):
            file.createVariable(f"r{number}", "i2", ("time", "n"))[0:5] = 1
    needed = required_bytes(path)
    assert needed is not None
    assert (
        path.stat().st_size - 3 <= needed <= path.stat().st_size
    )  # the library pads to four bytes


def test_missing_partners_are_listed(source: Path) -> None:
    pairs = find_pairs(source)
    pairs[1].mlo.unlink()
    pairs[2].mli.unlink()
    with pytest.raises(DataError) as caught:
        find_pairs(source)
    message = str(caught.value)
    assert f"1 mli file(s) without their mlo file: {pairs[1].mli}" in message
    assert f"1 mlo file(s) without their mli file: {pairs[2].mlo}" in message


def test_the_same_stamp_twice_is_refused(source: Path) -> None:
    pair = find_pairs(source)[0]
    shutil.copy(pair.mli, source / pair.mli.name)
    with pytest.raises(DataError, match="two mli files of 0008-01-30-79200"):
        find_pairs(source)


def test_empty_and_absent_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file named E3SM-MMF\.mli"):
        find_pairs(tmp_path)
    with pytest.raises(DataError, match="is not a directory"):
        find_pairs(tmp_path / "absent")


@pytest.mark.parametrize("cut", [1, 8, 500, 0.5, 0.9, 0.99, 0.9999])
def test_truncated_file_is_refused_wherever_it_is_cut(source: Path, cut: float) -> None:
    # The netCDF library itself reads zeros past the end of a classic file.
    path = find_pairs(source)[0].mli
    size = path.stat().st_size
    os.truncate(path, size - int(cut if cut >= 1 else cut * size))
    message = refusal(source)
    assert str(path) in message
    assert "netCDF" in message
    assert "fetch it again" in message


def test_file_that_is_not_netcdf(source: Path) -> None:
    path = find_pairs(source)[0].mlo
    path.write_text("<html>404</html>")
    assert f"{path}: not a readable netCDF file" in refusal(source)


def test_missing_variable_names_file_variable_and_near_names(source: Path) -> None:
    path = find_pairs(source)[0].mli
    rewrite(path, lambda v: v.update(state_q001=v.pop("state_q0001")))
    assert f"{path}: variable state_q0001 is missing; did you mean 'state_q001'" in refusal(source)


def test_missing_output_variable(source: Path) -> None:
    path = find_pairs(source)[0].mlo
    rewrite(path, lambda v: v.pop("cam_out_SOLSD"))
    assert f"{path}: variable cam_out_SOLSD is missing" in refusal(source)


def test_wrong_dimension(source: Path) -> None:
    path = find_pairs(source)[0].mli
    rewrite(path, lambda v: v.update(state_t=(("ncol", "lev"), v["state_t"][1].T)))
    assert (
        f"{path}: variable state_t has dimensions (ncol=6, lev=8), expected (lev=8, ncol=6)"
        in refusal(source)
    )


def test_wrong_type(source: Path) -> None:
    path = find_pairs(source)[0].mlo
    rewrite(path, lambda v: v.update(cam_out_SOLS=(("ncol",), v["cam_out_SOLS"][1].astype("f4"))))
    assert f"{path}: variable cam_out_SOLS is float32, expected float64" in refusal(source)


def test_level_count_that_is_not_the_grids(source: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", [], level_count=9)
    pair = find_pairs(source)[0]
    with pytest.raises(DataError, match=r"\(lev=8, ncol=6\), expected \(lev=9, ncol=6\)"):
        read_pair(pair, read_grid(find_grid(other)))


def test_grid_of_another_vertical_coordinate(source: Path) -> None:
    grid = find_grid(source)
    rewrite(grid, lambda v: v["hyam"][1].__iadd__(1e-3))
    assert "the grid file is another grid's" in refusal(source)


@pytest.mark.parametrize(("name", "value"), [("ymd", 80131), ("tod", 1200)])
def test_time_inside_that_is_not_the_names(source: Path, name: str, value: int) -> None:
    path = find_pairs(source)[0].mlo
    rewrite(path, lambda v: v.update({name: ((), np.array(value, dtype="i4"))}))
    message = refusal(source)
    assert f"{path}: {name} is {value}, the file name says" in message


def test_non_finite_value_names_file_variable_column_and_level(source: Path) -> None:
    path = find_pairs(source)[0].mli

    def spoil(variables: dict) -> None:
        variables["state_q0002"][1][5, 3] = np.nan

    rewrite(path, spoil)
    assert (
        f"{path}: variable state_q0002 has 1 value(s) that are not finite, the first (nan) in "
        "column 3, level 5" in refusal(source)
    )


def test_grid_file_errors(source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"expected one grid file .* found none; name one with --grid"
    ):
        find_grid(source / "train")
    with pytest.raises(DataError, match="does not exist"):
        find_grid(source, tmp_path / "absent.nc")
    path = find_grid(source)
    rewrite(path, lambda v: v.pop("hybm"))
    with pytest.raises(DataError, match="grid variable hybm is missing"):
        read_grid(path)


def test_stamp_in_a_file_name_must_be_one(source: Path) -> None:
    (source / "E3SM-MMF.mli.0008-02-29-00000.nc").touch()
    with pytest.raises(DataError, match="no-leap"):
        find_pairs(source)
    assert Stamp.parse("0008-01-30-79200") is not None
