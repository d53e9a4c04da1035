"""Statistics of the forty training snapshots of the ClimSim sample beside the published
normalization files, per variable and level.

usage: python benchmarks/published_statistics.py CLIMSIM_DIR [VARIABLE ...]

The published files were made from seven years of low-resolution ClimSim, the sample has forty
snapshots of year 8: means should agree to some hundredths of a standard deviation and standard
deviations to a tenth, ranges are smaller, and what differs between years or is rare does not agree.
VARIABLE prints its single levels.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climlink.data.prepare import prepare
from climlink.data.published import read_published
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.wrappers.input_scaling import ZERO_VARIANCE
from climlink.wrappers.normalization import output_scale
from climlink.wrappers.statistics import FILL_THRESHOLD, Statistics
from climlink.wrappers.variable_sets import variable_set

Array = NDArray[np.float64]

_CLOUD = "rare and tiny above level 18 (liquid: 29): forty snapshots do not show its tail"
REMARKS = {
    "state_t": "published maximum on level 0 is 1321 K: its range is 14 times that of the sample",
    "state_q0001": "stratospheric water differs between years: above level 14 seven vary up to 30 "
    "times as much as year 8, whose mean is one standard deviation off",
    "state_rh": "the same above level 15, where it is of the order of 1e-5",
    "state_q0002": _CLOUD,
    "state_q0003": _CLOUD,
    "state_qn": _CLOUD,
    "pbuf_CH4": "constant from level 27 down: zero variance, enters as 0",
    "pbuf_N2O": "constant from level 27 down: zero variance, enters as 0",
    "cam_in_SNOWHICE": "fill values 1e30 are averaged into the published numbers, left out of ours",
    "ptend_u": "floor 1e-6 m/s2 on both sides aloft",
}


def main(data: Path, shown: list[str]) -> None:
    """Print the comparison of inputs, output scales and in-cloud lambdas."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.zarr"
        prepare(data, path, split=data / "split.yaml")
        ours = compute_statistics(ColumnStore.open(path))
    folder_of = data / "normalization"
    original, networks, levels = (
        read_published(folder_of, w) for w in ("original", "v2_rh_mc", "multirep")
    )
    # What the multi-representation files lack (single water species) the first files have.
    of_levels = {n: v for n, v in levels.variables.items() if v.has("std")}
    theirs = Statistics({**original.variables, **of_levels}, {}, source="published")
    print("                    mean off, in std   std: ours / published     levels    range")
    print("input                median  largest   least  median largest within 10 %   median")
    for name in (*variable_set("climsim_v2").names, "state_rh", "state_qn"):
        print(_input_line(name, ours, theirs, original))
        if name in shown:
            _print_levels(name, ours, theirs)
    print("\noutput           scale: ours / published (least, median, largest)")
    for name, ratio in _scale_ratios(ours, networks):
        print(f"{name:18s} {_quantiles(ratio)}  {REMARKS.get(name, '')}")
    print("\nin-cloud 1/mean       ours / published (least, median, largest)")
    for name, inverse in ours.cloud_lambda.items():
        print(f"{name:18s} {_quantiles((inverse / networks.cloud_lambda[name]).numpy())}")


def moments(name: str, ours: Statistics, theirs: Statistics) -> tuple[Array, Array]:
    """Return (distance of the means in published standard deviations, ratio of the standard
    deviations) per level; NaN where the published variable does not vary.
    """
    mean, std = theirs[name].mean.numpy(), theirs[name].std.numpy()
    varies = std > ZERO_VARIANCE * np.abs(mean)
    spread = np.where(varies, std, np.nan)
    return np.abs(ours[name].mean.numpy() - mean) / spread, ours[name].std.numpy() / spread


def _input_line(name: str, ours: Statistics, theirs: Statistics, original: Statistics) -> str:
    if bool((theirs[name].mean >= FILL_THRESHOLD).all()):
        own, published = float(ours[name].mean), float(theirs[name].mean)
        return f"{name:18s} mean {own:.3g} against {published:.3g}: {REMARKS[name]}"
    off, ratio = moments(name, ours, theirs)
    span = ""
    if name in original.variables:
        wide = (original[name].maximum - original[name].minimum).numpy()
        own_span = (ours[name].maximum - ours[name].minimum).numpy()
        there = wide > 0.0
        span = f"{np.median(own_span[there] / wide[there]):8.2f}"
    near = int((np.abs(ratio - 1.0) <= 0.1).sum())
    return (
        f"{name:18s} {np.nanmedian(off):8.3f} {np.nanmax(off):8.3f} {_quantiles(ratio)} "
        f"{near:4d} of {np.isfinite(ratio).sum():2d} {span:8s}  {REMARKS.get(name, '')}"
    )


def _scale_ratios(ours: Statistics, theirs: Statistics) -> Iterator[tuple[str, Array]]:
    for name in ("net308", "net368"):
        outputs = variable_set(name)
        ratio = (output_scale(outputs, ours) / output_scale(outputs, theirs)).numpy()
        known = [
            n for n in outputs.names if name == "net308" or n in ("ptend_q0002", "ptend_q0003")
        ]
        yield from ((n, ratio[outputs.slice(n)]) for n in known)


def _quantiles(values: Array) -> str:
    least, median, largest = np.nanquantile(values, (0.0, 0.5, 1.0))
    return f"{least:7.2f} {median:7.2f} {largest:7.2f}"


def _print_levels(name: str, ours: Statistics, theirs: Statistics) -> None:
    print("    level   mean: ours, published     std: ours, published")
    parts = (ours[name].mean, theirs[name].mean, ours[name].std, theirs[name].std)
    for k, (m, pm, s, ps) in enumerate(zip(*(p.tolist() for p in parts), strict=True)):
        print(f"    {k:5d}   {m:11.4e} {pm:11.4e}   {s:11.4e} {ps:11.4e}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
