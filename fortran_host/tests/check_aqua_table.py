"""Runs test_aqua_table on a package that echoes: check_aqua_table.py PROGRAM."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ECHO = Path(__file__).parents[2] / "tests/host_tables/echo_package.py"
GIVEN = """
    state_t state_q0001 state_q0002 state_q0003 state_u state_v state_pmid state_ps pbuf_ozone
    pbuf_CH4 pbuf_N2O pbuf_SOLIN pbuf_COSZRS pbuf_LHFLX pbuf_SHFLX pbuf_TAUX pbuf_TAUY cam_in_ASDIR
    cam_in_ASDIF cam_in_ALDIR cam_in_ALDIF cam_in_LWUP cam_in_OCNFRAC cam_in_ICEFRAC
    cam_in_LANDFRAC cam_in_SNOWHLAND cam_in_SNOWHICE state_rh clat slat icol
"""

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        package = f"{scratch}/echo.pt"
        subprocess.run([sys.executable, str(ECHO), package, *GIVEN.split()], check=True)
        subprocess.run([sys.argv[1], package], check=True)
