"""user_nl_eam of a case: the emulator's group, history tapes, and what the coupling needs of EAM."""

from __future__ import annotations

from climlink.e3sm.case import E3SMCase
from climlink.e3sm.entries import GROUP
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.machine import Machine
from climlink.e3sm.namelist import check_entries, package_entries, wrapper_entries
from climlink.online.launch import NamelistValue, namelist_text
from climlink.package import EmulatorPackage

_HOURS = {"month": 0, "day": -24, "hour": -1}
Groups = dict[str, dict[str, NamelistValue]]


def user_namelist(case: E3SMCase, machine: Machine) -> str:
    """Return the text of user_nl_eam; reads the package of the case (PackageError, ManifestError, E3SMError if it does not fit)."""
    groups: Groups = {} if case.emulator is None else {GROUP: emulator_entries(case, machine)}
    groups["phys_ctl_nl"] = {"state_debug_checks": True}
    if case.emulator is not None:
        groups["phys_ctl_nl"]["srf_flux_avg"] = 1  # the surface fluxes that the emulator takes exist only with it
    groups["radiation_nl"] = {"do_aerosol_rad": False}
    groups["cam_history_nl"] = _history(case)
    for name, entries in case.namelists.items():
        if name == GROUP:
            raise E3SMError(f"{case.name}: entries of &{GROUP} belong in emulator.entries, not in namelists")
        groups.setdefault(name, {}).update(entries)
    return namelist_text(groups)


def emulator_entries(case: E3SMCase, machine: Machine) -> dict[str, NamelistValue]:
    """Return the emulator's entries: what fits the package or wrapper, the machine's device, then those of the case."""
    emulator = case.emulator
    if emulator is None:
        raise E3SMError(f"{case.name}: a case without an emulator has no &{GROUP}")
    extra: dict[str, NamelistValue] = {"climlink_device": machine.device, "climlink_threads": machine.emulator.threads, **emulator.entries}
    if emulator.package is not None:
        package = EmulatorPackage.read(emulator.package)
        _require_fit(case, package)
        return package_entries(package, str(emulator.package.resolve()), extra)
    wrapper = emulator.wrapper
    assert wrapper is not None
    entries = wrapper_entries(str(wrapper.path.resolve()), wrapper.inputs, wrapper.outputs, wrapper.combination, wrapper.relative_humidity)
    entries.update(extra)
    check_entries(entries)
    return entries


def _require_fit(case: E3SMCase, package: EmulatorPackage) -> None:
    manifest = package.manifest
    if manifest.level_count != case.level_count:
        raise E3SMError(f"{package.path}: the package has {manifest.level_count} levels, the case {case.level_count}")
    if manifest.time_step_s != case.time_step_s:
        raise E3SMError(
            f"{package.path}: the package was trained with steps of {manifest.time_step_s:g} s, atm_ncpl {case.atm_ncpl} gives "
            f"{case.time_step_s:g} s: set atm_ncpl to {86400 / manifest.time_step_s:g}"
        )


def _history(case: E3SMCase) -> dict[str, NamelistValue]:
    entries: dict[str, NamelistValue] = {
        "nhtfrq": [_HOURS[t.every] for t in case.history],
        "mfilt": [t.samples_per_file for t in case.history],
        "avgflag_pertape": [t.averaging for t in case.history],
    }
    entries.update({f"fincl{n}": list(t.fields) for n, t in enumerate(case.history, 1) if t.fields})
    return entries
