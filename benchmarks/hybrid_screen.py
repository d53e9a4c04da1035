"""What the screen told of the study's hybrids before they ran: limits fitted to some architectures
and scored on one that was left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hybrid_parts import SCREENED, Study, read
from hybrid_plan import ON

from climlink.data.files import replacing
from climlink.evaluation.concordance import Concordance
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.stability.calibration import (
    POLICIES,
    Calibration,
    Screened,
    frozen_limits,
    leave_one_out,
)

OFFLINE = "r2.ptend_t"
"""The offline score that the screen is held against."""
LIMITS = "limits.yaml"


def screened(study: Study) -> list[Screened]:
    """Return every package that was screened and then ran; EvaluationError where the record is not
    the one that the run began with, or is younger than the run.
    """
    found = []
    for variant in SCREENED:
        for place in sorted((study.work / "results").glob(f"*/{variant}.json")):
            found.append(_screened(study, read(place), variant))
    return found


def _screened(study: Study, result: dict[str, Any], variant: str) -> Screened:
    place = study.part("screen", result["package"], variant)
    recorded = read(place)
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    if digest != result["screen_sha256"]:
        raise EvaluationError(
            f"{place} was changed after the run began: SHA-256 {digest:.12}..., the run was told "
            f"{result['screen_sha256']:.12}..."
        )
    if recorded["recorded"] > result["started"]:
        raise EvaluationError(
            f"{place} was recorded at {recorded['recorded']}, after the run began "
            f"({result['started']})"
        )
    return Screened(
        sha256=result["package_sha256"],
        architecture=result["architecture"],
        policy=POLICIES[variant == ON],
        metrics=recorded["metrics"],
        offline=float(result["offline"][OFFLINE]),
        days=float(result["days"]),
        died=result["outcome"] != "finished",
    )


def score_screen(study: Study, left_out: str) -> None:
    """Write limits fitted without an architecture, and print and write what the screen tells with
    every architecture left out in turn.
    """
    packages = screened(study)
    known = sorted({p.architecture for p in packages})
    if left_out not in known:
        raise EvaluationError(
            f"no screened package of {left_out!r} ran; there are: {', '.join(known) or 'none'}"
        )
    rest = [p for p in packages if p.architecture != left_out]
    if not rest:
        raise EvaluationError(f"every screened package is a {left_out}: nothing to fit limits to")
    write_limits(study.work / LIMITS, f"hybrids without {left_out}", rest)
    found = [leave_one_out(packages, policy) for policy in POLICIES]
    text = "\n".join([*_lines(found, left_out), ""])
    print(text)
    with replacing(study.work / "concordance.md") as beside:
        beside.write_text(text, encoding="utf-8")


def write_limits(place: Path, name: str, packages: Sequence[Screened]) -> None:
    """Write limits fitted to packages as `climlink evaluate stability --limits` reads them."""
    frozen = frozen_limits(name, packages).model_dump(mode="json", exclude_none=True)
    with replacing(place) as beside:
        beside.write_text(yaml.safe_dump(frozen, sort_keys=False), encoding="utf-8")


def _lines(found: Sequence[Calibration], left_out: str) -> list[str]:
    heads = (
        "packages",
        "died",
        "comparable pairs",
        "screen",
        "offline R² of T",
        "difference (95 %)",
    )
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for one in found:
        d = one.difference
        cells = [
            str(one.packages),
            str(one.died),
            str(one.screen.pairs),
            _index(one.screen),
            _index(one.offline),
            f"{d.value:+.2f} ({d.low:+.2f} to {d.high:+.2f})" if one.screen.pairs else "-",
        ]
        lines.append(f"| {one.policy.replace('_', ' ')} | {' | '.join(cells)} |")
    lines += ["", "| left out | policy | packages | limits fitted to the others | pairs | screen |"]
    lines += ["|---" * 6 + "|"]
    for one in found:
        for fold in one.left_out:
            within = one.within[fold.architecture]
            limits = ", ".join(
                f"{name.removeprefix('free_run.')} "
                + (f"> {limit.above:.4g}" if limit.above is not None else f"< {limit.below:.4g}")
                for name, limit in fold.limits.items()
            )
            mark = f"{fold.architecture} (file)" if fold.architecture == left_out else None
            cells = [
                mark or fold.architecture,
                one.policy.replace("_", " "),
                str(len(fold.packages)),
                limits or "none",
                str(within.pairs),
                _index(within),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _index(found: Concordance) -> str:
    return f"{found.index:.2f}" if found.pairs else "-"
