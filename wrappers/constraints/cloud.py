"""Cloud where a network was never shown any: in dry air."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from climlink.wrappers.constants import (
    HEAT_CAPACITY_DRY_AIR,
    LATENT_HEAT_FUSION,
    LATENT_HEAT_VAPORIZATION,
)
from climlink.wrappers.constraints.base import ConstraintContext, PhysicalConstraint, ratio
from climlink.wrappers.errors import ContractError
from climlink.wrappers.layout import Strict
from climlink.wrappers.thermodynamics import GAS_CONSTANT_VAPOR, specific_humidity
from climlink.wrappers.vertical import PressureLevels

Humidity = Annotated[float, Field(gt=0, le=1.5)]


class CloudEvaporationParameters(Strict):
    """``relative_humidity``, one or one per level: the driest air that held cloud in training;
    ``margin`` is how much drier the air must be, in parts of that, to keep none.

    Where there is no humidity yet, training and export find it: all but ``drier_share`` of a
    level's cloud water of the training times lies in air at least so humid.
    """

    margin: float = Field(default=0.1, ge=0, lt=1)
    drier_share: float = Field(default=0.01, gt=0, lt=1)
    relative_humidity: Humidity | list[Humidity] = Field(default_factory=list)


class CloudEvaporation(PhysicalConstraint):
    """After the step cloud evaporates in air that is drier than the air of training's clouds, less
    a margin: as much as makes the air so humid, at most all of it. Water and moist enthalpy are
    kept.

    A network that was trained on clouds in moist air alone does not know that cloud in dry air
    goes; in a hybrid it gathers there. Relative humidity is that over mixed liquid and ice, as
    ``state_rh``. The need is found with qs(T) linear in T (Clausius and Clapeyron), once.
    """

    name: ClassVar[str] = "cloud_evaporation"
    by_default: ClassVar[bool] = False
    parameters_type: ClassVar[type[Strict]] = CloudEvaporationParameters

    if TYPE_CHECKING:
        humidity: Tensor
        kept: Tensor

    def __init__(self, context: ConstraintContext, parameters: CloudEvaporationParameters) -> None:
        super().__init__()
        n, asked = context.level_count, parameters.relative_humidity
        given = asked if isinstance(asked, list) else [asked] * n
        if not given:
            raise ContractError(
                "cloud_evaporation has no relative_humidity: `climlink train` and `climlink export "
                "RUN --constraint cloud_evaporation` find it in the run's store"
            )
        if len(given) != n:
            raise ContractError(
                f"cloud_evaporation: expected one relative_humidity or {n}, one per level, got "
                f"{len(given)}"
            )
        self.requires_state = ["state_t", "state_q0001", "state_q0002", "state_q0003", "state_ps"]
        self.requires_outputs = ["ptend_t", "ptend_q0001", "ptend_q0002", "ptend_q0003"]
        self.levels = PressureLevels(context.require_hybrid(self.name))
        self.time_step: float = context.require_time_step(self.name)
        self.heat_capacity: float = HEAT_CAPACITY_DRY_AIR
        self.vaporization: float = LATENT_HEAT_VAPORIZATION
        self.fusion: float = LATENT_HEAT_FUSION
        self.vapor_gas: float = GAS_CONSTANT_VAPOR
        humidity = (1.0 - parameters.margin) * torch.tensor(given, dtype=torch.float64)
        self.register_buffer("humidity", humidity)
        kept = torch.ones(n, dtype=torch.float64)
        kept[: context.pruned_levels] = 0.0
        self.register_buffer("kept", kept)

    def forward(self, state: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tendencies of temperature and the three waters [batch, level]."""
        dt = self.time_step
        t = state["state_t"] + dt * outputs["ptend_t"]
        vapor = state["state_q0001"] + dt * outputs["ptend_q0001"]
        liquid = (state["state_q0002"] + dt * outputs["ptend_q0002"]).clamp(min=0.0)
        ice = (state["state_q0003"] + dt * outputs["ptend_q0003"]).clamp(min=0.0)
        cloud = liquid + ice
        heat = self.vaporization + self.fusion * ratio(ice, cloud)
        pressure = self.levels.midpoints(state["state_ps"])
        wanted = specific_humidity(t, self.humidity.expand_as(t), pressure)
        slope = wanted * heat / (self.vapor_gas * t * t)
        need = (wanted - vapor) / (1.0 + heat / self.heat_capacity * slope)
        gone = torch.minimum(need.clamp(min=0.0), cloud) * self.kept
        share = ratio(gone, cloud) / dt
        return {
            "ptend_t": outputs["ptend_t"] - heat / self.heat_capacity * gone / dt,
            "ptend_q0001": outputs["ptend_q0001"] + gone / dt,
            "ptend_q0002": outputs["ptend_q0002"] - share * liquid,
            "ptend_q0003": outputs["ptend_q0003"] - share * ice,
        }
