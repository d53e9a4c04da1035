"""Derived fields against numpy, on synthetic and on real columns."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch

from climlink.wrappers.derived import NetworkFields, StateFields, field_module
from climlink.wrappers.errors import ContractError
from climlink.wrappers.thermodynamics import relative_humidity
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.variables import variable
from climlink.wrappers.vertical import HybridCoordinate, MidpointHeight, PressureLevels


def real_grid(folder: Path) -> HybridCoordinate:
    with netCDF4.Dataset(folder / "ClimSim_low-res_grid-info.nc") as d:
        return HybridCoordinate(
            float(d["P0"][:]),
            *(tuple(d[n][:].filled().tolist()) for n in ("hyam", "hybm", "hyai", "hybi")),
        )


def real_columns(folder: Path) -> dict[str, np.ndarray]:
    """Return one mli file as [column, level] and [column] arrays, float64."""
    path = sorted(folder.glob("train/*/E3SM-MMF.mli.*.nc"))[0]
    with netCDF4.Dataset(path) as d:
        return {
            n: np.ascontiguousarray(np.asarray(v[:]).T)
            for n, v in d.variables.items()
            if n.startswith(("state", "pbuf", "cam_in"))
        }


def test_pressure_is_the_files_own(climsim_dir: Path) -> None:
    columns = real_columns(climsim_dir)
    got = (
        PressureLevels(real_grid(climsim_dir))
        .midpoints(torch.from_numpy(columns["state_ps"]))
        .numpy()
    )
    assert np.max(np.abs(got / columns["state_pmid"] - 1.0)) <= 4.5e-16


def test_relative_humidity_in_the_graph_on_real_columns(climsim_dir: Path) -> None:
    """float32 host rows through the scripted fields against float64 on the same numbers: 1e-5 is
    the contract.
    """
    columns, grid = real_columns(climsim_dir), real_grid(climsim_dir)
    host, network = variable_set("host_v2_q"), variable_set("net_v2_mc")
    rows = host.pack({n: torch.from_numpy(columns[n]).float() for n in host.names})
    got = network.unpack(torch.jit.script(NetworkFields(host, network, grid))(rows))["state_rh"]
    t, q, ps = (
        columns[n].astype(np.float32).astype(np.float64)
        for n in ("state_t", "state_q0001", "state_ps")
    )
    pressure = grid.p0_pa * np.array(grid.hyam) + ps[:, None] * np.array(grid.hybm)
    expected = relative_humidity(*(torch.from_numpy(x) for x in (t, q, pressure)))
    assert 0.5 < float(expected.max()) < 3.0
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-12)
    unrounded = relative_humidity(
        *(torch.from_numpy(columns[n]) for n in ("state_t", "state_q0001", "state_pmid"))
    )
    np.testing.assert_allclose(got.numpy(), unrounded.numpy(), rtol=1e-5)


@pytest.mark.parametrize("version", ["v2", "v4", "v6"])
def test_hosts_that_send_q_or_rh_give_the_network_the_same_columns(make, version: str) -> None:
    network = variable_set("net_v6_mc" if version != "v2" else "net_v2_mc", make.levels)
    hybrid = make.hybrid(make.levels)
    with_q, with_rh = (
        variable_set(f"host_{version}_q", make.levels),
        variable_set(f"host_{version}_rh", make.levels),
    )
    rows = make.rows(make.contract(with_q.name, network.name), 6).double()
    rh = field_module(variable("state_rh"), with_q, hybrid)(rows)
    other = rows.clone()
    other[:, with_rh.slice("state_rh")] = rh
    from_q, from_rh = (
        NetworkFields(with_q, network, hybrid)(rows),
        NetworkFields(with_rh, network, hybrid)(other),
    )
    np.testing.assert_allclose(from_rh.numpy(), from_q.numpy(), rtol=1e-13)
    back = StateFields(["state_q0001"], with_rh, hybrid)(other)["state_q0001"]
    np.testing.assert_allclose(
        back.numpy(), rows[:, with_q.slice("state_q0001")].numpy(), rtol=1e-12
    )


def test_total_cloud_and_its_previous_tendencies_are_sums(make) -> None:
    host, network = variable_set("host_v6_q", make.levels), variable_set("net_v6_mc", make.levels)
    rows = make.rows(make.contract(host.name, network.name), 4)
    sent = {n: v.numpy().astype(np.float64) for n, v in host.unpack(rows).items()}
    got = {
        n: v.numpy()
        for n, v in network.unpack(
            NetworkFields(host, network, make.hybrid(make.levels))(rows)
        ).items()
    }
    for prefix, suffix in (("", ""), ("", "_prvphy"), ("tm_", "_prvphy")):
        total = sent[f"{prefix}state_q0002{suffix}"] + sent[f"{prefix}state_q0003{suffix}"]
        assert np.array_equal(got[f"{prefix}state_qn{suffix}"], total)
    assert np.array_equal(
        got["liq_partition"], np.clip((sent["state_t"] - 253.16) / 20.0, 0.0, 1.0)
    )
    for name in ("clat", "slat", "state_ps", "tm_state_q0_dyn", "pbuf_N2O"):
        assert np.array_equal(got[name], sent[name]), name


def test_representations_share_their_field(make) -> None:
    host, network = (
        variable_set("host_v2_q", make.levels),
        variable_set("net_multirep", make.levels),
    )
    got = network.unpack(
        NetworkFields(host, network, make.hybrid(make.levels))(make.rows(make.contract(), 3))
    )
    for name in (
        "state_t",
        "state_rh",
        "state_qn",
        "state_u",
        "state_v",
        "pbuf_ozone",
        "pbuf_CH4",
        "pbuf_N2O",
    ):
        assert torch.equal(got[name], got[f"{name}@variable"])
        assert torch.equal(got[name], got[f"{name}@log"])


def test_height_of_an_isothermal_dry_atmosphere(make) -> None:
    """z = R T/g ln(ps/p): the layer sum approaches it as the layers get thin."""
    hybrid = make.hybrid(400)
    ps = torch.tensor([1e5], dtype=torch.float64)
    got = MidpointHeight(hybrid)(
        torch.full((1, 400), 250.0, dtype=torch.float64),
        torch.zeros(1, 400, dtype=torch.float64),
        ps,
    ).numpy()[0]
    p = 1e5 * np.array(hybrid.hyam) + 1e5 * np.array(hybrid.hybm)
    expected = 287.0423 * 250.0 / 9.80616 * np.log(1e5 / p)
    low = p > 5e3
    np.testing.assert_allclose(got[low], expected[low], rtol=2e-3)


def test_fields_the_host_cannot_give_are_refused(make) -> None:
    hybrid = make.hybrid(60)
    short = VariableSet(
        "short", tuple(variable(n) for n in ("state_t", "state_q0001", "state_q0002"))
    )
    with pytest.raises(ContractError, match=r"'state_q0003' is not in set 'short'"):
        field_module(variable("state_qn"), short, hybrid)
    with pytest.raises(ContractError, match=r"'state_ps' is not in set 'short'"):
        field_module(variable("state_rh"), short, hybrid)
    with pytest.raises(ContractError, match="neither holds 'state_v' nor what it is derived from"):
        field_module(variable("state_v"), short, hybrid)
    with pytest.raises(ContractError, match=r"state_t_dyn"):
        NetworkFields(variable_set("host_v2_q"), variable_set("net_v6_mc"), hybrid)


def test_level_counts_must_agree(make) -> None:
    with pytest.raises(
        ContractError, match="'host_v2_q' has 60 levels, the hybrid coefficients have 59"
    ):
        NetworkFields(variable_set("host_v2_q"), variable_set("net_v2_mc"), make.hybrid(59))
    with pytest.raises(ContractError, match="hyam has 3 levels"):
        HybridCoordinate(1e5, (0.1,) * 3, (0.1,) * 3, (0.1,) * 3, (0.1,) * 4)


def test_coordinate_round_trip(make) -> None:
    hybrid = make.hybrid(7)
    assert HybridCoordinate.from_manifest(hybrid.entry()) == hybrid
