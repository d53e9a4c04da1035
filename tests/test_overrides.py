"""Constraints switched off for a run of a real package, by every route; the oracle is an emulator
that was built without them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch

from climlink.installation import executable
from climlink.mpi import mpi_command, mpi_environment
from climlink.online.aquaplanet import AquaplanetConfig, namelist_groups, run_aquaplanet
from climlink.online.replay import ReplayConfig, run_replay
from climlink.packages.constraint_switches import check_constraints_off
from climlink.packages.export import eager_emulator
from climlink.packages.read import EmulatorPackage, FloatRows, PackageError
from climlink.runtime import Emulator, EmulatorError
from climlink.wrappers.wrapped_emulator import WrappedEmulator

SURFACE = ["non_negative_surface", "snow_within_precipitation", "night", "net_shortwave_closure"]
NEEDED = "liquid_ice_partition"


def built_without(package: EmulatorPackage, names: list[str]) -> WrappedEmulator:
    """Return the package's emulator with a contract that does not list these constraints."""
    whole = eager_emulator(package)
    contract = whole.contract.model_copy(
        update={"constraints": [c for c in whole.contract.constraints if c.name not in names]}
    )
    bare = WrappedEmulator(contract, whole.network)
    kept = [k for k, c in enumerate(whole.contract.constraints) if c.name not in names]
    moved = {f"constraints.rules.{k}.": f"constraints.rules.{i}." for i, k in enumerate(kept)}
    state = {}
    for key, value in whole.state_dict().items():
        rule = ".".join(key.split(".")[:3]) + "."
        if not key.startswith("constraints.rules.") or rule in moved:
            state[key.replace(rule, moved.get(rule, rule), 1)] = value
    bare.load_state_dict(state)
    return bare.eval()


def without(package: EmulatorPackage, names: list[str], x: FloatRows) -> FloatRows:
    """Return what such an emulator gives for rows [column, n_input]; their number is a multiple of
    16, as in the Runtime.
    """
    with torch.no_grad():
        result: FloatRows = built_without(package, names)(torch.from_numpy(x)).numpy()
    return result


@pytest.fixture(scope="module")
def columns(unet_package: EmulatorPackage) -> FloatRows:
    """Return 32 host rows; half of them at night."""
    x = np.resize(unet_package.golden_inputs, (32, unet_package.manifest.n_input)).astype(
        np.float32
    )
    sun = next(v.offset for v in unet_package.manifest.inputs.variables if v.name == "pbuf_COSZRS")
    x[::2, sun] = 0.0
    return x


def test_runtime_without_a_constraint_is_the_graph_without_it(
    unet_package: EmulatorPackage, columns: FloatRows
) -> None:
    assert unet_package.manifest.constraints is not None
    names = [c.name for c in unet_package.manifest.constraints if c.name != NEEDED]
    whole = Emulator(unet_package.path)
    assert whole.constraints_off == []
    on = whole.run_packed(columns)
    changed = set()
    for off in ([n] for n in names), [SURFACE], [names]:
        for chosen in off:
            emulator = Emulator(unet_package.path, constraints_off=chosen[::-1])
            got, expected = emulator.run_packed(columns), without(unet_package, chosen, columns)
            assert np.array_equal(got, expected), chosen
            assert emulator.constraints_off == chosen
            assert emulator.golden_difference == whole.golden_difference
            if not np.array_equal(got, on):
                changed.add(",".join(chosen))
    assert {
        "prune",
        "positivity",
        "night",
        "non_negative_surface",
        "net_shortwave_closure",
        ",".join(SURFACE),
    } <= changed


def test_c_and_fortran_routes(
    unet_package: EmulatorPackage, columns: FloatRows, tmp_path: Path
) -> None:
    off = ["positivity", "night"]
    expected = without(unet_package, off, columns)
    columns.tofile(tmp_path / "x.f32")
    files = [
        str(unet_package.path),
        str(tmp_path / "x.f32"),
        str(len(columns)),
        str(tmp_path / "y.f32"),
    ]
    fortran = [str(executable("climlink-fortran-route")), *files, "5", ",".join(off)]
    for command in (
        [str(executable("climlink-c-route")), *files, ", ".join(off)],
        mpi_command(2, fortran),
    ):
        subprocess.run(
            command, check=True, env=mpi_environment(1), capture_output=True, timeout=300
        )
        got = np.fromfile(tmp_path / "y.f32", dtype=np.float32).reshape(expected.shape)
        (tmp_path / "y.f32").unlink()
        assert np.array_equal(got, expected), command


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["surface"], "non_negative_surface"),
        (["nihgt"], "(?s)nihgt.*night.*prune, liquid_ice_partition"),
        (["night", "night"], "2 times"),
        ([NEEDED], "ptend_q0002, ptend_q0003 would not exist without it"),
        (["output_mask"], "output_mask"),
    ],
)
def test_refusals_of_the_runtime_and_before_a_job(
    linear_package: EmulatorPackage, names: list[str], message: str
) -> None:
    with pytest.raises(EmulatorError, match=message) as refused:
        Emulator(linear_package.path, constraints_off=names)
    assert refused.value.status == "argument"
    with pytest.raises(PackageError, match=message):
        check_constraints_off(linear_package, names)


def test_a_graph_of_before_there_were_switches(
    export_untrained: Callable[..., EmulatorPackage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same constraints without a switch: the package runs as ever, and says why it cannot leave
    one out.
    """
    from climlink.wrappers.constraints import PhysicalConstraint

    monkeypatch.setattr(PhysicalConstraint, "__setattr__", _drop_switches, raising=False)
    monkeypatch.setattr(
        "climlink.wrappers.constraints.ConstraintSequence.forward", _Sequence.forward
    )
    monkeypatch.setattr(
        "climlink.wrappers.constraints.ConstraintSequence.changes", _Sequence.changes
    )
    old = export_untrained("host_v2_q", tmp_path / "old.pt")
    monkeypatch.undo()
    assert Emulator(old.path).constraints_off == []
    with pytest.raises(EmulatorError, match=r"no switch for it.*Export the package again"):
        Emulator(old.path, constraints_off=["night"])
    with pytest.raises(PackageError, match="no switch for 'night'"):
        check_constraints_off(old, ["night"])


def _drop_switches(self: torch.nn.Module, name: str, value: object) -> None:
    if name not in ("enabled", "makes"):
        torch.nn.Module.__setattr__(self, name, value)


class _Sequence(torch.nn.Module):
    """The methods of ConstraintSequence without switches; scripting needs their names."""

    def forward(
        self, state: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        result: dict[str, torch.Tensor] = {}
        for name, value in outputs.items():
            result[name] = value
        for rule in self.rules:
            for name, value in rule(state, result).items():
                result[name] = value
        return result

    def changes(
        self, state: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        return self.forward(state, outputs)


def test_replay_records_what_it_left_out(
    linear_package: EmulatorPackage, synthetic_dir: Path, tmp_path: Path
) -> None:
    """Shortwave fluxes are negative in the files of a run without the surface rules, and only
    there.
    """
    lowest = {}
    for off in ([], SURFACE[::-1]):
        case = {
            "host": "replay",
            "package": linear_package.path,
            "data": synthetic_dir,
            "ranks": 2,
            "constraints_off": tuple(off),
        }
        run = run_replay(
            ReplayConfig.model_validate({**case, "output": tmp_path / f"run{len(off)}"})
        )
        record = json.loads((run.folder / "run.json").read_text())
        assert record["case"]["constraints_off"] == off
        with netCDF4.Dataset(run.files[0]) as file:
            assert getattr(file, "climlink_constraints_off", "") == ",".join(off[::-1])
            lowest[len(off)] = float(file["cam_out_SOLS"][:].min())
    assert lowest[0] >= 0.0 > lowest[4]


def test_embedded_model_runs_without_constraints_and_says_so(
    linear_package: EmulatorPackage, tmp_path: Path
) -> None:
    case = {"host": "aquaplanet", "name": "case", "days": 0.25, "output": tmp_path / "run"}
    emulator = {
        "package": linear_package.path,
        "mode": "shadow",
        "constraints_off": ["night", "positivity"],
        "compiled": "a.pt2",
    }
    run = run_aquaplanet(AquaplanetConfig.model_validate({**case, "emulator": emulator}))
    assert run.status == "finished"
    record = json.loads((run.folder / "run.json").read_text())
    assert record["case"]["emulator"]["constraints_off"] == ["night", "positivity"]
    log = (run.folder / "log.txt").read_text()
    assert "constraints off: positivity,night" in log
    assert "torchscript runs: " in log
    assert "a.pt2 does not run here: it is native code" in log
    bad = AquaplanetConfig.model_validate(
        {
            **case,
            "output": tmp_path / "bad",
            "emulator": {**emulator, "constraints_off": ["surface"]},
        }
    )
    with pytest.raises(PackageError, match="no constraint 'surface'"):
        run_aquaplanet(bad)
    assert not (tmp_path / "bad").exists()
    assert namelist_groups(bad, linear_package)["emulator"]["constraints_off"] == ("surface",)
