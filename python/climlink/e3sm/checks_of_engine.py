"""Checks of the compiled artefact and the measured micro-batches that a case names."""

from __future__ import annotations

from climlink.e3sm.checks_of_host import host_torch
from climlink.e3sm.findings import Finding
from climlink.e3sm.namelist import constraints_off
from climlink.e3sm.settings import CaseSettings
from climlink.packages.bench import TuningFile
from climlink.packages.compiled import CompiledArtefact
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.errors import ClimlinkError

_COMPILE = "`climlink compile` makes the package's artefact and prints its SHA-256"


def check_engine(settings: CaseSettings, package: EmulatorPackage) -> list[Finding]:
    """Return what is wrong with the files of climlink_compiled and climlink_tuning, and what would
    let TorchScript run in place of the artefact, as a note.
    """
    return _check_tuning(settings) + _check_compiled(settings, package)


def _check_tuning(settings: CaseSettings) -> list[Finding]:
    named = str(settings.emulator.get("climlink_tuning", "")).strip()
    if not named:
        return []
    path, remedy = settings.in_run_folder(named), "`climlink bench --tune FILE` writes one"
    if not path.is_file():
        return [Finding("namelist", f"climlink_tuning: no file {path}", remedy)]
    try:
        TuningFile.read(path)
    except ClimlinkError as error:
        return [Finding("namelist", f"climlink_tuning: {error}", remedy)]
    return []


def _check_compiled(settings: CaseSettings, package: EmulatorPackage) -> list[Finding]:
    named, pinned = (
        str(settings.emulator.get(name, "")).strip()
        for name in ("climlink_compiled", "climlink_compiled_digest")
    )
    if not named:
        if not pinned:
            return []
        problem = "climlink_compiled_digest is given, but climlink_compiled names no artefact"
        return [Finding("compiled", problem, "give both or none")]
    try:
        artefact = CompiledArtefact.read(settings.in_run_folder(named))
    except ClimlinkError as error:
        return [Finding("compiled", f"climlink_compiled: {error}", _COMPILE)]
    return _refusals(artefact, pinned, package) or _obstacles(artefact, pinned, settings)


def _refusals(artefact: CompiledArtefact, pinned: str, package: EmulatorPackage) -> list[Finding]:
    """Return what would end the model."""
    entry, findings = artefact.entry, []
    if pinned and pinned.lower() != artefact.digest:
        problem = f"{artefact.path} has SHA-256 {artefact.digest}, the case pins {pinned}"
        remedy = "restore the artefact, or pin the new one on purpose"
        findings.append(Finding("compiled", problem, remedy))
    if entry.package_sha256 != package.digest:
        problem = (
            f"{artefact.path} was compiled from a package of SHA-256 {entry.package_sha256}, the "
            f"case's has {package.digest}"
        )
        findings.append(Finding("compiled", problem, _COMPILE))
    if entry.precision not in package.manifest.allowed_precisions:
        problem = f"{artefact.path} is {entry.precision}, which the manifest does not allow"
        remedy = f"`climlink compile --precision {entry.precision}` measures what it costs"
        findings.append(Finding("compiled", problem, remedy))
    return findings


def _obstacles(artefact: CompiledArtefact, pinned: str, settings: CaseSettings) -> list[Finding]:
    """Return, as notes, why the model would run TorchScript in its place."""
    entry, (torch_version, where) = artefact.entry, host_torch()
    device = settings.device.partition(":")[0]
    reasons = (
        (not pinned, "climlink_compiled_digest is blank", f"pin {artefact.digest}"),
        (
            device in ("cpu", "cuda") and entry.device != device,
            f"it is for {entry.device}, and {settings.device_text}",
            f"`climlink compile --device {device}`",
        ),
        (
            entry.torch_version != torch_version.partition("+")[0],
            f"it was compiled with torch {entry.torch_version}, {where} is {torch_version}",
            "compile it with the torch that the model loads",
        ),
        (
            bool(constraints_off(settings.emulator)),
            "climlink_constraints_off leaves out constraints, which are compiled in",
            "leave one of both out",
        ),
    )
    return [
        Finding(
            "compiled", f"{artefact.path} would not run, TorchScript would: {why}", remedy, False
        )
        for holds, why, remedy in reasons
        if holds
    ]
