"""A trajectory loss against the same network without it at one offline budget, as a Markdown table.

    python benchmarks/trajectory_loss.py --work runs/trajectory_loss

The embedded model gives twelve days of consecutive steps. For each of five seeds two trainings see
the same number of column steps: one of single steps throughout, one that ends with a stage through
recorded steps. Asked of each, as was fixed before: the error after 72 recorded steps of test days,
and the days that the embedded model lives with it, of 60 at most. Every part is skipped where its
result is there. About three hours on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.online.aquaplanet import AquaplanetConfig, newest_restart, run_aquaplanet
from climlink.packages.export import eager_emulator, export_run
from climlink.packages.read import EmulatorPackage
from climlink.training.composition import load_training
from climlink.training.run import train
from climlink.training.trajectory.rollout import Rollout
from climlink.training.trajectory.sequences import read_sequence

SEEDS = (7, 43, 1024, 2023, 31)
STEPS_PER_DAY = 72
FIRST_DAY, LAST_DAY = 54, 66
DAYS_ASKED = 60
SPLIT = Split.model_validate(
    {
        "remainder": "unused",
        "time_step_s": 1200,
        "train": [{"start": "0001-02-24", "end": "0001-02-26"}],
        "validation": [{"start": "0001-03-04", "end": "0001-03-04"}],
        "test": [{"start": "0001-03-06", "end": "0001-03-07"}],
    }
)
"""Of days 54 to 65: three to train, one to validate, two to test."""
SHOWN = {"state_t": ("K", 1.0), "state_q0001": ("g/kg", 1e3), "state_u": ("m/s", 1.0)}
_SETTINGS: dict[str, Any] = {
    # the cheapest network: ten trainings and up to six hundred days of the embedded model are asked
    "architecture": {"name": "mlp", "configuration": {"preset": "published"}},
    "recipe": "standard",
    "batch_size": 432,
    "validation": {"source": "store"},
    "tensorboard": False,
}
KINDS: dict[str, list[dict[str, Any]]] = {
    "single steps": [
        {"name": "steps", "epochs": 4},
        {"name": "more", "epochs": 2, "optimizer": {"learning_rate": 3e-4}},
    ],
    "trajectory": [
        {"name": "steps", "epochs": 4},
        {
            "name": "trajectory",
            "epochs": 2,
            "optimizer": {"learning_rate": 3e-4},
            "trajectory": {"steps": 12, "truncate": 6},
        },
    ],
}


def main() -> None:
    """Make what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/trajectory_loss"))
    work = parser.parse_args().work
    reference = work / "reference"
    store = _store(work, reference)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for seed in SEEDS:
        for kind, stages in KINDS.items():
            folder = work / f"{kind.replace(' ', '_')}_seed{seed}"
            place = folder / "result.json"
            if not place.exists():
                result = _result(folder, store, seed, stages, reference)
                place.write_text(json.dumps(result), encoding="utf-8")
            found[kind].append(json.loads(place.read_text(encoding="utf-8")))
            print(f"{kind}, seed {seed}: {found[kind][-1]}", flush=True)
    _print_table(found)


def _store(work: Path, reference: Path) -> Path:
    """Return the store of the reference's consecutive steps."""
    if not (reference / "run.json").exists():
        case = {
            "host": "aquaplanet",
            "name": "reference",
            "days": LAST_DAY,
            "restart_every_days": 6,
            "history": {"monthly": False},
            "pairs": {"every_steps": 1, "from_day": FIRST_DAY},
            "output": reference,
        }
        run_aquaplanet(AquaplanetConfig.model_validate(case))
    store = work / "steps.zarr"
    prepare(reference / "climsim", store, split=SPLIT)
    return store


def _result(
    folder: Path, store: Path, seed: int, stages: list[dict[str, Any]], reference: Path
) -> dict[str, float]:
    """Train, export, run along recorded steps and in the embedded model."""
    settings = {**_SETTINGS, "stages": stages, "seed": seed, "data": str(store)}
    config = load_training("tiny", {**settings, "output": str(folder / "run")})
    train(config, resume=True)
    package = folder / "wrap_model.pt"
    if not package.exists():
        export_run(folder / "run", package)
    return {
        **_skill(folder / "run"),
        **_errors_after_a_day(package, store),
        "days": _days_lived(package, reference, folder / "hybrid"),
    }


def _skill(run: Path) -> dict[str, float]:
    lines = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    skills = [float(line.split(",")[-1]) for line in lines[1:]]
    return {"skill": max(skills)}


def _errors_after_a_day(package: Path, store_path: Path) -> dict[str, float]:
    """Return the mass-weighted RMSE of the state after 72 recorded steps, over columns and over
    trajectories that begin every twelfth step of the first test day.
    """
    emulator = eager_emulator(EmulatorPackage.read(package))
    store = ColumnStore.open(store_path)
    rollout = Rollout(emulator.contract)
    test = store.indices("test")
    inputs = emulator.contract.inputs
    squares = dict.fromkeys(SHOWN, 0.0)
    starts = range(0, STEPS_PER_DAY, 12)
    for start in starts:
        sequence = read_sequence(store, emulator.contract, test[start : start + STEPS_PER_DAY])
        with torch.no_grad():
            errors, _ = rollout.errors(emulator, sequence)
        mass = _mass(store, sequence.inputs[-1][:, inputs.slice("state_ps")].numpy())
        for name in SHOWN:
            error = errors[-1][:, inputs.slice(name)].numpy()
            squares[name] += float((mass * error**2).sum() / mass.sum()) / len(starts)
    return {name: SHOWN[name][1] * value**0.5 for name, value in squares.items()}


def _mass(store: ColumnStore, surface_pressure: np.ndarray) -> np.ndarray:
    """Return the mass of layers times the area of columns [column, level]."""
    h = store.hybrid
    interfaces = np.asarray(h.hyai) * h.p0_pa + np.asarray(h.hybi) * surface_pressure
    return np.diff(interfaces, axis=1) * store.area[:, None]


def _days_lived(package: Path, reference: Path, output: Path) -> float:
    """Return how many days the embedded model ran with a package, of DAYS_ASKED at most."""
    case = {
        "host": "aquaplanet",
        "name": "hybrid",
        "days": LAST_DAY + DAYS_ASKED,
        "restart_from": newest_restart(reference),
        "history": {"monthly": False},
        "emulator": {"package": package},
        "output": output,
    }
    run = run_aquaplanet(AquaplanetConfig.model_validate(case))
    return float(run.day - LAST_DAY)


def _print_table(found: dict[str, list[dict[str, float]]]) -> None:
    """Print means over seeds, and the paired difference with its 95 % interval (Student)."""
    units = {name: unit for name, (unit, _) in SHOWN.items()}
    print("| | " + " | ".join(found) + " | difference (95 % of five pairs) |")
    for name in found["trajectory"][0]:
        values = [np.array([r[name] for r in results]) for results in found.values()]
        difference = values[1] - values[0]
        half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
        cells = [f"{v.mean():.3f} ({v.min():.3f} to {v.max():.3f})" for v in values]
        label = f"{name}, {units[name]} after 72 steps" if name in units else name
        print(
            f"| {label} | {' | '.join(cells)} | {difference.mean():+.3f} "
            f"({difference.mean() - half:+.3f} to {difference.mean() + half:+.3f}) |"
        )


if __name__ == "__main__":
    main()
