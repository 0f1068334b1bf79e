"""Trials and events by period and covariates in; the largest binomial likelihood out."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.survival.model.newton import maximise

Floats = npt.NDArray[np.float64]
Link = Literal["cloglog", "logit"]
STEPS = 200
CLOSE = 1e-12  # of a standard error
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

    def linear(self, coef: Floats) -> Floats:
        """The linear predictor of each row, [R]."""
        periods = len(self.first)
        return np.asarray(coef[:periods][self.period] + self.x @ coef[periods:])

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
    alone = np.log(-np.log1p(-share)) if link == "cloglog" else special.logit(share)
    begin = Point.at(data, link, np.concatenate([alone, np.zeros(data.x.shape[1])]))
    found = maximise(
        lambda beta: Point.at(data, link, beta),
        (begin, begin.information()),
        steps=STEPS,
        close=CLOSE,
    )
    point = found.point
    covariance = np.asarray(np.linalg.inv(data.information(point.expected)), np.float64)
    n, d = data.trials, data.events
    most = (special.xlogy(d, d / n) + special.xlogy(n - d, (n - d) / n)).sum()
    ways = special.gammaln(n + 1) - special.gammaln(d + 1) - special.gammaln(n - d + 1)
    ends = float(point.loglik + ways.sum()), float(2.0 * (most - point.loglik))
    return Largest(point.beta, covariance, *ends, found.ended == "converged")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Point:
    """The likelihood at `beta` [P + K], and the weights of rows in the information.

    The observed one leads to the end in few steps also where trials are few; both links have a
    concave likelihood.
    """

    data: Trials
    beta: Floats
    loglik: float
    score: Floats
    observed: Floats
    expected: Floats

    @classmethod
    def at(cls, data: Trials, link: Link, beta: Floats) -> Point:
        eta, n, d = np.clip(data.linear(beta), -FAR, FAR), data.trials, data.events
        if link == "logit":
            hazard = special.expit(eta)
            loglik = -(d @ np.logaddexp(0.0, -eta) + (n - d) @ np.logaddexp(0.0, eta))
            each, expected = d - n * hazard, n * hazard * special.expit(-eta)
            observed = expected
        else:
            rate = np.exp(eta)
            hazard = -np.expm1(-rate)
            loglik = special.xlogy(d, hazard).sum() - (n - d) @ rate
            slope = rate / hazard
            more = np.where(rate < 1e-4, rate / 2.0 + rate**2 / 12.0, slope - 1.0)
            each, expected = (d - n * hazard) * slope, n * rate * slope * np.exp(-rate)
            observed = (n - d) * rate + d * slope * np.exp(-rate) * more
        score = np.concatenate([data.by_period(each), data.x.T @ each])
        return cls(data, beta, float(loglik), score, observed, expected)

    def information(self) -> Floats:
        """The observed one."""
        return self.data.information(self.observed)
