"""Parts of the inference benchmark that run Fortran hosts: shares of a step, opening, first call,
memory over many steps, ranks.
"""

from __future__ import annotations

import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from inference_engines import STEP_COLUMNS, bare_code
from inference_packages import Engine, InferenceBenchError, Made
from inference_results import Row
from inference_timing import Effort, compared, interleaved, opened, significant
from numpy.typing import NDArray

from climlink.mpi import mpi_command, mpi_environment

PROGRAMS = Path(__file__).resolve().parents[1] / "build/python/fortran_bridge/tests"
CHUNK = 16
FIRST_STEPS = 20
"""Steps that show the first one and the steady ones behind it."""
SHARE_STEPS = 120
LONGEST_S = 3600
MEGABYTE = 1e6


@dataclass(frozen=True)
class HostRun:
    """What step_bench wrote: seconds of opening, the processor's seconds of the parts of each step
    [step, part], and resident bytes before and after opening and by step.
    """

    engine: str
    open_s: float
    before: int
    after: int
    steps: NDArray[np.float64]
    resident: dict[int, int]

    @classmethod
    def of(cls, output: str) -> HostRun:
        """Read the program's lines."""
        lines = [line.split() for line in output.splitlines() if line.strip()]
        opened_at = next(line for line in lines if line[0] == "opened")
        return cls(
            engine=next(line[1] for line in lines if line[0] == "engine"),
            open_s=float(opened_at[1]),
            before=int(opened_at[2]),
            after=int(opened_at[3]),
            steps=np.array([[float(v) for v in line[1:]] for line in lines if line[0] == "step"]),
            resident={int(line[1]): int(line[2]) for line in lines if line[0] == "resident"},
        )


def host_run(made: Made, engine: Engine, columns: int, steps: int) -> HostRun:
    """Run step_bench in a process of its own."""
    chunk = min(CHUNK, columns)
    arguments = [str(v) for v in (made.package.path, rows_file(made, columns), columns, chunk)]
    command = [str(_program("step_bench")), *arguments, str(steps), *pinned(engine)]
    found = HostRun.of(run(command))
    require_engine(engine, found.engine, made)
    return found


def run(command: Sequence[str]) -> str:
    """Run a program with one OpenMP thread per process and return what it wrote."""
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=LONGEST_S,
        env=mpi_environment(1),
    )
    if done.returncode != 0:
        raise InferenceBenchError(
            f"{Path(command[0]).name} ended with exit code {done.returncode}:\n"
            f"{done.stderr.strip()[-2000:]}"
        )
    return done.stdout


def _program(name: str) -> Path:
    path = PROGRAMS / name
    if not path.is_file():
        raise InferenceBenchError(f"{path} is not there: run `make setup` in the source tree")
    return path


def rows_file(made: Made, columns: int) -> Path:
    """Return a file of packed rows for a Fortran host."""
    path = made.package.path.with_name(f"rows_{columns}.f32")
    made.rows(columns).tofile(path)
    return path


def pinned(engine: Engine) -> list[str]:
    """Return the arguments that name an artefact and its SHA-256; none for TorchScript."""
    return [] if engine.artefact is None else [str(engine.artefact.path), engine.artefact.digest]


def require_engine(engine: Engine, ran: str, made: Made) -> None:
    """Raise InferenceBenchError unless the engine that ran is the one that was to."""
    expected = "torchscript" if engine.artefact is None else engine.artefact.entry.backend
    if ran != expected:
        raise InferenceBenchError(f"{made.package.path}: {expected} was to run, {ran} did")


def shares(made: Made, effort: Effort, columns: int = STEP_COLUMNS) -> list[Row]:
    """Return what a step of a Fortran host is made of: setting inputs, the forward, what the
    Runtime does around it, getting outputs; the bridge is all but the forward.
    """
    found = []
    rows = made.rows(columns)
    for engine in made.engines[1:]:
        parts = host_run(made, engine, columns, SHARE_STEPS).steps[FIRST_STEPS:]
        emulator = opened(made, engine, columns)
        code = bare_code(engine, emulator.micro_batch, torch.from_numpy(rows))
        taken = interleaved({"run": lambda e=emulator: e.run_packed(rows), "code": code}, effort)
        around = compared(taken["code"], taken["run"])
        send, ran, receive = (float(np.median(parts[:, k])) for k in range(3))
        step = send + ran + receive
        checks = max(0.0, 1.0 - 1.0 / around["ratio"]) * ran
        found.append(
            {
                "subject": engine.name,
                "columns": columns,
                "chunk": CHUNK,
                "step_seconds": significant(step),
                "send_share": significant(send / step, 3),
                "forward_share": significant((ran - checks) / step, 3),
                "checks_share": significant(checks / step, 3),
                "receive_share": significant(receive / step, 3),
                "bridge_share": significant((send + checks + receive) / step, 3),
                "times": {"the code that it calls": around},
                "steps": len(parts),
            }
        )
    return found


def opening(made: Made, processes: int) -> list[Row]:
    """Return seconds and resident memory that opening takes, medians of fresh processes."""
    found = []
    for engine in made.engines:
        runs = [host_run(made, engine, STEP_COLUMNS, 2) for _ in range(processes)]
        found.append(
            {
                "subject": engine.name,
                "open_seconds": significant(statistics.median(r.open_s for r in runs), 3),
                "opened_mb": round(statistics.median(r.after - r.before for r in runs) / MEGABYTE),
                "process_mb": round(statistics.median(r.after for r in runs) / MEGABYTE),
                "processes": processes,
            }
        )
    return found


def first_call(made: Made, processes: int, columns: int = STEP_COLUMNS) -> list[Row]:
    """Return the first step's time over the steady one, in fresh processes."""
    found = []
    for engine in made.engines:
        ratios = []
        for _ in range(processes):
            steps = host_run(made, engine, columns, FIRST_STEPS).steps.sum(axis=1)
            ratios.append(steps[0] / np.median(steps[len(steps) // 2 :]))
        found.append(
            {
                "subject": engine.name,
                "columns": columns,
                "ratio": significant(float(np.median(ratios)), 3),
                "range": [significant(float(v), 3) for v in (min(ratios), max(ratios))],
                "processes": processes,
            }
        )
    return found


def steady(made: Made, steps: int, columns: int = CHUNK) -> list[Row]:
    """Return resident memory after the first hundred steps and after the last."""
    found = []
    for engine in made.engines:
        resident = host_run(made, engine, columns, steps).resident
        at = sorted(resident)
        found.append(
            {
                "subject": engine.name,
                "columns": columns,
                "steps": at[-1],
                "first_mb": round(resident[at[0]] / MEGABYTE, 2),
                "last_mb": round(resident[at[-1]] / MEGABYTE, 2),
            }
        )
    return found


def ranks(made: Made, effort: Effort, columns: int = STEP_COLUMNS) -> list[Row]:
    """Time steps of ranks that open together, each with a network of its own and all sharing one,
    over ranks that opened without MPI.
    """
    found: list[Row] = []
    for engine in made.engines:
        for count in (1, 2):
            seconds, engine_ran, memory = _group_run(made, engine, count, columns, effort.rounds)
            require_engine(engine, engine_ran, made)
            alone = float(np.median(seconds[:, 0]))
            pairs = {"own": seconds[:, 1], "shared": seconds[:, 2]}
            for name, taken in pairs.items():
                found.append(
                    {
                        "subject": f"{engine.name}, {name}",
                        "ranks": count,
                        "columns": columns,
                        "seconds": significant(float(np.median(taken))),
                        "alone_seconds": significant(alone),
                        "against": {"opened without MPI": compared(taken, seconds[:, 0])},
                        "memory": memory if name == "shared" else "",
                    }
                )
    return found


def _group_run(
    made: Made, engine: Engine, count: int, columns: int, rounds: int
) -> tuple[NDArray[np.float64], str, str]:
    """Return group_bench's seconds of a step [round, way], the engine, and the node's memory."""
    steps = 3
    arguments = (made.package.path, rows_file(made, columns), columns, CHUNK, rounds, steps)
    command = [str(_program("group_bench")), *(str(a) for a in arguments), *pinned(engine)]
    output = run(mpi_command(count, command))
    taken = [line.split()[1:] for line in output.splitlines() if line.startswith("round")]
    told = dict(re.findall(r"^(engine|memory):? (.*)$", output, re.MULTILINE))
    return np.array(taken, dtype=float) / steps, told["engine"].strip(), told["memory"].strip()
