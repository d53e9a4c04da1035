"""The runtime from Python: named arrays, bits that depend on the column alone, and refusals that
say what is wrong.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from climlink.packages.export import eager_emulator
from climlink.packages.read import EmulatorPackage
from climlink.runtime import Emulator, EmulatorError


def test_a_unet_column_has_the_same_bits_in_any_company(unet_package: EmulatorPackage) -> None:
    rows = np.resize(unet_package.golden_inputs, (70, unet_package.manifest.n_input))
    emulator = Emulator(unet_package.path, level_count=60, time_step_s=1200.0)
    together = emulator.run_packed(rows)
    assert np.abs(together).max() > 0
    for n in (1, 2, 3, 7, 8, 15, 16, 17, 33, 64, 65):
        assert np.array_equal(emulator.run_packed(np.ascontiguousarray(rows[:n])), together[:n]), n


def test_eager_script_and_runtime_agree_on_a_unet(unet_package: EmulatorPackage) -> None:
    x = torch.from_numpy(unet_package.golden_inputs)
    with torch.no_grad():
        eager = eager_emulator(unet_package)(x)
        script = unet_package.load()(x)
    assert torch.equal(eager, script)
    assert np.array_equal(script.numpy(), unet_package.golden_outputs)


def test_named_arrays_of_either_kind_and_any_stride(linear_package: EmulatorPackage) -> None:
    rows = linear_package.golden_inputs
    n = len(rows)
    emulator = Emulator(linear_package.path)
    expected = emulator.run_packed(rows)
    emulator.begin(n)
    for name, _, width, offset in emulator.inputs:
        values = rows[:, offset : offset + width].astype(np.float64)
        emulator.set(name, np.asfortranarray(values) if width > 1 else values[:, 0])
    emulator.run()
    for name, _, width, offset in emulator.outputs:
        got = np.empty((n, width) if width > 1 else (n,), dtype=np.float32)
        emulator.get(name, got)
        assert np.array_equal(got.reshape(n, width), expected[:, offset : offset + width]), name


def test_refusals_name_what_is_wrong(linear_package: EmulatorPackage) -> None:
    with pytest.raises(EmulatorError, match="level") as levels:
        Emulator(linear_package.path, level_count=72)
    assert levels.value.status == "host"
    emulator = Emulator(linear_package.path)
    emulator.begin(3)
    with pytest.raises(EmulatorError, match=r"state_t"):
        emulator.set("state_T", np.zeros((3, 60)))
    bad = np.full((3, 60), 280.0)
    bad[1, 7] = np.nan
    with pytest.raises(EmulatorError, match=r"state_t.*column 1.*") as nonfinite:
        emulator.set("state_t", bad)
    assert nonfinite.value.status == "nonfinite"
    with pytest.raises(EmulatorError, match="state_q0001") as unset:
        emulator.run()
    assert unset.value.status == "variable"
    x = linear_package.golden_inputs.copy()
    x[4, 10] = np.inf
    with pytest.raises(EmulatorError, match=r"state_t.*column 4"):
        emulator.run_packed(x)
