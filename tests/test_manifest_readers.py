"""The reader in Python checks all of a manifest, the one in C++ what it acts on: every value of
three manifests changed in every way.
"""

from __future__ import annotations

import copy
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from climlink._runtime import Emulator, EmulatorError
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.errors import ManifestError
from climlink.wrappers.manifest import MANIFEST_ENTRY, parse_manifest

CPP_TESTS = Path(__file__).resolve().parents[1] / "cpp" / "tests"
DIGEST = "0" * 64
DELETED = object()
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2, 0.5, 2_000_000_001, 2**64, "", "start", "carried", "1"),
    *([], {}, [[]], [1.0], ["level"], ["lat"]),
)

Place = tuple[Any, ...]


@pytest.fixture(scope="module")
def manifests() -> Iterator[dict[str, dict[str, Any]]]:
    """Manifests of the C++ tests, written by hand and independent of climlink's exporter: columns,
    fields, carried state.
    """
    sys.path.insert(0, str(CPP_TESTS))
    import fixture_packages
    import fixture_samples

    inputs = fixture_packages.layout("columns_in", [("state_t", "K", 4), ("state_ps", "Pa", 1)])
    columns = fixture_packages.manifest(
        inputs, fixture_packages.layout("columns_out", [("ptend_t", "K/s", 4)]), 4
    )
    fields = fixture_samples.without_columns(
        fixture_samples.FIELD_INPUTS, fixture_samples.FIELD_OUTPUTS, fixture_samples.SIZES, 1
    )
    fields |= {
        "coordinates": fixture_samples.COORDINATES,
        "imported": fixture_packages.imported(columns)["imported"],
    }
    made = {
        "columns": columns,
        "fields": fields,
        "carried": fixture_samples.memory_manifest(True, 3),
    }
    for record in made.values():
        record["golden"] = record["golden"] | {
            "sample_count": 6,
            "inputs_sha256": DIGEST,
            "outputs_sha256": DIGEST,
        }
    yield made
    sys.path.remove(str(CPP_TESTS))


def _paths(value: Any, path: Place = ()) -> Iterator[Place]:
    """Yield where every value stands; of lists of numbers the two ends."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for i in (
            range(len(value))
            if any(isinstance(v, dict) for v in value)
            else {0, len(value) - 1}
            if value
            else ()
        ):
            yield from _paths(value[i], (*path, i))


def _changed(record: dict[str, Any], path: Place, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    where: Any = changed
    for key in path[:-1]:
        where = where[key]
    if value is DELETED:
        del where[path[-1]]
    else:
        where[path[-1]] = value
    return changed


def _unread(path: Place) -> bool:
    """Say whether C++ acts on nothing at this place: docs/manifest.md."""
    descriptive = {
        "calendar",
        "network_inputs",
        "network_outputs",
        "pruned_levels",
        "normalization",
        "constants",
        "architecture",
        "training_distribution",
    }
    if path[0] in descriptive | {"operators", "provenance", "training_ranges"} or path[:2] == (
        "golden",
        "sensitivity",
    ):
        return True
    if path[0] == "imported":
        return path[1:2] not in ((), ("host_postprocessing",))
    if path[0] == "constraints":
        return len(path) > 2 and path[2] != "name"
    return path[0] in ("inputs", "outputs") and path[-1] == "lag"


def _archive(manifest: str | bytes) -> bytes:
    """Return an archive that holds nothing but a manifest."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(f"x/extra/{MANIFEST_ENTRY}", manifest)
    return archive.getvalue()


def _cpp_accepts(manifest: str | bytes) -> bool:
    """Say whether the Runtime takes a manifest; it stands alone in its archive, which is refused
    for that when the manifest is not.
    """
    with pytest.raises(EmulatorError) as refusal:
        Emulator(_archive(manifest))
    assert refusal.value.status in ("schema", "package"), refusal.value
    return refusal.value.status == "package"


def _python_accepts(text: str) -> bool:
    try:
        parse_manifest(text, "wrap_model.pt")
    except ManifestError:
        return False
    return True


@pytest.mark.parametrize("name", ["columns", "fields", "carried"])
def test_cpp_refuses_what_python_refuses_where_it_looks_and_nothing_else(
    name: str, manifests: dict[str, dict[str, Any]]
) -> None:
    good = manifests[name]
    assert _python_accepts(json.dumps(good))
    assert _cpp_accepts(json.dumps(good))
    differing, accepted, refused = [], 0, 0
    for path in _paths(good):
        for value in (None, "", DELETED) if _unread(path) else (*VALUES, DELETED):
            text = json.dumps(_changed(good, path, value))
            cpp, python = _cpp_accepts(text), _python_accepts(text)
            if cpp != python and not (cpp and _unread(path)):
                differing.append(
                    f"{path} = {value!r}: C++ {'accepts' if cpp else 'refuses'}, Python does not"
                )
            accepted += python
            refused += not cpp
    assert differing == []
    assert (
        min(accepted, refused) > 100
    )  # changes that all readers refuse, or take, would show little


@pytest.mark.parametrize(
    "where",
    [
        (),
        ("golden",),
        ("inputs",),
        ("inputs", "variables", 0),
        ("tolerances", 0),
        ("coordinates", "lat"),
    ],
)
def test_both_readers_refuse_unknown_keys(
    where: Place, manifests: dict[str, dict[str, Any]]
) -> None:
    good = manifests["fields"]
    text = json.dumps(_changed(good, (*where, "colour"), 1))
    assert not _cpp_accepts(text)
    assert not _python_accepts(text)


def test_both_readers_refuse_bytes_that_are_no_text(
    manifests: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    raw = json.dumps(manifests["columns"]).encode().replace(b"Pa", b"P\xff")
    assert b"\xff" in raw
    assert not _cpp_accepts(raw)
    (tmp_path / "wrap_model.pt").write_bytes(_archive(raw))
    with pytest.raises(ManifestError, match=r"not JSON in UTF-8.*0xff"):
        EmulatorPackage.read(tmp_path / "wrap_model.pt")
