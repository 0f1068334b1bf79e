"""A penalised Cox fit and its rows in; intervals and tests of its profile likelihood out.

The likelihood of a coefficient that is only finite because of Firth's penalty is far from
symmetric: an interval of so many standard errors claims too much on one side. Lin and Wei's error
is worse still: a column without events has residuals near 0, whatever the number of rows.
Sources: Venzon and Moolgavkar (1988), Applied Statistics 37(1), 87-94; for penalised fits Heinze
and Schemper (2001), Biometrics 57(1), 114-119, and (2002), Statistics in Medicine 21(16),
2409-2419, as R's coxphf and logistf have it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from retention_lab.survival.model.coxfit import CoxFit
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.firth import Penalised, penalised
from retention_lab.survival.model.likelihood import Problem
from retention_lab.survival.model.riskset import RiskSets

Floats = npt.NDArray[np.float64]
STEPS = 100  # of the other coefficients, where one is held
DOUBLINGS = 12  # of a standard error, within which an end of an interval is looked for
HALVINGS = 30
CLOSE = 1e-8  # of twice the log-likelihood
FINE = 1e-6  # of the step that holds an end


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Intervals [J] of the columns `names` and p-values [J]; nan for an end that is not there."""

    names: tuple[str, ...]
    low: Floats
    high: Floats
    p_value: Floats


def profile(
    fit: CoxFit,
    data: SurvivalData,
    alpha: float = 0.05,
    columns: Sequence[str] | None = None,
    risk: RiskSets | None = None,
) -> Profile:
    """Profile penalised likelihood intervals of `columns` (default: all) of a penalised `fit`.

    An interval holds every value of a coefficient at which twice the penalised log-likelihood, the
    others fitted anew, is less than the quantile of chi-square (1 df) below its maximum. The test
    of 0 belongs to it. `data` are the rows of the fit, `risk` its risk sets where they are others.
    Raises ValueError for a fit without penalty. Costs some dozen passes over the rows a column.
    """
    if fit.penalty != "firth" or fit.ties == "exact":  # exact ties have no penalty
        raise ValueError("these intervals belong to a penalised fit; others have fit.interval")
    names = tuple(fit.names if columns is None else columns)
    model = data.columns([data.names.index(c) for c in fit.names])
    problem = Problem.of(model, fit.ties, risk)
    best = penalised(problem, fit.coef * problem.scale)
    error = fit.std_error * problem.scale
    drop = float(special.chdtri(1, alpha)) / 2.0
    found = np.full((3, len(names)), np.nan)
    for i, name in enumerate(names):
        j = fit.names.index(name)
        ends = [_end(problem, best, j, side * error[j], drop) for side in (-1.0, 1.0)]
        found[:2, i] = np.array(ends) / problem.scale[j]
        none = _held(problem, best, j, 0.0)
        found[2, i] = special.chdtrc(1, max(2.0 * (best.loglik - none.loglik), 0.0))
    return Profile(names, found[0], found[1], found[2])


def _end(problem: Problem, best: Penalised, j: int, step: float, drop: float) -> float:
    """Where the profile of column `j` lies `drop` below its maximum, in the direction of `step`."""
    at, inner = float(best.beta[j]), best
    for _ in range(DOUBLINGS):
        point = _held(problem, inner, j, at + step)
        if not point.loglik > best.loglik - drop:
            break
        at, inner, step = at + step, point, 2.0 * step
    else:
        return float("nan")
    start = inner

    def above(value: float) -> float:
        return max(_held(problem, start, j, value).loglik - best.loglik, -1e6) + drop

    ends = sorted((at, at + step))
    return float(optimize.brentq(above, *ends, xtol=FINE * abs(step)))


def _held(problem: Problem, begin: Penalised, j: int, value: float) -> Penalised:
    """The largest penalised likelihood with coefficient `j` at `value`, from `begin` on."""
    beta = begin.beta.copy()
    beta[j] = value
    point, free = penalised(problem, beta), np.arange(len(beta)) != j
    if not free.any() or not np.isfinite(point.loglik):
        return point
    for _ in range(STEPS):
        score = point.score[free]
        step = np.linalg.lstsq(point.inner[np.ix_(free, free)], score, rcond=None)[0]
        if float(score @ step) < CLOSE:
            break
        for halvings in range(HALVINGS):
            beta = point.beta.copy()
            beta[free] += step * 0.5**halvings
            following = penalised(problem, beta)
            if following.loglik >= point.loglik:
                break
        else:
            break
        gained, point = following.loglik - point.loglik, following
        if gained < CLOSE / 2.0:
            break
    return point
