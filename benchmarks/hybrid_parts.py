"""The parts of the study of hybrids, each made once: what is there is left alone, and what was half
made is made again, or goes on where it can.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybrid_numbers import OFFLINE, VISITED, chosen_metrics, of_run, visited
from hybrid_plan import (
    APART_K,
    OFF,
    ON,
    TRAINING,
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
from climlink.data.statistics import compute_statistics, write_statistics
from climlink.data.store import ColumnStore
from climlink.evaluation.offline.evaluate import offline_result
from climlink.evaluation.offline.metrics import metrics
from climlink.evaluation.online.evaluate import OnlineEvaluation, evaluate_online
from climlink.evaluation.stability.evaluate import evaluate_stability
from climlink.evaluation.stability.options import StabilityOptions
from climlink.evaluation.summary import write_json
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
from climlink.training.checkpoint import CONFIG_FILE, run_progress
from climlink.training.composition import load_training
from climlink.training.run import train

REFERENCE, TWIN, APART, REPLAY = "reference", "twin", "apart", "replay"
WARM = "warm"
SCREENED = (ON, OFF)
"""Variants that are screened before they run; the others are the same weights."""
VISITED_EVERY = 97
"""Steps between the columns of a hybrid that are recorded; every time of day is met."""


@dataclass(frozen=True)
class Study:
    """Where everything lies, and what was asked for."""

    work: Path
    days: Days = field(default_factory=Days)
    policy: Policy = field(default_factory=Policy)
    epochs: int = 3
    ranks: int = 1
    screen: Mapping[str, Any] = field(default_factory=lambda: {"free_run_columns": 4})
    warming_k: float = 4.0

    @property
    def store(self) -> Path:
        return self.work / "columns.zarr"

    @property
    def statistics(self) -> Path:
        """Return the file of the store's statistics, the same for every member."""
        return self.work / "statistics.nc"

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
        return {"parameters": {"sst_warming_k": self.warming_k}}


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
    if not study.statistics.exists():
        write_statistics(compute_statistics(ColumnStore.open(study.store)), study.statistics)
    place = study.work / "yardsticks.json"
    if not place.exists():
        found = beside_reference(study, study.run_of(TWIN))
        write_json(
            {"days": d.asked(), **of_run(d, found, study.run_of(TWIN), study.run_of(REFERENCE))},
            place,
        )


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
    if (output / CONFIG_FILE).is_file() and run_progress(output).finished:
        return
    train(
        load_training(
            TRAINING, training(member, study.store, study.statistics, output, study.epochs)
        ),
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
    options = StabilityOptions(pairs=study.run_of(REPLAY) / "climsim", **study.screen)
    found = evaluate_stability(
        study.package(member.name, variant), study.store, options=options
    ).summary
    write(
        place,
        {
            "recorded": now(),
            "package_sha256": found.package.sha256,
            "options": dict(study.screen),
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
        # the reference physics says beside it what it would have done with the hybrid's columns
        emulator={"package": path, "mode": "shadow", "feedback": "emulator"},
        pairs={"every_steps": VISITED_EVERY, "from_day": study.days.start},
        **more,
    )
    status = run(folder, given)
    record = read_record(folder)
    scored = read(study.part("offline", member.name, variant))["metrics"]
    reference = f"{WARM}_{REFERENCE}" if warm else REFERENCE
    found = beside_reference(study, folder, reference)
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
            **of_run(study.days, found, folder, study.run_of(reference)),
            "offline": chosen_metrics(scored, OFFLINE),
            "support": record.get("support"),
            "visited": visited(folder, path),
        },
    )
    # the next call does not need them, and of fifty runs they would fill a disk
    for made in ("climsim", VISITED):
        shutil.rmtree(folder / made, ignore_errors=True)


def make_warm_reference(study: Study) -> None:
    """Run the reference on a warmer sea, and write how much warmer it becomes."""
    name = f"{WARM}_{REFERENCE}"
    folder = study.run_of(name)
    start = {"restart_from": study.restart(study.days.start)}
    run(folder, case(name, folder, study.days.end, study.ranks, **start, **study.warmed()))
    place = study.work / f"{name}.json"
    if not place.exists():
        found = beside_reference(study, folder)
        write(place, of_run(study.days, found, folder, study.run_of(REFERENCE)))
