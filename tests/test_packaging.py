"""climlink.package: a user's own network becomes a package whose numbers are the network's, and
what cannot work is said.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from climlink.data.store import ColumnStore
from climlink.data.synthetic import synthetic_hybrid, synthetic_rows
from climlink.packages.packaging import package
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.packages.verify import verify
from climlink.runtime import Emulator, EmulatorError
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import Coordinate
from climlink.wrappers.normalization import Scaling
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import Variable

RULES = ("prune", "positivity", "non_negative_surface", "snow_within_precipitation", "night")
INPUTS, OUTPUTS = variable_set("climsim_v2"), variable_set("mmf368")
GRID = {"hybrid": synthetic_hybrid(60), "time_step_s": 1200.0}


def _rows(variables: VariableSet = INPUTS, count: int = 128) -> np.ndarray:
    """Return plausible rows; snow on ice is 1e6 m where there is no ice, so that no own
    normalization drowns in 1e30.
    """
    return np.minimum(
        synthetic_rows(variables, synthetic_hybrid(60), count, seed=2), np.float32(1e6)
    )


def _scaling() -> tuple[Scaling, dict[str, np.ndarray]]:
    """Return a user's own normalization, and its numbers."""
    rows = _rows().astype(np.float64)
    floors = {"K/s": 1e-5, "kg/kg/s": 1e-9, "m/s2": 1e-5, "W/m2": 50.0, "m/s": 1e-8}
    factor = np.concatenate(
        [np.full(OUTPUTS.width_of(v.name), floors[v.units]) for v in OUTPUTS.variables]
    )
    numbers = {"offset": rows.mean(axis=0), "divisor": rows.std(axis=0), "factor": factor}
    given = Scaling(
        input_offset=numbers["offset"], input_divisor=numbers["divisor"], output_factor=factor
    )
    return given, numbers


def _network(seed: int = 5) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(557, 32), nn.SiLU(), nn.Linear(32, 368))


def _bare(network: nn.Module, rows: np.ndarray) -> np.ndarray:
    """Return what the network says in physical units without climlink: the user's own numpy around
    it.
    """
    _, n = _scaling()
    varies = n["divisor"] != 0
    z = np.where(varies, (rows - n["offset"]) / np.where(varies, n["divisor"], 1.0), 0.0)
    with torch.no_grad():
        y = network(torch.from_numpy(z.astype(np.float32))).numpy()
    return y.astype(np.float64) * n["factor"]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> EmulatorPackage:
    """A package of a user's own normalized network, with constraints."""
    path = tmp_path_factory.mktemp("mine") / "wrap_model.pt"
    given, _ = _scaling()
    return package(
        _network(),
        name="mine",
        inputs="climsim_v2",
        output=path,
        normalization=given,
        constraints=RULES,
        golden=_rows(),
        **GRID,
    )


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float((np.abs(a - b) / (b.std(axis=0) + np.abs(b) + 1e-30)).max())


def test_an_own_network_is_verified_and_says_what_is_inside(mine: EmulatorPackage) -> None:
    assert verify(mine).passed
    m = mine.manifest
    assert [c.name for c in m.constraints or []] == list(RULES)
    assert (m.inputs.set, m.pruned_levels, m.level_count, m.time_step_s) == (
        "climsim_v2",
        15,
        60,
        1200.0,
    )
    assert m.architecture is not None
    assert (
        m.architecture.name,
        m.architecture.configuration,
        m.architecture.trainable_parameters,
    ) == ("Sequential", None, 30000)
    assert m.normalization is not None
    assert m.normalization.configuration.scheme == "given"
    assert len(repr(mine)) < 200


def test_without_constraints_it_is_the_bare_network(mine: EmulatorPackage) -> None:
    rows = _rows(count=64)
    plain = Emulator(
        mine.path, level_count=60, time_step_s=1200.0, constraints_off=RULES
    ).run_packed(rows)
    bare = _bare(_network(), rows)
    assert _difference(plain, bare) < 1e-6  # one float32 rounding of the answer
    constrained = Emulator(mine.path, level_count=60, time_step_s=1200.0).run_packed(rows)
    changed = np.abs(constrained - bare).max(axis=0) > 1e-3 * bare.std(axis=0)
    pruned = OUTPUTS.slice("ptend_u").start
    assert changed[pruned : pruned + 15].all()
    assert not changed[OUTPUTS.slice("ptend_t")].any()
    assert (constrained[:, OUTPUTS.slice("cam_out_PRECC")] >= 0).all()


def test_a_torchscript_file_and_a_physical_module_are_taken_too(
    mine: EmulatorPackage, tmp_path: Path
) -> None:
    class Physical(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            _, n = _scaling()
            self.register_buffer("offset", torch.from_numpy(n["offset"]))
            self.register_buffer(
                "gain",
                torch.where(
                    torch.from_numpy(n["divisor"]) > 0, 1.0 / torch.from_numpy(n["divisor"]), 0.0
                ),
            )
            self.register_buffer("factor", torch.from_numpy(n["factor"]))
            self.network = _network()

        def forward(self, x: Tensor) -> Tensor:
            z = ((x.double() - self.offset) * self.gain).float()
            return (self.network(z).double() * self.factor).float()

    old = tmp_path / "old.pt"
    torch.jit.script(Physical()).save(old)
    for n, module in enumerate((old, Physical())):
        made = package(
            module,
            name="physical",
            inputs="climsim_v2",
            output=tmp_path / f"{n}.pt",
            constraints=RULES,
            golden=_rows(),
            **GRID,
        )
        assert verify(made).passed
        assert made.manifest.normalization.configuration.scheme == "none"
        with torch.no_grad():
            answer = made.load()(torch.from_numpy(mine.golden_inputs)).numpy()
        # The same arithmetic in float64 but for one rounding in between.
        assert _difference(answer, mine.golden_outputs.astype(np.float64)) < 1e-5


def test_host_rows_of_another_order_are_permuted_in_the_graph(
    mine: EmulatorPackage, tmp_path: Path
) -> None:
    given, _ = _scaling()
    made = package(
        _network(),
        name="permuted",
        inputs="climsim_v2",
        host_inputs="host_v2_q",
        output=tmp_path / "wrap_model.pt",
        normalization=given,
        constraints=RULES,
        golden=_rows(variable_set("host_v2_q")),
        **GRID,
    )
    host, own = variable_set("host_v2_q"), INPUTS
    rows = _rows(host, 32)
    by_name = {n: rows[:, host.slice(n)] for n in host.names}
    same = np.concatenate([by_name[n] for n in own.names], axis=1)
    with torch.no_grad():
        assert torch.equal(made.load()(torch.from_numpy(rows)), mine.load()(torch.from_numpy(same)))


def test_statistics_give_normalization_ranges_and_golden_samples(
    synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    made = package(
        _network(),
        name="fitted",
        inputs="host_v2_q",
        output=tmp_path / "wrap_model.pt",
        normalization="moments",
        statistics=synthetic_store,
        golden=synthetic_store.path,
    )
    m = made.manifest
    assert sorted(m.training_ranges) == sorted(variable_set("host_v2_q").names)
    assert (m.provenance.data_digest, m.time_step_s) == (synthetic_store.digest, 1200.0)
    assert m.hybrid == synthetic_store.hybrid.entry()
    drawn = package(
        _network(),
        name="drawn",
        inputs="host_v2_q",
        output=tmp_path / "drawn.pt",
        normalization="moments",
        statistics=synthetic_store,
    )
    assert verify(drawn).passed
    assert drawn.manifest.hybrid is None


# Fields: [lat, lon] of 32 x 64 in, 64 x 128 out.

COARSE = VariableSet("coarse", (Variable("t2m", "K", dims=("lat", "lon")),), {"lat": 32, "lon": 64})
FINE = VariableSet(
    "fine",
    (Variable("t2m_fine", "K", dims=("fine_lat", "fine_lon")),),
    {"fine_lat": 64, "fine_lon": 128},
)


class Upsampling(nn.Module):
    """Nearest neighbours and a little convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.up = nn.Upsample(scale_factor=2)
        self.smooth = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, rows: Tensor) -> Tensor:
        field = self.up(rows.reshape(-1, 1, 32, 64))
        return (field + self.smooth(field)).flatten(1)


@pytest.fixture(scope="module")
def downscaling(tmp_path_factory: pytest.TempPathFactory) -> EmulatorPackage:
    """A package from fields to finer fields."""
    fields = np.random.default_rng(0).normal(280.0, 10.0, (24, 32 * 64)).astype(np.float32)
    latitude = Coordinate(units="degrees_north", values=np.linspace(-87.2, 87.2, 32).tolist())
    path = tmp_path_factory.mktemp("fields") / "wrap_model.pt"
    return package(
        Upsampling(),
        name="fine",
        inputs=COARSE,
        outputs=FINE,
        golden=fields,
        output=path,
        coordinates={"lat": latitude},
    )


def test_fields_take_the_five_routes_one_forward_each(downscaling: EmulatorPackage) -> None:
    m = downscaling.manifest
    assert (m.batch_granule, m.n_input, m.n_output, m.dims["fine_lon"]) == (1, 2048, 8192, 128)
    result = verify(downscaling)
    assert result.passed, result.as_dict()


def test_a_transposed_field_is_refused(downscaling: EmulatorPackage) -> None:
    field = downscaling.golden_inputs[:2].reshape(2, 32, 64).astype(np.float64)
    emulator = Emulator(downscaling.path)
    emulator.begin(2)
    with pytest.raises(
        EmulatorError, match=r"t2m: expected \[sample, lat 32, lon 64\], got extents \[2, 64, 32\]"
    ):
        emulator.set("t2m", np.swapaxes(field, 1, 2))
    emulator.set("t2m", field)
    emulator.run()
    answer = np.empty((2, 64, 128), dtype=np.float32)
    emulator.get("t2m_fine", answer)
    with torch.no_grad():
        expected = (
            downscaling.load()(torch.from_numpy(downscaling.golden_inputs[:2]))
            .numpy()
            .reshape(2, 64, 128)
        )
    assert np.abs(answer - expected).max() < 1e-3  # float32 near 560 K: one rounding is 6e-5


# Memory: a network whose state the host carries.

SIZES = {"level": 60, "unit": 3}
STATE = ("memory", "memory_next")
WITH_MEMORY = VariableSet(
    "with_memory",
    (*INPUTS.variables, Variable("memory", "1", "memory", ("level", "unit"), role="carried")),
    SIZES,
)
GIVES_MEMORY = VariableSet(
    "gives_memory",
    (*OUTPUTS.variables, Variable("memory_next", "1", "memory", ("level", "unit"), role="carried")),
    SIZES,
)


class Remembering(nn.Module):
    """Rows of ClimSim's inputs and 60 x 3 numbers of memory; begins with a memory of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.network = _network()
        self.recall = nn.Linear(180, 368)
        self.keep = nn.Linear(180 + 32, 180)
        self.first = nn.Linear(557, 180)

    def initial_state(self, rows: Tensor) -> Tensor:
        return torch.tanh(self.first(rows[:, :557]))

    def forward(self, rows: Tensor) -> Tensor:
        x, memory = rows[:, :557], rows[:, 557:]
        inner = self.network[0](x)
        kept = torch.tanh(self.keep(torch.cat([memory, inner], dim=1)))
        return torch.cat([self.network(x) + self.recall(memory), kept], dim=1)


def _scaling_with_memory() -> Scaling:
    _, n = _scaling()
    whole = {
        k: np.concatenate([v, np.full(180, 7.0)]) for k, v in n.items()
    }  # what stands at carried state does not count
    return Scaling(
        input_offset=whole["offset"], input_divisor=whole["divisor"], output_factor=whole["factor"]
    )


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> EmulatorPackage:
    """A package of a column network with memory."""
    return package(
        Remembering(),
        name="remembering",
        inputs=WITH_MEMORY,
        outputs=GIVES_MEMORY,
        carried={"memory_next": "memory"},
        normalization=_scaling_with_memory(),
        constraints=RULES,
        golden=_rows(count=256),
        output=tmp_path_factory.mktemp("memory") / "wrap_model.pt",
        **GRID,
    )


def _roll_out(made: EmulatorPackage, values: np.ndarray, *, forget: bool = False) -> np.ndarray:
    """Return output rows [step, sample, n_output] of a roll-out over ``values`` [step, sample,
    557], by plain TorchScript.
    """
    graph, m = made.load(), made.manifest
    memory = np.zeros((values.shape[1], 180), dtype=np.float32)
    answers = []
    for step, x in enumerate(values):
        start = np.full((len(x), 1), float(step == 0), dtype=np.float32)
        rows = np.concatenate([x, start, np.zeros_like(memory) if forget else memory], axis=1)
        with torch.no_grad():
            y = graph(torch.from_numpy(rows)).numpy()
        answers.append(y)
        memory = y[:, m.n_value :]
    return np.stack(answers)


def test_golden_sequences_chain_and_all_routes_agree(remembering: EmulatorPackage) -> None:
    m = remembering.manifest
    golden = m.golden
    assert (golden.step_count, golden.sample_count, m.n_input, m.n_output) == (
        4,
        32,
        557 + 1 + 180,
        368 + 180,
    )
    x, y = (a.reshape(4, 8, -1) for a in (remembering.golden_inputs, remembering.golden_outputs))
    assert np.array_equal(x[1:, :, 558:], y[:-1, :, 368:])
    assert (x[0, :, 557] == 1).all()
    assert (x[1:, :, 557] == 0).all()
    assert golden.chained_tolerance is not None
    assert golden.chained_tolerance >= 1e-4
    assert verify(remembering).passed


def test_the_state_matters_and_start_makes_it_anew(remembering: EmulatorPackage) -> None:
    values = _rows(count=6 * 16).reshape(6, 16, -1)
    answers = _roll_out(remembering, values)
    forgetful = _roll_out(remembering, values, forget=True)
    scale = answers[..., :360].std(axis=(0, 1)) + 1e-30
    assert (np.abs(answers - forgetful)[1:, :, :360] / scale).max(axis=(1, 2)).min() > 1e-2
    graph = remembering.load()
    rows = np.concatenate(
        [values[0], np.ones((16, 1), np.float32), np.full((16, 180), np.nan, np.float32)], axis=1
    )
    with torch.no_grad():
        assert np.array_equal(graph(torch.from_numpy(rows)).numpy(), answers[0]), (
            "what is left over does not matter at a start"
        )


def test_a_chain_of_72_steps_is_that_of_the_module(remembering: EmulatorPackage) -> None:
    values = np.tile(_rows(count=24 * 16), (3, 1)).reshape(72, 16, -1)
    answers = _roll_out(remembering, values)
    module, (_, n) = Remembering().eval(), _scaling()
    varies = n["divisor"] != 0
    memory = None
    for x, y in zip(values, answers, strict=True):
        z = np.where(varies, (x - n["offset"]) / np.where(varies, n["divisor"], 1.0), 0.0).astype(
            np.float32
        )
        z = torch.from_numpy(z)
        with torch.no_grad():
            memory = module.initial_state(z) if memory is None else memory
            memory = module(torch.cat([z, memory], dim=1))[:, 368:]
        assert np.abs(memory.numpy() - y[:, 368:]).max() < 1e-6


def test_the_runtime_takes_start_for_carried_inputs(remembering: EmulatorPackage) -> None:
    values = _rows(count=32).reshape(2, 16, -1)
    emulator, answers = (
        Emulator(remembering.path, level_count=60, time_step_s=1200.0),
        _roll_out(remembering, values),
    )
    memory = None
    for step in range(2):
        emulator.begin(16)
        for v in INPUTS.variables:
            part = values[step][:, INPUTS.slice(v.name)]
            emulator.set(v.name, part if v.is_profile else part[:, 0])
        emulator.set("start", np.full(16, float(step == 0)))
        if memory is not None:
            emulator.set("memory", memory)
        emulator.run()
        memory = np.empty((16, 60, 3), dtype=np.float32)
        emulator.get("memory_next", memory)
        assert np.abs(memory.reshape(16, -1) - answers[step][:, 368:]).max() < 1e-6


def test_confidence_stands_between_values_and_state(tmp_path: Path) -> None:
    class Doubting(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            memory = 0.5 * rows[:, 2:]
            values = rows[:, :1] + memory[:, :1]
            return torch.cat([values, memory, values * values], dim=1)

    inputs = VariableSet(
        "i",
        (
            Variable("a", "K"),
            Variable("b", "K"),
            Variable("m", "1", dims=("unit",), role="carried"),
        ),
        {"unit": 2},
    )
    outputs = VariableSet(
        "o", (Variable("c", "K"), Variable("n", "1", dims=("unit",), role="carried")), {"unit": 2}
    )
    rows = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    made = package(
        Doubting(),
        name="d",
        inputs=inputs,
        outputs=outputs,
        carried={"n": "m"},
        confidence=True,
        golden=rows,
        output=tmp_path / "d.pt",
    )
    assert [(v.name, v.role) for v in made.manifest.outputs.variables] == [
        ("c", "value"),
        ("confidence_c", "confidence"),
        ("n", "carried"),
    ]
    x = torch.tensor([[3.0, 0.0, 0.0, 4.0, 2.0]])
    assert made.load()(x).tolist() == [[5.0, 25.0, 2.0, 1.0]]
    assert verify(made).passed


class _Bad(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(557, 368)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.kind == "narrow":
            return y[:, :367]
        if self.kind == "double":
            return y.double()
        if self.kind == "random":
            return y + torch.rand_like(y)
        if self.kind == "batch":
            return y - y.mean(dim=0)
        return y / 0.0 - y / 0.0


REFUSED = {
    "narrow": r"_Bad gives float32 \[48, 367\] for 48 rows; expected float32 \[48, 368\]",
    "double": r"gives float64 \[48, 368\]",
    "random": "other outputs for the same rows",
    "batch": "other outputs in other company",
    "nan": "NaN or infinity for plausible rows: check that it takes physical inputs in the order "
    "of set 'climsim_v2'",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_modules_that_no_host_can_use_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=REFUSED[kind]):
        package(
            _Bad(kind),
            name="bad",
            inputs="climsim_v2",
            golden=_rows(),
            output=tmp_path / "bad.pt",
            **GRID,
        )
    assert not list(tmp_path.iterdir())


class _Unscriptable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.sqrt(x.numpy()))[:, :368]


def test_a_module_that_does_not_script_is_told_the_line_and_cures(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"does not script.*usual cures") as caught:
        package(
            _Unscriptable(),
            name="bad",
            inputs="climsim_v2",
            golden=np.abs(_rows()),
            output=tmp_path / "bad.pt",
            **GRID,
        )
    assert "torch.jit.trace" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": "climsim_v3"}, "unknown variable set 'climsim_v3'.*did you mean"),
        ({"golden": None}, "give golden= or statistics="),
        (
            {"golden": np.zeros((64, 556), np.float32)},
            r"rows \[row, 557\] of set 'climsim_v2'; got an array \[64, 556\]",
        ),
        ({"golden": {"state_t": np.zeros((64, 60))}}, "golden: the data lack"),
        ({"normalization": "moments"}, "made from statistics"),
        (
            {"normalization": "median"},
            "normalization must be none, moments, range, or a Scaling; got 'median'",
        ),
        (
            {"normalization": Scaling(input_offset=np.zeros(556))},
            "subtract of the scaling must be 1 or 557 finite numbers.*got 556",
        ),
        (
            {"constraints": ["liquid_ice_partition"]},
            r"'liquid_ice_partition' needs the outputs \['ptend_qn'\]",
        ),
        ({"constraints": ["night", "prune"]}, "in the order"),
        ({"constraints": ["midnight"]}, "unknown constraint 'midnight'.*night"),
        (
            {"hybrid": None, "constraints": ["stratospheric_water"]},
            "'stratospheric_water' needs pressure: give the hybrid",
        ),
        ({"time_step_s": None, "constraints": ["positivity"]}, "'positivity' needs the time step"),
        ({"carried": {"ptend_t": "state_t"}}, "carried must pair the outputs of role carried"),
        ({"hybrid": synthetic_hybrid(59)}, r"rows \[row, 548\]"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    arguments = {"inputs": "climsim_v2", "golden": _rows(), **GRID} | changes
    with pytest.raises(ContractError, match=message):
        package(_network(), name="bad", output=tmp_path / "bad.pt", **arguments)
    assert not list(tmp_path.iterdir())


def test_constraints_whose_inputs_the_set_lacks_are_named(tmp_path: Path) -> None:
    names = [n for n in INPUTS.names if n != "pbuf_COSZRS"]
    without_sun = VariableSet("without_sun", tuple(INPUTS[n] for n in names), INPUTS.sizes)
    network = nn.Linear(without_sun.width, 368)
    with pytest.raises(
        ContractError,
        match="constraint 'night' cannot act here: input set 'without_sun' neither holds "
        "'pbuf_COSZRS'",
    ):
        package(
            network,
            name="bad",
            inputs=without_sun,
            constraints=["night"],
            golden=_rows(without_sun),
            output=tmp_path / "b.pt",
            **GRID,
        )


def test_carried_variables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    wide = Variable("memory", "1", dims=("level",), role="carried")
    inputs = VariableSet("in", (*INPUTS.variables, wide), SIZES)
    with pytest.raises(
        ContractError, match="carried memory_next -> memory: dims, width and units must be equal"
    ):
        package(
            Remembering(), name="b", inputs=inputs, outputs=GIVES_MEMORY,
            carried={"memory_next": "memory"}, golden=_rows(), output=tmp_path / "b.pt", **GRID,
        )  # fmt: skip
    first = VariableSet("first", (WITH_MEMORY["memory"], *INPUTS.variables), SIZES)
    with pytest.raises(ContractError, match="carried variables must stand last in set 'first'"):
        package(
            Remembering(), name="b", inputs=first, outputs=GIVES_MEMORY,
            carried={"memory_next": "memory"}, golden=_rows(), output=tmp_path / "b.pt", **GRID,
        )  # fmt: skip


def test_a_damaged_torchscript_file_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(557, 368), torch.zeros(2, 557)), buffer)
    path = tmp_path / "old.pt"
    path.write_bytes(buffer.getvalue()[:-200])
    with pytest.raises(PackageError, match=r"old\.pt"):
        package(
            path,
            name="bad",
            inputs="climsim_v2",
            golden=_rows(),
            output=tmp_path / "bad.pt",
            **GRID,
        )
    assert not (tmp_path / "bad.pt").exists()
