"""Files of E3SM runs built with -DMMF_ML_TRAINING go into a store as they are; of a partially
coupled run the user says which pair.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.climsim import file_name, find_files, find_pairs
from climlink.data.errors import DataError
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.synthetic import GRID_NAME, write_training_run

CASE = "partial.coupling.v4"
STAMPS = [Stamp.parse("0003-01-01-00000").plus(1200 * n) for n in range(4)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a partially coupled run with both kinds of pairs, and history files that
    are none of this.
    """
    folder = write_training_run(
        tmp_path_factory.mktemp("run"), STAMPS, case=CASE, pairs=("mli-mlo", "mlisp-mlosp")
    )
    (folder / f"{CASE}.eam.h0.0003-01.nc").write_bytes(b"")
    (folder / f"{CASE}.eam.r.0003-01-01-00000.nc").write_bytes(b"")
    return folder


def _difference(folder: Path, before: str, after: str, variable: str, stamp: Stamp) -> np.ndarray:
    """Return (after - before) / 1200 [column, level] straight from two files."""
    with (
        netCDF4.Dataset(folder / file_name(before, stamp, CASE)) as a,
        netCDF4.Dataset(folder / file_name(after, stamp, CASE)) as b,
    ):
        return np.asarray((b[variable][:] - a[variable][:]) / 1200.0).T


@pytest.mark.parametrize(
    ("kind", "before", "after"), [("mli-mlo", "mli", "mlo"), ("mlisp-mlosp", "mlisp", "mlosp")]
)
@pytest.mark.parametrize("lags", [False, True])
def test_a_training_run_is_prepared_as_it_is(
    run: Path, tmp_path: Path, kind: str, before: str, after: str, lags: bool
) -> None:
    config = StoreConfig(pairs=kind, lags=lags, input_dtype="float64")
    done = prepare(run, tmp_path / "s.zarr", split=Split(), config=config)
    assert (done.records, done.left_out) == ((2, 2) if lags else (4, 0))
    store = ColumnStore.open(tmp_path / "s.zarr")
    assert store.attributes["source"] == f"ClimSim {kind} pairs"
    last = store.read(["ptend_q0002"], [store.n_time - 1])["ptend_q0002"]
    assert np.array_equal(last, _difference(run, before, after, "state_q0002", STAMPS[-1]))
    if lags:
        previous = store.read(["state_t_prvphy"], [store.n_time - 1])["state_t_prvphy"]
        assert np.array_equal(previous, _difference(run, before, after, "state_t", STAMPS[-2]))


def test_kinds_are_never_mixed(run: Path, tmp_path: Path) -> None:
    assert [p.mli.name for p in find_pairs(run, "mlisp-mlosp")] == [
        file_name("mlisp", s, CASE) for s in STAMPS
    ]
    assert list(find_files(run, "mli").values()) == [
        run / file_name("mli", s, CASE) for s in STAMPS
    ]
    with pytest.raises(
        DataError,
        match=r"no file named .*mlis\..*; there are files of mli, mlo, mlisp, mlosp: choose them "
        r"with --pairs",
    ):
        find_pairs(run, "mlis-mlos")
    short = write_training_run(tmp_path / "short", STAMPS[:2], case=CASE, pairs=("mlis-mlos",))
    assert len(find_pairs(short, "mlis-mlos")) == 2
    (short / file_name("mlos", STAMPS[1], CASE)).unlink()
    with pytest.raises(DataError, match=r"1 mlis file\(s\) without their mlos file"):
        find_pairs(short, "mlis-mlos")


def test_two_cases_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = write_training_run(tmp_path / "run", STAMPS[:1], case="one")
    write_training_run(folder, STAMPS[1:2], case="two")
    with pytest.raises(DataError, match=r"mli files of 2 cases: .*one\.eam\.mli.*two\.eam\.mli"):
        find_pairs(folder)


def test_a_time_inside_that_is_not_the_names_is_refused(tmp_path: Path) -> None:
    folder = write_training_run(tmp_path / "run", STAMPS[:1], case=CASE)
    with netCDF4.Dataset(folder / file_name("mli", STAMPS[0], CASE), "a") as file:
        file.createVariable("tod", "i4")[...] = 2400
    with pytest.raises(DataError, match="tod is 2400, the file name says 0"):
        prepare(folder, tmp_path / "s.zarr", split=Split())


def test_the_command_line(run: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.yaml"
    split.write_text(f'test: ["{STAMPS[0]}"]\n')
    command = [
        "data",
        "prepare",
        str(run),
        "--grid",
        str(run / GRID_NAME),
        "--split",
        str(split),
        "--out",
        str(tmp_path / "s.zarr"),
    ]
    result = CliRunner().invoke(app, [*command, "--lags", "--pairs", "mlisp-mlosp"])
    assert result.exit_code == 0, result.output
    assert "made, 2 pairs" in result.output
    assert "2 pairs left out" in result.output
    assert CliRunner().invoke(app, [*command, "--pairs", "mlo-mli"]).exit_code == 2
