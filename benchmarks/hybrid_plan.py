"""What the study of hybrids is made of: days, packages, variants of their measures, and cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from climlink.data.split import Split
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.training.closure_config import ClosureConfig
from climlink.wrappers.manifest import ConstraintEntry

TIME_STEP_S = 1200
STEPS_PER_DAY = SECONDS_PER_DAY // TIME_STEP_S
START = Stamp(1, 1, 1)
BLOCK_D = 12
"""Of every twelve training days, the last two are held out to choose the best epoch."""
HELD_D = 2
TWIN_K, APART_K = 0.01, 1.0
"""Perturbation of the twin, and of a further reference that shall forget where it began."""

ON, OFF = "on", "off"
ABLATED = ("mlp_seed7", "pure_reslstm_seed7", "convnext_seed7")
"""Three kinds of network whose thirty runs take two hours; chosen before any of these ran."""


@dataclass(frozen=True)
class Days:
    """Days of the reference, from rest on: spin-up, training, a gap, and then the days on which
    hybrids run; the first ``test`` of these are the offline test.

    ``apart`` days before the hybrids begin the further reference branches off; ``replay`` days have
    every step recorded, for free runs with recorded dynamics; ``interval`` steps lie between pairs.
    """

    spin_up: int = 200
    train: int = 365
    gap: int = 35
    hybrid: int = 60
    test: int = 20
    apart: int = 60
    replay: int = 2
    interval: int = 37

    def __post_init__(self) -> None:
        if math.gcd(self.interval, STEPS_PER_DAY) != 1:
            raise ValueError(
                f"interval {self.interval} meets only some times of day: expected steps that share "
                f"no divisor with the {STEPS_PER_DAY} of a day, such as 37"
            )
        if not (self.train > HELD_D and 0 < self.test <= self.hybrid and self.apart <= self.start):
            raise ValueError(
                f"expected more than {HELD_D} training days, test days within the hybrids' and a "
                f"further reference that begins after day 0, got {self}"
            )

    @property
    def start(self) -> int:
        """The day on which hybrids begin."""
        return self.spin_up + self.train + self.gap

    @property
    def end(self) -> int:
        """The last day."""
        return self.start + self.hybrid

    @property
    def restart_every(self) -> int:
        """Days between restarts, such that one lies at the start and one ``apart`` before it."""
        return math.gcd(self.start, self.apart) if self.apart else self.start

    def asked(self) -> list[int]:
        """Return the days of a hybrid whose errors the tables show."""
        return [day for day in (1, 10, 30, 60) if day <= self.hybrid][-3:]

    def split(self) -> Split:
        """Return training, validation inside it, and test; all else is unused."""
        parts: dict[str, list[dict[str, str]]] = {"train": [], "validation": []}
        for first in range(self.spin_up, self.spin_up + self.train, BLOCK_D):
            last = min(first + BLOCK_D, self.spin_up + self.train)
            held = max(first + 1, last - HELD_D)
            parts["train"].append(_dates(first, held))
            if held < last:
                parts["validation"].append(_dates(held, last))
        test = [_dates(self.start, self.start + self.test)]
        return Split.model_validate(
            {"remainder": "unused", "time_step_s": TIME_STEP_S, **parts, "test": test}
        )


def stamp(day: int) -> Stamp:
    """Return the time that lies whole days after the start."""
    return START.plus(day * SECONDS_PER_DAY)


def _dates(first: int, end: int) -> dict[str, str]:
    """Return the dates from one day until before another."""
    begin, last = (str(stamp(day)).rpartition("-")[0] for day in (first, end - 1))
    return {"start": begin, "end": last}


@dataclass(frozen=True)
class Member:
    """A network to train."""

    architecture: str
    seed: int
    preset: str = "tiny"

    @property
    def name(self) -> str:
        return f"{self.architecture}_seed{self.seed}"


MEMBERS = (
    *(Member("mlp", seed, "published") for seed in (7, 43)),
    *(Member("unet", seed) for seed in (7, 43)),
    Member("squeezeformer", 7),
    Member("pure_reslstm", 7),
    Member("pao", 7),
    *(Member("convnext", seed) for seed in (7, 43)),
    Member("encoder_decoder_lstm", 7),
)


TRAINING = "aquaplanet_mlp"
"""The shipped training that the study's are made of."""


def training(
    member: Member, store: Path, statistics: Path, output: Path, epochs: int
) -> dict[str, Any]:
    """Return what a member's training changes of TRAINING: the network, the seed, the length.

    Closures are trained with, so that one set of weights, with the head for the net radiation at
    the top, serves every variant; the other measures are added at export.
    """
    return {
        "name": member.name,
        "architecture": {"name": member.architecture, "configuration": {"preset": member.preset}},
        "seed": member.seed,
        "store": str(store),
        "statistics": str(statistics),
        "output": str(output),
        "epochs": epochs,
        "validation": {"source": "store"},
        "more_constraints": [],
        "tensorboard": False,
    }


@dataclass(frozen=True)
class Policy:
    """Parameters of the measures that are added at export."""

    rate_per_day: float = 1.0
    stable_top_pa: float = 1000.0
    sunlight_share: float = ClosureConfig().sunlight_share

    def measures(self) -> dict[str, ConstraintEntry]:
        """Return every measure in its order."""
        rates = dict.fromkeys(("state_t", "state_q0001"), self.rate_per_day)
        added: dict[str, dict[str, Any]] = {
            "input_clip": {},
            "stable_top": {"above_pa": self.stable_top_pa},
            "range_relaxation": {"rates_per_day": rates},
            "water_closure": {},
            "energy_closure": {"sunlight_share": self.sunlight_share},
        }
        return {n: ConstraintEntry(name=n, parameters=p) for n, p in added.items()}


MEASURES = tuple(Policy().measures())
TRAINED = ("water_closure", "energy_closure")
"""Those that a run has, and an export leaves out where they are off."""


def variants(member: str, ablated: Iterable[str]) -> list[str]:
    """Return the names of a member's variants: all measures on, all off, and for the ablated ones
    each off alone and each on alone.
    """
    single = [f"{ON}-{m}" for m in MEASURES] + [f"{OFF}+{m}" for m in MEASURES]
    return [ON, OFF, *(single if member in ablated else [])]


def measures_of(variant: str) -> list[str]:
    """Return the measures that are on in a variant; ValueError for a name that is none."""
    if variant == ON:
        return list(MEASURES)
    if variant == OFF:
        return []
    for name in MEASURES:
        if variant == f"{ON}-{name}":
            return [m for m in MEASURES if m != name]
        if variant == f"{OFF}+{name}":
            return [name]
    raise ValueError(
        f"{variant!r} is no variant: expected {ON}, {OFF}, {ON}-MEASURE or {OFF}+MEASURE with one "
        f"of {', '.join(MEASURES)}"
    )


def export_of(variant: str, policy: Policy) -> tuple[list[ConstraintEntry], list[str]]:
    """Return what an export adds to the run's constraints, and what it leaves out."""
    wanted = measures_of(variant)
    added = [entry for name, entry in policy.measures().items() if name in wanted]
    return added, [name for name in TRAINED if name not in wanted]


def chosen(name: str, variant: str | None, patterns: Sequence[str]) -> bool:
    """Say whether a member, or one of its variants, is asked for: by NAME or NAME/VARIANT, both
    with wildcards; a member is where any variant of it may be.
    """
    for pattern in patterns:
        of_member, slash, of_variant = pattern.partition("/")
        anywhere = not slash or variant is None
        if fnmatchcase(name, of_member) and (anywhere or fnmatchcase(variant, of_variant)):
            return True
    return not patterns


def case(name: str, output: Path, days: float, ranks: int, **more: Any) -> dict[str, Any]:
    """Return a case of the embedded model with the program's defaults; ``days`` since rest."""
    fixed: Mapping[str, Any] = {"host": "aquaplanet", "history": {"monthly": False}}
    return {**fixed, "name": name, "output": output, "days": days, "ranks": ranks, **more}
