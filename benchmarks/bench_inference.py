"""How fast packages run here, part by part, into one JSON file, from which docs/performance.md is
made.

    python benchmarks/bench_inference.py packages            # make and compile what is timed
    python benchmarks/bench_inference.py                     # all parts but ftorch
    python benchmarks/bench_inference.py engines --networks mlp_published --again
    FTorch_DIR=... python benchmarks/bench_inference.py ftorch

Packages are made in the work folder (seeded random weights, synthetic columns; nothing is
downloaded); remove it after a change of climlink's graphs. In every comparison the subjects take
turns, round by round, on one thread; a ratio above 1 is faster than the baseline that stands beside
it, with the 95 % interval of the median. Times within one process are the processor's, others the
clock's.
What is in the file already is not measured again unless --again is given; a file of another machine
is refused.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import inference_engines as in_python
import inference_hosts as hosts
import inference_steps as steps
import torch
from inference_packages import MLP, NETWORKS, TINY, UNET, USUAL, Made, made
from inference_results import Results, Row
from inference_timing import Effort

from climlink.wrappers.errors import ClimlinkError

Measure = Callable[[Made, argparse.Namespace], list[Row]]
BOTH = (MLP.name, UNET.name)
WORK, OUTPUT = Path("runs/inference"), Path("runs/inference/performance.json")
FTORCH_VARIABLE = "FTorch_DIR"
SMOKE_COLUMNS = 32


@dataclass(frozen=True)
class Part:
    """A part of the benchmark: what it tells, the networks it is usually run for, and how."""

    told: str
    networks: Sequence[str]
    measure: Measure


def _effort(given: argparse.Namespace) -> Effort:
    return Effort(given.rounds, given.budget)


def _batches(m: Made, given: argparse.Namespace) -> list[Row]:
    sizes = (16, given.columns) if given.smoke else in_python.BATCHES
    return in_python.batches(m, _effort(given), sizes)


def _ftorch(m: Made, given: argparse.Namespace) -> list[Row]:
    program, own = hosts.ftorch_program(given.ftorch_dir, given.work)
    return hosts.ftorch_steps(m, program, own, _effort(given), given.columns)


PARTS = {
    "engines": Part(
        "every engine against FTorch's way, and the part of this core's peak that it reaches",
        USUAL,
        lambda m, given: in_python.engines(m, _effort(given), given.columns),
    ),
    "batches": Part("the same by the number of columns", BOTH, _batches),
    "wrapper": Part(
        "whole graph over bare network",
        BOTH,
        lambda m, given: in_python.wrapper(m, _effort(given), given.columns),
    ),
    "shares": Part(
        "what a step of a Fortran host is made of",
        BOTH,
        lambda m, given: steps.shares(m, _effort(given), given.columns),
    ),
    "open": Part(
        "seconds and memory of opening", USUAL, lambda m, given: steps.opening(m, given.processes)
    ),
    "first-call": Part(
        "first step over steady step in fresh processes",
        BOTH,
        lambda m, given: steps.first_call(m, given.processes, given.columns),
    ),
    "steady": Part(
        "resident memory over many steps",
        (TINY.name,),
        lambda m, given: steps.steady(m, given.steps),
    ),
    "ranks": Part(
        "ranks with a network each, and sharing one",
        (MLP.name,),
        lambda m, given: steps.ranks(m, _effort(given), given.columns),
    ),
    "hybrid": Part(
        "the embedded model's step with a package over its own physics",
        (MLP.name,),
        lambda m, given: hosts.hybrid(m, _effort(given), given.days),
    ),
    "ftorch": Part("FTorch itself, in a Fortran host", BOTH, _ftorch),
}
PACKAGES = "packages"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    given = _parsed(words)
    parts = list(given.parts or [p for p in PARTS if p != "ftorch"])
    if "ftorch" in parts and given.ftorch_dir is None:
        _say("ftorch: not measured: set FTorch_DIR to <FTorch>/lib/cmake/FTorch")
        parts.remove("ftorch")
    torch.set_num_threads(1)
    command = shlex.join(["python", "benchmarks/bench_inference.py", *words])
    try:
        for part in parts:
            _measure(part, given, command)
    except ClimlinkError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measure(part: str, given: argparse.Namespace, command: str) -> None:
    """Make a part's packages and, unless its results are in the file, measure and keep them."""
    usual = (*USUAL, TINY.name) if part == PACKAGES else PARTS[part].networks
    for name in given.networks or usual:
        key = f"{part}/{name}"
        if part != PACKAGES and key in Results.to_extend(given.output).cases and not given.again:
            _say(f"{key}: in {given.output} already")
            continue
        package = made(NETWORKS[name], given.work, _say, compiled=not given.no_compile)
        if part == PACKAGES:
            continue
        _say(f"{key}: {PARTS[part].told}")
        load = round(os.getloadavg()[0], 2)
        rows = PARTS[part].measure(package, given)
        results = Results.to_extend(given.output)
        results.keep(key, rows, command, load)
        results.write(given.output)
        for row in rows:
            _say(f"  {_line(row)}")


def _line(row: Row) -> str:
    """Return a row of results in one line."""
    told = [f"{k} {v}" for k, v in row.items() if k not in ("against", "times", "subject")]
    for words, key in (("times as fast as", "against"), ("times the time of", "times")):
        for baseline, c in row.get(key, {}).items():
            low, high = c["interval"]
            told.append(f"{c['ratio']:.2f} ({low:.2f} to {high:.2f}) {words} {baseline}")
    return f"{row['subject']}: {', '.join(told)}"


def _say(text: str) -> None:
    print(text, flush=True)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = (*PARTS, PACKAGES)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(known)}")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help="JSON file")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for packages")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="instead of the usual")
    parser.add_argument("--columns", type=int, default=in_python.STEP_COLUMNS, help="of a rank")
    parser.add_argument("--rounds", type=int, default=31, help="most rounds of a comparison")
    parser.add_argument(
        "--budget", type=float, default=6.0, help="seconds after which no more rounds begin"
    )
    parser.add_argument("--steps", type=int, default=100_000, help="of the part steady")
    parser.add_argument("--processes", type=int, default=5, help="of open and first-call")
    parser.add_argument("--days", type=float, default=1.0, help="of the part hybrid")
    parser.add_argument("--again", action="store_true", help="measure what is in the file too")
    parser.add_argument("--no-compile", action="store_true", help="TorchScript alone")
    parser.add_argument(
        "--smoke", action="store_true", help="a tiny network, few rounds: does it run at all"
    )
    parser.add_argument(
        "--ftorch-dir",
        type=Path,
        default=os.environ.get(FTORCH_VARIABLE),
        help="folder of FTorchConfig.cmake (default: the environment's FTorch_DIR)",
    )
    given = parser.parse_args(words)
    for part in given.parts:
        if part not in known:
            parser.error(f"no part {part!r}: choose from {', '.join(known)}")
    if given.ftorch_dir is not None:
        given.ftorch_dir = Path(given.ftorch_dir)
    if given.smoke:
        given.networks = given.networks or [TINY.name]
        given.rounds, given.budget, given.steps = 3, 0.1, 200
        given.columns, given.processes = SMOKE_COLUMNS, 1
    return given


if __name__ == "__main__":
    sys.exit(main())
