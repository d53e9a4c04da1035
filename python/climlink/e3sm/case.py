"""Case files with ``host: e3sm``: which run of E3SM-MMF, with which emulator, for how long, and
what it writes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from climlink.config import ConfigError, StrictModel, load_config, validated
from climlink.data.stamp import SECONDS_PER_DAY
from climlink.e3sm.entries import ENTRIES
from climlink.installation import configuration_base, find_configuration
from climlink.online.case import absolute_paths, require_host
from climlink.wrappers.errors import near_names

COLUMNS = {"ne4pg2_ne4pg2": 384, "ne30pg2_ne30pg2": 21600}
"""Resolutions of F2010-MMF1 and their physics columns."""

STATE_FIELDS = ("T", "Q", "CLDLIQ", "CLDICE", "U", "V", "PS")
SURFACE_FIELDS = ("PRECC", "PRECSC", "TMQ", "LHFLX", "SHFLX", "TREFHT", "PSL")
FLUX_FIELDS = ("FSNT", "FLNT", "FSNS", "FLNS", "FLDS", "SOLIN")

Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Unit = Literal["nsteps", "nhours", "ndays", "nmonths", "nyears"]
Value = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]


class Span(StrictModel):
    """A length in E3SM's units, such as ``{option: nmonths, n: 13}``."""

    option: Unit
    n: int = Field(ge=1)


class StartConfig(StrictModel):
    """How the run starts: from initial conditions, or as branch or hybrid from the restart files of
    another case.
    """

    type: Literal["startup", "branch", "hybrid"] = "startup"
    date: Date | None = Field(
        default=None, description="RUN_STARTDATE; of a branch it is ref_date and not given"
    )
    ref_case: str | None = None
    ref_date: Date | None = None
    ref_seconds: int = Field(default=0, ge=0, lt=SECONDS_PER_DAY, description="RUN_REFTOD")
    ref_directory: str | None = Field(
        default=None,
        description="folder of the restart files, as the machine sees it; $VARIABLES are E3SM's",
    )

    @model_validator(mode="after")
    def _complete(self) -> StartConfig:
        given = [
            n for n in ("ref_case", "ref_date", "ref_directory") if getattr(self, n) is not None
        ]
        if self.type == "startup" and given:
            raise ValueError(
                f"a startup run takes no {', '.join(given)}; set type to branch or hybrid"
            )
        if self.type != "startup" and len(given) != 3:
            raise ValueError(
                f"a {self.type} run needs ref_case, ref_date and ref_directory; given: "
                f"{', '.join(given) or 'none'}"
            )
        if self.type == "branch" and self.date is not None:
            raise ValueError("a branch run starts at ref_date; remove date, or set type to hybrid")
        return self


class WrapperConfig(StrictModel):
    """An old TorchScript wrapper without a manifest: what the host must send and receive."""

    path: Path
    inputs: int = Field(ge=1)
    outputs: int = Field(default=368, ge=1)
    combination: Literal["v2", "v4", "v6"]
    relative_humidity: bool = True


class EmulatorConfig(StrictModel):
    """The emulator: a package, or an old wrapper; and entries of its namelist that differ from what
    fits it.
    """

    package: Path | None = None
    wrapper: WrapperConfig | None = None
    entries: dict[str, Value] = Field(
        default_factory=dict, description="entries of &mmf_nn_emulator_nl"
    )

    @model_validator(mode="after")
    def _one(self) -> EmulatorConfig:
        if (self.package is None) == (self.wrapper is None):
            raise ValueError("give either package or wrapper")
        return self

    @field_validator("entries")
    @classmethod
    def _known(cls, entries: dict[str, Value]) -> dict[str, Value]:
        for name, value in entries.items():
            if name not in ENTRIES:
                raise ValueError(f"no entry {name!r} in the namelist{near_names(name, ENTRIES)}")
            problem = ENTRIES[name].problem(value)
            if problem:
                raise ValueError(f"{name}: {problem}")
        return entries


class Tape(StrictModel):
    """One history tape: E3SM's h0, h1, ... in the order of the list."""

    every: Literal["month", "day", "hour"]
    averaging: Literal["A", "I", "X", "M"] = "A"
    samples_per_file: int = Field(default=1, ge=1)
    fields: tuple[str, ...] = Field(
        default=(), description="fields besides those that the tape has by default"
    )
    emulator: bool | None = Field(
        default=None,
        description="whether the adapter's own fields are on it; default: by month and by day",
    )

    @property
    def has_emulator_fields(self) -> bool:
        """Whether the adapter's own fields are on the tape, in a case with an emulator."""
        return self.every != "hour" if self.emulator is None else self.emulator


EVALUATION_TAPES = (
    Tape(every="month", fields=STATE_FIELDS + SURFACE_FIELDS + FLUX_FIELDS),
    Tape(every="day", fields=STATE_FIELDS + SURFACE_FIELDS + FLUX_FIELDS),
    Tape(every="hour", samples_per_file=24, fields=SURFACE_FIELDS + FLUX_FIELDS),
)
"""What evaluation reads: h0 monthly means, h1 daily means, h2 hourly means of surface and fluxes.
"""


class E3SMCase(StrictModel):
    """A case of E3SM-MMF. Paths of packages are relative to the case file."""

    host: Literal["e3sm"]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=79)
    compset: Literal["F2010-MMF1"] = "F2010-MMF1"
    resolution: Literal["ne4pg2_ne4pg2", "ne30pg2_ne30pg2"]
    machine: str = Field(description="a shipped machine, or the path of a YAML file")
    nodes: int = Field(default=1, ge=1)
    emulator: EmulatorConfig | None = Field(
        default=None, description="without: the reference, E3SM-MMF itself"
    )
    start: StartConfig = StartConfig()
    length: Span
    resubmit: int = Field(default=0, ge=0)
    restart: Span = Span(option="ndays", n=30)
    walltime: str = Field(default="24:00:00", pattern=r"^\d{2,3}:[0-5]\d:[0-5]\d$")
    atm_ncpl: int = Field(default=72, ge=1, description="physics steps per day")
    level_count: int = Field(default=60, ge=1, description="levels of the compset")
    ocean_only: bool = Field(default=False, description="legacy mode: -DMMF_NN_EMULATOR_OCN_ONLY")
    history: tuple[Tape, ...] = Field(default=EVALUATION_TAPES, min_length=1, max_length=10)
    namelists: dict[str, dict[str, Value]] = Field(
        default_factory=dict, description="further groups of user_nl_eam"
    )

    @field_validator("atm_ncpl")
    @classmethod
    def _whole_step(cls, value: int) -> int:
        if SECONDS_PER_DAY % value:
            raise ValueError(
                f"a day must be a whole number of seconds per step: {SECONDS_PER_DAY} / {value} is "
                "not"
            )
        return value

    @field_validator("namelists")
    @classmethod
    def _identifiers(cls, groups: dict[str, dict[str, Value]]) -> dict[str, dict[str, Value]]:
        for name in [*groups, *(entry for entries in groups.values() for entry in entries)]:
            if not re.fullmatch(r"[A-Za-z]\w*(\(\d+\))?", name):
                raise ValueError(f"{name!r} is no Fortran name")
        return groups

    @property
    def columns(self) -> int:
        """Physics columns of the whole grid."""
        return COLUMNS[self.resolution]

    @property
    def time_step_s(self) -> float:
        """Physics time step, s."""
        return SECONDS_PER_DAY / self.atm_ncpl


def load_e3sm_case(path: str | Path, **overrides: Any) -> E3SMCase:
    """Read a case file of host e3sm, or a shipped case by its name, and make its paths absolute.

    Overrides that are not None are applied: package, machine, nodes, name.

    Raises ConfigError for a case of another host, for what does not fit, and for a package where
    the case has no emulator.
    """
    path = find_configuration("cases", path)
    require_host(path, "e3sm")
    base = configuration_base(path)
    values = absolute_paths(load_config(path, E3SMCase), base)
    if values["machine"].endswith((".yaml", ".yml")):
        values["machine"] = str(base / values["machine"])
    package = overrides.pop("package", None)
    if package is not None:
        if "emulator" not in values:
            raise ConfigError(f"{path}: this case has no emulator, so it takes no package")
        values["emulator"] = {
            **{k: v for k, v in values["emulator"].items() if k == "entries"},
            "package": Path(package).resolve(),
        }
    values.update({name: value for name, value in overrides.items() if value is not None})
    return validated(values, E3SMCase, str(path))
