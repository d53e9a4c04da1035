"""Weights and errors of drift against values by hand, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.online.drift import drift, weighted_rmse


def test_rmse_of_a_constant_is_the_constant() -> None:
    weights = np.array([[0.25, 0.25], [0.1, 0.4]])
    np.testing.assert_allclose(weighted_rmse(np.full((3, 2, 2), -2.0), weights), 2.0, rtol=1e-15)
    one = np.zeros((1, 2, 2))
    one[0, 1, 1] = 3.0
    assert weighted_rmse(one, weights)[0] == pytest.approx(np.sqrt(0.4 * 9.0), rel=1e-15)


def _history(run: Path, times: list[float], offset: float, n_column: int = 4) -> Path:
    (run / "history").mkdir(parents=True)
    shape = (len(times), 2, n_column)
    xr.Dataset(
        {
            "T": (("time", "lev", "ncol"), np.full(shape, 250.0 + offset)),
            "Q": (("time", "lev", "ncol"), np.full(shape, 1e-3 * (1.0 + offset))),
            "PS": (("time", "ncol"), np.full((len(times), n_column), 1e5)),
            "area": ("ncol", np.full(n_column, np.pi)),
            "hyai": ("ilev", [0.1, 0.0, 0.0]),
            "hybi": ("ilev", [0.0, 0.5, 1.0]),
            "P0": 1e5,
        },
        coords={"time": times},
    ).to_netcdf(run / "history" / "x.eam.h1.0001-01-01-00000.nc")
    return run


def test_drift_is_told_for_the_days_that_both_have(tmp_path: Path) -> None:
    found = drift(_history(tmp_path / "a", [51.0, 52.0], 0.5), _history(tmp_path / "b", [50.0, 51.0, 52.0, 53.0], 0.0))
    np.testing.assert_array_equal(found.days, [1.0, 2.0])
    np.testing.assert_allclose(found.temperature_k, 0.5, rtol=1e-12)
    np.testing.assert_allclose(found.humidity_kg_kg, 5e-4, rtol=1e-12)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    reference = _history(tmp_path / "reference", [1.0], 0.0)
    with pytest.raises(EvaluationError, match="no daily history"):
        drift(tmp_path / "none", reference)
    with pytest.raises(EvaluationError, match="no day in common"):
        drift(_history(tmp_path / "later", [2.0], 0.0), reference)
    with pytest.raises(EvaluationError, match="not on one grid"):
        drift(_history(tmp_path / "other", [1.0], 0.0, n_column=5), reference)
