"""Features made in the graph, against numpy, on synthetic and on real columns."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch

from climlink.wrappers.derived import NetworkFields
from climlink.wrappers.errors import ContractError
from climlink.wrappers.features import BUOYANCY_LIMIT
from climlink.wrappers.input_scaling import FEATURE_LIMIT
from climlink.wrappers.manifest import NormalizationConfig
from climlink.wrappers.normalization import Normalization
from climlink.wrappers.statistics import Statistics, VariableStatistics
from climlink.wrappers.thermodynamics import saturation_pressure
from climlink.wrappers.variable_sets import VariableSet, variable_set, variable_set_names
from climlink.wrappers.variables import variable
from climlink.wrappers.vertical import HybridCoordinate


def _set(*names: str, level_count: int) -> VariableSet:
    return VariableSet("features", tuple(variable(n) for n in names), {"level": level_count})


def _fields(
    make, *names: str, batch: int = 5, **given: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return (features, host inputs) by name, float64, profiles [batch, level]; ``given`` are host
    inputs in place of random ones.
    """
    rows = make.rows(make.contract("host_v2_q", "net_v2_features"), batch)
    host, network = variable_set("host_v2_q", make.levels), _set(*names, level_count=make.levels)
    for name, values in given.items():
        rows[:, host.slice(name)] = torch.from_numpy(values).float()
    fields = NetworkFields(host, network, make.hybrid(make.levels))
    out = fields(rows)
    assert torch.equal(out, torch.jit.script(fields)(rows))
    return (  # type: ignore[return-value]
        {n: v.numpy() for n, v in s.unpack(r).items()}
        for s, r in ((network, out), (host, rows.double()))
    )


def test_logarithms_steps_and_flags_in_closed_form(make) -> None:
    names = (
        "state_q0002@log10",
        "cam_in_SNOWHLAND@log10",
        "state_t@step",
        "pbuf_COSZRS@not_positive",
        "cam_in_SNOWHICE@unfilled",
    )
    got, x = _fields(make, *names, batch=16)
    np.testing.assert_allclose(got[names[0]], np.log10(x["state_q0002"] + 1e-9), rtol=1e-14)
    np.testing.assert_allclose(
        got[names[1]], np.log10(np.maximum(x["cam_in_SNOWHLAND"], 0.0) + 1e-4), rtol=1e-14
    )
    np.testing.assert_array_equal(got[names[2]][:, 0], 0.0)
    np.testing.assert_allclose(got[names[2]][:, 1:], np.diff(x["state_t"], axis=1), rtol=1e-14)
    np.testing.assert_array_equal(got[names[3]], x["pbuf_COSZRS"] <= 0.0)
    assert (x["cam_in_SNOWHICE"] > 1e20).any()
    np.testing.assert_array_equal(
        got[names[4]], np.where(x["cam_in_SNOWHICE"] > 1e20, 0.0, x["cam_in_SNOWHICE"])
    )


def test_differences_of_two_levels_and_of_differences(make) -> None:
    names = ("state_t@step2", "state_q0002@step2", "state_t@second_step", "state_v@second_step")
    got, x = _fields(make, *names)
    for name in names:
        value = x[name.split("@")[0]]
        np.testing.assert_array_equal(got[name][:, :2], 0.0)
        expected = (
            value[:, 2:] - value[:, :-2] if name.endswith("step2") else np.diff(value, n=2, axis=1)
        )
        # an order of summation apart: some roundings of the largest value
        np.testing.assert_allclose(
            got[name][:, 2:], expected, rtol=1e-12, atol=1e-15 * np.abs(value).max()
        )


def test_gases_have_a_floor_of_their_own_in_the_logarithm(make) -> None:
    """The floor of water, 1e-9 kg/kg, would hide the methane and nitrous oxide of the upper levels,
    1.8e-10 and 3.7e-10 at least in ClimSim.
    """
    least = np.full((5, make.levels), 1.8e-10)
    names = ("pbuf_CH4@log10", "pbuf_N2O@log10", "pbuf_ozone@log10")
    got, x = _fields(make, *names, pbuf_CH4=least, pbuf_N2O=least * 2.0, pbuf_ozone=least * 0.0)
    np.testing.assert_allclose(got[names[0]], np.log10(x["pbuf_CH4"] + 1e-12), rtol=1e-14)
    np.testing.assert_allclose(got[names[1]] - got[names[0]], np.log10(2.0), rtol=0.01)
    np.testing.assert_array_equal(got[names[2]], -12.0)


def test_wind_speed_ice_fraction_and_saturation_pressure(make) -> None:
    got, x = _fields(make, "wind_speed", "ice_fraction", "saturation_pressure", batch=16)
    np.testing.assert_allclose(
        got["wind_speed"], np.sqrt(x["state_u"] ** 2 + x["state_v"] ** 2), rtol=1e-14
    )
    liquid, ice = x["state_q0002"], x["state_q0003"]
    clear = liquid + ice == 0.0
    assert clear.any()
    assert not clear.all()
    of_temperature = 1.0 - np.clip((x["state_t"] - 253.16) / 20.0, 0.0, 1.0)
    np.testing.assert_allclose(got["ice_fraction"][clear], of_temperature[clear], rtol=1e-14)
    there = ~clear
    np.testing.assert_allclose(
        got["ice_fraction"][there], (ice[there] / (liquid + ice)[there]), rtol=1e-14
    )
    np.testing.assert_array_equal(
        got["saturation_pressure"], saturation_pressure(torch.from_numpy(x["state_t"])).numpy()
    )
    assert np.ptp(got["saturation_pressure"]) > 1e3  # Pa, from ice aloft to liquid below


def test_ice_fraction_takes_negative_water_for_none(make) -> None:
    size = (5, make.levels)
    got, _ = _fields(
        make, "ice_fraction", state_q0002=np.full(size, -1e-9), state_q0003=np.full(size, 1e-9)
    )
    np.testing.assert_array_equal(got["ice_fraction"], 1.0)


def test_normalized_heat_fluxes_in_closed_form(make) -> None:
    """A surface at 300 K under air at 297 K with 10 g/kg, one under warmer, moister air, and polar
    ice.
    """
    skin, air = np.array([300.0, 290.0, 240.0]), np.array([297.0, 295.0, 239.9])
    humidity, flux = np.array([0.010, 0.019, 2e-4]), np.array([120.0, -15.0, 3.0])
    last = np.ones((1, make.levels))
    got, x = _fields(
        make,
        "normalized_LHFLX",
        "normalized_SHFLX",
        batch=3,
        cam_in_LWUP=5.67e-8 * skin[:, None] ** 4,
        state_t=air[:, None] * last,
        state_q0001=humidity[:, None] * last,
        pbuf_LHFLX=flux[:, None],
        pbuf_SHFLX=flux[:, None] / 4.0,
    )
    hybrid = make.hybrid(make.levels)
    pressure = hybrid.p0_pa * hybrid.hyam[-1] + hybrid.hybm[-1] * x["state_ps"]
    vapour = saturation_pressure(torch.from_numpy(skin)).numpy()
    deficit = np.maximum(287.0 * vapour / (461.0 * pressure) - humidity, 1e-3)
    assert (deficit == 1e-3).tolist() == [False, True, True]
    # the surface temperature comes from a float32 flux: 6e-8 of it are 1e-6 of the deficit
    np.testing.assert_allclose(got["normalized_LHFLX"], flux / (2.501e6 * deficit), rtol=1e-5)
    contrast = np.array([3.0, 1.0, 1.0])
    np.testing.assert_allclose(
        got["normalized_SHFLX"], flux / 4.0 / (1004.64 * contrast), rtol=1e-5
    )


def _moist_static_energy(
    t: np.ndarray, q: np.ndarray, ps: np.ndarray, hybrid: HybridCoordinate
) -> tuple[np.ndarray, np.ndarray]:
    """Return moist static energy and its saturated value [column, level] in J/kg, by loops over
    levels from the ground up.
    """
    a, b = np.array(hybrid.hyai) * hybrid.p0_pa, np.array(hybrid.hybi)
    am, bm = np.array(hybrid.hyam) * hybrid.p0_pa, np.array(hybrid.hybm)
    edges, mid = a + b * ps[:, None], am + bm * ps[:, None]
    height = np.zeros_like(t)
    bottom = np.zeros(t.shape[0])
    for k in range(t.shape[1] - 1, -1, -1):
        virtual = t[:, k] * (1.0 + (28.966 / 18.016 - 1.0) * q[:, k])
        thickness = 287.04231 * virtual * (edges[:, k + 1] - edges[:, k]) / mid[:, k] / 9.80616
        height[:, k] = bottom + thickness / 2
        bottom += thickness
    saturated = np.minimum(
        287.0 * saturation_pressure(torch.from_numpy(t)).numpy() / (461.0 * mid), 0.05
    )
    dry = 1004.64 * t + 9.80616 * height
    return dry + 2.501e6 * q, dry + 2.501e6 * saturated


def test_static_energies_against_a_loop_over_levels(make) -> None:
    got, x = _fields(make, "moist_static_energy_excess", "parcel_buoyancy")
    moist, saturated = _moist_static_energy(
        x["state_t"], x["state_q0001"], x["state_ps"], make.hybrid(make.levels)
    )
    np.testing.assert_allclose(
        got["moist_static_energy_excess"], moist - moist[:, -1:], rtol=1e-10, atol=1e-4
    )
    expected = np.clip(moist[:, -1:] - saturated, -BUOYANCY_LIMIT, BUOYANCY_LIMIT)
    np.testing.assert_allclose(got["parcel_buoyancy"], expected, rtol=1e-10, atol=1e-4)


def _real_columns(
    climsim_dir: Path,
) -> tuple[VariableSet, torch.Tensor, HybridCoordinate, np.ndarray]:
    """Return (host set, host rows, vertical grid, latitude [column]) of a real snapshot."""
    with netCDF4.Dataset(climsim_dir / "ClimSim_low-res_grid-info.nc") as d:
        hybrid = HybridCoordinate(
            float(d["P0"][:]),
            *(tuple(d[n][:].filled().tolist()) for n in ("hyam", "hybm", "hyai", "hybi")),
        )
        latitude = np.asarray(d["lat"][:])
    host = variable_set("host_v2_q")
    with netCDF4.Dataset(sorted(climsim_dir.glob("train/*/E3SM-MMF.mli.*.nc"))[0]) as d:
        rows = host.pack(
            {
                n: torch.from_numpy(np.ascontiguousarray(np.asarray(d[n][:]).T)).float()
                for n in host.names
            }
        )
    return host, rows, hybrid, latitude


def test_real_tropical_air_is_buoyant_and_polar_air_is_not(climsim_dir: Path) -> None:
    """In deep convection regions surface air, lifted, is lighter than the mid-troposphere; over
    cold poles it is not.
    """
    host, rows, hybrid, latitude = _real_columns(climsim_dir)
    network = variable_set("net_v2_features")
    fields = network.unpack(NetworkFields(host, network, hybrid)(rows))
    assert all(bool(torch.isfinite(v).all()) for v in fields.values())
    buoyancy = fields["parcel_buoyancy"][:, 40:55].amax(dim=1).numpy()
    assert np.median(buoyancy[np.abs(latitude) < 10]) > 0.0
    assert np.median(buoyancy[np.abs(latitude) > 70]) < 0.0


def test_the_normalized_latent_heat_flux_is_wind_and_little_else(climsim_dir: Path) -> None:
    """Over open ocean the bulk formula leaves density times exchange coefficient (about 1.2e-3
    kg/m3) times wind speed: the rank of the flux follows the wind more than before, and the warmth
    of the surface less.
    """
    host, rows, hybrid, latitude = _real_columns(climsim_dir)
    network = _set("normalized_LHFLX", "wind_speed", level_count=60)
    got = network.unpack(NetworkFields(host, network, hybrid)(rows))
    x = {n: v.numpy() for n, v in host.unpack(rows).items()}
    ocean = (x["cam_in_OCNFRAC"] > 0.99) & (np.abs(latitude) < 60.0)
    wind, normalized = got["wind_speed"][:, -1].numpy()[ocean], got["normalized_LHFLX"].numpy()
    assert 1.1e-3 < np.median(normalized[ocean] / wind) < 1.4e-3

    def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
        ranks = [np.argsort(np.argsort(v)) for v in (a[ocean], b)]
        return float(np.corrcoef(ranks)[0, 1])

    flux, warmth = x["pbuf_LHFLX"], x["cam_in_LWUP"][ocean]
    assert rank_correlation(normalized, wind) > rank_correlation(flux, wind) + 0.2
    assert rank_correlation(normalized, warmth) < rank_correlation(flux, warmth) - 0.2


@pytest.mark.parametrize(
    "name", [n for n in variable_set_names("network_input") if n.startswith("net_leap")]
)
def test_the_winners_inputs_are_finite_on_real_columns(climsim_dir: Path, name: str) -> None:
    host, rows, hybrid, _ = _real_columns(climsim_dir)
    fields = NetworkFields(host, variable_set(name), hybrid)
    got = fields(rows)
    assert got.shape == (384, variable_set(name).width)
    assert got.dtype == torch.float64
    assert bool(torch.isfinite(got).all())
    assert torch.equal(torch.jit.script(fields)(rows), got)


def test_representations_that_make_no_sense_are_refused(make) -> None:
    host, hybrid = variable_set("host_v2_q", make.levels), make.hybrid(make.levels)
    for name, words in (
        ("state_t@log10", "log10 needs a variable in kg/kg or m"),
        ("state_ps@step", "a scalar has no step"),
        ("state_ps@second_step", "a scalar has no step"),
    ):
        with pytest.raises(ContractError, match=words):
            NetworkFields(host, _set(name, level_count=make.levels), hybrid)
    with pytest.raises(ContractError, match=r"unknown representation 'steps'.*'step'"):
        variable("state_t@steps")


def test_a_feature_is_normalized_by_its_own_statistics_and_clipped(make) -> None:
    inputs = _set("state_t", "state_t@step", "state_q0002@exponential", level_count=3)
    outputs = _set("ptend_t", level_count=3)

    def entry(mean: list[float], std: list[float]) -> VariableStatistics:
        m, s = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        return VariableStatistics(m, s, m - 3 * s, m + 3 * s)

    statistics = Statistics(
        {
            "state_t": entry([200.0, 250.0, 290.0], [5.0, 5.0, 5.0]),
            "state_t@step": entry([0.0, 2.0, 3.0], [0.0, 0.5, 2.0]),
            "state_q0002": entry([0.0, 1e-5, 1e-5], [0.0, 1e-5, 1e-5]),
            "ptend_t": entry([0.0] * 3, [1e-5] * 3),
        },
        {"state_q0002": torch.tensor([1e7, 1e5, 1e4], dtype=torch.float64)},
        source="numbers",
    )
    normalization = Normalization(inputs, outputs, NormalizationConfig(), pruned_levels=1).fit(
        statistics
    )
    rows = torch.tensor(
        [[205.0, 250.0, 285.0, 0.0, 2.5, 99.0, 1e-6, 1e-5, 1e-4]], dtype=torch.float64
    )
    got = normalization.normalize(rows)[0].tolist()
    assert got[:6] == pytest.approx([1.0, 0.0, -1.0, 0.0, 1.0, FEATURE_LIMIT])
    # the top level is pruned, the others follow the in-cloud mean
    assert got[6:] == pytest.approx([0.0, 1.0 - np.exp(-1.0), 1.0 - np.exp(-1.0)], rel=1e-6)
    del statistics.cloud_lambda["state_q0002"]
    with pytest.raises(ContractError, match="cloud lambda of state_q0002"):
        normalization.fit(statistics)


def test_a_feature_is_clipped_at_ten_standard_deviations_on_both_sides() -> None:
    inputs, outputs = _set("state_t@step", level_count=4), _set("ptend_t", level_count=4)
    mean, std = (torch.full((4,), value, dtype=torch.float64) for value in (3.0, 2.0))
    moments = VariableStatistics(mean, std, mean - std, mean + std)
    statistics = Statistics({"state_t@step": moments, "ptend_t": moments}, {}, source="numbers")
    config = NormalizationConfig()
    normalization = Normalization(inputs, outputs, config, pruned_levels=0).fit(statistics)
    rows = 3 + 2 * torch.tensor([[9.9, 10.1, -9.9, -10.1]], dtype=torch.float64)
    assert normalization.normalize(rows)[0].tolist() == pytest.approx([9.9, 10.0, -9.9, -10.0])
