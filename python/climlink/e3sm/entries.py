"""The entries of ``&mmf_nn_emulator_nl``: the one list of names, types and defaults that writes,
checks and defines namelists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape

GROUP = "mmf_nn_emulator_nl"
COMBINATIONS = ("v2", "v4", "v6")
WITH_CONFIDENCE = "_conf"
RAMP_OPTIONS = ("constant", "linear", "step")
DEVICES = ("cpu", "cuda", "auto")
ENTRY_PREFIXES = ("cb_", "climlink_")

Kind = Literal["integer", "logical", "real", "char"]


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


_PATH = 256
_OLD = (
    NamelistEntry("inputlength", "integer", 1525, "Number of inputs of a column.", minimum=1),
    NamelistEntry("outputlength", "integer", 368, "Number of outputs of a column.", minimum=1),
    NamelistEntry(
        "input_rh",
        "logical",
        False,
        "Send relative humidity computed by the host in place of specific humidity.",
    ),
    NamelistEntry(
        "cb_nn_var_combo",
        "char",
        "v4",
        "Input set: v2, v4 or v6; with _conf where the package gives confidence.",
        length=256,
        choices=COMBINATIONS + tuple(f"{name}{WITH_CONFIDENCE}" for name in COMBINATIONS),
    ),
    NamelistEntry(
        "cb_torch_model",
        "char",
        "",
        "TorchScript wrapper, used where climlink_package is blank.",
        length=_PATH,
    ),
    NamelistEntry(
        "cb_use_cuda",
        "logical",
        False,
        "Inference on a GPU or not, where climlink_device is auto; not given: as that says.",
    ),
    NamelistEntry(
        "cb_spinup_step",
        "integer",
        72,
        "Steps of the host's own physics before the emulator; a negative number: never the "
        "emulator.",
    ),
    NamelistEntry(
        "cb_use_input_prectm1",
        "logical",
        False,
        "Without effect, as before; read so that old namelists are.",
    ),
    NamelistEntry(
        "cb_partial_coupling",
        "logical",
        False,
        "Run the host's physics too and blend the outputs in cb_partial_coupling_vars.",
    ),
    NamelistEntry(
        "cb_partial_coupling_vars", "char", "", "Outputs that are blended.", length=26, count=1000
    ),
    NamelistEntry(
        "cb_do_ramp",
        "logical",
        False,
        "Let the weight of the emulator in partial coupling follow cb_ramp_option.",
    ),
    NamelistEntry(
        "cb_ramp_option",
        "char",
        "constant",
        "How the weight grows.",
        length=256,
        choices=RAMP_OPTIONS,
    ),
    NamelistEntry(
        "cb_ramp_factor",
        "real",
        1.0,
        "Weight at the end of a linear ramp, and wherever the others are on.",
        minimum=0,
    ),
    NamelistEntry("cb_ramp_linear_steps", "integer", 0, "Steps of a linear ramp.", minimum=0),
    NamelistEntry(
        "cb_ramp_step_0steps",
        "integer",
        10,
        "Steps without the emulator in a period of the step ramp.",
        minimum=0,
    ),
    NamelistEntry(
        "cb_ramp_step_1steps",
        "integer",
        20,
        "Steps with the emulator in a period of the step ramp.",
        minimum=0,
    ),
    NamelistEntry(
        "cb_strato_water_constraint",
        "logical",
        False,
        "Legacy mode: no water tendencies and no cloud above the tropopause.",
    ),
    NamelistEntry(
        "dtheta_thred",
        "real",
        10.0,
        "Legacy mode: stability that makes a tropopause, K/km.",
        minimum=0,
    ),
)
_NEW = (
    NamelistEntry(
        "climlink_package",
        "char",
        "",
        "Package (wrap_model.pt) to run; blank: cb_torch_model.",
        length=_PATH,
    ),
    NamelistEntry(
        "climlink_package_digest",
        "char",
        "",
        "SHA-256 the package must have; blank: any.",
        length=64,
    ),
    NamelistEntry(
        "climlink_device",
        "char",
        "auto",
        "Where inference runs; cuda is the rank on its node modulo the number of GPUs.",
        length=16,
        choices=DEVICES,
    ),
    NamelistEntry("climlink_threads", "integer", 1, "Threads of a rank in inference.", minimum=1),
    NamelistEntry(
        "climlink_micro_batch",
        "integer",
        0,
        "Columns per forward on a CPU; 0: the library's choice.",
        minimum=0,
    ),
    NamelistEntry(
        "climlink_constraints_off",
        "char",
        "",
        "Constraints of the package that this run leaves out, by name.",
        length=64,
        count=32,
    ),
    NamelistEntry(
        "climlink_rh_arithmetic",
        "char",
        "exact",
        "Relative humidity: exact, or legacy, with the single-precision literals of the old host.",
        length=16,
        choices=("exact", "legacy"),
    ),
    NamelistEntry(
        "climlink_legacy",
        "logical",
        False,
        "Apply the old host post-processing to the outputs, in the old order; not given: where the "
        "package was imported for it.",
    ),
    NamelistEntry(
        "climlink_history",
        "logical",
        True,
        "Register history fields of raw tendencies and counters.",
    ),
    NamelistEntry(
        "climlink_branch_memory",
        "logical",
        False,
        "A branch run takes up the emulator's memory, which the other case's files must hold.",
    ),
    NamelistEntry(
        "climlink_log_steps",
        "integer",
        0,
        "Steps between lines of counters in the log; 0: a day; negative: no such lines.",
    ),
)
ENTRIES = {e.name: e for e in _OLD + _NEW}
"""Every entry by name: those of the existing coupling with their defaults, then climlink's."""

NEW_NAMES = tuple(e.name for e in _NEW)
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
