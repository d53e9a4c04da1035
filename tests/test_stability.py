"""climlink evaluate stability, from packages with planted responses to verdicts, reports and exit
codes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.climsim import find_pairs
from climlink.data.grid import find_grid, read_grid
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.data.store import ColumnStore, StoreConfig
from climlink.data.sun import sun
from climlink.data.synthetic import write_dataset
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.evaluate import StabilityEvaluation, evaluate_stability
from climlink.evaluation.stability.options import StabilityOptions
from climlink.evaluation.stability.summary import StabilitySummary
from climlink.evaluation.summary import read_summary
from climlink.packages.import_wrapper import ImportRequest, import_package
from climlink.packages.read import EmulatorPackage

PER_DAY = 1.0 / 86400.0
FEW = StabilityOptions(
    ensemble=6,
    wavelengths=3,
    shortest_km=1000.0,
    longest_km=20000.0,
    sensitivity_columns=2,
    columns=(),
)


class Relaxation(nn.Module):
    """dT/dt = rate (T - T0) with one rate per level, dq/dt = -q per day, small outputs elsewhere: a
    column whose Jacobian is known.
    """

    def __init__(self, rate: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("rate", torch.tensor(rate, dtype=torch.float32))
        self.register_buffer("seen", torch.full((557, 248), 1e-12))

    def forward(self, x: Tensor) -> Tensor:
        heating = self.rate * (x[:, :60] - 250.0)
        drying = x[:, 60:120] * (-1.0 / 86400.0)
        return torch.cat([heating, drying, x.clamp(-1e3, 1e3) @ self.seen], dim=1)


@pytest.fixture(scope="module")
def make_package(synthetic_store: ColumnStore, tmp_path_factory: pytest.TempPathFactory):
    """Return a function from rates per day [level] to a package that relaxes temperature with
    them.
    """
    folder = tmp_path_factory.mktemp("planted")

    def make(name: str, rate_per_day: np.ndarray) -> Path:
        torch.jit.script(Relaxation(rate_per_day * PER_DAY)).save(str(folder / f"{name}.old.pt"))
        import_package(
            folder / f"{name}.old.pt",
            ImportRequest("host_v2_q", data=synthetic_store.path, name=name),
            folder / f"{name}.pt",
        )
        return folder / f"{name}.pt"

    return make


@pytest.fixture(scope="module")
def pressure_hpa(synthetic_store: ColumnStore) -> np.ndarray:
    h = synthetic_store.hybrid
    return 1000.0 * (np.array(h.hyam) + np.array(h.hybm))


@pytest.fixture(scope="module")
def stable_package(make_package, pressure_hpa: np.ndarray) -> Path:
    return make_package("calm", np.full(60, -1.0))


@pytest.fixture(scope="module")
def unstable_package(make_package, pressure_hpa: np.ndarray) -> Path:
    # The whole column heats where it is warm: energy shared with motion, so waves grow at half of
    # it less half the friction.
    return make_package("wild", np.where(pressure_hpa > 100.0, 1.2, -1.0))


def screen(package: Path, store: ColumnStore, **changes: object) -> StabilityEvaluation:
    options = StabilityOptions(**{**vars(FEW), **changes})  # type: ignore[arg-type]
    return evaluate_stability(package, store.path, options=options)


def test_a_planted_stable_emulator_passes(
    stable_package: Path, synthetic_store: ColumnStore
) -> None:
    done = screen(stable_package, synthetic_store)
    assert done.summary.verdict == "stable"
    assert done.summary.reasons == []
    assert "stable" in done.report.words
    growth = done.summary.metrics["growth.max_per_day"]
    # T loses 1/day, u and w lose 0.2/day: a wave that shares its energy loses about 0.6/day.
    assert growth is not None
    assert growth < -0.3
    assert done.summary.metrics["column.growth_max"] == pytest.approx(-1.0, rel=1e-3)
    assert done.summary.metrics["stratosphere.growth_max"] == pytest.approx(-1.0, rel=1e-3)
    assert done.summary.metrics["response.difference_0.1"] < 1e-3


def test_a_planted_instability_is_found_at_its_growth(
    unstable_package: Path, synthetic_store: ColumnStore
) -> None:
    done = screen(unstable_package, synthetic_store)
    assert done.summary.verdict == "unstable"
    metrics = done.summary.metrics
    assert metrics["growth.phase_speed_m_s"] > 5.0
    # a/2 - d/2 = 0.6 - 0.1 for waves within the heated layers, less where they reach above.
    assert 0.25 < metrics["growth.max_per_day"] < 0.55
    assert metrics["column.growth_max"] == pytest.approx(1.2, rel=1e-3)
    assert all("a gravity wave growing at" in reason for reason in done.summary.reasons)
    assert "gravity wave growing at" in done.report.words
    for result in done.findings.results:
        np.testing.assert_allclose(np.diag(result.response.mean)[60:], -PER_DAY, rtol=1e-5)


def test_a_stratosphere_that_does_not_damp_is_named(
    make_package, pressure_hpa: np.ndarray, synthetic_store: ColumnStore
) -> None:
    rate = np.full(60, -1.0)
    top = int(np.argmin(np.abs(pressure_hpa - 5.0)))
    rate[top] = 0.05
    done = screen(make_package("top", rate), synthetic_store)
    assert done.summary.verdict == "unstable"
    assert done.summary.metrics["stratosphere.growth_max"] == pytest.approx(0.05, rel=1e-3)
    wanted = (
        f"temperature above 100 hPa growing at 0.05/day by itself, peak at {pressure_hpa[top]:.2g} "
        "hPa, where"
    )
    assert all(wanted in reason for reason in done.summary.reasons if "100 hPa" in reason)
    assert len([r for r in done.summary.reasons if wanted in r]) == len(done.summary.states)


def test_damping_too_fast_for_the_time_step_is_named(
    make_package, synthetic_store: ColumnStore
) -> None:
    rate = np.full(60, -1.0)
    rate[50] = -180.0  # times 1200 s is -2.5: a step turns 1 K into -1.5 K
    done = screen(make_package("stiff", rate), synthetic_store)
    assert done.summary.verdict == "unstable"
    assert done.summary.metrics["column.damping_per_step_max"] == pytest.approx(2.5, rel=1e-3)
    assert "one step of 1200 s multiplies a column mode by -1.5" in done.summary.reasons[0]


def test_a_column_of_the_users_choice_and_cloud(
    stable_package: Path, synthetic_store: ColumnStore
) -> None:
    stamp = synthetic_store.stamps[-1]
    done = screen(
        stable_package,
        synthetic_store,
        columns=(f"{stamp}:3", f"{stamp}:9"),
        cloud=True,
        ensemble=3,
    )
    assert done.summary.states == ["column_1", "column_2"]
    assert done.findings.results[0].response.mean.shape == (240, 240)
    assert done.report.numbers["growth"].shape == (2, 3, 59 + 240)


def test_consecutive_pairs_are_replayed_and_their_absence_is_told(
    stable_package: Path, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    first = Stamp.parse("0008-03-01-00000")
    pairs = write_dataset(
        tmp_path / "pairs", [first.plus(1200 * n) for n in range(4)], n_column=6, level_count=60
    )
    done = screen(stable_package, synthetic_store, pairs=pairs)
    assert done.summary.metrics["semi_online.steps"] == 3.0
    assert (
        done.summary.metrics["semi_online.rmse.T"]
        > done.summary.metrics["semi_online_nudged.rmse.T"]
        > 0.0
    )
    assert "0008-03-01-00000 to 0008-03-01-03600: 3 step(s)" in done.report.sections[-1].text
    assert [one.name for one in done.findings.free_runs] == [
        "recorded.stratosphere",
        "recorded.troposphere",
    ]
    assert done.summary.metrics["free_run.recorded.troposphere.lived_days"] == 3.0 / 72.0
    alone = screen(stable_package, synthetic_store)
    assert alone.summary.metrics["semi_online.steps"] is None
    assert any("no two steps that follow each other" in e for e in alone.summary.excluded)
    assert "no consecutive steps" in alone.report.words
    # The sun of these columns is a random number.
    assert alone.findings.free_runs == []
    assert any("--free-run-sun recorded" in e for e in alone.summary.excluded)
    assert alone.summary.free_run_call == "not calibrated"


def test_stores_that_do_not_fit_are_refused(
    stable_package: Path, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    small = write_dataset(tmp_path / "small", ["0008-03-01-00000"], n_column=4, level_count=8)
    prepare(small, tmp_path / "small.zarr", split=Split(test=("0008-03-01-00000",)))
    with pytest.raises(EvaluationError, match="has 8 levels"):
        evaluate_stability(stable_package, tmp_path / "small.zarr")
    other = write_dataset(tmp_path / "other", ["0008-03-01-00000"], n_column=4, level_count=60)
    prepare(
        other,
        tmp_path / "other.zarr",
        split=Split(test=("0008-03-01-00000",), time_step_s=1800),
        config=StoreConfig(time_step_s=1800.0),
    )
    with pytest.raises(EvaluationError, match="time step of 1800 s"):
        evaluate_stability(stable_package, tmp_path / "other.zarr")
    with pytest.raises(EvaluationError, match="validation split holds no times"):
        screen(stable_package, synthetic_store, split="validation")
    with pytest.raises(EvaluationError, match="ensemble must be 1 or more"):
        StabilityOptions(ensemble=0)
    with pytest.raises(EvaluationError, match="free_run_days must lie between 0"):
        StabilityOptions(free_run_days=-1.0)
    with pytest.raises(EvaluationError, match="sun must be clock or recorded, got 'moon'"):
        StabilityOptions(sun="moon")  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="growth limit must not be negative"):
        screen(stable_package, synthetic_store, growth_limit=-1.0)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def test_the_command_writes_a_report_and_fails_on_an_unstable_package_when_asked(
    stable_package: Path, unstable_package: Path, synthetic_store: ColumnStore, tmp_path: Path
) -> None:
    common = ("--data", synthetic_store.path, "--ensemble", 2, "--wavelengths", 3)
    code, text = run(
        "evaluate",
        "stability",
        unstable_package,
        *common,
        "-o",
        tmp_path / "wild",
        "--json",
        "--fail-on-unstable",
    )
    assert code == 1
    printed = StabilitySummary.model_validate(json.loads(text))
    assert printed == read_summary(tmp_path / "wild", StabilitySummary)
    assert printed.package.sha256 == EmulatorPackage.read(unstable_package).digest
    code, text = run(
        "evaluate",
        "stability",
        stable_package,
        *common,
        "-o",
        tmp_path / "calm",
        "--fail-on-unstable",
    )
    assert code == 0
    assert "stable" in text
    page = (tmp_path / "calm" / "report.html").read_text()
    assert "The screen finds calm stable" in page
    pictures = {p.stem for p in (tmp_path / "calm" / "figures").iterdir()}
    assert pictures == {
        "growth_and_speed",
        "wavelengths",
        "fastest_wave",
        "response",
        "self_response",
        "sensitivity",
    }
    with xr.open_dataset(tmp_path / "calm" / "numbers.nc") as numbers:
        assert numbers["growth"].dims == ("state", "wavelength", "mode")
        assert numbers["growth"].attrs["units"] == "1/day"
        assert numbers["sensitivity"].shape == (368, 557)


def sunny_store(folder: Path, stamp: str) -> ColumnStore:
    """Return a store of six columns whose sun stands where the clock puts it."""
    source = write_dataset(folder / "sunny", [stamp], n_column=6, level_count=60)
    grid = read_grid(find_grid(source))
    seconds = np.full(6, Stamp.parse(stamp).seconds)
    cosine, sunlight = sun(seconds, grid.latitude, grid.longitude)
    for pair in find_pairs(source):
        with netCDF4.Dataset(pair.mli, "r+") as file:
            file["pbuf_COSZRS"][:], file["pbuf_SOLIN"][:] = cosine, sunlight
    prepare(source, folder / "sunny.zarr", split=Split(test=(stamp,)))
    return ColumnStore.open(folder / "sunny.zarr")


def test_a_column_that_heats_itself_is_dated_and_judged(
    make_package, pressure_hpa: np.ndarray, tmp_path: Path
) -> None:
    store = sunny_store(tmp_path, "0008-03-01-00000")
    rate, level = np.full(60, -1.0), int(np.argmin(np.abs(pressure_hpa - 5.0)))
    rate[level] = 1.5
    package = make_package("heater", rate)
    limits = tmp_path / "limits.yaml"
    limits.write_text(
        "name: planted\ncalibrated_on: [none]\nwithout_range_policy:\n"
        "  free_run.alone.stratosphere.lived_days: {below: 5.0}\n",
        encoding="utf-8",
    )
    code, text = run(
        *("evaluate", "stability", package, "--data", store.path, "-o", tmp_path / "out"),
        *("--ensemble", 6, "--wavelengths", 3, "--free-run-days", 5, "--free-run-columns", 6),
        *("--limits", limits, "--fail-on-unstable"),
    )
    assert code == 1
    start = store.read(("state_t",), [0])["state_t"][:, level].astype(np.float64) - 250.0
    growing = start * (1.0 + 1.5 / 72.0) ** np.arange(361)[:, None]
    died = int(np.argmax((np.abs(growing) > 150.0).any(axis=1)))
    assert 0 < died < 360
    summary = read_summary(tmp_path / "out", StabilitySummary)
    metrics = summary.metrics
    # Rows are float32, so a step may fall on the other side of the limit.
    lived = metrics["free_run.alone.stratosphere.lived_days"]
    assert lived == pytest.approx(died / 72.0, abs=1.0 / 72.0)
    assert metrics["free_run.alone.stratosphere.days_in_range"] is None
    assert metrics["free_run.recorded.stratosphere.lived_days"] is None
    assert summary.free_run_call == "outside limits"
    assert summary.limits_sha256 == hashlib.sha256(limits.read_bytes()).hexdigest()
    assert any(
        r.startswith("free run: free_run.alone.stratosphere.lived_days") for r in summary.reasons
    )
    assert any("training ranges of the state" in e for e in summary.excluded)
    assert "Left to the emulator alone, without dynamics, T above 100 hPa goes as far as" in text
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"at {pressure_hpa[level]:.2g} hPa on day {lived:.3g}" in page
    assert (tmp_path / "out" / "figures" / "free_run_alone.png").is_file()
    table = (tmp_path / "out" / "tables" / "free_runs.csv").read_text(encoding="utf-8")
    assert len(table.splitlines()) == 4  # stratosphere with its reference, troposphere
    with xr.open_dataset(tmp_path / "out" / "numbers.nc") as numbers:
        hottest = numbers["free_hottest_alone_stratosphere"]
        assert hottest.size == round(lived * 72) + 1
        assert hottest.attrs["units"] == "K"


def test_a_sun_that_is_not_the_clocks_may_be_held(
    stable_package: Path, synthetic_store: ColumnStore
) -> None:
    held = screen(stable_package, synthetic_store, free_run_days=0.25, sun="recorded")
    assert [one.name for one in held.findings.free_runs] == [
        "alone.stratosphere",
        "alone.troposphere",
    ]
    assert "the sun stands still" in next(
        s.text for s in held.report.sections if s.title == "Free runs"
    )


def test_the_command_shows_an_example() -> None:
    code, text = run("evaluate", "stability", "--help")
    assert code == 0
    assert "Example" in text
