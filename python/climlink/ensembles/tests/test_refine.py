"""A second stage: it takes away what it can know, keeps what it cannot, and guards its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.ensembles import refine as module
from climlink.ensembles.errors import EnsembleError
from climlink.ensembles.held_out import held_out
from climlink.ensembles.refine import Features, Refined, RefinedRecord, RefineSettings, refine
from climlink.packages.prediction import predict_package
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.contract import value_sets

Pair = tuple[EmulatorPackage, EmulatorPackage]
FIRST = 54
SETTINGS = RefineSettings(most_trees=20, least_rows=5, learning_rate=0.2, patience=5)


@pytest.fixture(scope="module")
def lowest(pair: Pair, altered: Callable[..., EmulatorPackage]) -> EmulatorPackage:
    """Return a linear package of which the lowest levels alone are refined: it takes less time."""
    return altered(pair[0], pruned_levels=FIRST)


@pytest.fixture(scope="module")
def made(
    lowest: EmulatorPackage, held_store: ColumnStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RefinedRecord]:
    """Return a second stage of a linear package whose large random errors follow from its inputs
    and outputs.
    """
    folder = tmp_path_factory.mktemp("refined") / "refined"
    held = held_out(held_store, [lowest])
    return folder, refine(lowest, held, folder, SETTINGS)


def test_errors_that_follow_from_the_prediction_are_taken_away(
    made: tuple[Path, RefinedRecord], pair: Pair, held_store: ColumnStore
) -> None:
    folder, record = made
    refined = Refined(folder)
    inputs, outputs = value_sets(pair[0].manifest)
    times = held_store.indices("test")  # seen by neither stage
    x = held_store.pack(inputs, times)
    before, after = predict_package(pair[0], x).astype(np.float64), refined.rows(x)
    truth = held_store.targets(outputs, times)
    touched = [outputs.offset(m.variable) + m.level for m in record.models]
    assert len(touched) > 9
    scale = pair[0].difference_scale.numpy()

    def error(y: np.ndarray) -> float:
        return float((((y - truth) / scale)[:, touched] ** 2).mean())

    assert error(after) < 0.5 * error(before)
    others = np.setdiff1d(np.arange(outputs.width), touched)
    np.testing.assert_array_equal(after[:, others], before[:, others])
    # Water stays: never below -q/dt, as the package's own constraint has it.
    for water in ("q0001", "q0002", "q0003"):
        q = x[:, inputs.slice(f"state_{water}")].astype(np.float64)
        changed = after[:, outputs.slice(f"ptend_{water}")]
        assert (changed >= -q / 1200.0 * (1.0 + 1e-6)).all()


def test_the_record_says_times_and_gains(
    made: tuple[Path, RefinedRecord], pair: Pair, held_store: ColumnStore
) -> None:
    folder, record = made
    assert RefinedRecord.model_validate(json.loads((folder / "refined.json").read_text())) == record
    assert record.package_sha256 == pair[0].digest
    assert (record.fitted_on.count, record.stopped_on.count) == (4, 1)
    assert record.stopped_on.first == str(held_store.stamps[6])
    assert all(m.error < m.error_before for m in record.models)
    assert all(m.level >= FIRST for m in record.models)  # pruned levels are not refined


def test_the_same_data_give_the_same_trees(
    made: tuple[Path, RefinedRecord],
    lowest: EmulatorPackage,
    held_store: ColumnStore,
    tmp_path: Path,
) -> None:
    held = held_out(held_store, [lowest])
    again = refine(lowest, held, tmp_path / "again", SETTINGS)
    assert [m.sha256 for m in again.models] == [m.sha256 for m in made[1].models]


def test_features_are_the_level_its_neighbours_and_all_scalars(pair: Pair) -> None:
    inputs, outputs = value_sets(pair[0].manifest)
    features = Features(inputs, outputs)
    rows = module._Rows(
        np.arange(inputs.width, dtype=np.float32)[None],
        1000.0 + np.arange(outputs.width, dtype=np.float32)[None],
    )
    at = dict(zip(features.names, features.of(rows, 59)[0], strict=True))
    start = inputs.offset("state_t")
    assert (at["state_t[-1]"], at["state_t[+0]"]) == (start + 58, start + 59)
    assert at["state_t[+1]"] == start + 59  # the lowest level has none below it
    assert at["state_ps"] == inputs.offset("state_ps")
    assert at["ptend_q0002[+0]"] == 1000 + outputs.offset("ptend_q0002") + 59
    assert at["cam_out_PRECC"] == 1000 + outputs.offset("cam_out_PRECC")


def test_damaged_and_missing_parts_are_named(
    made: tuple[Path, RefinedRecord], tmp_path: Path
) -> None:
    with pytest.raises(EnsembleError, match="is no second stage"):
        Refined(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in made[0].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    trees = copy / made[1].models[0].file
    trees.write_text(trees.read_text().replace("tree", "tea", 1))
    with pytest.raises(EnsembleError, match=f"{trees.name} is damaged"):
        Refined(copy)


def test_a_folder_with_something_else_is_kept(
    pair: Pair, held_store: ColumnStore, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(EnsembleError, match="holds something else"):
        refine(pair[0], held_out(held_store, pair[:1]), tmp_path, SETTINGS)
    assert (tmp_path / "thesis.tex").read_text() == "words"


def test_a_failure_leaves_what_stood_there(
    made: tuple[Path, RefinedRecord],
    pair: Pair,
    held_store: ColumnStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, record = made

    def fail(*_: object) -> None:
        raise RuntimeError("the trees burned")

    monkeypatch.setattr(module, "_fit_level", fail)
    with pytest.raises(RuntimeError, match="burned"):
        refine(pair[0], held_out(held_store, pair[:1]), folder, SETTINGS)
    assert Refined(folder).record == record
    assert [p.name for p in folder.parent.iterdir()] == ["refined"]


def test_without_the_extra_it_says_what_to_install(
    pair: Pair, held_store: ColumnStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(module, "import_module", absent)
    line = ["ensemble", "refine", str(pair[0].path), "--store", str(held_store.path)]
    run = CliRunner().invoke(app, [*line, "-o", str(tmp_path / "refined")])
    assert run.exit_code != 0
    assert "pip install 'climlink[lightgbm]'" in str(run.exception)
    assert not (tmp_path / "refined").exists()
