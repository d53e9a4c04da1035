"""Compiled artefacts through the Runtime: the same outputs, run only where the host pins them, and
one reason where they do not run. One package is compiled for all tests of this file.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import climlink.packages.compile as compile_module
from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.installation import executable
from climlink.mpi import mpi_command
from climlink.packages.compile import CompileError, Target, compile_package, with_entry
from climlink.packages.compiled import METADATA_ENTRY, CompiledArtefact, artefact_path, beside
from climlink.packages.cpu_flags import flags_of_macros
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.packages.reduced_precision import PrecisionError, allowing, pooled_r2, require_within
from climlink.packages.verify import RUNTIME_ROUTES, verify
from climlink.runtime import Emulator, EmulatorError
from climlink.wrappers.manifest import ReducedPrecisionEntry


@pytest.fixture(scope="session")
def compiled(
    linear_package: EmulatorPackage, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EmulatorPackage, CompiledArtefact]:
    """Return a package and its artefact for this CPU; treat both as read-only."""
    path = tmp_path_factory.mktemp("compiled") / "wrap_model.pt"
    shutil.copy(linear_package.path, path)
    package = EmulatorPackage.read(path)
    return package, compile_package(package, Target())


@pytest.fixture
def changed(
    compiled: tuple[EmulatorPackage, CompiledArtefact], tmp_path: Path
) -> Callable[..., CompiledArtefact]:
    """Return a function that writes the artefact with other metadata."""

    def write(**values: Any) -> CompiledArtefact:
        artefact = compiled[1]
        entry = {**artefact.entry.model_dump(mode="json"), **values}
        path = tmp_path / "changed.pt2"
        path.write_bytes(
            with_entry(artefact.path.read_bytes(), METADATA_ENTRY, json.dumps(entry).encode())
        )
        return CompiledArtefact.read(path)

    return write


def opened(package: EmulatorPackage, artefact: CompiledArtefact, **options: Any) -> Emulator:
    given = {"compiled_sha256": artefact.digest, **options}
    return Emulator(package.path, compiled=str(artefact.path), **given)


def rows_of(package: EmulatorPackage, count: int) -> np.ndarray:
    """Return golden rows again and again, each a little warmer, [count, n_input]."""
    rows = np.resize(package.golden_inputs, (count, package.manifest.n_input))
    return np.ascontiguousarray(rows * (1 + 1e-5 * np.arange(count, dtype=np.float32))[:, None])


def test_outputs_are_those_of_torchscript_for_every_number_of_rows(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
) -> None:
    package, artefact = compiled
    m = package.manifest
    emulator, script = opened(package, artefact, micro_batch=512), Emulator(package.path)
    assert (emulator.engine, emulator.precision) == ("aotinductor", "float32")
    assert artefact.digest in emulator.engine_note
    assert (script.engine, script.engine_note) == ("torchscript", "")
    assert 0 < emulator.golden_difference < m.tolerance("aotinductor", "cpu", "float32")
    # Loading it has not told the processor to flush small numbers to zero, as fast-math code may.
    assert np.float32(1e-40) * np.float32(0.5) > 0
    scale = package.difference_scale.numpy()
    whole = emulator.run_packed(rows_of(package, 400))
    for n in (1, 16, 192, 203, 400):
        rows = np.ascontiguousarray(rows_of(package, 400)[:n])
        got, expected = emulator.run_packed(rows), script.run_packed(rows)
        difference = np.abs(got.astype(np.float64) - expected) / (scale + np.abs(expected))
        assert difference.max() < m.tolerance("aotinductor", "cpu", "float32"), n
        # A column's bits do not depend on its company, nor on the micro-batch.
        assert np.array_equal(got, whole[:n]), n
    assert np.array_equal(opened(package, artefact).run_packed(rows_of(package, 400)), whole)


def test_the_five_routes_with_the_artefact(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
) -> None:
    package, artefact = compiled
    result = verify(package, rows_of(package, 40), artefact=artefact)
    assert result.passed, result.as_dict()
    assert set(result.unequal_values) == set(RUNTIME_ROUTES)
    # The Runtime's routes ran the compiled code: TorchScript's own bits would be the reference's.
    assert all(r.max_difference > 0 for r in result.routes if r.route in RUNTIME_ROUTES)


def test_ranks_that_share_a_network_share_its_engine(
    compiled: tuple[EmulatorPackage, CompiledArtefact], tmp_path: Path
) -> None:
    package, artefact = compiled
    rows = rows_of(package, 40)
    rows.tofile(tmp_path / "rows.f32")
    pinned = ["--compiled", str(artefact.path), artefact.digest]
    files = [str(package.path), str(tmp_path / "rows.f32"), "40", str(tmp_path / "answer.f32")]
    route = [str(executable("climlink-fortran-route")), "--group-size", "2", *pinned, *files]
    # it ends with an error where a rank says that another engine runs
    subprocess.run(mpi_command(2, route), check=True, capture_output=True, timeout=120)
    got = np.fromfile(tmp_path / "answer.f32", np.float32).reshape(40, -1)
    assert np.array_equal(got, opened(package, artefact).run_packed(rows))


def test_only_the_pinned_bytes_run(
    compiled: tuple[EmulatorPackage, CompiledArtefact], tmp_path: Path
) -> None:
    package, artefact = compiled
    unpinned = opened(package, artefact, compiled_sha256=None)
    assert unpinned.engine == "torchscript"
    assert "compiled_sha256 does not pin it" in unpinned.engine_note
    rows = rows_of(package, 20)
    assert np.array_equal(unpinned.run_packed(rows), Emulator(package.path).run_packed(rows))
    with pytest.raises(EmulatorError, match="compiled_sha256 pins 0000") as other:
        opened(package, artefact, compiled_sha256="0" * 64)
    assert other.value.status == "digest"
    content = bytearray(artefact.path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(content)
    with pytest.raises(EmulatorError, match="not the artefact the run was set up for"):
        Emulator(package.path, compiled=str(damaged), compiled_sha256=artefact.digest)
    with pytest.raises(EmulatorError, match="names no artefact"):
        Emulator(package.path, compiled_sha256=artefact.digest)
    with pytest.raises(EmulatorError) as missing:
        Emulator(package.path, compiled="nowhere.pt2", compiled_sha256=artefact.digest)
    assert missing.value.status == "file"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"torch_version": "2.12.0"}, "compiled with torch 2.12.0, this is libtorch"),
        ({"cpu_flags": ["fpu", "avx4096"]}, "this processor lacks avx4096"),
        ({"device": "cuda"}, "compiled for cuda, this run is on cpu"),
    ],
)
def test_what_cannot_run_here_leaves_torchscript_and_a_reason(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
    changed: Callable[..., CompiledArtefact],
    values: dict[str, Any],
    reason: str,
) -> None:
    package, artefact = compiled[0], changed(**values)
    emulator = opened(package, artefact)
    assert emulator.engine == "torchscript"
    assert reason in emulator.engine_note
    if "device" not in values:  # of an artefact for a GPU it asks what the GPU is
        assert reason in str(artefact.obstacle(package))


def test_constraints_that_are_compiled_in_cannot_be_left_out(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
) -> None:
    package, artefact = compiled
    emulator = opened(package, artefact, constraints_off=["night"])
    assert (emulator.engine, emulator.constraints_off) == ("torchscript", ["night"])
    assert "compiled in" in emulator.engine_note


def test_an_artefact_of_another_package_is_refused(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
    unet_package: EmulatorPackage,
    changed: Callable[..., CompiledArtefact],
) -> None:
    artefact = compiled[1]
    with pytest.raises(EmulatorError, match="compiled from a package of SHA-256") as other:
        opened(unet_package, artefact)
    assert other.value.status == "package"
    # And one that only says so does not stand the golden replay.
    with pytest.raises(EmulatorError, match="golden columns do not come out") as golden:
        opened(unet_package, changed(package_sha256=unet_package.digest))
    assert golden.value.status == "golden"


def test_a_precision_needs_the_manifests_word(
    compiled: tuple[EmulatorPackage, CompiledArtefact], changed: Callable[..., CompiledArtefact]
) -> None:
    with pytest.raises(EmulatorError, match="the manifest does not allow bfloat16"):
        opened(compiled[0], changed(precision="bfloat16"))


def test_what_is_no_artefact_is_refused(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
    changed: Callable[..., CompiledArtefact],
    tmp_path: Path,
) -> None:
    package, artefact = compiled
    with pytest.raises(EmulatorError, match="no compiled artefact of a package"):
        Emulator(package.path, compiled=str(package.path), compiled_sha256=package.digest)
    path = tmp_path / "newer.pt2"
    entry = {**artefact.entry.model_dump(mode="json"), "colour": "red"}
    path.write_bytes(
        with_entry(artefact.path.read_bytes(), METADATA_ENTRY, json.dumps(entry).encode())
    )
    with pytest.raises(PackageError, match="colour"):
        CompiledArtefact.read(path)


def test_nothing_is_left_after_kill_9(
    compiled: tuple[EmulatorPackage, CompiledArtefact], tmp_path: Path
) -> None:
    package, artefact = compiled
    program = textwrap.dedent(
        """
        import sys, time
        from climlink.packages.read import EmulatorPackage
        from climlink.runtime import Emulator
        package = EmulatorPackage.read(sys.argv[1])
        emulator = Emulator(sys.argv[1], compiled=sys.argv[2], compiled_sha256=sys.argv[3])
        emulator.run_packed(package.golden_inputs)
        print(emulator.engine, flush=True)
        time.sleep(600)
        """
    )
    command = [sys.executable, "-c", program, package.path, artefact.path, artefact.digest]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "aotinductor"
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def code_in_memory() -> list[str]:
    """Return the inodes of compiled code that this process has mapped, once per mapping."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return re.findall(r"r-xp .* (\d+)\s+/memfd:climlink-compiled", maps)


def test_memory_is_flat_and_an_artefact_is_loaded_once(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
) -> None:
    package, artefact = compiled
    rows = rows_of(package, 48)
    emulator = opened(package, artefact)
    for _ in range(300):
        emulator.run_packed(rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3000):
        emulator.run_packed(rows)
    loaded = code_in_memory()
    assert loaded
    again = [opened(package, artefact) for _ in range(3)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB
    assert {a.engine for a in again} == {"aotinductor"}
    assert code_in_memory() == loaded


def test_inspect_says_what_would_run(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
) -> None:
    package, artefact = compiled
    assert artefact.path == artefact_path(package.path, "cpu", "float32")
    (found,) = beside(package)
    assert found.obstacle is None
    assert found.artefact == artefact
    shown = CliRunner().invoke(app, ["inspect", str(package.path)]).output
    assert artefact.digest in shown
    assert "would run here" in shown
    told = json.loads(CliRunner().invoke(app, ["inspect", str(package.path), "--json"]).output)
    assert told["compiled"][0]["sha256"] == artefact.digest
    assert told["compiled"][0]["obstacle"] is None


def test_an_artefact_of_an_earlier_package_is_told(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
    unet_package: EmulatorPackage,
    tmp_path: Path,
) -> None:
    shutil.copy(unet_package.path, tmp_path / "wrap_model.pt")
    shutil.copy(compiled[1].path, tmp_path)
    (found,) = beside(EmulatorPackage.read(tmp_path / "wrap_model.pt"))
    assert found.artefact is None
    assert "compiled from a package" in str(found.error)


def test_without_a_compiler_it_says_what_is_needed(
    linear_package: EmulatorPackage,
) -> None:
    from torch._inductor import config

    with (
        config.patch({"cpp.cxx": (None, "no-such-compiler")}),
        pytest.raises(CompileError, match=r"needs a C\+\+ compiler.*no-such-compiler"),
    ):
        compile_package(linear_package, Target())


def test_the_archive_stays_torchs_own(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
) -> None:
    with zipfile.ZipFile(compiled[1].path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    root = names[0].split("/")[0]
    assert f"{root}/archive_format" in names
    assert f"{root}/extra/{METADATA_ENTRY}" in names


def test_flags_are_those_that_the_compiler_may_use() -> None:
    macros = (
        "#define __AVX2__ 1\n#define __AVX512VNNI__ 1\n#define __GNUC__ 12\n#define __BMI__ 1\n"
    )
    assert flags_of_macros(macros) == ["avx2", "avx512_vnni", "bmi1"]


def entry(**losses: float) -> ReducedPrecisionEntry:
    return ReducedPrecisionEntry(
        precision="bfloat16",
        device="cpu",
        columns="some",
        column_count=16,
        r2_loss=losses,
        limit=1.0,
        golden_difference=2e-3,
    )


def test_the_gate_names_what_loses_too_much(linear_package: EmulatorPackage) -> None:
    with pytest.raises(PrecisionError, match=r"ptend_t 2\.00e-03; compile in float32"):
        require_within(entry(ptend_t=2e-3, cam_out_PRECC=-1e-4), 1e-3)
    passed = require_within(entry(ptend_t=2e-4), 1e-3)
    manifest = allowing(linear_package.manifest, passed)
    assert manifest.allowed_precisions == ["float32", "bfloat16"]
    assert manifest.tolerance("aotinductor", "cpu", "bfloat16") == pytest.approx(6e-3)
    assert manifest.reduced_precision == [passed]
    assert passed.limit == 1e-3
    assert allowing(manifest, passed) == manifest


def test_r2_counts_every_value_alike() -> None:
    truth = np.array([[1.0, 100.0], [3.0, 300.0], [5.0, 500.0]])
    scale = truth.std(axis=0)
    off = truth + np.array([0.1, 0.0]) * scale
    assert pooled_r2(off, truth, scale) == pytest.approx(1 - 3 * 0.01 / 6)
    assert pooled_r2(truth + np.array([0.0, 0.1]) * scale, truth, scale) == pytest.approx(
        pooled_r2(off, truth, scale)
    )
    constant = np.zeros((4, 1))
    assert pooled_r2(constant + 0.2, constant, np.ones(1)) == pytest.approx(1 - 0.04)


def test_what_passes_the_gate_is_written_and_what_does_not_is_not(
    compiled: tuple[EmulatorPackage, CompiledArtefact],
    synthetic_store: ColumnStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The code of the float32 artefact stands in for that of bfloat16, which the long test compiles.
    code = compiled[1].path.read_bytes()
    monkeypatch.setattr(compile_module, "compiled_archive", lambda *_: code)
    path = tmp_path / "wrap_model.pt"
    shutil.copy(compiled[0].path, path)
    package, target = EmulatorPackage.read(path), Target(precision="bfloat16")
    with pytest.raises(PrecisionError, match="costs more R² than 0 on 16 columns"):
        compile_package(package, target, limit=0.0)
    assert [p.name for p in tmp_path.iterdir()] == ["wrap_model.pt"]
    assert EmulatorPackage.read(path).digest == package.digest
    gate(package, compile_package(package, target, store=synthetic_store, limit=0.5))


def gate(before: EmulatorPackage, artefact: CompiledArtefact) -> None:
    """Hold a package that was compiled in bfloat16 on the synthetic store to its record."""
    now = EmulatorPackage.read(before.path)
    assert now.digest != before.digest
    (measured,) = now.manifest.reduced_precision
    assert measured.column_count == 24
    assert "test part of the store" in measured.columns
    assert set(measured.r2_loss) == {v.name for v in now.manifest.outputs.of_role("value")}
    assert max(measured.r2_loss.values()) <= measured.limit == 0.5
    emulator = opened(now, artefact)
    assert (emulator.engine, emulator.precision) == ("aotinductor", "bfloat16")
    assert 0 < emulator.golden_difference <= 3 * max(measured.golden_difference, 1e-6)
    result = verify(now, artefact=artefact, routes=("torchscript", "pybind"))
    assert result.passed, result.as_dict()
    # TorchScript runs the package as before: its graph is the same to the bit.
    assert np.array_equal(Emulator(now.path).run_packed(now.golden_inputs), now.golden_outputs)


@pytest.mark.long
def test_bfloat16_from_its_gate_to_the_runtime(
    linear_package: EmulatorPackage, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    path = tmp_path / "wrap_model.pt"
    shutil.copy(linear_package.path, path)
    package = EmulatorPackage.read(path)
    target = Target(precision="bfloat16")
    artefact = compile_package(package, target, store=synthetic_store, limit=0.5)
    gate(package, artefact)
    # A real loss of digits, not float32 under another name.
    assert opened(EmulatorPackage.read(path), artefact).golden_difference > 1e-5
