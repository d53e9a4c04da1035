"""Figures of the stability screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.figures.style import (
    BIAS_COLOURS,
    BIAS_COLOURS_WATER,
    FIELD_COLOURS,
    WIDTH_IN,
    pressure_axis,
    symmetric_limit,
)
from climlink.evaluation.stability.dynamics import HUMIDITY, TEMPERATURE, Array
from climlink.evaluation.stability.modes import Mode
from climlink.evaluation.stability.screen import FAST_M_S, KINETIC_SHARE, StateResult
from climlink.evaluation.stability.semi_online import Replay
from climlink.evaluation.stability.sensitivity import Sensitivity

_FONT = 10
_MARKERS = "osD^v<>PX*"
_LOWEST_GROWTH = -1.0
_WAVE_TOP_HPA = 10.0
_FEW_STEPS = 6
_LEVEL_TICKS_HPA = (0.1, 1.0, 10.0, 50.0, 200.0, 500.0, 900.0)


def spectrum_figure(results: Sequence[StateResult], growth_limit: float) -> Figure:
    """Return growth against phase speed of all modes in which air moves; the shaded corner is where
    the rule finds instability.

    The frame is that of the modes faster than the rule's speed; slower ones that grow faster than
    it shows lie above it.
    """
    figure = Figure(figsize=(WIDTH_IN, 5.6), layout="constrained")
    axes = figure.subplots()
    fastest, highest = 10.0, max(0.5, 2.0 * growth_limit)
    for marker, result in zip(_MARKERS, results, strict=False):
        s = result.spectrum
        shown = (s.kinetic_share > KINETIC_SHARE) & (s.growth > _LOWEST_GROWTH)
        axes.scatter(
            s.speed[shown],
            s.growth[shown],
            s=12,
            marker=marker,
            alpha=0.6,
            label=result.group.title,
            edgecolors="none",
        )
        fastest = max(fastest, 1.2 * float(s.speed[shown].max(initial=0.0)))
        highest = max(highest, 1.2 * float(s.growth[shown & (s.speed > FAST_M_S)].max(initial=0.0)))
    axes.set_xscale("symlog", linthresh=1.0)
    ticks = [t for t in (0, 1, 2, 5, 10, 20, 50, 100, 200) if t <= fastest]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(-0.1, fastest)
    axes.set_ylim(_LOWEST_GROWTH, highest)
    axes.fill_between(
        [FAST_M_S, fastest], growth_limit, highest, color="#d62728", alpha=0.12, zorder=0
    )
    axes.axhline(0.0, color="0.4", linewidth=0.8)
    axes.set_xlabel("phase speed (m/s)", fontsize=_FONT)
    axes.set_ylabel("growth rate (1/day)", fontsize=_FONT)
    axes.grid(alpha=0.3)
    figure.legend(frameon=False, ncols=2, loc="outside lower center", markerscale=1.6)
    return figure


def wavelength_figure(results: Sequence[StateResult], growth_limit: float) -> Figure:
    """Return growth and phase speed of the fastest growing wave of every state, against
    wavelength.
    """
    figure = Figure(figsize=(WIDTH_IN, 6.6), layout="constrained")
    growth_axes, speed_axes = figure.subplots(2, 1, sharex=True)
    for marker, result in zip(_MARKERS, results, strict=False):
        s = result.spectrum
        chosen = (s.speed > FAST_M_S) & (s.kinetic_share > KINETIC_SHARE)
        number = np.argmax(np.where(chosen, s.growth, -np.inf), axis=1)
        rows = np.arange(len(s.wavelength_km))
        there = chosen[rows, number]
        growth, speed = (
            np.where(there, values[rows, number], np.nan) for values in (s.growth, s.speed)
        )
        for axes, values in ((growth_axes, growth), (speed_axes, speed)):
            axes.plot(
                s.wavelength_km,
                values,
                marker=marker,
                markersize=4,
                linewidth=1.2,
                label=result.group.title,
            )
    growth_axes.axhline(0.0, color="0.4", linewidth=0.8)
    growth_axes.axhline(growth_limit, color="#d62728", linewidth=1.0, linestyle="--")
    growth_axes.set_ylabel("growth rate (1/day)", fontsize=_FONT)
    low, high = growth_axes.get_ylim()
    growth_axes.set_ylim(max(low, _LOWEST_GROWTH), max(high, 1.5 * growth_limit))
    speed_axes.axhline(FAST_M_S, color="0.4", linewidth=0.8, linestyle="--")
    speed_axes.set_ylabel("phase speed (m/s)", fontsize=_FONT)
    speed_axes.set_ylim(bottom=0.0)
    speed_axes.set_xlabel("wavelength (km)", fontsize=_FONT)
    speed_axes.set_xscale("log")
    speed_axes.set_xticks(
        [300, 1000, 3000, 10000, 40000], ["300", "1000", "3000", "10000", "40000"]
    )
    speed_axes.minorticks_off()
    for axes in (growth_axes, speed_axes):
        axes.grid(alpha=0.3)
    growth_axes.legend(frameon=False, ncols=2)
    return figure


def mode_figure(mode: Mode) -> Figure:
    """Return the structure of a mode over one wavelength: temperature with vertical velocity, and
    humidity, where T' peaks at 1 K.
    """
    base = mode.base
    phase = np.linspace(0.0, 1.0, 73)
    turn = np.exp(2j * np.pi * phase)
    unit = mode.vector / mode.field(TEMPERATURE)[np.argmax(np.abs(mode.field(TEMPERATURE)))]
    one = Mode(base, mode.wavelength_km, mode.growth, mode.speed, mode.kinetic_share, unit)
    x, p = 1e-3 * phase * mode.wavelength_km, base.pressure / 100.0
    between = np.sqrt(p[1:] * p[:-1])
    figure = Figure(figsize=(WIDTH_IN, 7.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    temperature = np.real(np.outer(one.field(TEMPERATURE), turn))
    _filled(figure, upper, x, p, temperature, BIAS_COLOURS, "T' (K)")
    w = 1e3 * np.real(np.outer(one.vertical_velocity, turn))
    if np.abs(w).max() > 0.0:
        lines = upper.contour(x, between, w, colors="k", linewidths=0.8)
        upper.clabel(lines, fontsize=_FONT, fmt="%.3g")
    upper.set_title("temperature; vertical velocity (mm/s, lines)", fontsize=_FONT)
    _filled(
        figure,
        lower,
        x,
        p,
        1e3 * np.real(np.outer(one.field(HUMIDITY), turn)),
        BIAS_COLOURS_WATER,
        "q' (g/kg)",
    )
    lower.set_title("specific humidity", fontsize=_FONT)
    shown = p if mode.peak_hpa < _WAVE_TOP_HPA else p[p >= _WAVE_TOP_HPA]
    pressure_axis(upper, shown)
    for axes in (upper, lower):
        axes.set_ylabel("pressure (hPa)", fontsize=_FONT)
    lower.set_xlabel("x (1000 km)", fontsize=_FONT)
    lower.xaxis.set_major_locator(MaxNLocator(5))
    return figure


def response_figure(result: StateResult) -> Figure:
    """Return the mean response of temperature and humidity about a state as four maps, output level
    against input level.

    Inputs are in standard deviations of their level, so that the dry stratosphere does not hide the
    rest; axes count levels.
    """
    base, n = result.base, result.base.level_count
    p = base.pressure / 100.0
    matrix = SECONDS_PER_DAY * result.response.mean * result.spread[None, :]
    parts = [("dT/dt by T", 0, 0), ("dT/dt by q", 0, 1), ("dq/dt by T", 1, 0), ("dq/dt by q", 1, 1)]
    figure = Figure(figsize=(WIDTH_IN, 3.6 * len(parts)), layout="constrained")
    for axes, (title, out, into) in zip(figure.subplots(len(parts), 1), parts, strict=True):
        factor, units = (1e3, "g/kg/day") if out else (1.0, "K/day")
        block = factor * matrix[out * n : (out + 1) * n, into * n : (into + 1) * n]
        limit = symmetric_limit(block, quantile=1.0)
        norm = SymLogNorm(linthresh=1e-3 * limit, vmin=-limit, vmax=limit)
        mesh = axes.imshow(
            block, cmap=BIAS_COLOURS, norm=norm, aspect="auto", interpolation="nearest"
        )
        _colour_bar(figure, axes, mesh, limit, f"{units} per standard deviation")
        places = [int(np.argmin(np.abs(np.log(p / t)))) for t in _LEVEL_TICKS_HPA]
        axes.set_xticks(places, [f"{t:g}" for t in _LEVEL_TICKS_HPA])
        axes.set_yticks(places, [f"{t:g}" for t in _LEVEL_TICKS_HPA])
        axes.set_title(title, fontsize=_FONT)
        axes.set_xlabel("input level (hPa)", fontsize=_FONT)
        axes.set_ylabel("output level (hPa)", fontsize=_FONT)
    return figure


def _colour_bar(figure: Figure, axes: Axes, mesh: ScalarMappable, limit: float, label: str) -> None:
    """Add a colour bar with few ticks: the largest values, a tenth and a hundredth of them, and
    zero.
    """
    parts = [-limit, -0.1 * limit, -0.01 * limit, 0.0, 0.01 * limit, 0.1 * limit, limit]
    bar = figure.colorbar(mesh, ax=axes)
    bar.minorticks_off()
    bar.set_ticks(parts, labels=[f"{v:.2g}" for v in parts])
    bar.set_label(label, fontsize=_FONT)


def sensitivity_figure(found: Sensitivity) -> Figure:
    """Return the sensitivity of every output to every input as a map, in standard deviations,
    logarithmic; white where there is none.
    """
    values = found.by_variable()
    there = values[values > 0.0]
    low, high = (max(1e-3, float(there.min())), float(there.max())) if there.size else (1e-3, 1.0)
    figure = Figure(figsize=(11.0, 6.0), layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_less_equal(values, 0.0)
    mesh = axes.imshow(
        shown,
        cmap=FIELD_COLOURS,
        norm=LogNorm(low, max(high, 10.0 * low)),
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_xticks(
        range(len(found.inputs.names)),
        [_short(n) for n in found.inputs.names],
        rotation=90,
        fontsize=9,
    )
    axes.set_yticks(
        range(len(found.outputs.names)), [_short(n) for n in found.outputs.names], fontsize=9
    )
    axes.set_xlabel("input", fontsize=_FONT)
    axes.set_ylabel("output", fontsize=_FONT)
    figure.colorbar(mesh, ax=axes, extend="min").set_label(
        "standard deviations of the output", fontsize=9
    )
    return figure


def damping_figure(results: Sequence[StateResult]) -> Figure:
    """Return the response of temperature to itself, level by level: left of zero it is damped."""
    figure = Figure(figsize=(WIDTH_IN, 5.2), layout="constrained")
    axes = figure.subplots()
    for marker, result in zip(_MARKERS, results, strict=False):
        n = result.base.level_count
        diagonal = SECONDS_PER_DAY * np.diag(result.response.mean)[:n]
        axes.plot(
            diagonal,
            result.base.pressure / 100.0,
            marker=marker,
            markersize=3,
            linewidth=1.0,
            label=result.group.title,
        )
    pressure_axis(axes, results[0].base.pressure / 100.0)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xticks(
        [-10.0, -1.0, -0.1, 0.0, 0.1, 1.0, 10.0], ["−10", "−1", "−0.1", "0", "0.1", "1", "10"]
    )
    axes.minorticks_off()
    axes.axvline(0.0, color="0.3", linewidth=0.8)
    axes.set_xlabel("d(dT/dt)/dT at the same level (1/day)", fontsize=_FONT)
    axes.set_ylabel("pressure (hPa)", fontsize=_FONT)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def replay_figure(replays: Mapping[str, Replay], pressure_hpa: Array) -> Figure:
    """Return the error growth of semi-online replays, and by level: of the emulator left to itself,
    or of all after a few steps.
    """
    figure = Figure(figsize=(WIDTH_IN, 11.0), layout="constrained")
    panels = figure.subplots(4, 1).reshape(2, 2)
    for axes, (name, factor, label) in zip(panels[0], _ERRORS, strict=True):
        for marker, (variant, one) in zip(_MARKERS, replays.items(), strict=False):
            axes.plot(
                one.hours,
                factor * one.rmse[name],
                marker=marker,
                markersize=3,
                markevery=max(1, one.steps // 12),
                label=variant,
            )
        axes.set_xlabel("hours", fontsize=_FONT)
        axes.set_ylabel(f"RMSE of {label}", fontsize=_FONT)
        axes.set_ylim(bottom=0.0)
        axes.grid(alpha=0.3)
    panels[0, 0].legend(frameon=False)
    for axes, error in zip(panels[1], _ERRORS, strict=True):
        if replays["emulator"].steps < _FEW_STEPS:
            _error_profiles(axes, replays, pressure_hpa, error)
        else:
            _error_map(figure, axes, replays["emulator"], pressure_hpa, error)
        pressure_axis(axes, pressure_hpa)
        axes.set_ylabel("pressure (hPa)", fontsize=_FONT)
    return figure


def _error_profiles(
    axes: Axes, replays: Mapping[str, Replay], pressure_hpa: Array, error: tuple[str, float, str]
) -> None:
    """Draw the error by level at the end of short replays."""
    name, factor, label = error
    for marker, (variant, one) in zip(_MARKERS, replays.items(), strict=False):
        axes.plot(
            factor * one.by_level[name][-1],
            pressure_hpa,
            marker=marker,
            markersize=3,
            linewidth=1.0,
            label=variant,
        )
    axes.set_xlabel(f"RMSE of {label} at the end", fontsize=_FONT)
    axes.set_xlim(left=0.0)
    axes.grid(alpha=0.3)


def _error_map(
    figure: Figure, axes: Axes, free: Replay, pressure_hpa: Array, error: tuple[str, float, str]
) -> None:
    """Draw the error by level and time of one replay."""
    name, factor, label = error
    mesh = axes.pcolormesh(
        free.hours,
        pressure_hpa,
        factor * free.by_level[name].T,
        cmap=FIELD_COLOURS,
        shading="nearest",
        vmin=0.0,
    )
    figure.colorbar(mesh, ax=axes).set_label(f"RMSE of {label}, emulator", fontsize=_FONT)
    axes.set_xlabel("hours", fontsize=_FONT)


_ERRORS = ((TEMPERATURE, 1.0, "T (K)"), (HUMIDITY, 1e3, "q (g/kg)"))


def _filled(
    figure: Figure, axes: Axes, x: Array, p: Array, values: Array, colours: str, label: str
) -> None:
    limit = symmetric_limit(values, quantile=1.0)
    mesh = axes.pcolormesh(
        x, p, values, cmap=colours, vmin=-limit, vmax=limit, shading="gouraud", rasterized=True
    )
    figure.colorbar(mesh, ax=axes).set_label(label, fontsize=_FONT)


def _short(name: str) -> str:
    for prefix in ("cam_out_", "cam_in_", "pbuf_"):
        name = name.removeprefix(prefix)
    return name
