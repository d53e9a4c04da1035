"""How fast a package runs here: its engines and micro-batches against TorchScript with all columns
in one forward, interleaved, and the file of micro-batches that a host may ask the Runtime to read.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from climlink import _runtime
from climlink.data.files import replacing
from climlink.packages.compiled import CompiledArtefact
from climlink.packages.read import EmulatorPackage, FloatRows
from climlink.runtime import Emulator
from climlink.wrappers.errors import ClimlinkError
from climlink.wrappers.layout import Strict
from climlink.wrappers.manifest import Sha256

MICRO_BATCHES = (32, 64, 96, 128, 192, 256, 384, 512, 1024)
SHORTEST_S = 0.02
"""Least time of one measurement: shorter forwards are repeated."""

_BOOTSTRAPS = 2000


class BenchError(ClimlinkError):
    """A package cannot be timed as asked."""


class TuningEntry(Strict):
    """The fastest micro-batch that was measured for one engine of a package on one processor."""

    processor: str
    threads: int = Field(ge=1)
    package_sha256: Sha256
    engine: Literal["torchscript", "aotinductor"]
    precision: Literal["float32", "bfloat16"]
    micro_batch: int = Field(ge=2)

    @property
    def key(self) -> tuple[Any, ...]:
        """What the Runtime looks it up by."""
        return tuple(self.model_dump(exclude={"micro_batch"}).values())


class TuningFile(Strict):
    """What the Runtime reads where a host names it in the option ``tuning``."""

    schema_version: Literal[1] = 1
    entries: list[TuningEntry] = Field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> TuningFile:
        """Read a file; an empty one where there is none yet, BenchError for something else."""
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise BenchError(f"{path}: not a tuning file: {error.errors()[0]['msg']}") from error

    def write_with(self, entry: TuningEntry, path: Path) -> None:
        """Write the file with an entry in place of the one of its key."""
        kept = [e for e in self.entries if e.key != entry.key]
        text = json.dumps(TuningFile(entries=[*kept, entry]).model_dump(mode="json"), indent=1)
        with replacing(path) as beside:
            beside.write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Timing:
    """One way to run all columns: its time against the baseline's, from interleaved rounds.

    ``speed_up`` is the median of baseline time over own time, ``interval`` that median's 95 %
    interval; ``seconds`` is the median own time of all columns, ``first_call`` the first one's over
    that.
    """

    engine: str
    precision: str
    micro_batch: int
    seconds: float
    speed_up: float
    interval: tuple[float, float]
    first_call: float

    def as_dict(self) -> dict[str, Any]:
        """Return the entry in ``climlink bench --json``."""
        return {
            "engine": self.engine,
            "precision": self.precision,
            "micro_batch": self.micro_batch,
            "seconds": self.seconds,
            "speed_up": self.speed_up,
            "interval": list(self.interval),
            "first_call": self.first_call,
        }


@dataclass(frozen=True)
class Setting:
    """How a package is timed."""

    columns: int = 384
    threads: int = 1
    rounds: int = 21


def bench(
    package: EmulatorPackage,
    artefacts: Sequence[CompiledArtefact],
    micro_batches: Sequence[int],
    setting: Setting,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Timing]:
    """Return the timings of TorchScript and of each artefact at each micro-batch; the first is the
    baseline, TorchScript with all columns in one forward.

    Rounds are interleaved: in each, every way runs once, in an order that moves on. BenchError for
    an artefact that does not run here.
    """
    granule = package.manifest.batch_granule
    if granule == 1:
        raise BenchError(f"{package.path} takes every sample by itself: there is no micro-batch")
    whole = -(-setting.columns // granule) * granule
    ways: list[tuple[CompiledArtefact | None, int]] = [(None, whole)]
    for artefact in (None, *artefacts):
        sizes = dict.fromkeys(min(-(-m // granule) * granule, whole) for m in micro_batches)
        ways += [(artefact, m) for m in sizes if (artefact, m) != (None, whole)]
    rows = _rows(package, setting.columns)
    emulators = []
    for artefact, micro_batch in ways:
        progress(f"opening {'torchscript' if artefact is None else artefact.path.name}")
        emulators.append(_opened(package, artefact, micro_batch, setting))
    first = [_seconds(emulator, rows, 1) for emulator in emulators]
    repeats = [max(1, round(SHORTEST_S / max(s, 1e-6))) for s in first]
    seconds = np.empty((setting.rounds, len(emulators)))
    for r in range(setting.rounds):
        progress(f"round {r + 1} of {setting.rounds}")
        for i in np.roll(np.arange(len(emulators)), r):
            seconds[r, i] = _seconds(emulators[i], rows, repeats[i])
    return [
        _timing(emulator, first[i], seconds[:, i], seconds[:, 0])
        for i, emulator in enumerate(emulators)
    ]


def _rows(package: EmulatorPackage, count: int) -> FloatRows:
    return np.ascontiguousarray(np.resize(package.golden_inputs, (count, package.manifest.n_input)))


def _opened(
    package: EmulatorPackage, artefact: CompiledArtefact | None, micro_batch: int, setting: Setting
) -> Emulator:
    emulator = Emulator(
        package.path,
        threads=setting.threads,
        micro_batch=micro_batch,
        column_count=setting.columns,
        trust_code=package.trust_code,
        compiled=None if artefact is None else str(artefact.path),
        compiled_sha256=None if artefact is None else artefact.digest,
    )
    if artefact is not None and emulator.engine != artefact.entry.backend:
        raise BenchError(emulator.engine_note)
    return emulator


def _seconds(emulator: Emulator, rows: FloatRows, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        emulator.run_packed(rows)
    return (time.perf_counter() - start) / repeats


def _timing(emulator: Emulator, first: float, own: np.ndarray, baseline: np.ndarray) -> Timing:
    ratios = baseline / own
    steady = statistics.median(own)
    return Timing(
        engine=emulator.engine,
        precision=emulator.precision,
        micro_batch=emulator.micro_batch,
        seconds=steady,
        speed_up=float(np.median(ratios)),
        interval=interval_of_median(ratios),
        first_call=first / steady,
    )


def interval_of_median(samples: NDArray[np.floating]) -> tuple[float, float]:
    """Return the 95 % interval of the median of samples, by bootstrap with a fixed seed."""
    drawn = np.random.default_rng(0).choice(samples, (_BOOTSTRAPS, len(samples)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return float(low), float(high)


def fastest(timings: Sequence[Timing]) -> list[Timing]:
    """Return the fastest timing of every engine and precision."""
    best: dict[tuple[str, str], Timing] = {}
    for timing in timings:
        of = (timing.engine, timing.precision)
        if of not in best or timing.speed_up > best[of].speed_up:
            best[of] = timing
    return list(best.values())


def tune(
    package: EmulatorPackage, timings: Sequence[Timing], threads: int, path: Path
) -> list[TuningEntry]:
    """Write the fastest micro-batches to a tuning file, beside what else stands there."""
    entries = [
        TuningEntry.model_validate(
            {
                "processor": _runtime.processor_name(),
                "threads": threads,
                "package_sha256": package.digest,
                "engine": timing.engine,
                "precision": timing.precision,
                "micro_batch": timing.micro_batch,
            }
        )
        for timing in fastest(timings)
    ]
    for entry in entries:
        TuningFile.read(path).write_with(entry, path)
    return entries
