"""Quantile sketches and covariance against numpy on the whole array, in parts, and in their file
and manifest.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from climlink.data.distribution import Distributed, Frame, digest_of
from climlink.data.errors import DataError
from climlink.data.moments import Moments
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.statistics import compute_statistics, read_statistics, write_statistics
from climlink.data.store import ColumnStore, StoreConfig
from climlink.wrappers.distribution import ACCURACY, LARGEST, SMALLEST
from climlink.wrappers.errors import ContractError

PROBABILITIES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


@pytest.fixture(scope="module")
def store(shared_source: Path, tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    path = tmp_path_factory.mktemp("distribution") / "s.zarr"
    prepare(shared_source, path, split=Split(), config=StoreConfig(time_chunk=3))
    return ColumnStore.open(path)


def samples(seed: int, rows: int) -> np.ndarray:
    """Return columns of kinds that data have: far from zero, heavy tails, mostly zero, constant."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            rng.normal(250.0, 3.0, rows),
            1e-6 * rng.standard_t(2, rows),
            np.where(rng.random(rows) < 0.7, 0.0, 10.0 ** rng.uniform(-12, -3, rows)),
            np.full(rows, 0.25),
        ],
        axis=1,
    )


def frame_of(rows: np.ndarray) -> Frame:
    moments = Moments(rows.shape[1])
    moments.add(rows)
    return Frame.of(moments)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3000), st.integers(1, 50))
def test_quantiles_are_within_their_bound(seed: int, rows: int, sample: int) -> None:
    values = samples(seed, rows)
    frame = frame_of(values[:sample])
    sketch = Distributed({"x": frame}, [])
    sketch.add({"x": values})
    got = sketch.result().quantiles("x", PROBABILITIES).numpy().T
    exact = np.quantile(values, PROBABILITIES, axis=0, method="lower")
    bound = np.maximum(ACCURACY * np.abs(exact - frame.center), SMALLEST * frame.unit)
    # Rounding of x = center + t * unit.
    within = np.abs(got - exact) <= bound * (1 + 1e-9) + 1e-12 * np.abs(exact)
    told_apart = np.abs(exact - frame.center) <= LARGEST * frame.unit
    assert (within | ~told_apart).all()
    assert told_apart.mean() > 0.5


def test_parts_in_any_order_give_the_sketch_of_the_whole_and_its_covariance() -> None:
    values = samples(1, 5000)
    mixed = {"x": values, "y": values[:, :2] @ np.array([[1.0, 0.5], [0.0, 2e6]])}
    frames = {name: frame_of(rows[:50]) for name, rows in mixed.items()}
    whole = Distributed(frames, ["x", "y"])
    whole.add(mixed)
    parts = []
    for first, stop in ((0, 10), (10, 11), (11, 3000), (3000, 5000)):
        part = Distributed(frames, ["x", "y"])
        part.add({name: rows[first:stop] for name, rows in mixed.items()})
        parts.append(part)
    merged = Distributed(frames, ["x", "y"])
    for number in (2, 0, 3, 1):
        merged.merge(parts[number])
    one, other = whole.result(), merged.result()
    assert torch.equal(one.counts, other.counts)
    assert one.count == other.count == 5000
    # float64 sums in another order, of 5000 terms.
    torch.testing.assert_close(one.comoment, other.comoment, rtol=1e-11, atol=1e-9)
    mean, scale, correlation = (a.numpy() for a in other.standardized_covariance(["x", "y"]))
    together = np.concatenate([mixed["x"], mixed["y"]], axis=1)
    np.testing.assert_allclose(mean, together.mean(axis=0), rtol=1e-11, atol=1e-18)
    np.testing.assert_allclose(scale, together.std(axis=0), rtol=1e-9, atol=1e-14)
    varying = [0, 1, 2, 4, 5]
    expected = np.corrcoef(together[:, varying].T)
    np.testing.assert_allclose(correlation[np.ix_(varying, varying)], expected, atol=1e-9)
    assert (correlation[3] == 0).all()


def test_parts_about_other_centers_are_refused() -> None:
    values = samples(1, 100)
    one, other = (Distributed({"x": frame_of(values[:n])}, ["x"]) for n in (50, 60))
    with pytest.raises(DataError, match="distributions of x about other centers"):
        one.merge(other)
    with pytest.raises(DataError, match="of other variables"):
        one.merge(Distributed({"y": frame_of(values)}, ["y"]))


@pytest.mark.long
def test_statistics_are_the_same_from_two_processes(
    store: ColumnStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("climlink.data.statistics._PART_BLOCKS", 1)
    alone, both = (compute_statistics(store, workers=n) for n in (1, 2))
    assert alone.digest == both.digest
    assert alone.distribution is not None
    assert both.distribution is not None
    assert digest_of(alone.distribution) == digest_of(both.distribution)


def test_a_store_has_quantiles_and_covariance_of_its_inputs(store: ColumnStore) -> None:
    statistics = compute_statistics(store)
    d = statistics.distribution
    assert d is not None
    assert {"state_rh", "state_t", "cam_in_SNOWHICE"} <= set(d.inputs)
    assert not [n for n in d.inputs if n.startswith(("ptend_", "cam_out_"))]
    everywhere = store.indices("train")
    for name in ("state_t", "state_q0002", "ptend_q0001", "pbuf_SOLIN", "cam_in_SNOWHICE"):
        values = store.read([name], everywhere)[name].astype(np.float64).reshape(11 * 6, -1)
        values = values[values[:, 0] < 1e20]
        exact = np.quantile(values, PROBABILITIES, axis=0, method="lower").T
        places = d.places([name])
        distance = np.abs(exact - d.center[places].numpy()[:, None])
        bound = np.maximum(ACCURACY * distance, SMALLEST * d.unit[places].numpy()[:, None])
        error = np.abs(d.quantiles(name, PROBABILITIES).numpy() - exact)
        assert (error <= bound * (1 + 1e-9) + 1e-12 * np.abs(exact)).all(), name
    mean, scale, correlation = d.standardized_covariance(["state_t", "state_ps"])
    rows = store.read(["state_t", "state_ps"], everywhere)
    together = np.concatenate([rows["state_t"], rows["state_ps"][:, None]], axis=1, dtype=float)
    np.testing.assert_allclose(mean.numpy(), together.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale.numpy(), together.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(correlation.numpy(), np.corrcoef(together.T), atol=1e-9)
    with pytest.raises(ContractError, match="does not hold 'state_tt'; did you mean 'state_t'"):
        d.quantiles("state_tt", [0.5])
    with pytest.raises(ContractError, match="covariance does not hold 'ptend_t'"):
        d.standardized_covariance(["ptend_t"])


def test_the_file_keeps_it_and_notices_a_change(store: ColumnStore, tmp_path: Path) -> None:
    path = tmp_path / "statistics.nc"
    statistics = compute_statistics(store)
    write_statistics(statistics, path)
    again = read_statistics(path).distribution
    assert again is not None
    assert statistics.distribution is not None
    assert digest_of(again) == digest_of(statistics.distribution)
    with netCDF4.Dataset(path, "a") as file:
        file["distribution"]["counts"][3, 500] += 1
    with pytest.raises(DataError, match="the distribution is not the one that was written"):
        read_statistics(path)
