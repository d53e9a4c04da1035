"""The plan of the study of hybrids: its days, its variants, what it refuses, and its tables."""

from __future__ import annotations

import hashlib
import importlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from climlink.config import ConfigError
from climlink.data.stamp import Stamp
from climlink.evaluation.errors import EvaluationError
from climlink.online.aquaplanet import AquaplanetConfig
from climlink.training.composition import load_training
from climlink.wrappers.constraints import changed_entries
from climlink.wrappers.constraints.ranges import RangeRelaxation

MODULES = ("catalogue", "numbers", "parts", "plan", "screen", "study", "tables")
DAY_S = 86400
PLACES = Path("s.zarr"), Path("s.nc"), Path("out")


@pytest.fixture(scope="module")
def study() -> Iterator[dict[str, ModuleType]]:
    """The modules of the script, by the word after hybrid_."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield {name: importlib.import_module(f"hybrid_{name}") for name in MODULES}
    finally:
        sys.path.remove(folder)


def seconds(day: int) -> np.ndarray:
    """Return the times of a day, in seconds as stamps count them."""
    return Stamp(1, 1, 1).seconds + day * DAY_S + np.arange(0, DAY_S, 1200, dtype=np.int64)


def parts_of(split: Any, day: int) -> set[str]:
    """Return which parts of a split have times of a day."""
    return {
        part
        for part in ("train", "validation", "test")
        for one in getattr(split, part)
        if one.selects(seconds(day), 1200).any()
    }


def test_test_days_lie_a_gap_of_weeks_after_training(study: dict[str, ModuleType]) -> None:
    days = study["plan"].Days()
    split = days.split()
    by_day = [parts_of(split, day) for day in range(days.end)]
    assert all(len(parts) <= 1 for parts in by_day)
    trained = [d for d, parts in enumerate(by_day) if parts & {"train", "validation"}]
    tested = [d for d, parts in enumerate(by_day) if parts == {"test"}]
    assert trained == list(range(200, 565))
    assert tested == list(range(days.start, days.start + days.test))
    assert tested[0] - trained[-1] - 1 == days.gap >= 21
    held = [d for d in trained if by_day[d] == {"validation"}]
    assert len(held) == 2 * 31  # two of every twelve


def test_pairs_meet_every_time_of_day_and_restarts_lie_where_runs_begin(
    study: dict[str, ModuleType],
) -> None:
    plan = study["plan"]
    for days in (plan.Days(), study["study"].SMOKE_DAYS):
        met = {step * days.interval % 72 for step in range(72)}
        assert met == set(range(72))
        assert days.start % days.restart_every == 0
        assert (days.start - days.apart) % days.restart_every == 0
    with pytest.raises(ValueError, match="meets only some times of day"):
        plan.Days(interval=36)
    with pytest.raises(ValueError, match="test days within"):
        plan.Days(test=61)


def test_every_variant_differs_from_on_or_off_by_one_measure(
    study: dict[str, ModuleType],
) -> None:
    plan = study["plan"]
    names = plan.variants("mlp_seed7", plan.ABLATED)
    assert len(names) == len(set(names)) == 2 + 2 * len(plan.MEASURES)
    assert plan.variants("pao_seed7", plan.ABLATED) == ["on", "off"]
    on, off = (set(plan.measures_of(v)) for v in ("on", "off"))
    assert on == {
        "input_clip",
        "stable_top",
        "range_relaxation",
        "water_closure",
        "energy_closure",
    }
    assert off == set()
    for name in names[2:]:
        measures = set(plan.measures_of(name))
        assert (on - measures if "-" in name else measures) == {re.split("[-+]", name)[1]}
    for wrong in ("on+input_clip", "off-input_clip", "on-", "onward", "on-positivity"):
        with pytest.raises(ValueError, match="is no variant"):
            plan.measures_of(wrong)


def test_constraints_of_a_variant_are_its_measures(study: dict[str, ModuleType]) -> None:
    plan = study["plan"]
    member = plan.MEMBERS[0]
    config = load_training(plan.TRAINING, plan.training(member, *PLACES, 3))
    own = changed_entries(
        [*config.constraints, *config.closure.constraints], [], config.without_constraints
    )
    assert "stratospheric_water" not in {e.name for e in own}
    kept = {e.name for e in own} - set(plan.MEASURES)
    assert "positivity" in kept
    for variant in plan.variants(member.name, plan.ABLATED):
        added, without = plan.export_of(variant, plan.Policy())
        entries = {e.name: e for e in changed_entries(own, added, without)}
        assert set(entries) - kept == set(plan.measures_of(variant)), variant
        if "range_relaxation" in entries:
            rates = RangeRelaxation.parameters_type.model_validate(
                entries["range_relaxation"].parameters
            ).rates_per_day
            assert rates == {"state_t": 1.0, "state_q0001": 1.0}


def test_ten_members_share_everything_but_network_and_seed(study: dict[str, ModuleType]) -> None:
    plan = study["plan"]
    assert len({m.name for m in plan.MEMBERS}) == 10
    assert len({m.architecture for m in plan.MEMBERS}) >= 6
    assert set(plan.ABLATED) <= {m.name for m in plan.MEMBERS}
    assert study["study"].LEFT_OUT in {m.architecture for m in plan.MEMBERS}
    seen = set()
    for member in plan.MEMBERS:
        config = load_training(plan.TRAINING, plan.training(member, *PLACES, 3))
        assert config.architecture.name == member.architecture
        assert (config.seed, config.epochs) == (member.seed, 3)
        own = {"name", "architecture", "seed"}
        seen.add(config.model_dump_json(exclude=own))
    assert len(seen) == 1


def test_cases_fit_the_model(study: dict[str, ModuleType], tmp_path: Path) -> None:
    given = study["plan"].case("mlp_seed7", tmp_path, 9.0, 2, pairs={"every_steps": 97})
    case = AquaplanetConfig.model_validate(given)
    assert (case.days, case.ranks, case.pairs.every_steps) == (9.0, 2, 97)
    assert case.dynamics == case.parameters == {}
    assert math.gcd(study["parts"].VISITED_EVERY, 72) == 1


def test_only_chooses_packages_and_variants(study: dict[str, ModuleType]) -> None:
    words = ["--only", "unet*/o[nf]*", "--only", "mlp_seed7", "--work", "w"]
    driver = study["study"].Driver(study["study"].arguments(words))
    names = [(m.name, v) for m, v in driver._variants()]
    assert ("mlp_seed43", "on") not in names
    assert {v for n, v in names if n == "unet_seed43"} == {"on", "off"}
    assert len([v for n, v in names if n == "mlp_seed7"]) == 12
    every = [v for _, v in study["study"].Driver(study["study"].arguments([]))._variants()]
    assert every[:20] == ["on"] * 10 + ["off"] * 10
    assert len(every) == 50


def write_budgets(folder: Path, first: int, last: int, stored: float, surface: float) -> None:
    """Write budgets of a run whose air gains ``stored`` and whose surface gains ``surface``."""
    folder.mkdir(parents=True)
    lines = ["step,day,energy_J_m2,toa_net_W_m2,surface_net_W_m2"]
    for step in range(first * 72 + 1, last * 72 + 1):
        energy = 2.6e9 + stored * step * 1200.0
        lines.append(f"{step},{step / 72:.16e},{energy:.16e},0.0,{surface}")
    (folder / "budgets.csv").write_text("\n".join([*lines, "433,6.0"]), encoding="utf-8")


def test_the_flux_that_closes_a_run_is_what_it_stores_and_gives_to_the_sea(
    study: dict[str, ModuleType], tmp_path: Path
) -> None:
    numbers, days = study["numbers"], study["study"].SMOKE_DAYS
    write_budgets(tmp_path / "truth", 0, 6, 1.0, 4.0)
    write_budgets(tmp_path / "run", days.start, days.end, -2.5, 3.0)
    found = numbers.top_less_reference(tmp_path / "run", tmp_path / "truth", days)
    # 16 significant digits of 2.6e9 J/m2 over a day of 86400 s
    assert found == pytest.approx((-2.5 + 3.0) - (1.0 + 4.0), abs=1e-6)


def result(package: str, variant: str, days: float, heating: float | None) -> dict[str, Any]:
    """Return what a run of 60 days left."""
    series = [0.1 * (k + 1) for k in range(int(days))]
    at = {str(d): series[d - 1] if d <= days else None for d in (10, 30, 60)}
    visited = {} if heating is None else {"range_use.heating": heating, "range_use.mass": 0.001}
    return {
        "package": package,
        "architecture": package.partition("_seed")[0],
        "variant": variant,
        "days": days,
        "outcome": "finished" if days == 60 else "blown_up",
        "errors": {name: {"run": at} for name in "TQ"},
        "series": {"T": series, "Q": series},
        "top_less_reference_w_m2": 0.5,
        "rain_difference_mm_day": -0.25,
        "temperature_drift_k": 0.0,
        "offline": {"r2.ptend_t": 0.7, "r2.ptend_q0001": 0.5},
        "visited": visited,
        "support": None,
        "package_sha256": f"{hash((package, variant)) % 10**12:064d}",
        "screen_sha256": "",
        "started": "2020-01-02T00:00:00Z",
    }


@pytest.fixture
def made(study: dict[str, ModuleType], tmp_path: Path) -> Any:
    """A study of 60 days of which four runs ended."""
    parts = study["parts"]
    one = parts.Study(tmp_path)
    for package, on, off in (("mlp_seed7", 60, 23), ("unet_seed7", 60, 60)):
        for variant, days in (("on", on), ("off", off)):
            heating = 0.2 if (package, variant) == ("unet_seed7", "on") else None
            parts.write(
                one.part("results", package, variant), result(package, variant, days, heating)
            )
    yard = result("twin", "on", 60, None)
    yard["errors"]["T"] |= {"climatology": {"10": 2.8}, "persistence": {"10": 3.0}}
    yard["errors"]["T"]["saturated"] = 3.9
    parts.write(tmp_path / "yardsticks.json", yard)
    return one


def test_tables_count_the_dead_and_who_was_held_up(
    study: dict[str, ModuleType], made: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    study["tables"].make_tables(made)
    text = (made.work / "tables.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() == text.strip()
    assert "All measures: 2 of 2 lived 60 days, 1 of them on support" in text
    # days 23 and 60: least 23, quartile 32.25, median 41.5, quartile 50.75
    assert "1 of 2 lived 60 days (days lived: least, quartile, median, quartile 23, 32.2" in text
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    dead = next(r for r in rows if len(r) > 2 and r[1] == "23, died")
    assert dead[2] == "1 / - / -"
    assert len({len(r) for r in rows if len(r) > 2}) == 1
    assert (made.work / "hybrids.png").stat().st_size > 10_000
    assert study["tables"].best_of(made) == "mlp_seed7"


def test_a_study_goes_on_from_its_catalogue(
    study: dict[str, ModuleType], made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_screens(study, made, "2020-01-01T00:00:00Z")
    study["catalogue"].write_catalogue(made)
    study["tables"].make_tables(made)
    told, kept = capsys.readouterr().out, made.work / "catalogue.json"
    lines = kept.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 + 2 + 2 * 4  # braces, settings, yardsticks, screens and results
    words = ["--work", str(tmp_path / "other"), "--catalogue", str(kept)]
    driver = study["study"].Driver(study["study"].arguments(words))
    names = {(m.name, v) for m, v in driver._variants()}
    assert not names & {("mlp_seed7", "on"), ("unet_seed7", "off")}
    assert {("mlp_seed7", "on-input_clip"), ("mlp_seed43", "on")} <= names
    driver.table()
    assert capsys.readouterr().out == told
    assert (tmp_path / "other" / "catalogue.json").read_bytes() == kept.read_bytes()
    # the screens' digests are those that the results were told
    assert len(study["screen"].screened(driver.study)) == 4
    with pytest.raises(ConfigError, match=r"of a study with other epochs: expected .*5.* got .*3"):
        study["study"].Driver(study["study"].arguments([*words, "--epochs", "5"]))


def test_support_is_what_the_run_recorded_where_it_did(study: dict[str, ModuleType]) -> None:
    tables, found = study["tables"], result("mlp_seed7", "on", 60, 0.05)
    assert tables.on_support(found) is False
    found["support"] = {"heating_w_m2": 0.05, "mass_share": 0.02}
    assert tables.support_of(found) == (0.05, 0.02)
    assert tables.on_support(found) is True
    assert tables.on_support(result("mlp_seed7", "off", 60, None)) is None


def test_a_screen_is_recorded_before_the_run_or_not_at_all(
    study: dict[str, ModuleType], tmp_path: Path
) -> None:
    parts, plan = study["parts"], study["plan"]
    one, member = parts.Study(tmp_path), plan.MEMBERS[0]
    with pytest.raises(ConfigError, match="must be screened before it runs"):
        parts.make_run(one, member, "on")
    folder = one.run_of(member.name, "on")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="a screen must be recorded before"):
        parts.make_screen(one, member, "on")


def record_screens(study: dict[str, ModuleType], made: Any, recorded: str) -> None:
    """Write a screen's record for every result, and its digest into the result."""
    for place in sorted((made.work / "results").glob("*/*.json")):
        found = study["parts"].read(place)
        screen = made.part("screen", found["package"], found["variant"])
        hot = 300.0 if found["outcome"] == "finished" else 350.0
        metrics = {"free_run.alone.stratosphere.hottest_k": hot}
        study["parts"].write(screen, {"recorded": recorded, "metrics": metrics})
        digest = hashlib.sha256(screen.read_bytes()).hexdigest()
        study["parts"].write(place, {**found, "screen_sha256": digest})


def test_concordance_takes_screens_that_came_first_and_stayed_as_they_were(
    study: dict[str, ModuleType], made: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = study["screen"]
    record_screens(study, made, "2020-01-01T00:00:00Z")
    packages = screen.screened(made)
    assert [(p.days, p.died) for p in packages if p.policy == "without_range_policy"] == [
        (23.0, True),
        (60.0, False),
    ]
    screen.score_screen(made, "unet")
    limits = (made.work / "limits.yaml").read_text(encoding="utf-8")
    assert "hybrids without unet" in limits
    assert "| without range policy | 2 | 1 | 1 |" in capsys.readouterr().out
    with pytest.raises(EvaluationError, match="no screened package of 'pao' ran"):
        screen.score_screen(made, "pao")
    place = made.part("screen", "mlp_seed7", "off")
    place.write_text(place.read_text(encoding="utf-8").replace("350", "351"), encoding="utf-8")
    with pytest.raises(EvaluationError, match="changed after the run began"):
        screen.screened(made)
    record_screens(study, made, "2020-01-03T00:00:00Z")
    with pytest.raises(EvaluationError, match="after the run began"):
        screen.screened(made)
