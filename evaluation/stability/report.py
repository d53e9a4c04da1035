"""The report of the stability screen."""

from __future__ import annotations

import numpy as np
import xarray as xr

from climlink.evaluation.figures.stability import (
    damping_figure,
    mode_figure,
    response_figure,
    sensitivity_figure,
    spectrum_figure,
    wavelength_figure,
)
from climlink.evaluation.report import Picture, Report, Section, Table
from climlink.evaluation.report.document import Cell
from climlink.evaluation.stability.findings import StabilityFindings
from climlink.evaluation.stability.free_run import FreeRuns
from climlink.evaluation.stability.report_runs import (
    free_run_section,
    free_run_words,
    replay_section,
    replay_words,
)
from climlink.evaluation.stability.screen import (
    DIFFERENCE_SIZES,
    FAST_M_S,
    KINETIC_SHARE,
    STRATOSPHERE_HPA,
    fastest_wave,
)
from climlink.evaluation.stability.summary import StabilitySummary

_ROUGH = 0.5


def stability_report(
    findings: StabilityFindings, summary: StabilitySummary, command: str
) -> Report:
    """Return the report with its figures, tables and numbers."""
    sections = [_states(findings), _waves(findings), _column(findings), _sensitivity(findings)]
    if findings.free_runs:
        sections.append(free_run_section(findings, summary))
    if findings.replays:
        sections.append(replay_section(findings))
    return Report(
        title=f"Stability of {summary.package.name}",
        words=words(findings, summary),
        sections=sections,
        summary=summary.model_dump(mode="json"),
        numbers=_numbers(findings),
        command=command,
        sources={
            "package": str(findings.package.path),
            "store": str(findings.store.path),
            "consecutive steps": findings.record_source,
        },
        excluded=findings.excluded,
    )


def words(findings: StabilityFindings, summary: StabilitySummary) -> str:
    """Return the first paragraph: the verdict, why, and how far it can be trusted."""
    count = len(findings.results)
    about = f"about {count} state{'s' if count > 1 else ''} of {findings.store.path.name}"
    wave = fastest_wave(findings.results)
    if summary.verdict == "unstable":
        first = f"The screen finds {summary.package.name} unstable {about}. {_broken(findings)}"
    else:
        first = f"The screen finds {summary.package.name} stable {about}: no rule is broken."
        if wave is not None:
            first += (
                f" The least stable gravity wave is one {wave[1].name} ({wave[0].group.title})."
            )
    kinks = summary.metrics[f"response.difference_{DIFFERENCE_SIZES[1]:g}"]
    if kinks is not None:
        first += (
            f" Derivatives tell the response to perturbations of {DIFFERENCE_SIZES[1]:g} standard "
            f"deviations to within {100.0 * kinks:.0f} % (median over states), so they are "
            f"{'a rough' if kinks > _ROUGH else 'a fair'} guide to larger ones."
        )
    fields = ", ".join(findings.rules.fields)
    last = (
        f" The screen is linear, has neither rotation nor wind, and perturbs {fields} only: a "
        "stable verdict does not promise a stable run."
    )
    return first + free_run_words(findings, summary) + replay_words(findings) + last


def _broken(findings: StabilityFindings) -> str:
    """Return what is broken in how many states, and the worst case of each rule; nothing where only
    the replay ended.
    """
    reasons = [(r, r.reasons(findings.rules, findings.time_step_s)) for r in findings.results]
    worst = {
        "wave": lambda r: r.wave.growth,
        "step": lambda r: r.overshoot(findings.time_step_s),
        "stratosphere": lambda r: r.stratosphere[0],
    }
    sentences = []
    for rule, measure in worst.items():
        broken = [(r, found[rule]) for r, found in reasons if rule in found]
        if broken:
            state, text = max(broken, key=lambda item: measure(item[0]))
            where = f"{len(broken)} of {len(reasons)} states" if len(reasons) > 1 else "it"
            sentences.append(
                f"In {where}: {text} "
                f"({state.group.title}{', the fastest' if len(broken) > 1 else ''})."
            )
    return " ".join(sentences)


def _states(findings: StabilityFindings) -> Section:
    results, step = findings.results, findings.time_step_s
    waves = [r.wave for r in results]
    table = Table(
        "states",
        "States and what was found about them",
        {
            "state": [r.group.title for r in results],
            "verdict": [
                "unstable" if r.reasons(findings.rules, step) else "stable" for r in results
            ],
            "columns": [len(r.group.members) for r in results],
            "fastest wave": [None if w is None else w.growth for w in waves],
            "in halves": [
                None if r.halves is None else f"{r.halves[0]:.2g}, {r.halves[1]:.2g}"
                for r in results
            ],
            "its speed": [None if w is None else w.speed for w in waves],
            "its wavelength": [None if w is None else round(w.wavelength_km) for w in waves],
            "its peak in T": [None if w is None else w.peak_hpa for w in waves],
            "column growth": [r.column.growth_max for r in results],
            "stratosphere growth": [r.stratosphere[0] for r in results],
            "its peak": [r.stratosphere[1] for r in results],
            "damping per step": [r.damping_per_step(step) for r in results],
            **{
                f"misfit at {size:g}": [r.difference[size] for r in results]
                for size in DIFFERENCE_SIZES
            },
        },
        {
            "fastest wave": "1/day",
            "its speed": "m/s",
            "its wavelength": "km",
            "its peak in T": "hPa",
            "its peak": "hPa",
            "in halves": "1/day",
            "column growth": "1/day",
            "stratosphere growth": "1/day",
        },
    )
    text = (
        "Each state is the mean of an ensemble of columns, and its response the mean of their "
        f"Jacobians. A wave here is a mode faster than {FAST_M_S:g} m/s with at least "
        f"{100 * KINETIC_SHARE:g} % of its energy in motion; beside it stands its growth when "
        "either half of the columns is taken alone, which tells how far it hangs on the choice of "
        "columns. Column growth is that of temperature and water without motion, stratosphere "
        f"growth that of temperature alone above {STRATOSPHERE_HPA:g} hPa. Damping per step is the "
        "fastest decay of a column mode times the time step; above 2 an explicit step amplifies. "
        f"Misfit compares derivatives with finite differences of {DIFFERENCE_SIZES[0]:g} and "
        f"{DIFFERENCE_SIZES[1]:g} standard deviations: the first should be near 0, the second says "
        "how much kinks and clamps matter."
    )
    return Section("States", text, tables=[table])


def _waves(findings: StabilityFindings) -> Section:
    limit = findings.rules.growth_limit
    named: dict[str, list[Cell]] = {
        "state": [],
        "kind": [],
        "mode": [],
        "kinetic share": [],
        "counts as unstable": [],
    }
    for r in findings.results:
        for kind, mode in (("fast wave", r.wave), ("any speed", r.slow)):
            if mode is not None:
                counts = kind == "fast wave" and mode.growth > limit
                row: tuple[Cell, ...] = (r.group.title, kind, mode.name, mode.kinetic_share, counts)
                for column, value in zip(named.values(), row, strict=True):
                    column.append(value)
    pictures = [
        Picture(
            "growth_and_speed",
            spectrum_figure(findings.results, limit),
            "Growth rate against phase speed of every mode in which air moves, at all wavelengths. "
            "Modes in the shaded corner predict that a coupled run blows up (Brenowitz et al. "
            "2020). Slow modes that grow faster than the frame shows lie above it.",
        ),
        Picture(
            "wavelengths",
            wavelength_figure(findings.results, limit),
            f"The fastest growing wave (above {FAST_M_S:g} m/s) by wavelength, and its phase "
            "speed. Red dashes: the growth that counts.",
        ),
    ]
    wave = fastest_wave(findings.results)
    if wave is not None:
        caption = (
            f"The fastest growing wave: {wave[0].group.title}, {wave[1].name}. Scaled so that T' "
            "reaches 1 K; east is to the right."
        )
        pictures.append(Picture("fastest_wave", mode_figure(wave[1]), caption))
    text = (
        "Linear two-dimensional waves about each state at rest, coupled to the emulator's "
        f"response; {findings.options}."
    )
    return Section(
        "Gravity waves", text, pictures, [Table("modes", "Fastest growing modes", named)]
    )


def _column(findings: StabilityFindings) -> Section:
    results = findings.results
    shown = max(results, key=lambda r: -np.inf if r.wave is None else r.wave.growth)
    table = Table(
        "column_modes",
        "Fastest growing mode of each column without motion",
        {
            "state": [r.group.title for r in results],
            "mode": [r.column.name for r in results],
            "median of single columns": [float(np.median(r.own_growth)) for r in results],
            "largest of single columns": [float(r.own_growth.max()) for r in results],
        },
        {"median of single columns": "1/day", "largest of single columns": "1/day"},
    )
    pictures = [
        Picture(
            "response",
            response_figure(shown),
            f"Mean response about {shown.group.title}. Red: the tendency rises with the input. "
            "Both axes count model levels.",
        ),
        Picture(
            "self_response",
            damping_figure(results),
            "Response of temperature to itself. Above 100 hPa radiation damps: a curve at or right "
            "of zero there is a fault.",
        ),
    ]
    text = (
        "The response of the column alone, without motion. Growth in the lower troposphere can be "
        "convection's own and is not judged."
    )
    return Section("The column", text, pictures, [table])


def _sensitivity(findings: StabilityFindings) -> Section:
    found = findings.sensitivity
    strongest = [found.strongest(n) for n in found.outputs.names]
    table = Table(
        "strongest_inputs",
        "The inputs that move each output most",
        {
            "output": list(found.outputs.names),
            **{
                f"input {i + 1}": [f"{s[i][0]} ({s[i][1]:.2g})" for s in strongest]
                for i in range(3)
            },
        },
    )
    share = found.share_from_above
    text = (
        "Derivatives times the spread of the input, in standard deviations of the output: medians "
        f"over {found.columns} columns."
    )
    if np.isfinite(share):
        text += (
            f" Of the sensitivity (squared) of tendencies below {findings.above_hpa:g} hPa, "
            f"{100.0 * share:.1f} % comes from profile inputs above it. A network that leans on "
            "those has blown up before: they vary little and follow what lies below."
        )
    caption = (
        "How far each output moves when all levels of an input vary independently by their "
        "standard deviation: median over columns, logarithmic; white where the input does not vary "
        "or the output does not move."
    )
    return Section(
        "Sensitivity to inputs",
        text,
        [Picture("sensitivity", sensitivity_figure(found), caption)],
        [table],
    )


def _numbers(findings: StabilityFindings) -> xr.Dataset:
    results, found = findings.results, findings.sensitivity
    wave = ("state", "wavelength", "mode")
    data = xr.Dataset(
        {
            "growth": (wave, np.stack([r.spectrum.growth for r in results]), {"units": "1/day"}),
            "phase_speed": (wave, np.stack([r.spectrum.speed for r in results]), {"units": "m/s"}),
            "kinetic_share": (
                wave,
                np.stack([r.spectrum.kinetic_share for r in results]),
                {"units": "1"},
            ),
            "response": (
                ("state", "tendency", "perturbation"),
                np.stack([r.response.mean for r in results]),
                {
                    "units": "1/s in units of the fields (K, kg/kg)",
                    "fields": ", ".join(findings.rules.fields),
                },
            ),
            "column_growth": (
                ("state", "column_mode"),
                np.stack([r.column.values.real for r in results]),
                {"units": "1/day"},
            ),
            "column_frequency": (
                ("state", "column_mode"),
                np.stack([r.column.values.imag for r in results]),
                {"units": "rad/day"},
            ),
            "sensitivity": (("output", "input"), found.mean, {"units": "1"}),
            "pressure": (
                ("state", "level"),
                np.stack([r.base.pressure for r in results]),
                {"units": "Pa"},
            ),
        },
        coords={
            "state": [r.group.name for r in results],
            "wavelength": ("wavelength", results[0].spectrum.wavelength_km, {"units": "km"}),
        },
    )
    for run in findings.free_runs:
        _add_free_run(data, run)
    for variant, one in findings.replays.items():
        suffix = variant.replace(" ", "_")
        for name, values in one.rmse.items():
            units = {"state_t": "K", "state_u": "m/s", "state_v": "m/s"}.get(name, "kg/kg")
            data[f"rmse_{name}_{suffix}"] = ((f"step_{suffix}",), values, {"units": units})
    return data


def _add_free_run(data: xr.Dataset, run: FreeRuns) -> None:
    """Add the series and profiles of free runs to the numbers."""
    name = run.name.replace(".", "_")
    for suffix, one in (("", run.emulator), ("_reference", run.reference)):
        if one is None:
            continue
        step, day = f"free_step_{name}{suffix}", f"free_day_{name}{suffix}"
        for what, values, units in (
            ("hottest", one.hottest, "K"),
            ("coldest", one.coldest, "K"),
            ("outside_share", one.outside, "1"),
        ):
            data[f"free_{what}_{name}{suffix}"] = ((step,), values, {"units": units})
        data[f"free_daily_change_{name}{suffix}"] = ((day, "level"), one.change, {"units": "K"})
        for what, values in (("high", one.high), ("low", one.low)):
            data[f"free_{what}_{name}{suffix}"] = (("level",), values, {"units": "K"})
