"""Packages with carried state and with variables of several dimensions, for the Fortran tests.

Their answers are closed forms, exact in float32 or with one rounding: a Fortran test knows them to
the last bit. climsim_slow.pt is for runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fixture_packages import layout, manifest, save
from fixture_samples import sequences
from make_bridge_fixtures import FLUXES, SCALARS, TENDENCIES, Gains
from torch import nn

Entry = tuple[Any, ...]
"""Name, units, dims and perhaps role."""

SIZES = {"level": 60, "unit": 2}
SMALL = {"level": 6, "unit": 2, "band": 3}
FIELDS = {"lat": 3, "lon": 4, "depth": 2}
PROFILES = [
    ("state_t", "K"),
    ("state_q0001", "kg/kg"),
    ("state_q0002", "kg/kg"),
    ("state_q0003", "kg/kg"),
    ("state_u", "m/s"),
    ("state_v", "m/s"),
    ("pbuf_ozone", "kg/kg"),
    ("pbuf_CH4", "kg/kg"),
    ("pbuf_N2O", "kg/kg"),
]
LEVEL = ("level",)
COLUMN = [*((n, u, LEVEL) for n, u in PROFILES), *((n, u, ()) for n, u in SCALARS)]
ANSWERS = [*((n, u, LEVEL) for n, u, *_ in TENDENCIES), *((n, u, ()) for n, u, *_ in FLUXES)]


class Sums(nn.Module):
    """Running sums of a forcing times the weight of each carried value, 1, 2, 3, ...

    They begin at ``initial`` times the weight. Inputs: forcing, initial, start, then the sums.
    Outputs: the first sum, then all.
    """

    def __init__(self, n_sum: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.arange(1.0, n_sum + 1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, 1 + n_sum] of packed inputs [batch, 3 + n_sum]."""
        forcing, initial, start = x[:, 0:1], x[:, 1:2], x[:, 2:3]
        before = torch.where(start > 0.5, initial * self.weight, x[:, 3:])
        after = before + forcing * self.weight
        return torch.cat([after[:, :1], after], dim=1)


class RememberedAir(nn.Module):
    """The answers of another graph, but ptend_t and ptend_u are remembered temperatures m.

    ptend_t = 1e-6 m[..., 0] and ptend_u = -1e-5 m[..., 1] with m [level, unit] of the step before.
    m' = m / 2 + (unit + 1) T, and it begins at 2 T.
    """

    def __init__(self, usual: nn.Module) -> None:
        super().__init__()
        self.usual = usual
        self.register_buffer("factor", torch.tensor([1.0, 2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, 488] of packed inputs [batch, 678]."""
        t, start = x[:, :60, None], x[:, 557:558, None]
        before = torch.where(start > 0.5, 2.0 * t.expand(-1, -1, 2), x[:, 558:].reshape(-1, 60, 2))
        after = 0.5 * before + t * self.factor
        y = self.usual(x)
        warming, push = before[:, :, 0] * 1e-6, before[:, :, 1] * -1e-5
        return torch.cat([warming, y[:, 60:240], push, y[:, 300:], after.flatten(1)], dim=1)


class SlowClimate(nn.Module):
    """A network with memory that keeps a run within its bounds.

    It pulls the air back slowly and pushes by what it remembers: m [level, unit], a tanh of a
    random mixture of what it was and of the column; it begins from the insolation.
    """

    def __init__(self, usual: nn.Module) -> None:
        super().__init__()
        numbers = torch.Generator().manual_seed(41)
        self.usual = usual
        for name, width in (("of_air", 120), ("of_memory", 120), ("answer", 60)):
            self.register_buffer(name, torch.randn(120, width, generator=numbers) / 120**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, 488] of packed inputs [batch, 678]."""
        t, u, v = x[:, :60], x[:, 240:300], x[:, 300:360]
        begun = torch.tanh(x[:, 541:542] / 500.0).expand(-1, 120)
        before = torch.where(x[:, 557:558] > 0.5, begun, x[:, 558:])
        air = torch.tanh(torch.cat([(t - 250.0) / 40.0, u / 20.0], dim=1))
        after = torch.tanh(air @ self.of_air + before @ self.of_memory)
        push = 2e-5 * torch.tanh(after @ self.answer)  # K/s: up to 1.7 K/day
        dried = x[:, 60:240] * -5e-6  # lost with a time scale of 2.3 days
        tendencies = [(250.0 - t) / 2e6 + push, dried, u * -1e-6, v * -1e-6]
        return torch.cat([torch.cat(tendencies, dim=1), self.usual(x)[:, 360:], after], dim=1)


def usual_answers() -> Gains:
    """Return the graph of climsim_q.pt: every output is an input times a gain."""
    start, position = {}, 0
    for name, _, dims in COLUMN:
        start[name] = position
        position += SIZES["level"] if dims else 1
    chosen = [(start[n] + k, g) for _, _, n, g in TENDENCIES for k in range(SIZES["level"])]
    chosen += [(start[n], g) for _, _, n, g in FLUXES]
    return Gains([source for source, _ in chosen], [gain for _, gain in chosen])


def memory_package(
    path: Path,
    network: nn.Module,
    inputs: Sequence[Entry],
    outputs: Sequence[Entry],
    sizes: dict[str, int],
) -> None:
    """Write a package whose carried outputs and inputs pair in their order.

    It states no time step; its golden rows are two sequences of three steps.
    """
    rows = layout("test_inputs", inputs, sizes), layout("test_outputs", outputs, sizes)
    record = manifest(*rows, sizes["level"])
    names = [[v["name"] for v in row["variables"] if v.get("role") == "carried"] for row in rows]
    record["dims"] = sizes
    record["time_step_s"] = None
    record["carried"] = [{"output": o, "input": i} for i, o in zip(*names, strict=True)]
    record["golden"] = {"step_count": 3, "chained_tolerance": 1e-4}
    numbers = torch.Generator().manual_seed(7)
    forcing = torch.rand(3, 2, rows[0]["width"], generator=numbers) + 0.5
    x, y = sequences(network.eval(), record, forcing)
    save(path, network, record, y, x)


def sums_package(path: Path) -> None:
    """Write running sums of every rank, for the bridge."""
    shapes: list[tuple[str, tuple[str, ...]]] = [
        ("sum", ()),
        ("sum_profile", ("level",)),
        ("sum_table", ("level", "unit")),
        ("sum_cube", ("unit", "level", "band")),
    ]
    inputs = [("forcing", "1", ()), ("initial", "1", ()), ("start", "1", (), "start")]
    outputs: list[Entry] = [("answer", "1", ())]
    inputs += [(n, "1", d, "carried") for n, d in shapes]
    outputs += [(f"{n}_next", "1", d, "carried") for n, d in shapes]
    memory_package(path, Sums(1 + 6 + 12 + 36), inputs, outputs, SMALL)


def column_memory_package(path: Path, network: nn.Module, name: str = "memory") -> None:
    """Write a package with ClimSim's 557 inputs and 368 outputs, and a memory [level, unit]."""
    memory = ("K", ("level", "unit"), "carried")
    inputs = [*COLUMN, ("start", "1", (), "start"), (name, *memory)]
    memory_package(path, network, inputs, [*ANSWERS, ("memory_next", *memory)], SIZES)


def permuted_package(
    path: Path,
    inputs: Sequence[Entry],
    outputs: Sequence[Entry],
    sizes: dict[str, int],
    **others: Any,
) -> None:
    """Write a package whose output k is input 7 k modulo their number, times (k + 1) / 64.

    ``others`` are keys of the manifest.
    """
    rows = layout("test_inputs", inputs, sizes), layout("test_outputs", outputs, sizes)
    record = manifest(*rows, sizes.get("level", 1)) | {"dims": sizes} | others
    for unknown in ("hybrid", "pruned_levels", "network_inputs", "network_outputs"):
        record[unknown] = None
    n_in, n_out = rows[0]["width"], rows[1]["width"]
    network = Gains([7 * k % n_in for k in range(n_out)], [(k + 1) / 64 for k in range(n_out)])
    x = torch.randint(-8, 9, (4, n_in), generator=torch.Generator().manual_seed(7)) / 8
    save(path, network, record, None, x)


def field_package(path: Path) -> None:
    """Write a package of fields, each a forward of its own."""
    inputs = [
        ("soil", "1", ("depth", "lat", "lon")),
        ("season", "1", ()),
        ("sst", "K", ("lat", "lon")),
        ("zonal", "K", ("lat",)),
    ]
    outputs = [
        ("moisture", "1", ("lon", "depth", "lat")),
        ("rain", "m/s", ("lon", "lat")),
        ("total", "1", ()),
        ("mean", "1", ("lon",)),
    ]
    coordinates = {"lat": {"units": "degrees_north", "values": [-60.0, 0.0, 60.0]}}
    permuted_package(path, inputs, outputs, FIELDS, batch_granule=1, coordinates=coordinates)


def main(folder: Path) -> None:
    """Make all of them in ``folder``."""
    sums_package(folder / "sums.pt")
    field_package(folder / "field.pt")
    column_memory_package(folder / "climsim_memory.pt", RememberedAir(usual_answers()))
    column_memory_package(folder / "climsim_slow.pt", SlowClimate(usual_answers()))
    # state_pmid is the host's, and no other input of this package.
    doubled = folder / "climsim_doubled.pt"
    column_memory_package(doubled, RememberedAir(usual_answers()), "state_pmid")
    neighbours = [*COLUMN, ("neighbours", "K", ("level", "unit"))]
    permuted_package(folder / "climsim_neighbours.pt", neighbours, ANSWERS, SIZES)
