"""The architecture ``composed``: networks out of a library of blocks, put together in YAML.

Each module here is a family of blocks; importing them is what makes their kinds known.
"""

from __future__ import annotations

from climlink.architectures.composed import (
    attention,
    convolution,
    mamba,
    nested,
    pointwise,
    recurrent,
)
from climlink.architectures.composed.block import BLOCKS
from climlink.architectures.composed.network import Composed, ComposedConfiguration

__all__ = [
    "BLOCKS",
    "Composed",
    "ComposedConfiguration",
    "attention",
    "convolution",
    "mamba",
    "nested",
    "pointwise",
    "recurrent",
]
