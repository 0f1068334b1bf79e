"""The influences of few markets in; error, degrees of freedom and interval out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retention_lab.incentives.rollout.aggregate import Average
from retention_lab.incentives.rollout.staggered import Bools, Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Error:
    """The error of an average, and the degrees of freedom of its t; None where there is none."""

    std_error: float | None
    df: float

    def half(self, alpha: float) -> float:
        """Half the width of the interval."""
        from scipy.special import stdtrit

        assert self.std_error is not None
        return float(stdtrit(self.df, 1.0 - alpha / 2.0)) * self.std_error

    def p_value(self, estimate: float) -> float:
        """Of no effect, two-sided."""
        from scipy.special import stdtr

        assert self.std_error is not None
        return float(2.0 * stdtr(self.df, -abs(estimate) / self.std_error))


def scale_of(treated: Bools, involved: Bools) -> Floats:
    """(M) n / (n - 1) of the side that a market stands on: treated, or compared with.

    0 for those that are on neither, nan where a side is one market alone.
    """
    out = np.zeros(len(treated))
    for side in (treated, involved & ~treated):
        n = int(side.sum())
        out[side] = n / (n - 1.0) if n > 1 else np.nan
    return out


def error_of(found: Average) -> Error:
    """The error of an average: each side's variance times n / (n - 1), and t as Welch's.

    In large samples the analytic error of Callaway and Sant'Anna. One market alone on a side has no
    error. The treated side counts the markets whose own change the average rests on.
    """
    psi, involved = found.influence, (found.null != 0) | (found.influence != 0) | found.treated
    scale = scale_of(found.treated, involved)
    if np.isnan(scale).any():
        return Error(None, 0.0)
    squares = scale * psi**2 / len(psi) ** 2
    sides = [found.treated, involved & ~found.treated]
    parts = [(float(squares[s].sum()), int(s.sum())) for s in sides if s.any()]
    total = sum(v for v, _ in parts)
    if not total > (4 * np.finfo(float).eps * max(1.0, abs(found.estimate))) ** 2:
        return Error(None, 0.0)
    df = 1.0 / sum((v / total) ** 2 / (n - 1.0) for v, n in parts)
    return Error(math.sqrt(total), df)
