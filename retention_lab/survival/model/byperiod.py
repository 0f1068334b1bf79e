"""Trials and events by period and covariates in; the largest binomial likelihood out."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Link = Literal["cloglog", "logit"]
STEPS = 200
HALVINGS = 30
LEAST_GAIN = 1e-24  # of the log-likelihood, by the next step: 1e-12 of a standard error
SHORT = 1e-7  # a gain that rounding may hide, at the end of the search only
FAR = 300.0  # beyond it a hazard is 0 or 1 in any double


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """Rows of trials, in the order of their periods, and what is added up by period.

    ======= ===== ==================================================
    first   P     the first row of each period
    period  R     0 .. P - 1, ascending
    x       R x K covariates
    trials  R     units at risk
    events  R     those that had the event
    ======= ===== ==================================================
    """

    first: npt.NDArray[np.intp]
    period: npt.NDArray[np.intp]
    x: Floats
    trials: Floats
    events: Floats

    @classmethod
    def of(cls, period: npt.NDArray[np.intp], x: Floats, trials: Floats, events: Floats) -> Trials:
        """From rows in any order, of periods of which each has a row: 0 .. P - 1."""
        order = np.argsort(period, kind="stable")
        period = period[order]
        first = np.flatnonzero(np.append(True, period[1:] != period[:-1]))
        return cls(first, period, x[order], trials[order], events[order])

    def by_period(self, values: Floats) -> Floats:
        """Sums over the rows of each period, [P] or [P, K]."""
        return np.asarray(np.add.reduceat(values, self.first, axis=0))

    def information(self, weight: Floats) -> Floats:
        """The weighted sums of products of indicators of the periods and covariates, P + K square.

        Two periods share no row, so that memory and time grow with rows x K^2, not with their
        product with P.
        """
        weighted = self.x * weight[:, None]
        across = self.by_period(weighted)
        own = np.diag(self.by_period(weight))
        return np.block([[own, across], [across.T, self.x.T @ weighted]])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Largest:
    """The coefficients of periods and covariates, [P + K], their covariance, and how it ended."""

    coef: Floats
    covariance: Floats
    loglik: float
    deviance: float
    converged: bool


def largest(data: Trials, link: Link) -> Largest:
    """The maximum of the binomial likelihood by Newton's method; errors of expected information.

    Raises LinAlgError where the information is singular: the columns depend on each other, or a
    combination of them tells events from the rest.
    Source: McCullagh and Nelder (1989), Generalized Linear Models, 2.5.
    """
    n, d = data.by_period(data.trials), data.by_period(data.events)
    share = (d + 0.5) / (n + 1.0)
    begin = np.log(-np.log1p(-share)) if link == "cloglog" else special.logit(share)
    coef = np.concatenate([begin, np.zeros(data.x.shape[1])])
    at, converged, before = _likelihood(data, coef, link), False, np.inf
    for _ in range(STEPS):
        score, observed, _ = _derivatives(data, coef, link)
        step = _solved(data.information(observed), score)
        gain = float(score @ step)
        converged = gain < LEAST_GAIN or before <= gain < SHORT
        if converged:
            break
        if gain < SHORT:  # too little to show in the likelihood: whole steps until none is shorter
            coef, before = coef + step, gain
            at = _likelihood(data, coef, link)
            continue
        found = _further(data, coef, step, at, link)
        if found is None:
            break
        coef, at = found
    expected = data.information(_derivatives(data, coef, link)[2])
    covariance = np.asarray(np.linalg.inv(expected), np.float64)
    n, d = data.trials, data.events
    most = (special.xlogy(d, d / n) + special.xlogy(n - d, (n - d) / n)).sum()
    ways = special.gammaln(n + 1) - special.gammaln(d + 1) - special.gammaln(n - d + 1)
    ends = float(at + ways.sum()), float(2.0 * (most - at))
    return Largest(coef, covariance, *ends, converged)


def _further(
    data: Trials, coef: Floats, step: Floats, at: float, link: Link
) -> tuple[Floats, float] | None:
    """Coefficients that are more likely than `at`, along the step, halved where it is too long."""
    for halved in range(HALVINGS):
        new = coef + step / 2.0**halved
        value = _likelihood(data, new, link)
        if value > at:
            return new, value
    return None


def _solved(information: Floats, score: Floats) -> Floats:
    """The step: each column by its own size, as their scales differ by powers of ten."""
    size = np.sqrt(np.diag(information))
    if not np.all(size > 0.0):
        raise np.linalg.LinAlgError("a column of no weight")
    return np.asarray(np.linalg.solve(information / np.outer(size, size), score / size) / size)


def _linear(data: Trials, coef: Floats) -> Floats:
    periods = len(data.first)
    return np.clip(coef[:periods][data.period] + data.x @ coef[periods:], -FAR, FAR)


def _likelihood(data: Trials, coef: Floats, link: Link) -> float:
    eta = _linear(data, coef)
    rest = data.trials - data.events
    if link == "cloglog":
        rate = np.exp(eta)
        return float(special.xlogy(data.events, -np.expm1(-rate)).sum() - rest @ rate)
    return float(-(data.events @ np.logaddexp(0.0, -eta) + rest @ np.logaddexp(0.0, eta)))


def _derivatives(data: Trials, coef: Floats, link: Link) -> tuple[Floats, Floats, Floats]:
    """The score, and the weights of rows in the information: observed and expected.

    The observed one leads to the end in few steps also where trials are few; both links have a
    concave likelihood.
    """
    eta = _linear(data, coef)
    n, d = data.trials, data.events
    if link == "logit":
        hazard = special.expit(eta)
        each, expected = d - n * hazard, n * hazard * special.expit(-eta)
        observed = expected
    else:
        rate = np.exp(eta)
        hazard = -np.expm1(-rate)
        slope = rate / hazard
        more = np.where(rate < 1e-4, rate / 2.0 + rate**2 / 12.0, slope - 1.0)
        each, expected = (d - n * hazard) * slope, n * rate * slope * np.exp(-rate)
        observed = (n - d) * rate + d * slope * np.exp(-rate) * more
    return np.concatenate([data.by_period(each), data.x.T @ each]), observed, expected
