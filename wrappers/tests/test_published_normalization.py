"""The range and multi-representation schemes on the published files: effective centres and spreads,
and the known defects.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch

from climlink.wrappers.manifest import NormalizationConfig
from climlink.wrappers.normalization import Normalization, output_scale
from climlink.wrappers.statistics import Statistics, VariableStatistics
from climlink.wrappers.variable_sets import variable_set

CLAIMED = {"pbuf_SOLIN": 1405.8, "pbuf_LHFLX": 1093.2, "pbuf_SHFLX": 871.7}
CENTRED = (
    "state_t state_u state_v pbuf_ozone state_ps cam_in_LWUP pbuf_COSZRS pbuf_TAUX pbuf_TAUY "
    "cam_in_ALDIF cam_in_ASDIR cam_in_SNOWHLAND"
)
POOLED = {"state_t": (247.14, 30.33), "state_rh": (0.4992, 0.3916),
          "state_qn": (1.092e-5, 2.707e-5), "state_u": (9.04, 19.08), "state_v": (-0.0187, 7.162),
          "pbuf_ozone": (1.96e-6, 3.93e-6), "pbuf_CH4": (8.23e-7, 2.93e-7),
          "pbuf_N2O": (3.88e-7, 1.64e-7)}  # fmt: skip


def read(path: Path) -> dict[str, np.ndarray]:
    with netCDF4.Dataset(path) as d:
        return {
            n: np.atleast_1d(np.asarray(v[:], dtype=np.float64))
            for n, v in d.variables.items()
            if n != "lev"
        }


@pytest.fixture(scope="module")
def files(climsim_dir: Path) -> dict[str, dict[str, np.ndarray]]:
    folder = climsim_dir / "normalization"
    names = {k: f"inputs/input_{k}_v6_pervar.nc" for k in ("mean", "min", "max")}
    names |= {
        k: f"inputs/multirepresentation/{k}.nc"
        for k in ("per_lev_sub", "per_lev_div", "per_col_sub", "per_col_div", "per_lev_min_norm")
    }
    names |= {
        "scale": "outputs/output_scale_std_lowerthred_v2_rh_mc.nc",
        "free_scale": "outputs/output_scale_std_nopenalty.nc",
    }
    read_files = {k: read(folder / v) for k, v in names.items()}
    read_files["lambda"] = {
        "state_qn": np.loadtxt(folder / "inputs" / "qn_exp_lambda_large.txt", delimiter=",").ravel()
    }
    return read_files


def statistics_of(files: dict[str, dict[str, np.ndarray]], means: str) -> Statistics:
    """Return statistics as the published files give them; what they do not give is NaN.

    The two sets of means were taken over different samples and differ by up to 2e-4.
    """
    entries = {}
    for name in {*files["mean"], *files["scale"]}:
        shape = files["mean"].get(name, files["scale"].get(name)).shape
        nothing = np.full(shape, np.nan)
        std = files["per_lev_div"].get(name, nothing)
        mean = files[means].get(name, nothing)
        if name in files["scale"]:
            std = 1.0 / files["scale"][name]
        if name.removeprefix("tm_").endswith("_prvphy"):
            std = (
                1.0
                / files["free_scale"][
                    "ptend_"
                    + name.removeprefix("tm_").removeprefix("state_").removesuffix("_prvphy")
                ]
            )
        entries[name] = VariableStatistics(
            *(
                torch.from_numpy(np.array(x))
                for x in (
                    mean,
                    std,
                    files["min"].get(name, nothing),
                    files["max"].get(name, nothing),
                )
            )
        )
    return Statistics(
        entries,
        {"state_qn": torch.from_numpy(files["lambda"]["state_qn"])},
        source="the published files",
    )


@pytest.fixture(scope="module")
def published(files) -> Statistics:
    return statistics_of(files, "mean")


@pytest.fixture(scope="module")
def published_levels(files) -> Statistics:
    return statistics_of(files, "per_lev_sub")


def fitted(network: str, published: Statistics, **choices) -> Normalization:
    return Normalization(
        variable_set(network), variable_set("net308"), NormalizationConfig(**choices), 15
    ).fit(published)


def test_effective_centre_and_spread_are_the_published_table(files, published) -> None:
    s, n = (
        variable_set("net_v6_mc"),
        fitted("net_v6_mc", published, scheme="range", lagged_clip="none"),
    )
    subtract, gain = n.subtract.numpy(), n.gain.numpy()
    for name in CENTRED.split():
        span = files["max"][name] - files["min"][name]
        np.testing.assert_allclose(
            subtract[s.slice(name)], files["mean"][name], rtol=1e-4, atol=1e-12, err_msg=name
        )
        np.testing.assert_allclose(gain[s.slice(name)], 1.0 / span, rtol=1e-12, err_msg=name)
    for name, span in CLAIMED.items():
        assert subtract[s.slice(name)] == 0.0
        assert 1.0 / gain[s.slice(name)][0] == pytest.approx(span, rel=1e-4)
    for name in (
        "state_rh",
        "liq_partition",
        "state_qn",
        "cam_in_ICEFRAC",
        "cam_in_LANDFRAC",
        "cam_in_OCNFRAC",
        "clat",
        "slat",
    ):
        assert not subtract[s.slice(name)].any()
        assert (gain[s.slice(name)] == 1.0).all()
    for name in ("state_t_dyn", "tm_state_q0_dyn", "state_u_dyn"):
        assert not subtract[s.slice(name)].any()
        np.testing.assert_allclose(
            gain[s.slice(name)], 1.0 / (files["max"][name] - files["min"][name]), rtol=1e-12
        )
    assert not subtract[s.slice("state_qn_prvphy")].any()
    np.testing.assert_allclose(1.0 / gain[s.slice("state_qn_prvphy")][:11], 1e-12, rtol=1e-4)
    np.testing.assert_allclose(1.0 / gain[s.slice("state_u_prvphy")][:11], 2e-7, rtol=1e-4)


def test_gases_that_do_not_vary_enter_as_zero(published) -> None:
    s, n = variable_set("net_v2_mc"), fitted("net_v2_mc", published, scheme="range")
    rows = torch.full((1, 557), 1e-6, dtype=torch.float64)
    for name in ("pbuf_CH4", "pbuf_N2O"):
        got = n(rows)[:, s.slice(name)]
        assert not got[:, 27:].any()
        assert got[:, :27].all()


def test_snow_fill_constants_are_those_of_the_files(files, published) -> None:
    s = variable_set("net_v2_mc")
    n = fitted("net_v2_mc", published, scheme="range", fill_policy="published")
    at = s.offset("cam_in_SNOWHICE")
    assert float(n.subtract[at]) == pytest.approx(
        float(files["mean"]["cam_in_SNOWHICE"][0]), rel=1e-4
    )
    assert 1.0 / float(n.gain[at]) == pytest.approx(
        float((files["max"]["cam_in_SNOWHICE"] - files["min"]["cam_in_SNOWHICE"])[0]), rel=1e-4
    )


def test_cloud_lambda_is_the_files_own(files, published) -> None:
    lam = (
        fitted("net_v2_mc", published, scheme="range")
        .cloud_lambda[variable_set("net_v2_mc").slice("state_qn")]
        .numpy()
    )
    assert np.array_equal(lam, files["lambda"]["state_qn"])
    assert (lam[:11] == 1e7).all()
    assert lam.min() == pytest.approx(2.78e4, rel=1e-2)


def test_output_scale_equals_the_published_one(files, published) -> None:
    outputs = variable_set("net308")
    scale = outputs.unpack(output_scale(outputs, published)[None])
    for name in outputs.names:
        np.testing.assert_allclose(
            1.0 / scale[name][0].numpy().ravel(), files["scale"][name], rtol=1e-6, err_msg=name
        )
    # Floored levels as the reference lists them.
    np.testing.assert_allclose(scale["ptend_q0001"][0, :21].numpy(), 3e-10, rtol=1e-6)
    np.testing.assert_allclose(scale["ptend_u"][0, :14].numpy(), 1e-6, rtol=1e-6)


def test_raw_standard_deviations_get_the_same_floors(files, published) -> None:
    """From the file with the small floors climlink's own floors give the file with the large
    ones.
    """
    free = {
        n: VariableStatistics(*[1.0 / torch.from_numpy(v)] * 4)
        for n, v in files["free_scale"].items()
    }
    outputs = variable_set("net308")
    scale = outputs.unpack(output_scale(outputs, Statistics(free, {}, source="nopenalty"))[None])
    for name in ("ptend_q0001", "ptend_qn", "ptend_u", "ptend_v", "ptend_t"):
        np.testing.assert_allclose(
            1.0 / scale[name][0].numpy(), files["scale"][name], rtol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("name", POOLED)
def test_per_variable_representation_against_the_published_numbers(
    files, published_levels, name: str
) -> None:
    """Pooling the per-level moments gives the published one-number-per-variable moments."""
    s, n = (
        variable_set("net_multirep"),
        fitted("net_multirep", published_levels, cloud_transform=False),
    )
    where = s.slice(f"{name}@variable")
    mean, std = POOLED[name]
    assert float(n.subtract[where][0]) == pytest.approx(mean, rel=5e-3)
    assert 1.0 / float(n.gain[where][0]) == pytest.approx(std, rel=5e-3)
    assert float(n.subtract[where][0]) == pytest.approx(
        float(files["per_col_sub"][name][0]), rel=1e-3
    )
    assert 1.0 / float(n.gain[where][0]) == pytest.approx(
        float(files["per_col_div"][name][0]), rel=1e-3
    )


def test_log_anchor_is_the_minimum_and_not_the_published_defect(files, published_levels) -> None:
    """The published anchor divides by the mean instead of the standard deviation: for wind it
    reaches -1.5e4.
    """
    s, n = (
        variable_set("net_multirep"),
        fitted("net_multirep", published_levels, cloud_transform=False),
    )
    for name in ("state_t", "state_u", "state_v"):
        anchor = n.log_anchor[s.slice(f"{name}@log")].numpy()
        expected = (files["min"][name] - files["per_lev_sub"][name]) / files["per_lev_div"][name]
        np.testing.assert_allclose(anchor, expected, rtol=1e-9)
        assert (anchor < 0.0).all()
        assert (anchor > -40.0).all()
    assert files["per_lev_min_norm"]["state_v"].min() < -1e4


def test_the_published_anchor_is_the_extreme_over_the_mean(files, published_levels) -> None:
    """The defect's formula gives the file: exactly where both took the same sample (cloud, ozone),
    on the median level elsewhere. Where the mean is negative, the largest value was taken.
    """
    s = variable_set("net_multirep")
    n = fitted("net_multirep", published_levels, cloud_transform=False, log_anchor="published")
    file = files["per_lev_min_norm"]
    for name in ("state_qn", "pbuf_ozone"):
        anchor = n.log_anchor[s.slice(f"{name}@log")].numpy()
        np.testing.assert_allclose(anchor, file[name], rtol=1e-6, err_msg=name)
    for name in ("state_t", "state_u", "state_v"):
        anchor = n.log_anchor[s.slice(f"{name}@log")].numpy()
        assert np.median(np.abs(anchor / file[name] - 1.0)) < 1e-3, name
    negative = files["per_lev_sub"]["state_v"] < 0.0
    assert negative.sum() == 34
    anchor = n.log_anchor[s.slice("state_v@log")].numpy()[negative]
    mean = files["per_lev_sub"]["state_v"][negative]
    np.testing.assert_allclose(anchor, (files["max"]["state_v"][negative] - mean) / mean)


def test_the_published_numbers_are_taken_where_the_statistics_hold_them(
    files, published_levels
) -> None:
    def entry(value: np.ndarray) -> VariableStatistics:
        return VariableStatistics(*[torch.from_numpy(value.copy())] * 4)

    given = {
        **published_levels.variables,
        "state_v@log": entry(files["per_lev_min_norm"]["state_v"]),
    }
    given["state_t@variable"] = entry(np.full(60, 30.33))
    statistics = Statistics(given, {}, source="files")
    s = variable_set("net_multirep")
    for choice, taken in (("published", True), ("minimum", False)):
        n = fitted("net_multirep", statistics, cloud_transform=False, log_anchor=choice)
        anchor = n.log_anchor[s.slice("state_v@log")].numpy()
        assert np.array_equal(anchor, files["per_lev_min_norm"]["state_v"]) == taken
        assert float(n.subtract[s.slice("state_t@variable")][0]) == 30.33
