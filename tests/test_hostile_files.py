"""Packages that are damaged, hostile or do more than compute are refused before they act."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from climlink import _runtime
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.import_wrapper.foreign_graph import GraphError
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.packages.verify import verify
from climlink.runtime import Emulator, EmulatorError
from climlink.wrappers.errors import ManifestError
from climlink.wrappers.manifest import DEEPEST, MANIFEST_ENTRY, parse_manifest

CLIMLINK = [sys.executable, "-m", "climlink"]
FUZZ = Path(__file__).with_name("package_fuzz.py")


def _rewritten(
    package: EmulatorPackage, target: Path, change: Callable[[str, bytes], bytes]
) -> Path:
    """Copy a package with its entries changed; every CRC fits."""
    with zipfile.ZipFile(package.path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, change(name, source.read(name)))
    return target


def test_mutants_are_refused_or_open_and_nothing_else(linear_package: EmulatorPackage) -> None:
    command = [sys.executable, str(FUZZ), str(linear_package.path), "--count", "152", "--seed", "7"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    run = json.loads(result.stdout)
    assert run["failures"] == []
    assert result.returncode == 0
    assert sum(run["outcomes"].values()) == 152
    # Mutants that never pass the first check would show little.
    assert {"opened / opened", "schema / refused", "package / refused", "file / refused"} <= set(
        run["outcomes"]
    )


def test_a_flipped_bit_in_the_weights_is_refused(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    raw = linear_package.path.read_bytes()
    with zipfile.ZipFile(linear_package.path) as archive:
        weights = max(
            (e for e in archive.infolist() if "/data/" in e.filename), key=lambda e: e.file_size
        )
        start = raw.index(archive.read(weights))
    rng = random.Random(160)
    for _ in range(160):
        at, bit = start + rng.randrange(weights.file_size), rng.randrange(8)
        flipped = raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]
        with pytest.raises(EmulatorError, match=r"damaged \(CRC error\)") as refused:
            Emulator(flipped)
        assert refused.value.status == "file"
    path = tmp_path / "flipped.pt"
    path.write_bytes(flipped)
    with pytest.raises(PackageError, match=r"damaged \(CRC error\)"):
        EmulatorPackage.read(path)


def test_an_old_wrapper_with_a_flipped_bit_is_not_imported(tmp_path: Path) -> None:
    old = tmp_path / "old.pt"
    torch.jit.script(nn.Linear(557, 368)).save(str(old))
    raw = bytearray(old.read_bytes())
    with zipfile.ZipFile(old) as archive:
        raw[raw.index(archive.read("old/data/0")) + 2] ^= 1
    old.write_bytes(raw)
    with pytest.raises(GraphError, match=r"entry old/data/0 is damaged"):
        import_package(old, ImportRequest("host_v2_q"), tmp_path / "wrap_model.pt")


OPEN_EACH = """
import json, resource, sys
from pathlib import Path
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify
from climlink.runtime import Emulator
def words(opening):
    try:
        opening()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "opened"
Emulator(sys.argv[1]), EmulatorPackage.read(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
found = {}
for path in sys.argv[2:]:
    before = peak()
    said = [words(lambda: Emulator(path)), words(lambda: EmulatorPackage.read(path))]
    found[Path(path).stem] = [*said, peak() - before]
print(json.dumps(found))
"""


def _hostile_files(package: EmulatorPackage, folder: Path) -> list[Path]:
    os.mkfifo(folder / "pipe.pt")
    with (folder / "sparse.pt").open("wb") as sparse:
        sparse.truncate(3_000_000_000)
    with (
        zipfile.ZipFile(
            folder / "brackets.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1
        ) as archive,
        archive.open(f"x/extra/{MANIFEST_ENTRY}", "w") as manifest,
    ):
        for _ in range(500):
            manifest.write(b"[" * 1_000_000)
    texts = {
        "nested": b"[" * 100_000 + b"]" * 100_000,
        "objects": b"[" + b"{}," * 1_390_000 + b"1]",
        "keys": b"{" + b",".join(b'"%d":1' % i for i in range(380_000)) + b',"7":2}',
    }
    for stem, text in texts.items():
        _rewritten(
            package,
            folder / f"{stem}.pt",
            lambda n, raw, text=text: text if n.endswith(MANIFEST_ENTRY) else raw,
        )
    return sorted(folder.glob("*.pt"))


def test_files_made_to_hang_or_exhaust_a_host(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    paths = _hostile_files(linear_package, tmp_path)
    command = [sys.executable, "-c", OPEN_EACH, str(linear_package.path), *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    said = {
        "pipe": "not a regular file",
        "sparse": "has 3000000000 bytes; expected a package below 2147483648 bytes",
        "brackets": "claims to hold 500000000 or more",
        "nested": "nested deeper than 64 levels|recursion",
        "objects": "no integer schema_version",
        "keys": "stands twice in one object",
    }
    assert set(found) == set(said)
    for stem, words in said.items():
        runtime, python, mib = found[stem]
        for outcome in (runtime, python):
            assert any(w in outcome for w in words.split("|")), (stem, outcome)
        assert mib < 256, (stem, mib)


def test_a_manifest_is_nested_64_deep_at_most() -> None:
    for depth, words in (
        (DEEPEST, "no integer schema_version"),
        (DEEPEST + 1, "nested deeper than 64 levels"),
    ):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            with pytest.raises(ManifestError, match=words):
                parse_manifest(opening * depth + "1" + closing * depth, "wrap_model.pt")


def _acting(package: EmulatorPackage, target: Path, written: Path) -> Path:
    """Return a copy whose graph, once it runs, also writes its input to a file."""

    def change(name: str, raw: bytes) -> bytes:
        # A class that this process scripted before stands in a file of another name.
        before, emulator, after = raw.partition(b"class WrappedEmulator(Module):")
        if not (name.endswith(".py") and emulator):
            return raw
        head, forward, tail = after.partition(b"  def forward(self:")
        head = before + emulator + head
        first = tail.index(b":\n", tail.index(b") -> Tensor")) + 2
        return (
            head
            + forward
            + tail[:first]
            + f'    torch.save(x, "{written}")\n'.encode()
            + tail[first:]
        )

    return _rewritten(package, target, change)


def test_a_graph_that_writes_is_refused_before_it_does_and_by_every_reader(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    path = _acting(linear_package, tmp_path / "wrap_model.pt", written)
    words = r"calls aten::save in .*WrappedEmulator.forward.*A package is code.*trust_code"
    with pytest.raises(EmulatorError, match=words) as refused:
        Emulator(path)
    assert refused.value.status == "graph"
    with pytest.raises(PackageError, match=words):
        EmulatorPackage.read(path).load()
    assert all(
        "aten::save" in str(route.error) for route in verify(EmulatorPackage.read(path)).routes
    )
    assert not written.exists()
    # Where the user trusts the file it runs on all routes, and does write.
    trusted = subprocess.run(
        [*CLIMLINK, "verify", str(path), "--trust-code"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert trusted.returncode == 0, trusted.stdout + trusted.stderr
    assert written.exists()


class Writing(nn.Module):
    """A wrapper that writes a file at every forward."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.network = nn.Linear(557, 368)

    def forward(self, x: Tensor) -> Tensor:
        """Return [column, 368]."""
        torch.save(x, self.path)
        return self.network(torch.clamp(x, -1.0, 1.0))


def test_import_refuses_a_wrapper_that_writes(tmp_path: Path) -> None:
    written = tmp_path / "written"
    old = tmp_path / "old.pt"
    torch.jit.script(Writing(str(written)).eval()).save(str(old))
    with pytest.raises(
        GraphError, match=r"old.pt: the graph calls aten::save in .*Writing.forward"
    ):
        import_package(old, ImportRequest("host_v2_q"), tmp_path / "wrap_model.pt")
    assert not written.exists()
    import_package(old, ImportRequest("host_v2_q", trust_code=True), tmp_path / "wrap_model.pt")
    assert written.exists()
    with pytest.raises(EmulatorError, match="aten::save"):
        Emulator(tmp_path / "wrap_model.pt")
    Emulator(tmp_path / "wrap_model.pt", trust_code=True)


def test_a_package_that_changed_after_it_was_read_is_not_loaded(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    path = tmp_path / "wrap_model.pt"
    path.write_bytes(linear_package.path.read_bytes())
    package = EmulatorPackage.read(path)
    _acting(linear_package, path, tmp_path / "written")
    with pytest.raises(PackageError, match="changed since it was read"):
        package.load()


def _check(module: torch.jit.ScriptModule, path: Path) -> None:
    torch.jit.save(module, str(path))
    _runtime.check_code(path.read_bytes(), path.name)


def save_as_task(x: Tensor) -> Tensor:
    """Write from a function of its own."""
    torch.save(x, "written_by_graph")
    return x


class Elsewhere(nn.Module):
    """Acts from a place that ``forward`` does not reach; each subclass from another."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the argument."""
        return x


class InSubmodule(Elsewhere):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2), Writing("written_by_graph"))


class InMethod(Elsewhere):
    @torch.jit.export
    def other(self, x: Tensor) -> Tensor:
        """Write."""
        torch.save(x, "written_by_graph")
        return x


class InTask(Elsewhere):
    def forward(self, x: Tensor) -> Tensor:
        """Write from another thread."""
        return torch.jit.wait(torch.jit.fork(save_as_task, x))


class InFunction(Elsewhere):
    def forward(self, x: Tensor) -> Tensor:
        """Write in a function that is called."""
        return save_as_task(x) if x.dim() > 5 else x


class FromFile(Elsewhere):
    def forward(self, x: Tensor) -> Tensor:
        """Read a file."""
        return x + torch.from_file("/dev/zero", False, 4)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (InSubmodule(), "aten::save in .*Writing.forward"),
        (InMethod(), "aten::save in .*InMethod.other"),
        (InTask(), "prim::fork in .*InTask.forward"),
        (InFunction(), "aten::save in .*save_as_task"),
        (FromFile(), "aten::from_file in .*FromFile.forward"),
    ],
)
def test_code_is_looked_at_wherever_it_stands(
    module: nn.Module, words: str, tmp_path: Path
) -> None:
    with pytest.raises(EmulatorError, match=f"the graph calls {words}"):
        _check(torch.jit.script(module), tmp_path / "graph.pt")


@pytest.mark.parametrize(
    "name",
    [
        b"c__torch__.torch.classes.quantized\nPacked\n",
        b"c__torch__\ntorch.classes.quantized.Packed\n",
    ],
)
def test_objects_of_c_classes_are_refused_before_they_are_made(
    name: bytes, linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    # One more value at the bottom of the unpickler's stack.
    def change(entry: str, raw: bytes) -> bytes:
        return raw[:2] + name + raw[2:] if entry.endswith("/data.pkl") else raw

    path = _rewritten(linear_package, tmp_path / "wrap_model.pt", change)
    with pytest.raises(
        EmulatorError, match=r"entry data.pkl names __torch__.torch.classes.quantized.Packed"
    ) as refused:
        Emulator(path)
    assert refused.value.status == "graph"


class Usual(nn.Module):
    """What networks do besides layers: loops, texts, containers, assertions, no_grad,
    attributes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.calls = 0

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        """Return something of everything."""
        assert x.dim() == 2, f"expected [column, 8], got {x.dim()}"
        self.calls += 1
        kept: dict[str, Tensor] = {}
        sizes: list[int] = []
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                x = layer(x)
                kept[str(i)] = x.to(torch.float64).to(dtype=torch.float32, device=x.device)
                sizes.append(x.size(0))
        while len(sizes) > 0:
            if sizes[-1] < 0:
                break
            sizes.pop()
        sizes.append(1)
        a, b = x.chunk(2, dim=1)
        y = torch.zeros_like(a)
        y[:, 0] = torch.einsum("ni,ni->n", a, b)
        if torch.jit.is_scripting() and isinstance(kept["0"], Tensor):
            print("columns", max(sizes))  # noqa: T201
        return torch.fft.rfft(y).real + kept["0"][:, :3], f"{min(sizes)} {abs(-1)}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.jit.script(Usual()),
        lambda: torch.jit.script(nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 2).eval()),
        lambda: torch.jit.script(nn.Sequential(nn.LSTM(4, 4, 2))),
        lambda: torch.jit.script(
            nn.Sequential(
                nn.Conv1d(4, 4, 3),
                nn.BatchNorm1d(4),
                nn.GELU(),
                nn.Upsample(scale_factor=2),
                nn.Dropout(),
            )
        ),
        lambda: torch.jit.trace(nn.GRU(4, 4), torch.zeros(3, 2, 4)),
        lambda: torch.jit.freeze(
            torch.jit.script(
                nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Softmax(dim=1)).eval()
            )
        ),
    ],
)
def test_networks_of_the_field_are_not_taken_for_hostile(
    make: Callable[[], torch.jit.ScriptModule], tmp_path: Path
) -> None:
    _check(make(), tmp_path / "graph.pt")


def test_no_operator_of_this_torch_takes_a_file_but_those_refused() -> None:
    texts = [
        (s.name, a.name)
        for s in torch._C._jit_get_all_schemas()
        for a in s.arguments
        if "str" in str(a.type)
    ]
    taking = {operator for operator, argument in texts if "file" in argument or "path" in argument}
    assert {n for n in taking if n.startswith(("aten::", "prim::"))} == {
        "aten::save",
        "aten::from_file",
    }


OPEN_AGAIN = """
import sys
from climlink.runtime import Emulator, EmulatorError
for _ in range(4):
    try:
        Emulator(sys.argv[1])
    except EmulatorError as error:
        print(error.status, "out of DATA bounds" in str(error) or "out of range" in str(error))
"""


def test_a_graph_that_fails_inside_is_an_error_every_time(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    # Freezing deletes the functions that it inlines; libtorch names them when an operator fails.

    def change(name: str, raw: bytes) -> bytes:
        if "/data/" not in name or len(raw) < 800 or len(raw) % 8:
            return raw
        indices = np.frombuffer(raw, "<i8")
        return (
            np.full_like(indices, 2**40).tobytes()
            if 0 <= indices.min() < indices.max() < 2000
            else raw
        )

    path = _rewritten(linear_package, tmp_path / "wrap_model.pt", change)
    result = subprocess.run(
        [sys.executable, "-c", OPEN_AGAIN, str(path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["graph", "True"] * 4
