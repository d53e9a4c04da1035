"""climlink bench: interleaved timings, and the file of micro-batches that the Runtime reads where a
host names it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.packages.bench import Setting, TuningFile, bench, fastest, tune
from climlink.packages.read import EmulatorPackage
from climlink.runtime import Emulator, EmulatorError

QUICK = Setting(columns=40, rounds=5)


def test_ways_are_held_against_all_columns_in_one_forward(linear_package: EmulatorPackage) -> None:
    timings = bench(linear_package, [], (16, 32, 1024), QUICK)
    # 40 columns are filled up to 48, the baseline; 1024 is no other way than that.
    assert [t.micro_batch for t in timings] == [48, 16, 32]
    baseline, *others = timings
    assert (baseline.speed_up, baseline.interval) == (1.0, (1.0, 1.0))
    for t in others:
        assert t.interval[0] <= t.speed_up <= t.interval[1]
        assert 0.05 < t.speed_up < 20
        assert t.speed_up == pytest.approx(baseline.seconds / t.seconds, rel=1.0)
    (best,) = fastest(timings)
    assert best.speed_up == max(t.speed_up for t in timings)


def test_a_tuned_micro_batch_is_read_where_the_host_names_it(
    linear_package: EmulatorPackage, unet_package: EmulatorPackage, tmp_path: Path
) -> None:
    path = tmp_path / "tuning.json"
    timings = bench(linear_package, [], (32,), QUICK)
    (entry,) = tune(linear_package, timings, 1, path)
    assert TuningFile.read(path).entries == [entry]
    assert entry.micro_batch in (32, 48)
    tuned = Emulator(linear_package.path, tuning=str(path))
    assert (tuned.micro_batch, tuned.engine_note) == (entry.micro_batch, "")
    usual = Emulator(linear_package.path)
    assert usual.micro_batch == 64
    rows = np.resize(linear_package.golden_inputs, (70, linear_package.manifest.n_input))
    assert np.array_equal(tuned.run_packed(rows), usual.run_packed(rows))
    for other in (
        Emulator(linear_package.path, tuning=str(path), threads=2),
        Emulator(unet_package.path, tuning=str(path), micro_batch=96),
    ):
        assert other.micro_batch in (64, 96)
        assert f"{other.micro_batch} is used" in other.engine_note


def test_a_tuning_file_keeps_what_is_of_others(
    linear_package: EmulatorPackage, unet_package: EmulatorPackage, tmp_path: Path
) -> None:
    path = tmp_path / "tuning.json"
    timings = bench(linear_package, [], (32,), QUICK)
    for package in (linear_package, unet_package, linear_package):
        tune(package, timings, 1, path)
    digests = [e.package_sha256 for e in TuningFile.read(path).entries]
    assert digests == [unet_package.digest, linear_package.digest]


@pytest.mark.parametrize(
    ("content", "status"), [("{}", "argument"), ("nothing", "argument"), (None, "file")]
)
def test_what_is_no_tuning_file_is_refused(
    linear_package: EmulatorPackage, tmp_path: Path, content: str | None, status: str
) -> None:
    path = tmp_path / "tuning.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(EmulatorError, match=r"tuning\.json") as refused:
        Emulator(linear_package.path, tuning=str(path))
    assert refused.value.status == status


def test_the_command_tells_and_keeps(linear_package: EmulatorPackage, tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    of = [str(linear_package.path), "--columns", "40", "--rounds", "5", "--micro-batch", "32"]
    result = CliRunner().invoke(app, ["bench", *of, "--json", "--tune", str(path)])
    assert result.exit_code == 0, result.output
    timings = json.loads(result.stdout)["timings"]
    assert [t["micro_batch"] for t in timings] == [48, 32]
    assert len(TuningFile.read(path).entries) == 1
    table = CliRunner().invoke(app, ["bench", *of])
    assert table.exit_code == 0
    assert "torchscript" in table.stdout


def test_the_first_step_is_warm_for_its_own_sizes(linear_package: EmulatorPackage) -> None:
    rows = np.resize(linear_package.golden_inputs, (200, linear_package.manifest.n_input))
    known = Emulator(linear_package.path, column_count=200)
    assert np.array_equal(known.run_packed(rows), Emulator(linear_package.path).run_packed(rows))
    with pytest.raises(EmulatorError, match="column_count"):
        Emulator(linear_package.path, column_count=-1)
