"""Statistics of variables: what the data side computes (or reads from published files) and
Normalization is made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from climlink.wrappers.distribution import Distribution
from climlink.wrappers.errors import ContractError, near_names

FILL_THRESHOLD = 1e20
"""Values at or above this mark "no value" in the variables of FILLED_VARIABLES."""

FILLED_VARIABLES = ("cam_in_SNOWHICE",)
"""Variables whose files hold 1e30 where the model has no such point (snow on sea ice away from the
ocean).
"""

CLOUD_THRESHOLD = 1e-7
"""kg/kg: water above this counts as in-cloud when lambda is computed."""

CLOUD_LAMBDA_CAP = 1e7
"""kg/kg to the minus one: lambda of a level that has no cloud at all."""

MOMENTS = ("mean", "std", "minimum", "maximum")


@dataclass(frozen=True)
class VariableStatistics:
    """Moments and range of one variable in its own units, float64 [width] (1 for a scalar); NaN
    where the source does not give them.

    ``std`` is the population standard deviation (divisor n). ``count`` is the number of rows used,
    ``left_out`` the number of rows at the fill value; both are 0 where the source does not say.
    """

    mean: Tensor
    std: Tensor
    minimum: Tensor
    maximum: Tensor
    count: int = 0
    left_out: int = 0

    def __post_init__(self) -> None:
        for name in MOMENTS:
            value = getattr(self, name)
            if value.dtype != torch.float64 or value.dim() != 1 or value.shape != self.mean.shape:
                raise ContractError(
                    f"{name} must be float64 [{self.mean.numel()}], got "
                    f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
                )

    @property
    def width(self) -> int:
        """Number of values per column: the level count of a profile, 1 for a scalar."""
        return self.mean.numel()

    def has(self, moment: str) -> bool:
        """Say whether ``mean``, ``std``, ``minimum`` or ``maximum`` is known on every level."""
        return bool(torch.isfinite(getattr(self, moment)).all())


@dataclass(frozen=True)
class Statistics:
    """Statistics of named variables over one split of one data set.

    ``cloud_lambda`` is 1/mean(q | q > 1e-7 kg/kg) per level, capped at 1e7 where there is no cloud,
    float64 [level], for ``state_qn``, ``state_q0002`` and ``state_q0003``. ``source`` says in words
    where the numbers come from; ``data_digest`` is the store's digest.
    """

    variables: dict[str, VariableStatistics]
    cloud_lambda: dict[str, Tensor]
    source: str
    data_digest: str | None = None
    split: str | None = None
    distribution: Distribution | None = None
    """Sketches and covariance, where the source gives them; no part of the digest, for no
    normalization is made from them."""

    def __getitem__(self, name: str) -> VariableStatistics:
        """Return the statistics of one variable; ContractError with the near names if it has
        none.
        """
        if name not in self.variables:
            raise ContractError(
                f"the statistics of {self.source} do not hold "
                f"{name!r}{near_names(name, self.variables)}"
            )
        return self.variables[name]

    def require(self, names: Iterable[str], moments: Iterable[str] = MOMENTS) -> None:
        """Raise ContractError unless every named variable has every named moment on every level."""
        wanted = tuple(moments)
        lacking = [
            f"{moment} of {name}"
            for name in names
            for moment in wanted
            if not self[name].has(moment)
        ]
        if lacking:
            raise ContractError(f"the statistics of {self.source} do not give {', '.join(lacking)}")

    @property
    def digest(self) -> str:
        """SHA-256 over the names and the bits of every number, whatever the source is called."""
        sha = hashlib.sha256()
        for name in sorted(self.variables):
            entry = self.variables[name]
            for moment in MOMENTS:
                _update(sha, f"{name}.{moment}", getattr(entry, moment))
        for name in sorted(self.cloud_lambda):
            _update(sha, f"{name}.cloud_lambda", self.cloud_lambda[name])
        return sha.hexdigest()


def _update(sha: hashlib._Hash, name: str, values: Tensor) -> None:
    """Feed one named float64 vector, little-endian, into a hash."""
    sha.update(name.encode())
    # view(uint8) keeps the bits; numpy is not a dependency of the contract.
    sha.update(bytes(values.detach().cpu().contiguous().view(torch.uint8).tolist()))
