"""Import: an old wrapper becomes a package with the same outputs to the bit, and what cannot work
is refused before anything is written.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.climsim import file_name
from climlink.data.columns import read_columns
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore
from climlink.data.synthetic import (
    GRID_NAME,
    synthetic_hybrid,
    synthetic_inputs,
    synthetic_outputs,
    synthetic_rows,
    write_dataset,
    write_file,
    write_grid,
)
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.import_wrapper.foreign_graph import GraphError
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify
from climlink.runtime import Emulator
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError
from climlink.wrappers.variable_sets import variable_set

UNKNOWN_KEYS = (
    "network_inputs",
    "network_outputs",
    "hybrid",
    "pruned_levels",
    "normalization",
    "constraints",
    "constants",
    "architecture",
)
"""What nobody can know of an imported graph."""


class OldWrapper(nn.Module):
    """In the shape of the published wrappers, in own code: rows of T, RH, liquid, ice, … -> 308
    network outputs -> 368, with the float32 liquid/ice split and normalization inside; confidence
    behind."""

    def __init__(
        self, n_input: int, *, confidence: bool = False, in_place: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.n_input = n_input
        self.confidence = confidence
        self.in_place = in_place
        self.network = nn.Sequential(
            nn.Linear(n_input, 32), nn.ReLU(), nn.Linear(32, 616 if confidence else 308)
        )
        scale = torch.ones(n_input)
        scale[:60] = 300.0
        scale[-26:] = 1e3
        self.register_buffer("scale", scale)
        self.register_buffer("out_scale", torch.full((308,), 1e5))

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            x[:, 120:180] = 1.0 - torch.exp(-x[:, 120:180] * 1e5)
        t, liquid, ice = x[:, :60].clone(), x[:, 120:180].clone(), x[:, 180:240].clone()
        # SNOWHICE is 1e30 off the ice: as a flag, so that float32 survives
        rows = torch.where(x > 1e20, torch.ones_like(x), x / self.scale)
        y = self.network(torch.clamp(rows, -10.0, 10.0))
        out = y[:, :308] / self.out_scale
        f = torch.clamp((t + 1200.0 * out[:, :60] - 253.16) / 20.0, 0.0, 1.0)
        total = liquid + ice + 1200.0 * out[:, 120:180] * 1e-4
        joined = torch.cat(
            [
                out[:, :120],
                (f * total - liquid) / 1200.0,
                ((1.0 - f) * total - ice) / 1200.0,
                out[:, 180:308],
            ],
            dim=1,
        )
        if self.confidence:
            joined = torch.cat([joined, y[:, 308:]], dim=1)
        return joined


def save(module: nn.Module, path: Path, *, training: bool = False) -> Path:
    """Script and save a module, in evaluation mode unless told otherwise."""
    torch.jit.script(module.train(training)).save(str(path))
    return path


PUBLISHED = {
    "v2_rh": (557, "host_v2_rh", {}),
    "v2_rh_conf": (557, "host_v2_rh", {"confidence": True}),
    "v4_rh": (1525, "host_v4_rh", {"in_place": True}),
    "v6_rh": (1519, "host_v6_rh", {}),
}


def _rows(input_set: str, count: int = 48) -> np.ndarray:
    return synthetic_rows(variable_set(input_set), synthetic_hybrid(60), count, seed=5)


def _old_outputs(path: Path, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.jit.load(str(path)).eval()(torch.from_numpy(rows.copy())).numpy()


@pytest.mark.parametrize("shape", PUBLISHED)
def test_a_wrapper_in_a_published_shape_becomes_a_package_with_the_same_bits(
    shape: str, tmp_path: Path
) -> None:
    n_input, input_set, options = PUBLISHED[shape]
    old = save(OldWrapper(n_input, **options), tmp_path / "old.pt")
    package = import_package(old, ImportRequest(input_set), tmp_path / "wrap_model.pt")
    manifest = package.manifest
    assert (manifest.n_input, manifest.n_output) == (
        n_input,
        676 if options.get("confidence") else 368,
    )
    assert manifest.imported is not None
    assert manifest.imported.golden_source == "synthetic"
    assert manifest.imported.input_copied == bool(options.get("in_place"))
    known = {"network_outputs"} if options.get("confidence") else set()
    assert {key for key in UNKNOWN_KEYS if getattr(manifest, key) is None} == set(
        UNKNOWN_KEYS
    ) - known
    rows = _rows(input_set)
    expected = _old_outputs(old, rows)
    untouched = rows.copy()
    emulator = Emulator(package.path, level_count=60, time_step_s=1200.0)
    assert np.array_equal(_old_outputs(package.path, rows), expected)
    assert np.array_equal(emulator.run_packed(rows), expected)
    assert np.array_equal(rows, untouched), "a host's rows are its own"
    result = verify(package)
    assert result.passed, [(r.route, r.error, r.max_difference) for r in result.routes]
    assert len(result.routes) == 5


def test_the_old_files_own_entries_are_kept_as_they_are(tmp_path: Path) -> None:
    old = save(OldWrapper(557), tmp_path / "old.pt")
    package = import_package(old, ImportRequest("host_v2_rh"), tmp_path / "wrap_model.pt")
    with zipfile.ZipFile(old) as before, zipfile.ZipFile(package.path) as after:
        assert set(before.namelist()) < set(after.namelist())
        assert all(before.read(name) == after.read(name) for name in before.namelist())


def test_golden_columns_from_a_store_and_from_files(
    synthetic_store: ColumnStore, synthetic_dir: Path, tmp_path: Path
) -> None:
    old = save(OldWrapper(557), tmp_path / "old.pt")
    inputs = variable_set("host_v2_rh")
    from_files = read_columns(synthetic_dir, inputs, variable_set("mmf368")).inputs
    from_store = synthetic_store.pack(inputs, range(synthetic_store.n_time))
    for source, data, rows in (
        ("store", synthetic_store.path, from_store),
        ("pairs", synthetic_dir, from_files),
    ):
        package = import_package(
            old, ImportRequest("host_v2_rh", data=data), tmp_path / f"{source}.pt"
        )
        assert package.manifest.imported is not None
        assert package.manifest.imported.golden_source == source
        assert package.manifest.hybrid == synthetic_store.hybrid.entry()
        assert {row.tobytes() for row in package.golden_inputs} <= {row.tobytes() for row in rows}
    with pytest.raises(ContractError, match="time step of 1200 s"):
        import_package(
            old,
            ImportRequest("host_v2_rh", data=synthetic_store.path, time_step_s=1800.0),
            tmp_path / "other.pt",
        )


def test_lagged_golden_columns_come_from_consecutive_files(tmp_path: Path) -> None:
    first = Stamp(4, 7, 1)
    folder = write_dataset(
        tmp_path / "pairs", [first.plus(1200 * n) for n in range(4)], n_column=24, level_count=60
    )
    old = save(OldWrapper(1525), tmp_path / "old.pt")
    package = import_package(
        old, ImportRequest("host_v4_rh", data=folder), tmp_path / "wrap_model.pt"
    )
    rows = read_columns(folder, variable_set("host_v4_rh"), variable_set("mmf368"))
    assert rows.stamps == (first.plus(2400), first.plus(3600))
    assert {row.tobytes() for row in package.golden_inputs} <= {
        row.tobytes() for row in rows.inputs
    }


def test_the_grid_file_gives_the_vertical_coordinate(
    synthetic_dir: Path, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    old = save(OldWrapper(557), tmp_path / "old.pt")
    grid = next(synthetic_dir.glob("*grid-info.nc"))
    package = import_package(
        old, ImportRequest("host_v2_rh", grid=grid), tmp_path / "wrap_model.pt"
    )
    assert package.manifest.hybrid == synthetic_store.hybrid.entry()


class Probe(nn.Module):
    """A graph with one thing wrong."""

    def __init__(self, fault: str, n_input: int = 557) -> None:
        super().__init__()
        self.fault = fault
        self.linear = nn.Linear(n_input, 368)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(torch.clamp(x, -1.0, 1.0))
        if self.fault == "random":
            y = y + torch.rand_like(y)
        if self.fault == "mean":
            y = y - y.mean(dim=0)
        if self.fault == "double":
            y = y.double()
        if self.fault == "narrow":
            y = y[:, :367]
        if self.fault == "nan":
            y = y / torch.relu(x[:, 90:91] - 1e9)
        if self.fault == "dropout":
            y = self.drop(y)
        return y


class TwoTensors(nn.Module):
    """Takes one tensor and gives two."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class TwoArguments(nn.Module):
    """Takes two tensors."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


REFUSED = {
    "random": (Probe("random"), "draws random numbers"),
    "mean": (Probe("mean"), "mixes the columns of a batch"),
    "double": (Probe("double"), "gives torch.float64"),
    "narrow": (Probe("narrow"), r"gives \[256, 367\] for 256 columns; expected \[256, 368\]"),
    "nan": (Probe("nan"), "outputs that are not finite, the first in ptend_t"),
    "wide": (
        Probe("none", 558),
        r"the graph fails on float32 \[256, 557\].*input set 'host_v2_rh' \(557 values\); it takes "
        r"the width of no host input set",
    ),
    "two tensors": (TwoTensors(), "forward gives .*; expected one tensor"),
    "two arguments": (TwoArguments(), "forward takes x: Tensor, y: Tensor; expected one tensor"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_graph_that_a_host_cannot_use_is_refused_and_nothing_is_written(
    fault: str, tmp_path: Path
) -> None:
    module, message = REFUSED[fault]
    old = save(module, tmp_path / "old.pt")
    with pytest.raises(GraphError, match=message) as caught:
        import_package(old, ImportRequest("host_v2_rh"), tmp_path / "wrap_model.pt")
    assert str(caught.value).startswith(str(old))
    assert [p.name for p in tmp_path.iterdir()] == ["old.pt"]


def test_the_trap_of_the_v6_wrapper_in_a_v4_host(tmp_path: Path) -> None:
    class ReadsRanges(OldWrapper):
        def forward(self, x: Tensor) -> Tensor:
            return self.network(
                torch.clamp(torch.cat([x[:, :1260], x[:, 1260:1519]], dim=1), -1.0, 1.0)
            ).repeat(1, 2)[:, :368]

    old = save(ReadsRanges(1519), tmp_path / "old.pt")
    with pytest.raises(
        GraphError, match=r"does not read all of input set 'host_v4_rh'.*may be .*host_v6_rh"
    ):
        import_package(old, ImportRequest("host_v4_rh"), tmp_path / "wrap_model.pt")
    package = import_package(old, ImportRequest("host_v6_rh"), tmp_path / "wrap_model.pt")
    assert package.manifest.imported is not None
    assert any(
        "longer than 1519 without complaint" in f for f in package.manifest.imported.findings
    )


def test_files_that_are_no_torchscript(tmp_path: Path, linear_package: EmulatorPackage) -> None:
    torch.save({"weights": torch.ones(3)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("no model")
    for path, message in (
        (tmp_path / "none.pt", "no such file"),
        (tmp_path / "text.pt", "not a readable zip"),
        (tmp_path / "weights.pt", "a file of torch.save"),
        (linear_package.path, "a climlink package already"),
    ):
        with pytest.raises(GraphError, match=message):
            import_package(path, ImportRequest("host_v2_q"), tmp_path / "wrap_model.pt")
    old = save(OldWrapper(557), tmp_path / "old.pt")
    for request, message in (
        (ImportRequest("host_v2_rg"), "'host_v2_rg' is not a host_input set; did you mean"),
        (ImportRequest("host_v2_rh", output_set="net308"), "'net308' is not a host_output set"),
        (ImportRequest("host_v2_rh", tolerance=0.1), "the tolerance must be 1e-06 to 0.001"),
        (ImportRequest("host_v2_rh", time_step_s=0.0), "positive number of seconds"),
    ):
        with pytest.raises(ContractError, match=message):
            import_package(old, request, tmp_path / "wrap_model.pt")


def test_training_mode_is_refused_only_where_it_matters(tmp_path: Path) -> None:
    harmless = save(OldWrapper(557), tmp_path / "harmless.pt", training=True)
    package = import_package(harmless, ImportRequest("host_v2_rh"), tmp_path / "wrap_model.pt")
    assert package.manifest.imported is not None
    assert any("saved in training mode" in f for f in package.manifest.imported.findings)
    dropout = save(Probe("dropout"), tmp_path / "dropout.pt", training=True)
    with pytest.raises(GraphError, match="saved in training mode and gives other outputs"):
        import_package(dropout, ImportRequest("host_v2_rh"), tmp_path / "wrap_model.pt")


class Teacher(nn.Module):
    """Tendencies in proportion to humidity, as in the files of ``taught_pairs``."""

    def forward(self, x: Tensor) -> Tensor:
        q = x[:, 60:120]
        surface = torch.zeros(x.shape[0], 7)
        return torch.cat(
            [1e-3 * q, 1e-6 * q, 1e-6 * q, 1e-6 * q, 1e-3 * q, 1e-3 * q, surface, x[:, 556:557]],
            dim=1,
        )


@pytest.fixture(scope="module")
def taught_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two pairs whose tendencies are what ``Teacher`` says."""
    folder = tmp_path_factory.mktemp("taught")
    grid = write_grid(folder / GRID_NAME, n_column=160, level_count=60)
    for stamp in (Stamp(1, 1, 1), Stamp(1, 1, 2)):
        rng = np.random.default_rng(stamp.day)
        before = synthetic_inputs(grid, rng)
        after = synthetic_outputs(grid, before, rng)
        for name in after:
            if name.startswith("state_"):
                after[name] = (
                    before[name] + 1200.0 * (1e-6 if "q0" in name else 1e-3) * before["state_q0001"]
                )
        write_file(folder / file_name("mli", stamp), stamp, before)
        write_file(folder / file_name("mlo", stamp), stamp, after)
    return folder


def test_the_order_of_inputs_is_scored_on_data(taught_pairs: Path, tmp_path: Path) -> None:
    old = save(Teacher(), tmp_path / "old.pt")
    with pytest.raises(
        GraphError,
        match="the graph was made for host_v2_q, not for host_v2_rh; import it with --input-set "
        "host_v2_q",
    ):
        import_package(
            old, ImportRequest("host_v2_rh", data=taught_pairs), tmp_path / "wrap_model.pt"
        )
    assert not (tmp_path / "wrap_model.pt").exists()
    package = import_package(
        old, ImportRequest("host_v2_q", data=taught_pairs), tmp_path / "wrap_model.pt"
    )
    assert package.manifest.imported is not None
    assert any(
        "median R² on the data given: host_v2_q 1.00" in f
        for f in package.manifest.imported.findings
    )


def _with_gpu_count(old: Path, path: Path) -> Path:
    """Copy a file with the statement that the published wrappers print at every forward, which a
    torch without CUDA cannot load.
    """
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            raw = source.read(name)
            if b"self.network" in raw and name.endswith(".py"):
                raw = raw.replace(
                    b"    network = self.network\n",
                    b'    print("GPUs", ops.cuda.device_count())\n    network = self.network\n',
                    1,
                )
                assert b"device_count" in raw
            copy.writestr(name, raw)
    return path


@pytest.mark.skipif(torch.version.cuda is not None, reason="a torch with CUDA knows the function")
def test_what_a_published_wrapper_prints_can_be_taken_out(tmp_path: Path) -> None:
    plain = save(OldWrapper(557), tmp_path / "plain.pt")
    old = _with_gpu_count(plain, tmp_path / "old.pt")
    with pytest.raises(
        GraphError, match=r"Unknown builtin op: cuda::device_count.*--without-prints"
    ):
        import_package(old, ImportRequest("host_v2_rh"), tmp_path / "wrap_model.pt")
    package = import_package(
        old, ImportRequest("host_v2_rh", without_prints=True), tmp_path / "wrap_model.pt"
    )
    rows = _rows("host_v2_rh")
    assert np.array_equal(_old_outputs(package.path, rows), _old_outputs(plain, rows))
    assert verify(package).passed


def test_a_graph_that_rounds_more_needs_a_tolerance_said_aloud(tmp_path: Path) -> None:
    class Amplifies(nn.Module):
        """Convolution and batch norm, which freezing folds: rounding differs, and the difference of
        two large numbers shows it.
        """

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.layers = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.BatchNorm1d(4))
            self.layers[1].running_mean.normal_()
            self.layers[1].running_var.uniform_(0.5, 2.0)
            self.last = nn.Linear(4 * 557, 368)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layers(torch.tanh(x * 0.01).unsqueeze(1)).flatten(1)
            return (self.last(y) + 300.0) - 300.0

    old = save(Amplifies(), tmp_path / "old.pt")
    with pytest.raises(GraphError, match="accept this with --tolerance") as caught:
        import_package(old, ImportRequest("host_v2_rh"), tmp_path / "wrap_model.pt")
    suggested = float(str(caught.value).rsplit(" ", 1)[-1])
    package = import_package(
        old, ImportRequest("host_v2_rh", tolerance=suggested), tmp_path / "wrap_model.pt"
    )
    assert package.manifest.same_kernels_tolerance == suggested
    assert verify(package).passed


def test_the_command_line(tmp_path: Path) -> None:
    old = save(OldWrapper(557, confidence=True), tmp_path / "old_conf.pt")
    out = tmp_path / "package" / "wrap_model.pt"
    arguments = [
        "import",
        str(old),
        "--input-set",
        "host_v2_rh",
        "--output-set",
        "mmf368",
        "--legacy-postprocessing",
        "-o",
        str(out),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "557 inputs, 676 outputs" in result.output
    assert "nothing checks that the graph was made for the order of host_v2_rh" in result.output
    shown = json.loads(CliRunner().invoke(app, ["inspect", str(out), "--json"]).output)["manifest"]
    assert shown["imported"]["host_postprocessing"] == "legacy"
    assert shown["normalization"] is None
    assert Emulator(out, level_count=60, time_step_s=1200.0).host_postprocessing == "legacy"
    readable = CliRunner().invoke(app, ["inspect", str(out)]).output
    assert "unknown, inside the imported graph" in readable
    assert "net308" in readable
    assert "legacy" in readable
    with pytest.raises(ContractError, match="'old_conf' is an imported graph"):
        EmulatorContract.from_manifest(EmulatorPackage.read(out).manifest)


def test_other_extra_files_survive(tmp_path: Path) -> None:
    old = tmp_path / "old.pt"
    torch.jit.script(OldWrapper(557).eval()).save(
        str(old), _extra_files={"notes.txt": b"made in spring"}
    )
    package = import_package(old, ImportRequest("host_v2_rh"), tmp_path / "wrap_model.pt")
    extra = {"notes.txt": b""}
    torch.jit.load(io.BytesIO(package.path.read_bytes()), _extra_files=extra)
    assert extra["notes.txt"] == b"made in spring"
