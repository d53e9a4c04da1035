"""What the checks of a package cost at open, and what becomes of 3,000 mutants of it.

usage: python benchmarks/hostile_files.py [PACKAGE]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from timing import ratio, report

from climlink import _runtime
from climlink.runtime import Emulator

FUZZ = Path(__file__).parent.parent / "tests" / "package_fuzz.py"


def main(path: Path) -> int:
    """Print time ratios to a whole open, then the fuzz's report; return its exit code."""
    content = path.read_bytes()
    print(
        f"{path}: time ratio to Emulator(PACKAGE), median of 15 interleaved pairs (lowest to "
        "highest)"
    )
    report(
        "read every entry (CRC)",
        ratio(lambda: _runtime.check_archive(content, "package"), lambda: Emulator(content)),
    )
    report(
        "load and check the code by itself",
        ratio(lambda: _runtime.check_code(content, "package"), lambda: Emulator(content)),
    )
    report(
        "open without the code's check",
        ratio(lambda: Emulator(content, trust_code=True), lambda: Emulator(content)),
    )
    print("3,000 mutants:", flush=True)
    return subprocess.run(
        [sys.executable, str(FUZZ), str(path), "--count", "3000", "--seed", "3000"], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/wrap_model.pt")))
