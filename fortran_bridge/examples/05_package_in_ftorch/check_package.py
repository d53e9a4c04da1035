"""Compares package_in_ftorch with TorchScript: check_package.py PROGRAM PACKAGE MEMORY_PACKAGE."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch


def compare(program: str, package: str, x: np.ndarray, *lengths: str) -> None:
    """Run 37 columns both ways; they differ by less than 1e-6 of the largest value of each
    output.
    """
    with torch.inference_mode():
        expected = torch.jit.load(package)(torch.from_numpy(x)).numpy()
    with tempfile.TemporaryDirectory() as name:
        source, result = Path(name) / "x.f32", Path(name) / "y.f32"
        x.tofile(source)
        command = [program, package, str(source), "37", str(result), *lengths]
        subprocess.run(command, check=True, timeout=120)
        got = np.fromfile(result, "<f4").reshape(expected.shape)
    scale = np.abs(expected).max(axis=0) + np.finfo(np.float32).tiny
    difference = float((np.abs(got - expected) / scale).max())
    assert np.abs(expected).max() > 0
    assert difference < 1e-6, difference


def main(program: str, plain: str, memory: str) -> None:
    """Compare a package, and one with memory, whose rows hold `start` and what is carried."""
    x = np.random.default_rng(3).uniform(0.1, 300.0, (37, 678)).astype("<f4")
    x[:, 557] = np.arange(37) % 2
    compare(program, plain, np.ascontiguousarray(x[:, :557]))
    compare(program, memory, x, "678", "488")


if __name__ == "__main__":
    main(*sys.argv[1:])
