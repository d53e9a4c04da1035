"""The groups that the published job scripts of online_ensembling write into user_nl_eam: every
entry is known to `climlink e3sm check`, and what they say is what an imported wrapper needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from case_findings import IMPORTED, edit, require_only

from climlink.e3sm.check import check_against_manifest, check_case, check_entries_of
from climlink.e3sm.checks_of_history import check_tapes
from climlink.e3sm.settings import CaseSettings, read_settings
from climlink.packages.read import EmulatorPackage
from climlink.wrappers.manifest import Manifest
from climlink.wrappers.variable_sets import variable_set

MakeCase = Callable[..., Path]

OUTPUTS = (
    "'ptend_t', 'ptend_q0001','ptend_q0002','ptend_q0003', 'ptend_u', 'ptend_v', 'cam_out_PRECC', "
    "'cam_out_PRECSC', 'cam_out_NETSW', 'cam_out_FLWDS', 'cam_out_SOLS', 'cam_out_SOLL', "
    "'cam_out_SOLSD', 'cam_out_SOLLD' "
)


def _group(inputs: int, outputs: int, combination: str, cuda: bool = True) -> str:
    """Return the group as the scripts write it, the width of their columns included."""
    return f"""
&mmf_nn_emulator_nl
inputlength     = {inputs}
outputlength    = {outputs}
cb_nn_var_combo = '{combination}'
input_rh        = .true.
cb_torch_model  = '/models/wrapped_model.pt'
cb_spinup_step = 5
cb_partial_coupling = .false.
cb_partial_coupling_vars = {OUTPUTS}
cb_do_ramp = .false.
cb_ramp_option = 'step'
cb_ramp_factor = 1.0
cb_ramp_step_0steps = 80
cb_ramp_step_1steps = 10
cb_strato_water_constraint = .true.
cb_use_cuda = {".true." if cuda else ".false."}
/
"""


def _tape(fields: str) -> str:
    return f"""
&cam_history_nl
fincl1 = 'PRECT', 'T', 'DTPHYS', 'DQ1PHYS', 'DQ2PHYS', 'DQ3PHYS', 'DUPHYS'{fields}
avgflag_pertape = 'A'
nhtfrq = 0
mfilt  = 0
/
"""


CONFIDENCE = ", 'DTPHYSCONF', 'DQ1PHYSCONF', 'DQNPHYSCONF', 'DUPHYSCONF', 'NETSWCONF', 'FLWDSCONF'"


@pytest.fixture
def settings_of(make_case: MakeCase) -> Callable[[str], CaseSettings]:
    """Return a function that gives the settings of a case whose user_nl_eam is this text."""
    folder = make_case()

    def settings(text: str) -> CaseSettings:
        (folder / "user_nl_eam").write_text(text)
        return read_settings(folder)

    return settings


@pytest.mark.parametrize(
    ("input_set", "inputs", "combination", "confidence"),
    [
        ("host_v2_rh", 557, "v2", False),
        ("host_v2_rh", 557, "v2_conf", True),
        ("host_v6_rh", 1519, "v6", False),
    ],
)
def test_a_published_group_fits_its_imported_wrapper(
    input_set: str,
    inputs: int,
    combination: str,
    confidence: bool,
    settings_of: Callable[[str], CaseSettings],
    packages: dict[str, EmulatorPackage],
    confident: Manifest,
) -> None:
    group = _group(inputs, 676 if confidence else 368, combination)
    # The scripts for runs write their group twice, before the tapes and after them.
    settings = settings_of(group + _tape(CONFIDENCE if confidence else "") + group)
    about = confident if confidence else packages["host_v2_rh"].manifest
    manifest = about.model_copy(
        update={"inputs": variable_set(input_set).layout(), "imported": IMPORTED}
    )
    found = check_entries_of(settings) + check_against_manifest(settings, manifest)
    assert [(f.subject, f.stops) for f in found] == [("namelist", False)]
    assert "nothing is blended, as in the published job scripts" in found[0].problem
    assert check_tapes(settings, manifest) == []
    assert settings.device == "cuda"
    assert settings.applies_legacy(manifest)


def test_what_a_published_group_says_wrongly_is_found(
    settings_of: Callable[[str], CaseSettings],
    packages: dict[str, EmulatorPackage],
    confident: Manifest,
) -> None:
    plain = packages["host_v2_rh"].manifest
    found = check_against_manifest(settings_of(_group(557, 676, "v2_conf")), plain)
    said = " ".join(f.problem for f in found if f.stops)
    assert "outputlength is 676, the package needs 368" in said
    assert "cb_nn_var_combo is 'v2_conf', the package needs 'v2'" in said
    assert "cb_strato_water_constraint is part of the old post-processing, which is off" in said
    tapes = check_tapes(settings_of(_group(557, 368, "v2") + _tape(CONFIDENCE)), plain)
    assert len(tapes) == 6
    assert any("fincl1 names NETSWCONF, which nobody registers" in f.problem for f in tapes)
    assert check_tapes(settings_of(_tape(CONFIDENCE)), confident) == []


def test_the_two_entries_for_the_device_must_agree(make_case: MakeCase) -> None:
    folder = make_case()
    edit(folder, "climlink_device = 'auto'", "climlink_device = 'cpu'\n  cb_use_cuda = .true.")
    require_only(folder, "namelist", r"cb_use_cuda is \.true\., but climlink_device is 'cpu'")
    edit(folder, "climlink_device = 'cpu'", "climlink_device = 'auto'")
    said = [f.problem for f in check_case(folder).findings]
    assert "cb_use_cuda is .true., but workstation has no GPU" in said
    edit(folder, "cb_use_cuda = .true.", "cb_use_cuda = .false.")
    assert read_settings(folder).device == "cpu"
