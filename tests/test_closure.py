"""Closed columns from end to end: what the embedded model's columns close to, training with a head
for the net radiation at the top, package, routes, and what the offline report says first.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from climlink.data.climsim import find_pairs
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.statistics import compute_statistics
from climlink.data.store import ColumnStore
from climlink.evaluation.offline.evaluate import evaluate_offline, offline_result
from climlink.evaluation.offline.metrics import metrics
from climlink.evaluation.offline.packages import combined_report
from climlink.evaluation.offline.words import words
from climlink.online.aquaplanet import AquaplanetConfig, run_aquaplanet
from climlink.packages.export import export_run
from climlink.packages.prediction import Predictor
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify
from climlink.runtime import Emulator
from climlink.training.callbacks import numbers, read_metrics
from climlink.training.checkpoint import load_checkpoint
from climlink.training.closure import column_water_residual
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import train
from climlink.wrappers.contract import value_sets

G, CP, LV, LF, STEP, DAY = 9.80616, 1004.64, 2.501e6, 3.337e5, 1200.0, 86400.0
EVERY = 12  # steps between pairs
IN_THIS_PROCESS = ("python_eager", "torchscript", "pybind")
WATER = ("ptend_q0001", "ptend_q0002", "ptend_q0003")
OWN = """
from climlink import register_architecture
from climlink.architectures.linear import Linear, LinearConfiguration

@register_architecture("own", configuration=LinearConfiguration)
class Own(Linear):
    \"\"\"A network of one's own.\"\"\"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of half a day of the embedded model from rest, with pairs every four
    hours.
    """
    folder = tmp_path_factory.mktemp("embedded") / "run"
    case = {
        "host": "aquaplanet",
        "name": "steps",
        "days": 0.5,
        "history": {"monthly": False, "daily": False},
        "pairs": {"every_steps": EVERY, "from_day": 0},
        "output": folder,
        "ranks": 1,
    }
    run_aquaplanet(AquaplanetConfig.model_validate(case))
    return folder


@pytest.fixture(scope="module")
def store(run: Path) -> ColumnStore:
    """Return its pairs as a store: the last time is for tests."""
    pairs = run / "climsim"
    stamps = [str(p.stamp) for p in find_pairs(pairs)]
    prepare(pairs, run / "store.zarr", split=Split(test=(stamps[-1],)))
    return ColumnStore.open(run / "store.zarr")


def _config(store: ColumnStore, folder: Path, **fields: Any) -> TrainingConfig:
    base: dict[str, Any] = {
        "name": "closed",
        "store": store.path,
        "output": folder / "run",
        "architecture": {"name": "mlp", "configuration": {"hidden": [16]}},
        "validation": {"source": "none"},
        "closure": {"head": [8]},
        "max_steps": 2,
        "batch_size": 64,
        "device": "cpu",
        "threads": 1,
        "tensorboard": False,
    }
    return TrainingConfig.model_validate({**base, **fields})


@pytest.fixture(scope="module")
def package(store: ColumnStore, tmp_path_factory: pytest.TempPathFactory) -> EmulatorPackage:
    """Return a package of a short training with closure."""
    folder = tmp_path_factory.mktemp("closed")
    made = train(_config(store, folder, max_steps=10), progress=False)
    return export_run(made.directory, folder / "wrap_model.pt")


def test_the_embedded_models_columns_close_and_give_the_radiation_at_its_top(
    run: Path, store: ColumnStore
) -> None:
    with (run / "budgets.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    known = [float(line["toa_net_W_m2"]) for line in lines[::EVERY]]
    assert len(known) == store.n_time
    columns = store.read(["toa_net", "pbuf_SOLIN"], slice(None))
    top = columns["toa_net"].reshape(store.n_time, -1)
    # The host's own radiation, from its doubles; the pairs' state and longwave are float32.
    np.testing.assert_allclose(top @ (store.area / store.area.sum()), known, atol=1e-4)
    night = columns["pbuf_SOLIN"] == 0.0
    assert columns["toa_net"][night].max() < -80.0, "what a column emits"
    assert (columns["toa_net"] < columns["pbuf_SOLIN"]).all()
    residual = column_water_residual(store, np.arange(store.n_time))
    assert np.abs(residual).max() < 1e-5  # mm/day; surface pressure is stored in float32
    assert "toa_net" not in [v.name for v in store.derived]
    assert "toa_net" not in compute_statistics(store).variables, "only where it is asked for"


def test_a_package_holds_its_head_and_passes_the_routes(package: EmulatorPackage) -> None:
    manifest = package.manifest
    assert [c.name for c in manifest.constraints or []][-2:] == ["water_closure", "energy_closure"]
    assert manifest.network_outputs is not None
    assert manifest.architecture is not None
    assert manifest.network_outputs.variables[-1].name == "toa_net"
    assert manifest.architecture.configuration is not None
    assert manifest.architecture.configuration["output_heads"] == {"toa_net": [8]}
    assert manifest.n_output == 368, "no host receives it"
    found = verify(package, routes=(*IN_THIS_PROCESS, "c"))
    assert all(r.passed for r in found.routes), found.as_dict()


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "composed", "configuration": {"stem": {"width": 4}, "confidence": True}},
        {"name": "linear"},
    ],
    ids=lambda a: str(a["name"]),
)
def test_any_architecture_has_the_head_beside_it(
    architecture: dict[str, Any], store: ColumnStore, tmp_path: Path
) -> None:
    if architecture["name"] == "linear":
        (tmp_path / "nets.py").write_text(OWN, encoding="utf-8")
        architecture = {"name": "own", "file": tmp_path / "nets.py"}
    made = train(
        _config(store, tmp_path, architecture=architecture, auxiliary=["aux_slat"]), progress=False
    )
    exported = export_run(made.directory, tmp_path / "wrap_model.pt")
    assert verify(exported, routes=IN_THIS_PROCESS).passed
    again = load_checkpoint(made.directory)
    names = again.contract.network_outputs.names
    assert names[-2:] == ("toa_net", "aux_slat")
    with torch.no_grad():
        rows = again.emulator(torch.from_numpy(exported.golden_inputs)).numpy()
    scale = np.abs(exported.golden_outputs).max(axis=0) + 1e-30
    assert np.abs((rows - exported.golden_outputs) / scale).max() < 1e-5
    if exported.manifest.has_confidence:
        confidence = [v.name for v in exported.manifest.outputs.of_role("confidence")]
        assert confidence[-1] == "confidence_toa_net"
        scored = offline_result(exported, store, "test", changes=False)
        assert scored.confidence is not None
        assert "ptend_t" in scored.confidence.crps
        assert "toa_net" not in scored.confidence.crps
        assert "confidence of toa_net" in [x.what for x in scored.excluded]


def _budgets(store: ColumnStore, values: np.ndarray, names: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return column water in mm/day and implied net radiation in W/m2 of the test time [row]."""
    h, times = store.hybrid, store.indices("test")
    c = store.read(["state_u", "state_v", "state_ps", "cam_in_LWUP"], times)
    c = {n: v.astype(np.float64) for n, v in c.items()}
    m = np.diff(h.p0_pa * np.array(h.hyai) + c["state_ps"][:, None] * np.array(h.hybi)) / G
    o = {n: values[:, names.slice(n)] for n in names.names}
    t, q, u, v = (o[f"ptend_{n}"] for n in ("t", "q0001", "u", "v"))
    energy = CP * t + LV * q - LF * o["ptend_q0003"]
    energy += u * (c["state_u"] + STEP * u / 2) + v * (c["state_v"] + STEP * v / 2)
    top = (m * energy).sum(axis=1) + o["cam_out_NETSW"][:, 0] + o["cam_out_FLWDS"][:, 0]
    top -= c["cam_in_LWUP"] + LF * 1e3 * o["cam_out_PRECSC"][:, 0]
    water = (m * sum(o[n] for n in WATER)).sum(axis=1) + 1e3 * o["cam_out_PRECC"][:, 0]
    return DAY * water, top


def test_residuals_are_told_before_and_after_closure(
    package: EmulatorPackage, store: ColumnStore
) -> None:
    result = offline_result(package, store, "test")
    inputs, outputs = value_sets(package.manifest)
    times, weights = store.indices("test"), store.area / store.area.sum()
    rows, changes = Predictor(package).rows_and_changes(store.pack(inputs, times))
    assert changes is not None
    received = rows.astype(np.float64)
    before = received.copy()
    closures = ("water_closure", "energy_closure")
    for key in (k for k in changes if k.startswith(closures)):
        before[:, outputs.slice(key.split("/")[1])] -= changes[key]
    _, truth = _budgets(store, store.targets(outputs, times), outputs)
    found = metrics(result)
    for which, values in (("_before", before), ("", received)):
        water, top = _budgets(store, values, outputs)
        for budget, error in (("water", water), ("energy", top - truth)):
            bias, rms = weights @ error, np.sqrt(weights @ error**2)
            known = [found[f"residual_{n}{which}.{budget}"] for n in ("bias", "rms")]
            # Residuals that are closed are rounding, which sums in another order change.
            np.testing.assert_allclose(known, [bias, rms], rtol=1e-6, atol=1e-8)
    assert (found["residual_rms_before.water"] or 0.0) > 1e-3
    assert np.abs(_budgets(store, received, outputs)[0]).max() < 1e-5  # mm/day, after float32
    assert next(iter(found)) == "residual_bias_before.water", "a summary opens with them"
    assert [r.which for r in result.residuals] == ["truth", *["before", "received"] * 2]
    assert "mm/day of water (before closure" in words(result, found).split(". ")[2]


@pytest.mark.long  # draws every figure of three reports
def test_reports_open_with_residuals(
    package: EmulatorPackage, store: ColumnStore, tmp_path: Path
) -> None:
    got = evaluate_offline(package, store)
    assert got.report.sections[0].title == "Closure"
    assert len(got.report.sections[0].tables[0].columns["residual"]) == 5
    both = combined_report([got, evaluate_offline(_unclosed(store, tmp_path), store)], "command")
    assert both.sections[0].title == "Closure"
    assert len(both.sections[0].tables[0].columns["residual"]) == 5 + 3


def _unclosed(store: ColumnStore, folder: Path) -> EmulatorPackage:
    """Return a package of the same training without closure."""
    made = train(_config(store, folder, closure=None), progress=False)
    return export_run(made.directory, folder / "wrap_model.pt")


def test_the_head_has_its_score_in_every_epochs_line(store: ColumnStore, tmp_path: Path) -> None:
    held = store.indices("train")[1::2]
    validation = {"source": "cut", "every": 2, "offset": 1}
    made = train(_config(store, tmp_path, validation=validation), progress=False)
    line = numbers(read_metrics(made.directory / "metrics.csv")[-1])
    trained = load_checkpoint(made.directory / "checkpoints" / "last.ckpt")
    rows = torch.from_numpy(store.pack(trained.contract.inputs, held))
    with torch.no_grad():
        normalized, _ = trained.emulator.normalized_forward(rows)
        predicted = trained.emulator.physical_outputs(normalized)["toa_net"][:, 0].numpy()
    truth = store.read(["toa_net"], held)["toa_net"]
    r2 = 1.0 - np.square(predicted - truth).sum() / np.square(truth - truth.mean()).sum()
    # Rows come to the network in other batches, whose float32 roundings differ.
    assert line["r2_toa_net"] == pytest.approx(r2, rel=1e-5)
    received = [v for n, v in line.items() if n.startswith("r2_") and n != "r2_toa_net"]
    assert line["skill"] == pytest.approx(np.nanmean(received), rel=1e-6)


def test_a_host_leaves_the_closures_out_by_name(package: EmulatorPackage) -> None:
    rows = package.golden_inputs
    closed = Emulator(package.path).run_packed(rows)
    host = Emulator(package.path, constraints_off=["water_closure", "energy_closure"])
    changed = (host.run_packed(rows) != closed).any(axis=0)
    outputs = value_sets(package.manifest)[1]
    names = [n for n in outputs.names if changed[outputs.slice(n)].any()]
    sunlight = [f"cam_out_{n}" for n in ("NETSW", "SOLS", "SOLL", "SOLSD", "SOLLD")]
    assert names[:3] == ["ptend_t", "ptend_q0001", "cam_out_NETSW"]
    assert set(names[3:]) <= set(sunlight), "as far as it is not zero already"


def test_columns_that_do_not_close_are_refused_with_what_they_leave(
    climsim_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "pairs").mkdir()
    for file in (f for p in find_pairs(climsim_dir)[:2] for f in (p.mli, p.mlo)):
        (tmp_path / "pairs" / file.name).symlink_to(file.resolve())
    grid = next(climsim_dir.glob("*grid-info.nc"))
    prepare(tmp_path / "pairs", tmp_path / "real.zarr", split=Split(), grid=grid)
    real = ColumnStore.open(tmp_path / "real.zarr")
    rms = np.sqrt(np.mean(column_water_residual(real, np.arange(2)) ** 2))
    assert 1.0 < rms < 10.0
    with pytest.raises(TrainingError, match=rf"do not close: .* rms of {rms:.3g} mm/day over 768"):
        train(_config(real, tmp_path), progress=False)
    assert not (tmp_path / "run").exists()
