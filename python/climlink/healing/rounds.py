"""The rounds of a healing: train, export, run as a hybrid, label, score. Every part is skipped
where its result is there; what a killed call left half done is made again.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from climlink.config import ConfigError
from climlink.data.files import make_folder, read_json, remove_folder
from climlink.data.store import ColumnStore
from climlink.evaluation.report import write_report
from climlink.evaluation.summary import write_json
from climlink.healing.config import FREE_ON_RESUME, HealConfig
from climlink.healing.hybrid import Runs, run_hybrid
from climlink.healing.labels import Labels, is_labelled, label, read_labels
from climlink.healing.report import Healed, RoundResult, heal_report, markdown
from climlink.healing.scores import score_member, score_offline
from climlink.healing.source import Source, find_source
from climlink.online.launch import Progress
from climlink.packages.read import EmulatorPackage
from climlink.run_folder import run_log
from climlink.training.checkpoint import CHECKPOINT_FOLDER, CONFIG_FILE, LAST, run_progress
from climlink.training.composition import load_training
from climlink.training.config import TrainingConfig
from climlink.training.data_config import MAIN
from climlink.training.errors import TrainingError
from climlink.training.optimizer_config import ScheduleConfig
from climlink.training.run import train

START, HEAL, CONTROL = "start", "heal", "control"
"""The package as it came; what learns from its hybrids; what is trained as long without them."""
PACKAGE_FILE = "wrap_model.pt"
PLAN_FILE = "heal.json"
TABLE_FILE = "heal.md"


class Reporter(Protocol):
    """How a healing tells its caller what it does."""

    def stage(self, title: str) -> None:
        """Announce a part."""

    def bar(self, label: str) -> AbstractContextManager[Progress]:
        """Return a progress bar for one part."""


def heal(given: Path, config: HealConfig, report: Reporter, *, progress: bool = True) -> Healed:
    """Heal a package, or the network of a training run, round by round, beside a control; return
    what was found, which also lies in the folder: report.html, summary.json, tables, figures and
    heal.md, written anew after every round.

    The same call goes on where a killed one stopped. ConfigError, TrainingError, StoreError or
    PackageError for what cannot be healed or does not fit what the folder holds, LaunchError for a
    reference that fails; a hybrid that dies is a result.
    """
    source, runs = find_source(given), Runs(config)
    original = ColumnStore.open(source.training.store)
    runs.require_apart(original)
    folder = make_folder(config.output)
    with run_log(folder):
        _require_same(folder, _plan(config, source, runs))
        work = Healing(config, source, runs, original, folder, report, progress)
        return work.heal(f"climlink online heal {given}")


def _plan(config: HealConfig, source: Source, runs: Runs) -> dict[str, Any]:
    """Return what a call that goes on must share with the one that began."""
    settings = config.model_dump(mode="json", exclude=set(FREE_ON_RESUME))
    return {
        **settings,
        "begins": str(runs.start),
        "checkpoint": str(source.checkpoint.resolve()),
        "constraints of the package": [e.model_dump(mode="json") for e in source.constraints],
    }


def _require_same(folder: Path, plan: dict[str, Any]) -> None:
    """Record the plan of a new healing; ConfigError where the folder holds another one."""
    path = folder / PLAN_FILE
    if not path.is_file():
        write_json(plan, path)
        return
    begun = read_json(path)
    changed = [k for k in plan if begun.get(k) != plan[k]]
    if changed:
        told = ", ".join(f"{k} was {begun.get(k)!r:.80}, now {plan[k]!r:.80}" for k in changed)
        raise ConfigError(
            f"{folder} holds another healing: {told}; give the same again to go on with it, or "
            "another output"
        )


@dataclass(frozen=True)
class Healing:
    """A healing at work in its folder."""

    config: HealConfig
    source: Source
    runs: Runs
    original: ColumnStore
    folder: Path
    report: Reporter
    progress: bool

    def heal(self, command: str) -> Healed:
        """Go through all rounds and return what they found."""
        self.report.stage(f"reference: {self.config.days:g} days from {self.runs.start}")
        with self.report.bar("days") as bar:
            reference = self.runs.reference(self.folder / "reference", bar)
        results = [self._tried(START, 0, self.source.checkpoint, reference, None)]
        self._write(results, command)
        checkpoints = dict.fromkeys((HEAL, CONTROL), self.source.checkpoint)
        for number in range(1, self.config.rounds + 1):
            learned = [r.labels for r in results if r.arm != CONTROL]
            for arm in checkpoints:
                labels = learned if arm == HEAL else []
                checkpoints[arm] = self._trained(arm, number, checkpoints[arm], labels)
                results.append(
                    self._tried(arm, number, checkpoints[arm], reference, results[0].labels)
                )
                self._write(results, command)
        return Healed(self.config, self.folder, tuple(results))

    def _place(self, arm: str, number: int) -> Path:
        return self.folder / f"round_{number}" / ("" if arm == START else arm)

    def _trained(
        self, arm: str, number: int, initial: Path, learned: Sequence[Sequence[Labels]]
    ) -> Path:
        """Return the last checkpoint of a round's fine-tuning: its schedule has come to rest
        there. (The best one on held-out original data would be the one that learned least else.)
        """
        run = self._place(arm, number) / "training"
        if arm == HEAL and not any(one.train for labels in learned for one in labels):
            first = next(one for labels in learned for one in labels)
            raise TrainingError(
                f"the hybrids left no state to learn from ({first}); they died too early for "
                "sampling.every_steps, or outside of the bounds of kept"
            )
        config = fine_tuning(self.source, self.config, number, initial, learned)
        config = config.model_copy(
            update={"name": f"{self.source.training.name}_{arm}_{number}", "output": run}
        )
        if not _is_trained(run):
            self.report.stage(f"round {number}, {arm}: train {self.config.training.steps} steps")
            if run.exists() and not (run / CONFIG_FILE).is_file():
                remove_folder(run)  # killed before the run had begun
            train(config, resume=True, progress=self.progress)
        return run / CHECKPOINT_FOLDER / LAST

    def _tried(
        self,
        arm: str,
        number: int,
        checkpoint: Path,
        reference: Path,
        first: Sequence[Labels] | None,
    ) -> RoundResult:
        """Export a checkpoint, run it as hybrids, label their states and score all. ``first`` are
        labels of the first hybrids, None for these themselves.
        """
        place = self._place(arm, number)
        path = place / PACKAGE_FILE
        if path.is_file():
            package = EmulatorPackage.read(path)
        else:
            c = self.config
            package = self.source.export(checkpoint, path, c.constraints, c.without_constraints)
        labels, members = [], []
        for member in range(1, self.config.members + 1):
            title = f"round {number}, {arm}: hybrid {member} of {self.config.members}"
            self.report.stage(title)
            case = self.runs.hybrid(package, place / f"hybrid_{member}", member)
            with self.report.bar("days") as bar:
                run_hybrid(case, bar)
            self.report.stage(f"{title}: its first days beside the reference physics")
            labels.append(self._labelled(package, place, number, member))
            file = place / f"online_{member}.json"
            with self.report.bar("records") as bar:
                days = self.config.scored_days
                members.append(score_member(case.output, reference, days, file, bar))
        own = _held_out(labels)
        offline = score_offline(
            package,
            self.original,
            own if first is None else _held_out(first),
            own,
            place / "offline.json",
        )
        return RoundResult(arm, number, package.digest, tuple(labels), tuple(members), offline)

    def _labelled(self, package: EmulatorPackage, place: Path, number: int, member: int) -> Labels:
        """Run the first days of a hybrid once more, with the reference physics beside it, and
        label their states; the run is not needed any longer then.
        """
        store = place / f"labels_{member}.zarr"
        if not is_labelled(store):
            case = self.runs.sampled(package, place / f"sampled_{member}", member, number)
            with self.report.bar("days") as bar:
                lived = run_hybrid(case, bar)
            label(case.output, store, self.runs.start, lived, self.config, case.time_step_s)
            remove_folder(case.output)
        return read_labels(store)

    def _write(self, results: Sequence[RoundResult], command: str) -> None:
        healed = Healed(self.config, self.folder, tuple(results))
        write_report(heal_report(healed, command), self.folder)
        (self.folder / TABLE_FILE).write_text(markdown(healed), encoding="utf-8")


def fine_tuning(
    source: Source,
    config: HealConfig,
    number: int,
    initial: Path,
    learned: Sequence[Sequence[Labels]],
) -> TrainingConfig:
    """Return the training of a round: the last stage of the source's run, begun from ``initial``,
    with the healing's steps, rate and noise, on the run's own data and ``learned``, the labels of
    the hybrids so far [round][member]; none for the control.
    """
    names = source.training.stage_names
    base = source.training.stage(len(names) - 1)
    stores, weights = _shares(learned, config.mix.older_rounds, base.stores)
    mix = dict(base.mix)
    if weights:
        own = base.mix or {MAIN: 1.0}
        mix = {n: config.mix.original * w / sum(own.values()) for n, w in own.items()}
        mix |= {n: config.mix.hybrid * w for n, w in weights.items()}
    given, tuning = base.model_dump(mode="json"), config.training
    values = {
        **given,
        "stages": [],
        "trajectory": None,
        "statistics": source.statistics,
        "initial_weights": initial,
        "stores": {**given["stores"], **stores},
        "mix": mix,
        "epochs": tuning.steps,  # as many as the steps need
        "max_steps": tuning.steps,
        "optimizer": {**given["optimizer"], "learning_rate": tuning.learning_rate},
        "schedule": ScheduleConfig().model_dump(mode="json"),
        "augment": {**given["augment"], "input_noise": tuning.input_noise},
        "seed": base.seed + number,
        "keep_checkpoints": 0,
        "tensorboard": False,
    }
    return load_training(TrainingConfig.model_validate(values), tuning.settings)


def _shares(
    learned: Sequence[Sequence[Labels]], older: float, taken: Container[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Return the stores of labels by name, and what share of the hybrids' columns each has: a round
    counts ``older`` times the one after it, its members by their states. ``taken`` are names of
    stores that the run has already, of an earlier healing.
    """
    stores, weights = {}, {}
    for number, labels in enumerate(learned):
        states = sum(one.train for one in labels)
        for member, one in enumerate(labels, 1):
            if one.train:
                name = f"hybrid_{number}_{member}"
                while name in taken:
                    name += "_again"
                stores[name] = {"store": one.store}
                weights[name] = older ** (len(learned) - 1 - number) * one.train / states
    total = sum(weights.values())
    return stores, {name: weight / total for name, weight in weights.items()}


def _held_out(labels: Sequence[Labels]) -> list[ColumnStore]:
    return [ColumnStore.open(one.store) for one in labels if one.held_out]


def _is_trained(run: Path) -> bool:
    try:
        return run_progress(run).finished
    except TrainingError:
        return False
