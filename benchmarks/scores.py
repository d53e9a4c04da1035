"""R² of a package on the test snapshots of the ClimSim sample, beside the yardstick of
docs/training.md.

usage: python benchmarks/scores.py PACKAGE CLIMSIM_DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

from climlink.data.columns import read_columns
from climlink.data.split import read_split
from climlink.evaluation.offline import r2_table
from climlink.installation import configuration
from climlink.packages.prediction import predict_package
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.contract import value_sets

YARDSTICK = {
    "ptend_t": 0.52,
    "ptend_q0001": 0.32,
    "ptend_q0002": 0.24,
    "ptend_q0003": 0.28,
    "ptend_u": 0.36,
    "ptend_v": 0.48,
    "cam_out_NETSW": 0.97,
    "cam_out_FLWDS": 0.98,
    "cam_out_PRECSC": 0.72,
    "cam_out_PRECC": 0.78,
    "cam_out_SOLS": 0.96,
    "cam_out_SOLL": 0.95,
    "cam_out_SOLSD": 0.93,
    "cam_out_SOLLD": 0.82,
}


def main(package: Path, data: Path) -> None:
    """Print one line per output: score, yardstick, whether it is reached."""
    read = EmulatorPackage.read(package)
    inputs, outputs = value_sets(read.manifest)
    stamps = [str(s) for s in read_split(configuration("splits/climsim_sample.yaml")).test]
    rows = read_columns(data, inputs, outputs, stamps=stamps)
    scores = r2_table(
        rows.targets,
        predict_package(read, rows.inputs),
        outputs,
        first_level=read.manifest.pruned_levels or 0,
    ).summary()
    print(f"{read.manifest.name} on {len(stamps)} test snapshots: output, R², yardstick")
    for name, floor in YARDSTICK.items():
        print(
            f"{name:16s} {scores[name]:.4f}  {floor:.2f}  "
            f"{'reached' if scores[name] >= floor else 'MISSED'}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
