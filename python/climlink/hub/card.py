"""The model card of a package: README.md with the hub's metadata, made from the manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from climlink.hub.errors import HubError

if TYPE_CHECKING:
    from climlink.evaluation.summary import OfflineSummary
    from climlink.packages.read import EmulatorPackage
    from climlink.wrappers.manifest import ArchitectureEntry, ConstraintEntry, HybridCoefficients

PACKAGE_FILE = "wrap_model.pt"
CARD_FILE = "README.md"
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_TAGS = ["climlink", "climate", "emulator", "parameterization", "torchscript"]


@dataclass(frozen=True)
class CardFacts:
    """What a card says that the package does not know: its repository, license, and scores."""

    repo_id: str
    license: str
    scores: OfflineSummary | None = None

    def __post_init__(self) -> None:
        if not _LICENSE.fullmatch(self.license):
            known = "expected one such as apache-2.0 or cc-by-4.0"
            raise HubError(f"{self.license!r} is no license identifier of the hub; {known}")


def read_scores(folder: Path, package: EmulatorPackage) -> OfflineSummary:
    """Return the scores that `climlink evaluate offline` wrote; HubError for another package's."""
    from climlink.evaluation.summary import OfflineSummary, read_summary

    summary = read_summary(folder, OfflineSummary)
    if summary.package.sha256 != package.digest:
        raise HubError(
            f"{folder}: these are the scores of the package {summary.package.sha256}, not of "
            f"{package.path} ({package.digest}); evaluate this one"
        )
    return summary


def model_card(package: EmulatorPackage, facts: CardFacts) -> str:
    """Return the text of README.md: metadata, then what a user of the package must know."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # Markdown, so nothing is escaped as HTML but by the filter
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    template = resources.files(__package__).joinpath("card.md.jinja").read_text(encoding="utf-8")
    metadata = {"license": facts.license, "library_name": "climlink", "tags": _TAGS}
    m = package.manifest
    return environment.from_string(template).render(
        metadata=yaml.safe_dump(metadata, sort_keys=False).strip(),
        file=PACKAGE_FILE,
        repo=facts.repo_id,
        digest=package.digest,
        m=m,
        layouts={"Inputs": m.inputs.variables, "Outputs": m.outputs.variables},
        facts=_facts(package),
        ranges={n: _range(*pair) for n, pair in m.training_ranges.items()},
        scores=None if facts.scores is None else _scores(facts.scores),
        summary=facts.scores,
    )


def _facts(package: EmulatorPackage) -> dict[str, str]:
    """Return what the manifest says about the package, by label."""
    m, made = package.manifest, package.manifest.provenance
    facts = {
        "input row": f"{m.n_input} values, set {_code(m.inputs.set)}",
        "output row": f"{m.n_output} values, set {_code(m.outputs.set)}",
        "dimensions": ", ".join(f"{_cell(name)} {size}" for name, size in m.dims.items()) or None,
        "vertical grid": None if m.hybrid is None else _vertical(m.hybrid),
        "time step": None if m.time_step_s is None else f"{m.time_step_s:g} s",
        "calendar": _cell(m.calendar),
        "state between steps": f"{len(m.carried)} variables, the host's" if m.carried else "",
        "network": None if m.architecture is None else _network(m.architecture),
        "normalization": None if m.normalization is None else m.normalization.configuration.scheme,
        "pruned levels": None if m.pruned_levels is None else f"the uppermost {m.pruned_levels}",
        "constraints in the graph": _constraints(m.constraints),
        "training data": made.data_digest and f"store with digest {_code(made.data_digest)}",
        "seed": None if made.seed is None else str(made.seed),
        "imported from": None if m.imported is None else _code(m.imported.file),
        "made by": f"climlink {_cell(made.climlink_version)}, torch {_cell(made.torch_version)}",
        "SHA-256": _code(package.digest),
    }
    return {label: value for label, value in facts.items() if value}


def _vertical(hybrid: HybridCoefficients) -> str:
    top = hybrid.p0_pa * hybrid.hyam[0] / 100
    return f"hybrid, P0 {hybrid.p0_pa:g} Pa, uppermost midpoint at {top:.3g} hPa"


def _network(network: ArchitectureEntry) -> str:
    return f"{_code(network.name)}, {network.trainable_parameters:,} trainable parameters"


def _constraints(constraints: list[ConstraintEntry] | None) -> str | None:
    if constraints is None:
        return None
    return ", ".join(_code(c.name) for c in constraints) or "none"


def _range(low: list[float], high: list[float]) -> str:
    return f"{min(low):.4g} to {max(high):.4g}"


def _scores(summary: OfflineSummary) -> list[tuple[str, str, str, str]]:
    """Return output, R², RMSE and bias as text, a dash where one cannot be told."""
    metrics: Mapping[str, float | None] = summary.metrics
    names = [name.removeprefix("r2.") for name in metrics if name.startswith("r2.")]

    def shown(name: str) -> str:
        value = metrics.get(name)
        return "–" if value is None else f"{value:.4g}"

    return [(n, shown(f"r2.{n}"), shown(f"rmse.{n}"), shown(f"bias.{n}")) for n in names]


def _cell(text: Any) -> str:
    """Return text for a cell of a table: no new line, and nothing that Markdown or HTML acts on."""
    plain = " ".join(str(text).split())
    for sign in "\\`*_{}[]<>|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain


def _code(text: str) -> str:
    """Return text as code in a cell of a table."""
    return "`" + re.sub(r"[`|<>\s]+", " ", text) + "`"
