"""The embedded climate model: a case becomes a namelist that is checked against the program's own
list, and an MPI run with a record.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

from pydantic import AfterValidator, BaseModel, Field, model_validator

from climlink.config import ConfigError, StrictModel, TimeStep, load_config, validated
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.installation import (
    NotBuiltError,
    configuration,
    configuration_base,
    configurations,
    executable,
)
from climlink.mpi import mpi_command
from climlink.online.launch import (
    NamelistValue,
    Progress,
    namelist_text,
    now,
    package_record,
    run_recorded,
    versions,
)
from climlink.online.settings import Groups, PackageOptions, check_namelist, check_values
from climlink.packages.read import EmulatorPackage
from climlink.run_folder import LOCK_FILE, RECORD_FILE, new_run, read_record, run_log, write_record
from climlink.support import Support, support_of

PROGRAM = "climlink-aquaplanet"
BLOWN_UP = 3
"""Exit code of a model that left its bounds, or whose emulator failed."""

_MAX_STEPS = 2**31 - 1

_PROGRESS = re.compile(rf"{PROGRAM}: day (\d+) of ([\d.]+) simulated_years_per_day ([\d.]+)")
_DIFFUSION = {
    10: (8, 3.0),
    21: (8, 0.25),
    42: (8, 0.1),
}  # order, days; measured: T21 needs order 8 to have eddies at all

Positive = Annotated[float, Field(gt=0)]


def _is_stamp(text: str) -> str:
    Stamp.parse(text)  # a DataError is a ValueError: pydantic reports it with the key path
    return text


class LevelsConfig(StrictModel):
    """A file of hybrid levels, top down: p(k+1/2) = p0_pa * hyai(k) + hybi(k) * ps."""

    p0_pa: Positive
    hyai: tuple[float, ...]
    hybi: tuple[float, ...]


class PairsConfig(StrictModel):
    """Sampling of mli/mlo pairs in ClimSim's format."""

    every_steps: int = Field(default=0, ge=0, description="steps between pairs; 0 writes none")
    from_day: float = Field(
        default=0.0, ge=0, description="first day, counted from the start of the case"
    )


class EmulatorConfig(PackageOptions):
    """The package in place of the reference physics. Further keys are entries of &emulator: the
    library's options, and how the package is coupled. ``ramp`` may have parts: ``{kind: linear,
    factor: 0.5}`` is ``ramp: linear`` and ``ramp_factor: 0.5``.
    """

    @model_validator(mode="before")
    @classmethod
    def _ramp_by_entries(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("ramp"), Mapping):
            return values
        parts = {f"ramp_{name}": value for name, value in values["ramp"].items()}
        parts["ramp"] = parts.pop("ramp_kind", None)
        return {**values, **parts}

    def _not_an_option(self, name: str, published: Mapping[str, Any]) -> list[str]:
        return []  # an entry of the coupling, or what check_namelist refuses


class AquaplanetConfig(StrictModel):
    """A run of the embedded climate model. Paths are relative to the case file (see
    configuration_base).
    """

    host: Literal["aquaplanet"] = Field(description="aquaplanet: the embedded climate model")
    name: str = Field(
        default="aquaplanet",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="begins the names of the output files",
    )
    truncation: Literal[10, 21, 42] = 10
    levels: Path | None = Field(
        default=None, description="levels file; default: the 60 levels of E3SM-MMF"
    )
    physics: Literal["moist", "held_suarez", "none"] = "moist"
    initial: Literal["moist", "rest_isothermal", "rest_adiabatic", "baroclinic_wave"] = "moist"
    start: Annotated[str, AfterValidator(_is_stamp)] = Field(
        default="0001-01-01-00000", description="model time of step 0"
    )
    days: Positive = Field(description="days to run, counted from the start of the case")
    time_step_s: TimeStep = 1200.0
    seed: int = 1
    perturbation_k: float = Field(
        default=0.1, ge=0, description="amplitude of the random start perturbation"
    )
    restart_from: Path | None = Field(
        default=None, description="restart of another run: this one branches off from it"
    )
    restart_perturbation_k: float = Field(
        default=0.0, ge=0, description="amplitude of a perturbation of that restart, for a twin"
    )
    restart_every_days: float = Field(default=0.0, ge=0, description="0: a restart at the end only")
    dynamics: dict[str, float | int | bool] = Field(default={}, description="entries of &dynamics")
    parameters: dict[str, float] = Field(
        default={}, description="entries of &physics, the parameters of the reference physics"
    )
    history: dict[str, bool] = Field(
        default={}, description="which streams are written: entries of &output without history_"
    )
    pairs: PairsConfig = PairsConfig()
    emulator: EmulatorConfig | None = None
    output: Path = Field(description="run folder; it must not hold another run")
    ranks: int = Field(default=2, ge=1, description="MPI ranks")

    @model_validator(mode="after")
    def _consistent(self) -> AquaplanetConfig:
        if self.emulator is not None and self.physics != "moist":
            raise ValueError("an emulator replaces the moist physics: set physics to moist")
        coupling = self.emulator.given() if self.emulator is not None else {}
        if coupling.get("mode") == "partial" and "variables" not in coupling:
            raise ValueError(
                "partial coupling needs emulator.variables: the outputs that come from the emulator"
            )
        longest = max(self.days, self.restart_every_days, self.pairs.from_day)
        count = longest * SECONDS_PER_DAY / self.time_step_s
        if count > _MAX_STEPS:
            raise ValueError(
                f"{longest:g} days are {count:.3g} time steps, more than the {_MAX_STEPS} that the "
                "model counts to"
            )
        return self

    def history_entries(self) -> dict[str, bool]:
        """Return the entries of &output that choose history streams."""
        return {f"history_{name}": wanted for name, wanted in self.history.items()}

    def check_entries(self) -> None:
        """Raise ConfigError for an entry that the program does not declare or declares with another
        type, and for a coupling that it refuses; where it was not built there is nothing to ask.
        """
        groups: Groups = {
            "dynamics": self.dynamics,
            "physics": self.parameters,
            "output": self.history_entries(),
            "emulator": self.emulator.given() if self.emulator else {},
        }
        with suppress(NotBuiltError):
            if any(groups.values()):
                check_namelist(PROGRAM, groups)
            if groups["emulator"]:
                check_values(PROGRAM, {**namelist_groups(self, None), **groups})

    def steps(self, days: float) -> int:
        """Return the number of whole time steps in ``days``."""
        return round(days * SECONDS_PER_DAY / self.time_step_s)


@dataclass(frozen=True)
class AquaplanetRun:
    """A run that ended: its folder, ``finished`` or ``blown_up``, the last message, and the last
    day that was reported. ``support``: how much the range policy of its package held it, None
    without one.
    """

    folder: Path
    status: Literal["finished", "blown_up"]
    message: str
    day: int
    years_per_day: float
    support: Support | None = None

    @property
    def restart(self) -> Path:
        """The newest restart file."""
        return newest_restart(self.folder)


def run_aquaplanet(case: AquaplanetConfig, progress: Progress | None = None) -> AquaplanetRun:
    """Run a case from its start; ``progress(day, days, note)`` is called once per simulated day.

    Raises PackageError/ManifestError for a bad package or one that cannot leave out
    ``constraints_off``, ConfigError for entries that the program does not know and for a run folder
    in use, LaunchError with the program's own message if the job fails. A model that blows up is a
    result, not an error.
    """
    package = None if case.emulator is None else case.emulator.read_package()
    _check_start(case)
    created = now()
    groups = namelist_groups(case, package, created)
    check_namelist(PROGRAM, groups)
    record = {
        "case": case.model_dump(mode="json"),
        "identity": identity(case),
        "versions": versions(),
        "created": created,
    }
    if case.emulator is not None and package is not None:
        record["package"] = package_record(package)
        remap = case.emulator.given().get("vertical_remap", "none")
        if remap != "none":
            record["vertical_remap"] = remap
    folder = case.output.resolve()
    with new_run(folder) as log:
        return _run(folder, record, groups, case, log, progress)


class _Output(BaseModel):
    """What tells whether a shipped case of any host wrote a file."""

    host: str
    output: Path = Path()


def _check_start(case: AquaplanetConfig) -> None:
    """Raise ConfigError for a restart that is not there, with the shipped case whose run writes
    it.
    """
    restart = case.restart_from
    if restart is None or restart.is_file():
        return
    folder = restart.resolve().parent.parent
    for name, path in configurations("cases").items():
        shipped = load_config(path, _Output)
        if (
            shipped.host == case.host
            and (configuration_base(path) / shipped.output).resolve() == folder
        ):
            raise ConfigError(
                f"restart_from: {restart} is not there; run the case that writes it first: "
                f"`climlink online run {name}`"
            )
    raise ConfigError(
        f"restart_from: {restart} is not there; give a restart (*.r.STAMP.nc) that a run of this "
        "model wrote"
    )


def resume_aquaplanet(
    folder: Path,
    days: float | None = None,
    ranks: int | None = None,
    progress: Progress | None = None,
) -> AquaplanetRun:
    """Go on from the newest restart of a run, to ``days`` from the start of the case (default: the
    case's).

    Raises ConfigError for a folder without a run of the embedded model or without a restart, and
    what run_aquaplanet raises.
    """
    folder = folder.resolve()
    if read_record(folder).get("case", {}).get("host") != "aquaplanet":
        raise ConfigError(
            f"{folder} holds no run of the embedded model: there is nothing to resume"
        )
    with run_log(folder) as log:
        record = read_record(folder)
        # JSON has no tuples; the model checks the rest as it did the first time.
        changes = {
            name: value for name, value in (("days", days), ("ranks", ranks)) if value is not None
        }
        case = validated(
            {**record["case"], **changes},
            AquaplanetConfig,
            f"{folder / RECORD_FILE}, with what the command changes",
        )
        package = None
        if case.emulator is not None:
            package = EmulatorPackage.read(case.emulator.package, record["package"]["sha256"])
        case = case.model_copy(
            update={"restart_from": newest_restart(folder), "restart_perturbation_k": 0.0}
        )
        groups = namelist_groups(case, package, record.get("created", ""))
        check_namelist(PROGRAM, groups)
        record = {**record, "case": {**record["case"], "days": case.days, "ranks": case.ranks}}
        return _run(folder, record, groups, case, log, progress)


def newest_restart(folder: Path) -> Path:
    """Return the restart file with the latest time; ConfigError if there is none."""
    found = sorted(
        (folder / "restart").glob("*.r.*.nc"),
        key=lambda path: path.name.removesuffix(".nc").rsplit(".", 1)[1],
    )
    if not found:
        raise ConfigError(
            f"{folder}/restart holds no restart (*.r.STAMP.nc): the run ended before it wrote one"
        )
    return found[-1]


def identity(case: AquaplanetConfig) -> str:
    """Return the digest of what a restart must share with the run that reads it: grid, levels, time
    axis and kind of physics.
    """
    levels = _levels(case)
    shared = [
        case.truncation,
        levels.p0_pa,
        levels.hyai,
        levels.hybi,
        case.time_step_s,
        case.start,
        case.physics,
    ]
    return hashlib.sha256(json.dumps(shared).encode()).hexdigest()


def namelist_groups(
    case: AquaplanetConfig, package: EmulatorPackage | None, created: str = ""
) -> dict[str, dict[str, NamelistValue]]:
    """Return the namelist of a case, group by group.

    Of &dynamics and &physics it has only what the case gives. ``created``, the date of the run's
    first job, goes into its files: they are the same however often the run is resumed.
    """
    levels = _levels(case)
    order, time = _DIFFUSION[case.truncation]
    run: dict[str, NamelistValue] = {
        "case_name": case.name,
        "output_directory": str(case.output.resolve()),
        "start": case.start,
        "n_step": case.steps(case.days),
        "time_step_s": case.time_step_s,
        "truncation": case.truncation,
        "physics": case.physics,
        "initial": case.initial,
        "seed": case.seed,
        "perturbation_k": case.perturbation_k,
        "restart_perturbation_k": case.restart_perturbation_k,
        "restart_from": str(case.restart_from.resolve()) if case.restart_from else "",
        "restart_every_steps": case.steps(case.restart_every_days),
        "identity": identity(case),
        "lock_file": str(case.output.resolve() / LOCK_FILE),
        "created": created,
    }
    groups: dict[str, dict[str, NamelistValue]] = {
        "run": run,
        "levels": {"p0": levels.p0_pa, "hyai": levels.hyai, "hybi": levels.hybi},
        "dynamics": {"diffusion_order": order, "diffusion_time_d": time, **case.dynamics},
        "physics": dict(case.parameters),
        "output": {
            "climsim_every_steps": case.pairs.every_steps,
            "climsim_from_step": case.steps(case.pairs.from_day) + 1,
            **case.history_entries(),
        },
    }
    if case.emulator is not None and package is not None:
        groups["emulator"] = case.emulator.namelist_group(package)
    return groups


def _run(
    folder: Path,
    record: dict[str, Any],
    groups: Mapping[str, Mapping[str, NamelistValue]],
    case: AquaplanetConfig,
    log: TextIO,
    progress: Progress | None,
) -> AquaplanetRun:
    days, speeds, messages = [0], [0.0], [""]

    def show(line: str) -> None:
        step = _PROGRESS.search(line)
        if step:
            days.append(int(step[1]))
            speeds.append(float(step[3]))
            if progress is not None:
                progress(
                    int(step[1]),
                    max(1, round(float(step[2]))),
                    f"{float(step[3]):.0f} simulated years per day",
                )
        elif line.startswith(f"{PROGRAM}: on day "):
            messages.append(line.strip().removeprefix(f"{PROGRAM}: "))

    namelist = folder / "aquaplanet.nml"
    namelist.write_text(namelist_text(groups), encoding="utf-8", errors="surrogateescape")
    # what a job before this one found is of fewer days
    record = {name: value for name, value in record.items() if name != "support"}
    record["started"] = now()
    command = mpi_command(case.ranks, [str(executable(PROGRAM)), str(namelist)])
    threads = case.emulator.option("threads") if case.emulator else 1
    code = run_recorded(folder, record, command, threads, log, show, results=(0, BLOWN_UP))
    status: Literal["finished", "blown_up"] = "finished" if code == 0 else "blown_up"
    restarts = sorted(path.name for path in (folder / "restart").glob("*.nc"))
    support = support_of(folder / "budgets.csv")
    if support is not None:
        record["support"] = support.model_dump()
    write_record(
        folder, record, status=status, message=messages[-1], ended=now(), restarts=restarts
    )
    return AquaplanetRun(folder, status, messages[-1], days[-1], speeds[-1], support)


def _levels(case: AquaplanetConfig) -> LevelsConfig:
    return load_config(case.levels or configuration("levels/climsim60.yaml"), LevelsConfig)
