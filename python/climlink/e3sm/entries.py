"""The entries of ``&mmf_nn_emulator_nl``. Names, types and defaults are those that the adapter's
Fortran declares, or, where it leaves the default to the library, those that the library publishes;
here is what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.sax.saxutils import escape

from climlink.e3sm.declarations import GROUP, Declaration, Kind, Value, read_declarations
from climlink.installation import shared_folder
from climlink.runtime import options

COMBINATIONS = ("v2", "v4", "v6")
WITH_CONFIDENCE = "_conf"
RAMP_OPTIONS = ("constant", "linear", "step")
DEVICES = ("cpu", "cuda", "xpu", "auto")
NEW_PREFIX = "climlink_"
ENTRY_PREFIXES = ("cb_", NEW_PREFIX)


@dataclass(frozen=True)
class NamelistEntry:
    """One entry: Fortran type, length of its text, number of values (0: not an array), default, and
    meaning.
    """

    name: str
    kind: Kind
    default: int | bool | float | str
    meaning: str
    length: int = 0
    count: int = 0
    choices: tuple[str, ...] = ()
    minimum: float | None = None

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value, or None."""
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if self.count == 0 and len(values) != 1:
            return f"expected one value, got {len(values)}"
        if self.count and len(values) > self.count:
            return f"expected at most {self.count} values, got {len(values)}"
        return next((p for p in map(self._problem_of_one, values) if p), None)

    def _problem_of_one(self, value: Any) -> str | None:
        if not self._fits(value):
            return f"expected {self._expected()}, got {value!r}"
        if self.choices and str(value).strip() not in self.choices:
            return f"expected one of {', '.join(self.choices)}, got {value!r}"
        if self.minimum is not None and value < self.minimum:
            return f"expected at least {self.minimum:g}, got {value!r}"
        return None

    def _fits(self, value: Any) -> bool:
        if self.kind == "logical":
            return isinstance(value, bool)
        if self.kind == "char":
            return isinstance(value, str) and len(value) <= self.length
        number = int if self.kind == "integer" else (int, float)
        return isinstance(value, number) and not isinstance(value, bool)

    def _expected(self) -> str:
        return (
            f"text of at most {self.length} characters"
            if self.kind == "char"
            else {"integer": "an integer", "real": "a number"}.get(self.kind, ".true. or .false.")
        )

    def definition(self) -> str:
        """Return this entry as E3SM's namelist_definition.xml has it."""
        kind = f"char*{self.length}" if self.kind == "char" else self.kind
        array = f"({self.count})" if self.count else ""
        choices = ",".join(self.choices)
        return (
            f'<entry id="{self.name}" type="{kind}{array}" category="mmf" group="{GROUP}" '
            f'valid_values="{choices}">\n'
            f"{escape(self.meaning)}\nDefault: {_shown(self.default)}\n</entry>\n"
        )


def _shown(value: int | bool | float | str) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    return str(value) if value != "" else "blank"


@dataclass(frozen=True)
class _Meaning:
    """What an entry means, what it may be, and the old coupling's default where now the package
    decides.
    """

    text: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    old: Value | None = None


_MEANINGS = {
    "inputlength": _Meaning("Number of inputs of a column.", minimum=1, old=1525),
    "outputlength": _Meaning("Number of outputs of a column.", minimum=1, old=368),
    "input_rh": _Meaning("Send relative humidity of the host in place of specific humidity."),
    "cb_nn_var_combo": _Meaning(
        "Input set: v2, v4 or v6; with _conf where the package gives confidence.",
        choices=COMBINATIONS + tuple(f"{name}{WITH_CONFIDENCE}" for name in COMBINATIONS),
        old="v4",
    ),
    "cb_torch_model": _Meaning("TorchScript wrapper, used where climlink_package is blank."),
    "cb_use_cuda": _Meaning(
        "Inference on a GPU or not, where climlink_device is auto; not given: as that says."
    ),
    "cb_spinup_step": _Meaning(
        "Steps of the host's own physics before the emulator; a negative number: never the "
        "emulator."
    ),
    "cb_use_input_prectm1": _Meaning("Without effect, as before; read so that old namelists are."),
    "cb_partial_coupling": _Meaning(
        "Run the host's physics too and blend the outputs in cb_partial_coupling_vars."
    ),
    "cb_partial_coupling_vars": _Meaning(
        "Outputs that are blended, or all; each with levels behind it or not: ptend_t(20:60), "
        "all(10 hPa:)."
    ),
    "cb_do_ramp": _Meaning(
        "Let the weight of the emulator in partial coupling follow cb_ramp_option."
    ),
    "cb_ramp_option": _Meaning("How the weight grows.", choices=RAMP_OPTIONS),
    "cb_ramp_factor": _Meaning(
        "Weight at the end of a linear ramp, and wherever the others are on.", minimum=0
    ),
    "cb_ramp_linear_steps": _Meaning("Steps of a linear ramp.", minimum=0),
    "cb_ramp_step_0steps": _Meaning(
        "Steps without the emulator in a period of the step ramp.", minimum=0
    ),
    "cb_ramp_step_1steps": _Meaning(
        "Steps with the emulator in a period of the step ramp.", minimum=0
    ),
    "cb_strato_water_constraint": _Meaning(
        "Legacy mode: no water tendencies and no cloud above the tropopause."
    ),
    "dtheta_thred": _Meaning("Legacy mode: stability that makes a tropopause, K/km.", minimum=0),
    "climlink_package": _Meaning("Package (wrap_model.pt) to run; blank: cb_torch_model."),
    "climlink_package_digest": _Meaning("SHA-256 the package must have; blank: any."),
    "climlink_compiled": _Meaning(
        "Compiled artefact of the package that runs instead of its graph; blank: none."
    ),
    "climlink_compiled_digest": _Meaning(
        "SHA-256 of that artefact, without which its native code does not run."
    ),
    "climlink_device": _Meaning(
        "Where inference runs; cuda and xpu are the rank on its node modulo the number of GPUs.",
        choices=DEVICES,
    ),
    "climlink_device_memory_fraction": _Meaning(
        "Part of a GPU's memory that torch may take in a rank, 0 to 1; 0: no cap.", minimum=0
    ),
    "climlink_cuda_graphs": _Meaning(
        "Record the forwards of a step's size on a GPU when the package is opened, and replay them."
    ),
    "climlink_threads": _Meaning("Threads of a rank in inference.", minimum=1),
    "climlink_micro_batch": _Meaning(
        "Columns per forward on a CPU; 0: the library's choice.", minimum=0
    ),
    "climlink_tuning": _Meaning(
        "File of climlink bench with measured micro-batches, taken instead; blank: none."
    ),
    "climlink_group_size": _Meaning(
        "Ranks of a node that share one network; 0: as many as share a GPU, or all of a node.",
        minimum=0,
    ),
    "climlink_group_timeout_s": _Meaning(
        "Seconds that a rank waits for another one that shares its network; 0: without end.",
        minimum=0,
    ),
    "climlink_constraints_off": _Meaning(
        "Constraints of the package that this run leaves out, by name."
    ),
    "climlink_vertical_remap": _Meaning(
        "Levels of model and package: none, which must be the same, or conservative, remapped.",
        choices=("none", "conservative"),
    ),
    "climlink_rh_arithmetic": _Meaning(
        "Relative humidity: exact, or legacy, with the single-precision literals of the old host.",
        choices=("exact", "legacy"),
    ),
    "climlink_water_fixer": _Meaning(
        "Close the water of the globe in each step: none, or by one factor on all precipitation.",
        choices=("none", "precipitation"),
    ),
    "climlink_legacy": _Meaning(
        "Apply the old host post-processing to the outputs, in the old order; not given: where the "
        "package was imported for it."
    ),
    "climlink_history": _Meaning("Register history fields of raw tendencies and counters."),
    "climlink_branch_memory": _Meaning(
        "A branch run takes up the emulator's memory, which the other case's files must hold."
    ),
    "climlink_log_steps": _Meaning(
        "Steps between lines of counters in the log; 0: a day; negative: no such lines."
    ),
}
_OPTIONS = {
    "climlink_package_digest": "pinned_sha256",
    "climlink_compiled_digest": "compiled_sha256",
}
"""The library's name of an entry's option, where it is not the entry's without climlink_."""


class _Entries(Mapping[str, NamelistEntry]):
    """The entries by name, in the order of the adapter's group; read when one is asked for."""

    @cached_property
    def _entries(self) -> dict[str, NamelistEntry]:
        library = {option["name"]: option["default"] for option in options()}
        declared = read_declarations(shared_folder("e3sm"))
        return {d.name: _entry(d, library, _MEANINGS[d.name]) for d in declared}

    def __getitem__(self, name: str) -> NamelistEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _entry(d: Declaration, library: Mapping[str, Any], meaning: _Meaning) -> NamelistEntry:
    default = meaning.old if meaning.old is not None else d.default
    if default is None:
        default = library[_OPTIONS.get(d.name, d.name.removeprefix(NEW_PREFIX))]
    return NamelistEntry(
        d.name, d.kind, default, meaning.text, d.length, d.count, meaning.choices, meaning.minimum
    )


ENTRIES: Mapping[str, NamelistEntry] = _Entries()
"""Every entry by name: those of the existing coupling with their defaults, then climlink's.
InstallationError from the first use where the adapter is not installed.
"""

DEAD_NAMES = (
    "cb_fkb_model",
    "cb_do_ensemble",
    "cb_ens_size",
    "cb_ens_fkb_model_list",
    "cb_random_ens_size",
)
"""Names that the fork's namelist_definition.xml accepts although the group has no such variable:
reading them stops the model.
"""
