"""What the adapter in fortran_bridge/e3sm adds to E3SM's files: history fields and what restart
files hold, under its names.
"""

from __future__ import annotations

from collections.abc import Iterable

from climlink.wrappers.manifest import Manifest

CHANGES = ("DTPHYS", "DQ1PHYS", "DQ2PHYS", "DQ3PHYS", "DUPHYS", "DVPHYS")
"""Changes of temperature, vapour, cloud liquid, cloud ice and wind by the emulated part of the
physics, whoever ran in it.
"""

FORK_CHANGES = CHANGES[:-1]
"""Those that the ClimSim fork's own diagnostics have."""

START_FIELD = "NN_START"
"""In restart files [column]: the step in which the case began with the adapter, counted from 1."""

LAGS_FIELD = "NN_LAGS"
"""In restart files of packages with lagged inputs [number, column]: the memory of the steps before.
"""

LEGACY_FIELDS = ("NN_CLIPPED", "NN_LIMITED", "NN_LIMITER_HEAT", "NN_LIMITER_WATER", "TROP_IND")
WEIGHT_FIELD = "NN_WEIGHT"
FIXER_FIELD = "NN_FIXER_WATER"
RANGE_FIELDS = ("NN_RANGE_HEAT", "NN_RANGE_MASS", "NN_RANGE_CLIPPED")


def confidence_field(output: str) -> str:
    """Return the history field of the confidence in a network output, as the published fork names
    it: DTPHYSCONF of ptend_t, DQ1PHYSCONF of ptend_q0001, NETSWCONF of cam_out_NETSW.
    """
    if output.startswith("ptend_"):
        return f"D{output.removeprefix('ptend_').replace('0', '').upper()}PHYSCONF"
    surface = output.removeprefix("cam_out_")
    return f"NN_conf_{output}" if surface == output else f"{surface}CONF"


def output_names(manifest: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a package's outputs, and of the network outputs that it gives a
    confidence of.
    """
    network = (
        ()
        if manifest.network_outputs is None
        else tuple(v.name for v in manifest.network_outputs.of_role("value"))
    )
    return tuple(
        v.name for v in manifest.outputs.of_role("value")
    ), network if manifest.has_confidence else ()


def emulator_fields(
    outputs: Iterable[str],
    confidence: Iterable[str],
    *,
    legacy: bool,
    fork_driver: bool,
    water_fixer: bool,
    range_policy: bool,
) -> tuple[str, ...]:
    """Return the fields of a package with these outputs, and confidence in these, in legacy mode or
    not, with the global water fixer or not, with a range policy that is on or not.

    ``fork_driver``: the ClimSim fork's driver has changes of its own and no weight. EAM stops where
    a tape names a field that nobody registers, so a field stands here only if it is there.
    """
    answers = [f"NN_{name}" for name in outputs]
    trust = [confidence_field(name) for name in confidence]
    framed = FORK_CHANGES if fork_driver else (*CHANGES, WEIGHT_FIELD)
    fixed = (FIXER_FIELD,) if water_fixer else ()
    held = RANGE_FIELDS if range_policy else ()
    return (*framed, *answers, *trust, *held, *fixed, *(LEGACY_FIELDS if legacy else ()))


def lagged_memory_size(level_count: int) -> int:
    """Return how many numbers per column LAGS_FIELD holds: a count, 18 profiles and 5 scalars
    (climlink_lagged_memory's state_size).
    """
    return 1 + 18 * level_count + 5
