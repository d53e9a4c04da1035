"""Packages beyond plain columns: fields, another batch granule, and carried state."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import torch
from fixture_networks import Fields, Memory, Rows
from fixture_packages import edit_manifest, entry, layout, manifest, rewrite, save
from torch import nn

SIZES = {"lat": 3, "lon": 4, "depth": 2, "lat_fine": 6, "lon_fine": 8}
FIELD_INPUTS = layout(
    "field_in",
    [("sst", "K", ("lat", "lon")), ("soil", "1", ("lat", "lon", "depth")), ("season", "K", ())],
    SIZES,
)
FIELD_OUTPUTS = layout(
    "field_out",
    [("rain", "m/s", ("lat_fine", "lon_fine")), ("moisture", "1", ("depth", "lat", "lon"))],
    SIZES,
)
COORDINATES = {
    "lat": {"units": "degrees_north", "values": [-60.0, 0.0, 60.0]},
    "lon": {"units": "degrees_east", "values": [0.0, 90.0, 180.0, 270.0]},
    "lat_fine": {"units": "degrees_north", "values": [75.0, 45.0, 15.0, -15.0, -45.0, -75.0]},
}
UNKNOWN = (
    "network_inputs",
    "network_outputs",
    "time_step_s",
    "hybrid",
    "pruned_levels",
    "normalization",
    "constraints",
    "constants",
)


def without_columns(
    inputs: dict[str, Any], outputs: dict[str, Any], dims: dict[str, int], granule: int
) -> dict[str, Any]:
    """Return a manifest that knows nothing of levels, and of its graph no more than it must."""
    open_keys = dict.fromkeys((*UNKNOWN, "architecture"))
    scale = {v["name"]: [0.5] for v in outputs["variables"]}
    return {
        **manifest(inputs, outputs, 1),
        **open_keys,
        "dims": dims,
        "batch_granule": granule,
        "difference_scale": scale,
    }


def eighths(*shape: int) -> torch.Tensor:
    """Return random multiples of 1/8 from -1 to 1: sums and products of a few are exact in
    float32.
    """
    return torch.randint(-8, 9, shape) / 8


def make_fields(folder: Path) -> None:
    """Make field.pt with field.json, and rows.pt, which has no dimension at all."""
    record = {**without_columns(FIELD_INPUTS, FIELD_OUTPUTS, SIZES, 1), "coordinates": COORDINATES}
    x = eighths(3, 37)
    save(folder / "field.pt", Fields(), record, torch.cat([Fields()(row) for row in x.split(1)]), x)
    (folder / "field.json").write_text(json.dumps(record))
    inputs, outputs = (
        layout("rows_in", [("a", "1", ()), ("b", "1", ())]),
        layout("rows_out", [("row_count", "1", ())]),
    )
    save(folder / "rows.pt", Rows(), without_columns(inputs, outputs, {}, 4), x=eighths(4, 2))


def memory_manifest(static: bool, steps: int) -> dict[str, Any]:
    """Return the manifest of Memory."""
    slope = [("slope", "1", ())] if static else []
    carried = [
        ("memory", "1", ("level",), "carried"),
        ("start", "1", (), "start"),
        ("total", "1", (), "carried"),
    ]
    outputs = [("tendency", "1/s", ("level",)), ("trust", "1", (), "confidence")]
    outputs += [("memory_next", "1", ("level",), "carried"), ("total_next", "1", (), "carried")]
    sizes = {"level": 4}
    record = manifest(
        layout("memory_in", [("forcing", "1", ("level",)), *slope, *carried], sizes),
        layout("memory_out", outputs, sizes),
        4,
    )
    record["carried"] = [
        {"output": "memory_next", "input": "memory"},
        {"output": "total_next", "input": "total"},
    ]
    record["golden"] = {"step_count": steps, "chained_tolerance": 1e-6}
    return record


def spans(row: dict[str, Any]) -> dict[str, slice]:
    """Return the positions of every variable in a row."""
    return {v["name"]: slice(v["offset"], v["offset"] + v["width"]) for v in row["variables"]}


def sequences(
    network: nn.Module, record: dict[str, Any], forcing: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return golden rows [step][sequence] of chained steps; ``forcing`` [step, sequence, n_input]
    holds the other inputs.
    """
    inputs, outputs = spans(record["inputs"]), spans(record["outputs"])
    x, y = forcing.clone(), []
    x[:, :, inputs["start"]] = 0
    x[0, :, inputs["start"]] = 1
    for pair in record["carried"]:
        x[0, :, inputs[pair["input"]]] = 0
    for step, rows in enumerate(x):
        for pair in record["carried"] if step > 0 else ():
            rows[:, inputs[pair["input"]]] = y[-1][:, outputs[pair["output"]]]
        y.append(network(rows))
    return x.flatten(0, 1), torch.cat(y)


def change_golden_input(entries: dict[str, bytes], position: int, value: float) -> None:
    """Set one float of the golden inputs; the manifest's digest follows."""
    name = entry(entries, "/golden_inputs.f32")
    raw = bytearray(entries[name])
    struct.pack_into("<f", raw, 4 * position, value)
    entries[name] = bytes(raw)
    edit_manifest(
        lambda record: record["golden"].update(inputs_sha256=hashlib.sha256(raw).hexdigest())
    )(entries)


def make_carried(folder: Path) -> None:
    """Make packages with carried state, two sequences of three steps: good ones, and some whose
    golden rows are no sequences.
    """
    for name, static in {"memory": True, "memory_bare": False}.items():
        record, network = memory_manifest(static, 3), Memory(static)
        x, y = sequences(network, record, eighths(3, 2, record["inputs"]["width"]))
        save(folder / f"{name}.pt", network, record, y, x)
        (folder / f"{name}.json").write_text(json.dumps(record))
    # Positions in rows of 11: memory 5 to 8, start 9, total 10; two rows a step.
    good = folder / "memory.pt"
    rewrite(good, folder / "chain_broken.pt", lambda e: change_golden_input(e, 3 * 11 + 6, 100.0))
    rewrite(
        good, folder / "chain_total_broken.pt", lambda e: change_golden_input(e, 4 * 11 + 10, 1.5)
    )
    rewrite(good, folder / "chain_half_start.pt", lambda e: change_golden_input(e, 1 * 11 + 9, 0.5))
    rewrite(good, folder / "chain_late_start.pt", lambda e: change_golden_input(e, 2 * 11 + 9, 1.0))
    make_drifting(folder / "chain_drifts.pt")


def make_drifting(path: Path) -> None:
    """Make a package whose golden steps are each 0.04 off, which doubles with every step that is
    fed to the next.
    """
    record = memory_manifest(True, 3)
    record["golden"]["chained_tolerance"] = record["tolerances"][0]["tolerance"] = 0.05
    record["difference_scale"]["tendency"] = [10.0]
    x, y = sequences(
        Memory(True, gain=2.0, offset=0.04), record, torch.zeros(3, 2, record["inputs"]["width"])
    )
    save(path, Memory(True, gain=2.0), record, y, x)
