"""`climlink e3sm check`: nothing about a good case, one finding with its remedy about each thing
that is wrong.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from case_findings import IMPORTED, edit, require_only, write_env_run
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.e3sm.check import check_against_manifest, check_case
from climlink.e3sm.checks_of_history import check_tapes
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.settings import read_settings, read_user_namelist
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.layout import CarriedPair
from climlink.wrappers.variable_sets import variable_set

MakeCase = Callable[..., Path]


def test_a_good_case_has_no_findings(make_case: MakeCase) -> None:
    folder = make_case()
    assert check_case(folder).findings == ()
    result = CliRunner().invoke(app, ["e3sm", "check", str(folder), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"folder": str(folder), "passed": True, "findings": []}


def test_a_finding_is_exit_code_1_in_words_and_in_json(make_case: MakeCase) -> None:
    folder = make_case()
    edit(folder, "inputlength = 557", "inputlength = 1525")
    told = CliRunner().invoke(app, ["e3sm", "check", str(folder)])
    assert told.exit_code == 1
    assert "inputlength is 1525, the package needs 557" in told.output
    assert "set inputlength = 557" in told.output
    report = json.loads(CliRunner().invoke(app, ["e3sm", "check", str(folder), "--json"]).stdout)
    assert not report["passed"]
    assert report["findings"][0]["subject"] == "namelist"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("inputlength", "input_length", "has no entry 'input_length'; did you mean 'inputlength'"),
        (
            "  outputlength = 368\n",
            "  outputlength = 676\n",
            "outputlength is 676, the package needs 368",
        ),
        (
            "input_rh = .false.",
            "input_rh = .true.",
            r"input_rh is \.true\., the package needs \.false\.",
        ),
        (
            "cb_nn_var_combo = 'v2'",
            "cb_nn_var_combo = 'v4'",
            "cb_nn_var_combo is 'v4', the package needs 'v2'",
        ),
        (
            "inputlength",
            "cb_fkb_model = 'x'\n  inputlength",
            "cb_fkb_model has no variable in the model",
        ),
        (
            "inputlength",
            "cb_ramp_option = 'cubic'\n  inputlength",
            "expected one of constant, linear, step, got 'cubic'",
        ),
        (
            "inputlength",
            "cb_do_ramp = .true.\n  cb_ramp_option = 'linear'\n  inputlength",
            "a linear ramp of 0 steps",
        ),
        (
            "inputlength",
            "cb_partial_coupling_vars = 'ptend_t'\n  inputlength",
            r"cb_partial_coupling is not \.true\.",
        ),
        (
            "inputlength",
            "cb_partial_coupling = .true.\n  cb_partial_coupling_vars = 'ptend_q', 'PRECC'\n  "
            "inputlength",
            "no output 'ptend_q'; did you mean",
        ),
        ("srf_flux_avg = 1", "srf_flux_avg = 0", "LHFLX, SHFLX, TAUX and TAUY"),
    ],
)
def test_namelist_findings(make_case: MakeCase, old: str, new: str, problem: str) -> None:
    folder = make_case()
    edit(folder, old, new)
    findings = check_case(folder).findings
    assert any(f.subject == "namelist" and re.search(problem, f.problem) for f in findings), (
        findings
    )
    assert (
        len(findings) <= 2
    )  # a misspelt width is unknown, and the default of the right one does not fit


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ("'all(10 hPa:)', 'ptend_t(13:60)', 'ptend_u(:5,30:70000 Pa)', 'cam_out_PRECC'", None),
        ("'ptend_t(13:61)'", "ptend_t(13:61): there is no level 61"),
        ("'ptend_t( 0 : 2.5 hPa )'", "there is no level 0"),
        ("'cam_out_PRECC(2)'", "cam_out_PRECC has no levels"),
        ("'ptend_w(2:)'", "no output 'ptend_w'"),
    ],
)
def test_levels_behind_the_names_of_outputs(
    make_case: MakeCase, packages: dict[str, EmulatorPackage], entries: str, problem: str | None
) -> None:
    folder = make_case()
    text = f"cb_partial_coupling = .true.\n  cb_partial_coupling_vars = {entries}\n  inputlength"
    edit(folder, "inputlength", text)
    settings = replace(read_settings(folder), fork_driver=False)
    found = check_against_manifest(settings, packages["host_v2_q"].manifest)
    assert [problem in f.problem for f in found] == ([] if problem is None else [True])


def test_the_forks_driver_knows_no_levels(make_case: MakeCase) -> None:
    folder = make_case()
    names = "cb_partial_coupling = .true.\n  cb_partial_coupling_vars = 'ptend_t(13:60)'\n"
    edit(folder, "inputlength", f"{names}  inputlength")
    require_only(folder, "namelist", "the fork's own driver, which blends here")


def test_the_package_must_open_and_be_the_pinned_one(
    make_case: MakeCase, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    folder = make_case()
    path = packages["host_v2_q"].path
    edit(folder, packages["host_v2_q"].digest, "0" * 64)
    require_only(folder, "package", "pinned is 0000")
    edit(folder, "0" * 64, packages["host_v2_q"].digest)
    edit(folder, str(path), str(tmp_path / "absent.pt"))
    require_only(folder, "package", "no such file")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(path.read_bytes()[:1000])
    edit(folder, str(tmp_path / "absent.pt"), str(broken))
    edit(folder, packages["host_v2_q"].digest, "")
    require_only(folder, "package", "not a readable zip archive")


def test_constraints_to_leave_out_are_held_against_the_package(make_case: MakeCase) -> None:
    folder = make_case()
    edit(folder, "inputlength", "climlink_constraints_off = 'night', 'positivity'\n  inputlength")
    assert check_case(folder).findings == ()
    for names, problem in (
        ("'surface', 'night'", "no constraint 'surface'.*non_negative_surface"),
        ("'night', 'night'", "'night' stands 2 times"),
        ("'liquid_ice_partition'", "ptend_q0002, ptend_q0003 would not exist"),
    ):
        text = (folder / "user_nl_eam").read_text()
        (folder / "user_nl_eam").write_text(
            re.sub(r"climlink_constraints_off = .*", f"climlink_constraints_off = {names}", text)
        )
        require_only(folder, "namelist", f"climlink_constraints_off: .*{problem}")


def test_no_emulator_at_all_and_a_wrapper_that_is_not_there(
    make_case: MakeCase, packages: dict[str, EmulatorPackage]
) -> None:
    folder = make_case()
    edit(folder, f"climlink_package = '{packages['host_v2_q'].path}'", "climlink_package = ''")
    require_only(folder, "package", "neither climlink_package nor cb_torch_model")
    edit(folder, "climlink_package = ''", "cb_torch_model = '/no/v4.pt'")
    require_only(folder, "package", r"no file /no/v4\.pt")


def test_an_old_wrapper_has_to_become_a_package_first(
    make_case: MakeCase, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    folder = make_case()
    old = tmp_path / "v2.pt"
    torch.jit.script(torch.nn.Linear(557, 368)).save(str(old))
    edit(folder, f"climlink_package = '{packages['host_v2_q'].path}'", f"cb_torch_model = '{old}'")
    require_only(folder, "package", r"cb_torch_model: .*v2\.pt")


def test_cimes_files_override_the_record(make_case: MakeCase) -> None:
    folder = make_case()
    write_env_run(folder, ATM_NCPL=48)
    require_only(folder, "time step", "ATM_NCPL is 48, the package's time step of 1200 s needs 72")
    write_env_run(folder, ATM_NCPL="many")
    with pytest.raises(E3SMError, match="ATM_NCPL is 'many', expected an integer"):
        check_case(folder)
    (folder / "env_run.xml").write_text("<file>")
    with pytest.raises(E3SMError, match=r"env_run\.xml: not XML"):
        check_case(folder)


def test_node_shape(make_case: MakeCase) -> None:
    folder = make_case()
    write_env_run(folder, MAX_MPITASKS_PER_NODE=16)
    assert {f.subject for f in check_case(folder).findings} == {"node"}
    (folder / "env_run.xml").unlink()
    (folder / "env_mach_pes.xml").write_text(
        '<file><entry id="NTASKS"><values><value compclass="ATM">512</value></values></entry>'
        '<entry id="NTHRDS"><values><value compclass="ATM">1</value></values></entry></file>'
    )
    require_only(folder, "node", "512 ranks for 384 columns")
    (folder / "env_mach_pes.xml").unlink()
    edit(folder, "climlink_threads = 1", "climlink_threads = 4")
    require_only(folder, "node", "climlink_threads is 4: with 8 ranks per node more than 8 cores")


def test_devices(make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The torch of the machine that runs the tests may be one for CPUs.
    (tmp_path / "build-version").write_text("99.0.0+cu128\n")
    monkeypatch.setenv("Torch_ROOT", str(tmp_path))
    folder = make_case("pm-gpu")
    assert check_case(folder).findings == ()
    write_env_run(folder, MAX_MPITASKS_PER_NODE=6, NTASKS_ATM=6)
    require_only(folder, "device", "6 ranks share 4 GPUs per node unevenly")
    shutil.rmtree(folder)
    folder = make_case()
    edit(folder, "climlink_device = 'auto'", "climlink_device = 'cuda'")
    require_only(folder, "device", "workstation has no GPU")


def test_too_little_spin_up_and_other_levels(
    make_case: MakeCase, packages: dict[str, EmulatorPackage]
) -> None:
    folder = make_case()
    lagged = packages["host_v2_q"].manifest.model_copy(
        update={"inputs": variable_set("host_v4_q").layout()}
    )
    edit(folder, "inputlength = 557", "inputlength = 1525")
    edit(folder, "cb_nn_var_combo = 'v2'", "cb_nn_var_combo = 'v4'")
    assert check_against_manifest(read_settings(folder), lagged) == []
    edit(folder, "cb_spinup_step = 5", "cb_spinup_step = 1")
    (finding,) = check_against_manifest(read_settings(folder), lagged)
    assert (
        "cb_spinup_step is 1, but the lagged inputs of host_v4_q exist after 2 steps"
        in finding.problem
    )
    edit(folder, "cb_spinup_step = 1", "cb_spinup_step = 2")
    other = lagged.model_copy(update={"dims": {"level": 72}})
    (finding,) = check_against_manifest(read_settings(folder), other)
    assert finding.problem == "the package has 72 levels, the case 60"


def test_levels_that_are_remapped(
    make_case: MakeCase, packages: dict[str, EmulatorPackage], master: Path
) -> None:
    other = packages["host_v2_q"].manifest.model_copy(update={"dims": {"level": 72}})
    folder = make_case()
    (finding,) = check_against_manifest(read_settings(folder), other)
    assert "set climlink_vertical_remap" in finding.remedy
    edit(folder, "inputlength", "climlink_vertical_remap = 'conservative'\n  inputlength")
    assert check_against_manifest(read_settings(folder), other) == []
    without = other.model_copy(update={"hybrid": None, "imported": IMPORTED})
    found = check_against_manifest(read_settings(folder), without)
    assert [f.subject for f in found] == ["package", "namelist"]
    assert "the package states no grid" in found[0].problem
    assert "not those it is remapped to" in found[1].problem
    entries = {"climlink_vertical_remap": "conservative"}
    emulator = {"package": str(packages["host_v2_q"].path), "entries": entries}
    shutil.rmtree(folder)
    folder = make_case(level_count=72, emulator=emulator)  # a case of a model with other levels
    assert "climlink_vertical_remap = 'conservative'" in (folder / "user_nl_eam").read_text()
    shutil.rmtree(folder)
    with pytest.raises(E3SMError, match=r"has 60 levels, the case 72: .*climlink_vertical_remap"):
        make_case(level_count=72)


def test_the_water_of_the_globe_needs_all_chunks_and_all_columns(
    make_case: MakeCase, packages: dict[str, EmulatorPackage], tmp_path: Path
) -> None:
    package = packages["host_v2_q"]
    entries = {"climlink_water_fixer": "precipitation"}
    folder = make_case(emulator={"package": str(package.path), "entries": entries})
    assert "'NN_FIXER_WATER'" in (folder / "user_nl_eam").read_text(encoding="utf-8")
    settings = read_settings(folder)
    assert settings.fork_driver
    (finding,) = check_against_manifest(settings, package.manifest)
    assert "the fork's driver calls chunk by chunk" in finding.problem
    all_chunks = replace(settings, fork_driver=False)
    assert check_against_manifest(all_chunks, package.manifest) == []
    ocean = settings.case.model_copy(update={"ocean_only": True})
    (finding,) = check_against_manifest(replace(all_chunks, case=ocean), package.manifest)
    assert "over ocean alone" in finding.problem
    edit(folder, "'precipitation'", "'none'")
    found = {f.problem.split(",")[0] for f in check_case(folder).findings}
    assert found == {"fincl1 names NN_FIXER_WATER", "fincl2 names NN_FIXER_WATER"}


def test_ranks_share_a_network_where_all_chunks_run_at_once(
    make_case: MakeCase, packages: dict[str, EmulatorPackage]
) -> None:
    package = packages["host_v2_q"]
    folder = make_case(
        emulator={"package": str(package.path), "entries": {"climlink_group_size": 4}}
    )
    assert "climlink_group_size = 4" in (folder / "user_nl_eam").read_text(encoding="utf-8")
    settings = read_settings(folder)
    (finding,) = check_against_manifest(settings, package.manifest)
    assert "the fork's driver calls chunk by chunk" in finding.problem
    assert check_against_manifest(replace(settings, fork_driver=False), package.manifest) == []
    edit(folder, "climlink_group_size = 4", "climlink_group_size = 1")
    assert check_against_manifest(read_settings(folder), package.manifest) == []


def test_what_a_range_policy_is_used_for_is_on_the_tapes(
    make_case: MakeCase, export_untrained: Callable[..., EmulatorPackage], tmp_path: Path
) -> None:
    clipping = export_untrained("host_v2_q", tmp_path / "clipping.pt", more=["input_clip"])
    folder = make_case(emulator={"package": str(clipping.path)})
    named = re.findall(r"'(NN_RANGE_[A-Z]+)'", (folder / "user_nl_eam").read_text(encoding="utf-8"))
    fields = {"NN_RANGE_HEAT", "NN_RANGE_MASS", "NN_RANGE_CLIPPED"}
    assert set(named) == fields
    settings = read_settings(folder)
    assert check_tapes(settings, clipping.manifest) == []
    settings.emulator["climlink_constraints_off"] = ["input_clip"]  # then nobody registers them
    found = check_tapes(settings, clipping.manifest)
    assert {f.problem.split(",")[0].split()[-1] for f in found} == fields
    shutil.rmtree(folder)
    entries = {"climlink_constraints_off": ["input_clip"]}
    folder = make_case(emulator={"package": str(clipping.path), "entries": entries})
    assert "NN_RANGE" not in (folder / "user_nl_eam").read_text(encoding="utf-8")


def test_a_package_with_memory_is_found(
    make_case: MakeCase,
    packages: dict[str, EmulatorPackage],
) -> None:
    carried = [CarriedPair(output="memory_next", input="memory")]
    manifest = packages["host_v2_q"].manifest.model_copy(update={"carried": carried})
    (finding,) = check_against_manifest(read_settings(make_case()), manifest)
    assert "carries memory_next from step to step, which E3SM's adapter" in finding.problem


def test_variables_of_a_reference_folder_are_resolved(make_case: MakeCase, tmp_path: Path) -> None:
    start = {
        "type": "hybrid",
        "ref_case": "ref",
        "ref_date": "0002-12-30",
        "ref_directory": "$DIN_LOC_ROOT/r",
    }
    folder = make_case(start=start)
    assert check_case(folder).findings == ()  # only CIME's own case knows the folder
    write_env_run(folder, DIN_LOC_ROOT=tmp_path / "inputdata", RUN_REFDIR="$DIN_LOC_ROOT/r")
    require_only(folder, "restart", f"RUN_REFDIR {tmp_path}/inputdata/r is no folder")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "'NN_ptend_t',",
            "'NN_ptend_q',",
            "fincl[12] names NN_ptend_q, which nobody registers .*did you mean",
        ),
        ("'DTPHYS',", "'DTPHYSCONF:A',", "fincl[12] names DTPHYSCONF, which nobody registers"),
        (
            "'DTPHYS',",
            "'DVPHYS',",
            "fincl[12] names DVPHYS, which nobody registers for this package and driver",
        ),
        ("'DTPHYS',", "'TROP_IND',", "fincl[12] names TROP_IND"),
    ],
)
def test_tapes_name_only_fields_that_somebody_registers(
    make_case: MakeCase, old: str, new: str, problem: str
) -> None:
    folder = make_case()
    edit(folder, old, new)
    findings = check_case(folder).findings
    assert [f.subject for f in findings] == [
        "history",
        "history",
    ]  # on the monthly and the daily tape
    assert all(re.search(problem, f.problem) for f in findings), findings


def test_tapes_without_the_adapters_history(make_case: MakeCase) -> None:
    folder = make_case(history=[{"every": "day", "fields": ["T"]}])
    edit(folder, "inputlength", "climlink_history = .false.\n  inputlength")
    names = {f.problem.split()[2].rstrip(",") for f in check_case(folder).findings}
    assert "NN_ptend_t" in names
    assert "DTPHYS" not in names  # the fork's own


def test_libraries(make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_case()
    monkeypatch.setenv("climlink_ROOT", str(tmp_path))
    problems = [f.problem for f in check_case(folder).findings]
    assert problems == [
        f"no libclimlink in {tmp_path}/lib",
        f"no climlinkConfig.cmake in {tmp_path}/lib",
    ]
    monkeypatch.delenv("climlink_ROOT")
    (tmp_path / "build-version").write_text("2.4.1+cpu\n")
    monkeypatch.setenv("Torch_ROOT", str(tmp_path))
    require_only(
        folder, "library", r"exported with torch 2\.\d+\.\d+\S*, libtorch in .* is 2\.4\.1\+cpu"
    )
    (tmp_path / "build-version").write_text("99.0.0\n")
    assert check_case(folder).findings == ()


def test_a_libtorch_without_cuda_on_a_gpu_machine(
    make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "build-version").write_text("99.0.0+cpu\n")
    monkeypatch.setenv("Torch_ROOT", str(tmp_path))
    require_only(
        make_case("pm-gpu"), "library", r"libtorch in .* is 99\.0\.0\+cpu, which has no CUDA"
    )


def test_the_adapter_must_be_in_the_case(make_case: MakeCase) -> None:
    folder = make_case()
    (folder / "SourceMods/src.eam/mmf_nn_emulator.F90").unlink()
    require_only(folder, "build", "without climlink's adapter")


def test_the_flag_and_the_cmake_line_must_be_in_the_case(make_case: MakeCase) -> None:
    folder = make_case()
    write_env_run(folder, CAM_CONFIG_OPTS="-nlev 60 -cppdefs ' -DMMF_NN_EMULATORDEBUG '")
    require_only(folder, "build", "CAM_CONFIG_OPTS has no -DMMF_NN_EMULATOR")
    write_env_run(folder, CAM_CONFIG_OPTS="-nlev 72 -cppdefs ' -DMMF_NN_EMULATOR '")
    require_only(folder, "package", "the package has 60 levels, the case 72")
    write_env_run(folder, CAM_CONFIG_OPTS="-nlev 60 -cppdefs ' -DMMF_NN_EMULATOR '")
    (folder / "cmake_macros").mkdir()
    require_only(folder, "build", r"does not include climlink\.cmake")
    shutil.copy(folder / "climlink.cmake", folder / "cmake_macros")
    (folder / "cmake_macros/universal.cmake").write_text(
        'include("${CMAKE_CURRENT_LIST_DIR}/climlink.cmake")\n'
    )
    assert check_case(folder).findings == ()


def test_a_reference_case_has_no_emulator_entries(make_case: MakeCase) -> None:
    folder = make_case(emulator=None)
    assert check_case(folder).findings == ()
    with (folder / "user_nl_eam").open("a") as file:
        file.write("cb_spinup_step = 5\n")
    require_only(
        folder, "namelist", "this case has no emulator, but user_nl_eam sets cb_spinup_step"
    )


def test_loose_lines_and_groups_are_both_read(tmp_path: Path) -> None:
    path = tmp_path / "user_nl_eam"
    path.write_text(
        "! a comment\nnhtfrq = 0, -24\ncb_spinup_step = 7\n&mmf_nn_emulator_nl\n  typo = 1\n/\n "
        "climlink_threads = 2\n"
    )
    emulator, other = read_user_namelist(path)
    assert emulator == {"cb_spinup_step": 7, "typo": 1, "climlink_threads": 2}
    assert other == {"nhtfrq": [0, -24]}


def test_a_namelist_in_latin_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "user_nl_eam"
    path.write_bytes("! réglé par Zoë\ncb_spinup_step = 7\n".encode("latin-1"))
    assert read_user_namelist(path) == ({"cb_spinup_step": 7}, {})


def test_what_is_no_case_is_said(tmp_path: Path, make_case: MakeCase) -> None:
    with pytest.raises(
        E3SMError,
        match=r"expected a case made by `climlink e3sm case`, found no climlink_case\.json",
    ):
        check_case(tmp_path)
    folder = make_case()
    (folder / "climlink_case.json").write_text('{"case": {}}')
    with pytest.raises(E3SMError, match="not a record of this climlink"):
        check_case(folder)
    folder = folder.rename(tmp_path / "second")
    (folder / "climlink_case.json").unlink()
    with pytest.raises(E3SMError, match="found no"):
        check_case(folder)


def test_a_namelist_that_cannot_be_read(make_case: MakeCase) -> None:
    folder = make_case()
    (folder / "user_nl_eam").unlink()
    with pytest.raises(E3SMError, match="expected the namelist of a case"):
        check_case(folder)
