"""The file of measured numbers: one machine's, part by part and case by case, from which
docs/performance.md and the scaling model are made.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from inference_packages import NETWORKS, InferenceBenchError

from climlink import _runtime
from climlink.data.files import read_json, replacing
from climlink.provenance import climlink_version, kernel_identity

SCHEMA_VERSION = 1
Row = dict[str, Any]


def this_machine() -> dict[str, Any]:
    """Return what numbers of one file have in common."""
    return {
        "processor": _runtime.processor_name(),
        "cores": os.cpu_count(),
        "instructions": kernel_identity(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


@dataclass
class Results:
    """All results of a file, by ``part/case``: each with its date, command and load, and rows of
    numbers.
    """

    machine: dict[str, Any] = field(default_factory=this_machine)
    cases: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a file; InferenceBenchError for one that is none."""
        try:
            found = read_json(path)
        except (OSError, ValueError) as error:
            raise InferenceBenchError(f"{path}: not a file of results: {error}") from error
        if found.get("schema_version") != SCHEMA_VERSION:
            raise InferenceBenchError(
                f"{path}: schema_version {found.get('schema_version')!r}; expected "
                f"{SCHEMA_VERSION}: measure into another file"
            )
        return cls(found["machine"], found["results"])

    @classmethod
    def to_extend(cls, path: Path) -> Results:
        """Return what a file holds, nothing where there is none; InferenceBenchError where it is
        another machine's.
        """
        if not path.exists():
            return cls()
        found = cls.read(path)
        for name, value in this_machine().items():
            if found.machine.get(name) != value:
                raise InferenceBenchError(
                    f"{path} holds numbers of {name} {found.machine.get(name)!r}, here it is "
                    f"{value!r}: write to another file"
                )
        return found

    def keep(self, key: str, rows: list[Row], command: str, load: float) -> None:
        """Take in what was measured for a case, in place of what stood there."""
        self.cases[key] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "command": command,
            "climlink": _revision(),
            "load_average": load,
            "rows": rows,
        }

    def write(self, path: Path) -> None:
        """Write the file."""
        text = {
            "schema_version": SCHEMA_VERSION,
            "machine": self.machine,
            "results": dict(sorted(self.cases.items())),
        }
        with replacing(path) as beside:
            beside.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")

    def of_part(self, part: str) -> Iterator[tuple[str, Row]]:
        """Yield the cases of a part, in the order of networks, and what is known of each."""
        for name in NETWORKS:
            case = self.cases.get(f"{part}/{name}")
            if case is not None:
                yield name, case

    def rows(self, part: str) -> list[Row]:
        """Return all rows of a part, each with its case."""
        return [{"case": name, **row} for name, case in self.of_part(part) for row in case["rows"]]


def _revision() -> str:
    """Return climlink's version and, in a source tree, its commit."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parent,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    told = done.stdout.strip()
    return f"{climlink_version()} {told}".strip()
