"""Machines: what a node has, how jobs start, and how many ranks and threads a run of each kind
gets.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from climlink.config import StrictModel, load_config
from climlink.installation import find_configuration

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Layout(StrictModel):
    """How one kind of run uses a node."""

    ranks_per_node: int = Field(ge=1, description="MAX_MPITASKS_PER_NODE")
    threads: int = Field(default=1, ge=1, description="OpenMP threads per rank")

    @property
    def tasks_per_node(self) -> int:
        """Ranks times threads: E3SM's MAX_TASKS_PER_NODE."""
        return self.ranks_per_node * self.threads


class Machine(StrictModel):
    """One machine. ``cime_machine`` is its name in E3SM's config_machines.xml (or in
    ``~/.cime``).
    """

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]*$")
    cime_machine: str
    compiler: str = Field(description="E3SM's name, such as gnu or gnugpu")
    launcher: Literal["srun", "mpirun"] = Field(
        description="starts climlink's own MPI programs; E3SM's launcher is in its machine file"
    )
    batch: bool = Field(
        default=True, description="jobs are queued; false: case.submit runs the model at once"
    )
    queue: str | None = None
    account_from: str | None = Field(
        default=None, description="environment variable that names the account jobs are charged to"
    )
    cores_per_node: int = Field(ge=1)
    gpus_per_node: int = Field(default=0, ge=0)
    modules: tuple[str, ...] = Field(
        default=(), description="environment modules to load before building, in order"
    )
    device: Literal["cpu", "cuda", "auto"] = "auto"
    emulator: Layout
    mmf: Layout

    @field_validator("account_from")
    @classmethod
    def _variable_name(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.fullmatch(value):
            raise ValueError("expected the name of an environment variable")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Machine:
        for kind, layout in (("emulator", self.emulator), ("mmf", self.mmf)):
            if layout.tasks_per_node > self.cores_per_node:
                raise ValueError(
                    f"{kind}: {layout.ranks_per_node} ranks x {layout.threads} threads are more "
                    f"than {self.cores_per_node} cores per node"
                )
        if self.device == "cuda" and self.gpus_per_node == 0:
            raise ValueError("device is cuda but gpus_per_node is 0")
        return self


def load_machine(name: str) -> Machine:
    """Return a shipped machine by name, or one from a YAML file; ConfigError lists the shipped
    ones.
    """
    return load_config(find_configuration("machines", name), Machine)
