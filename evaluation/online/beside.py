"""What runs are held against, as the caller named it, and the words for it in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Beside:
    """A reference, a twin that began a hair apart, further references that began elsewhere, and the
    day from which means are made.
    """

    reference: Path
    twin: Path | None = None
    independent: Sequence[Path] = ()
    from_day: float | None = None

    def command(self, runs: Sequence[str]) -> str:
        """Return the command line that evaluates runs so."""
        words = [*runs, f"--reference {self.reference}"]
        words += [f"--twin {self.twin}"] if self.twin else []
        words += [f"--independent {path}" for path in self.independent]
        words += [f"--from-day {self.from_day:g}"] if self.from_day else []
        return " ".join(["climlink evaluate online", *words])

    def sources(self) -> dict[str, str]:
        """Return the names of the folders and of the window by their role."""
        found = {"reference": str(self.reference)}
        found |= {"twin of the reference": str(self.twin)} if self.twin else {}
        if self.independent:
            found["further references"] = ", ".join(map(str, self.independent))
        if self.from_day:
            found["days left out of means"] = f"before day {self.from_day:g}"
        return found
