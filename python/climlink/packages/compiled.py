"""Compiled artefacts: what one is, and whether it would run here; its code is not loaded for
that.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from climlink import _runtime
from climlink.packages.read import EmulatorPackage, PackageError, read_archive_file, refusals
from climlink.wrappers.layout import Strict
from climlink.wrappers.manifest import Sha256

METADATA_ENTRY = "climlink/compiled.json"

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


class CompiledEntry(Strict):
    """What an artefact says of itself: the package it is of, and where its code can run.

    ``isa`` and ``compute_capability`` are torch's names for the vector instructions and the GPU it
    was compiled for; ``cpu_flags`` are the flags of /proc/cpuinfo that its code needs.
    """

    schema_version: Literal[1] = 1
    package_sha256: Sha256
    backend: Literal["aotinductor"] = "aotinductor"
    device: Device
    precision: Precision
    torch_version: str
    isa: str
    cpu_flags: list[str]
    march: str
    compute_capability: str = ""
    compiler: str
    compiled_on: str
    climlink_version: str = Field(min_length=1)


@dataclass(frozen=True)
class CompiledArtefact:
    """An artefact on disk: what it says of itself, and its SHA-256, which a host pins."""

    path: Path
    digest: str
    entry: CompiledEntry

    @classmethod
    def read(cls, path: str | Path) -> CompiledArtefact:
        """Read an artefact; PackageError for a file that is none."""
        path = Path(path)
        content = read_archive_file(path)
        with refusals():
            raw = _runtime.read_entry(content, str(path), f"/extra/{METADATA_ENTRY}")
        try:
            entry = CompiledEntry.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(p) for p in first["loc"])
            raise PackageError(
                f"{path}: {METADATA_ENTRY} is not valid: {where}: {first['msg']}; compile the "
                "package again"
            ) from error
        return cls(path, hashlib.sha256(content).hexdigest(), entry)

    def __str__(self) -> str:
        e = self.entry
        runs = f"{e.precision} for {e.device} {e.compute_capability or e.isa}"
        return f"{runs}, torch {e.torch_version}, SHA-256 {self.digest}"

    def obstacle(self, package: EmulatorPackage) -> str | None:
        """Return why the Runtime would not run this artefact of a package here; None if it would.

        PackageError where it is of another package, or in a precision that is not allowed.
        """
        device = self.entry.device
        with refusals():
            said = _runtime.compiled_obstacle(
                read_archive_file(package.path), str(package.path), self.path, device
            )
        return said or None


def artefact_path(package: Path, device: Device, precision: Precision) -> Path:
    """Return where a package's artefact stands: beside it."""
    return package.with_name(f"{package.stem}.{device}.{precision}.pt2")


@dataclass(frozen=True)
class Beside:
    """A file beside a package: the artefact and what stands against running it here, or why it is
    none of this package.
    """

    path: Path
    artefact: CompiledArtefact | None = None
    obstacle: str | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return its entry in ``climlink inspect --json``."""
        if self.artefact is None:
            return {"artefact": str(self.path), "error": self.error}
        told = {"artefact": str(self.path), "sha256": self.artefact.digest}
        return {**told, "obstacle": self.obstacle, **self.artefact.entry.model_dump(mode="json")}


def beside(package: EmulatorPackage) -> list[Beside]:
    """Return the artefacts that stand beside a package, and what became of each."""
    devices: tuple[Device, ...] = ("cpu", "cuda")
    found = []
    for path in (artefact_path(package.path, d, p) for d in devices for p in PRECISIONS):
        if not path.is_file():
            continue
        try:
            artefact = CompiledArtefact.read(path)
            found.append(Beside(path, artefact, artefact.obstacle(package)))
        except PackageError as error:
            found.append(Beside(path, error=str(error)))
    return found
