"""The first paragraph of a report: what the numbers say, in words."""

from __future__ import annotations

import numpy as np

from climlink.evaluation.figures.shown import shown_as
from climlink.evaluation.offline.conservation import BUDGETS
from climlink.evaluation.offline.metrics import is_competition
from climlink.evaluation.offline.residuals import UNITS, Residual
from climlink.evaluation.offline.result import OfflineResult
from climlink.evaluation.offline.times import distance_words
from climlink.evaluation.summary import Metrics

_LITTLE_WATER = 0.005  # mm/day


def words(result: OfflineResult, metrics: Metrics) -> str:
    """Return the paragraph."""
    sentences = [
        _subject(result),
        _residuals(result),
        _skill(result, metrics),
        _later(result, metrics),
        _precipitation(result),
        _water(result),
        _constraints(result),
        _confidence(result, metrics),
        _misses(result),
    ]
    return " ".join(s for s in sentences if s)


def percent(share: float) -> str:
    """Return a share as percent with two digits."""
    return f"{100.0 * share:.2g} %"


def _subject(result: OfflineResult) -> str:
    p, place = result.package, result.place
    size = "" if p.parameters is None else f" with {p.parameters:,} parameters"
    kind = f", {p.architecture}{size}," if p.architecture else ""
    unit = "row" if place.of_table else "time"
    span = place.span if place.times > 1 else f"one {unit} from {place.first}"
    caution = (
        " These are times it was trained on."
        if result.trained_on_store and place.split == "train"
        else ""
    )
    return (
        f"{p.name}{kind} was run on {result.rows:,} columns of the split {place.split!r}: "
        f"{span}.{_training(result)}{caution}"
    )


def _training(result: OfflineResult) -> str:
    """Say what the package was trained on, and how far from it in time it was scored."""
    if not result.trained_on_store:
        unknown = (
            " It was trained on another store. How far from that these times lie is not known."
        )
        return "" if result.trained_on_store is None else unknown
    training, apart = result.training, distance_words(result.scored)
    if training is None:
        return " It was trained on this store."
    trained = f"{training.times} times from {training.first} to {training.last}"
    where = "" if result.place.split == "train" else f"; those scored lie {apart}"
    return f" It was trained on this store, on {trained} ({training.days:.3g} days){where}."


def _residuals(result: OfflineResult) -> str:
    """Say first what columns make from nothing, before and after closures."""
    found = {(r.budget, r.which): r for r in result.residuals}
    parts = []
    for budget, unit in UNITS.items():
        if (budget, "received") in found:
            last, first = found[budget, "received"], found.get((budget, "before"))
            was = "" if first is None else f" (before closure {_mean_and_rms(first)})"
            parts.append(f"{_mean_and_rms(last)} {unit} of {budget}{was}")
    return f"Columns make {' and '.join(parts)} from nothing, mean and RMS." if parts else ""


def _mean_and_rms(r: Residual) -> str:
    bias, rms = (f"{x:.2g}" if abs(x) < 100.0 else f"{x:.0f}" for x in (r.bias, r.rms))
    return f"{bias} ± {rms}"


def _skill(result: OfflineResult, metrics: Metrics) -> str:
    profiles = {v.name: metrics[f"r2.{v.name}"] for v in result.outputs.profiles}
    known = {n: r for n, r in profiles.items() if r is not None}
    if not known:
        return "No profile of the truth varies, so R² says nothing."
    best, worst = max(known, key=lambda n: known[n]), min(known, key=lambda n: known[n])
    text = (
        f"R² on the median level is {known[best]:.2f} for the {shown_as(best).label}, its best "
        f"profile, and {known[worst]:.2f} for the {shown_as(worst).label}, its worst."
    )
    if known[worst] < 0.0:
        text += " Below 0 the mean of the truth would have been closer."
    if is_competition(result) and metrics.get("leap.score") is not None:
        text += _leap(metrics)
    return text


def _later(result: OfflineResult, metrics: Metrics) -> str:
    """Say whether the score of the test lasts: mean R² over the profiles that vary in both."""
    if result.later is None:
        return ""
    pairs = [
        (metrics[f"r2.{v.name}"], metrics[f"r2_later.{v.name}"]) for v in result.outputs.profiles
    ]
    known = [(test, later) for test, later in pairs if test is not None and later is not None]
    if not known:
        return ""
    test, later = (float(np.mean(values)) for values in zip(*known, strict=True))
    apart = distance_words(result.later.scored)
    where = result.later.place.span + (f", {apart}" if apart else "")
    return (
        f"Averaged over the profiles R² is {later:.2f} on the later window ({where}), against "
        f"{test:.2f} on the test."
    )


def _leap(metrics: Metrics) -> str:
    """Say the competition's score, the floored one first: a single target that hardly varies can
    carry the plain mean anywhere.
    """
    plain, floored, below = (
        metrics[f"leap.{n}"] or 0.0 for n in ("score", "score_floored", "targets_below_0")
    )
    text = f" By the weights of the LEAP competition the score is {floored:.4g}"
    if below == 0:
        return text + "."
    without = f"{plain:.4g}" if plain > -1.0 else "below -1"
    return (
        text
        + f" with the {below:.0f} targets below 0 counted as 0, {without} with them as they are."
    )


def _precipitation(result: OfflineResult) -> str:
    if "cam_out_PRECC" not in result.outputs:
        return ""
    moments = result.weighted("cam_out_PRECC")
    factor = shown_as("cam_out_PRECC").factor
    truth, bias = float(moments.truth_mean()[0, 0]) * factor, float(moments.bias()[0, 0]) * factor
    side = "above" if bias > 0 else "below"
    return f"Mean precipitation is {abs(bias):.2g} mm/day {side} the true {truth:.3g} mm/day."


def _water(result: OfflineResult) -> str:
    if result.budgets is None:
        return ""
    whole = result.budgets.over_columns(result.place.area)
    k = BUDGETS.index("water_residual")
    truth, prediction = float(whole.truth_mean()[0, k]), float(whole.prediction_mean()[0, k])
    return (
        f"Column water and precipitation together leave {prediction:.2g} mm/day in the mean, where "
        f"the truth leaves {truth:.2g}."
    )


def _constraints(result: OfflineResult) -> str:
    """Say what the constraints do to the water of a column; a sequence without effect on water
    needs no sentence.
    """
    added: dict[str, float] = {}
    for a in result.activities or []:
        if a.output.startswith("ptend_q") and a.units == "mm/day":
            added[a.constraint] = added.get(a.constraint, 0.0) + a.added
    total = sum(added.values())
    if abs(total) < _LITTLE_WATER:
        return ""
    most = max(added, key=lambda n: abs(added[n]))
    return (
        f"Its constraints change column water by {total:+.2g} mm/day, most of it by {most} "
        f"({added[most]:+.2g})."
    )


def _confidence(result: OfflineResult, metrics: Metrics) -> str:
    if result.confidence is None:
        return "It gives no confidence."
    gains = [v for n, v in metrics.items() if n.startswith("confidence.crpss.") and v is not None]
    better = "better" if float(np.mean(gains)) > 0.0 else "worse"
    return (
        f"The spread its confidence stands for scores {percent(abs(float(np.mean(gains))))} "
        f"{better} in CRPS than the best single spread."
    )


def _misses(result: OfflineResult) -> str:
    if result.misses.rows == 0:
        return "Every prediction is finite."
    total = result.rows + result.misses.rows
    return (
        f"Caution: in {result.misses.rows} of {total} columns a prediction is not finite; these "
        "are left out of every score below."
    )
