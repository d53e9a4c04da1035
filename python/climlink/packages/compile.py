"""Ahead-of-time compilation: the only place where a package becomes native code (AOTInductor)."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import shutil
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from climlink.data.files import FileError, replacing
from climlink.data.store import ColumnStore
from climlink.packages.compiled import (
    METADATA_ENTRY,
    CompiledArtefact,
    CompiledEntry,
    Device,
    Precision,
    artefact_path,
)
from climlink.packages.cpu_flags import flags_of_macros
from climlink.packages.export import eager_emulator, write_package
from climlink.packages.read import EmulatorPackage, PackageError, read_archive_file
from climlink.packages.reduced_precision import (
    R2_LOSS_LIMIT,
    GateColumns,
    allowing,
    measure,
    require_within,
)
from climlink.provenance import climlink_version, kernel_identity
from climlink.threads import RUNTIME_THREADS, intra_op_threads
from climlink.wrappers.column_emulator import RowNetwork
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.manifest import MANIFEST_ENTRY
from climlink.wrappers.wrapped_emulator import WrappedEmulator

INDUCTOR_SETTINGS: dict[str, Any] = {
    # Weights become constants, laid out as the kernels read them.
    "freezing": True,
    # An output row is joined from many outputs: fused, their joint kernel is slower (measured).
    "max_pointwise_cat_inputs": 0,
    "aot_inductor.enable_line_tables": False,
    "aot_inductor.enable_frame_pointer": False,
}


AVX512_LEVEL, AVX2_LEVEL = "x86-64-v4", "x86-64-v3"
AVX2_BITS = 256


class CompileError(ClimlinkError):
    """A package cannot be compiled here."""


@dataclass(frozen=True)
class Target:
    """What to compile for.

    ``march`` is the compiler's: "x86-64-v4" for processors with AVX512, "x86-64-v3" for those with
    AVX2, "native" for this machine's alone; None: the newer of the first two that this machine has.
    """

    device: Device = "cpu"
    precision: Precision = "float32"
    march: str | None = None

    def settings(self) -> dict[str, Any]:
        """Return what inductor is to do."""
        march = self.march or _newest_level()
        chosen = {**INDUCTOR_SETTINGS, "cpp.march": march}
        if march == AVX2_LEVEL:
            chosen["cpp.simdlen"] = AVX2_BITS
        if self.device == "cuda":
            chosen["aot_inductor.embed_kernel_binary"] = True
        return chosen


class _InPrecision(RowNetwork):
    """A network that computes in another precision; what stands around it does not."""

    def __init__(self, network: RowNetwork, precision: torch.dtype) -> None:
        super().__init__()
        self.has_confidence = network.has_confidence
        self.network = network.to(precision)
        self.precision = precision

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's rows and confidence, float32."""
        outputs, confidence = self.network(rows.to(self.precision))
        return outputs.to(torch.float32), confidence.to(torch.float32)


def compile_package(
    package: EmulatorPackage,
    target: Target,
    *,
    emulator: WrappedEmulator | None = None,
    store: ColumnStore | None = None,
    limit: float = R2_LOSS_LIMIT,
) -> CompiledArtefact:
    """Write a package's artefact beside it and return it; one that stood there survives any
    failure.

    The whole wrapped emulator is compiled, for any number of rows. ``emulator`` is the package's
    own, where the caller has it; else it is rebuilt from the manifest. In bfloat16 what it costs is
    measured on the test part of ``store``, else on the golden columns; where no output loses more
    R² than ``limit``, the package is written again with a manifest that allows it, so its SHA-256
    is another one.
    Raises CompileError without a C++ compiler, for a device that is not there, for a network that
    torch.export cannot follow, and where the code's golden columns are off; PrecisionError beyond
    the limit; ManifestError for a package whose network cannot be built here.
    """
    from torch._inductor.utils import fresh_cache

    compiler = require_compiler()
    # Of its own, not the one in the shared temporary directory, which any user may prepare.
    with tempfile.TemporaryDirectory(prefix="climlink-compile-") as folder, fresh_cache(dir=folder):
        try:
            archive = compiled_archive(package, target, emulator, Path(folder))
            content = read_archive_file(package.path)
            if target.precision != "float32":
                content = _allowing(package, content, target, archive, store, limit)
            return _written(package, content, target, archive, compiler)
        except ClimlinkError as error:
            refused = error  # raised in here, torch would tell of a folder that is kept
    raise refused


def _allowing(
    package: EmulatorPackage,
    content: bytes,
    target: Target,
    archive: bytes,
    store: ColumnStore | None,
    limit: float,
) -> bytes:
    """Return the package with a manifest that allows the target's precision."""
    columns = GateColumns.of(package, store)
    entry = require_within(measure(package, archive, target.device, columns), limit)
    manifest = allowing(package.manifest, entry)
    return with_entry(content, MANIFEST_ENTRY, manifest.to_json().encode())


def _written(
    package: EmulatorPackage, content: bytes, target: Target, archive: bytes, compiler: str
) -> CompiledArtefact:
    """Write an archive of compiled code as the artefact of a package of this content, and that
    content where it is new, once the Runtime has run it on the golden columns.
    """
    digest = hashlib.sha256(content).hexdigest()
    entry = _entry(digest, target, archive, compiler)
    path = artefact_path(package.path, target.device, target.precision)
    try:
        with replacing(path) as beside:
            beside.write_bytes(
                with_entry(archive, METADATA_ENTRY, entry.model_dump_json(indent=1).encode())
            )
            _prove(content, CompiledArtefact.read(beside), trust_code=package.trust_code)
            if digest != package.digest:
                write_package(package.path, content)
    except FileError as error:
        raise PackageError(f"the artefact could not be written: {error}") from error
    return CompiledArtefact.read(path)


def _prove(content: bytes, artefact: CompiledArtefact, *, trust_code: bool) -> None:
    """Open a package with its artefact, as a host does: that replays the golden columns.
    CompileError where they are beyond the manifest's tolerance.
    """
    from climlink.runtime import Emulator, EmulatorError

    try:
        opened = Emulator(
            content,
            device=artefact.entry.device,
            compiled=str(artefact.path),
            compiled_sha256=artefact.digest,
            trust_code=trust_code,
        )
    except EmulatorError as error:
        raise CompileError(f"the compiled code does not stand its test: {error}") from error
    if opened.engine != artefact.entry.backend:
        raise CompileError(f"the compiled code does not run here: {opened.engine_note}")


@intra_op_threads(RUNTIME_THREADS)
def compiled_archive(
    package: EmulatorPackage, target: Target, emulator: WrappedEmulator | None, folder: Path
) -> bytes:
    """Return torch's archive (.pt2) of a package's compiled forward, made in a folder; CompileError
    as ``compile_package``.
    """
    from torch._inductor import aoti_compile_and_package

    _require_device(target.device)
    if target.precision != "float32" and package.manifest.carried:
        raise CompileError(
            f"{package.path} carries state from step to step, whose rounding would add up: compile "
            "it in float32"
        )
    module = _prepared(emulator or eager_emulator(package), target)
    rows = torch.from_numpy(package.golden_inputs).to(target.device)
    path, of_rows = folder / "model.pt2", ({0: torch.export.Dim("rows", min=1)},)
    try:
        with torch.no_grad():
            program = torch.export.export(module, (rows,), dynamic_shapes=of_rows)
            aoti_compile_and_package(
                program, package_path=str(path), inductor_configs=target.settings()
            )
    except Exception as error:  # torch.export and inductor raise whatever they meet
        raise CompileError(
            f"{package.path} cannot be compiled for {target.device}: {_first_line(error)}"
        ) from error
    content = path.read_bytes()
    _require_self_contained(package, content)
    return content


def _newest_level() -> str:
    """Return the compiler's name of the processors to compile for, as this machine has them."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    instructions = str(pick_vec_isa()).lower()
    if "avx512" in instructions:
        return AVX512_LEVEL
    return AVX2_LEVEL if "avx2" in instructions else "native"


def _prepared(emulator: WrappedEmulator, target: Target) -> nn.Module:
    emulator = copy.deepcopy(emulator)
    if target.precision == "bfloat16":
        emulator.network = _InPrecision(emulator.network, torch.bfloat16)
    return emulator.eval().to(target.device)


def _require_device(device: Device) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise CompileError(
            "compiling for cuda needs a GPU that this torch sees: do it on the machine that will "
            "run the package"
        )


def require_compiler() -> str:
    """Return the name and version of the C++ compiler that torch would use; CompileError where
    there is none.
    """
    from torch._inductor import config

    named = next((c for c in (config.cpp.cxx or ()) if c), "g++")
    command = named if isinstance(named, str) else named[-1]
    if shutil.which(command) is None:
        raise CompileError(
            f"compiling needs a C++ compiler, and {command!r} is not found: install g++, or name "
            "one in the environment variable CXX"
        )
    said = _output([command, "--version"])
    return said.splitlines()[0] if said else command


def _output(command: list[str]) -> str:
    result = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return result.stdout


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


def _archive_metadata(archive: bytes) -> dict[str, str]:
    """Return what torch says of the code: AOTI_CPU_ISA and AOTI_COMPUTE_CAPABILITY among them."""
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        name = next(n for n in zipped.namelist() if n.endswith(".wrapper_metadata.json"))
        found: dict[str, str] = json.loads(zipped.read(name))
    return found


def _require_self_contained(package: EmulatorPackage, archive: bytes) -> None:
    """Raise CompileError where the code calls operators that only Python's loader can bind."""
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        names = [n for n in zipped.namelist() if n.endswith(".json")]
        nodes = [
            node
            for n in names
            if not n.endswith("_metadata.json")
            for node in json.loads(zipped.read(n)).get("nodes", [])
        ]
    if nodes:
        called = sorted({str(node.get("node", {}).get("target", node)) for node in nodes})
        raise CompileError(
            f"{package.path}: its compiled code would call {', '.join(called)}, which torch cannot "
            "do without its own loader"
        )


def _entry(package_sha256: str, target: Target, archive: bytes, compiler: str) -> CompiledEntry:
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    settings = target.settings()
    with config.patch({k: v for k, v in settings.items() if k.startswith("cpp.")}):
        isa = pick_vec_isa()
    told = _archive_metadata(archive)
    flags = [f"-march={settings['cpp.march']}", *(isa.build_arch_flags().split() if isa else [])]
    macros = _output([get_cpp_compiler(), *flags, "-dM", "-E", "-x", "c++", "/dev/null"])
    return CompiledEntry(
        package_sha256=package_sha256,
        device=target.device,
        precision=target.precision,
        torch_version=torch.__version__.partition("+")[0],
        isa=told.get("AOTI_CPU_ISA", "").lower() or "no vector instructions",
        cpu_flags=flags_of_macros(macros),
        march=settings["cpp.march"],
        compute_capability=told.get("AOTI_COMPUTE_CAPABILITY", ""),
        compiler=compiler,
        compiled_on=kernel_identity(),
        climlink_version=climlink_version(),
    )


def with_entry(archive: bytes, name: str, raw: bytes) -> bytes:
    """Return an archive of torch's with an extra file: a new one at its end, or one that stood
    there in its place; nothing else in it changes.
    """
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as before,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as after,
    ):
        entry = f"{before.namelist()[0].split('/')[0]}/extra/{name}"
        for info in before.infolist():
            content = raw if info.filename == entry else before.read(info)
            after.writestr(zipfile.ZipInfo(info.filename), content)
        if entry not in before.namelist():
            after.writestr(zipfile.ZipInfo(entry), raw)
    return buffer.getvalue()
