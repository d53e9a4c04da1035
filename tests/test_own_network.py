"""Networks of one's own file, and ClimSim's own orders, from a training configuration to a
verified package.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.packages.export import eager_emulator, export_run
from climlink.packages.verify import verify
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.errors import TrainingError
from climlink.training.run import RunResult, train
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.errors import ContractError, ManifestError
from climlink.wrappers.variable_sets import variable_set
from climlink.wrappers.wrapped_emulator import WrappedEmulator

NETWORKS = '''
import torch
from torch import Tensor, nn
from climlink.architectures import ArchitectureConfiguration, RowNetwork, RowShape, \
register_architecture

class MixerConfiguration(ArchitectureConfiguration):
    """How many values lie between."""

    width: int = 16

@register_architecture("mixer", configuration=MixerConfiguration)
class Mixer(RowNetwork):
    """Two layers on whole rows."""

    def __init__(self, shape: RowShape, configuration: MixerConfiguration) -> None:
        super().__init__()
        width = configuration.width
        self.layers = nn.Sequential(nn.Linear(shape.n_input, width), nn.SiLU(), \
nn.Linear(width, shape.n_output))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and no confidence."""
        return self.layers(rows), rows[:, :0]
'''
MIXER = {"name": "mixer", "file": "networks.py", "configuration": {"width": 8}}


@pytest.fixture
def run(
    synthetic_store: ColumnStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunResult]:
    """Return a function that trains for one epoch, in an empty directory, with some keys
    replaced.
    """
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS, encoding="utf-8")

    def trained(*, resume: bool = False, **fields: Any) -> RunResult:
        base = {
            "name": "own",
            "store": synthetic_store.path,
            "epochs": 1,
            "device": "cpu",
            "threads": 1,
            "architecture": {"name": "linear"},
        }
        return train(
            TrainingConfig.model_validate({**base, **fields}), progress=False, resume=resume
        )

    return trained


def test_a_network_of_a_file_on_kaggles_inputs_goes_from_training_to_a_verified_package(
    run: Callable[..., RunResult],
) -> None:
    kaggle = {"input_set": "climsim_v2_kaggle", "network_input_set": "climsim_v2_kaggle"}
    folder = run(
        architecture=MIXER, **kaggle, network_output_set="mmf368", constraints=[]
    ).directory
    origin = load_checkpoint(folder).record.architecture_origin
    assert (origin.kind, origin.where) == ("file", str(Path("networks.py").absolute()))
    Path("networks.py").unlink()
    package = export_run(folder, "wrap_model.pt")
    assert package.manifest.architecture is not None
    assert package.manifest.architecture.configuration == {"width": 8}
    assert (package.manifest.n_input, package.manifest.n_output) == (556, 368)
    assert "cam_in_SNOWHICE" not in [v.name for v in package.manifest.inputs.variables]
    result = verify(package)
    assert result.passed, result.as_dict()
    told = "made from the file networks.py, which is not in a package"
    assert {r.route: told in (r.note or "") for r in result.routes} == {
        r.route: r.route == "python_eager" for r in result.routes
    }
    assert told in result.as_dict()["routes"]["python_eager"]["note"]
    shown = " ".join(
        CliRunner().invoke(app, ["inspect", "wrap_model.pt"]).output.replace("│", " ").split()
    )
    assert "as its graph only: its network 'mixer' was made from the file networks.py" in shown
    assert "permuted" not in shown
    with pytest.raises(
        ManifestError, match=f"cannot be rebuilt from Python: its network 'mixer' was {told}"
    ):
        eager_emulator(package)


def test_a_file_that_is_not_what_was_trained_is_refused(run: Callable[..., RunResult]) -> None:
    folder = run(architecture=MIXER).directory
    changed = NETWORKS.replace("nn.SiLU", "nn.ReLU")
    Path("networks.py").write_text(changed, encoding="utf-8")
    assert load_checkpoint(folder).record.architecture == "mixer"  # the run has its own copy
    with pytest.raises(
        TrainingError,
        match=r"cannot resume .*: \S*networks.py is not what it was when the run began",
    ):
        run(architecture=MIXER, resume=True)
    (folder / "networks.py").write_text(changed, encoding="utf-8")
    with pytest.raises(
        TrainingError,
        match=r"made from networks.py \(SHA-256 .*as it was then; put it back, or train again",
    ):
        export_run(folder, "wrap_model.pt")
    Path("networks.py").write_text(NETWORKS, encoding="utf-8")
    assert load_checkpoint(folder).record.architecture == "mixer"  # the original will do


def test_a_run_goes_on_from_the_same_file_elsewhere(run: Callable[..., RunResult]) -> None:
    run(architecture=MIXER)
    Path("moved").mkdir()
    Path("networks.py").rename("moved/networks.py")
    result = run(architecture={**MIXER, "file": "moved/networks.py"}, resume=True)
    assert result.epochs == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "return self.layers(rows), rows[:, :0]",
            "return self.layers(rows)[:, 1:], rows[:, :0]",
            r"rows of shape \[2, 307\] for 2 rows, expected \[2, 308\]",
        ),
        (
            "self.layers(rows), rows",
            "torch.stack([r for r in self.layers(rows) if len(r)]), rows",
            "does not script: .*networks.py, line 22",
        ),
    ],
)
def test_a_faulty_network_is_refused_before_training(
    run: Callable[..., RunResult], old: str, new: str, message: str
) -> None:
    assert old in NETWORKS
    Path("networks.py").write_text(NETWORKS.replace(old, new), encoding="utf-8")
    with pytest.raises(ContractError, match=message):
        run(architecture=MIXER)
    assert not Path("runs").exists()


def test_an_architecture_of_this_process_is_told_where_it_came_from(
    run: Callable[..., RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from climlink.architectures import register_architecture, registry
    from climlink.architectures.linear import Linear, LinearConfiguration

    monkeypatch.setattr(registry, "_REGISTERED", {})
    register_architecture("here", Linear, LinearConfiguration)
    folder = run(architecture={"name": "here"}).directory
    assert load_checkpoint(folder).record.architecture == "here"
    monkeypatch.setattr(registry, "_REGISTERED", {})
    with pytest.raises(
        TrainingError,
        match=r"unknown architecture 'here'.*came from module "
        r"climlink.architectures.linear.Linear: import",
    ):
        load_checkpoint(folder)


def test_a_network_in_climsims_order_behind_a_host_in_another(
    run: Callable[..., RunResult], synthetic_store: ColumnStore
) -> None:
    folder = run(input_set="host_v2_q", network_input_set="climsim_v2").directory
    emulator = load_checkpoint(folder).emulator
    times = synthetic_store.indices("test")
    host, climsim = variable_set("host_v2_q"), variable_set("climsim_v2")
    x = synthetic_store.pack(host, times)
    ordered = np.concatenate([x[:, host.slice(name)] for name in climsim.names], axis=1)
    with torch.no_grad():
        normalized = emulator.normalization(torch.from_numpy(ordered))
        rows, _ = emulator.network_rows(normalized)
        assert torch.equal(emulator.normalized_forward(torch.from_numpy(x))[0], rows)
    # The same network behind a host that sends ClimSim's order.
    contract = EmulatorContract.of(
        inputs=climsim,
        outputs=emulator.contract.outputs,
        network_inputs=climsim,
        network_outputs=emulator.contract.network_outputs,
        hybrid=synthetic_store.hybrid,
        time_step_s=1200.0,
        pruned_levels=15,
        constraints=emulator.contract.constraints,
    )
    other = WrappedEmulator(contract, emulator.network.network).eval()
    other.normalization.load_state_dict(emulator.normalization.state_dict())
    with torch.no_grad():
        assert torch.equal(other(torch.from_numpy(ordered)), emulator(torch.from_numpy(x)))
        assert not torch.equal(other(torch.from_numpy(x)), emulator(torch.from_numpy(x)))
    export_run(folder, "wrap_model.pt")
    shown = " ".join(
        CliRunner().invoke(app, ["inspect", "wrap_model.pt"]).output.replace("│", " ").split()
    )
    assert (
        "host rows: host_v2_q order; the network reads climsim_v2 order: permuted in the graph"
        in shown
    )
