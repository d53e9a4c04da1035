"""Verification: the same columns down five routes, and the largest difference per route and output
variable.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from climlink.installation import NotBuiltError, executable
from climlink.mpi import failure_text, mpi_command, run_job
from climlink.packages.compiled import CompiledArtefact
from climlink.packages.export import eager_emulator, obstacle_to_rebuilding
from climlink.packages.read import EmulatorPackage, FloatRows
from climlink.provenance import kernel_identity
from climlink.threads import RUNTIME_THREADS, intra_op_threads
from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.errors import ClimlinkError

MPI_RANKS = 2

RUNTIME_ROUTES = ("pybind", "c", "fortran_mpi")
"""Routes through the one C++ runtime: equal to each other bit for bit."""


class RouteError(ClimlinkError):
    """A route failed to run at all."""


@dataclass(frozen=True)
class RouteResult:
    """One route against the reference: largest difference over columns, per variable and overall.

    ``missing`` says why this installation lacks the route: neither passed nor failed. ``note``
    says what stood in for it.
    """

    route: str
    differences: dict[str, float]
    tolerance: float
    error: str | None = None
    missing: str | None = None
    note: str | None = None

    @property
    def max_difference(self) -> float:
        """Largest difference of all variables; infinite if the route did not run."""
        return max(self.differences.values(), default=float("inf"))

    @property
    def passed(self) -> bool | None:
        """True if the route ran and stayed within the tolerance, None if it is missing."""
        if self.missing is not None:
            return None
        return self.error is None and self.max_difference <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """Return the route's entry in ``climlink verify --json``."""
        finite = np.isfinite(self.max_difference)
        entry = {
            "passed": self.passed,
            "max_difference": self.max_difference if finite else None,
            "tolerance": self.tolerance,
            "error": self.error,
            "missing": self.missing,
            "note": self.note,
        }
        told = ("error", "missing", "note")
        return {k: v for k, v in entry.items() if k not in told or v is not None}


@dataclass(frozen=True)
class Verification:
    """All routes of one package.

    ``unequal_values`` counts for the Runtime's routes that ran the values whose bits are not
    those of the first of them. On a GPU they are counted, not judged: its libraries take other
    kernels for other numbers of rows, and two ranks run half of them each.
    """

    package: str
    routes: tuple[RouteResult, ...]
    unequal_values: dict[str, int]
    device: str = "cpu"

    @property
    def same_bits(self) -> bool:
        """True if the Runtime's routes that ran gave the same bits."""
        return not any(self.unequal_values.values())

    @property
    def passed(self) -> bool:
        """True if no route failed and, on a CPU, the Runtime's gave the same bits; one may be
        missing.
        """
        within = not any(r.passed is False for r in self.routes)
        return within and (self.same_bits or self.device != "cpu")

    def as_dict(self) -> dict[str, Any]:
        """Return what ``climlink verify --json`` prints; null stands for a difference unknown."""
        return {
            "package": self.package,
            "device": self.device,
            "passed": self.passed,
            "routes": {r.route: r.as_dict() for r in self.routes},
            "same_bits": {"passed": self.same_bits, "unequal_values": self.unequal_values},
        }


def verified_device(device: str) -> str:
    """Return where ``device`` (cpu, cuda, cuda:N, xpu, xpu:N, auto) runs here: auto is cuda where
    this torch sees a GPU, else cpu. Raises RouteError for another text, or without such a device.
    """
    kind, colon, number = device.partition(":")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = {"cpu": lambda: 1, "cuda": torch.cuda.device_count, "xpu": torch.xpu.device_count}
    numbered = bool(colon)
    if kind not in found or (numbered and (kind == "cpu" or not number.isdecimal())):
        raise RouteError(
            f"device {device!r} is not known; expected cpu, cuda, cuda:N, xpu, xpu:N or auto"
        )
    count = found[kind]()
    if count <= int(number or 0):
        raise RouteError(
            f"device {device!r} was asked for, but this torch ({torch.__version__}) sees {count} "
            f"{kind} device(s); take cpu or auto, or look at the driver, at "
            "CUDA_VISIBLE_DEVICES, and whether this torch is built for it"
        )
    return device


@intra_op_threads(RUNTIME_THREADS)
def _eager(package: EmulatorPackage, x: FloatRows, device: str) -> FloatRows:
    rows = torch.from_numpy(x).to(device)
    if obstacle_to_rebuilding(package) is not None:
        # There is no Python source of such a graph here: it is run operator by operator, without
        # what the TorchScript executor does to it.
        with torch.no_grad(), torch.jit.optimized_execution(False):
            return package.load(device)(rows).cpu().numpy()
    with torch.no_grad():
        return eager_emulator(package).to(device)(rows).cpu().numpy()


# Raw, as the eager route is: what any TorchScript host gets, and what the path of predictions is
# held against.
@intra_op_threads(RUNTIME_THREADS)
def _torchscript(package: EmulatorPackage, x: FloatRows, device: str) -> FloatRows:
    with torch.no_grad():
        return package.load(device)(torch.from_numpy(x).to(device)).cpu().numpy()


def _pybind(
    package: EmulatorPackage, x: FloatRows, device: str, artefact: CompiledArtefact | None = None
) -> FloatRows:
    from climlink.runtime import Emulator

    m = package.manifest
    emulator = Emulator(
        package.path,
        level_count=m.level_count,
        time_step_s=m.time_step_s or 0.0,
        device=device,
        trust_code=package.trust_code,
        compiled=None if artefact is None else str(artefact.path),
        compiled_sha256=None if artefact is None else artefact.digest,
    )
    if artefact is not None and emulator.engine != artefact.entry.backend:
        raise RouteError(emulator.engine_note)
    return emulator.run_packed(x)


def _c(
    package: EmulatorPackage, x: FloatRows, device: str, artefact: CompiledArtefact | None = None
) -> FloatRows:
    return _through_files(
        package,
        x,
        device,
        artefact,
        lambda command: [str(executable("climlink-c-route")), *command],
    )


def _fortran_mpi(
    package: EmulatorPackage, x: FloatRows, device: str, artefact: CompiledArtefact | None = None
) -> FloatRows:
    return _through_files(
        package,
        x,
        device,
        artefact,
        lambda command: mpi_command(
            MPI_RANKS, [str(executable("climlink-fortran-route")), *command]
        ),
    )


ROUTES: dict[str, Callable[..., FloatRows]] = {
    "python_eager": _eager,
    "torchscript": _torchscript,
    "pybind": _pybind,
    "c": _c,
    "fortran_mpi": _fortran_mpi,
}
"""The five routes by name; each takes host rows [column, n_input] and a device, and returns
[column, n_output]. Those of the Runtime run a compiled artefact where one is given last.
"""


def verify(
    package: EmulatorPackage,
    columns: FloatRows | None = None,
    progress: Callable[[str], None] | None = None,
    routes: Sequence[str] = tuple(ROUTES),
    artefact: CompiledArtefact | None = None,
    device: str = "cpu",
) -> Verification:
    """Send the golden columns, and ``columns`` [column, n_input] where given, down all routes, or
    some of them.

    The reference is the output stored at export for golden columns and the TorchScript route for
    the others; TorchScript itself is held against Python eager there. On another CPU type or torch
    version than the export's, stored outputs are comparable only to the manifest's wider tolerance:
    then only the TorchScript route is held against them, and the others against TorchScript on this
    machine. The Runtime's routes are held against each other bit for bit; where they run a compiled
    ``artefact``, its tolerance is the manifest's for its device and precision. On another
    ``device`` every route runs there, within the manifest's tolerance for it. Raises RouteError for
    a device that is not there.
    """
    device = verified_device(device)
    x = (
        package.golden_inputs
        if columns is None
        else np.concatenate([package.golden_inputs, columns])
    )
    outputs: dict[str, FloatRows] = {}
    failed: dict[str, RouteResult] = {}
    usual = package.manifest.same_kernels_tolerance
    for name in routes:
        if progress is not None:
            progress(name)
        compiled = [artefact] if artefact is not None and name in RUNTIME_ROUTES else []
        try:
            outputs[name] = _checked(
                ROUTES[name](package, x, device, *compiled),
                (len(x), package.manifest.n_output),
                name,
            )
        except NotBuiltError as error:
            failed[name] = RouteResult(name, {}, usual, missing=str(error))
        except (ClimlinkError, RuntimeError, OSError) as error:
            failed[name] = RouteResult(name, {}, usual, error=str(error))
    results = [
        failed[n] if n in failed else _compared(package, outputs, n, artefact, device)
        for n in routes
    ]
    obstacle = obstacle_to_rebuilding(package)
    if obstacle is not None:
        note = f"the unoptimized graph, for {obstacle}"
        results = [replace(r, note=note) if r.route == "python_eager" else r for r in results]
    return Verification(str(package.path), tuple(results), _unequal_values(outputs), device)


def _compared(
    package: EmulatorPackage,
    outputs: dict[str, FloatRows],
    name: str,
    artefact: CompiledArtefact | None,
    device: str,
) -> RouteResult:
    """Return the route against its reference (see verify)."""
    manifest = package.manifest
    golden_count = manifest.golden.sample_count
    on_cpu = device == "cpu"
    same_kernels = _exported_here(package) and on_cpu
    script = outputs.get("torchscript")
    against_stored = same_kernels or script is None or name == "torchscript" or not on_cpu
    golden = package.golden_outputs if against_stored or script is None else script[:golden_count]
    other = outputs.get("python_eager") if name == "torchscript" else script
    reference = golden if other is None else np.concatenate([golden, other[golden_count:]])
    differences = _per_variable(package, outputs[name][: reference.shape[0]], reference)
    wide = against_stored and not same_kernels
    usual = manifest.same_kernels_tolerance
    # Of a manifest's tolerances, that for cuda is for every device beside the CPU.
    there = "cpu" if on_cpu else "cuda"
    tolerance = manifest.tolerance("torchscript", there, "float32") if wide else usual
    if artefact is not None and name in RUNTIME_ROUTES:
        e = artefact.entry
        tolerance = manifest.tolerance(e.backend, e.device, e.precision)
    return RouteResult(name, differences, tolerance)


def _unequal_values(outputs: dict[str, FloatRows]) -> dict[str, int]:
    """Return how many values of each of the Runtime's routes have other bits than the first's."""
    ran = [n for n in RUNTIME_ROUTES if n in outputs]
    bits = {n: np.ascontiguousarray(outputs[n]).view(np.uint32) for n in ran}
    return {n: int(np.count_nonzero(bits[n] != bits[ran[0]])) for n in ran}


def _exported_here(package: EmulatorPackage) -> bool:
    provenance = package.manifest.provenance
    return (provenance.torch_version, provenance.exported_on) == (
        torch.__version__,
        kernel_identity(),
    )


def _per_variable(
    package: EmulatorPackage, value: FloatRows, reference: FloatRows
) -> dict[str, float]:
    """Return the largest difference of every output variable (confidence under its own heading)."""
    difference = scaled_difference(
        torch.from_numpy(value), torch.from_numpy(reference), package.difference_scale
    )
    layout = package.manifest.outputs
    result = {
        v.name: float(difference[:, v.offset : v.offset + v.width].max())
        for v in layout.of_role("value", "carried")
    }
    confidence = layout.of_role("confidence")
    if confidence:
        result["confidence"] = float(
            difference[:, confidence[0].offset : confidence[-1].offset + confidence[-1].width].max()
        )
    return result


def _checked(rows: FloatRows, shape: tuple[int, int], route: str) -> FloatRows:
    if rows.shape != shape or rows.dtype != np.float32:
        raise RouteError(
            f"route {route} gave {rows.dtype} {list(rows.shape)}, expected float32 {list(shape)}"
        )
    return rows


def _through_files(
    package: EmulatorPackage,
    x: FloatRows,
    device: str,
    artefact: CompiledArtefact | None,
    command: Callable[[list[str]], list[str]],
) -> FloatRows:
    """Run a program that reads raw float32 rows and writes raw float32 rows."""
    with tempfile.TemporaryDirectory(prefix="climlink-verify-") as folder:
        source, target = Path(folder, "inputs.f32"), Path(folder, "outputs.f32")
        np.ascontiguousarray(x, dtype="<f4").tofile(source)
        switches = ["--trust-code"] if package.trust_code else []
        switches += ["--device", device]
        if artefact is not None:
            switches += ["--compiled", str(artefact.path), artefact.digest]
        line = command([*switches, str(package.path), str(source), str(x.shape[0]), str(target)])
        said: list[str] = []
        code = run_job(line, RUNTIME_THREADS, said.append)
        if code != 0:
            raise RouteError(failure_text(line, code, "".join(said)))
        rows = np.fromfile(target, dtype="<f4").astype(np.float32)
    if rows.size != x.shape[0] * package.manifest.n_output:
        raise RouteError(
            f"{line[0]} wrote {rows.size} values, expected {x.shape[0]} x "
            f"{package.manifest.n_output}"
        )
    return rows.reshape(x.shape[0], package.manifest.n_output)
