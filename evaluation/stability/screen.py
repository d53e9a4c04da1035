"""The screen: what is computed about every state, and the rules that turn it into a verdict.

Three rules. The first is that of Brenowitz et al. (2020): a growing gravity wave faster than 5 m/s
predicts that the coupled model blows up. The other two concern the column alone, and are climlink's
own:

* damping too fast for the step: dt lambda below -1 with |1 + dt lambda| > 1, so that every explicit
  step overshoots by more;
* a stratosphere that does not damp: growing temperature modes of the levels above 100 hPa, where
  radiation alone acts, and damps.

Growth of the whole column without motion is reported and not judged: moisture and convection feed
on each other in nature too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.dynamics import Array, BaseState, Friction, base_state
from climlink.evaluation.stability.modes import (
    ColumnModes,
    Mode,
    Spectrum,
    column_modes,
    default_wavelengths,
    in_hpa,
    wave_spectrum,
)
from climlink.evaluation.stability.response import (
    LinearizedPackage,
    MeanResponse,
    directional_error,
    mean_response,
)
from climlink.evaluation.stability.states import Pool, StateGroup
from climlink.wrappers.vertical import HybridCoordinate

FAST_M_S = 5.0
KINETIC_SHARE = 0.02
"""Modes with less of their energy in motion are the column's own: at long wavelengths any
oscillation of a column would look fast.
"""
STRATOSPHERE_HPA = 100.0
STRATOSPHERE_LIMIT_PER_DAY = 0.01
DIFFERENCE_SIZES = (0.01, 0.1)
"""Sizes of the perturbations, in standard deviations, with which derivatives are compared with
differences.
"""


@dataclass(frozen=True)
class Rules:
    """How the waves are computed, and what growth in 1/day counts; ``fields`` are the state
    variables that are perturbed.
    """

    fields: tuple[str, ...]
    friction: Friction
    wavelengths_km: Array
    growth_limit: float

    def __post_init__(self) -> None:
        if self.growth_limit < 0.0:
            raise EvaluationError(f"the growth limit must not be negative, got {self.growth_limit}")

    @classmethod
    def standard(cls, fields: tuple[str, ...]) -> Rules:
        """Return the defaults: the paper's friction with a sponge, wavelengths from 300 to 40000
        km, growth of 0.1/day.
        """
        return cls(fields, Friction(), default_wavelengths(), 0.1)


@dataclass(frozen=True)
class StateResult:
    """What was found about one state.

    ``spread`` [field*level] is the standard deviation of the fields over all states;
    ``stratosphere`` the growth in 1/day and the peak in hPa of temperature above 100 hPa by itself;
    ``own_growth`` [column] the growth of every column's own response; ``halves`` the growth of the
    fastest wave when either half of the ensemble is taken alone; ``difference`` the misfit of
    derivatives by size of perturbation.
    """

    group: StateGroup
    base: BaseState
    response: MeanResponse
    spread: Array
    spectrum: Spectrum
    column: ColumnModes
    stratosphere: tuple[float, float]
    own_growth: Array
    halves: tuple[float, float] | None
    difference: dict[float, float]

    @property
    def wave(self) -> Mode | None:
        """The fastest growing mode that the paper's rule looks at."""
        return self.spectrum.fastest(faster_than=FAST_M_S, kinetic_above=KINETIC_SHARE)

    @property
    def slow(self) -> Mode | None:
        """The fastest growing of all modes, whatever its speed."""
        return self.spectrum.fastest(faster_than=-1.0, kinetic_above=-1.0)

    def damping_per_step(self, time_step_s: float) -> float:
        """Return dt times the fastest decay of a column mode; an explicit step overshoots above 1
        and amplifies above 2.
        """
        return time_step_s / SECONDS_PER_DAY * max(0.0, -float(self.column.values.real.min()))

    def overshoot(self, time_step_s: float) -> float:
        """Return the largest |1 + dt lambda| among column modes that one explicit step carries past
        zero; 0 if there is none.
        """
        scaled = time_step_s / SECONDS_PER_DAY * self.column.values
        past = scaled[scaled.real < -1.0]
        return float(np.abs(1.0 + past).max()) if past.size else 0.0

    def reasons(self, rules: Rules, time_step_s: float) -> dict[str, str]:
        """Return which rules this state breaks, and how, in words: ``wave``, ``step``,
        ``stratosphere``; empty if none.
        """
        found = {}
        wave = self.wave
        if wave is not None and wave.growth > rules.growth_limit:
            found["wave"] = f"a gravity wave {wave.name}"
        if self.overshoot(time_step_s) > 1.0:
            found["step"] = (
                f"damping too fast for the time step: one step of {time_step_s:g} s multiplies a "
                f"column mode by -{self.overshoot(time_step_s):.3g}"
            )
        growth, peak = self.stratosphere
        if growth > STRATOSPHERE_LIMIT_PER_DAY:
            found["stratosphere"] = (
                f"temperature above {STRATOSPHERE_HPA:g} hPa growing at {growth:.2g}/day by "
                f"itself, peak at {in_hpa(peak)}, where radiation should damp it"
            )
        return found


def screen_state(
    linear: LinearizedPackage,
    pool: Pool,
    group: StateGroup,
    hybrid: HybridCoordinate,
    rules: Rules,
    progress: Callable[[], None] | None = None,
) -> StateResult:
    """Return the linear response about one state and its waves; ``progress`` is called after the
    response and after every wavelength.
    """
    rows = pool.rows[group.members]
    response = mean_response(linear, rows, rules.fields)
    spread = pool.spread(rules.fields)
    difference = {
        size: directional_error(linear, rows, rules.fields, response, spread, size)
        for size in DIFFERENCE_SIZES
    }
    if progress is not None:
        progress()
    profiles = {name: pool.profiles[name][group.members].mean(axis=0) for name in rules.fields}
    base = base_state(hybrid, float(pool.surface_pressure[group.members].mean()), profiles)
    own = [SECONDS_PER_DAY * float(scipy.linalg.eigvals(one).real.max()) for one in response.each]
    return StateResult(
        group=group,
        base=base,
        response=response,
        spread=spread,
        spectrum=wave_spectrum(base, response.mean, rules.wavelengths_km, rules.friction, progress),
        column=column_modes(base, response.mean),
        stratosphere=stratosphere_mode(base, response.mean),
        own_growth=np.array(own),
        halves=_halves(base, response, rules),
        difference=difference,
    )


def _halves(base: BaseState, response: MeanResponse, rules: Rules) -> tuple[float, float] | None:
    """Return the growth of the fastest wave with the response of either half of the ensemble; None
    for a single column.
    """
    if len(response.each) < 2:
        return None
    growth = []
    for half in (response.each[::2], response.each[1::2]):
        wave = wave_spectrum(base, half.mean(axis=0), rules.wavelengths_km, rules.friction).fastest(
            faster_than=FAST_M_S, kinetic_above=KINETIC_SHARE
        )
        growth.append(float("nan") if wave is None else wave.growth)
    return growth[0], growth[1]


def stratosphere_mode(base: BaseState, response: Array) -> tuple[float, float]:
    """Return the largest growth in 1/day of temperature above 100 hPa acting on itself, all else
    held, and where it peaks in hPa.

    NaN for both without such levels.
    """
    count = int((base.pressure < 100.0 * STRATOSPHERE_HPA).sum())
    if count == 0:
        return float("nan"), float("nan")
    values, vectors = scipy.linalg.eig(response[:count, :count])
    first = int(np.argmax(values.real))
    peak = base.pressure[int(np.argmax(np.abs(vectors[:, first])))] / 100.0
    return SECONDS_PER_DAY * float(values[first].real), float(peak)


def fastest_wave(results: Sequence[StateResult]) -> tuple[StateResult, Mode] | None:
    """Return the state and the wave that grows fastest over all states; None if no mode counts as a
    wave.
    """
    waves = [(r, wave) for r in results if (wave := r.wave) is not None]
    return max(waves, key=lambda item: item[1].growth) if waves else None
