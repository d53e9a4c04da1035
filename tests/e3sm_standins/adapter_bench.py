"""What the adapter's tests share: eam_loop and its records, and their comparison with the
reference.
"""

from __future__ import annotations

import importlib.util
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from make_adapter_fixtures import OUTPUT_SIZES, REPOSITORY, variables
from reference_model import CHANGES, STATE, layout, make_columns, write_columns

N_COLUMN = 13
CONFIDENCE = {"ptend_t": "DTPHYSCONF", "ptend_q0001": "DQ1PHYSCONF", "ptend_qn": "DQNPHYSCONF"}
CONFIDENCE |= {"ptend_u": "DUPHYSCONF", "ptend_v": "DVPHYSCONF"}
CONFIDENCE |= {"cam_out_NETSW": "NETSWCONF", "cam_out_FLWDS": "FLWDSCONF"}
CONFIDENCE |= {"cam_out_PRECSC": "PRECSCCONF", "cam_out_PRECC": "PRECCCONF"}
CONFIDENCE |= {"cam_out_SOLS": "SOLSCONF", "cam_out_SOLL": "SOLLCONF"}
CONFIDENCE |= {"cam_out_SOLSD": "SOLSDCONF", "cam_out_SOLLD": "SOLLDCONF"}
Records = list[dict[str, np.ndarray]]


@dataclass
class Bench:
    """Where things are, and the columns of all runs."""

    folder: Path
    fixtures: Path
    program: str
    ocean_program: str
    fork_program: str
    trapping_program: str
    levels_program: str  # of a model with 72 levels
    mpiexec: list[str]

    def __post_init__(self) -> None:
        self.columns = make_columns(N_COLUMN)
        write_columns(self.columns, self.folder / "columns.bin")

    def start(
        self,
        emulator: dict[str, Any] | None,
        ranks: int = 1,
        program: str = "",
        folders: Sequence[Path] = (),
        **loop: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run eam_loop with entries of the adapter's group (None: no group) and of its own;
        ``folders``: one rank in each.
        """
        loop = {
            "columns_file": str(self.folder / "columns.bin"),
            "n_column": N_COLUMN,
            "record_file": str(self.folder / "record"),
            **loop,
        }
        for old in self.folder.glob("record.*"):
            old.unlink()
        text = group("loop_nl", loop)
        if emulator is not None:
            text += group("mmf_nn_emulator_nl", {"climlink_device": "cpu", **emulator})
        (self.folder / "atm_in").write_text(text)
        run = [program or self.program, str(self.folder / "atm_in")]
        command = [*self.mpiexec, str(ranks), *run]
        if folders:
            parts = [[*self.mpiexec[1:], "1", "-wdir", str(folder), *run] for folder in folders]
            command = [
                self.mpiexec[0],
                *parts[0],
                *(word for part in parts[1:] for word in (":", *part)),
            ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def run(
        self, emulator: dict[str, Any], ranks: int = 1, program: str = "", **loop: Any
    ) -> Records:
        """Run eam_loop and return its records of each step, [column, ...] in global order."""
        done = self.start(emulator, ranks, program, **loop)
        assert done.returncode == 0, done.stderr
        return read_records(
            sorted(self.folder.glob("record.*")), loop.get("first_step", 0), loop.get("n_step", 1)
        )

    def require_no_step(self, what: str) -> None:
        """The last run ended before its first step."""
        assert not any(p.stat().st_size for p in self.folder.glob("record.*")), (
            f"{what}: known before the first step, said after it"
        )


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
            assert column not in found[step - first_step].setdefault(name.decode().strip(), {}), (
                name,
                step,
                column,
            )
            found[step - first_step][name.decode().strip()][column] = values
    return [
        {k: np.stack([v[i] for i in range(1, N_COLUMN + 1)]) for k, v in one.items()}
        for one in found
    ]


def history_name(output: str) -> str:
    """Return the history field of an output."""
    confident = output.removeprefix("confidence_")
    return "NN_" + output if confident == output else CONFIDENCE[confident]


def compare(
    got: Records,
    expected: list[dict[str, Any]],
    package: Path,
    exact_raw: bool = False,
    scale: float = 1.0,
) -> int:
    """Compare all steps; return the number of steps in which the emulator answered. ``scale`` is
    that of the package's outputs.
    """
    answered = 0
    sizes = {n: OUTPUT_SIZES[u] * scale for n, u, _ in variables("mmf368")}
    for step, (a, b) in enumerate(zip(got, expected, strict=True)):
        where = f"{package.name}, step {step}: "
        for name, raw in b.get("raw", {}).items():
            difference = np.abs(a[history_name(name)] - raw) / (sizes.get(name, 1.0) + np.abs(raw))
            assert difference.max() <= (0.0 if exact_raw else 1e-6), (
                f"{where}{name} differs by {difference.max()}"
            )
        assert ("NN_ptend_t" in a) == ("raw" in b), where + "the emulator ran in the wrong steps"
        answered += "raw" in b
        np.testing.assert_allclose(
            a["NN_WEIGHT"], b["weight"], rtol=1e-15, err_msg=where + "weight"
        )
        assert not a["other"].any(), where + "another constituent changed"
        for name in STATE:
            change = (
                1200
                * sizes[{"t": "ptend_t"}.get(name, "ptend_u" if name in "uv" else "ptend_q0001")]
            )
            np.testing.assert_allclose(
                a[name], b[name], rtol=1e-11, atol=2e-6 * change, err_msg=where + name
            )
            # The rounding of two states over 1200 s comes on top.
            smallest = 2e-6 * change / 1200 + 1e-14 * np.abs(b[name])
            np.testing.assert_array_less(
                np.abs(a[CHANGES[name]] - b["changes"][CHANGES[name]]),
                smallest,
                err_msg=where + CHANGES[name],
            )
        np.testing.assert_allclose(
            a["surface"], b["surface"], rtol=2e-6, atol=1e-16 * scale, err_msg=where + "surface"
        )
        for name, counts in b.get("counts", {}).items():
            np.testing.assert_allclose(a[name][:, 0], counts, rtol=1e-6, err_msg=where + name)
        assert np.isfinite(a["s"]).all(), where + "energy"
    return answered


def compare_without_frame(got: Records, expected: list[dict[str, Any]], package: Path) -> int:
    """Compare records of a driver that calls neither mmf_nn_emulator_begin nor _end: weight and
    changes are written in the latter.
    """
    for one, reference in zip(got, expected, strict=True):
        assert not {"NN_WEIGHT", *CHANGES.values()} & one.keys()
        one["NN_WEIGHT"] = np.full((N_COLUMN, 1), reference["weight"])
        one.update(reference["changes"])
    return compare(got, expected, package)


def case_generator() -> ModuleType:
    """Return the module that knows the adapter's fields for generated cases and their check; it
    needs none of climlink's other modules.
    """
    path = REPOSITORY / "python" / "climlink" / "e3sm" / "adapter.py"
    spec = importlib.util.spec_from_file_location("climlink_e3sm_adapter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_tape_fields(
    record: dict[str, np.ndarray],
    package: Path,
    legacy: bool,
    fork_driver: bool,
    **more: bool,
) -> None:
    """The adapter wrote just those fields that the case generator puts on tapes, but for what the
    fork's own diagnostics write.
    """
    known = case_generator()
    names = [v["name"] for v in layout(package)[1]]
    outputs = [n for n in names if not n.startswith("confidence_")]
    confidence = [n.removeprefix("confidence_") for n in names if n.startswith("confidence_")]
    wanted = set(
        known.emulator_fields(
            outputs,
            confidence,
            legacy=legacy,
            fork_driver=fork_driver,
            water_fixer=more.get("water_fixer", False),
            range_policy=more.get("range_policy", False),
        )
    )
    wanted -= set(known.FORK_CHANGES) if fork_driver else set()
    assert {
        n for n in record if n.startswith(("NN_", "TROP")) or "PHYS" in n or n.endswith("CONF")
    } == wanted
