"""The runs of a healing: the reference, and hybrids in which the emulator drives and the reference
physics answers every state beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from climlink.config import ConfigError
from climlink.data.split import SPLIT_NAMES
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.data.store import ColumnStore
from climlink.healing.config import HealConfig
from climlink.mpi import LaunchError
from climlink.online.aquaplanet import (
    AquaplanetConfig,
    EmulatorConfig,
    PairsConfig,
    newest_restart,
    run_aquaplanet,
)
from climlink.online.case import load_case
from climlink.online.launch import Progress
from climlink.packages.read import EmulatorPackage
from climlink.run_folder import RECORD_FILE, discard_run, read_record

_COUPLING = ("mode", "variables", "feedback", "ramp")
"""Entries of the emulator, or how they begin, that say what of it is applied."""
_ENDED = ("finished", "blown_up")


class Runs:
    """What all runs of a healing share: the case, where it begins and how long it is."""

    def __init__(self, config: HealConfig) -> None:
        """ConfigError where the case is no full coupling of the embedded model, or its restart is
        not there.
        """
        case = load_case(config.case, ranks=config.ranks)
        if not isinstance(case, AquaplanetConfig):
            raise ConfigError(f"case {config.case}: a healing needs the embedded model")
        restart = config.restart_from or case.restart_from
        if restart is not None and restart.is_dir():
            restart = newest_restart(restart)
        if restart is None or not restart.is_file():
            raise ConfigError(
                f"restart_from: {restart} is not there; run the reference that writes it, such as "
                "`climlink online run aquaplanet`, or name another restart of the embedded model"
            )
        given = {} if case.emulator is None else case.emulator.given()
        partly = [n for c in _COUPLING for n in sorted(given) if n.startswith(c)]
        if partly:
            raise ConfigError(
                f"case {config.case}: emulator.{partly[0]} is set; the hybrids of a healing are "
                "driven by the emulator alone: leave it out"
            )
        self._config = config
        self._options = {n: v for n, v in given.items() if n != "pinned_sha256"}
        self.start = stamp_of(restart)
        first_day = self.start.since(Stamp.parse(case.start)) / SECONDS_PER_DAY
        changes = {
            "restart_from": restart,
            "restart_every_days": 0.0,
            "days": first_day + config.days,
            "pairs": PairsConfig(),
            "emulator": None,
            "history": {"monthly": False, "hourly": False},
        }
        self._case = case.model_copy(update=changes)

    @property
    def end(self) -> Stamp:
        """When a run ends that lives."""
        return self.start.plus(round(self._config.days * SECONDS_PER_DAY))

    def require_apart(self, store: ColumnStore) -> None:
        """Raise ConfigError where the runs cover times of a store that are held out, such as test
        times: a hybrid's first states are nearly the reference's of that time.
        """
        seen = [SPLIT_NAMES.index(name) for name in ("unused", "train")]
        tested = np.flatnonzero(~np.isin(store.split_codes, seen)) if store.has_stamps else ()
        inside = [store.stamps[i] for i in tested if self.start < store.stamps[i] <= self.end]
        if inside:
            raise ConfigError(
                f"the hybrids run from {self.start} to {self.end}, and {store.path} holds "
                f"out {len(inside)} time(s) of these for test or validation, such as {inside[0]}; "
                "begin them from another restart (restart_from), or make them shorter (days)"
            )

    def reference(self, folder: Path, progress: Progress) -> Path:
        """Run the reference, unless it has; LaunchError where it does not reach its end."""
        record = _run(self._case.model_copy(update={"output": folder}), progress)
        if record["status"] != "finished":
            raise LaunchError(
                f"the reference ended early, {record.get('message')}; its log is {folder}/log.txt"
            )
        return folder

    def hybrid(self, package: EmulatorPackage, folder: Path, member: int) -> AquaplanetConfig:
        """Return the case of a hybrid. ``member`` counts from 1; the first begins where the
        reference does.
        """
        return self._case.model_copy(
            update={
                "name": "hybrid",
                "output": folder,
                "emulator": self._emulator(package),
                "seed": self._case.seed + member - 1,
                "restart_perturbation_k": self._config.member_perturbation_k * (member > 1),
            }
        )

    def sampled(
        self, package: EmulatorPackage, folder: Path, member: int, number: int
    ) -> AquaplanetConfig:
        """Return the case of the same hybrid's first days, as long as those of a round are sampled:
        the emulator's answer is applied as there, and the reference physics' answer is recorded
        beside it.
        """
        cut = self._config.days - self._config.sampled_days(number)
        return self.hybrid(package, folder, member).model_copy(
            update={
                "emulator": self._emulator(package, mode="shadow", feedback="emulator"),
                "pairs": PairsConfig(every_steps=self._config.sampling.every_steps),
                "history": {"monthly": False, "daily": False, "hourly": False},
                "days": self._case.days - cut,
            }
        )

    def _emulator(self, package: EmulatorPackage, **coupling: str) -> EmulatorConfig:
        given = {"package": package.path, "pinned_sha256": package.digest}
        return EmulatorConfig.model_validate({**self._options, **given, **coupling})


def run_hybrid(case: AquaplanetConfig, progress: Progress) -> bool:
    """Run a hybrid, unless it has; return whether it reached its end. One that did not end by
    itself (killed, interrupted) is made again.
    """
    return bool(_run(case, progress)["status"] == "finished")


def stamp_of(restart: Path) -> Stamp:
    """Return the time of a restart file, CASE.r.STAMP.nc."""
    return Stamp.parse(restart.name.removesuffix(".nc").rsplit(".", 1)[1])


def _run(case: AquaplanetConfig, progress: Progress) -> dict[str, Any]:
    folder = case.output
    if not ((folder / RECORD_FILE).is_file() and read_record(folder).get("status") in _ENDED):
        discard_run(folder)
        run_aquaplanet(case, progress)
    return read_record(folder)
