"""The runtime from Python: named arrays, bits that depend on the column alone, and refusals that
say what is wrong.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import climlink
from climlink.packages.export import eager_emulator
from climlink.packages.read import EmulatorPackage
from climlink.runtime import Emulator, EmulatorError, options


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


def test_defaults_have_the_type_that_the_table_says() -> None:
    types = {"text": str, "integer": int, "real": float, "logical": bool, "names": list}
    table = options()
    assert {o["name"]: o["default"] for o in table if o["set_by"] == "user"} == {
        "device": "cpu",
        "threads": 1,
        "micro_batch": 64,
        "pinned_sha256": "",
        "tuning": "",
        "compiled": "",
        "compiled_sha256": "",
        "constraints_off": [],
        "trust_code": False,
        "group_size": 1,
        "device_memory_fraction": 0.0,
        "cuda_graphs": False,
        "group_timeout_s": 600,
    }
    assert {o["name"] for o in table if o["set_by"] == "host"} == {
        "level_count",
        "time_step_s",
        "column_count",
        "local_rank",
        "language",
    }
    for option in table:
        assert type(option["default"]) is types[option["type"]], option
        assert option["help"]


def test_every_option_is_a_keyword_and_none_is_its_default(linear_package: EmulatorPackage) -> None:
    rows = linear_package.golden_inputs
    expected = Emulator(linear_package.path).run_packed(rows)
    defaults: dict[str, Any] = {o["name"]: o["default"] for o in options()}
    unset: dict[str, Any] = dict.fromkeys(defaults)
    for keywords in (defaults, unset):
        emulator = Emulator(linear_package.path, **keywords)
        assert np.array_equal(emulator.run_packed(rows), expected)
        assert (emulator.device, emulator.constraints_off) == ("cpu", [])


def test_keywords_are_taken_as_numpy_or_python_values(linear_package: EmulatorPackage) -> None:
    keywords: dict[str, Any] = {
        "level_count": np.int32(60),
        "time_step_s": np.float64(1200.0),
        "trust_code": np.bool_(True),
        "constraints_off": ("positivity", "night"),
        "pinned_sha256": linear_package.digest,
    }
    emulator = Emulator(linear_package.path, **keywords)
    assert sorted(emulator.constraints_off) == ["night", "positivity"]


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"microbatch": 64}, '"microbatch" is not an option. Near names: micro_batch'),
        ({"group_size": 2}, "option group_size is 2, but this process opens the package by itself"),
        ({"micro_batch": 1}, 'option micro_batch is "1"; expected an integer, 2 or more'),
        ({"threads": 1.5}, 'option threads is "1.5"; expected an integer'),
        ({"threads": True}, 'option threads is "True"'),
        ({"trust_code": 2}, 'option trust_code is "2"'),
        ({"time_step_s": float("nan")}, 'option time_step_s is "nan"'),
        ({"device": ""}, 'option device is ""'),
    ],
)
def test_options_that_do_not_fit_are_refused(
    linear_package: EmulatorPackage, keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(EmulatorError) as refusal:
        Emulator(linear_package.path, **keywords)
    assert words in str(refusal.value)
    assert refusal.value.status == "argument"


def test_the_stub_names_the_options_and_no_default() -> None:
    stub = ast.parse((Path(climlink.__file__).parent / "_runtime.pyi").read_text())
    emulator = next(n for n in stub.body if isinstance(n, ast.ClassDef) and n.name == "Emulator")
    init = next(
        n for n in emulator.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"
    ).args
    assert {a.arg for a in init.kwonlyargs} == {o["name"] for o in options()}
    assert all(isinstance(d, ast.Constant) and d.value is ... for d in init.kw_defaults)


def test_a_host_may_ask_for_messages_that_count_from_one(linear_package: EmulatorPackage) -> None:
    x = linear_package.golden_inputs.copy()
    x[4, 10] = np.inf
    with pytest.raises(EmulatorError, match=r"^state_t: column 5, level 11: Inf"):
        Emulator(linear_package.path, language="fortran").run_packed(x)
