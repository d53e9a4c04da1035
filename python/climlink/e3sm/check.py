"""``climlink e3sm check``: what would stop or spoil a job, found before it waits in a queue."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.e3sm.checks_of_engine import check_engine
from climlink.e3sm.checks_of_history import check_tapes
from climlink.e3sm.checks_of_host import check_build, check_libraries, check_nodes
from climlink.e3sm.checks_of_restart import check_emulator_restart, check_restart
from climlink.e3sm.entries import DEAD_NAMES, ENTRIES, GROUP
from climlink.e3sm.findings import Finding
from climlink.e3sm.namelist import (
    accepted_combinations,
    constraints_off,
    fixes_water,
    needed_spin_up,
    remaps_levels,
    takes_relative_humidity,
    texts,
    variable_combination,
)
from climlink.e3sm.settings import CaseSettings, read_settings
from climlink.packages.constraint_switches import check_constraints_off
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.errors import ClimlinkError, near_names
from climlink.wrappers.manifest import Manifest

EVERY_OUTPUT = "all"
"""What cb_partial_coupling_vars calls every output."""

_LEVEL = re.compile(r"(?<![\d.])\d+(?=\s*[:,)])")
"""A level in the list behind a name: a whole number without a unit."""


@dataclass(frozen=True)
class CheckReport:
    """All findings about one case folder; none that stops: the job may be queued."""

    folder: Path
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found that would stop or spoil the job."""
        return not any(f.stops for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return {
            "folder": str(self.folder),
            "passed": self.passed,
            "findings": [asdict(f) for f in self.findings],
        }


def check_case(folder: Path) -> CheckReport:
    """Return every finding about a case folder; E3SMError only for a folder that cannot be read as
    a case.
    """
    settings = read_settings(folder)
    findings = [*check_nodes(settings), *check_restart(settings)]
    if settings.case.emulator is None:
        if settings.emulator:
            names = ", ".join(settings.emulator)
            findings.append(
                Finding(
                    "namelist",
                    f"this case has no emulator, but user_nl_eam sets {names}",
                    "remove these entries",
                )
            )
        return CheckReport(folder, tuple(findings))
    findings += check_entries_of(settings)
    package, problems = _package(settings)
    findings += problems
    if package is not None:
        findings += check_against_manifest(settings, package.manifest)
        findings += check_emulator_restart(settings, package.manifest)
        findings += check_tapes(settings, package.manifest)
    findings += check_libraries(settings, package)
    findings += check_build(settings)
    if package is not None:
        findings += check_overrides(settings, package) + check_engine(settings, package)
    return CheckReport(folder, tuple(findings))


def check_entries_of(settings: CaseSettings) -> list[Finding]:
    """Return what is wrong with the entries by themselves: unknown names, types, values, and
    entries that have no effect.
    """
    findings = []
    for name, value in settings.emulator.items():
        if name in DEAD_NAMES:
            findings.append(
                Finding("namelist", f"{name} has no variable in the model", "remove it")
            )
        elif name not in ENTRIES:
            findings.append(
                Finding(
                    "namelist",
                    f"&{GROUP} has no entry {name!r}{near_names(name, ENTRIES)}",
                    "correct or remove it",
                )
            )
        else:
            problem = ENTRIES[name].problem(value)
            if problem:
                findings.append(
                    Finding("namelist", f"{name}: {problem}", "correct it in user_nl_eam")
                )
    given = settings.emulator
    if given.get("cb_partial_coupling_vars") and not given.get("cb_partial_coupling"):
        findings.append(
            Finding(
                "namelist",
                "cb_partial_coupling_vars is given but cb_partial_coupling is not .true.: nothing "
                "is blended, as in the published job scripts",
                "nothing, if that is meant; else set cb_partial_coupling",
                stops=False,
            )
        )
    if (
        given.get("cb_do_ramp")
        and given.get("cb_ramp_option") == "linear"
        and not given.get("cb_ramp_linear_steps")
    ):
        findings.append(Finding("namelist", "a linear ramp of 0 steps", "set cb_ramp_linear_steps"))
    if "cb_use_cuda" in given and given["cb_use_cuda"] is (settings.device == "cpu"):
        problem = (
            f"cb_use_cuda is {_shown(given['cb_use_cuda'])}, but climlink_device is "
            f"'{settings.device}'"
        )
        findings.append(Finding("namelist", problem, "leave one of them out"))
    if settings.other.get("srf_flux_avg", 1) == 0:
        problem = (
            "srf_flux_avg is 0, so the pbuf fields LHFLX, SHFLX, TAUX and TAUY, which the emulator "
            "takes, do not exist"
        )
        findings.append(Finding("namelist", problem, "set srf_flux_avg = 1"))
    return findings


def check_against_manifest(settings: CaseSettings, manifest: Manifest) -> list[Finding]:
    """Return where namelist and case disagree with the package's manifest."""
    findings = []
    for name, wanted in _wanted(manifest).items():
        got = settings.emulator.get(name, wanted[0])  # what is not given follows the package
        if got not in wanted:
            findings.append(
                Finding(
                    "namelist",
                    f"{name} is {_shown(got)}, the package needs {_shown(wanted[0])}",
                    f"set {name} = {_shown(wanted[0])}",
                )
            )
    stratosphere = settings.emulator.get("cb_strato_water_constraint") is True
    if stratosphere and not settings.applies_legacy(manifest):
        findings.append(
            Finding(
                "namelist",
                "cb_strato_water_constraint is part of the old post-processing, which is off",
                "set climlink_legacy, or take a package with the constraint stratospheric_water",
            )
        )
    findings += _levels(settings, manifest) + _water_fixer(settings) + _group(settings)
    if manifest.carried:
        kept = ", ".join(pair.output for pair in manifest.carried)
        problem = f"the package carries {kept} from step to step, which E3SM's adapter does not"
        findings.append(Finding("package", problem, "take a package without carried state"))
    ncpl = settings.integer("ATM_NCPL", settings.case.atm_ncpl)
    step = manifest.require_time_step()
    if ncpl < 1 or SECONDS_PER_DAY / ncpl != step:
        problem = (
            f"ATM_NCPL is {ncpl}, the package's time step of {step:g} s needs "
            f"{SECONDS_PER_DAY / step:g}"
        )
        findings.append(
            Finding("time step", problem, f"./xmlchange ATM_NCPL={SECONDS_PER_DAY / step:g}")
        )
    steps, least = (
        settings.emulator.get("cb_spinup_step", ENTRIES["cb_spinup_step"].default),
        needed_spin_up(manifest),
    )
    if isinstance(steps, int) and 0 <= steps < least:
        problem = (
            f"cb_spinup_step is {steps}, but the lagged inputs of {manifest.inputs.set} exist "
            f"after {least} steps"
        )
        findings.append(Finding("namelist", problem, f"set cb_spinup_step to {least} or more"))
    return findings + _coupled_outputs(settings, manifest)


def check_overrides(settings: CaseSettings, package: EmulatorPackage) -> list[Finding]:
    """Return what is wrong with the constraints that the namelist switches off."""
    try:
        check_constraints_off(package, constraints_off(settings.emulator))
    except ClimlinkError as error:
        return [
            Finding(
                "namelist",
                f"climlink_constraints_off: {error}",
                "correct the names; `climlink inspect` lists the constraints",
            )
        ]
    return []


def _levels(settings: CaseSettings, manifest: Manifest) -> list[Finding]:
    """Return what is wrong with the levels of package and model, remapped or not."""
    remedy = "take a package trained on the model's levels"
    if not remaps_levels(settings.emulator):
        if manifest.level_count == settings.level_count:
            return []
        problem = f"the package has {manifest.level_count} levels, the case {settings.level_count}"
        return [Finding("package", problem, f"{remedy}, or set climlink_vertical_remap")]
    findings = []
    if manifest.hybrid is None:
        problem = "climlink_vertical_remap is 'conservative', but the package states no grid"
        findings.append(Finding("package", problem, remedy))
    if settings.applies_legacy(manifest):
        problem = "the old post-processing knows the package's levels, not those it is remapped to"
        findings.append(
            Finding("namelist", problem, "set climlink_legacy = .false., or remap nothing")
        )
    return findings


def _water_fixer(settings: CaseSettings) -> list[Finding]:
    """Return what keeps the water of the globe from being closed."""
    if not fixes_water(settings.emulator):
        return []
    problems = {
        "climlink_water_fixer needs all chunks at once; the fork's driver calls chunk by chunk": (
            settings.fork_driver
        ),
        "climlink_water_fixer closes the globe, the case takes precipitation over ocean alone": (
            settings.case.ocean_only
        ),
    }
    remedy = "set climlink_water_fixer = 'none'"
    return [Finding("namelist", problem, remedy) for problem, there in problems.items() if there]


def _group(settings: CaseSettings) -> list[Finding]:
    """Return what keeps ranks from sharing a network."""
    if not (settings.fork_driver and settings.emulator.get("climlink_group_size", 1) != 1):
        return []
    problem = "climlink_group_size needs all chunks at once; the fork's driver calls chunk by chunk"
    return [Finding("namelist", problem, "set climlink_group_size = 1")]


def _wanted(manifest: Manifest) -> dict[str, tuple[Any, ...]]:
    """Return the values that fit a package, the first being what to write."""
    return {
        "inputlength": (manifest.n_input,),
        "outputlength": (manifest.n_output,),
        "input_rh": (takes_relative_humidity(manifest),),
        "cb_nn_var_combo": accepted_combinations(manifest),
    }


def _coupled_outputs(settings: CaseSettings, manifest: Manifest) -> list[Finding]:
    """Return what is wrong with cb_partial_coupling_vars: names, and levels behind them."""
    outputs = {v.name: v for v in manifest.outputs.of_role("value")}
    findings = []
    for entry in texts(settings.emulator.get("cb_partial_coupling_vars")):
        name, listed, levels = (part.strip() for part in entry.partition("("))
        beyond = [n for n in _LEVEL.findall(levels) if not 1 <= int(n) <= settings.level_count]
        if name not in outputs and name != EVERY_OUTPUT:
            problem = f"the package has no output {name!r}{near_names(name, outputs)}"
            remedy = "correct the name"
        elif settings.fork_driver and (listed or name == EVERY_OUTPUT):
            problem = f"{entry}: the fork's own driver, which blends here, knows single names only"
            remedy = "name the outputs one by one, without levels, or build from E3SM's own source"
        elif listed and name in outputs and not outputs[name].dims:
            problem, remedy = f"{entry}: {name} has no levels", f"write {name}"
        elif beyond:
            problem = f"{entry}: there is no level {beyond[0]}"
            remedy = f"the case has levels 1 to {settings.level_count}"
        else:
            continue
        findings.append(Finding("namelist", f"cb_partial_coupling_vars: {problem}", remedy))
    return findings


def _package(settings: CaseSettings) -> tuple[EmulatorPackage | None, list[Finding]]:
    """Return the package of the namelist if it can be read and is a package that E3SM can drive,
    and what is wrong with it.
    """
    text, digest = (
        str(settings.emulator.get(n, "")).strip()
        for n in ("climlink_package", "climlink_package_digest")
    )
    if not text:
        return _imported_package(
            str(settings.emulator.get("cb_torch_model", "")).strip(), digest or None
        )
    path = settings.in_run_folder(text)
    try:
        package = EmulatorPackage.read(path, digest or None)
        variable_combination(package.manifest)
    except ClimlinkError as error:
        return None, [
            Finding(
                "package",
                str(error),
                "give climlink_package a file made by `climlink export`, with its own digest",
            )
        ]
    return package, []


def _imported_package(
    model: str, digest: str | None
) -> tuple[EmulatorPackage | None, list[Finding]]:
    """Return the package that cb_torch_model names, and what is wrong with it."""
    if not model:
        problem = "neither climlink_package nor cb_torch_model is given"
        return None, [Finding("package", problem, "run `climlink e3sm namelist wrap_model.pt`")]
    if not Path(model).is_file():
        remedy = "correct the path; it must exist on the machine that runs the model"
        return None, [Finding("package", f"cb_torch_model: no file {model}", remedy)]
    try:
        package = EmulatorPackage.read(Path(model), digest)
        variable_combination(package.manifest)
    except ClimlinkError as error:
        remedy = (
            f"`climlink import {model} --input-set ... --output-set mmf368` makes a package of an "
            "old wrapper; name that file"
        )
        return None, [Finding("package", f"cb_torch_model: {error}", remedy)]
    return package, []


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    return f"'{value}'" if isinstance(value, str) else str(value)
