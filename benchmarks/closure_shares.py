"""Where the energy that a network makes from nothing comes from: how the error of each output goes
with the residual of its column, which tells what a closure should take it from.

    python benchmarks/closure_shares.py wrap_model.pt columns.zarr --split validation

Of a package with water_closure and energy_closure, on held-out columns, by day and by night: root
mean square of each output's error in W/m2, and its share, the slope of its regression on the
residual. The residual is what the outputs without energy_closure imply at the top of the column,
less the package's own toa_net. The best linear guess of an error from the residual is share times
residual, so a closure that takes more than that from an output makes it worse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from climlink.data.store import ColumnStore
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.column_budgets import ENERGY_STATE, implied_toa_net, layer_mass
from climlink.wrappers.constants import (
    HEAT_CAPACITY_DRY_AIR,
    LATENT_HEAT_FUSION,
    LATENT_HEAT_VAPORIZATION,
)
from climlink.wrappers.constraints import EnergyClosure
from climlink.wrappers.contract import value_sets
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.vertical import PressureLevels

Array = NDArray[np.float64]
TERMS = ("temperature", "vapour and ice", "net sunlight", "longwave down", "toa_net", "residual")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="validation", help="part of the store (validation)")
    parser.add_argument("--every", type=int, default=6, help="of its times only every so many-th")
    given = parser.parse_args()
    store, package = ColumnStore.open(given.store), EmulatorPackage.read(given.package)
    times = store.indices(given.split)[:: given.every]
    terms, day = errors(package, store, times)
    print(f"{given.package}, {terms.shape[1]} columns of {len(times)} times ({given.split})\n")
    print("| | error by day, W/m² | share | error by night, W/m² | share |\n|---|---|---|---|---|")
    for name, values in zip(TERMS, terms, strict=True):
        cells = []
        for which in (day, ~day):
            residual = terms[-1, which]
            share = np.cov(values[which], residual)[0, 1] / residual.var()
            cells += [f"{np.sqrt(np.mean(values[which] ** 2)):.1f}", f"{share:+.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")


def errors(
    package: EmulatorPackage, store: ColumnStore, times: NDArray[np.int64]
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the errors [term, column] in W/m2, and where the sun shines [column]."""
    graph = package.load()
    sets = value_sets(package.manifest)
    rules = dict(zip(graph.constraints.names, graph.constraints.rules.children(), strict=True))
    levels = PressureLevels(store.hybrid)
    found, sunny = [], []
    for time in times:
        rows = torch.from_numpy(store.pack(sets[0], [time]))
        state = {n: rows[:, sets[0].slice(n)].double() for n in (*ENERGY_STATE, "state_ps")}
        truth = torch.from_numpy(store.targets(sets[1], [time]))
        predicted = {}
        for on in (True, False):
            rules[EnergyClosure.name].enabled = on
            with torch.no_grad():
                predicted[on] = graph(rows).double()
        mass = layer_mass(levels.interfaces(state["state_ps"]))
        found.append(_terms(state, sets[1], truth, predicted, mass, store.time_step_s))
        sunny.append((truth[:, sets[1].slice("cam_out_NETSW")] > 0.0)[:, 0].numpy())
    return np.concatenate(found, axis=1), np.concatenate(sunny)


def _terms(
    state: dict[str, Tensor],
    outputs: VariableSet,
    truth: Tensor,
    predicted: dict[bool, Tensor],
    mass: Tensor,
    step_s: float,
) -> Array:
    """Return the errors [term, column]; ``predicted`` with energy_closure and without."""

    def top(rows: Tensor) -> Tensor:
        fields = {n: rows[:, outputs.slice(n)] for n in outputs.names}
        return implied_toa_net(state, fields, mass, step_s)[:, 0]

    error = {n: (predicted[False] - truth)[:, outputs.slice(n)] for n in outputs.names}
    water = LATENT_HEAT_VAPORIZATION * error["ptend_q0001"]
    water = water - LATENT_HEAT_FUSION * error["ptend_q0003"]
    head = top(predicted[True])  # what closes is the network's own toa_net
    return torch.stack(
        [
            (mass * HEAT_CAPACITY_DRY_AIR * error["ptend_t"]).sum(dim=1),
            (mass * water).sum(dim=1),
            error["cam_out_NETSW"][:, 0],
            error["cam_out_FLWDS"][:, 0],
            top(truth) - head,
            top(predicted[False]) - head,
        ]
    ).numpy()


if __name__ == "__main__":
    main()
