"""What the normalization does to each network input: pure functions of the variable, the choices
and the statistics (docs/normalization.md shows the published choices beside their files).
"""

from __future__ import annotations

import torch
from torch import Tensor

from climlink.wrappers.manifest import NormalizationConfig
from climlink.wrappers.statistics import (
    FILL_THRESHOLD,
    FILLED_VARIABLES,
    Statistics,
    VariableStatistics,
)
from climlink.wrappers.variables import FEATURES, Variable

ZERO_VARIANCE = 1e-6
"""A spread below this fraction of the largest magnitude is taken as zero: it is within 16 float32
roundings (6e-8), that is noise.
"""

LEAST_WATER_SPREAD = 1e-12
"""kg/kg: water that varies by less is taken as constant. ClimSim's liquid aloft is of 1e-36, and
such gains would blow up a host's first trace of cloud.
"""

_WATER = ("state_q0001", "state_q0002", "state_q0003", "state_qn")

RELATIVE_HUMIDITY_LIMIT = 1.2
"""Upper clip of relative humidity (published)."""

FEATURE_LIMIT = 10.0
"""Clip of normalized features (log10, step, ...), in standard deviations: levels that hardly ever
vary have outliers of hundreds.
"""

PUBLISHED_FILL = (8.8664e29, 1e30)
"""Centre and spread that the published files give to SNOWHICE, whose 1e30 fill values were averaged
in.
"""

_FROM_STATISTICS = ("range", "moments")
"""Schemes that know fill values, cloud and lags; the others take a user's numbers as they are."""

_PUBLISHED_UNSCALED = (
    "state_rh",
    "liq_partition",
    "cam_in_ICEFRAC",
    "cam_in_LANDFRAC",
    "cam_in_OCNFRAC",
    "clat",
    "slat",
)
"""Enter as they are: already between about 0 and 1 (published)."""

_PUBLISHED_UNCENTERED = ("pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX")
"""Divided by their range but not centred (published), as all *_dyn inputs are."""


def log_anchor(v: Variable, config: NormalizationConfig, statistics: Statistics) -> Tensor:
    """Return where the signed logarithm of a variable is zero, in its standard deviations, float64
    [width].

    The published anchor is read where the statistics hold it (``name@log``, as the published
    files do). Otherwise it is made as it was: the minimum of (x - mean)/mean, which belongs to the
    largest x where the mean is negative.
    """
    if config.log_anchor == "published" and v.name in statistics.variables:
        statistics.require([v.name], ("minimum",))
        return statistics[v.name].minimum
    statistics.require([v.base_name], ("mean", "std", "minimum"))
    base = statistics[v.base_name]
    if config.log_anchor == "minimum":
        return (base.minimum - base.mean) * _gain(v, base.std, base)
    statistics.require([v.base_name], ("maximum",))
    extreme = torch.where(base.mean < 0.0, base.maximum, base.minimum)
    anchor = (extreme - base.mean) / base.mean
    return torch.where(base.mean == 0.0, torch.zeros_like(anchor), anchor)


def is_lagged(v: Variable) -> bool:
    """Say whether a network input belongs to an earlier step or to what came since."""
    return v.lag > 0 or v.name.endswith("_dyn")


def has_humidity_clip(v: Variable, config: NormalizationConfig) -> bool:
    """Say whether relative humidity is clipped, in any of its encodings."""
    if v.base_name != "state_rh" or v.representation in FEATURES:
        return False
    return config.humidity_clip == "always" or (
        config.humidity_clip == "range" and config.scheme == "range"
    )


def is_hidden_aloft(v: Variable, config: NormalizationConfig) -> bool:
    """Say whether a network input is zero on pruned levels."""
    if config.scheme not in _FROM_STATISTICS or not v.is_profile or v.role != "value":
        return False
    if v.base_name == "state_qn" and config.cloud_transform:
        return True  # in every encoding: another would show what this one hides
    return is_exponential(v, config) or (is_lagged(v) and config.lagged_clip != "published")


def is_flagged(v: Variable, config: NormalizationConfig) -> bool:
    """Say whether a fill value enters as 1 and any other value as 0."""
    return (
        config.scheme in _FROM_STATISTICS
        and config.fill_policy == "flag"
        and v.name in FILLED_VARIABLES
    )


def is_exponential(v: Variable, config: NormalizationConfig) -> bool:
    """Say whether a network input is cloud water through 1 - exp(-lambda q)."""
    if config.scheme not in _FROM_STATISTICS:
        return False
    return v.representation == "exponential" or (v.name == "state_qn" and config.cloud_transform)


def _safe_inverse(spread: Tensor, statistics: VariableStatistics) -> Tensor:
    """Return 1/spread, and 0 where the variable does not vary beyond float32 noise (the
    zero-variance policy).
    """
    # A source may not give all of these; a mean near zero alone would let rounding noise pass for
    # variation.
    known = torch.stack([statistics.mean, statistics.minimum, statistics.maximum]).abs()
    magnitude = torch.nan_to_num(known, nan=0.0).amax(dim=0)
    varies = spread > ZERO_VARIANCE * magnitude
    return torch.where(
        varies, 1.0 / torch.where(varies, spread, torch.ones_like(spread)), torch.zeros_like(spread)
    )


def _gain(v: Variable, spread: Tensor, statistics: VariableStatistics) -> Tensor:
    """Return 1/spread of a network input, and 0 where it does not vary."""
    gain = _safe_inverse(spread, statistics)
    if v.base_name in _WATER and v.representation != "log10":
        gain = torch.where(spread < LEAST_WATER_SPREAD, torch.zeros_like(gain), gain)
    return gain


def center_and_gain(
    v: Variable, config: NormalizationConfig, statistics: Statistics
) -> tuple[Tensor, Tensor]:
    """Return what is subtracted from a network input and what it is multiplied by, float64 [width];
    ContractError if that is not known.
    """
    s = statistics[v.field_name]
    zero, one = torch.zeros_like(s.mean), torch.ones_like(s.mean)
    if v.name in FILLED_VARIABLES and config.fill_policy == "flag":
        return zero, one
    if v.name in FILLED_VARIABLES and bool((s.mean < FILL_THRESHOLD).all()):
        center, spread = PUBLISHED_FILL  # the published files' own moments hold fill values
        return zero + center, one / spread
    if is_exponential(v, config):
        return zero, one
    if v.name in _PUBLISHED_UNSCALED and (config.scheme == "range" or v.name == "liq_partition"):
        return zero, one
    if v.representation == "variable":
        pooled = statistics.variables.get(v.name)  # the published files have it
        statistics.require([v.name if pooled else v.base_name], ("mean", "std"))
        return (pooled.mean, _safe_inverse(pooled.std, pooled)) if pooled else _over_levels(s)
    if v.name.endswith("_prvphy"):
        statistics.require([v.base_name], ("std",))
        return zero, _safe_inverse(s.std, s)
    if not v.name.endswith("_dyn") and (
        config.scheme == "moments" or v.representation in ("log", *FEATURES)
    ):
        statistics.require([v.field_name], ("mean", "std"))
        return s.mean, _gain(v, s.std, s)
    uncentered = v.name.endswith("_dyn") or v.name in _PUBLISHED_UNCENTERED
    statistics.require(
        [v.base_name], ("minimum", "maximum") if uncentered else ("mean", "minimum", "maximum")
    )
    return (zero if uncentered else s.mean), _gain(v, s.maximum - s.minimum, s)


def _over_levels(s: VariableStatistics) -> tuple[Tensor, Tensor]:
    """Return one centre and gain for a whole profile: moments over columns and levels together."""
    mean = s.mean.mean()
    variance = (s.std.square() + (s.mean - mean).square()).mean()
    one = torch.ones_like(s.mean)
    return one * mean, _safe_inverse(one * variance.sqrt(), s)
