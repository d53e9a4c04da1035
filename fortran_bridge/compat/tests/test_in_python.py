"""The drop-in in a process that has Python's torch as well: test_in_python.py FOLDER LIBRARY
global|local first|last.

libtorch exports C functions whose names are also FTorch's own (torch_from_blob), and the first in
the search order wins: FTorch ends with a segmentation fault where libtorch is global and loaded
first. Each combination is a process of its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import numpy as np


def run_dropin(library: ctypes.CDLL, folder: Path) -> None:
    """Run numbered.pt through the drop-in and compare with the closed form."""
    x = np.asfortranarray(np.full((2, 3), 7.0))
    y = np.zeros((2, 3), order="F")
    path = str(folder / "numbered.pt").encode()
    double = np.ctypeslib.ndpointer(np.float64, flags="F_CONTIGUOUS")
    library.test_number_elements.argtypes = [ctypes.c_char_p, *[ctypes.c_int] * 3, double, double]
    library.test_number_elements(path, len(path), 2, 3, x, y)
    i, j = np.indices((2, 3))
    assert np.array_equal(y, 7 + i + 2 * j), y


def run_torch(folder: Path) -> None:
    """Run the same file through Python's torch."""
    import torch

    y = torch.jit.load(str(folder / "numbered.pt"))(torch.zeros(2, 3))
    assert torch.equal(y, torch.tensor([[0.0, 2, 4], [1, 3, 5]])), y


def main(folder: Path, path: str, visibility: str, order: str) -> None:
    """Load both in the given order and use each twice."""
    if visibility == "global":
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
    mode = ctypes.RTLD_GLOBAL if visibility == "global" else ctypes.RTLD_LOCAL
    if order == "first":
        run_torch(folder)
    library = ctypes.CDLL(path, mode=mode)
    for _ in range(2):
        run_dropin(library, folder)
        run_torch(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
