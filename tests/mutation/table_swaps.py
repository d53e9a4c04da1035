"""Swap every two neighbours among the names of every host's table: table_swaps.py [WORD ...].

A field of a host's table that carries another field's name must be noticed: the test of each table
gives every field a value of its own and looks for it under its name. As in run.py everything
happens in a copy under build/mutation; WORDs choose tables by a part of their path. The exit code
is 1 where a swap survives or does not compile.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import pairwise

from run import ROOT, CatalogueError, Mutation, Scratch, Test, judge

from climlink.wrappers.variables import shipped_variables

TABLES = {
    "fortran_bridge/src/climlink_lagged_memory.F90": Test(
        "lagged", ctest=r"^fortran\.lagged_", targets=["test_lagged_memory", "lagged_from_file"]
    ),
    "fortran_host/aquaplanet/column/aqua_column_table.F90": Test(
        "embedded model", ctest=r"^aquaplanet\.table$", targets=["test_aqua_table"]
    ),
    "fortran_host/replay/replay_fields.F90": Test(
        "replay", ctest=r"^replay\.table$", targets=["climlink-replay"]
    ),
    "fortran_bridge/e3sm/mmf_nn_fields.F90": Test(
        "E3SM", ctest=r"^e3sm\.table$", targets=["eam_loop", "eam_loop_fork"]
    ),
    # A project of its own, built by its test from an installation: of all that is installed.
    "fortran_bridge/examples/07_make_your_model_a_host/little_model.F90": Test(
        "example 07",
        ctest=r"^example\.07_make_your_model_a_host$",
        targets=[
            "climlink_ftorch_compat",
            "climlink_torch_ftn_compat",
            "climlink-c-route",
            "climlink-fortran-route",
            "climlink-replay",
            "climlink-aquaplanet",
        ],
    ),
}


def swaps(text: str, file: str, test: Test) -> Iterator[Mutation]:
    """Yield the text with the names of two neighbours exchanged, for each pair of neighbours."""
    names = shipped_variables()
    quoted = [q for q in re.finditer(r"'([^'\n]*)'", text) if q[1] in names]
    for one, other in pairwise(quoted):
        if one[1] == other[1]:
            continue
        between = text[one.end() : other.start()]
        new = text[: one.start()] + other[0] + between + one[0] + text[other.end() :]
        line = text.count("\n", 0, one.start()) + 1
        yield Mutation(f"line {line}: {one[1]} <-> {other[1]}", file, text, new, test)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("words", nargs="*", help="try only tables whose path holds one of these")
    words = parser.parse_args(arguments).words
    wanted = [
        mutation
        for file, test in TABLES.items()
        if not words or any(word in file for word in words)
        for mutation in swaps((ROOT / file).read_text(encoding="utf-8"), file, test)
    ]
    try:
        return int(judge(Scratch(ROOT, ROOT / "build" / "mutation"), wanted) > 0)
    except CatalogueError as error:
        print(f"table_swaps: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
