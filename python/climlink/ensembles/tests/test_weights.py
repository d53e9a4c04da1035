"""Weights: searches against known optima, folds that do not leak, and which times may be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.config import ConfigError
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.held_out import held_out
from climlink.ensembles.members import read_members
from climlink.ensembles.products import ErrorProducts, error_products, member_blocks
from climlink.ensembles.search import hill_climbing, nelder_mead
from climlink.ensembles.weights import (
    Method,
    fit_weights,
    read_weights,
    search_weights,
    weights_of,
    write_weights,
)
from climlink.packages.read import EmulatorPackage

Array = NDArray[np.float64]
Pair = tuple[EmulatorPackage, EmulatorPackage]

VARIANCES = np.array([1.0, 2.0, 4.0])
OPTIMUM = (1.0 / VARIANCES) / (1.0 / VARIANCES).sum()
"""Of members with independent errors: weights as the inverse variances (4, 2 and 1 sevenths)."""


def _skill(weights: Array) -> Array:
    return 1.0 - (weights**2 * VARIANCES).sum(axis=1)


def test_nelder_mead_ends_at_the_optimal_blend() -> None:
    np.testing.assert_allclose(nelder_mead(_skill, 3), OPTIMUM, atol=2e-3)


def test_hill_climbing_finds_the_optimum_to_its_steps() -> None:
    # bags of up to 100 members: a weight is a multiple of a hundredth or so
    np.testing.assert_allclose(hill_climbing(_skill, 3), OPTIMUM, atol=0.02)


def test_a_bad_member_gets_nothing() -> None:
    def skill(weights: Array) -> Array:
        # errors of members 0 and 1 cancel at 0.7 and 0.3; member 2 only adds
        return -((0.3 * weights[:, 0] - 0.7 * weights[:, 1]) ** 2) - 100.0 * weights[:, 2] ** 2

    for search in (nelder_mead, hill_climbing):
        np.testing.assert_allclose(search(skill, 3), [0.7, 0.3, 0.0], atol=0.02)


def _products(errors: Array, truth: Array, folds: NDArray[np.int64]) -> ErrorProducts:
    """Return the products of errors [row, member, n] with truth [row, n] by fold [row]."""
    parts = [(errors[folds == f], truth[folds == f]) for f in range(int(folds.max()) + 1)]
    return ErrorProducts(
        products=np.stack([np.einsum("rit,rjt->tij", e, e) for e, _ in parts]),
        count=np.array([float(len(y)) for _, y in parts]),
        mean=np.stack([y.mean(axis=0) for _, y in parts]),
        spread=np.stack([((y - y.mean(axis=0)) ** 2).sum(axis=0) for _, y in parts]),
        scored=np.ones(truth.shape[1], dtype=bool),
    )


@pytest.mark.parametrize("method", ["nelder-mead", "hill-climbing"])
def test_weights_per_target_are_those_of_each_target(method: Method) -> None:
    rng = np.random.default_rng(0)
    rows, folds = 4000, np.arange(4000) * 4 // 4000
    truth = 10.0 * rng.normal(size=(rows, 2))
    errors = rng.normal(size=(rows, 2, 2)) * np.array([[1.0, 2.0], [2.0, 1.0]])
    found = search_weights(_products(errors, truth, folds), method=method, per="target")
    # independent errors of variances 1 and 4: 0.8 and 0.2, the other way round for target 2
    expected = np.array([[0.8, 0.2], [0.2, 0.8]])
    np.testing.assert_allclose(found.weights, expected, atol=0.03)
    assert found.blend == 0.0
    # The score out of fold is that of the expected error, 0.8 of one variance, to sampling.
    assert found.scores["out_of_fold"] == pytest.approx(1.0 - 0.8 / 100.0, abs=1e-3)
    assert found.scores["best_member"] == pytest.approx(1.0 - 2.5 / 100.0, abs=1e-3)


def test_r2_from_products_is_that_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    truth, errors = rng.normal(3.0, 1.0, (300, 4)), rng.normal(0.1, 0.5, (300, 3, 4))
    folds = rng.integers(0, 3, 300)
    weights = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    sums = _products(errors, truth, folds).of(np.array([True, False, True]))
    chosen = folds != 1
    for k, w in enumerate(weights):
        e = np.einsum("i,rit->rt", w, errors[chosen])
        y = truth[chosen]
        r2 = 1.0 - (e**2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
        assert sums.mean_skill(weights)[k] == pytest.approx(np.maximum(r2, 0.0).mean(), rel=1e-10)
        assert sums.r2_of(2, weights)[k] == pytest.approx(r2[2], rel=1e-10)


@pytest.mark.parametrize("method", ["nelder-mead", "hill-climbing"])
def test_a_member_that_knows_one_fold_by_heart_gets_no_credit_there(method: Method) -> None:
    rng = np.random.default_rng(2)
    folds = np.repeat(np.arange(4), 500)
    truth = rng.normal(size=(2000, 1))
    errors = np.stack([0.5 * rng.normal(size=(2000, 1)), 5.0 * rng.normal(size=(2000, 1))], axis=1)
    errors[folds == 0, 1] = 0.0  # what it memorized; elsewhere it is useless
    found = search_weights(_products(errors, truth, folds), method=method, per="all")
    honest = 1.0 - (errors[:, 0] ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    # Fold 0 is scored by weights found without it, which give the memory nothing.
    assert found.scores["out_of_fold"] <= honest + 0.005
    assert found.weights[0, 1] < 0.25


def test_products_of_packages_are_those_of_their_rows(pair: Pair, held_store: ColumnStore) -> None:
    members = read_members(pair)
    times = held_store.indices("validation")
    folds = np.array([0, 0, 1, 1, 1])
    got = error_products(members, held_store, times, folds)
    blocks = list(member_blocks(members, held_store, times))
    errors = np.concatenate([b.given - b.truth[:, None] for b in blocks])
    truth = np.concatenate([b.truth for b in blocks])
    expected = _products(errors, truth, np.repeat(folds, held_store.n_column))
    np.testing.assert_allclose(got.products, expected.products, rtol=1e-9)
    np.testing.assert_allclose(got.spread, expected.spread, rtol=1e-6)
    # network outputs that the host never gets on the pruned levels do not count
    outputs = members[0].outputs
    assert not got.scored[outputs.slice("ptend_q0001")][:15].any()
    assert got.scored[outputs.slice("ptend_t")].all()


def test_a_file_of_weights_comes_back_and_knows_its_members(
    pair: Pair,
    held_store: ColumnStore,
    altered: Callable[..., EmulatorPackage],
    tmp_path: Path,
) -> None:
    members = read_members(pair)
    held = held_out(held_store, pair)
    assert (held.part, len(held.times)) == ("validation", 5)
    assert "linear_1 does not record what it was trained on" in held.notes[0]
    found = fit_weights(members, held, method="hill-climbing", per="target", folds=2)
    write_weights(found, tmp_path / "weights.yaml")
    read = read_weights(tmp_path / "weights.yaml")
    assert read == found
    assert read.times is not None
    assert (read.times.count, read.times.store_digest) == (5, held_store.digest)
    w = weights_of(read, read_members(pair[::-1]))  # by digest, in any order
    torch.testing.assert_close(w.flip(0), weights_of(read, members))
    torch.testing.assert_close(w.sum(dim=0), torch.ones(308, dtype=torch.float64))
    other = read_members([pair[0], altered(pair[1], "9" * 64, name="third")])
    with pytest.raises(EnsembleError, match=r"lacks third .* weighs linear_2 besides"):
        weights_of(read, other)
    (tmp_path / "weights.yaml").write_text("method: hill-climbing\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="members"):
        read_weights(tmp_path / "weights.yaml")


def test_times_that_a_member_was_trained_on_are_never_used(
    pair: Pair,
    synthetic_store: ColumnStore,
    synthetic_dir: Path,
    altered: Callable[..., EmulatorPackage],
    tmp_path: Path,
) -> None:
    def trained(package: EmulatorPackage, **validation: object) -> EmulatorPackage:
        training = {"store": str(synthetic_store.path), "validation": validation}
        known = package.manifest.provenance
        provenance = known.model_copy(
            update={"training": training, "data_digest": synthetic_store.digest}
        )
        return altered(package, provenance=provenance)

    # synthetic_store: three times to train and one to test, no validation split
    cut = {"source": "cut", "every": 3, "offset": 1}
    a, b = (trained(p, **cut) for p in pair)
    held = held_out(synthetic_store, [a, b])
    assert (held.part, held.notes) == ("cut", ())
    assert held.times.tolist() == [synthetic_store.indices("train")[1]]
    everything = trained(pair[1], source="none")
    with pytest.raises(EnsembleError, match="linear_2 was trained on every training time"):
        held_out(synthetic_store, [a, everything])
    with pytest.raises(EnsembleError, match="no times of its split for validation"):
        held_out(synthetic_store, [a, b], "validation")
    with pytest.raises(EnsembleError, match="does not record what it was trained on, so nothing"):
        held_out(synthetic_store, pair)
    # A store whose validation times were training times elsewhere: known by their source files.
    stamps = tuple(str(s) for s in synthetic_store.stamps)
    for name, files, seen in (("same", stamps, 1), ("fewer", stamps[:2], 1)):
        folder = tmp_path / name
        folder.mkdir()
        for file in [f for f in synthetic_dir.rglob("*.nc") if _wanted(f, files)]:
            (folder / file.name).symlink_to(file)
        split = Split(validation=files[:2], remainder="unused")
        prepare(folder, tmp_path / f"{name}.zarr", split=split)
        with pytest.raises(EnsembleError, match=f"trained on {seen} of the 2 validation times"):
            held_out(ColumnStore.open(tmp_path / f"{name}.zarr"), [a, b])


def _wanted(file: Path, stamps: tuple[str, ...]) -> bool:
    return "grid" in file.name or any(s in file.name for s in stamps)


def test_the_command_line_refuses_what_it_does_not_know(
    pair: Pair, held_store: ColumnStore
) -> None:
    paths = [str(p.path) for p in pair]
    run = CliRunner().invoke(
        app,
        ["ensemble", "weights", *paths, "--store", str(held_store.path), "--method", "nelder_mead"],
    )
    assert run.exit_code == 2
    assert "nelder-mead" in run.output
    few = CliRunner().invoke(
        app, ["ensemble", "weights", *paths, "--store", str(held_store.path), "--folds", "9"]
    )
    assert few.exit_code != 0
    assert "9 folds of 5 held-out times" in str(few.exception)
