"""Torch's intra-operator threads: their number changes the order of sums, so the last bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

RUNTIME_THREADS = 1
"""Threads of the Runtime unless a host asks for others: export, import and verify use as many."""


@contextmanager
def intra_op_threads(count: int | None) -> Iterator[None]:
    """Compute with ``count`` threads (None: as many as torch has), then give torch its own back.

    A decorator as well.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
