"""What constraints take from the times that a run trains on; test times are never read."""

from __future__ import annotations

from collections.abc import Sequence

from climlink.data.store import ColumnStore
from climlink.training.data_config import ValidationConfig
from climlink.training.dry_cloud import with_humidity
from climlink.training.stable_top import with_coefficients
from climlink.wrappers.constraints.cloud import CloudEvaporation
from climlink.wrappers.constraints.top import StableTop
from climlink.wrappers.manifest import ConstraintEntry

_FITS = {StableTop.name: with_coefficients, CloudEvaporation.name: with_humidity}


def with_fits(
    entries: Sequence[ConstraintEntry], store: ColumnStore, validation: ValidationConfig
) -> list[ConstraintEntry]:
    """Return constraints in which those that take numbers from training have them, found at the
    times that a run with this validation trains on; TrainingError where they cannot be found.
    """
    return [_FITS[e.name](e, store, validation) if e.name in _FITS else e for e in entries]
