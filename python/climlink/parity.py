"""Verification: the same columns down five routes, and the largest difference per route and output variable."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from climlink.export import eager_emulator
from climlink.installation import executable
from climlink.mpi import failure_text, mpi_command, run_job
from climlink.package import EmulatorPackage, FloatRows
from climlink.provenance import kernel_identity
from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.errors import ClimlinkError

MPI_RANKS = 2


class RouteError(ClimlinkError):
    """A route failed to run at all."""


@dataclass(frozen=True)
class RouteResult:
    """One route against the reference: largest difference over columns, per output variable and overall."""

    route: str
    differences: dict[str, float]
    tolerance: float
    error: str | None = None

    @property
    def max_difference(self) -> float:
        """Largest difference of all variables; infinite if the route failed to run."""
        return max(self.differences.values()) if self.error is None else float("inf")

    @property
    def passed(self) -> bool:
        """True if the route ran and stayed within the tolerance."""
        return self.error is None and self.max_difference <= self.tolerance


@dataclass(frozen=True)
class Verification:
    """All routes of one package."""

    package: str
    routes: tuple[RouteResult, ...]

    @property
    def passed(self) -> bool:
        """True if every route passed."""
        return all(r.passed for r in self.routes)

    def as_dict(self) -> dict[str, Any]:
        """Return the structure that ``climlink verify --json`` prints; max_difference is null for a route that failed to run."""
        routes = {}
        for r in self.routes:
            entry: dict[str, Any] = {
                "passed": r.passed,
                "max_difference": r.max_difference if np.isfinite(r.max_difference) else None,
                "tolerance": r.tolerance,
            }
            if r.error is not None:
                entry["error"] = r.error
            routes[r.route] = entry
        return {"package": self.package, "passed": self.passed, "routes": routes}


def _eager(package: EmulatorPackage, x: FloatRows) -> FloatRows:
    if package.manifest.imported is not None:
        # There is no Python source of an imported graph: it is run operator by operator, without what the TorchScript executor does to it.
        with torch.no_grad(), torch.jit.optimized_execution(False):
            return package.load()(torch.from_numpy(x)).numpy()
    with torch.no_grad():
        return eager_emulator(package)(torch.from_numpy(x)).numpy()


def _torchscript(package: EmulatorPackage, x: FloatRows) -> FloatRows:
    with torch.no_grad():
        return package.load()(torch.from_numpy(x)).numpy()


def _pybind(package: EmulatorPackage, x: FloatRows) -> FloatRows:
    from climlink.runtime import Emulator

    m = package.manifest
    emulator = Emulator(package.path, level_count=m.level_count, time_step_s=m.time_step_s, trust_code=package.trust_code)
    return emulator.run_packed(x)


def _c(package: EmulatorPackage, x: FloatRows) -> FloatRows:
    return _through_files(package, x, lambda command: [str(executable("climlink-c-route")), *command])


def _fortran_mpi(package: EmulatorPackage, x: FloatRows) -> FloatRows:
    return _through_files(package, x, lambda command: mpi_command(MPI_RANKS, [str(executable("climlink-fortran-route")), *command]))


ROUTES: dict[str, Callable[[EmulatorPackage, FloatRows], FloatRows]] = {
    "python_eager": _eager,
    "torchscript": _torchscript,
    "pybind": _pybind,
    "c": _c,
    "fortran_mpi": _fortran_mpi,
}
"""The five routes by name; each takes host rows [column, n_input] and returns [column, n_output]."""


def verify(package: EmulatorPackage, columns: FloatRows | None = None, progress: Callable[[str], None] | None = None) -> Verification:
    """Send the golden columns, and ``columns`` [column, n_input] where given, down all routes.

    The reference is the output stored at export for golden columns and the TorchScript route for the others; TorchScript itself is held
    against Python eager there. On another CPU type or torch version than the export's, stored outputs are comparable only to the
    manifest's wider tolerance: then only the TorchScript route is held against them, and the others against TorchScript on this machine.
    """
    manifest = package.manifest
    golden_count = manifest.golden.column_count
    x = package.golden_inputs if columns is None else np.concatenate([package.golden_inputs, columns])
    outputs: dict[str, FloatRows] = {}
    errors: dict[str, str] = {}
    for name, route in ROUTES.items():
        if progress is not None:
            progress(name)
        try:
            outputs[name] = _checked(route(package, x), (x.shape[0], manifest.n_output), name)
        except (ClimlinkError, RuntimeError, OSError) as error:
            errors[name] = str(error)
    same_kernels = _exported_here(package)
    script = outputs.get("torchscript")
    results = []
    for name in ROUTES:
        if name in errors:
            results.append(RouteResult(name, {}, manifest.same_kernels_tolerance, errors[name]))
            continue
        against_stored = same_kernels or script is None or name == "torchscript"
        golden = package.golden_outputs if against_stored or script is None else script[:golden_count]
        other = outputs.get("python_eager") if name == "torchscript" else script
        reference = golden if other is None else np.concatenate([golden, other[golden_count:]])
        differences = _per_variable(package, outputs[name][: reference.shape[0]], reference)
        wide = against_stored and not same_kernels
        tolerance = manifest.tolerance("torchscript", "cpu", "float32") if wide else manifest.same_kernels_tolerance
        results.append(RouteResult(name, differences, tolerance))
    return Verification(str(package.path), tuple(results))


def _exported_here(package: EmulatorPackage) -> bool:
    provenance = package.manifest.provenance
    return (provenance.torch_version, provenance.exported_on) == (torch.__version__, kernel_identity())


def _per_variable(package: EmulatorPackage, value: FloatRows, reference: FloatRows) -> dict[str, float]:
    """Return the largest difference of every output variable (confidence under its own heading)."""
    difference = scaled_difference(torch.from_numpy(value), torch.from_numpy(reference), package.difference_scale)
    layout = package.manifest.outputs
    result = {v.name: float(difference[:, v.offset : v.offset + v.width].max()) for v in layout.variables}
    if package.manifest.confidence is not None:
        result["confidence"] = float(difference[:, layout.width :].max())
    return result


def _checked(rows: FloatRows, shape: tuple[int, int], route: str) -> FloatRows:
    if rows.shape != shape or rows.dtype != np.float32:
        raise RouteError(f"route {route} gave {rows.dtype} {list(rows.shape)}, expected float32 {list(shape)}")
    return rows


def _through_files(package: EmulatorPackage, x: FloatRows, command: Callable[[list[str]], list[str]]) -> FloatRows:
    """Run a program that reads raw float32 rows and writes raw float32 rows."""
    with tempfile.TemporaryDirectory(prefix="climlink-verify-") as folder:
        source, target = Path(folder, "inputs.f32"), Path(folder, "outputs.f32")
        np.ascontiguousarray(x, dtype="<f4").tofile(source)
        trust = ["--trust-code"] if package.trust_code else []
        line = command([*trust, str(package.path), str(source), str(x.shape[0]), str(target)])
        said: list[str] = []
        code = run_job(line, 1, said.append)
        if code != 0:
            raise RouteError(failure_text(line, code, "".join(said)))
        rows = np.fromfile(target, dtype="<f4").astype(np.float32)
    if rows.size != x.shape[0] * package.manifest.n_output:
        raise RouteError(f"{line[0]} wrote {rows.size} values, expected {x.shape[0]} x {package.manifest.n_output}")
    return rows.reshape(x.shape[0], package.manifest.n_output)
