"""Scores side by side: those of the offline evaluation, of a mean that has no file, and of a second
stage.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.ensembles.build import equal_weights, write_ensemble
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.members import read_members
from climlink.ensembles.scoring import Candidate, compare, of_mean, of_package
from climlink.ensembles.weights import MemberWeight, TimesEntry, WeightsFile, write_weights
from climlink.evaluation.offline.evaluate import evaluate_offline
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.contract import value_sets

Pair = tuple[EmulatorPackage, EmulatorPackage]


def test_scores_are_those_of_the_offline_evaluation(pair: Pair, held_store: ColumnStore) -> None:
    found = compare([of_package(pair[0])], held_store, "validation")
    for package, score in zip(pair[:1], found.scores, strict=True):
        metrics = evaluate_offline(package, held_store, split="validation").summary.metrics
        assert score.rows == 5 * 24
        for name, value in score.r2.items():
            assert value == pytest.approx(metrics[f"r2.{name}"], rel=1e-9)
        for name, value in score.leap.items():
            assert value == pytest.approx(metrics[name], rel=1e-9)
        assert score.leap["leap.score_floored"] >= 0.0 > score.leap["leap.score"]
        seven = [n for n in score.r2 if n.startswith("ptend")] + ["cam_out_PRECC"]
        assert score.mean == pytest.approx(np.mean([score.r2[n] for n in seven]), rel=1e-12)


@pytest.mark.long
def test_a_mean_without_a_file_scores_as_its_package(
    pair: Pair, held_store: ColumnStore, tmp_path: Path
) -> None:
    members = read_members(pair)
    weights = equal_weights(members)
    written = write_ensemble(members, weights, tmp_path / "mean.pt", name="written")
    found = compare([of_mean(members, weights), of_package(written)], held_store, "test")
    assert [s.kind for s in found.scores] == ["mean", "mean"]
    for name, value in found.scores[0].r2.items():
        # float32 rounding of the graph's optimizer
        assert value == pytest.approx(found.scores[1].r2[name], rel=1e-4)


def _offset(package: EmulatorPackage, store: ColumnStore, share: float) -> Candidate:
    """Return a candidate that knows the truth of the validation times but for an offset."""
    outputs = value_sets(package.manifest)[1]
    inputs = value_sets(package.manifest)[0]
    times = store.indices("validation")
    known = {
        row.tobytes(): y
        for row, y in zip(store.pack(inputs, times), store.targets(outputs, times), strict=True)
    }
    spread = np.std(list(known.values()), axis=0)

    def rows(x: np.ndarray) -> np.ndarray:
        return np.stack([known[row.tobytes()] + share * spread for row in x])

    return Candidate(f"off by {share:g}", "single", rows, package.manifest)


def test_differences_are_to_the_best_single(pair: Pair, held_store: ColumnStore) -> None:
    good, bad = (_offset(pair[0], held_store, s) for s in (0.1, 0.5))
    found = compare([bad, good], held_store, "validation", resamples=100)
    assert found.best_single == "off by 0.1"
    # An offset of s standard deviations costs s²: R² is 1 - s² for every target.
    assert found.scores[1].mean == pytest.approx(1.0 - 0.01, abs=1e-9)
    assert found.scores[1].leap["leap.score"] == pytest.approx(1.0 - 0.01, abs=1e-9)
    difference = found.differences["off by 0.5"]["mean"]
    assert difference.difference == pytest.approx(0.01 - 0.25, abs=1e-9)
    assert difference.high < 0.0
    assert difference.share_better == 0.0
    assert list(found.differences) == ["off by 0.5"]


def test_columns_without_a_finite_prediction_are_left_out_of_all(
    pair: Pair, held_store: ColumnStore
) -> None:
    sound = _offset(pair[0], held_store, 0.1)

    def broken(x: np.ndarray) -> np.ndarray:
        y = sound.rows(x).copy()
        y[0, 3] = np.nan
        return y

    other = Candidate("broken", "single", broken, pair[0].manifest)
    found = compare([sound, other], held_store, "validation")
    assert [s.left_out for s in found.scores] == [1, 1]
    assert [s.rows for s in found.scores] == [119, 119]
    assert np.isfinite(found.scores[1].r2["ptend_t"])


def test_what_was_fitted_to_these_times_is_marked(pair: Pair, held_store: ColumnStore) -> None:
    times = TimesEntry(
        store_digest=held_store.digest,
        part="validation",
        count=5,
        first="a",
        last="b",
        sha256="0" * 64,
    )
    members = read_members(pair)
    file = WeightsFile.of_numbers(members, equal_weights(members)).model_copy(
        update={"times": times}
    )
    weighted = of_mean(members, equal_weights(members), file)
    for split, marked in (("validation", True), ("test", False)):
        note = compare([weighted], held_store, split).scores[0].note
        assert (note is not None and "flatters" in note) == marked


def test_one_label_twice_and_other_outputs_are_refused(pair: Pair, held_store: ColumnStore) -> None:
    twin = of_package(pair[0])
    with pytest.raises(EnsembleError, match="are called linear_1"):
        compare([twin, twin], held_store, "test")
    layout = twin.manifest.inputs
    fewer = layout.model_copy(update={"variables": layout.variables[:-1]})
    narrow = twin.manifest.model_copy(update={"inputs": fewer})
    other = Candidate("other", "single", twin.rows, narrow)
    with pytest.raises(EnsembleError, match="other takes or gives other variables"):
        compare([twin, other], held_store, "test")


@pytest.mark.long
def test_the_table_of_the_command_line(pair: Pair, held_store: ColumnStore, tmp_path: Path) -> None:
    weights = WeightsFile(
        method="given",
        members=[
            MemberWeight(name=p.manifest.name, sha256=p.digest, weight=w)
            for p, w in zip(pair, (0.9, 0.1), strict=True)
        ],
    )
    write_weights(weights, tmp_path / "w.yaml")
    line = ["ensemble", "score", *(str(p.path) for p in pair), "--store", str(held_store.path)]
    line += ["--split", "validation", "--weights-file", str(tmp_path / "w.yaml")]
    run = CliRunner().invoke(app, [*line, "--bootstrap", "20", "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert [s["kind"] for s in found["scores"]] == ["single", "single", "mean", "weighted"]
    assert len(found["differences"]) == 3
    best = max(found["scores"][:2], key=lambda s: s["mean"])
    assert found["best_single"] == best["label"]
    shown = CliRunner().invoke(app, line)
    assert shown.exit_code == 0
    for told in ("leap.score_floored", "cam_out_PRECC", "mean of 2, given per all"):
        assert told in shown.stdout
