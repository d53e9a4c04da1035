"""Comparison of packages by what they score offline and do online: a matrix file in, a report
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from climlink.evaluation.compare.analysis import Comparison, compare
from climlink.evaluation.compare.collect import Progress, collect_results
from climlink.evaluation.compare.matrix import MatrixConfig, load_matrix
from climlink.evaluation.compare.report import comparison_report
from climlink.evaluation.compare.results import PackageResult, checked
from climlink.evaluation.compare.summarize import Held, summarize
from climlink.evaluation.compare.summary import CompareSummary
from climlink.evaluation.errors import EvaluationError
from climlink.evaluation.report import Exclusion, Report


@dataclass(frozen=True)
class CompareEvaluation:
    """What a comparison found, and its report."""

    comparison: Comparison
    summary: CompareSummary
    report: Report


def evaluate_compare(
    matrix: Path, folder: Path, *, progress: Progress | None = None
) -> CompareEvaluation:
    """Evaluate every package and run of a matrix file and compare them.

    The single evaluations are kept below ``folder``/summaries and used again while nothing that
    they depend on has changed. A package or run that cannot be evaluated is left out and listed.
    ConfigError for a matrix file that does not fit; StoreError, PackageError or ManifestError for a
    store or package that cannot be read; EvaluationError when no run can be compared.
    """
    config = load_matrix(matrix)
    results, failed = collect_results(config, folder / "summaries", progress)
    if failed and not any(r.members for r in results):
        raise EvaluationError(
            "not one run could be evaluated: " + "; ".join(f"{e.what}: {e.why}" for e in failed)
        )
    return compare_results(results, config, f"climlink evaluate compare --matrix {matrix}", failed)


def compare_results(
    results: Sequence[PackageResult],
    matrix: MatrixConfig,
    command: str,
    excluded: Sequence[Exclusion] = (),
) -> CompareEvaluation:
    """Compare packages whose summaries are at hand; ``excluded`` is what could not be evaluated.
    EvaluationError as of ``compare``.
    """
    kept, strangers = checked(results)
    comparison = compare(kept, matrix.offline_metric, matrix.online_metric, [*excluded, *strangers])
    held = Held(
        str(matrix.store), str(matrix.reference), None if matrix.twin is None else str(matrix.twin)
    )
    summary = summarize(comparison, held)
    return CompareEvaluation(comparison, summary, comparison_report(comparison, summary, command))
