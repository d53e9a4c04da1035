"""EmulatorPackage: one wrap_model.pt, its manifest and its golden columns, read without deserializing the graph."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from climlink.data.files import sha256_file
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.manifest import GOLDEN_INPUTS_ENTRY, GOLDEN_OUTPUTS_ENTRY, MANIFEST_ENTRY, Manifest, parse_manifest

FloatRows = npt.NDArray[np.float32]


class PackageError(ClimlinkError):
    """A file is not a climlink package, or is damaged."""


@dataclass(frozen=True)
class EmulatorPackage:
    """A package on disk: manifest, SHA-256 of the file, golden columns [column, n_input] and [column, n_output] (float32)."""

    path: Path
    manifest: Manifest
    digest: str
    golden_inputs: FloatRows
    golden_outputs: FloatRows

    @classmethod
    def read(cls, path: str | Path, pinned_digest: str | None = None) -> EmulatorPackage:
        """Read manifest and golden columns from the zip; nothing is deserialized.

        Raises PackageError (missing, truncated, no manifest, damaged golden columns, digest not the pinned one) or ManifestError.
        """
        path = Path(path)
        digest = _file_digest(path)
        if pinned_digest is not None and digest != pinned_digest.lower():
            raise PackageError(f"{path}: SHA-256 is {digest}, pinned is {pinned_digest}: this is not the package that was tested")
        entries = _read_entries(path)
        manifest = parse_manifest(entries[MANIFEST_ENTRY].decode("utf-8", errors="replace"), str(path))
        inputs = _golden(path, entries, GOLDEN_INPUTS_ENTRY, manifest.golden.inputs_sha256, manifest.golden.column_count, manifest.n_input)
        outputs = _golden(
            path, entries, GOLDEN_OUTPUTS_ENTRY, manifest.golden.outputs_sha256, manifest.golden.column_count, manifest.n_output
        )
        return cls(path, manifest, digest, inputs, outputs)

    def load(self, device: str = "cpu") -> torch.jit.ScriptModule:
        """Return the TorchScript module in evaluation mode; PackageError if the file holds no TorchScript."""
        try:
            module = torch.jit.load(str(self.path), map_location=device)
        except (RuntimeError, ValueError) as error:
            raise PackageError(
                f"{self.path}: the file holds no TorchScript module that torch {torch.__version__} can load: {error}"
            ) from error
        return module.eval()

    @property
    def difference_scale(self) -> torch.Tensor:
        """The s of the difference formula for every element of an output row, float64 [n_output]; 1 for confidence values."""
        scale = [s for v in self.manifest.outputs.variables for s in self.manifest.difference_scale[v.name]]
        return torch.tensor(scale + [1.0] * (self.manifest.n_output - len(scale)), dtype=torch.float64)


def _file_digest(path: Path) -> str:
    if not path.is_file():
        raise PackageError(f"{path}: no such file; expected a package made by `climlink export`")
    return sha256_file(path)


def _read_entries(path: Path) -> dict[str, bytes]:
    """Return the climlink entries of the zip by their short name."""
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for short in (MANIFEST_ENTRY, GOLDEN_INPUTS_ENTRY, GOLDEN_OUTPUTS_ENTRY):
                names = [n for n in archive.namelist() if n.endswith(f"/extra/{short}")]
                if len(names) != 1:
                    raise PackageError(
                        f"{path}: holds {len(names)} entries {short!r}, expected one: not made by `climlink export`, or re-saved with "
                        "plain TorchScript, which drops the manifest"
                    )
                found[short] = archive.read(names[0])
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise PackageError(f"{path}: not a readable zip archive ({error}): truncated, or not a TorchScript file") from error
    return found


def _golden(path: Path, entries: dict[str, bytes], name: str, sha256: str, rows: int, width: int) -> FloatRows:
    raw = entries[name]
    if len(raw) != rows * width * 4:
        raise PackageError(f"{path}: {name} has {len(raw)} bytes, the manifest says {rows} columns x {width} float32")
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise PackageError(f"{path}: {name} is damaged: its SHA-256 is not the manifest's")
    return np.frombuffer(raw, dtype="<f4").reshape(rows, width).astype(np.float32)
