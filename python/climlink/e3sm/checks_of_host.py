"""Checks of what surrounds the emulator: node shape, devices, libraries and SourceMods."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from climlink.doctor import CLIMLINK_ROOT, TORCH_ROOT
from climlink.e3sm.findings import Finding
from climlink.e3sm.scripts import CMAKE_FILE
from climlink.e3sm.settings import CaseSettings
from climlink.e3sm.sourcemods import EMULATOR_FILE, FOLDER
from climlink.installation import InstallationError, cmake_prefix
from climlink.packages.read import EmulatorPackage


def check_nodes(settings: CaseSettings) -> list[Finding]:
    """Return where ranks, threads and device do not fit the machine's nodes or the grid."""
    machine, per_node, threads = settings.machine, settings.ranks_per_node, settings.threads
    findings = []
    if per_node * threads > machine.cores_per_node:
        problem = (
            f"{per_node} ranks x {threads} threads per node, but {machine.name} has "
            f"{machine.cores_per_node} cores"
        )
        findings.append(
            Finding("node", problem, "lower MAX_MPITASKS_PER_NODE or NTHRDS_ATM with ./xmlchange")
        )
    if settings.ranks > settings.case.columns:
        problem = (
            f"{settings.ranks} ranks for {settings.case.columns} columns: some would have none"
        )
        findings.append(Finding("node", problem, "take fewer nodes or ranks"))
    inference = settings.emulator.get("climlink_threads", 1)
    if isinstance(inference, int) and per_node * inference > machine.cores_per_node:
        problem = (
            f"climlink_threads is {inference}: with {per_node} ranks per node more than "
            f"{machine.cores_per_node} cores"
        )
        findings.append(Finding("node", problem, "lower climlink_threads"))
    return findings if settings.case.emulator is None else findings + _check_device(settings)


def _check_device(settings: CaseSettings) -> list[Finding]:
    machine, device = settings.machine, settings.device
    if device == "cuda" and machine.gpus_per_node == 0:
        return [
            Finding(
                "device",
                f"{settings.device_text}, but {machine.name} has no GPU",
                "set climlink_device = 'cpu' or 'auto', and leave cb_use_cuda out",
            )
        ]
    ranks = min(settings.ranks_per_node, settings.ranks)
    if (
        device != "cpu"
        and machine.gpus_per_node
        and ranks > machine.gpus_per_node
        and ranks % machine.gpus_per_node
    ):
        problem = f"{ranks} ranks share {machine.gpus_per_node} GPUs per node unevenly"
        return [
            Finding(
                "device",
                problem,
                f"make MAX_MPITASKS_PER_NODE a multiple of {machine.gpus_per_node}",
            )
        ]
    return []


def check_libraries(settings: CaseSettings, package: EmulatorPackage | None) -> list[Finding]:
    """Return whether libclimlink is where CMake will look, and whether libtorch is older than the
    package or lacks the device.
    """
    findings = []
    named = os.environ.get(CLIMLINK_ROOT)
    try:
        prefix = Path(named) if named else cmake_prefix()
    except InstallationError as error:
        return [
            Finding(
                "library", str(error), f"install climlink, or set {CLIMLINK_ROOT} to its prefix"
            )
        ]
    folders = [prefix / "lib", prefix / "lib64"]
    for what, pattern in (
        ("libclimlink", "libclimlink.*"),
        ("climlinkConfig.cmake", "cmake/climlink/climlinkConfig.cmake"),
    ):
        if not any(list(f.glob(pattern)) for f in folders):
            findings.append(
                Finding(
                    "library",
                    f"no {what} in {prefix}/lib",
                    f"set {CLIMLINK_ROOT} to the prefix that climlink was installed to",
                )
            )
    if package is not None:
        findings += _check_torch(package)
    host, where = host_torch()
    if settings.device == "cuda" and host.endswith("+cpu"):
        problem = f"{settings.device_text}, but {where} is {host}, which has no CUDA"
        findings.append(
            Finding(
                "library",
                problem,
                "build climlink against a libtorch with CUDA, or set climlink_device = 'cpu'",
            )
        )
    return findings


def _check_torch(package: EmulatorPackage) -> list[Finding]:
    host, where = host_torch()
    made_with = package.manifest.provenance.torch_version
    if _version(made_with) > _version(host):
        problem = (
            f"the package was exported with torch {made_with}, {where} is {host}: an older torch "
            "may not load it"
        )
        return [
            Finding(
                "library",
                problem,
                "build climlink against that torch or a newer one, or export the package with the "
                "host's",
            )
        ]
    return []


def host_torch() -> tuple[str, str]:
    """Return the version of the libtorch that the model will load, and its name in a message."""
    named = os.environ.get(TORCH_ROOT)
    file = Path(named) / "build-version" if named else None
    if file is not None and file.is_file():
        return file.read_text(encoding="utf-8").strip(), f"libtorch in {named}"
    return str(torch.__version__), "the torch that climlink runs with"


def _version(text: str) -> tuple[int, ...]:
    """Return major and minor, the parts of a torch version that a package depends on."""
    return tuple(int(n) for n in re.findall(r"\d+", text)[:2])


def check_build(settings: CaseSettings) -> list[Finding]:
    """Return whether the model will be built with the adapter: its SourceMods, the flag that calls
    it, and the CMake line that links it.
    """
    findings = []
    if not (settings.folder / "SourceMods" / FOLDER / EMULATOR_FILE).is_file():
        problem = (
            f"no {EMULATOR_FILE} in SourceMods/{FOLDER}: the model would be built without "
            "climlink's adapter"
        )
        remedy = (
            f"climlink e3sm sourcemods --e3sm-root {settings.e3sm_root} -o "
            f"{settings.folder}/SourceMods"
        )
        findings.append(Finding("build", problem, remedy))
    options = settings.xml.get("CAM_CONFIG_OPTS")
    if options is not None and not re.search(r"-DMMF_NN_EMULATOR\b", options):
        remedy = (
            "./xmlchange --append CAM_CONFIG_OPTS=\" -cppdefs ' -DMMF_NN_EMULATOR ' \", then "
            "./case.build"
        )
        findings.append(
            Finding(
                "build",
                "CAM_CONFIG_OPTS has no -DMMF_NN_EMULATOR: the driver would not call the emulator",
                remedy,
            )
        )
    macros = settings.folder / "cmake_macros"
    if macros.is_dir() and not _includes_climlink(macros):
        remedy = (
            f"copy {CMAKE_FILE} to {macros} and add "
            f'include("${{CMAKE_CURRENT_LIST_DIR}}/{CMAKE_FILE}") to its universal.cmake'
        )
        findings.append(
            Finding(
                "build",
                f"{macros} does not include {CMAKE_FILE}: EAM would not be linked with climlink",
                remedy,
            )
        )
    return findings


def _includes_climlink(macros: Path) -> bool:
    universal = macros / "universal.cmake"
    return (
        (macros / CMAKE_FILE).is_file()
        and universal.is_file()
        and CMAKE_FILE in universal.read_text(encoding="utf-8")
    )
