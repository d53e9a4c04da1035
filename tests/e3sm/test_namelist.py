"""The namelist that fits a package, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import f90nml
import pytest
from case_findings import IMPORTED
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.e3sm.declarations import GROUP, SOURCE, read_declarations
from climlink.e3sm.entries import ENTRIES, NamelistEntry
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.namelist import (
    accepted_combinations,
    check_entries,
    needed_spin_up,
    package_entries,
    variable_combination,
    wrapper_entries,
)
from climlink.online.launch import namelist_text
from climlink.packages.read import EmulatorPackage
from climlink.runtime import options
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import variable_set

ADAPTER = Path(__file__).resolve().parents[2] / "fortran_bridge" / "e3sm"
HOST_SETS = [f"host_v{version}_{humidity}" for version in (2, 4, 6) for humidity in ("q", "rh")]


def _on(package: EmulatorPackage, input_set: str) -> Manifest:
    """Return the manifest of a package as if its network took another input set."""
    return package.manifest.model_copy(update={"inputs": variable_set(input_set).layout()})


@pytest.mark.parametrize("name", HOST_SETS)
def test_widths_combination_humidity_and_spin_up_of_every_host_set(
    name: str, packages: dict[str, EmulatorPackage]
) -> None:
    package = packages["host_v2_q"]
    on_set = EmulatorPackage(
        package.path,
        _on(package, name),
        package.digest,
        package.golden_inputs,
        package.golden_outputs,
    )
    entries = f90nml.reads(
        namelist_text({GROUP: package_entries(on_set, "/models/wrap_model.pt")})
    )[GROUP]
    width = {"host_v2": 557, "host_v4": 1525, "host_v6": 1519}[name.rsplit("_", 1)[0]]
    assert (entries["inputlength"], entries["outputlength"]) == (width, 368)
    assert entries["cb_nn_var_combo"] == name.split("_")[1]
    assert entries["input_rh"] is name.endswith("_rh")
    assert needed_spin_up(on_set.manifest) == (0 if "v2" in name else 2)
    assert entries["cb_spinup_step"] >= needed_spin_up(on_set.manifest)


def test_the_command_prints_a_namelist_that_holds_path_and_digest(
    packages: dict[str, EmulatorPackage],
) -> None:
    package = packages["host_v2_rh"]
    result = CliRunner().invoke(
        app, ["e3sm", "namelist", str(package.path), "--device", "cuda", "--spin-up", "9"]
    )
    assert result.exit_code == 0, result.output
    entries = f90nml.reads(result.output)[GROUP]
    assert entries["climlink_package"] == str(package.path.resolve())
    assert entries["climlink_package_digest"] == package.digest
    assert (entries["climlink_device"], entries["cb_spinup_step"], entries["input_rh"]) == (
        "cuda",
        9,
        True,
    )


def test_an_imported_wrapper_that_needs_the_old_post_processing_gets_it(
    packages: dict[str, EmulatorPackage],
) -> None:
    package = packages["host_v2_q"]
    assert "climlink_legacy" not in package_entries(package, "/models/wrap_model.pt")
    manifest = package.manifest.model_copy(update={"imported": IMPORTED})
    old = EmulatorPackage(
        package.path, manifest, package.digest, package.golden_inputs, package.golden_outputs
    )
    entries = package_entries(old, "/models/old.pt")
    assert entries["climlink_legacy"] is True
    assert "climlink_rh_arithmetic" not in entries
    humid = manifest.model_copy(update={"inputs": variable_set("host_v2_rh").layout()})
    old = EmulatorPackage(
        package.path, humid, package.digest, package.golden_inputs, package.golden_outputs
    )
    assert package_entries(old, "/models/old.pt")["climlink_rh_arithmetic"] == "legacy"


def test_a_package_for_another_order_is_refused(packages: dict[str, EmulatorPackage]) -> None:
    with pytest.raises(
        E3SMError, match="takes the input set 'climsim_v2'; E3SM sends host_v2, host_v4 or host_v6"
    ):
        variable_combination(_on(packages["host_v2_q"], "climsim_v2"))


def test_too_little_spin_up_a_long_path_and_unknown_devices_are_refused(
    packages: dict[str, EmulatorPackage],
) -> None:
    package = packages["host_v2_q"]
    lagged = EmulatorPackage(
        package.path,
        _on(package, "host_v4_q"),
        package.digest,
        package.golden_inputs,
        package.golden_outputs,
    )
    with pytest.raises(
        E3SMError,
        match="cb_spinup_step is 1, but the lagged inputs of host_v4_q exist after 2 steps",
    ):
        package_entries(lagged, "/a.pt", {"cb_spinup_step": 1})
    assert package_entries(lagged, "/a.pt", {"cb_spinup_step": -1})["cb_spinup_step"] == -1
    with pytest.raises(
        E3SMError, match="climlink_package: expected text of at most 256 characters"
    ):
        package_entries(package, "/" + "a" * 256)
    with pytest.raises(
        E3SMError, match="climlink_device: expected one of cpu, cuda, xpu, auto, got 'gpu'"
    ):
        package_entries(package, "/a.pt", {"climlink_device": "gpu"})


def test_an_old_wrapper_gets_the_old_entries_and_legacy_mode() -> None:
    entries = wrapper_entries("/models/v2_mlp_wrapper.pt", 557, 368, "v2", True)
    assert "climlink_package" not in entries
    assert (entries["cb_torch_model"], entries["climlink_legacy"]) == (
        "/models/v2_mlp_wrapper.pt",
        True,
    )
    assert entries["climlink_rh_arithmetic"] == "legacy"  # what the old host sent
    assert "climlink_rh_arithmetic" not in wrapper_entries("/models/q.pt", 557, 368, "v2", False)


def test_cb_use_cuda_takes_the_place_of_the_device(packages: dict[str, EmulatorPackage]) -> None:
    entries = package_entries(packages["host_v2_q"], "/a.pt", {"cb_use_cuda": True})
    assert entries["cb_use_cuda"] is True
    assert "climlink_device" not in entries


def test_confidence_may_be_said_of_packages_that_give_it(
    packages: dict[str, EmulatorPackage], confident: Manifest
) -> None:
    assert accepted_combinations(packages["host_v2_q"].manifest) == ("v2",)
    assert accepted_combinations(confident) == ("v2", "v2_conf")


def test_entries_are_those_that_the_adapter_and_the_library_publish(tmp_path: Path) -> None:
    declared = read_declarations(ADAPTER)
    assert tuple(ENTRIES) == tuple(d.name for d in declared)
    for d in declared:
        entry = ENTRIES[d.name]
        assert (entry.kind, entry.length, entry.count) == (d.kind, d.length, d.count), d
        # Where the package decides now, the old coupling's default is shown.
        old = d.name in ("inputlength", "outputlength", "cb_nn_var_combo")
        assert old or d.default in (None, entry.default), d
    library = {o["name"]: o["default"] for o in options()}
    for entry, option in (
        ("climlink_threads", "threads"),
        ("climlink_micro_batch", "micro_batch"),
        ("climlink_group_size", "group_size"),
        ("climlink_device_memory_fraction", "device_memory_fraction"),
        ("climlink_cuda_graphs", "cuda_graphs"),
        ("climlink_group_timeout_s", "group_timeout_s"),
        ("climlink_package_digest", "pinned_sha256"),
    ):
        assert next(d for d in declared if d.name == entry).default is None
        assert ENTRIES[entry].default == library[option]
    text = (ADAPTER / SOURCE).read_text()
    changed = text.replace(":: cb_spinup_step = 72", ":: cb_spinup_step = 73")
    (tmp_path / SOURCE).write_text(changed.replace("cb_do_ramp, ", "cb_do_ramp, cb_undeclared, "))
    with pytest.raises(E3SMError, match="expected a declaration of cb_undeclared"):
        read_declarations(tmp_path)
    (tmp_path / SOURCE).write_text(changed)
    found = {d.name: d for d in read_declarations(tmp_path)}
    assert (found["cb_spinup_step"].default, found["cb_ramp_factor"].default) == (73, 1.0)
    assert (found["climlink_constraints_off"].length, found["climlink_constraints_off"].count) == (
        64,
        32,
    )


def test_defaults_are_those_of_the_existing_coupling() -> None:
    defaults = {name: entry.default for name, entry in ENTRIES.items()}
    assert (
        defaults["inputlength"],
        defaults["outputlength"],
        defaults["cb_spinup_step"],
        defaults["dtheta_thred"],
    ) == (
        1525,
        368,
        72,
        10.0,
    )
    assert (
        defaults["cb_ramp_step_0steps"],
        defaults["cb_ramp_step_1steps"],
        defaults["cb_ramp_factor"],
    ) == (10, 20, 1.0)
    for name, entry in ENTRIES.items():
        assert entry.default == "" or entry.problem(entry.default) is None, name


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"cb_spinup_steps": 5}, "has no entry 'cb_spinup_steps'; did you mean 'cb_spinup_step'"),
        ({"cb_ramp_option": "cubic"}, "expected one of constant, linear, step, got 'cubic'"),
        ({"climlink_threads": 0}, "expected at least 1, got 0"),
        ({"input_rh": 1}, r"expected \.true\. or \.false\., got 1"),
        ({"inputlength": [557, 368]}, "expected one value, got 2"),
        ({"cb_partial_coupling_vars": ["x" * 27]}, "text of at most 26 characters"),
    ],
)
def test_entries_that_do_not_fit(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(E3SMError, match=message):
        check_entries(entries)


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_text_survives_writing_and_reading(text: str) -> None:
    entry = NamelistEntry("climlink_package", "char", "", "", length=256)
    assert entry.problem(text) is None
    read = f90nml.reads(namelist_text({GROUP: {"climlink_package": text}}))[GROUP][
        "climlink_package"
    ]
    assert read == text
