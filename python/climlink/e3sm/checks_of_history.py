"""Check of the history tapes: EAM stops at its start where a tape names a field that nobody
registers.
"""

from __future__ import annotations

import re

from climlink.e3sm.adapter import (
    CHANGES,
    LEGACY_FIELDS,
    confidence_field,
    emulator_fields,
    output_names,
)
from climlink.e3sm.findings import Finding
from climlink.e3sm.namelist import constraints_off, fixes_water
from climlink.e3sm.settings import CaseSettings
from climlink.packages.constraint_switches import has_range_policy
from climlink.packages.import_wrapper.graph_examination import CONFIDENCE_SET
from climlink.wrappers.errors import near_names
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import variable_set


def check_tapes(settings: CaseSettings, manifest: Manifest) -> list[Finding]:
    """Return which of the adapter's fields on tapes the package, the driver or the namelist do not
    give; others are EAM's own matter.
    """
    known = _registered(settings, manifest)
    confidence = variable_set(CONFIDENCE_SET, manifest.level_count).names
    ours = {*CHANGES, *map(confidence_field, confidence), *LEGACY_FIELDS}
    findings = []
    for entry, value in settings.other.items():
        if not re.fullmatch(r"fincl\d+", entry):
            continue
        for text in value if isinstance(value, list) else [value]:
            name = str(text).split(":")[0].strip()  # NAME:A, with how it is averaged
            if (name.startswith("NN_") or name in ours) and name not in known:
                problem = (
                    f"{entry} names {name}, which nobody registers for this package and driver: "
                    f"EAM stops{near_names(name, known)}"
                )
                findings.append(
                    Finding(
                        "history", problem, f"take {name} out of {entry}, or make the case anew"
                    )
                )
    return findings


def _registered(settings: CaseSettings, manifest: Manifest) -> tuple[str, ...]:
    outputs, confidence = output_names(manifest)
    legacy = settings.applies_legacy(manifest)
    fields = emulator_fields(
        outputs,
        confidence,
        legacy=legacy,
        fork_driver=settings.fork_driver,
        water_fixer=fixes_water(settings.emulator),
        range_policy=has_range_policy(manifest, constraints_off(settings.emulator)),
    )
    if settings.emulator.get("climlink_history", True):
        return fields
    return tuple(name for name in fields if settings.fork_driver and name in CHANGES)
