"""Packages: what export writes, what reading refuses, and that a failed export loses nothing."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from climlink.data.store import ColumnStore
from climlink.packages.export import ExportSource, eager_emulator, export_package
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.wrappers.errors import ContractError, ManifestError
from climlink.wrappers.manifest import GOLDEN_OUTPUTS_ENTRY, MANIFEST_ENTRY


def _rewritten(package: EmulatorPackage, target: Path, change: dict[str, bytes | None]) -> Path:
    """Copy a package with some extra files replaced, or left out (None)."""
    with (
        zipfile.ZipFile(package.path) as source,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy,
    ):
        for entry in source.infolist():
            short = entry.filename.split("/extra/")[-1]
            content = (
                change.get(short, source.read(entry)) if short in change else source.read(entry)
            )
            if content is not None:
                copy.writestr(entry.filename, content)
    return target


def _manifest_with(package: EmulatorPackage, **changes: object) -> bytes:
    return json.dumps({**json.loads(package.manifest.to_json()), **changes}).encode()


def test_a_package_is_a_plain_torchscript_module(linear_package: EmulatorPackage) -> None:
    module = torch.jit.load(str(linear_package.path))
    y = module(torch.from_numpy(linear_package.golden_inputs))
    assert y.shape == (16, 368)
    assert y.dtype == torch.float32
    assert np.array_equal(y.detach().numpy(), linear_package.golden_outputs)


def test_eager_rebuilt_from_the_manifest_gives_the_same_bits(
    linear_package: EmulatorPackage,
) -> None:
    x = torch.from_numpy(linear_package.golden_inputs)
    assert torch.equal(eager_emulator(linear_package)(x), linear_package.load()(x))


def test_the_manifest_says_where_the_package_comes_from(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore
) -> None:
    manifest = linear_package.manifest
    assert manifest.provenance.data_digest == synthetic_store.digest
    assert manifest.provenance.torch_version == torch.__version__
    assert manifest.architecture.trainable_parameters == 557 * 308 + 308
    assert [c.name for c in manifest.constraints][:2] == ["prune", "liquid_ice_partition"]
    assert not any("cuda" in operator for operator in manifest.operators)


def test_export_is_reproducible(
    linear_source: ExportSource, linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    again = export_package(
        linear_source, torch.from_numpy(linear_package.golden_inputs), tmp_path / "wrap_model.pt"
    )
    assert np.array_equal(again.golden_outputs, linear_package.golden_outputs)
    assert again.manifest.normalization == linear_package.manifest.normalization


def test_too_few_calm_columns_are_refused(
    linear_source: ExportSource, tmp_path: Path, linear_package: EmulatorPackage
) -> None:
    with pytest.raises(ContractError, match="give more columns"):
        export_package(
            linear_source,
            torch.from_numpy(linear_package.golden_inputs[:3]),
            tmp_path / "wrap_model.pt",
        )
    assert not list(tmp_path.iterdir())


def test_pinned_digest(linear_package: EmulatorPackage) -> None:
    assert (
        EmulatorPackage.read(linear_package.path, linear_package.digest.upper()).digest
        == linear_package.digest
    )
    with pytest.raises(PackageError, match="not the package that was tested"):
        EmulatorPackage.read(linear_package.path, "0" * 64)


def test_missing_truncated_and_foreign_files(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    with pytest.raises(PackageError, match=r"nothing.pt: no such file"):
        EmulatorPackage.read(tmp_path / "nothing.pt")
    truncated = tmp_path / "truncated.pt"
    truncated.write_bytes(linear_package.path.read_bytes()[:-5000])
    with pytest.raises(PackageError, match="not a readable zip"):
        EmulatorPackage.read(truncated)
    text = tmp_path / "text.pt"
    text.write_text("not a model")
    with pytest.raises(PackageError, match="not a readable zip"):
        EmulatorPackage.read(text)
    plain = tmp_path / "plain.pt"
    torch.jit.save(torch.jit.load(str(linear_package.path)), str(plain))
    with pytest.raises(PackageError, match="re-saved with plain TorchScript"):
        EmulatorPackage.read(plain)


def test_not_torchscript_inside(linear_package: EmulatorPackage, tmp_path: Path) -> None:
    path = tmp_path / "wrap_model.pt"
    with zipfile.ZipFile(linear_package.path) as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            if "/extra/" in name:
                copy.writestr(name, source.read(name))
    with pytest.raises(PackageError, match="no TorchScript module"):
        EmulatorPackage.read(path).load()


def test_newer_schema_unknown_key_and_damaged_golden(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    newer = _rewritten(
        linear_package,
        tmp_path / "newer.pt",
        {MANIFEST_ENTRY: _manifest_with(linear_package, schema_version=3)},
    )
    with pytest.raises(ManifestError, match="newer"):
        EmulatorPackage.read(newer)
    unknown = _rewritten(
        linear_package,
        tmp_path / "unknown.pt",
        {MANIFEST_ENTRY: _manifest_with(linear_package, colour="red")},
    )
    with pytest.raises(ManifestError, match="colour"):
        EmulatorPackage.read(unknown)
    damaged = bytearray(linear_package.golden_outputs.tobytes())
    damaged[5] ^= 1
    broken = _rewritten(
        linear_package, tmp_path / "broken.pt", {GOLDEN_OUTPUTS_ENTRY: bytes(damaged)}
    )
    with pytest.raises(PackageError, match="damaged"):
        EmulatorPackage.read(broken)


def test_a_manifest_of_another_network_is_refused(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    raw = json.loads(linear_package.manifest.to_json())
    raw["normalization"]["buffers_digest"] = "0" * 64
    path = _rewritten(
        linear_package, tmp_path / "wrap_model.pt", {MANIFEST_ENTRY: json.dumps(raw).encode()}
    )
    with pytest.raises(ManifestError, match="normalization buffers"):
        eager_emulator(EmulatorPackage.read(path))


def test_a_disk_that_fills_up_leaves_the_old_package(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    target = tmp_path / "wrap_model.pt"
    shutil.copy(linear_package.path, target)
    # A limit on file size makes write fail part way, as a full disk does, without needing a small
    # disk.
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from climlink.packages.export import write_package
        from climlink.packages.read import PackageError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_package(Path(sys.argv[1]), bytes(1_000_000))
        except PackageError as error:
            print(error)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True
    )
    assert "could not be written" in result.stdout
    assert "unchanged" in result.stdout
    assert EmulatorPackage.read(target).digest == linear_package.digest
    assert [p.name for p in tmp_path.iterdir()] == ["wrap_model.pt"]


def test_extra_files_survive_a_plain_torch_load(linear_package: EmulatorPackage) -> None:
    extra = {MANIFEST_ENTRY: b""}
    torch.jit.load(io.BytesIO(linear_package.path.read_bytes()), _extra_files=extra)
    assert json.loads(extra[MANIFEST_ENTRY])["schema_version"] == 2
