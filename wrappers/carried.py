"""Where carried state and the mark ``start`` stand in packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from climlink.wrappers.layout import START, CarriedPair, VariableLayout
from climlink.wrappers.manifest import Manifest


@dataclass(frozen=True)
class CarriedPositions:
    """Positions of ``start`` and of carried values in an input row, and of these in an output row.

    Value k of ``given`` in the outputs of a step is value k of ``taken`` in the inputs of the next.
    """

    start: int
    given: list[int]
    taken: list[int]

    @classmethod
    def of(
        cls, inputs: VariableLayout, outputs: VariableLayout, carried: Sequence[CarriedPair]
    ) -> CarriedPositions:
        """Return the positions in two layouts, pair by pair."""
        start = next(v.offset for v in inputs.variables if v.name == START)
        given = _positions(outputs, [p.output for p in carried])
        return cls(start, given, _positions(inputs, [p.input for p in carried]))

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> CarriedPositions:
        """Return the positions in the rows of a package that carries state."""
        return cls.of(manifest.inputs, manifest.outputs, manifest.carried)


def _positions(layout: VariableLayout, names: Sequence[str]) -> list[int]:
    entries = {v.name: v for v in layout.variables}
    return [
        k for n in names for k in range(entries[n].offset, entries[n].offset + entries[n].width)
    ]
