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
from climlink.wrappers.contract import EmulatorContract, host_sets
from climlink.wrappers.errors import ContractError, ManifestError
from climlink.wrappers.manifest import (
    SCHEMA_VERSION,
    UNKNOWN_KEYS,
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
        "schema_version": 1,
        "kind": "column",
        "name": "small",
        "inputs": c.inputs.layout().model_dump(),
        "outputs": c.outputs.layout().model_dump(),
        "confidence": None,
        "network_inputs": c.network_inputs.layout().model_dump(),
        "network_outputs": c.network_outputs.layout().model_dump(),
        "level_count": make.levels,
        "time_step_s": 1200.0,
        "calendar": "noleap",
        "hybrid": c.hybrid.model_dump(),
        "pruned_levels": 4,
        "normalization": {"configuration": NormalizationConfig().model_dump(), "statistics_digest": DIGEST, "buffers_digest": DIGEST},
        "constraints": [e.model_dump() for e in c.constraints],
        "constants": RECORDED,
        "architecture": {"name": "mlp", "configuration": {"width": 64, "rate": 0.1, "act": "relu"}, "trainable_parameters": 12},
        "allowed_precisions": ["float32"],
        "difference_scale": one(c.outputs),
        "tolerances": [{"backend": "torchscript", "device": "cpu", "precision": "float32", "tolerance": 2e-5}],
        "same_kernels_tolerance": 1e-6,
        "training_ranges": {"state_t": [[100.0] * make.levels, [400.0] * make.levels], "state_ps": [[5e4], [1.1e5]]},
        "operators": ["aten::add"],
        "golden": {"column_count": 16, "inputs_sha256": DIGEST, "outputs_sha256": DIGEST, "sensitivity": None},
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
    assert (manifest.n_input, manifest.n_output, manifest.n_column_golden) == (197, 128, 16)
    assert manifest.tolerance("torchscript", "cpu", "float32") == 2e-5
    with pytest.raises(ManifestError, match="'small' declares no tolerance for torchscript/cuda/float32"):
        manifest.tolerance("torchscript", "cuda", "float32")


def test_confidence_makes_the_output_row_longer(raw) -> None:
    manifest = parse_manifest(changed(raw, "confidence", raw["network_outputs"]), "a.pt")
    assert manifest.n_output == 128 + 108


_finite = st.floats(allow_nan=False, allow_infinity=False)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | _finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(free=st.dictionaries(st.text(), _plain, max_size=4), step=st.floats(1e-3, 1e6), seed=st.none() | st.integers())
def test_any_plain_record_survives_exactly(raw, free: dict, step: float, seed) -> None:
    base = parse_manifest(json.dumps(raw), "a.pt").model_dump()
    base |= {"time_step_s": step, "architecture": {"name": "x", "configuration": free, "trainable_parameters": 0}}
    base["provenance"] |= {"training": free, "seed": seed}
    base["constraints"] = [{"name": "prune", "parameters": free}]
    manifest = Manifest.model_validate(base)
    back = parse_manifest(manifest.to_json(), "a.pt")
    assert back == manifest
    assert repr(back.architecture.configuration) == repr(free), "types survive too: 1, 1.0 and true are three things"


REFUSED = {
    "name": ("", "name"),
    "kind": ("sequence", "kind"),
    "level_count": ("20", "level_count"),
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
    "difference_scale.ptend_t": ([0.5] * 19, "difference_scale of ptend_t must be 20 positive numbers"),
    "difference_scale.ptend_u": ([0.0] * 20, "difference_scale of ptend_u"),
    "difference_scale.cam_out_PRECC": ("DELETE", "difference_scale of cam_out_PRECC"),
    "difference_scale.ptend_w": ([0.5] * 20, "difference_scale names ['ptend_w']"),
    "training_ranges.state_ps": ([[2.0], [1.0]], "training_ranges of state_ps"),
    "training_ranges.state_t": ([[1.0] * 20], "training_ranges of state_t"),
    "training_ranges.nonsense": ([[1.0], [2.0]], "training_ranges of nonsense"),
    "normalization.configuration.scheme": ("median", "normalization.configuration.scheme"),
    "normalization.configuration.cloud_transform": (1, "normalization.configuration.cloud_transform"),
    "normalization.buffers_digest": (DIGEST.upper(), "normalization.buffers_digest"),
    "golden.column_count": (1, "golden.column_count"),
    "golden.inputs_sha256": (DIGEST[:-1], "golden.inputs_sha256"),
    "allowed_precisions": ([], "allowed_precisions"),
    "tolerances": ([], "tolerances"),
    "tolerances.0.tolerance": (0.0, "tolerances.0.tolerance"),
    "tolerances.0.device": ("tpu", "tolerances.0.device"),
    "same_kernels_tolerance": (True, "same_kernels_tolerance"),
    "confidence": ({"set": "x", "width": 1, "variables": [{"name": "a", "units": "1", "long_name": "", "width": 1, "offset": 0, "lag": 0}]},
                   "confidence must be laid out as network_outputs"),
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


def test_widths_must_be_one_or_the_level_count(raw) -> None:
    new = copy.deepcopy(raw)
    last = new["inputs"]["variables"][-1]
    last["width"] = 2
    new["inputs"]["width"] += 1
    with pytest.raises(ManifestError, match="has width 2, neither 1 nor level_count 20"):
        parse_manifest(json.dumps(new), "a.pt")


def test_twice_declared_tolerances_are_refused(raw) -> None:
    with pytest.raises(ManifestError, match="each backend, device and precision once"):
        parse_manifest(changed(raw, "tolerances", raw["tolerances"] * 2), "a.pt")


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
def test_a_newer_schema_is_named_before_anything_else(raw, version: int) -> None:
    text = json.dumps({"schema_version": version, "all": "new"})
    with pytest.raises(ManifestError, match=rf"a.pt: manifest schema {version} is newer than the 1 this climlink reads; update climlink"):
        parse_manifest(text, "a.pt")


@pytest.mark.parametrize("version", [0, -1, True, None, 1.0])
def test_other_versions_are_refused(raw, version) -> None:
    with pytest.raises(ManifestError, match="schema_version"):
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
@pytest.mark.parametrize("path", ["time_step_s", "hybrid.hyam.2", "architecture.configuration.rate", "difference_scale.ptend_t.0"])
def test_numbers_that_are_not_finite_are_refused_when_read(raw, number: str, path: str) -> None:
    text = changed(raw, path, "HERE").replace('"HERE"', number)
    with pytest.raises(ManifestError):
        parse_manifest(text, "a.pt")


@pytest.mark.parametrize("value", [math.nan, math.inf, (1, 2), {1: 2}, {"a": [1.0, {"b": -math.inf}]}, object()])
def test_free_records_take_only_what_json_gives_back(value) -> None:
    for make_entry in (
        lambda v: ArchitectureEntry(name="x", configuration={"deep": [v]}, trainable_parameters=1),
        lambda v: ConstraintEntry(name="x", parameters={"deep": [v]}),
        lambda v: ProvenanceEntry(
            climlink_version="", git_revision=None, torch_version="", exported_on="", data_digest=None, seed=None, training={"deep": [v]}
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


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_what_an_imported_graph_does_not_say_is_null_and_nothing_else_may_be(raw, key: str) -> None:
    with pytest.raises(ManifestError, match=f"{key} is null, which only an imported package"):
        parse_manifest(changed(raw, key, None), "a.pt")
    manifest = parse_manifest(json.dumps({**raw, key: None, "imported": IMPORTED}), "a.pt")
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
    manifest = parse_manifest(json.dumps({**raw, **dict.fromkeys(UNKNOWN_KEYS), "imported": IMPORTED}), "a.pt")
    assert host_sets(manifest) == (make.contract().inputs, make.contract().outputs)
    with pytest.raises(ContractError, match="'small' is an imported graph"):
        EmulatorContract.from_manifest(manifest)


def test_contract_from_a_manifest(raw, make) -> None:
    assert EmulatorContract.from_manifest(parse_manifest(json.dumps(raw), "a.pt")) == make.contract()


def test_a_layout_of_another_climlink_is_refused(raw) -> None:
    new = copy.deepcopy(raw)
    order = new["inputs"]["variables"]
    order[2]["name"], order[3]["name"] = order[3]["name"], order[2]["name"]
    manifest = parse_manifest(json.dumps(new), "a.pt")
    with pytest.raises(ContractError, match="'small' lays out set 'host_v2_q' otherwise"):
        EmulatorContract.from_manifest(manifest)
