"""The parts of the study of hybrids, each made once: what is there is left alone, what was half made
is made again, or goes on where it can.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hybrid_plan import (
    APART_K,
    OFF,
    ON,
    TWIN_K,
    Days,
    Member,
    Policy,
    case,
    export_of,
    measures_of,
    stamp,
    training,
)

from climlink.config import ConfigError
from climlink.data.prepare import prepare
from climlink.data.stamp import SECONDS_PER_DAY
from climlink.data.store import ColumnStore
from climlink.evaluation.offline.evaluate import offline_result
from climlink.evaluation.offline.metrics import metrics
from climlink.evaluation.online.evaluate import OnlineEvaluation, evaluate_online
from climlink.evaluation.stability.evaluate import evaluate_stability
from climlink.evaluation.stability.options import StabilityOptions
from climlink.evaluation.summary import Metrics, finite_or_none, write_json
from climlink.online.aquaplanet import (
    AquaplanetConfig,
    newest_restart,
    resume_aquaplanet,
    run_aquaplanet,
)
from climlink.online.launch import now
from climlink.packages.export import export_run
from climlink.packages.read import EmulatorPackage
from climlink.run_folder import RECORD_FILE, discard_run, last_status, read_record
from climlink.training.composition import load_training
from climlink.training.run import train

REFERENCE, TWIN, APART, REPLAY = "reference", "twin", "apart", "replay"
WARM = "warm"
SCREENED = (ON, OFF)
"""Variants that are screened before they run; the others are the same weights."""
SHOWN = {"T": 1.0, "Q": 1e3}
"""Fields whose errors are kept, and what makes K and g/kg of them."""
PAIRS = {"run": "run", "twin": "twin", "climatology": "climatology", "persistence": "persistence"}


@dataclass(frozen=True)
class Study:
    """Where everything lies, and what was asked for."""

    work: Path
    days: Days = field(default_factory=Days)
    policy: Policy = field(default_factory=Policy)
    epochs: int = 4
    ranks: int = 1
    screen_columns: int = 4
    warming: tuple[str, float] | None = None

    @property
    def store(self) -> Path:
        return self.work / "columns.zarr"

    def run_of(self, *parts: str) -> Path:
        """Return the run folder of a reference, or of a hybrid by name and variant."""
        return self.work.joinpath("runs", *parts)

    def package(self, name: str, variant: str) -> Path:
        return self.work / "packages" / name / f"{variant}.pt"

    def part(self, kind: str, name: str, variant: str) -> Path:
        """Return the file of what was found of a variant."""
        return self.work / kind / name / f"{variant}.json"

    def restart(self, day: int) -> Path:
        """Return the reference's restart of a day."""
        return self.run_of(REFERENCE) / "restart" / f"{REFERENCE}.r.{stamp(day)}.nc"

    def warmed(self) -> dict[str, Any]:
        """Return the case's entries of the warmer sea."""
        if self.warming is None:
            raise ConfigError("no --warm ENTRY=KELVIN was given: there is no warmer sea to run")
        return {"parameters": dict([self.warming])}


def read(place: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(place.read_text(encoding="utf-8"))


def run(folder: Path, given: Mapping[str, Any]) -> str:
    """Run a case of the embedded model and return how it ended: one that ended is kept, one that
    was cut off goes on from its newest restart, or begins again where it has none.
    """
    if (folder / RECORD_FILE).is_file():
        status = last_status(folder)
        if status in ("finished", "blown_up"):
            return status
        try:
            newest_restart(folder)
        except ConfigError:
            discard_run(folder)
        else:
            return resume_aquaplanet(folder).status
    return run_aquaplanet(AquaplanetConfig.model_validate({**given, "output": folder})).status


def make_reference(study: Study) -> None:
    """Run the reference, its twin, a further reference and the recorded steps, and make the store
    and the yardsticks.
    """
    d, start = study.days, {"restart_from": study.restart(study.days.start)}
    cases: dict[str, tuple[int, dict[str, Any]]] = {
        REFERENCE: (
            d.end,
            {
                "restart_every_days": d.restart_every,
                "pairs": {"every_steps": d.interval, "from_day": d.spin_up},
            },
        ),
        TWIN: (d.end, {**start, "restart_perturbation_k": TWIN_K}),
        APART: (
            d.end,
            {
                "restart_from": study.restart(d.start - d.apart),
                "restart_perturbation_k": APART_K,
                "seed": 2,
            },
        ),
        REPLAY: (d.start + d.replay, {**start, "pairs": {"every_steps": 1, "from_day": d.start}}),
    }
    for name, (end, more) in cases.items():
        folder = study.run_of(name)
        status = run(folder, case(name, folder, end, study.ranks, **more))
        if status != "finished":
            raise ConfigError(f"{folder}: the {name} ended early; see its log.txt")
    prepare(study.run_of(REFERENCE) / "climsim", study.store, split=d.split())
    place = study.work / "yardsticks.json"
    if not place.exists():
        found = beside_reference(study, study.run_of(TWIN))
        write_json({"days": d.asked(), **of_run(study, found, study.run_of(TWIN))}, place)


def beside_reference(study: Study, folder: Path, reference: str = REFERENCE) -> OnlineEvaluation:
    """Evaluate a run beside a reference; twin and further reference are those of the sea as it
    is.
    """
    same_sea = reference == REFERENCE
    return evaluate_online(
        folder,
        study.run_of(reference),
        twin=study.run_of(TWIN) if same_sea else None,
        independent=[study.run_of(APART)] if same_sea else [],
        planned_days=study.days.hybrid,
    )


def make_package(study: Study, member: Member) -> None:
    """Train a member."""
    output = study.work / "training" / member.name
    train(
        load_training("tiny", training(member, study.store, output, study.epochs)),
        resume=True,
        progress=False,
    )


def make_variant(study: Study, member: Member, variant: str) -> None:
    """Export a variant and score it on the test days."""
    path = study.package(member.name, variant)
    if not path.exists():
        added, without = export_of(variant, study.policy)
        path.parent.mkdir(parents=True, exist_ok=True)
        run_folder = study.work / "training" / member.name
        export_run(run_folder, path, constraints=added, without=without)
    place = study.part("offline", member.name, variant)
    package = EmulatorPackage.read(path)
    if not place.exists():
        found = offline_result(package, ColumnStore.open(study.store), "test")
        write(place, {"package_sha256": package.digest, "metrics": metrics(found)})


def write(place: Path, values: Mapping[str, Any]) -> None:
    """Write what was found as JSON, its folder too."""
    place.parent.mkdir(parents=True, exist_ok=True)
    write_json(values, place)


def make_screen(study: Study, member: Member, variant: str) -> None:
    """Record what the screen says of a package, and when; ConfigError if it has run already."""
    place = study.part("screen", member.name, variant)
    if place.exists():
        return
    folder = study.run_of(member.name, variant)
    if (folder / RECORD_FILE).exists():
        raise ConfigError(
            f"{folder}: the package has run, and a screen must be recorded before; remove the run "
            "or leave the package out"
        )
    options = StabilityOptions(
        pairs=study.run_of(REPLAY) / "climsim", free_run_columns=study.screen_columns
    )
    found = evaluate_stability(
        study.package(member.name, variant), study.store, options=options
    ).summary
    write(
        place,
        {
            "recorded": now(),
            "package_sha256": found.package.sha256,
            "store_digest": found.store_digest,
            "verdict": found.verdict,
            "reasons": found.reasons,
            "metrics": found.metrics,
        },
    )


def recorded_screen(study: Study, member: Member, variant: str) -> dict[str, str]:
    """Return the digest of the screen's record and its time; ConfigError where it is not of this
    package.
    """
    place = study.part("screen", member.name, variant)
    package = study.package(member.name, variant)
    wrong = "is not there"
    if place.exists():
        recorded = read(place)
        if recorded["package_sha256"] == EmulatorPackage.read(package).digest:
            digest = hashlib.sha256(place.read_bytes()).hexdigest()
            return {"screen_sha256": digest, "screened": recorded["recorded"]}
        wrong = "is of another package"
    raise ConfigError(
        f"{place} {wrong}: {package} must be screened before it runs (--until screen)"
    )


def make_run(study: Study, member: Member, variant: str, warm: bool = False) -> None:
    """Run a hybrid and write what it did; on a warmer sea beside the reference of that sea."""
    name = f"{WARM}_{variant}" if warm else variant
    place = study.part("results", member.name, name)
    if place.exists():
        return
    screen = recorded_screen(study, member, variant) if variant in SCREENED else {}
    folder, path = study.run_of(member.name, name), study.package(member.name, variant)
    more = study.warmed() if warm else {}
    given = case(
        f"{member.name}",
        folder,
        study.days.end,
        study.ranks,
        restart_from=study.restart(study.days.start),
        emulator={"package": path},
        **more,
    )
    status = run(folder, given)
    record = read_record(folder)
    scored = read(study.part("offline", member.name, variant))["metrics"]
    found = beside_reference(study, folder, f"{WARM}_{REFERENCE}" if warm else REFERENCE)
    write(
        place,
        {
            "package": member.name,
            "architecture": member.architecture,
            "variant": name,
            "measures": measures_of(variant),
            "package_sha256": record["package"]["sha256"],
            **screen,
            "started": record["created"],
            "outcome": status,
            "message": record["message"],
            **of_run(study, found, folder, f"{WARM}_{REFERENCE}" if warm else REFERENCE),
            "offline": chosen_metrics(scored, ("r2.ptend_t", "r2.ptend_q0001", "residual_")),
            "support_offline": chosen_metrics(scored, ("range_use.",)),
        },
    )


def chosen_metrics(metrics: Metrics, prefixes: tuple[str, ...]) -> dict[str, float | None]:
    """Return metrics whose names begin so, rounded for a catalogue."""
    return {n: rounded(v) for n, v in metrics.items() if n.startswith(prefixes)}


def rounded(value: float | None, digits: int = 5) -> float | None:
    """Return a number with so many significant digits, None for one that is not finite."""
    if value is None or finite_or_none(value) is None:
        return None
    return float(f"{value:.{digits}g}")


def of_run(
    study: Study, found: OnlineEvaluation, folder: Path, reference: str = REFERENCE
) -> dict[str, Any]:
    """Return the numbers of a run that the tables show."""
    summary, numbers = found.summary, found.numbers
    errors: dict[str, Any] = {}
    series: dict[str, Any] = {}
    for name, scale in SHOWN.items():
        rmse = numbers.get(f"daily_rmse_{name}")
        if rmse is None:
            continue
        days = numbers["daily_day"].values
        by_pair = {p: rmse.sel(pair=p).values * scale for p in rmse["pair"].values if p in PAIRS}
        errors[name] = {
            p: {str(d): at_day(days, values, d) for d in study.days.asked()}
            for p, values in by_pair.items()
        }
        spread = numbers.get(f"daily_saturated_{name}")
        if spread is not None:
            errors[name]["saturated"] = rounded(float(spread) * scale)
        series[name] = [rounded(v, 4) for v in by_pair["run"]]
    lived = run_days(folder)[-1] - study.days.start
    return {
        "days": rounded(lived, 6),
        "errors": errors,
        "series": series,
        "energy_drift_w_m2": rounded(energy_drift(folder, study.run_of(reference), study.days)),
        "rain_difference_mm_day": rounded(summary.metrics.get("precipitation.bias")),
        "temperature_drift_k": rounded(summary.metrics.get("drift.T")),
        "conservation": chosen_metrics(summary.metrics, ("conservation.",)),
    }


def at_day(days: np.ndarray, values: np.ndarray, day: int) -> float | None:
    """Return a series' value at the record that ends on a day; None after the run's end."""
    at = np.flatnonzero(np.isclose(days, day))
    return rounded(float(values[at[0]])) if len(at) else None


def budgets(folder: Path) -> dict[str, np.ndarray]:
    """Return the columns of a run's budgets.csv that are told by name, [step]."""
    lines = (folder / "budgets.csv").read_text(encoding="utf-8").splitlines()
    names = [name.strip() for name in lines[0].split(",")]
    rows = [line for line in lines[1:] if line.count(",") == len(names) - 1]
    table = np.loadtxt(rows, delimiter=",", ndmin=2)
    return {name: table[:, k] for k, name in enumerate(names)}


def run_days(folder: Path) -> np.ndarray:
    """Return the days since rest at which steps of a run ended, [step]."""
    return budgets(folder)["day"]


def energy_drift(folder: Path, reference: Path, days: Days) -> float:
    """Return what a run's energy gained from nowhere, in W/m2, as the mean over the days that it
    lived: what must have come through the top to close its energy, less what came through the
    reference's top on the same days.

    What comes through the top is dE/dt + what goes into the surface. The fixer gives back what the
    dynamics took and nothing else, so it stands in neither.
    """
    ours, theirs = budgets(folder), budgets(reference)
    last = ours["day"][-1]
    return through_top(ours, days.start, last) - through_top(theirs, days.start, last)


def through_top(table: Mapping[str, np.ndarray], first: float, last: float) -> float:
    """Return the mean flux through the top from one day to another that closes a budget, W/m2."""
    day = table["day"]
    inside = (day > first + 1e-6) & (day <= last + 1e-6)
    if inside.sum() < 2:
        return float("nan")
    energy, seconds = table["energy_J_m2"][inside], day[inside] * SECONDS_PER_DAY
    stored = (energy[-1] - energy[0]) / (seconds[-1] - seconds[0])
    return float(stored + table["surface_net_W_m2"][inside][1:].mean())


def make_warm_reference(study: Study) -> None:
    """Run the reference on a warmer sea, and write how much warmer it becomes."""
    name = f"{WARM}_{REFERENCE}"
    folder = study.run_of(name)
    start = {"restart_from": study.restart(study.days.start)}
    run(folder, case(name, folder, study.days.end, study.ranks, **start, **study.warmed()))
    place = study.work / f"{name}.json"
    if not place.exists():
        found = beside_reference(study, folder)
        write(place, of_run(study, found, folder))
