"""The catalogue of the study of hybrids: all that was found, small enough to keep, from which a
study goes on where networks, packages and runs are gone.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from hybrid_parts import Study, read, write

from climlink.config import ConfigError
from climlink.data.files import replacing

FILE = "catalogue.json"
STUDY = "study"
FOUND = ("yardsticks.json", "warm_*.json", "screen/*/*.json", "results/*/*.json")
"""What is kept: neither networks nor runs, which the study makes again where it needs them."""


def settings(study: Study) -> dict[str, Any]:
    """Return what two parts of one study have in common."""
    asked = {name: getattr(study, name) for name in ("epochs", "warming_k")}
    of_parts = {name: dataclasses.asdict(getattr(study, name)) for name in ("days", "policy")}
    return {**of_parts, **asked, "screen": dict(study.screen)}


def write_catalogue(study: Study) -> None:
    """Write one line for the study's settings and for each of its parts."""
    places = sorted(place for pattern in FOUND for place in study.work.glob(pattern))
    kept = {STUDY: settings(study)}
    kept |= {str(place.relative_to(study.work)): read(place) for place in places}
    lines = [f"{json.dumps(n)}: {json.dumps(v, ensure_ascii=False)}" for n, v in kept.items()]
    with replacing(study.work / FILE) as beside:
        beside.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def unpack(study: Study, catalogue: Path) -> None:
    """Write the parts of a catalogue that a study has not; ConfigError if it is of another."""
    kept = read(catalogue)
    theirs, ours = kept.pop(STUDY), json.loads(json.dumps(settings(study)))
    if theirs != ours:
        other = sorted(name for name in ours if theirs.get(name) != ours[name])
        raise ConfigError(
            f"{catalogue} is of a study with other {', '.join(other)}: expected "
            f"{ {n: ours[n] for n in other} }, got { {n: theirs.get(n) for n in other} }"
        )
    for name, value in kept.items():
        if not (study.work / name).exists():
            write(study.work / name, value)
