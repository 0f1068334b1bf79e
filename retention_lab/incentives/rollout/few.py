"""The influences of few markets in; error, degrees of freedom and interval out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from retention_lab.clusters import effective, welch_df
from retention_lab.incentives.rollout.aggregate import Average
from retention_lab.incentives.rollout.staggered import Bools, Floats

ALONE = 1.5  # markets of a side in effect, below which one of them is as good as alone


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


def scale_of(treated: Bools, involved: Bools, weight: Floats) -> Floats:
    """(M) (n - 1) / n / (1 - h)^2 of the side that a market stands on: treated, or compared with.

    h is its part of the side's weight: so much of its own change is in the mean that it is held
    against, and leaving it out would move that mean as much more (the jackknife, HC3; MacKinnon,
    White 1985, Journal of Econometrics 29). n / (n - 1) where all weigh the same. 0 for those that
    are on neither, nan where a side is one market alone, or nearly.
    """
    out = np.zeros(len(treated))
    for side in (treated, involved & ~treated):
        out[side] = jackknife_scale(weight[side])
    return out


def jackknife_scale(weight: Floats) -> Floats:
    """(n) (n - 1) / n / (1 - h)^2, h = weight / its sum; nan of one alone, or as good as alone."""
    n = len(weight)
    if n < 2 or effective(weight) < ALONE:
        return np.full(n, np.nan)
    return np.asarray((n - 1.0) / n / (1.0 - weight / weight.sum()) ** 2)


def sides_of(found: Average) -> tuple[float, float]:
    """The markets that began and that an average rests on, and the others, as `effective`."""
    involved = (found.null != 0) & ~found.treated
    return effective(found.weight[found.treated]), effective(found.weight[involved])


def error_of(found: Average) -> Error:
    """The error of an average, `scale_of` each market, and t as Welch's.

    In large samples the analytic error of Callaway and Sant'Anna. One market alone on a side, or
    with nearly all of its weight, has no error. The treated side counts the markets whose own
    change the average rests on. Welch's degrees of freedom count markets as `effective`, and are at
    most those of sides that vary alike: the variance of two markets is now and then next to
    nothing, and would then leave the degrees of freedom of all others.
    """
    psi, involved = found.influence, (found.null != 0) | (found.influence != 0) | found.treated
    scale = scale_of(found.treated, involved, found.weight)
    if np.isnan(scale).any():
        return Error(None, 0.0)
    squares = scale * psi**2 / len(psi) ** 2
    sides = [found.treated, involved & ~found.treated]
    sides = [s for s in sides if s.any()]
    spread = [float(squares[s].sum()) for s in sides]
    told, total = [effective(found.weight[s]) for s in sides], sum(spread)
    if not total > (4 * np.finfo(float).eps * max(1.0, abs(found.estimate))) ** 2:
        return Error(None, 0.0)
    alike = welch_df([1.0 / n for n in told], told)
    return Error(math.sqrt(total), min(welch_df(spread, told), alike))
