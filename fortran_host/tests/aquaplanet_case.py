"""Cases of climlink-aquaplanet for its tests: namelists of short runs, running them, comparing what they wrote."""

from __future__ import annotations

import filecmp
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

STEPS_PER_DAY = 72


@dataclass(frozen=True)
class Program:
    """The program, the levels it runs on and how it is started on several ranks."""

    path: str
    levels: Path
    mpiexec: list[str]

    def namelist(self, folder: Path, name: str = "case", groups: str = "", **run: object) -> Path:
        """Write the namelist of a short T10 run that goes to ``folder``/out, with further ``groups``."""
        levels = yaml.safe_load(self.levels.read_text())
        entries = {
            "case_name": "case",
            "output_directory": str(folder / "out"),
            "n_step": 2 * STEPS_PER_DAY,
            "restart_every_steps": STEPS_PER_DAY,
            "identity": "test",
            **run,
        }
        (folder / "out").mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.nml"
        path.write_text(
            "&run\n"
            + "".join(f" {key} = {value!r}\n" for key, value in entries.items())
            + "/\n&levels\n"
            + "".join(f" {key} = {', '.join(map(repr, levels[key]))}\n" for key in ("hyai", "hybi"))
            + f" p0 = {levels['p0_pa']!r}\n/\n"
            + groups
        )
        return path

    def run(self, namelist: Path, ranks: int = 1) -> subprocess.CompletedProcess[str]:
        """Run on a namelist."""
        command = [*self.mpiexec, str(ranks), self.path, str(namelist)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    def finish(self, namelist: Path, ranks: int = 1) -> None:
        """Run and insist on success."""
        result = self.run(namelist, ranks)
        assert result.returncode == 0, result.stderr + result.stdout
        assert "outcome finished" in result.stdout, result.stdout


def files_below(folder: Path) -> list[str]:
    """Return the paths of all files below ``folder``, relative to it."""
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def assert_same_files(first: Path, second: Path) -> None:
    """Both folders hold the same files, byte for byte."""
    names = files_below(first)
    assert names == files_below(second), (names, files_below(second))
    assert len(names) > 3, names
    _, different, failed = filecmp.cmpfiles(first, second, names, shallow=False)
    assert (different, failed) == ([], [])
