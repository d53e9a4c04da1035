"""Parts of the inference benchmark that build or run a whole host: FTorch itself, and the embedded
model with a package in place of its physics.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
from bench_aquaplanet import COLUMNS as MODEL_COLUMNS
from bench_aquaplanet import seconds_per_step
from inference_engines import STEP_COLUMNS
from inference_packages import FLOAT32, Engine, InferenceBenchError, Made
from inference_results import Row
from inference_steps import CHUNK, pinned, require_engine, rows_file, run
from inference_timing import FEWEST_ROUNDS, MICRO_BATCH, Effort, compared, significant

from climlink.installation import cmake_prefix
from climlink.mpi import mpi_command

SOURCE = Path(__file__).with_name("ftorch")
WAYS = ("FTorch, a call per chunk", "FTorch, all columns in one call", "climlink torchscript")
STEPS_OF_A_ROUND = 3
SAME_OUTPUTS = 1e-3
"""Largest difference of the two bridges' outputs, over the largest magnitude of each output: beyond
it they are other numbers, such as variables in another order, not rounding.
"""
TRUNCATION = 10


def ftorch_program(ftorch: Path, work: Path) -> tuple[Path, bool]:
    """Build the host that runs FTorch and climlink in turn; return it, and whether ``ftorch`` is
    climlink's own drop-in. InferenceBenchError where it cannot be built.
    """
    folder = work / "ftorch"
    if not (ftorch / "FTorchConfig.cmake").is_file():
        raise InferenceBenchError(
            f"{ftorch}: no FTorchConfig.cmake; FTorch_DIR is <FTorch>/lib/cmake/FTorch"
        )
    where = [f"-DFTorch_DIR={ftorch.resolve()}", f"-DCMAKE_PREFIX_PATH={cmake_prefix()}"]
    run(["cmake", "-S", str(SOURCE), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release", *where])
    run(["cmake", "--build", str(folder)])
    own = ftorch.resolve().is_relative_to(cmake_prefix().resolve())
    return folder / "ftorch_steps", own


def ftorch_steps(
    made: Made, program: Path, own: bool, effort: Effort, columns: int = STEP_COLUMNS
) -> list[Row]:
    """Time steps of a Fortran host by FTorch and by climlink, on one rank and on two."""
    engine = made.engine(FLOAT32)
    names = [*WAYS, f"climlink {engine.name}"]
    if own:  # told as what it is: not FTorch
        names = [name.replace("FTorch", "climlink's drop-in for FTorch") for name in names]
    found: list[Row] = []
    for count in (1, 2):
        seconds = _turns(made, engine, program, count, columns, effort.rounds)
        for k, name in enumerate(names[2:], 2):
            found.append(
                {
                    "subject": name,
                    "ranks": count,
                    "columns": columns,
                    "chunk": CHUNK,
                    "seconds": significant(float(np.median(seconds[:, k]))),
                    "against": {names[b]: compared(seconds[:, k], seconds[:, b]) for b in range(2)},
                }
            )
    return found


def _turns(
    made: Made, engine: Engine, program: Path, count: int, columns: int, rounds: int
) -> np.ndarray:
    """Return seconds of a step [round, way]; InferenceBenchError where outputs differ."""
    where = (made.package.path, rows_file(made, columns), columns, CHUNK, rounds)
    arguments = [str(v) for v in (*where, STEPS_OF_A_ROUND)]
    output = run(mpi_command(count, [str(program), *arguments, *pinned(engine)]))
    told = dict(re.findall(r"^(engine|difference) +(.*)$", output, re.MULTILINE))
    require_engine(engine, told["engine"].strip(), made)
    largest = max(float(v) for v in told["difference"].split())
    if not largest <= SAME_OUTPUTS:
        raise InferenceBenchError(
            f"{made.package.path}: outputs of FTorch and climlink differ by {largest:.1e} of the "
            f"largest; expected at most {SAME_OUTPUTS:.0e}"
        )
    lines = [line.split()[1:] for line in output.splitlines() if line.startswith("round")]
    return np.array(lines, dtype=float)


def hybrid(made: Made, effort: Effort, days: float) -> list[Row]:
    """Time the embedded model's step with each engine of a package in place of its physics, over
    the step with its physics, one rank.
    """
    common = {"package": made.package.path, "micro_batch": MICRO_BATCH}
    emulators = {e.name: {**common, **e.options()} for e in made.engines}
    subjects = {"physics": None, **emulators}
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(min(effort.rounds, FEWEST_ROUNDS)):
            for at, (name, emulator) in enumerate(subjects.items()):
                folder = Path(scratch) / f"{at}_{number}"
                taken[name].append(seconds_per_step(TRUNCATION, 1, folder, days, emulator))
    seconds = {name: np.array(values) for name, values in taken.items()}
    return [
        {
            "subject": name,
            "columns": MODEL_COLUMNS[TRUNCATION],
            "seconds": significant(float(np.median(seconds[name]))),
            "against": {"the model's own physics": compared(seconds[name], seconds["physics"])},
        }
        for name in emulators
    ]
