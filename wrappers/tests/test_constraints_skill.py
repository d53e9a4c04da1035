"""Outputs without skill answered with the training mean, and cloud that the physics always takes
away.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch

from climlink.wrappers.constraints import ConstraintContext, ConstraintSequence, build_constraint
from climlink.wrappers.errors import ContractError
from climlink.wrappers.manifest import ConstraintEntry
from climlink.wrappers.variable_sets import variable_set

L = 30


@pytest.fixture(scope="module")
def context(make) -> ConstraintContext:
    return ConstraintContext(make.hybrid(L), 1200.0, 5, L)


def rule(context: ConstraintContext, **parameters):
    entry = ConstraintEntry(name="unskilled_to_mean", parameters=parameters)
    return build_constraint(entry, context)


def test_named_levels_hold_the_training_mean_and_no_others(context) -> None:
    rng = np.random.default_rng(0)
    outputs = {
        "ptend_u": torch.from_numpy(rng.normal(size=(4, L))),
        "ptend_qn": torch.from_numpy(rng.normal(size=(4, L))),
        "cam_out_PRECSC": torch.from_numpy(rng.normal(size=(4, 1))),
        "ptend_t": torch.from_numpy(rng.normal(size=(4, L))),
    }
    kept = {n: v.clone() for n, v in outputs.items()}
    made = rule(
        context,
        levels={"ptend_u": [7, 0, L - 1], "cam_out_PRECSC": [0], "ptend_qn": []},
        means={"ptend_u": [1.5e-5, -2.5, 0.0], "cam_out_PRECSC": [3e-9], "ptend_qn": []},
    )
    got = made({}, outputs)
    assert list(got) == ["ptend_u", "cam_out_PRECSC", "ptend_qn"]
    expected = kept["ptend_u"].clone()
    expected[:, 7], expected[:, 0], expected[:, L - 1] = 1.5e-5, -2.5, 0.0
    assert torch.equal(got["ptend_u"], expected)
    assert got["cam_out_PRECSC"].tolist() == [[3e-9]] * 4
    assert torch.equal(got["ptend_qn"], kept["ptend_qn"])
    assert all(torch.equal(outputs[n], kept[n]) for n in kept), "arguments are not changed"
    scripted = torch.jit.script(made)({}, outputs)
    assert all(torch.equal(scripted[n], got[n]) for n in got)


def test_it_comes_before_every_other_rule(context, make) -> None:
    names = variable_set("net308").names
    skill, prune = (
        ConstraintEntry(
            name="unskilled_to_mean",
            parameters={"levels": {"ptend_v": [2]}, "means": {"ptend_v": [1.0]}},
        ),
        ConstraintEntry(name="prune"),
    )
    with pytest.raises(ContractError, match=r"order \['unskilled_to_mean', 'prune'\]"):
        ConstraintSequence([prune, skill], context, names)
    sequence = ConstraintSequence([skill, prune], context, names)
    outputs = {n: torch.ones(2, L, dtype=torch.float64) for n in names if n.startswith("ptend")}
    assert not sequence({}, outputs)["ptend_v"][:, :5].any(), "a pruned level stays pruned"
    with pytest.raises(ContractError, match=r"needs the outputs \['ptend_v'\]"):
        ConstraintSequence([skill], context, ["ptend_t"])


@pytest.mark.parametrize(
    ("levels", "means", "message"),
    [
        (
            {"ptend_u": [1, 2]},
            {"ptend_u": [0.0]},
            r"one mean per level.*'ptend_u': 2.*'ptend_u': 1",
        ),
        ({"ptend_u": [1]}, {}, "one mean per level"),
        ({"ptend_u": [1, 1]}, {"ptend_u": [0.0, 1.0]}, "must be different"),
        ({"ptend_u": [-1]}, {"ptend_u": [0.0]}, "at least 0"),
        ({"ptend_u": [L]}, {"ptend_u": [0.0]}, rf"levels \[{L}\] are outside 0..{L - 1}"),
        ({"cam_out_PRECC": [1]}, {"cam_out_PRECC": [0.0]}, r"levels \[1\] are outside 0..0"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(context, levels, means, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        rule(context, levels=levels, means=means)


def test_liquid_that_the_physics_always_takes_away_is_removed_exactly(climsim_dir: Path) -> None:
    """On levels 12 to 27 (23 to 296 hPa) all liquid is gone after every step: -q/dt is the truth,
    to a part in 1e15 of what was there. On the levels above nothing happens to it, so there is
    nothing to remove.
    """
    levels = list(range(12, 28))
    mask = build_constraint(
        ConstraintEntry(name="output_mask", parameters={"remove": {"ptend_q0002": levels}}),
        ConstraintContext(None, 1200.0, 0, 60),
    )
    seen = 0.0
    for path in sorted(climsim_dir.glob("train/*/E3SM-MMF.mli.*.nc"))[::16]:
        with (
            netCDF4.Dataset(path) as before,
            netCDF4.Dataset(path.with_name(path.name.replace(".mli.", ".mlo."))) as after,
        ):
            q, left = (
                torch.from_numpy(np.ascontiguousarray(np.asarray(d["state_q0002"][:]).T))
                for d in (before, after)
            )
        truth = (left - q) / 1200.0
        guess = {"ptend_q0002": torch.zeros_like(truth)}
        got = mask({"state_q0002": q}, guess)["ptend_q0002"][:, levels]
        assert torch.allclose(got, truth[:, levels], rtol=1e-15, atol=1e-29)
        assert float((left[:, 28:] > 0.0).double().mean()) > 0.1
        seen = max(seen, float(q[:, levels].max()))
    assert seen > 1e-12
