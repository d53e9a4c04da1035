"""The manifest: what goes in comes out, and every broken promise is refused with file and key."""

from __future__ import annotations

import copy
import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climlink.wrappers.constants import RECORDED
from climlink.wrappers.contract import EmulatorContract, confidence_of, host_sets
from climlink.wrappers.errors import ContractError, ManifestError
from climlink.wrappers.manifest import (
    SCHEMA_VERSION,
    ArchitectureEntry,
    ConstraintEntry,
    Manifest,
    NormalizationConfig,
    ProvenanceEntry,
    parse_manifest,
)

DIGEST = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def raw(make) -> dict:
    """A complete manifest as JSON reads it."""
    c = make.contract()
    one = lambda s: {v.name: [0.5] * s.width_of(v.name) for v in s.variables}  # noqa: E731
    return {
        "schema_version": 2,
        "name": "small",
        "dims": {"level": make.levels},
        "coordinates": {},
        "inputs": c.inputs.layout().model_dump(),
        "outputs": c.outputs.layout().model_dump(),
        "carried": [],
        "batch_granule": 16,
        "network_inputs": c.network_inputs.layout().model_dump(),
        "network_outputs": c.network_outputs.layout().model_dump(),
        "time_step_s": 1200.0,
        "calendar": "noleap",
        "hybrid": c.hybrid.model_dump(),
        "pruned_levels": 4,
        "normalization": {
            "configuration": NormalizationConfig().model_dump(),
            "statistics_digest": DIGEST,
            "buffers_digest": DIGEST,
        },
        "constraints": [e.model_dump() for e in c.constraints],
        "constants": RECORDED,
        "architecture": {
            "name": "mlp",
            "configuration": {"width": 64, "rate": 0.1, "act": "relu"},
            "trainable_parameters": 12,
        },
        "allowed_precisions": ["float32"],
        "reduced_precision": [],
        "difference_scale": one(c.outputs),
        "tolerances": [
            {"backend": "torchscript", "device": "cpu", "precision": "float32", "tolerance": 2e-5}
        ],
        "same_kernels_tolerance": 1e-6,
        "training_ranges": {
            "state_t": [[100.0] * make.levels, [400.0] * make.levels],
            "state_ps": [[5e4], [1.1e5]],
        },
        "operators": ["aten::add"],
        "golden": {
            "sample_count": 16,
            "step_count": 1,
            "chained_tolerance": None,
            "inputs_sha256": DIGEST,
            "outputs_sha256": DIGEST,
            "sensitivity": None,
        },
        "provenance": {
            "climlink_version": "0.1.0",
            "git_revision": None,
            "torch_version": "2.13.0",
            "exported_on": "cpu",
            "data_digest": None,
            "seed": 7,
            "training": {"epochs": 3},
        },
        "imported": None,
        "training_distribution": None,
    }


def changed(raw: dict, path: str, value) -> str:
    """Return JSON with one value replaced; ``DELETE`` removes the key."""
    new = copy.deepcopy(raw)
    *parents, last = path.split(".")
    at = new
    for p in parents:
        at = at[int(p) if p.isdigit() else p]
    last = int(last) if last.isdigit() else last
    if value == "DELETE":
        del at[last]
    else:
        at[last] = value
    return json.dumps(new)


def test_round_trip(raw) -> None:
    manifest = parse_manifest(json.dumps(raw), "a.pt")
    assert json.loads(manifest.to_json()) == raw
    assert parse_manifest(manifest.to_json(), "a.pt") == manifest
    assert (manifest.n_input, manifest.n_output, manifest.golden.sample_count) == (197, 128, 16)
    assert manifest.tolerance("torchscript", "cpu", "float32") == 2e-5
    with pytest.raises(
        ManifestError, match="'small' declares no tolerance for torchscript/cuda/float32"
    ):
        manifest.tolerance("torchscript", "cuda", "float32")


def test_confidence_and_carried_state_follow_the_values(raw, make) -> None:
    new = with_state(raw, make)
    manifest = parse_manifest(json.dumps(new), "a.pt")
    assert (manifest.n_value, manifest.n_output, manifest.n_input) == (128, 128 + 108 + 3, 197 + 4)
    assert manifest.has_confidence
    assert json.loads(manifest.to_json()) == new


def with_state(raw: dict, make) -> dict:
    """Return a manifest with confidence, and three numbers that are carried."""
    new = copy.deepcopy(raw)
    new["dims"]["unit"] = 3
    confidence = confidence_of(make.contract().network_outputs).layout().model_dump()["variables"]
    carried = {
        "units": "1",
        "long_name": "",
        "dims": ["unit"],
        "width": 3,
        "lag": 0,
        "role": "carried",
    }
    start = {
        "name": "start",
        "units": "1",
        "long_name": "",
        "dims": [],
        "width": 1,
        "lag": 0,
        "role": "start",
    }
    for side, more in (
        ("inputs", [start, {"name": "memory", **carried}]),
        ("outputs", [*confidence, {"name": "memory_next", **carried}]),
    ):
        for v in more:
            new[side]["variables"].append({**v, "offset": new[side]["width"]})
            new[side]["width"] += v["width"]
    new["carried"] = [{"output": "memory_next", "input": "memory"}]
    new["difference_scale"] |= {
        v["name"]: [1.0] for v in new["outputs"]["variables"] if v["role"] != "value"
    }
    new["golden"] |= {"sample_count": 8, "step_count": 4, "chained_tolerance": 1e-5}
    return new


def _edit(new: dict, path: str, value) -> dict:
    return json.loads(changed(new, path, value))


BAD_STATE = {
    "pairs of unequal width": (
        ("outputs.variables.-1.dims", ["level"]),
        "has width 3, its dims say level 20",
    ),
    "pairs of other units": (
        ("outputs.variables.-1.units", "K"),
        "dims, width and units must be equal",
    ),
    "start missing": (
        ("inputs.variables.-2.name", "begin"),
        "'start' must be one input without dims",
    ),
    "start is a value": (
        ("inputs.variables.-2.role", "value"),
        "'start' must be one input without dims",
    ),
    "nothing carried": (("carried", []), "nothing is carried"),
    "an output that is not carried": (
        ("carried.0.output", "ptend_t"),
        "carried must name every one of the outputs",
    ),
    "an input that is not carried": (
        ("carried.0.input", "state_t"),
        "carried must name every one of the inputs",
    ),
    "a pair twice": (("carried", [{"output": "memory_next", "input": "memory"}] * 2), "once"),
    "confidence among inputs": (("inputs.variables.0.role", "confidence"), "has role 'confidence'"),
    "start among outputs": (("outputs.variables.0.role", "start"), "has role 'start'"),
    "a value behind confidence": (
        ("outputs.variables.20.role", "value"),
        "in the order value, confidence, carried",
    ),
    "carried with a scale": (
        ("difference_scale.memory_next", [0.5]),
        "must be [1.0]: its role is carried",
    ),
    "a range of carried state": (
        ("training_ranges.memory", [[0.0], [1.0]]),
        "training_ranges of memory",
    ),
    "one golden step": (("golden", None), "step_count is above 1 if and only if"),
    "samples that fill no sequences": (
        ("golden.sample_count", 9),
        "sample_count 9 is not a multiple of step_count 4",
    ),
    "no chained tolerance": (("golden.chained_tolerance", None), "have a chained_tolerance"),
}


@pytest.mark.parametrize("case", BAD_STATE)
def test_carried_state_that_does_not_fit_is_refused(raw, make, case: str) -> None:
    (path, value), message = BAD_STATE[case]
    new = with_state(raw, make)
    if case == "one golden step":
        path, value = "golden", raw["golden"]
    if case == "a value behind confidence":
        path = f"outputs.variables.{len(new['outputs']['variables']) - 2}.role"
    path = re.sub(
        r"variables\.(-\d)",
        lambda m: f"variables.{len(new[path.split('.')[0]]['variables']) + int(m[1])}",
        path,
    )
    with pytest.raises(ManifestError, match=re.escape(message)):
        parse_manifest(json.dumps(_edit(new, path, value)), "a.pt")


FIELD_COORDINATES = {"units": "degrees_north", "values": [-60.0, 0.0, 60.0]}


def fields(raw: dict) -> dict:
    """Return a manifest of fields: 3 x 4 points in, 6 x 8 out, nothing vertical."""
    new = copy.deepcopy(raw)
    new |= dict.fromkeys(
        (
            "hybrid",
            "pruned_levels",
            "normalization",
            "architecture",
            "network_inputs",
            "network_outputs",
            "time_step_s",
        )
    )
    new |= {
        "dims": {"lat": 3, "lon": 4, "fine_lat": 6, "fine_lon": 8},
        "coordinates": {"lat": FIELD_COORDINATES},
        "batch_granule": 1,
    }
    one = {"units": "K", "long_name": "", "offset": 0, "lag": 0, "role": "value"}
    for side, dims, width in (
        ("inputs", ["lat", "lon"], 12),
        ("outputs", ["fine_lat", "fine_lon"], 48),
    ):
        new[side] = {
            "set": side,
            "width": width,
            "variables": [{**one, "name": f"t_{side}", "dims": dims, "width": width}],
        }
    new |= {
        "difference_scale": {"t_outputs": [1.0]},
        "training_ranges": {"t_inputs": [[200.0], [320.0]]},
        "constraints": [],
    }
    return new


def test_fields_have_coordinates_and_one_number_per_variable(raw) -> None:
    manifest = parse_manifest(json.dumps(fields(raw)), "a.pt")
    assert (manifest.n_input, manifest.n_output, manifest.level_count, manifest.time_step_s) == (
        12,
        48,
        0,
        None,
    )
    assert host_sets(manifest)[0].shape_of(host_sets(manifest)[0]["t_inputs"]) == (3, 4)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("dims.lat", 4, "has width 12, its dims say lat 4 x lon 4"),
        ("dims.lat", 0, "dims.lat"),
        ("dims.lat", "DELETE", "has dims ['lat', 'lon']; expected each once"),
        ("inputs.variables.0.dims", ["lat", "lat"], "expected each once"),
        (
            "inputs.variables.0.dims",
            ["lat", "lon", "fine_lat", "fine_lon"],
            "inputs.variables.0.dims",
        ),
        ("inputs.variables.0.width", 13, "says width 12, its variables fill 13"),
        ("coordinates.lat.values", [0.0, 1.0], "lat has 2 values, dims say 3"),
        ("coordinates.lat.values", [0.0, 1.0, 1.0], "rise or fall strictly"),
        ("coordinates.x", FIELD_COORDINATES, "x has 3 values, dims say nothing"),
        ("batch_granule", 0, "batch_granule"),
        ("pruned_levels", 1, "pruned_levels is 1 but there are only 0 levels"),
        ("difference_scale.t_outputs", [1.0, 2.0], "must be 1 or 48 positive numbers"),
    ],
)
def test_dims_that_do_not_fit_are_refused(raw, path: str, value, message: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(message)):
        parse_manifest(changed(fields(raw), path, value), "a.pt")


_finite = st.floats(allow_nan=False, allow_infinity=False)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | _finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    free=st.dictionaries(st.text(), _plain, max_size=4),
    step=st.floats(1e-3, 1e6),
    seed=st.none() | st.integers(),
)
def test_any_plain_record_survives_exactly(raw, free: dict, step: float, seed) -> None:
    base = parse_manifest(json.dumps(raw), "a.pt").model_dump()
    base |= {
        "time_step_s": step,
        "architecture": {"name": "x", "configuration": free, "trainable_parameters": 0},
    }
    base["provenance"] |= {"training": free, "seed": seed}
    base["constraints"] = [{"name": "prune", "parameters": free}]
    manifest = Manifest.model_validate(base)
    back = parse_manifest(manifest.to_json(), "a.pt")
    assert back == manifest
    assert repr(back.architecture.configuration) == repr(free), (
        "types survive too: 1, 1.0 and true are three things"
    )


REFUSED = {
    "name": ("", "name"),
    "dims.level": ("20", "dims.level"),
    "batch_granule": (16.0, "batch_granule"),
    "time_step_s": (-1.0, "time_step_s"),
    "pruned_levels": (21, "pruned_levels is 21 but there are only 20 levels"),
    "hybrid.p0_pa": (0.0, "hybrid.p0_pa"),
    "hybrid.hyai": ([0.0] * 20, "hyam has 20 levels"),
    "hybrid.hyam.3": ("0.1", "hybrid.hyam.3"),
    "inputs.width": (196, "says width 196, its variables fill 197"),
    "inputs.variables": ([], "inputs.variables"),
    "inputs.variables.1.offset": (21, "starts at 21 in set 'host_v2_q', expected 20"),
    "inputs.variables.1.name": ("state_t", "repeat in set 'host_v2_q'"),
    "inputs.variables.0.units": ("DELETE", "inputs.variables.0.units"),
    "inputs.variables.0.lag": (-1, "inputs.variables.0.lag"),
    "difference_scale.ptend_t": (
        [0.5] * 19, "difference_scale of ptend_t must be 1 or 20 positive numbers"
    ),
    "difference_scale.ptend_u": ([0.0] * 20, "difference_scale of ptend_u"),
    "difference_scale.cam_out_PRECC": ("DELETE", "difference_scale of cam_out_PRECC"),
    "difference_scale.ptend_w": ([0.5] * 20, "difference_scale names ['ptend_w']"),
    "training_ranges.state_ps": ([[2.0], [1.0]], "training_ranges of state_ps"),
    "training_ranges.state_t": ([[1.0] * 20], "training_ranges of state_t"),
    "training_ranges.nonsense": ([[1.0], [2.0]], "training_ranges of nonsense"),
    "normalization.configuration.scheme": ("median", "normalization.configuration.scheme"),
    "normalization.configuration.cloud_transform": (
        1, "normalization.configuration.cloud_transform"
    ),
    "normalization.buffers_digest": (DIGEST.upper(), "normalization.buffers_digest"),
    "golden.sample_count": (1, "golden.sample_count"),
    "golden.inputs_sha256": (DIGEST[:-1], "golden.inputs_sha256"),
    "allowed_precisions": ([], "allowed_precisions"),
    "tolerances": ([], "tolerances"),
    "tolerances.0.tolerance": (0.0, "tolerances.0.tolerance"),
    "tolerances.0.device": ("tpu", "tolerances.0.device"),
    "same_kernels_tolerance": (True, "same_kernels_tolerance"),
    "provenance.seed": (1.5, "provenance.seed"),
    "provenance.git_revision": ("DELETE", "provenance.git_revision"),
    "surprise": (1, "surprise"),
    "golden.surprise": (1, "golden.surprise"),
    "schema_version": ("1", "no integer schema_version"),
    "operators": ("DELETE", "operators"),
    "imported": ({"file": "old.pt"}, "imported.sha256"),
}  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_what_breaks_the_contract_is_refused_with_file_and_key(raw, path: str) -> None:
    value, message = REFUSED[path]
    with pytest.raises(ManifestError, match=re.escape(message)) as caught:
        parse_manifest(changed(raw, path, value), "folder/wrap_model.pt")
    assert str(caught.value).startswith("folder/wrap_model.pt: ")


def test_twice_declared_tolerances_are_refused(raw) -> None:
    with pytest.raises(ManifestError, match="each backend, device and precision once"):
        parse_manifest(changed(raw, "tolerances", raw["tolerances"] * 2), "a.pt")


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_a_newer_schema_is_named_before_anything_else(raw, version: int) -> None:
    text = json.dumps({"schema_version": version, "all": "new"})
    with pytest.raises(
        ManifestError,
        match=rf"a.pt: manifest schema {version} is newer than the 2 this climlink reads; update "
        r"climlink",
    ):
        parse_manifest(text, "a.pt")


def test_schema_1_is_refused_with_the_command_that_renews_it(raw) -> None:
    with pytest.raises(
        ManifestError,
        match=r"schema 1, this climlink reads 2; make the package again with `climlink export RUN",
    ):
        parse_manifest(changed(raw, "schema_version", 1), "a.pt")


@pytest.mark.parametrize("version", [0, -1, True, None, 2.0])
def test_other_versions_are_refused(raw, version) -> None:
    with pytest.raises(ManifestError, match="schema"):
        parse_manifest(changed(raw, "schema_version", version), "a.pt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1, 2]", "no integer schema_version"),
        ("null", "no integer schema_version"),
        ('{"schema_version": 1, "schema_version": 1}', "'schema_version' stands twice"),
        ('{"schema_version": 1, "x": {"a": 1, "a": 2}}', "'a' stands twice"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_text_that_is_no_manifest(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=f"a.pt: .*{message}"):
        parse_manifest(text, "a.pt")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "path",
    [
        "time_step_s",
        "hybrid.hyam.2",
        "architecture.configuration.rate",
        "difference_scale.ptend_t.0",
    ],
)
def test_numbers_that_are_not_finite_are_refused_when_read(raw, number: str, path: str) -> None:
    text = changed(raw, path, "HERE").replace('"HERE"', number)
    with pytest.raises(ManifestError):
        parse_manifest(text, "a.pt")


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, (1, 2), {1: 2}, {"a": [1.0, {"b": -math.inf}]}, object()]
)
def test_free_records_take_only_what_json_gives_back(value) -> None:
    for make_entry in (
        lambda v: ArchitectureEntry(name="x", configuration={"deep": [v]}, trainable_parameters=1),
        lambda v: ConstraintEntry(name="x", parameters={"deep": [v]}),
        lambda v: ProvenanceEntry(
            climlink_version="",
            git_revision=None,
            torch_version="",
            exported_on="",
            data_digest=None,
            seed=None,
            training={"deep": [v]},
        ),
    ):
        with pytest.raises(ValueError, match=r"deep\[0\]"):
            make_entry(value)


IMPORTED = {
    "file": "old.pt",
    "sha256": DIGEST,
    "parameter_count": 50,
    "golden_source": "synthetic",
    "input_copied": False,
    "host_postprocessing": "legacy",
    "findings": [],
}


UNKNOWN = (
    "network_inputs",
    "network_outputs",
    "hybrid",
    "pruned_levels",
    "normalization",
    "constraints",
    "constants",
    "architecture",
)


@pytest.mark.parametrize("key", UNKNOWN)
def test_what_a_graph_does_not_say_is_null(raw, key: str) -> None:
    manifest = parse_manifest(json.dumps({**raw, key: None}), "a.pt")
    assert getattr(manifest, key) is None
    assert parse_manifest(manifest.to_json(), "a.pt") == manifest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("golden_source", "invented"),
        ("host_postprocessing", "some"),
        ("sha256", "12"),
        ("file", ""),
        ("input_copied", 1),
        ("findings", [1]),
    ],
)
def test_what_is_said_of_an_import_is_checked(raw, path: str, value) -> None:
    with pytest.raises(ManifestError, match=f"imported.{path}"):
        parse_manifest(json.dumps({**raw, "imported": {**IMPORTED, path: value}}), "a.pt")


def test_an_imported_graph_has_host_sets_and_no_contract(raw, make) -> None:
    manifest = parse_manifest(
        json.dumps({**raw, **dict.fromkeys(UNKNOWN), "imported": IMPORTED}), "a.pt"
    )
    assert host_sets(manifest) == (make.contract().inputs, make.contract().outputs)
    with pytest.raises(ContractError, match="'small' is an imported graph"):
        EmulatorContract.from_manifest(manifest)


def test_contract_from_a_manifest(raw, make) -> None:
    assert (
        EmulatorContract.from_manifest(parse_manifest(json.dumps(raw), "a.pt")) == make.contract()
    )


def test_a_set_of_any_order_is_carried_whole(raw) -> None:
    new = copy.deepcopy(raw)
    order = new["inputs"]["variables"]
    order[2]["name"], order[3]["name"] = order[3]["name"], "my_own_quantity"
    contract = EmulatorContract.from_manifest(parse_manifest(json.dumps(new), "a.pt"))
    assert contract.inputs.names[2:4] == ("state_q0003", "my_own_quantity")
