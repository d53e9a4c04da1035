"""No timing: SHA-256 of all that the hosts write, to hold two versions against each other.

    TREE/.venv/bin/python benchmarks/host_bits.py TREE --json before.json
    OTHER/.venv/bin/python benchmarks/host_bits.py OTHER --against before.json

TREE is a built source tree (default: the one of this script), whose own Python runs this: its
climlink writes the namelists. The embedded model runs three days at
T10 with its own physics, hybrid, in shadow mode, with lagged inputs (v4, v6) and with carried
state; the replay runs on columns of ClimSim, where they are at hand, and on pairs one step apart;
E3SM's adapter runs in its stand-in host. All on 1, 2 and 4 ranks, which must write the same. The
packages are made once, in WORK/packages: both trees must read the same files, so give both the same
folder. Four minutes of processor time. The exit code is 1 where ranks or trees differ.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import yaml

import climlink
from climlink.installation import executable
from climlink.mpi import mpi_command, mpi_environment
from climlink.online.aquaplanet import AquaplanetConfig, run_aquaplanet
from climlink.online.case import load_case
from climlink.online.replay import run_replay

EXCEPTED = {
    "creation_date": "when the run was started",
    "history": "when the file was written and by which version",
    "climlink_version": "the version that wrote it",
}
"""Attributes that may differ between two trees, and what they say."""

RANKS = (1, 2, 4)
MIXED = ("host_v2_rh", "host_v4_q", "host_v6_q")
"""Input sets of packages in which every output depends on every input."""

ENDS_IN_FEBRUARY = {"start": "0001-01-30-00000", "days": 3}  # a monthly mean is complete within
FIRST_STEPS = {"days": 8 / 72, "pairs": {"every_steps": 1}, "history": {"hourly": True}}
THREE_DAYS = {
    "restart_every_days": 1,
    "history": {"hourly": True},
    "pairs": {"every_steps": 7},  # 7 has no divisor in common with the 72 steps of a day
}
HYBRID = {"package": "host_v2_rh"}
EMULATORS: dict[str, dict[str, Any] | None] = {
    "own physics": None,
    "hybrid v2": HYBRID,
    "shadow v2": {**HYBRID, "mode": "shadow"},
    "lagged v4": {"package": "host_v4_q", "spin_up_steps": 2},
    "lagged v6": {"package": "host_v6_q", "spin_up_steps": 3},
    "carried": {"package": "carried"},
}
KINDS = {
    "mli": "climsim/train/*/*.mli.*.nc",
    "mlo": "climsim/train/*/*.mlo.*.nc",
    "mli of the shadow": "climsim/shadow/*/*.mli.*.nc",
    "mlo of the shadow": "climsim/shadow/*/*.mlo.*.nc",
    "grid": "climsim/*grid-info.nc",
    "h0": "history/*.h0.*.nc",
    "h1": "history/*.h1.*.nc",
    "h2": "history/*.h2.*.nc",
    "restarts": "restart/*.nc",
    "budgets": "budgets.csv",
    "replayed mlo": "output/*.mlo.*.nc",
}
"""Kinds of output by where they lie in a run folder; other netCDF and CSV files are of no kind."""

REPLAYED = ((1, 16), (1, 7), (2, 7), (4, 16))
"""Ranks and columns of a chunk."""

ADAPTER = {"hybrid v2": ("host_v2_rh", 0), "lagged v4": ("host_v4_q", 2)}  # package, spin-up
STATE = ("t", "s", "q1", "q2", "q3", "other", "u", "v", "dtdt", "dudt")

PARTS = ("embedded", "replay", "adapter")
"""What runs: the names of cases begin so."""

Parts = dict[str, str]
"""Digests of variables and of whole text files, by file and variable."""

Outcome = tuple[str, str, dict[str, Parts]]
"""Case, variant (ranks, chunks), and by kind what was written."""


def digest(*parts: bytes) -> str:
    """Return the SHA-256 of bytes one after the other, in hexadecimal."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def together(parts: Parts) -> str:
    """Return one digest for several."""
    return digest(json.dumps(parts, sort_keys=True).encode())


def attributes(owner: netCDF4.Dataset | netCDF4.Variable) -> list[tuple[str, str, Any]]:
    """Return name, type and value of the attributes, without those that may differ."""
    values = {name: np.asarray(owner.getncattr(name)) for name in owner.ncattrs()}
    return [(n, v.dtype.str, v.tolist()) for n, v in values.items() if n not in EXCEPTED]


def netcdf_parts(path: Path) -> Parts:
    """Return the digests of a file: its frame, and every variable with its attributes and bytes."""
    with netCDF4.Dataset(path) as data:
        data.set_auto_maskandscale(False)
        sizes = [(n, len(d), d.isunlimited()) for n, d in data.dimensions.items()]
        frame = [data.data_model, sizes, list(data.variables), attributes(data)]
        found = {"frame": digest(repr(frame).encode())}
        for name, variable in data.variables.items():
            values = np.asarray(variable[...])
            described = (values.dtype.str, variable.dimensions, attributes(variable))
            found[name] = digest(repr(described).encode(), values.tobytes())
    return found


def folder_parts(folder: Path, prefix: str = "") -> dict[str, Parts]:
    """Return by kind the digests of what a run left in its folder."""
    kind_of = {path: kind for kind, pattern in KINDS.items() for path in folder.glob(pattern)}
    found: dict[str, Parts] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".nc", ".csv")):
        kind = found.setdefault(kind_of.get(path, "no kind"), {})
        name = f"{prefix}{path.relative_to(folder)}"
        if path.suffix == ".csv":
            kind[name] = digest(path.read_bytes())
        else:
            kind |= {f"{name}: {variable}": d for variable, d in netcdf_parts(path).items()}
    return found


class Tree:
    """A built tree, the packages, and a folder for runs."""

    def __init__(self, root: Path, work: Path) -> None:
        self.root, self.runs, self.packages = root.resolve(), work / "runs", work / "packages"
        imported = Path(climlink.__file__).resolve()
        if not imported.is_relative_to(self.root):
            sys.exit(f"climlink comes from {imported}: run this with {root}/.venv/bin/python")
        sys.path.insert(0, str(self.root / "tests" / "e3sm_standins"))
        shutil.rmtree(self.runs, ignore_errors=True)
        self.runs.mkdir(parents=True)
        self.packages.mkdir(exist_ok=True)

    def built(self, name: str) -> Path:
        """Return a program of the build folder."""
        found = [p for p in (self.root / "build" / "python").rglob(name) if p.is_file()]
        if not found:
            sys.exit(f"{self.root}/build/python has no {name}: build it first")
        return found[0]

    def require_installed(self) -> None:
        """Exit if the programs that climlink starts are older than those built."""
        for name in ("climlink-aquaplanet", "climlink-replay"):
            installed = executable(name)
            if self.built(name).stat().st_mtime > installed.stat().st_mtime:
                sys.exit(f"{installed} is older than the one in build/python: install it first")

    def make_packages(self) -> dict[str, str]:
        """Make the packages that are not there yet and return the digests of all."""
        maker = importlib.import_module("make_adapter_fixtures")
        paths = {name: self.packages / f"{name}.pt" for name in (*MIXED, "carried")}
        for name in MIXED:
            if not paths[name].exists():
                maker.write_mixed(paths[name], name)
        if not paths["carried"].exists():
            maker.bridge_fixtures()
            memory = importlib.import_module("memory_fixtures")
            slow = memory.SlowClimate(memory.usual_answers())
            memory.column_memory_package(paths["carried"], slow)
        return {name: digest(path.read_bytes()) for name, path in paths.items()}

    def run_online(self, name: str, case: dict[str, Any]) -> Path:
        """Run a case as `climlink online run` does and return its folder."""
        folder, path = self.runs / name, self.runs / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**case, "output": str(folder)}), encoding="utf-8")
        config = load_case(path)
        if isinstance(config, AquaplanetConfig):
            run = run_aquaplanet(config)
            if run.status != "finished":
                sys.exit(f"{path}: the model did not reach its end: {run.message}")
        else:
            run_replay(config)
        return folder


def embedded_model(tree: Tree) -> Iterator[Outcome]:
    """Three days, and all pairs of the first steps."""
    for name, emulator in EMULATORS.items():
        for ranks in RANKS:
            case = {"host": "aquaplanet", "name": "bits", "ranks": ranks, **ENDS_IN_FEBRUARY}
            if emulator is not None:
                package = str(tree.packages / f"{emulator['package']}.pt")
                case["emulator"] = {**emulator, "package": package}
            label = f"{name.replace(' ', '_')}_{ranks}"
            days = tree.run_online(label, {**case, **THREE_DAYS})
            steps = tree.run_online(f"{label}_steps", {**case, **FIRST_STEPS})
            found, further = folder_parts(days), folder_parts(steps, "first steps/")
            kinds = {k: found.get(k, {}) | further.get(k, {}) for k in {*found, *further}}
            shutil.rmtree(days)
            shutil.rmtree(steps)
            yield f"embedded model, {name}", f"{ranks} ranks", kinds


def replay(tree: Tree, climsim: Path) -> Iterator[Outcome]:
    """Columns of ClimSim, and pairs of the embedded model that are one step apart."""
    model = {"host": "aquaplanet", "name": "bits", "ranks": 2, **ENDS_IN_FEBRUARY, **FIRST_STEPS}
    pairs = tree.run_online("source", model) / "climsim"
    sources: dict[str, tuple[str, Path, dict[str, Any]]] = {
        "carried, one step apart": ("carried", pairs, {}),
        "hybrid v2, one step apart": ("host_v2_rh", pairs, {}),
    }
    stamps = sorted(p.name.split(".")[-2] for p in climsim.rglob("*.mli.*.nc"))[::10]
    if stamps:
        selected = {"selection": {"stamps": stamps}}
        sources["hybrid v2, ClimSim"] = ("host_v2_rh", climsim.resolve(), selected)
    for name, (package, data, further) in sources.items():
        for ranks, pcols in REPLAYED:
            case = {"host": "replay", "data": str(data), "ranks": ranks, "pcols": pcols}
            case |= {"package": str(tree.packages / f"{package}.pt"), **further}
            folder = tree.run_online(f"replay_{ranks}_{pcols}", case)
            yield f"replay, {name}", f"{ranks} ranks, pcols {pcols}", folder_parts(folder)
            shutil.rmtree(folder)


def adapter(tree: Tree) -> Iterator[Outcome]:
    """The outputs that E3SM's adapter hands to the stand-in host, and what becomes of its state."""
    bench = importlib.import_module("adapter_bench")
    program = str(tree.built("eam_loop"))
    outputs = [bench.history_name(n) for n, _, _ in bench.variables("mmf368")]
    os.environ.update(mpi_environment(1))
    launcher = mpi_command(1, [])[:-1]
    # One program for each that the bench knows, whatever their number in this tree.
    n_program = len(inspect.signature(bench.Bench).parameters) - 3
    with_files = bench.Bench(tree.runs, tree.packages, *[program] * n_program, launcher)
    for name, (package, spin_up) in ADAPTER.items():
        entries: dict[str, Any] = {"climlink_package": str(tree.packages / f"{package}.pt")}
        entries["cb_spinup_step"] = spin_up
        for ranks in RANKS:
            records = with_files.run(entries, ranks, n_step=8, n_chunk=4 // ranks)
            columns = {n: digest(v.tobytes()) for n, v in with_files.columns.items()}
            kinds: dict[str, Parts] = {"columns": columns}
            for step, record in enumerate(records):
                for field, values in record.items():
                    kind = kinds.setdefault(kind_of_record(field, outputs), {})
                    kind[f"step {step}: {field}"] = digest(values.tobytes())
            width = sum(records[-1][n].shape[1] for n in outputs)
            if width != 368:
                sys.exit(f"the adapter, {name}: {width} outputs were recorded, expected 368")
            yield f"adapter, {name}", f"{ranks} ranks", kinds


def kind_of_record(field: str, outputs: list[str]) -> str:
    """Return the kind of a record of the stand-in host."""
    if field in outputs:
        return "368 outputs"
    return "state" if field in STATE else "surface" if field == "surface" else "other records"


def collect(outcomes: Iterator[Outcome]) -> dict[str, dict[str, Any]]:
    """Return for each case and kind the digest of each variant, and the first variant's parts."""
    found: dict[str, dict[str, Any]] = {}
    for case, variant, kinds in outcomes:
        print(f"{time.strftime('%H:%M:%S')} {case}, {variant}", file=sys.stderr)
        for kind, parts in sorted(kinds.items()):
            entry = found.setdefault(f"{case}: {kind}", {"variants": {}, "parts": parts})
            entry["variants"][variant] = together(parts)
            if parts != entry["parts"]:
                print(f"  {kind} differs: {difference(parts, entry['parts'])}", file=sys.stderr)
    return found


def difference(parts: Parts, others: Parts) -> str:
    """Return how many parts differ, and the first of them."""
    names = sorted({*parts, *others})
    different = [n for n in names if parts.get(n) != others.get(n)]
    return f"{len(different)} of {len(names)}, the first: {different[0]}"


def show(found: dict[str, dict[str, Any]]) -> bool:
    """Print the table; return whether all variants of all cases wrote the same."""
    print(f"{'case: kind':48s} {'parts':>5s} {'ranks, chunks':14s} SHA-256")
    alike = True
    for name, entry in found.items():
        sums = set(entry["variants"].values())
        alike = alike and len(sums) == 1
        word = f"{len(entry['variants'])} {'the same' if len(sums) == 1 else 'DIFFER'}"
        for one in sorted(sums):
            print(f"{name:48s} {len(entry['parts']):5d} {word:14s} {one}")
    print(f"all ranks and chunks write the same: {'yes' if alike else 'NO'}")
    return alike


def compare(found: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]]) -> bool:
    """Print what differs from another tree's sums; return whether nothing does."""
    names = list(dict.fromkeys([*before, *found]))
    different = []
    for name in names:
        parts, others = (one.get(name, {}).get("parts", {}) for one in (found, before))
        if parts != others:
            different.append(name)
            print(f"DIFFERS: {name}: {difference(parts, others)}")
    print(f"the same in both trees: {len(names) - len(different)} of {len(names)} kinds")
    return not different


def arguments() -> argparse.Namespace:
    """Return the command line."""
    root = Path(__file__).resolve().parents[1]
    described = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=described)
    parser.add_argument("tree", type=Path, nargs="?", default=root)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/host_bits"), help="default: %(default)s"
    )
    parser.add_argument("--climsim", type=Path, help="default: ../shared/climsim beside the tree")
    parser.add_argument("--json", type=Path, help="write the sums here")
    parser.add_argument("--against", type=Path, help="compare with such a file; the exit code says")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


def main() -> None:
    """Run all, print the table, and compare."""
    given, begun = arguments(), time.monotonic()
    tree = Tree(given.tree, given.work.resolve())
    tree.require_installed()
    packages = tree.make_packages()
    before = json.loads(given.against.read_text(encoding="utf-8")) if given.against else None
    if before is not None and before["packages"] != packages:
        sys.exit(f"{given.against} was made with other packages than {tree.packages}")
    climsim = given.climsim or tree.root.parent / "shared" / "climsim"
    outcomes = {
        "embedded": embedded_model(tree),
        "replay": replay(tree, climsim),
        "adapter": adapter(tree),
    }
    found: dict[str, dict[str, Any]] = {}
    for part in given.parts:
        found |= collect(outcomes[part])
    shutil.rmtree(tree.runs)
    seconds = round(time.monotonic() - begun)
    right = show(found)
    print(f"{tree.root}: {seconds} s")
    if given.json:
        record = {"excepted": EXCEPTED, "packages": packages, "seconds": seconds, "sums": found}
        given.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    if before is not None:
        chosen = {n: v for n, v in before["sums"].items() if n.startswith(tuple(given.parts))}
        right = compare(found, chosen) and right
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
