"""The plan of a healing: its file, which states are kept, what each round learns from, and that an
interruption anywhere loses nothing and repeats nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from climlink.config import ConfigError
from climlink.data.climsim import find_pairs
from climlink.data.files import FileError
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore
from climlink.data.synthetic import write_dataset
from climlink.healing import rounds, scores
from climlink.healing.config import (
    FineTuningConfig,
    HealConfig,
    KeptConfig,
    MixConfig,
    SamplingConfig,
    load_heal,
)
from climlink.healing.hybrid import Runs, stamp_of
from climlink.healing.labels import Labels, is_labelled, label, read_labels
from climlink.healing.report import Healed, RoundResult, heal_report, markdown
from climlink.healing.rounds import fine_tuning
from climlink.healing.scores import MemberScore, OfflineScore
from climlink.healing.source import Source, find_source
from climlink.run_folder import write_record
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError

START = Stamp.parse("0001-02-01-00000")
DAYS = (1, 2)


def _config(folder: Path, **changes: Any) -> HealConfig:
    restart = folder / "reference.r.0001-02-01-00000.nc"
    folder.mkdir(parents=True, exist_ok=True)
    restart.touch()
    case = folder / "case.yaml"
    case.write_text("host: aquaplanet\ndays: 1\noutput: unused\n", encoding="utf-8")
    values = {"case": str(case), "restart_from": restart, "days": 3, "score_days": [*DAYS, 30]}
    return HealConfig.model_validate({**values, "output": folder / "heal", **changes})


def _source(folder: Path, **changes: Any) -> Source:
    training = {
        "name": "mlp",
        "store": folder / "none.zarr",
        "architecture": {"name": "linear"},
        "optimizer": {"name": "AdamW", "arguments": {"betas": [0.9, 0.95]}},
        "schedule": {"name": "StepLR", "arguments": {"step_size": 1}, "interval": "epoch"},
        "seed": 7,
        "epochs": 3,
        **changes,
    }
    config = TrainingConfig.model_validate(training)
    return Source(folder / "run", folder / "run/checkpoints/best.ckpt", config, ())


def _labels(store: Path, train: int = 4, held_out: int = 1) -> Labels:
    return Labels(store, train, held_out, 0, 0, 0)


def _member(days: float, t: list[float | None]) -> MemberScore:
    return MemberScore(
        days_lived=days,
        survived=days >= 3,
        ended=None if days >= 3 else "400 K",
        rmse={"T": t, "Q": t},
        climatology={"T": [2.8, 2.8], "Q": [0.9, 0.9]},
        skilful_days={"T": days, "Q": None},
        energy_drift_w_m2=1.5,
    )


def _offline(value: float) -> OfflineScore:
    numbers: dict[str, float | None] = {"ptend_t": value, "ptend_q0001": None}
    return OfflineScore(test=numbers, first_hybrid=numbers, own_hybrid=None)


def test_a_file_with_settings_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = load_heal("aquaplanet", ["rounds=1", "training.steps=5", "mix.hybrid=0.5"])
    assert (shipped.rounds, shipped.training.steps, shipped.mix.hybrid) == (1, 5, 0.5)
    assert (shipped.training.learning_rate, shipped.mix.original) == (2e-4, 3.0)
    assert shipped.output == tmp_path / "runs/heal"
    own = tmp_path / "study"
    own.mkdir()
    (own / "case.yaml").write_text("host: aquaplanet\ndays: 1\noutput: x\n", encoding="utf-8")
    (own / "mine.yaml").write_text("case: case.yaml\noutput: here\ndays: 2\n", encoding="utf-8")
    mine = load_heal(own / "mine.yaml")
    assert (mine.case, mine.output) == (str(own / "case.yaml"), own / "here")
    assert mine.scored_days == [1]
    with pytest.raises(ConfigError, match=r"round=1.*did you mean 'rounds'"):
        load_heal("aquaplanet", ["round=1"])
    with pytest.raises(ConfigError, match=r"steps"):
        load_heal("aquaplanet", ["training.steps=0"])
    with pytest.raises(ConfigError, match=r"none of them is within the 0\.5 days"):
        load_heal("aquaplanet", ["days=0.5"])


def test_every_key_says_what_it_is_for() -> None:
    parts = (SamplingConfig, KeptConfig, MixConfig, FineTuningConfig, HealConfig)
    fields = [(m.__name__, n, f) for m in parts for n, f in m.model_fields.items()]
    assert [(m, n) for m, n, f in fields if not f.description] == []


def test_runs_begin_at_a_restart_and_end_before_what_is_tested(
    tmp_path: Path, synthetic_store: ColumnStore
) -> None:
    runs = Runs(_config(tmp_path))
    assert (str(runs.start), str(runs.end)) == ("0001-02-01-00000", "0001-02-04-00000")
    runs.require_apart(synthetic_store)
    (tested,) = (synthetic_store.stamps[i] for i in synthetic_store.indices("test"))
    restart = tmp_path / f"case.r.{tested.plus(-3600)}.nc"
    restart.touch()
    assert stamp_of(restart) == tested.plus(-3600)
    with pytest.raises(ConfigError, match=f"holds out 1 time.*{tested}.*another restart"):
        Runs(_config(tmp_path, restart_from=restart)).require_apart(synthetic_store)
    with pytest.raises(ConfigError, match=r"gone\.nc is not there"):
        Runs(_config(tmp_path, restart_from=tmp_path / "gone.nc"))
    (tmp_path / "run/restart").mkdir(parents=True)
    for stamp in ("0001-03-01-00000", "0001-12-01-00000"):
        (tmp_path / f"run/restart/x.r.{stamp}.nc").touch()
    newest = Runs(_config(tmp_path, restart_from=tmp_path / "run"))
    assert str(newest.start) == "0001-12-01-00000"
    partial = tmp_path / "partial.yaml"
    partial.write_text(
        "host: aquaplanet\ndays: 1\noutput: x\nemulator: {package: p.pt, mode: partial, "
        "variables: [ptend_t]}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match=r"emulator\.mode is set"):
        Runs(_config(tmp_path, case=str(partial)))


def _set(path: Path, name: str, value: float) -> None:
    with netCDF4.Dataset(path, "a") as file:
        file[name][3, 2] = value


def test_only_states_of_an_atmosphere_are_learned_from(tmp_path: Path) -> None:
    run, config = tmp_path / "hybrid", _config(tmp_path, kept={"last_hours": 5})
    stamps = [str(START.plus(6 * 3600 * k)) for k in range(1, 9)]
    write_dataset(run / "climsim/shadow", stamps, n_column=8, level_count=16)
    grid = next((run / "climsim/shadow").glob("*grid-info*"))
    grid.rename(run / "climsim/hybrid_grid-info.nc")
    pairs = find_pairs(run / "climsim/shadow")
    _set(pairs[1].mli, "state_t", 345.0)
    _set(pairs[2].mli, "state_t", 149.0)
    _set(pairs[3].mli, "state_q0001", 0.5)
    label(run, tmp_path / "labels.zarr", START, False, config, 1200.0)
    found = read_labels(tmp_path / "labels.zarr")
    assert found == Labels(tmp_path / "labels.zarr", 4, 0, 2, 1, 1)
    store = ColumnStore.open(found.store)
    assert [str(s) for s in store.stamps] == [stamps[k] for k in (0, 4, 5, 6)]


def test_later_rounds_learn_from_later_days(tmp_path: Path) -> None:
    runs = Runs(_config(tmp_path, days=15, sampling={"days": [5, 10, 20]}))
    package: Any = SimpleNamespace(path=tmp_path / "p.pt", digest="0" * 64)
    whole = runs.hybrid(package, tmp_path / "hybrid", 2)
    parts = [runs.sampled(package, tmp_path / "x", 2, n) for n in range(4)]
    assert [whole.days - part.days for part in parts] == [10, 5, 0, 0]
    begins = {"restart_from", "seed", "restart_perturbation_k", "name"}
    for part in parts:
        assert part.model_dump(include=begins) == whole.model_dump(include=begins)
        assert part.emulator is not None
        assert part.emulator.given()["feedback"] == "emulator"
    assert whole.pairs.every_steps == 0
    assert whole.emulator is not None
    assert "mode" not in whole.emulator.given()


def test_whole_days_are_held_out_and_a_killed_labelling_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "hybrid"
    config = _config(tmp_path, sampling={"held_out_every_days": 2})
    stamps = [str(START.plus(6 * 3600 * k)) for k in range(1, 10)]
    write_dataset(run / "climsim/shadow", stamps, n_column=8, level_count=16)
    next((run / "climsim/shadow").glob("*grid-info*")).rename(run / "climsim/x_grid-info.nc")
    store = tmp_path / "labels.zarr"
    with monkeypatch.context() as broken:
        broken.setattr("climlink.healing.labels.replacing", _refuse)
        with pytest.raises(FileError):
            label(run, store, START, True, config, 1200.0)
    assert not is_labelled(store)
    label(run, store, START, True, config, 1200.0)
    found = read_labels(store)
    assert (found.train, found.held_out) == (5, 4)
    opened = ColumnStore.open(store)
    assert [str(opened.stamps[i]) for i in opened.indices("test")] == stamps[4:8]
    assert not store.with_suffix(".pairs").exists()


def _refuse(path: Path) -> Any:
    raise FileError(f"{path}: no space is left on this disk")


def test_a_hybrid_that_left_no_state_has_no_store(tmp_path: Path) -> None:
    (tmp_path / "hybrid/climsim").mkdir(parents=True)
    label(tmp_path / "hybrid", tmp_path / "l.zarr", START, False, _config(tmp_path), 1200.0)
    assert is_labelled(tmp_path / "l.zarr")
    found = read_labels(tmp_path / "l.zarr")
    assert found == Labels(tmp_path / "l.zarr", 0, 0, 0, 0, 0)
    assert not found.store.exists()


def test_both_trainings_of_a_round_cost_the_same(tmp_path: Path) -> None:
    config = _config(
        tmp_path,
        mix={"original": 3, "hybrid": 1, "older_rounds": 0.5},
        training={"steps": 40, "learning_rate": 1e-5, "settings": {"batch_size": 32}},
    )
    source, last = _source(tmp_path), tmp_path / "last.ckpt"
    learned = [
        [_labels(tmp_path / "a", 6), _labels(tmp_path / "b", 2)],
        [_labels(tmp_path / "c", 5), _labels(tmp_path / "d", 0)],
    ]
    heals = fine_tuning(source, config, 2, last, learned)
    control = fine_tuning(source, config, 2, last, [])
    assert heals.mix == pytest.approx(
        {"main": 3, "hybrid_0_1": 1 / 3 * 6 / 8, "hybrid_0_2": 1 / 3 * 2 / 8, "hybrid_1_1": 2 / 3}
    )
    assert {n: s.store.name for n, s in heals.stores.items()} == {
        "hybrid_0_1": "a",
        "hybrid_0_2": "b",
        "hybrid_1_1": "c",
    }
    assert (control.mix, control.stores) == ({}, {})
    differing = {"mix", "stores"}
    assert heals.model_dump(exclude=differing) == control.model_dump(exclude=differing)
    assert (heals.max_steps, heals.batch_size, heals.seed) == (40, 32, 9)
    assert heals.optimizer.arguments == {"betas": [0.9, 0.95]}
    assert (heals.schedule.name, heals.schedule.interval) == ("CosineAnnealingLR", "step")
    assert (heals.initial_weights, heals.statistics) == (last, source.statistics)


def test_a_healed_network_is_healed_again_with_the_states_of_both(tmp_path: Path) -> None:
    first = fine_tuning(
        _source(tmp_path), _config(tmp_path), 1, tmp_path / "x", [[_labels(tmp_path / "a")]]
    )
    source = replace(_source(tmp_path), training=first)
    again = fine_tuning(source, _config(tmp_path), 1, tmp_path / "x", [[_labels(tmp_path / "b")]])
    assert {n: s.store.name for n, s in again.stores.items()} == {
        "hybrid_0_1": "a",
        "hybrid_0_1_again": "b",
    }
    assert again.mix == pytest.approx({"main": 2.25, "hybrid_0_1": 0.75, "hybrid_0_1_again": 1.0})


def test_the_last_stage_is_what_goes_on(tmp_path: Path) -> None:
    source = _source(
        tmp_path,
        stages=[{"name": "far"}, {"name": "near", "trajectory": {"steps": 6}, "batch_size": 64}],
    )
    config = fine_tuning(source, _config(tmp_path), 1, tmp_path / "x", [[_labels(tmp_path / "a")]])
    assert (config.stages, config.trajectory, config.batch_size) == ([], None, 64)


def test_the_dead_are_worse_than_every_living_run(tmp_path: Path) -> None:
    labels, dead = (_labels(tmp_path),) * 3, _member(1.0, [2.0, None])
    living = (_member(3.0, [1.0, 4.0]), _member(3.0, [3.0, 9.0]))
    one = RoundResult("start", 0, "0" * 64, labels, (dead,) * 3, _offline(0.7))
    two = replace(one, arm="heal", number=1, members=(dead, *living))
    half = replace(two, members=(*living, dead, dead))
    assert [one.error("T", k) for k in (0, 1)] == [2.0, math.inf]
    assert [two.error("T", k) for k in (0, 1)] == [2.0, 9.0]
    assert half.error("T", 1) == math.inf
    assert (two.survived, two.mean_days) == (2, pytest.approx(7 / 3))
    control = replace(one, arm="control", number=1)
    healed = Healed(_config(tmp_path), tmp_path, (one, two, control))
    table = markdown(healed).splitlines()
    assert "| start | 0 of 3 | 1, 1, 1 | 2.00/dead | 2.00/dead | 1.50 | 0.70/– |" in table[2]
    assert "| heal 1 | 2 of 3 | 1, 3, 3 | 2.00/9.00 |" in table[3]
    assert table[5].startswith("| climatology |  |  | 2.80/2.80 | 0.90/0.90 |")
    report = heal_report(healed, "climlink online heal x")
    (packages,) = report.sections[0].tables
    assert packages.columns["T RMSE, day 2"] == ["dead", 9.0, "dead"]
    assert packages.columns["lived"] == [0, 2, 0]
    assert packages.columns["lived, high"][0] == pytest.approx(1 - 0.025 ** (1 / 3))
    assert report.numbers["days_lived"].shape == (3, 3)


def test_a_run_is_scored_on_the_days_that_it_lived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, day = ["run", "climatology"], [1.0, 2.0, 3.0]
    errors = np.array([[1.0, 2.0, np.nan], [2.5, 2.5, np.nan]])
    energy = np.array([[2e9, 2e9 - 86400.0 * 4, np.nan], [2e9, 2e9, 2e9]])
    numbers = xr.Dataset(
        {
            "daily_rmse_T": (("pair", "daily_day"), errors),
            "daily_rmse_Q": (("pair", "daily_day"), 1e-3 * errors),
            "global_energy": (("member", "global_day"), energy),
        },
        coords={
            "pair": pairs,
            "daily_day": day,
            "member": ["run", "reference"],
            "global_day": day,
        },
    )
    summary = SimpleNamespace(
        days=2.0, survived=False, ended="400 K", metrics={"skilful_days.T": 2.0}
    )
    monkeypatch.setattr(
        scores, "evaluate_online", lambda *a, **k: SimpleNamespace(numbers=numbers, summary=summary)
    )
    file = tmp_path / "online.json"
    found = scores.score_member(tmp_path, tmp_path, [1, 2, 3, 5], file, lambda *_: None)
    assert found.rmse == {"T": [1.0, 2.0, None, None], "Q": [1.0, 2.0, None, None]}
    assert found.climatology["T"] == [2.5, 2.5, None, None]
    assert found.energy_drift_w_m2 == pytest.approx(-2.0)  # -4 W/m2 of one day over two
    assert found.skilful_days == {"T": 2.0, "Q": None}
    monkeypatch.setattr(scores, "evaluate_online", None)
    assert scores.score_member(tmp_path, tmp_path, [1], file, lambda *_: None) == found


class _Model:
    """In place of everything that takes long: writes what it would leave, and may be killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, calls: int) -> None:
        self.done: list[str] = []
        self._folder, self._left = folder, calls
        monkeypatch.setattr("climlink.healing.hybrid.run_aquaplanet", self.run)
        monkeypatch.setattr(rounds, "train", self.train)
        monkeypatch.setattr(rounds, "_is_trained", lambda run: (run / "trained").is_file())
        monkeypatch.setattr(rounds, "label", self.label)
        monkeypatch.setattr(rounds, "is_labelled", Path.exists)
        monkeypatch.setattr(rounds, "read_labels", _labels)
        monkeypatch.setattr(rounds, "score_member", lambda *_: _member(3.0, [1.0, 2.0]))
        monkeypatch.setattr(rounds, "score_offline", lambda *_: _offline(0.5))
        monkeypatch.setattr(rounds.EmulatorPackage, "read", lambda path: _Package(path))
        monkeypatch.setattr(Source, "export", self.export)
        monkeypatch.setattr(rounds, "write_report", lambda *_: None)
        monkeypatch.setattr(Runs, "hybrid", self.hybrid)
        monkeypatch.setattr(Runs, "sampled", self.hybrid)
        monkeypatch.setattr(rounds, "_held_out", lambda labels: [])

    def _work(self, path: Path) -> None:
        """Do one part, or be killed halfway."""
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        self.done.append(str(path.relative_to(self._folder)))

    def run(self, case: Any, progress: Any) -> None:
        case.output.mkdir(parents=True)
        write_record(case.output, {"case": {}}, status="running")
        self._work(case.output)
        write_record(case.output, {"case": {}}, status="finished")

    def hybrid(self, package: Any, folder: Path, *which: int) -> Any:
        return self.case.model_copy(update={"output": folder})

    def train(self, config: TrainingConfig, **options: Any) -> None:
        assert options["resume"]
        config.run_directory.mkdir(parents=True, exist_ok=True)
        assert config.initial_weights is not None
        names = [config.initial_weights.parent.parent.parent.name, *config.stores]
        (config.run_directory / "half").touch()
        self._work(config.run_directory)
        (config.run_directory / "trained").write_text(" ".join(names), encoding="utf-8")

    def export(self, run: Path, package: Path, constraints: Any, without: Any) -> Any:
        self._work(package)
        package.parent.mkdir(parents=True, exist_ok=True)
        package.touch()
        return _Package(package)

    def label(self, run: Path, store: Path, *given: Any) -> None:
        self._work(store)
        store.touch()

    case: Any = None


class _Package:
    digest = "0" * 64

    def __init__(self, path: Path) -> None:
        self.path = path


@contextmanager
def _no_bar(label: str) -> Iterator[Callable[..., None]]:
    yield lambda *given: None


class _Silent:
    bar = staticmethod(_no_bar)

    def stage(self, title: str) -> None:
        """Tell nobody."""


def test_a_killed_healing_goes_on_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synthetic_store: ColumnStore
) -> None:
    def call(folder: Path, calls: int, **changes: Any) -> list[str]:
        config = _config(folder, rounds=2, members=2, **changes)
        source = _source(folder, store=synthetic_store.path)
        monkeypatch.setattr(rounds, "find_source", lambda given: source)
        model = _Model(monkeypatch, config.output, calls)
        model.case = Runs(config)._case
        try:
            rounds.heal(folder / "wrap_model.pt", config, _Silent(), progress=False)
        except KeyboardInterrupt:
            model.done.append("killed")
        return model.done

    whole = call(tmp_path / "whole", 0)
    # reference; packages with two runs and labels of each member; trainings
    assert len(whole) == 1 + 5 * (1 + 2 * 3) + 4
    assert max(Counter(whole).values()) == 1
    training = tmp_path / "whole/heal/round_2/heal/training/trained"
    assert training.read_text(encoding="utf-8").split() == [
        "heal",
        *(f"hybrid_{n}_{m}" for n in (0, 1) for m in (1, 2)),
    ]
    control = tmp_path / "whole/heal/round_2/control/training/trained"
    assert control.read_text(encoding="utf-8").split() == ["control"]
    for place in ("heal/round_0/labels_2.zarr", "heal/round_1/control/training"):
        part = whole.index(place.removeprefix("heal/"))
        folder = tmp_path / f"killed_{part}"
        first, second = call(folder, part + 1), call(folder, 0)
        assert first == [*whole[:part], "killed"]
        assert second == whole[part:]
    assert call(tmp_path / "whole", 0) == []
    with pytest.raises(ConfigError, match=r"holds another healing: days was 3\.0, now 4\.0"):
        call(tmp_path / "whole", 0, days=4)
    with pytest.raises(ConfigError, match=r"constraints was \[\], now .*input_clip"):
        call(tmp_path / "whole", 0, constraints=[{"name": "input_clip"}])


def test_a_package_without_its_training_run_is_refused(
    linear_package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainingError, match=r"does not say which run trained it: give the folder"):
        find_source(linear_package.path)
