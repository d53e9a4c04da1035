"""The driver of the inference benchmarks: what it measures and keeps, what it refuses, the model of
scaling, and docs/performance.md, which is made from what is kept.
"""

from __future__ import annotations

import importlib
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from climlink.installation import cmake_prefix
from climlink.packages.compiled import (
    METADATA_ENTRY,
    CompiledArtefact,
    CompiledEntry,
    artefact_path,
)
from climlink.packages.read import EmulatorPackage
from climlink.runtime import Emulator

ROOT = Path(__file__).parents[1]
MODULES = (
    "bench_inference",
    "inference_engines",
    "inference_hosts",
    "inference_packages",
    "inference_results",
    "inference_steps",
    "inference_timing",
    "performance_page",
    "scaling_model",
)
IN_PYTHON, HOSTS = ("engines", "batches", "wrapper"), ("open", "first-call", "steady")


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, ModuleType]]:
    """The modules of the driver, by name; the number of threads is as before afterwards."""
    folder, threads = str(ROOT / "benchmarks"), torch.get_num_threads()
    sys.path.insert(0, folder)
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(folder)
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def measured(
    bench: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A work folder with a package, and what a smoke run of it kept; treat both as read-only."""
    work = tmp_path_factory.mktemp("inference")
    words = ["--smoke", "--no-compile", "--work", str(work), "-o", str(work / "r.json")]
    assert bench["bench_inference"].main([*IN_PYTHON, *HOSTS, *words]) == 0
    return work, json.loads((work / "r.json").read_text(encoding="utf-8"))


def test_every_part_keeps_its_numbers(measured: tuple[Path, dict[str, Any]]) -> None:
    found = measured[1]
    assert found["machine"]["torch"] == torch.__version__
    assert set(found["results"]) == {f"{part}/mlp_tiny" for part in (*IN_PYTHON, *HOSTS)}
    for case in found["results"].values():
        assert case["command"].startswith("python benchmarks/bench_inference.py ")
        assert case["load_average"] >= 0
    rows = {key.partition("/")[0]: case["rows"] for key, case in found["results"].items()}
    engine, refused = rows["engines"]
    assert set(engine["against"]) == {
        "FTorch-style, all columns in one call",
        "FTorch-style, a call per 16 columns",
    }
    for comparison in engine["against"].values():
        low, high = comparison["interval"]
        assert 0 < low <= comparison["ratio"] <= high
        assert comparison["rounds"] == 3
    assert engine["floor_seconds"] == pytest.approx(
        2 * 219_648 * 32 / engine["peak_gflops"] / 1e9, rel=1e-3
    )
    assert engine["fraction_of_peak"] > 0
    assert refused["refused"] == "nothing was compiled"
    assert [r["columns"] for r in rows["batches"]] == [16, 32]
    assert rows["open"][0]["open_seconds"] > 0
    assert rows["open"][0]["opened_mb"] > 1
    assert rows["first-call"][0]["ratio"] > 0.1
    steady = rows["steady"][0]
    assert steady["steps"] == 200
    assert steady["last_mb"] == pytest.approx(steady["first_mb"], abs=5)


def test_what_is_kept_is_not_measured_again(
    bench: dict[str, ModuleType], measured: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    work, found = measured
    path = tmp_path / "r.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    words = ["wrapper", "--smoke", "--no-compile", "--work", str(work), "-o", str(path)]
    assert bench["bench_inference"].main(words) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == found
    assert bench["bench_inference"].main([*words, "--again"]) == 0
    again = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert again.pop("wrapper/mlp_tiny")["command"].endswith("--again")
    assert again.items() <= found["results"].items()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"machine": {"processor": "another"}}, "holds numbers of processor 'another'"),
        ({"schema_version": 9}, "schema_version 9; expected 1"),
    ],
)
def test_numbers_of_other_machines_are_not_mixed(
    bench: dict[str, ModuleType],
    measured: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    reason: str,
) -> None:
    path = tmp_path / "r.json"
    text = json.dumps({**measured[1], **change})
    path.write_text(text, encoding="utf-8")
    words = ["wrapper", "--smoke", "--no-compile", "--work", str(measured[0]), "-o", str(path)]
    assert bench["bench_inference"].main(words) == 1
    assert reason in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == text


def test_an_artefact_that_does_not_run_here_ends_the_run(
    bench: dict[str, ModuleType],
    measured: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = EmulatorPackage.read(measured[0] / "mlp_tiny" / "wrap_model.pt")
    folder = tmp_path / "mlp_tiny"
    folder.mkdir()
    (folder / "wrap_model.pt").write_bytes(package.path.read_bytes())
    artefact = written_artefact(folder / "wrap_model.pt", package.digest)
    monkeypatch.setattr(bench["inference_packages"], "has_bfloat16", lambda: False)
    path = tmp_path / "r.json"
    words = ["engines", "--smoke", "--work", str(tmp_path), "-o", str(path)]
    assert bench["bench_inference"].main(words) == 1
    told = capsys.readouterr().err
    assert f"{artefact.path} does not run here" in told
    assert "compiled with torch 2.0.0" in told
    assert not path.exists()
    # Nor is what the Runtime runs in its place timed under its name.
    packages = bench["inference_packages"]
    made = packages.Made(packages.TINY, package, (), "")
    with pytest.raises(packages.InferenceBenchError, match=r"compiled with torch 2\.0\.0"):
        bench["inference_timing"].opened(made, packages.Engine("compiled", artefact), 16)


def written_artefact(package: Path, digest: str) -> CompiledArtefact:
    """Write an artefact of a package that another torch made."""
    entry = CompiledEntry(
        package_sha256=digest,
        device="cpu",
        precision="float32",
        torch_version="2.0.0",
        isa="avx2",
        cpu_flags=[],
        march="x86-64-v3",
        compiler="none",
        compiled_on="elsewhere",
        climlink_version="0",
    )
    path = artefact_path(package, "cpu", "float32")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data/model.so", b"no code")
        archive.writestr(f"model/extra/{METADATA_ENTRY}", entry.model_dump_json())
    return CompiledArtefact.read(path)


def test_the_baseline_calls_as_ftorch_does(
    bench: dict[str, ModuleType], measured: tuple[Path, dict[str, Any]]
) -> None:
    package = EmulatorPackage.read(measured[0] / "mlp_tiny" / "wrap_model.pt")
    rows = np.resize(package.golden_inputs, (40, package.manifest.n_input))
    baseline = bench["inference_timing"].FTorchStyle(
        package.path, rows, package.manifest.n_output, 16
    )
    baseline()
    assert np.array_equal(baseline.outputs[:16], package.golden_outputs[:16])
    assert baseline.outputs.shape == (40, package.manifest.n_output)
    # Tensors over memory in Fortran's order, the last chunk shorter: 16, 16 and 8 columns.
    assert [len(x) for x, _ in baseline._tensors] == [16, 16, 8]
    assert all(x.stride() == (1, len(x)) for x, _ in baseline._tensors)
    assert not baseline._module.training


def test_wrong_outputs_are_not_timed(
    bench: dict[str, ModuleType], measured: tuple[Path, dict[str, Any]]
) -> None:
    packages, timing = bench["inference_packages"], bench["inference_timing"]
    package = EmulatorPackage.read(measured[0] / "mlp_tiny" / "wrap_model.pt")
    made = packages.Made(packages.TINY, package, (), "")
    rows, expected = package.golden_inputs, package.golden_outputs
    emulator = Emulator(package.path)
    assert timing.require_equal(made, emulator, rows, expected) < 1e-6
    off = expected + 1e-3 * package.difference_scale.numpy().astype(np.float32)
    with pytest.raises(packages.InferenceBenchError, match="differ from the baseline"):
        timing.require_equal(made, emulator, rows, off)


def test_ratios_are_of_rounds_and_every_subject_takes_its_turn(
    bench: dict[str, ModuleType],
) -> None:
    timing = bench["inference_timing"]
    own = np.array([1.0, 2.0, 4.0, 1.0, 1.0])
    found = timing.compared(own, 3.0 * own)
    assert found == {"ratio": 3.0, "interval": [3.0, 3.0], "rounds": 5}
    noisy = timing.compared(np.ones(5), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert noisy["ratio"] == 3.0
    assert 1.0 <= noisy["interval"][0] < 3.0 < noisy["interval"][1] <= 5.0
    called: list[str] = []
    calls = {n: (lambda n=n: called.append(n)) for n in "abc"}
    taken = timing.interleaved(calls, timing.Effort(rounds=4, budget_s=60.0))
    assert {n: len(s) for n, s in taken.items()} == dict.fromkeys("abc", 4)
    turns = [n for k, n in enumerate(called) if k == 0 or called[k - 1] != n]
    # Two calls of each to warm up, then abc, cab, bca, abc.
    assert "".join(turns) == "abcabc" + "abcabcabc"
    # Once the budget is spent no more rounds begin than are needed for an interval.
    short = timing.interleaved({"a": lambda: None}, timing.Effort(rounds=50, budget_s=0.0))
    assert len(short["a"]) == timing.FEWEST_ROUNDS


def test_ftorch_is_told_where_it_is_not(
    bench: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("FTorch_DIR", raising=False)
    assert bench["bench_inference"].main(["ftorch", "-o", str(tmp_path / "r.json")]) == 0
    assert "set FTorch_DIR" in capsys.readouterr().out
    with pytest.raises(
        bench["inference_packages"].InferenceBenchError, match=r"no FTorchConfig\.cmake"
    ):
        bench["inference_hosts"].ftorch_program(tmp_path, tmp_path)


@pytest.mark.long
def test_a_host_of_ftorch_is_built_compiled_and_timed(
    bench: dict[str, ModuleType], tmp_path: Path
) -> None:
    # On climlink's drop-in, which has FTorch's interface, and is told as what it is.
    drop_in = cmake_prefix() / "compat/lib/cmake/FTorch"
    words = ["--smoke", "--work", str(tmp_path), "-o", str(tmp_path / "r.json")]
    assert (
        bench["bench_inference"].main(["ftorch", "shares", *words, "--ftorch-dir", str(drop_in)])
        == 0
    )
    results = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["results"]
    rows = results["ftorch/mlp_tiny"]["rows"]
    assert {(r["subject"], r["ranks"]) for r in rows} == {
        (f"climlink {e}", n) for e in ("torchscript", "aotinductor float32") for n in (1, 2)
    }
    assert all("drop-in" in baseline for r in rows for baseline in r["against"])
    for r in results["shares/mlp_tiny"]["rows"]:
        parts = ("send_share", "forward_share", "checks_share", "receive_share")
        assert sum(r[p] for p in parts) == pytest.approx(1, abs=0.01)


def test_scaling_in_closed_form(bench: dict[str, ModuleType]) -> None:
    model = bench["scaling_model"]
    assert {f"ne{ne}pg2": 6 * ne**2 * 4 for ne in (4, 30, 120)} == model.GRIDS
    # Time in proportion to columns: whole granules of whole columns are all that is lost.
    cost = model.Cost(columns=(16, 1600), seconds=(0.016, 1.6))
    assert cost.step_s(0) == 0
    assert cost.step_s(1) == cost.step_s(16) == pytest.approx(0.016)
    assert cost.step_s(160) == pytest.approx(0.16)
    assert cost.step_s(16_000) == pytest.approx(16.0)  # beyond what was measured
    found = model.scaled(cost, "ne30pg2", 10)
    assert found.columns_per_rank == 34  # 21,600 / 640 = 33.75
    assert found.step_s == pytest.approx(0.048)
    assert found.years_per_day == pytest.approx(1200 / 0.048 / 365)
    assert found.efficiency == pytest.approx(0.352 / (10 * 0.048))  # 338 columns on one node
    assert model.scaled(cost, "ne4pg2", 1).efficiency == 1
    assert model.scaled(cost, "ne4pg2", 1000).columns_per_rank == 1
    # A constant cost scales with nodes alone; bridge and contention are added and multiplied.
    constant = model.Cost((16, 1600), (0.01, 0.01), bridge_s=1e-4, contention=1.5)
    assert constant.step_s(100) == pytest.approx(1.5 * (0.01 + 0.01))


def test_a_model_without_its_parts_says_what_to_measure(
    bench: dict[str, ModuleType], measured: tuple[Path, dict[str, Any]]
) -> None:
    results = bench["inference_results"].Results.read(measured[0] / "r.json")
    with pytest.raises(
        bench["inference_packages"].InferenceBenchError,
        match=r"no batches of mlp_tiny.*bench_inference\.py batches --networks mlp_tiny",
    ):
        bench["scaling_model"].measured_costs(results, "mlp_tiny")


def test_the_page_is_made_from_the_numbers(bench: dict[str, ModuleType]) -> None:
    results = bench["inference_results"].Results.read(ROOT / "docs/performance.json")
    text = bench["performance_page"].page(results)
    assert text == (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    for part in bench["bench_inference"].PARTS:
        assert f"`python benchmarks/bench_inference.py {part}`" in text
    for row in results.rows("engines"):
        assert f"| {row['case']} | {row['subject']} |" in text or row["refused"] in text
