"""Range policy and stable top of a run: fitted to its training times, added and taken away at
export on the same weights, verified on every route and counted in the offline scores.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.evaluation.offline.constraint_section import constraint_section
from climlink.evaluation.offline.evaluate import offline_result
from climlink.evaluation.offline.metrics import metrics
from climlink.packages.export import export_run
from climlink.packages.verify import verify
from climlink.runtime import Emulator
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.data_config import ValidationConfig
from climlink.training.errors import TrainingError
from climlink.training.fits import with_fits
from climlink.training.run import train
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry

LEVELS, DAY, CP, G = 16, 86400.0, 1004.64, 9.80616
STAMPS = tuple(f"0008-{month:02d}-11-03600" for month in range(1, 7))
HELD = ValidationConfig(source="store")
LEAST = 1.0 / (30.0 * DAY)
RATE, SUN, HOUR = 1.0 / (5.0 * DAY), 3e-8, 2e-6
"""Planted: damping in 1/s, K/s per W/m2 of SOLIN, K/s per COSZRS."""


def entry(name: str, **parameters: Any) -> ConstraintEntry:
    return ConstraintEntry(name=name, parameters=parameters)


CLIP = entry("input_clip")
RELAX = entry("range_relaxation", rates_per_day={"state_t": 1.0, "state_q0001": 0.5})
TOP = entry("stable_top", above_pa=20000.0)


def _prepared(folder: Path, *, same_sun: bool = False) -> ColumnStore:
    """Return a store of four times to train, one to validate and one to test. On level 0 T is
    damped toward 220 K and heated by the sun, on level 1 it runs away, on the others it is noise.
    """
    write_dataset(folder / "pairs", STAMPS, n_column=24, level_count=LEVELS)
    for mli in sorted((folder / "pairs").rglob("*.mli.*.nc")):
        mlo = mli.with_name(mli.name.replace(".mli.", ".mlo."))
        with xr.open_dataset(mli) as before, xr.open_dataset(mlo) as after:
            x, y = before.load(), after.load()
        if same_sun:
            x["pbuf_SOLIN"] = 1360.0 * x["pbuf_COSZRS"]
            x.to_netcdf(mli, format="NETCDF3_64BIT_DATA", engine="netcdf4")
        t, sun = x["state_t"], SUN * x["pbuf_SOLIN"] + HOUR * x["pbuf_COSZRS"]
        for level, rate in ((0, -RATE), (1, +RATE)):
            heating = rate * (t[level] - 220.0) + sun
            y["state_t"][level] = t[level] + 1200.0 * heating
        y.to_netcdf(mlo, format="NETCDF3_64BIT_DATA", engine="netcdf4")
    split = Split(validation=(STAMPS[4],), test=(STAMPS[5],))
    prepare(folder / "pairs", folder / "store.zarr", split=split)
    return ColumnStore.open(folder / "store.zarr")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ColumnStore:
    return _prepared(tmp_path_factory.mktemp("planted"))


def _config(store: ColumnStore, output: Path, **fields: Any) -> TrainingConfig:
    base: dict[str, Any] = {
        "name": "held",
        "store": store.path,
        "output": output,
        "pruned_levels": 3,
        "architecture": {"name": "linear"},
        "validation": {"source": "store"},
        "epochs": 1,
        "batch_size": 24,
        "device": "cpu",
        "threads": 1,
    }
    return TrainingConfig.model_validate({**base, **fields})


@pytest.fixture(scope="module")
def run(store: ColumnStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run without any of the measures."""
    config = _config(store, tmp_path_factory.mktemp("plain") / "run")
    return train(config, progress=False).directory


def _columns(store: ColumnStore, split: str) -> dict[str, np.ndarray]:
    names = ("state_t", "pbuf_SOLIN", "pbuf_COSZRS", "ptend_t")
    return {n: v.astype(np.float64) for n, v in store.read(names, store.indices(split)).items()}


def test_the_fit_is_the_bounded_least_squares_of_all_training_columns(store: ColumnStore) -> None:
    fitted = with_fits([CLIP, entry("stable_top", levels=[1, 0, 5])], store, HELD)
    assert fitted[0] == CLIP
    got = fitted[1].parameters
    assert got["levels"] == [1, 0, 5]
    c, held = _columns(store, "train"), _columns(store, "validation")
    planted = {0: -RATE, 1: +RATE}
    for i, level in enumerate(got["levels"]):
        ones = np.ones_like(c["pbuf_SOLIN"])
        design = np.stack([ones, c["state_t"][:, level], c["pbuf_SOLIN"], c["pbuf_COSZRS"]], axis=1)
        scale = np.abs(design).max(axis=0)
        free = np.linalg.lstsq(design / scale, c["ptend_t"][:, level], rcond=None)[0] / scale
        if level in planted:  # T is float32 in a store: 2e-5 of 200 K, beside a spread of 2 K
            assert free[1] == pytest.approx(planted[level], rel=1e-4)
        if free[1] > -LEAST:
            rest, bound = np.delete(design, 1, axis=1), -LEAST * design[:, 1]
            s = np.abs(rest).max(axis=0)
            target = c["ptend_t"][:, level] - bound
            others = np.linalg.lstsq(rest / s, target, rcond=None)[0] / s
            free = np.insert(others, 1, -LEAST)
        free[1] = max(free[1], -1.0 / 1200.0)
        names = ("intercept", "temperature", "solin", "coszrs")
        np.testing.assert_allclose([got[n][i] for n in names], free, rtol=1e-7)
        sun = held["pbuf_SOLIN"], held["pbuf_COSZRS"]
        said = free[0] + free[1] * held["state_t"][:, level] + free[2] * sun[0] + free[3] * sun[1]
        truth = held["ptend_t"][:, level]
        r2 = 1.0 - ((said - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
        assert got["held_out_r2"][i] == pytest.approx(r2, rel=1e-6)
    assert got["held_out_r2"][1] > 0.9999
    assert got["temperature"][0] == -LEAST, "what runs away is held at the least damping"
    assert max(got["temperature"]) <= -LEAST
    assert with_fits(fitted, store, HELD) == fitted, "what is fitted stays as it is"


def test_levels_above_a_pressure_and_nothing_held_out(store: ColumnStore) -> None:
    h = store.hybrid
    pressure = 1e5 * (np.array(h.hyam) + np.array(h.hybm))
    above = float(0.5 * (pressure[3] + pressure[4]))
    got = with_fits([entry("stable_top", above_pa=above)], store, ValidationConfig(source="none"))
    assert got[0].parameters["levels"] == [0, 1, 2, 3]
    assert got[0].parameters["above_pa"] == above
    assert got[0].parameters["held_out_r2"] is None
    for parameters, message in (
        ({"above_pa": 0.5 * pressure[0]}, "no level of .* lies above"),
        ({"levels": [LEVELS]}, r"levels \[16\] are outside 0..15"),
        ({}, "give levels, or above_pa"),
        ({"above_pa": "high"}, "above_pa"),
    ):
        with pytest.raises(TrainingError, match=message):
            with_fits([entry("stable_top", **parameters)], store, HELD)


def test_a_sun_that_is_told_twice_gets_one_coefficient(tmp_path: Path) -> None:
    """SOLIN = 1360 COSZRS but for rounding: the fit is as good, and holds where they are not
    proportional.
    """
    store = _prepared(tmp_path, same_sun=True)
    got = with_fits([entry("stable_top", levels=[0])], store, HELD)[0].parameters
    assert got["coszrs"] == [0.0]
    assert got["solin"][0] == pytest.approx(SUN + HOUR / 1360.0, rel=1e-3)
    assert got["held_out_r2"][0] > 0.999


def test_test_times_are_never_read(store: ColumnStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[int] = set()
    original = ColumnStore.read

    def noted(self: ColumnStore, names: Any, times: Any) -> Any:
        read.update(np.atleast_1d(times).tolist())
        return original(self, names, times)

    monkeypatch.setattr(ColumnStore, "read", noted)
    with_fits([TOP], store, HELD)
    assert read == {*store.indices("train").tolist(), *store.indices("validation").tolist()}


def _ranges(store: ColumnStore, names: list[str]) -> dict[str, np.ndarray]:
    read = store.read(names, store.indices("train"))
    return {
        n: np.stack([getattr(v.reshape(len(v), -1), m)(axis=0) for m in ("min", "max")])
        for n, v in read.items()
    }


def test_measures_come_and_go_at_export_on_the_same_weights(
    store: ColumnStore, run: Path, tmp_path: Path
) -> None:
    plain = export_run(run, tmp_path / "plain.pt")
    held = export_run(
        run, tmp_path / "held.pt", constraints=[TOP, RELAX, CLIP], without=["stratospheric_water"]
    )
    names = [c.name for c in held.manifest.constraints or []]
    default = [c.name for c in plain.manifest.constraints or []]
    assert names == [
        "input_clip",
        "stable_top",
        "range_relaxation",
        *(n for n in default if n != "stratospheric_water"),
    ]
    before, after = plain.load().state_dict(), held.load().state_dict()
    shared = [k for k in before if not k.startswith("constraints.")]
    assert shared == [k for k in after if not k.startswith("constraints.")]
    assert all(torch.equal(before[k], after[k]) for k in shared)
    assert any(k.startswith("network.") for k in shared)
    inputs = load_checkpoint(run).contract.inputs
    low, high = (after[f"constraints.rules.0.{n}"] for n in ("lower", "upper"))
    for name, pair in held.manifest.training_ranges.items():
        where = inputs.slice(name)
        assert (low[where].tolist(), high[where].tolist()) == (pair[0], pair[1])
    for name, pair in _ranges(store, ["state_t", "pbuf_SOLIN", "state_q0001"]).items():
        np.testing.assert_array_equal(held.manifest.training_ranges[name], pair)
    result = verify(held)
    assert result.passed, result.as_dict()
    assert {r.route for r in result.routes if r.passed} >= {"python_eager", "torchscript", "pybind"}
    rows = _outside(held.golden_inputs, inputs, held.manifest.training_ranges)
    off = ["input_clip", "stable_top", "range_relaxation"]
    without = export_run(run, tmp_path / "without.pt", without=["stratospheric_water"])
    np.testing.assert_array_equal(
        Emulator(held.path, constraints_off=off).run_packed(rows),
        Emulator(without.path).run_packed(rows),
    )
    assert not np.array_equal(
        Emulator(held.path).run_packed(rows), Emulator(without.path).run_packed(rows)
    )


def _outside(rows: np.ndarray, inputs: Any, ranges: dict[str, Any]) -> np.ndarray:
    """Return rows with T far above its range on all levels but the first two."""
    moved = rows.copy()
    where = inputs.slice("state_t")
    moved[:, where.start + 2 : where.stop] = np.array(ranges["state_t"][1])[2:] + 30.0
    return moved


def test_the_runtime_relaxes_and_clips_as_it_is_told(
    store: ColumnStore, run: Path, tmp_path: Path
) -> None:
    """Beyond its range T no longer matters to the network, and its tendency grows by exactly the
    relaxation: in C++, on columns that no training saw.
    """
    held = export_run(run, tmp_path / "held.pt", constraints=[CLIP, RELAX])
    inputs, ranges = load_checkpoint(run).contract.inputs, held.manifest.training_ranges
    near = _outside(held.golden_inputs, inputs, ranges)
    far, where = near.copy(), inputs.slice("state_t")
    far[:, where.start + 2 : where.stop] += 50.0
    said = [Emulator(held.path).run_packed(x).astype(np.float64) for x in (near, far)]
    tendency = load_checkpoint(run).contract.outputs.slice("ptend_t")
    change = (said[1] - said[0])[:, tendency.start + 2 : tendency.stop]
    moved = (far - near)[:, where.start + 2 : where.stop].astype(np.float64)
    # Two float32 results of up to 1e-3 K/s.
    np.testing.assert_allclose(change, -moved / DAY, rtol=0, atol=2e-10)


@pytest.mark.long
def test_training_columns_are_in_their_range_so_the_policy_trains_the_same_weights(
    store: ColumnStore, run: Path, tmp_path: Path
) -> None:
    asked = [c.model_dump() for c in (RELAX, CLIP, TOP)]
    config = _config(
        store,
        tmp_path / "run",
        more_constraints=asked,
        without_constraints=["stratospheric_water"],
    )
    made = load_checkpoint(train(config, progress=False).directory)
    plain = load_checkpoint(run)
    for key, value in plain.emulator.network.state_dict().items():
        assert torch.equal(value, made.emulator.network.state_dict()[key])
    assert made.emulator.normalization.digest() == plain.emulator.normalization.digest()
    package = export_run(made.path.parent.parent, tmp_path / "wrap_model.pt")
    again = export_run(
        run, tmp_path / "again.pt", constraints=[CLIP, RELAX, TOP], without=["stratospheric_water"]
    )
    assert package.manifest.constraints == again.manifest.constraints
    rows = package.golden_inputs
    np.testing.assert_array_equal(
        Emulator(package.path).run_packed(rows), Emulator(again.path).run_packed(rows)
    )
    changed = export_run(
        made.path.parent.parent, tmp_path / "off.pt", without=["input_clip", "range_relaxation"]
    )
    assert "stable_top" in [c.name for c in changed.manifest.constraints or []]


def test_offline_scores_count_what_the_policy_does(
    store: ColumnStore, run: Path, tmp_path: Path
) -> None:
    narrow = entry("range_relaxation", rates_per_day={"state_t": 2.0})
    held = export_run(run, tmp_path / "held.pt", constraints=[CLIP, narrow])
    result = offline_result(held, store, "test")
    inputs = load_checkpoint(run).contract.inputs
    x = store.pack(inputs, store.indices("test")).astype(np.float64)
    limits = held.manifest.training_ranges
    low, high = (np.concatenate([limits[n][k] for n in inputs.names]) for k in (0, 1))
    beyond = ((x < low) | (x > high)) & (x < 1e20)
    area = store.area / store.area.sum()
    t, ps = x[:, inputs.slice("state_t")], x[:, inputs.offset("state_ps")]
    excess = np.abs(t - np.clip(t, *np.array(limits["state_t"])))
    h = store.hybrid
    edges = h.p0_pa * np.array(h.hyai) + ps[:, None] * np.array(h.hybi)
    mass = np.diff(edges, axis=1) / G
    use = result.range_use
    assert use is not None
    assert use.clipped == pytest.approx(area @ beyond.sum(axis=1))
    assert use.columns == pytest.approx(area @ beyond.any(axis=1))
    heating = (mass * CP * 2.0 / DAY * excess).sum(axis=1)
    assert use.heating == pytest.approx(area @ heating, rel=1e-6)
    touched = (mass * (excess > 0.0)).sum(axis=1) / mass.sum(axis=1)
    assert use.mass == pytest.approx(area @ touched, rel=1e-9)
    assert use.on_support
    assert metrics(result)["range_use.heating"] == use.heating
    clipped = {a.output: a for a in result.activities or [] if a.constraint == "input_clip"}
    where = inputs.slice("state_t")
    np.testing.assert_allclose(clipped["state_t"].changed, beyond[:, where].mean(axis=0))
    assert clipped["state_t"].units == "K"
    assert clipped["state_t"].size == pytest.approx(area @ excess.mean(axis=1), rel=1e-5)
    assert set(clipped) == {n for n in inputs.names if beyond[:, inputs.slice(n)].any()}
    section = constraint_section(result)
    assert section is not None
    assert "alive on support" in section.text
    assert section.tables[1].columns["mean"] == [
        use.clipped,
        100.0 * use.columns,
        use.heating,
        100.0 * use.mass,
    ]
    plain = offline_result(export_run(run, tmp_path / "plain.pt"), store, "test")
    assert plain.range_use is None
    assert not [n for n in metrics(plain) if n.startswith("range_use")]


def test_export_tells_what_does_not_fit(
    store: ColumnStore, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "wrap_model.pt"
    for constraints, without, kind, message in (
        ([entry("input_clp")], [], ContractError, "unknown constraint 'input_clp'; did you mean"),
        ([], ["input_clip"], ContractError, "no constraint 'input_clip' to leave out"),
        ([], ["liquid_ice_partition"], ContractError, r"outputs \['ptend_q0002', 'ptend_q0003'\]"),
        ([entry("stable_top", above_pa=1e-6)], [], TrainingError, "no level of"),
        ([entry("input_clip", margin=-1.0)], [], ContractError, "margin"),
        ([entry("water_closure")], [], TrainingError, "water_closure: the columns of .* not close"),
        (
            [entry("range_relaxation", rates_per_day={"state_t": 100.0})],
            [],
            ContractError,
            "the largest rate is 72 per day",
        ),
    ):
        with pytest.raises(kind, match=message):
            export_run(run, out, constraints=constraints, without=without)
    assert not out.exists()
    monkeypatch.setattr(ColumnStore, "digest", "0" * 64)
    with pytest.raises(TrainingError, match="not the store that the run was trained on"):
        export_run(run, out, constraints=[TOP])


def test_the_command_line_adds_and_leaves_out(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "wrap_model.pt"
    command = ["export", str(run), "-o", str(out)]
    done = CliRunner().invoke(
        app,
        [
            *command,
            "--constraint",
            "stable_top={above_pa: 20000}",
            "--constraint",
            "range_relaxation={rates_per_day: {state_t: 1}}",
            "--constraint",
            "input_clip",
            "--without",
            "stratospheric_water",
        ],
    )
    assert done.exit_code == 0, done.output
    assert "stable_top: R² on held-out times" in done.output
    shown = CliRunner().invoke(app, ["inspect", str(out), "--json"])
    constraints = json.loads(shown.output)["manifest"]["constraints"]
    assert [c["name"] for c in constraints][:4] == [
        "input_clip",
        "stable_top",
        "range_relaxation",
        "prune",
    ]
    assert "stratospheric_water" not in [c["name"] for c in constraints]
    for text in ("input_clip={margin", "input_clip=0.1", "=1"):
        wrong = CliRunner().invoke(app, [*command, "--constraint", text])
        assert wrong.exit_code == 2, wrong.output


def test_constraints_of_a_training_file_are_known_when_it_is_read(store: ColumnStore) -> None:
    output = Path("unused")
    config = _config(store, output, more_constraints=[{"name": "input_clip"}])
    assert [c.name for c in config.every_constraint][:2] == ["input_clip", "prune"]
    for fields, message in (
        ({"more_constraints": [{"name": "input_clp"}]}, "unknown constraint 'input_clp'"),
        ({"without_constraints": ["nihgt"]}, "no constraint 'nihgt' to leave out"),
        (
            {"more_constraints": [{"name": "night"}], "without_constraints": ["night"]},
            "'night' is named twice",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            _config(store, output, **fields)


def test_the_training_file_of_the_page_is_read(store: ColumnStore) -> None:
    page = Path(__file__).parents[4] / "docs" / "range-policy.md"
    (block,) = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    config = _config(store, Path("unused"), **yaml.safe_load(block))
    names = [c.name for c in config.every_constraint]
    assert names[:4] == ["input_clip", "stable_top", "range_relaxation", "prune"]
    assert "stratospheric_water" not in names
    assert config.normalization.drop_above_pa == 1000.0


def test_a_run_begun_before_a_key_existed_goes_on(store: ColumnStore, tmp_path: Path) -> None:
    """Its checkpoints do not know the key, which has its default."""
    config = _config(store, tmp_path / "run", epochs=2)
    train(config, progress=False, stop_after=1)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    record = json.loads(checkpoint["climlink"])
    for key in ("more_constraints", "without_constraints"):
        del record["training"][key]
    for part in (record["training"], record["contract"]):
        del part["normalization"]["drop_above_pa"]
    checkpoint["climlink"] = json.dumps(record)
    torch.save(checkpoint, path)
    assert train(config, progress=False, resume=True).directory == tmp_path / "run"
    assert load_checkpoint(tmp_path / "run").record.progress.epochs == 2
