"""SourceMods: which checkout is which, insertions and their refusals, the namelist's definition."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.e3sm.entries import ENTRIES, GROUP
from climlink.e3sm.errors import E3SMError
from climlink.e3sm.insertions import MARK, Insertion, insert
from climlink.e3sm.sourcemods import (
    adapter_files,
    checkout_flavor,
    extended_definition,
    source_mods,
    torch_bindings,
    write_source_mods,
)
from climlink.installation import InstallationError, shared_folder

PHYSPKG = "components/eam/src/physics/crm/physpkg.F90"
RUNTIME_OPTS = "components/eam/src/control/runtime_opts.F90"
DEFINITION = "components/eam/bld/namelist_files/namelist_definition.xml"


def test_the_fork_gets_the_adapter_and_the_missing_definitions_only(
    fork: Path, adapter: Path
) -> None:
    mods = source_mods(fork, adapter)
    assert mods.flavor == "fork"
    assert set(mods.files) == {
        "mmf_nn_emulator.F90",
        "climlink_eam_layout.F90",
        "namelist_definition.xml",
    }
    assert mods.files["mmf_nn_emulator.F90"] == (adapter / "mmf_nn_emulator.F90").read_text()
    ids = [
        e.get("id")
        for e in ElementTree.fromstring(mods.files["namelist_definition.xml"]).iter("entry")
    ]
    assert sorted(ids) == sorted([*ENTRIES, "state_debug_checks"])


def test_master_gets_call_sites_in_copies_of_its_own_files(master: Path, adapter: Path) -> None:
    before = {name: (master / name).read_text() for name in (PHYSPKG, RUNTIME_OPTS, DEFINITION)}
    mods = source_mods(master, adapter)
    assert mods.flavor == "master"
    assert {name: (master / name).read_text() for name in before} == before
    physpkg = mods.files["physpkg.F90"].splitlines()
    call = next(n for n, line in enumerate(physpkg) if "call mmf_nn_emulator_run1(" in line)
    assert "call t_stopf ('phys_timestep_init')" in [line.strip() for line in physpkg[:call]]
    assert physpkg.index("  call tphysbc1(ztodt, phys_state)") > call
    end = physpkg.index("end subroutine phys_run1")
    assert any(
        "call mmf_nn_emulator_end_run1(phys_state," in line for line in physpkg[end - 3 : end]
    )
    options = mods.files["runtime_opts.F90"]
    assert options.index("call phys_ctl_readnl(nlfilename)") < options.index(
        "call mmf_nn_emulator_readnl(nlfilename)"
    )
    for name, file in ((PHYSPKG, "physpkg.F90"), (RUNTIME_OPTS, "runtime_opts.F90")):
        assert _without_insertions(mods.files[file]) == before[name]


def test_sources_in_any_encoding_are_copied_byte_for_byte(
    master: Path, adapter: Path, tmp_path: Path
) -> None:
    path = master / PHYSPKG
    comment = "! Zoë's scheme\n".encode("latin-1")
    path.write_bytes(comment + path.read_bytes())
    folder = write_source_mods(source_mods(master, adapter), tmp_path)
    assert (folder / "physpkg.F90").read_bytes().startswith(comment)


def _without_insertions(text: str) -> str:
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        inside = inside or f"{MARK}: begin" in line
        if not inside:
            kept.append(line)
        inside = inside and f"{MARK}: end" not in line
    return "".join(kept)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            PHYSPKG,
            "call crm_physics_init",
            "call crm_init",
            "once, found it nowhere: this is not the file",
        ),
        (
            PHYSPKG,
            "  call tphysbc1",
            "  call t_stopf ('phys_timestep_init')\n  call tphysbc1",
            r"once, found it on lines \d+, \d+",
        ),
        (
            RUNTIME_OPTS,
            "module runtime_opts\n",
            f"! {MARK}\n",
            "already has insertions of climlink",
        ),
        (
            DEFINITION,
            "</namelist_definition>",
            "",
            "expected </namelist_definition> once, found it 0 times",
        ),
    ],
)
def test_a_file_that_is_not_recognized_is_not_touched(
    name: str, old: str, new: str, message: str, master: Path, adapter: Path, tmp_path: Path
) -> None:
    path = master / name
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(E3SMError, match=message):
        source_mods(master, adapter)
    result = CliRunner().invoke(
        app,
        [
            "e3sm",
            "sourcemods",
            "--e3sm-root",
            str(master),
            "-o",
            str(tmp_path / "mods"),
            "--adapter",
            str(adapter),
        ],
    )
    assert isinstance(result.exception, E3SMError)
    assert not (tmp_path / "mods").exists()


def test_insertions_of_insertions_are_refused(master: Path, adapter: Path) -> None:
    (master / PHYSPKG).write_text(source_mods(master, adapter).files["physpkg.F90"])
    assert checkout_flavor(master) == "master"
    with pytest.raises(E3SMError, match="already has insertions"):
        source_mods(master, adapter)


def test_white_space_and_case_of_an_anchor_do_not_matter_but_its_words_do() -> None:
    insertion = Insertion(before="call  A( b )", text="call c")
    assert (
        insert("  CALL a( B )\n", (insertion,), "f")
        == f"! {MARK}: begin\ncall c\n! {MARK}: end\n  CALL a( B )\n"
    )
    with pytest.raises(E3SMError, match="nowhere"):
        insert("call a(b)\n", (insertion,), "f")


def test_the_definition_is_well_formed_and_holds_type_group_and_choices() -> None:
    text = extended_definition("<namelist_definition>\n</namelist_definition>\n", "f")
    entries = {e.get("id"): e for e in ElementTree.fromstring(text).iter("entry")}
    assert set(entries) == set(ENTRIES)
    assert {e.get("group") for e in entries.values()} == {GROUP}
    assert entries["cb_partial_coupling_vars"].get("type") == "char*26(1000)"
    assert entries["climlink_device"].get("valid_values") == "cpu,cuda,xpu,auto"
    assert entries["climlink_package_digest"].get("type") == "char*64"
    assert extended_definition(text, "f") == text


def test_not_a_checkout_no_adapter_and_an_adapter_without_the_driver(
    tmp_path: Path, master: Path, fork: Path, adapter: Path
) -> None:
    with pytest.raises(
        E3SMError,
        match=r"expected a checkout of E3SM with components/eam/src/physics/crm/physpkg\.F90",
    ):
        source_mods(tmp_path / "nowhere", adapter)
    with pytest.raises(
        E3SMError,
        match=r"expected the E3SM adapter with mmf_nn_emulator\.F90, found no Fortran file",
    ):
        adapter_files(tmp_path)
    driver = adapter / "mmf_nn_emulator.F90"
    driver.write_text(driver.read_text().replace("mmf_nn_emulator_run1", "something_else"))
    with pytest.raises(E3SMError, match="the adapter has no subroutine mmf_nn_emulator_run1"):
        source_mods(master, adapter)
    driver.write_text(driver.read_text().replace("subroutine neural_net", "subroutine something"))
    with pytest.raises(
        E3SMError, match=r"no subroutine neural_net, which the ClimSim fork's driver calls"
    ):
        source_mods(fork, adapter)


def test_sources_that_are_not_installed_are_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(
        InstallationError,
        match=r"installed without its no_such_part sources \(share/climlink/no_such_part\)",
    ):
        shared_folder("no_such_part")
    monkeypatch.setattr(
        "climlink.e3sm.sourcemods.shared_folder", lambda _: shared_folder("no_such_part")
    )
    with pytest.raises(E3SMError, match="the E3SM adapter is not installed"):
        adapter_files()


def test_writing_again_is_allowed_and_overwriting_other_files_is_not(
    fork: Path, adapter: Path, tmp_path: Path
) -> None:
    mods = source_mods(fork, adapter)
    folder = write_source_mods(mods, tmp_path / "mods")
    assert write_source_mods(mods, tmp_path / "mods") == folder
    (folder / "namelist_definition.xml").write_text("mine")
    (folder / "mmf_nn_emulator.F90").unlink()
    with pytest.raises(
        E3SMError, match=r"namelist_definition\.xml: there is another file of this name"
    ):
        write_source_mods(mods, tmp_path / "mods")
    assert not (folder / "mmf_nn_emulator.F90").exists()


def test_a_libtorch_linked_through_samxx_is_named(
    fork: Path, adapter: Path, tmp_path: Path
) -> None:
    cmake = fork / "components/eam/src/physics/crm/samxx/CMakeLists.txt"
    cmake.parent.mkdir(parents=True)
    cmake.write_text("find_package(pytorch_proxy REQUIRED)\n")
    result = CliRunner().invoke(
        app,
        [
            "e3sm",
            "sourcemods",
            "--e3sm-root",
            str(fork),
            "-o",
            str(tmp_path / "m"),
            "--adapter",
            str(adapter),
        ],
    )
    assert result.exit_code == 0
    assert "links pytorch_proxy" in result.output


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("# find_package(pytorch_proxy REQUIRED)\ntarget_link_libraries(samxx yakl)\n", ()),
        ("#[[ find_package(FTorch)\n]] target_link_libraries(samxx yakl)\n", ()),
        ("target_link_libraries(samxx yakl # pytorch_proxy\n)\n", ()),
        ('set(a "# no comment")\nFIND_PACKAGE( FTorch REQUIRED )\n', ("FTorch",)),
        ("target_link_libraries(samxx\n  PUBLIC yakl FTorch::ftorch)\n", ("FTorch",)),
        (
            "target_link_libraries(samxx yakl pytorch_fort_proxy pytorch_proxy)\n",
            ("pytorch_proxy", "pytorch_fort_proxy"),
        ),
        ("target_link_libraries(other FTorch::ftorch)\n", ()),
        ("find_package(FTorchLike)\n", ()),
    ],
)
def test_what_samxx_links_is_read_as_cmake_reads_it(
    text: str, names: tuple[str, ...], fork: Path, adapter: Path
) -> None:
    cmake = fork / "components/eam/src/physics/crm/samxx/CMakeLists.txt"
    cmake.parent.mkdir(parents=True)
    cmake.write_text(text)
    assert torch_bindings(fork) == names
    notes = source_mods(fork, adapter).notes
    assert len(notes) == bool(names)
    assert all(f"{name}_ROOT=$(climlink cmake-prefix)/compat" in notes[0] for name in names)


def test_the_adapter_of_this_tree_has_what_the_call_sites_call(master: Path) -> None:
    mods = source_mods(master, Path(__file__).resolve().parents[2] / "fortran_bridge" / "e3sm")
    assert {"mmf_nn_emulator.F90", "mmf_nn_steps.F90", "physpkg.F90", "runtime_opts.F90"} <= set(
        mods.files
    )
