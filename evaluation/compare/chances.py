"""What a number of members can say about survival: exact intervals, and which outcomes they cannot
tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import binomtest

from climlink.evaluation.errors import EvaluationError

_SEARCHED = 1000


def survival_interval(survived: int, members: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the probability to survive (Clopper and Pearson 1934) when
    ``survived`` of ``members`` did.

    It takes members as independent. EvaluationError unless 0 <= survived <= members and there is a
    member.
    """
    if not 0 <= survived <= members or members == 0:
        raise EvaluationError(
            f"expected 0 <= survived <= members with a member, got {survived} of {members}"
        )
    interval = binomtest(survived, members).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Distinction:
    """What ``members`` of each of two groups can tell: beside a group of which all survived, at
    most ``worse`` survivors of the other are told apart from it (None: not even no survivor is);
    ``overlap`` bounds the survival (0 to 1) that both extreme outcomes allow (None where they
    exclude each other); ``needed`` is the least number of members with which all and none are told
    apart."""

    members: int
    worse: int | None
    overlap: tuple[float, float] | None
    needed: int

    def words(self) -> str:
        """Return the statement as a sentence or two."""
        each = f"With {self.members} member{'s' if self.members != 1 else ''} of each package"
        if self.overlap is not None:
            low, high = (f"{100.0 * v:.0f}" for v in self.overlap)
            return (
                f"{each}, survival between {low} and {high} % cannot be told apart: the exact 95 % "
                "intervals of all surviving and of none surviving both hold it, so no two "
                f"packages differ by their survival. That needs at least {self.needed} members of "
                "each."
            )
        low = f"{100.0 * survival_interval(self.members, self.members)[0]:.0f}"
        return (
            f"{each}, a package of which all survive (at least {low} % at 95 % confidence) is told "
            f"apart from one of which at most {self.worse} do, and from none that does better."
        )


def distinction(members: int) -> Distinction:
    """Return what equal numbers of members can tell about survival: outcomes whose exact 95 %
    intervals do not meet are told apart.
    """
    low = survival_interval(members, members)[0]
    apart = [k for k in range(members) if survival_interval(k, members)[1] < low]
    highest = survival_interval(0, members)[1]
    needed = next(
        n for n in range(1, _SEARCHED) if survival_interval(0, n)[1] < survival_interval(n, n)[0]
    )
    return Distinction(
        members, max(apart) if apart else None, None if apart else (low, highest), needed
    )
