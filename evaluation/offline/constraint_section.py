"""The section of an offline report on what the constraints of a package do."""

from __future__ import annotations

from collections.abc import Sequence

from climlink.evaluation.offline.constraints import Activity, RangeUse
from climlink.evaluation.offline.result import OfflineResult
from climlink.evaluation.report import Section, Table
from climlink.wrappers.constraints.ranges import SUPPORT_HEATING_W_M2, SUPPORT_MASS


def constraint_section(result: OfflineResult) -> Section | None:
    """Return the section, None where the graph does not tell its constraints apart."""
    if result.activities is None:
        return None
    tables = [_activity(result.activities)] if result.activities else []
    text = (
        "How often a constraint changes what the network and the constraints before it say, and by "
        "how much: mean over area and time of what it adds to a whole column, and of the magnitude "
        "of its changes cell by cell. A constraint that makes an output (the split into liquid and "
        "ice) changes nothing there."
        if tables
        else "The package has no constraint that changes an output."
    )
    if result.range_use is not None:
        tables.append(_range_use(result.range_use))
        text += (
            " Of an input that the network sees clipped the means are over levels, in its own "
            "units. A run whose relaxation toward the training range exceeds "
            f"{SUPPORT_HEATING_W_M2:g} W/m2 in the global mean or touches more than "
            f"{100.0 * SUPPORT_MASS:g} % of the mass is alive on support, not alive."
        )
    return Section("Constraint activity", text, [], tables)


def _activity(a: Sequence[Activity]) -> Table:
    return Table(
        "constraints",
        "What each constraint changes, in the order of application",
        {
            "constraint": [x.constraint for x in a],
            "output": [x.output for x in a],
            "values changed": [100.0 * float(x.changed.mean()) for x in a],
            "most changed level": [100.0 * float(x.changed.max()) for x in a],
            "units": [x.units for x in a],
            "added to a column": [x.added for x in a],
            "magnitude of change": [x.size for x in a],
        },
        {"values changed": "%", "most changed level": "%"},
    )


def _range_use(use: RangeUse) -> Table:
    what = {
        "values per column that the network sees clipped": use.clipped,
        "columns with any, %": 100.0 * use.columns,
        "heating by relaxation, magnitudes, W/m2": use.heating,
        "mass touched by relaxation, %": 100.0 * use.mass,
    }
    return Table(
        "range_use",
        "How much the range policy holds, means over area and time"
        + (": on support" if use.on_support else ""),
        {"what": list(what), "mean": list(what.values())},
    )
