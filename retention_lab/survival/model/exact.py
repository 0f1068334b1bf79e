"""Small data with ties in; the exact partial likelihood of tied deaths with its derivatives out.

The deaths at one time are a draw of D from those at risk: the likelihood is the product of their
exp(x'b) over the sum of such products over all choices of D, the elementary symmetric polynomial
of order D, built up row by row with its derivatives.
Sources: Cox (1972), JRSS B 34(2), 187-220, section 6; Gail, Lubin and Rubinstein (1981),
Biometrika 68(3), 703-707.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from retention_lab.errors import DataError
from retention_lab.survival.model.likelihood import Problem
from retention_lab.survival.model.riskset import RiskSets

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
WORK = 1e9  # numbers to be made for one step, at most
MOST = 500  # tied deaths, whose polynomials doubles can still hold


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ExactState:
    """The exact likelihood at one set of coefficients of the standardised covariates."""

    beta: Floats
    loglik: float
    score: Floats
    second: Floats

    def information(self) -> Floats:
        return self.second


def check(problem: Problem) -> None:
    """DataError where the exact likelihood would take too long, with advice."""
    risk, k = problem.risk, problem.data.k
    most = float(risk.deaths.max(initial=0))
    rows = float(problem.data.size)
    if risk.before is not None:
        rows *= max(risk.times, 1)
    if rows * most * (1 + k + k * k) > WORK or most > MOST:
        raise DataError(
            f"exact ties with up to {most:,.0f} events at one time among {problem.data.size:,} "
            "rows would take too long; use ties: efron, which is close to it, or the discrete-time "
            "model, which is meant for such data"
        )


def exact_likelihood(problem: Problem, beta: Floats) -> ExactState:
    """The likelihood at `beta` [K]; the rows of `problem` have n = 1 each."""
    data, risk, k = problem.data, problem.risk, problem.data.k
    x = problem.standard(slice(0, data.rows))
    eta = x @ beta
    events = np.flatnonzero(data.event)
    stratum = np.zeros(data.rows, np.intp) if data.strata is None else data.strata
    loglik, score, second = float(eta[events].sum()), x[events].sum(axis=0), np.zeros((k, k))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # D / sum w as unit: the polynomials then are at most exp(D)
        size = np.bincount(stratum, np.exp(eta), minlength=len(risk.bounds) - 1)
        most = [int(risk.deaths[a:b].max(initial=1)) for a, b in pairwise(risk.bounds.tolist())]
        log_unit = np.log(most) - np.log(size)
        w = np.exp(eta + log_unit[stratum])
        for g, grown in _polynomials(risk, w, x):
            deaths = int(risk.deaths[g])
            p, dp, ddp = (part[deaths] for part in (grown.value, grown.slope, grown.bend))
            loglik -= float(np.log(p)) - deaths * float(log_unit[risk.stratum[g]])
            mean = dp / p
            score = score - mean
            second += ddp / p - np.outer(mean, mean)
    fine = np.isfinite(loglik)
    return ExactState(beta, loglik if fine else -np.inf, score, second)


@dataclasses.dataclass(slots=True, eq=False)
class _Polynomial:
    """Elementary symmetric polynomials of orders 0 .. D, [D + 1], and their derivatives."""

    value: Floats
    slope: Floats
    bend: Floats

    @classmethod
    def empty(cls, order: int, k: int) -> _Polynomial:
        value = np.zeros(order + 1)
        value[0] = 1.0
        return cls(value, np.zeros((order + 1, k)), np.zeros((order + 1, k, k)))

    def grow(self, w: float, x: Floats) -> None:
        """Let one more row in, of weight `w` and covariates `x`."""
        value, slope = self.value[:-1], self.slope[:-1]
        both = slope[:, :, None] * x
        self.bend[1:] += w * (
            self.bend[:-1]
            + both
            + both.transpose(0, 2, 1)
            + value[:, None, None] * (x[:, None] * x)
        )
        self.slope[1:] += w * (slope + value[:, None] * x)
        self.value[1:] += w * value


def _polynomials(risk: RiskSets, w: Floats, x: Floats) -> Iterator[tuple[int, _Polynomial]]:
    """The event times, backwards, each with the polynomials of those at risk then.

    Without late entry those at risk only grow in number backwards in time, so each stratum is built
    up once.
    """
    order = np.argsort(risk.upto, kind="stable")
    ends = np.searchsorted(risk.upto[order], np.arange(risk.times + 1))
    for low, high in pairwise(risk.bounds.tolist()):
        most = int(risk.deaths[low:high].max(initial=0))
        grown = _Polynomial.empty(most, x.shape[1])
        for g in range(high - 1, low - 1, -1):
            if risk.before is None:
                rows = order[ends[g] : ends[g + 1]]
            else:
                inside = (risk.upto >= g) & (risk.upto < high)
                rows = np.flatnonzero(inside & ((risk.before < g) | (risk.before == risk.times)))
                grown = _Polynomial.empty(int(risk.deaths[g]), x.shape[1])
            for row in rows:
                grown.grow(float(w[row]), x[row])
            yield g, grown
