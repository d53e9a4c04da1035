"""Packages by hand: manifests and their golden rows, independent of climlink's own exporter."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

LEVELS = 60
Entry = tuple[Any, ...]
"""Name, units, width (a scalar or a profile) or dims, and perhaps a role."""


def layout(
    name: str, variables: Iterable[Entry], sizes: dict[str, int] | None = None
) -> dict[str, Any]:
    """Return a layout from (name, units, width) of column variables or (name, units, dims[, role])
    with ``sizes`` of the dims.
    """
    entries, offset = [], 0
    for variable, units, shape, *role in variables:
        dims = (["level"] if shape > 1 else []) if isinstance(shape, int) else list(shape)
        width = shape if isinstance(shape, int) else math.prod((sizes or {})[d] for d in dims)
        entry = {
            "name": variable,
            "units": units,
            "long_name": variable,
            "dims": dims,
            "width": width,
            "offset": offset,
            "lag": 0,
        }
        entries.append({**entry, "role": role[0]} if role else entry)
        offset += width
    return {"set": name, "width": offset, "variables": entries}


TINY_INPUTS = layout(
    "tiny_in", [("state_t", "K", 4), ("state_q0001", "kg/kg", 4), ("state_ps", "Pa", 1)]
)
TINY_OUTPUTS = layout("tiny_out", [("ptend_t", "K/s", 4), ("cam_out_PRECC", "m/s", 1)])
WIDE_INPUTS = layout(
    "wide_in",
    [(f"profile_{i}", "1", LEVELS) for i in range(9)]
    + [(f"scalar_{i}", "1", 1) for i in range(17)],
)
WIDE_OUTPUTS = layout(
    "wide_out",
    [(f"tendency_{i}", "1/s", LEVELS) for i in range(6)]
    + [(f"flux_{i}", "W/m2", 1) for i in range(8)],
)


def _is_value(variable: dict[str, Any]) -> bool:
    return variable.get("role", "value") == "value"


def manifest(inputs: dict[str, Any], outputs: dict[str, Any], level_count: int) -> dict[str, Any]:
    """Return the manifest of columns with everything but the golden record."""
    return {
        "schema_version": 2,
        "name": "fixture",
        "dims": {"level": level_count},
        "coordinates": {},
        "inputs": inputs,
        "outputs": outputs,
        "carried": [],
        "batch_granule": 16,
        "network_inputs": inputs,
        "network_outputs": outputs,
        "time_step_s": 1200.0,
        "calendar": "noleap",
        "hybrid": {
            "p0_pa": 100000.0,
            "hyam": [0.1] * level_count,
            "hybm": [0.5] * level_count,
            "hyai": [0.1 * (level_count - k) / level_count for k in range(level_count + 1)],
            "hybi": [k / level_count for k in range(level_count + 1)],
        },
        "pruned_levels": 0,
        "normalization": {
            "configuration": {
                "scheme": "moments",
                "cloud_transform": True,
                "fill_policy": "flag",
                "nonfinite_policy": "propagate",
                "zero_variance_policy": "zero",
                "lagged_clip": "range",
                "output_center": "zero",
                "denormalize_float64": True,
            },
            "statistics_digest": "0" * 64,
            "buffers_digest": "0" * 64,
        },
        "constraints": [{"name": "scale", "parameters": {"factor": 1.0}}],
        "constants": {"gravity": 9.80616},
        "architecture": {"name": "linear", "configuration": {}, "trainable_parameters": 50},
        "allowed_precisions": ["float32"],
        "difference_scale": {
            v["name"]: [0.01] * v["width"] if _is_value(v) else [1.0] for v in outputs["variables"]
        },
        "tolerances": [
            {"backend": "torchscript", "device": d, "precision": "float32", "tolerance": t}
            for d, t in (("cpu", 2e-5), ("cuda", 1e-4))
        ],
        "same_kernels_tolerance": 1e-6,
        "imported": None,
        "training_ranges": {},
        "operators": ["aten::linear"],
        "golden": {},
        "provenance": {
            "climlink_version": "0.1.0",
            "git_revision": None,
            "torch_version": torch.__version__,
            "exported_on": "fixture",
            "data_digest": None,
            "seed": 1,
            "training": {},
        },
    }


def imported(record: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest as an import writes it: what an unknown graph does not say is null."""
    unknown = (
        "network_inputs",
        "network_outputs",
        "hybrid",
        "pruned_levels",
        "normalization",
        "constraints",
        "constants",
        "architecture",
    )
    about = {
        "file": "old.pt",
        "sha256": "0" * 64,
        "parameter_count": 50,
        "golden_source": "synthetic",
        "input_copied": False,
        "host_postprocessing": "legacy",
        "findings": ["something measured"],
    }
    return {**record, **dict.fromkeys(unknown), "imported": about}


def columns(width: int, count: int = 4) -> torch.Tensor:
    """Return random rows whose last value, the divisor of Tiny, is not near zero."""
    x = torch.randn(count, width)
    x[:, 8] = 1 + x[:, 8].abs()
    return x


def add_golden(record: dict[str, Any], x: torch.Tensor, y: torch.Tensor) -> dict[str, bytes]:
    """Write the golden record into a manifest, over what it holds of one; return the extra
    files.
    """
    raw = {
        "inputs": x.numpy().astype("<f4").tobytes(),
        "outputs": y.numpy().astype("<f4").tobytes(),
    }
    digests = {f"{k}_sha256": hashlib.sha256(v).hexdigest() for k, v in raw.items()}
    usual = {"step_count": 1, "chained_tolerance": None, "sensitivity": None}
    record["golden"] = usual | record["golden"] | {"sample_count": x.shape[0], **digests}
    return {
        "climlink/manifest.json": json.dumps(record).encode(),
        "climlink/golden_inputs.f32": raw["inputs"],
        "climlink/golden_outputs.f32": raw["outputs"],
    }


def save(
    path: Path,
    network: nn.Module,
    record: dict[str, Any],
    golden: torch.Tensor | None = None,
    x: torch.Tensor | None = None,
) -> None:
    """Save a package; golden inputs ``x`` are random and golden outputs come from the network
    unless given.
    """
    script = torch.jit.script(network.eval())
    if x is None:
        x = columns(record["inputs"]["width"])
    with torch.no_grad():
        y = network(x) if golden is None else golden
    torch.jit.save(script, path, _extra_files=add_golden(record, x, y))


def rewrite(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Copy a zip, letting change edit its entries (path -> bytes)."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, raw in entries.items():
            archive.writestr(name, raw)


def entry(entries: dict[str, bytes], suffix: str) -> str:
    """Return the path of the entry with this ending."""
    return next(name for name in entries if name.endswith(suffix))


def edit_manifest(edit: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    """Return a change for rewrite that edits the manifest."""

    def change(entries: dict[str, bytes]) -> None:
        name = entry(entries, "/extra/climlink/manifest.json")
        record = json.loads(entries[name])
        edit(record)
        entries[name] = json.dumps(record).encode()

    return change
