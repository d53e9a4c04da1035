"""The report of one package: figures, tables and words of an OfflineResult."""

from __future__ import annotations

from typing import Any

import numpy as np

from climlink.data.stamp import SECONDS_PER_DAY
from climlink.evaluation.figures import sections as draw
from climlink.evaluation.figures.offline import budget_lines, r2_lines, scalar_means
from climlink.evaluation.figures.shown import shown_as
from climlink.evaluation.kernels.pairs import PairMoments
from climlink.evaluation.offline.conservation import BUDGETS, MEANINGS, UNITS
from climlink.evaluation.offline.constraint_section import constraint_section
from climlink.evaluation.offline.deciles import LABELS
from climlink.evaluation.offline.numbers import numbers
from climlink.evaluation.offline.residual_section import residual_section
from climlink.evaluation.offline.result import OfflineResult, Place
from climlink.evaluation.offline.times import times_section
from climlink.evaluation.offline.words import words
from climlink.evaluation.report import Exclusion, Picture, Report, Section, Table
from climlink.evaluation.summary import Metrics, OfflineSummary, finite_or_none

_WEIGHTS_GIVEN = "The weights are those in the store."
_WEIGHTS_BY_RULE = (
    "The store holds no weights: by the competition's rule 63 targets aloft have none."
)


def build_report(result: OfflineResult, summary: OfflineSummary, command: str) -> Report:
    """Return the whole report of a package; ``command`` is what made it."""
    found = [
        residual_section({result.package.name: result}),
        times_section(result.times),
        _skill(result, summary.metrics),
        _columns(result),
        _zonal(result),
        _scalars(result),
        _deciles(result),
        _conservation(result),
        constraint_section(result),
        _confidence(result),
        _leap(result, summary.metrics),
        _levels(result),
    ]
    place = result.place
    return Report(
        title=f"Offline skill of {result.package.name}",
        words=words(result, summary.metrics),
        sections=[s for s in found if s is not None],
        summary=summary.model_dump(mode="json"),
        numbers=numbers(result),
        command=command,
        sources={
            "package": f"{result.package.name}, SHA-256 {result.package.sha256}",
            "store": f"{place.store}, split {place.split}, {place.span}, digest {place.digest}",
        },
        excluded=exclusions(result),
    )


def exclusions(result: OfflineResult) -> list[Exclusion]:
    """Return everything that did not enter the numbers: parts that do not apply, constant truth,
    and predictions that are not finite.
    """
    found = list(result.excluded)
    if result.misses.rows:
        more = result.misses.rows - len(result.misses.places)
        text = "; ".join(result.misses.places) + (f"; and {more} more columns" if more > 0 else "")
        found.append(
            Exclusion(f"{result.misses.rows} columns with a prediction that is not finite", text)
        )
    if result.place.times < 2 and not result.place.of_table:
        found.append(
            Exclusion(
                "R² over time, of columns and by latitude",
                f"the split {result.place.split!r} has one time",
            )
        )
    for name, levels in result.r2_table().constant_levels().items():
        where = (
            f"levels {_ranges(levels)}" if result.outputs[name].is_profile else "the whole output"
        )
        why = (
            "the truth is without variance there, so R² says nothing; not in medians, means and "
            "scores"
        )
        found.append(Exclusion(f"{name}, {where}", why))
    if result.first_level > 0:
        found.append(
            Exclusion(
                f"levels 0 to {result.first_level - 1}",
                "pruned by the package; not in medians over levels, but in profiles, maps and "
                "numbers.nc",
            )
        )
    return found


def _ranges(levels: list[int]) -> str:
    """Return sorted numbers as ranges, such as 3-5, 8."""
    parts: list[list[int]] = []
    for k in levels:
        if parts and parts[-1][-1] == k - 1:
            parts[-1].append(k)
        else:
            parts.append([k])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def score_tables(result: OfflineResult, metrics: Metrics) -> list[Table]:
    """Return the scores of every output, in the units they are shown in, and ClimSim's in W/m2."""
    names = result.outputs.names
    factors = [shown_as(n).factor for n in names]

    def column(metric: str) -> list[float | None]:
        return [metrics[f"{metric}.{n}"] for n in names]

    def scaled(metric: str) -> list[float | None]:
        return [None if v is None else v * f for v, f in zip(column(metric), factors, strict=True)]

    own: dict[str, Any] = {
        "output": list(names),
        "units": [shown_as(n).unit for n in names],
        "R²": column("r2"),
        **({} if result.later is None else {"R², later window": column("r2_later")}),
        "R² over time, median column": column("r2_column_median"),
        "RMSE": scaled("rmse"),
        "MAE": scaled("mae"),
        "bias": scaled("bias"),
    }
    climsim: dict[str, Any] = {"output": list(names)}
    climsim |= {
        label: column(f"climsim_{m}")
        for label, m in (("MAE", "mae"), ("RMSE", "rmse"), ("bias", "bias"), ("R²", "r2"))
    }
    return [
        Table("scores", "Scores by output", own),
        Table(
            "climsim_scores",
            "ClimSim's metrics by output",
            climsim,
            dict.fromkeys(("MAE", "RMSE", "bias"), "W/m2"),
        ),
    ]


def _skill(result: OfflineResult, metrics: Metrics) -> Section:
    title = f"{result.package.name} on {result.place.split}"
    figure = r2_lines(
        {result.package.name: [result.r2_table()]}, result.place.pressure_hpa, title=title
    )
    caption = (
        "R² over all columns and times at each level, and of the scalar outputs. The dashed line "
        "is the median over the levels that are not pruned; pruned levels are shaded; values below "
        "-0.1 lie outside the frame, and levels of constant truth are gaps."
    )
    text = (
        "R² pools columns and times, each column alike; profiles show the median over levels that "
        "are not pruned and vary. RMSE, MAE and bias weigh every cell by its mass and every scalar "
        "by its area. ClimSim's metrics are of W/m2 (wind tendencies times the wind speed of the "
        "input state): over time in each column, then the mean over columns, then over levels the "
        "mean, or the median of R². A column whose truth hardly varies pulls that R² far below 0. "
        "True liquid and ice tendencies are those of the store, not a split of their sum."
    )
    return Section("Skill", text, [Picture("r2", figure, caption)], score_tables(result, metrics))


def _columns(result: OfflineResult) -> Section | None:
    if not result.place.over_time:
        return None
    floored = np.maximum(result.column_r2(), 0.0)
    centres, means = result.place.zonal_mean(floored)
    fields = {v.name: means[:, result.outputs.slice(v.name)] for v in result.outputs.profiles}
    figure = draw.zonal_r2(centres, result.place.pressure_hpa, fields)
    caption = (
        "R² over time of each column and level, averaged in bins of 10° latitude. A column below 0 "
        "counts as 0; one whose truth is constant counts as 1 where the prediction is exact and as "
        "0 elsewhere. Grey: no column."
    )
    few = (
        ""
        if result.place.times >= 30
        else f" With {result.place.times} times, R² of a single column is a rough estimate."
    )
    text = f"Where on the globe the variability in time is caught.{few}"
    return Section("Skill by latitude", text, [Picture("zonal_r2", figure, caption)])


def _zonal(result: OfflineResult) -> Section | None:
    if result.place.of_table:
        return None
    centres, truth = result.place.zonal_mean(result.plain.truth_mean())
    _, prediction = result.place.zonal_mean(result.plain.prediction_mean())
    pictures = []
    for v in result.outputs.profiles:
        where = result.outputs.slice(v.name)
        figure = draw.zonal_section(
            v.name, centres, result.place.pressure_hpa, truth[:, where], prediction[:, where]
        )
        caption = (
            f"{v.long_name.capitalize()}: mean over time in bins of 10° latitude, weighted by "
            "area. Grey: no column."
        )
        pictures.append(Picture(f"zonal_{v.name}", figure, caption))
    text = (
        "Truth, prediction and their difference; water from 50 hPa down and wind from 10 hPa down, "
        "all levels are in numbers.nc."
    )
    return Section("Zonal means", text, pictures)


def _scalars(result: OfflineResult) -> Section | None:
    names = [v.name for v in result.outputs.scalars]
    if not names:
        return None
    moments = [result.weighted(n) for n in names]
    truth = np.array([float(m.truth_mean()[0, 0]) for m in moments])
    prediction = np.array([float(m.prediction_mean()[0, 0]) for m in moments])
    figure = scalar_means(names, truth, {"prediction": prediction})
    return Section(
        "Scalar outputs",
        "",
        [Picture("scalars", figure, "Mean over area and time of the scalar outputs.")],
    )


def _deciles(result: OfflineResult) -> Section | None:
    d = result.deciles
    if d is None:
        return None
    error = d.prediction - d.truth
    biases, start = {}, 0
    for v in result.outputs.profiles:
        stop = start + result.outputs.width_of(v.name)
        biases[v.name] = error[:, start:stop]
        start = stop
    figure = draw.decile_biases(LABELS, result.place.pressure_hpa, biases)
    caption = (
        "Mean error of the tendencies by predicted precipitation: columns below 0, at exactly 0, "
        "and in ten groups of about as many columns each, weighted by area. Grey: no column."
    )
    table = Table(
        "precipitation_groups",
        "Groups of predicted precipitation",
        {
            "group": list(LABELS),
            "columns": [int(r) for r in d.rows],
            "up to": [None if np.isnan(u) else float(u) * 1e3 * SECONDS_PER_DAY for u in d.upper],
        },
        {"up to": "mm/day"},
    )
    text = (
        "Which columns the errors come from: dry ones, those with a little rain, or the few where "
        "it pours."
    )
    return Section(
        "Tendencies by precipitation", text, [Picture("deciles", figure, caption)], [table]
    )


def _conservation(result: OfflineResult) -> Section | None:
    if result.budgets is None:
        return None
    place, b = result.place, result.budgets
    pictures = [] if place.of_table else [_budgets_by_latitude(place, b)]
    whole = b.over_columns(place.area)
    truth, bias = whole.truth_mean()[0], whole.bias()[0]
    spread = whole.truth_std()[0]
    table = Table(
        "conservation",
        "Column budgets, mean over area and time",
        {
            "budget": [MEANINGS[n] for n in BUDGETS],
            "units": [UNITS[n] for n in BUDGETS],
            "truth": truth.tolist(),
            "prediction": (truth + bias).tolist(),
            "difference": bias.tolist(),
            "RMS of truth by column": np.hypot(truth, spread).tolist(),
            "RMSE by column": whole.rmse()[0].tolist(),
        },
    )
    text = (
        "Column water tendency plus precipitation is 0 where water leaves a column as "
        "precipitation only, and the evaporation where the emulated physics adds it. Single "
        "columns of ClimSim do not close, for the cloud-resolving model holds precipitating water "
        "back. The tendency of moist enthalpy, cp T + Lv q - Lf ice with the ice that falls as "
        "snow taken out, is what radiation and surface fluxes in the tendencies supply; outputs do "
        "not say how much that is, so it is compared with the truth."
    )
    return Section("Conservation", text, pictures, [table])


def _budgets_by_latitude(place: Place, budgets: PairMoments) -> Picture:
    shown = ("water_residual", "energy_source")
    lines = {}
    for label, values in (
        ("truth", budgets.truth_mean()),
        ("prediction", budgets.prediction_mean()),
    ):
        centres, means = place.zonal_mean(values)
        lines[label] = {n: means[:, BUDGETS.index(n)] for n in shown}
    figure = budget_lines(centres, lines, {n: f"{MEANINGS[n]}\n({UNITS[n]})" for n in shown})
    caption = "Zonal means in bins of 10° latitude, weighted by area."
    return Picture("conservation_by_latitude", figure, caption)


def _confidence(result: OfflineResult) -> Section | None:
    c = result.confidence
    if c is None:
        return None
    names = list(c.crps)
    curves = {n: (k.predicted, k.actual) for n, k in c.calibration.items()}
    pictures = [
        Picture(
            "confidence_calibration",
            draw.calibration(curves),
            "Actual against predicted loss in ten groups of about as many values, by predicted "
            "loss. On the dashed line the two agree.",
        ),
        Picture(
            "confidence_share_kept",
            draw.skill_by_share_kept(c.kept, c.kept_r2, c.kept_loss),
            "Scores of the columns kept when those with the largest mean predicted loss are left "
            "out. R² is against the spread of the columns kept, which is smaller too.",
        ),
    ]
    table = Table(
        "confidence",
        "Scores of the predicted spread, normalized",
        {
            "output": names,
            "CRPS": [c.crps[n] for n in names],
            "CRPS of the best single spread": [c.crps_constant[n] for n in names],
            "MAE (CRPS of no spread)": [c.mae[n] for n in names],
        },
    )
    text = (
        "The confidence is the network's estimate of its own normalized Huber loss. It is scored "
        f"as the normal distribution with that expected loss. {100.0 * c.not_positive:.2g} % of "
        "its values are 0 or negative and stand for no spread."
    )
    return Section("Confidence", text, pictures, [table])


def _leap(result: OfflineResult, metrics: Metrics) -> Section | None:
    if "leap.score" not in metrics:
        return None
    rows = {
        "leap.score_floored": "mean R² of the targets with weight, every R² below 0 counted as 0",
        "leap.score": "the same, with R² below 0 as it is",
        "leap.score_368": "mean over all targets, those without weight counted as exact",
        "leap.targets_below_0": "targets with weight whose R² is below 0",
        "leap.targets_left_out": "targets with weight left out, for their truth is without "
        "variance",
    }
    table = Table(
        "leap",
        "Score of the LEAP competition",
        {"score": list(rows.values()), "value": [metrics[n] for n in rows]},
    )
    text = (
        "The competition's own test times are others, so this compares packages with each other, "
        "not with its tables. A level whose truth hardly varies can pull the mean far below 0; the "
        "first line is not moved by that. "
        + (_WEIGHTS_GIVEN if result.place.target_weights else _WEIGHTS_BY_RULE)
    )
    return Section("LEAP score", text, [], [table])


def _levels(result: OfflineResult) -> Section:
    pooled, mass = np.where(result.constant, np.nan, result.pooled.r2())[0], result.mass
    levels = range(result.outputs.level_count)
    head: dict[str, Any] = {"level": list(levels), "pressure": result.place.pressure_hpa.tolist()}
    names = [v.name for v in result.outputs.profiles]
    scores = {n: [finite_or_none(r) for r in pooled[result.outputs.slice(n)]] for n in names}
    errors = {
        n: (mass.rmse()[0, result.outputs.slice(n)] * shown_as(n).factor).tolist() for n in names
    }
    tables = [
        Table("r2_by_level", "R² by level", head | scores, {"pressure": "hPa"}),
        Table(
            "rmse_by_level",
            "RMSE by level, over mass",
            head | errors,
            {"pressure": "hPa"} | {n: shown_as(n).unit for n in names},
        ),
    ]
    text = "Levels whose truth is without variance have no R²."
    return Section("Numbers by level", text, [], tables)
