"""Import of graphs with several tensors and carried state: an adapter packs them into rows."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.config import parse_config
from climlink.data.store import ColumnStore
from climlink.data.synthetic import synthetic_hybrid, synthetic_rows
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.import_wrapper.signature import Signature
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify
from climlink.runtime import Emulator
from climlink.wrappers.contract import value_sets
from climlink.wrappers.errors import ClimlinkError, ContractError
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import variable

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")

LEVELS = 8
PROFILES = ["state_t", "state_q0001", "state_u"]
PROFILE_SCALES = [300.0, 0.02, 30.0]
SURFACE = ["state_ps", "pbuf_SOLIN", "pbuf_COSZRS"]
SURFACE_SCALES = [1e5, 1e3, 1.0]
UNITS = 5


class LevelMemory(nn.Module):
    """In the shape of a published ClimSim fork, in own code: an LSTM over levels, with memory at
    each.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.lstm = nn.LSTM(3 + UNITS, 12, batch_first=True)
        self.begin = nn.Linear(3, 12)
        self.tendency, self.surface, self.remember = (
            nn.Linear(12, 2),
            nn.Linear(12, 2),
            nn.Linear(12, UNITS),
        )
        self.register_buffer("profile_scales", torch.tensor(PROFILE_SCALES))
        self.register_buffer("surface_scales", torch.tensor(SURFACE_SCALES))

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        h = torch.tanh(self.begin(x_sfc / self.surface_scales)).unsqueeze(0)
        y, _ = self.lstm(
            torch.cat([x_main / self.profile_scales, memory], dim=2), (h, torch.zeros_like(h))
        )
        surface = torch.exp(self.surface(y[:, -1])) * torch.tensor([1e-7, 1e2], device=y.device)
        return self.tendency(y) * 1e-5, surface, torch.tanh(self.remember(y))


LEVEL_MEMORY = f"""
dims: {{level: {LEVELS}, unit: {UNITS}}}
arguments:
  - {{name: x_main, axes: [level, variable], variables: [{", ".join(PROFILES)}]}}
  - {{name: x_sfc, axes: [variable], variables: [{", ".join(SURFACE)}]}}
  - {{name: memory, axes: [level, unit], carried: memory}}
results:
  - {{axes: [level, variable], variables: [ptend_t, ptend_u]}}
  - {{axes: [variable], variables: [cam_out_PRECC, cam_out_NETSW]}}
  - {{axes: [level, unit], carried: memory}}
"""


class StackedGru(nn.Module):
    """A GRU whose state has its layers first and the batch second; rows in and out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.gru = nn.GRU(2 * LEVELS + 1, UNITS, num_layers=2)
        self.last = nn.Linear(UNITS, LEVELS + 1)
        self.register_buffer("h0", torch.linspace(-0.5, 0.5, 2 * UNITS).reshape(2, UNITS))
        self.register_buffer("scales", torch.tensor([300.0] * LEVELS + [0.02] * LEVELS + [1e5]))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.gru((x / self.scales).unsqueeze(0), h)
        return self.last(y[0]) * 1e-4, h


STACKED_GRU = f"""
dims: {{level: {LEVELS}, layer: 2, unit: {UNITS}}}
arguments:
  - {{name: x, axes: [row], variables: [state_t, state_q0001, state_ps]}}
  - {{name: h, axes: [layer, sample, unit], carried: h, initial: h0}}
results:
  - {{axes: [row], variables: [ptend_t, cam_out_NETSW]}}
  - {{axes: [layer, sample, unit], carried: h}}
"""


class TupleState(nn.Module):
    """An LSTM cell per column, its state a tuple; the level comes last, a scalar has no
    channels.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.cell = nn.LSTMCell(2 * LEVELS + 1, UNITS)
        self.last = nn.Linear(UNITS, 2 * LEVELS)

    def forward(
        self, x: Tensor, ps: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = self.cell(torch.cat([x.flatten(1) / 300.0, ps.unsqueeze(1) / 1e5], dim=1), state)
        return self.last(h).unflatten(1, [2, 8]) * 1e-4, (h, c)


TUPLE_STATE = f"""
dims: {{level: {LEVELS}, unit: {UNITS}}}
arguments:
  - {{name: x, axes: [variable, level], variables: [state_t, state_u]}}
  - {{name: ps, axes: [], variables: [state_ps]}}
  - {{name: state.0, axes: [unit], carried: h}}
  - {{name: state.1, axes: [unit], carried: c}}
results:
  - {{axes: [variable, level], variables: [ptend_t, ptend_u]}}
  - {{axes: [unit], carried: h}}
  - {{axes: [unit], carried: c}}
"""


def imported(module: nn.Module, signature: str, folder: Path, **options: object) -> EmulatorPackage:
    """Script a module and import it by a signature, on synthetic columns unless told otherwise."""
    graph = (
        _traced(module.eval()) if isinstance(module, Traced) else torch.jit.script(module.eval())
    )
    graph.save(str(folder / "old.pt"))
    (folder / "signature.yaml").write_text(signature)
    request = ImportRequest(
        signature=folder / "signature.yaml",
        **options,  # type: ignore[arg-type]
    )
    return import_package(folder / "old.pt", request, folder / "wrap_model.pt")


def _traced(module: nn.Module) -> torch.jit.ScriptModule:
    example = (torch.rand(7, LEVELS, 3), torch.rand(7, 3), torch.rand(7, LEVELS, UNITS))
    return torch.jit.trace(module, example, check_trace=False)


def findings(package: EmulatorPackage) -> str:
    """Return all findings of an import as one text."""
    assert package.manifest.imported is not None
    return "\n".join(package.manifest.imported.findings)


@functools.cache
def _forcing(names: tuple[str, ...]) -> Tensor:
    """Return 73 steps of 16 samples of plausible values, [step, sample, value]."""
    inputs = VariableSet("forcing", tuple(variable(n) for n in names), {"level": LEVELS})
    return torch.from_numpy(synthetic_rows(inputs, synthetic_hybrid(LEVELS), 73 * 16)).reshape(
        73, 16, -1
    )


def forcing(package: EmulatorPackage, step: int) -> dict[str, Tensor]:
    """Return the inputs of a step by name, [sample, dims...], other ones at every step."""
    inputs, _ = value_sets(package.manifest)
    return inputs.unpack(_forcing(inputs.names)[step])


class Host:
    """A host that keeps the state of a package by the manifest alone."""

    def __init__(
        self, package: EmulatorPackage, graph: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.manifest = package.manifest
        self.graph = graph or torch.jit.load(str(package.path)).eval()
        self.before: Tensor | None = None

    def row(self, values: dict[str, Tensor]) -> Tensor:
        """Return the input rows of the next step."""
        count = next(iter(values.values())).shape[0]
        given = {v.name: v for v in self.manifest.outputs.variables}
        pairs = {p.input: given[p.output] for p in self.manifest.carried}
        parts = []
        for v in self.manifest.inputs.variables:
            if v.role == "value":
                parts.append(values[v.name].reshape(count, v.width))
            elif v.role == "start":
                parts.append(torch.full([count, 1], float(self.before is None)))
            elif self.before is None:
                parts.append(
                    torch.full([count, v.width], 1e30)
                )  # left over: must not reach the graph
            else:
                o = pairs[v.name]
                parts.append(self.before[:, o.offset : o.offset + o.width])
        return torch.cat(parts, dim=1)

    def step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs by name, [sample, dims...]."""
        with torch.no_grad():
            y = self.graph(self.row(values))
        self.before = y
        sizes = self.manifest.dims
        return {
            v.name: y[:, v.offset : v.offset + v.width].reshape(-1, *(sizes[d] for d in v.dims))
            for v in self.manifest.outputs.variables
        }


@functools.cache
def evaluated(kind: type[nn.Module]) -> nn.Module:
    """Return a module in evaluation mode, as it was saved."""
    return kind().eval()


def level_memory_directly(
    values: dict[str, Tensor], state: list[Tensor]
) -> tuple[dict[str, Tensor], list[Tensor]]:
    graph = evaluated(LevelMemory)
    x_main = torch.stack([values[n] for n in PROFILES], dim=2)
    x_sfc = torch.stack([values[n] for n in SURFACE], dim=1)
    out, surface, memory = graph(
        x_main, x_sfc, state[0] if state else torch.zeros(len(x_sfc), LEVELS, UNITS)
    )
    named = {
        "ptend_t": out[:, :, 0],
        "ptend_u": out[:, :, 1],
        "cam_out_PRECC": surface[:, 0],
        "cam_out_NETSW": surface[:, 1],
    }
    return named | {"memory_next": memory}, [memory]


def stacked_gru_directly(
    values: dict[str, Tensor], state: list[Tensor]
) -> tuple[dict[str, Tensor], list[Tensor]]:
    graph = evaluated(StackedGru)
    x = torch.cat(
        [values["state_t"], values["state_q0001"], values["state_ps"].unsqueeze(1)], dim=1
    )
    y, h = graph(x, state[0] if state else graph.h0.unsqueeze(1).repeat(1, len(x), 1))
    return {"ptend_t": y[:, :LEVELS], "cam_out_NETSW": y[:, LEVELS], "h_next": h.transpose(0, 1)}, [
        h
    ]


def tuple_state_directly(
    values: dict[str, Tensor], state: list[Tensor]
) -> tuple[dict[str, Tensor], list[Tensor]]:
    graph = evaluated(TupleState)
    x = torch.stack([values["state_t"], values["state_u"]], dim=1)
    zeros = torch.zeros(len(x), UNITS)
    y, (h, c) = graph(x, values["state_ps"], (state[0], state[1]) if state else (zeros, zeros))
    return {"ptend_t": y[:, 0], "ptend_u": y[:, 1], "h_next": h, "c_next": c}, [h, c]


KINDS = {
    "memory at levels": (LevelMemory, LEVEL_MEMORY, level_memory_directly),
    "layers first": (StackedGru, STACKED_GRU, stacked_gru_directly),
    "tuple": (TupleState, TUPLE_STATE, tuple_state_directly),
}


@pytest.fixture(scope="module", params=KINDS)
def recurrent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Return a package of each kind of graph, and how its graph is called directly."""
    module, signature, directly = KINDS[request.param]
    return imported(module(), signature, tmp_path_factory.mktemp("recurrent")), directly


def test_a_roll_out_of_72_steps_is_that_of_the_graph_called_directly(recurrent) -> None:
    package, directly = recurrent
    runtime = Emulator(package.path, level_count=LEVELS, time_step_s=1200.0)
    hosts = {
        "torchscript": Host(package),
        "runtime": Host(package, lambda x: torch.from_numpy(runtime.run_packed(x.numpy()))),
    }
    state: list[Tensor] = []
    for step in range(72):
        values = forcing(package, step)
        with torch.no_grad():
            expected, state = directly(values, state)
        for route, host in hosts.items():
            got = host.step(values)
            assert got.keys() == expected.keys()
            for name, value in expected.items():
                shaped = value.reshape(got[name].shape)
                difference = (got[name] - shaped).abs() / (shaped.std() + shaped.abs())
                assert float(difference.max()) <= 1e-6, (route, name, step)


def test_zeroed_state_moves_the_outputs(recurrent) -> None:
    package, _ = recurrent
    host = Host(package)
    for step in range(6):
        host.step(forcing(package, step))
    row = host.row(forcing(package, 6))
    zeroed = row.clone()
    for v in package.manifest.inputs.of_role("carried"):
        zeroed[:, v.offset : v.offset + v.width] = 0.0
    values = package.manifest.n_value
    with torch.no_grad():
        moved = (host.graph(zeroed) - host.graph(row))[:, :values].abs() / package.difference_scale[
            :values
        ]
    assert float(moved.max()) > 1e-2
    assert "never changes" not in findings(package)
    assert "grows" not in findings(package)


def test_the_package_passes_all_routes_and_is_a_plain_graph_on_rows(recurrent) -> None:
    package, _ = recurrent
    result = verify(package)
    assert result.passed, [(r.route, r.error, r.max_difference) for r in result.routes]
    golden = package.manifest.golden
    assert (golden.step_count, golden.sample_count) == (4, 32)
    with torch.no_grad():
        y = torch.jit.load(str(package.path))(torch.from_numpy(package.golden_inputs))
    assert np.array_equal(y.numpy(), package.golden_outputs)


def test_what_the_manifest_and_inspect_say(recurrent) -> None:
    package, _ = recurrent
    manifest = package.manifest
    assert [v.role for v in manifest.inputs.variables if v.role != "value"] == ["start"] + [
        "carried"
    ] * len(manifest.carried)
    assert {p.output for p in manifest.carried} == {f"{p.input}_next" for p in manifest.carried}
    assert all(manifest.difference_scale[p.output] == [1.0] for p in manifest.carried)
    assert manifest.golden.chained_tolerance is not None
    assert manifest.golden.chained_tolerance >= max(t.tolerance for t in manifest.tolerances)
    shown = CliRunner().invoke(app, ["inspect", str(package.path)])
    assert shown.exit_code == 0
    assert "rows are unpacked into x" in findings(package)
    assert "8 sequences of 4 steps" in shown.stdout


class Plain(nn.Module):
    """Two tensors without state; scalars of the host repeated at every level, levels reversed in
    axes.
    """

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (x[0] - x[1] / 1e3).t() * 1e-5, y[:, 0] * 2.0


PLAIN = f"""
dims: {{level: {LEVELS}}}
arguments:
  - {{name: x, axes: [variable, level, sample], variables: [state_t, state_ps]}}
  - {{name: y, axes: [variable], variables: [state_ps, pbuf_SOLIN]}}
results:
  - {{axes: [sample, level], variables: [ptend_t]}}
  - {{axes: [], variables: [cam_out_NETSW]}}
"""


def test_tensors_without_state(tmp_path: Path) -> None:
    package = imported(Plain(), PLAIN, tmp_path)
    assert [v.name for v in package.manifest.inputs.variables] == [
        "state_t",
        "state_ps",
        "pbuf_SOLIN",
    ]
    assert (package.manifest.carried, package.manifest.golden.step_count) == ([], 1)
    values = forcing(package, 0)
    out = Host(package).step(values)
    t, ps = values["state_t"], values["state_ps"]
    assert torch.equal(out["ptend_t"], (t - ps.unsqueeze(1) / 1e3) * 1e-5)
    assert torch.equal(out["cam_out_NETSW"], ps * 2.0)
    runtime = Emulator(package.path, level_count=LEVELS, time_step_s=1200.0)
    assert np.array_equal(runtime.run_packed(package.golden_inputs), package.golden_outputs)


class Surface(nn.Module):
    """Single values only: there is no level."""

    def forward(self, x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        total = 0.5 * total + x[:, 0] * 1e-3
        return (total + x[:, 1]) * 2.0, total


SURFACE_ONLY = """
arguments:
  - {name: x, axes: [variable], variables: [pbuf_SOLIN, pbuf_LHFLX]}
  - {name: total, axes: [], carried: total}
results:
  - {axes: [], variables: [cam_out_NETSW]}
  - {axes: [], carried: total}
"""


def test_a_graph_without_levels_has_no_dimension(tmp_path: Path) -> None:
    package = imported(Surface(), SURFACE_ONLY, tmp_path)
    assert package.manifest.dims == {}
    runtime = Emulator(package.path)
    assert np.array_equal(runtime.run_packed(package.golden_inputs), package.golden_outputs)


def test_the_signature_in_the_documentation_is_one() -> None:
    text = (Path(__file__).parents[1] / "docs/import.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert example
    signature = parse_config(example[1], Signature, "docs/import.md")
    assert [s.width for s in signature.at(60)] == [4 * 60 + 3, 2 * 60 + 2]


OWN = """
dims: {layer: 3}
variables:
  soil_t: {units: K, dims: [layer], range: [250, 310]}
  rain: {units: kg/m2/s, range: [0, 1.0e-3]}
  drought: {units: "1"}
  soil_heat: {units: W/m2, dims: [layer]}
sets:
  land_in: [soil_t, rain, pbuf_SOLIN]
"""


class Land(nn.Module):
    """A land cell of own variables: its carbon is carried."""

    def forward(self, soil: Tensor, surface: Tensor, carbon: Tensor) -> tuple[Tensor, Tensor]:
        carbon = 0.9 * carbon + surface[:, :1] * 1e3 * (soil / 300.0).mean(1, keepdim=True)
        return (soil - 280.0) * carbon, carbon


LAND = """
variables: own.yaml
dims: {pool: 1}
arguments:
  - {name: soil, axes: [layer], variables: [soil_t]}
  - {name: surface, axes: [variable], variables: land_in}
  - {name: carbon, axes: [pool], carried: carbon}
results:
  - {axes: [layer], variables: [soil_heat]}
  - {axes: [pool], carried: carbon}
"""


def test_own_variables_and_sets(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    package = imported(Land(), LAND, tmp_path)
    manifest = package.manifest
    assert manifest.dims == {"layer": 3, "pool": 1}
    named = {v.name: (v.units, v.dims) for v in manifest.inputs.of_role("value")}
    assert named == {
        "soil_t": ("K", ["layer"]),
        "rain": ("kg/m2/s", []),
        "pbuf_SOLIN": ("W/m2", []),
    }
    inputs, _ = value_sets(manifest)
    golden = inputs.unpack(torch.from_numpy(package.golden_inputs[:, : inputs.width]))
    assert 250.0 <= float(golden["soil_t"].min()) < float(golden["soil_t"].max()) <= 310.0
    for old, new, message in (
        ("rain, pbuf", "drought, pbuf", "drought has no range to draw golden samples from"),
        ("units: K,", "units: K, dimensions: [layer],", "own.yaml"),
        ("  soil_t: {units: K", "  state_t: {units: C", "state_t"),
    ):
        (tmp_path / "own.yaml").write_text(OWN.replace(old, new))
        with pytest.raises(ClimlinkError, match=message):
            imported(Land(), LAND, tmp_path)
    (tmp_path / "own.yaml").write_text(OWN)
    with pytest.raises(ContractError, match="layer has another size in"):
        imported(Land(), LAND.replace("pool: 1", "pool: 1, layer: 4"), tmp_path)
    with pytest.raises(ContractError, match="axis 'pool' of carried carbon has no size"):
        imported(Land(), LAND.replace("dims: {pool: 1}\n", ""), tmp_path)


def test_a_named_set_gives_the_variables_of_the_axes(tmp_path: Path) -> None:
    class Whole(nn.Module):
        def forward(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
            y = torch.tanh(x[:, :6] / 300.0 + s[:, :1].unsqueeze(2) / 1e5) * 1e-5
            return y, torch.relu(s[:, :8]) * 1e-3

    text = f"""
dims: {{level: {LEVELS}}}
arguments:
  - {{name: x, axes: [variable, level], variables: host_v2_rh}}
  - {{name: s, axes: [variable], variables: host_v2_rh}}
results:
  - {{axes: [variable, level], variables: mmf368}}
  - {{axes: [variable], variables: mmf368}}
"""
    manifest = imported(Whole(), text, tmp_path).manifest
    assert (manifest.n_input, manifest.n_output) == (9 * LEVELS + 17, 6 * LEVELS + 8)
    assert [v.name for v in manifest.inputs.variables][:3] == ["state_t", "state_rh", "state_q0002"]


@pytest.mark.parametrize("kind", ["npz", "nc"])
def test_numbers_of_a_normalization_outside_of_the_graph(kind: str, tmp_path: Path) -> None:
    import netCDF4

    arrays = {
        "mean": np.array([250.0, 5e4]),
        "gain": np.full((LEVELS, 2), 0.01),
        "out": np.linspace(1e-5, 2e-5, LEVELS)[:, None],
    }
    if kind == "npz":
        np.savez(tmp_path / "host.npz", **arrays)
    else:
        with netCDF4.Dataset(tmp_path / "host.nc", "w") as file:
            for name, values in arrays.items():
                for k, size in enumerate(values.shape):
                    file.createDimension(f"{name}_{k}", size)
                file.createVariable(name, "f8", [f"{name}_{k}" for k in range(values.ndim)])[:] = (
                    values
                )

    class Normalized(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return x[:, :, :1] - 1e-3 * x[:, :, 1:], y * 2.0

    text = f"""
dims: {{level: {LEVELS}}}
arrays: host.{kind}
arguments:
  - {{name: x, axes: [level, variable], variables: [state_t, state_ps], subtract: mean, gain: gain}}
  - {{name: y, axes: [variable], variables: [pbuf_SOLIN]}}
results:
  - {{axes: [level, variable], variables: [ptend_t], scale: out}}
  - {{axes: [variable], variables: [cam_out_NETSW]}}
"""
    package = imported(Normalized(), text, tmp_path)
    values = forcing(package, 0)
    expected = (
        (values["state_t"] - 250.0) * 0.01 - (values["state_ps"].unsqueeze(1) - 5e4) * 1e-5
    ).double()
    expected = expected.numpy() * np.linspace(1e-5, 2e-5, LEVELS)
    assert np.allclose(
        Host(package).step(values)["ptend_t"], expected, rtol=1e-5, atol=1e-9
    )  # float32 against float64
    for fault, message in (
        ("subtract: mena", "no array 'mena'; did you mean 'mean'"),
        ("subtract: gain, gain: mean", None),
        ("gain: out_of", "no array 'out_of'"),
    ):
        if message is not None:
            with pytest.raises(ContractError, match=message):
                imported(Normalized(), text.replace("subtract: mean, gain: gain", fault), tmp_path)
    with pytest.raises(
        ContractError, match=r"out is \[8, 1\]; expected \[8, 2\]|mean is \[2\]; expected \[8, 1\]"
    ):
        imported(Normalized(), text.replace("scale: out", "scale: mean"), tmp_path)


def test_golden_sequences_from_a_store(synthetic_store: ColumnStore, tmp_path: Path) -> None:
    text = LEVEL_MEMORY.replace(f"level: {LEVELS}, ", "")
    package = imported(LevelMemory(), text, tmp_path, data=synthetic_store.path)
    manifest = package.manifest
    assert manifest.imported is not None
    assert manifest.imported.golden_source == "store"
    assert manifest.hybrid == synthetic_store.hybrid.entry()
    assert "median R² on the data given: signature_inputs" in findings(package)
    inputs, _ = value_sets(manifest)
    stored = synthetic_store.pack(inputs, range(synthetic_store.n_time))
    golden = package.golden_inputs[:, : inputs.width]
    assert {row.tobytes() for row in golden} <= {row.tobytes() for row in stored}
    other = LEVEL_MEMORY.replace(f"level: {LEVELS}", "level: 7")
    with pytest.raises(ContractError, match="the signature says level: 7, the data have 60 levels"):
        imported(LevelMemory(), other, tmp_path, data=synthetic_store.path)


class Forgets(LevelMemory):
    """Takes memory and does not use it."""

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        out = (x_main[:, :, :2] / self.profile_scales[:2]) * 1e-5
        return out, torch.relu(x_sfc[:, :2]) * 1e-3, torch.tanh(memory + x_main[:, :, :1] / 300.0)


class Grows(LevelMemory):
    """Adds to its memory in every step."""

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        out = (x_main[:, :, :2] / self.profile_scales[:2] + memory[:, :, :1]) * 1e-5
        return out, torch.relu(x_sfc[:, :2]) * 1e-3, memory + 0.01 * x_main[:, :, :1] / 300.0


class Explodes(LevelMemory):
    """Triples its memory in every step: beyond float32 after 80."""

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        out = (x_main[:, :, :2] / self.profile_scales[:2] + torch.tanh(memory[:, :, :1])) * 1e-5
        return out, torch.relu(x_sfc[:, :2]) * 1e-3, 3.0 * memory + x_main[:, :, :1] / 300.0


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (Forgets, "carried state memory never changes the outputs: zeroing it moves them by 0.0e"),
        (
            Grows,
            r"carried state memory grows on unchanging inputs: to (\S+) after 64, (\S+) after 128, "
            r"(\S+) after 256",
        ),
        (Explodes, r"outputs or state are not finite after 8\d chained steps on unchanging inputs"),
    ],
)
def test_state_that_does_nothing_or_grows_is_told(
    module: type[nn.Module], found: str, tmp_path: Path
) -> None:
    told = findings(imported(module(), LEVEL_MEMORY, tmp_path))
    match = re.search(found, told)
    assert match, told
    sizes = [float(n) for n in match.groups()]
    assert all(b == pytest.approx(2 * a, rel=0.01) for a, b in itertools.pairwise(sizes)), (
        "three digits are told"
    )


class Hidden(LevelMemory):
    """Keeps a second memory in itself."""

    def __init__(self) -> None:
        super().__init__()
        self.before = torch.zeros(1)

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        out = (x_main[:, :, :2] / self.profile_scales[:2] + memory[:, :, :1] + self.before) * 1e-5
        self.before = self.before + x_main.mean() / 300.0
        return out, torch.relu(x_sfc[:, :2]) * 1e-3, torch.tanh(memory + x_main[:, :, :1] / 300.0)


class Double(LevelMemory):
    """Gives its memory in another type."""

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return x_main[:, :, :2], x_sfc[:, :2], memory.double()


class Narrow(LevelMemory):
    """Gives back less memory than it took."""

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return x_main[:, :, :2], x_sfc[:, :2], memory[:, :, 1:]


class ByName(LevelMemory):
    """Gives its results by name."""

    def forward(self, x_main: Tensor, x_sfc: Tensor, memory: Tensor) -> dict[str, Tensor]:
        return {"out": x_main, "memory": memory}


class Listed(LevelMemory):
    """Gives a list."""

    def forward(self, x_main: Tensor, x_sfc: Tensor, memory: Tensor) -> list[Tensor]:
        return [x_main, memory]


class TakesAList(LevelMemory):
    """Takes a list."""

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        return x_main, x_sfc, memory[0]


class Traced(LevelMemory):
    """Writes its batch down when it is traced."""

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        out, surface, after = super().forward(x_main, x_sfc, memory)
        return out, surface, after.reshape(len(x_main), LEVELS, UNITS)


class TwoResults(LevelMemory):
    """Gives no surface."""

    def forward(self, x_main: Tensor, x_sfc: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return x_main, memory


class Mixes(LevelMemory):
    """Lets the columns of a batch share their memory."""

    def forward(
        self, x_main: Tensor, x_sfc: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        out = (x_main[:, :, :2] / self.profile_scales[:2] + memory[:, :, :1]) * 1e-5
        return (
            out,
            torch.relu(x_sfc[:, :2]) * 1e-3,
            torch.tanh(memory - memory.mean(0) + x_main[:, :, :1] / 300.0),
        )


MEMORY_AXES = "axes: [level, unit], carried: memory"
REFUSED = {
    "an argument of another name": (
        LevelMemory,
        ("name: x_sfc", "name: x_surface"),
        r"other arguments:\n  forward takes +signature\n  x_main: Tensor +x_main\n"
        r"  x_sfc: Tensor +-\n  memory: Tensor +memory\n  - +x_surface",
    ),
    "a result too many": (
        TwoResults,
        ("", ""),
        r"gives 2 tensors, the signature 3:\n.*\n.*Tensor +ptend_t, ptend_u\n",
    ),
    "another number of variables": (
        LevelMemory,
        ("state_t, state_q0001, state_u", "state_t, state_q0001"),
        r"fails on float32 x_main \[48, 8, 2\] \[sample, level, variable\], x_sfc .*It runs with "
        r"x_main of size 3 along variable, not 2",
    ),
    "axes in another order": (
        LevelMemory,
        ("x_main, axes: [level, variable]", "x_main, axes: [variable, level]"),
        r"x_main \[48, 3, 8\] \[sample, variable, level\].*It runs with x_main as \[sample, level, "
        r"variable\]",
    ),
    "a result of another shape": (
        LevelMemory,
        ("variables: [ptend_t, ptend_u]", "variables: [ptend_t]"),
        r"result 1 \(ptend_t\) is \[48, 8, 2\] for 48 samples; \[sample, level, variable\] is "
        r"\[48, 8, 1\]",
    ),
    "less memory than it took": (
        Narrow,
        ("", ""),
        r"result 3 \(carried memory\) is \[48, 8, 4\] .* is \[48, 8, 5\]",
    ),
    "a trace of seven rows": (
        Traced,
        ("", ""),
        r"It runs on 7 rows, not on 48: a trace wrote down its batch",
    ),
    "memory in float64": (
        Double,
        ("", ""),
        r"result 3 \(carried memory\) is float64; a host reads float32",
    ),
    "results by name": (ByName, ("", ""), r"forward gives Dict.*give a tuple \(return y"),
    "results in a list": (
        Listed,
        ("", ""),
        r"forward gives List\[Tensor\]; a list has no fixed length",
    ),
    "a list of arguments": (
        TakesAList,
        ("", ""),
        r"forward takes memory: List\[Tensor\]; a list has no fixed length",
    ),
    "hidden memory": (
        Hidden,
        ("", ""),
        r"keeps memory from one call to the next \(forward sets before\)",
    ),
    "columns that mix": (Mixes, ("", ""), "mixes the columns of a batch"),
    "an initial state it has not": (
        LevelMemory,
        ("carried: memory}\nresults", "carried: memory, initial: h1}\nresults"),
        "no tensor 'h1' for memory to begin with; it has begin.bias",
    ),
    "an initial state of another shape": (
        LevelMemory,
        ("carried: memory}\nresults", "carried: memory, initial: begin.bias}\nresults"),
        r"begin.bias is float32 \[12\]; memory begins with float32 \[8, 5\] or \[1, 8, 5\]",
    ),
    "no result of the state": (
        LevelMemory,
        (f"  - {{{MEMORY_AXES}}}\n", ""),
        "signature.yaml.*carried memory has no result",
    ),
    "state of unequal width": (
        LevelMemory,
        (f"  - {{{MEMORY_AXES}}}\n", "  - {axes: [unit], carried: memory}\n"),
        r"memory goes in as \[level 8 x unit 5\], 40 values, comes out as \[unit 5\], 5 values",
    ),
    "an axis without a size": (
        LevelMemory,
        ("unit: 5", "units: 5"),
        "axis 'unit' of .* has no size: give it in dims; did you mean 'units'",
    ),
    "an unknown variable": (
        LevelMemory,
        ("state_u]", "state_w]"),
        "unknown variable 'state_w'; did you mean",
    ),
    "a profile without levels": (
        LevelMemory,
        ("pbuf_COSZRS", "state_v"),
        r"state_v has dims \['level'\]; the axes .* lack \['level'\]",
    ),
    "a variable twice": (
        LevelMemory,
        ("cam_out_NETSW", "cam_out_PRECC"),
        "cam_out_PRECC stands twice",
    ),
    "neither variables nor state": (
        LevelMemory,
        ("variables: [ptend_t, ptend_u]", ""),
        "either variables, or carried",
    ),
    "an unknown key": (
        LevelMemory,
        ("axes: [variable], variables", "axis: [variable], variables"),
        "axis",
    ),
    "state with the name of a variable": (
        LevelMemory,
        ("carried: memory", "carried: state_t"),
        "'state_t' stands twice",
    ),
    "state called start": (
        LevelMemory,
        ("carried: memory", "carried: start"),
        "carried start: this name marks the first step",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_signature_that_does_not_fit_is_refused_with_its_reason(
    fault: str, tmp_path: Path
) -> None:
    module, (old, new), message = REFUSED[fault]
    assert old in LEVEL_MEMORY
    with pytest.raises(ClimlinkError) as caught:
        imported(module(), LEVEL_MEMORY.replace(old, new) if old else LEVEL_MEMORY, tmp_path)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.pt", "signature.yaml"]


def test_progress_counts_the_rows_that_state_needs(tmp_path: Path) -> None:
    torch.jit.script(StackedGru().eval()).save(str(tmp_path / "old.pt"))
    (tmp_path / "signature.yaml").write_text(STACKED_GRU)
    seen: list[tuple[int, int]] = []
    request = ImportRequest(signature=tmp_path / "signature.yaml")
    import_package(
        tmp_path / "old.pt",
        request,
        tmp_path / "out.pt",
        progress=lambda d, t, _: seen.append((d, t)),
    )
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert 0.9 * seen[-1][1] < seen[-2][0] < seen[-1][1], "the planned rows are those that run"


def test_the_command_line_takes_a_signature_or_sets(tmp_path: Path) -> None:
    torch.jit.script(StackedGru().eval()).save(str(tmp_path / "old.pt"))
    (tmp_path / "signature.yaml").write_text(STACKED_GRU)
    command = ["import", str(tmp_path / "old.pt"), "-o", str(tmp_path / "wrap_model.pt")]
    signed = ["--signature", str(tmp_path / "signature.yaml")]
    done = CliRunner().invoke(app, [*command, *signed])
    assert done.exit_code == 0, done.output
    assert "rows are unpacked into x [sample, row], h [layer, sample, unit]" in " ".join(
        done.stdout.split()
    )
    for others in ([], [*signed, "--input-set", "host_v2_rh"], [*signed, "--output-set", "mmf368"]):
        refused = CliRunner().invoke(app, [*command, *others])
        assert refused.exit_code == 2
        assert "--signature" in refused.output
    plain = CliRunner().invoke(app, [*command, "--input-set", "host_v2_rh"])
    assert plain.exit_code == 1
    assert "--signature" in str(plain.exception)
