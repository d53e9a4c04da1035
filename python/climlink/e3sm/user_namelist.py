"""user_nl_eam of a case: the emulator's group, history tapes, and what the coupling needs of
EAM.
"""

from __future__ import annotations

from collections.abc import Mapping

from climlink.e3sm.adapter import emulator_fields, output_names
from climlink.e3sm.case import E3SMCase, EmulatorConfig
from climlink.e3sm.entries import GROUP
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.machine import Machine
from climlink.e3sm.namelist import (
    check_entries,
    constraints_off,
    fixes_water,
    package_entries,
    remaps_levels,
    wrapper_entries,
)
from climlink.e3sm.sourcemods import Flavor
from climlink.online.launch import NamelistValue, namelist_text
from climlink.packages.constraint_switches import has_range_policy
from climlink.packages.import_wrapper.graph_examination import CONFIDENCE_SET
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.variable_sets import variable_set

HOST_OUTPUTS = "mmf368"
"""The outputs that E3SM's coupling takes."""

_HOURS = {"month": 0, "day": -24, "hour": -1}
Groups = dict[str, dict[str, NamelistValue]]


def user_namelist(case: E3SMCase, machine: Machine, flavor: Flavor) -> str:
    """Return the text of user_nl_eam; reads the package of the case (PackageError, ManifestError,
    E3SMError if it does not fit).
    """
    package = None
    if case.emulator is not None and case.emulator.package is not None:
        package = EmulatorPackage.read(case.emulator.package)
    entries = (
        None if case.emulator is None else emulator_entries(case.emulator, case, machine, package)
    )
    groups: Groups = {} if entries is None else {GROUP: entries}
    groups["phys_ctl_nl"] = {"state_debug_checks": True}
    if case.emulator is not None:
        groups["phys_ctl_nl"]["srf_flux_avg"] = (
            1  # the surface fluxes that the emulator takes exist only with it
        )
    groups["radiation_nl"] = {"do_aerosol_rad": False}
    groups["cam_history_nl"] = _history(
        case, () if entries is None else _emulator_fields(case, entries, package, flavor)
    )
    for name, further in case.namelists.items():
        if name == GROUP:
            raise E3SMError(
                f"{case.name}: entries of &{GROUP} belong in emulator.entries, not in namelists"
            )
        groups.setdefault(name, {}).update(further)
    return namelist_text(groups)


def emulator_entries(
    emulator: EmulatorConfig, case: E3SMCase, machine: Machine, package: EmulatorPackage | None
) -> dict[str, NamelistValue]:
    """Return the emulator's entries: what fits the package or wrapper, the machine's device, then
    those of the case.
    """
    extra: dict[str, NamelistValue] = {"climlink_threads": machine.emulator.threads}
    if "cb_use_cuda" not in emulator.entries:
        extra["climlink_device"] = machine.device
    extra |= emulator.entries
    if package is not None:
        _require_fit(case, package, remapped=remaps_levels(extra))
        return package_entries(package, str(package.path.resolve()), extra)
    wrapper = emulator.wrapper
    assert wrapper is not None
    entries = wrapper_entries(
        str(wrapper.path.resolve()),
        wrapper.inputs,
        wrapper.outputs,
        wrapper.combination,
        wrapper.relative_humidity,
    )
    entries.update(extra)
    check_entries(entries)
    return entries


def _require_fit(case: E3SMCase, package: EmulatorPackage, remapped: bool) -> None:
    manifest = package.manifest
    if manifest.level_count != case.level_count and not remapped:
        raise E3SMError(
            f"{package.path}: the package has {manifest.level_count} levels, the case "
            f"{case.level_count}: take another, or set climlink_vertical_remap = 'conservative'"
        )
    if manifest.require_time_step() != case.time_step_s:
        raise E3SMError(
            f"{package.path}: the package was trained with steps of "
            f"{manifest.require_time_step():g} s, atm_ncpl {case.atm_ncpl} gives "
            f"{case.time_step_s:g} s: set atm_ncpl to {86400 / manifest.require_time_step():g}"
        )


def _emulator_fields(
    case: E3SMCase,
    entries: Mapping[str, NamelistValue],
    package: EmulatorPackage | None,
    flavor: Flavor,
) -> tuple[str, ...]:
    """Return the adapter's history fields of the case; those of a wrapper, which is not read,
    follow from the number of its outputs.
    """
    if not entries.get("climlink_history", True):
        return ()
    outputs: tuple[str, ...] = variable_set(HOST_OUTPUTS, case.level_count).names
    confidence: tuple[str, ...] = ()
    if package is not None:
        outputs, confidence = output_names(package.manifest)
    elif entries["outputlength"] != variable_set(HOST_OUTPUTS, case.level_count).width:
        confidence = variable_set(CONFIDENCE_SET, case.level_count).names
    return emulator_fields(
        outputs,
        confidence,
        legacy=bool(entries.get("climlink_legacy")),
        fork_driver=flavor == "fork",
        water_fixer=fixes_water(entries),
        range_policy=package is not None
        and has_range_policy(package.manifest, constraints_off(entries)),
    )


def _history(case: E3SMCase, emulator: tuple[str, ...]) -> dict[str, NamelistValue]:
    entries: dict[str, NamelistValue] = {
        "nhtfrq": [_HOURS[t.every] for t in case.history],
        "mfilt": [t.samples_per_file for t in case.history],
        "avgflag_pertape": [t.averaging for t in case.history],
    }
    for n, tape in enumerate(case.history, 1):
        fields = list(
            dict.fromkeys((*tape.fields, *(emulator if tape.has_emulator_fields else ())))
        )
        if fields:
            entries[f"fincl{n}"] = fields
    return entries
