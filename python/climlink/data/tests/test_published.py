"""The published normalization files through our reader, against the effective sub/div table known
from the published networks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from climlink.data.errors import DataError
from climlink.data.published import PUBLISHED_NAMES, read_published
from climlink.wrappers.statistics import Statistics
from climlink.wrappers.variable_sets import variable_set


def sub_div(statistics: Statistics, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    entry = statistics[name]
    return entry.mean, entry.maximum - entry.minimum


UNSCALED = [
    "state_rh",
    "liq_partition",
    "state_qn",
    "cam_in_ICEFRAC",
    "cam_in_LANDFRAC",
    "cam_in_OCNFRAC",
    "clat",
    "slat",
]


@pytest.mark.parametrize("which", ["v2_rh_mc", "v6"])
def test_effective_sub_and_div(climsim_dir: Path, which: str) -> None:
    published = read_published(climsim_dir / "normalization", which)
    for name in UNSCALED:
        sub, div = sub_div(published, name)
        assert (sub == 0).all()
        assert (div == 1).all()
    for name, expected in (("pbuf_SOLIN", 1405.8), ("pbuf_LHFLX", 1093.2), ("pbuf_SHFLX", 871.7)):
        sub, div = sub_div(published, name)
        assert sub.item() == 0
        assert div.item() == pytest.approx(expected, abs=0.06)
    sub, div = sub_div(published, "cam_in_SNOWHICE")
    assert sub.item() == pytest.approx(8.8664e29, rel=1e-4)
    assert div.item() == 1e30
    assert published["state_t"].maximum[:2].tolist() == pytest.approx([1321, 399], abs=1)


def test_66_inputs_have_no_spread(climsim_dir: Path) -> None:
    published = read_published(climsim_dir / "normalization")
    flat = {
        n: np.flatnonzero((sub_div(published, n)[1] == 0).numpy())
        for n in variable_set("net_v2_mc").names
    }
    assert {n: levels.tolist() for n, levels in flat.items() if levels.size} == {
        n: list(range(27, 60)) for n in ("pbuf_CH4", "pbuf_N2O")
    }
    assert sum(levels.size for levels in flat.values()) == 66


def test_lagged_inputs_of_v6(climsim_dir: Path) -> None:
    published = read_published(climsim_dir / "normalization", "v6")
    ranges = {"state_t_dyn": (7.6e-4, 0.126), "state_q0_dyn": (6.6e-12, 1.7e-6)}
    for name, (low, high) in ranges.items():
        sub, div = sub_div(published, name)
        assert (sub == 0).all()
        assert (div.min().item(), div.max().item()) == pytest.approx((low, high), rel=0.2)
    for name, floor in (
        ("state_q0001_prvphy", 1e-12),
        ("state_qn_prvphy", 1e-12),
        ("state_u_prvphy", 2e-7),
    ):
        sub, div = sub_div(published, name)
        assert (sub == 0).all()
        assert div.min().item() == pytest.approx(floor)


def test_shared_variables_are_identical(climsim_dir: Path) -> None:
    folder = climsim_dir / "normalization"
    one = read_published(folder, "v2_rh_mc")
    for other in (
        read_published(folder, "v5"),
        read_published(folder, "v6"),
        read_published(folder, "v7"),
    ):
        for name in set(one.variables) & set(other.variables):
            for moment in ("mean", "std", "minimum", "maximum"):
                torch.testing.assert_close(
                    getattr(one[name], moment),
                    getattr(other[name], moment),
                    rtol=1e-12,
                    atol=0,
                    equal_nan=True,
                )


def test_output_floors(climsim_dir: Path) -> None:
    published = read_published(climsim_dir / "normalization")
    for name, floor, last in (
        ("ptend_q0001", 3e-10, 20),
        ("ptend_qn", 3e-10, 16),
        ("ptend_u", 1e-6, 13),
    ):
        std = published[name].std
        at_floor = np.flatnonzero(np.isclose(std.numpy(), floor, rtol=1e-9, atol=0))
        assert at_floor.tolist() == list(range(last + 1))
    assert not published["ptend_t"].has("mean")
    published.require(variable_set("net308").names, ["std"])


def test_lambda_files(climsim_dir: Path) -> None:
    values = read_published(climsim_dir / "normalization").cloud_lambda["state_qn"]
    assert values.shape == (60,)
    assert (values[:11] == 1e7).all()
    assert values.min().item() == pytest.approx(2.78e4, rel=0.01)


def test_original_files_have_standard_deviations(climsim_dir: Path) -> None:
    published = read_published(climsim_dir / "normalization", "original")
    published.require(variable_set("host_v2_q").names)


def test_multirepresentation(climsim_dir: Path) -> None:
    published = read_published(climsim_dir / "normalization", "multirep")
    assert {v.base_name for v in variable_set("net_multirep").variables} <= set(published.variables)
    assert {v.name for v in variable_set("net_multirep").variables} <= set(published.variables)
    expected = {
        "state_t": (247.14, 30.33),
        "state_rh": (0.4992, 0.3916),
        "state_u": (9.04, 19.08),
        "pbuf_ozone": (1.96e-6, 3.93e-6),
    }
    for name, (mean, std) in expected.items():
        entry = published[f"{name}@variable"]
        assert (entry.mean[0].item(), entry.std[0].item()) == pytest.approx((mean, std), rel=2e-3)
        assert (entry.mean == entry.mean[0]).all()
    offset = published["state_t@log"].minimum
    assert offset.min().item() == pytest.approx(-0.44, abs=0.01)
    assert offset.max().item() == pytest.approx(-0.09, abs=0.01)


def test_unknown_name_and_missing_files(climsim_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="unknown published normalization 'v2_rh'; did you mean 'v2_rh_mc'"
    ):
        read_published(climsim_dir / "normalization", "v2_rh")
    for which in PUBLISHED_NAMES:
        with pytest.raises(DataError, match="cannot be read: No such file"):
            read_published(tmp_path, which)
