"""Figures of online runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from climlink.data.files import replacing
from climlink.evaluation.online.drift import Drift


def drift_figure(drifts: Mapping[str, Drift], path: str | Path, *, title: str) -> None:
    """Draw the mass-weighted error of temperature and humidity by day, one line per run, and write it (PNG, PDF or SVG by suffix)."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for label, one in drifts.items():
        axes[0].plot(one.days, one.temperature_k, marker="o", label=label)
        axes[1].plot(one.days, 1e3 * one.humidity_kg_kg, marker="o", label=label)
    for axis, name in zip(axes, ("temperature, K", "specific humidity, g/kg"), strict=True):
        axis.set_xlabel("day")
        axis.set_ylabel(f"RMSE of {name}")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylim(bottom=0.0)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.suptitle(title, fontsize=11)
    with replacing(Path(path)) as partial:
        figure.savefig(partial, dpi=120, format=Path(path).suffix.removeprefix(".") or "png")
