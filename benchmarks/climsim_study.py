"""Six small networks, four recipes, ensembles and second stages on the fifty ClimSim pairs, as
Markdown tables (docs/study.md).

    python benchmarks/climsim_study.py CLIMSIM_DIR --work runs/climsim_study

Four steps, each skipped where its result is there: train (hours on two cores; --jobs), export,
choose (on the eight training snapshots that `source: cut` holds out, nowhere else), test (the ten
test snapshots, once: test.json is never written over). What is asked was fixed before:

* R² of each network with the standard recipe, mean and spread of three seeds, beside unet_small,
  whose settings were tuned while looking at these ten snapshots;
* four recipes on one network, one seed each but for the standard one;
* the best of the six, by its mean skill on the cut, against unet_small, and ensembles against their
  best member by the cut: paired bootstrap over snapshots;
* the competition's score of single networks, ensembles and second stage.

A fifth step, wide, was added after the test had been read, since no ensemble reached what was hoped
for: all networks as members, one weight per output, again chosen on the cut; the test snapshots are
read once more for it and its best member (wide.json).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climlink.data.store import ColumnStore
from climlink.ensembles.refine import Refined
from climlink.ensembles.scoring import Candidate, compare, of_package, of_refined
from climlink.evaluation.offline.bootstrap import HEADLINE
from climlink.packages.read import EmulatorPackage
from climlink.training.callbacks import read_metrics
from climlink.training.matrix_config import load_matrix

STORE = "stores/climsim_sample.zarr"
MATRIX = "climsim_small"
REFERENCE = "unet_small"
SEEDS = (7, 43, 1024)
PASSES = 8
FOLDS = 4
"""Of the eight snapshots that the cut holds out."""
RESAMPLES = 2000
STEPS = ("train", "export", "choose", "test", "wide")
_CLIMLINK = (sys.executable, "-m", "climlink")


def main() -> None:
    """Run the steps that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("climsim", type=Path, help="folder with the fifty pairs")
    parser.add_argument("--work", type=Path, default=Path("runs/climsim_study"))
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--until", choices=STEPS, default="wide", help="last step")
    given = parser.parse_args()
    study = Study(given.climsim, given.work, given.jobs)
    for step in STEPS:
        getattr(study, step)()
        if step == given.until:
            break


class Study:
    """The steps, and where their results lie."""

    def __init__(self, climsim: Path, work: Path, jobs: int) -> None:
        self.climsim, self.work, self.jobs = climsim.absolute(), work, jobs
        work.mkdir(parents=True, exist_ok=True)
        names = [run.name for run in load_matrix(MATRIX).runs]
        self.standard = [n for n in names if "_standard_" in n]
        recipes = [n for n in names if n not in self.standard and n.endswith(f"seed{SEEDS[0]}")]
        self.names = [*self.standard, *recipes]
        self.references = [f"{REFERENCE}_seed{seed}" for seed in SEEDS]

    def call(self, *words: object) -> None:
        """Run a command of climlink in the working folder, where shipped files have their paths."""
        subprocess.run([*_CLIMLINK, *map(str, words)], check=True, cwd=self.work)

    def train(self) -> None:
        """Make the store and train whatever is not trained."""
        self.call("data", "prepare", self.climsim, "--out", STORE, "--split", "climsim_sample")
        for chosen in ("recipe=standard", f"seed={SEEDS[0]}"):
            self.call("train", "--matrix", MATRIX, chosen, "--jobs", self.jobs)
        for name, seed in zip(self.references, SEEDS, strict=True):
            passes = f"epochs={PASSES}"  # as the others have
            self.call("train", REFERENCE, f"name={name}", f"seed={seed}", passes, "--resume")

    def export(self) -> None:
        """Make a package of every run's best epoch by the cut."""
        for name in (*self.names, *self.references):
            if not (self.work / package(name)).exists():
                self.call("export", f"runs/{name}", "-o", package(name))

    def choose(self) -> None:
        """Choose by the cut, and fit to it, whatever is chosen or fitted."""
        place = self.work / "chosen.json"
        if place.exists():
            return
        members = [package(n) for n in self.standard]
        held = ("--store", STORE, "--times", "cut")
        self.call("ensemble", "mean", *members, "-o", "mean.pt", "--name", "mean")
        self.call("ensemble", "weights", *members, *held, "-o", "weights.yaml")
        weights = ("--weights-file", "weights.yaml")
        self.call("ensemble", "mean", *members, *weights, "-o", "weighted.pt", "--name", "weighted")
        folds = ("--folds", FOLDS)
        self.call("ensemble", "stack", *members, *held, *folds, "-o", "stack.pt", "--name", "stack")
        self.call("ensemble", "refine", "weighted.pt", *held, "-o", "refined")
        place.write_text(json.dumps(self.chosen(), indent=1), encoding="utf-8")

    def chosen(self) -> dict[str, Any]:
        """Return skills on the cut, and which network and members are best there."""
        skills = {n: self.skill(n) for n in (*self.names, *self.references)}
        networks = {n.partition("_standard_")[0] for n in self.standard}
        means = {
            a: statistics.mean(skills[n] for n in self.standard if n.startswith(f"{a}_standard_"))
            for a in sorted(networks)
        }
        network = max(means, key=lambda a: means[a])
        return {
            "skill_on_the_cut": skills,
            "mean_skill_of_a_network": means,
            "network": network,
            "best_member": max(self.standard, key=lambda n: skills[n]),
            "network_runs": [n for n in self.standard if n.startswith(f"{network}_standard_")],
        }

    def skill(self, name: str) -> float:
        """Return the best skill of a run on the cut."""
        lines = read_metrics(self.work / "runs" / name / "metrics.csv")
        return max(float(line["skill"]) for line in lines)

    def test(self) -> None:
        """Score everything on the test snapshots, once, and print the tables."""
        place = self.work / "test.json"
        if not place.exists():
            chosen = json.loads((self.work / "chosen.json").read_text(encoding="utf-8"))
            place.write_text(json.dumps(self.scores(chosen), indent=1), encoding="utf-8")
        print_tables(json.loads(place.read_text(encoding="utf-8")))

    def wide(self) -> None:
        """Choose one weight per output for all networks, and test that once."""
        place = self.work / "wide.json"
        if not place.exists():
            members = [package(n) for n in (*self.names, *self.references)]
            held = ("--store", STORE, "--times", "cut", "--per", "target")
            weights = ("--weights-file", "wide.yaml")
            self.call("ensemble", "weights", *members, *held, "-o", "wide.yaml")
            self.call("ensemble", "mean", *members, *weights, "-o", "wide.pt", "--name", "wide")
            chosen = json.loads((self.work / "chosen.json").read_text(encoding="utf-8"))
            best = self.candidate(package(chosen["best_member"]))
            found = self.compared([best, self.candidate("wide.pt")])
            place.write_text(json.dumps(found, indent=1), encoding="utf-8")
        found = json.loads(place.read_text(encoding="utf-8"))
        print_tables({"scores": found["scores"], "differences": {"wide": found["differences"]}})

    def scores(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Return all scores and the asked differences on the test snapshots."""
        refined = remembering(of_refined(Refined(self.work / "refined")))
        names = (*self.names, *self.references)
        single = {n: self.candidate(package(n)) for n in names}
        ensembles = [self.candidate(f"{n}.pt") for n in ENSEMBLES]
        against_reference = {
            a: self.compared([single[a], single[b]])["differences"]
            for a, b in zip(chosen["network_runs"], self.references, strict=True)
        }
        best = single[chosen["best_member"]]
        against_best = self.compared([best, *ensembles, refined])["differences"]
        every = self.compared([*single.values(), *ensembles, refined], resamples=0)
        return {
            "chosen": chosen,
            "scores": every["scores"],
            "differences": {
                **{f"{a} and {REFERENCE}": d for a, d in against_reference.items()},
                f"ensembles against {chosen['best_member']}": against_best,
            },
        }

    def candidate(self, place: str) -> Candidate:
        """Return a package as something to score, under a name of its own."""
        return remembering(of_package(EmulatorPackage.read(self.work / place)))

    def compared(self, candidates: list[Candidate], resamples: int = RESAMPLES) -> dict[str, Any]:
        """Return scores, and differences to the best single one of the candidates."""
        store = ColumnStore.open(self.work / STORE)
        return compare(candidates, store, "test", resamples=resamples).as_dict()


ENSEMBLES = ("mean", "weighted", "stack")


LEAP_WORDS = {
    "leap.score": "competition's score",
    "leap.score_floored": "floored at 0",
    "leap.targets_below_0": "targets below 0",
}


def remembering(candidate: Candidate) -> Candidate:
    """Return a candidate that predicts the same rows once only: they enter several comparisons."""
    known: dict[str, NDArray[np.floating]] = {}

    def rows(x: NDArray[np.float32]) -> NDArray[np.floating]:
        key = hashlib.sha256(x.tobytes()).hexdigest()
        if key not in known:
            known[key] = candidate.rows(x)
        return known[key]

    return dataclasses.replace(candidate, rows=rows)


def print_tables(found: dict[str, Any]) -> None:
    """Print scores and differences as Markdown."""
    scores = {s["label"]: s for s in found["scores"]}
    groups: dict[str, list[dict[str, Any]]] = {}
    for label, score in scores.items():
        groups.setdefault(label.rpartition("_seed")[0] or label, []).append(score)
    short = [n.removeprefix("ptend_").removeprefix("cam_out_") for n in (*HEADLINE, "mean")]
    _print_table(groups, short, lambda s: [_number(s, name) for name in (*HEADLINE, "mean")])
    print()
    _print_table(groups, LEAP_WORDS.values(), lambda s: [s["leap"][k] for k in LEAP_WORDS])
    for what, differences in found["differences"].items():
        print(f"\n{what}: each less the best single one, mean over {', '.join(HEADLINE)}")
        for label, by_output in differences.items():
            d = by_output["mean"]
            print(f"{label}: {d['difference']:+.4f} ({d['low']:+.4f} to {d['high']:+.4f})")


def _print_table(
    groups: dict[str, list[dict[str, Any]]],
    heads: Iterable[str],
    values: Callable[[dict[str, Any]], list[float]],
) -> None:
    """Print a row for each group of scores: the mean of each value, lowest and highest."""
    heads = ["", *heads]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for label, group in groups.items():
        cells = [_cell(list(column)) for column in zip(*map(values, group), strict=True)]
        print(f"| {label} | {' | '.join(cells)} |")


def _number(score: dict[str, Any], name: str) -> float:
    return float(score["mean"] if name == "mean" else score["r2"][name])


def _cell(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def package(name: str) -> str:
    """Return where the package of a run lies."""
    return f"runs/{name}/wrap_model.pt"


if __name__ == "__main__":
    main()
