"""The states that a hybrid visited, labelled by the reference physics: pairs become a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from climlink.data.climsim import Pair, find_pairs, read_pair
from climlink.data.errors import DataError
from climlink.data.files import make_folder, read_json, remove_folder, replacing
from climlink.data.grid import read_grid
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import SECONDS_PER_DAY, Stamp
from climlink.data.store import StoreConfig
from climlink.healing.config import HealConfig, KeptConfig

TRAIN, HELD_OUT = "train", "test"
"""Splits of a store of labels."""
LEFT_OUT = ("hotter_or_colder", "not_plausible", "before_death")
"""Why a state is not learned from."""


@dataclass(frozen=True)
class Labels:
    """How many states of a hybrid are learned from, held out, and left out for which reason."""

    store: Path
    train: int
    held_out: int
    hotter_or_colder: int
    not_plausible: int
    before_death: int


def is_labelled(store: Path) -> bool:
    """Tell whether the states of a hybrid have been labelled, those without any to keep too."""
    return _record(store).is_file()


def read_labels(store: Path) -> Labels:
    """Return how many states lie in a store of labels, and how many were left out."""
    return Labels(store, **read_json(_record(store)))


def _record(store: Path) -> Path:
    return store.with_suffix(".json")


def label(
    run: Path, store: Path, start: Stamp, lived: bool, config: HealConfig, time_step_s: float
) -> None:
    """Make the store of a hybrid's labelled states.

    ``run`` is the folder of a run in which the emulator drives and the reference physics shadows
    it. Its shadow pairs hold the state that the hybrid gave to both, and what the reference physics
    made of it.
    """
    pairs = _pairs(run)
    reasons = [*_reasons(pairs, run, lived, config.kept, time_step_s)]
    chosen = [pair for pair, reason in zip(pairs, reasons, strict=True) if reason is None]
    splits: dict[str, list[str]] = {TRAIN: [], HELD_OUT: []}
    for pair in chosen:
        held_out = _is_held_out(pair.stamp, start, config.sampling.held_out_every_days)
        splits[HELD_OUT if held_out else TRAIN].append(str(pair.stamp))
    if chosen:
        folder = store.with_suffix(".pairs")
        _link(chosen, folder)
        prepare(
            folder,
            store,
            split=Split(train=tuple(splits[TRAIN]), test=tuple(splits[HELD_OUT])),
            grid=_grid_file(run),
            config=StoreConfig(time_step_s=time_step_s),
        )
        remove_folder(folder)
    counts = {"train": len(splits[TRAIN]), "held_out": len(splits[HELD_OUT])}
    counts |= {reason: reasons.count(reason) for reason in LEFT_OUT}
    with replacing(_record(store)) as beside:
        beside.write_text(json.dumps(counts, indent=1), encoding="utf-8")


def _pairs(run: Path) -> list[Pair]:
    folder = run / "climsim" / "shadow"
    return find_pairs(folder) if folder.is_dir() else []


def _grid_file(run: Path) -> Path:
    return next((run / "climsim").glob("*_grid-info.nc"))


def _reasons(
    pairs: list[Pair], run: Path, lived: bool, kept: KeptConfig, time_step_s: float
) -> Iterator[str | None]:
    """Yield why each state is left out, None for one to keep."""
    if not pairs:
        return
    grid = read_grid(_grid_file(run))
    coldest, hottest = kept.temperature_k
    margin = 0 if lived else round(3600 * kept.last_hours)
    for pair in pairs:
        if margin and pairs[-1].stamp.since(pair.stamp) < margin:
            yield "before_death"
            continue
        try:
            t = read_pair(pair, grid, time_step_s)["state_t"]
        except DataError:  # not finite, or what no atmosphere holds
            yield "not_plausible"
            continue
        yield None if coldest <= t.min() and t.max() <= hottest else "hotter_or_colder"


def _is_held_out(stamp: Stamp, start: Stamp, every: int) -> bool:
    """Tell whether the day of a state, counted from the start of the runs, is held out."""
    # The stamp of a step is its end: that of midnight belongs to the day before.
    day = (stamp.since(start) - 1) // SECONDS_PER_DAY
    return bool(day % every == every - 1)


def _link(pairs: list[Pair], folder: Path) -> None:
    """Make a folder of links to chosen pairs: what is left out must not be read as data."""
    if folder.exists():
        remove_folder(folder)
    make_folder(folder)
    for path in (file for pair in pairs for file in (pair.mli, pair.mlo)):
        (folder / path.name).symlink_to(path.resolve())
