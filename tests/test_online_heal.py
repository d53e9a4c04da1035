"""Healing in the embedded model: what the labels of a hybrid's states are, and whole rounds."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.climsim import Pair, find_pairs
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore
from climlink.healing.config import HealConfig
from climlink.healing.hybrid import Runs, run_hybrid
from climlink.healing.labels import label, read_labels
from climlink.healing.source import find_source
from climlink.online.aquaplanet import (
    AquaplanetConfig,
    newest_restart,
    run_aquaplanet,
)
from climlink.packages.export import ExportSource, export_package, export_run
from climlink.packages.read import EmulatorPackage
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import train

STEP_D = 1200.0 / 86400.0
CASE = """
host: aquaplanet
days: 1
history: {monthly: false, daily: false}
output: unused
ranks: 1
"""


def _quiet(*given: object) -> None:
    """Take progress and tell nobody."""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a case file of the embedded model, a few steps after whose start a restart lies."""
    folder = tmp_path_factory.mktemp("case")
    (folder / "case.yaml").write_text(CASE, encoding="utf-8")
    return folder / "case.yaml"


@pytest.fixture(scope="module")
def package(
    linear_source: ExportSource,
    synthetic_store: ColumnStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> EmulatorPackage:
    """Return a package that does too little in a step to end a run."""
    emulator = copy.deepcopy(linear_source.emulator)
    with torch.no_grad():
        for weight in emulator.network.parameters():
            weight.mul_(1e-3)
    inputs = emulator.contract.inputs
    rows = torch.from_numpy(synthetic_store.pack(inputs, synthetic_store.indices("train")))
    path = tmp_path_factory.mktemp("package") / "wrap_model.pt"
    return export_package(replace(linear_source, emulator=emulator), rows, path)


def _reference(output: Path, **changes: object) -> Path:
    values = {
        "host": "aquaplanet",
        "days": 3 * STEP_D,
        "history": {"monthly": False, "daily": False},
        "output": output,
        "ranks": 1,
    }
    run = run_aquaplanet(AquaplanetConfig.model_validate({**values, **changes}))
    assert run.status == "finished"
    return run.folder


def _heal_config(case: Path, restart: Path, **changes: object) -> HealConfig:
    values = {"case": str(case), "restart_from": restart, "days": 1, **changes}
    return HealConfig.model_validate(values)


def _pair(run: Path, part: str, stamp: Stamp) -> Pair:
    return next(p for p in find_pairs(run / "climsim" / part) if p.stamp == stamp)


def test_labels_are_the_hybrids_states_answered_by_the_reference_physics(
    package: EmulatorPackage, case: Path, tmp_path: Path
) -> None:
    restart = newest_restart(_reference(tmp_path / "spin_up"))
    config = _heal_config(case, restart, sampling={"every_steps": 1})
    runs = Runs(config)
    two_steps = {"days": 5 * STEP_D, "restart_every_days": STEP_D}
    hybrid = runs.sampled(package, tmp_path / "hybrid", 1, 0).model_copy(update=two_steps)
    assert run_hybrid(hybrid, _quiet)
    middle, last = (runs.start.plus(1200 * n) for n in (1, 2))
    labelled = _pair(hybrid.output, "shadow", last)

    # The answer: one step of the model with its own physics, from the hybrid's own restart.
    answer = _reference(
        tmp_path / "answer",
        restart_from=hybrid.output / f"restart/hybrid.r.{middle}.nc",
        days=5 * STEP_D,
        pairs={"every_steps": 1},
    )
    wanted = _pair(answer, "train", last)
    assert labelled.mli.read_bytes() == wanted.mli.read_bytes()
    assert labelled.mlo.read_bytes() == wanted.mlo.read_bytes()

    # The question: the state of a hybrid in which nothing but the emulator runs.
    plain = runs.hybrid(package, tmp_path / "plain", 1).model_copy(
        update={**two_steps, "pairs": hybrid.pairs}
    )
    assert run_hybrid(plain, _quiet)
    its = _pair(plain.output, "train", last)
    assert labelled.mli.read_bytes() == its.mli.read_bytes()
    assert labelled.mlo.read_bytes() != its.mlo.read_bytes()

    with netCDF4.Dataset(labelled.mli) as mli, netCDF4.Dataset(labelled.mlo) as mlo:
        before, after = (f["state_t"][:].filled(np.nan).T for f in (mli, mlo))
        rain = mlo["cam_out_PRECC"][:].filled(np.nan)
    label(hybrid.output, tmp_path / "labels.zarr", runs.start, True, config, 1200.0)
    found = read_labels(tmp_path / "labels.zarr")
    assert (found.train, found.held_out) == (2, 0)
    store = ColumnStore.open(found.store)
    columns = store.read(["state_t", "ptend_t", "cam_out_PRECC"], np.array([1]))
    assert str(store.stamps[1]) == str(last)
    assert np.array_equal(columns["state_t"], before.astype(np.float32))
    assert np.allclose(columns["ptend_t"], (after - before) / 1200.0, rtol=0, atol=1e-18)
    assert np.array_equal(columns["cam_out_PRECC"], rain)


@pytest.mark.long
def test_a_round_from_end_to_end_with_faults_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = _reference(tmp_path / "spin_up", days=1, pairs={"every_steps": 8})
    stamps = [str(p.stamp) for p in find_pairs(reference / "climsim")]
    prepare(reference / "climsim", tmp_path / "store.zarr", split=Split(test=tuple(stamps[-2:])))
    base = {
        "name": "tiny",
        "store": tmp_path / "store.zarr",
        "output": tmp_path / "run",
        "architecture": {"name": "mlp", "configuration": {"hidden": [16]}},
        "optimizer": {"learning_rate": 3e-3},
        "validation": {"source": "none"},
        "epochs": 60,
        "max_steps": 60,
        "device": "cpu",
        "threads": 1,
    }
    train(TrainingConfig.model_validate(base), progress=False)
    package = export_run(
        tmp_path / "run", tmp_path / "wrap_model.pt", without=["stratospheric_water"]
    )
    (tmp_path / "case.yaml").write_text(CASE, encoding="utf-8")
    (tmp_path / "heal.yaml").write_text(
        f"case: case.yaml\nrestart_from: {newest_restart(reference)}\ndays: 2\nrounds: 1\n"
        "sampling: {days: [2], every_steps: 9, held_out_every_days: 2}\nkept: {last_hours: 0}\n"
        "training: {steps: 12, learning_rate: 1.0e-3}\nscore_days: [1, 2]\n"
        "constraints: [{name: input_clip}]\noutput: heal\n",
        encoding="utf-8",
    )
    command = ["online", "heal", str(package.path), "--config", str(tmp_path / "heal.yaml")]
    folder = tmp_path / "heal"

    class Killed(BaseException):
        pass

    def killed(*given: object, **named: object) -> None:
        raise Killed

    for name in ("label", "train", "score_offline"):
        with monkeypatch.context() as fault:
            fault.setattr(f"climlink.healing.rounds.{name}", killed)
            with pytest.raises(Killed):
                CliRunner().invoke(app, [*command, "--json"])
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [(r["arm"], r["round"]) for r in found["results"]] == [
        ("start", 0),
        ("heal", 1),
        ("control", 1),
    ]
    assert found["results"][0]["labels"][0]["train"] > 0
    for result in found["results"]:
        assert result["members"][0]["days_lived"] >= 1
        assert result["members"][0]["rmse"]["T"][0] > 0
        assert result["offline"]["test"]["ptend_t"] is not None
        assert result["offline"]["first_hybrid"]["ptend_t"] is not None
    assert len({r["package_sha256"] for r in found["results"]}) == 3
    trained = {a: load_checkpoint(folder / f"round_1/{a}/training") for a in ("heal", "control")}
    steps = {a: t.record.progress.steps for a, t in trained.items()}
    assert steps == {"heal": 12, "control": 12}
    assert list(trained["heal"].record.training["stores"]) == ["hybrid_0_1"]
    assert trained["control"].record.training["stores"] == {}
    for path in ("round_0", "round_1/heal", "round_1/control"):
        manifest = EmulatorPackage.read(folder / path / "wrap_model.pt").manifest
        names = [c.name for c in manifest.constraints]
        assert "input_clip" in names
        assert "stratospheric_water" not in names
    kept = {p: p.stat().st_mtime_ns for p in folder.rglob("*.pt")}
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert "| heal 1 |" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.pt")} == kept
    assert (folder / "figures/heal.png").is_file()
    assert "| control 1 |" in (folder / "heal.md").read_text(encoding="utf-8")

    healed = find_source(folder / "round_1/heal/wrap_model.pt")
    assert healed.checkpoint == folder / "round_1/heal/training/checkpoints/last.ckpt"
    own = tmp_path / "run/checkpoints/last.ckpt"
    own.write_bytes(healed.checkpoint.read_bytes())
    with pytest.raises(TrainingError, match="other weights than those in"):
        find_source(package.path)
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(TrainingError, match=r"its training run is not at .*run, seen from"):
        find_source(package.path)
