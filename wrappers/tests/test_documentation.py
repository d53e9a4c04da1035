"""The specification pages against the code: every key, choice, rule and parameter is documented,
and nothing else is.
"""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

from climlink.wrappers import layout
from climlink.wrappers import manifest as m
from climlink.wrappers.constraints import CONSTRAINTS
from climlink.wrappers.input_scaling import RELATIVE_HUMIDITY_LIMIT
from climlink.wrappers.normalization import OUTPUT_FLOORS

DOCS = Path(__file__).resolve().parents[2] / "docs"
TABLES = {
    "## Keys": m.Manifest,
    "*layout*": (layout.VariableLayout, layout.VariableEntry),
    "Entries of `carried`": layout.CarriedPair,
    "Entries of `coordinates`": layout.Coordinate,
    "`hybrid`": m.HybridCoefficients,
    "`normalization`": (m.NormalizationEntry, m.NormalizationConfig),
    "Entries of `constraints`": m.ConstraintEntry,
    "`architecture`": m.ArchitectureEntry,
    "Entries of `tolerances`": m.ToleranceEntry,
    "Entries of `reduced_precision`": m.ReducedPrecisionEntry,
    "`golden`": m.GoldenEntry,
    "`provenance`": m.ProvenanceEntry,
    "`training_distribution`": m.TrainingDistribution,
    "`covariance`": m.CovarianceEntry,
    "`imported`": m.ImportedEntry,
}


def rows(page: str, after: str) -> list[list[str]]:
    """Return the cells of the first table below a line that starts with ``after``."""
    lines = (DOCS / page).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(after))
    body = []
    for line in lines[start + 1 :]:
        if line.startswith("|"):
            body.append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif body:
            break
    return body[2:]


@pytest.mark.parametrize("heading", TABLES)
def test_every_manifest_key_is_specified_and_no_other(heading: str) -> None:
    models = TABLES[heading] if isinstance(TABLES[heading], tuple) else (TABLES[heading],)
    expected = {name for model in models for name in model.model_fields}
    assert {
        key for row in rows("manifest.md", heading) for key in re.findall(r"`(\w+)`", row[0])
    } == expected


@pytest.mark.parametrize("model", [m.NormalizationConfig, m.ToleranceEntry])
def test_every_choice_is_specified(model) -> None:
    heading = "`normalization`" if model is m.NormalizationConfig else "Entries of `tolerances`"
    table = {re.findall(r"`(\w+)`", row[0])[0]: row[1] for row in rows("manifest.md", heading)}
    for name, field in model.model_fields.items():
        literal = typing.get_origin(field.annotation) is typing.Literal
        choices = typing.get_args(field.annotation) if literal else ()
        assert (
            re.findall(r'`"(\w+)"`', table[name])
            == [*sorted(choices, key=lambda c: c != field.default)]
            if choices
            else True
        )
        if not field.is_required() and isinstance(field.default, bool):
            assert f"default {str(field.default).lower()}" in table[name]
        if not field.is_required() and field.default is None:
            assert "or null, default null" in table[name]


def test_version_and_entries_are_the_codes_own() -> None:
    page = (DOCS / "manifest.md").read_text()
    assert f"# Manifest and package, version {m.SCHEMA_VERSION}\n" in page
    for entry in (m.MANIFEST_ENTRY, m.GOLDEN_INPUTS_ENTRY, m.GOLDEN_OUTPUTS_ENTRY):
        assert f"`/extra/{entry}`" in page


def test_rules_stand_in_their_order_with_their_parameters() -> None:
    table = rows("constraints.md", "## The rules")
    assert [row[0].strip("`") for row in table] == list(CONSTRAINTS)
    for row, rule in zip(table, CONSTRAINTS.values(), strict=True):
        documented = set(re.findall(r"`(\w+)`", row[-1] if len(row) == 4 else "")) - {
            "none",
            "column",
        }
        assert documented == set(rule.parameters_type.model_fields), row[0]
        for name, field in rule.parameters_type.model_fields.items():
            if isinstance(field.default, float):
                assert f"`{name}` ({field.default:g})" in row[-1]


def test_quoted_numbers_of_the_normalization() -> None:
    page = (DOCS / "normalization.md").read_text()
    assert (OUTPUT_FLOORS["kg/kg/s"], OUTPUT_FLOORS["m/s2"], RELATIVE_HUMIDITY_LIMIT) == (
        3e-10,
        1e-6,
        1.2,
    )
    for text in ("3e-10 kg/kg/s", "1e-6 m/s²", "0..1.2", "8.8664e29"):
        assert text in page
