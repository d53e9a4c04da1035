"""What the published networks were fed, number by number: the published formulas in plain numpy on
the published files against climlink's normalization with its options for the original behaviour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from climlink.data.published import read_published
from climlink.wrappers.derived import NetworkFields
from climlink.wrappers.manifest import NormalizationConfig
from climlink.wrappers.normalization import Normalization
from climlink.wrappers.variable_sets import VariableSet, variable_set
from climlink.wrappers.vertical import HybridCoordinate

Array = NDArray[np.float64]
Fields = dict[str, Array]

ORIGINAL = {"fill_policy": "published", "nonfinite_policy": "zero"}
PRUNED = 15  # the published input pruning of cloud, strato_lev
ENCODED = ("state_t", "state_rh", "state_qn", "state_u", "state_v", "pbuf_ozone", "pbuf_CH4",
           "pbuf_N2O")  # fmt: skip


def _read(path: Path) -> Fields:
    with netCDF4.Dataset(path) as d:
        return {
            n: np.atleast_1d(np.asarray(v[:], dtype=np.float64)) for n, v in d.variables.items()
        }


def _liquid(t: Array) -> Array:
    c = [6.11239921, 0.443987641, 0.142986287e-1, 0.264847430e-3, 0.302950461e-5, 0.206739458e-7,
         0.640689451e-10, -0.952447341e-13, -0.976195544e-15]  # fmt: skip
    return 100.0 * np.polynomial.polynomial.polyval(np.maximum(-80.0, t - 273.16), c)


def _ice(t: Array) -> Array:
    c = [6.11147274, 0.503160820, 0.188439774e-1, 0.420895665e-3, 0.615021634e-5, 0.602588177e-7,
         0.385852041e-9, 0.146898966e-11, 0.252751365e-14]  # fmt: skip
    d = np.maximum(-100.0, t - 273.16)
    cold = 100.0 * (0.00763685 + d * (0.000151069 + d * 7.48215e-7))
    warm = 100.0 * np.polynomial.polynomial.polyval(t - 273.16, c)
    return np.where(t > 273.15, _liquid(t), np.where(t > 185.0, warm, cold))


def _columns(climsim_dir: Path) -> tuple[torch.Tensor, Fields, HybridCoordinate]:
    """Return host rows of a real snapshot, and what the published scripts made of the same float32
    values.
    """
    grid = _read(climsim_dir / "ClimSim_low-res_grid-info.nc")
    parts = (tuple(grid[n].tolist()) for n in ("hyam", "hybm", "hyai", "hybi"))
    hybrid = HybridCoordinate(float(grid["P0"][0]), *parts)
    raw = _read(sorted(climsim_dir.glob("train/*/E3SM-MMF.mli.*.nc"))[3])
    host = variable_set("host_v2_q")
    single = {n: np.ascontiguousarray(raw[n].T).astype(np.float32) for n in host.names}
    rows = host.pack({n: torch.from_numpy(v) for n, v in single.items()})
    x = {n: v.astype(np.float64).reshape(len(rows), -1) for n, v in single.items()}
    share = np.clip((x["state_t"] - 253.16) / 20.0, 0.0, 1.0)
    saturation = share * _liquid(x["state_t"]) + (1.0 - share) * _ice(x["state_t"])
    pressure = grid["P0"] * grid["hyam"] + x["state_ps"] * grid["hybm"]
    x["state_rh"] = 461.0 * pressure * x["state_q0001"] / (287.0 * saturation)
    x["state_qn"] = x["state_q0002"] + x["state_q0003"]
    x["liq_partition"] = share
    return rows, x, hybrid


def _range_formula(s: VariableSet, x: Fields, folder: Path, version: str) -> Array:
    """Return the published inputs of the standard, confidence, difference and v6 networks."""
    mean, low, high = (
        _read(folder / "inputs" / f"input_{m}_{version}_pervar.nc") for m in ("mean", "min", "max")
    )
    lam = np.loadtxt(folder / "inputs" / "qn_exp_lambda_large.txt", delimiter=",").ravel()
    parts = []
    for n in s.names:
        value = 1.0 - np.exp(-lam * x[n]) if n == "state_qn" else x[n]
        with np.errstate(all="ignore"):
            z = (value - mean[n]) / (high[n] - low[n])
        z = np.where(np.isfinite(z), z, 0.0)
        if n == "state_qn":
            z[:, :PRUNED] = 0.0
        parts.append(np.clip(z, 0.0, 1.2) if n == "state_rh" else z)
    return np.concatenate(parts, axis=1)


def _normalization(
    network: str, folder: Path, which: str, **choices: Any
) -> tuple[VariableSet, Normalization]:
    s = variable_set(network)
    config = NormalizationConfig(**{**ORIGINAL, **choices})
    statistics = read_published(folder, which)
    return s, Normalization(s, variable_set("net308"), config, PRUNED).fit(statistics)


def _same(got: torch.Tensor, expected: Array, s: VariableSet) -> None:
    """Compare normalized rows; float32 inputs and outputs leave some 1e-7 of the magnitude before
    the centre is subtracted, of which a few spreads are far smaller.
    """
    for n in s.names:
        np.testing.assert_allclose(
            got[:, s.slice(n)].numpy(), expected[:, s.slice(n)], rtol=1e-5, atol=2e-6, err_msg=n
        )


def test_standard_inputs_of_real_columns(climsim_dir: Path) -> None:
    folder = climsim_dir / "normalization"
    rows, x, hybrid = _columns(climsim_dir)
    s, normalization = _normalization("net_v2_mc", folder, "v2_rh_mc", scheme="range")
    got = normalization(NetworkFields(variable_set("host_v2_q"), s, hybrid)(rows))
    expected = _range_formula(s, x, folder, "v2_rh_mc")
    assert np.abs(expected[:, s.slice("state_rh")]).max() == pytest.approx(1.2)
    _same(got, expected, s)


def test_expanded_inputs_are_neither_clipped_nor_hidden(climsim_dir: Path) -> None:
    """Inputs of earlier steps, up to thirty published spreads, on every level."""
    folder = climsim_dir / "normalization"
    s, normalization = _normalization(
        "net_v6_mc", folder, "v6", scheme="range", lagged_clip="published"
    )
    mean, low, high = (
        _read(folder / "inputs" / f"input_{m}_v6_pervar.nc") for m in ("mean", "min", "max")
    )
    rng = np.random.default_rng(0)
    x = {
        n: mean[n] + (high[n] - low[n]) * 10.0 * rng.normal(size=(64, s.width_of(n)))
        for n in s.names
    }
    x["state_qn"] = 10.0 ** rng.uniform(-12, -3, (64, 60)) * (rng.random((64, 60)) < 0.7)
    x["cam_in_SNOWHICE"] = np.where(rng.random((64, 1)) < 0.5, 1e30, 0.3)
    x["state_t_dyn"][0, 20] = np.nan
    rows = s.pack({n: torch.from_numpy(v) for n, v in x.items()})
    expected = _range_formula(s, x, folder, "v6")
    _same(normalization(rows), expected, s)
    top = expected[:, s.slice("state_q0001_prvphy")][:, :PRUNED]
    assert np.abs(top).max() > 10.0
    _, fixed = _normalization("net_v6_mc", folder, "v6", scheme="range")
    assert not fixed(rows)[:, s.slice("state_q0001_prvphy")][:, :PRUNED].any()


def _three_encodings(x: Fields, folder: Path) -> Array:
    """Return the published inputs of the multi-representation networks."""
    level_sub, level_div, whole_sub, whole_div, anchor = (
        _read(folder / "inputs" / "multirepresentation" / f"{n}.nc")
        for n in ("per_lev_sub", "per_lev_div", "per_col_sub", "per_col_div", "per_lev_min_norm")
    )

    def finite(z: Array) -> Array:
        return np.where(np.isfinite(z), z, 0.0)

    names = variable_set("net_v2_mc").names
    with np.errstate(all="ignore"):
        first = {n: finite((x[n] - level_sub[n]) / level_div[n]) for n in names}
        second = [finite((x[n] - whole_sub[n]) / whole_div[n]) for n in ENCODED]
        third = []
        for n in ENCODED:
            d = first[n] - anchor[n]
            third.append(finite(np.where(d >= 0.0, np.log(1.0 + d), -np.log(1.0 - d))))
    profiles = [first[n] for n in names if first[n].shape[1] == 60]
    scalars = [first[n] for n in names if first[n].shape[1] == 1]
    return np.concatenate([*profiles, *second, *third, *scalars], axis=1)


def test_three_encodings_of_real_columns(climsim_dir: Path) -> None:
    folder = climsim_dir / "normalization"
    rows, x, hybrid = _columns(climsim_dir)
    s, normalization = _normalization(
        "net_multirep", folder, "multirep", cloud_transform=False, log_anchor="published"
    )
    got = normalization(NetworkFields(variable_set("host_v2_q"), s, hybrid)(rows))
    _same(got, _three_encodings(x, folder), s)
    # The wind's logarithm is nearly constant: the defect.
    assert float(got[:, s.slice("state_v@log")].std(dim=0).median()) < 0.01
