"""What a store is to hold, found and checked before a value is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from climlink.data.errors import DataError, StoreError
from climlink.data.pairs import PairSource
from climlink.data.source import Source, digest
from climlink.data.split import Split, read_split
from climlink.data.store import StoreConfig
from climlink.data.tables.find import holds_tables
from climlink.data.tables.source import TableSource
from climlink.data.tables.weights import TargetWeights, read_weights


@dataclass(frozen=True)
class Plan:
    """Everything that decides a store's content."""

    source: Source
    config: StoreConfig
    split: Split
    weights: TargetWeights | None

    @property
    def blocks(self) -> list[slice]:
        """Which records are read, written and resumed together."""
        size, total = self.source.block_size, self.source.n_record
        return [slice(first, min(first + size, total)) for first in range(0, total, size)]

    @property
    def dimensions(self) -> tuple[tuple[str, int], ...]:
        """What every variable begins with: name and size."""
        grid, n_record = self.source.grid, self.source.n_record
        if grid is None:
            return (("row", n_record),)
        return (("time", n_record), ("column", grid.n_column))

    def arguments(self) -> dict[str, str]:
        """Return digests of the arguments, by the word a user knows each by."""
        found = self.source.arguments()
        found["store configuration (dtypes, time_chunk, time step)"] = digest(
            self.config.model_dump_json(exclude={"variables"}),
        )
        return found if self.weights is None else found | {"weights": self.weights.sha256}


def make_plan(
    source: Path,
    split: Split | str | Path,
    grid: str | Path | None,
    config: StoreConfig,
    targets: str | Path | None,
    weights: str | Path | None,
) -> Plan:
    """Find and check everything that can be checked before a value is read."""
    split = split if isinstance(split, Split) else read_split(split)
    if split.time_step_s != config.time_step_s:
        raise StoreError(
            f"the split counts steps of {split.time_step_s} s, the store's time step is "
            f"{config.time_step_s:g} s; make them equal"
        )
    grid = None if grid is None else Path(grid)
    found: Source
    if holds_tables(source):
        if config.variables is not None:
            what = f"{source} is a table, whose variables are its columns"
            raise DataError(f"{what}: leave --variables out")
        found = TableSource.find(
            source,
            split,
            grid,
            config,
            None if targets is None else Path(targets),
        )
    elif targets is not None:
        problem = f"{source} holds mli/mlo pairs,"
        raise DataError(f"{problem} which have their targets: leave --targets out")
    else:
        found = PairSource.find(source, split, grid, config)
    config.check(found.variables)
    known = None if weights is None else read_weights(Path(weights), found.level_count)
    return Plan(found, config, split, known)
