"""Means of members: closed forms, constraints once, five routes, and members that do not fit."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import climlink
from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.ensembles.build import ensemble_emulator, equal_weights, write_ensemble
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.members import Member, read_members
from climlink.packages.export import ExportSource
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify
from climlink.wrappers.difference import scaled_difference
from climlink.wrappers.manifest import ConstraintEntry, TrainingDistribution
from climlink.wrappers.variable_sets import VariableSet, variable_set

Export = Callable[..., EmulatorPackage]
Pair = tuple[EmulatorPackage, EmulatorPackage]

ROUNDING = 1e-6
"""In the difference formula: the same network, rounded to float32 once more."""

OTHER_NETWORK = 1e-5
"""Likewise, where the weights were rounded too: sums of 700 products, each off by 6e-8."""


@pytest.fixture(scope="module")
def members(pair: Pair) -> tuple[Member, ...]:
    return read_members(pair)


@pytest.fixture(scope="module")
def mean_package(
    members: tuple[Member, ...], tmp_path_factory: pytest.TempPathFactory
) -> EmulatorPackage:
    path = tmp_path_factory.mktemp("mean") / "mean.pt"
    return write_ensemble(members, equal_weights(members), path, name="mean_of_2")


def _difference(package: EmulatorPackage, a: torch.Tensor, b: torch.Tensor) -> float:
    scale = package.difference_scale[: package.manifest.n_value]
    n = package.manifest.n_value
    return float(scaled_difference(a[:, :n], b[:, :n], scale).max())


def test_the_mean_of_linear_networks_is_the_network_of_the_mean_weights(
    pair: Pair,
    mean_package: EmulatorPackage,
    export_linear: Export,
    host_rows: torch.Tensor,
    tmp_path: Path,
) -> None:
    # Constraints stand behind both, so they agree only where the mean is taken before them.
    between = export_linear(tmp_path / "between.pt", 1, 2)
    with torch.no_grad():
        got, expected = mean_package.load()(host_rows), between.load()(host_rows)
        after = torch.stack([p.load()(host_rows) for p in pair]).mean(dim=0)
    assert _difference(between, got, expected) < OTHER_NETWORK
    # Means of what each member's constraints made are something else: these columns need them.
    assert _difference(between, after, expected) > 0.1


def test_weights_and_spread_by_hand(members: tuple[Member, ...], host_rows: torch.Tensor) -> None:
    weights = torch.tensor([[0.75], [0.25]], dtype=torch.float64).expand(2, 308)
    emulator = ensemble_emulator(members, weights)
    with torch.no_grad():
        a, b = (m.module.normalized_forward(host_rows)[0].double() for m in members)
        rows, spread = emulator.normalized_forward(host_rows)
    # one normalization: the members' rows are in the ensemble's own units but for float64 rounding
    torch.testing.assert_close(rows, 0.75 * a + 0.25 * b, rtol=1e-12, atol=1e-12)
    expected = (0.75 * 0.25) ** 0.5 * (a - b).abs()  # the standard deviation of two values
    torch.testing.assert_close(spread, expected, rtol=1e-9, atol=1e-9)
    assert float(expected.max()) > 0.1


def test_one_member_of_weight_one_is_that_member_to_the_rounding(
    members: tuple[Member, ...], host_rows: torch.Tensor
) -> None:
    weights = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, 308)
    emulator = ensemble_emulator(members, weights)
    with torch.no_grad():
        got, alone = emulator(host_rows), members[1].module(host_rows)
    assert _difference(members[1].package, got, alone) < ROUNDING
    assert float(got[:, 368:].abs().max()) == 0.0  # no spread


@pytest.mark.long
def test_members_may_read_and_scale_otherwise(
    pair: Pair,
    unet_package: EmulatorPackage,
    linear_source: ExportSource,
    export_linear: Export,
    host_rows: torch.Tensor,
    tmp_path: Path,
) -> None:
    # Another architecture, and one whose outputs are in other units: its physical outputs count.
    emulator = copy.deepcopy(linear_source.emulator)
    emulator.normalization.output_scale *= 3.0
    emulator.normalization.output_mean += emulator.normalization.output_scale
    scaled = export_linear(tmp_path / "scaled.pt", 3, emulator=emulator)
    members = read_members([pair[0], unet_package, scaled])
    combined = ensemble_emulator(members, equal_weights(members))
    with torch.no_grad():
        physical = []
        for m in members:
            rows, _ = m.module.normalized_forward(host_rows)
            physical.append(torch.cat(list(m.module.physical_outputs(rows).values()), dim=1))
        first = linear_source.emulator
        mean = (torch.stack(physical).mean(dim=0) - first.normalization.output_mean) / (
            first.normalization.output_scale
        )
        expected = first.constrain(host_rows, mean).float()
        got = combined(host_rows)
    assert _difference(pair[0], got, expected) < ROUNDING


def test_five_routes_and_the_record(mean_package: EmulatorPackage, pair: Pair) -> None:
    result = verify(mean_package)
    assert result.passed
    assert result.same_bits
    assert {r.route for r in result.routes if r.passed is not False} == {
        "python_eager",
        "torchscript",
        "pybind",
        "c",
        "fortran_mpi",
    }
    m = mean_package.manifest
    assert m.architecture is not None
    assert m.architecture.name == "ensemble_mean"
    assert m.architecture.trainable_parameters == sum(
        p.manifest.architecture.trainable_parameters for p in pair if p.manifest.architecture
    )
    assert (m.n_output, m.n_value, m.has_confidence) == (368 + 308, 368, True)
    recorded = m.provenance.training["ensemble"]["members"]
    assert [(r["name"], r["sha256"], r["weight"], r["seed"]) for r in recorded] == [
        ("linear_1", pair[0].digest, 0.5, 7),
        ("linear_2", pair[1].digest, 0.5, 7),
    ]


@pytest.mark.long
def test_it_is_evaluated_and_inspected_as_any_package(
    mean_package: EmulatorPackage, synthetic_store: ColumnStore
) -> None:
    found = climlink.evaluate(climlink.open(mean_package.path), synthetic_store, split="test")
    assert found.summary.rows == 24
    assert found.summary.metrics["confidence.crps.ptend_t"] is not None
    # every spread is above zero, so it is read as one
    assert found.summary.metrics["confidence.not_positive"] == 0.0
    shown = CliRunner().invoke(app, ["inspect", str(mean_package.path)])
    assert shown.exit_code == 0
    for told in ("ensemble_mean", "linear_1, weight 0.5, seed 7", "linear_2, weight 0.5"):
        assert told in shown.stdout


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"time_step_s": 600.0}, "time step in s is 600.0, not 1200.0"),
        ({"pruned_levels": 12}, "pruned levels is 12, not 15"),
        ({"calendar": "gregorian"}, "calendar is gregorian, not noleap"),
        (
            {"constraints": [ConstraintEntry(name="liquid_ice_partition")]},
            "its constraints are liquid_ice_partition, not prune",
        ),
    ],
)
def test_members_of_another_contract_are_named_with_the_difference(
    changes: dict[str, object],
    told: str,
    pair: Pair,
    altered: Callable[..., EmulatorPackage],
) -> None:
    other = altered(pair[1], **changes)
    with pytest.raises(EnsembleError, match=r"b\.pt\) has another contract than .*a\.pt") as error:
        read_members([pair[0], other])
    assert told in str(error.value)


def test_members_on_another_grid_or_of_other_network_outputs_are_refused(
    pair: Pair, altered: Callable[..., EmulatorPackage]
) -> None:
    m = pair[1].manifest
    assert m.hybrid is not None
    assert m.network_outputs is not None
    grid = m.hybrid.model_copy(update={"p0_pa": 101325.0})
    with pytest.raises(EnsembleError, match="vertical grid"):
        read_members([pair[0], altered(pair[1], hybrid=grid)])
    swapped = VariableSet.from_layout(m.network_outputs, m.dims)
    first, second, *others = swapped.variables
    order = VariableSet("swapped", (second, first, *others), swapped.sizes).layout()
    with pytest.raises(EnsembleError, match=r"another order \(swapped\): number 1 is ptend_q0001"):
        read_members([pair[0], altered(pair[1], network_outputs=order)])


def test_members_of_other_inputs_are_refused(
    pair: Pair, altered: Callable[..., EmulatorPackage]
) -> None:
    inputs = variable_set("host_v2_rh").layout()
    with pytest.raises(EnsembleError, match=r"lack state_q0001 and have state_rh besides"):
        read_members([pair[0], altered(pair[1], inputs=inputs)])


def test_one_member_twins_and_ensembles_are_refused(
    pair: Pair, mean_package: EmulatorPackage, tmp_path: Path
) -> None:
    with pytest.raises(EnsembleError, match="at least two members, got 1"):
        read_members(pair[:1])
    copied = tmp_path / "copy.pt"
    copied.write_bytes(pair[0].path.read_bytes())
    with pytest.raises(EnsembleError, match="give each member once"):
        read_members([pair[0], copied])
    with pytest.raises(EnsembleError, match="is an ensemble itself"):
        read_members([pair[0], mean_package])


def test_weights_that_are_none_are_refused(members: tuple[Member, ...]) -> None:
    half = equal_weights(members)
    for bad in (half[:1], half * 2.0, half * torch.tensor([[3.0], [-1.0]]), half * np.nan):
        with pytest.raises(EnsembleError, match="weights must be"):
            ensemble_emulator(members, bad)


def test_the_range_of_an_ensemble_is_what_all_members_have_seen(
    pair: Pair, altered: Callable[..., EmulatorPackage], tmp_path: Path
) -> None:
    spread = TrainingDistribution(probabilities=[0.5], quantiles={"state_ps": [[9e4]]})

    def members(*ranges: tuple[float, float]) -> tuple[Member, ...]:
        return read_members(
            [
                altered(
                    p,
                    training_ranges={"state_ps": [[low], [high]]},
                    training_distribution=spread,
                )
                for p, (low, high) in zip(pair, ranges, strict=True)
            ]
        )

    path = tmp_path / "c.pt"
    together = members((5e4, 1e5), (6e4, 1.1e5))
    made = write_ensemble(together, equal_weights(together), path, name="c")
    assert made.manifest.training_ranges == {"state_ps": [[6e4], [1e5]]}
    assert made.manifest.training_distribution == spread  # that of both
    apart = members((5e4, 1e5), (1.2e5, 1.3e5))
    with pytest.raises(EnsembleError, match="no range of state_ps in common"):
        write_ensemble(apart, equal_weights(apart), path, name="c")
    assert EmulatorPackage.read(path).digest == made.digest  # what stood there is unchanged


def test_the_command_line(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "wrap_model.pt"
    paths = [str(p.path) for p in pair]
    run = CliRunner().invoke(app, ["ensemble", "mean", *paths, "-o", str(out), "--weights", "3,1"])
    assert run.exit_code == 0, run.output
    recorded = EmulatorPackage.read(out).manifest.provenance.training["ensemble"]["members"]
    assert [m["weight"] for m in recorded] == [0.75, 0.25]
    for wrong in ("3", "1,-1", "0,0", "a,b"):
        bad = CliRunner().invoke(app, ["ensemble", "mean", *paths, "--weights", wrong])
        assert bad.exit_code != 0
    assert json.dumps(climlink.open(out).inspect())


@pytest.mark.long
def test_five_routes_of_members_of_two_architectures(
    pair: Pair, unet_package: EmulatorPackage, tmp_path: Path
) -> None:
    members = read_members([*pair, unet_package])
    weights = torch.tensor([[0.5], [0.3], [0.2]], dtype=torch.float64).expand(3, 308)
    made = write_ensemble(members, weights, tmp_path / "three.pt", name="three")
    assert verify(made).passed
