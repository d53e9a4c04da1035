"""Water of the whole globe at each time, and the fixer that a host may apply, against NumPy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import r2_score

from climlink.data.store import ColumnStore
from climlink.evaluation.offline.blocks import Block, Blocks
from climlink.evaluation.offline.conservation import column_budgets
from climlink.evaluation.offline.evaluate import offline_result
from climlink.evaluation.offline.global_water import (
    FACTORS,
    GlobalWaterMoments,
    covers_globe,
    fixer_factor,
)
from climlink.evaluation.offline.metrics import metrics
from climlink.evaluation.offline.residual_section import residual_section
from climlink.packages.prediction import Predictor, predict_package
from climlink.packages.read import EmulatorPackage

DAY, G, DENSITY = 86400.0, 9.80616, 1e3
WATER = ("ptend_q0001", "ptend_q0002", "ptend_q0003")


@pytest.fixture(scope="module")
def blocks(linear_package: EmulatorPackage, synthetic_store: ColumnStore) -> Blocks:
    return Blocks(Predictor(linear_package), synthetic_store, "train", changes=False)


def _globe(blocks: Blocks, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the global means [time] of column water tendency and precipitation in mm/day."""
    store, outputs = blocks.store, blocks.outputs
    times = store.indices("train")
    ps = store.read(["state_ps"], times)["state_ps"].astype(np.float64)[:, None]
    h = store.hybrid
    edges = h.p0_pa * np.array(h.hyai) + ps * np.array(h.hybi)
    mass = np.diff(edges, axis=1) / G
    gained = sum(values[:, outputs.slice(n)] for n in WATER)
    columns = DAY * np.stack([(mass * gained).sum(1), DENSITY * values[:, _at(blocks, "PRECC")]])
    weights = store.area / store.area.sum()
    water, rain = columns.reshape(2, len(times), -1) @ weights
    return water, rain


def _at(blocks: Blocks, name: str) -> int:
    return blocks.outputs.offset(f"cam_out_{name}")


def test_global_residuals_and_the_fixer_are_those_of_numpy(
    linear_package: EmulatorPackage, blocks: Blocks
) -> None:
    store, times = blocks.store, blocks.store.indices("train")
    truth = store.targets(blocks.outputs, times).astype(np.float64)
    given = predict_package(linear_package, store.pack(blocks.inputs, times)).astype(np.float64)
    result = offline_result(linear_package, store, "train", changes=False)
    found = metrics(result)
    water, rain = _globe(blocks, given)
    assert (rain > 0.0).all()
    # Untrained weights make far too much water: the lowest factor is all that may be done.
    factor = np.clip(-water / rain, 0.5, 2.0)
    for which, residual in (
        ("_truth", sum(_globe(blocks, truth))),
        ("", water + rain),
        ("_fixed", water + factor * rain),
    ):
        known = [np.mean(residual), np.sqrt(np.mean(residual**2))]
        got = [found[f"global_residual_{n}{which}.water"] for n in ("bias", "rms")]
        np.testing.assert_allclose(got, known, rtol=1e-10)
    assert found["water_fixer.lowest_factor"] == pytest.approx(factor.min(), rel=1e-10)
    assert found["water_fixer.highest_factor"] == pytest.approx(factor.max(), rel=1e-10)
    weights = np.tile(store.area / store.area.sum(), len(times)) / len(times)
    for name in ("PRECC", "PRECSC"):
        y, p = truth[:, _at(blocks, name)], given[:, _at(blocks, name)]
        scaled = p * np.repeat(factor, store.n_column)
        for when, values in (("before", p), ("after", scaled)):
            r2 = found[f"water_fixer_r2_{when}.cam_out_{name}"]
            bias = found[f"water_fixer_bias_{when}.cam_out_{name}"]
            assert r2 == pytest.approx(r2_score(y, values), rel=1e-9)
            assert bias == pytest.approx(DAY * DENSITY * weights @ (values - y), rel=1e-9)
    before = found["water_fixer_r2_before.cam_out_PRECC"]
    assert before == pytest.approx(found["r2.cam_out_PRECC"], rel=1e-12)
    section = residual_section({"a": result, "b": result})
    assert section is not None
    assert [len(next(iter(t.columns.values()))) for t in section.tables[1:]] == [6, 4]


def _scaled(block: Block, blocks: Blocks, share: float) -> Block:
    """Return the block with the truth as its prediction, and precipitation so scaled that the
    global residual is ``share`` of it.
    """
    prediction = block.truth.copy()
    water, rain = _means(blocks, block, prediction)
    rows = [_at(blocks, n) for n in ("PRECC", "PRECSC")]
    prediction[..., rows] *= (-water / rain / (1.0 - share))[:, None, None]
    return replace(block, prediction=prediction)


def _means(blocks: Blocks, block: Block, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    columns = column_budgets(values, block.thickness, blocks.outputs)
    return np.moveaxis(np.average(columns[..., 2:], axis=1, weights=blocks.area), 1, 0)


def test_a_residual_within_the_limits_is_taken_away_and_a_time_that_is_not_whole_left_out(
    blocks: Blocks,
) -> None:
    block = next(iter(blocks))
    water, rain = _means(blocks, block, block.truth)
    assert (water * rain < 0.0).all(), "what leaves the air of the synthetic columns falls"
    block = _scaled(block, blocks, share=0.2)
    counted = block.counted.copy()
    counted[0, 3] = 0.0
    moments = GlobalWaterMoments(blocks.area)
    budgets = [
        column_budgets(v, block.thickness, blocks.outputs) for v in (block.truth, block.prediction)
    ]
    moments.add(replace(block, counted=counted), *budgets, blocks.outputs)
    found = moments.result()
    assert found is not None
    assert found.times == len(block.truth) - 1
    _, rain = _means(blocks, block, block.prediction)
    assert found.received[0] == pytest.approx(0.2 * rain[1:].mean(), rel=1e-10)
    assert found.factor == pytest.approx((0.8, 0.8), rel=1e-12)
    assert abs(found.left[1]) < 1e-12 * rain.max()
    nothing = GlobalWaterMoments(blocks.area)
    nothing.add(replace(block, counted=np.zeros_like(counted)), *budgets, blocks.outputs)
    assert nothing.result() is None


def test_the_factor_has_limits() -> None:
    water = np.array([-3.0, -0.3, 1.0, -9.0, -1.0, -1.0])
    rain = np.array([3.3, 3.0, 3.0, 3.0, 0.0, -2.0])
    low, high = FACTORS
    np.testing.assert_allclose(
        fixer_factor(water, rain), [3.0 / 3.3, low, low, high, 1.0, 1.0], rtol=1e-15
    )


def test_part_of_the_sphere_has_no_global_mean(synthetic_store: ColumnStore) -> None:
    assert covers_globe(synthetic_store.area)
    assert not covers_globe(synthetic_store.area[1:])


def test_the_limits_are_those_of_the_adapter_for_e3sm() -> None:
    source = Path(__file__).parents[2] / "fortran_bridge/e3sm/mmf_nn_water_fixer.F90"
    text = source.read_text(encoding="utf-8")
    found = re.search(r"lowest = ([\d.]+)_r8, highest = ([\d.]+)_r8", text)
    assert found is not None
    assert tuple(map(float, found.groups())) == FACTORS
