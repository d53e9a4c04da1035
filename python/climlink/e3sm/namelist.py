"""The namelist that fits a package, and the one that an old TorchScript wrapper needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from climlink.e3sm.entries import COMBINATIONS, ENTRIES, GROUP, WITH_CONFIDENCE
from climlink.e3sm.errors import E3SMError
from climlink.online.launch import NamelistValue, namelist_text
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.errors import near_names
from climlink.wrappers.manifest import Manifest

DEFAULT_SPIN_UP = 5
LAGGED_SPIN_UP = 2
"""Steps of the host's physics that fill the memory of a lagged input set: every lagged input has a
value from the third step on.
"""


def variable_combination(manifest: Manifest) -> str:
    """Return v2, v4 or v6 for a package on a host input set; E3SMError for any other set, which
    E3SM's coupling does not send.
    """
    parts = manifest.inputs.set.split("_")
    if (
        len(parts) == 3
        and parts[0] == "host"
        and parts[1] in COMBINATIONS
        and parts[2] in ("q", "rh")
    ):
        return parts[1]
    raise E3SMError(
        f"package {manifest.name!r} takes the input set {manifest.inputs.set!r}; E3SM sends "
        "host_v2, host_v4 or host_v6 with _q or _rh: export the network with one of these"
    )


def accepted_combinations(manifest: Manifest) -> tuple[str, ...]:
    """Return what cb_nn_var_combo may say of a package; E3SMError as for ``variable_combination``.

    That the outputs hold confidence may be said, as in the published job scripts, or not.
    """
    name = variable_combination(manifest)
    return (name, f"{name}{WITH_CONFIDENCE}") if manifest.has_confidence else (name,)


def was_for_old_host(manifest: Manifest) -> bool:
    """Return whether the package was imported from a wrapper that needs the old coupling's
    post-processing.
    """
    return manifest.imported is not None and manifest.imported.host_postprocessing == "legacy"


def remaps_levels(entries: Mapping[str, Any]) -> bool:
    """Return whether the entries let the adapter remap between the model's levels and the
    package's.
    """
    return str(entries.get("climlink_vertical_remap", "none")).strip() == "conservative"


def fixes_water(entries: Mapping[str, Any]) -> bool:
    """Return whether entries of the adapter's group have the water of the globe closed."""
    return str(entries.get("climlink_water_fixer", "none")).strip() != "none"


def constraints_off(entries: Mapping[str, Any]) -> list[str]:
    """Return the constraints that entries of the adapter's group switch off."""
    return texts(entries.get("climlink_constraints_off"))


def texts(value: Any) -> list[str]:
    """Return the texts of an entry with one value or several, without blanks."""
    values = value if isinstance(value, list) else [value]
    return [v.strip() for v in values if isinstance(v, str) and v.strip()]


def takes_relative_humidity(manifest: Manifest) -> bool:
    """Return whether the host must send relative humidity in place of specific humidity."""
    return manifest.inputs.set.endswith("_rh")


def needed_spin_up(manifest: Manifest) -> int:
    """Return the least number of spin-up steps: 0, or what the lagged inputs need."""
    lagged = any(v.lag > 0 or v.name.endswith("_dyn") for v in manifest.inputs.variables)
    return LAGGED_SPIN_UP if lagged else 0


def package_entries(
    package: EmulatorPackage, path: str, extra: Mapping[str, NamelistValue] | None = None
) -> dict[str, NamelistValue]:
    """Return the entries that fit a package which the model will find at ``path``; ``extra``
    replaces and adds entries.

    E3SMError for a path too long for the namelist, an extra entry that does not exist or does not
    fit, and too little spin-up.
    """
    manifest = package.manifest
    entries: dict[str, NamelistValue] = {
        "inputlength": manifest.n_input,
        "outputlength": manifest.n_output,
        "input_rh": takes_relative_humidity(manifest),
        "cb_nn_var_combo": variable_combination(manifest),
        "cb_spinup_step": max(DEFAULT_SPIN_UP, needed_spin_up(manifest)),
        "climlink_package": path,
        "climlink_package_digest": package.digest,
    }
    if was_for_old_host(manifest):
        entries |= _old_host(takes_relative_humidity(manifest))
    if "cb_use_cuda" not in (extra or {}):
        entries["climlink_device"] = "auto"
    entries |= extra or {}
    check_entries(entries)
    steps = entries["cb_spinup_step"]
    if isinstance(steps, int) and 0 <= steps < needed_spin_up(manifest):
        raise E3SMError(
            f"cb_spinup_step is {steps}, but the lagged inputs of {manifest.inputs.set} exist "
            f"after {needed_spin_up(manifest)} steps: give at least that many"
        )
    return entries


def wrapper_entries(
    path: str, inputs: int, outputs: int, combination: str, relative_humidity: bool
) -> dict[str, NamelistValue]:
    """Return the entries of an old TorchScript wrapper, as the old job scripts have them."""
    entries: dict[str, NamelistValue] = {
        "inputlength": inputs,
        "outputlength": outputs,
        "input_rh": relative_humidity,
        "cb_nn_var_combo": combination,
        "cb_torch_model": path,
        "cb_spinup_step": DEFAULT_SPIN_UP,
        **_old_host(relative_humidity),
    }
    check_entries(entries)
    return entries


def _old_host(relative_humidity: bool) -> dict[str, NamelistValue]:
    """Return the entries that do what the old coupling's host code did around a wrapper."""
    humidity: dict[str, NamelistValue] = {"climlink_rh_arithmetic": "legacy"}
    return {"climlink_legacy": True, **(humidity if relative_humidity else {})}


def check_entries(entries: Mapping[str, NamelistValue]) -> None:
    """Raise E3SMError for the first entry that the group does not have, with the near ones, or
    whose value does not fit.
    """
    for name, value in entries.items():
        if name not in ENTRIES:
            raise E3SMError(f"&{GROUP} has no entry {name!r}{near_names(name, ENTRIES)}")
        problem = ENTRIES[name].problem(value)
        if problem:
            raise E3SMError(f"&{GROUP}: {name}: {problem}")


def emulator_namelist(package: Path, device: str = "auto", spin_up: int | None = None) -> str:
    """Return ``&mmf_nn_emulator_nl`` for a package on this machine's disk; errors as for reading it
    and for ``package_entries``.
    """
    extra: dict[str, NamelistValue] = {"climlink_device": device}
    if spin_up is not None:
        extra["cb_spinup_step"] = spin_up
    return namelist_text(
        {GROUP: package_entries(EmulatorPackage.read(package), str(package.resolve()), extra)}
    )
