"""Normalization of network inputs and denormalization of network outputs, as buffers of the graph.

Inputs, in this order: cloud transform 1 - exp(-lambda q), fill-value flag, (x - subtract) * gain,
signed logarithm, non-finite policy, soft and hard clipping, zeroing of pruned levels. Everything is
float64 until the last cast to float32. Which variable gets what is decided in input_scaling.py.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from climlink.wrappers.errors import ContractError
from climlink.wrappers.input_scaling import (
    FEATURE_LIMIT,
    RELATIVE_HUMIDITY_LIMIT,
    center_and_gain,
    has_humidity_clip,
    is_exponential,
    is_flagged,
    is_hidden_aloft,
    is_lagged,
    log_anchor,
)
from climlink.wrappers.manifest import NormalizationConfig, NormalizationEntry
from climlink.wrappers.statistics import FILL_THRESHOLD, Statistics
from climlink.wrappers.variable_sets import VariableSet
from climlink.wrappers.variables import FEATURES, Variable

OUTPUT_FLOORS = {
    "kg/kg/s": 3e-10, "m/s2": 1e-6, "K/s": 1e-9, "W/m2": 1e-3, "m/s": 1e-12, "1/s": 1e-8
}  # fmt: skip
"""Smallest output scale by units. Water and wind: the published floors; 1/s: of relative humidity,
a thousandth per day. The rest only keep a scale positive.
"""

SMALLEST_FLOOR = 1e-30
"""Floor of an output in units that OUTPUT_FLOORS does not know: it only keeps a scale positive."""


class Scaling:
    """A user's own normalization: the network reads (x - input_offset) / input_divisor and gives (y
    - output_offset) / output_factor.

    Each is one number or one per value of the network's row, [n_network_input] and
    [n_network_output], float64; an input whose divisor is zero enters as zero. Carried state is not
    scaled: its numbers are 0 and 1.
    """

    def __init__(
        self,
        *,
        input_offset: Any = 0.0,
        input_divisor: Any = 1.0,
        output_factor: Any = 1.0,
        output_offset: Any = 0.0,
    ) -> None:
        divisor = _vector(input_divisor)
        used = divisor != 0.0
        self.subtract = _vector(input_offset)
        self.gain = torch.where(
            used,
            1.0 / torch.where(used, divisor, torch.ones_like(divisor)),
            torch.zeros_like(divisor),
        )
        self.output_scale = _vector(output_factor)
        self.output_mean = _vector(output_offset)


def _vector(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).flatten()


def output_floor(variable: Variable) -> float:
    """Return the smallest scale of an output variable, in its own units."""
    return OUTPUT_FLOORS.get(variable.units, SMALLEST_FLOOR)


def output_scale(variables: VariableSet, statistics: Statistics) -> Tensor:
    """Return max(std, floor) of every output, float64 [n_output], physical units: the s of the
    difference formula too.

    Carried state has scale 1, and so have auxiliary outputs in units "1".
    """
    ones = torch.ones(variables.width, dtype=torch.float64)
    parts = [
        ones[variables.slice(v.name)]
        if v.role == "carried" or (v.role == "auxiliary" and v.units == "1")
        else statistics[v.name].std.clamp(min=output_floor(v))
        for v in variables.variables
    ]
    scale = torch.cat(parts)
    if not bool(torch.isfinite(scale).all()):
        raise ContractError(
            f"the statistics of {statistics.source} lack standard deviations of outputs of set "
            f"{variables.name!r}"
        )
    return scale


class Normalization(nn.Module):
    """Buffers and arithmetic between physical and normalized rows of the network-side sets."""

    if TYPE_CHECKING:
        subtract: Tensor
        gain: Tensor
        cloud_lambda: Tensor
        log_anchor: Tensor
        lower: Tensor
        upper: Tensor
        output_mean: Tensor
        output_scale: Tensor
        kept: Tensor
        is_log: Tensor
        is_flag: Tensor

    def __init__(
        self,
        inputs: VariableSet,
        outputs: VariableSet,
        config: NormalizationConfig,
        pruned_levels: int,
        dropped_levels: int = 0,
    ) -> None:
        """Make a normalization with neutral buffers; ``fit`` or ``load_state_dict`` fills them.

        Profiles enter as zero on the top ``dropped_levels``.
        """
        super().__init__()
        if pruned_levels > inputs.level_count:
            raise ContractError(f"cannot prune {pruned_levels} of {inputs.level_count} levels")
        self._config = config
        self._inputs = inputs
        self._outputs = outputs
        self.zero_nonfinite: bool = config.nonfinite_policy == "zero"
        self.has_cloud: bool = any(is_exponential(v, config) for v in inputs.variables)
        self.has_log: bool = any(v.representation == "log" for v in inputs.variables)
        self.fill_threshold: float = FILL_THRESHOLD
        self.denormalize_float64: bool = config.denormalize_float64
        self.soft_clip: float = config.soft_clip or 0.0
        n, m = inputs.width, outputs.width
        self.n_value: int = inputs.of_role("value").width
        self.register_buffer("subtract", torch.zeros(n, dtype=torch.float64))
        self.register_buffer("gain", torch.ones(n, dtype=torch.float64))
        self.register_buffer("cloud_lambda", torch.zeros(n, dtype=torch.float64))
        self.register_buffer("log_anchor", torch.zeros(n, dtype=torch.float64))
        self.register_buffer("lower", torch.full((n,), -float("inf"), dtype=torch.float64))
        self.register_buffer("upper", torch.full((n,), float("inf"), dtype=torch.float64))
        self.register_buffer("output_mean", torch.zeros(m, dtype=torch.float64))
        self.register_buffer("output_scale", torch.ones(m, dtype=torch.float64))
        self._register_masks(pruned_levels, dropped_levels)
        self._limit_all()

    def _register_masks(self, pruned_levels: int, dropped_levels: int) -> None:
        inputs = self._inputs
        kept, log, flag = (torch.zeros(inputs.width, dtype=torch.bool) for _ in range(3))
        kept[:] = True
        for v in inputs.variables:
            where = inputs.slice(v.name)
            # The published networks hide cloud on the pruned levels; lagged inputs there are
            # divided by floors of 1e-12.
            if is_hidden_aloft(v, self._config):
                kept[where.start : where.start + pruned_levels] = False
            if v.is_profile and v.role == "value":
                kept[where.start : where.start + dropped_levels] = False
            log[where] = v.representation == "log"
            flag[where] = is_flagged(v, self._config)
        self.register_buffer("kept", kept)
        self.register_buffer("is_log", log)
        self.register_buffer("is_flag", flag)

    def normalize(self, rows: Tensor) -> Tensor:
        """Return normalized network inputs [batch, n_network], float32, from physical rows of the
        same shape.
        """
        x = rows.to(torch.float64)
        given = torch.isfinite(x)
        if self.has_cloud:
            # A host's small negative cloud would overflow the exponential at lambda = 1e7.
            cloud = -torch.expm1(-self.cloud_lambda * x.clamp(min=0.0))
            x = torch.where(self.cloud_lambda > 0.0, cloud, x)
        x = torch.where(self.is_flag, (x >= self.fill_threshold).to(torch.float64), x)
        z = (x - self.subtract) * self.gain
        if self.has_log:
            z = torch.where(self.is_log, _signed_log(z - self.log_anchor), z)
        if self.zero_nonfinite:
            z = torch.where(torch.isfinite(z), z, torch.zeros_like(z))
        else:
            # The flag, the exponential and the clips would each turn a NaN or an infinity into an
            # ordinary number.
            z = torch.where(given, z, torch.full_like(z, float("nan")))
        if self.soft_clip > 0.0:
            z = torch.cat([self._bent(z[:, : self.n_value]), z[:, self.n_value :]], dim=1)
        z = torch.minimum(torch.maximum(z, self.lower), self.upper)
        return torch.where(self.kept, z, torch.zeros_like(z)).to(torch.float32)

    def _bent(self, z: Tensor) -> Tensor:
        """Return z, beyond the soft clip bent towards twice of it with no kink."""
        excess = (z.abs() - self.soft_clip).clamp(min=0.0) / self.soft_clip
        inside = z.clamp(-self.soft_clip, self.soft_clip)
        return inside + torch.sign(z) * self.soft_clip * torch.tanh(excess)

    def denormalize(self, rows: Tensor) -> Tensor:
        """Return physical network outputs [batch, n_network_output], float64, from normalized
        rows.
        """
        if self.denormalize_float64:
            return rows.to(torch.float64) * self.output_scale + self.output_mean
        single = rows.to(torch.float32) * self.output_scale.to(torch.float32) + self.output_mean.to(
            torch.float32
        )
        return single.to(torch.float64)

    def normalize_outputs(self, rows: Tensor) -> Tensor:
        """Return normalized targets, float32, from physical targets [batch, n_network_output]: the
        inverse of denormalize.
        """
        return ((rows.to(torch.float64) - self.output_mean) / self.output_scale).to(torch.float32)

    def forward(self, rows: Tensor) -> Tensor:
        """Return normalize(rows)."""
        return self.normalize(rows)

    @torch.jit.unused
    def give(self, scaling: Scaling) -> Normalization:
        """Fill the buffers with the user's own numbers (scheme ``given``); ContractError for wrong
        lengths. Returns self.
        """
        for name in ("subtract", "gain", "output_scale", "output_mean"):
            buffer, value = getattr(self, name), getattr(scaling, name)
            if value.numel() not in (1, buffer.numel()) or not bool(torch.isfinite(value).all()):
                raise ContractError(
                    f"{name} of the scaling must be 1 or {buffer.numel()} finite numbers, as the "
                    f"network's row has; got {value.numel()}"
                )
            buffer.copy_(value.expand_as(buffer))
        for variables, values in (
            (self._inputs, (self.subtract, self.gain)),
            (self._outputs, (self.output_mean, self.output_scale)),
        ):
            for v in variables.of_role("carried").variables:
                values[0][variables.slice(v.name)], values[1][variables.slice(v.name)] = 0.0, 1.0
        return self

    @torch.jit.unused
    def fit(self, statistics: Statistics) -> Normalization:
        """Fill the buffers from statistics of the training split; ContractError if a needed number
        is missing. Returns self.
        """
        self._limit_all()
        for v in self._inputs.of_role("value").variables:
            where = self._inputs.slice(v.name)
            subtract, gain = center_and_gain(v, self._config, statistics)
            self.subtract[where] = subtract
            self.gain[where] = gain
            self._fit_special(v, where, statistics)
        for v in self._outputs.of_role("value").variables:
            if self._config.output_center == "mean":
                self.output_mean[self._outputs.slice(v.name)] = statistics[v.name].mean
        self.output_scale.copy_(output_scale(self._outputs, statistics))
        filled = ("subtract", "gain", "cloud_lambda", "log_anchor", "output_mean")
        bad = [n for n in filled if not bool(torch.isfinite(getattr(self, n)).all())]
        if bad:
            raise ContractError(
                f"the statistics of {statistics.source} leave {bad} of the normalization not finite"
            )
        return self

    @torch.jit.unused
    def _fit_special(self, v: Variable, where: slice, statistics: Statistics) -> None:
        if is_exponential(v, self._config):
            if v.base_name not in statistics.cloud_lambda:
                raise ContractError(
                    f"the statistics of {statistics.source} do not give the cloud lambda of "
                    f"{v.base_name}"
                )
            self.cloud_lambda[where] = statistics.cloud_lambda[v.base_name]
        if v.representation == "log":
            self.log_anchor[where] = log_anchor(v, self._config, statistics)
        if v.representation in FEATURES:
            limit = torch.full_like(self.lower[where], FEATURE_LIMIT)
            self._narrow(where, -limit, limit)
        if has_humidity_clip(v, self._config):
            limit = torch.full_like(self.upper[where], RELATIVE_HUMIDITY_LIMIT)
            self._narrow_physical(v, where, torch.zeros_like(limit), limit)
        if self._config.lagged_clip == "range" and is_lagged(v) and v.is_profile:
            statistics.require([v.name], ("minimum", "maximum"))
            s = statistics[v.name]
            self._narrow_physical(v, where, s.minimum, s.maximum)

    @torch.jit.unused
    def _limit_all(self) -> None:
        """Let every input have any value, or those of the hard clip."""
        limit = float("inf") if self._config.hard_clip is None else self._config.hard_clip
        for buffer, value in ((self.lower, -limit), (self.upper, limit)):
            buffer[: self.n_value] = value

    @torch.jit.unused
    def _narrow(self, where: slice, low: Tensor, high: Tensor) -> None:
        """Clip normalized inputs to an interval, within what they are clipped to already."""
        self.lower[where] = torch.maximum(self.lower[where], low)
        self.upper[where] = torch.minimum(self.upper[where], high)

    @torch.jit.unused
    def _narrow_physical(self, v: Variable, where: slice, low: Tensor, high: Tensor) -> None:
        """Clip an input to an interval in its own units, in whatever encoding it enters."""
        ends = [(end - self.subtract[where]) * self.gain[where] for end in (low, high)]
        if v.representation == "log":
            ends = [_signed_log(end - self.log_anchor[where]) for end in ends]
        self._narrow(where, ends[0], ends[1])

    @torch.jit.unused
    def entry(self, statistics_digest: str | None) -> NormalizationEntry:
        """Return the manifest's record of this normalization."""
        return NormalizationEntry(
            configuration=self._config,
            statistics_digest=statistics_digest,
            buffers_digest=self.digest(),
        )

    @torch.jit.unused
    def digest(self) -> str:
        """Return the SHA-256 over names and bits of all buffers."""
        sha = hashlib.sha256()
        for name, value in sorted(self.named_buffers()):
            sha.update(name.encode())
            sha.update(bytes(value.detach().cpu().contiguous().view(torch.uint8).tolist()))
        return sha.hexdigest()


def _signed_log(d: Tensor) -> Tensor:
    """Return sign(d) log(1 + |d|)."""
    return torch.sign(d) * torch.log1p(d.abs())
