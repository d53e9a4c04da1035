"""Makes the small packages of the Fortran tests: python make_bridge_fixtures.py FOLDER.

Nearly every package multiplies one input value by a gain for each output value, so that a Fortran
test knows the answer to the last bit: y[k] = float32(x[source[k]] * gain[k]).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

# The manifests of test packages are written in one place; this file is also loaded by its path.
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cpp" / "tests"))
import fixture_networks as networks
from fixture_packages import add_golden, layout, manifest

SCALARS = [
    ("state_ps", "Pa"),
    ("pbuf_SOLIN", "W/m2"),
    ("pbuf_LHFLX", "W/m2"),
    ("pbuf_SHFLX", "W/m2"),
    ("pbuf_TAUX", "N/m2"),
    ("pbuf_TAUY", "N/m2"),
    ("pbuf_COSZRS", "1"),
    ("cam_in_ALDIF", "1"),
    ("cam_in_ALDIR", "1"),
    ("cam_in_ASDIF", "1"),
    ("cam_in_ASDIR", "1"),
    ("cam_in_LWUP", "W/m2"),
    ("cam_in_ICEFRAC", "1"),
    ("cam_in_LANDFRAC", "1"),
    ("cam_in_OCNFRAC", "1"),
    ("cam_in_SNOWHICE", "m"),
    ("cam_in_SNOWHLAND", "m"),
]
TENDENCIES = [
    ("ptend_t", "K/s", "state_t", 1e-6),
    ("ptend_q0001", "kg/kg/s", "state_q0001", -1e-5),
    ("ptend_q0002", "kg/kg/s", "state_q0002", 1e-5),
    ("ptend_q0003", "kg/kg/s", "state_q0003", -2e-5),
    ("ptend_u", "m/s2", "state_u", -1e-5),
    ("ptend_v", "m/s2", "state_v", 2e-5),
]
FLUXES = [
    ("cam_out_NETSW", "W/m2", "pbuf_SOLIN", 0.5),
    ("cam_out_FLWDS", "W/m2", "cam_in_LWUP", 0.75),
    ("cam_out_PRECSC", "m/s", "state_ps", 1e-13),
    ("cam_out_PRECC", "m/s", "state_ps", 3e-13),
    ("cam_out_SOLS", "W/m2", "pbuf_SOLIN", 0.3),
    ("cam_out_SOLL", "W/m2", "pbuf_SOLIN", 0.2),
    ("cam_out_SOLSD", "W/m2", "pbuf_SOLIN", 0.1),
    ("cam_out_SOLLD", "W/m2", "pbuf_SOLIN", 0.05),
]
OTHER_UNITS = {"state_t": "m", "cam_in_LWUP": "N/m2", "ptend_v": "K/s2", "cam_out_SOLLD": "J/m2"}
DYNAMICS = [("state_t_dyn", "K/s"), ("state_q0_dyn", "kg/kg/s"), ("state_u_dyn", "m/s2")]
PHYSICS = [
    (f"state_{n}_prvphy", u)
    for n, u in (
        ("t", "K/s"),
        ("q0001", "kg/kg/s"),
        ("q0002", "kg/kg/s"),
        ("q0003", "kg/kg/s"),
        ("u", "m/s2"),
    )
]
LAGGED = [
    (previous + name, units)
    for variables in (DYNAMICS, PHYSICS)
    for previous in ("", "tm_")
    for name, units in variables
]
PREVIOUS = [("tm_state_ps", "Pa")] + [
    (f"tm_pbuf_{n}", u)
    for n, u in (("SOLIN", "W/m2"), ("LHFLX", "W/m2"), ("SHFLX", "W/m2"), ("COSZRS", "1"))
]
# What example 07 gives, with weights: each makes some 1e-6 there, and a swap of any two shows.
WEIGHTED = [
    ("state_t", "K", 6, 1e-8),
    ("state_q0001", "kg/kg", 6, 2e-3),
    ("state_q0002", "kg/kg", 6, 3e-1),
    ("state_q0003", "kg/kg", 6, 4e-1),
    ("state_u", "m/s", 6, 5e-6),
    ("state_ps", "Pa", 1, 6e-11),
    ("pbuf_SOLIN", "W/m2", 1, 7e-8),
    ("pbuf_LHFLX", "W/m2", 1, 8e-8),
    ("pbuf_SHFLX", "W/m2", 1, 9e-8),
    ("pbuf_COSZRS", "1", 1, 1e-5),
]


Entry = tuple[str, str, int]  # name, units, number of values


class Gains(torch.nn.Module):
    """y[:, k] = x[:, source[k]] * gain[k]; float32 [batch, n_input] -> [batch, n_output]."""

    def __init__(self, source: list[int], gain: list[float]) -> None:
        super().__init__()
        self.register_buffer("source", torch.tensor(source))
        self.register_buffer("gain", torch.tensor(gain, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        return x.index_select(1, self.source) * self.gain


class OfSums(torch.nn.Module):
    """The answers of another graph to weighted sums of all inputs."""

    def __init__(self, inner: torch.nn.Module, weights: torch.Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("weights", weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        return self.inner(x @ self.weights)


class NanInWarmAir(torch.nn.Module):
    """The answers of another graph, but NaN in one output of columns whose first input is above
    100: real air, not the golden columns.
    """

    def __init__(self, inner: torch.nn.Module, output: int) -> None:
        super().__init__()
        self.inner = inner
        self.output = output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        y = self.inner(x)
        broken = torch.zeros_like(y)
        broken[:, self.output] = 1.0
        return torch.where((x[:, :1] > 100.0) & (broken > 0.0), torch.full_like(y, float("nan")), y)


class MaskedTrouble(torch.nn.Module):
    """The answers of another graph; beside them NaN, overflows and divisions by zero that a mask
    takes out again.
    """

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        y = self.inner(x)
        wild = torch.sqrt(-1 - y.abs()) + torch.exp(1e3 + y.abs()) + 1 / torch.zeros_like(y)
        return torch.where(torch.isfinite(wild), wild, y)


class Doubled(torch.nn.Module):
    """The answers of another graph in float64, which no manifest allows."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        return self.inner(x).double()


class Failing(torch.nn.Module):
    """The answers of another graph; it raises for a column whose first input is ``raises`` or more,
    and asks for more memory than there is from ``exhausts`` on.
    """

    def __init__(self, inner: torch.nn.Module, raises: float = 1e5, exhausts: float = 1e6) -> None:
        super().__init__()
        self.inner = inner
        self.raises = raises
        self.exhausts = exhausts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        largest = float(x[:, 0].max())
        if largest >= self.exhausts:
            return self.inner(x) + torch.zeros([1 << 50])[0]
        if largest >= self.raises:
            raise RuntimeError("the network refuses this air")
        return self.inner(x)


class Endless(torch.nn.Module):
    """The answers of another graph, after a minute or so where the first input is above 100."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        y = self.inner(x)
        if float(x[:, 0].max()) > 100.0:
            z = torch.ones([100000])
            for _ in range(200000):
                z = torch.sin(z)
            y = y + z[0] * 1e-30
        return y


class RandomWeights(torch.nn.Module):
    """A network that nobody trained: a random layer, a bounded response, and random outputs of
    ``scale``.
    """

    def __init__(self, n_input: int, scale: torch.Tensor) -> None:
        super().__init__()
        numbers = torch.Generator().manual_seed(13)
        self.register_buffer("first", torch.randn(n_input, 32, generator=numbers) / n_input**0.5)
        self.register_buffer("second", torch.randn(32, len(scale), generator=numbers) * scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        return torch.tanh(x @ self.first) @ self.second


def write_package(
    path: Path,
    inputs: list[Entry],
    outputs: list[tuple[Entry, str, float]],
    levels: int,
    graph: Callable[[torch.nn.Module, int, int], torch.nn.Module] | None = None,
    doubled_by: Sequence[str] = (),
) -> None:
    """Write a package whose output variables are an input variable times a gain, level by level, or
    what ``graph`` makes of that.

    Each name in ``doubled_by`` is a constraint, with a switch, that doubles all outputs; one of the
    range policy also tells its use.
    """
    start, position = {}, 0
    for name, _, width in inputs:
        start[name] = position
        position += width
    source = [start[name] + k for (_, _, width), name, _ in outputs for k in range(width)]
    gain = [g for (_, _, width), _, g in outputs for _ in range(width)]
    network: torch.nn.Module = Gains(source, gain)
    if graph is not None:
        network = graph(network, position, len(source))
    if doubled_by:
        made_of = networks.Ranged if "input_clip" in doubled_by else networks.Constrained
        network = made_of(network, {name: networks.Doubled() for name in doubled_by})
    model = torch.jit.script(network.eval())
    x = torch.rand(4, position, generator=torch.Generator().manual_seed(7)) + 0.5
    made = layout("test_outputs", [e for e, _, _ in outputs])
    record = manifest(layout("test_inputs", inputs), made, levels)
    if doubled_by:
        record["constraints"] = [{"name": name, "parameters": {}} for name in doubled_by]
    torch.jit.save(model, str(path), _extra_files=add_golden(record, x, model(x)))


def column_package(
    path: Path,
    doubled_by: Sequence[str] = (),
    graph: Callable[[torch.nn.Module, int, int], torch.nn.Module] | None = None,
) -> None:
    """A package of 6 levels and few variables, for the bridge."""
    inputs = [
        ("state_t", "K", 6),
        ("state_q0001", "kg/kg", 6),
        ("state_ps", "Pa", 1),
        ("pbuf_SOLIN", "W/m2", 1),
    ]
    outputs = [
        (("ptend_t", "K/s", 6), "state_t", 1e-6),
        (("ptend_q0001", "kg/kg/s", 6), "state_q0001", -1e-5),
        (("cam_out_PRECC", "m/s", 1), "state_ps", 3e-13),
        (("cam_out_NETSW", "W/m2", 1), "pbuf_SOLIN", 0.5),
    ]
    write_package(path, inputs, outputs, 6, graph, doubled_by)


def lagged_package(path: Path) -> None:
    """A package of 6 levels that hands lagged inputs through."""
    inputs = [
        ("state_t", "K", 6),
        *((n, u, 6) for n, u in LAGGED),
        *((n, u, 1) for n, u in PREVIOUS),
    ]
    outputs = [
        (("ptend_t", "K/s", 6), "tm_state_t_prvphy", 1.0),
        (("ptend_q0001", "kg/kg/s", 6), "state_q0_dyn", 1.0),
        (("ptend_u", "m/s2", 6), "tm_state_u_dyn", 1.0),
        (("cam_out_PRECC", "m/s", 1), "tm_state_ps", 1.0),
    ]
    write_package(path, inputs, outputs, 6)


def weighted_package(path: Path) -> None:
    """A package whose every answer depends on all that example 07 gives, level by level: a sum with
    another weight for each input, times the gain of the output.
    """
    inputs = [(name, units, width) for name, units, width, _ in WEIGHTED]
    sums = [torch.eye(6) * w if n > 1 else torch.full((1, 6), w) for _, _, n, w in WEIGHTED]
    outputs = [
        (("ptend_t", "K/s", 6), "state_t", 1.0),
        (("ptend_q0001", "kg/kg/s", 6), "state_t", -1e-2),
        (("cam_out_PRECC", "m/s", 1), "state_t", 1e-3),
    ]
    # The sums lie where the first profile lay.
    write_package(path, inputs, outputs, 6, lambda gains, _, __: OfSums(gains, torch.cat(sums)))


def climsim_package(
    path: Path,
    levels: int,
    humidity: str = "state_q0001",
    further: list[Entry] | None = None,
    sources: dict[str, tuple[str, float]] | None = None,
    graph: Callable[[torch.nn.Module, int, int], torch.nn.Module] | None = None,
    units: dict[str, str] | None = None,
) -> None:
    """A package with the variables of ClimSim's 557 inputs and 368 outputs; ``humidity`` stands in
    the second place.

    ``sources`` gives outputs another input and gain than the usual ones; ``graph`` makes another
    graph of the usual one and the numbers of inputs and outputs; ``units`` gives inputs and outputs
    other units.
    """
    profiles = [
        ("state_t", "K"),
        (humidity, "1" if humidity == "state_rh" else "kg/kg"),
        ("state_q0002", "kg/kg"),
        ("state_q0003", "kg/kg"),
    ]
    profiles += [
        ("state_u", "m/s"),
        ("state_v", "m/s"),
        ("pbuf_ozone", "kg/kg"),
        ("pbuf_CH4", "kg/kg"),
        ("pbuf_N2O", "kg/kg"),
    ]
    inputs = (
        [(n, u, levels) for n, u in profiles] + [(n, u, 1) for n, u in SCALARS] + (further or [])
    )
    inputs = [(n, (units or {}).get(n, u), width) for n, u, width in inputs]
    known = {name for name, _, _ in inputs}
    usual = [((n, u, levels), s if s in known else humidity, g) for n, u, s, g in TENDENCIES] + [
        ((n, u, 1), s, g) for n, u, s, g in FLUXES
    ]
    chosen = [
        ((n, (units or {}).get(n, u), w), *(sources or {}).get(n, (source, gain)))
        for (n, u, w), source, gain in usual
    ]
    write_package(path, inputs, chosen, levels, graph)


def main(folder: Path) -> None:
    """Make all fixtures in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    column_package(folder / "column.pt")
    column_package(folder / "switched.pt", doubled_by=("doubled", "doubled_again"))
    column_package(folder / "ranged.pt", doubled_by=("input_clip", "range_relaxation"))
    column_package(folder / "failing.pt", graph=lambda usual, _, __: Failing(usual))
    whole = (folder / "column.pt").read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "not_a_package.pt").write_text("this is not a package\n")
    climsim_package(folder / "climsim_q.pt", 60)
    climsim_package(folder / "climsim_rh.pt", 60, humidity="state_rh")
    climsim_package(
        folder / "climsim_lagged.pt", 60, further=[("state_t_dyn", "K/s", 60), ("clat", "1", 1)]
    )
    v6 = [(n, u, 60) for n, u in LAGGED] + [("clat", "1", 1), ("slat", "1", 1)]
    climsim_package(folder / "climsim_v6.pt", 60, further=v6)
    v4 = v6 + [(n, u, 1) for n, u in PREVIOUS] + [("icol", "1", 1)]
    handed_through = {
        "ptend_t": ("tm_state_t_prvphy", 1.0),
        "ptend_q0001": ("state_q0_dyn", 1.0),
        "ptend_u": ("state_u_dyn", 1.0),
        "cam_out_NETSW": ("icol", 1.0),
        "cam_out_FLWDS": ("tm_state_ps", 1.0),
        "cam_out_SOLS": ("clat", 1.0),
        "cam_out_SOLL": ("slat", 1.0),
    }
    climsim_package(folder / "climsim_v4.pt", 60, further=v4, sources=handed_through)
    climsim_package(
        folder / "climsim_unknown.pt",
        60,
        further=[("state_omega", "Pa/s", 60), ("cam_in_SST", "K", 1)],
    )
    climsim_package(
        folder / "climsim_overflow.pt", 60, sources={"ptend_v": ("state_t", 1e37)}
    )  # infinite above 34 K
    climsim_package(
        folder / "climsim_nan.pt", 60, graph=lambda usual, _, __: NanInWarmAir(usual, 60 + 9)
    )  # ptend_q0001, level 10
    climsim_package(
        folder / "climsim_failing.pt", 60, graph=lambda usual, _, __: Failing(usual, raises=100.0)
    )  # in real air, not the golden columns
    climsim_package(folder / "climsim_endless.pt", 60, graph=lambda usual, _, __: Endless(usual))
    climsim_package(folder / "climsim_double.pt", 60, graph=lambda usual, _, __: Doubled(usual))
    climsim_package(
        folder / "climsim_masked.pt", 60, graph=lambda usual, _, __: MaskedTrouble(usual)
    )
    scale = torch.tensor(
        [1e-3] * 60
        + [1e-7] * 180
        + [1e-3] * 120
        + [100.0, 100.0, 1e-8, 1e-7, 50.0, 50.0, 50.0, 50.0]
    )
    climsim_package(
        folder / "climsim_random.pt", 60, graph=lambda _, n_input, __: RandomWeights(n_input, scale)
    )
    climsim_package(folder / "climsim_26.pt", 26)
    climsim_package(folder / "climsim_mm_day.pt", 60, units={"cam_out_PRECC": "mm/day"})
    # As many characters as the right units have.
    for name, units in OTHER_UNITS.items():
        climsim_package(folder / f"climsim_{name}_units.pt", 60, units={name: units})
    lagged_package(folder / "lagged.pt")
    weighted_package(folder / "weighted.pt")
    importlib.import_module("memory_fixtures").main(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
