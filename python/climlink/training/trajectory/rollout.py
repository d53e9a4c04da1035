"""An emulator run along recorded columns: what its errors of one step become after many.

With x(n) the recorded column before the physics of step n, f*(n) the recorded tendencies of the
physics and D(n) what the rest of the model did, x(n+1) = x(n) + dt f*(n) + D(n). A column that the
emulator moves instead, y(n+1) = y(n) + dt f(y(n)) + D(n) with y(0) = x(0), differs by

    e(n+1) = e(n) + dt (f(x(n) + e(n)) - f*(n)),    e(0) = 0,

so recorded dynamics need not be known, and an emulator that equals the physics has no error. What
is no state (surface pressure, fluxes, gases, sun) is as recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from climlink.data.derivations import DERIVED
from climlink.training.errors import TrainingError
from climlink.wrappers.contract import EmulatorContract
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.wrapped_emulator import WrappedEmulator

_TENDENCY, _STATE = "ptend_", "state_"
_WATER = ("ptend_q0001", "ptend_q0002", "ptend_q0003")


class Sequence(NamedTuple):
    """Recorded columns of consecutive steps, physical units."""

    inputs: Tensor
    """Host rows [step, column, n_input], float32."""
    outputs: Tensor
    """Host outputs [step, column, n_output], float32."""


@dataclass(frozen=True)
class _Moved:
    """Where a tendency stands in the host's outputs, and the state that it moves in its inputs."""

    name: str
    output: slice
    input: slice


class Rollout:
    """Runs an emulator along recorded columns."""

    def __init__(self, contract: EmulatorContract) -> None:
        """TrainingError for a contract whose state is not that of one step."""
        inputs, outputs = contract.inputs, contract.outputs
        later = [v.name for v in inputs.variables if v.lag > 0 or v.name.endswith("_dyn")]
        if later or contract.carried:
            what = f"inputs of earlier steps ({later[0]}, ...)" if later else "carried state"
            raise TrainingError(
                f"a trajectory moves the state of one step; the emulator has {what}: use an input "
                "set without them, such as host_v2_q"
            )
        if contract.time_step_s is None:
            raise TrainingError("a trajectory needs a time step, and the contract has none")
        names = [v.name for v in outputs.profiles if v.name.startswith(_TENDENCY)]
        lacking = [n for n in names if _state_of(n) not in inputs]
        if lacking:
            raise TrainingError(
                f"a trajectory moves {_state_of(lacking[0])}, which input set {inputs.name!r} does "
                "not hold: use one that does, such as host_v2_q"
            )
        moved = (_Moved(n, outputs.slice(n), inputs.slice(_state_of(n))) for n in names)
        self.moved = tuple(sorted(moved, key=lambda m: m.input.start))
        self._time_step_s = contract.time_step_s
        self._n_input = inputs.width

    def errors(
        self, emulator: WrappedEmulator, sequence: Sequence, truncate: int | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return, for each step, the error of the state after it [column, n_input] and the
        emulator's outputs [column, n_output], float64, physical units.

        Entries of the error that are no state are zero. Gradients are cut every ``truncate``
        steps.
        """
        n_step, n_column = sequence.inputs.shape[:2]
        error = torch.zeros(n_column, self._n_input, dtype=torch.float64).to(sequence.inputs.device)
        errors, outputs = [], []
        for step in range(n_step):
            if truncate is not None and step > 0 and step % truncate == 0:
                error = error.detach()
            recorded = sequence.inputs[step].to(torch.float64)
            error = self._positive(error, recorded)
            rows = (recorded + error).to(torch.float32)
            network_rows, _ = emulator.normalized_forward(rows)
            y = emulator.constrain(rows, network_rows)
            error = self._advanced(error, y - sequence.outputs[step].to(torch.float64))
            errors.append(error)
            outputs.append(y)
        return errors, outputs

    def _advanced(self, error: Tensor, difference: Tensor) -> Tensor:
        """Return the error after a step whose tendencies were wrong by ``difference``."""
        return self._replaced(
            error,
            [
                error[:, moved.input] + self._time_step_s * difference[:, moved.output]
                for moved in self.moved
            ],
        )

    def _positive(self, error: Tensor, recorded: Tensor) -> Tensor:
        """Return the error that keeps water at zero or above, as a host's transport does."""
        least = -recorded.clamp(min=0.0)
        return self._replaced(
            error,
            [
                torch.maximum(error[:, moved.input], least[:, moved.input])
                if moved.name in _WATER
                else error[:, moved.input]
                for moved in self.moved
            ],
        )

    def _replaced(self, error: Tensor, values: list[Tensor]) -> Tensor:
        """Return the error with other values of what is moved, which stands in rising order."""
        parts, position = [], 0
        for moved, value in zip(self.moved, values, strict=True):
            parts += [error[:, position : moved.input.start], value]
            position = moved.input.stop
        return torch.cat([*parts, error[:, position:]], dim=1)


class MeanTendencyErrors:
    """Errors along a trajectory in the units and the order of the network's outputs.

    Of a tendency it is the error of the mean tendency since the start, e(n) / (n dt s), of a scalar
    that of the step, (y - y*) / s; with s the output scale. One step alone gives what a loss on
    single steps sees.
    """

    def __init__(self, rollout: Rollout, emulator: WrappedEmulator) -> None:
        """TrainingError for a network output that the host's outputs do not give."""
        contract = emulator.contract
        if contract.time_step_s is None:
            raise TrainingError("a trajectory needs a time step, and the contract has none")
        self._time_step_s = contract.time_step_s
        self._moved = {m.name: m.input for m in rollout.moved}
        self._own: VariableSet = contract.network_outputs
        self._host: VariableSet = contract.outputs
        for v in self._own.of_role("value").variables:
            parts = _parts(v.name)
            if any(p not in self._host for p in parts):
                raise TrainingError(f"a trajectory cannot say the error of network output {v.name}")
        self._scale = emulator.normalization.output_scale

    def __call__(self, error: Tensor, difference: Tensor, step: int) -> Tensor:
        """Return rows [column, n_network_output], float32, from the state's error after ``step``
        (from 1) and outputs minus recorded outputs.
        """
        n = error.shape[0]
        columns = []
        for v in self._own.variables:
            parts = _parts(v.name)
            if v.role != "value":
                value = error.new_zeros(n, self._own.width_of(v.name))
            elif all(p in self._moved for p in parts):
                total = torch.stack([error[:, self._moved[p]] for p in parts]).sum(dim=0)
                value = total / (step * self._time_step_s)
            else:
                value = difference[:, self._host.slice(v.name)]
            columns.append(value)
        return (torch.cat(columns, dim=1) / self._scale.to(error.device)).to(torch.float32)


def _state_of(tendency: str) -> str:
    return _STATE + tendency.removeprefix(_TENDENCY)


def _parts(name: str) -> tuple[str, ...]:
    """Return the tendencies whose sum a tendency is: itself, or liquid and ice of total cloud."""
    needs = DERIVED[name].needs if name in DERIVED else ()
    return needs if needs and all(n.startswith(_TENDENCY) for n in needs) else (name,)
