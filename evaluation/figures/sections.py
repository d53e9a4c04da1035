"""Figures over latitude and pressure, over groups of precipitation and pressure, and of
confidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray

from climlink.evaluation.figures.shown import shown_as
from climlink.evaluation.figures.style import (
    BIAS_COLOURS,
    BIAS_COLOURS_WATER,
    FIELD_COLOURS,
    WIDTH_IN,
    pressure_axis,
    symmetric_limit,
)

Array = NDArray[np.float64]

_WATER = ("ptend_q0001", "ptend_q0002", "ptend_q0003")
_NO_VALUE = "0.8"
_TOP_HPA = {
    "ptend_q0001": 50.0,
    "ptend_q0002": 50.0,
    "ptend_q0003": 50.0,
    "ptend_u": 10.0,
    "ptend_v": 10.0,
}
"""Where sections begin: above, the tendencies of water and wind are 0, or pruned. Others are drawn
on all levels.
"""


def _edges(centres: Array) -> Array:
    """Return cell edges [n + 1] about centres [n], the outer ones as far out as the inner ones are
    in.
    """
    inner = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])


def _mesh(
    axes: Axes, x: Array, pressure_hpa: Array, field: Array, colours: str, low: float, high: float
) -> QuadMesh:
    """Draw field [x, level] as cells over x edges and pressure; cells without a value are grey."""
    levels = np.exp(_edges(np.log(pressure_hpa)))
    axes.set_facecolor(_NO_VALUE)
    mesh = axes.pcolormesh(
        x, levels, np.ma.masked_invalid(field.T), cmap=colours, vmin=low, vmax=high, rasterized=True
    )
    pressure_axis(axes, pressure_hpa)
    return mesh


def _crop(axes: Axes, name: str, pressure_hpa: Array) -> None:
    """Let the pressure axis begin where the output begins to matter."""
    top = _TOP_HPA.get(name, 0.0)
    if pressure_hpa.min() < top < pressure_hpa.max():
        axes.set_ylim(top=top)


def _latitudes(axes: Axes) -> None:
    axes.set_xticks([-60, -30, 0, 30, 60], ["60S", "30S", "0", "30N", "60N"])


def _water_or(name: str) -> str:
    # Brown is dry and green is wet, so the map of moisture runs from low to high as the other does.
    return BIAS_COLOURS_WATER if name in _WATER else BIAS_COLOURS


def zonal_r2(latitude_deg: Array, pressure_hpa: Array, scores: Mapping[str, Array]) -> Figure:
    """Return maps of the zonal mean R² [bin, level], 0 to 1, of every profile output over latitude
    and pressure.
    """
    rows = -(-len(scores) // 2)
    figure = Figure(figsize=(WIDTH_IN, 2.4 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    mesh = None
    for number, (axes, (name, field)) in enumerate(zip(panels, scores.items(), strict=False)):
        mesh = _mesh(axes, _edges(latitude_deg), pressure_hpa, field, FIELD_COLOURS, 0.0, 1.0)
        axes.set_title(shown_as(name).label, fontsize=10)
        _latitudes(axes)
        if number % 2 == 0:
            axes.set_ylabel("pressure (hPa)")
    for axes in panels[len(scores) :]:
        axes.set_visible(False)
    if mesh is not None:
        figure.colorbar(
            mesh, ax=panels.tolist(), label="R² over time", location="bottom", shrink=0.8
        )
    return figure


def zonal_section(
    name: str, latitude_deg: Array, pressure_hpa: Array, truth: Array, prediction: Array
) -> Figure:
    """Return truth, prediction and bias of an output [bin, level], in catalogue units, one below
    the other over latitude and pressure.
    """
    shown = shown_as(name)
    figure = Figure(figsize=(WIDTH_IN, 7.2), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, sharey=True)
    fields = [truth * shown.factor, prediction * shown.factor, (prediction - truth) * shown.factor]
    both = symmetric_limit(*fields[:2])
    limits = [both, both, symmetric_limit(fields[2])]
    for axes, field, limit, title in zip(
        panels, fields, limits, ("truth", "prediction", "prediction minus truth"), strict=True
    ):
        mesh = _mesh(
            axes, _edges(latitude_deg), pressure_hpa, field, _water_or(name), -limit, limit
        )
        _crop(axes, name, pressure_hpa)
        axes.set_title(f"{shown.label}: {title}", fontsize=10)
        _latitudes(axes)
        axes.set_ylabel("pressure (hPa)")
        figure.colorbar(mesh, ax=axes, label=shown.unit, extend="both")
    return figure


def decile_biases(
    labels: Sequence[str], pressure_hpa: Array, biases: Mapping[str, Array]
) -> Figure:
    """Return the bias [group, level] of every profile output by group of predicted precipitation
    and pressure, in catalogue units.
    """
    figure = Figure(figsize=(WIDTH_IN, 2.7 * len(biases) + 0.3), layout="constrained")
    panels = figure.subplots(len(biases), 1, squeeze=False)[:, 0]
    x = np.arange(len(labels) + 1, dtype=np.float64) - 0.5
    for axes, (name, field) in zip(panels, biases.items(), strict=True):
        shown = shown_as(name)
        scaled = field * shown.factor
        limit = symmetric_limit(scaled)
        mesh = _mesh(axes, x, pressure_hpa, scaled, _water_or(name), -limit, limit)
        _crop(axes, name, pressure_hpa)
        axes.set_title(f"{shown.label}: prediction minus truth", fontsize=10)
        axes.set_xticks(
            np.arange(len(labels)),
            [t.replace("exactly ", "=").replace("below ", "<") for t in labels],
        )
        axes.axvline(1.5, color="0.2", linewidth=1.0)
        figure.colorbar(mesh, ax=axes, label=shown.unit, extend="both")
        axes.set_ylabel("pressure (hPa)")
    panels[-1].set_xlabel("tenth of predicted precipitation")
    return figure


def calibration(curves: Mapping[str, tuple[Array, Array]]) -> Figure:
    """Return actual against predicted loss [part] of every output on logarithmic axes; on the
    dashed line the two agree.
    """
    figure = Figure(figsize=(WIDTH_IN, 6.4), layout="constrained")
    axes = figure.subplots()
    both = np.concatenate([np.concatenate(pair) for pair in curves.values()])
    positive = both[both > 0.0]
    span = (float(positive.min()) / 2, float(positive.max()) * 2) if positive.size else (1e-3, 1.0)
    axes.plot(span, span, color="0.4", linestyle="--", linewidth=1.0)
    for number, (name, (predicted, actual)) in enumerate(curves.items()):
        shown = (predicted > 0.0) & (actual > 0.0)
        style = {"marker": "o"} if number < 10 else {"marker": "s", "linestyle": ":"}
        axes.plot(
            predicted[shown],
            actual[shown],
            markersize=4,
            linewidth=1.0,
            color=f"C{number % 10}",
            label=name,
            **style,  # type: ignore[arg-type]
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*span)
    axes.set_ylim(*span)
    axes.set_xlabel("predicted normalized loss")
    axes.set_ylabel("actual normalized loss")
    axes.grid(True, color="0.92", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def skill_by_share_kept(kept: Array, r2: Mapping[str, Array], loss: Array) -> Figure:
    """Return R² of every output and the mean loss against the share of columns kept [part], the
    least confident left out first.
    """
    figure = Figure(figsize=(WIDTH_IN, 7.2), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    for number, (name, values) in enumerate(r2.items()):
        upper.plot(
            kept,
            values,
            color=f"C{number % 10}",
            linestyle="-" if number < 10 else ":",
            linewidth=1.3,
            label=name,
        )
    upper.set_ylim(-0.05, 1.0)
    upper.set_ylabel("R² of the columns kept")
    lower.plot(kept, loss, marker="o", markersize=4)
    lower.set_ylim(bottom=0.0)
    lower.set_ylabel("mean normalized loss of the columns kept")
    for axes in (upper, lower):
        axes.set_xlim(0.0, 1.02)
        axes.set_xlabel("share of columns kept")
        axes.grid(True, color="0.92", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
