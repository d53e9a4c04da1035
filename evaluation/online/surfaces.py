"""How much of each column is land, ocean and sea ice, for distributions by surface."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from climlink.evaluation.online.blocks import REFERENCE, SideBySide
from climlink.evaluation.report import Exclusion

FRACTIONS = {"land": "LANDFRAC", "ocean": "OCNFRAC", "sea ice": "ICEFRAC"}
_BLOCK_RECORDS = 256


def surface_fractions(
    sides: Mapping[str, SideBySide],
) -> tuple[dict[str, NDArray[np.float64]], list[Exclusion]]:
    """Return the mean fraction of each surface in every column [column], ``global`` first, from the
    coarsest history that has all three.

    The mean is over all records of the reference. Without the fields there is ``global`` alone, and
    the reason: an aquaplanet is all ocean.
    """
    any_side = next(iter(sides.values()))
    found = {"global": np.ones(len(any_side.grid.area))}
    for side in sides.values():
        stream = side.streams[REFERENCE]
        if not all(name in stream.fields for name in FRACTIONS.values()):
            continue
        sums = {surface: np.zeros(len(side.grid.area)) for surface in FRACTIONS}
        for first in range(0, len(stream.start), _BLOCK_RECORDS):
            records = np.arange(first, min(first + _BLOCK_RECORDS, len(stream.start)))
            loaded = stream.load(list(FRACTIONS.values()), records)
            for surface, name in FRACTIONS.items():
                sums[surface] += loaded[name].astype(np.float64).sum(axis=0)
        means = {surface: total / len(stream.start) for surface, total in sums.items()}
        if all(np.isfinite(mean).all() for mean in means.values()):
            return found | means, []
        return found, [
            Exclusion(
                "precipitation by surface",
                f"surface fractions of the reference ({stream.name}) are not finite everywhere",
            )
        ]
    names = ", ".join(FRACTIONS.values())
    return found, [
        Exclusion(
            "precipitation by surface",
            f"no stream has {names}: the globe is not divided (an aquaplanet is all ocean)",
        )
    ]
