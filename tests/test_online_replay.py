"""The replay host: what it writes is what Python predicts, for any number of ranks and any chunk
size.
"""

from __future__ import annotations

import json
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from climlink.config import ConfigError
from climlink.data.climsim import find_pairs
from climlink.data.columns import read_columns
from climlink.evaluation.offline import r2_table, replay_outputs
from climlink.mpi import LaunchError
from climlink.online.case import load_case
from climlink.online.replay import ReplayConfig, SelectionConfig, run_replay
from climlink.packages.prediction import predict_package
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.wrappers.contract import EmulatorContract

DECOMPOSITIONS = [(1, 384), (2, 16), (3, 7), (1, 1), (3, 384)]


def _case(package: EmulatorPackage, data: Path, output: Path, **changes: object) -> ReplayConfig:
    return ReplayConfig.model_validate(
        {"host": "replay", "package": package.path, "data": data, "output": output, **changes}
    )


def _contents(path: Path) -> dict[str, np.ndarray]:
    with netCDF4.Dataset(path) as file:
        return {name: np.asarray(v[...]) for name, v in file.variables.items()}


def test_ranks_and_chunks_do_not_change_a_bit(
    linear_package: EmulatorPackage, synthetic_dir: Path, tmp_path: Path
) -> None:
    stamps = SelectionConfig(stamps=["0008-04-24-76800"])
    reference: dict[str, np.ndarray] | None = None
    for ranks, pcols in [*DECOMPOSITIONS, (25, 16)]:  # 25 ranks share 24 columns: one has none
        run = run_replay(
            _case(
                linear_package,
                synthetic_dir,
                tmp_path / f"{ranks}_{pcols}",
                selection=stamps,
                ranks=ranks,
                pcols=pcols,
            )
        )
        contents = _contents(run.files[0])
        reference = reference or contents
        for name, values in contents.items():
            assert np.array_equal(values, reference[name]), (ranks, pcols, name)


def test_files_have_the_mlo_format(
    linear_package: EmulatorPackage, synthetic_dir: Path, tmp_path: Path
) -> None:
    run = run_replay(_case(linear_package, synthetic_dir, tmp_path / "run"))
    pairs = find_pairs(synthetic_dir)
    assert [f.name for f in run.files] == [p.mlo.name for p in pairs]
    for pair, written in zip(pairs, run.files, strict=True):
        with netCDF4.Dataset(pair.mlo) as real, netCDF4.Dataset(written) as ours:
            assert ours.data_model == "NETCDF3_64BIT_DATA"
            assert {n: len(d) for n, d in ours.dimensions.items()} == {
                n: len(d) for n, d in real.dimensions.items()
            }
            assert {n: (v.dimensions, v.dtype) for n, v in ours.variables.items()} == {
                n: (v.dimensions, v.dtype) for n, v in real.variables.items()
            }
    record = json.loads((run.folder / "run.json").read_text())
    with netCDF4.Dataset(run.files[-1]) as ours:
        assert ours.climlink_package_sha256 == linear_package.digest
        assert ours.climlink_package == linear_package.manifest.name
        assert ours.climlink_version == record["versions"]["climlink"]
        assert ours.creation_date == record["created"]
        assert ours.history.startswith(
            f"{record['created']}: climlink-replay {ours.climlink_version}, package "
        )
    assert record["status"] == "finished"
    assert record["package"]["sha256"] == linear_package.digest


def test_replay_scores_what_python_scores(
    linear_package: EmulatorPackage, synthetic_dir: Path, tmp_path: Path
) -> None:
    contract = EmulatorContract.from_manifest(linear_package.manifest)
    pairs = find_pairs(synthetic_dir)
    rows = read_columns(synthetic_dir, contract.inputs, contract.outputs)
    run = run_replay(_case(linear_package, synthetic_dir, tmp_path / "run", ranks=2, pcols=5))
    replayed = replay_outputs(
        [p.mli for p in pairs], run.folder / "output", contract.outputs, synthetic_dir
    )
    predicted = predict_package(linear_package, rows.inputs)
    python = r2_table(rows.targets, predicted, contract.outputs, first_level=15)
    fortran = r2_table(rows.targets, replayed, contract.outputs, first_level=15)
    assert python.largest_difference(fortran) <= 1e-6


def test_real_files(linear_package: EmulatorPackage, climsim_dir: Path, tmp_path: Path) -> None:
    stamp = "0008-07-07-54000"
    reference: dict[str, np.ndarray] | None = None
    for ranks, pcols in DECOMPOSITIONS:
        selection = SelectionConfig(stamps=[stamp])
        run = run_replay(
            _case(
                linear_package,
                climsim_dir,
                tmp_path / f"{ranks}_{pcols}",
                selection=selection,
                ranks=ranks,
                pcols=pcols,
            )
        )
        contents = _contents(run.files[0])
        reference = reference or contents
        for name, values in contents.items():
            assert np.array_equal(values, reference[name]), (ranks, pcols, name)
    mlo = next(p.mlo for p in find_pairs(climsim_dir) if str(p.stamp) == stamp)
    with xr.open_dataset(mlo, decode_times=False) as real:
        assert reference is not None
        assert set(real.variables) == set(reference)


def test_bad_cases(linear_package: EmulatorPackage, synthetic_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no such file"):
        run_replay(
            _case(linear_package, synthetic_dir, tmp_path / "a").model_copy(
                update={"package": tmp_path / "none.pt"}
            )
        )
    with pytest.raises(ConfigError, match="0008-02-02-00000"):
        run_replay(
            _case(
                linear_package,
                synthetic_dir,
                tmp_path / "b",
                selection={"stamps": ["0008-02-02-00000"]},
            )
        )
    done = _case(
        linear_package, synthetic_dir, tmp_path / "c", selection={"stamps": ["0008-04-24-76800"]}
    )
    run_replay(done)
    with pytest.raises(ConfigError, match="already holds a run"):
        run_replay(done)
    with pytest.raises(LaunchError, match="time step"):
        run_replay(_case(linear_package, synthetic_dir, tmp_path / "d", time_step_s=600.0))
    assert json.loads((tmp_path / "d" / "run.json").read_text())["status"] == "failed"
    assert not list((tmp_path / "d" / "output").iterdir())


def test_case_file_paths_are_relative_to_it(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    case = tmp_path / "cases" / "replay.yaml"
    case.parent.mkdir()
    case.write_text(
        "host: replay\npackage: ../wrap_model.pt\ndata: ../data\noutput: ../out\nranks: 3\n"
    )
    loaded = load_case(case, pcols=7)
    assert loaded.package.resolve() == (tmp_path / "wrap_model.pt").resolve()
    assert (loaded.ranks, loaded.pcols) == (3, 7)
    case.write_text("host: replay\npackage: a.pt\ndata: d\noutput: o\nrank: 3\n")
    with pytest.raises(ConfigError, match="ranks"):
        load_case(case)
