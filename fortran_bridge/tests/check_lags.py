"""Lagged inputs of data preparation against the host's lagged memory: check_lags.py PROGRAM.

Synthetic pairs of four consecutive steps; what `climlink data prepare` derives from the files of
the last step, the Fortran module must answer when it is led through the same states. Exit code 1
and the names where they differ by more than a rounding.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from climlink.data.climsim import find_pairs, read_after, read_inputs
from climlink.data.grid import find_grid, read_grid
from climlink.data.lags import LaggedReader, lag_names
from climlink.data.stamp import Stamp
from climlink.data.synthetic import write_dataset

STATES = ("state_t", "state_q0001", "state_q0002", "state_q0003", "state_u")
SCALARS = ("state_ps", "pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX", "pbuf_COSZRS")
STEP_S = 1200.0
ROUNDING = 4 * np.finfo(np.float64).eps


def main(program: str) -> str | None:
    """Compare and return what is wrong, if anything."""
    with tempfile.TemporaryDirectory(prefix="climlink-lags-") as name:
        folder = Path(name)
        first = Stamp.parse("0004-12-31-82800")
        source = write_dataset(folder / "pairs", [first.plus(int(STEP_S) * n) for n in range(4)])
        grid, pairs = read_grid(find_grid(source)), find_pairs(source)
        expected = LaggedReader(pairs, grid, STEP_S).read(pairs[-1])
        names = sorted(lag_names(grid.level_count) - {"clat", "slat", "icol"})
        with (folder / "states.raw").open("wb") as stream:
            np.array([grid.n_column, grid.level_count, len(pairs)], dtype=np.int32).tofile(stream)
            np.array([STEP_S]).tofile(stream)
            for pair in pairs:
                before, after = read_inputs(pair.mli, grid), read_after(pair.mlo, grid)
                stacks = [[before[s] for s in STATES], [before[s] for s in SCALARS]] + (
                    [[after[s] for s in STATES]] if pair != pairs[-1] else []
                )
                for stack in stacks:
                    np.stack(stack, axis=-1).ravel(order="F").tofile(stream)
        (folder / "names.txt").write_text("".join(f"{n}\n" for n in names))
        subprocess.run(
            [
                program,
                str(folder / "states.raw"),
                str(folder / "names.txt"),
                str(folder / "answers.raw"),
            ],
            check=True,
        )
        answers = np.fromfile(folder / "answers.raw")
    position, wrong = 0, []
    for n in names:
        shape = expected[n].shape
        got = answers[position : position + expected[n].size].reshape(shape, order="F")
        position += expected[n].size
        # A tendency is a difference of states of up to 300 (K) or 0.02 (kg/kg) over the time step;
        # sums of water may round apart.
        scale = (0.02 if "_q0" in n else 300.0) / STEP_S
        if np.abs(got - expected[n]).max() > ROUNDING * scale:
            wrong.append(n)
    if position != answers.size or wrong or not np.abs(answers).max() > 0:
        return (
            f"{program}: {answers.size} values, expected {position}; other values in "
            f"{', '.join(wrong) or 'none'}"
        )
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
