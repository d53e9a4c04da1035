"""EmulatorPackage: one wrap_model.pt, its manifest and its golden columns, read without
deserializing the graph.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from climlink import _runtime
from climlink.wrappers.errors import ClimlinkError, ManifestError
from climlink.wrappers.manifest import (
    GOLDEN_INPUTS_ENTRY,
    GOLDEN_OUTPUTS_ENTRY,
    MANIFEST_ENTRY,
    Manifest,
    parse_manifest,
)

FloatRows = npt.NDArray[np.float32]


class PackageError(ClimlinkError):
    """A file is not a climlink package, or is damaged."""


@dataclass(frozen=True, repr=False)
class EmulatorPackage:
    """A package on disk: manifest, SHA-256 of the file, golden samples, float32.

    The samples are [column, n_input] and [column, n_output]. ``trust_code``: its reader trusts the
    author, so what the graph may do is not checked wherever the package is loaded.
    """

    path: Path
    manifest: Manifest
    digest: str
    golden_inputs: FloatRows
    golden_outputs: FloatRows
    trust_code: bool = False

    @classmethod
    def read(
        cls, path: str | Path, pinned_digest: str | None = None, *, trust_code: bool = False
    ) -> Self:
        """Read manifest and golden columns from the zip; nothing is deserialized.

        Every entry is read to its end, where its CRC is checked.
        Raises PackageError (missing, truncated, damaged, no manifest, digest not the pinned one) or
        ManifestError.
        """
        path = Path(path)
        content = read_archive_file(path)
        digest = hashlib.sha256(content).hexdigest()
        if pinned_digest is not None and digest != pinned_digest.lower():
            raise PackageError(
                f"{path}: SHA-256 is {digest}, pinned is {pinned_digest}: this is not the package "
                "that was tested"
            )
        check_archive(content, path)
        manifest = parse_manifest(_text(_entry(content, path, MANIFEST_ENTRY), path), str(path))
        golden, rows = manifest.golden, manifest.golden.sample_count
        inputs = _golden(
            path, content, GOLDEN_INPUTS_ENTRY, golden.inputs_sha256, rows, manifest.n_input
        )
        outputs = _golden(
            path, content, GOLDEN_OUTPUTS_ENTRY, golden.outputs_sha256, rows, manifest.n_output
        )
        return cls(path, manifest, digest, inputs, outputs, trust_code)

    def load(self, device: str = "cpu") -> torch.jit.ScriptModule:
        """Return the TorchScript module in evaluation mode.

        Raises PackageError if the file is not the one that was read, holds no TorchScript, or does
        more than compute.
        """
        content = read_archive_file(self.path)
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise PackageError(
                f"{self.path}: the file was changed since it was read; read the package again"
            )
        if not self.trust_code:
            check_code(content, self.path)
        try:
            module = torch.jit.load(io.BytesIO(content), map_location=device)
        except (RuntimeError, ValueError) as error:
            raise PackageError(
                f"{self.path}: the file holds no TorchScript module that torch {torch.__version__} "
                f"can load: {error}"
            ) from error
        return module.eval()

    @property
    def difference_scale(self) -> torch.Tensor:
        """The s of the difference formula for every element of an output row, float64 [n_output]; 1
        for confidence and carried state.
        """
        known = (
            (self.manifest.difference_scale[v.name], v.width)
            for v in self.manifest.outputs.variables
        )
        return torch.tensor(
            [s for scale, width in known for s in (scale * width if len(scale) == 1 else scale)],
            dtype=torch.float64,
        )

    def __repr__(self) -> str:
        m = self.manifest
        rows = f"{m.inputs.set} {m.n_input} -> {m.outputs.set} {m.n_output}"
        return f"{type(self).__name__}({m.name!r}, {rows}, SHA-256 {self.digest[:12]}...)"


def read_archive_file(path: Path) -> bytes:
    """Return the bytes of a package or TorchScript file.

    Raises PackageError if it is missing, no regular file, or has 2 GiB or more.
    """
    if not path.exists():
        raise PackageError(f"{path}: no such file; expected a package made by `climlink export`")
    with refusals():
        return _runtime.read_file(path)


def check_archive(content: bytes, path: Path) -> None:
    """Read every entry of an archive to its end, where its CRC is checked.

    Raises PackageError (damaged, an entry twice, sizes far beyond the file's) or ManifestError (a
    manifest above 4 MiB).
    """
    with refusals():
        _runtime.check_archive(content, str(path))


def check_code(content: bytes, path: Path) -> None:
    """Raise PackageError if TorchScript would run while it is loaded, or does more than compute."""
    with refusals():
        _runtime.check_code(content, str(path))


@contextmanager
def refusals() -> Iterator[None]:
    """Raise what the Runtime refuses as a PackageError, or ManifestError for status ``schema``."""
    try:
        yield
    except _runtime.EmulatorError as error:
        raise (ManifestError if error.status == "schema" else PackageError)(str(error)) from error


def _entry(content: bytes, path: Path, name: str) -> bytes:
    with refusals():
        return _runtime.read_entry(content, str(path), f"/extra/{name}")


def _text(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: the manifest is not JSON in UTF-8 ({error}); export the package again"
        ) from error


def _golden(path: Path, content: bytes, name: str, sha256: str, rows: int, width: int) -> FloatRows:
    raw = _entry(content, path, name)
    if len(raw) != rows * width * 4:
        raise PackageError(
            f"{path}: {name} has {len(raw)} bytes, the manifest says {rows} samples x {width} "
            "float32"
        )
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise PackageError(f"{path}: {name} is damaged: its SHA-256 is not the manifest's")
    return np.frombuffer(raw, dtype="<f4").reshape(rows, width).astype(np.float32)
