"""Compares package_in_ftorch with TorchScript in Python: check_package.py PACKAGE PROGRAM."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch


def main(package: str, program: str) -> None:
    """Run 37 columns both ways; they differ by less than 1e-6 of the largest value of each output."""
    x = np.random.default_rng(3).uniform(0.1, 300.0, (37, 557)).astype("<f4")
    with tempfile.TemporaryDirectory() as name:
        source, result = Path(name) / "x.f32", Path(name) / "y.f32"
        x.tofile(source)
        subprocess.run([program, package, str(source), "37", str(result)], check=True, timeout=120)
        got = np.fromfile(result, "<f4").reshape(37, 368)
    with torch.inference_mode():
        expected = torch.jit.load(package)(torch.from_numpy(x)).numpy()
    scale = np.abs(expected).max(axis=0) + np.finfo(np.float32).tiny
    difference = float((np.abs(got - expected) / scale).max())
    assert np.abs(expected).max() > 0
    assert difference < 1e-6, difference


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
