"""The report of a comparison: sections, tables, labelled numbers."""

from __future__ import annotations

import numpy as np
import xarray as xr

from climlink.evaluation.compare.analysis import OUTCOMES, Comparison
from climlink.evaluation.compare.summary import CompareSummary, RegionSummary
from climlink.evaluation.figures.compare import (
    ordering_figure,
    region_figure,
    skill_figure,
    speed_figure,
    survival_figure,
    units_of,
)
from climlink.evaluation.report import Picture, Report, Section, Table
from climlink.evaluation.report.document import Cell

_SHOWN_METRICS = ("r2.", "leap.", "confidence.crpss")


def comparison_report(comparison: Comparison, summary: CompareSummary, command: str) -> Report:
    """Return the report of a comparison."""
    sources = {"store": summary.store, "reference": summary.reference} | (
        {"twin": summary.twin} if summary.twin else {}
    )
    sources |= {
        f"package {p.label}": f"{p.package.name}, SHA-256 {p.package.sha256}"
        for p in summary.packages
    }
    sections = [
        _skill(comparison, summary),
        Section("What so few cannot say", " ".join(summary.statements)),
        _orderings(comparison, summary),
        _survival(comparison, summary),
        _speed(comparison, summary),
        _regions(comparison, summary),
        _members(summary),
    ]
    return Report(
        title="Offline skill against online skill",
        words=summary.words,
        sections=sections,
        summary=summary.model_dump(mode="json"),
        numbers=comparison_numbers(comparison),
        command=command,
        sources=sources,
        excluded=list(comparison.excluded),
    )


def _skill(comparison: Comparison, summary: CompareSummary) -> Section:
    text = (
        f"The unit is the package: the {sum(len(p.members) for p in summary.packages)} runs are "
        "not independent, for runs of one package share its network, so packages are resampled and "
        "permuted, never runs. Correlations are turned so that +1 says: the better offline, the "
        "better online. Those of all offline metrics are in summary.json."
    )
    picture = Picture(
        "skill",
        skill_figure(comparison, summary.twin_error),
        f"Above: {summary.online_metric} of every run against the offline number of its package; "
        "open circles ended early and are over fewer days, crosses have no error. Below: mean rank "
        "of the members of a package, with every run that ended early behind every survivor.",
    )
    return Section("Would the offline number have told?", text, [picture], [_agreements(summary)])


def _agreements(summary: CompareSummary) -> Table:
    """Return the correlations of the chosen metric and of the usual ones; all are in
    summary.json.
    """
    of = {
        (a.offline_metric, a.online_outcome): a
        for a in summary.agreements
        if a.spearman is not None
    }
    metrics = dict.fromkeys(
        m for m, _ in of if m == summary.offline_metric or m.startswith(_SHOWN_METRICS)
    )

    def column(outcome: str, value: str) -> list[Cell]:
        found = [of.get((metric, outcome)) for metric in metrics]
        return [None if a is None else getattr(a, value) for a in found]

    outcomes = "; ".join(f"{name}: {text}" for name, text in OUTCOMES.items())
    return Table(
        "agreement",
        "Rank correlation of packages between an offline metric and what their runs did. "
        f"{outcomes}",
        {
            "offline metric": list(metrics),
            "rank: Spearman": column("rank", "spearman"),
            "Kendall": column("rank", "kendall"),
            "95 % from": column("rank", "low"),
            "to": column("rank", "high"),
            "p": column("rank", "p_value"),
            "packages": column("rank", "packages"),
            "error: Spearman": column("error", "spearman"),
            "survival: Spearman": column("survival", "spearman"),
        },
    )


def _orderings(comparison: Comparison, summary: CompareSummary) -> Section:
    packages = summary.packages
    table = Table(
        "packages",
        "Packages",
        {
            "package": [p.label for p in packages],
            "architecture": [p.package.architecture for p in packages],
            "recipe": [p.recipe or p.package.recipe for p in packages],
            "parameters": [p.package.parameters for p in packages],
            summary.offline_metric: [p.offline for p in packages],
            "place offline": [p.offline_place for p in packages],
            "place online": [p.online_place for p in packages],
            "mean rank": [p.mean_rank for p in packages],
            summary.online_metric: [p.error for p in packages],
            "over fewer days": [p.error_is_partial if p.members else None for p in packages],
            "survived": [f"{p.survived}/{len(p.members)}" for p in packages],
            "of them on support": [p.on_support for p in packages],
        },
        {summary.online_metric: units_of(summary.online_metric)},
    )
    pictures = []
    if comparison.compared.any():
        caption = (
            "Places of packages offline and online; lines that cross are pairs that the offline "
            "number orders the wrong way round."
        )
        pictures.append(Picture("ordering", ordering_figure(comparison), caption))
    text = (
        f"Online, runs are ordered by {summary.online_metric}; a run that ended early stands "
        "behind every survivor, the earlier the worse, and its error is not used there (worst-rank "
        "scores, Lachin 1999). The error of a package is the median over its members of the error "
        "over the days that each lived; where a member ended early that is marked."
    )
    return Section("Orderings side by side", text, pictures, [table])


def _survival(comparison: Comparison, summary: CompareSummary) -> Section:
    groups = summary.survival
    table = Table(
        "survival_by_group",
        "Runs that reached their end; exact 95 % intervals (Clopper and Pearson)",
        {
            "group": [g.group for g in groups],
            "by": [g.by for g in groups],
            "packages": [g.packages for g in groups],
            "runs": [g.members for g in groups],
            "survived": [g.survived for g in groups],
            "from": [100.0 * g.low for g in groups],
            "to": [100.0 * g.high for g in groups],
            "half gone by day": [g.median_days for g in groups],
        },
        {"from": "%", "to": "%"},
    )
    caption = (
        "Share of runs that live on (Kaplan and Meier), shaded with its 95 % interval where a run "
        "ended early; the legend counts runs that reached their end, and the bars to the right are "
        "the exact 95 % intervals of that share."
    )
    text = (
        "A run that ended early is a result and counts here. One that reached its end is known to "
        "have lived so long and no more."
    )
    return Section(
        "Survival", text, [Picture("survival", survival_figure(comparison), caption)], [table]
    )


def _speed(comparison: Comparison, summary: CompareSummary) -> Section:
    figure = speed_figure(comparison, summary.twin_error)
    if figure is None:
        return Section("Speed against error", "No run says how fast it was, or none has an error.")
    caption = (
        "Error against speed; circles grow with the number of parameters, open ones have a member "
        "that ended early; the line joins packages that no other beats in both."
    )
    packages = summary.packages
    table = Table(
        "speed_and_size",
        "Speed, size and error",
        {
            "package": [p.label for p in packages],
            "speed": [p.years_per_day for p in packages],
            "parameters": [p.package.parameters for p in packages],
            summary.online_metric: [p.error for p in packages],
        },
        {
            "speed": "simulated years per day",
            summary.online_metric: units_of(summary.online_metric),
        },
    )
    text = (
        "Speed is what the runs' own logs say, median over members; it holds for the machine and "
        "the load on which they ran."
    )
    return Section("Speed against error", text, [Picture("speed", figure, caption)], [table])


def _regions(comparison: Comparison, summary: CompareSummary) -> Section:
    figure = region_figure(comparison)
    if figure is None:
        return Section(
            "Best and worst regions",
            "The runs' numbers hold no zonal bias of the compared variable.",
        )
    units = units_of(summary.online_metric)
    packages = [p for p in summary.packages if p.best_region is not None]
    table = Table(
        "best_and_worst",
        "Best and worst latitude band of each package",
        {
            "package": [p.label for p in packages],
            "best": [_band(p.best_region) for p in packages],
            "error there": [_error(p.best_region) for p in packages],
            "worst": [_band(p.worst_region) for p in packages],
            "error in it": [_error(p.worst_region) for p in packages],
        },
        {"error there": units, "error in it": units},
    )
    text = (
        "Root mean square over levels of the zonal-mean bias in bands of 10 degrees, median over "
        "members. A member that ended early enters with the days that it lived, and its package is "
        "drawn dashed."
    )
    return Section(
        "Best and worst regions",
        text,
        [Picture("regions", figure, "Error of the mean state by latitude.")],
        [table],
    )


def _band(region: RegionSummary | None) -> str | None:
    return None if region is None else f"{_degrees(region.south)} to {_degrees(region.north)}"


def _degrees(latitude: float) -> str:
    return f"{abs(latitude):g}°" + ("N" if latitude > 0 else "S" if latitude < 0 else "")


def _error(region: RegionSummary | None) -> float | None:
    return None if region is None else region.error


def _members(summary: CompareSummary) -> Section:
    rows = [(p, m) for p in summary.packages for m in p.members]
    table = Table(
        "members",
        "Every run",
        {
            "run": [_last_part(m.run) for _, m in rows],
            "package": [p.label for p, _ in rows],
            "survived": [m.survived for _, m in rows],
            "on support": [m.on_support for _, m in rows],
            "days": [m.days for _, m in rows],
            summary.online_metric: [m.error for _, m in rows],
            "over days": [m.compared_days for _, m in rows],
            "last error over climatology's": [m.relative_error for _, m in rows],
            "rank": [m.rank for _, m in rows],
            "ended": [m.ended for _, m in rows],
        },
        {summary.online_metric: units_of(summary.online_metric)},
    )
    text = (
        "Each evaluation has a report of its own below summaries/ in the folder of this report, "
        "and there what it left out."
    )
    return Section("Every run", text, tables=[table])


def _last_part(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def comparison_numbers(comparison: Comparison) -> xr.Dataset:
    """Return the numbers by package, by member, by metric and outcome, and by survival group,
    labelled.
    """
    members = [(r.label, m) for r in comparison.results for m in r.members]
    metrics = list(dict.fromkeys(name for name, _ in comparison.agreements))
    found = [[comparison.agreements[m, o] for o in OUTCOMES] for m in metrics]
    error = {
        "units": units_of(comparison.online_metric),
        "long_name": f"{comparison.online_metric} over the days lived",
    }
    values = {
        "offline": ("package", comparison.offline, {"long_name": comparison.offline_metric}),
        "mean_rank": (
            "package",
            comparison.mean_rank,
            {"long_name": "mean rank of members, crashed ones last"},
        ),
        "error": ("package", comparison.error, {**error, "comment": "median over members"}),
        "mean_days": ("package", comparison.mean_days, {"units": "days"}),
        "years_per_day": (
            "package",
            comparison.years_per_day,
            {"long_name": "simulated years per day"},
        ),
        "parameters": (
            "package",
            np.array(
                [
                    np.nan if r.package.parameters is None else r.package.parameters
                    for r in comparison.results
                ]
            ),
        ),
        "member_package": ("member", [label for label, _ in members]),
        "member_survived": (
            "member",
            np.array([m.summary.survived for _, m in members], dtype=np.int8),
        ),
        "member_days": (
            "member",
            np.array([m.summary.days for _, m in members]),
            {"units": "days"},
        ),
        "member_error": (
            "member",
            np.array([_nan(m.summary.metrics.get(comparison.online_metric)) for _, m in members]),
            error,
        ),
        "member_rank": ("member", np.concatenate(comparison.ranks)),
        "spearman": (("metric", "outcome"), np.array([[a.spearman for a in row] for row in found])),
        "kendall": (("metric", "outcome"), np.array([[a.kendall for a in row] for row in found])),
        "spearman_low": (
            ("metric", "outcome"),
            np.array([[_nan(a.low) for a in row] for row in found]),
        ),
        "spearman_high": (
            ("metric", "outcome"),
            np.array([[_nan(a.high) for a in row] for row in found]),
        ),
        "p_value": (
            ("metric", "outcome"),
            np.array([[_nan(a.p_value) for a in row] for row in found]),
        ),
        "group_survived": ("group", np.array([g.survived for g in comparison.groups])),
        "group_members": ("group", np.array([g.members for g in comparison.groups])),
    }
    coordinates = {
        "package": [r.label for r in comparison.results],
        "member": [m.summary.run for _, m in members],
        "metric": metrics,
        "outcome": list(OUTCOMES),
        "group": [f"{g.by}: {g.name}" for g in comparison.groups],
    }
    dataset = xr.Dataset(values, coords=coordinates)
    return dataset.merge(_bands(comparison))


def _bands(comparison: Comparison) -> xr.Dataset:
    """Return the error by latitude band of packages that have it; packages on other bands than the
    first are not in it.
    """
    known = [
        (r.label, b)
        for r, b in zip(comparison.results, comparison.bands, strict=True)
        if b is not None
    ]
    if not known:
        return xr.Dataset()
    edges = known[0][1].edges
    same = [(label, b) for label, b in known if b.edges.shape == edges.shape]
    attributes = {
        "units": units_of(comparison.online_metric),
        "long_name": "zonal-mean error, root mean square over levels",
    }
    return xr.Dataset(
        {
            "zonal_error": (
                ("package_with_bands", "latitude"),
                np.stack([b.error for _, b in same]),
                attributes,
            )
        },
        coords={
            "package_with_bands": [label for label, _ in same],
            "latitude": 0.5 * (edges[1:] + edges[:-1]),
        },
    )


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
