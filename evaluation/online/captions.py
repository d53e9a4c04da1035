"""What captions of online reports say of the lines beside a run's."""

from __future__ import annotations

import xarray as xr

from climlink.evaluation.online.blocks import CLIMATOLOGY, PERSISTENCE, TWIN

_TWIN = (
    "Dashed grey: two reference runs that began a hair apart; an error within it is internal "
    "variability."
)
_PERSISTENCE = "Green: persistence, the reference's first day."


def lines(numbers: xr.Dataset) -> str:
    """Return what the lines beside the run's are, as far as they are there."""
    pairs = numbers["pair"].values
    said = [_TWIN] if TWIN in pairs else []
    if CLIMATOLOGY in pairs:
        days = float(numbers["climatology_days"])
        said.append(
            f"Blue: climatology, the zonal mean of the reference over {days:g} days from the first "
            "compared one on, the days that are forecast among them."
        )
    return " ".join([*said, *([_PERSISTENCE] if PERSISTENCE in pairs else [])])


def saturation(numbers: xr.Dataset, prefix: str) -> str:
    """Return what the level is at which errors of a cadence saturate, where it is known."""
    spread = next((v for k, v in numbers.items() if f"{prefix}_saturated_" in str(k)), None)
    if spread is None:
        return ""
    return (
        f"Grey level: RMSE between independent states, where an error saturates "
        f"({spread.attrs['pairs']} pairs of {spread.attrs['between']})."
    )


def dots(numbers: xr.Dataset) -> str:
    """Return what dots in maps and sections are, where there is a twin."""
    return "Dots: the twin differs from the reference as much." if _has_twin(numbers) else ""


def _has_twin(numbers: xr.Dataset) -> bool:
    return any(dim in numbers.coords and TWIN in numbers[dim].values for dim in ("pair", "member"))


def joined(*sentences: str) -> str:
    """Return the sentences that are not empty as one text."""
    return " ".join(s for s in sentences if s)
