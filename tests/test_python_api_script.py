"""The script of docs/python-api.md, as it stands there: it runs, and its memory does not grow with
the store.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from matplotlib.image import imread

from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.packages.read import EmulatorPackage

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python-api.md"
PEAK = "\nimport resource\nprint('peak_kib', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
TEST_SPLIT = 3


def _script() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found.group(1)


def _run(folder: Path) -> list[str]:
    """Run the script beside wrap_model.pt and climsim.zarr, and return its lines, with its peaks of
    memory before and after scoring.
    """
    script = _script().replace("print(package.score", PEAK + "print(package.score") + PEAK
    given = os.environ | {"MPLBACKEND": "Agg"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_script_of_the_page_runs(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    assert len([line for line in _script().splitlines() if line]) <= 15
    (tmp_path / "wrap_model.pt").symlink_to(linear_package.path)
    (tmp_path / "climsim.zarr").symlink_to(synthetic_store.path)
    lines = _run(tmp_path)
    assert lines[0].startswith("Package('linear_host_v2_q', host_v2_q 557 -> mmf368 368, SHA-256")
    scores = next(k for k, line in enumerate(lines) if "r2_ptend_t" in line)
    assert np.isfinite(float(re.findall(r"array\((.*)\)", " ".join(lines[scores:]))[0]))
    picture = imread(tmp_path / "heating.png")
    assert picture[..., :3].std() > 0.05


def _repeat(store: Path, count: int) -> None:
    """Make a store of one chunk ``count`` times as long: its chunks are links to the first."""
    group = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False)
    n_time = group["time"].shape[0]
    for name in [n for n, a in group.arrays() if a.ndim > 1]:
        first = store / name / "c" / "0"
        for file in [f for f in first.rglob("*") if f.is_file()]:
            for k in range(1, count):
                copy = store / name / "c" / str(k) / file.relative_to(first)
                copy.parent.mkdir(parents=True, exist_ok=True)
                os.link(file, copy)
        record = json.loads((store / name / "zarr.json").read_text())
        record["shape"][0] = n_time * count
        (store / name / "zarr.json").write_text(json.dumps(record))
    seconds = 1200 * np.arange(n_time * count)
    stamps = np.array(
        [str(Stamp(8, 1, 1).plus(int(s))) for s in seconds], dtype=np.dtypes.StringDType()
    )
    longer = {
        "time": group["time"][0] + seconds,
        "stamp": stamps,
        "split": np.full(len(seconds), TEST_SPLIT, dtype=np.int8),
        "source_sha256": np.full(len(seconds), "", dtype=np.dtypes.StringDType()),
    }
    for name, values in longer.items():
        attributes = dict(group[name].attrs)
        del group[name]
        made = group.create_array(
            name,
            shape=values.shape,
            chunks=values.shape,
            dtype=values.dtype,
            dimension_names=("time",),
            attributes=attributes,
        )
        made[...] = values


@pytest.mark.long
def test_the_script_predicts_within_a_gibibyte_however_long_the_store(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    stamps = tuple(str(Stamp(8, 1, 1).plus(1200 * k)) for k in range(8))
    source = write_dataset(tmp_path / "source", stamps, n_column=384, level_count=60)
    peaks = []
    for times in (264, 2640):  # a hundredth and a tenth of a year: 0.1 and 1 million columns
        folder = tmp_path / str(times)
        folder.mkdir()
        prepare(source, folder / "climsim.zarr", split=Split(test=stamps))
        _repeat(folder / "climsim.zarr", times // 8)
        (folder / "wrap_model.pt").symlink_to(linear_package.path)
        lines = _run(folder)
        assert f"'time': {times}, 'column': 384" in " ".join(lines)
        peaks.append([int(line.split()[1]) / 1024 for line in lines if line.startswith("peak_kib")])
    (predicted, scored), (predicted_longer, scored_longer) = peaks
    assert predicted_longer < 1024.0, peaks
    # What grows is the list of tasks: 15 MiB for a tenth of a year. The allocator's noise is
    # larger.
    assert predicted_longer - predicted < 150.0, peaks
    assert scored_longer - scored < 150.0, peaks
