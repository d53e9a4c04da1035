"""The report of an online evaluation: which pictures and tables, in which order, and what they say
in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from climlink.evaluation.figures import online as draw
from climlink.evaluation.online import captions
from climlink.evaluation.online.blocks import CLIMATOLOGY, PERSISTENCE, RUN, TWIN
from climlink.evaluation.online.conservation import BUDGETS
from climlink.evaluation.online.fields import COUNTERS, PROFILES, STATE, TENDENCIES
from climlink.evaluation.online.rain_sections import hovmoeller_section, rain_section
from climlink.evaluation.report import Exclusion, Picture, Report, Section, Table
from climlink.evaluation.summary import OnlineSummary

_CLOUD_SUM = "TOTCLD"
_SHOWN_DAYS = (1, 2, 5, 10, 20, 30, 60, 90, 180, 365)
AREA_LABELS = {
    "surface_temperature": "lowest level, K",
    "precipitable_water": "water vapour, kg/m2",
    "cloud_path": "cloud path, kg/m2",
}


def online_report(
    summary: OnlineSummary,
    numbers: xr.Dataset,
    sources: Mapping[str, str],
    command: str,
    excluded: Sequence[Exclusion],
) -> Report:
    """Return the report of one run; sections whose fields are not there are absent, and
    ``excluded`` says why.
    """
    made = (
        survival_section(summary),
        _growth(numbers),
        _mean_state(numbers),
        _first_days(numbers),
        _drift(numbers),
        _areas(numbers),
        rain_section(numbers),
        hovmoeller_section(numbers),
        _conservation(numbers),
    )
    return Report(
        title=f"Online evaluation of {summary.name}",
        words=words(summary),
        sections=[section for section in made if section is not None],
        summary=summary.model_dump(mode="json"),
        numbers=numbers,
        command=command,
        sources=sources,
        excluded=excluded,
    )


def words(summary: OnlineSummary) -> str:
    """Return what happened in a paragraph."""
    host = {"aquaplanet": "the embedded climate model", "e3sm": "E3SM"}.get(
        summary.host, summary.host
    )
    package = "" if summary.package is None else f" with the package {summary.package.name}"
    length = f"{summary.days:g} days" + (
        f" of {summary.planned_days:g}" if summary.planned_days is not None else ""
    )
    if summary.survived:
        text = (
            f"The run {summary.name} in {host}{package} reached its planned end and wrote {length}."
        )
        if summary.lived_on_support and summary.support is not None:
            text += f" It is alive on support, not alive: {summary.support.words}."
    else:
        text = (
            f"The run {summary.name} in {host}{package} ended early, with {length} written: "
            f"{summary.ended}."
        )
    if not summary.metrics:
        return f"{text} Nothing could be compared."
    text += f" It was held against its reference over {summary.compared_days:g} days."
    for name in ("T", "Q"):
        text += _skill_words(summary, name) + _error_words(summary, name)
    drift, rain = summary.metrics.get("drift.T"), summary.metrics.get("precipitation.bias")
    if drift is not None:
        text += (
            f" At the end its global mean temperature is {abs(drift):.2g} K "
            f"{'above' if drift > 0 else 'below'} the reference's."
        )
    if rain is not None:
        text += (
            f" It rains {abs(rain):.2g} mm/day {'more' if rain > 0 else 'less'} in the global mean."
        )
    return text


def _skill_words(summary: OnlineSummary, name: str) -> str:
    """Return how long a run was worth more than climatology, and its last error beside others."""
    metrics, shown = summary.metrics, PROFILES[name]
    until, last = metrics.get(f"skilful_days.{name}"), metrics.get(f"last_day_rmse.{name}")
    if until is None or last is None:
        return ""
    beside = {
        "climatology": metrics.get(f"climatology.last_day_rmse.{name}"),
        "persistence": metrics.get(f"persistence.last_day_rmse.{name}"),
        "independent states": metrics.get(f"saturated.last_day_rmse.{name}"),
    }
    said = ", ".join(f"{v * shown.scale:.3g} for {k}" for k, v in beside.items() if v is not None)
    skill = f"closer to the reference than climatology until day {until:g}"
    return (
        f" Its {shown.label} was {skill if until else 'never closer than climatology'}; on its "
        f"last day the RMSE is {last * shown.scale:.3g} {shown.units}, against {said}."
    )


def _error_words(summary: OnlineSummary, name: str) -> str:
    error, twin = summary.metrics.get(f"rmse.{name}"), summary.metrics.get(f"twin.rmse.{name}")
    if error is None:
        return ""
    shown = PROFILES[name]
    text = (
        f" The {shown.label} of its mean state is off by {error * shown.scale:.3g} {shown.units} "
        "(RMSE by mass)"
    )
    if twin:
        text += f", {error / twin:.3g} times what two references differ by"
    return text + "."


def survival_section(summary: OnlineSummary) -> Section:
    """Return the table of how the run ended."""
    rows: dict[str, str | float | None] = {
        "survived": ("on support" if summary.lived_on_support else "yes")
        if summary.survived
        else "no",
        **_support_rows(summary),
        "days written": summary.days,
        "days planned": summary.planned_days,
        "days compared": summary.compared_days,
        **_skill_rows(summary),
        "why it ended": summary.ended or "as planned",
        "simulated years per day": summary.years_per_day,
        "package": None if summary.package is None else summary.package.name,
        "package SHA-256": summary.package_sha256,
    }
    texts = [
        f"{value:g}" if isinstance(value, float) else value for value in rows.values()
    ]  # one column, one alignment
    return Section(
        "The run", tables=[Table("run", "How it ended", {"": list(rows), "value": texts})]
    )


def _support_rows(summary: OnlineSummary) -> dict[str, float | None]:
    """Return how much the range policy held the run."""
    if summary.support is None:
        return {}
    return {
        "heating by relaxation, W/m2": summary.support.heating_w_m2,
        "share of the mass relaxed, %": 100.0 * summary.support.mass_share,
    }


def _skill_rows(summary: OnlineSummary) -> dict[str, float | None]:
    """Return what days lived are worth: until when T and Q beat climatology, and the last error
    over climatology's.
    """
    rows = {}
    for name in ("T", "Q"):
        if f"skilful_days.{name}" in summary.metrics:
            rows[f"{name} better than climatology until day"] = summary.metrics[
                f"skilful_days.{name}"
            ]
            rows[f"RMSE of {name} on the last day over climatology's"] = summary.metrics[
                f"relative_error.{name}"
            ]
    return rows


def _have(numbers: xr.Dataset, prefix: str, names: Sequence[str]) -> list[str]:
    """Return the names with numbers of the run under a prefix."""
    found = []
    for name in names:
        values = numbers.get(f"{prefix}_{name}")
        if values is not None and values.size and np.isfinite(values.sel(pair=RUN).values).any():
            found.append(name)
    return found


def _state(numbers: xr.Dataset, prefix: str) -> list[str]:
    return _have(numbers, prefix, [name for name in STATE if name != _CLOUD_SUM])


def _growth(numbers: xr.Dataset) -> Section | None:
    pictures = []
    for prefix in ("hourly", "daily", "monthly"):
        for names, kind in (
            (_state(numbers, f"{prefix}_rmse"), "state"),
            (_have(numbers, f"{prefix}_rmse", list(TENDENCIES)), "tendencies"),
        ):
            if names and (prefix != "monthly" or numbers.sizes["monthly_day"] > 1):
                caption = captions.joined(
                    f"RMSE of {prefix} means over the whole mass of air (weights dp times area).",
                    captions.lines(numbers),
                    captions.saturation(numbers, prefix),
                )
                pictures.append(
                    Picture(
                        f"growth_{prefix}_{kind}",
                        draw.growth_figure(numbers, names, prefix),
                        caption,
                    )
                )
    tables = [
        _growth_table(numbers, prefix, name)
        for prefix in ("hourly", "daily")
        for name in ("T", "Q")
        if _have(numbers, f"{prefix}_rmse", [name])
    ]
    return Section("Growth of error", pictures=pictures, tables=tables) if pictures else None


def _growth_table(numbers: xr.Dataset, prefix: str, name: str) -> Table:
    """Return the error of some days, and of the run's last, beside all that it is held against."""
    shown, series = PROFILES[name], numbers[f"{prefix}_rmse_{name}"]
    day = numbers[f"{prefix}_day"].values
    alive = np.flatnonzero(np.isfinite(series.sel(pair=RUN).values))
    wanted = np.searchsorted(day, np.array(_SHOWN_DAYS) - 1e-6)
    rows = np.unique([*wanted[wanted < alive[-1]], alive[-1]])
    columns: dict[str, list[str | float | None]] = {"day": [float(d) for d in day[rows]]}
    for pair in series["pair"].values:
        columns[str(pair)] = [float(v) * shown.scale for v in series.sel(pair=pair).values[rows]]
    spread = numbers.get(f"{prefix}_saturated_{name}")
    if spread is not None:
        columns["independent states"] = [float(spread) * shown.scale for _ in rows]
    units = {c: shown.units for c in columns if c != "day"}
    title = f"RMSE of {prefix} means of {shown.label}"
    return Table(f"growth_{prefix}_{name.lower()}", title, columns, units)


def _mean_state(numbers: xr.Dataset) -> Section | None:
    state, tendencies = _state(numbers, "mean_rmse"), _have(numbers, "mean_rmse", list(TENDENCIES))
    if not state and not tendencies:
        return None
    pictures = []
    for names, kind in ((state, "state"), (tendencies, "tendencies")):
        if names:
            section = captions.joined(
                "Zonal-mean error of the mean over the compared days (10 degree bins). Line: "
                "tropopause of the reference.",
                captions.dots(numbers),
            )
            pictures.append(
                Picture(f"zonal_bias_{kind}", draw.section_figure(numbers, names), section)
            )
            profile = captions.joined(
                "Error of the mean over the compared days by level.", captions.lines(numbers)
            )
            pictures.append(
                Picture(f"rmse_profile_{kind}", draw.profile_figure(numbers, names), profile)
            )
    return Section(
        "Error of the mean state",
        "Mean over the compared days, weights dp times area. Climatology has the zonal mean of "
        "these days by construction: its error here is what is not zonal, the least that an answer "
        "without longitude can have.",
        pictures,
        [_rmse_table(numbers)],
    )


def _rmse_table(numbers: xr.Dataset) -> Table:
    names = _have(numbers, "mean_rmse", list(PROFILES))
    columns: dict[str, list[str | float | None]] = {
        "field": [f"{PROFILES[n].label} ({n})" for n in names],
        "run": [],
    }
    columns["run"] = [
        float(numbers[f"mean_rmse_{n}"].sel(pair=RUN)) * PROFILES[n].scale for n in names
    ]
    if TWIN in numbers["pair"].values:
        twin = [float(numbers[f"mean_rmse_{n}"].sel(pair=TWIN)) * PROFILES[n].scale for n in names]
        columns["twin of the reference"] = list(twin)
        columns["ratio"] = [
            r / t if isinstance(r, float) and t > 0.0 else None
            for r, t in zip(columns["run"], twin, strict=True)
        ]
    for forecast in (CLIMATOLOGY, PERSISTENCE):
        if forecast in numbers["pair"].values:
            columns[forecast] = [
                float(numbers[f"mean_rmse_{n}"].sel(pair=forecast)) * PROFILES[n].scale
                for n in names
            ]
    columns["units"] = [PROFILES[n].units for n in names]
    return Table("mean_rmse", "RMSE of the mean over the compared days", columns)


def _first_days(numbers: xr.Dataset) -> Section | None:
    names = [n for n in ("T", "Q", "U", "CLDLIQ") if f"first_bias_{n}" in numbers]
    if not names or numbers.sizes.get("first_day", 0) < 2:
        return None
    caption = captions.joined(
        f"Mean error by level over the first {numbers.sizes['first_day']} records, inside and "
        "outside of 30S-30N.",
        captions.dots(numbers),
    )
    return Section(
        "The first days",
        pictures=[Picture("first_days", draw.first_period_figure(numbers, names), caption)],
    )


def _drift(numbers: xr.Dataset) -> Section | None:
    titles = {
        "global_temperature": ("temperature (by mass), K", 1.0),
        "global_vapour": ("water vapour, kg/m2", 1.0),
        "global_cloud": ("cloud water and ice, kg/m2", 1.0),
        "global_energy": ("energy, MJ/m2", 1e-6),
    }
    shown = {name: title for name, title in titles.items() if name in numbers}
    if not shown:
        return None
    caption = "Global means. Energy is the column integral of cp T + K + Lv q - Lf q_ice."
    return Section(
        "Drift",
        pictures=[Picture("drift", draw.series_figure(numbers, shown, "global_day"), caption)],
    )


def _areas(numbers: xr.Dataset) -> Section | None:
    quantities = {q: label for q, label in AREA_LABELS.items() if f"area_mean_{q}" in numbers}
    if not quantities or numbers.sizes["area_day"] < 2:
        return None
    captions = {"mean": "Area means", "std": "Spread over the area (standard deviation)"}
    pictures = [
        Picture(
            f"area_{kind}", draw.area_figure(numbers, kind, quantities), f"{text} of every record."
        )
        for kind, text in captions.items()
    ]
    return Section("Area means and spread", pictures=pictures)


def _conservation(numbers: xr.Dataset) -> Section | None:
    pictures = []
    residuals = {
        "residual_water": ("water residual, mm/day", 1.0),
        "residual_energy": ("energy residual, W/m2", 1.0),
    }
    shown = {
        n: t for n, t in residuals.items() if n in numbers and np.isfinite(numbers[n].values).any()
    }
    if shown:
        caption = (
            "What is left of the change of global water and energy after evaporation, "
            "precipitation and the fluxes in history. What fixers and limiters add is part of it."
        )
        pictures.append(
            Picture("residuals", draw.series_figure(numbers, shown, "residual_day"), caption)
        )
    budgets = {
        f"budget_{n}": (title, 1.0) for n, title in BUDGETS.items() if f"budget_{n}" in numbers
    }
    if budgets:
        pictures.append(
            Picture(
                "budgets",
                draw.series_figure(numbers, budgets, "budget_day"),
                "Daily means of the run's own budgets (budgets.csv).",
            )
        )
    counters = {
        f"counter_{n}": (title, 1.0) for n, title in COUNTERS.items() if f"counter_{n}" in numbers
    }
    if counters:
        caption = "Global means of the adapter's counters and of the emulator's weight."
        pictures.append(
            Picture("counters", draw.series_figure(numbers, counters, "counter_day"), caption)
        )
    return Section("Conservation and counters", pictures=pictures) if pictures else None
