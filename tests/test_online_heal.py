"""Healing in the embedded model: what the labels of a hybrid's states are, and whole rounds."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch

from climlink.data.climsim import Pair, find_pairs
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore
from climlink.healing.config import HealConfig
from climlink.healing.hybrid import Runs, run_hybrid
from climlink.healing.labels import label
from climlink.online.aquaplanet import (
    AquaplanetConfig,
    EmulatorConfig,
    newest_restart,
    run_aquaplanet,
)
from climlink.packages.export import ExportSource, export_package
from climlink.packages.read import EmulatorPackage

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
    hybrid = runs.hybrid(package, tmp_path / "hybrid", 1).model_copy(update=two_steps)
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
    assert hybrid.emulator is not None
    alone = {"package": package.path}
    plain = hybrid.model_copy(
        update={"output": tmp_path / "plain", "emulator": EmulatorConfig.model_validate(alone)}
    )
    run_aquaplanet(plain)
    its = _pair(plain.output, "train", last)
    assert labelled.mli.read_bytes() == its.mli.read_bytes()
    assert labelled.mlo.read_bytes() != its.mlo.read_bytes()
    without = _pair(_reference(tmp_path / "without", restart_from=restart, days=5 * STEP_D,
                               pairs={"every_steps": 1}), "train", last)  # fmt: skip
    assert labelled.mli.read_bytes() != without.mli.read_bytes()

    with netCDF4.Dataset(labelled.mli) as mli, netCDF4.Dataset(labelled.mlo) as mlo:
        before, after = (f["state_t"][:].filled(np.nan).T for f in (mli, mlo))
        rain = mlo["cam_out_PRECC"][:].filled(np.nan)
    found = label(hybrid.output, tmp_path / "labels.zarr", runs.start, True, config, 1200.0)
    assert (found.train, found.held_out) == (2, 0)
    assert not (hybrid.output / "climsim").exists()
    store = ColumnStore.open(found.store)
    columns = store.read(["state_t", "ptend_t", "cam_out_PRECC"], np.array([1]))
    assert str(store.stamps[1]) == str(last)
    assert np.array_equal(columns["state_t"], before.astype(np.float32))
    assert np.allclose(columns["ptend_t"], (after - before) / 1200.0, rtol=0, atol=1e-18)
    assert np.array_equal(columns["cam_out_PRECC"], rain)
