"""Training on sets of one's own: the contract is theirs, the loss knows their outputs, and what
does not fit is told first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from climlink.config import ConfigError, parse_config
from climlink.data.store import ColumnStore
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import RunResult, train
from climlink.wrappers.errors import ContractError
from climlink.wrappers.variables import variable

OWN = """
variables:
  soil_t: {units: K, dims: [level]}
sets:
  reads: [pbuf_SOLIN, state_u, "*moist"]
  moist: ["*dry", state_q0001, state_q0002, state_q0003]
  dry: [state_t, state_ps]
  sees: [state_rh, state_u, state_t@step, pbuf_SOLIN]
  writes: [cam_out_FLWDS, ptend_t, ptend_q0001, ptend_q0002, ptend_q0003]
  absent: [state_t, soil_t]
  shortwave: [cam_out_NETSW, ptend_t]
"""
SETS = {
    "variables": "own.yaml",
    "input_set": "reads",
    "output_set": "writes",
    "network_input_set": "sees",
    "network_output_set": "writes",
}


@pytest.fixture
def run(
    synthetic_store: ColumnStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunResult]:
    """Return a function that trains a linear network for one epoch on sets of own.yaml, with some
    keys replaced.
    """
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(OWN, encoding="utf-8")

    def trained(*, resume: bool = False, **fields: Any) -> RunResult:
        base = {
            "name": "own",
            "store": synthetic_store.path,
            "epochs": 1,
            "device": "cpu",
            "threads": 1,
            "architecture": {"name": "linear"},
        }
        config = TrainingConfig.model_validate(
            {**base, **SETS, "constraints": [{"name": "positivity"}], **fields}
        )
        return train(config, progress=False, resume=resume)

    return trained


def test_a_run_carries_its_sets_whole(
    run: Callable[..., RunResult], synthetic_store: ColumnStore
) -> None:
    result = run(loss={"host_outputs": ["cam_out_FLWDS"], "weight_of": {"ptend_t": 2.0}})
    Path("own.yaml").unlink()
    trained = load_checkpoint(result.directory)
    contract = trained.contract
    assert contract.inputs.names == (
        "pbuf_SOLIN",
        "state_u",
        "state_t",
        "state_ps",
        "state_q0001",
        "state_q0002",
        "state_q0003",
    )
    assert contract.inputs["state_t"] == variable("state_t")
    assert contract.network_inputs.names == ("state_rh", "state_u", "state_t@step", "pbuf_SOLIN")
    x = torch.from_numpy(synthetic_store.pack(contract.inputs, synthetic_store.indices("test")))
    with torch.no_grad():
        y = trained.emulator(x)
        fields = trained.emulator.fields(x)
    assert y.shape == (24, 1 + 4 * 60)
    assert bool(torch.isfinite(y).all())
    t = x[:, contract.inputs.slice("state_t")].double()
    torch.testing.assert_close(
        fields[:, contract.network_inputs.slice("state_t@step")][:, 1:],
        t.diff(dim=1),
        rtol=0,
        atol=0,
    )
    # Humidity may fall by what there is within a step, and no further: the rule acts on the sets'
    # own positions.
    q = x[:, contract.inputs.slice("state_q0001")].double()
    assert bool((q + 1200.0 * y[:, contract.outputs.slice("ptend_q0001")].double() >= -1e-9).all())


def test_other_members_of_a_set_are_no_continuation(run: Callable[..., RunResult]) -> None:
    run()
    Path("own.yaml").write_text(
        OWN.replace("dry: [state_t, state_ps]", "dry: [state_ps, state_t]"), encoding="utf-8"
    )
    with pytest.raises(TrainingError, match=r"cannot resume .*: its variables, sets or grid have"):
        run(resume=True)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (
            {"input_set": "absent"},
            TrainingError,
            r"synthetic.zarr cannot serve input_set 'absent': soil_t: not in the data",
        ),
        (
            {"network_input_set": "absent"},
            ContractError,
            r"input set 'reads' neither holds 'soil_t' nor what it is derived from",
        ),
        (
            {"output_set": "mmf368"},
            ContractError,
            r"outputs \['ptend_u', .*\] of 'mmf368' come neither from network set 'writes'",
        ),
        (
            {
                "output_set": "shortwave",
                "network_output_set": "shortwave",
                "constraints": [{"name": "net_shortwave_closure"}],
            },
            ContractError,
            r"constraint 'net_shortwave_closure' needs the outputs \['cam_out_SOLS'.*\], which "
            r"neither",
        ),
        (
            {
                "input_set": "dry",
                "network_input_set": "dry",
                "network_output_set": "net308",
                "constraints": [{"name": "liquid_ice_partition"}],
            },
            ContractError,
            r"constraint 'liquid_ice_partition' cannot act here: input set 'dry' .* 'state_q0002'",
        ),
    ],
)
def test_what_the_sets_lack_is_told_before_training(
    run: Callable[..., RunResult], fields: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        run(**fields)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "input_set: redas\n",
            r"line 10: input_set: unknown variable set 'redas'; did you mean 'reads'",
        ),
        (
            "loss: {weight_of: {ptend_u: 2.0}}\n",
            r"line 11: loss.weight_of: expected outputs out of .*; ptend_u is none; did you mean",
        ),
        (
            "loss: {host_outputs: [cam_out_PRECC]}\n",
            r"line 11: loss.host_outputs: expected outputs out of cam_out_FLWDS, ptend_t, .*; "
            r"cam_out_PRECC is none",
        ),
    ],
)
def test_names_that_the_sets_lack_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(OWN, encoding="utf-8")
    lines = [f"{k}: {v}\n" for k, v in SETS.items() if k != text.split(":")[0]]
    base = "name: a\nstore: s.zarr\nepochs: 1\narchitecture: {name: linear}\nconstraints: []\n"
    with pytest.raises(ConfigError, match=message):
        parse_config(base + "".join(lines) + text, TrainingConfig, "train.yaml")
