"""Holds EAM's adapter to the reference model: check_e3sm_adapter.py PART FIXTURES EAM_LOOP EAM_LOOP_OCEAN MPIEXEC [FLAGS...]."""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from make_adapter_fixtures import OUTPUT_SIZES, variables, write_mixed
from reference_model import LEVELS, STATE, Model, Settings, make_columns, write_columns

N_COLUMN = 13
Records = list[dict[str, np.ndarray]]


@dataclass
class Bench:
    """Where things are, and the columns of all runs."""

    folder: Path
    fixtures: Path
    program: str
    ocean_program: str
    mpiexec: list[str]

    def __post_init__(self) -> None:
        self.columns = make_columns(N_COLUMN)
        write_columns(self.columns, self.folder / "columns.bin")

    def start(self, emulator: dict[str, Any], ranks: int = 1, program: str = "", **loop: Any) -> subprocess.CompletedProcess[str]:
        """Run eam_loop with entries of the adapter's group and of its own."""
        loop = {"columns_file": str(self.folder / "columns.bin"), "n_column": N_COLUMN, "record_file": str(self.folder / "record"), **loop}
        for old in self.folder.glob("record.*"):
            old.unlink()
        text = group("loop_nl", loop) + group("mmf_nn_emulator_nl", {"climlink_device": "cpu", **emulator})
        (self.folder / "atm_in").write_text(text)
        command = [*self.mpiexec, str(ranks), program or self.program, str(self.folder / "atm_in")]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def run(self, emulator: dict[str, Any], ranks: int = 1, program: str = "", **loop: Any) -> Records:
        """Run eam_loop and return its records of each step, [column, ...] in global order."""
        done = self.start(emulator, ranks, program, **loop)
        assert done.returncode == 0, done.stderr
        return read_records(sorted(self.folder.glob("record.*")), loop.get("first_step", 0), loop.get("n_step", 1))


def group(name: str, entries: dict[str, Any]) -> str:
    """Return a namelist group."""

    def shown(value: Any) -> str:
        if isinstance(value, bool):
            return ".true." if value else ".false."
        if isinstance(value, list):
            return ", ".join(shown(v) for v in value)
        return f"'{value}'" if isinstance(value, str) else str(value)

    return f"&{name}\n" + "".join(f"  {k} = {shown(v)}\n" for k, v in entries.items()) + "/\n"


def read_records(paths: list[Path], first_step: int, n_step: int) -> Records:
    """Return by step and name what the ranks wrote."""
    found: list[dict[str, dict[int, np.ndarray]]] = [{} for _ in range(n_step)]
    for path in paths:
        raw, at = path.read_bytes(), 0
        while at < len(raw):
            name, step, column, n = struct.unpack_from("<24siii", raw, at)
            values = np.frombuffer(raw, "<f8", n, at + 36)
            at += 36 + 8 * n
            assert column not in found[step - first_step].setdefault(name.decode().strip(), {}), (name, step, column)
            found[step - first_step][name.decode().strip()][column] = values
    return [{k: np.stack([v[i] for i in range(1, N_COLUMN + 1)]) for k, v in one.items()} for one in found]


def compare(got: Records, expected: list[dict[str, Any]], package: Path, exact_raw: bool = False) -> int:
    """Compare all steps; return the number of steps in which the emulator answered."""
    answered = 0
    sizes = {n: OUTPUT_SIZES[u] for n, u, _ in variables("mmf368")}
    for step, (a, b) in enumerate(zip(got, expected, strict=True)):
        where = f"{package.name}, step {step}: "
        for name, raw in b.get("raw", {}).items():
            history = "NN_" + name.replace("confidence_", "conf_")
            difference = np.abs(a[history] - raw) / (sizes.get(name, 1.0) + np.abs(raw))
            assert difference.max() <= (0.0 if exact_raw else 1e-6), f"{where}{name} differs by {difference.max()}"
            answered += 1
        assert ("NN_ptend_t" in a) == ("raw" in b), where + "the emulator ran in the wrong steps"
        np.testing.assert_allclose(a["NN_WEIGHT"], b["weight"], rtol=1e-15, err_msg=where + "weight")
        assert not a["other"].any(), where + "another constituent changed"
        for name in STATE:
            scale = 1200 * sizes[{"t": "ptend_t"}.get(name, "ptend_u" if name in "uv" else "ptend_q0001")]
            np.testing.assert_allclose(a[name], b[name], rtol=1e-11, atol=2e-6 * scale, err_msg=where + name)
        np.testing.assert_allclose(a["surface"], b["surface"], rtol=2e-6, atol=1e-16, err_msg=where + "surface")
        for name, counts in b.get("counts", {}).items():
            np.testing.assert_allclose(a[name][:, 0], counts, rtol=1e-6, err_msg=where + name)
        assert np.isfinite(a["s"]).all(), where + "energy"
    return answered


def check_values(bench: Bench) -> None:
    """The 368 outputs, and what the model becomes of them: every set, one and two ranks, ragged chunks."""
    exact = bench.fixtures / "climsim_q.pt"
    emulator = {"climlink_package": str(exact), "cb_spinup_step": 0}
    expected = Model(bench.columns, exact).run(1)
    for ranks, chunks in ((1, 1), (1, 4), (2, 3)):
        assert compare(bench.run(emulator, ranks, n_chunk=chunks), expected, exact, exact_raw=True)
    for set_name in ("host_v2_q", "host_v2_rh", "host_v4_q", "host_v4_rh", "host_v6_q", "host_v6_rh"):
        package = bench.folder / f"{set_name}.pt"
        write_mixed(package, set_name)
        spin_up = 0 if "v2" in set_name else 2
        entries = {"climlink_package": str(package), "cb_spinup_step": spin_up, "cb_nn_var_combo": set_name.split("_")[1]}
        entries |= {"input_rh": set_name.endswith("rh"), "outputlength": 368}
        expected = Model(bench.columns, package, Settings(spin_up=spin_up)).run(5)
        for ranks, chunks in ((1, 3), (2, 2)):
            assert compare(bench.run(entries, ranks, n_step=5, n_chunk=chunks), expected, package) > 0


PARTS: dict[str, Callable[[Bench], None]] = {"values": check_values}


def main(part: str, fixtures: str, program: str, ocean_program: str, mpiexec: list[str]) -> None:
    """Run one part in a folder of its own."""
    assert LEVELS == 60
    with tempfile.TemporaryDirectory() as name:
        PARTS[part](Bench(Path(name), Path(fixtures), program, ocean_program, mpiexec))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
