"""Ten hybrids of the embedded model with the measures that keep them alive, and without: what the
tables and the figure of docs/hybrids.md are made from.

    python benchmarks/hybrid_study.py --work runs/hybrid_study --jobs 2
    python benchmarks/hybrid_study.py --work runs/hybrid_smoke --smoke

Stages, each part of which is skipped where its result is there:

* reference: the embedded model from rest; pairs after its spin-up, for training, and after a gap of
  weeks for the test; a twin, a further reference, and every step of some days for the screen;
* train: ten networks with one budget, each with the head that closes energy;
* export: the same weights with all measures and without, for three of them also with each measure
  off alone and on alone; scored offline on the test days;
* screen: what the stability screen says of a package, recorded before it runs;
* run: a hybrid of each package from the end of the gap on, beside the reference of the same days;
* warm: the best hybrid and its weights without measures on a warmer sea, beside a reference on that
  sea;
* table: tables, figure and catalogue.json, all that was found, one line for each part;
* concordance: limits of the screen fitted without the architecture of --left-out (limits.yaml), and
  how well the screen told who lives, every architecture left out in turn.

With its twin and the rest the reference is 840 days of the model, the hybrids are up to 3,000.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from hybrid_catalogue import unpack, write_catalogue
from hybrid_parts import (
    SCREENED,
    Study,
    make_package,
    make_reference,
    make_run,
    make_screen,
    make_variant,
    make_warm_reference,
)
from hybrid_plan import ABLATED, MEMBERS, OFF, ON, Days, Member, Policy, chosen, variants
from hybrid_screen import score_screen
from hybrid_tables import best_of, make_tables

STAGES = ("reference", "train", "export", "screen", "run", "warm", "table", "concordance")
LEFT_OUT = "unet"
"""Fixed before any run."""
SMOKE_DAYS = Days(spin_up=1, train=3, gap=1, hybrid=1, test=1, apart=1, replay=1, interval=25)
SMOKE_SCREEN = {
    "ensemble": 4,
    "wavelengths": 2,
    "sensitivity_columns": 2,
    "steps": 6,
    "free_run_days": 0.25,
    "free_run_columns": 1,
}
SMOKE_MEMBERS = ("mlp_seed7", "unet_seed7")


def main() -> None:
    """Make what is missing, stage by stage."""
    given = arguments()
    driver = Driver(given)
    for stage in STAGES[STAGES.index(given.first) :]:
        print(f"== {stage}", flush=True)
        getattr(driver, stage)()
        if stage == given.until:
            break


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/hybrid_study"))
    parser.add_argument(
        "--from", choices=STAGES, default=STAGES[0], dest="first", help="first stage"
    )
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="last stage")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME[/VARIANT]",
        help="only these packages or variants of theirs, with wildcards; once for each",
    )
    text = "catalogue.json of the same study, whose parts need not be made again"
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help=text)
    parser.add_argument("--jobs", type=int, default=1, help="parts at a time")
    parser.add_argument("--ranks", type=int, default=1, help="MPI ranks of each run")
    days, policy = Days(), Policy()
    for name, what in (
        ("spin-up", "days of the reference before the first pair"),
        ("train", "days of training, validation inside"),
        ("gap", "days between training and hybrids"),
        ("hybrid", "days of each hybrid"),
        ("test", "days of the offline test, the first of the hybrids'"),
        ("apart", "days before the hybrids at which a further reference branches off"),
        ("replay", "days with every step recorded, for the screen"),
    ):
        default = getattr(days, name.replace("-", "_"))
        text = f"{what} ({default})"
        parser.add_argument(f"--{name}-days", type=int, default=default, help=text)
    text = f"steps between pairs, without a divisor in common with a day's ({days.interval})"
    parser.add_argument("--interval", type=int, default=days.interval, help=text)
    parser.add_argument("--epochs", type=int, default=3, help="of each training (3)")
    text = f"of the range relaxation, per day ({policy.rate_per_day:g})"
    parser.add_argument("--rate", type=float, default=policy.rate_per_day, help=text)
    text = f"pressure above which the top is stable, Pa ({policy.stable_top_pa:g})"
    parser.add_argument("--stable-top", type=float, default=policy.stable_top_pa, help=text)
    text = "columns of each state in the screen's free runs (4)"
    parser.add_argument("--screen-columns", type=int, default=4, help=text)
    text = "package of which each measure is taken off and on alone; once for each"
    parser.add_argument("--ablate", action="append", metavar="NAME", help=text)
    text = f"by which the sea is warmer in the stage warm ({Study.warming_k:g})"
    parser.add_argument("--warm", type=float, default=Study.warming_k, metavar="KELVIN", help=text)
    parser.add_argument("--best", metavar="NAME", help="package of the warmer sea; default: found")
    text = f"architecture that the limits are not fitted to ({LEFT_OUT})"
    parser.add_argument("--left-out", metavar="ARCHITECTURE", default=LEFT_OUT, help=text)
    parser.add_argument("--smoke", action="store_true", help="two packages and one day, to try it")
    return parser.parse_args(words)


def study_of(given: argparse.Namespace) -> Study:
    """Return the study that the command line describes."""
    days = Days(
        spin_up=given.spin_up_days,
        train=given.train_days,
        gap=given.gap_days,
        hybrid=given.hybrid_days,
        test=given.test_days,
        apart=given.apart_days,
        replay=given.replay_days,
        interval=given.interval,
    )
    study = Study(
        work=given.work.absolute(),
        days=days,
        policy=Policy(given.rate, given.stable_top),
        epochs=given.epochs,
        ranks=given.ranks,
        screen={"free_run_columns": given.screen_columns},
        warming_k=given.warm,
    )
    if given.smoke:
        study = replace(study, days=SMOKE_DAYS, epochs=1, screen=SMOKE_SCREEN)
    return study


Part = tuple[Callable[..., None], tuple[Any, ...]]
"""What makes a part, and of what."""


class Driver:
    """The stages, and how many parts are made at a time."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.study, self.jobs, self.only = study_of(given), given.jobs, given.only
        tried = [m for m in MEMBERS if m.name in SMOKE_MEMBERS]
        self.members = tried if given.smoke else MEMBERS
        self.ablated = tuple(given.ablate or (() if given.smoke else ABLATED))
        self.best, self.left_out = given.best, given.left_out
        if given.catalogue:
            unpack(self.study, given.catalogue)

    def reference(self) -> None:
        make_reference(self.study)

    def train(self) -> None:
        waiting = dict.fromkeys(m for m, _ in self._variants())
        self._make([(make_package, (self.study, m)) for m in waiting])

    def export(self) -> None:
        self._make([(make_variant, (self.study, *one)) for one in self._variants()])

    def screen(self) -> None:
        screened = [(m, v) for m, v in self._variants() if v in SCREENED]
        self._make([(make_screen, (self.study, *one)) for one in screened])

    def run(self) -> None:
        self._make([(make_run, (self.study, *one)) for one in self._variants()])

    def warm(self) -> None:
        best = self.best or best_of(self.study)
        member = next(m for m in self.members if m.name == best)
        make_warm_reference(self.study)
        make_package(self.study, member)
        for variant in (ON, OFF):
            make_variant(self.study, member, variant)
        self._make([(make_run, (self.study, member, v, True)) for v in (ON, OFF)])

    def table(self) -> None:
        make_tables(self.study)
        write_catalogue(self.study)

    def concordance(self) -> None:
        score_screen(self.study, self.left_out)

    def _variants(self) -> Iterator[tuple[Member, str]]:
        """Yield what is asked for and has no result: all measures of every member first, then none,
        then one by one.
        """
        every = [(m, v) for m in self.members for v in variants(m.name, self.ablated)]
        every.sort(key=lambda one: (one[1] != ON, one[1] != OFF))
        for member, variant in every:
            done = self.study.part("results", member.name, variant).exists()
            if chosen(member.name, variant, self.only) and not done:
                yield member, variant

    def _make(self, parts: list[Part]) -> None:
        """Make parts, as many at a time as was asked for; a failure ends all."""
        if self.jobs == 1:
            for make, of in parts:
                self._tell(of)
                make(*of)
            return
        # Spawned, since torch and the netCDF library do not live through a fork.
        spawn = multiprocessing.get_context("spawn")
        # one part for each, since a training leaves much of its memory with its process
        with ProcessPoolExecutor(self.jobs, spawn, max_tasks_per_child=1) as pool:
            tasks = [(pool.submit(make, *of), of) for make, of in parts]
            try:
                for task, of in tasks:
                    task.result()
                    self._tell(of)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    @staticmethod
    def _tell(of: tuple[Any, ...]) -> None:
        print(" ".join(str(getattr(x, "name", x)) for x in of[1:]), flush=True)


if __name__ == "__main__":
    main()
