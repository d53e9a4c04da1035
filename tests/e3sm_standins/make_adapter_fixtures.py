"""Packages for the adapter's tests: networks in which every output depends on every input, on the
real input sets.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
LEVELS = 60
# Typical sizes, so that no input drowns the others.
SIZES = {
    "state_t": 300.0,
    "state_rh": 1.0,
    "state_u": 20.0,
    "state_v": 20.0,
    "state_ps": 1e5,
    "tm_state_ps": 1e5,
    "icol": 20.0,
}
SIZES_OF_UNITS = {
    "kg/kg": 1e-5,
    "K/s": 1e-3,
    "kg/kg/s": 1e-8,
    "m/s2": 1e-3,
    "W/m2": 500.0,
    "N/m2": 0.2,
    "1": 1.0,
    "m": 1.0,
}
OUTPUT_SIZES = {"K/s": 1e-5, "kg/kg/s": 1e-10, "m/s2": 1e-5, "W/m2": 100.0, "m/s": 1e-8}


class Mixed(torch.nn.Module):
    """tanh of a random mixture of the scaled inputs; some outputs are negative, as those of a raw
    network are.
    """

    def __init__(
        self, sizes: torch.Tensor, output_sizes: torch.Tensor, confidence_sizes: torch.Tensor
    ) -> None:
        super().__init__()
        numbers = torch.Generator().manual_seed(29)
        self.register_buffer("sizes", sizes)
        # The weights of the outputs are the same with and without confidence.
        weights = [
            torch.randn(len(sizes), len(block), generator=numbers)
            for block in (output_sizes, confidence_sizes)
        ]
        self.register_buffer("weights", torch.cat(weights, dim=1) / len(sizes) ** 0.5)
        self.register_buffer("output_sizes", torch.cat([output_sizes, confidence_sizes]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] of packed inputs [batch, n_input]."""
        return torch.tanh((x / self.sizes) @ self.weights) * self.output_sizes


class Rule(torch.nn.Module):
    """A constraint with a switch: some outputs do not go below a limit."""

    def __init__(self, first: int, last: int, limit: float) -> None:
        super().__init__()
        self.enabled: bool = True
        self.makes: str = ""
        self.first, self.last, self.limit = first, last, limit

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return the outputs [batch, n_output] with those from first to last raised to the
        limit.
        """
        raised = y[:, self.first : self.last].clamp(min=self.limit)
        return torch.cat([y[:, : self.first], raised, y[:, self.last :]], dim=1)


RULES = {"warming_only": (0, 60, 0.0), "non_negative_surface": (360, 368, 0.0)}
"""Constraints of test packages: first and last of the 368 outputs that each acts on, and its limit.
"""
RANGE_RULES = {"input_clip": (0, 0, 0.0), "range_relaxation": (0, 0, 0.0)}
"""A range policy that changes nothing and tells thirds of the first three inputs as its use."""


def bridge_fixtures() -> ModuleType:
    """Return the fixture maker of the bridge's tests."""
    path = REPOSITORY / "fortran_bridge" / "tests" / "make_bridge_fixtures.py"
    spec = importlib.util.spec_from_file_location("bridge_fixtures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variables(set_name: str) -> list[tuple[str, str, int]]:
    """Return name, units and width of a set's variables, in its order."""
    sets = yaml.safe_load((REPOSITORY / "wrappers" / "variable_sets.yaml").read_text())
    known = yaml.safe_load((REPOSITORY / "wrappers" / "variables.yaml").read_text())
    for group in ("host_input", "host_output", "network_output"):
        if set_name in sets[group]:
            entries = sets[group][set_name]
    names = [n for e in entries for n in (sets["blocks"][e[1:]] if e.startswith("*") else [e])]
    return [
        (n, known["profiles"][n]["units"], LEVELS)
        if n in known["profiles"]
        else (n, known["scalars"][n]["units"], 1)
        for n in names
    ]


def write_mixed(
    path: Path,
    set_name: str,
    confidence: bool = False,
    scale: float = 1.0,
    rules: Sequence[str] = (),
    imported: bool = False,
) -> None:
    """Write a package on an input set with 368 outputs, or 676 with confidence; ``scale`` makes
    outputs larger, ``rules`` are of RULES or all of RANGE_RULES, ``imported`` makes it one of a
    wrapper for the old coupling.
    """
    bridge_fixtures()  # from here on the makers of test packages are found
    networks = importlib.import_module("fixture_networks")
    packages = importlib.import_module("fixture_packages")
    inputs, outputs, network = variables(set_name), variables("mmf368"), variables("net308")
    sizes = [SIZES.get(n) or SIZES_OF_UNITS[u] for n, u, width in inputs for _ in range(width)]
    output_sizes = [OUTPUT_SIZES[u] * scale for _, u, width in outputs for _ in range(width)]
    confidence_sizes = torch.ones(sum(width for _, _, width in network) if confidence else 0)
    mixed = Mixed(torch.tensor(sizes), torch.tensor(output_sizes), confidence_sizes)
    chosen = {n: Rule(*(RULES | RANGE_RULES)[n]) for n in rules}
    constrained = networks.Ranged if set(RANGE_RULES) <= set(rules) else networks.Constrained
    model = torch.jit.script((constrained(mixed, chosen) if rules else mixed).eval())
    x = torch.tensor(sizes) * (
        torch.rand(4, len(sizes), generator=torch.Generator().manual_seed(3)) + 0.5
    )
    made = [*outputs]
    if confidence:
        shapes = [(f"confidence_{n}", ["level"] if width > 1 else []) for n, _, width in network]
        made += [(n, "1", dims, "confidence") for n, dims in shapes]
    answers = packages.layout("mmf368", made, {"level": LEVELS})
    record = packages.manifest(packages.layout(set_name, inputs), answers, LEVELS)
    if rules:
        record["constraints"] = [{"name": name, "parameters": {}} for name in rules]
    # One millionth of an output's size is what two kernels may differ by.
    record["difference_scale"] |= {n: [OUTPUT_SIZES[u] * scale] * width for n, u, width in outputs}
    if imported:
        record = packages.imported(record)
    record["network_outputs"] = packages.layout("net308", network)
    torch.jit.save(model, str(path), _extra_files=packages.add_golden(record, x, model(x)))
